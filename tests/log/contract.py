"""
What every implementation of the log's interfaces must do, the fakes among them.

There is one class for each interface. The tests of an implementation inherit it
and make what is tested. They import this module, not its classes, which would
be run as tests themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.errors import NotLeaderOrFollower, OffsetOutOfRange
from kafscale.interfaces import (
    Append,
    AppendRules,
    Compare,
    Fetched,
    ILog,
    IPartition,
    IReadable,
    ISettlement,
)
from tests.log.brokers import NOW, RULES, TOPIC, append_to, batch, everybody_is_gone, values_of

T = TypeVar("T")

OTHER = UUID(int=0xDEF)
"""A topic of which the log leads nothing."""


def no_guard(topic_id: UUID) -> Compare | None:
    """
    Guard nothing: no topic is deleted.
    """
    return None


class Waiter:
    """
    Counts how often it was woken.
    """

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        """
        See L{Watcher.wake}.
        """
        self.woken += 1


class ReadableContract(SynchronousTestCase):
    """
    What L{IReadable} promises.

    @ivar readable: The partition under test, which is empty at first.
    """

    readable: Any

    def put(self, *values: bytes, timestamp: int = NOW * 1000) -> None:
        """
        Append batches of one record each, durable and visible in the partition.
        """
        raise NotImplementedError

    def move_log_start(self, offset: int) -> None:
        """
        Delete the records before C{offset}.
        """
        raise NotImplementedError

    def drop(self) -> None:
        """
        Make the partition unreadable here.
        """
        raise NotImplementedError

    def result(self, awaitable: Awaitable[T]) -> T:
        """
        The result of a call. What it waits for succeeds.
        """
        raise NotImplementedError

    def read(self, offset: int, max_bytes: int = 1 << 20, at_least_one: bool = True) -> Fetched:
        """
        Read from memory, or else from the store, as the Fetch API does.
        """
        fetched: Fetched | None = self.readable.read(offset, max_bytes, at_least_one)
        if fetched is not None:
            return fetched
        return self.result(self.readable.load(offset, max_bytes, at_least_one))

    def test_readable(self) -> None:
        """
        It provides L{IReadable}.
        """
        self.assertTrue(verifyObject(IReadable, self.readable))
        self.assertFalse(self.readable.dropped)

    def test_read(self) -> None:
        """
        Records are read in order, from any offset on; there are none at the
        high watermark.
        """
        self.put(b"a", b"b", b"c")
        self.assertEqual(self.readable.high_watermark, 3)
        for offset in range(4):
            fetched = self.read(offset)
            self.assertEqual(values_of(fetched), [b"a", b"b", b"c"][offset:])
            self.assertEqual(fetched.size, sum(map(len, fetched.pieces)))

    def test_load(self) -> None:
        """
        A load returns what a read does.
        """
        self.put(b"a", b"b")
        self.assertEqual(values_of(self.result(self.readable.load(1, 1 << 20, True))), [b"b"])

    def test_bounded(self) -> None:
        """
        As many batches are read as have C{max_bytes} together; or the first,
        however large it is, if at least one is asked for.
        """
        self.put(b"a", b"b", b"c")
        size = self.read(0).size
        self.assertEqual(values_of(self.read(0, size - 1, True)), [b"a", b"b"])
        self.assertEqual(values_of(self.read(0, 1, True)), [b"a"])
        self.assertEqual(self.read(0, 1, False).size, 0)

    def test_available(self) -> None:
        """
        There are bytes from every offset below the high watermark on, and none
        from there on.
        """
        self.put(b"a", b"b")
        self.assertGreater(self.readable.available(0), 0)
        self.assertGreater(self.readable.available(1), 0)
        self.assertEqual(self.readable.available(2), 0)

    def test_below_the_log_start(self) -> None:
        """
        Deleted records cannot be read.
        """
        self.put(b"a", b"b", b"c")
        self.move_log_start(2)
        self.assertEqual(self.readable.log_start, 2)
        self.assertRaises(OffsetOutOfRange, self.read, 1)
        self.assertEqual(values_of(self.read(2)), [b"c"])

    def test_woken_once(self) -> None:
        """
        A watcher is woken when records become visible, and not again.
        """
        waiter = Waiter()
        self.readable.watch(waiter)
        self.put(b"a")
        self.assertEqual(waiter.woken, 1)
        self.put(b"b")
        self.assertEqual(waiter.woken, 1)

    def test_woken_by_the_log_start(self) -> None:
        """
        A watcher is woken when records are deleted.
        """
        self.put(b"a", b"b")
        waiter = Waiter()
        self.readable.watch(waiter)
        self.move_log_start(1)
        self.assertEqual(waiter.woken, 1)

    def test_forgotten(self) -> None:
        """
        A watcher to which no other reference is left is not woken.
        """
        woken: list[int] = []

        class Last(Waiter):
            def wake(self) -> None:
                woken.append(1)

        self.readable.watch(Last())
        self.put(b"a")
        self.assertEqual(woken, [])

    def test_dropped(self) -> None:
        """
        A partition that cannot be read here any more wakes its watchers, and
        refuses reads.
        """
        self.put(b"a")
        waiter = Waiter()
        self.readable.watch(waiter)
        self.drop()
        self.assertTrue(self.readable.dropped)
        self.assertEqual(waiter.woken, 1)
        self.assertRaises(NotLeaderOrFollower, self.read, 0)

    def test_confirmed(self) -> None:
        """
        No other broker leads the partition.
        """
        self.assertIsNone(self.result(self.readable.confirm()))

    def test_epoch_ends(self) -> None:
        """
        The leader's epoch ends, so far, at the high watermark.
        """
        self.put(b"a")
        epoch = self.readable.leader_epoch
        self.assertEqual(self.readable.end_of_epoch(epoch)[0], epoch)
        self.assertGreaterEqual(self.readable.end_of_epoch(epoch)[1], 1)


class PartitionContract(ReadableContract):
    """
    What L{IPartition} promises.
    """

    def append(self, value: bytes, rules: AppendRules = RULES) -> Append:
        """
        Append a batch of one record, which is not durable yet.
        """
        append: Append = append_to(self.readable, batch(value), rules)
        return append

    def settle(self) -> None:
        """
        Let all that was appended be durable.
        """
        raise NotImplementedError

    def test_partition(self) -> None:
        """
        It provides L{IPartition}, and is open.
        """
        self.assertTrue(verifyObject(IPartition, self.readable))
        self.assertTrue(self.readable.is_open)

    def test_empty(self) -> None:
        """
        All offsets of an empty partition are 0, and there is nothing to read.
        """
        for name in ("log_start", "high_watermark", "next_offset"):
            self.assertEqual(getattr(self.readable, name), 0, name)
        self.assertEqual((self.readable.size(), self.readable.available(0)), (0, 0))
        self.assertEqual(self.read(0).size, 0)
        self.assertIsNone(self.result(self.readable.offset_at(0)))
        self.assertIsNone(self.result(self.readable.latest_timestamp()))

    def test_past_the_end(self) -> None:
        """
        An offset above the next one is out of range.
        """
        self.put(b"a")
        self.assertRaises(OffsetOutOfRange, self.read, self.readable.next_offset + 1)

    def test_appended(self) -> None:
        """
        A batch has its offset at once, and is visible when it is durable.
        """
        appends = [self.append(value) for value in (b"a", b"b")]
        self.assertEqual([each.base_offset for each in appends], [0, 1])
        self.assertEqual((self.readable.next_offset, self.readable.high_watermark), (2, 0))
        self.assertEqual((self.readable.available(0), self.read(0).size), (0, 0))
        self.assertIsNone(self.result(self.readable.latest_timestamp()))
        self.settle()
        self.assertEqual(self.readable.high_watermark, 2)
        self.assertEqual(values_of(self.read(0)), [b"a", b"b"])

    def test_settled(self) -> None:
        """
        All that wait for a settlement are answered when its batches are
        visible, each by a Deferred of its own.
        """
        settlement = self.append(b"a").settled
        assert settlement is not None
        self.assertTrue(verifyObject(ISettlement, settlement))
        seen: list[int] = []
        for _ in range(2):
            settlement.wait().addCallback(lambda _: seen.append(self.readable.high_watermark))
        self.assertEqual(seen, [])
        self.settle()
        self.assertEqual(seen, [1, 1])

    def test_append_time(self) -> None:
        """
        The broker's time is returned if the topic asks for it.
        """
        self.assertEqual(self.append(b"a").append_time, -1)
        self.assertGreater(self.append(b"b", AppendRules(log_append_time=True)).append_time, 0)

    def test_epoch_of_records(self) -> None:
        """
        Appended records have the leader's epoch.
        """
        self.append(b"a")
        self.assertEqual(self.readable.epoch_at(0), self.readable.leader_epoch)

    def test_size(self) -> None:
        """
        The size grows with every batch by as much at least.
        """
        self.put(b"a")
        one = self.readable.size()
        self.assertGreaterEqual(one, self.read(0).size)
        self.put(b"b")
        self.assertGreaterEqual(self.readable.size(), one + self.read(1).size)

    def test_times(self) -> None:
        """
        Records are found by timestamp: the first of those at or after it, and
        the first of those with the largest.
        """
        for seconds in (1, 3, 2, 3):
            self.put(b"x", timestamp=(NOW + seconds) * 1000)
        for seconds, place in ((0, (1, 0)), (2, (3, 1)), (3, (3, 1))):
            found = self.result(self.readable.offset_at((NOW + seconds) * 1000))
            self.assertEqual(found, ((NOW + place[0]) * 1000, place[1]))
        self.assertIsNone(self.result(self.readable.offset_at((NOW + 4) * 1000)))
        self.assertEqual(self.result(self.readable.latest_timestamp()), ((NOW + 3) * 1000, 1))

    def test_times_of_deleted_records(self) -> None:
        """
        Deleted records are not found.
        """
        self.put(b"a", b"b")
        self.move_log_start(1)
        self.assertEqual(self.result(self.readable.offset_at(0)), (NOW * 1000, 1))

    def test_delete_before(self) -> None:
        """
        Records are deleted up to an offset, or to the high watermark.
        """
        self.put(b"a", b"b", b"c")
        self.assertEqual(self.result(self.readable.delete_before(1)), 1)
        self.assertEqual(self.result(self.readable.delete_before(1)), 1)
        self.assertEqual(self.result(self.readable.delete_before(-1)), 3)
        self.assertEqual((self.readable.log_start, self.readable.next_offset), (3, 3))

    def test_delete_out_of_range(self) -> None:
        """
        The log start does not go past the high watermark, nor back: records that
        were deleted already are no error.
        """
        self.put(b"a", b"b")
        self.move_log_start(1)
        with self.assertRaises(OffsetOutOfRange):
            self.result(self.readable.delete_before(3))
        self.assertEqual(self.result(self.readable.delete_before(0)), 1)
        self.assertEqual(self.readable.log_start, 1)

    def test_append_to_a_dropped_partition(self) -> None:
        """
        A broker that does not lead the partition any more appends nothing.
        """
        self.drop()
        self.assertRaises(NotLeaderOrFollower, self.append, b"a")


class LogContract(SynchronousTestCase):
    """
    What L{ILog} promises.

    @ivar log: The log under test, which leads partitions 0 and 1 of L{TOPIC},
        and nothing of L{OTHER}.
    """

    log: Any

    def result(self, awaitable: Awaitable[T]) -> T:
        """
        The result of a call. What it waits for succeeds.
        """
        raise NotImplementedError

    def assert_leads(self, *indexes: int) -> None:
        """
        Check that the log leads exactly these partitions of the topic.
        """
        wanted = {(TOPIC, index) for index in indexes}
        self.assertEqual(set(self.log.led()), wanted)
        for where in ((TOPIC, 0), (TOPIC, 1), (OTHER, 0)):
            self.assertEqual(self.log.leads(where), where in wanted)
            if where in wanted:
                partition = self.log.partition(*where)
                self.assertEqual((partition.topic_id, partition.index), where)
                self.assertFalse(partition.dropped)
            else:
                self.assertRaises(NotLeaderOrFollower, self.log.partition, *where)

    def test_log(self) -> None:
        """
        It provides L{ILog}.
        """
        self.assertTrue(verifyObject(ILog, self.log))

    def test_partitions(self) -> None:
        """
        The log has the partitions that it leads, and always the same objects.
        """
        self.assert_leads(0, 1)
        self.assertIs(self.log.partition(TOPIC, 0), self.log.partition(TOPIC, 0))

    def test_released(self) -> None:
        """
        A partition that is released is not led any more, and can be claimed.
        """
        partition = self.log.partition(TOPIC, 0)
        self.result(self.log.release([(TOPIC, 0)]))
        self.assertTrue(partition.dropped)
        self.assert_leads(1)
        self.result(self.log.claim([(TOPIC, 0)], everybody_is_gone, no_guard))
        self.assert_leads(0, 1)

    def test_dropped(self) -> None:
        """
        No partition of a deleted topic is led.
        """
        partitions = [self.log.partition(TOPIC, index) for index in (0, 1)]
        self.result(self.log.drop([OTHER]))
        self.assert_leads(0, 1)
        self.result(self.log.drop([TOPIC]))
        self.assertEqual([each.dropped for each in partitions], [True, True])
        self.assert_leads()
