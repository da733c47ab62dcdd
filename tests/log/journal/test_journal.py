"""
Tests for L{kafscale.log.journal.journal}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from kafscale.errors import NotLeaderOrFollower, StoreUnavailable
from kafscale.format import object_keys
from kafscale.format.slot import read_slot, write_seal
from kafscale.log.journal.linger import IDLE
from tests.harness.coroutines import now
from tests.harness.hostile import let_pass
from tests.log.journal.journal_case import PREFIX, FakeWriter, JournalTestCase


class WritingTests(JournalTestCase):
    """
    From batches to slots.
    """

    def test_batches_of_one_moment_share_a_slot(self) -> None:
        """
        Whatever partitions they are of; the slot's footer says what is whose.
        """
        other = FakeWriter(1)
        slots = {self.add(52), self.add(50, other), self.add(54)}
        self.assertEqual(len(slots), 1)
        self.clock.advance(0)
        self.assertEqual(self.sent(), [0])
        self.land(0)
        data = now(self.inner.get(object_keys.slot(PREFIX, 0)))
        held = read_slot(data, len(data))
        assert isinstance(held, tuple)
        self.assertEqual(
            [
                (part.index, part.first_offset, part.last_offset, part.length, part.leader_epoch)
                for part in held
            ],
            [(0, 0, 1, 106, 7), (1, 0, 0, 50, 7)],
        )
        self.assertEqual([part.max_timestamp for part in held], [10, 0])
        self.assertEqual((self.writer.ends, other.ends), ([2], [1]))

    def test_a_full_slot_is_sent_at_once(self) -> None:
        """
        No clock needs to move.
        """
        self.add(1000)
        self.assertEqual(self.sent(), [0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_two_small_ones_go_beside_each_other(self) -> None:
        """
        While one is synced the disk can write the other; the more are under
        way beyond these, the larger the next one must be.
        """
        self.add(170)
        self.assertEqual(self.sent(), [0])
        self.add(100)
        self.clock.advance(0)
        self.assertEqual(self.sent(), [0])
        self.add(70)
        self.assertEqual(self.sent(), [0, 1])
        self.add(170)
        self.add(160)
        self.assertEqual(self.sent(), [0, 1])
        self.add(10)
        self.assertEqual(self.sent(), [0, 1, 2])

    def test_four_slots_are_under_way(self) -> None:
        """
        The fifth waits for a place, in full; what comes then goes into the
        sixth, and is sent when there is a place for it.
        """
        for _ in range(6):
            self.add(1000)
        self.add(10)
        self.assertEqual(self.sent(), [0, 1, 2, 3])
        self.land(2)
        self.assertEqual(self.sent(), [0, 1, 3, 4])
        self.land(0)
        self.assertEqual(self.sent(), [1, 3, 4, 5])
        for number in range(1, 7):
            self.clock.advance(1)
            self.land(number)
        self.assertEqual(self.acknowledged, [0, 1, 2, 3, 4, 5, 6])

    def test_acknowledges_in_order(self) -> None:
        """
        Slots that land early wait for those before them.
        """
        waits = [self.add(1000).wait() for _ in range(3)]
        self.land(2)
        self.land(1)
        self.assertEqual((self.acknowledged, self.writer.ends), ([], []))
        self.assertEqual(self.journal.unsettled_bytes, 3000)
        self.land(0)
        self.assertEqual((self.acknowledged, self.writer.ends), ([0, 1, 2], [1, 2, 3]))
        self.assertEqual(self.journal.unsettled_bytes, 0)
        for wait in waits:
            self.assertIsNone(self.successResultOf(wait))

    def test_wait_after_the_fact(self) -> None:
        """
        Who asks later is told at once; who gave up is not told.
        """
        slot = self.add(1000)
        given_up = slot.wait()
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.land(0)
        self.assertIsNone(self.successResultOf(slot.wait()))
        self.assertTrue(slot.settled)

    def test_every_attempt_sends_the_same(self) -> None:
        """
        A slot is frozen when it is sent: what comes meanwhile is in the next.
        """
        self.add(1000)
        [operation] = self.store.pending
        self.add(10)
        self.assertEqual(operation.arguments[0], object_keys.slot(PREFIX, 0))
        self.land(0)  # the store checks that the pieces have not changed
        self.clock.advance(0)
        self.assertEqual(self.sent(), [1])

    def test_flush(self) -> None:
        """
        All that waits is sent; it fires when nothing is unsettled.
        """
        self.assertIsNone(self.successResultOf(self.journal.flush()))
        self.add(1000)
        self.add(10)
        flushed = self.journal.flush()
        self.assertEqual(self.sent(), [0, 1])
        self.land(1)
        self.assertNoResult(flushed)
        self.land(0)
        self.assertIsNone(self.successResultOf(flushed))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_told_may_append(self) -> None:
        """
        With a store that answers at once a slot that is appended by who hears
        of another is not acknowledged before that one is, to all.
        """
        self.store.policy = let_pass
        order: list[tuple[str, int]] = []
        other = FakeWriter(1)

        def first(end: int) -> None:
            order.append(("first", end))
            if end == 1:
                self.add(1000, other)

        self.writer.told = first
        other.told = lambda end: order.append(("other", end))
        self.add(10)
        self.add(10, other)
        self.clock.advance(0)
        self.assertEqual(order, [("first", 1), ("other", 1), ("other", 2)])
        self.assertEqual(self.acknowledged, [0, 1])


class CountsTests(JournalTestCase):
    """
    What is counted of slots.
    """

    def test_flush(self) -> None:
        """
        A slot counts when it is durable: its bytes, and how long that took.
        """
        self.add(600)
        self.clock.advance(0)
        self.assertEqual((self.journal.sending, self.counts.slots), (1, 0))
        self.clock.advance(3)
        self.land(0)
        self.assertEqual((self.journal.sending, self.counts.slots), (0, 1))
        self.assertGreater(self.counts.slot_bytes, 600)
        self.assertEqual(self.counts.flush_seconds.total, 3.0)


class LingerTests(JournalTestCase):
    """
    With half a second from slot to slot.
    """

    linger = 0.5

    def test_idle(self) -> None:
        """
        The first batch waits for a moment only.
        """
        self.add(10)
        self.clock.advance(IDLE / 2)
        self.add(10)
        self.assertEqual(self.sent(), [])
        self.clock.advance(IDLE / 2)
        self.assertEqual(self.sent(), [0])

    def test_waits_for_company(self) -> None:
        """
        Half a second from the slot before; later batches do not prolong it.
        """
        self.add(10)
        self.clock.advance(IDLE)
        self.land(0)
        self.add(10)
        self.clock.advance(0.4)
        self.add(10)
        self.assertEqual(self.sent(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.sent(), [1])

    def test_a_full_slot_does_not_wait(self) -> None:
        """
        What is worth a flush of its own goes at once; then the next waits.
        """
        self.add(10)
        self.add(300)
        self.assertEqual(self.sent(), [0])
        self.add(10)
        self.clock.advance(0.49)
        self.assertEqual(self.sent(), [0])
        self.clock.advance(0.01)
        self.assertEqual(self.sent(), [0, 1])

    def test_the_more_are_under_way_the_larger(self) -> None:
        """
        Slots of a busy broker are nearly full, because each has a price.
        """
        self.add(125)
        self.assertEqual(self.sent(), [0])
        self.add(240)
        self.assertEqual(self.sent(), [0])
        self.add(10)
        self.assertEqual(self.sent(), [0, 1])
        self.add(490)
        self.add(9)
        self.assertEqual(self.sent(), [0, 1])
        self.add(1)
        self.assertEqual(self.sent(), [0, 1, 2])
        self.add(990)
        self.assertEqual(self.sent(), [0, 1, 2])

    def test_as_the_others_land(self) -> None:
        """
        What is large enough beside fewer goes when there are fewer, whatever
        is left of its wait: its producer may wait for nothing else.
        """
        self.add(130)
        self.add(200)
        self.assertEqual(self.sent(), [0])
        self.land(0)
        self.assertEqual(self.sent(), [1])
        self.add(10)
        self.land(1)
        self.assertEqual(self.sent(), [])

    def test_waits_for_a_place(self) -> None:
        """
        When the linger is over and the pipeline is full, the slot goes on
        filling until there is a place.
        """
        for _ in range(4):
            self.add(1000)
        self.add(10)
        self.clock.advance(1)
        self.assertEqual(self.sent(), [0, 1, 2, 3])
        self.add(10)
        self.land(1)
        self.clock.advance(1)
        self.assertEqual(self.sent(), [0, 2, 3, 4])
        self.land(0)
        self.land(4)
        for number in (2, 3):
            self.land(number)
        self.assertEqual(self.writer.ends[-1], 6)


class RefusedTests(JournalTestCase):
    """
    What an object that is there already means.
    """

    def begin(self) -> list[Deferred[None]]:
        """
        Two slots are under way.
        """
        self.refused: list[Any] = []
        return [self.add(1000).wait() for _ in range(2)]

    def test_mine(self) -> None:
        """
        An earlier attempt, whose answer was lost, has stored it.
        """
        told = self.begin()
        [first, _] = self.store.pending
        now(self.inner.create(first.key, [first.arguments[1]]))
        first.succeed()
        self.store.settle()
        for wait in told:
            self.assertIsNone(self.successResultOf(wait))
        self.assertEqual(self.fences, 0)

    def refuse(self, data: bytes) -> None:
        """
        Slot 0 turns out to be C{data}: everything is refused, slot 1 too.
        """
        told = self.begin()
        self.add(10)
        now(self.inner.create(object_keys.slot(PREFIX, 0), [data]))
        self.store.settle()
        for wait in told:
            self.failureResultOf(wait, NotLeaderOrFollower)
        self.assertEqual((self.fences, self.acknowledged, self.writer.ends), (1, [], []))
        self.assertEqual(self.journal.unsettled_bytes, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertRaises(NotLeaderOrFollower, self.add)
        self.assertIsNone(self.successResultOf(self.journal.flush()))

    def test_a_seal(self) -> None:
        """
        A successor has put it there.
        """
        self.refuse(write_seal(9))

    def test_foreign(self) -> None:
        """
        Whatever else it is, it is not ours.
        """
        self.refuse(b"something else")

    def test_foreign_of_the_same_length(self) -> None:
        """
        Also when it looks alike.
        """
        told = self.begin()
        data = self.store.pending[0].arguments[1]
        now(self.inner.create(object_keys.slot(PREFIX, 0), [data[:-30], bytes(30)]))
        self.store.settle()
        for wait in told:
            self.failureResultOf(wait, NotLeaderOrFollower)

    def test_gone_again(self) -> None:
        """
        It was there and is not: somebody clears up after us.
        """
        told = self.begin()
        key = object_keys.slot(PREFIX, 0)
        now(self.inner.create(key, [write_seal(9)]))
        self.store.pending[0].succeed()
        now(self.inner.delete([key]))
        self.store.settle()
        for wait in told:
            self.failureResultOf(wait, NotLeaderOrFollower)

    def test_what_cannot_be_stored(self) -> None:
        """
        A store that refuses for good stops the journal: nothing after it can
        be acknowledged.
        """
        told = self.begin()
        self.store.pending[0].fail()
        for wait in told:
            self.failureResultOf(wait, NotLeaderOrFollower)
        self.assertEqual(self.fences, 1)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)

    def test_fenced_while_others_are_told(self) -> None:
        """
        Slots after that are refused, though they are stored.
        """
        told = self.begin()
        self.writer.told = lambda end: self.journal.fence()
        self.land(1)
        self.land(0)
        self.assertIsNone(self.successResultOf(told[0]))
        self.failureResultOf(told[1], NotLeaderOrFollower)
        self.assertEqual(self.writer.ends, [1])


class TrimmableTests(JournalTestCase):
    """
    Which slots may go.
    """

    def test_the_lowest_that_is_needed(self) -> None:
        """
        Slots go in order, when all partitions have rolled what is theirs.
        """
        other = FakeWriter(1)
        self.store.policy = let_pass
        slots = [self.add(1000), self.add(1000, other), self.add(1000)]
        self.assertEqual((self.journal.trimmable, self.journal.span), (0, 3))
        self.journal.rolled(other, slots[1])
        self.assertEqual(self.journal.trimmable, 0)
        self.assertEqual(self.journal.oldest(2), slots[:2])
        self.journal.rolled(self.writer, slots[0])
        self.assertEqual((self.journal.trimmable, self.journal.span), (2, 1))
        self.assertEqual(self.journal.oldest(1), [slots[2]])
        self.journal.rolled(self.writer, slots[2])
        self.assertEqual((self.journal.trimmable, self.journal.span), (3, 0))
        self.assertEqual(self.journal.oldest(9), [])

    def test_not_past_what_is_under_way(self) -> None:
        """
        A slot that is not settled is needed.
        """
        self.add(1000)
        self.add(1000)
        self.land(1)
        self.assertEqual(self.journal.trimmable, 0)
