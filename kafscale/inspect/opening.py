"""
Opening the stores of a namespace for reading.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from kafscale.config import Settings
from kafscale.config.agreement import check_effects, check_stores
from kafscale.errors import SettingError
from kafscale.format.cluster import BUCKET, DIRECTORY, StoreRecord
from kafscale.inspect.view import View, load
from kafscale.interfaces import IObjectReader
from kafscale.store.blocking import at_once
from kafscale.store.local.objects import LocalObjectReader
from kafscale.store.retry import RetryingMetadataStore, RetryingObjectStore
from kafscale.store.sqlite.snapshot import open_snapshot


class WrongStore(SettingError):
    """
    The metadata belong to another namespace or another object store.
    """


@attrs.frozen
class Opened:
    """
    The stores of a namespace.

    @ivar store: The object store and the namespace that the settings name.
    @ivar objects: Reads the objects.
    @ivar fresh: Reads the metadata as it is now.
    """

    store: StoreRecord
    objects: IObjectReader
    fresh: Callable[[], Awaitable[View]]

    async def check_store(self) -> View:
        """
        Read the metadata, and check that they belong to the object store and the
        namespace (rule 24): in another one there is nothing to be wrong.

        @raise WrongStore: they do not.
        """
        view = await self.fresh()
        name = view.namespace
        if view.store is not None and view.store.namespace != name:
            raise WrongStore(
                f"there is no namespace {name!r}: the metadata are of {view.store.namespace!r}"
            )
        if view.store is not None and view.store != self.store:
            change = (
                "unset KAFSCALE_S3_BUCKET"
                if view.store.bucket is None
                else f"set KAFSCALE_S3_BUCKET={view.store.bucket}"
            )
            raise WrongStore(f"the metadata belong to another object store: {change}")
        # Metadata in etcd are below the namespace; of others, a version before
        # the entry of the store may have written them.
        if view.cluster is None or (
            view.store is None and not await self.objects.list(f"{name}/", "", 1)
        ):
            raise WrongStore(f"there is no namespace {name!r}")
        return view


def open_to_read(settings: Settings, reactor: Any = None) -> Opened:
    """
    Open the stores that a broker with these settings uses.

    @param reactor: For requests to a bucket or etcd.
    @raise SettingError: there is no data, or the settings contradict each other.
    """
    check_stores(settings)
    check_effects(settings)
    bucket = settings.s3_bucket
    store = StoreRecord(BUCKET if bucket else DIRECTORY, settings.namespace, bucket)
    if settings.etcd_endpoints and bucket:
        from kafscale.store.etcd.settings import store_of

        shared = RetryingMetadataStore(store_of(settings, reactor, _in_step), reactor, _in_step)
        return Opened(
            store,
            _bucket(settings, bucket, reactor),
            lambda: load(shared, settings.namespace),
        )
    path = os.path.join(settings.data_dir, "metadata.sqlite")
    if not os.path.exists(path):
        raise SettingError(
            f"KAFSCALE_DATA_DIR: {settings.data_dir} holds no data: there is no metadata.sqlite"
        )

    async def fresh() -> View:
        with TemporaryDirectory(prefix="kafscale-inspect-") as folder:
            metadata = open_snapshot(path, folder)
            try:
                return await load(metadata, settings.namespace)
            finally:
                await metadata.close()

    if bucket:
        return Opened(store, _bucket(settings, bucket, reactor), fresh)
    return Opened(store, LocalObjectReader(os.path.join(settings.data_dir, "objects")), fresh)


def _bucket(settings: Settings, bucket: str, reactor: Any) -> IObjectReader:
    # The import takes half a second, and is needed with a bucket only.
    from kafscale.store.s3 import S3ObjectStore
    from kafscale.store.s3.settings import client_of

    client = client_of(settings, bucket, reactor, at_once, reactor.seconds)
    objects: IObjectReader = RetryingObjectStore(S3ObjectStore(client, reactor), reactor, _in_step)
    return objects


def _in_step() -> float:
    """
    The jitter of retries, which a single client does not need.
    """
    return 0.5


def running(data_dir: str) -> int | None:
    """
    Return the id of the process that may run a broker on a data directory; None
    if certainly none does on this machine.
    """
    with suppress(OSError, ValueError), open(os.path.join(data_dir, "lock")) as file:
        pid = int(file.read(20))
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return pid
    return None
