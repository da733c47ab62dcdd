import java.util.Arrays;
import java.util.Collections;
import java.util.Set;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.config.ConfigResource;

/**
 * What the Java clients of 0.11 do, with their default settings: the first with an
 * administrative client, headers and idempotence. See Modern.java.
 */
public class Old extends Common {
    public static void main(String[] arguments) throws Exception {
        server = arguments[0];
        admin = AdminClient.create(Collections.singletonMap("bootstrap.servers", server));
        topics();
        for (String codec : Arrays.asList("none", "gzip", "snappy", "lz4")) {
            records(codec, Collections.singletonMap("compression.type", codec));
        }
        records("idempotent", Collections.singletonMap("enable.idempotence", "true"));
        lookUps();
        System.out.println("offsets");
        share("default", Collections.emptyMap()).end();
        System.out.println("group default");
        admin.close();
    }

    /** Topics and configurations. */
    static void topics() throws Exception {
        check(wait(admin.describeCluster().nodes()).size() == 1, "nodes");
        create("made", 2);
        Set<String> name = Collections.singleton("made");
        int count = wait(admin.describeTopics(name).all()).get("made").partitions().size();
        check(count == 2, count);
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "made");
        Config set = new Config(Collections.singleton(new ConfigEntry("retention.ms", "1000")));
        wait(admin.alterConfigs(Collections.singletonMap(topic, set)).all());
        Config found = wait(admin.describeConfigs(Collections.singleton(topic)).all()).get(topic);
        check(found.get("retention.ms").value().equals("1000"), found);
        wait(admin.deleteTopics(name).all());
        check(!wait(admin.listTopics().names()).contains("made"), "still listed");
        System.out.println("topics");
    }
}
