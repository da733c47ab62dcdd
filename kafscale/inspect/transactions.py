"""
Checking what a segment says of transactions against its batches.

The segment need not have all of a transaction: it may have begun in an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator

from kafscale.errors import InvalidRecord
from kafscale.format.errors import UnreadableData
from kafscale.format.producers import read_producers
from kafscale.format.segment import Footer
from kafscale.inspect.findings import Findings
from kafscale.wire.batches import CONTROL, TRANSACTIONAL
from kafscale.wire.control_batches import read_marker
from kafscale.wire.records import BatchHeader


class SegmentTransactions:
    """
    The transactions of a segment, as its batches have them.
    """

    def __init__(self) -> None:
        # The first offsets of what is open, as far as it began in the segment.
        self._open: dict[int, int] = {}
        self._ended: set[int] = set()  # the producers whose last batch is a marker
        # The abort markers: producer, and first offset if it is in the segment, by offset.
        self._aborts: dict[int, tuple[int, int | None]] = {}
        self._unreadable: list[int] = []

    def add(self, header: BatchHeader, batch: bytes) -> None:
        """
        Take the next batch.
        """
        producer_id = header.producer_id
        if header.attributes & CONTROL:
            try:
                marker = read_marker(batch)
            except InvalidRecord:
                self._unreadable.append(header.base_offset)
                return
            if marker is not None:
                first = self._open.pop(producer_id, None)
                self._ended.add(producer_id)
                if not marker.committed:
                    self._aborts[header.base_offset] = producer_id, first
        elif header.attributes & TRANSACTIONAL:
            self._ended.discard(producer_id)
            self._open.setdefault(producer_id, header.base_offset)

    def check(self, key: str, footer: Footer, found: Findings) -> None:
        """
        Add what the footer says of transactions and is not so.
        """
        for what in self._wrong(footer):
            found.wrong(key, what)

    def _wrong(self, footer: Footer) -> Iterator[str]:
        for offset in self._unreadable:
            yield f"the control batch at offset {offset} cannot be read"
        listed = {each.marker_offset: each for each in footer.transactions}
        markers = [each.marker_offset for each in footer.transactions]
        if markers != sorted(set(markers)):
            yield f"aborted transactions are listed out of order: {markers}"
        for each in footer.transactions:
            producer_id, first = self._aborts.get(each.marker_offset, (None, None))
            if producer_id != each.producer_id:
                yield (
                    f"an aborted transaction of producer {each.producer_id} is listed, and no"
                    f" abort marker is at offset {each.marker_offset}"
                )
            elif not self._may_begin(each.first_offset, first, footer):
                yield (
                    f"the transaction of producer {each.producer_id} that was aborted at offset"
                    f" {each.marker_offset} began at {first}, the footer says {each.first_offset}"
                )
        for offset, (producer_id, first) in self._aborts.items():
            if first is not None and offset not in listed:
                yield (
                    f"the transaction of producer {producer_id} that was aborted at offset"
                    f" {offset} is not listed"
                )
        yield from self._wrong_states(footer)

    def _wrong_states(self, footer: Footer) -> Iterator[str]:
        try:
            states, _ = read_producers(footer.producers)
        except UnreadableData as error:
            yield f"the states of its producers cannot be read: {error.reason}"
            return
        known = {state.producer_id: state.open_from for state in states if state.open_from >= 0}
        for producer_id, first in self._open.items():
            said = known.get(producer_id)
            if said is None:
                yield (
                    f"the transaction of producer {producer_id} that began at or before offset"
                    f" {first} is open, and the footer does not say so"
                )
            elif not self._may_begin(said, first, footer):
                yield (
                    f"the open transaction of producer {producer_id} began at {first}, the footer"
                    f" says {said}"
                )
        for producer_id in sorted(self._ended & known.keys()):
            yield f"the footer says that producer {producer_id} has an open transaction"

    def _may_begin(self, said: int, first: int | None, footer: Footer) -> bool:
        """
        Return whether a transaction may have begun where the footer says.

        @param first: Its first batch in the segment; None if it has none there.
        """
        return said == first or 0 <= said < footer.first_offset
