package dev.wakegate.examples.pizza;

import com.mongodb.client.MongoCollection;
import com.mongodb.client.model.Filters;
import com.mongodb.client.model.ReplaceOptions;
import java.time.Duration;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.bson.Document;
import org.bson.json.JsonParseException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes what matters of an order as one document under the order's id.
 *
 * <p>Kafka Streams delivers at least once: an order that was stored and not yet committed comes again after a
 * rebalance. It replaces its own document then, so that each order is exactly one.
 */
final class OrderSink extends ContextualProcessor<String, String, Void, Void> {
  private static final Logger LOG = LoggerFactory.getLogger(OrderSink.class);
  private static final ReplaceOptions UPSERT = new ReplaceOptions().upsert(true);

  private final MongoCollection<Document> collection;
  private final Duration work;

  OrderSink(MongoCollection<Document> collection, Duration work) {
    this.collection = collection;
    this.work = work;
  }

  @Override
  public void process(Record<String, String> order) {
    Document analysis = analyse(order.value());
    if (analysis == null) {
      return;
    }
    pretendToWork();
    collection.replaceOne(Filters.eq("_id", analysis.get("_id")), analysis, UPSERT);
  }

  /** Keep what the analysis asks for; null for what is no order, which is said and passed over. */
  private Document analyse(String text) {
    try {
      Document order = Document.parse(text);
      return new Document("_id", order.get("orderId", Number.class).longValue())
          .append("storeId", order.get("storeId"))
          .append("status", order.get("status"))
          .append("lines", order.getList("orderLines", Document.class).size());
    } catch (JsonParseException | ClassCastException | NullPointerException error) {
      String place = context().recordMetadata().map(OrderSink::place).orElse("an unknown place");
      LOG.warn("not an order at {}: {}", place, String.valueOf(error.getMessage()));
      return null;
    }
  }

  private static String place(RecordMetadata metadata) {
    return metadata.topic() + "-" + metadata.partition() + " offset " + metadata.offset();
  }

  private void pretendToWork() {
    try {
      Thread.sleep(work.toMillis());
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    }
  }
}
