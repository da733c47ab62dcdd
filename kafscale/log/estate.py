"""
What dead incarnations left: sealed journals that may hold records which are in
no segment yet.

An estate is wound up when its last record is in a segment: then its slots go.
Its seals stay for ever, because their writer may only have been asleep.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from twisted.logger import Logger

from kafscale.errors import CommitConflict
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.log import keys
from kafscale.log.commit import settle
from kafscale.log.record import PartitionRecord
from kafscale.log.sealing import Sealed, footer, listing, ranges, seal
from kafscale.log.slot import Range, Seal

Where = tuple[UUID, int]


class Estate:
    """
    One sealed journal.

    @ivar ranges: By partition: the key of each slot that holds records of it,
        and where they are in that slot.
    """

    def __init__(self, sealed: Sealed, slots: Sequence[tuple[str, Sequence[Range]]]) -> None:
        self.sealed = sealed
        self.ranges: dict[Where, list[tuple[str, Range]]] = {}
        for key, held in slots:
            for part in held:
                self.ranges.setdefault((part.topic_id, part.index), []).append((key, part))

    def needed(self, where: Where, record: PartitionRecord) -> list[tuple[str, Range]]:
        """
        The ranges of a partition that are in no segment, in order. Only those
        written in an epoch that the record names count (log-rules, 13).
        """
        return [
            (key, part)
            for key, part in self.ranges.get(where, ())
            if part.last_offset >= record.rolled_to
            and (self.sealed.incarnation, part.leader_epoch) in record.journals
        ]


class Estates:
    """
    The estates that this broker has opened.
    """

    _log = Logger()

    def __init__(
        self, objects: IObjectStore, metadata: IMetadataStore, namespace: str, incarnation: int
    ) -> None:
        self._objects = objects
        self._metadata = metadata
        self._namespace = namespace
        self._incarnation = incarnation
        self._open: dict[int, Estate] = {}

    async def of(self, incarnation: int) -> Estate:
        """
        The estate of an incarnation, which is stopped for good by this.
        """
        estate = self._open.get(incarnation)
        if estate is None:
            sealed = await seal(
                self._objects, self._metadata, self._namespace, incarnation, self._incarnation
            )
            slots = await ranges(self._objects, sealed)
            estate = self._open[incarnation] = Estate(sealed, slots)
        return estate

    async def left(self, broker_id: int) -> list[int]:
        """
        The broker's own incarnations of the past that are not wound up.
        """
        entries, _ = await self._metadata.range(keys.INCARNATIONS)
        seals, _ = await self._metadata.range(keys.SEALS)
        ends = {keys.incarnation_of(entry.key): entry.value["sealed_at"] for entry in seals}
        past = {
            keys.incarnation_of(entry.key): entry.value["trim"]
            for entry in entries
            if entry.value["broker"] == broker_id
        }
        return [
            number
            for number, trim in past.items()
            if number < self._incarnation and trim != ends.get(number)
        ]

    async def wind_up(self) -> None:
        """
        Let go of the estates of which everything is in segments.
        """
        for incarnation, estate in list(self._open.items()):
            if await self._is_rolled(estate):
                del self._open[incarnation]
                await self._bury(estate.sealed)

    async def _is_rolled(self, estate: Estate) -> bool:
        for topic_id, index in list(estate.ranges):
            entry = await self._metadata.get(keys.partition_record(topic_id, index))
            if entry is not None:
                record = PartitionRecord.from_json(entry.value)
                if estate.needed((topic_id, index), record):
                    return False
            estate.ranges.pop((topic_id, index), None)
        return True

    async def _bury(self, sealed: Sealed) -> None:
        """
        Move the trim mark to the end, then delete the slots (log-rules, 9 and
        10); what was found past the end, too, but never a seal.
        """
        try:
            await settle(
                self._metadata,
                keys.incarnation_record(sealed.incarnation),
                sealed.trim_revision,
                {"broker": sealed.broker, "trim": sealed.sealed_at},
            )
        except CommitConflict:
            return  # another successor winds it up
        garbage = []
        async for info in listing(self._objects, sealed.prefix):
            number = keys.slot_number(info.key)
            if number < sealed.sealed_at or not isinstance(
                await footer(self._objects, info.key), Seal
            ):
                garbage.append(info.key)
        for at in range(0, len(garbage), 1000):
            await self._objects.delete(garbage[at : at + 1000])
        self._log.info(
            "incarnation {incarnation} is wound up; {slots} slots of its journal are deleted",
            incarnation=sealed.incarnation,
            slots=len(garbage),
        )
