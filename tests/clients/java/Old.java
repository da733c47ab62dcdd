import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What the Java clients of 0.11 do, with their default settings: the first with an
 * administrative client, headers and idempotence. See Modern.java.
 */
public class Old {
    static final long SECONDS = 120;
    static String server;
    static AdminClient admin;

    public static void main(String[] arguments) throws Exception {
        server = arguments[0];
        admin = AdminClient.create(Collections.singletonMap("bootstrap.servers", server));
        topics();
        for (String codec : Arrays.asList("none", "gzip", "snappy", "lz4")) {
            records(codec, Collections.singletonMap("compression.type", codec));
        }
        records("idempotent", Collections.singletonMap("enable.idempotence", "true"));
        group();
        admin.close();
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
        NewTopic topic = new NewTopic(name, partitions, (short) 1);
        wait(admin.createTopics(Collections.singleton(topic)).all());
    }

    static KafkaConsumer<String, String> consumer(String group) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", server);
        settings.put("auto.offset.reset", "earliest");
        settings.put("group.id", group);
        settings.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(
            settings, new StringDeserializer(), new StringDeserializer());
    }

    static void write(String topic, int from, int to, Map<String, ?> more) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", server);
        settings.putAll(more);
        KafkaProducer<String, String> producer =
            new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = from; i < to; i++) {
            ProducerRecord<String, String> record =
                new ProducerRecord<>(topic, null, 1_700_000_000_000L + i, "key " + i, "" + i);
            record.headers().add("number", ("" + i).getBytes(StandardCharsets.UTF_8));
            sent.add(producer.send(record));
        }
        for (Future<RecordMetadata> each : sent) {
            check(wait(each).offset() >= 0, "a record has no offset");
        }
        producer.close();
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

    /** Records come back as they were written. */
    static void records(String name, Map<String, ?> more) throws Exception {
        String topic = "records-" + name;
        create(topic, 1);
        write(topic, 0, 1000, more);
        TopicPartition partition = new TopicPartition(topic, 0);
        Set<TopicPartition> one = Collections.singleton(partition);
        try (KafkaConsumer<String, String> consumer = consumer("none")) {
            consumer.assign(one);
            consumer.seekToBeginning(one);
            int next = 0;
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
            while (next < 1000) {
                check(System.nanoTime() < end, next + " records");
                for (ConsumerRecord<String, String> each : consumer.poll(200)) {
                    check(each.value().equals("" + next), each);
                    check(each.key().equals("key " + next), each);
                    check(each.timestamp() == 1_700_000_000_000L + next, each);
                    byte[] header = each.headers().lastHeader("number").value();
                    check(new String(header, StandardCharsets.UTF_8).equals("" + next), each);
                    next++;
                }
            }
            long found =
                consumer
                    .offsetsForTimes(Collections.singletonMap(partition, 1_700_000_000_040L))
                    .get(partition)
                    .offset();
            check(found == 40, "at the time: " + found);
            check(consumer.endOffsets(one).get(partition) == 1000, "end");
        }
        System.out.println("records " + name);
    }

    /** A member of a group, in a thread of its own: it counts what it reads. */
    static class Member extends Thread {
        final Map<Integer, Integer> seen;
        final Set<TopicPartition> assigned = ConcurrentHashMap.newKeySet();
        volatile boolean ends;
        volatile Throwable failure;

        Member(Map<Integer, Integer> seen) {
            this.seen = seen;
            start();
        }

        @Override
        public void run() {
            try (KafkaConsumer<String, String> consumer = consumer("members")) {
                consumer.subscribe(
                    Collections.singleton("shared"),
                    new ConsumerRebalanceListener() {
                        @Override
                        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                            assigned.addAll(partitions);
                        }

                        @Override
                        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                            assigned.clear();
                        }
                    });
                while (!ends) {
                    for (ConsumerRecord<String, String> each : consumer.poll(100)) {
                        seen.merge(Integer.parseInt(each.value()), 1, Integer::sum);
                    }
                    try {
                        consumer.commitSync();
                    } catch (org.apache.kafka.clients.consumer.CommitFailedException again) {
                        // The next poll joins the new generation.
                    }
                }
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

    /** Two members share a topic; one takes over when the other leaves. */
    static void group() throws Exception {
        create("shared", 4);
        write("shared", 0, 200, new HashMap<>());
        Map<Integer, Integer> seen = new ConcurrentHashMap<>();
        Member first = new Member(seen);
        until(() -> first.assigned.size() == 4 && seen.size() == 200, "alone");
        Member second = new Member(seen);
        until(() -> first.assigned.size() == 2 && second.assigned.size() == 2, "halves");
        write("shared", 200, 400, new HashMap<>());
        until(() -> seen.size() == 400, "all records");
        first.end();
        until(() -> second.assigned.size() == 4, "one is left");
        second.end();
        System.out.println("group");
    }
}
