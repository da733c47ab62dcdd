"""
The end of a partition's log, in memory.

It holds what was appended and is not in a segment yet, in three parallel
lists. So a read costs two bisections and a slice, however many records and
batches there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from kafscale.interfaces import Fetched


class Tail:
    """
    Whole batches, one after another without gaps.

    @ivar start: Offset of the first record.
    @ivar end: Offset after the last record.
    @ivar visible_end: Offset after the last visible record (the high
        watermark); always between two batches.
    """

    __slots__ = (
        "_bases",
        "_batches",
        "_before",
        "_visible",
        "_written",
        "end",
        "start",
        "visible_end",
    )

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self.visible_end = start
        self._bases: list[int] = []
        self._batches: list[bytes] = []
        # How many bytes had been appended in all when each batch began. Unlike an
        # index it stays true when batches at the front are dropped.
        self._before: list[int] = []
        self._written = 0
        self._visible = 0  # how many of the batches are visible

    @property
    def size(self) -> int:
        """
        The bytes of all batches.
        """
        return self._written - self._before[0] if self._before else 0

    @property
    def visible_size(self) -> int:
        """
        The bytes of the visible batches.
        """
        return self._position(self._visible) - self._before[0] if self._visible else 0

    def append(self, batch: bytes, base: int, end: int) -> None:
        """
        Add a batch.

        @param base: Offset of its first record: L{end} before the call.
        @param end: Offset after its last record: L{end} after the call.
        """
        self._bases.append(base)
        self._batches.append(batch)
        self._before.append(self._written)
        self._written += len(batch)
        self.end = end

    def show(self, end: int) -> None:
        """
        Make the records before C{end} visible.
        """
        self.visible_end = end
        if end == self.end:
            self._visible = len(self._bases)
        else:
            self._visible = bisect_left(self._bases, end, self._visible)

    def available(self, offset: int, end: int | None = None) -> int:
        """
        Return the bytes of the visible batches from the one that contains
        C{offset} on.

        @param end: Where they end; None: with the last that is visible.
        """
        if offset >= self.visible_end or not self._visible:
            return 0
        visible = self._visible if end is None else self._before_offset(end)
        first = max(0, bisect_right(self._bases, offset, 0, self._visible) - 1)
        return max(0, self._position(visible) - self._before[first])

    def read(
        self, offset: int, max_bytes: int, at_least_one: bool, end: int | None = None
    ) -> Fetched:
        """
        Return visible batches from the one that contains C{offset} on.

        @param offset: Not below L{start}.
        @param max_bytes: How many bytes they may have together.
        @param at_least_one: Whether the first may be larger than that.
        @param end: Where they end, at the beginning of a batch; None: with the last that
            is visible.
        """
        if offset >= self.visible_end or not self._visible:
            return Fetched()
        visible = self._visible if end is None else self._before_offset(end)
        first = bisect_right(self._bases, offset, 0, self._visible) - 1
        begin = self._before[first]
        limit = begin + max_bytes
        if self._position(visible) <= limit:
            stop = visible
        else:
            stop = bisect_right(self._before, limit, first, visible) - 1
            if stop == first and at_least_one:
                stop = first + 1
        if stop <= first:
            return Fetched()
        return Fetched(self._batches[first:stop], self._position(stop) - begin)

    def visible_batches(self, max_bytes: int | None = None) -> tuple[list[bytes], int]:
        """
        Return the first visible batches, and the offset after their last record.

        @param max_bytes: How many bytes they may have together; the first one is
            returned in any case. None for all.
        """
        stop = self._visible
        if max_bytes is not None and stop:
            limit = self._before[0] + max_bytes
            if self._position(stop) > limit:
                stop = max(1, bisect_right(self._before, limit, 0, stop) - 1)
        return self._batches[:stop], self._offset(stop)

    def from_offset(self, offset: int) -> list[bytes]:
        """
        Return the visible batches from the one that contains C{offset} on.
        """
        if offset >= self.visible_end or not self._visible:
            return []
        first = max(0, bisect_right(self._bases, offset, 0, self._visible) - 1)
        return self._batches[first : self._visible]

    def drop_before(self, offset: int) -> int:
        """
        Drop the batches whose records are all before C{offset}.

        @return: How many bytes they had.
        """
        if offset >= self.end:
            count = len(self._bases)
        else:
            count = max(0, bisect_right(self._bases, offset) - 1)
        return self._drop(count)

    def shrink_to(self, size: int) -> int:
        """
        Drop batches at the front until at most C{size} bytes are left.

        @return: How many bytes they had.
        """
        return self._drop(bisect_left(self._before, self._written - size))

    def _drop(self, count: int) -> int:
        freed = self._position(count) - self._before[0] if count else 0
        self.start = max(self.start, self._offset(count))
        del self._bases[:count], self._batches[:count], self._before[:count]
        self._visible = max(0, self._visible - count)
        return freed

    def _before_offset(self, offset: int) -> int:
        """
        How many visible batches begin before an offset.
        """
        return bisect_left(self._bases, offset, 0, self._visible)

    def _position(self, index: int) -> int:
        return self._before[index] if index < len(self._before) else self._written

    def _offset(self, index: int) -> int:
        return self._bases[index] if index < len(self._bases) else self.end
