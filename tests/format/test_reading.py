"""
Reading objects by their footers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import NoSuchObject
from kafscale.format import levels
from kafscale.format.bundle import read_bundle
from kafscale.format.errors import CorruptObject, NewerFormat
from kafscale.format.levels import highest_level
from kafscale.format.producers import read_producers
from kafscale.format.reading import (
    ChapterReader,
    list_objects,
    read_footer_of,
    segment_footer,
    slot_footer,
    volume_footer,
)
from kafscale.format.segment import read_footer
from kafscale.format.slot import Seal, read_slot, write_seal
from kafscale.format.trailer import Kind, end_with
from kafscale.format.volume import VolumeRow, read_volume_footer, write_volume_footer
from kafscale.store.memory import MemoryObjectStore
from tests.harness.coroutines import begin, now

TOPIC = UUID(int=7)


class ReadingTestCase(SynchronousTestCase):
    """
    Has a store.
    """

    def setUp(self) -> None:
        """
        It is empty.
        """
        self.objects = MemoryObjectStore()

    def put(self, key: str, data: bytes) -> None:
        """
        Store an object.
        """
        now(self.objects.create(key, [data]))

    def refused(self, awaitable: Awaitable[object], kind: type[Exception]) -> Exception:
        """
        The error.
        """
        error: Exception = self.failureResultOf(begin(awaitable), kind).value
        return error


class FooterTests(ReadingTestCase):
    """
    Footers of the several kinds of objects.
    """

    def test_seal(self) -> None:
        """
        A seal under a slot's key; nothing where there is no object.
        """
        self.put("n/journal/1", write_seal(15))
        self.assertEqual(now(slot_footer(self.objects, "n/journal/1")), Seal(15))
        self.assertIsNone(now(slot_footer(self.objects, "n/journal/2")))

    def test_absent(self) -> None:
        """
        There is no segment and no volume.
        """
        self.refused(segment_footer(self.objects, "n/topics/1"), NoSuchObject)
        self.refused(volume_footer(self.objects, "n/volumes/1"), NoSuchObject)

    def test_a_footer_longer_than_what_is_read_first(self) -> None:
        """
        A volume may have many chapters.
        """
        rows = [VolumeRow(TOPIC, index, 0, 0, 0) for index in range(2000)]
        self.put("many", write_volume_footer(rows))
        self.assertEqual(now(volume_footer(self.objects, "many")), rows)

    def test_damaged(self) -> None:
        """
        The error names the object.
        """
        self.put("n/journal/1", b"no footer at all, but of some length")
        error = self.refused(slot_footer(self.objects, "n/journal/1"), CorruptObject)
        self.assertEqual(str(error), "n/journal/1: The object does not end with a trailer")

    def test_never_satisfied(self) -> None:
        """
        A footer that asks for more again is damaged.
        """
        self.put("k", b"data")
        wants_more: Callable[[bytes, int], str | int] = lambda suffix, size: size + 1  # noqa: E731
        self.refused(read_footer_of(self.objects, "k", 1, wants_more), CorruptObject)

    def test_newer(self) -> None:
        """
        An object of a newer level is refused with one line that has the key,
        the level, and the highest level read; a seal is taken for no slot.
        """
        for kind, read in (
            (Kind.SLOT, slot_footer),
            (Kind.SEAL, slot_footer),
            (Kind.SEGMENT, segment_footer),
            (Kind.VOLUME, volume_footer),
        ):
            name = kind.name.lower()
            highest = highest_level(name)
            self.put(name, end_with(kind, b"what is new here", highest + 1))
            error = self.refused(read(self.objects, name), NewerFormat)
            self.assertEqual(
                str(error),
                f"{name}: level {highest + 1} of the format '{name}' is newer than this version,"
                f" which reads it up to level {highest}: use the version that has written it",
            )

    def test_a_new_level(self) -> None:
        """
        One more line in the table, and the trailer of that level is accepted.
        """
        self.patch(levels, "LEVELS", {**levels.LEVELS, "seal": ["JSON", "more JSON"]})
        self.put("seal", end_with(Kind.SEAL, b'{"sealed_by": 15}', 1))
        self.assertEqual(now(slot_footer(self.objects, "seal")), Seal(15))


class ArbitraryFooterTests(SynchronousTestCase):
    """
    Footers whose checksums are right and whose contents are not.
    """

    READERS = (
        (Kind.SLOT, read_slot),
        (Kind.SEAL, read_slot),
        (Kind.SEGMENT, read_footer),
        (Kind.VOLUME, read_volume_footer),
        (Kind.BUNDLE, lambda data, size: list(read_bundle(data))),
    )

    @given(st.binary(max_size=120), st.binary(max_size=40))
    @settings(max_examples=200, deadline=None)
    def test_refused(self, body: bytes, footer: bytes) -> None:
        """
        They are read, or refused as corrupt; there is no other error.
        """
        for kind, read in self.READERS:
            data = body + end_with(kind, footer)
            with contextlib.suppress(CorruptObject):
                self.assertNotIsInstance(read(data, len(data)), int)

    @given(st.binary(max_size=100))
    @settings(max_examples=200, deadline=None)
    def test_producers(self, data: bytes) -> None:
        """
        So are the states of producers.
        """
        with contextlib.suppress(CorruptObject):
            read_producers(b"\1" + data)
        with contextlib.suppress(CorruptObject):
            read_producers(b"\2" + data)


class ListingTests(ReadingTestCase):
    """
    Listings of more than a page.
    """

    def test_pages(self) -> None:
        """
        All objects, in order, after a key.
        """
        keys = [f"n/{number:05d}" for number in range(2000)]
        for key in keys:
            self.put(key, b"")

        async def listed(after: str) -> list[str]:
            return [info.key async for info in list_objects(self.objects, "n/", after)]

        self.assertEqual(now(listed("")), keys)
        self.assertEqual(now(listed("n/00999")), keys[1000:])
        self.assertEqual(now(listed("n/01999")), [])


class ChapterReaderTests(ReadingTestCase):
    """
    Some bytes of an object, as if they were one.
    """

    def setUp(self) -> None:
        """
        Four bytes of ten.
        """
        super().setUp()
        self.put("whole", b"0123456789")
        self.one = ChapterReader(self.objects, "whole", 3, 4)

    def test_get(self) -> None:
        """
        Nothing of what is around it.
        """
        self.assertEqual(now(self.one.get("any")), b"3456")
        self.assertEqual(now(self.one.get("any", 1)), b"456")
        self.assertEqual(now(self.one.get("any", 1, 2)), b"45")
        self.assertEqual(now(self.one.get("any", 2, 9)), b"56")
        self.assertEqual(now(self.one.get("any", 9, 1)), b"")

    def test_get_suffix(self) -> None:
        """
        Its last bytes, and its size.
        """
        self.assertEqual(now(self.one.get_suffix("any", 2)), (b"56", 4))
        self.assertEqual(now(self.one.get_suffix("any", 64)), (b"3456", 4))

    def test_past_the_end(self) -> None:
        """
        The object is too short: the error names the volume.
        """
        one = ChapterReader(self.objects, "whole", 8, 4)
        for reading in (one.get_suffix("any", 2), one.get("any", 1), one.get("any", 0, 3)):
            error = self.refused(reading, CorruptObject)
            self.assertEqual(str(error), "whole: The volume ends before byte 12")
        self.assertEqual(now(one.get("any", 0, 2)), b"89")
