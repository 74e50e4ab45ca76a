import com.sun.tools.attach.VirtualMachine;
import java.util.TreeMap;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** Prints how many requests of each API a broker has answered since its start: its only argument is its process id. */
public final class RequestCounts {
  /** One bean an API and version; besides them the broker counts consumers' and followers' fetches once more. */
  private static final String COUNTERS = "kafka.network:type=RequestMetrics,name=RequestsPerSec,*";

  public static void main(String[] arguments) throws Exception {
    var machine = VirtualMachine.attach(arguments[0]);
    var address = new JMXServiceURL(machine.startLocalManagementAgent());
    var counts = new TreeMap<String, Long>();
    try (var connector = JMXConnectorFactory.connect(address)) {
      var beans = connector.getMBeanServerConnection();
      for (var bean : beans.queryNames(new ObjectName(COUNTERS), null)) {
        counts.merge(bean.getKeyProperty("request"), (Long) beans.getAttribute(bean, "Count"), Long::sum);
      }
    }
    machine.detach();
    counts.forEach((request, count) -> System.out.println(request + " " + count));
  }
}
