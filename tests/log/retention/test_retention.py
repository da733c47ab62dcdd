"""
Tests for L{kafscale.log.retention.retention}, and for topics' limits on segments.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.logger import capturedLogs, formatEvent

from kafscale.errors import OffsetOutOfRange, StoreUnavailable
from kafscale.interfaces import LogRules, ObjectInfo
from kafscale.log.retention import retention
from kafscale.log.retention.retention import CHECK_SECONDS
from kafscale.store.memory import MemoryObjectStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict
from tests.log.brokers import (
    EACH,
    NOW,
    TOPIC,
    WHERE,
    Broker,
    BrokerTestCase,
    Shared,
    append_to,
    batch,
    level_0,
)
from tests.wire.batches import with_header

MINUTE = 60_000
HOUR = 60 * MINUTE


class RetentionTestCase(BrokerTestCase):
    """
    One partition, whose segments are written when the test says so.
    """

    def segment(self, broker: Broker, *values: bytes, at: int = NOW * 1000) -> None:
        """
        Append records with this timestamp, and roll them into a segment.
        """
        self.append(broker, *values, at=at)
        done = begin(broker.roll(broker.partition()))
        broker.settle()
        self.successResultOf(done)

    def append(self, broker: Broker, *values: bytes, at: int = NOW * 1000) -> None:
        """
        Append records with this timestamp.
        """
        broker.append(*values, times=[at] * len(values))
        broker.run(0)

    def starts(self, broker: Broker) -> tuple[int, list[int]]:
        """
        Return the log start, and the base offsets of the segments.
        """
        self.assertEqual(self.shared.record().log_start, broker.partition().log_start)
        return broker.partition().log_start, self.shared.segments()


class TimeTests(RetentionTestCase):
    """
    C{retention.ms}.
    """

    def test_oldest_first(self) -> None:
        """
        A segment is deleted when the largest of its timestamps is too old, not
        before; those after it stay.
        """
        broker = self.leader(rules=LogRules(retention_ms=HOUR))
        for minute in range(3):
            self.segment(broker, b"x", b"y", at=(NOW + 60 * minute) * 1000)
        broker.clock.advance(3599)
        broker.run()
        self.assertEqual(self.starts(broker), (0, [0, 2, 4]))
        broker.run(3)
        self.assertEqual(self.starts(broker), (2, [2, 4]))
        broker.run(60)
        self.assertEqual(self.starts(broker), (4, [4]))
        self.assertEqual(self.read_all(broker), [b"x", b"y"])

    def test_newest_segment_stays(self) -> None:
        """
        When all records are too old the log is empty and continues at the same
        offset; the newest segment, which carries the states, stays.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"a")
        self.segment(broker, b"b")
        broker.run(70)
        self.assertEqual(self.starts(broker), (2, [1]))
        self.assertEqual(broker.partition().high_watermark, 2)
        successor = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.assertEqual(successor.append(b"c").base_offset, 2)

    def test_what_is_in_no_segment(self) -> None:
        """
        Records in no segment expire as others do.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.append(broker, b"a")
        broker.run(30)
        self.append(broker, b"b", at=(NOW + 30) * 1000)
        broker.run(40)
        self.assertEqual(self.starts(broker), (0, []))
        broker.run(40)
        self.assertEqual(self.starts(broker)[0], 2)
        self.append(broker, b"c", at=(NOW + 110) * 1000)
        self.assertEqual(self.read_all(broker), [b"c"])
        broker.run(80)
        self.assertEqual(self.starts(broker)[0], 3)

    def test_future(self) -> None:
        """
        Records with timestamps of tomorrow stay until then, and so do later ones.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"a", at=(NOW + 3000) * 1000)
        self.segment(broker, b"b")
        broker.clock.advance(2000)
        broker.run()
        self.assertEqual(self.starts(broker), (0, [0, 1]))
        broker.clock.advance(1100)
        broker.run(2)
        self.assertEqual(self.starts(broker)[0], 2)

    def test_without_timestamps(self) -> None:
        """
        Records without a timestamp are as old as their segment.
        """
        broker = self.leader(rules=LogRules(retention_ms=HOUR))
        broker.clock.advance(900)
        self.segment(broker, b"a", at=-1)
        broker.clock.advance(3590)
        broker.run(2)
        self.assertEqual(self.starts(broker)[0], 0)
        broker.clock.advance(20)
        broker.run(2)
        self.assertEqual(self.starts(broker)[0], 1)

    def test_logged(self) -> None:
        """
        The log names the partition as clients do, and the offset.
        """
        broker = self.leader(rules=LogRules(retention_ms=HOUR))
        self.segment(broker, b"old", at=NOW * 1000 - 2 * HOUR)
        with capturedLogs() as logged:
            self.segment(broker, b"new")
            broker.run(CHECK_SECONDS)
        self.assertIn(
            "deleted the records of orders-0 before offset 1, which exceeded the topic's retention",
            [formatEvent(each) for each in logged],
        )

    def test_no_limit(self) -> None:
        """
        With -1 nothing is deleted, and nothing is checked.
        """
        broker = self.leader(rules=LogRules())
        self.segment(broker, b"a", at=0)
        broker.clock.advance(10**9)
        broker.run()
        self.assertEqual(self.starts(broker), (0, [0]))
        self.assertNotIn(broker.partition(), broker.log.incarnation.retention)

    def test_compacted(self) -> None:
        """
        In a topic that is only compacted nothing is deleted; with both policies
        it is.
        """
        broker = self.leader(rules=LogRules(retention_ms=1, retention_bytes=1, delete=False))
        self.segment(broker, b"a", at=0)
        self.segment(broker, b"b", at=0)
        self.append(broker, b"c", at=0)
        broker.run(300)
        self.assertEqual(self.starts(broker), (0, [0, 1]))
        broker.configure(retention_ms=1, delete=True)
        broker.run(2)
        self.assertEqual(self.starts(broker)[0], 3)

    def test_after_a_restart(self) -> None:
        """
        A successor finds old records by itself, with one read for each segment.
        """
        broker = self.leader()
        for number in range(5):
            self.segment(broker, b"x", at=(NOW + 20 * number) * 1000)
        broker.crash()
        successor = self.broker(rules=LogRules(retention_ms=MINUTE))
        successor.clock.advance(65)
        self.successResultOf(successor.recover())
        successor.run(61)
        self.assertEqual(self.starts(successor), (4, [4]))

    def test_old_when_written(self) -> None:
        """
        Records that are too old when they are written, or when the broker starts,
        can be read for some minutes all the same.
        """
        rules = LogRules(retention_ms=HOUR)
        broker = self.leader(rules=rules)
        self.append(broker, b"a", at=1000)
        broker.run(CHECK_SECONDS - 1)
        self.assertEqual(self.starts(broker), (0, []))
        broker.run(2)
        self.assertEqual(self.starts(broker), (1, [0]))
        self.append(broker, b"b", at=1000)
        broker.crash()
        successor = self.leader(rules=rules)
        successor.run(CHECK_SECONDS - 5)
        self.assertEqual(self.read_all(successor), [b"b"])
        successor.run(6)
        self.assertEqual(self.starts(successor)[0], 2)

    def test_idle_costs_nothing(self) -> None:
        """
        Until the first segment may expire no store is asked.
        """
        broker = self.leader(rules=LogRules(retention_ms=HOUR))
        self.segment(broker, b"a")
        broker.run(CHECK_SECONDS)
        broker.obey(lambda operation: self.fail(f"{operation.kind} {operation.key}"))
        for _ in range(50):
            broker.clock.advance(60)
        broker.obey(lambda operation: Verdict.SUCCEED)
        broker.run(400)
        self.assertEqual(self.starts(broker)[0], 1)

    def test_many_in_one_step(self) -> None:
        """
        More segments than one step deletes are deleted in several.
        """
        self.patch(retention, "MAX_SEGMENTS", 2)
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        for _ in range(7):
            self.segment(broker, b"x")
        broker.run(70)
        self.assertEqual(self.starts(broker), (7, [6]))


