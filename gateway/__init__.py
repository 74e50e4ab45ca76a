"""wakegate's event gateway: an HTTP POST in, a replicated Kafka record out, and the sleeping consumer told at once.

A service of its own: it imports nothing of the activator but three leaves, `activator.errors`,
`activator.kafka.connection` and `activator.kafka.credential_folder`. They meet on the wire, at POST /wake.

Reading order, from the inside out; an arrow means "may import":

    __main__ -> wiring -> { app  producer/  wake  listener  management  tls  metrics  tracing }
             -> { body  answers  intake  handshake } -> { routes  admission  tokens  problems  cloudevents/ }

1. `cloudevents/`    HTTP message -> event -> Kafka record; pure
2. `routes.py`       which request goes to which topic, and under what rules; pure (`routes_file.py` reads them)
3. `admission.py`    how much may be under way at once; pure
4. `intake.py`       one message -> its records, or the problem that it is; pure
5. `producer/`       records -> Kafka, each at most once, in order, and answered by its deadline
6. `answers.py`      what became of the records -> status and body
7. `app.py`          the walk of one request
8. `wake.py`         tells the activator which topics got records
9. `wiring.py`       joins them, and ends them in order on SIGTERM
"""
