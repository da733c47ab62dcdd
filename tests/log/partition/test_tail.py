"""
Tests for L{kafscale.log.partition.tail}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.log.partition.tail import Tail


def filled(*counts_and_sizes: tuple[int, int], start: int = 0, shown: int | None = None) -> Tail:
    """
    Build a tail of batches with so many records and bytes.
    """
    tail = Tail(start)
    for count, size in counts_and_sizes:
        tail.append(bytes([tail.end % 251]) * size, tail.end, tail.end + count)
    tail.show(tail.end if shown is None else shown)
    return tail


class TailTests(SynchronousTestCase):
    """
    The end of a partition's log, in memory.
    """

    def test_reads_from_the_batch_that_contains_the_offset(self) -> None:
        """
        An offset within a batch returns the whole batch, and those after it.
        """
        tail = filled((10, 5), (10, 6), (10, 7))
        fetched = tail.read(14, 100, True)
        self.assertEqual([len(piece) for piece in fetched.pieces], [6, 7])
        self.assertEqual(fetched.size, 13)

    def test_never_cuts_a_batch(self) -> None:
        """
        Only batches that fit whole are read.
        """
        tail = filled((1, 5), (1, 5), (1, 5))
        self.assertEqual(tail.read(0, 14, False).size, 10)
        self.assertEqual(tail.read(0, 15, False).size, 15)

    def test_at_least_one(self) -> None:
        """
        A batch that is larger than the limit is read only when one batch is
        demanded.
        """
        tail = filled((1, 50), (1, 5))
        self.assertEqual(tail.read(0, 10, True).size, 50)
        self.assertEqual(tail.read(0, 10, False).size, 0)

    def test_shows_only_what_is_durable(self) -> None:
        """
        Batches past the visible end are not read, counted or rolled.
        """
        tail = filled((1, 5), (1, 6), (1, 7), shown=2)
        self.assertEqual(tail.read(0, 100, True).size, 11)
        self.assertEqual(tail.available(0), 11)
        self.assertEqual(tail.read(2, 100, True).size, 0)
        self.assertEqual(tail.visible_batches(), ([b"\x00" * 5, b"\x01" * 6], 2))

    def test_drop_keeps_what_is_partly_after(self) -> None:
        """
        A batch that ends after the offset stays.
        """
        tail = filled((10, 5), (10, 6))
        self.assertEqual(tail.drop_before(15), 5)
        self.assertEqual((tail.start, tail.size), (10, 6))
        self.assertEqual(tail.drop_before(20), 6)
        self.assertEqual((tail.start, tail.size, tail.end), (20, 0, 20))
        self.assertEqual(tail.read(20, 100, True).size, 0)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(1, 5), st.integers(1, 30)), max_size=12),
        st.data(),
    )
    def test_agrees_with_a_plain_list(
        self, batches: list[tuple[int, int]], data: st.DataObject
    ) -> None:
        """
        Every method agrees with a walk over all batches.
        """
        start = data.draw(st.integers(0, 3))
        tail = filled(*batches, start=start)
        ends = [start]
        for count, _ in batches:
            ends.append(ends[-1] + count)
        shown = data.draw(st.sampled_from(ends))
        tail = filled(*batches, start=start, shown=shown)
        dropped = data.draw(st.sampled_from([end for end in ends if end <= shown]))
        tail.drop_before(dropped)
        held = [
            (base, end, size)
            for base, end, (_, size) in zip(ends, ends[1:], batches, strict=False)
            if end > dropped
        ]
        offset = data.draw(st.integers(dropped, ends[-1]))
        limit = data.draw(st.integers(0, 80))
        at_least_one = data.draw(st.booleans())
        wanted = [size for base, end, size in held if end > offset and end <= shown]
        taken, total = 0, 0
        for size in wanted:
            if total + size > limit and not (at_least_one and not taken):
                break
            taken, total = taken + 1, total + size
            if total > limit:
                break
        fetched = tail.read(offset, limit, at_least_one)
        self.assertEqual([len(piece) for piece in fetched.pieces], wanted[:taken])
        self.assertEqual(fetched.size, total)
        self.assertEqual(tail.available(offset), sum(wanted))
        self.assertEqual(tail.size, sum(size for _, _, size in held))
        self.assertEqual(tail.start, dropped)
