import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/** Prints the types of every field of every message that this Kafka speaks: one line for API, version and direction. */
public class Layouts {
    public static void main(String[] arguments) {
        for (ApiKeys api : ApiKeys.clientApis()) {
            for (short version = api.oldestVersion(); version <= api.latestVersion(); version++) {
                print(api, version, "request", api.messageType.requestSchemas()[version]);
                print(api, version, "response", api.messageType.responseSchemas()[version]);
            }
        }
    }

    private static void print(ApiKeys api, short version, String direction, Schema schema) {
        System.out.println(api.id + " " + version + " " + direction + " " + structure(schema));
    }

    private static String structure(Schema schema) {
        List<BoundField> fields = Arrays.asList(schema.fields());
        return fields.stream().map(field -> name(field.def.type)).collect(Collectors.joining(" ", "{", "}"));
    }

    private static String name(Type type) {
        if (type instanceof Schema) {
            return structure((Schema) type);
        }
        if (type instanceof TaggedFields) {
            return "TAGS";
        }
        if (type.isArray()) {
            String compact = type.toString().startsWith("COMPACT") ? "COMPACT_" : "";
            return compact + "[" + name(type.arrayElementType().get()) + "]";
        }
        return type.toString().replace("NULLABLE_", "");
    }
}
