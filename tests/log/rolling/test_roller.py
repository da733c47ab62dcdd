"""
Tests for L{kafscale.log.rolling.roller}: what is rolled when, and the result.
"""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent

from kafscale.errors import StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.log.partition.producers import ProducerStates
from kafscale.log.rolling.roller import CHECK_SECONDS, RETRY_SECONDS
from kafscale.log.settings import LogSettings
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict, hold, let_pass
from tests.log.brokers import EACH, TOPIC, WHERE, append_to, batch
from tests.log.rolling.rolling_case import PARTITIONS, RollingTestCase


class WhenTests(RollingTestCase):
    """
    What makes a partition due.
    """

    def test_a_segment_is_full(self) -> None:
        """
        Only the full partition is rolled, and only as far as a segment holds.
        """
        broker = self.leading(segment_bytes=3000)
        self.fill(broker, 0, 2)
        self.fill(broker, 1, 2)
        self.assertEqual(self.rolled(), [0, 0, 0, 0])
        self.fill(broker, 1)
        self.assertEqual(self.rolled(), [0, 3, 0, 0])
        self.assertEqual(self.shared.segments(PARTITIONS[1]), [0])

    def test_what_is_not_durable_does_not_make_it_full(self) -> None:
        """
        A partition with few durable records and many others is not tried again
        and again.
        """
        broker = self.leading(segment_bytes=3000, unrolled_bytes=1 << 20)
        broker.obey(hold("create", "/journal/"))
        self.fill(broker, 0, 10)
        broker.pending("create")[0].succeed()
        self.assertEqual(self.rolled(), [0, 0, 0, 0])
        broker.settle()
        self.assertEqual(self.rolled(), [9, 0, 0, 0])

    def test_memory_is_spent_by_what_is_not_durable(self) -> None:
        """
        Everything that can be rolled is; then the roller waits.
        """
        broker = self.leading(unrolled_bytes=3000)
        broker.obey(hold("create", "/journal/"))
        self.fill(broker, 0, 10)
        broker.pending("create")[0].succeed()
        self.assertEqual(self.rolled(), [1, 0, 0, 0])
        broker.settle()
        self.assertLessEqual(broker.log.pressure.size, 3000)

    def test_the_largest_first_under_the_budget(self) -> None:
        """
        Partitions are rolled until memory is within the limit again.
        """
        broker = self.leading(unrolled_bytes=6500)
        self.fill(broker, 0, 1)
        self.fill(broker, 1, 3)
        self.fill(broker, 2, 2)
        self.assertEqual(self.rolled(), [0, 0, 0, 0])
        self.fill(broker, 0, 1)
        self.assertEqual(self.rolled(), [0, 3, 0, 0])
        self.assertEqual(
            broker.log.pressure.size, sum(each.tail.size for each in broker.log.partitions())
        )

    def test_company(self) -> None:
        """
        Where small segments go together, the partitions of the oldest slots are
        rolled together, though each has slots of its own.
        """
        broker = self.leading(chapters=3, journal_slots=32, unrolled_bytes=1 << 20)
        self.fill(broker, 0)
        self.fill(broker, 1)
        self.fill(broker, 2, 30)
        self.assertEqual(self.rolled(), [0, 0, 0, 0])
        self.fill(broker, 2)
        self.assertEqual(self.rolled(), [1, 1, 0, 0])
        self.assertEqual(len(self.shared.keys("default/volumes/")), 1)

    def test_age(self) -> None:
        """
        The partitions in the oldest slot are rolled when it is old.
        """
        broker = self.leading(segment_seconds=100)
        self.fill(broker, 2)
        broker.clock.advance(60)
        self.fill(broker, 3)
        broker.run(39)
        self.assertEqual(self.rolled(), [0, 0, 0, 0])
        broker.run(CHECK_SECONDS + 1)
        self.assertEqual(self.rolled(), [0, 0, 1, 0])
        broker.run(60)
        self.assertEqual(self.rolled(), [0, 0, 1, 1])
        self.assertEqual(self.shared.slots(broker.incarnation), [])
        self.assertEqual(broker.log.pressure.size, 0)

    def test_journal_span(self) -> None:
        """
        The partitions that keep the oldest slot are rolled when recovery would
        have to read too many slots.
        """
        broker = self.leading(journal_slots=5)
        self.fill(broker, 3)
        self.fill(broker, 0, 4)
        self.assertEqual(self.rolled(), [0, 0, 0, 0])
        self.fill(broker, 0)
        self.assertEqual(self.rolled(), [0, 0, 0, 1])
        self.assertEqual(self.shared.slots(broker.incarnation), [1, 2, 3, 4, 5])

    def test_so_many_at_once(self) -> None:
        """
        No more rolls than the limit are under way.
        """
        broker = self.leading(segment_bytes=1000)
        broker.obey(hold("create", "/topics/"))
        for index in range(4):
            self.fill(broker, index, size=1100)
        self.assertEqual(len(broker.pending("create")), LogSettings().rolls)
        broker.pending("create")[0].succeed()
        self.assertEqual(len(broker.pending("create")), LogSettings().rolls)
        broker.settle()
        self.assertEqual(self.rolled(), [1, 1, 1, 1])

    def test_many_partitions_that_roll_at_once(self) -> None:
        """
        With a store that answers at once rolls do not pile up on the stack.
        """
        wanted = [(TOPIC, index) for index in range(300)]
        broker = self.leader(wanted)
        for where in wanted:
            partition = broker.log.partition(*where)
            partition.opened()
            append_to(partition, batch(b"x"))
        broker.run()
        broker.crash()
        successor = self.leader(wanted)
        self.assertEqual({self.shared.record(where).rolled_to for where in wanted}, {1})
        self.assertEqual(successor.log.pressure.size, 0)


