"""
Opening the stores of a broker.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

import attrs
from twisted.internet.defer import Deferred

from kafscale.config import Settings
from kafscale.counts import StoreCounts
from kafscale.errors import NoSuchObject, SettingError, about
from kafscale.format.cluster import BUCKET, DIRECTORY, StoreRecord
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.store.counted import CountedMetadataStore, CountedObjectStore
from kafscale.store.identity import Place, StoreIdentity
from kafscale.store.local.creation import Creation, creator_of
from kafscale.store.local.directory import lock_directory, namespaces_in
from kafscale.store.local.disk_cache import DiskCache
from kafscale.store.local.objects import LocalObjectStore
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import RetryingMetadataStore, RetryingObjectStore
from kafscale.store.rollback_guard import RollbackGuard
from kafscale.store.sqlite.store import SQLiteMetadataStore

if TYPE_CHECKING:
    from kafscale.store.etcd import EtcdMetadataStore
    from kafscale.store.s3 import S3ObjectStore
    from kafscale.store.s3.probe import Probe
    from kafscale.store.s3.watch import ProbeWatch

OBJECT_THREADS = 8
"""Threads that read and write objects in the data directory, and as many that create
small ones."""

CACHE_THREADS = 4
"""Threads that read files of the disk cache, and as many that write them."""

CLIENT_THREADS = 2
"""Threads that search for credentials, one at a time, and compute MD5s meanwhile."""

METADATA = "metadata.sqlite"
"""The metadata in a data directory."""

OBJECTS = "objects"
"""The directory of the objects in it."""

PROBE = "probe"
"""A key that never exists, read to find out whether a store answers."""

Pool = Callable[[int], Callable[..., Deferred[Any]]]
"""Takes a number of threads; returns a function that runs functions in them."""


async def _no_check(*_: object) -> None:
    """
    For stores that need no check at the start.
    """


@attrs.frozen
class Probed:
    """
    A store whose health is watched.

    @ivar counts: Its operations so far.
    @ivar ask: Reads a key that does not exist.
    """

    counts: StoreCounts
    ask: Callable[[], Awaitable[object]]


@attrs.frozen
class Stores:
    """
    The stores of a broker.

    @ivar description: Where records and metadata are, in words.
    @ivar lock: The lock of the data directory, if there is one.
    @ivar disk_cache: The cache through which segments are read, if there is
        one.
    @ivar check_metadata: Checks that the metadata store answers; raises
        SettingError.
    @ivar check_objects: Checks that the object store is that of the cluster
        with the given id, and can hold its log; raises SettingError.
    @ivar rollback_guard: Detects that the metadata store was rolled back; None
        where it is not needed.
    @ivar watch: Tries a bucket again when its store was replaced; None without
        a bucket.
    @ivar requests: The number of requests to S3, by operation.
    @ivar probed: Both stores.
    """

    objects: IObjectStore
    metadata: IMetadataStore
    description: str
    lock: IO[str] | None
    disk_cache: DiskCache | None
    check_metadata: Callable[[], Awaitable[None]]
    check_objects: Callable[[str], Awaitable[None]]
    rollback_guard: RollbackGuard | None
    watch: ProbeWatch | None
    requests: Mapping[str, int]
    probed: Sequence[Probed]


def open_stores(settings: Settings, pool: Pool, reactor: Any) -> Stores:
    """
    Open the stores that the settings name. Operations on them are retried.

    @param settings: L{kafscale.config.agreement.check_stores} has accepted them.
    @param pool: Makes threads for blocking work.
    @raise SettingError: The settings contradict one another, or the data
        directory cannot be used.
    """
    objects: IObjectStore
    metadata: SQLiteMetadataStore | EtcdMetadataStore
    lock = None
    check_metadata: Callable[[], Awaitable[None]] = _no_check
    probe: Probe | None = None
    place: Place | None = None
    requests: Mapping[str, int] = {}
    if settings.use_memory_s3:
        if settings.s3_bucket:
            raise SettingError(
                "KAFSCALE_USE_MEMORY_S3 and KAFSCALE_S3_BUCKET cannot be used together"
            )
        if os.path.exists(os.path.join(settings.data_dir, METADATA)):
            raise SettingError(
                f"KAFSCALE_USE_MEMORY_S3 discards all records, and {settings.data_dir} has the"
                " metadata of a broker that keeps them: unset it, or use another KAFSCALE_DATA_DIR"
            )
        objects, metadata = MemoryObjectStore(), SQLiteMetadataStore(":memory:", pool(1))
        description = "records and metadata are in memory and discarded when it stops"
    else:
        if settings.etcd_endpoints:
            # This import takes a quarter of a second, so it is not made in vain.
            from kafscale.store.etcd.settings import reach as reach_etcd
            from kafscale.store.etcd.settings import store_of

            metadata = store_of(settings, reactor, random.random)
            members = len(settings.etcd_endpoints)
            check_metadata = partial(reach_etcd, metadata, PROBE, members, reactor)
            where = ", ".join(settings.etcd_endpoints)
        else:
            where = os.path.abspath(settings.data_dir)
            with about("KAFSCALE_DATA_DIR"):
                lock = lock_directory(settings.data_dir)
            metadata = SQLiteMetadataStore(os.path.join(settings.data_dir, METADATA), pool(1))
        place = place_of(settings)
        if settings.s3_bucket:
            bucket, probe = _bucket(settings, settings.s3_bucket, pool, reactor)
            objects, requests = bucket, bucket.client.requests
            description = f"records are in {bucket.client.address.base}, metadata in {where}"
        else:
            make = creator_of(settings.compiled)
            creation = Creation(make, OBJECT_THREADS, pool(OBJECT_THREADS), reactor)
            directory = os.path.join(settings.data_dir, OBJECTS)
            with about("KAFSCALE_DATA_DIR"):
                objects = LocalObjectStore(directory, pool(OBJECT_THREADS), creation)
            description = f"records and metadata are in {where}"
    counted_objects = CountedObjectStore(objects, monotonic)
    counted_metadata = CountedMetadataStore(metadata, monotonic)

    async def ask_objects() -> None:
        with suppress(NoSuchObject):
            await counted_objects.get(f"{settings.namespace}/{PROBE}")

    asked = RetryingObjectStore(counted_objects, reactor, random.random)
    asked_metadata = RetryingMetadataStore(counted_metadata, reactor, random.random)
    rollback_guard = None
    if settings.s3_bucket:
        # Metadata beside its objects in a data directory is restored with them.
        rollback_guard = RollbackGuard(
            asked_metadata,
            lambda: metadata.committed,
            asked,
            settings.namespace,
            reactor,
            lambda: uuid4().hex[:16],
            "etcd" if settings.etcd_endpoints else os.path.abspath(settings.data_dir),
        )
    identity = None if place is None else StoreIdentity(asked_metadata, asked, place)

    async def check_objects(cluster: str) -> None:
        if identity is not None:
            await identity.compare()
            if probe is not None:
                await probe.run(cluster, identity.check)
            else:
                await identity.check(cluster)
        if rollback_guard is not None:
            await rollback_guard.begin()

    return Stores(
        asked,
        asked_metadata,
        description,
        lock,
        _disk_cache(settings, asked, pool),
        check_metadata,
        check_objects,
        rollback_guard,
        _watch(probe, identity, reactor),
        requests,
        (
            Probed(counted_objects.counts, ask_objects),
            Probed(counted_metadata.counts, lambda: counted_metadata.get(PROBE)),
        ),
    )


def place_of(settings: Settings) -> Place:
    """
    What the stores are that the settings name. Looks into the data directory,
    before a store is opened there.
    """
    if settings.s3_bucket:
        record = StoreRecord(BUCKET, settings.namespace, settings.s3_bucket)
        objects = f"the bucket {settings.s3_bucket}"
        if settings.s3_endpoint:
            objects += f" at {settings.s3_endpoint}"
    else:
        record = StoreRecord(DIRECTORY, settings.namespace)
        objects = f"the directory {os.path.abspath(os.path.join(settings.data_dir, OBJECTS))}"
    may_replace = settings.fencing() == "metadata"
    if settings.etcd_endpoints:
        return Place(
            record, objects, "the metadata in etcd", "KAFSCALE_NAMESPACE", may_replace,
            settings.s3_moved_from,
        )  # fmt: skip
    return Place(
        record,
        objects,
        f"the metadata in {os.path.abspath(settings.data_dir)}",
        "KAFSCALE_DATA_DIR",
        may_replace,
        settings.s3_moved_from,
        namespaces_in(os.path.join(settings.data_dir, OBJECTS)),
    )


def _disk_cache(settings: Settings, objects: IObjectStore, pool: Pool) -> DiskCache | None:
    if settings.disk_cache_dir is None or not settings.s3_bucket:
        return None
    if os.path.realpath(settings.disk_cache_dir) == os.path.realpath(settings.data_dir):
        raise SettingError("KAFSCALE_DISK_CACHE_DIR and KAFSCALE_DATA_DIR must differ")
    where = f"{settings.s3_endpoint or ''} {settings.s3_bucket}"
    path, size = settings.disk_cache_dir, settings.disk_cache_bytes
    with about("KAFSCALE_DISK_CACHE_DIR"):
        return DiskCache(path, size, where, objects, pool(CACHE_THREADS), pool(CACHE_THREADS))


def _bucket(
    settings: Settings, bucket: str, pool: Pool, reactor: Any
) -> tuple[S3ObjectStore, Probe]:
    """
    The objects of a bucket, and the check of the bucket at the start.
    """
    # These imports take half a second, so they are not made in vain.
    from kafscale.store.s3 import S3ObjectStore
    from kafscale.store.s3.probe import Probe
    from kafscale.store.s3.settings import client_of

    client = client_of(settings, bucket, reactor, pool(CLIENT_THREADS), time.time)
    objects = S3ObjectStore(client, reactor)
    probe = Probe(objects, reactor, settings.namespace, uuid4().hex, settings.fencing())
    return objects, probe


def _watch(
    probe: Probe | None, identity: StoreIdentity | None, reactor: Any
) -> ProbeWatch | None:
    """
    The watch of a bucket while the broker runs.
    """
    if probe is None or identity is None:
        return None
    from kafscale.store.s3.watch import ProbeWatch

    return ProbeWatch(probe, identity.check, reactor)


def log_directory(settings: Settings) -> str:
    """
    Where the records are, as the path that DescribeLogDirs shows.
    """
    if settings.use_memory_s3:
        return ":memory:"
    if settings.s3_bucket:
        return f"s3://{settings.s3_bucket}/{settings.namespace}"
    return os.path.abspath(settings.data_dir)


def disk_space(settings: Settings) -> tuple[int, int]:
    """
    Total and free bytes for records; -1 where they are unknown.
    """
    if settings.use_memory_s3 or settings.s3_bucket:
        return -1, -1
    disk = shutil.disk_usage(settings.data_dir)
    return disk.total, disk.free
