"""
The record of a transactional id.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import groupby
from operator import index
from typing import Any, TypeAlias
from uuid import UUID

import attrs

from kafscale.format.partition import TopicIdPartition
from kafscale.format.record import StoredEntry, read_record

ProducerEpoch: TypeAlias = tuple[int, int]
"""A producer id and an epoch of it."""


class TransactionState(StrEnum):
    """
    The state of a transactional id, by the name that Kafka's tools show.
    """

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"
    #: There is no record of the id: it was never used, or has expired. Never stored.
    DEAD = "Dead"


@attrs.frozen
class TransactionalIdRecord:
    """
    The entry under C{transactional-ids/}, whose key has the id.

    @ivar producer_id: Of the producer that uses the transactional id.
    @ivar epoch: Its epoch: batches and requests of any other are refused.
    @ivar timeout_ms: How long a transaction may be open.
    @ivar state: Never L{TransactionState.DEAD}.
    @ivar number: The number of the producer id's last transaction; 0 before the first.
        While markers of another producer id are written (see C{ending}), of that one's.
    @ivar began_ms: When the last transaction began, in ms since 1970; -1 if none did
        since the producer was initialized.
    @ivar changed_ms: When the record was last changed, likewise.
    @ivar previous: Producer id and epoch before the last change of them that the
        producer may ask for again, because it may not have got the answer; else None.
    @ivar ending: Producer id and epoch that the markers carry, while they are written;
        else None. The epochs of a producer id are exhausted some day; then it is another
        producer id than C{producer_id}.
    @ivar partitions: The partitions in the open transaction, or in that whose markers
        are written.
    @ivar groups: The groups with offsets in it.
    """

    producer_id: int = attrs.field(converter=index)
    epoch: int = attrs.field(converter=index)
    timeout_ms: int = attrs.field(converter=index)
    state: TransactionState = TransactionState.EMPTY
    number: int = attrs.field(converter=index, default=0)
    began_ms: int = attrs.field(converter=index, default=-1)
    changed_ms: int = attrs.field(converter=index, default=-1)
    previous: ProducerEpoch | None = None
    ending: ProducerEpoch | None = None
    partitions: frozenset[TopicIdPartition] = frozenset()
    groups: frozenset[str] = frozenset()

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store: what is None or empty is absent.
        """
        value: dict[str, Any] = {
            "producer_id": self.producer_id,
            "epoch": self.epoch,
            "timeout_ms": self.timeout_ms,
            "state": self.state.value,
            "number": self.number,
            "began_ms": self.began_ms,
            "changed_ms": self.changed_ms,
        }
        if self.previous is not None:
            value["previous"] = list(self.previous)
        if self.ending is not None:
            value["ending"] = list(self.ending)
        if self.partitions:
            by_topic = groupby(sorted(self.partitions), lambda each: each[0])
            value["partitions"] = [
                [str(topic_id), [each[1] for each in partitions]]
                for topic_id, partitions in by_topic
            ]
        if self.groups:
            value["groups"] = sorted(self.groups)
        return value

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> TransactionalIdRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(  # noqa: PLR0913 - one for each field
            producer_id: int,
            epoch: int,
            timeout_ms: int,
            state: str,
            number: int,
            began_ms: int,
            changed_ms: int,
            previous: list[int] | None = None,
            ending: list[int] | None = None,
            partitions: Iterable[tuple[str, list[int]]] = (),
            groups: Iterable[str] = (),
        ) -> TransactionalIdRecord:
            stored = TransactionState(state)
            if stored is TransactionState.DEAD:
                raise ValueError("the record of an id that has none")
            return cls(
                producer_id,
                epoch,
                timeout_ms,
                stored,
                number,
                began_ms,
                changed_ms,
                _pair(previous),
                _pair(ending),
                frozenset(
                    (UUID(topic_id), index(each))
                    for topic_id, indexes in partitions
                    for each in indexes
                ),
                frozenset(groups),
            )

        return read_record("transactional-ids", entry, lambda value: read(**value))


def _pair(value: list[int] | None) -> ProducerEpoch | None:
    if value is None:
        return None
    producer_id, epoch = value
    return index(producer_id), index(epoch)
