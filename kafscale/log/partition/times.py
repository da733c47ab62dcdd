"""
Look-ups of records by their timestamps.

The header of a batch states the largest timestamp in it, and only its producer
knows whether that is true. So headers decide where to look, and records decide
what is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.errors import InvalidRecord
from kafscale.log.reading.segments import Segments
from kafscale.wire.records import (
    first_at_or_after,
    iterate,
    latest,
    read_batch_header,
)

INFLATED_LIMIT = 64 * 1024 * 1024
"""Bytes to which a batch may be decompressed when the broker must read its
records."""


def first_in(batch: bytes | memoryview, timestamp: int, log_start: int) -> tuple[int, int] | None:
    """
    Find the first record of a batch at or after C{timestamp} that is not before
    the log start.

    @param timestamp: In ms.
    @return: Its timestamp and offset; None if there is no such record.
    """
    header = read_batch_header(batch)
    try:
        return first_at_or_after(batch, timestamp, INFLATED_LIMIT, log_start)
    except InvalidRecord:
        # The records cannot be read, so the header has to do.
        return header.max_timestamp, max(header.base_offset, log_start)


async def first_since(
    segments: Segments | None, batches: Sequence[bytes], timestamp: int, log_start: int
) -> tuple[int, int] | None:
    """
    Find the first record at or after C{timestamp} that is not before the log
    start.

    @param segments: Where to look first; None if no live record is in one.
    @param batches: Those that come after the segments.
    @param timestamp: In ms.
    @return: Its timestamp and offset; None if there is no such record.
    """
    if segments is not None:
        async for run in segments.runs_reaching(timestamp, log_start):
            for position, header in iterate(run):
                if header.max_timestamp >= timestamp and header.next_offset > log_start:
                    found = first_in(run[position : position + header.size], timestamp, log_start)
                    if found is not None:
                        return found
    for batch in batches:
        if _largest(batch) >= timestamp:
            found = first_in(batch, timestamp, log_start)
            if found is not None:
                return found
    return None


async def latest_of(segments: Segments | None, batches: Sequence[bytes]) -> tuple[int, int] | None:
    """
    Find the first of the records with the largest timestamp.

    @param segments: Where to look first; None if no live record is in one.
    @param batches: Those that come after the segments.
    @return: Its timestamp and offset; None if there are no records.
    """
    best = await segments.latest_batch() if segments is not None else None
    for batch in batches:
        if best is None or _largest(batch) > _largest(best):
            best = batch
    if best is None:
        return None
    try:
        return latest(best, INFLATED_LIMIT)
    except InvalidRecord:
        return _largest(best), read_batch_header(best).base_offset


def _largest(batch: bytes) -> int:
    return read_batch_header(batch).max_timestamp
