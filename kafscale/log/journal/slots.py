"""
What goes into one slot of the journal, and who waits for it.
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
    A partition, as its journal knows it.
    """

    topic_id: UUID
    index: int
    leader_epoch: int

    def acknowledge(self, end: int) -> None:
        """
        All records before C{end} are durable.
        """


class Share:
    """
    What a slot holds of one partition.
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
    Batches that share one fate: an object of the journal, before and after it
    is stored.

    @ivar frozen: The bytes that are stored, from when they are sent until the
        slot is acknowledged.
    @ivar shares: What is in it, by partition. After the slot is settled its
        keys are the partitions that have records here which no segment has.
    """

    __slots__ = ("_failure", "_waiting", "begun", "durable", "frozen", "number", "shares", "size")

    def __init__(self, number: int, begun: float) -> None:
        self.number = number
        self.begun = begun
        self.size = 0
        self.durable = False
        self.frozen: list[bytes] | None = None
        self.shares: dict[Writer, Share | None] = {}
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
        Whether its fate is known.
        """
        return self._waiting is None

    def settle(self, failure: Exception | None = None) -> None:
        """
        All who wait are told, from this slot's own result.
        """
        waiting, self._waiting, self._failure = self._waiting, None, failure
        for waiter in waiting or ():
            if waiter.called:
                continue  # given up by the one who waited
            if failure is None:
                waiter.callback(None)
            else:
                waiter.errback(failure)

    def freeze(self) -> tuple[list[bytes], bytes]:
        """
        The bytes that every attempt to store this slot sends, partition by
        partition, and the footer that ends them.
        """
        pieces: list[bytes] = []
        ranges = []
        position = 0
        for writer, share in self.shares.items():
            assert share is not None
            ranges.append(
                Range(
                    topic_id=writer.topic_id,
                    index=writer.index,
                    leader_epoch=writer.leader_epoch,
                    first_offset=share.first,
                    last_offset=share.end - 1,
                    max_timestamp=share.max_timestamp,
                    position=position,
                    length=share.size,
                    crc=proof(share.batches),
                )
            )
            pieces += share.batches
            position += share.size
        return pieces, write_slot_footer(ranges)
