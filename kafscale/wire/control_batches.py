"""
Control batches: the markers that end transactions.

A marker is a batch of one record, which consumers do not see. It says for a producer
id that all its records since its last marker, in this partition, are committed or
aborted. Its key and its value (big-endian)::

    key    INT16  version: 0
           INT16  type: 0 abort, 1 commit
    value  INT16  version: 0
           INT32  coordinator epoch: here the transaction's number

Kafka numbers the coordinators that write markers. Here the field has the number of the
transaction that ends, which rises by one with each transaction of a producer id.

(Kafka's C{EndTransactionMarker} and C{ControlRecordType}; KIP-98)
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from kafscale.errors import InvalidRecord
from kafscale.wire.batches import Record, read_batch_header
from kafscale.wire.building import build_batch
from kafscale.wire.records import read_records

MARKER_SIZE = 78
"""Bytes of a marker as L{build_marker} makes it."""

_KEY = struct.Struct(">hh")
_VALUE = struct.Struct(">hi")
_LIMIT = 4096


class Marker(NamedTuple):
    """
    The end of a transaction in one partition.

    @ivar producer_epoch: That of the producer from then on. It may be higher than that
        of the records.
    @ivar committed: Whether the records are committed, and not aborted.
    @ivar number: Of the transaction, among those of the producer id.
    """

    producer_id: int
    producer_epoch: int
    committed: bool
    number: int


def build_marker(marker: Marker, timestamp: int) -> bytes:
    """
    Return the batch of a marker, with the base offset 0.

    @param timestamp: The broker's time in ms.
    """
    record = Record(
        0, timestamp, _KEY.pack(0, marker.committed), _VALUE.pack(0, marker.number)
    )
    return build_batch(
        [record],
        producer_id=marker.producer_id,
        producer_epoch=marker.producer_epoch,
        transactional=True,
        control=True,
    )


def read_marker(batch: bytes | memoryview) -> Marker | None:
    """
    Return the marker in a control batch; None if it has another control record, or none
    any more.

    @raise InvalidRecord: its record cannot be read.
    """
    header = read_batch_header(batch)
    for record in read_records(batch, _LIMIT):
        key, value = record.key or b"", record.value or b""
        if len(key) < _KEY.size:
            raise InvalidRecord("A control record's key is too short")
        _, kind = _KEY.unpack_from(key)
        if kind not in (0, 1):
            return None
        if len(value) < _VALUE.size:
            raise InvalidRecord("A marker's value is too short")
        _, number = _VALUE.unpack_from(value)
        return Marker(header.producer_id, header.producer_epoch, kind == 1, number)
    return None
