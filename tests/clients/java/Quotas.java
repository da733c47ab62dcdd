import java.time.Duration;
import java.util.Collections;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A producer or consumer that takes what it gets for some time.
 *
 * <p>Arguments: produce or consume, server, client id, topic, partition, seconds, bytes of a
 * record, bytes offered in a second. Prints the bytes of each second, then "throttle" with the mean
 * and the longest time of the client's own metrics, in milliseconds.
 */
class Quotas {
    static final TreeMap<Long, Long> taken = new TreeMap<>();
    static long begun;

    static double seconds() {
        return (System.nanoTime() - begun) / 1e9;
    }

    static synchronized void add(long size) {
        taken.merge((long) seconds(), size, Long::sum);
    }

    static double metric(Map<MetricName, ? extends Metric> metrics, String name) {
        for (Map.Entry<MetricName, ? extends Metric> each : metrics.entrySet()) {
            if (each.getKey().name().equals(name)) {
                return (Double) each.getValue().metricValue();
            }
        }
        throw new AssertionError(name);
    }

    static synchronized void print(Map<MetricName, ? extends Metric> metrics, String kind) {
        taken.forEach((second, size) -> System.out.println(second + " " + size));
        double mean = metric(metrics, kind + "-throttle-time-avg");
        double most = metric(metrics, kind + "-throttle-time-max");
        System.out.println("throttle " + mean + " " + most);
    }

    static void produce(
            Properties settings, TopicPartition to, double until, int size, double rate) {
        settings.put("buffer.memory", 4 << 20);
        settings.put("delivery.timeout.ms", 300_000);
        settings.put("max.block.ms", 300_000);
        byte[] value = new byte[size];
        new Random(1).nextBytes(value);
        KafkaProducer<byte[], byte[]> producer =
            new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        begun = System.nanoTime();
        double offered = 0;
        while (seconds() < until) {
            if (offered > seconds()) {
                try {
                    Thread.sleep(2);
                } catch (InterruptedException error) {
                    throw new IllegalStateException(error);
                }
                continue;
            }
            producer.send(
                new ProducerRecord<>(to.topic(), to.partition(), null, value),
                (metadata, error) -> {
                    if (error == null) {
                        add(size);
                    }
                });
            offered = Math.max(offered, seconds() - 0.1) + size / rate;
        }
        print(producer.metrics(), "produce");
        producer.close(Duration.ZERO);
    }

    static void consume(Properties settings, TopicPartition partition, double until) {
        settings.put("group.id", settings.get("client.id"));
        settings.put("enable.auto.commit", "false");
        KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(
                settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.assign(Collections.singleton(partition));
        consumer.seekToBeginning(Collections.singleton(partition));
        begun = System.nanoTime();
        while (seconds() < until) {
            for (ConsumerRecord<byte[], byte[]> each : consumer.poll(Duration.ofMillis(100))) {
                add(each.serializedValueSize());
            }
        }
        print(consumer.metrics(), "fetch");
        consumer.close();
    }

    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[1]);
        settings.put("client.id", arguments[2]);
        int number = Integer.parseInt(arguments[4]);
        TopicPartition partition = new TopicPartition(arguments[3], number);
        double until = Double.parseDouble(arguments[5]);
        if (arguments[0].equals("produce")) {
            int size = Integer.parseInt(arguments[6]);
            produce(settings, partition, until, size, Double.parseDouble(arguments[7]));
        } else {
            consume(settings, partition, until);
        }
        System.exit(0);
    }
}
