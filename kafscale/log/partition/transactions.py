"""
The transactions of one partition: which are open, which were aborted, and up to
where everything is decided.

The records of a transaction are in the log before it is known whether they count.
A marker decides them: those of its producer since the marker before. The *last
stable offset* is the first offset of the first transaction that is not decided, or
the high watermark. Consumers with C{isolation.level=read_committed} read up to it, and
leave out the records of aborted transactions, which they are told with each answer.

A transaction is open until its marker is durable (rule T36): a marker that is only in
memory may be lost in a takeover, and the last stable offset must not go back.

Aborted transactions are kept here until their markers are in a segment, whose footer
lists them then (rule T40).

All of it follows from the batches in the log. Which epoch and which number a producer
has is in L{kafscale.log.partition.producers}.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence

import attrs

from kafscale.format.segment import AbortedTransaction
from kafscale.wire.batches import CONTROL, TRANSACTIONAL
from kafscale.wire.control_batches import read_marker
from kafscale.wire.records import read_batch_header


@attrs.frozen
class _Ending:
    """
    A marker that is not durable yet.

    @ivar offset: Of the marker.
    @ivar first_offset: Of the transaction that it ends; -1 if none was open.
    """

    offset: int
    producer_id: int
    first_offset: int
    committed: bool


class Transactions:
    """
    The transactions of one partition, from the end of its segments on.
    """

    def __init__(self, open_from: Mapping[int, int] | None = None) -> None:
        """
        @param open_from: The transactions that are open where the segments end: their
            first offsets, by the ids of their producers.
        """
        self._open = dict(open_from or {})
        # The first offsets of those without a durable marker, ascending.
        self._undecided = OrderedDict.fromkeys(sorted(self._open.values()))
        self._endings: deque[_Ending] = deque()  # in the order of their offsets
        self._aborted: list[AbortedTransaction] = []  # in the order of their markers

    # -- the log grows -----------------------------------------------------------

    def appended(self, producer_id: int, base_offset: int) -> None:
        """
        A batch of records was appended that belongs to a transaction.
        """
        if producer_id not in self._open:
            self._open[producer_id] = base_offset
            self._undecided[base_offset] = None

    def ended(self, producer_id: int, offset: int, committed: bool) -> None:
        """
        A marker was appended.

        @param offset: Its own.
        """
        first = self._open.pop(producer_id, -1)
        self._endings.append(_Ending(offset, producer_id, first, committed))

    def replay(self, batches: Iterable[bytes]) -> None:
        """
        The same for batches that are in the log already.
        """
        for batch in batches:
            header = read_batch_header(batch)
            if header.attributes & CONTROL:
                marker = read_marker(batch)
                if marker is not None:
                    self.ended(marker.producer_id, header.base_offset, marker.committed)
            elif header.attributes & TRANSACTIONAL:
                self.appended(header.producer_id, header.base_offset)

    def show(self, high_watermark: int) -> None:
        """
        The records before the high watermark are durable.
        """
        endings = self._endings
        while endings and endings[0].offset < high_watermark:
            ending = endings.popleft()
            if ending.first_offset < 0:
                continue
            del self._undecided[ending.first_offset]
            if not ending.committed:
                self._aborted.append(
                    AbortedTransaction(ending.producer_id, ending.first_offset, ending.offset)
                )

    def drop_before(self, rolled_to: int) -> None:
        """
        The records before C{rolled_to} are in segments.
        """
        if self._aborted:
            del self._aborted[: self._position(rolled_to)]

    # -- what is known -----------------------------------------------------------

    def stable_end(self, high_watermark: int) -> int:
        """
        Return the last stable offset. It may be below the log start, if that has
        passed the beginning of an open transaction.

        @param high_watermark: As L{show} was told last.
        """
        for first in self._undecided:
            return min(first, high_watermark)
        return high_watermark

    def aborted(self, offset: int, end: int) -> list[AbortedTransaction]:
        """
        Return what a reader must know of aborted transactions whose markers are in no
        segment.

        @param offset: Where the reader begins. Transactions whose markers come before it
            are none of its business: it would wait for their ends, and leave out
            committed records (rule T41).
        @param end: Where its records end.
        """
        if not self._aborted:
            return []
        return [
            each for each in self._aborted[self._position(offset) :] if each.first_offset < end
        ]

    def to_roll(self, end: int) -> Sequence[AbortedTransaction]:
        """
        Return the aborted transactions for the footer of the next segment.

        @param end: Of the segment.
        """
        return self._aborted[: self._position(end)] if self._aborted else ()

    def marker_under_way(self, producer_id: int) -> int | None:
        """
        Return the offset of the last marker of a producer that is not durable; None if
        there is none.
        """
        for ending in reversed(self._endings):
            if ending.producer_id == producer_id:
                return ending.offset
        return None

    def _position(self, offset: int) -> int:
        """
        How many of the aborted transactions have a marker before an offset.
        """
        return bisect_left(self._aborted, offset, key=lambda each: each.marker_offset)
