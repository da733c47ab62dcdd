"""
The journal of one incarnation.

A flush costs the object store one request, whatever it contains, so the batches
of all partitions that arrive together go into one object, a slot. Slots are
numbered. Several may be under way at once, and they may become durable in any
order, but only the contiguous prefix of those that are known to be durable is
acknowledged and visible (rule 1): recovery will find exactly that, and never
less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from kafscale.counts import LogCounts
from kafscale.errors import NoSuchObject, NotLeaderOrFollower, ObjectExists
from kafscale.format import object_keys
from kafscale.format.incarnation import WINDOW
from kafscale.interfaces import IObjectStore
from kafscale.log.journal.fencing import Fence
from kafscale.log.journal.linger import Linger
from kafscale.log.journal.slots import PendingRange, Slot, Writer


class Journal:
    """
    The slots of one incarnation.

    @ivar unsettled_bytes: Bytes that were appended and are not acknowledged yet.
    @ivar fenced: Whether the incarnation was replaced.
    """

    _log = Logger()

    def __init__(  # noqa: PLR0913 - each is named by its callers
        self,
        store: IObjectStore,
        prefix: str,
        clock: IReactorTime,
        *,
        slot_bytes: int,
        in_flight: int,
        linger: Linger,
        fence: Fence,
        level_of: Callable[[str], int],
        counts: LogCounts,
        acknowledged: Callable[[Slot], None],
        fenced: Callable[[], None],
    ) -> None:
        """
        @param prefix: The prefix of the slots' keys: see L{object_keys.journal}.
        @param slot_bytes: Bytes of a full slot.
        @param in_flight: How many slots may be under way to the store.
        @param linger: How long the first batch of a slot waits for others.
        @param fence: Finds successors that leave no seal in the journal.
        @param level_of: See L{LogEnvironment<kafscale.log.environment.LogEnvironment>}.
        @param acknowledged: Called with each slot that has become durable and
            visible.
        @param fenced: Called once, when a successor was found.
        """
        self._store = store
        self._prefix = prefix
        self._clock = clock
        self._slot_bytes = slot_bytes
        self._in_flight = in_flight
        self._linger = linger
        self._lingers = linger.longest > 0
        self._fence = fence
        self._level_of = level_of
        self._least_bytes = slot_bytes // (8 if self._lingers else 6)
        self._counts = counts
        self._acknowledged = acknowledged
        self._on_fenced = fenced
        self._open: Slot | None = None
        self._flush_due: IDelayedCall | None = None
        self._queued: deque[Slot] = deque()  # closed, and waiting for a place in the pipeline
        self._sending = 0
        self._unsettled: deque[Slot] = deque()  # every slot that has a number, in order
        self._unrolled: deque[Slot] = deque()  # acknowledged, perhaps not rolled, in order
        self._next_slot = 0
        self._settling = False
        self._idle: list[Deferred[None]] = []
        self.unsettled_bytes = 0
        self.fenced = False

    # -- writing ---------------------------------------------------------------

    def open_slot(self) -> Slot:
        """
        Return the slot that L{add} puts a batch into.

        @raise NotLeaderOrFollower: the incarnation was replaced.
        """
        if self.fenced:
            raise NotLeaderOrFollower("this broker was replaced")
        slot = self._open
        if slot is None:
            slot = self._open = Slot(self._next_slot, self._clock.seconds())
            self._next_slot += 1
            self._unsettled.append(slot)
            if self._lingers or not self._sending:
                wait = self._linger.wait(slot.begun)
                if wait and len(self._unsettled) == 1:
                    due = slot.begun + wait
                    self._flush_due = self._clock.callLater(0, self._first_came, due)
                else:
                    self._linger.alone = False
                    self._flush_due = self._clock.callLater(wait, self._linger_over)
        return slot

    def add(self, writer: Writer, batch: bytes, first: int, end: int, max_timestamp: int) -> Slot:
        """
        Put a batch into the open slot. If the slot is full now it is sent, and
        a store in memory answers at once: then the batch is acknowledged before
        this returns.

        @param first: Offset of the batch's first record.
        @param end: Offset after its last record.
        @param max_timestamp: The largest of its records, in ms.
        @raise NotLeaderOrFollower: the incarnation was replaced.
        """
        slot = self.open_slot()
        pending = slot.ranges.get(writer)
        if pending is None:
            pending = slot.ranges[writer] = PendingRange(first)
        pending.batches.append(batch)
        pending.end = end
        if max_timestamp > pending.max_timestamp:
            pending.max_timestamp = max_timestamp
        size = len(batch)
        pending.size += size
        slot.size += size
        self.unsettled_bytes += size
        if slot.size >= self._least_bytes and self._is_large_enough(slot):
            self._close_slot()
        return slot

    def flush(self) -> Deferred[None]:
        """
        Send the open slot without waiting for the linger.

        @return: Fires when every slot is settled.
        """
        if self._open is not None:
            self._close_slot()
        done: Deferred[None] = Deferred()
        if self._unsettled:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    def _first_came(self, due: float) -> None:
        """
        Let the open slot wait, when it has the batches that came together with its first.
        """
        assert self._open is not None
        size = self._open.size
        wait = self._linger.wait_alone(self._linger.left(due, self._clock.seconds()))
        self._flush_due = self._clock.callLater(wait, self._waited, size, due)

    def _waited(self, size: int, due: float) -> None:
        """
        Send the open slot if no other batches came to those of C{size} bytes; otherwise let
        it wait until it is due.
        """
        assert self._open is not None
        self._linger.alone = self._open.size == size
        wait = self._linger.left(due, self._clock.seconds())
        if wait and not self._linger.alone:
            self._flush_due = self._clock.callLater(wait, self._linger_over)
        else:
            self._linger_over()

    def _linger_over(self) -> None:
        self._flush_due = None
        if self._sending < self._in_flight:
            self._close_slot()

    def _is_large_enough(self, slot: Slot) -> bool:
        """
        Return whether a slot that is large enough for a flush of its own is
        sent now. The more slots are under way, the larger it must be. So a
        producer that waits for each answer is not kept waiting, and the slots
        of a busy broker are full, so that many bytes are under way even if each
        slot takes long. Where a flush costs nothing a second slot need not be
        larger than the first: while one is synced the disk can write.
        """
        if slot.size >= self._slot_bytes:
            return True
        if self._sending >= self._in_flight:
            return False
        free = 0 if self._lingers else 1
        return slot.size >= self._least_bytes << max(0, self._sending - free)

    def _is_due(self, slot: Slot) -> bool:
        """
        Return whether the open slot is sent now that a place in the pipeline is
        free. Without a linger this is like Nagle's algorithm: the slot waits
        for those that are under way, unless it is large enough for a flush of
        its own.
        """
        if slot.size >= self._least_bytes and self._is_large_enough(slot):
            return True
        return self._flush_due is None and (self._lingers or not self._sending)

    def _close_slot(self) -> None:
        """
        Put nothing more into the open slot. It is sent at once if the pipeline
        has a place.
        """
        assert self._open is not None
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        if self._lingers:
            self._linger.closed(self._clock.seconds())
        self._queued.append(self._open)
        self._open = None
        self._send_queued()

    def _send_queued(self) -> None:
        while self._queued and self._sending < self._in_flight and not self.fenced:
            if self._queued[0].number - self._unsettled[0].number >= WINDOW:
                return  # so a slot shows which ones were acknowledged before (rule 26)
            self._sending += 1
            sending = Deferred.fromCoroutine(self._send(self._queued.popleft()))
            sending.addErrback(self._failed)

    async def _send(self, slot: Slot) -> None:
        pieces, footer = slot.freeze(self._level_of("slot"))
        slot.frozen = [*pieces, footer]
        key = object_keys.slot(self._prefix, slot.number)
        begun = self._clock.seconds()
        try:
            await self._store.create(key, slot.frozen)
        except ObjectExists:
            if not await self._is_mine(key, slot.size, footer):
                self.fence()
                return
        self._sending -= 1
        passes = self._fence.passes()
        if passes is not None:
            self._next()  # its place is free already
            if not await passes:
                self.fence()
                return
        slot.durable = True
        self._counts.slots += 1
        self._counts.slot_bytes += slot.size + len(footer)
        seconds = self._clock.seconds() - begun
        self._counts.flush_seconds.add(seconds)
        self._linger.answered(seconds)
        self._settle()
        if passes is None:
            self._next()
            return
        self._send_queued()  # the window may have moved
        if not self._unsettled:
            self._fire_idle()

    async def _is_mine(self, key: str, size: int, footer: bytes) -> bool:
        """
        Return whether a slot that exists already is this journal's own, from an
        attempt whose answer was lost, and not a successor's seal.
        """
        try:
            found, whole = await self._store.get_suffix(key, len(footer))
        except NoSuchObject:
            # Slots vanish only below a trim mark, and this one was not
            # acknowledged yet: another broker has taken the journal over.
            return False
        return found == footer and whole == size + len(footer)

    def _settle(self) -> None:
        """
        Acknowledge the contiguous prefix of durable slots.
        """
        if self._settling:
            return  # called while an earlier slot is settled, which comes first
        self._settling = True
        try:
            while self._unsettled and self._unsettled[0].durable and not self.fenced:
                self._settle_one(self._unsettled.popleft())
        finally:
            self._settling = False

    def _settle_one(self, slot: Slot) -> None:
        self.unsettled_bytes -= slot.size
        ends = [(writer, pending.end) for writer, pending in slot.ranges.items() if pending]
        # The slot keeps no bytes: from here on the partitions do.
        slot.ranges = dict.fromkeys(slot.ranges)
        self._unrolled.append(slot)
        for writer, end in ends:
            writer.acknowledge(end)
        slot.settle()
        self._acknowledged(slot)
        slot.frozen = None

    def _next(self) -> None:
        """
        Use a place in the pipeline that has become free.
        """
        if self._queued:
            self._send_queued()
        elif self._open is not None and self._is_due(self._open):
            self._close_slot()
        if not self._unsettled:
            self._fire_idle()

    def _fire_idle(self) -> None:
        idle, self._idle = self._idle, []
        for done in idle:
            done.callback(None)

    def _failed(self, failure: object) -> None:
        """
        Stop, because a slot cannot be stored, for another reason than that the
        store is away: nothing may be acknowledged any more.
        """
        self._log.error(
            "internal error while writing the journal {journal}; the broker acknowledges nothing"
            " more and rejoins the cluster: {failure}",
            journal=self._prefix,
            failure=failure,
        )
        self.fence()

    # -- being replaced --------------------------------------------------------

    def fence(self) -> None:
        """
        Stop acknowledging appends, for good, and refuse those that are not
        acknowledged (rule 2).
        """
        if self.fenced:
            return
        self.fenced = True
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        refused, self._unsettled = self._unsettled, deque()
        self._queued.clear()
        self._open = None
        self.unsettled_bytes = 0
        # Every partition is dropped before any producer hears of a refusal.
        self._on_fenced()
        for slot in refused:
            slot.settle(NotLeaderOrFollower("this broker was replaced"))
        self._fire_idle()

    # -- trimming --------------------------------------------------------------

    def rolled(self, writer: Writer, slot: Slot) -> None:
        """
        Forget that a slot has records of a partition, because they are in
        segments under a committed C{rolled_to} (rule 8), or because the
        partition was dropped.
        """
        slot.ranges.pop(writer, None)

    @property
    def trimmable(self) -> int:
        """
        The lowest slot that is still needed. All slots below it may be deleted.
        """
        while self._unrolled and not self._unrolled[0].ranges:
            self._unrolled.popleft()
        if self._unrolled:
            return self._unrolled[0].number
        return self._unsettled[0].number if self._unsettled else self._next_slot

    def oldest(self, number: int) -> list[Slot]:
        """
        Return the oldest acknowledged slots, beginning with the lowest that is
        still needed.

        @param number: How many at most.
        """
        self.trimmable  # noqa: B018 - forgets those that are not needed
        return list(islice(self._unrolled, number))

    def key(self, number: int) -> str:
        """
        Return the key of a slot.
        """
        return object_keys.slot(self._prefix, number)

    @property
    def sending(self) -> int:
        """
        How many slots are on their way to the store.
        """
        return self._sending

    @property
    def span(self) -> int:
        """
        How many slots recovery would have to read.
        """
        return self._next_slot - self.trimmable
