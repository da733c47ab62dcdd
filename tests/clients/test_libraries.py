"""
Every client reads the records of every other: byte for byte, in every codec.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.clients.broker import BrokerTestCase, telling_logs
from tests.clients.libraries import LIBRARIES, Library
from tests.clients.raw import CODECS, RawClient, Record

COUNT = 10_000


def some_records(count: int = COUNT) -> list[Record]:
    """
    Records with all that a record may have, and without; compressible, each
    by itself too, because a client at its defaults may send it alone.
    """
    return [
        Record(
            key=None if i % 50 == 7 else b"\x00\xff key %d" % (i % 1000),
            value=None if i % 100 == 31 else b"\x00\x80\xff %d " % i * 20 + b"-" * (i % 100),
            headers=(("trace", b"%x" % (i * 7919)), ("kind", b"order")) if i % 3 else (),
            timestamp=1_700_000_000_000 + i * 7 - (i % 5) * 20,
        )
        for i in range(count)
    ]


class LibraryTests(BrokerTestCase):
    """
    One test for each client and codec.
    """

    def exchange(self, writer: Library, codec: str) -> None:
        """
        C{writer} produces to one topic at its defaults, to another with
        idempotence; the stored batches have that codec, and everybody reads
        the same.
        """
        broker = self.broker(group_initial_rebalance_delay_ms=0)  # kafkajs reads in groups
        written = writer.given(some_records())
        for topic, idempotent in (("defaults", False), ("idempotent", True)):
            with RawClient(broker.port) as raw:
                raw.create(topic)
                writer.write(broker.address, topic, written, codec, idempotent)
                batches = list(raw.batches(topic))
            stored = [record for batch in batches for record in batch.records()]
            self.assert_same(stored, written, f"as stored in {topic}")
            # A client leaves a batch as it is when that is smaller, as a lone
            # record without a value may be.
            squeezed = sum(batch.record_count for batch in batches if batch.codec == CODECS[codec])
            self.assertGreaterEqual(squeezed, 0.95 * COUNT, f"records in {codec}")
            self.assertLessEqual({batch.codec for batch in batches}, {0, CODECS[codec]})
            if idempotent:
                self.assertNotIn(-1, {batch.producer_id for batch in batches})
            else:
                for reader in LIBRARIES.values():
                    read = reader.read(broker.address, topic, COUNT)
                    self.assert_same(read, stored, f"as read by {reader.name}")
        self.assertEqual(broker.terminate(), 0)

    def assert_same(self, got: list[Record], wanted: list[Record], what: str) -> None:
        """
        The records are equal, one by one. One that was wanted with timestamp
        -1 may have any.
        """
        for i, (one, other) in enumerate(zip(got, wanted, strict=False)):
            expected = other if other.timestamp >= 0 else other._replace(timestamp=one.timestamp)
            self.assertEqual(one, expected, f"record {i} {what}")
        self.assertEqual(len(got), len(wanted), f"number of records {what}")


def _test(writer: Library, codec: str) -> Callable[..., None]:
    @telling_logs
    def test(self: LibraryTests) -> None:
        self.exchange(writer, codec)

    test.__doc__ = f"{writer.name} writes with codec {codec}, and all read."
    return test


def _one_for_each() -> None:
    for library in LIBRARIES.values():
        for codec in CODECS:
            name = f"test_{library.name.replace('-', '_')}_{codec}"
            setattr(LibraryTests, name, _test(library, codec))


_one_for_each()
