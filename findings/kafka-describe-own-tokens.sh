#!/usr/bin/env bash
#
# Apache Kafka 4.4.0 (Maven, kafka_2.13 and kafka-tools), Java 17, Maven 3.8.
#
# `kafka-delegation-tokens.sh --describe` without --owner-principal is to return the
# tokens of the user, and those that the user may describe; so its help says. It returns
# none, whoever asks. With --owner-principal it finds them. The tool sends an empty list
# of owners, which means nobody, where null would mean all; the Admin client with its
# default options sends null, and gets the token. Who looks for tokens to revoke after a
# leak is told that there are none.
#
# Output seen, by the user alice, who has made one token:
#
#     --describe --owner-principal User:alice: Total number of tokens : 1
#     --describe: Total number of tokens : 0
#     Admin.describeDelegationToken(): 1

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
internal=PLAINTEXT://127.0.0.1:$(free_port)
controller=127.0.0.1:$(free_port)
cat >server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=$controller
controller.listener.names=CONTROLLER
listeners=SASL_PLAINTEXT://127.0.0.1:$port,$internal,CONTROLLER://$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=$kafka.common.security.scram.ScramLoginModule required;
delegation.token.secret.key=a key of the cluster
log.dirs=$folder/data
PROPERTIES
cat >alice.properties <<PROPERTIES
bootstrap.servers=127.0.0.1:$port
security.protocol=SASL_PLAINTEXT
sasl.mechanism=SCRAM-SHA-256
sasl.jaas.config=$kafka.common.security.scram.ScramLoginModule required username="alice" password="secret";
PROPERTIES
run kafka.tools.StorageTool format --config server.properties --standalone \
    --cluster-id "$(run kafka.tools.StorageTool random-uuid)" \
    --add-scram 'SCRAM-SHA-256=[name=alice,password=secret]' >/dev/null
run kafka.Kafka server.properties >log 2>&1 &
server=$!
until (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server"
    sleep 0.1
done

tokens() {
    run $kafka.tools.DelegationTokenCommand --bootstrap-server "127.0.0.1:$port" \
        --command-config alice.properties "$@"
}

look() {
    echo "$*: $(tokens "$@" | grep Total)"
}

cat >Look.java <<'JAVA'
import java.io.FileReader;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;

class Look {
    public static void main(String[] arguments) throws Exception {
        var settings = new Properties();
        try (var file = new FileReader("alice.properties")) {
            settings.load(file);
        }
        try (var admin = Admin.create(settings)) {
            var found = admin.describeDelegationToken().delegationTokens().get();
            System.out.println("Admin.describeDelegationToken(): " + found.size());
        }
    }
}
JAVA
tokens --create --max-life-time-period -1 >/dev/null
{
    look --describe --owner-principal User:alice
    look --describe
    run Look.java
} | tee seen
diff - seen <<'EXPECTED'
--describe --owner-principal User:alice: Total number of tokens : 1
--describe: Total number of tokens : 0
Admin.describeDelegationToken(): 1
EXPECTED
