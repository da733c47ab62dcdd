#!/usr/bin/env bash
#
# Apache Kafka 4.4.0 (Maven, kafka_2.13 and kafka-tools), Java 17, Maven 3.8.
#
# `kafka-configs.sh` takes SCRAM credentials with a number of iterations and a password.
# If the password comes first, all that follows is a part of it, up to the bracket: the
# user gets the password "secret,iterations=8192" and 4096 iterations. The tool says that
# it has updated the user, and --describe shows only the iterations. Then the user cannot
# log in. `kafka-storage.sh format --add-scram` takes the same two in any order.
#
# Output seen:
#
#     Completed updating config for user alice.
#     Completed updating config for user bob.
#     SCRAM credential configs for user-principal 'alice' are SCRAM-SHA-256=iterations=8192
#     SCRAM credential configs for user-principal 'bob' are SCRAM-SHA-256=iterations=4096
#     SCRAM credential configs for user-principal 'carol' are SCRAM-SHA-256=iterations=8192
#     alice by secret: accepted
#     alice by secret,iterations=8192: refused
#     bob by secret: refused
#     bob by secret,iterations=8192: accepted
#     carol by secret: accepted
#     carol by secret,iterations=8192: refused

set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -9 "$server"; wait "$server" || true; } 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"

kafka=org.apache.kafka
dependency() {
    echo "<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version></dependency>"
}
cat >pom.xml <<POM
<project><modelVersion>4.0.0</modelVersion><groupId>look</groupId><artifactId>look</artifactId>
<version>1</version><packaging>pom</packaging><dependencies>
$(dependency $kafka kafka_2.13 4.4.0)$(dependency $kafka kafka-tools 4.4.0)
$(dependency org.slf4j slf4j-nop 1.7.36)
</dependencies></project>
POM
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory=jars >/dev/null 2>&1

run() {
    java -Xmx256m -cp 'jars/*' "$@"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

port=$(free_port)
internal=127.0.0.1:$(free_port)
controller=127.0.0.1:$(free_port)
cat >server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=$controller
controller.listener.names=CONTROLLER
listeners=SASL_PLAINTEXT://127.0.0.1:$port,PLAINTEXT://$internal,CONTROLLER://$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=$kafka.common.security.scram.ScramLoginModule required;
log.dirs=$folder/data
PROPERTIES
run kafka.tools.StorageTool format --config server.properties --standalone \
    --cluster-id "$(run kafka.tools.StorageTool random-uuid)" \
    --add-scram 'SCRAM-SHA-256=[name=carol,password=secret,iterations=8192]' >/dev/null
run kafka.Kafka server.properties >log 2>&1 &
server=$!
until (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server"
    sleep 0.1
done

configs() {
    run $kafka.tools.ConfigCommand --bootstrap-server "$internal" --entity-type users "$@"
}

cat >Look.java <<'JAVA'
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.errors.SaslAuthenticationException;

class Look {
    public static void main(String[] arguments) throws Exception {
        for (var user : List.of("alice", "bob", "carol")) {
            for (var password : List.of("secret", "secret,iterations=8192")) {
                System.out.println(user + " by " + password + ": " + login(arguments[0], user, password));
            }
        }
    }

    static String login(String server, String user, String password) throws Exception {
        var module = "org.apache.kafka.common.security.scram.ScramLoginModule required ";
        var names = "username=\"" + user + "\" password=\"" + password + "\";";
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", server, "security.protocol", "SASL_PLAINTEXT",
            "sasl.mechanism", "SCRAM-SHA-256", "sasl.jaas.config", module + names);
        try (var admin = Admin.create(settings)) {
            admin.describeCluster().clusterId().get();
            return "accepted";
        } catch (ExecutionException error) {
            if (error.getCause() instanceof SaslAuthenticationException) {
                return "refused";
            }
            throw error;
        }
    }
}
JAVA
{
    configs --alter --entity-name alice --add-config 'SCRAM-SHA-256=[iterations=8192,password=secret]'
    configs --alter --entity-name bob --add-config 'SCRAM-SHA-256=[password=secret,iterations=8192]'
    configs --describe | sort
    run Look.java "127.0.0.1:$port"
} | tee seen
diff - seen <<'EXPECTED'
Completed updating config for user alice.
Completed updating config for user bob.
SCRAM credential configs for user-principal 'alice' are SCRAM-SHA-256=iterations=8192
SCRAM credential configs for user-principal 'bob' are SCRAM-SHA-256=iterations=4096
SCRAM credential configs for user-principal 'carol' are SCRAM-SHA-256=iterations=8192
alice by secret: accepted
alice by secret,iterations=8192: refused
bob by secret: refused
bob by secret,iterations=8192: accepted
carol by secret: accepted
carol by secret,iterations=8192: refused
EXPECTED
