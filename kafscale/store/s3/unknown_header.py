"""
Which header a store does not know.

A store that does not know a header of a create answers 501 or 400, and does not
say which it is: s3proxy 3.1 says so of the checksum, others of the condition.
"""

from __future__ import annotations

from kafscale.store.s3.checksums import HEADERS, MD5
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.errors import NoAnswer, S3Error

CONDITION = "If-None-Match"


async def unknown_header(client: S3Client, key: str) -> str:
    """
    Find out which header of a create the store does not know, after it has
    refused one with 501 or 400.

    @param key: A key that may be created and replaced.
    @return: C{If-None-Match}, C{x-amz-checksum-crc32c}, or empty if it is
        neither.
    """
    try:
        if await _accepts(client, key, client.checksum):
            return CONDITION
        if client.checksum != MD5 and await _accepts(client, key, MD5):
            return HEADERS[client.checksum]
    except NoAnswer:
        pass
    return ""


async def _accepts(client: S3Client, key: str, checksum: str) -> bool:
    """
    Whether the store accepts an object without the condition.
    """
    try:
        await client.put_object(key, [b"1"], create_only=False, checksum=checksum)
    except S3Error:
        return False
    return True
