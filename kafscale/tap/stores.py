"""
Where a broker keeps what it keeps.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import IO, Any

import attrs
from twisted.internet.defer import Deferred

from kafscale.config import Settings
from kafscale.counts import StoreCounts
from kafscale.errors import NoSuchObject
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.store.counted import CountedMetadataStore, CountedObjectStore
from kafscale.store.embedded import EmbeddedStore
from kafscale.store.local import LocalObjectStore, lock_directory
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import RetryingMetadataStore, RetryingObjectStore

OBJECT_THREADS = 8
"""How many objects are written and read at the same time."""


PROBE = "probe"
"""The key that is asked for, and never there, to see whether a store answers."""


@attrs.frozen
class Stores:
    """
    What a broker keeps everything in.

    @ivar directory: The lock of the data directory, if there is one.
    @ivar watched: For each store what it is asked for, and what asks it for
        something small.
    """

    objects: IObjectStore
    metadata: IMetadataStore
    directory: IO[str] | None
    watched: Sequence[tuple[StoreCounts, Callable[[], Awaitable[object]]]]


def open_stores(
    settings: Settings, pool: Callable[[int], Callable[..., Deferred[Any]]], reactor: Any
) -> Stores:
    """
    The stores, asked again when they do not answer.

    @param pool: Gives what runs functions in that many threads.
    @raise SettingError: the data directory cannot be used.
    """
    objects: IObjectStore
    directory = None
    if settings.use_memory_s3:
        objects = MemoryObjectStore()
        path = ":memory:"
    else:
        directory = lock_directory(settings.data_dir)
        objects = LocalObjectStore(os.path.join(settings.data_dir, "objects"), pool(OBJECT_THREADS))
        path = os.path.join(settings.data_dir, "metadata.sqlite")
    metadata = EmbeddedStore(path, pool(1))
    counted_objects = CountedObjectStore(objects, monotonic)
    counted_metadata = CountedMetadataStore(metadata, monotonic)

    async def probe_objects() -> None:
        with suppress(NoSuchObject):
            await counted_objects.get(f"{settings.namespace}/{PROBE}")

    return Stores(
        RetryingObjectStore(counted_objects, reactor, random.random),
        RetryingMetadataStore(counted_metadata, reactor, random.random),
        directory,
        (
            (counted_objects.counts, probe_objects),
            (counted_metadata.counts, lambda: counted_metadata.get(PROBE)),
        ),
    )


def data_of(settings: Settings) -> str:
    """
    Where the records are, in the words of those who describe log directories.
    """
    return ":memory:" if settings.use_memory_s3 else os.path.abspath(settings.data_dir)


def room_of(settings: Settings) -> tuple[int, int]:
    """
    How much there is for records, and how much of it is free, in bytes; -1 if
    nobody knows.
    """
    if settings.use_memory_s3:
        return -1, -1
    disk = shutil.disk_usage(settings.data_dir)
    return disk.total, disk.free
