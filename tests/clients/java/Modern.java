import java.time.Duration;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.DescribeTopicsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;

/**
 * What the Java clients of 2.8 and later do, with their default settings.
 *
 * <p>Argument: the bootstrap server. Prints the name of each check that holds; ends with
 * status 0 if all of them do. All checks run in one virtual machine, because each costs
 * seconds to start.
 */
public class Modern extends Common {
    public static void main(String[] arguments) throws Exception {
        server = arguments[0];
        admin = AdminClient.create(Collections.singletonMap("bootstrap.servers", server));
        topics();
        for (String codec : Arrays.asList("none", "gzip", "snappy", "lz4", "zstd")) {
            records(codec, Collections.singletonMap("compression.type", codec));
        }
        for (String codec : Arrays.asList("gzip", "snappy", "lz4", "zstd")) {
            recompressed(codec);
        }
        offsets();
        configs();
        group("default", new HashMap<>());
        group(
            "cooperative",
            Collections.singletonMap(
                "partition.assignment.strategy",
                "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
        groups();
        admin.close(Duration.ofSeconds(10));
    }

    /** Describes topics, by the method of version 3.1 and later or by the one before. */
    @SuppressWarnings("unchecked")
    static Map<String, TopicDescription> described(Set<String> names) throws Exception {
        DescribeTopicsResult found = admin.describeTopics(names);
        String method = "allTopicNames";
        try {
            found.getClass().getMethod(method);
        } catch (NoSuchMethodException before31) {
            method = "all";
        }
        return wait(
            (Future<Map<String, TopicDescription>>)
                found.getClass().getMethod(method).invoke(found));
    }

    /** Topics: created, described, grown, deleted. */
    static void topics() throws Exception {
        check(wait(admin.describeCluster().nodes()).size() == 1, "nodes");
        check(wait(admin.describeCluster().clusterId()).length() == 22, "cluster id");
        create("made", 2);
        try {
            create("made", 2);
            throw new AssertionError("a topic was made twice");
        } catch (java.util.concurrent.ExecutionException expected) {
            check(expected.getCause() instanceof TopicExistsException, expected.getCause());
        }
        wait(admin.createPartitions(
            Collections.singletonMap("made", NewPartitions.increaseTo(5))).all());
        Set<String> name = Collections.singleton("made");
        int count = described(name).get("made").partitions().size();
        check(count == 5, count + " partitions");
        check(wait(admin.listTopics().names()).contains("made"), "not listed");
        wait(admin.deleteTopics(name).all());
        check(!wait(admin.listTopics().names()).contains("made"), "still listed");
        System.out.println("topics");
    }

    /** Records that the broker compressed come back as they were written. */
    static void recompressed(String codec) throws Exception {
        String name = "recompressed-" + codec;
        NewTopic topic = new NewTopic(name, Optional.of(1), Optional.empty());
        topic.configs(Collections.singletonMap("compression.type", codec));
        wait(admin.createTopics(Collections.singleton(topic)).all());
        write(name, 0, 1000, Collections.emptyMap());
        compare(name);
        System.out.println("recompressed " + codec);
    }

    /** Look-ups by time, ends of partitions, deleted records. */
    static void offsets() throws Exception {
        lookUps();
        TopicPartition partition = new TopicPartition("offsets", 0);
        try (KafkaConsumer<String, String> consumer = consumer(Collections.emptyMap())) {
            Set<TopicPartition> one = Collections.singleton(partition);
            wait(admin.deleteRecords(
                Collections.singletonMap(partition, RecordsToDelete.beforeOffset(30))).all());
            check(consumer.beginningOffsets(one).get(partition) == 30, "beginning");
        }
        Map<TopicPartition, OffsetSpec> spec = new HashMap<>();
        spec.put(partition, OffsetSpec.earliest());
        check(wait(admin.listOffsets(spec).partitionResult(partition)).offset() == 30, "listed");
        System.out.println("offsets");
    }

    /** Configurations of topics and of the broker. */
    static void configs() throws Exception {
        create("configured", 1);
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "configured");
        Collection<AlterConfigOp> set =
            Collections.singleton(
                new AlterConfigOp(
                    new ConfigEntry("retention.ms", "1000"), AlterConfigOp.OpType.SET));
        wait(admin.incrementalAlterConfigs(Collections.singletonMap(topic, set)).all());
        Config found = wait(admin.describeConfigs(Collections.singleton(topic)).all()).get(topic);
        check(found.get("retention.ms").value().equals("1000"), found);
        check(!found.get("retention.ms").isDefault(), found);
        int node = wait(admin.describeCluster().controller()).id();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "" + node);
        check(
            wait(admin.describeConfigs(Collections.singleton(broker)).all())
                    .get(broker)
                    .entries()
                    .size()
                > 5,
            "configurations of the broker");
        System.out.println("configs");
    }

    /** Two members share a topic, one takes over when the other leaves; commits hold. */
    static void group(String name, Map<String, ?> more) throws Exception {
        Member second = share(name, more);
        ConsumerGroupDescription described =
            wait(admin.describeConsumerGroups(Collections.singleton(name)).all()).get(name);
        check(described.members().size() == 1, described);
        second.end();
        long committed = 0;
        for (OffsetAndMetadata each :
            wait(admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata()).values()) {
            committed += each.offset();
        }
        check(committed == 500, committed + " committed");
        System.out.println("group " + name);
    }

    /** Groups: listed, offsets altered, deleted. */
    @SuppressWarnings("removal") // listGroups() is not in 3.9
    static void groups() throws Exception {
        Set<String> names = new HashSet<>();
        wait(admin.listConsumerGroups().all()).forEach(each -> names.add(each.groupId()));
        check(names.contains("default") && names.contains("cooperative"), names);
        TopicPartition partition = new TopicPartition("shared-default", 0);
        wait(admin.alterConsumerGroupOffsets(
            "default", Collections.singletonMap(partition, new OffsetAndMetadata(7))).all());
        long now =
            wait(admin.listConsumerGroupOffsets("default").partitionsToOffsetAndMetadata())
                .get(partition)
                .offset();
        check(now == 7, now);
        wait(admin.deleteConsumerGroupOffsets("default", Collections.singleton(partition)).all());
        wait(admin.deleteConsumerGroups(Arrays.asList("default", "cooperative")).all());
        System.out.println("groups");
    }
}
