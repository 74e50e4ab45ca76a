"""Records -> Kafka: idempotent, acks=all, in order per partition, each answered by its deadline.

aiokafka gives the connection, the record format, the partitioner and the protocol's structures. Its `AIOKafkaProducer`
does not stand here, because a gateway owes its clients four things that it does not do:

- One refused batch (too large, not authorized, an invalid record) leaves a gap in the partition's sequence numbers:
  every later batch of that partition is refused with OUT_OF_ORDER_SEQUENCE_NUMBER until the whole producer is thrown
  away. Here a refused batch gives its sequence numbers back, and an identity is renewed for one partition alone.
- With idempotence a record never expires. Here an event whose time is up before it was sent is never sent, and one
  whose fate is unknown is retried under the same sequence number until its fate is known, so that a later event of the
  same key cannot overtake it.
- Its metadata requests create topics.
- Its `stop` waits for as long as Kafka does not answer.

1. `outcome.py`    what may become of a record
2. `verdicts.py`   what each of Kafka's error codes means for the batch it answers
3. `shipment.py`   the records of one request: who waits for them, and until when; pure
4. `lane.py`       one partition: what waits, what is under way, which sequence number is next; pure
5. `view.py`       brokers, topics and leaders as last read; pure
6. `control.py`    reads metadata and asks for producer ids
7. `broker.py`     one broker: its connection, and one Produce request at a time
8. `producer.py`   the door: picks partitions, keeps deadlines, joins the parts
"""
