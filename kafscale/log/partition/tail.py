"""
The end of a partition's log, in memory.

What was appended and is not yet in a segment. Three parallel lists, so that a
read is two bisections and a slice, whatever the number of records and batches.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from kafscale.interfaces import Fetched


class Tail:
    """
    Whole batches, one after another without gaps.

    @ivar start: Offset of the first record.
    @ivar end: Offset after the last.
    @ivar visible_end: Offset after the last record that may be shown (the
        high watermark); always between two batches.
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
        # Bytes appended, ever, when each batch began; a position that stays
        # when batches at the front go.
        self._before: list[int] = []
        self._written = 0
        self._visible = 0  # how many of the batches may be shown

    @property
    def size(self) -> int:
        """
        Bytes of all batches.
        """
        return self._written - self._before[0] if self._before else 0

    @property
    def visible_size(self) -> int:
        """
        Bytes of the batches that may be shown.
        """
        return self._position(self._visible) - self._before[0] if self._visible else 0

    def append(self, batch: bytes, base: int, end: int) -> None:
        """
        Add a batch whose first record has the offset L{end} has now.
        """
        self._bases.append(base)
        self._batches.append(batch)
        self._before.append(self._written)
        self._written += len(batch)
        self.end = end

    def show(self, end: int) -> None:
        """
        Records before C{end} may be shown.
        """
        self.visible_end = end
        if end == self.end:
            self._visible = len(self._bases)
        else:
            self._visible = bisect_left(self._bases, end, self._visible)

    def available(self, offset: int) -> int:
        """
        Bytes of visible batches from the one that contains C{offset}.
        """
        if offset >= self.visible_end or not self._visible:
            return 0
        first = max(0, bisect_right(self._bases, offset, 0, self._visible) - 1)
        return self._position(self._visible) - self._before[first]

    def read(self, offset: int, max_bytes: int, at_least_one: bool) -> Fetched:
        """
        Visible batches from the one that contains C{offset}, which is not
        below L{start}.
        """
        if offset >= self.visible_end or not self._visible:
            return Fetched()
        first = bisect_right(self._bases, offset, 0, self._visible) - 1
        begin = self._before[first]
        limit = begin + max_bytes
        if self._position(self._visible) <= limit:
            stop = self._visible
        else:
            stop = bisect_right(self._before, limit, first, self._visible) - 1
            if stop == first and at_least_one:
                stop = first + 1
        if stop <= first:
            return Fetched()
        return Fetched(self._batches[first:stop], self._position(stop) - begin)

    def visible_batches(self, max_bytes: int | None = None) -> tuple[list[bytes], int]:
        """
        The first batches, at least one and at most C{max_bytes} of them, that
        may be shown, and the offset after their last record.
        """
        stop = self._visible
        if max_bytes is not None and stop:
            limit = self._before[0] + max_bytes
            if self._position(stop) > limit:
                stop = max(1, bisect_right(self._before, limit, 0, stop) - 1)
        return self._batches[:stop], self._offset(stop)

    def from_offset(self, offset: int) -> list[bytes]:
        """
        The visible batches from the one that contains C{offset} on.
        """
        if offset >= self.visible_end or not self._visible:
            return []
        first = max(0, bisect_right(self._bases, offset, 0, self._visible) - 1)
        return self._batches[first : self._visible]

    def drop_before(self, offset: int) -> int:
        """
        Forget the batches whose records are all before C{offset}; how many
        bytes they had.
        """
        if offset >= self.end:
            count = len(self._bases)
        else:
            count = max(0, bisect_right(self._bases, offset) - 1)
        return self._drop(count)

    def keep(self, size: int) -> int:
        """
        Forget the first batches until at most so many bytes are left; how many
        bytes they had.
        """
        return self._drop(bisect_left(self._before, self._written - size))

    def _drop(self, count: int) -> int:
        freed = self._position(count) - self._before[0] if count else 0
        self.start = max(self.start, self._offset(count))
        del self._bases[:count], self._batches[:count], self._before[:count]
        self._visible = max(0, self._visible - count)
        return freed

    def _position(self, index: int) -> int:
        return self._before[index] if index < len(self._before) else self._written

    def _offset(self, index: int) -> int:
        return self._bases[index] if index < len(self._bases) else self.end
