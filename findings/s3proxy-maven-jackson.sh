#!/usr/bin/env bash
#
# s3proxy 3.1.0 (Maven, org.gaul:s3proxy), Java 17, Maven 3.8.
#
# With this artifact and what it depends on by Maven's rules, every request that has
# XML in its body (DeleteObjects, CompleteMultipartUpload) is answered with 500 and a
# page in HTML: NoSuchFieldError CLEAR_CURRENT_TOKEN_ON_CLOSE. The pom asks for
# jackson-dataformat-xml 2.21.2, and Maven takes jackson-core 2.18.2, which is nearer
# by way of another dependency. Requests without XML work, so it shows late. Asking for
# jackson-core and jackson-databind 2.21.2 as well helps.
#
# Output seen:
#
#     as it comes: jackson-core-2.18.2.jar 500
#     with jackson 2.21.2: jackson-core-2.21.2.jar 200

set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"

dependency() {
    echo "<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version></dependency>"
}

look() { # a title, a folder, more dependencies
    mkdir -p "$2/objects/bucket"
    cat >"$2/pom.xml" <<POM
<project><modelVersion>4.0.0</modelVersion><groupId>look</groupId><artifactId>look</artifactId>
<version>1</version><packaging>pom</packaging><dependencies>
$(dependency org.gaul s3proxy 3.1.0)$3
</dependencies></project>
POM
    mvn -q -B -f "$2" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory=jars >/dev/null 2>&1
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$2/conf" <<CONF
s3proxy.authorization=none
s3proxy.endpoint=http://127.0.0.1:$port
jclouds.provider=filesystem-nio2
jclouds.identity=any
jclouds.credential=any
jclouds.filesystem.basedir=$folder/$2/objects
CONF
    echo '<configuration/>' >"$2/logback.xml"
    java -Dlogback.configurationFile="$2/logback.xml" -cp "$2/jars/*" org.gaul.s3proxy.Main \
        --properties "$2/conf" >"$2/log" 2>&1 &
    server=$!
    until curl -s -o /dev/null "127.0.0.1:$port"; do sleep 0.1; done
    body='<Delete><Object><Key>none</Key></Object></Delete>'
    status=$(curl -s -o /dev/null -w '%{http_code}' -H 'Content-Type: application/xml' \
        --data "$body" "127.0.0.1:$port/bucket?delete")
    echo "$1: $(basename "$2"/jars/jackson-core-*.jar) $status" | tee -a seen
    kill "$server"
    server=
}

look "as it comes" plain ""
jackson=com.fasterxml.jackson.core
look "with jackson 2.21.2" mended \
    "$(dependency $jackson jackson-core 2.21.2)$(dependency $jackson jackson-databind 2.21.2)"
diff - seen <<'EXPECTED'
as it comes: jackson-core-2.18.2.jar 500
with jackson 2.21.2: jackson-core-2.21.2.jar 200
EXPECTED
