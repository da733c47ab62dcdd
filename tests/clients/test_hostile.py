"""
Malformed input that no client would send, and too much input.

After each the broker serves others, and its memory is bounded.
"""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator

import crc32c
import zstandard

from kafscale.wire.headers import request_header
from kafscale.wire.messages import (
    REQUESTS,
    CreateTopicsRequest,
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    ProduceRequest,
)
from kafscale.wire.schema import Request
from tests.clients.broker import Broker, BrokerTestCase
from tests.clients.raw import LATEST, RawClient, batch_of

MIB = 1 << 20
MEMORY = 350 * MIB
SECONDS = 10.0
HALF_OPEN = 10_000

CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
INVALID_TOPIC_EXCEPTION = 17
MAX_TIMESTAMP = -3


class HostileTests(BrokerTestCase):
    """
    Malformed and excessive requests to one broker.
    """

    def setUp(self) -> None:
        """
        A broker with a topic.
        """
        super().setUp()
        self.subject = self.broker()
        self.client = self.connect(self.subject)
        self.client.create("good")
        self.written = 0
        self.addCleanup(self.assert_serves)

    def assert_serves(self) -> None:
        """
        The broker still serves connected and new clients, and has kept within
        its memory.
        """
        for client in (self.client, self.connect(self.subject)):
            part = client.produce("good", 0, batch_of([b"still here"]))
            self.assertEqual((part.error_code, part.base_offset), (0, self.written))
            self.written += 1
            self.assertEqual(client.records("good")[-1].value, b"still here")
        self.assertLess(self.subject.memory("VmHWM"), MEMORY)

    # ---------------------------------------------------------------- frames

    def test_arbitrary_bytes(self) -> None:
        """
        Noise, with and without a proper length before it, is answered or its
        connection closed.
        """
        chance = random.Random(1)
        for i in range(300):
            noise = chance.randbytes(chance.randint(1, 3_000))
            if i % 2:
                noise = struct.pack(">i", len(noise)) + noise
            if i % 4 == 3:
                # So that it looks like a request that we know.
                key = chance.choice(sorted(REQUESTS))
                noise = noise[:4] + struct.pack(">hh", key, chance.randint(0, 18)) + noise[8:]
            self.assert_ends(noise)

    def test_truncated(self) -> None:
        """
        A request that stops at any byte: in the middle of its frame, and in
        the middle of its body with a frame of that length.
        """
        for frame in some_requests():
            for end in sorted({*range(0, len(frame), 1 + len(frame) // 40)}):
                self.assert_ends(struct.pack(">i", len(frame)) + frame[:end])
                self.assert_ends(struct.pack(">i", end) + frame[:end])

    def test_huge_counts(self) -> None:
        """
        A count or a length inside of a request that says there are billions.
        """
        for frame in some_requests():
            for at in range(8, len(frame)):
                for huge in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x07"):
                    bent = frame[:at] + huge + frame[at + len(huge) :]
                    if at % 3 == 0:
                        self.assert_ends(struct.pack(">i", len(bent)) + bent)

    def test_frame_of_2_gib(self) -> None:
        """
        A frame that is announced larger than any may be, or with a negative
        size, closes its connection at once.
        """
        for size in (2**31 - 1, 100 * MIB + 1, -1, -(2**31), 0, 3):
            with socket.create_connection(("127.0.0.1", self.subject.port), SECONDS) as link:
                link.sendall(struct.pack(">i", size))
                self.assertEqual(received(link), b"", f"size {size}")

    def test_large_frames_announced(self) -> None:
        """
        Announcing much costs the broker nothing: only what came is kept.
        """
        links = []
        for _ in range(100):
            link = socket.create_connection(("127.0.0.1", self.subject.port), SECONDS)
            self.addCleanup(link.close)
            link.sendall(struct.pack(">i", 100 * MIB) + b"\0\0\0\7" + bytes(10_000))
            links.append(link)
        self.assertEqual(self.client.offset("good", 0, LATEST), 0)

    def test_half_open(self) -> None:
        """
        Ten thousand connections that have sent two bytes, and nothing since.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.assertGreaterEqual(hard, HALF_OPEN + 500, "this machine allows too few open files")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        links = contextlib.ExitStack()
        self.addCleanup(links.close)
        for _ in range(HALF_OPEN):
            link = socket.create_connection(("127.0.0.1", self.subject.port), SECONDS)
            links.enter_context(link).sendall(b"\0\0")
        with RawClient(self.subject.port) as newcomer:
            self.assertEqual(newcomer.offset("good", 0, LATEST), 0)

    # --------------------------------------------------------------- batches

    def test_wrong_crc(self) -> None:
        """
        A batch that was damaged on its way is refused, wherever it was.
        """
        batch = batch_of([b"precious"] * 3)
        for at in range(17, len(batch)):
            bent = bytearray(batch)
            bent[at] ^= 0x40  # In the attributes: a bit without a meaning.
            part = self.client.produce("good", 0, bytes(bent))
            self.assertEqual(part.error_code, CORRUPT_MESSAGE, f"byte {at}")
        self.assertEqual(self.client.offset("good", 0, LATEST), 0)

    def test_zip_bomb(self) -> None:
        """
        A small batch that inflates to half a gigabyte is not inflated, not
        even where the broker must look into it: for a record by its time, and
        for missing keys in a compacted topic.
        """
        self.client.create("compacted", cleanup_policy="compact")
        for codec, compress in ((1, _gzip), (4, _zstd)):
            bomb = bomb_of(codec, compress, 512 * MIB)
            self.assertLess(len(bomb), MIB)
            for topic in (f"bombed-{codec}", "compacted"):
                if topic != "compacted":
                    self.client.create(topic)
                self.client.produce(topic, 0, bomb)
                for when in (0, 1_700_000_000_000, 1_700_000_000_500, MAX_TIMESTAMP):
                    self.client.offset_response(topic, 0, when)
                self.assertLess(self.subject.memory("VmHWM"), MEMORY)

    # ----------------------------------------------------------------- names

    def test_path_in_topic_name(self) -> None:
        """
        A topic's name never becomes a path.
        """
        before = everything_beside(self.subject)
        for name in ("../evil", "..", ".", "/evil", "a/b", "evil\0", "", "x" * 250, "é"):
            (topic,) = self.client.metadata(name, create=True).topics
            self.assertEqual(topic.error_code, INVALID_TOPIC_EXCEPTION, name)
            made = CreateTopicsRequest.Topic
            wanted = made(
                name=name, num_partitions=1, replication_factor=1, assignments=[], configs=[]
            )
            request = CreateTopicsRequest(topics=[wanted], timeout_ms=1000, validate_only=False)
            (answer,) = self.client.call(request, 7).topics
            self.assertEqual(answer.error_code, INVALID_TOPIC_EXCEPTION, name)
            part = self.client.produce(name, 0, batch_of([b"evil"]))
            self.assertIn(part.error_code, (UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION))
        self.assertEqual(everything_beside(self.subject), before)

    def test_partitions_that_cannot_be(self) -> None:
        """
        A partition outside of its topic is unknown, at once.
        """
        for index in (2**31 - 1, -1, -(2**31), 1):
            got = [
                self.client.produce("good", index, batch_of([b"x"])).error_code,
                self.client.fetch("good", index, 0, wait=30_000).error_code,
                self.client.offset_response("good", index, LATEST).error_code,
            ]
            self.assertEqual(got, [UNKNOWN_TOPIC_OR_PARTITION] * 3, f"partition {index}")

    # ------------------------------------------------------------- assertion

    def assert_ends(self, data: bytes) -> None:
        """
        A connection on which only this is sent ends, with or without an answer.
        """
        with socket.create_connection(("127.0.0.1", self.subject.port), SECONDS) as link:
            try:
                link.sendall(data)
                link.shutdown(socket.SHUT_WR)
            except OSError:
                return  # Closed already.
            received(link)


def received(link: socket.socket) -> bytes:
    """
    All that comes until the broker closes the connection, which must be soon.
    """
    got = b""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            some = link.recv(65536)
        except ConnectionError:
            return got
        if not some:
            return got
        got += some
    raise AssertionError("the connection is neither closed nor quiet")


def some_requests() -> Iterator[bytes]:
    """
    Requests in good order, to be spoiled.
    """
    produce = ProduceRequest.Topic
    batch = produce.Partition(index=0, records=memoryview(batch_of([b"truncated"])))
    fetch = FetchRequest.Topic
    position = fetch.Partition(partition=0, fetch_offset=0, partition_max_bytes=1000)
    offsets = ListOffsetsRequest.Topic
    when = offsets.Partition(partition_index=0, timestamp=LATEST)
    requests: list[tuple[Request, list[int]]] = [
        (MetadataRequest(topics=[], allow_auto_topic_creation=False), [1, 4, 12]),
        # To a topic that is not there: whole, it must not be stored.
        (
            ProduceRequest(
                acks=1, timeout_ms=1000, topic_data=[produce(name="absent", partition_data=[batch])]
            ),
            [3, 9],
        ),
        (
            FetchRequest(
                max_wait_ms=0, min_bytes=0, topics=[fetch(topic="good", partitions=[position])]
            ),
            [4, 12],
        ),
        (ListOffsetsRequest(topics=[offsets(name="good", partitions=[when])]), [1, 7]),
    ]
    for request, versions in requests:
        for version in versions:
            yield frame(request, version)


def frame(request: Request, version: int) -> bytes:
    """
    A request as it is sent, without its length.
    """
    return request_header(type(request).key, version, 1, "hostile") + b"".join(
        request.encode(version)
    )


def everything_beside(broker: Broker) -> set[str]:
    """
    Return the names of all files in the broker's folder and above it, except
    those in its data directory.
    """
    above = {str(path) for path in broker.folder.parent.iterdir()}
    return above | {str(path) for path in broker.folder.iterdir()}


def bomb_of(codec: int, compress: Callable[[Iterator[bytes]], bytes], size: int) -> bytes:
    """
    A batch of one record that holds C{size} zeros.
    """
    content = b"\0\0\0\1" + _varint(size)  # attributes, time, offset; no key; the value's length
    length = len(content) + size + 1

    def pieces() -> Iterator[bytes]:
        yield _varint(length) + content
        for _ in range(size // MIB):
            yield bytes(MIB)
        yield b"\0"  # no headers

    body = compress(pieces())
    time = 1_700_000_000_000
    checked = struct.pack(">hiqqqhii", codec, 0, time, time + 1000, -1, -1, -1, 1) + body
    head = struct.pack(">iBI", -1, 2, crc32c.crc32c(checked))
    return struct.pack(">qi", 0, len(head) + len(checked)) + head + checked


def _varint(value: int) -> bytes:
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _gzip(pieces: Iterator[bytes]) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(each) for each in pieces) + packer.flush()


def _zstd(pieces: Iterator[bytes]) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join(packer.compress(each) for each in pieces) + packer.flush()
