#!/usr/bin/env bash
#
# gofakes3 1.2.0 (Go module github.com/johannesboyne/gofakes3), its memory backend, and
# the same with bolt; Go 1.26.
#
# PutObject with "If-None-Match: *" keeps an object that exists, and answers 412. In
# S3 the same holds for CompleteMultipartUpload; here the condition is ignored there,
# the answer is 200, and the object is replaced. A client that relies on creates which
# never replace, and uploads large objects in parts, loses what was there.
#
# Output seen:
#
#     PutObject 412 first
#     CompleteMultipartUpload 200 third

set -euo pipefail

folder=$(mktemp -d)
cd "$folder"
GOBIN=$folder CGO_ENABLED=0 go install github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0 2>/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
./gofakes3 -backend memory -initialbucket bucket -quiet -host "127.0.0.1:$port" 2>log &
server=$!
trap 'kill $server; rm -rf "$folder"' EXIT
until curl -s -o /dev/null "127.0.0.1:$port"; do sleep 0.1; done

cat >look.py <<'PY'
import http.client
import re
import sys


def call(verb, path, body=b"", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    connection.request(verb, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


only_new = {"If-None-Match": "*"}
call("PUT", "/bucket/key", b"first")
status, _, _ = call("PUT", "/bucket/key", b"second", **only_new)
print("PutObject", status, call("GET", "/bucket/key")[2])

upload = re.search("<UploadId>(.*)</UploadId>", call("POST", "/bucket/key?uploads")[2])[1]
_, headers, _ = call("PUT", f"/bucket/key?partNumber=1&uploadId={upload}", b"third")
part = f"<Part><PartNumber>1</PartNumber><ETag>{headers['ETag']}</ETag></Part>"
whole = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
status, _, _ = call("POST", f"/bucket/key?uploadId={upload}", whole, **only_new)
print("CompleteMultipartUpload", status, call("GET", "/bucket/key")[2])
PY
python3 look.py "$port" | tee seen
diff - seen <<'EXPECTED'
PutObject 412 first
CompleteMultipartUpload 200 third
EXPECTED
