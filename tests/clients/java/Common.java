import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What the Java clients of all versions do, with their default settings. */
class Common {
    static final long SECONDS = 120;
    static String server;
    static AdminClient admin;

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

    /** Polls, by the method of version 2.0 and later or by the one before. */
    @SuppressWarnings("unchecked")
    static ConsumerRecords<String, String> poll(KafkaConsumer<String, String> consumer, long ms)
        throws Exception {
        try {
            return (ConsumerRecords<String, String>)
                KafkaConsumer.class
                    .getMethod("poll", Duration.class)
                    .invoke(consumer, Duration.ofMillis(ms));
        } catch (NoSuchMethodException before20) {
            return (ConsumerRecords<String, String>)
                KafkaConsumer.class.getMethod("poll", long.class).invoke(consumer, ms);
        }
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
                check(wait(each).offset() >= 0, "a record has no offset");
            }
        }
    }

    /** Reads a topic from its start, without a group, until so many records are there. */
    static List<ConsumerRecord<String, String>> read(String topic, int count)
        throws Exception {
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
                poll(consumer, 200).forEach(found::add);
            }
            return found;
        }
    }

    /** Records come back as they were written, from a producer with these settings. */
    static void records(String name, Map<String, ?> more) throws Exception {
        String topic = "records-" + name;
        create(topic, 3);
        write(topic, 0, 1000, more);
        compare(topic);
        System.out.println("records " + name);
    }

    /** Compares 1000 records with those that were written. */
    static void compare(String topic) throws Exception {
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

    /** Look-ups by time, and the end of a partition. */
    static void lookUps() throws Exception {
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
        }
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
                    for (ConsumerRecord<String, String> each : poll(consumer, 100)) {
                        seen.merge(Integer.parseInt(each.value()), 1, Integer::sum);
                    }
                    try {
                        consumer.commitSync();
                    } catch (CommitFailedException | RebalanceInProgressException again) {
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

    /**
     * Two members share a topic, and one takes over when the other leaves, which is
     * returned.
     */
    static Member share(String name, Map<String, ?> more) throws Exception {
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
        return second;
    }
}
