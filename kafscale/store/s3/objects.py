"""
An object store in a bucket.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from zope.interface import implementer

from kafscale.interfaces import IObjectStore, ObjectInfo
from kafscale.store.checks import check_key, check_prefix, check_range, is_key
from kafscale.store.s3.client import PAGE, S3Client
from kafscale.store.s3.errors import NoAnswer, S3Error, WrongRange, as_store_error
from kafscale.store.s3.hedge import Hedge
from kafscale.store.s3.ranges import range_of, suffix_of
from kafscale.store.s3.uploads import upload

T = TypeVar("T")

PART_BYTES = 32 * 1024 * 1024
"""Larger objects are uploaded in parts of this size."""

HEDGED_BYTES = 2 * 1024 * 1024
"""The maximum size of reads that are hedged (L{kafscale.store.s3.hedge})."""

REFUSED = frozenset({400, 416, 500, 501})
"""The statuses that may mean that the store refuses a suffix: rclone and gofakes3
answer 416 to one that is longer than the object, s3s-fs answers 500."""


REFUSED_BYTES = 1024 * 1024
"""How much of an object is read at most to find out whether it is empty, when
the store refuses a range that begins with its first byte."""


@implementer(IObjectStore)
class S3ObjectStore:
    """
    Stores objects in a bucket.

    @ivar client: Sends the requests.
    @ivar create_only: Whether creates have the condition C{If-None-Match: *}.
        False only where L{kafscale.store.s3.probe} found that the store does
        not know it.
    @ivar suffixes: Whether the end of an object is read with a suffix range. If
        not, or if that is refused, plain ranges are read.
    @ivar in_parts: Whether large objects are uploaded in parts.
    """

    def __init__(
        self, client: S3Client, clock: IReactorTime, part_bytes: int = PART_BYTES
    ) -> None:
        """
        @param client: Sends the requests.
        @param clock: Times hedged reads, and the repetition of parts.
        @param part_bytes: The size of parts. S3's minimum is 5 MiB.
        """
        self.client = client
        self._clock = clock
        self._part_bytes = part_bytes
        self._hedge = Hedge(clock)
        self.create_only = True
        self.suffixes = True
        self.in_parts = True

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}.
        """
        check_key(key)
        if self.in_parts and sum(map(len, pieces)) > self._part_bytes:
            uploading = upload(
                self.client,
                key,
                pieces,
                self._part_bytes,
                self._pause,
                create_only=self.create_only,
            )
        else:
            uploading = self.client.put_object(key, pieces, create_only=self.create_only)
        await _translate(key, uploading)

    async def _pause(self, attempt: int) -> None:
        await deferLater(self._clock, 0.2 * 2**attempt)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        check_range(start, length)
        check_key(key)
        data, _ = await self._read(key, lambda: self._range(key, start, length), length)
        return data

    async def _range(self, key: str, start: int, length: int | None) -> tuple[bytes, int]:
        """
        Return at most C{length} bytes of an object, and its size.
        """
        if length == 0:
            _, size = await self._range(key, 0, 1)
            return b"", size
        if length is not None:
            wanted = f"{start}-{start + length - 1}"
        else:
            wanted = f"{start}-" if start else ""
        try:
            answer = await self.client.get_object(key, wanted, length or 0)
        except S3Error as error:
            if error.status != 416:
                raise
            if error.size is not None:
                size = error.size
            elif start:
                _, size = await self._range(key, 0, 1)
            else:  # the object is empty, or the store refuses every range
                return range_of(await self.client.get_object(key, most=REFUSED_BYTES), 0, length)
            if start < size:
                raise WrongRange(
                    f"the object has {size} bytes, but byte {start} is refused: {error}"
                ) from None
            return b"", size
        return range_of(answer, start, length)

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.
        """
        check_range(0, length)
        check_key(key)
        return await self._read(key, lambda: self._suffix(key, length), length)

    async def _suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        Return the last C{length} bytes of an object, and its size. From a store
        that refuses suffixes longer than the object, or all of them, plain ranges
        are read: the first C{length} bytes, and of a longer object the last ones.
        """
        if self.suffixes and length > 0:
            try:
                return suffix_of(await self.client.get_object(key, f"-{length}", length), length)
            except S3Error as error:
                if error.status == 416 and error.size == 0:
                    return b"", 0
                if error.status not in REFUSED:
                    raise
            except WrongRange:
                pass
        data, size = await self._range(key, 0, length)
        if size > length > 0:
            data, now = await self._range(key, size - length, length)
            if now != size:
                raise WrongRange(f"the object had {size} bytes, and now {now}")
        return data, size

    async def _read(self, key: str, ask: Callable[[], Awaitable[T]], length: int | None) -> T:
        if length is not None and length <= HEDGED_BYTES:
            return await _translate(key, self._hedge.call(ask))
        return await _translate(key, ask())

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectStore.list}. Objects whose keys are not valid were not made
        by this class, and are left out.
        """
        check_prefix(prefix)
        found: builtins.list[ObjectInfo] = []
        token = ""
        while len(found) < limit:
            page, token = await _translate(
                prefix, self.client.list_objects(prefix, after, limit - len(found), token)
            )
            found += [info for info in page if is_key(info.key)]
            if not token:
                break
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        """
        See L{IObjectStore.delete}.
        """
        checked = [check_key(key) for key in keys]
        for at in range(0, len(checked), PAGE):
            page = checked[at : at + PAGE]
            await _translate(page[0], self.client.delete_objects(page))

    async def close(self) -> None:
        """
        See L{IObjectStore.close}. Requests in progress fail with
        StoreUnavailable.
        """
        await self.client.close()


async def _translate(key: str, request: Awaitable[T]) -> T:
    """
    Wait for a request, and translate S3's errors into those of
    L{IObjectStore}.
    """
    try:
        return await request
    except (S3Error, NoAnswer) as error:
        raise as_store_error(error, key) from error
