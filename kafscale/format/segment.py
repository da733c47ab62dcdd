"""
The layout of a segment, and finding records in it.

A segment is a range of one partition's log: its batches, then a footer, then
the trailer (`kafscale.format.trailer`). The batches are divided into *blocks* of
at least 64 KiB, except for the last one. The footer has an index of the blocks:
position, first offset, and the largest timestamp that the batches' headers
state. Blocks are read and cached in *runs* of up to 1 MiB. The footer
(big-endian)::

    INT64   offset of the first record
    INT64   offset after the last record
    INT64   largest timestamp that the headers state, in ms
    UINT64  length of all batches
    UINT32  CRC-32C of their headers, each of which has that of its records
    UINT32  number of batches
    UINT32  number of blocks, n
    UINT32  length of the producers' states, p
    UINT32  length of the JSON, j
    n UINT32  position of each block
    n UINT32  its first offset, less that of the segment
    n INT64   its largest timestamp
    p bytes   the producers' states at the end
    j bytes   {"epochs": [[epoch, first offset], ...], "transactions": []}

From level 1 on the JSON also has "written", the time in ms at which the segment was
written, and "true_times": whether the headers of all batches are known to state the
largest timestamps of their records, and not what their producers said.

From level 2 on "transactions" lists the aborted transactions whose markers are in the
segment, in the order of their markers: [[producer id, first offset, offset of the
marker], ...]. The transaction may have begun in an earlier segment. Below level 2 it is
empty. Level 2 is written only if an aborted transaction is listed, or the producers'
states know of transactions.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import attrs

from kafscale.format.epochs import Epochs
from kafscale.format.errors import CorruptObject
from kafscale.format.producers import first_open, has_transactions
from kafscale.format.trailer import TRAILER_SIZE, Kind, end_with, proof, read_end
from kafscale.wire.records import HEADER_SIZE, LENGTH_OVERHEAD, read_batch_header

BLOCK_SIZE = 64 * 1024
"""The size in bytes at which a block ends, after the present batch."""

RUN_SIZE = 1024 * 1024
"""The largest size of a run in bytes, unless a single batch is larger."""

TRANSACTIONS_LEVEL = 2
"""The level that has aborted transactions. Brokers that read it know all that is stored of
transactions."""

FIXED = struct.Struct(">qqqQIIIII")
"""The fixed part of the footer."""

_LEAST = -(1 << 63)
_OFFSET_AND_LENGTH = struct.Struct(">qi")
_LAST_OFFSET_DELTA = struct.Struct(">i")
_LAST_OFFSET_DELTA_AT = 23


class AbortedTransaction(NamedTuple):
    """
    A transaction that was aborted in a partition.

    @ivar first_offset: Of its first record in the partition.
    @ivar marker_offset: Of its marker.
    """

    producer_id: int
    first_offset: int
    marker_offset: int


@attrs.frozen(eq=False)
class Footer:
    """
    The footer of a segment.

    @ivar first_offset: Of the first record.
    @ivar end_offset: After the last record.

    @ivar max_timestamp: The largest that the headers of its batches state, in ms.
    @ivar data_size: Length of all batches; what comes after is the footer.
    @ivar data_crc: L{proof} of all batches.
    @ivar producers: For L{ProducerStates.restore}.
    @ivar transactions: The aborted ones whose markers are in the segment, in the order
        of the markers.
    @ivar first_open: The lowest first offset of the transactions that are open at the
        segment's end; -1: none is open.
    @ivar written: When the segment was written, in ms; -1: not known.
    @ivar true_times: Whether the headers are known to state the largest timestamps of
        their records.
    """

    first_offset: int
    end_offset: int
    max_timestamp: int
    data_size: int
    data_crc: int
    batch_count: int
    producers: bytes
    epochs: Epochs
    transactions: Sequence[AbortedTransaction]
    first_open: int
    written: int
    true_times: bool
    _positions: array[int]
    _offsets: array[int]
    _timestamps: array[int]
    _runs: array[int]  # the number of each run's first block

    def locate(self, offset: int) -> tuple[int, int]:
        """
        The run that holds the record at C{offset} (of the first record, if
        that is larger): where it begins and ends in the object.

        @raise ValueError: it is in no run, but after them.
        """
        if offset >= self.end_offset:
            raise ValueError(f"{offset} is not before the segment's end, {self.end_offset}")
        block = bisect_right(self._offsets, max(0, offset - self.first_offset)) - 1
        return self._bounds(bisect_right(self._runs, block) - 1)

    def offset_at(self, position: int) -> int:
        """
        Return the offset of the first record of the run that begins at
        C{position}; at the end of the last run, the offset after its records.
        """
        if position >= self.data_size:
            return self.end_offset
        return self.first_offset + self._offsets[bisect_right(self._positions, position) - 1]

    def reaches(self, stop: int, timestamp: int) -> bool:
        """
        Whether a header in the run that ends at C{stop} states a timestamp at
        or after C{timestamp} (ms).
        """
        last = bisect_right(self._positions, stop - 1) - 1
        first = self._runs[bisect_right(self._runs, last) - 1]
        return max(self._timestamps[first : last + 1]) >= timestamp

    def runs(self) -> list[tuple[int, int]]:
        """
        Return where each run begins and ends in the object, in order.
        """
        return [self._bounds(run) for run in range(len(self._runs))]

    def with_true_times(self, times: Iterable[tuple[int, int]]) -> Footer:
        """
        Return the footer with the largest timestamps of the records, in place of those
        that the headers state.

        @param times: The position of each batch, and its largest timestamp in ms.
        """
        latest = array("q", [_LEAST]) * len(self._timestamps)
        for position, timestamp in times:
            block = bisect_right(self._positions, position) - 1
            latest[block] = max(latest[block], timestamp)
        return attrs.evolve(self, max_timestamp=max(latest), timestamps=latest)

    def _bounds(self, run: int) -> tuple[int, int]:
        start = self._positions[self._runs[run]]
        if run + 1 == len(self._runs):
            return start, self.data_size
        return start, self._positions[self._runs[run + 1]]


def write_footer(
    batches: Sequence[bytes],
    epochs: Epochs,
    producers: bytes,
    transactions: Sequence[AbortedTransaction] = (),
    *,
    level: int = 0,
    written: int = -1,
    true_times: bool = False,
) -> bytes:
    """
    Return the last bytes of a segment of these batches: its footer and trailer.

    @param batches: Each of them one batch, with its base offset and leader
        epoch.
    @param epochs: The history at their end.
    @param producers: The states of producers at their end
        (L{kafscale.format.producers.write_producers}).
    @param transactions: See L{Footer}.
    @param level: Of the format. At level 0 the following are not written. Level 2 is
        written where, and only where, there is something that needs it: then every
        broker reads it already.
    @param written: See L{Footer}, as C{true_times}.
    @raise ValueError: there is no batch, the offsets leave a gap, or the batches
        are too long for one segment.
    """
    positions, offsets, timestamps = array("I"), array("I"), array("q")
    position = 0
    block_size = 0
    latest = _LEAST
    first = end = None
    for batch in batches:
        header = read_batch_header(batch)
        size = len(batch)
        if first is None:
            first = end = header.base_offset
        if header.base_offset != end or header.size != size:
            raise ValueError(f"A batch begins at {header.base_offset}, not at {end}")
        if not block_size or block_size >= BLOCK_SIZE or block_size + size > RUN_SIZE:
            if position > 0xFFFFFFFF or end - first > 0xFFFFFFFF:
                raise ValueError("No segment can hold so many records or bytes")
            positions.append(position)
            offsets.append(end - first)
            timestamps.append(header.max_timestamp)
            block_size = 0
        elif header.max_timestamp > timestamps[-1]:
            timestamps[-1] = header.max_timestamp
        latest = max(latest, header.max_timestamp)
        end = header.next_offset
        position += size
        block_size += size
    if first is None:
        raise ValueError("A segment has at least one batch")
    level = TRANSACTIONS_LEVEL if transactions or has_transactions(producers) else min(level, 1)
    about: dict[str, object] = {
        "epochs": epochs.to_json(),
        "transactions": list(transactions),
    }
    if level:
        about |= {"written": written, "true_times": true_times}
    rest = json.dumps(about, separators=(",", ":")).encode()
    counts = (len(batches), len(positions), len(producers), len(rest))
    fixed = FIXED.pack(first, end, latest, position, proof(batches), *counts)
    index = [_packed(column) for column in (positions, offsets, timestamps)]
    return end_with(Kind.SEGMENT, b"".join((fixed, *index, producers, rest)), level)


def read_footer(suffix: bytes, size: int) -> Footer | int:
    """
    Return the footer of a segment; or, if C{suffix} does not hold all of it, the
    length of a suffix that does.

    @param suffix: The last bytes of the object.
    @param size: Of the whole object, in bytes.
    @raise CorruptObject: the object is no segment, or is damaged.
    @raise NewerFormat: a newer version has written it.
    """
    end = read_end(suffix, size)
    if isinstance(end, int):
        return end
    kind, footer = end.kind, end.footer
    if kind is not Kind.SEGMENT:
        raise CorruptObject(f"A segment has the footer of a {kind.name.lower()}")
    if len(footer) < FIXED.size:
        raise CorruptObject(f"A segment has a footer of {len(footer)} bytes")
    first, stop, latest, data_size, crc, batches, blocks, states_size, rest_size = (
        FIXED.unpack_from(footer)
    )
    expected = FIXED.size + 16 * blocks + states_size + rest_size
    if len(footer) != expected or data_size + expected + TRAILER_SIZE != size or not blocks:
        raise CorruptObject(f"A segment of {size} bytes has a footer for {data_size} of batches")
    offsets_at = FIXED.size + 4 * blocks
    timestamps_at = offsets_at + 4 * blocks
    states_at = timestamps_at + 8 * blocks
    rest_at = states_at + states_size
    positions = _unpacked("I", footer[FIXED.size : offsets_at])
    try:
        rest = json.loads(footer[rest_at:])
        epochs = Epochs(rest["epochs"])
        transactions = [AbortedTransaction(*map(int, each)) for each in rest["transactions"]]
        written, true_times = -1, False
        if end.level:
            written, true_times = int(rest["written"]), bool(rest["true_times"])
    except (LookupError, TypeError, ValueError) as error:
        raise CorruptObject(f"A segment's footer has unknown JSON: {error!r}") from error
    return Footer(
        first_offset=first,
        end_offset=stop,
        max_timestamp=latest,
        data_size=data_size,
        data_crc=crc,
        batch_count=batches,
        producers=footer[states_at:rest_at],
        epochs=epochs,
        transactions=transactions,
        first_open=first_open(footer[states_at:rest_at]),
        written=written,
        true_times=true_times,
        positions=positions,
        offsets=_unpacked("I", footer[offsets_at:timestamps_at]),
        timestamps=_unpacked("q", footer[timestamps_at:states_at]),
        runs=_grouped(positions, data_size),
    )


def whole_footer(suffix: bytes, size: int) -> Footer:
    """
    Return the footer of a segment of which C{suffix} holds all.

    @raise CorruptObject: C{suffix} is too short, or see L{read_footer}.
    @raise NewerFormat: a newer version has written it.
    """
    footer = read_footer(suffix, size)
    if isinstance(footer, int):
        raise CorruptObject(f"A segment ends before byte {size}")
    return footer


def end_before(run: bytes, offset: int) -> int:
    """
    Return where the batches of a run end that begin before C{offset}. The offset is in
    the run.

    @raise CorruptObject: the run does not consist of whole batches.
    """
    at, size = 0, len(run)
    while at < size:
        base, following = _step(run, at)
        if base >= offset:
            return at
        at = following
    return size


def cut(run: bytes, offset: int, max_bytes: int, at_least_one: bool) -> tuple[int, int]:
    """
    Return where the whole batches of a run begin and end, from the batch that
    contains C{offset} on; (n, n) if there are none.

    @param max_bytes: The most bytes of these batches together.
    @param at_least_one: Whether the first batch may be longer.
    @raise CorruptObject: the run does not consist of whole batches.
    """
    size = len(run)
    start = _find(run, offset)
    if size - start <= max_bytes:
        return start, size
    stop = start
    limit = start + max_bytes
    while stop < size:
        following = _step(run, stop)[1]
        if following > limit and not (at_least_one and stop == start):
            break
        stop = following
    return start, stop


def _find(run: bytes, offset: int) -> int:
    """
    Where the batch that contains C{offset} begins: the last one that begins at
    or before it, or the end of the run if it comes after that.
    """
    size = len(run)
    start = 0
    base, following = _step(run, 0)
    while following < size:
        next_base, after = _step(run, following)
        if next_base > offset:
            return start
        base, start, following = next_base, following, after
    (delta,) = _LAST_OFFSET_DELTA.unpack_from(run, start + _LAST_OFFSET_DELTA_AT)
    return start if offset <= base + delta else size


def _step(run: bytes, at: int) -> tuple[int, int]:
    """
    The base offset of the batch at C{at}, and where the next one begins.
    """
    if len(run) - at >= HEADER_SIZE:
        base, length = _OFFSET_AND_LENGTH.unpack_from(run, at)
        following: int = at + length + LENGTH_OVERHEAD
        if at + HEADER_SIZE <= following <= len(run):
            return base, following
    raise CorruptObject(f"No whole batch stands at {at} in a run of {len(run)} bytes")


def _grouped(positions: array[int], data_size: int) -> array[int]:
    """
    The numbers of the blocks with which runs begin: each run takes as many
    blocks as fit.
    """
    runs = array("I", [0])
    begin = 0
    for block in range(1, len(positions)):
        stop = positions[block + 1] if block + 1 < len(positions) else data_size
        if stop - begin > RUN_SIZE:
            runs.append(block)
            begin = positions[block]
    return runs


def _packed(column: array[int]) -> bytes:
    if sys.byteorder == "little":
        column.byteswap()
    return column.tobytes()


def _unpacked(typecode: str, data: bytes) -> array[int]:
    column: array[int] = array(typecode)
    column.frombytes(data)
    if sys.byteorder == "little":
        column.byteswap()
    return column
