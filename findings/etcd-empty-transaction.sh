#!/usr/bin/env bash
#
# etcd 3.4.23 (etcd-server 3.4.23-4+b4 of Debian 12).
#
# Reads of etcd are linearizable by default: a member that has lost its quorum does
# not answer a range, because it may have missed commits. A transaction that has
# compares, but no operations in either branch, reads as well: its answer says whether
# the compares hold. But the member answers it at once from what it has, which may be
# old: a transaction is taken for serializable if none of its ranges demands more, and
# this one has no range. Nothing in the request or the answer says so. With one range
# in a branch, which may be that of any key, the same transaction waits for the quorum.
#
# Output seen, with one of two members up (a key was put before the other was added):
#
#     range: no answer within 3 s
#     compare and no operation: succeeded: true
#     compare and a range: no answer within 3 s

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
import sys
import time


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ask(port, path, body, seconds):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("POST", path, json.dumps(body))
        return json.loads(connection.getresponse().read())
    except TimeoutError:
        return None
    finally:
        connection.close()


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
            if "header" in ask(client, "/v3/kv/put", {"key": key, "value": key}, 10):
                break
        except OSError:
            pass
        time.sleep(0.1)
    added = {"peerURLs": [f"http://127.0.0.1:{free_port()}"]}
    assert "member" in ask(client, "/v3/cluster/member/add", added, 10)
    compare = [{"key": key, "target": "CREATE", "result": "GREATER", "create_revision": 0}]
    in_branch = [{"request_range": {"key": key}}]
    for name, path, body in (
        ("range", "/v3/kv/range", {"key": key}),
        ("compare and no operation", "/v3/kv/txn", {"compare": compare}),
        ("compare and a range", "/v3/kv/txn", {"compare": compare, "success": in_branch}),
    ):
        answer = ask(client, path, body, 3)
        if answer is None:
            print(f"{name}: no answer within 3 s")
        else:
            print(f"{name}: succeeded: {json.dumps(answer.get('succeeded'))}", flush=True)
finally:
    server.kill()
    server.wait()
PYTHON

found=$(python3 look.py)
printf '%s\n' "$found"
[ "$found" = "range: no answer within 3 s
compare and no operation: succeeded: true
compare and a range: no answer within 3 s" ]
