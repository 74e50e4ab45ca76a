package dev.wakegate.examples.pizza;

import com.mongodb.client.MongoClient;
import com.mongodb.client.MongoClients;
import com.mongodb.client.MongoCollection;
import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.bson.Document;

/**
 * Extract orders from Kafka, transform them, load them into MongoDB.
 *
 * <p>Settings come from the environment; each has its default in {@link #setting}'s callers.
 */
public final class PizzaOrders {
  private static final Duration CLOSE_WITHIN = Duration.ofSeconds(20);

  private PizzaOrders() {}

  /** Run until SIGTERM. */
  public static void main(String[] arguments) throws InterruptedException, IOException {
    Duration work = Duration.ofMillis(Long.parseLong(setting("WORK_MILLISECONDS", "0")));
    try (MongoClient mongo = MongoClients.create(setting("MONGODB_URI", "mongodb://localhost:27017"))) {
      MongoCollection<Document> collection =
          mongo.getDatabase("pipelineSink").getCollection("pizzaOrderAnalysis");
      KafkaStreams streams = new KafkaStreams(topology(collection, work), properties());
      // A record that cannot be stored ends the process: its offset is not committed, and Kubernetes starts the next.
      streams.setUncaughtExceptionHandler(error -> StreamThreadExceptionResponse.SHUTDOWN_CLIENT);
      CountDownLatch ended = new CountDownLatch(1);
      streams.setStateListener(
          (now, before) -> {
            if (now == KafkaStreams.State.ERROR || now == KafkaStreams.State.NOT_RUNNING) {
              ended.countDown();
            }
          });
      // What was stored is committed and the partitions are given up before the Pod goes.
      Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(CLOSE_WITHIN)));
      streams.start();
      ended.await();
      if (streams.state() == KafkaStreams.State.ERROR) {
        System.exit(1);
      }
    }
  }

  static Topology topology(MongoCollection<Document> collection, Duration work) {
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(setting("TOPIC", "pizzaOrders"), Consumed.with(Serdes.String(), Serdes.String()))
        .process(() -> new OrderSink(collection, work));
    return builder.build();
  }

  static Properties properties() throws IOException {
    Properties properties = clientProperties(setting("CLIENT_PROPERTIES", ""));
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, setting("APPLICATION_ID", "streams-pipeline-app"));
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, setting("BOOTSTRAP_SERVERS", "localhost:9092"));
    // The lag that an autoscaler sees is as old as the last commit. The default of 30 s would outlast cooldownPeriod.
    properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "1000");
    // As the trigger's offsetResetPolicy says. It counts for a partition that has no commit yet.
    properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "latest");
    // By default a stopped Kafka Streams application stays in its group for a session timeout (45 s), which suits a
    // restart. One that is scaled down does not come back: its partitions should go to the others at once.
    properties.put(StreamsConfig.consumerPrefix("internal.leave.group.on.close"), "true");
    return properties;
  }

  /** How to log in, as every client of Kafka's own takes it (security.protocol and the rest); from a mounted Secret. */
  private static Properties clientProperties(String file) throws IOException {
    Properties properties = new Properties();
    if (!file.isBlank()) {
      try (Reader reader = Files.newBufferedReader(Path.of(file))) {
        properties.load(reader);
      }
    }
    return properties;
  }

  private static String setting(String name, String byDefault) {
    String found = System.getenv(name);
    return found == null || found.isBlank() ? byDefault : found;
  }
}
