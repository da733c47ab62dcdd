"""
Checking journals against the rules of the log.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import AsyncIterator, Collection, Sequence

import attrs

from kafscale.config.settings import MAX_SLOTS_IN_FLIGHT
from kafscale.format import metadata_keys, object_keys
from kafscale.format.errors import UnreadableData
from kafscale.format.partition import TopicIdPartition
from kafscale.format.reading import list_objects, slot_footer
from kafscale.format.slot import Range, Seal
from kafscale.inspect.findings import Findings
from kafscale.inspect.objects import check_range
from kafscale.inspect.view import Journal, View
from kafscale.interfaces import IObjectReader

Held = Sequence[Range] | Seal | UnreadableData


class Tails:
    """
    The ranges of offsets of each partition that are in journals: as few ranges
    as possible, normally one.
    """

    def __init__(self, only: Collection[TopicIdPartition] | None = None) -> None:
        """
        @param only: The partitions to take; None: all.
        """
        self._only = only
        self._stretches: dict[TopicIdPartition, list[tuple[int, int]]] = {}

    def take(self, view: View, incarnation: int, parts: Sequence[Range]) -> None:
        """
        Add the ranges of a slot that are part of the log.
        """
        for part in parts:
            where = part.topic_id, part.index
            if self._only is not None and where not in self._only:
                continue
            if view.counts(incarnation, where, part.leader_epoch):
                self._add(where, part.first_offset, part.last_offset + 1)

    def _add(self, where: TopicIdPartition, first: int, end: int) -> None:
        stretches = self._stretches.setdefault(where, [])
        if stretches and stretches[-1][1] == first:
            stretches[-1] = stretches[-1][0], end
        else:
            insort(stretches, (first, end))

    def after(self, where: TopicIdPartition, start: int) -> tuple[int, int | None]:
        """
        Return the offset after the last record that follows C{start} without a
        gap, and the first offset after the gap; None if there is no gap.
        """
        end = start
        for first, stop in self._stretches.get(where, ()):
            if stop > end:
                if first > end:
                    return end, first
                end = stop
        return end, None


async def slots_of(
    objects: IObjectReader, prefix: str, found: Findings | None = None
) -> AsyncIterator[tuple[str, int, int, Held]]:
    """
    List key, number, size and footer of each object of a journal, in order.

    @param prefix: The prefix of the keys of the journal's slots.
    @param found: Takes a note of each other object with this prefix.
    """
    async for info in list_objects(objects, prefix):
        try:
            number = object_keys.slot_number(info.key)
        except ValueError:
            number = -1
        if number < 0 or info.key != object_keys.slot(prefix, number):
            if found is not None:
                found.note(info.key, "not an object of Kafscale")
            continue
        held: Held | None
        try:
            held = await slot_footer(objects, info.key)
        except UnreadableData as error:
            held = error
        if held is not None:  # deleted just now
            yield info.key, number, info.size, held


async def check_journal(
    objects: IObjectReader, view: View, journal: Journal, tails: Tails
) -> Findings:
    """
    Check a journal.

    @param tails: Takes the ranges of offsets that the journal has.
    """
    return await _Check(objects, view, journal, tails).run()


@attrs.define
class _Check:
    """
    The check of one journal, slot by slot.

    @ivar next: The number of the slot that should come next.
    @ivar beyond: The number of slots after the end of a journal whose end is
        not recorded.
    @ivar open: Whether that end was not reached yet.
    """

    objects: IObjectReader
    view: View
    journal: Journal
    tails: Tails
    found: Findings = attrs.field(factory=Findings)
    next: int = 0
    beyond: int = 0
    open: bool = True

    async def run(self) -> Findings:
        """
        Check all slots, from the first to the last.
        """
        journal, found = self.journal, self.found
        self._check_marks()
        self.next = journal.record.trim
        prefix = self.view.slots(journal)
        async for key, number, _, held in slots_of(self.objects, prefix, found):
            if number not in journal.needed:
                if isinstance(held, UnreadableData):
                    found.note(key, f"not needed, and not whole: {held.reason}")
                elif not isinstance(held, Seal):
                    below = number < journal.record.trim
                    found.garbage(key, "below the trim mark" if below else "past the end")
            elif journal.sealed_at is None:
                await self._unsealed(key, number, held)
            else:
                self._missing(number)
                self.next = number + 1
                await self._sealed(key, number, held, journal.sealed_at)
        self._check_end()
        return found

    def _check_marks(self) -> None:
        where = metadata_keys.incarnation(self.journal.number)
        trim, sealed_at = self.journal.record.trim, self.journal.sealed_at
        if sealed_at is not None and trim > sealed_at:
            self.found.wrong(where, f"the trim mark, {trim}, is past the end, {sealed_at}")
        if self.journal.record.wound_up and trim != sealed_at:
            self.found.wrong(
                where, f"wound up, but its trim mark is {trim} and its end {sealed_at}"
            )

    def _check_end(self) -> None:
        sealed_at = self.journal.sealed_at
        if sealed_at is not None:
            self._missing(sealed_at)
            if self.next <= sealed_at and not self.journal.record.is_marked:
                self.found.wrong(
                    self._key(sealed_at),
                    "the seal is missing: a broker that only slept could write on there",
                )
        elif self.next < self.journal.stored:
            self.found.wrong(self._key(self.next), "missing, though it was acknowledged")
        elif self.beyond > MAX_SLOTS_IN_FLIGHT:
            self.found.wrong(
                self._key(self.next), f"missing, but {self.beyond} slots come after it"
            )
        elif self.beyond:
            self.found.note(
                self._key(self.next),
                f"missing, and {self.beyond} slots come after it: flushes that were under way"
                " together, unless somebody has removed it",
            )

    def _missing(self, end: int) -> None:
        """
        Report the slots below C{end} that are missing.
        """
        if end - self.next == 1:
            self.found.wrong(self._key(self.next), "missing")
        elif end > self.next:
            self.found.wrong(self._key(self.next), f"missing, as are all up to {end - 1}")

    async def _sealed(self, key: str, number: int, held: Held, sealed_at: int) -> None:
        """
        Check a slot, up to the end, of a journal whose end is recorded.
        """
        if number == sealed_at:
            if not isinstance(held, Seal):
                self.found.wrong(key, "the journal ends here, but this is no seal")
        elif isinstance(held, Seal):
            self.found.wrong(key, f"a seal, but the journal ends at {sealed_at}")
        else:
            await self._slot(key, held)

    async def _unsealed(self, key: str, number: int, held: Held) -> None:
        """
        Check a slot of a journal whose end is not recorded. The journal ends at
        the first slot that is missing, or at a seal.
        """
        if self.open and number == self.next and not isinstance(held, Seal):
            self.next += 1
            await self._slot(key, held)
            return
        if self.open and number == self.next:
            self.found.note(key, "a seal, by a successor that did not record it")
        self.open = False
        if isinstance(held, Seal):
            return  # the end, or a barrier
        self.beyond += 1
        if isinstance(held, UnreadableData):
            return
        for part in held:
            where = part.topic_id, part.index
            if not self.view.counts(self.journal.number, where, part.leader_epoch):
                continue
            if part.last_offset < self.view.partitions[where].rolled_to:
                # Only what is acknowledged is rolled (rules 1 and 14).
                self.found.wrong(
                    self._key(self.next),
                    f"missing, though slot {number}, after it, was acknowledged",
                )
                return

    async def _slot(self, key: str, held: Sequence[Range] | UnreadableData) -> None:
        """
        Check a slot that is part of the journal.
        """
        if isinstance(held, UnreadableData):
            self.found.wrong(key, held.reason)
            return
        for part in held:
            wrong = await check_range(self.objects, key, part)
            if wrong is not None:
                name = self.view.name((part.topic_id, part.index))
                self.found.wrong(key, f"{name}: {wrong}")
        self.tails.take(self.view, self.journal.number, held)

    def _key(self, number: int) -> str:
        return object_keys.slot(self.view.slots(self.journal), number)


async def scan(objects: IObjectReader, view: View, wanted: Collection[TopicIdPartition]) -> Tails:
    """
    Return the ranges of offsets of these partitions that are in journals, by
    the footers of slots.
    """
    tails = Tails(wanted)
    for number in sorted({pair[0] for each in wanted for pair in view.partitions[each].journals}):
        journal = view.journals.get(number)
        if journal is None:
            continue
        following = journal.record.trim
        async for _, slot, _, held in slots_of(objects, view.slots(journal)):
            if slot not in journal.needed:
                continue
            if isinstance(held, Seal) or (journal.sealed_at is None and slot != following):
                break
            following = slot + 1
            if not isinstance(held, UnreadableData):
                tails.take(view, number, held)
    return tails
