"""
Objects that are too large for one request.

They are sent in parts, and exist when the last step, which is create-only as
any other create, puts these together. What fails before is aborted: parts of
an upload that nobody completes cost money and are seen in no listing.
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

#: How many parts of an object are under way at once, and how often one is sent.
PARALLEL, ATTEMPTS = 4, 3

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
    Create an object in parts.

    @param pause: Waits before a part is sent again, for the n-th time.
    """
    upload_id = await client.create_multipart_upload(key)
    try:
        parts = await _parts(client, key, upload_id, pieces, part_bytes, pause)
        await client.complete_multipart_upload(
            key, upload_id, parts, create_only=create_only, size=sum(map(len, pieces))
        )
    except BaseException:
        # Not waited for: who failed is told now. It may have been completed,
        # if that was the answer that is missing; then there is nothing to abort.
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
            # A part may be sent again: it replaces itself.
            if attempt == ATTEMPTS or (isinstance(error, S3Error) and error.status < 500):
                raise
        await pause(attempt)
        attempt += 1


async def _abort(client: S3Client, key: str, upload_id: str) -> None:
    try:
        await client.abort_multipart_upload(key, upload_id)
    except S3Error as error:
        if error.code != "NoSuchUpload":
            _log.warn("parts of {key} are left in the bucket: {error}", key=key, error=error)
    except (NoAnswer, CancelledError) as error:
        _log.warn("parts of {key} are left in the bucket: {error}", key=key, error=error)
