"""
Which header a store does not know.

A store that does not know a header of a create answers 501 or 400, and does not
say which it is: s3proxy 3.1 says so of the checksum, others of the condition. Nor
is each 400 about a header.
"""

from __future__ import annotations

from kafscale.store.s3.checksums import HEADERS, MD5
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.errors import S3Error, may_pass

CONDITION = "If-None-Match"


async def unknown_header(client: S3Client, key: str) -> str:
    """
    Find out which header of a create the store does not know, after it has
    refused one with 501 or 400.

    @param key: A key that may be created and replaced. An object may stay there.
    @return: C{If-None-Match}, C{x-amz-checksum-crc32c}, or empty if it knows both:
        the reason of the refusal has passed.
    @raise S3Error: it is neither, or the store is in trouble.
    @raise NoAnswer: there is no answer.
    """
    refusal = await _refusal(client, key, client.checksum)
    if refusal is None:
        again = await _refusal(client, key, client.checksum, create_only=True)
        return CONDITION if again else ""
    if client.checksum != MD5 and await _refusal(client, key, MD5) is None:
        return HEADERS[client.checksum]
    raise refusal


async def _refusal(
    client: S3Client, key: str, checksum: str, *, create_only: bool = False
) -> S3Error | None:
    """
    The error with which the store refuses an object; None if it knows all headers.
    """
    try:
        await client.put_object(key, [b"1"], create_only=create_only, checksum=checksum)
    except S3Error as error:
        if error.status in (400, 501) and not may_pass(error):
            return error
        if error.status != 412:  # the object exists, and the condition is known
            raise
    return None
