"""
Tests for L{kafscale.log.partition.partition}.
"""

from __future__ import annotations

import attrs

from kafscale.errors import (
    InvalidProducerEpoch,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    OutOfOrderSequenceNumber,
)
from kafscale.interfaces import AppendRules, IPartition, ISettlement
from kafscale.wire.records import check_batch, read_batch_header
from tests.harness.coroutines import now
from tests.harness.hostile import hold
from tests.log.brokers import (
    EACH,
    WHERE,
    BrokerTestCase,
    Waiting,
    append_to,
    batch,
    records_of,
    values_of,
)


class PartitionTestCase(BrokerTestCase):
    """
    A partition whose slots wait for the test.
    """

    def setUp(self) -> None:
        """
        Begin with an empty partition.
        """
        super().setUp()
        self.main = self.leader(**EACH)
        self.partition = self.main.partition()
        self.main.obey(hold("create", "/journal/"))

    def land(self) -> None:
        """
        Store what was appended.
        """
        self.main.settle()


class AppendTests(PartitionTestCase):
    """
    Assigning offsets, and refusing batches.
    """

    def test_offsets_at_once(self) -> None:
        """
        Each batch begins where the one before ends; nothing is visible yet.
        """
        bases = [self.main.append(b"a", b"b").base_offset for _ in range(3)]
        self.assertEqual(bases, [0, 2, 4])
        self.assertEqual((self.partition.next_offset, self.partition.high_watermark), (6, 0))
        self.land()
        self.assertEqual(self.partition.high_watermark, 6)
        self.assertTrue(IPartition.providedBy(self.partition))

    def test_settled(self) -> None:
        """
        Settlements come in the order of their numbers.
        """
        first, second = self.main.append(b"a").settled, self.main.append(b"b").settled
        assert first is not None and second is not None
        self.assertTrue(ISettlement.providedBy(first))
        self.assertLess(first.number, second.number)
        waiting = second.wait()
        self.assertNoResult(waiting)
        self.land()
        self.assertIsNone(self.successResultOf(waiting))

    def test_stamped(self) -> None:
        """
        The broker writes the offset and the leader epoch, and nothing else.
        """
        sent = batch(b"a", b"b")
        self.main.append(b"0")
        append_to(self.partition, sent)
        self.land()
        [stored] = self.partition.tail.read(1, 1000, True).pieces
        self.assertEqual(read_batch_header(stored).base_offset, 1)
        self.assertEqual(read_batch_header(stored).leader_epoch, 0)
        self.assertEqual((stored[8:12], stored[16:]), (bytes(sent[8:12]), bytes(sent[16:])))

    def test_log_append_time(self) -> None:
        """
        The broker's time replaces what the producer sent; the CRC is right.
        """
        rules = AppendRules(log_append_time=True)
        moment = self.main.log.incarnation.now_ms()
        appended = append_to(self.partition, batch(b"a", times=[7]), rules)
        self.assertEqual(appended.append_time, moment)
        self.assertEqual(self.main.append(b"b").append_time, -1)
        self.land()
        fetched = self.partition.tail.read(0, 1, True)
        self.assertTrue(check_batch(memoryview(fetched.pieces[0])).log_append_time)
        self.assertEqual([record.timestamp for record in records_of(fetched)], [moment])
        self.assertEqual(now(self.partition.latest_timestamp()), (moment, 0))
        self.assertEqual(now(self.partition.offset_at(1)), (moment, 0))

    def test_when_dropped(self) -> None:
        """
        A partition that was dropped refuses appends.
        """
        self.partition.drop()
        self.assertRaises(NotLeaderOrFollower, append_to, self.partition, batch(b"a"))
        self.assertRaises(NotLeaderOrFollower, self.partition.read, 0, 1, True)

    def test_a_store_that_answers_at_once(self) -> None:
        """
        A batch that fills a slot is readable as soon as it is appended, and
        its slot is deleted when it is rolled.
        """
        broker = self.leader(**EACH, segment_bytes=1)
        settled = broker.append(b"a").settled
        assert settled is not None
        self.successResultOf(settled.wait())
        self.assertEqual(self.read_all(broker), [b"a"])
        self.assertEqual(self.shared.slots(broker.incarnation), [])
        self.assertEqual(broker.log.pressure.size, 0)


