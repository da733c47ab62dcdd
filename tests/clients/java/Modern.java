import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
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
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What the Java clients of 2.8 and later do, with their default settings.
 *
 * <p>Argument: the bootstrap server. Prints the name of each check that holds; ends with
 * status 0 if all of them do. All checks run in one virtual machine, because each costs
 * seconds to start.
 */
public class Modern {
    static final long SECONDS = 120;
    static String server;
    static Admin admin;

    public static void main(String[] arguments) throws Exception {
        server = arguments[0];
        admin = Admin.create(Collections.singletonMap("bootstrap.servers", server));
        topics();
        for (String codec : Arrays.asList("none", "gzip", "snappy", "lz4", "zstd")) {
            records(codec);
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

    static void check(boolean right, Object what) {
        if (!right) {
            throw new AssertionError(String.valueOf(what));
        }
    }

    static <T> T wait(Future<T> future) throws Exception {
        return future.get(SECONDS, TimeUnit.SECONDS);
    }

    static void create(String name, int partitions) throws Exception {
        NewTopic topic = new NewTopic(name, Optional.of(partitions), Optional.empty());
        wait(admin.createTopics(Collections.singleton(topic)).all());
    }

    static Properties settings(Map<String, ?> more) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", server);
        settings.putAll(more);
        return settings;
    }

    static KafkaProducer<String, String> producer(Map<String, ?> more) {
        return new KafkaProducer<>(
            settings(more), new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Map<String, ?> more) {
        Map<String, Object> all = new HashMap<>(more);
        all.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(
            settings(all), new StringDeserializer(), new StringDeserializer());
    }

    /** Writes records with these numbers as values, over all partitions. */
    static void write(String topic, int from, int to, Map<String, ?> more) throws Exception {
        try (KafkaProducer<String, String> producer = producer(more)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = from; i < to; i++) {
                ProducerRecord<String, String> record =
                    new ProducerRecord<>(topic, null, 1_700_000_000_000L + i, "key " + i, "" + i);
                record.headers().add("number", ("" + i).getBytes(StandardCharsets.UTF_8));
                sent.add(producer.send(record));
            }
            for (Future<RecordMetadata> each : sent) {
                check(wait(each).hasOffset(), "a record has no offset");
            }
        }
    }

    /** Reads a topic from its start, without a group, until so many records are there. */
    static List<ConsumerRecord<String, String>> read(String topic, int count) {
        try (KafkaConsumer<String, String> consumer = consumer(Collections.emptyMap())) {
            List<TopicPartition> all = new ArrayList<>();
            consumer.partitionsFor(topic)
                .forEach(each -> all.add(new TopicPartition(topic, each.partition())));
            consumer.assign(all);
            consumer.seekToBeginning(all);
            List<ConsumerRecord<String, String>> found = new ArrayList<>();
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
            while (found.size() < count) {
                check(System.nanoTime() < end, found.size() + " of " + count + " records");
                consumer.poll(Duration.ofMillis(200)).forEach(found::add);
            }
            return found;
        }
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

    /** Records come back as they were written, from a producer of default settings. */
    static void records(String codec) throws Exception {
        String topic = "records-" + codec;
        create(topic, 3);
        write(topic, 0, 1000, Collections.singletonMap("compression.type", codec));
        compare(topic);
        System.out.println("records " + codec);
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

    /** Compares 1000 records with those that were written. */
    static void compare(String topic) {
        Map<Integer, ConsumerRecord<String, String>> found = new TreeMap<>();
        for (ConsumerRecord<String, String> each : read(topic, 1000)) {
            int number = Integer.parseInt(each.value());
            check(each.key().equals("key " + number), each);
            check(each.timestamp() == 1_700_000_000_000L + number, each);
            byte[] header = each.headers().lastHeader("number").value();
            check(new String(header, StandardCharsets.UTF_8).equals(each.value()), each);
            check(found.put(number, each) == null, each);
        }
        check(found.size() == 1000, found.size());
    }

    /** Look-ups by time, ends of partitions, deleted records. */
    static void offsets() throws Exception {
        create("offsets", 1);
        write("offsets", 0, 100, Collections.emptyMap());
        TopicPartition partition = new TopicPartition("offsets", 0);
        try (KafkaConsumer<String, String> consumer = consumer(Collections.emptyMap())) {
            long found =
                consumer
                    .offsetsForTimes(Collections.singletonMap(partition, 1_700_000_000_040L))
                    .get(partition)
                    .offset();
            check(found == 40, "at the time: " + found);
            Set<TopicPartition> one = Collections.singleton(partition);
            check(consumer.endOffsets(one).get(partition) == 100, "end");
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

    /** A member of a group, in a thread of its own: it counts what it reads. */
    static class Member extends Thread {
        final KafkaConsumer<String, String> consumer;
        final Map<Integer, Integer> seen;
        final Set<TopicPartition> assigned = ConcurrentHashMap.newKeySet();
        volatile boolean ends;
        volatile Throwable failure;

        Member(String group, String topic, Map<String, ?> more, Map<Integer, Integer> seen) {
            Map<String, Object> all = new HashMap<>(more);
            all.put("group.id", group);
            all.put("enable.auto.commit", "false");
            this.consumer = consumer(all);
            this.seen = seen;
            consumer.subscribe(
                Collections.singleton(topic),
                new ConsumerRebalanceListener() {
                    @Override
                    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                        assigned.addAll(partitions);
                    }

                    @Override
                    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                        assigned.removeAll(partitions);
                    }
                });
            start();
        }

        @Override
        public void run() {
            try {
                while (!ends) {
                    for (ConsumerRecord<String, String> each :
                        consumer.poll(Duration.ofMillis(100))) {
                        seen.merge(Integer.parseInt(each.value()), 1, Integer::sum);
                    }
                    try {
                        consumer.commitSync();
                    } catch (org.apache.kafka.common.errors.RebalanceInProgressException again) {
                        // The next poll joins the new generation; nothing is lost.
                    }
                }
                consumer.close();
            } catch (Throwable error) {
                failure = error;
            }
        }

        void end() throws Exception {
            ends = true;
            join(TimeUnit.SECONDS.toMillis(SECONDS));
            check(failure == null, failure);
        }
    }

    interface Condition {
        boolean holds();
    }

    static void until(Condition condition, Object what) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
        while (!condition.holds()) {
            check(System.nanoTime() < end, "not so: " + what);
            Thread.sleep(20);
        }
    }

    /** Two members share a topic, one takes over when the other leaves; commits hold. */
    static void group(String name, Map<String, ?> more) throws Exception {
        String topic = "shared-" + name;
        create(topic, 4);
        write(topic, 0, 200, Collections.emptyMap());
        Map<Integer, Integer> seen = new ConcurrentHashMap<>();
        Member first = new Member(name, topic, more, seen);
        until(() -> first.assigned.size() == 4 && seen.size() == 200, "alone " + seen.size());
        Member second = new Member(name, topic, more, seen);
        until(() -> first.assigned.size() == 2 && second.assigned.size() == 2, "halves");
        write(topic, 200, 400, Collections.emptyMap());
        until(() -> seen.size() == 400, "all records");
        first.end();
        until(() -> second.assigned.size() == 4, "one is left");
        write(topic, 400, 500, Collections.emptyMap());
        until(() -> seen.size() == 500, "all records");
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
