"""
A slot of the journal: the batches in it, and the appends that wait for it.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from twisted.internet.defer import Deferred
from zope.interface import implementer

from kafscale.format.slot import Range, write_slot_footer
from kafscale.format.trailer import proof
from kafscale.interfaces import ISettlement


class Writer(Protocol):
    """
    A partition, as the journal knows it.
    """

    topic_id: UUID
    index: int
    leader_epoch: int

    def acknowledge(self, end: int) -> None:
        """
        Make all records before C{end} visible: they are durable.
        """


class PendingRange:
    """
    The batches that a slot has of one partition, before it is stored.

    @ivar first: Offset of the first record.
    @ivar end: Offset after the last record.
    @ivar max_timestamp: The largest of the records, in ms.
    @ivar size: Bytes of all batches.
    """

    __slots__ = ("batches", "end", "first", "max_timestamp", "size")

    def __init__(self, first: int) -> None:
        self.first = first
        self.end = first
        self.max_timestamp = -1
        self.size = 0
        self.batches: list[bytes] = []


@implementer(ISettlement)
class Slot:
    """
    Batches that share one outcome: an object of the journal, before and after
    it is stored.

    @ivar number: Its number in the journal.
    @ivar begun: When its first batch came, in seconds.
    @ivar size: Bytes of all batches.
    @ivar durable: Whether it is known to be stored.
    @ivar frozen: The bytes that are stored, from when they are sent until the
        slot is acknowledged.
    @ivar ranges: Its records, by partition. After it is settled only the
        keys matter: the partitions with records here that are in no segment.
    """

    __slots__ = ("_failure", "_waiting", "begun", "durable", "frozen", "number", "ranges", "size")

    def __init__(self, number: int, begun: float) -> None:
        self.number = number
        self.begun = begun
        self.size = 0
        self.durable = False
        self.frozen: list[bytes] | None = None
        self.ranges: dict[Writer, PendingRange | None] = {}
        self._waiting: list[Deferred[None]] | None = []
        self._failure: Exception | None = None

    def wait(self) -> Deferred[None]:
        """
        See L{ISettlement.wait}.
        """
        waiter: Deferred[None] = Deferred()
        if self._waiting is not None:
            self._waiting.append(waiter)
        elif self._failure is not None:
            waiter.errback(self._failure)
        else:
            waiter.callback(None)
        return waiter

    @property
    def settled(self) -> bool:
        """
        Whether the slot's outcome is known.
        """
        return self._waiting is None

    def settle(self, failure: Exception | None = None) -> None:
        """
        Fire all waiting Deferreds.

        @param failure: Why the appends are refused; None if they are durable.
        """
        waiting, self._waiting, self._failure = self._waiting, None, failure
        for waiter in waiting or ():
            if waiter.called:
                continue  # cancelled by its owner
            if failure is None:
                waiter.callback(None)
            else:
                waiter.errback(failure)

    def freeze(self, level: int) -> tuple[list[bytes], bytes]:
        """
        Return the bytes that every attempt to store this slot sends: the
        batches, partition by partition, and the footer.

        @param level: Of the stored format.
        """
        pieces: list[bytes] = []
        ranges = []
        position = 0
        for writer, pending in self.ranges.items():
            assert pending is not None
            ranges.append(
                Range(
                    topic_id=writer.topic_id,
                    index=writer.index,
                    leader_epoch=writer.leader_epoch,
                    first_offset=pending.first,
                    last_offset=pending.end - 1,
                    max_timestamp=pending.max_timestamp,
                    position=position,
                    length=pending.size,
                    crc=proof(pending.batches),
                )
            )
            pieces += pending.batches
            position += pending.size
        return pieces, write_slot_footer(ranges, level)
