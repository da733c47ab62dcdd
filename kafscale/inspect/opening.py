"""
The stores of a namespace, to be read only.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from tempfile import TemporaryDirectory

import attrs

from kafscale.config import Settings
from kafscale.errors import SettingError
from kafscale.inspect.view import View, load
from kafscale.interfaces import IObjectStore
from kafscale.store.readonly import LocalReader, copy_of_metadata


@attrs.frozen
class Opened:
    """
    @ivar fresh: Reads the metadata as it is now.
    @ivar where: What is looked at.
    """

    objects: IObjectStore
    fresh: Callable[[], Awaitable[View]]
    where: str


def open_to_read(settings: Settings) -> Opened:
    """
    What a broker with these settings would use.

    @raise SettingError: there is nothing to be read.
    """
    path = os.path.join(settings.data_dir, "metadata.sqlite")
    if not os.path.exists(path):
        raise SettingError(f"{settings.data_dir} holds no data: there is no metadata.sqlite")

    async def fresh() -> View:
        with TemporaryDirectory(prefix="kafscale-inspect-") as folder:
            metadata = copy_of_metadata(path, folder)
            try:
                return await load(metadata, settings.namespace)
            finally:
                await metadata.close()

    return Opened(LocalReader(os.path.join(settings.data_dir, "objects")), fresh, settings.data_dir)


def running(data_dir: str) -> int | None:
    """
    The process that may run a broker on a data directory; None if surely none
    does on this machine.
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
