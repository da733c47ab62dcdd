import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Producers that write to partition 0 of a topic: idempotent, with up to five requests
 * under way, as by default, but with a batch for each record.
 *
 * <p>Arguments: the bootstrap servers and the topic. A line of the input, "NAME FIRST LAST
 * PAUSE", lets the producer NAME write the records "NAME FIRST" to "NAME LAST", PAUSE
 * milliseconds apart; it is made when it is named first. An empty line waits until all
 * records are reported, and prints a line for each: its value, a tab, and the error, if
 * there is one; then an empty line. The program ends with its input.
 */
public class Producers {
    static final Map<String, KafkaProducer<String, String>> producers = new TreeMap<>();
    static final Map<String, Future<RecordMetadata>> sent = new TreeMap<>();

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("batch.size", "1");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        List<Thread> threads = new ArrayList<>();
        for (String line; (line = input.readLine()) != null; ) {
            if (line.isEmpty()) {
                for (Thread each : threads) {
                    each.join();
                }
                threads.clear();
                report();
                continue;
            }
            String[] words = line.split(" ");
            KafkaProducer<String, String> producer =
                producers.computeIfAbsent(
                    words[0],
                    name ->
                        new KafkaProducer<>(
                            settings, new StringSerializer(), new StringSerializer()));
            Thread thread = new Thread(() -> write(producer, arguments[1], words));
            thread.start();
            threads.add(thread);
        }
        System.exit(0); // without waiting for producers whose brokers are gone
    }

    static void write(KafkaProducer<String, String> producer, String topic, String[] words) {
        producer.partitionsFor(topic);
        for (int i = Integer.parseInt(words[1]); i <= Integer.parseInt(words[2]); i++) {
            String value = words[0] + " " + i;
            Future<RecordMetadata> future =
                producer.send(new ProducerRecord<>(topic, 0, null, value));
            synchronized (sent) {
                sent.put(value, future);
            }
            try {
                Thread.sleep(Long.parseLong(words[3]));
            } catch (InterruptedException never) {
                throw new AssertionError(never);
            }
        }
    }

    static void report() throws Exception {
        for (Map.Entry<String, Future<RecordMetadata>> each : sent.entrySet()) {
            String error = "";
            try {
                each.getValue().get();
            } catch (ExecutionException failed) {
                error = failed.getCause().toString();
            }
            System.out.println(each.getKey() + "\t" + error);
        }
        sent.clear();
        System.out.println();
    }
}