class DatedObjectStore(MemoryObjectStore):
    """
    A store that says that each object was stored an hour after C{NOW}.
    """

    async def list(self, prefix: str, after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """
        See L{IObjectReader.list}.
        """
        found = await super().list(prefix, after, limit)
        return [attrs.evolve(each, modified=NOW + 3600.0) for each in found]


class EarlierVersionTests(RetentionTestCase):
    """
    What an earlier version has stored: the headers state what producers said.
    """

    def setUp(self) -> None:
        """
        A broker writes as the first version did.
        """
        super().setUp()
        self.shared = Shared(DatedObjectStore())
        self.earlier = self.leader(level_of=level_0, **EACH)

    def lie(self, *times: int, stated: int) -> None:
        """
        Append records of these times, in seconds after C{NOW} (None: without one); the
        header states another largest time.
        """
        stamps = [time if time < 0 else (NOW + time) * 1000 for time in times]
        sent = batch(*[b"x" for _ in times], times=stamps)
        header = with_header(sent, None, max_timestamp=stated if stated < 0 else stated * 1000)
        append_to(self.earlier.partition(), memoryview(header))
        self.earlier.run(0)

    def roll(self) -> None:
        """
        Roll what was appended into a segment.
        """
        now(self.earlier.roll(self.earlier.partition()))

    def upgrade(self) -> Broker:
        """
        Go on with a broker of this version, and a retention of an hour.
        """
        self.earlier.crash()
        return self.leader(rules=LogRules(retention_ms=HOUR))

    def assert_expires(self, broker: Broker, seconds: int) -> None:
        """
        Assert that the first segment is deleted at this time after C{NOW}.
        """
        broker.run(5)
        broker.clock.advance(seconds - (broker.clock.seconds() - NOW) - 20)
        broker.run(5)
        self.assertEqual(self.starts(broker)[0], 0)
        broker.clock.advance(30)
        broker.run(5)
        self.assertGreater(self.starts(broker)[0], 0)

    def test_stated_too_old(self) -> None:
        """
        Records of which the header states that they are older stay as long as others.
        """
        self.lie(0, 600, stated=NOW - 86_400)
        self.roll()
        self.assert_expires(self.upgrade(), 600 + 3600)

    def test_nothing_stated(self) -> None:
        """
        Records go although the header states no time.
        """
        self.lie(0, 600, stated=-1)
        self.roll()
        self.assert_expires(self.upgrade(), 7200)  # looked into when it was written an hour ago

    def test_stated_too_new(self) -> None:
        """
        Records go although the header states that they are of the next century.
        """
        self.lie(0, 600, stated=NOW + 10**9)
        self.roll()
        self.assert_expires(self.upgrade(), 7200)

    def test_no_times(self) -> None:
        """
        Records without times go by the time that the store says.
        """
        self.lie(-1, -1, stated=-1)
        self.roll()
        self.assert_expires(self.upgrade(), 7200)

    def test_journal(self) -> None:
        """
        Records that are recovered from its journal are looked into when they are in a
        segment.
        """
        self.lie(0, 600, stated=NOW - 86_400)
        broker = self.upgrade()
        broker.run(5)
        self.assertEqual(broker.partition().log_start, 0)
        now(broker.roll(broker.partition()))
        self.assert_expires(broker, 600 + 3600)

    def test_looked_into_once(self) -> None:
        """
        A segment whose records stay is read whole once.
        """
        self.lie(0, 2000, stated=NOW - 86_400)
        self.roll()
        broker = self.upgrade()
        reads: list[str] = []

        def note(operation: Operation) -> Verdict:
            reads.append(operation.kind)
            return Verdict.SUCCEED

        broker.obey(note)
        for _ in range(3):
            broker.clock.advance(400)
            broker.run(5)
        self.assertEqual(reads.count("get"), 1)


class SizeTests(RetentionTestCase):
    """
    C{retention.bytes}.
    """

    def test_oldest_first(self) -> None:
        """
        Segments are deleted while the rest is still as large as the limit.
        """
        broker = self.leader()
        for _ in range(5):
            self.segment(broker, bytes(1000))
        each = broker.partition().size() // 5
        broker.configure(retention_bytes=3 * each)
        broker.run()
        self.assertEqual(self.starts(broker), (2, [2, 3, 4]))
        self.assertEqual(broker.partition().size(), 3 * each)
        self.segment(broker, bytes(1000))
        broker.run()
        self.assertEqual(self.starts(broker), (3, [3, 4, 5]))

    def test_never_below_the_limit(self) -> None:
        """
        A segment that is partly within the limit stays whole.
        """
        broker = self.leader()
        for _ in range(3):
            self.segment(broker, bytes(1000))
        broker.configure(retention_bytes=broker.partition().size() - 100)
        broker.run(100)
        self.assertEqual(self.starts(broker), (0, [0, 1, 2]))

    def test_nothing_allowed(self) -> None:
        """
        With 0 every record in a segment is deleted; the newest segment stays, and
        does not count for ever.
        """
        broker = self.leader(rules=LogRules(retention_bytes=0))
        for _ in range(3):
            self.segment(broker, bytes(1000))
            broker.run()
        self.assertEqual(self.starts(broker), (3, [2]))
        commits = self.shared.metadata
        before = self.shared.record()
        broker.run(300)
        self.assertEqual(self.shared.record(), before, commits)

    def test_both(self) -> None:
        """
        Records beyond either limit are deleted.
        """
        broker = self.leader()
        for number in range(4):
            self.segment(broker, bytes(1000), at=(NOW - 100 + 10 * number) * 1000)
        each = broker.partition().size() // 4
        broker.configure(retention_bytes=3 * each, retention_ms=85_000)
        broker.run()
        self.assertEqual(self.starts(broker)[0], 2)


class ReaderTests(RetentionTestCase):
    """
    Readers near the log start.
    """

    def test_out_of_range(self) -> None:
        """
        Offsets below the new log start are out of range, in memory and in
        segments; later ones are read as before.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"a", b"b")
        self.segment(broker, b"c", at=(NOW + 60) * 1000)
        partition = broker.partition()
        self.assertIsNone(partition.read(0, 100, True))
        loading = begin(partition.load(0, 100, True))
        broker.settle()
        self.successResultOf(loading)
        broker.run(70)
        for offset in (0, 1):
            self.assertRaises(OffsetOutOfRange, partition.read, offset, 100, True)
            self.failureResultOf(begin(partition.load(offset, 100, True)), OffsetOutOfRange)
        self.assertEqual(self.read_all(broker), [b"c"])


class ConfiguredTests(RetentionTestCase):
    """
    Altered configurations.
    """

    def test_shorter(self) -> None:
        """
        What an altered configuration expires is deleted at once, also in memory.
        """
        broker = self.leader(rules=LogRules(retention_ms=HOUR))
        self.segment(broker, b"a")
        self.append(broker, b"b")
        broker.run(30)
        broker.configure(retention_ms=10_000)
        broker.run(0.1)
        self.assertEqual(self.starts(broker)[0], 2)

    def test_longer(self) -> None:
        """
        What an altered configuration retains longer stays.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"a")
        broker.run(30)
        broker.configure(retention_ms=HOUR)
        broker.run(300)
        self.assertEqual(self.starts(broker), (0, [0]))
        broker.configure()
        broker.clock.advance(10_000)
        broker.run()
        self.assertEqual(self.starts(broker), (0, [0]))

    def test_other_configuration(self) -> None:
        """
        A change that does not concern retention does not cause a check.
        """
        broker = self.leader(rules=LogRules(retention_ms=HOUR))
        self.append(broker, b"a", at=1000)
        broker.run(10)
        broker.configure(retention_ms=HOUR, segment_ms=1)
        broker.run(10)
        self.assertEqual(self.starts(broker), (0, [0]))

    def test_other_topics(self) -> None:
        """
        Nothing happens to partitions that are not led, or of other topics.
        """
        broker = self.leader()
        broker.log.configured(TOPIC, 5, LogRules())
        self.segment(broker, b"a", at=0)
        broker.log.configured(type(TOPIC)(int=1), 5, LogRules(retention_ms=1))
        broker.run()
        self.assertEqual(self.starts(broker), (0, [0]))

    def test_deleted_topic(self) -> None:
        """
        A deleted topic is not remembered.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"a")
        partition = broker.partition()
        broker.run(2)
        deleting = begin(broker.log.delete([TOPIC]))
        broker.settle()
        self.successResultOf(deleting)
        self.assertNotIn(partition, broker.log.incarnation.retention)
        broker.run(100)
        self.assertEqual(self.shared.segments(), [])


class MeanwhileTests(RetentionTestCase):
    """
    Changes during a check.
    """

    def looking(self) -> Broker:
        """
        Start a broker that is reading the age of its second segment, which is too
        old, as is the first. A record that is not is in memory.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"old")
        self.segment(broker, b"old, too")
        self.append(broker, b"new", at=(NOW + 65) * 1000)
        broker.obey(lambda each: None if each.kind == "get_suffix" else Verdict.SUCCEED)
        broker.clock.advance(65)
        self.assertEqual(len(broker.pending("get_suffix")), 1)
        return broker

    def test_rolled(self) -> None:
        """
        A record that is rolled meanwhile is not taken for an old one.
        """
        broker = self.looking()
        done = begin(broker.roll(broker.partition()))
        self.successResultOf(done)
        self.assertEqual(broker.partition().tail.size, 0)
        broker.run()
        self.assertEqual(self.starts(broker), (2, [2]))
        self.assertEqual(self.read_all(broker), [b"new"])

    def test_may_stay(self) -> None:
        """
        Records that the configuration retains by then stay.
        """
        broker = self.looking()
        broker.configure(retention_ms=HOUR)
        broker.run(100)
        self.assertEqual(self.starts(broker), (0, [0, 1]))

    def test_deleted(self) -> None:
        """
        Other records are deleted meanwhile: the rest is checked again, and
        nothing is logged.
        """
        broker = self.looking()
        deleting = begin(broker.partition().delete_before(3))
        for _ in range(9):
            for each in broker.pending("get_suffix")[1:]:
                each.succeed()
        self.successResultOf(deleting)
        broker.run()
        self.assertEqual(self.starts(broker)[0], 3)
        self.append(broker, b"newer", at=(NOW + 66) * 1000)
        self.assertEqual(self.read_all(broker), [b"newer"])
        broker.run(65)
        self.assertEqual(self.starts(broker)[0], 4)

    def test_dropped(self) -> None:
        """
        Nothing of a lost partition is deleted, or remembered.
        """
        broker = self.looking()
        partition = broker.partition()
        partition.drop()
        broker.run(100)
        self.assertEqual(self.shared.record().log_start, 0)
        self.assertNotIn(partition, broker.log.incarnation.retention)


