"""
Checking the batches of an object against its footer.

Objects are read in pieces of 1 MiB (or one larger batch), so memory does not
grow with the object.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from kafscale.errors import CorruptMessage
from kafscale.format.epochs import UNKNOWN
from kafscale.format.reading import ObjectReader
from kafscale.format.segment import Footer
from kafscale.format.slot import Range
from kafscale.format.trailer import intact, proof
from kafscale.inspect.findings import Findings
from kafscale.inspect.transactions import SegmentTransactions
from kafscale.wire.records import BatchHeader, iterate

PIECE = 1 << 20
"""How many bytes are read at once."""

Batch = tuple[int, BatchHeader, bytes]
"""Position in the object, header, and all bytes."""


async def batches_of(
    objects: ObjectReader, key: str, start: int, stop: int
) -> AsyncIterator[Batch]:
    """
    Read the batches between two positions of an object.

    @param start: The first byte.
    @param stop: The byte after the last one.
    @raise CorruptMessage: these are not whole batches.
    """
    at = start
    piece = PIECE
    while at < stop:
        data = await objects.get(key, at, min(piece, stop - at))
        done = 0
        try:
            for position, header in iterate(data):
                yield at + position, header, data[position : position + header.size]
                done = position + header.size
        except CorruptMessage:
            # The last one goes on past this piece, or nothing else can be read.
            if not done:
                if piece >= stop - at:
                    raise
                piece = stop - at
                continue
        if not data:
            raise CorruptMessage(f"The object ends at {at}, not at {stop}")
        at += done
        piece = PIECE


async def check_range(objects: ObjectReader, key: str, part: Range) -> str | None:
    """
    Check a slot's batches of one partition. Return what is wrong; None if
    nothing is.
    """
    crc = 0
    offset = part.first_offset
    latest = -1
    try:
        stop = part.position + part.length
        async for position, header, batch in batches_of(objects, key, part.position, stop):
            if not intact([batch], proof([batch])):
                return f"the batch at byte {position} (offset {header.base_offset}) is damaged"
            if header.base_offset != offset:
                return f"offset {header.base_offset} stands where {offset} should"
            if header.leader_epoch != part.leader_epoch:
                return f"offset {offset} is of leader epoch {header.leader_epoch}"
            crc = proof([batch], crc)
            offset = header.next_offset
            latest = max(latest, header.max_timestamp)
    except CorruptMessage as error:
        return f"batches cannot be read at offset {offset}: {error}"
    if offset != part.last_offset + 1:
        return f"the batches end at {offset - 1}, the footer says {part.last_offset}"
    if crc != part.crc:
        return "the batches are not those of which the footer has the checksum"
    if latest != part.max_timestamp:
        return f"the largest timestamp is {latest}, the footer says {part.max_timestamp}"
    return None


async def check_segment(objects: ObjectReader, key: str, footer: Footer) -> Findings:
    """
    Check a segment's batches. They are read as for consumers, by the index in
    the footer.
    """
    found = Findings()
    crc = count = 0
    offset = footer.first_offset
    latest: int | None = None
    transactions = SegmentTransactions()
    for start, stop in footer.runs():
        if footer.offset_at(start) != offset:
            found.wrong(
                key, f"the index says {footer.offset_at(start)} of byte {start}, not {offset}"
            )
        try:
            async for position, header, batch in batches_of(objects, key, start, stop):
                if not intact([batch], proof([batch])):
                    found.wrong(
                        key,
                        f"the batch at byte {position} (offset {header.base_offset}) is damaged",
                    )
                if header.base_offset != offset:
                    found.wrong(key, f"offset {header.base_offset} stands where {offset} should")
                epoch = footer.epochs.at(header.base_offset)
                # Before the log start as it was when chapters became this
                # segment nothing was known any more.
                deleted = epoch == UNKNOWN and footer.epochs.entries
                if epoch != header.leader_epoch and not deleted:
                    found.wrong(
                        key,
                        f"offset {header.base_offset} is of leader epoch {header.leader_epoch},"
                        f" the history says {epoch}",
                    )
                transactions.add(header, batch)
                crc = proof([batch], crc)
                count += 1
                offset = header.next_offset
                if latest is None or header.max_timestamp > latest:
                    latest = header.max_timestamp
        except CorruptMessage as error:
            found.wrong(key, f"batches cannot be read at offset {offset}: {error}")
            return found
    for what, is_so, said in (
        ("batches end before", offset, footer.end_offset),
        ("number of batches is", count, footer.batch_count),
        ("largest timestamp is", latest, footer.max_timestamp),
    ):
        if is_so != said:
            found.wrong(key, f"the {what} {is_so}, the footer says {said}")
    if crc != footer.data_crc:
        found.wrong(key, "the batches are not those of which the footer has the checksum")
    transactions.check(key, footer, found)
    return found
