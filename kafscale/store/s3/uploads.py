"""
Multipart uploads of large objects.

The object is sent in parts. It exists when the last request, which is create-only
like any other create, completes the upload. An upload that fails before is
aborted: parts of an upload that is not completed cost money, and are not listed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.logger import Logger

from kafscale.store.s3.bodies import Piece, cut
from kafscale.store.s3.client import Part, S3Client
from kafscale.store.s3.errors import NoAnswer, S3Error

T = TypeVar("T")

PARALLEL = 4
"""How many parts of one object are sent at once."""

ATTEMPTS = 3
"""How often a part is sent at most."""

_log = Logger()


async def upload(
    client: S3Client,
    key: str,
    pieces: Sequence[Piece],
    part_bytes: int,
    pause: Callable[[int], Awaitable[None]],
    *,
    create_only: bool = True,
) -> None:
    """
    Create an object with a multipart upload.

    @param client: Sends the requests.
    @param key: The key of the object.
    @param pieces: The object.
    @param part_bytes: The size of parts in bytes.
    @param pause: Waits before a part is sent again. Its argument is the number
        of attempts so far.
    @param create_only: Whether the upload fails with status 412 if the key
        exists.
    @raise S3Error: an answer was an error.
    @raise NoAnswer: an answer is missing. The object may exist.
    """
    upload_id = await client.create_multipart_upload(key)
    try:
        parts = await _parts(client, key, upload_id, pieces, part_bytes, pause)
        await client.complete_multipart_upload(
            key, upload_id, parts, create_only=create_only, size=sum(map(len, pieces))
        )
    except BaseException:
        # The error is raised without waiting for this. If the answer to the last
        # request is missing, the upload may be complete: nothing is aborted then.
        Deferred.fromCoroutine(_abort(client, key, upload_id))
        raise


async def _parts(
    client: S3Client,
    key: str,
    upload_id: str,
    pieces: Sequence[Piece],
    part_bytes: int,
    pause: Callable[[int], Awaitable[None]],
) -> list[Part]:
    numbered = enumerate(cut(pieces, part_bytes), 1)
    done: list[Part] = []

    async def worker() -> None:
        for number, part in numbered:  # shared: each takes the next
            done.append(await _part(client, key, upload_id, number, part, pause))

    working = [Deferred.fromCoroutine(worker()) for _ in range(PARALLEL)]
    together = gatherResults(working, consumeErrors=True)
    try:
        await together
    except FirstError as first:
        raise (first.subFailure.value or first) from None
    finally:
        for each in working:
            each.cancel()
    return sorted(done, key=lambda part: part.number)


async def _part(
    client: S3Client,
    key: str,
    upload_id: str,
    number: int,
    part: Sequence[Piece],
    pause: Callable[[int], Awaitable[None]],
) -> Part:
    attempt = 1
    while True:
        try:
            return await client.upload_part(key, upload_id, number, part)
        except (NoAnswer, S3Error) as error:
            # A part that is sent again replaces itself.
            if attempt == ATTEMPTS or (isinstance(error, S3Error) and error.status < 500):
                raise
        await pause(attempt)
        attempt += 1


async def _abort(client: S3Client, key: str, upload_id: str) -> None:
    try:
        await client.abort_multipart_upload(key, upload_id)
    except (S3Error, NoAnswer, CancelledError) as error:
        if isinstance(error, S3Error) and error.code == "NoSuchUpload":
            return
        _log.warn(
            "could not abort the multipart upload of {key}, its parts stay in the bucket: {reason}",
            key=key,
            reason=str(error) or "cancelled",
        )
