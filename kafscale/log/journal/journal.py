"""
Where a record becomes durable.

A flush costs the object store one request whatever it holds, so the batches
of all partitions that arrive together go into one object, a slot. Slots are
numbered; some are under way at once, and they may land in any order, but only
the contiguous prefix of those that are known to be durable is acknowledged and
shown (rule 1): what recovery will find is exactly that, and never less.
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
from kafscale.interfaces import IObjectStore
from kafscale.log.journal.fencing import Fence
from kafscale.log.journal.linger import Linger
from kafscale.log.journal.slots import Share, Slot, Writer


class Journal:
    """
    The slots of one incarnation.

    @ivar unsettled_bytes: What was appended and is not yet acknowledged.
    @ivar trimmable: The lowest slot that is not rolled: all slots below it may
        go.
    """

    _log = Logger()

    def __init__(
        self,
        store: IObjectStore,
        prefix: str,
        clock: IReactorTime,
        *,
        slot_bytes: int,
        in_flight: int,
        linger: Linger,
        fence: Fence,
        counts: LogCounts,
        acknowledged: Callable[[Slot], None],
        fenced: Callable[[], None],
    ) -> None:
        """
        @param prefix: See L{object_keys.journal}.
        @param linger: How long the first batch of a slot waits for company.
        @param fence: Tells of a successor that left no seal here.
        @param acknowledged: Called with each slot when it is settled well.
        @param fenced: Called once, when it is found that there is a successor.
        """
        self._store = store
        self._prefix = prefix
        self._clock = clock
        self._slot_bytes = slot_bytes
        self._in_flight = in_flight
        self._linger = linger
        self._lingers = linger.longest > 0
        self._fence = fence
        self._worth = slot_bytes // (8 if self._lingers else 6)
        self._counts = counts
        self._acknowledged = acknowledged
        self._on_fenced = fenced
        self._open: Slot | None = None
        self._flush_due: IDelayedCall | None = None
        self._queued: deque[Slot] = deque()  # full, without a place in the pipeline
        self._sending = 0
        self._unsettled: deque[Slot] = deque()  # every slot with a number, in order
        self._standing: deque[Slot] = deque()  # settled, perhaps not rolled, in order
        self._next_slot = 0
        self._settling = False
        self._idle: list[Deferred[None]] = []
        self.unsettled_bytes = 0
        self.fenced = False

    # -- writing ----------------------------------------------------------

    def open_slot(self) -> Slot:
        """
        The slot that L{add} puts a batch into.

        @raise NotLeaderOrFollower: fenced.
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
                self._flush_due = self._clock.callLater(wait, self._linger_over)
        return slot

    def add(self, writer: Writer, batch: bytes, first: int, end: int, max_timestamp: int) -> Slot:
        """
        Put a batch, which has its offsets (C{end} is the one after its last),
        into the open slot. If that is full now it is sent, and a store in
        memory answers at once: the writer may be told of it before this
        returns.

        @raise NotLeaderOrFollower: fenced.
        """
        slot = self.open_slot()
        share = slot.shares.get(writer)
        if share is None:
            share = slot.shares[writer] = Share(first)
        share.batches.append(batch)
        share.end = end
        if max_timestamp > share.max_timestamp:
            share.max_timestamp = max_timestamp
        size = len(batch)
        share.size += size
        slot.size += size
        self.unsettled_bytes += size
        if slot.size >= self._worth and self._is_worth_it(slot):
            self._close_slot()
        return slot

    def flush(self) -> Deferred[None]:
        """
        Send what waits, without lingering; fires when nothing is unsettled.
        """
        if self._open is not None:
            self._close_slot()
        done: Deferred[None] = Deferred()
        if self._unsettled:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    def _linger_over(self) -> None:
        self._flush_due = None
        if self._sending < self._in_flight:
            self._close_slot()

    def _is_worth_it(self, slot: Slot) -> bool:
        """
        Whether a slot that is worth a flush of its own goes now. It must be
        larger the more are under way: who waits for an answer before he sends
        more is not kept waiting, and the slots of a broker with much to do are
        full, so that many bytes are under way even if each takes long. Where
        a flush has no price the second beside the first need not be larger:
        while one is synced the disk can write.
        """
        if slot.size >= self._slot_bytes:
            return True
        if self._sending >= self._in_flight:
            return False
        free = 0 if self._lingers else 1
        return slot.size >= self._worth << max(0, self._sending - free)

    def _is_due(self, slot: Slot) -> bool:
        """
        Whether the open slot is to be sent now that a place in the pipeline
        is free. Without a linger it is like Nagle's algorithm: what is under
        way is waited for, unless there is enough to be worth a flush of its
        own.
        """
        if slot.size >= self._worth and self._is_worth_it(slot):
            return True
        return self._flush_due is None and (self._lingers or not self._sending)

    def _close_slot(self) -> None:
        """
        Nothing more goes into the open slot. It is sent at once if the
        pipeline has a place.
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
            self._sending += 1
            sending = Deferred.fromCoroutine(self._send(self._queued.popleft()))
            sending.addErrback(self._lost)

    async def _send(self, slot: Slot) -> None:
        pieces, footer = slot.freeze()
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
        self._counts.flush_seconds.add(self._clock.seconds() - begun)
        self._settle()
        if passes is None:
            self._next()
        elif not self._unsettled:
            self._tell_idle()

    async def _is_mine(self, key: str, size: int, footer: bytes) -> bool:
        """
        Whether the slot that exists is ours, from an attempt whose answer was
        lost, and not a successor's seal.
        """
        try:
            found, whole = await self._store.get_suffix(key, len(footer))
        except NoSuchObject:
            # Slots vanish only below a trim mark, and this one was not yet
            # acknowledged: somebody else has taken the journal over.
            return False
        return found == footer and whole == size + len(footer)

    def _settle(self) -> None:
        """
        Acknowledge the contiguous prefix of durable slots.
        """
        if self._settling:
            return  # by somebody who was told of an earlier slot: that one comes first
        self._settling = True
        try:
            while self._unsettled and self._unsettled[0].durable and not self.fenced:
                self._settle_one(self._unsettled.popleft())
        finally:
            self._settling = False

    def _settle_one(self, slot: Slot) -> None:
        self.unsettled_bytes -= slot.size
        ends = [(writer, share.end) for writer, share in slot.shares.items() if share]
        # The bytes are the partitions' to keep from here on.
        slot.shares = dict.fromkeys(slot.shares)
        self._standing.append(slot)
        for writer, end in ends:
            writer.acknowledge(end)
        slot.settle()
        self._acknowledged(slot)
        slot.frozen = None

    def _next(self) -> None:
        """
        A place in the pipeline is free.
        """
        if self._queued:
            self._send_queued()
        elif self._open is not None and self._is_due(self._open):
            self._close_slot()
        if not self._unsettled:
            self._tell_idle()

    def _tell_idle(self) -> None:
        idle, self._idle = self._idle, []
        for done in idle:
            done.callback(None)

    def _lost(self, failure: object) -> None:
        """
        A slot cannot be stored, and not for the store's being away: nothing
        may be acknowledged any more.
        """
        self._log.error("the journal stops: {failure}", failure=failure)
        self.fence()

    # -- being replaced ---------------------------------------------------

    def fence(self) -> None:
        """
        Acknowledge and show nothing more (rule 2).
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
        # Whoever hears of the refusal finds every partition dropped already.
        self._on_fenced()
        for slot in refused:
            slot.settle(NotLeaderOrFollower("this broker was replaced"))
        self._tell_idle()

    # -- trimming ---------------------------------------------------------

    def rolled(self, writer: Writer, slot: Slot) -> None:
        """
        All that the slot has of this partition is in segments, under a
        committed C{rolled_to} (rule 8); or the partition is gone.
        """
        slot.shares.pop(writer, None)

    @property
    def trimmable(self) -> int:
        """
        The lowest slot that is still needed.
        """
        while self._standing and not self._standing[0].shares:
            self._standing.popleft()
        if self._standing:
            return self._standing[0].number
        return self._unsettled[0].number if self._unsettled else self._next_slot

    def oldest(self, number: int) -> list[Slot]:
        """
        The oldest slots that are acknowledged, the first of them still needed;
        at most so many.
        """
        self.trimmable  # noqa: B018 - forgets those that are not needed
        return list(islice(self._standing, number))

    def key(self, number: int) -> str:
        """
        The key of a slot.
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
