#!/usr/bin/env bash
#
# Apache Kafka 4.4.0 (Maven, kafka_2.13 and kafka-tools), Java 17, Maven 3.8.
#
# `kafka-configs.sh --add-config` wants brackets around values with commas, and around
# SCRAM credentials of any content. --add-config-file takes a bracket for a part of the
# value, which its help does not say; it refers to --add-config. So the line that sets a
# password, when it moves from the command line, where other users of the machine can
# read it, into a file, is refused with a message that does not tell why; without the
# brackets it is right there, and wrong for the option. Where values are not checked, as
# the lists of metrics that clients shall send, the brackets are stored, and the names
# in the list are no longer those of any metric.
#
# Output seen:
#
#     SCRAM-SHA-256=[password=secret]
#         option: Completed updating config
#         file: Invalid credential property
#     SCRAM-SHA-256=password=secret
#         option: Invalid entity config:
#         file: Completed updating config
#     metrics=[org.a,org.b]
#         option: Completed updating config
#             metrics=org.a,org.b
#         file: Completed updating config
#             metrics=[org.a,org.b]

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

controller=127.0.0.1:$(free_port)
port=$(free_port)
cat >server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://$controller
log.dirs=$folder/data
PROPERTIES
run kafka.tools.StorageTool format --config server.properties --standalone \
    --cluster-id "$(run kafka.tools.StorageTool random-uuid)" >/dev/null
run kafka.Kafka server.properties >log 2>&1 &
server=$!
until (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$server"
    sleep 0.1
done

configs() {
    run $kafka.tools.ConfigCommand --bootstrap-server "127.0.0.1:$port" "$@" 2>&1 || true
}

add() { # a line, and the entity
    line=$1
    shift
    echo "$line"
    echo "    option: $(configs --alter "$@" --add-config "$line" | cut -d ' ' -f 1-3)"
    metrics
    echo "$line" >file
    echo "    file: $(configs --alter "$@" --add-config-file file | cut -d ' ' -f 1-3)"
    metrics
}

metrics() { # what has been set, if it is of the metrics of clients
    case $line in
    metrics*) configs --describe --entity-type client-metrics | sed -n 's/^ *\(metrics=[^ ]*\).*/        \1/p' ;;
    esac
}

user=(--entity-type users --entity-name alice)
{
    add 'SCRAM-SHA-256=[password=secret]' "${user[@]}"
    add 'SCRAM-SHA-256=password=secret' "${user[@]}"
    add 'metrics=[org.a,org.b]' --entity-type client-metrics --entity-name subscription
} | tee seen
diff - seen <<'EXPECTED'
SCRAM-SHA-256=[password=secret]
    option: Completed updating config
    file: Invalid credential property
SCRAM-SHA-256=password=secret
    option: Invalid entity config:
    file: Completed updating config
metrics=[org.a,org.b]
    option: Completed updating config
        metrics=org.a,org.b
    file: Completed updating config
        metrics=[org.a,org.b]
EXPECTED
