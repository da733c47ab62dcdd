"""
Segments as they are stored, and what is found in them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.epochs import Epochs
from kafscale.format.errors import CorruptObject
from kafscale.format.producers import ProducerState, write_producers
from kafscale.format.segment import (
    BLOCK_SIZE,
    RUN_SIZE,
    AbortedTransaction,
    Footer,
    cut,
    read_footer,
    write_footer,
)
from kafscale.format.trailer import End, Kind, end_with, read_end
from kafscale.log.partition.producers import ProducerStates
from kafscale.wire.records import HEADER_SIZE, Record, build_batch, iterate, read_batch_header

EPOCHS = Epochs([(0, 0), (3, 10)])


def batch(base: int, count: int = 1, size: int = 0, timestamp: int = 0) -> bytes:
    """
    A batch of C{count} records from offset C{base}, of at least C{size} bytes.
    """
    records = [Record(base + n, timestamp, None, b"") for n in range(count - 1)]
    records.append(Record(base + count - 1, timestamp, None, bytes(size)))
    return build_batch(records)


def segment(sizes: Sequence[int], base: int = 0, timestamps: Sequence[int] = ()) -> list[bytes]:
    """
    Batches of two records each, of these sizes (about) and timestamps.
    """
    times = timestamps or range(1_000, 1_000 + len(sizes))
    return [
        batch(base + 2 * n, 2, size, time)
        for n, (size, time) in enumerate(zip(sizes, times, strict=True))
    ]


def footer_of(batches: list[bytes], producers: ProducerStates | None = None) -> Footer:
    """
    What is read of the footer that was written for these.
    """
    written = write_footer(batches, EPOCHS, (producers or ProducerStates(4096)).snapshot(1))
    footer = read_footer(written, sum(map(len, batches)) + len(written))
    assert isinstance(footer, Footer)
    return footer


class FooterTests(SynchronousTestCase):
    """
    What stands at the end of a segment.
    """

    def test_layout(self) -> None:
        """
        Each field is where the layout says.
        """
        data = batch(256, 2, 0, 4_096)
        rest = b'{"epochs":[[0,0],[3,10]],"transactions":[]}'
        expected = bytes.fromhex(
            "0000000000000100"  # first offset 256
            "0000000000000102"  # end offset 258
            "0000000000001000"  # largest timestamp 4096
            "000000000000004b"  # 75 bytes of batches
        ) + struct.pack(">I", crc32c(data[:61])) + bytes.fromhex(
            "00000001"          # one batch
            "00000001"          # one block
            "0000000d"          # the producers' states
            "0000002b"          # the JSON
            "00000000"          # the block is at position 0
            "00000000"          # its first offset is that of the segment
            "0000000000001000"  # its largest timestamp
            "0200000000"        # the states of no producer
            "0000000000001000"  # from 4096 on producers are new
        ) + rest  # fmt: skip
        written = write_footer([data], EPOCHS, ProducerStates(4096).snapshot(1))
        self.assertEqual(written.hex(), end_with(Kind.SEGMENT, expected).hex())

    def test_transactions(self) -> None:
        """
        Aborted transactions are listed at level 2, whatever level others are written at;
        and so is a footer whose producers have transactions. Others are not at level 2.
        """
        data = segment([10, 20], base=40)
        aborted = [AbortedTransaction(7, 3, 40), AbortedTransaction(2**62, 41, 43)]
        plain = write_producers([], 0, 1)
        ended = write_producers([ProducerState(7, 0, 0, (), 1, -1, 0)], 0, 1)
        for level in (0, 1, 2):
            for listed, producers, expected in (
                (aborted, plain, 2),
                ([], ended, 2),
                ([], plain, min(level, 1)),
            ):
                written = write_footer(data, EPOCHS, producers, listed, level=level, written=9)
                size = sum(map(len, data)) + len(written)
                footer = read_footer(written, size)
                assert isinstance(footer, Footer)
                self.assertEqual(footer.transactions, listed)
                self.assertEqual(footer.written, 9 if expected else -1)
                end = read_end(written, size)
                assert isinstance(end, End)
                self.assertEqual(end.level, expected)
        self.assertIn(b'"transactions":[[7,3,40],', write_footer(data, EPOCHS, b"", aborted))

    def test_broken_transactions(self) -> None:
        """
        What is no list of transactions is refused.
        """
        data = segment([10])
        for wrong in ([7], [[7, 3]], [[7, 3, "x"]], [[7, 3, 40, 5]]):
            written = write_footer(data, EPOCHS, b"", wrong)  # type: ignore[arg-type]
            size = sum(map(len, data)) + len(written)
            self.assertRaises(CorruptObject, read_footer, written, size)

    def test_round_trip(self) -> None:
        """
        All that was written is read.
        """
        producers = ProducerStates(4096)
        batches = segment([10, 20, 30], base=40, timestamps=[5, 9, 7])
        producers.replay(
            read_batch_header(
                build_batch(
                    [Record(44, 7, b"", b"")], producer_id=1, producer_epoch=0, base_sequence=4
                )
            )
        )
        footer = footer_of(batches, producers)
        self.assertEqual((footer.first_offset, footer.end_offset), (40, 46))
        self.assertEqual((footer.max_timestamp, footer.batch_count), (9, 3))
        self.assertEqual(footer.data_size, sum(map(len, batches)))
        self.assertEqual(footer.data_crc, crc32c(b"".join(batch[:61] for batch in batches)))
        self.assertEqual((footer.epochs, footer.transactions), (EPOCHS, []))
        restored = ProducerStates(4096)
        restored.restore(footer.producers)
        self.assertEqual(restored.all(), producers.all())

    def test_short_suffix(self) -> None:
        """
        From a suffix that is too short it is known how long it must be.
        """
        data = batch(0)
        written = write_footer([data], EPOCHS, ProducerStates(4096).snapshot(1))
        size = len(data) + len(written)
        self.assertEqual(read_footer(written[1:], size), len(written))
        self.assertEqual(read_footer(written[-30:], size), len(written))
        self.assertIsInstance(read_footer(data + written, size), Footer)

    def test_not_this_object(self) -> None:
        """
        A footer that does not make up the object with its batches is refused,
        and so are other kinds of objects and damaged bytes.
        """
        data = batch(0)
        written = write_footer([data], EPOCHS, ProducerStates(4096).snapshot(1))
        size = len(data) + len(written)
        self.assertRaises(CorruptObject, read_footer, written, size + 1)
        self.assertRaises(CorruptObject, read_footer, written, size - 1)
        for at in range(len(written)):
            torn = bytearray(data + written)
            torn[len(data) + at] ^= 0x80
            self.assertRaises(CorruptObject, read_footer, bytes(torn), size)
        for kind in (Kind.SLOT, Kind.SEGMENT):
            other = end_with(kind, b"")
            self.assertRaises(CorruptObject, read_footer, other, len(other))

    def test_no_gaps(self) -> None:
        """
        No segment is made of nothing, of batches that leave a gap between
        their offsets, or of two batches in one string.
        """
        for batches in (
            [],
            [batch(0), batch(2)],
            [batch(0), batch(0)],
            [batch(0) + batch(1)],
        ):
            with self.assertRaises(ValueError):
                write_footer(batches, EPOCHS, ProducerStates(4096).snapshot(1))


class RunTests(SynchronousTestCase):
    """
    The units of reading.
    """

    def test_small_segment(self) -> None:
        """
        A small segment is one run.
        """
        footer = footer_of(segment([100] * 5, base=10))
        for offset in (10, 15, 19):
            self.assertEqual(footer.locate(offset), (0, footer.data_size))
        self.assertRaises(ValueError, footer.locate, 20)
        self.assertEqual(footer.locate(0), (0, footer.data_size))

    def test_up_to_a_mebibyte(self) -> None:
        """
        A run takes as many blocks as fit into 1 MiB, and blocks are of whole
        batches.
        """
        batches = segment([100_000] * 25)
        footer = footer_of(batches)
        size = len(batches[0])
        self.assertEqual(
            footer.runs(), [(0, 10 * size), (10 * size, 20 * size), (20 * size, 25 * size)]
        )
        self.assertEqual(footer.locate(19), (0, 10 * size))
        self.assertEqual(footer.locate(20), (10 * size, 20 * size))
        self.assertEqual(footer.offset_at(10 * size), 20)
        self.assertEqual(footer.offset_at(25 * size), 50)

    def test_large_batch(self) -> None:
        """
        A batch larger than a run is a run of its own, even if a small one
        stands before it in what would be its block.
        """
        batches = segment([10, RUN_SIZE + 10, 10, RUN_SIZE - 200, 10])
        ends = [sum(map(len, batches[:n])) for n in range(6)]
        self.assertEqual(
            footer_of(batches).runs(),
            [(0, ends[1]), (ends[1], ends[2]), (ends[2], ends[4]), (ends[4], ends[5])],
        )

    def test_blocks(self) -> None:
        """
        The index has one entry for each 64 KiB: a segment of 8 MiB in small
        batches needs about 2 KiB.
        """
        batches = segment([1_000] * 8_000)
        written = write_footer(batches, EPOCHS, ProducerStates(4096).snapshot(1))
        self.assertLess(len(written), 2_300)
        self.assertGreater(len(written), 16 * (sum(map(len, batches)) // (BLOCK_SIZE + 1_100)))

    @given(
        st.lists(
            st.sampled_from([1, 3_000, 40_000, BLOCK_SIZE, 400_000, RUN_SIZE, RUN_SIZE + 1]),
            min_size=1,
            max_size=12,
        ),
        st.integers(0, 2**60),
    )
    @settings(max_examples=40, deadline=None)
    def test_any_segment(self, sizes: list[int], base: int) -> None:
        """
        The runs make up all batches, in order; each holds the offsets that are
        located in it, and is over 1 MiB only for a single batch.
        """
        batches = segment(sizes, base)
        data = b"".join(batches)
        footer = footer_of(batches)
        self.assertEqual(b"".join(data[start:stop] for start, stop in footer.runs()), data)
        offset = base
        for start, stop in footer.runs():
            headers = [header for _, header in iterate(data, start, stop)]
            if len(headers) > 1:
                self.assertLessEqual(stop - start, RUN_SIZE)
            self.assertEqual(footer.offset_at(start), offset)
            for header in headers:
                self.assertEqual(header.base_offset, offset)
                self.assertEqual(footer.locate(offset), (start, stop))
                self.assertEqual(footer.locate(header.last_offset), (start, stop))
                offset = header.next_offset
        self.assertEqual(footer.end_offset, offset)


class TimeTests(SynchronousTestCase):
    """
    Finding runs by time.
    """

    def setUp(self) -> None:
        """
        Three runs of three batches, with out-of-order timestamps.
        """
        times = [10, 30, 20, 25, 15, 5, 40, 50, 45]
        self.footer = footer_of(segment([340_000] * 9, timestamps=times))
        self.runs = self.footer.runs()

    def test_reaches(self) -> None:
        """
        Each run is asked by where it ends, and answers for itself alone: one
        time far in the future does not make all runs after it candidates.
        """
        stops = [stop for _, stop in self.runs]
        self.assertEqual([self.footer.reaches(stop, 28) for stop in stops], [True, False, True])
        self.assertEqual([self.footer.reaches(stop, 25) for stop in stops], [True, True, True])


class CutTests(SynchronousTestCase):
    """
    What of a run is answered.
    """

    def setUp(self) -> None:
        """
        Batches of 2 records: offsets 10-11, 12-13, 14-15.
        """
        batches = segment([100, 200, 300], base=10)
        self.run_ = b"".join(batches)
        self.ends = [sum(map(len, batches[:n])) for n in range(4)]

    def test_all(self) -> None:
        """
        What fits is answered whole, from the batch that contains the offset.
        """
        size = len(self.run_)
        for offset, start in ((10, 0), (11, 0), (12, 1), (13, 1), (14, 2), (15, 2)):
            self.assertEqual(cut(self.run_, offset, size, False), (self.ends[start], size))

    def test_after_the_end(self) -> None:
        """
        After the last record there is nothing.
        """
        size = len(self.run_)
        self.assertEqual(cut(self.run_, 16, size, True), (size, size))

    def test_whole_batches(self) -> None:
        """
        No batch is cut in two.
        """
        for limit, stop in (
            (self.ends[1], 1),
            (self.ends[2] - 1, 1),
            (self.ends[2], 2),
            (self.ends[3] - 1, 2),
            (self.ends[3], 3),
        ):
            self.assertEqual(cut(self.run_, 10, limit, False), (0, self.ends[stop]))

    def test_at_least_one(self) -> None:
        """
        A first batch over the limit is answered if something must be.
        """
        self.assertEqual(cut(self.run_, 13, 5, True), (self.ends[1], self.ends[2]))
        self.assertEqual(cut(self.run_, 13, 5, False), (self.ends[1], self.ends[1]))
        self.assertEqual(cut(self.run_, 15, 5, True), (self.ends[2], self.ends[3]))

    def test_damaged(self) -> None:
        """
        A length that leads nowhere ends the walk.
        """
        for length in (0, -12, -(2**31), 2**31 - 1, HEADER_SIZE - 13):
            torn = bytearray(self.run_)
            torn[self.ends[1] + 8 : self.ends[1] + 12] = struct.pack(">i", length)
            self.assertRaises(CorruptObject, cut, bytes(torn), 15, 50, True)
        self.assertRaises(CorruptObject, cut, b"", 0, 50, True)
        self.assertRaises(CorruptObject, cut, self.run_[:-1], 15, 50, True)
