"""
What a store can do that the log can do without.

The start-up probe (L{kafscale.store.s3.probe}) asks each of these questions with
objects of its own. An error that may pass is raised, and the probe asks again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from kafscale.errors import NoSuchObject
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.errors import NoAnswer, S3Error, WrongRange, may_pass
from kafscale.store.s3.objects import S3ObjectStore
from kafscale.store.s3.ranges import suffix_of

REFUSALS = 3
"""How often a suffix must be refused, since s3s-fs 0.14 answers 500 to one that is
longer than the object, and others do while they are in trouble."""


async def why_no_suffix(
    store: S3ObjectStore, key: str, length: int, pause: Callable[[], Awaitable[None]]
) -> str:
    """
    Why a suffix range is not answered as asked for; empty if it is. An error is
    believed when it comes L{REFUSALS} times, and plain ranges are read in
    between: it may have a reason that passes.

    @param key: The key of an object.
    @param length: The length of the suffix in bytes.
    @param pause: Waits between two attempts.
    @raise S3Error: the store is busy.
    @raise NoAnswer: there is no answer.
    @raise StoreError: the object cannot be read.
    """
    why = ""
    for _ in range(REFUSALS):
        try:
            suffix_of(await store.client.get_object(key, f"-{length}", length), length)
        except WrongRange as error:
            return str(error)
        except S3Error as error:
            if error.status in (429, 503):
                raise
            why = str(error)
        else:
            return ""
        await store.get(key, 0, length)
        await pause()
    return why


async def takes_damaged(store: S3ObjectStore, key: str) -> bool:
    """
    Whether the store takes an object whose checksum is that of other bytes.

    @param key: A key without an object. One may stay there.
    @raise S3Error: the store is busy.
    @raise NoAnswer: there is no answer.
    """
    try:
        await store.client.put_object(
            key, [b"sent"], create_only=store.create_only, checksum_of=[b"meant"]
        )
    except S3Error as error:
        if error.status in (409, 429, 503):
            raise
        return False
    return True


async def why_no_parts(store: S3ObjectStore, key: str, *, may_replace: bool) -> str:
    """
    Why objects cannot be made of multipart uploads; empty if they can.

    @param key: A key without an object. One may stay there.
    @param may_replace: Whether an upload may replace an object.
    @raise S3Error: the store is in trouble.
    @raise NoAnswer: there is no answer.
    @raise StoreError: the object cannot be read.
    """
    try:
        await _upload(store, key, b"in parts")
        with suppress(NoSuchObject):
            if await store.get(key) == b"in parts":
                if may_replace:
                    return ""
                await _upload(store, key, b"again")
                return "they replace objects"
    except S3Error as error:
        if error.status == 412:
            return ""
        if may_pass(error):
            raise
        return str(error)
    return "an object has other bytes than its parts"


async def _upload(store: S3ObjectStore, key: str, body: bytes) -> None:
    client: S3Client = store.client
    upload = await client.create_multipart_upload(key)
    try:
        part = await client.upload_part(key, upload, 1, [body])
        await client.complete_multipart_upload(key, upload, [part], create_only=store.create_only)
    except S3Error:
        with suppress(S3Error, NoAnswer):
            await client.abort_multipart_upload(key, upload)
        raise
