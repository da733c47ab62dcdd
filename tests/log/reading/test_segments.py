"""
Tests for L{kafscale.log.reading.segments}.
"""

from __future__ import annotations

from kafscale.errors import KafkaStorageError, OffsetOutOfRange
from kafscale.format import segment as layout
from kafscale.interfaces import ObjectInfo
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict, hold, let_pass
from tests.log.brokers import (
    EACH,
    NOW,
    WHERE,
    Broker,
    BrokerTestCase,
    append_to,
    batch,
    level_0,
    values_of,
)
from tests.wire.batches import with_header

MS = NOW * 1000


class SegmentsTestCase(BrokerTestCase):
    """
    Three segments of two batches, and a tail of one.
    """

    def setUp(self) -> None:
        """
        Append records 0 to 6; each has its offset as its value, and a timestamp.
        """
        super().setUp()
        self.writer = self.leader(**EACH)
        self.partition = self.writer.partition()
        for offset, time in enumerate((10, 30, 20, 20, 50, 40, 45)):
            self.append(b"%d" % offset, time)
            if offset % 2:
                now(self.writer.roll(self.partition))

    def append(self, value: bytes, time: int) -> None:
        """
        Append a batch of one record.
        """
        append_to(self.partition, batch(value, times=[MS + time]))
        self.writer.settle()


class ListingTests(SegmentsTestCase):
    """
    Which segments exist.
    """

    def successor(self, listed: list[int] | None = None) -> Broker:
        """
        Start a broker that has listed nothing yet. Its listing will contain only
        C{listed}.
        """
        broker = self.leader()
        self.listings = 0

        def count(operation: Operation) -> Verdict:
            self.listings += operation.kind == "list"
            return Verdict.SUCCEED

        broker.obey(count)
        if listed is not None:
            partition = broker.partition()
            inner = broker.objects.inner
            found = [ObjectInfo(partition.segments.key(base), 1) for base in listed]

            class Listing:
                def __getattr__(self, name: str) -> object:
                    return getattr(inner, name)

                async def list(
                    self, prefix: str, after: str = "", limit: int = 1000
                ) -> list[ObjectInfo]:
                    return [info for info in found if info.key > after]

            broker.objects.inner = Listing()  # type: ignore[assignment]
        return broker

    def test_only_when_somebody_reads(self) -> None:
        """
        Segments are listed once, when a reader needs them.
        """
        broker = self.successor()
        self.assertEqual(self.listings, 0)
        for _ in range(2):
            self.assertEqual(len(self.read_all(broker)), 7)
        self.assertEqual(self.listings, 1)

    def test_a_listing_that_lacks_segments(self) -> None:
        """
        The chain leads to segments that the listing lacks.
        """
        for listed in ([0, 4, 6], [0], [], [4], [2, 6]):
            broker = self.successor(listed)
            self.assertEqual(self.read_all(broker), [b"%d" % offset for offset in range(7)])
            broker = self.successor(listed)
            fetched = now(broker.partition().load(3, 1000, True))
            self.assertEqual(values_of(fetched), [b"3"])
            broker = self.successor(listed)
            self.assertEqual(now(broker.partition().latest_timestamp()), (MS + 50, 4))
            broker = self.successor(listed)
            self.assertEqual(now(broker.partition().offset_at(MS + 35)), (MS + 50, 4))

    def test_a_segment_that_is_not_committed(self) -> None:
        """
        A segment that is not committed is listed, and is no part of the log yet.
        """
        self.writer.obey(hold("commit", "partitions/"))
        begin(self.writer.roll(self.partition))
        self.assertEqual(self.shared.segments(), [0, 2, 4, 6])
        bases = now(self.partition.segments.listed())
        self.assertEqual(bases, [0, 2, 4])

    def test_segments_made_while_it_lists(self) -> None:
        """
        Segments that are written during the listing are found, too.
        """
        self.writer.obey(hold("list", "/topics/"))
        loading = begin(self.partition.load(0, 1000, True))
        now(self.writer.roll(self.partition))
        self.append(b"7", 60)
        now(self.writer.roll(self.partition))
        self.writer.settle()
        self.assertEqual(values_of(self.successResultOf(loading)), [b"0", b"1"])
        self.writer.obey(let_pass)
        self.assertEqual(len(self.read_all(self.writer)), 8)


