"""
The object store that all brokers share, which checks their deletions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kafscale.errors import ObjectExists
from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord
from kafscale.format.slot import Seal, read_slot
from kafscale.store.memory import MemoryObjectStore
from tests.harness.coroutines import now
from tests.simulation.checker import Checker


class Objects(MemoryObjectStore):
    """
    Reports deleted objects that may still be needed to the checker (rules 9,
    10, 19 and 21).
    """

    def __init__(
        self,
        checker: Checker,
        namespace: str,
        value_of: Callable[[str], Any],
        records: Callable[[], list[PartitionRecord]],
        is_careless: bool = False,
    ) -> None:
        """
        @param value_of: Returns the value of a key of the metadata store.
        @param records: Returns the records of all partitions.
        @param is_careless: Whether a create replaces an existing object; then
            the store checks that no key gets two contents.
        """
        super().__init__()
        self._is_careless = is_careless
        self._given: dict[str, bytes] = {}
        self._checker = checker
        self._namespace = namespace
        self._value_of = value_of
        self._records = records
        self._lost: dict[str, bytes] = {}
        self._damaged: dict[str, None] = {}  # those of them that are there, and damaged
        self._trims: dict[int, int] = {}  # of incarnations, whose records may be gone by now
        self.volumes_deleted = 0

    def lose(self, keys: Sequence[str]) -> None:
        """
        Delete objects as a rule of the bucket does, of which no broker knows.
        """
        for key in keys:
            self._lost[key] = now(self.get(key))
        now(super().delete(keys))

    def damage(self, keys: Sequence[str]) -> None:
        """
        Cut off the ends of objects, of which no broker knows.
        """
        self.lose(keys)
        self._damaged.update(dict.fromkeys(keys))
        for key in keys:
            now(super().create(key, [self._lost[key][:-5]]))

    def restore(self) -> None:
        """
        Restore the lost and the damaged objects from a backup, except those that are
        not needed any more: a broker has deleted them.
        """
        lost, self._lost = self._lost, {}
        now(super().delete([key for key in self._damaged if key in lost]))
        self._damaged.clear()
        for key, data in lost.items():
            with suppress(ObjectExists):
                now(super().create(key, [data]))

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}.
        """
        if self._is_careless:
            data = b"".join(pieces)
            if self._given.setdefault(key, data) != data:
                self._checker.note(False, f"{key} is given another content")
            await super().delete([key])
        await super().create(key, pieces)

    async def delete(self, keys: Sequence[str]) -> None:
        """
        See L{IObjectStore.delete}.
        """
        for key in keys:
            self._lost.pop(key, None)
            for info in now(self.list(key, limit=1)):
                if info.key == key and (why := self._need(key)) is not None:
                    self._checker.note(False, f"{key} is deleted: {why}")
        await super().delete(keys)

    def _need(self, key: str) -> str | None:
        """
        Why it is needed; None if it is not.
        """
        slot = object_keys.parse_slot(self._namespace, key)
        segment = object_keys.parse_segment(self._namespace, key)
        volume = object_keys.parse_volume(self._namespace, key)
        if volume is not None:
            self.volumes_deleted += 1
            named = (each for record in self._records() for each in record.chapters)
            found = [each for each in named if (each.incarnation, each.number) == volume]
            return f"records name {found}" if found else None
        if slot is not None:
            data = now(self.get(key))
            is_seal = isinstance(read_slot(data, len(data)), Seal)
            return self._counts(*slot, is_seal)
        if segment is None:
            return None
        topic_id, index, base = segment
        value = self._value_of(metadata_keys.partition(topic_id, index))
        if value is None or topic_id in self._checker.gone:
            return None
        record = PartitionRecord.from_json(value)
        name = object_keys.segment("", base, record.key_epoch(base))
        if base < (record.first_segment or 0):
            return None
        if record.next_base <= base < record.rolled_to:
            # The leader may be about to name it instead of the chapters.
            is_old = object_keys.segment_key_epoch(key) < record.epoch
            return None if is_old else f"the record is {value}"
        if base < record.rolled_to and not key.endswith(name):
            return None  # one that was made in its place counts
        return f"the record is {value}"

    def _counts(self, incarnation: int, number: int, is_seal: bool) -> str | None:
        """
        Return why a slot is needed. A seal that was put over a deleted slot,
        below the trim mark, stops no incarnation.
        """
        record = self._value_of(metadata_keys.incarnation(incarnation))
        seal = self._value_of(metadata_keys.seal(incarnation))
        end = None if seal is None else seal.get("sealed_at")
        if record is None:
            lowest = self._value_of(metadata_keys.LOWEST_INCARNATION) or 0
            if incarnation >= lowest or (is_seal and number >= self._trims.get(incarnation, 0)):
                return f"seal: {is_seal}, the incarnation has no record, and the lowest is {lowest}"
            return None
        self._trims[incarnation] = record["trim"]
        if number < record["trim"]:
            return None
        if end is not None and number >= end and not is_seal:
            return None
        return f"seal: {is_seal}, the incarnation is {record}, its end {seal}"
