#!/usr/bin/env bash
#
# etcd 3.4.23 (etcd-server 3.4.23-4+b4 of Debian 12).
#
# A compaction at revision R keeps what happened in R, so etcd accepts a watch that
# begins there; one that begins earlier is told that its revision is compacted. But if R
# deleted a key, the compaction removes that deletion as well, and the watch that begins
# at R never reports it: it is told of later changes only, and nothing says that one is
# missing. A client that has seen all up to R-1, and continues after an interruption,
# keeps the key for ever. It is safe to begin at the revision that was seen last, which
# is then refused, and to leave out what is known. A put in R is reported.
#
# Known as etcd-io/etcd#18089. 3.5.21 and 3.7.3, built from the Go module
# go.etcd.io/etcd/server/v3, report the deletion.
#
# Output seen, for a key that is put, deleted and put again, in revisions 2 to 4:
#
#     history is whole:
#         watch from 2: PUT in 2, DELETE in 3, PUT in 4
#         watch from 3: DELETE in 3, PUT in 4
#     history is compacted at 3:
#         watch from 2: refused, compacted at 3
#         watch from 3: PUT in 4

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download --quiet --quiet etcd-server=3.4.23-4+b4
dpkg-deb --extract etcd-server_*.deb .

cat >look.py <<'PYTHON'
import base64
import http.client
import json
import socket
import subprocess
import time


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def call(path, body):
    connection = http.client.HTTPConnection("127.0.0.1", client, timeout=30)
    connection.request("POST", path, json.dumps(body))
    return connection.getresponse()


def revision_of(path, **body):
    with call(path, body) as answer:
        return int(json.load(answer)["header"]["revision"])


def watch(first, last):
    """What a watch from a revision on reports, up to the change of the last one."""
    reported = []
    with call("/v3/watch", {"create_request": {"key": key, "start_revision": first}}) as answer:
        while line := answer.readline():
            said = json.loads(line)["result"]
            if said.get("canceled"):
                return f"refused, compacted at {said['compact_revision']}"
            for event in said.get("events", ()):
                revision = event["kv"]["mod_revision"]
                reported.append(f"{event.get('type', 'PUT')} in {revision}")
                if int(revision) == last:
                    return ", ".join(reported)
    return "ended"


client, peer = free_port(), free_port()
urls = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
command = ["usr/bin/etcd", "--name", "a", "--data-dir", "data", "--logger", "zap"]
command += ["--log-outputs", "/dev/null", "--initial-cluster", f"a={urls[1]}"]
for option in "listen-client-urls", "advertise-client-urls":
    command += [f"--{option}", urls[0]]
for option in "listen-peer-urls", "initial-advertise-peer-urls":
    command += [f"--{option}", urls[1]]
server = subprocess.Popen(command)
try:
    key = base64.b64encode(b"key").decode()
    for _ in range(300):
        try:
            with call("/v3/kv/range", {"key": key}) as answer:
                if "header" in json.load(answer):
                    break
        except OSError:
            pass
        time.sleep(0.1)
    put = revision_of("/v3/kv/put", key=key, value=key)
    deleted = revision_of("/v3/kv/deleterange", key=key)
    last = revision_of("/v3/kv/put", key=key, value=key)
    print("history is whole:")
    for first in put, deleted:
        print(f"    watch from {first}: {watch(first, last)}", flush=True)
    # A physical compaction is answered when it has removed what it removes.
    revision_of("/v3/kv/compaction", revision=deleted, physical=True)
    print(f"history is compacted at {deleted}:")
    for first in put, deleted:
        print(f"    watch from {first}: {watch(first, last)}", flush=True)
finally:
    server.kill()
    server.wait()
PYTHON
python3 look.py | tee seen
diff - seen <<'EXPECTED'
history is whole:
    watch from 2: PUT in 2, DELETE in 3, PUT in 4
    watch from 3: DELETE in 3, PUT in 4
history is compacted at 3:
    watch from 2: refused, compacted at 3
    watch from 3: PUT in 4
EXPECTED
