import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/**
 * Logs in by the Java client as tests/clients/logins.py has it: its argument is a list of
 * logins, as JSON, and it prints for each, in their order, what becomes of it.
 */
class Login extends Common {
    static final String SECURITY = "org.apache.kafka.common.security.";

    public static void main(String[] arguments) throws Exception {
        server = ""; // each login has its own
        JsonNode logins = new ObjectMapper().readTree(arguments[0]);
        ExecutorService pool = Executors.newFixedThreadPool(logins.size());
        List<Future<String>> outcomes = new ArrayList<>();
        logins.forEach(each -> outcomes.add(pool.submit(() -> outcome(each))));
        for (Future<String> each : outcomes) {
            System.out.println(wait(each));
        }
        System.exit(0);
    }

    static Map<String, Object> credentials(JsonNode login) {
        Map<String, Object> settings = new HashMap<>();
        String mechanism = login.get("mechanism").asText();
        settings.put("bootstrap.servers", login.get("server").asText());
        settings.put("security.protocol", login.get("protocol").asText());
        settings.put("ssl.truststore.type", "PEM");
        settings.put("ssl.truststore.location", login.get("ca").asText());
        if (!login.get("certificate").asText().isEmpty()) {
            settings.put("ssl.keystore.type", "PEM");
            settings.put("ssl.keystore.location", login.get("certificate").asText());
        }
        if (!mechanism.isEmpty()) {
            settings.put("sasl.mechanism", mechanism);
        }
        String password =
            String.format(
                " required username=\"%s\" password=\"%s\";",
                login.get("user").asText(), login.get("password").asText());
        if (mechanism.equals("PLAIN")) {
            settings.put("sasl.jaas.config", SECURITY + "plain.PlainLoginModule" + password);
        } else if (mechanism.startsWith("SCRAM")) {
            settings.put("sasl.jaas.config", SECURITY + "scram.ScramLoginModule" + password);
        } else if (mechanism.equals("OAUTHBEARER")) {
            // The client id tells logins apart: clients with the same line share a token.
            settings.put(
                "sasl.jaas.config",
                String.format(
                    "%soauthbearer.OAuthBearerLoginModule required clientId=\"%s\""
                        + " clientSecret=\"secret\";",
                    SECURITY, login.get("topic").asText()));
            settings.put(
                "sasl.login.callback.handler.class",
                SECURITY + "oauthbearer.OAuthBearerLoginCallbackHandler");
            settings.put("sasl.oauthbearer.token.endpoint.url", login.get("token").asText());
        }
        return settings;
    }

    static String outcome(JsonNode login) throws Exception {
        Map<String, Object> settings = credentials(login);
        String topic = login.get("topic").asText();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        List<Integer> underLoad = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer(settings)) {
            sent.add(producer.send(new ProducerRecord<>(topic, "0")));
            wait(sent.get(0));
            try (KafkaConsumer<String, String> consumer = reader(settings, topic)) {
                Path over = Path.of(login.get("over").asText());
                while (underLoad.isEmpty() || !Files.exists(over)) {
                    sent.add(producer.send(new ProducerRecord<>(topic, "" + sent.size())));
                    read(consumer, 20, underLoad);
                    Thread.sleep(50);
                }
            }
            for (int i = 0; i < sent.size(); i++) {
                check(wait(sent.get(i)).offset() == i, "the offset of " + i);
            }
        } catch (ExecutionException refused) {
            return words(refused.getCause());
        } catch (KafkaException refused) {
            return words(refused);
        }
        List<Integer> afterwards = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = reader(settings, topic)) {
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
            while (afterwards.size() < sent.size() && System.nanoTime() < end) {
                read(consumer, 100, afterwards);
            }
        }
        check(afterwards.size() == sent.size(), topic + " has " + afterwards.size() + " records");
        for (int i = 0; i < sent.size(); i++) {
            check(afterwards.get(i) == i, topic + " has " + afterwards.get(i) + " at " + i);
            check(i >= underLoad.size() || underLoad.get(i) == i, topic + " under load: " + i);
        }
        return "ok";
    }

    static String words(Throwable refused) {
        return refused.getClass().getSimpleName() + " " + refused.getMessage();
    }

    static KafkaConsumer<String, String> reader(Map<String, Object> settings, String topic) {
        KafkaConsumer<String, String> made = consumer(settings);
        made.assign(Collections.singleton(new TopicPartition(topic, 0)));
        return made;
    }

    static void read(KafkaConsumer<String, String> consumer, long ms, List<Integer> numbers)
        throws Exception {
        for (ConsumerRecord<String, String> each : poll(consumer, ms)) {
            numbers.add(Integer.valueOf(each.value()));
        }
    }
}