class ReadingTests(SegmentsTestCase):
    """
    Batches from segments.
    """

    def load(self, offset: int, max_bytes: int = 1 << 20, at_least_one: bool = True) -> list[bytes]:
        """
        Load records, and return their values.
        """
        fetched = now(self.partition.load(offset, max_bytes, at_least_one))
        self.assertEqual(fetched.size, sum(map(len, fetched.pieces)))
        return values_of(fetched)

    def test_to_the_end_of_the_segment(self) -> None:
        """
        A read goes from the batch with the offset to the end of the segment.
        """
        self.assertEqual(self.load(2), [b"2", b"3"])
        self.assertEqual(self.load(3), [b"3"])

    def test_bounds(self) -> None:
        """
        A read returns at most so many bytes, or one batch if that is demanded.
        """
        size = len(batch(b"0"))
        self.assertEqual(self.load(2, size), [b"2"])
        self.assertEqual(self.load(2, 2 * size - 1), [b"2"])
        self.assertEqual(self.load(2, 2 * size), [b"2", b"3"])
        self.assertEqual(self.load(2, 1), [b"2"])
        self.assertEqual(self.load(2, 1, at_least_one=False), [])
        self.assertEqual(self.load(2, 0, at_least_one=False), [])

    def test_across_runs(self) -> None:
        """
        A read continues in the next run, and neither repeats nor omits a batch.
        """
        self.patch(layout, "BLOCK_SIZE", 150)
        self.patch(layout, "RUN_SIZE", 300)
        for offset in range(7, 27):
            self.append(b"%d" % offset, 60)
        now(self.writer.roll(self.partition))
        footer, _ = now(self.partition.segments.footer(6))
        self.assertGreater(len(footer.runs()), 3)
        expected = [b"%d" % offset for offset in range(6, 27)]
        size = len(batch(b"10"))
        for offset in (6, 7, 13, 26):
            self.assertEqual(self.load(offset), expected[offset - 6 :])
            self.assertEqual(self.load(offset, 5 * size), expected[offset - 6 : offset - 1])
        self.assertEqual(self.read_all(self.writer)[6:], expected)

    def test_from_memory_meanwhile(self) -> None:
        """
        Load also returns what is in memory by then.
        """
        self.assertIsNone(self.partition.read(5, 100, True))
        self.assertEqual(self.load(6), [b"6"])

    def test_deleted_meanwhile(self) -> None:
        """
        A segment is deleted before its footer, or before its records, are read.
        """
        for kind in ("get_suffix", "get"):
            start = self.partition.log_start
            self.partition.segments.forget_footers()
            self.writer.obey(hold(kind, "/topics/"))
            loading = begin(self.partition.load(start, 100, True))
            self.assertNoResult(loading)
            waiting = self.writer.pending(kind)
            self.writer.obey(let_pass)
            moving = begin(self.partition.delete_before(start + 2))
            self.successResultOf(moving)
            for operation in waiting:
                operation.succeed()
            self.failureResultOf(loading, OffsetOutOfRange)

    def test_deleted_before_it_is_listed(self) -> None:
        """
        Then the read does not return later records.
        """
        self.writer.obey(hold("list", "/topics/"))
        loading = begin(self.partition.load(0, 100, True))
        [listing] = self.writer.pending("list")
        self.writer.obey(let_pass)
        self.assertEqual(now(self.partition.delete_before(4)), 4)
        listing.succeed()
        self.failureResultOf(loading, OffsetOutOfRange)

    def test_missing(self) -> None:
        """
        A missing segment that no broker has deleted is an error of the store.
        """
        now(self.shared.objects.delete([self.partition.segments.key(2)]))
        self.partition.segments.forget_footers()
        self.failureResultOf(begin(self.partition.load(2, 100, True)), KafkaStorageError)

    def test_read_ahead(self) -> None:
        """
        After a run was read, the next one is in memory or being read.
        """
        self.patch(layout, "BLOCK_SIZE", 70)
        self.patch(layout, "RUN_SIZE", 80)
        for offset in range(7, 12):
            self.append(b"%d" % offset, 60)
        now(self.writer.roll(self.partition))
        cache = self.writer.cache
        self.load(6, 1)
        misses = cache.misses
        self.load(7, 1)
        self.assertEqual(cache.misses, misses)


class TimeTests(SegmentsTestCase):
    """
    Offsets by timestamp.
    """

    def at(self, time: int) -> tuple[int, int] | None:
        """
        Find the first record at or after a time.
        """
        found = now(self.partition.offset_at(MS + time))
        return None if found is None else (found[0] - MS, found[1])

    def test_first_at_or_after(self) -> None:
        """
        The search goes in offset order, through segments and tail; timestamps
        need not grow.
        """
        self.assertEqual(self.at(0), (10, 0))
        self.assertEqual(self.at(11), (30, 1))
        self.assertEqual(self.at(31), (50, 4))
        self.assertEqual(self.at(50), (50, 4))
        self.assertIsNone(self.at(51))
        self.append(b"7", 70)
        self.assertEqual(self.at(51), (70, 7))

    def test_not_before_the_log_start(self) -> None:
        """
        Records before the log start are not found, even in a segment and a batch
        that begin before it.
        """
        now(self.partition.delete_before(1))
        self.assertEqual(self.at(0), (30, 1))
        append_to(self.partition, batch(b"7", b"8", b"9", times=[MS + 80, MS + 81, MS + 82]))
        now(self.partition.delete_before(8))
        self.assertEqual(self.at(0), (81, 8))

    def test_only_what_is_durable(self) -> None:
        """
        A record that is not acknowledged is not found.
        """
        self.writer.obey(hold("create", "/journal/"))
        append_to(self.partition, batch(b"7", times=[MS + 90]))
        self.assertIsNone(self.at(90))
        self.assertEqual(now(self.partition.latest_timestamp()), (MS + 50, 4))

    def test_latest(self) -> None:
        """
        The first record with the largest timestamp is found anywhere.
        """
        self.assertEqual(now(self.partition.latest_timestamp()), (MS + 50, 4))
        self.append(b"7", 50)
        self.assertEqual(now(self.partition.latest_timestamp()), (MS + 50, 4))
        self.append(b"8", 51)
        self.assertEqual(now(self.partition.latest_timestamp()), (MS + 51, 8))

    def test_latest_while_it_is_rolled(self) -> None:
        """
        A record that is rolled from the tail into a segment meanwhile is found.
        """
        self.append(b"7", 99)
        self.partition.segments.forget_footers()
        self.writer.obey(hold("get_suffix", "/topics/"))
        looking = begin(self.partition.latest_timestamp())
        self.assertNoResult(looking)
        now(self.writer.roll(self.partition))
        self.writer.settle()
        self.assertEqual(self.successResultOf(looking), (MS + 99, 7))

    def test_of_nothing(self) -> None:
        """
        An empty partition has none.
        """
        other = (WHERE[0], 9)
        broker = self.leader([other])
        self.assertIsNone(now(broker.log.partition(*other).latest_timestamp()))
        self.assertIsNone(now(broker.log.partition(*other).offset_at(0)))


