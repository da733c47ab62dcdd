#!/usr/bin/env bash
#
# rclone 1.76.0 (Go module), `rclone serve s3` of a local directory; Go 1.26.
#
# A suffix range asks for the last bytes of an object, and for the whole object if it
# is not longer than that (RFC 9110, 14.1.2): "bytes=-100" of ten bytes is 206 with
# all ten. This server answers 416 InvalidRange instead, without the Content-Range
# that names the size. A client that reads the end of a file of any size in one
# request cannot tell such a small object from an empty one, for which 416 is right.
# With as many bytes as the object has, and with fewer, the answer is right.
#
# gofakes3 1.2.0 (github.com/johannesboyne/gofakes3), from which its server comes, does
# the same.
#
# Output seen, for an object of ten digits:
#
#     bytes=-4 206 bytes 6-9/10 6789
#     bytes=-10 206 bytes 0-9/10 0123456789
#     bytes=-100 416 none InvalidRange

set -euo pipefail

folder=$(mktemp -d)
cd "$folder"
cat >go.mod <<'MOD'
module look

go 1.26

require github.com/rclone/rclone v1.76.0
MOD
cat >main.go <<'GO'
package main

import (
	_ "github.com/rclone/rclone/backend/local"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/serve"
	_ "github.com/rclone/rclone/cmd/serve/s3"
)

func main() {
	cmd.Main()
}
GO
GOFLAGS=-mod=mod CGO_ENABLED=0 go build -o rclone . 2>/dev/null

mkdir -p objects/bucket
printf 0123456789 >objects/bucket/key
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
./rclone serve s3 --config /dev/null --addr "127.0.0.1:$port" objects 2>log &
server=$!
trap 'kill $server; rm -rf "$folder"' EXIT
until curl -s -o /dev/null "127.0.0.1:$port"; do sleep 0.1; done

cat >look.py <<'PY'
import http.client
import re
import sys

for wanted in ("bytes=-4", "bytes=-10", "bytes=-100"):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    connection.request("GET", "/bucket/key", headers={"Range": wanted})
    answer = connection.getresponse()
    body = answer.read().decode()
    code = re.search("<Code>(.*)</Code>", body)
    print(wanted, answer.status, answer.headers["Content-Range"] or "none", code[1] if code else body)
PY
python3 look.py "$port" | tee seen
diff - seen <<'EXPECTED'
bytes=-4 206 bytes 6-9/10 6789
bytes=-10 206 bytes 0-9/10 0123456789
bytes=-100 416 none InvalidRange
EXPECTED
