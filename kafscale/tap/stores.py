"""
Where a broker keeps what it keeps.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import IO, Any

from twisted.internet.defer import Deferred

from kafscale.config import Settings
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.store.embedded import EmbeddedStore
from kafscale.store.local import LocalObjectStore, lock_directory
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import RetryingMetadataStore, RetryingObjectStore

OBJECT_THREADS = 8
"""How many objects are written and read at the same time."""


def open_stores(
    settings: Settings, pool: Callable[[int], Callable[..., Deferred[Any]]], reactor: Any
) -> tuple[IObjectStore, IMetadataStore, IO[str] | None]:
    """
    The object store, the metadata store, and the lock of the data directory
    if there is one.

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
        objects = LocalObjectStore(
            os.path.join(settings.data_dir, "objects"), pool(OBJECT_THREADS)
        )
        path = os.path.join(settings.data_dir, "metadata.sqlite")
    metadata = EmbeddedStore(path, pool(1))
    return (
        RetryingObjectStore(objects, reactor, random.random),
        RetryingMetadataStore(metadata, reactor, random.random),
        directory,
    )
