"""
The states of idempotent producers, as a segment's footer has them.

They are those at the segment's end, so that a broker that takes a partition
over knows which batches are retries without reading older segments. The rules
by which they change are in `kafscale.log.partition.producers`. The layout
(big-endian)::

    UINT8   version: 1 + its level (`kafscale.format.levels`)
    UINT32  number of producers
    INT64   from level 1 on: the mark (`kafscale.log.partition.producers`)
    then of each producer, the longest idle first:
        INT64   producer id
        INT16   producer epoch
        INT64   when it was last seen, in ms; -1: not known
        UINT8   number of batches, at least 1; then of each, the oldest first:
            INT32   first sequence number
            INT32   last sequence number
            INT64   base offset
            INT64   largest timestamp in ms

No bytes at all mean that there are no producers, and no mark.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import NamedTuple

import attrs

from kafscale.format.errors import CorruptObject
from kafscale.format.levels import check_level
from kafscale.wire.records import BatchHeader

NOT_KNOWN = -1
"""In place of the time at which a producer was last seen."""

HEAD = struct.Struct(">BI")
"""The version of the layout and the number of producers."""

MARK = struct.Struct(">q")
"""The mark, from level 1 on."""

PRODUCER = struct.Struct(">qhqB")
"""A L{ProducerState}, with the number of its batches."""

BATCH = struct.Struct(">iiqq")
"""A L{ProducedBatch}."""


class ProducedBatch(NamedTuple):
    """
    A batch of an idempotent producer.

    @ivar timestamp: The largest of its records, in ms.
    """

    base_sequence: int
    last_sequence: int
    base_offset: int
    timestamp: int


@attrs.frozen
class ProducerState:
    """
    The state of one producer in one partition.

    @ivar seen: The broker's time in ms when the producer last appended;
        `NOT_KNOWN` if the state was rebuilt from the log.
    @ivar batches: The last batches of this epoch, oldest first; at least one.
    """

    producer_id: int
    producer_epoch: int
    seen: int
    batches: tuple[ProducedBatch, ...]

    @property
    def last_sequence(self) -> int:
        """
        Sequence number of the last record.
        """
        return self.batches[-1].last_sequence

    @property
    def last_timestamp(self) -> int:
        """
        The largest timestamp in the last batch, in ms.
        """
        return self.batches[-1].timestamp

    def original(self, header: BatchHeader) -> ProducedBatch | None:
        """
        This very batch as it was appended before; None if it is not among the
        remembered ones.
        """
        if header.producer_epoch != self.producer_epoch:
            return None
        first, last = header.base_sequence, header.last_sequence
        for batch in self.batches:
            if batch.base_sequence == first and batch.last_sequence == last:
                return batch
        return None


def write_producers(states: Collection[ProducerState], mark: int, level: int) -> bytes:
    """
    The states as a footer has them.

    @param states: The longest idle first.
    @param mark: Producers with this id, or a higher one, are new to the partition
        unless they have a state. Not written at level 0.
    @param level: The level of the format.
    """
    pieces = [HEAD.pack(level + 1, len(states))]
    if level:
        pieces.append(MARK.pack(mark))
    for state in states:
        pieces.append(
            PRODUCER.pack(state.producer_id, state.producer_epoch, state.seen, len(state.batches))
        )
        pieces += [BATCH.pack(*batch) for batch in state.batches]
    return b"".join(pieces)


def read_producers(data: bytes | memoryview) -> tuple[list[ProducerState], int | None]:
    """
    The states that L{write_producers} wrote, the longest idle first; and the mark,
    None at level 0.

    @raise CorruptObject: the bytes are cut short.
    @raise NewerFormat: a newer version has written them.
    """
    states: list[ProducerState] = []
    mark: int | None = None
    if not data:
        return states, mark
    try:
        version, count = HEAD.unpack_from(data)
        if not version:
            raise CorruptObject("Producer states have version 0")
        check_level("producers", version - 1)
        at = HEAD.size
        if version > 1:
            (mark,) = MARK.unpack_from(data, at)
            at += MARK.size
        for _ in range(count):
            producer_id, epoch, seen, size = PRODUCER.unpack_from(data, at)
            at += PRODUCER.size
            stop = at + size * BATCH.size
            batches = tuple(ProducedBatch._make(row) for row in BATCH.iter_unpack(data[at:stop]))
            if len(batches) != size or not size:
                raise CorruptObject("Producer states are cut short")
            states.append(ProducerState(producer_id, epoch, seen, batches))
            at = stop
    except struct.error as error:
        raise CorruptObject("Producer states are cut short") from error
    return states, mark
