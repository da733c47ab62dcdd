"""
Deletes the records of incarnations of which nothing is left.

Each start of a broker is an incarnation, with a record and, when a successor
has stopped it, an entry that says where its journal ends. They are needed for
long: the incarnation may only have slept, and the absence of a seal would let it
go on. So they are deleted only if it does nothing without its record, and when
nothing of it is left (rule 27):

  - its journal is wound up, so all of its records are in segments;
  - no partition's record names it, as leader, in C{journals} or in C{chapters}.
    None will again: only the incarnation itself puts its number there, and it is
    stopped;
  - there are no slots, bundles and volumes of it. Seals stay: where creates
    replace nothing, they alone keep the incarnation from acknowledging.

What lands later is known to be garbage by the entry C{lowest-incarnation}, which
is raised past the incarnation's number in the commit that deletes its record.
It also keeps a number from being registered for the first time, or once more, so
late that it counts as gone already (`kafscale.cluster.membership`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.logger import Logger

from kafscale.errors import CommitConflict, StoreUnavailable
from kafscale.format import metadata_keys, object_keys
from kafscale.format.incarnation import IncarnationRecord, lowest_incarnation_of
from kafscale.format.partition import PartitionRecord
from kafscale.format.reading import list_objects
from kafscale.format.slot import SMALLEST_SLOT
from kafscale.interfaces import Compare, Delete, Entry, IMetadataStore, Put
from kafscale.log.environment import LogEnvironment


async def lowest_incarnation(metadata: IMetadataStore) -> tuple[int, int]:
    """
    Return the number below which incarnations without a record are over for
    good, and the revision of its entry; (0, 0) if none was deleted yet. It must
    be read before the records are.
    """
    entry = await metadata.get(metadata_keys.LOWEST_INCARNATION)
    return (0, 0) if entry is None else (lowest_incarnation_of(entry), entry.revision)


class IncarnationRecords:
    """
    Deletes the records of incarnations of which nothing is left.
    """

    _log = Logger()

    def __init__(self, environment: LogEnvironment) -> None:
        self._objects = environment.objects
        self._metadata = environment.metadata
        self._namespace = environment.settings.namespace

    async def delete_finished(self, is_stopping: Callable[[], bool]) -> None:
        """
        Look for such incarnations once. What fails is left for the next time.

        @param is_stopping: Whether no further one is looked at.
        """
        entries, _ = await self._metadata.range(metadata_keys.INCARNATIONS)
        finished = []
        for entry in entries:
            record = IncarnationRecord.from_entry(entry)
            if record.guarded and record.wound_up:
                finished.append((metadata_keys.incarnation_of(entry.key), record.broker, entry))
        if not finished:
            return
        named = await self._named()
        for number, broker, entry in finished:
            if is_stopping():
                return
            if number not in named and not await self._has_objects(broker, number):
                with suppress(CommitConflict, StoreUnavailable):
                    await self._delete(number, entry)
                    self._log.debug(
                        "deleted the record of incarnation {incarnation} of broker {broker}, of"
                        " which nothing is left",
                        incarnation=number,
                        broker=broker,
                    )

    async def _named(self) -> set[int]:
        """
        Return the incarnations that the records of partitions name.
        """
        named: set[int] = set()
        for entry in (await self._metadata.range(metadata_keys.PARTITIONS))[0]:
            record = PartitionRecord.from_entry(entry)
            named.add(record.incarnation)
            named.update(incarnation for incarnation, _ in record.journals)
            named.update(chapter.incarnation for chapter in record.chapters)
        return named

    async def _has_objects(self, broker: int, number: int) -> bool:
        """
        Return whether there are objects of an incarnation besides seals.
        """
        for prefix in (
            object_keys.bundles(self._namespace, broker, number),
            object_keys.volumes(self._namespace, number),
        ):
            if await self._objects.list(prefix, "", 1):
                return True
        journal = object_keys.journal(self._namespace, broker, number)
        async for info in list_objects(self._objects, journal):
            if info.size >= SMALLEST_SLOT:  # and is no seal
                return True
        return False

    async def _delete(self, number: int, entry: Entry) -> None:
        lowest, revision = await lowest_incarnation(self._metadata)
        await self._metadata.commit(
            [
                Compare(entry.key, entry.revision),
                Compare(metadata_keys.LOWEST_INCARNATION, revision),
            ],
            [
                Put(metadata_keys.LOWEST_INCARNATION, max(lowest, number + 1)),
                Delete(entry.key),
                Delete(metadata_keys.seal(number)),
                Delete(metadata_keys.journal(number)),
            ],
        )
