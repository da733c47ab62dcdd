"""
Construction of record batches, version 2.
"""

from __future__ import annotations

from collections.abc import Iterable

from crc32c import crc32c

from kafscale.wire.batches import (
    CONTROL,
    CRC_COVERS_FROM,
    HEADER,
    HEADER_SIZE,
    LENGTH_OVERHEAD,
    MAGIC,
    TRANSACTIONAL,
    Record,
)
from kafscale.wire.compression import Codec, deflate
from kafscale.wire.varints import put_bytes, put_varint


class BatchBuilder:
    """
    A record batch under construction, record by record.

    @ivar count: The number of records so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._body = bytearray()
        self._first_offset = self._last_offset = 0
        self._first_time = self._largest_time = 0

    @property
    def size(self) -> int:
        """
        The size of the batch in bytes, uncompressed.
        """
        return HEADER_SIZE + len(self._body)

    def append(self, record: Record) -> None:
        """
        Append a record. Its offset must be larger than that of the previous one.
        """
        offset, timestamp, key, value, headers = record
        if not self.count:
            self._first_offset = offset
            self._first_time = self._largest_time = timestamp
        elif timestamp > self._largest_time:
            self._largest_time = timestamp
        self._last_offset = offset
        self.count += 1
        content = bytearray(1)  # Attributes of a record: none are defined.
        put_varint(content, timestamp - self._first_time)
        put_varint(content, offset - self._first_offset)
        put_bytes(content, key)
        put_bytes(content, value)
        put_varint(content, len(headers))
        for name, held in headers:
            put_bytes(content, name)
            put_bytes(content, held)
        put_varint(self._body, len(content))
        self._body += content

    def build(
        self,
        *,
        codec: int = Codec.NONE,
        leader_epoch: int = -1,
        producer_id: int = -1,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        transactional: bool = False,
        control: bool = False,
    ) -> bytes:
        """
        Return the batch. It must have at least one record.

        @param codec: The compression codec, a number of L{Codec}.
        @param leader_epoch: The partition leader epoch.
        @param producer_id: -1 for a batch that is not idempotent, as are
            C{producer_epoch} and C{base_sequence}.
        @param producer_epoch: The producer's epoch.
        @param base_sequence: The sequence number of the first record.
        @param transactional: Whether the batch is part of a transaction.
        @param control: Whether the batch is a control batch.
        @raise ValueError: there is no such codec.
        """
        packed = deflate(codec, bytes(self._body))
        checked = (
            codec | transactional * TRANSACTIONAL | control * CONTROL,
            self._last_offset - self._first_offset,
            self._first_time,
            self._largest_time,
            producer_id,
            producer_epoch,
            base_sequence,
            self.count,
        )
        length = HEADER_SIZE - LENGTH_OVERHEAD + len(packed)
        head = (self._first_offset, length, leader_epoch, MAGIC)
        crc = crc32c(packed, crc32c(HEADER.pack(*head, 0, *checked)[CRC_COVERS_FROM:]))
        return HEADER.pack(*head, crc, *checked) + packed


def build_batch(
    records: Iterable[Record],
    *,
    codec: int = Codec.NONE,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    control: bool = False,
) -> bytes:
    """
    Build the batch of some records, as a producer does; see L{BatchBuilder.build}
    for the parameters.

    @param records: At least one, with ascending offsets.
    """
    builder = BatchBuilder()
    for record in records:
        builder.append(record)
    return builder.build(
        codec=codec,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        transactional=transactional,
        control=control,
    )