class FailureTests(RetentionTestCase):
    """
    Failures of the store.
    """

    def test_tried_again(self) -> None:
        """
        A failure is logged, and the deletion is tried again later.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"a")
        self.segment(broker, b"b")
        broker.run(30)
        failing: list[Any] = []

        async def move_start(partition: Any, offset: int) -> None:
            failing.append(offset)
            raise StoreUnavailable("away")

        incarnation = broker.log.incarnation
        self.patch(incarnation.retention, "move_start", move_start)
        broker.run(40)
        self.assertEqual(failing, [2])
        self.patch(incarnation.retention, "move_start", incarnation.move_start)
        broker.run(61)
        self.assertEqual(self.starts(broker), (2, [1]))

    def test_stop_waits(self) -> None:
        """
        Stopping waits for checks that are under way, and none starts after that.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"a")
        self.segment(broker, b"b")
        broker.run(30)
        broker.obey(None)
        broker.clock.advance(40)
        broker.clock.advance(1)
        stopping = begin(broker.log.stop())
        self.assertNoResult(stopping)
        broker.settle()
        self.successResultOf(stopping)
        self.assertEqual(self.starts(broker), (2, [1]))
        self.assertEqual(broker.clock.getDelayedCalls(), [])

    def test_replaced(self) -> None:
        """
        A broker that was replaced deletes nothing more.
        """
        broker = self.leader(rules=LogRules(retention_ms=MINUTE))
        self.segment(broker, b"a")
        self.segment(broker, b"b")
        self.leader()

        def only_reads(operation: Operation) -> Verdict:
            return Verdict.SUCCEED

        broker.obey(only_reads)
        broker.run(100)
        self.assertEqual(self.shared.record().log_start, 0)
        self.assertEqual(self.shared.segments(), [0, 1])
        self.assertTrue(broker.fenced)


