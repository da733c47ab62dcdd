"""
Where a broker keeps what it keeps.
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
from kafscale.config.agreement import check_etcd
from kafscale.counts import StoreCounts
from kafscale.errors import NoSuchObject, SettingError
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.store.counted import CountedMetadataStore, CountedObjectStore
from kafscale.store.local.directory import lock_directory
from kafscale.store.local.disk_cache import DiskCache
from kafscale.store.local.objects import LocalObjectStore
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import RetryingMetadataStore, RetryingObjectStore
from kafscale.store.rollback_guard import RollbackGuard
from kafscale.store.sqlite.store import SQLiteMetadataStore

if TYPE_CHECKING:
    from kafscale.store.s3 import S3ObjectStore

OBJECT_THREADS = 8
"""How many objects are written and read at the same time."""

CACHE_THREADS = 4
"""The same for the files of the disk cache, for reading and for writing."""

PROBE = "probe"
"""The key that is asked for, and never there, to see whether a store answers."""

Pool = Callable[[int], Callable[..., Deferred[Any]]]
"""Gives what runs functions in so many threads."""


async def _nothing(*_: object) -> None:
    """
    There is nothing to find out.
    """


@attrs.frozen
class Stores:
    """
    What a broker keeps everything in.

    @ivar where: Where the records are, for the log.
    @ivar lock: Of the data directory, if there is one.
    @ivar disk_cache: What segments are read through, if there is one.
    @ivar reach: Finds out whether the metadata store answers; raises
        SettingError.
    @ivar probe: Finds out whether the object store can hold the log of the
        cluster with this id; raises SettingError.
    @ivar rollback_guard: Detects that the metadata store was rolled back; None
        where it is not needed.
    @ivar requests: To S3, counted by operation.
    @ivar watched: For each store what it is asked for, and what asks it for
        something small.
    """

    objects: IObjectStore
    metadata: IMetadataStore
    where: str
    lock: IO[str] | None
    disk_cache: DiskCache | None
    reach: Callable[[], Awaitable[None]]
    probe: Callable[[str], Awaitable[None]]
    rollback_guard: RollbackGuard | None
    requests: Mapping[str, int]
    watched: Sequence[tuple[StoreCounts, Callable[[], Awaitable[object]]]]


def open_stores(settings: Settings, pool: Pool, reactor: Any) -> Stores:
    """
    The stores that the settings ask for, asked again when they do not answer.

    @raise SettingError: they cannot be used.
    """
    objects: IObjectStore
    metadata: IMetadataStore
    lock = etcd = None
    reach: Callable[[], Awaitable[None]] = _nothing
    probe: Callable[[str], Awaitable[None]] = _nothing
    requests: Mapping[str, int] = {}
    check_etcd(settings)
    if settings.use_memory_s3:
        if settings.s3_bucket:
            raise SettingError(
                "KAFSCALE_USE_MEMORY_S3 and KAFSCALE_S3_BUCKET cannot be used together"
            )
        objects, metadata = MemoryObjectStore(), SQLiteMetadataStore(":memory:", pool(1))
        where = "in memory, and gone when it stops"
    else:
        if settings.etcd_endpoints:
            # A quarter of a second, which only those pay who use it.
            from kafscale.store.etcd.settings import reach as reach_etcd
            from kafscale.store.etcd.settings import store_of

            metadata = etcd = store_of(settings, reactor, random.random)
            members = len(settings.etcd_endpoints)
            reach = partial(reach_etcd, metadata, PROBE, members, reactor)
            where = ", ".join(settings.etcd_endpoints)
        else:
            lock, where = lock_directory(settings.data_dir), settings.data_dir
            metadata = SQLiteMetadataStore(os.path.join(where, "metadata.sqlite"), pool(1))
        if settings.s3_bucket:
            bucket, probe = _bucket(settings, settings.s3_bucket, pool, reactor)
            objects, requests = bucket, bucket.client.requests
            where = f"in {bucket.client.address.base}, its metadata in {where}"
        else:
            directory = os.path.join(settings.data_dir, "objects")
            objects, where = LocalObjectStore(directory, pool(OBJECT_THREADS)), f"in {where}"
    counted_objects = CountedObjectStore(objects, monotonic)
    counted_metadata = CountedMetadataStore(metadata, monotonic)

    async def ask_objects() -> None:
        with suppress(NoSuchObject):
            await counted_objects.get(f"{settings.namespace}/{PROBE}")

    asked = RetryingObjectStore(counted_objects, reactor, random.random)
    asked_metadata = RetryingMetadataStore(counted_metadata, reactor, random.random)
    rollback_guard = None
    if etcd is not None:
        # A metadata file in a data directory is backed up and restored with it.
        rollback_guard = RollbackGuard(
            asked_metadata,
            lambda: etcd.committed,
            asked,
            settings.namespace,
            reactor,
            lambda: uuid4().hex[:16],
        )
        probe = _one_after_the_other(probe, rollback_guard.begin)
    return Stores(
        asked,
        asked_metadata,
        where,
        lock,
        _disk_cache(settings, asked, pool),
        reach,
        probe,
        rollback_guard,
        requests,
        (
            (counted_objects.counts, ask_objects),
            (counted_metadata.counts, lambda: counted_metadata.get(PROBE)),
        ),
    )


def _one_after_the_other(
    probe: Callable[[str], Awaitable[None]], then: Callable[[], Awaitable[None]]
) -> Callable[[str], Awaitable[None]]:
    async def both(cluster: str) -> None:
        await probe(cluster)
        await then()

    return both


def _disk_cache(settings: Settings, objects: IObjectStore, pool: Pool) -> DiskCache | None:
    if settings.disk_cache_dir is None:
        return None
    if not settings.s3_bucket:
        raise SettingError("KAFSCALE_DISK_CACHE_DIR has no effect without KAFSCALE_S3_BUCKET")
    if os.path.realpath(settings.disk_cache_dir) == os.path.realpath(settings.data_dir):
        raise SettingError("KAFSCALE_DISK_CACHE_DIR must not be KAFSCALE_DATA_DIR")
    where = f"{settings.s3_endpoint or ''} {settings.s3_bucket}"
    path, size = settings.disk_cache_dir, settings.disk_cache_bytes
    return DiskCache(path, size, where, objects, pool(CACHE_THREADS), pool(CACHE_THREADS))


def _bucket(
    settings: Settings, bucket: str, pool: Pool, reactor: Any
) -> tuple[S3ObjectStore, Callable[[str], Awaitable[None]]]:
    """
    The objects of a bucket, and a probe of it.
    """
    # Half a second, which only those pay who use it.
    from kafscale.store.s3 import S3ObjectStore
    from kafscale.store.s3.probe import Probe
    from kafscale.store.s3.settings import client_of

    client = client_of(settings, bucket, reactor, pool(1), time.time)
    objects = S3ObjectStore(client, reactor)

    async def probe(cluster: str) -> None:
        await Probe(objects, reactor, settings.namespace, uuid4().hex, settings.fencing()).run(
            cluster
        )

    return objects, probe


def data_of(settings: Settings) -> str:
    """
    Where the records are, in the words of those who describe log directories.
    """
    if settings.use_memory_s3:
        return ":memory:"
    if settings.s3_bucket:
        return f"s3://{settings.s3_bucket}/{settings.namespace}"
    return os.path.abspath(settings.data_dir)


def room_of(settings: Settings) -> tuple[int, int]:
    """
    How much there is for records, and how much of it is free, in bytes; -1 if
    nobody knows.
    """
    if settings.use_memory_s3 or settings.s3_bucket:
        return -1, -1
    disk = shutil.disk_usage(settings.data_dir)
    return disk.total, disk.free
