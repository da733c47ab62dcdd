"""
Tests for L{kafscale.log.journal.journal}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from kafscale.errors import NotLeaderOrFollower, StoreUnavailable
from kafscale.format import object_keys
from kafscale.format.incarnation import WINDOW
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
        Batches of all partitions share a slot; its footer says which is whose.
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
        A full slot is sent without waiting for the clock.
        """
        self.add(1000)
        self.assertEqual(self.sent(), [0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_two_small_ones_go_beside_each_other(self) -> None:
        """
        While one slot is synced the disk can write another. The more are under
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
        A fifth slot waits for a place, full. Later batches go into the sixth,
        which is sent when there is a place for it.
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

    def test_26_a_window_after_the_first_under_way(self) -> None:
        """
        A slot that lands late does not let those after it run away: a slot shows
        that all slots a window before it were acknowledged.
        """
        for _ in range(WINDOW + 3):
            self.add(1000)
        for number in range(1, WINDOW):
            self.land(number)
        self.assertEqual(self.sent(), [0])
        self.land(0)
        self.assertEqual(self.sent(), [WINDOW, WINDOW + 1, WINDOW + 2])

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
        A late caller gets the outcome at once; a cancelled one gets nothing.
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
        A slot is frozen when it is sent: later batches go into the next one.
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
        Everything that waits is sent; the Deferred fires when all is settled.
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
        With a store that answers at once, a slot that is appended by a callback
        of another one is not acknowledged before that one is, everywhere.
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
    Counters of slots.
    """

    def test_flush(self) -> None:
        """
        A durable slot counts, with its bytes and how long it took.
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
        The first batch after a pause waits for a moment only.
        """
        self.add(10)
        self.clock.advance(IDLE / 2)
        self.add(10)
        self.assertEqual(self.sent(), [])
        self.clock.advance(IDLE / 2)
        self.assertEqual(self.sent(), [0])

    def test_waits_for_company(self) -> None:
        """
        A slot waits until half a second after the one before; later batches do
        not prolong that.
        """
        self.add(10)
        self.clock.advance(IDLE / 2)
        self.add(10)
        self.clock.advance(IDLE / 2)
        self.land(0)
        self.add(10)
        self.clock.advance(0.4)
        self.add(10)
        self.assertEqual(self.sent(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.sent(), [1])

    def alone(self) -> None:
        """
        Let a slot that waited in vain be stored in 20 ms.
        """
        for _ in range(3):
            self.add(10)
        self.clock.advance(0)
        self.clock.advance(IDLE)
        self.assertEqual(self.sent(), [0])
        self.clock.advance(0.02)
        self.land(0)

    def test_alone(self) -> None:
        """
        A producer that waits for its answers waits for others no longer than the store
        takes, while others do not come.
        """
        self.alone()
        for number in (1, 2):
            for _ in range(3):
                self.add(10)
            self.clock.advance(0)
            self.clock.advance(0.019)
            self.assertEqual(self.sent(), [])
            self.clock.advance(0.0011)
            self.assertEqual(self.sent(), [number])
            self.clock.advance(0.02)
            self.land(number)

    def test_no_longer_alone(self) -> None:
        """
        When another one comes, slots wait for half a second again.
        """
        self.alone()
        self.add(10)
        self.clock.advance(0)
        self.clock.advance(0.01)
        self.add(10)
        self.clock.advance(0.469)
        self.assertEqual(self.sent(), [])
        self.clock.advance(0.0011)
        self.assertEqual(self.sent(), [1])
        self.clock.advance(0.02)
        self.land(1)
        self.add(10)
        self.clock.advance(0)
        self.clock.advance(0.479)
        self.assertEqual(self.sent(), [])
        self.clock.advance(0.0011)
        self.assertEqual(self.sent(), [2])

    def test_not_alone_beside_a_slot(self) -> None:
        """
        A producer whose batches come while a slot is under way does not wait for it: this
        one waits for half a second, and so does the next.
        """
        self.alone()
        self.add(300)
        self.assertEqual(self.sent(), [1])
        self.add(10)
        self.clock.advance(0)
        self.clock.advance(0.499)
        self.assertEqual(self.sent(), [1])
        self.clock.advance(0.0011)
        self.assertEqual(self.sent(), [1, 2])
        self.land(1)
        self.land(2)
        self.add(10)
        self.clock.advance(0)
        self.clock.advance(0.499)
        self.assertEqual(self.sent(), [])
        self.clock.advance(0.0011)
        self.assertEqual(self.sent(), [3])

    def test_alone_on_a_slow_store(self) -> None:
        """
        Where the store takes longer than what is left of the interval the wait is as ever.
        """
        self.add(10)
        self.clock.advance(0)
        self.clock.advance(IDLE)
        self.clock.advance(0.3)
        self.land(0)
        self.add(10)
        self.clock.advance(0)
        self.clock.advance(0.199)
        self.assertEqual(self.sent(), [])
        self.clock.advance(0.0011)
        self.assertEqual(self.sent(), [1])

    def test_a_full_slot_does_not_wait(self) -> None:
        """
        A slot that is large enough is sent at once; the next one waits.
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
        A slot that is large enough beside fewer slots is sent when there are
        fewer, whatever is left of its wait: its producer may wait for it.
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
        When the linger is over and the pipeline is full, the slot fills until
        there is a place.
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
    What an object that exists already means.
    """

    def begin(self) -> list[Deferred[None]]:
        """
        Put two slots under way.
        """
        self.refused: list[Any] = []
        return [self.add(1000).wait() for _ in range(2)]

    def test_mine(self) -> None:
        """
        An earlier attempt, whose answer was lost, has stored the slot.
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
        Assert that everything is refused, slot 1 too, when slot 0 is C{data}.
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
        A successor has put a seal there.
        """
        self.refuse(write_seal(9))

    def test_foreign(self) -> None:
        """
        Any other object is not this journal's slot either.
        """
        self.refuse(b"something else")

    def test_foreign_of_the_same_length(self) -> None:
        """
        An object of the same length and another content is not it either.
        """
        told = self.begin()
        data = self.store.pending[0].arguments[1]
        now(self.inner.create(object_keys.slot(PREFIX, 0), [data[:-30], bytes(30)]))
        self.store.settle()
        for wait in told:
            self.failureResultOf(wait, NotLeaderOrFollower)

    def test_gone_again(self) -> None:
        """
        The object existed and is gone: a successor deletes slots.
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
        A store that refuses for good stops the journal: nothing after that slot
        can be acknowledged.
        """
        told = self.begin()
        self.store.pending[0].fail()
        for wait in told:
            self.failureResultOf(wait, NotLeaderOrFollower)
        self.assertEqual(self.fences, 1)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)

    def test_fenced_while_others_are_told(self) -> None:
        """
        Slots are refused that are settled after a callback has fenced the
        journal, though they are stored.
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
    Which slots may be deleted.
    """

    def test_the_lowest_that_is_needed(self) -> None:
        """
        Slots are trimmable in order, when all their partitions are rolled.
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