class RollingTests(RetentionTestCase):
    """
    C{segment.bytes} and C{segment.ms}.
    """

    def test_smaller(self) -> None:
        """
        A topic may ask for smaller segments than the broker's, not for larger
        ones.
        """
        broker = self.leader(segment_bytes=5000, rules=LogRules(segment_bytes=1000))
        for _ in range(4):
            self.append(broker, bytes(600))
        broker.run(0.1)
        self.assertEqual(self.shared.segments(), [0, 1, 2])
        broker.configure(segment_bytes=10**9)
        for _ in range(9):
            self.append(broker, bytes(600))
        broker.run(0.1)
        self.assertEqual(self.shared.segments(), [0, 1, 2, 3])

    def test_smaller_at_once(self) -> None:
        """
        Records beyond an altered limit are rolled.
        """
        broker = self.leader()
        self.append(broker, bytes(600))
        broker.run(0.1)
        self.assertEqual(self.shared.segments(), [])
        broker.configure(segment_bytes=500)
        broker.run(0.1)
        self.assertEqual(self.shared.segments(), [0])

    def test_younger(self) -> None:
        """
        A topic may ask for earlier rolls than the broker's; the time counts from
        its oldest record.
        """
        broker = self.leader(rules=LogRules(segment_ms=5000))
        self.append(broker, b"a")
        broker.run(4)
        self.append(broker, b"b")
        self.assertEqual(self.shared.segments(), [])
        broker.run(2)
        self.assertEqual(self.shared.segments(), [0])
        self.assertEqual(self.shared.record().rolled_to, 2)
        broker.run(10)
        self.append(broker, b"c")
        broker.run(4)
        self.assertEqual(self.shared.segments(), [0])
        broker.run(2)
        self.assertEqual(self.shared.segments(), [0, 2])

    def test_younger_at_once(self) -> None:
        """
        Records older than an altered limit are rolled; a roll that is not asked
        for any more is not done.
        """
        broker = self.leader()
        self.append(broker, b"a")
        broker.run(60)
        broker.configure(segment_ms=50_000)
        broker.run(0.1)
        self.assertEqual(self.shared.segments(), [0])
        self.append(broker, b"b")
        broker.run(1)
        broker.configure()
        broker.run(60)
        self.assertEqual(self.shared.segments(), [0])

    def test_not_older(self) -> None:
        """
        However old the topic's segments may be, the broker's bound holds.
        """
        broker = self.leader(segment_seconds=20.0, rules=LogRules(segment_ms=HOUR))
        self.append(broker, b"a")
        broker.run(40)
        self.assertEqual(self.shared.segments(WHERE), [0])
