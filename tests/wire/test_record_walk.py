"""
Walks over the records of a batch: by the compiled walker and its twin alike.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import InvalidRecord
from kafscale.wire import plain_walker, record_walk
from kafscale.wire.batches import HEADER_SIZE, BatchHeader, Record, read_batch_header
from kafscale.wire.building import build_batch
from kafscale.wire.compression import Codec, deflate
from kafscale.wire.record_walk import (
    NO_RULES,
    Flaw,
    Rules,
    Unreadable,
    Walk,
    find,
    walk,
    walk_batch,
    walk_steps,
)
from kafscale.wire.steps import Steps
from tests.wire.batches import LIMIT, RECORDS, changed
from tests.wire.raw_records import field, header_of, raw_record, varint

THREE = b"".join(raw_record(n) for n in range(3))
LAST = (1 << 63) - 1


def run(steps: Steps[Walk]) -> tuple[Walk, int, int]:
    """
    Run steps to their end; return the result, how many turns they took, and how many
    functions they wanted called in a thread.
    """
    turns = calls = 0
    sent: Any = None
    while True:
        try:
            wanted = steps.send(sent)
        except StopIteration as end:
            return end.value, turns, calls
        turns += 1
        sent = None
        if wanted is not None:
            calls += 1
            try:
                sent = wanted()
            except InvalidRecord as error:
                steps.throw(error)


def in_steps(batch: bytes, header: BatchHeader, rules: Rules, limit: int) -> Walk:
    """
    Walk in steps.
    """
    return run(walk_steps(batch, header, rules, limit))[0]


class WalkerContract:
    """
    What both walkers do.
    """

    mode: str
    make: Callable[..., record_walk.Walker]
    addCleanup: Any
    assertEqual: Any
    assertTrue: Any
    assertFalse: Any
    assertRaises: Any

    def setUp(self) -> None:
        """
        Use this walker.
        """
        self.addCleanup(record_walk.choose, "require" if record_walk.is_compiled() else "off")
        self.assertEqual(record_walk.choose(self.mode), self.mode == "require")

    def verdict(self, body: bytes, count: int, rules: Rules = NO_RULES) -> Walk:
        """
        Walk over records that are fed in one piece, and byte by byte: the verdicts are
        equal.
        """
        header = header_of(count)
        found = walk(body, header, rules)
        it = record_walk.walker(header, rules)
        for at in range(len(body)):
            it.feed(body[at : at + 1])
        self.assertEqual(Walk(*it.finish()), found)
        return found

    def test_records(self) -> None:
        """
        The records are counted; of those with the largest timestamp the first is named.
        """
        body = b"".join(raw_record(n, time) for n, time in enumerate((5, 9, -3, 9)))
        self.assertEqual(self.verdict(body, 4), Walk(4, 0, len(body), 1009, 1, 0, []))

    def test_no_timestamps(self) -> None:
        """
        Where no record has a timestamp there is no largest one.
        """
        found = walk(THREE, header_of(3, base_timestamp=-1))
        self.assertEqual(found[3:], (-1, -1, 0, []))

    def test_fields(self) -> None:
        """
        Null and empty keys, values and headers can be read, and numbers of any width.
        """
        headers = varint(2) + field(b"") + field(None) + field(b"n" * 300) + field(b"v" * 70)
        body = (
            raw_record(0, key=None, value=None)
            + raw_record(1, key=b"", value=b"", headers=headers)
            + raw_record(2, key=b"k" * 100, value=b"v" * 20_000, headers=headers)
            + varint(8)[:1].replace(b"\x10", b"\x90\x80\x00")  # a size in three bytes
            + raw_record(3)[1:]
        )
        self.assertEqual(self.verdict(body, 4), Walk(4, 0, len(body), 1000, 0, 0, []))

    def test_unreadable(self) -> None:
        """
        What cannot be read is named, with the position of its record.
        """
        size = len(THREE) // 3
        good, end = THREE[: 2 * size], 2 * size
        cases = [
            (THREE[:-1], Unreadable.TRUNCATED),
            (THREE[: end + 1], Unreadable.TRUNCATED),
            (good + b"\x80", Unreadable.TRUNCATED),
            (good + raw_record(2, size=9), Unreadable.FIELDS),
            (good, Unreadable.MISSING),
            (good + b"\xff\xff\xff\xff\x10", Unreadable.VARINT),
            (good + b"\x80\x80\x80\x80\x80", Unreadable.VARINT),
            (good + b"\x1e\x00" + b"\xff" * 9 + b"\x02", Unreadable.VARINT),
            (good + varint(-1), Unreadable.SIZE),
            (good + varint(0), Unreadable.FIELDS),
            (good + varint(1) + b"\x00", Unreadable.FIELDS),
            (good + raw_record(2, size=7), Unreadable.FIELDS),
            (good + raw_record(2, size=9) + b"\x00", Unreadable.FIELDS),
            (good + b"\x10\x00\x00\x04\x7e" + b"k" * 20, Unreadable.FIELDS),
            (good + b"\xff\x01\x00\x00\x04\xfe\x7f", Unreadable.SIZE),
            (good + b"\x80\x01\x00\x00\x04\xfe\x7f", Unreadable.FIELDS),
            (good + raw_record(2, headers=varint(-1)), Unreadable.HEADERS),
            (good + raw_record(2, headers=varint(1) + field(None) + b"\x00"), Unreadable.HEADERS),
            (good + raw_record(2, headers=varint(2) + field(b"") * 2), Unreadable.FIELDS),
            (good + raw_record(2, headers=varint(1 << 30)), Unreadable.FIELDS),
        ]
        for body, error in cases:
            with self.subTest(body=body):  # type: ignore[attr-defined]
                found = self.verdict(body, 3)
                self.assertEqual(found[:3], (2, error, end))
                self.assertRaises(InvalidRecord, found.check_readable)

    def test_trailing(self) -> None:
        """
        Bytes after the last record make a batch unreadable, and more are not wanted.
        """
        found = self.verdict(THREE + b"\x00", 3)
        self.assertEqual(found[:3], (3, Unreadable.TRAILING, len(THREE)))
        it = record_walk.walker(header_of(3))
        self.assertTrue(it.feed(THREE))
        self.assertFalse(it.feed(b"\x00"))
        self.assertFalse(it.feed(THREE))
        self.assertEqual(self.verdict(b"\x00", 0)[:3], (0, Unreadable.TRAILING, 0))
        self.assertEqual(self.verdict(b"\x00", -5)[:3], (0, Unreadable.TRAILING, 0))

    def test_flaws(self) -> None:
        """
        Each record at fault is listed with its first flaw.
        """
        body = b"".join(
            (
                raw_record(0, -1),
                raw_record(1, 0),
                raw_record(2, 5000, key=None),
                raw_record(3, 11),
                raw_record(5, 10, key=b""),
                raw_record(5, LAST - 999),
                raw_record(-6, 1, key=None),
                raw_record(7, -1001),
            )
        )
        found = self.verdict(body, 8, Rules(True, 1000, 1010))
        expected = [
            (0, Flaw.TIME_RANGE, 999),
            (2, Flaw.NO_KEY, 0),
            (3, Flaw.TIME_RANGE, 1011),
            (4, Flaw.OFFSET, 5),
            (5, Flaw.TIME_OVERFLOW, LAST - 999),
            (6, Flaw.NO_KEY, 0),
        ]
        self.assertEqual(found.flaws, expected)
        self.assertEqual([*found.flawed()], expected)
        self.assertEqual(found[:6], (8, 0, len(body), 6000, 2, 6))

    def test_limits_of_int64(self) -> None:
        """
        Timestamps at the limits of INT64 do not overflow; beyond them they do.
        """
        for base, delta, overflows in (
            (LAST, 0, False),
            (LAST, 1, True),
            (0, LAST, False),
            (-LAST - 1, 0, False),
            (-LAST - 1, -1, True),
            (-1, -LAST - 1, True),
            (LAST, -LAST - 1, False),
        ):
            found = walk(raw_record(0, delta), header_of(1, base))
            flaws = [(0, Flaw.TIME_OVERFLOW, delta)] if overflows else []
            self.assertEqual(found.flaws, flaws)
            self.assertEqual(found.max_timestamp, -1 if overflows else max(-1, base + delta))

    def test_flaws_are_bounded(self) -> None:
        """
        All flaws are counted, and the first are listed.
        """
        body = b"".join(raw_record(n, key=None) for n in range(100))
        found = self.verdict(body, 100, Rules(need_keys=True, max_flaws=17))
        self.assertEqual(found.flaw_count, 100)
        self.assertEqual(found.flaws, [(n, Flaw.NO_KEY, 0) for n in range(17)])
        found = self.verdict(body, 100, Rules(need_keys=True))
        self.assertEqual(len(found.flaws), 100)

    def test_find(self) -> None:
        """
        The first record at or after a timestamp is found, from an offset on. What follows it
        is not looked at.
        """
        body = b"".join(raw_record(n, time) for n, time in enumerate((0, 20, 10, 20)))
        batch = bytes(HEADER_SIZE) + body + b"\xff" * 20
        header = header_of(5, size=len(body) + 20)
        for timestamp, first, expected in (
            (-LAST, 0, (1000, 0)),
            (1000, 0, (1000, 0)),
            (1001, 0, (1020, 1)),
            (1001, 2, (1010, 2)),
            (1011, 2, (1020, 3)),
        ):
            self.assertEqual(find(batch, header, timestamp, LIMIT, first), expected)
        self.assertRaises(InvalidRecord, find, batch, header, 1021, LIMIT)
        whole = header_of(4, size=len(body))
        self.assertEqual(find(batch, whole, 1021, LIMIT), None)
        self.assertEqual(find(batch, whole, 1000, LIMIT, 4), None)

    def test_batches(self) -> None:
        """
        Batches in every codec are walked over while they are inflated, at once or in
        steps, large ones too.
        """
        large = [Record(n, 1000 + n % 777, b"%d" % n, b"v" * (n % 50)) for n in range(30_000)]
        for codec in Codec:
            for records, largest in ((RECORDS, (3_000, 1)), (large, (1776, 776))):
                batch = build_batch(records, codec=codec)
                header = read_batch_header(batch)
                found = walk_batch(batch, header, NO_RULES, 1 << 24)
                self.assertEqual((found.records, found.error), (len(records), 0))
                self.assertEqual(found[3:], (*largest, 0, []))
                self.assertEqual(in_steps(batch, header, NO_RULES, 1 << 24), found)

    def test_damaged_batches(self) -> None:
        """
        Records that cannot be inflated raise an error, those that inflate past the limit
        one that names it, and those that cannot be read are reported.
        """
        limit = len(THREE) * 1000 - 1
        for codec in Codec:
            packed = deflate(codec, THREE * 1000)
            batch = bytes(HEADER_SIZE) + packed
            header = header_of(3, codec=codec, size=len(packed))
            whole = header._replace(record_count=3000)
            cut = header._replace(length=header.length - 3, record_count=3000)
            for ask in (walk_batch, in_steps):
                with self.subTest(codec=codec, ask=ask):  # type: ignore[attr-defined]
                    found = ask(batch, header, NO_RULES, LIMIT)
                    self.assertEqual(found[:3], (3, Unreadable.TRAILING, len(THREE)))
                    error = self.assertRaises(InvalidRecord, ask, batch, whole, NO_RULES, limit)
                    self.assertTrue(str(limit) in str(error))
                    if codec:
                        self.assertRaises(InvalidRecord, ask, batch, cut, NO_RULES, LIMIT)


def pieces_of(body: bytes, cuts: list[int]) -> Iterator[bytes]:
    """
    Yield the bytes in pieces that end at these positions.
    """
    last = 0
    for cut in [*sorted(cuts), len(body)]:
        yield body[last:cut]
        last = max(last, cut)


class PlainWalkerTests(WalkerContract, SynchronousTestCase):
    """
    The walker in Python.
    """

    mode = "off"
    make = plain_walker.Walker

    def test_turns(self) -> None:
        """
        It walks in turns over a few records each, and inflates in a thread what is large.
        """
        records = [Record(n, 0, None, b"v" * 25) for n in range(20_000)]
        for codec, calls in ((Codec.NONE, 0), (Codec.ZSTD, 1), (Codec.LZ4, 1)):
            batch = build_batch(records, codec=codec)
            found, turns, called = run(
                walk_steps(batch, read_batch_header(batch), NO_RULES, 1 << 24)
            )
            self.assertEqual(found.records, 20_000)
            self.assertTrue(150 < turns < 200, turns)
            self.assertTrue(called >= calls, called)

    def test_long_record_in_steps(self) -> None:
        """
        A record that is longer than a step is put together once.
        """
        batch = build_batch([Record(0, 5, b"k", bytes(3 << 20))])
        found, turns, _ = run(walk_steps(batch, read_batch_header(batch), NO_RULES, 1 << 24))
        self.assertEqual(found.records, 1)
        self.assertTrue(700 < turns < 800, turns)


MAKERS: list[Callable[..., record_walk.Walker]] = [plain_walker.Walker]

if record_walk.is_compiled():
    # Imported only where KAFSCALE_COMPILED permits it.
    from kafscale.wire._walker import Walker as CompiledWalker

    MAKERS.append(CompiledWalker)

    class CompiledWalkerTests(WalkerContract, SynchronousTestCase):
        """
        The compiled walker.
        """

        mode = "require"
        make = CompiledWalker

        def test_turns(self) -> None:
            """
            What is short is done at once, all else in one call in a thread.
            """
            records = [Record(n, 0, None, b"v" * 25) for n in range(60_000)]
            for codec in Codec:
                for count, calls in ((2_000, 0), (60_000, 1)):
                    batch = build_batch(records[:count], codec=codec)
                    found, turns, called = run(
                        walk_steps(batch, read_batch_header(batch), NO_RULES, 1 << 24)
                    )
                    self.assertEqual((found.records, found.error), (count, 0))
                    self.assertEqual((turns, called), (calls, calls))

        def test_other_threads_run(self) -> None:
            """
            While a large piece is walked over, other threads run, and the piece cannot be
            resized; two threads cannot feed one walker.
            """
            piece = bytearray(raw_record(0, value=b"") * 8_000_000)
            it = record_walk.walker(header_of(8_000_000), NO_RULES)
            outcome: list[Any] = []
            thread = Thread(target=lambda: outcome.append(it.feed(memoryview(piece))))
            thread.start()
            refused = 0
            while thread.is_alive():
                for attempt in (lambda: it.feed(b""), it.finish, lambda: piece.append(0)):
                    try:
                        attempt()
                    except (BufferError, RuntimeError):
                        refused += 1
                if not outcome and not refused:
                    continue
                thread.join()
            self.assertEqual(outcome, [True])
            self.assertTrue(refused)

        def test_arguments(self) -> None:
            """
            What is no buffer, or no number of 64 bits, is refused.
            """
            it = record_walk.walker(header_of(1))
            self.assertRaises(TypeError, it.feed, "text")
            self.assertRaises(BufferError, it.feed, memoryview(b"abcd")[::2])
            self.assertRaises(TypeError, CompiledWalker, 1)
            self.assertRaises(OverflowError, self.make, 1, 1 << 63, False, 0, 0, 0)
            self.assertRaises(OverflowError, self.make, 1, 0, False, 0, 0, 0, 1 << 63)


class AgreementTests(SynchronousTestCase):
    """
    Agreement between the walkers.
    """

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 7),
                st.integers(-20, 20),
                st.none() | st.binary(max_size=3),
                st.none() | st.binary(max_size=90),
                st.sampled_from([b"\x00", b"\x02\x02n\x01", b"\x04\x00\x00\x02n\x02v", b"\x01"]),
                st.none() | st.integers(-1, 90),
            ),
            max_size=9,
        ),
        st.integers(-1, 9),
        st.binary(max_size=2),
        st.lists(st.integers(0, 300), max_size=4),
        st.none() | st.tuples(st.integers(-10, 10), st.integers(0, 3)),
    )
    @settings(max_examples=200, deadline=None)
    def test_pieces(
        self,
        rows: list[Any],
        count: int,
        rest: bytes,
        cuts: list[int],
        sought: tuple[int, int] | None,
    ) -> None:
        """
        The verdict on any records is the same, however they are cut into pieces, and that of the
        compiled walker is that of its twin.
        """
        body = b"".join(raw_record(*row) for row in rows) + rest
        arguments = (count, 0, True, -10, 10, 4, *(sought or ()))
        expected = plain_walker.Walker(*arguments)
        expected.feed(body)
        verdict = expected.finish()
        for make in MAKERS:
            it = make(*arguments)
            for piece in pieces_of(body, cuts):
                it.feed(piece)
            self.assertEqual(it.finish(), verdict)


class RuleTests(SynchronousTestCase):
    """
    The numbers that both walkers use.
    """

    def test_numbers(self) -> None:
        """
        The twin has the numbers of the enumerations.
        """
        for kind in (Unreadable, Flaw):
            for member in kind:
                self.assertEqual(getattr(plain_walker, f"_{member.name}"), member)

    def test_not_built(self) -> None:
        """
        Where the compiled walker was not built its twin takes over, unless that is refused.
        """
        self.addCleanup(record_walk.choose, "require" if record_walk.is_compiled() else "off")
        absent = patch.dict(sys.modules, {"kafscale.wire._walker": None})
        absent.start()
        self.addCleanup(absent.stop)
        error = self.assertRaises(record_walk.NotBuilt, record_walk.choose, "require")
        self.assertIn("kafscale.wire._walker", str(error))
        for mode in ("auto", "off"):
            self.assertFalse(record_walk.choose(mode))
            self.assertFalse(record_walk.is_compiled())

    def test_header_is_not_believed(self) -> None:
        """
        The header's largest timestamp and size of records have no influence.
        """
        batch = build_batch(RECORDS)
        wrong = changed(batch, 35, struct.pack(">q", 7))
        header = read_batch_header(wrong)
        self.assertEqual(walk_batch(wrong, header, NO_RULES, LIMIT).max_timestamp, 3_000)
