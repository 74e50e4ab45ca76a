import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/** Serves MongoDB's wire protocol from memory, on a loopback port that its only argument names. */
public final class MongoServer {
  /**
   * The newest version that it knows says wire version 8; today's drivers refuse anything before MongoDB 4.4, which is
   * wire version 9. What that added is used by nobody here.
   */
  private static final MongoVersion VERSION =
      new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
          return List.of(4, 4, 0);
        }

        @Override
        public int getWireVersion() {
          return 9;
        }
      };

  public static void main(String[] arguments) {
    var server = new de.bwaldvogel.mongo.MongoServer(new MemoryBackend().version(VERSION));
    server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
  }
}
