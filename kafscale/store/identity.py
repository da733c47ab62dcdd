"""
Keeps metadata and objects that belong together from being taken apart.

The metadata say which objects there must be, so with another object store all
of them would seem to be gone: a journal without slots looks like one that has
ended, and would be wound up. So two facts are kept. The metadata have the entry
C{store}: the kind of the object store, the bucket, and the namespace. And the
namespace has an object, its claim, with the id of the cluster. Each start
compares both before anything else is read or written (rule 24):

  - Another store or namespace than the entry says is refused.
  - A claim of another cluster is refused, and so is a store without a claim if
    the metadata say that it was made: it is another store of the same name, one
    that was emptied, or a disk that is not mounted.
  - Metadata in which no broker has ever begun an incarnation are new. Beside
    them there must be no objects: they would be of a cluster whose metadata are
    lost.
  - Metadata of versions before the entry existed adopt a store, if it has what
    they expect there. A directory without objects is adopted if they have no
    partitions; with partitions it may be a disk that is not mounted.

The claim is created before the entry, and the entry is committed before the
first incarnation begins. So there is no moment at which a broker could have
stored records in a store that the metadata do not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import CommitConflict, NoSuchObject, ObjectExists, SettingError
from kafscale.format import metadata_keys, object_keys
from kafscale.format.cluster import BUCKET, DIRECTORY, StoreRecord, read_claim, write_claim
from kafscale.format.errors import CorruptObject
from kafscale.format.incarnation import IncarnationRecord, SealRecord
from kafscale.format.partition import PartitionRecord
from kafscale.interfaces import Compare, IMetadataStore, IObjectStore, Put

EXPECTED = 1000
"""How many objects of those that the metadata expect are looked for when a store
is adopted."""

PARALLEL_READS = 64
"""How many of them are looked for at once."""

PAGE = "docs/operations.md: Metadata and their store"


@attrs.frozen
class Place:
    """
    The stores of a broker, as its settings name them.

    @ivar record: The object store.
    @ivar objects: The object store in words, for messages.
    @ivar metadata: The metadata store in words.
    @ivar otherwise: The setting that selects other metadata.
    @ivar may_replace: Whether creates may replace objects
        (C{KAFSCALE_S3_FENCING=metadata}).
    @ivar moved_from: The name of the bucket that all objects were copied from;
        None if they were not.
    @ivar beside: The namespaces that have objects in the data directory.
    """

    record: StoreRecord
    objects: str
    metadata: str
    otherwise: str
    may_replace: bool = False
    moved_from: str | None = None
    beside: Sequence[str] = ()

    @property
    def lost(self) -> str:
        """
        What to do with objects whose metadata are somewhere else.
        """
        if self.record.kind == DIRECTORY:
            return (
                "Restore its metadata from a backup, or use another KAFSCALE_DATA_DIR for a new"
                f" cluster ({PAGE})"
            )
        return (
            "Use the KAFSCALE_DATA_DIR or KAFSCALE_ETCD_ENDPOINTS that belongs to it; a new"
            f" cluster needs another KAFSCALE_NAMESPACE and new metadata ({PAGE})"
        )


class StoreIdentity:
    """
    Checks that metadata and objects belong together.
    """

    def __init__(self, metadata: IMetadataStore, objects: IObjectStore, place: Place) -> None:
        """
        @param place: What the two stores are.
        """
        self._metadata = metadata
        self._objects = objects
        self._place = place
        self._namespace = place.record.namespace

    async def compare(self) -> None:
        """
        Compare the settings with the metadata, before the object store is used.

        @raise SettingError: the metadata belong to another object store.
        """
        entry = await self._metadata.get(metadata_keys.STORE)
        if entry is not None:
            self._check_settings(StoreRecord.from_entry(entry))

    async def check(self, cluster: str) -> None:
        """
        Check that the object store is the one that the metadata belong to; make
        it so if both are new, or if it is adopted.

        @param cluster: The id of the cluster.
        @raise SettingError: it is not.
        """
        place = self._place
        while True:
            entry = await self._metadata.get(metadata_keys.STORE)
            revision = 0 if entry is None else entry.revision
            if entry is not None:
                record = StoreRecord.from_entry(entry)
                self._check_settings(record)
                if await self._owner(cluster) is None:
                    raise SettingError(
                        f"{place.objects} does not have the object {self._claim_key}, which shows"
                        f" that it holds the records of {place.metadata}. It was emptied, made"
                        " anew or is not mounted, or it is another store of the same name."
                        f" Correct that, or restore a backup ({PAGE})"
                    )
                if record == place.record:
                    return
                await self._look_for_expected()
            else:
                why = await self._why_not_adopted(cluster)
                if why is not None:
                    if await self._metadata.get(metadata_keys.STORE) is None:
                        raise SettingError(why)
                    continue  # another broker was faster, and has stored objects
                await self._claim(cluster)
            with suppress(CommitConflict):  # another broker was faster: compare with that
                await self._metadata.commit(
                    [Compare(metadata_keys.STORE, revision)],
                    [Put(metadata_keys.STORE, place.record.to_json())],
                )

    def _check_settings(self, record: StoreRecord) -> None:
        """
        @param record: What the metadata say.
        @raise SettingError: the settings name another object store.
        """
        place = self._place
        wanted = place.record
        if record == wanted:
            return
        moved = attrs.evolve(record, bucket=wanted.bucket)
        if record.kind == BUCKET and moved == wanted and record.bucket == place.moved_from:
            return
        changes = []
        if record.bucket != wanted.bucket:
            changes.append(
                "unset KAFSCALE_S3_BUCKET"
                if record.bucket is None
                else f"set KAFSCALE_S3_BUCKET={record.bucket}"
            )
        if record.namespace != wanted.namespace:
            changes.append(f"set KAFSCALE_NAMESPACE={record.namespace}")
        raise SettingError(
            f"{place.metadata} belongs to {_words(record)}, but the settings name"
            f" {_words(wanted)}: {' and '.join(changes)}, or use another {place.otherwise}"
            f" for another cluster ({PAGE})"
        )

    # -- the claim ------------------------------------------------------------

    @property
    def _claim_key(self) -> str:
        return object_keys.cluster(self._namespace)

    async def _owner(self, cluster: str) -> str | None:
        """
        Return the id of the cluster that has claimed the namespace, which is
        this one; None if there is no claim.

        @raise SettingError: another cluster has claimed it.
        """
        key = self._claim_key
        try:
            owner = read_claim(key, await self._objects.get(key))
        except NoSuchObject:
            return None
        except CorruptObject:
            raise SettingError(
                f"{self._place.objects} cannot be used: {key} was not written by Kafscale. Use"
                " another KAFSCALE_NAMESPACE"
            ) from None
        if owner == cluster:
            return owner
        raise SettingError(
            f"{self._place.objects} has the records of another cluster in the namespace"
            f" {self._namespace} ({owner}; by its metadata this broker's is {cluster})."
            f" {self._place.lost}"
        )

    async def _claim(self, cluster: str) -> None:
        """
        Claim the namespace for this cluster.

        @raise SettingError: another cluster has claimed it, or does so now.
        """
        claim = write_claim(cluster)
        while await self._owner(cluster) is None:
            if self._place.may_replace:
                await self._stand_alone(cluster, claim)
            with suppress(ObjectExists):  # another broker was faster
                await self._objects.create(self._claim_key, [claim])

    async def _stand_alone(self, cluster: str, claim: bytes) -> None:
        """
        Make sure that no other cluster claims the namespace at the same time, in
        a store whose creates may replace objects. Each cluster writes a claim of
        its own, and lists the claims afterwards. So at least one of two sees the
        other's claim, and none replaces it.

        @raise SettingError: another cluster claims the namespace, too.
        """
        claims = object_keys.claims(self._namespace)
        mine = object_keys.claim(self._namespace, cluster)
        with suppress(ObjectExists):
            await self._objects.create(mine, [claim])
        others = [info.key for info in await self._objects.list(claims) if info.key != mine]
        if others:
            await self._objects.delete([mine])
            raise SettingError(
                f"{self._place.objects}: another cluster begins in the namespace"
                f" {self._namespace} at the same time. If there is no such cluster, delete"
                f" {others[0]} and start again"
            )

    # -- adopting a store -----------------------------------------------------

    async def _why_not_adopted(self, cluster: str) -> str | None:
        """
        Return why metadata that name no store must not adopt this one; None if
        they may.

        @raise SettingError: the store belongs to another cluster.
        """
        place = self._place
        is_new = await self._metadata.get(metadata_keys.LAST_INCARNATION) is None
        is_claimed = await self._owner(cluster) is not None
        if place.record.kind == BUCKET and place.beside:
            return (
                f"{place.metadata} is beside the objects of a cluster: unset KAFSCALE_S3_BUCKET,"
                f" or use another {place.otherwise} for another cluster ({PAGE})"
            )
        if is_new:
            has_others = any(each != self._namespace for each in place.beside)
            for kind in object_keys.SWEPT:
                prefix = object_keys.prefix_of(self._namespace, kind)
                if has_others or await self._objects.list(prefix, "", 1):
                    return (
                        f"{place.objects} has the records of a cluster, and {place.metadata} is"
                        f" new: that of the cluster is missing. {place.lost}"
                    )
            return None
        if place.record.kind == DIRECTORY and self._namespace not in place.beside:
            partitions = (await self._metadata.range(metadata_keys.PARTITIONS))[0]
            if not (place.beside or partitions or await self._expected()):
                return None  # there are no records
            found = confirm = ""
            if place.beside:
                found = f", but those of {', '.join(place.beside)}"
            else:
                confirm = (
                    ". If no record was ever produced, create an empty file"
                    f" {self._namespace}/confirmed in that directory"
                )
            return (
                f"{place.objects} has no objects in the namespace {self._namespace}{found}, and"
                f" {place.metadata} is not new. Set KAFSCALE_NAMESPACE or KAFSCALE_S3_BUCKET as"
                f" it was, mount the disk, or restore a backup{confirm} ({PAGE})"
            )
        if place.record.kind == BUCKET and not is_claimed:
            return (
                f"{place.objects} does not have the object {self._claim_key}, and"
                f" {place.metadata} is not new. Set KAFSCALE_S3_BUCKET as it was, or restore a"
                f" backup ({PAGE})"
            )
        await self._look_for_expected()
        return None

    async def _look_for_expected(self) -> None:
        """
        Look for objects that are never deleted while the metadata are as they
        are.

        @raise SettingError: most of them are missing. If a few are, objects of
            the right store were damaged, which the log finds out.
        """

        async def is_there(key: str) -> bool:
            try:
                await self._objects.get_suffix(key, 1)
            except NoSuchObject:
                return False
            return True

        keys = (await self._expected())[:EXPECTED]
        found = await map_bounded(is_there, keys, PARALLEL_READS)
        if found.count(False) > found.count(True):
            first = keys[found.index(False)]
            raise SettingError(
                f"{self._place.objects} does not have what {self._place.metadata} expects there:"
                f" {found.count(False)} of {len(found)} objects are missing, for example {first}."
                f" It is another store, or a backup of it must be restored ({PAGE})"
            )

    async def _expected(self) -> list[str]:
        """
        The keys of the newest segment or volume of each partition (rule 21),
        and of the seals at the ends of journals (rule 10).
        """
        keys: dict[str, None] = {}  # in order
        for entry in (await self._metadata.range(metadata_keys.PARTITIONS))[0]:
            partition = PartitionRecord.from_entry(entry)
            if partition.chapters:
                last = partition.chapters[-1]
                keys[object_keys.volume(self._namespace, last.incarnation, last.number)] = None
            elif (base := partition.last_segment) is not None:
                where = metadata_keys.partition_of(entry.key)
                prefix = object_keys.partition(self._namespace, *where)
                keys[object_keys.segment(prefix, base, partition.key_epoch(base))] = None
        incarnations = {
            metadata_keys.incarnation_of(entry.key): IncarnationRecord.from_entry(entry)
            for entry in (await self._metadata.range(metadata_keys.INCARNATIONS))[0]
        }
        for entry in (await self._metadata.range(metadata_keys.SEALS))[0]:
            number = metadata_keys.incarnation_of(entry.key)
            end, incarnation = SealRecord.from_entry(entry).sealed_at, incarnations.get(number)
            if end is not None and incarnation is not None and not incarnation.is_marked:
                journal = object_keys.journal(self._namespace, incarnation.broker, number)
                keys[object_keys.slot(journal, end)] = None
        return list(keys)


def _words(record: StoreRecord) -> str:
    where = "that directory" if record.bucket is None else f"the bucket {record.bucket}"
    return f"the namespace {record.namespace} in {where}"