class WhatTests(RollingTestCase):
    """
    The result of a roll.
    """

    def test_the_record(self) -> None:
        """
        The record says where the segments are, and how large.
        """
        broker = self.leading()
        partition = broker.partition()
        for expected in (2, 3):
            self.fill(broker, 0, expected - partition.record.rolled_to)
            now(broker.roll(partition))
        record = self.shared.record()
        self.assertEqual(record, partition.record)
        self.assertEqual((record.rolled_to, record.first_segment, record.last_segment), (3, 0, 2))
        sizes = [len(now(self.shared.objects.get(partition.segments.key(at)))) for at in (0, 2)]
        self.assertEqual(record.stored_bytes, sum(sizes))
        self.assertEqual(partition.size(), sum(sizes))

    def test_the_footer(self) -> None:
        """
        The states of producers in a footer are those at its end.
        """
        broker = self.leading()
        partition = broker.partition()
        broker.append(b"a", b"b", producer=5)
        broker.obey(hold("create", "/topics/"))
        rolling = begin(broker.roll(partition))
        broker.append(b"c", producer=5, sequence=2)
        broker.obey(let_pass)
        broker.settle()
        self.successResultOf(rolling)
        footer, _ = now(partition.segments.footer(0))
        states = ProducerStates(0)
        states.restore(footer.producers)
        self.assertEqual([state.last_sequence for state in states.all()], [1])
        self.assertEqual((footer.first_offset, footer.end_offset), (0, 2))
        self.assertEqual(footer.epochs.entries, ((0, 0),))
        now(broker.roll(partition))
        footer, _ = now(partition.segments.footer(2))
        states.restore(footer.producers)
        self.assertEqual([state.last_sequence for state in states.all()], [2])

    def test_nothing_to_roll(self) -> None:
        """
        No empty segment is made.
        """
        broker = self.leading()
        now(broker.roll(broker.partition()))
        self.assertEqual(self.shared.segments(), [])

    def test_states_after_adopting(self) -> None:
        """
        After a segment was adopted the states are those in its footer.
        """
        first = self.leading()
        first.append(b"a", producer=5)
        first.obey(hold("commit", metadata_keys.PARTITIONS))
        begin(first.roll(first.partition()))
        first.append(b"b", producer=6)
        first.crash()
        second = self.leader(PARTITIONS)
        footer, _ = now(second.partition().segments.footer(1))
        states = ProducerStates(0)
        states.restore(footer.producers)
        self.assertEqual([state.producer_id for state in states.all()], [5, 6])


