"""
The client's side of a benchmark: a process of its own that costs little, so
that it is the broker that is measured.

    python -m tests.bench.load '{"do": "produce", "port": 9092, ...}'

It sends batches that were encoded once, of up to 1,000,000 bytes and 10,000
records as librdkafka makes them by default, one to a request, and walks over
the batches that it fetches without looking into them. It speaks Produce 7 and
Fetch 4, which both the broker and the floor know. Prints one line of JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import selectors
import socket
import ssl
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from kafscale.wire.compression import Codec
from kafscale.wire.records import Record, build_batch

BATCH_BYTES = 1_000_000
BATCH_RECORDS = 10_000
IN_FLIGHT = 5
FETCH_BYTES = 50 << 20
PARTITION_BYTES = 1 << 20
TOPIC = "bench"
SECONDS = 300.0

Result = dict[str, Any]


def main() -> None:
    """
    Do the job that the command line has as JSON.
    """
    job = json.loads(sys.argv[1])
    result = JOBS[job.pop("do")](**job)
    print(json.dumps(result))


def connect(port: int, ca: str | None = None) -> socket.socket:
    """
    A connection as clients make it.

    @param ca: Path of the certificate with which the broker's is verified: the connection
        is one of TLS. None: it is plain.
    """
    link = socket.create_connection(("127.0.0.1", port), SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if ca is not None:
        context = ssl.create_default_context(cafile=ca)
        return context.wrap_socket(link, server_hostname="localhost")
    return link


def one_batch(
    record_bytes: int, records: int | None = None, codec: str = "none"
) -> tuple[bytes, int]:
    """
    Return a batch of records of that size, and their number.

    @param records: The number of records; None: as many as fit.
    @param codec: The name of a codec. The values are random bytes; with a codec they
        are digits, which compress to some 45 %.
    """
    count = records or max(1, min(BATCH_RECORDS, BATCH_BYTES // (record_bytes + 12)))
    values = os.urandom(record_bytes + count)
    if codec != "none":
        values = b"".join(b"%02d" % (byte % 100) for byte in os.urandom(BATCH_BYTES // 2))
    now = int(time.time() * 1000)
    step = 1 if codec == "none" else max(1, (len(values) - record_bytes) // count)
    starts = (number * step for number in range(count))
    made = (Record(i, now, None, values[at : at + record_bytes]) for i, at in enumerate(starts))
    return build_batch(made, codec=Codec[codec.upper()]), count


def produce_head(partition: int, size: int) -> bytes:
    """
    A Produce 7 request to one partition, up to the batch.
    """
    head = struct.pack(">hhih4s", 0, 7, 1, 4, b"load")
    body = struct.pack(">hhii", -1, -1, 30_000, 1) + _string(TOPIC)
    body += struct.pack(">iii", 1, partition, size)
    return struct.pack(">i", len(head) + len(body) + size) + head + body


def _string(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def receive(link: socket.socket, buffer: memoryview) -> memoryview:
    """
    The next response, in the buffer.
    """
    (size,) = struct.unpack(">i", _fill(link, buffer[:4]))
    return _fill(link, buffer[:size])


def _fill(link: socket.socket, room: memoryview) -> memoryview:
    at = 0
    while at < len(room):
        got = link.recv_into(room[at:])
        if not got:
            raise ConnectionError("the broker closed the connection")
        at += got
    return room


def produced(response: memoryview) -> int:
    """
    The base offset in the response to a produce.
    """
    at = 4 + 4 + 2 + len(TOPIC) + 4 + 4
    error, offset = struct.unpack_from(">hq", response, at)
    if error:
        raise RuntimeError(f"Produce was answered with error {error}")
    return int(offset)


def produce(
    port: int,
    partitions: int,
    record_bytes: int,
    total: int,
    connections: int = 1,
    in_flight: int = IN_FLIGHT,
    which: Sequence[int] = (),
    codec: str = "none",
    ca: str | None = None,
) -> Result:
    """
    Bring so many bytes to the partitions in turn, some requests ahead on each
    connection.

    @param which: Which partitions they are, if not the first ones.
    @param ca: See L{connect}.
    @return: With the offsets at which each partition began and ended.
    """
    batch, count = one_batch(record_bytes, codec=codec)
    heads = [produce_head(index, len(batch)) for index in which or range(partitions)]
    requests = max(total // len(batch), partitions)
    starts, ends = [-1] * partitions, [0] * partitions
    buffer = memoryview(bytearray(65536))
    under_way: deque[tuple[socket.socket, int]] = deque()

    def answered() -> None:
        link, index = under_way.popleft()
        offset = produced(receive(link, buffer))
        if starts[index] < 0:
            starts[index] = offset
        ends[index] = offset + count

    with ExitStack() as opened:
        links = [opened.enter_context(connect(port, ca)) for _ in range(connections)]
        began = time.perf_counter()
        for number in range(requests):
            if len(under_way) == in_flight * connections:
                answered()
            link, index = links[number % connections], number % partitions
            _send(link, heads[index], batch)
            under_way.append((link, index))
        while under_way:
            answered()
        seconds = time.perf_counter() - began
    return {
        "bytes": requests * len(batch),
        "seconds": seconds,
        "batch": len(batch),
        "starts": starts,
        "ends": ends,
    }


def _send(link: socket.socket, head: bytes, batch: bytes) -> None:
    if isinstance(link, ssl.SSLSocket):  # it has no sendmsg
        link.sendall(head)
        link.sendall(batch)
        return
    sent = link.sendmsg([head, batch])
    if sent < len(head):
        link.sendall(head[sent:])
        sent = len(head)
    if sent - len(head) < len(batch):
        link.sendall(memoryview(batch)[sent - len(head) :])


def fetch_request(places: dict[int, int], wait_ms: int, topic: str = TOPIC) -> bytes:
    """
    A Fetch 4 request for these partitions of a topic from these offsets.
    """
    head = struct.pack(">hhih4s", 1, 4, 1, 4, b"load")
    body = struct.pack(">iiiibi", -1, wait_ms, 1, FETCH_BYTES, 0, 1) + _string(topic)
    body += struct.pack(">i", len(places))
    for index, offset in places.items():
        body += struct.pack(">iqi", index, offset, PARTITION_BYTES)
    return struct.pack(">i", len(head) + len(body)) + head + body


def fetched(response: memoryview, places: dict[int, int]) -> int:
    """
    Move C{places} past the whole batches in a response; their size in bytes.
    """
    at = 4 + 4 + 4 + 2 + len(TOPIC)
    (count,) = struct.unpack_from(">i", response, at)
    at += 4
    total = 0
    for _ in range(count):
        index, error, _, _, aborted = struct.unpack_from(">ihqqi", response, at)
        if error:
            raise RuntimeError(f"Fetch was answered with error {error}")
        at += 26 + 16 * max(aborted, 0)
        (size,) = struct.unpack_from(">i", response, at)
        at += 4
        end = at + size
        # Apache Kafka sends the beginning of the next batch, too.
        while end - at >= 27:
            base, length = struct.unpack_from(">qi", response, at)
            if 12 + length > end - at:
                break
            (last,) = struct.unpack_from(">i", response, at + 23)
            places[index] = base + last + 1
            total += 12 + length
            at += 12 + length
        at = end
    return total


def fetch(
    port: int, starts: list[int], ends: list[int], passes: int = 1, ca: str | None = None
) -> Result:
    """
    Read the partitions from C{starts} to C{ends} on one connection, all of
    them in each request, so many times.

    @param ca: See L{connect}.
    """
    buffer = memoryview(bytearray(FETCH_BYTES + (len(starts) + 1) * PARTITION_BYTES))
    buffer[:] = bytes(len(buffer))  # The first touch of memory is not the broker's.
    total = 0
    with connect(port, ca) as link:
        began = time.perf_counter()
        for _ in range(passes):
            places = dict(enumerate(starts))
            while places:
                link.sendall(fetch_request(places, 500))
                total += fetched(receive(link, buffer), places)
                places = {i: offset for i, offset in places.items() if offset < ends[i]}
        seconds = time.perf_counter() - began
    return {"bytes": total, "seconds": seconds}


def requests(
    port: int, connections: int, seconds: float, partitions: int, in_flight: int = IN_FLIGHT
) -> Result:
    """
    One record of 100 bytes to a request, some requests ahead on each connection, for so
    long.

    @return: With the median and the 99th percentile of the times to an acknowledgement, in
        seconds, as C{p50} and C{p99}.
    """
    batch, _ = one_batch(100, 1)
    times: list[float] = []
    with selectors.DefaultSelector() as selector:
        links = []
        for number in range(connections):
            request = produce_head(number % partitions, len(batch)) + batch
            link = connect(port)
            links.append(link)
            sent = deque([time.perf_counter()] * in_flight)
            link.sendall(request * in_flight)
            selector.register(link, selectors.EVENT_READ, (request, bytearray(), sent))
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            for key, _ in selector.select(1.0):
                request, waiting, sent = key.data
                link = key.fileobj  # type: ignore[assignment]
                some = link.recv(65536)
                if not some:
                    raise ConnectionError("the broker closed the connection")
                now = time.perf_counter()
                waiting += some
                answers = 0
                while len(waiting) >= 4:
                    (size,) = struct.unpack_from(">i", waiting)
                    if len(waiting) < 4 + size:
                        break
                    produced(memoryview(bytes(waiting[4 : 4 + size])))
                    del waiting[: 4 + size]
                    times.append(now - sent.popleft())
                    answers += 1
                link.sendall(request * answers)
                sent.extend([now] * answers)
        for link in links:
            link.close()
    times.sort()
    p50, p99 = (times[int(len(times) * part)] for part in (0.5, 0.99))
    return {"requests": len(times), "seconds": now - began, "p50": p50, "p99": p99}


def session_requests(session: int, wait_ms: int) -> Iterator[bytes]:
    """
    Fetch 7 requests within a session, in which nothing changes.
    """
    head = struct.pack(">hhih4s", 1, 7, 1, 4, b"load")
    for epoch in itertools.count(1):
        body = struct.pack(">iiiibii", -1, wait_ms, 1, FETCH_BYTES, 0, session, epoch)
        body += struct.pack(">ii", 0, 0)
        yield struct.pack(">i", len(head) + len(body)) + head + body


def begin_session(link: socket.socket, places: dict[int, int], topic: str = TOPIC) -> int:
    """
    The id of a new fetch session (KIP-227) for these partitions.
    """
    head = struct.pack(">hhih4s", 1, 7, 1, 4, b"load")
    body = struct.pack(">iiiibii", -1, 0, 1, FETCH_BYTES, 0, 0, 0)
    body += struct.pack(">i", 1) + _string(topic) + struct.pack(">i", len(places))
    for index, offset in places.items():
        body += struct.pack(">iqqi", index, offset, -1, PARTITION_BYTES)
    body += struct.pack(">i", 0)
    link.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
    error, session = struct.unpack_from(">hi", receive(link, memoryview(bytearray(65536))), 8)
    if error or not session:
        raise RuntimeError(f"no fetch session: error {error}, session {session}")
    return int(session)


def poll(
    port: int,
    connections: int,
    partitions: int,
    seconds: float,
    wait_ms: int,
    sessions: bool = False,
    topic: str = TOPIC,
) -> Result:
    """
    Long polls of partitions in which nothing happens, on many connections.

    @param sessions: Whether they name their partitions once, as Java's and
        Go's clients do, or each time, as librdkafka does.
    """
    each = partitions // connections
    with selectors.DefaultSelector() as selector:
        links = []
        for number in range(connections):
            places = dict.fromkeys(range(number * each, (number + 1) * each), 0)
            link = connect(port)
            links.append(link)
            if sessions:
                polling = session_requests(begin_session(link, places, topic), wait_ms)
            else:
                polling = itertools.repeat(fetch_request(places, wait_ms, topic))
            link.sendall(next(polling))
            selector.register(link, selectors.EVENT_READ, (polling, bytearray()))
        print("polling", flush=True)
        polls = 0
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            for key, _ in selector.select(0.5):
                polling, waiting = key.data
                link = key.fileobj  # type: ignore[assignment]
                waiting += link.recv(65536)
                if len(waiting) >= 4 and len(waiting) >= 4 + struct.unpack_from(">i", waiting)[0]:
                    waiting.clear()
                    polls += 1
                    link.sendall(next(polling))
        for link in links:
            link.close()
    return {"polls": polls, "seconds": now - began}


JOBS: dict[str, Callable[..., Result]] = {
    "produce": produce,
    "fetch": fetch,
    "requests": requests,
    "poll": poll,
}

if __name__ == "__main__":
    main()