class IdempotenceTests(PartitionTestCase):
    """
    Batches of producers with ids.
    """

    def test_joins_what_is_under_way(self) -> None:
        """
        A retry has the outcome of the first attempt.
        """
        original = self.main.append(b"a", producer=1)
        self.main.append(b"b", producer=1, sequence=1)
        again = self.main.append(b"a", producer=1)
        self.assertEqual(again.base_offset, original.base_offset)
        self.assertIs(again.settled, original.settled)
        assert again.settled is not None
        waiting = again.settled.wait()
        self.assertNoResult(waiting)
        self.land()
        self.assertIsNone(self.successResultOf(waiting))
        self.assertEqual(self.partition.next_offset, 2)

    def test_joins_a_refusal(self) -> None:
        """
        A retry is refused when the first attempt is.
        """
        self.main.append(b"a", producer=1)
        again = self.main.append(b"a", producer=1)
        assert again.settled is not None
        waiting = again.settled.wait()
        self.main.journal.fence()
        self.failureResultOf(waiting, NotLeaderOrFollower)

    def test_durable_already(self) -> None:
        """
        A retry of a durable batch waits for nothing, whether the batch is in
        memory or in a segment.
        """
        self.main.append(b"0")
        original = self.main.append(b"a", producer=1)
        self.land()
        for _ in range(2):
            again = self.main.append(b"a", producer=1)
            self.assertEqual((again.base_offset, again.settled), (original.base_offset, None))
            now(self.main.roll(self.partition))

    def test_log_append_time(self) -> None:
        """
        A retry is answered with the time at which the batch was appended, whether it
        is in memory, in a segment, or led by a successor.
        """
        rules = AppendRules(log_append_time=True)
        sent = batch(b"a", producer=1, times=[7])
        first = append_to(self.partition, sent, rules)
        self.main.clock.advance(5)
        self.assertEqual(append_to(self.partition, sent, rules).append_time, first.append_time)
        self.land()
        now(self.main.roll(self.partition))
        self.assertEqual(append_to(self.partition, sent, rules).append_time, first.append_time)
        self.main.crash()
        partition = self.leader(**EACH).partition()
        self.assertEqual(append_to(partition, sent, rules).append_time, first.append_time)
        self.assertEqual(append_to(partition, sent).append_time, -1)

    def test_gaps_and_old_epochs(self) -> None:
        """
        Gaps and old epochs are refused.
        """
        self.main.append(b"a", producer=1, epoch=1)
        with self.assertRaises(OutOfOrderSequenceNumber):
            self.main.append(b"c", producer=1, epoch=1, sequence=2)
        with self.assertRaises(InvalidProducerEpoch):
            self.main.append(b"b", producer=1, epoch=0, sequence=1)
        with self.assertRaises(OutOfOrderSequenceNumber):
            self.main.append(b"b", producer=1, epoch=2, sequence=1)
        self.main.append(b"b", producer=1, epoch=2)
        self.assertEqual(self.partition.next_offset, 2)

    def test_rebuilt_from_segments_and_journal(self) -> None:
        """
        A successor knows batches from segments and from the journal.
        """
        self.main.append(b"a", producer=1)
        self.main.append(b"x", producer=2)
        self.land()
        now(self.main.roll(self.partition))
        self.main.append(b"b", producer=1, sequence=1)
        self.land()
        self.main.crash()
        successor = self.broker(policy=hold("create", "/topics/"), **EACH)
        successor.recover()
        again = [
            successor.append(value, producer=producer, sequence=sequence).base_offset
            for value, producer, sequence in ((b"a", 1, 0), (b"b", 1, 1), (b"x", 2, 0))
        ]
        self.assertEqual(again, [0, 2, 1])
        self.assertEqual(successor.append(b"c", producer=1, sequence=2).base_offset, 3)
        states = {state.producer_id: state for state in successor.partition().producers()}
        self.assertEqual(states[1].last_sequence, 2)


class OpeningTests(BrokerTestCase):
    """
    A partition that was just claimed.
    """

    def test_in_order(self) -> None:
        """
        Waiting callers are called in the order in which they came, when the
        states are loaded.
        """
        writer = self.leader(**EACH)
        writer.append(b"a", producer=1)
        now(writer.roll(writer.partition()))
        writer.crash()
        successor = self.broker(policy=hold("get_suffix", "/topics/"))
        successor.recover()
        partition = successor.log.partition(*WHERE)
        called: list[int] = []
        waits = [partition.opened() for _ in range(3)]
        waits[1].cancel()
        self.failureResultOf(waits[1])
        waits[0].addCallback(lambda _: called.append(0))
        waits[2].addCallback(lambda _: called.append(2))
        self.assertFalse(partition.is_open)
        successor.settle()
        self.assertTrue(partition.is_open)
        self.assertEqual(called, [0, 2])
        self.successResultOf(partition.opened())

    def test_tried_again(self) -> None:
        """
        A failure to load the states is not permanent.
        """
        writer = self.leader(**EACH)
        writer.append(b"a", producer=1)
        now(writer.roll(writer.partition()))
        writer.crash()
        successor = self.broker(policy=hold("get_suffix", "/topics/"))
        successor.recover()
        partition = successor.log.partition(*WHERE)
        opening = partition.opened()
        [operation] = successor.pending("get_suffix")
        successor.objects.pending.remove(operation)
        operation.answer.errback(ValueError("once"))
        self.failureResultOf(opening, ValueError)
        self.assertFalse(partition.is_open)
        again = partition.opened()
        successor.settle()
        self.successResultOf(again)