class EarlierVersionTests(BrokerTestCase):
    """
    Look-ups in what an earlier version has stored, with headers that state what
    producers said.
    """

    def setUp(self) -> None:
        """
        Three segments and a tail, of batches with true headers and others.
        """
        super().setUp()
        earlier = self.leader(level_of=level_0, **EACH)
        partition = earlier.partition()
        for number, (times, stated) in enumerate(
            (
                ((10, 30), -1),  # older Sarama
                ((20, 20), 99),
                ((50, 40), 10),  # kafkajs
                ((45, 5), 45),
                ((-1, -1), -1),
                ((70, 60), -1),
            )
        ):
            stamps = [time if time < 0 else MS + time for time in times]
            sent = batch(*[b"x" for _ in times], times=stamps)
            said = stated if stated < 0 else MS + stated
            append_to(partition, memoryview(with_header(sent, None, max_timestamp=said)))
            earlier.settle()
            if number in (1, 2, 3):
                now(earlier.roll(partition))
        earlier.crash()
        self.now = self.leader(**EACH)
        self.partition = self.now.partition()

    def at(self, time: int) -> tuple[int, int] | None:
        """
        Find the first record at or after a time.
        """
        looking = begin(self.partition.offset_at(MS + time))
        self.now.settle()
        found = self.successResultOf(looking)
        return None if found is None else (found[0] - MS, found[1])

    def latest(self) -> tuple[int, int] | None:
        """
        Find the record with the largest timestamp.
        """
        looking = begin(self.partition.latest_timestamp())
        self.now.settle()
        return self.successResultOf(looking)

    def assert_found(self) -> None:
        """
        Assert that the records are believed.
        """
        self.assertEqual(self.latest(), (MS + 70, 10))
        for time, found in (
            (0, (10, 0)),
            (11, (30, 1)),
            (31, (50, 4)),
            (46, (50, 4)),
            (51, (70, 10)),
            (71, None),
        ):
            self.assertEqual(self.at(time), found)
        self.assertEqual(self.latest(), (MS + 70, 10))

    def test_segments_and_tail(self) -> None:
        """
        The records decide, in segments and in what was recovered from the journal.
        """
        self.assert_found()

    def test_rolled(self) -> None:
        """
        A segment of recovered records does not state that their headers are true; the
        next one does.
        """
        for value in (b"", b"new"):
            if value:
                self.now.append(value, times=[MS + 40])
                self.now.settle()
            now(self.now.roll(self.partition))
        footers = [now(self.partition.segments.footer(base))[0] for base in (8, 12)]
        self.assertEqual([footer.true_times for footer in footers], [False, True])
        self.assert_found()

    def test_looked_into_once(self) -> None:
        """
        Segments that are looked into are not read whole again; a look-up past their
        largest timestamps reads nothing.
        """
        self.assertEqual(self.latest(), (MS + 70, 10))
        reads: list[str] = []

        def note(operation: Operation) -> Verdict:
            reads.append(operation.kind)
            return Verdict.SUCCEED

        self.now.obey(note)
        self.assertEqual(self.at(60), (70, 10))
        self.assertEqual(reads, [])

    def test_unreadable(self) -> None:
        """
        Of records that cannot be read the header is believed.
        """
        broken = memoryview(with_header(batch(b"x"), b"\xff" * 9, max_timestamp=MS + 80))
        earlier = self.leader(level_of=level_0, **EACH)
        append_to(earlier.partition(), broken)
        earlier.settle()
        now(earlier.roll(earlier.partition()))
        earlier.crash()
        self.now = self.leader(**EACH)
        self.partition = self.now.partition()
        self.assertEqual(self.latest(), (MS + 80, 12))
        self.assertEqual(self.at(71), (80, 12))
