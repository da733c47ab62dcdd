"""
The checksum that is sent with a body: the store compares it with what came, and
refuses what was damaged on the way.

It is a CRC-32C, which takes a fiftieth of the CPU time of a SHA-256. Stores that
do not know the header of S3 for it (C{x-amz-checksum-crc32c}, since 2022) know
the one of HTTP for an MD5 (C{Content-MD5}, RFC 1864).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from kafscale.store.s3.bodies import Piece, checksum

CRC32C, MD5 = "crc32c", "md5"
"""The kinds, as C{KAFSCALE_S3_CHECKSUM} has them."""

HEADERS = {CRC32C: "x-amz-checksum-crc32c", MD5: "Content-MD5"}
"""Their headers. The value is in base64."""


def crc_of(pieces: Sequence[Piece]) -> str:
    """
    The CRC-32C of some pieces, in base64.
    """
    return base64.b64encode(checksum(pieces).to_bytes(4, "big")).decode()


def md5_of(pieces: Sequence[Piece]) -> str:
    """
    The MD5 of some pieces, in base64. Large pieces take 2 ms for each megabyte,
    in which other threads can run.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return base64.b64encode(digest.digest()).decode()