class ReadTests(PartitionTestCase):
    """
    Reading, and waiting for records.
    """

    def test_bounds(self) -> None:
        """
        Below the high watermark there are records, up to the end there are none
        yet, and past it the offset is out of range.
        """
        self.main.append(b"a")
        self.land()
        self.main.append(b"b")
        found = [self.partition.read(offset, 1000, True) for offset in (0, 1, 2)]
        assert found[0] is not None and found[1] is not None and found[2] is not None
        self.assertEqual([values_of(each) for each in found if each], [[b"a"], [], []])
        self.assertRaises(OffsetOutOfRange, self.partition.read, 3, 1000, True)
        self.assertRaises(OffsetOutOfRange, self.partition.read, -1, 1000, True)

    def test_watch(self) -> None:
        """
        A watcher is woken once, when the high watermark or the log start moves
        or the partition is dropped, however often it has watched before.
        """
        woken: list[str] = []
        one, other = Waiting(lambda: woken.append("one")), Waiting(lambda: woken.append("other"))
        self.partition.watch(one)
        self.partition.watch(one)
        self.main.append(b"a")
        self.assertEqual(woken, [])
        self.land()
        self.assertEqual(woken, ["one"])
        self.main.append(b"b")
        self.land()
        self.assertEqual(woken, ["one"])
        self.partition.watch(other)
        record = attrs.evolve(self.partition.record, log_start=1)
        self.partition.started(record, self.partition.revision, self.partition.epochs)
        self.assertEqual(woken, ["one", "other"])
        self.partition.watch(one)
        self.partition.drop()
        self.partition.drop()
        self.assertEqual(woken, ["one", "other", "one"])

    def test_nobody_watches_any_more(self) -> None:
        """
        The partition forgets a watcher to which no other reference is left.
        """
        woken: list[str] = []
        one, other = Waiting(lambda: woken.append("one")), Waiting(lambda: woken.append("other"))
        self.partition.watch(one)
        self.partition.watch(other)
        del one
        self.assertEqual(len(self.partition.watchers), 1)
        self.main.append(b"a")
        self.land()
        self.assertEqual(woken, ["other"])
        self.partition.watch(other)
        del other
        self.assertEqual(len(self.partition.watchers), 0)

    def test_who_is_woken_may_watch_again(self) -> None:
        """
        A watcher that watches again while it is woken is called at the next
        move.
        """
        woken: list[int] = []

        def wake() -> None:
            woken.append(self.partition.high_watermark)
            self.partition.watch(waiting)

        waiting = Waiting(wake)
        self.partition.watch(waiting)
        for _ in range(2):
            self.main.append(b"a")
            self.land()
        self.assertEqual(woken, [1, 2])

    def test_available(self) -> None:
        """
        The estimate is not zero while there are records, in segments or tail.
        """
        self.assertEqual(self.partition.available(0), 0)
        self.main.append(b"a")
        self.assertEqual(self.partition.available(0), 0)
        self.land()
        size = len(batch(b"a"))
        self.assertEqual(self.partition.available(0), size)
        now(self.main.roll(self.partition))
        self.assertGreater(self.partition.available(0), 0)
        self.assertEqual(self.partition.available(1), 0)
        self.main.append(b"b")
        self.land()
        self.assertGreater(self.partition.available(0), size)

    def test_epochs(self) -> None:
        """
        Each leader's records are in its own epoch.
        """
        self.main.append(b"a")
        self.main.append(b"b")
        self.land()
        self.main.crash()
        successor = self.leader(**EACH)
        partition = successor.partition()
        successor.append(b"c")
        self.assertEqual([partition.epoch_at(offset) for offset in range(3)], [0, 0, 1])
        self.assertEqual(partition.end_of_epoch(0), (0, 2))
        self.assertEqual(partition.end_of_epoch(1), (1, 3))
        self.assertEqual(partition.end_of_epoch(2), (-1, -1))
