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
        UINT8   number of batches, at least 1 below level 2
        INT32   from level 2 on: the number of the last transaction that ended
                (`kafscale.wire.control_batches`); 0: none
        INT64   first offset of the open transaction; -1: none is open
        INT64   timestamp in ms of the marker, if a marker is the last batch; else -1
        then of each batch, the oldest first:
            INT32   first sequence number
            INT32   last sequence number
            INT64   base offset
            INT64   largest timestamp in ms

No bytes at all mean that there are no producers, and no mark. Level 2 is written only
where there is a transaction.
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

TRANSACTION = struct.Struct(">iqq")
"""What a L{ProducerState} says of transactions, from level 2 on."""

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
    @ivar batches: The last batches of this epoch, oldest first. There is none if a
        marker has begun the epoch.
    @ivar number: Of its last transaction that ended here; 0: none that is known.
    @ivar open_from: The first offset of its open transaction; -1: none is open.
    @ivar marked: The timestamp of the last marker in ms, if no batch came after it;
        else -1.
    """

    producer_id: int
    producer_epoch: int
    seen: int
    batches: tuple[ProducedBatch, ...]
    number: int = 0
    open_from: int = -1
    marked: int = -1

    @property
    def is_plain(self) -> bool:
        """
        Whether nothing has to be known of the producer but its batches: it had no
        transaction.
        """
        return not self.number and self.open_from < 0 and self.marked < 0 and bool(self.batches)

    @property
    def last_sequence(self) -> int:
        """
        Sequence number of the last record; -1 if the epoch has none yet.
        """
        return self.batches[-1].last_sequence if self.batches else -1

    @property
    def last_timestamp(self) -> int:
        """
        The largest timestamp in the last batch, or that of the marker after it, in ms.
        """
        if self.marked >= 0 or not self.batches:
            return self.marked
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
    @param level: The level of the format. Level 2 is written where, and only where, there
        is something that needs it: then every broker reads it already.
    """
    level = min(level, 1) if all(state.is_plain for state in states) else 2
    pieces = [HEAD.pack(level + 1, len(states))]
    if level:
        pieces.append(MARK.pack(mark))
    for state in states:
        pieces.append(
            PRODUCER.pack(state.producer_id, state.producer_epoch, state.seen, len(state.batches))
        )
        if level > 1:
            pieces.append(TRANSACTION.pack(state.number, state.open_from, state.marked))
        pieces += [BATCH.pack(*batch) for batch in state.batches]
    return b"".join(pieces)


def has_transactions(data: bytes | memoryview) -> bool:
    """
    Whether the states that L{write_producers} wrote know of transactions.
    """
    return bool(data) and data[0] > 2


def first_open(data: bytes | memoryview) -> int:
    """
    The lowest first offset of the transactions that are open in the states that
    L{write_producers} wrote; -1: none is open.

    @raise CorruptObject: the bytes are cut short.
    @raise NewerFormat: a newer version has written them.
    """
    if not has_transactions(data):
        return -1
    states, _ = read_producers(data)
    return min((state.open_from for state in states if state.open_from >= 0), default=-1)


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
            ended = 0, -1, -1
            if version > 2:
                ended = TRANSACTION.unpack_from(data, at)
                at += TRANSACTION.size
            stop = at + size * BATCH.size
            batches = tuple(ProducedBatch._make(row) for row in BATCH.iter_unpack(data[at:stop]))
            if len(batches) != size or (version < 3 and not size):
                raise CorruptObject("Producer states are cut short")
            states.append(ProducerState(producer_id, epoch, seen, batches, *ended))
            at = stop
    except struct.error as error:
        raise CorruptObject("Producer states are cut short") from error
    return states, mark