class FailureTests(RollingTestCase):
    """
    Rolls that fail.
    """

    def test_tried_again(self) -> None:
        """
        A failed roll is tried again after a while; other partitions wait.
        """
        broker = self.leading(segment_bytes=900)

        def corrupt(operation: Operation) -> Verdict | None:
            return None if "/topics/" in operation.key else Verdict.SUCCEED

        broker.obey(corrupt)
        self.fill(broker, 0)
        with capturedLogs() as logged:
            broker.pending("create")[0].answer.errback(ValueError("a fault of ours"))
        self.assertRegex(
            formatEvent(logged[0]),
            r"(?s)\Acould not roll orders-0, trying again in 1 s: Traceback .*: a fault of ours\Z",
        )
        broker.objects.pending.clear()
        broker.obey(let_pass)
        self.fill(broker, 1)
        self.assertEqual(self.rolled(), [0, 0, 0, 0])
        broker.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.rolled(), [1, 1, 0, 0])

    def test_dropped_while_its_segment_is_made(self) -> None:
        """
        The topic is deleted: its memory is freed once, and its objects and slots
        are deleted.
        """
        broker = self.leading(**EACH)
        self.fill(broker, 0)
        self.fill(broker, 1)
        for held in ("create", "commit"):
            broker.obey(hold(held, "topics/" if held == "create" else metadata_keys.PARTITIONS))
            rolling = begin(broker.roll(broker.log.partition(TOPIC, held == "commit")))
            if held == "create":
                broker.settle()
                self.successResultOf(rolling)
        deleting = begin(broker.log.delete([TOPIC]))
        self.assertNoResult(deleting)
        broker.obey(let_pass)
        broker.settle()
        self.successResultOf(deleting)
        self.assertEqual(self.shared.keys("default/topics/"), [])
        self.assertEqual(self.shared.slots(broker.incarnation), [])
        self.assertEqual(broker.log.pressure.size, 0)
        self.assertIsNone(self.shared.value(metadata_keys.partition(*WHERE)))

    def test_fenced_while_its_record_is_committed(self) -> None:
        """
        Memory is freed once.
        """
        broker = self.leading()
        self.fill(broker, 0)
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        rolling = begin(broker.roll(broker.partition()))
        broker.journal.fence()
        self.assertEqual(broker.log.pressure.size, 0)
        broker.settle()
        self.successResultOf(rolling)
        self.assertEqual(broker.log.pressure.size, 0)

    def test_refused_and_not_there(self) -> None:
        """
        A segment is refused as one that exists, and is gone when its footer is read: swept
        by a successor, or refused by mistake. The roll fails, and can be made again.
        """
        broker = self.leading()
        broker.append(b"a")
        broker.obey(hold("create", "/topics/"))
        roll = begin(broker.roll(broker.partition()))
        (create,) = broker.pending("create")
        create.fail_but_apply()
        broker.obey(hold("get_suffix", "/topics/"))
        broker.clock.advance(1)
        self.assertTrue(broker.pending("get_suffix"))
        now(self.shared.objects.delete([create.key]))
        broker.obey(let_pass)
        broker.settle()
        self.failureResultOf(roll, StoreUnavailable)
        now(broker.roll(broker.partition()))
        self.assertEqual(self.rolled(), [1, 0, 0, 0])

    def test_stop(self) -> None:
        """
        Rolls under way end, no other starts, and no timer is left.
        """
        broker = self.leading(segment_bytes=900)
        broker.obey(hold("create", "/topics/"))
        for index in range(4):
            self.fill(broker, index)
        stopping = begin(broker.log.stop())
        self.assertNoResult(stopping)
        broker.settle()
        self.successResultOf(stopping)
        self.assertEqual(self.rolled(), [1, 1, 0, 0])
        self.assertEqual(broker.clock.getDelayedCalls(), [])
