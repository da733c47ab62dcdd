#!/usr/bin/env bash
#
# confluent-kafka 2.16.1 with librdkafka 2.16.0 (PyPI), Python 3.11.
#
# An idempotent producer has two batches under way. The broker refuses the first one
# with NOT_LEADER_OR_FOLLOWER, so it is not stored, and takes the second one. Apache
# Kafka answers so when the broker begins to lead the partition between the two: it
# takes any first sequence from a producer that is new to a partition. librdkafka then
# reports both as delivered, and does not send the first one again: its record is lost.
# The success of a later batch is taken for that of all before ("implicit ack"), which
# is meant for batches whose fate is not known, as after REQUEST_TIMED_OUT; but the
# check does not look at why the first one failed. In both cases the record of the
# first batch is reported without an offset.
#
# Output seen (the server below is all of the broker that the client needs):
#
#     NOT_LEADER_OR_FOLLOWER, then success:
#         first is reported as delivered at offset None
#         second is reported as delivered at offset 0
#         the broker has: second
#     REQUEST_TIMED_OUT, then success:
#         first is reported as delivered at offset None
#         second is reported as delivered at offset 1
#         the broker has: first second

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check confluent-kafka==2.16.1

cat >look.py <<'PY'
import socket
import struct
import threading

from confluent_kafka import Producer

PRODUCE, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 3, 18, 22
SERVED = {PRODUCE: (3, 3), METADATA: (1, 1), API_VERSIONS: (0, 0), INIT_PRODUCER_ID: (0, 0)}
SERVED[1] = 4, 4  # Fetch, which is never sent: a sign of the record format
UNSUPPORTED_VERSION = 35


def text(value):
    return struct.pack(">h", len(value)) + value


class Broker:
    """Answers the first batch with an error and the second one with success."""

    def __init__(self, error, stores_first):
        self.error, self.stored = error, []
        self.stores = [stores_first, True]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.waiting = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rb")
        while size := stream.read(4):
            frame = stream.read(*struct.unpack(">i", size))
            key, version, correlation = struct.unpack_from(">hhi", frame)
            answer = self.answer(key, version, frame)
            if key == PRODUCE:
                self.waiting.append(correlation)
                if len(self.waiting) < 2:
                    continue  # until both are under way
                for number, each in enumerate(self.waiting):
                    self.reply(connection, each, self.produced(number))
                continue
            self.reply(connection, correlation, answer)

    def reply(self, connection, correlation, answer):
        connection.sendall(struct.pack(">ii", len(answer) + 4, correlation) + answer)

    def answer(self, key, version, frame):
        if key == API_VERSIONS:
            error = UNSUPPORTED_VERSION if version else 0
            rows = [struct.pack(">hhh", each, *span) for each, span in SERVED.items()]
            return struct.pack(">hi", error, len(rows)) + b"".join(rows)
        if key == INIT_PRODUCER_ID:
            return struct.pack(">ihqh", 0, 0, 1000, 0)
        if key == METADATA:
            broker = struct.pack(">i", 0) + text(b"127.0.0.1") + struct.pack(">ih", self.port, -1)
            partition = struct.pack(">hiiiiii", 0, 0, 0, 1, 0, 1, 0)
            topic = struct.pack(">h", 0) + text(b"log") + struct.pack(">?i", False, 1) + partition
            return struct.pack(">i", 1) + broker + struct.pack(">ii", 0, 1) + topic
        assert key == PRODUCE, key
        self.stored.append(b"second" if b"second" in frame else b"first")
        return b""

    def produced(self, number):
        error = 0 if number else self.error
        if not self.stores[number]:
            self.stored.remove(b"first")
        offset = self.stored.index(b"second") if number else -1
        partition = struct.pack(">ihqq", 0, error, offset, -1)
        return struct.pack(">i", 1) + text(b"log") + struct.pack(">i", 1) + partition + bytes(4)


def look(name, error, stores_first):
    broker = Broker(error, stores_first)
    producer = Producer(
        {
            "bootstrap.servers": f"127.0.0.1:{broker.port}",
            "enable.idempotence": True,
            "batch.num.messages": 1,
            "linger.ms": 0,
            "message.timeout.ms": 20_000,
        }
    )
    reported = {}

    def report(error, message):
        fate = f"failed: {error}" if error else f"delivered at offset {message.offset()}"
        reported[message.value().decode()] = fate

    for value in ("first", "second"):
        producer.produce("log", value, partition=0, on_delivery=report)
    producer.flush(30)
    print(f"{name}, then success:")
    for value in ("first", "second"):
        print(f"    {value} is reported as {reported[value]}")
    print(f"    the broker has: {b' '.join(broker.stored).decode()}")


look("NOT_LEADER_OR_FOLLOWER", 6, False)
look("REQUEST_TIMED_OUT", 7, True)
PY
venv/bin/python look.py 2>/dev/null | tee seen
diff - seen <<'EXPECTED'
NOT_LEADER_OR_FOLLOWER, then success:
    first is reported as delivered at offset None
    second is reported as delivered at offset 0
    the broker has: second
REQUEST_TIMED_OUT, then success:
    first is reported as delivered at offset None
    second is reported as delivered at offset 1
    the broker has: first second
EXPECTED
