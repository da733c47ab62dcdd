"""
Small segments of many partitions, bound into one object.

Who leads thousands of partitions has little of each in memory when the memory
is full. A segment of each would be a request for each, and the requests would
grow with the partitions. So small segments go together, as the chapters of a
volume: one request. The partition's record says where its chapters are; when
they are many, or much, the next roll reads them and writes them once more,
with what came after them, as one segment that is an object of its own
(`kafscale.log.rolling.writer`).

The layout of a volume is in `kafscale.format.volume`. Which chapters count is
decided by the partitions' records alone: only the leader of a partition names a
chapter, in a commit that compares the record's revision. So a volume that no
record names, and whose writer is not about to name it, is garbage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from kafscale.concurrency.due_queue import DueQueue
from kafscale.errors import ObjectExists, StoreError
from kafscale.format import object_keys
from kafscale.format.partition import Chapter
from kafscale.format.volume import VolumeRow, write_volume_footer
from kafscale.interfaces import IObjectStore

MAX_CHAPTERS = 32
"""So many of a partition's segments may be in volumes."""

MAX_CHAPTER_BYTES = 4 << 20
"""What has so many bytes is worth an object of its own."""

VOLUME_BYTES = 8 << 20
"""A volume is full with so many bytes,"""

VOLUME_CHAPTERS = 1000
"""or with so many chapters."""

GRACE_SECONDS = 60.0
"""Seconds for which an unneeded volume stays: somebody may be reading."""


class Volumes:
    """
    Those that one incarnation makes.
    """

    def __init__(
        self, objects: IObjectStore, clock: IReactorTime, namespace: str, incarnation: int
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._namespace = namespace
        self._incarnation = incarnation
        self._next_number = 0
        self._references: Counter[int] = Counter()  # how many chapters of each are in records
        self._reserved: set[int] = set()  # those that records may be about to name
        self._deletions: DueQueue[int] = DueQueue(clock, clock.seconds, self._delete)

    def reserve(self) -> int:
        """
        The number of a new one, which is to be L{named} as soon as nothing
        that might name it is under way or in doubt.
        """
        number, self._next_number = self._next_number, self._next_number + 1
        self._reserved.add(number)
        return number

    async def create(
        self, number: int, segments: Sequence[tuple[UUID, int, int, Sequence[bytes]]]
    ) -> list[Chapter]:
        """
        Make the volume with this number of these: topic id, index, base offset
        and all pieces of each.
        """
        rows = []
        position = 0
        for topic_id, index, base, pieces in segments:
            size = sum(map(len, pieces))
            rows.append(VolumeRow(topic_id, index, base, position, size))
            position += size
        data = [piece for *_, pieces in segments for piece in pieces]
        key = object_keys.volume(self._namespace, self._incarnation, number)
        with suppress(ObjectExists):  # by an attempt of ours whose answer was lost
            await self._objects.create(key, [*data, write_volume_footer(rows)])
        return [
            Chapter(row.base, self._incarnation, number, row.position, row.size) for row in rows
        ]

    def named(self, number: int, chapters: int) -> None:
        """
        So many chapters of a volume are in records, and the others never will
        be.
        """
        self._reserved.discard(number)
        self._references[number] = chapters
        self._check_references(number)

    def dropped(self, chapters: Iterable[Chapter]) -> None:
        """
        No record has these any more.
        """
        for chapter in chapters:
            number = chapter.number
            if chapter.incarnation == self._incarnation and number in self._references:
                self._references[number] -= 1
                self._check_references(number)

    def _check_references(self, number: int) -> None:
        if self._references[number] <= 0:
            del self._references[number]
            self._deletions.put(number, self._clock.seconds() + GRACE_SECONDS)

    def _delete(self, number: int) -> None:
        # What fails is left over, for `kafscale.log.retention.orphans`.
        Deferred.fromCoroutine(self._deleted(number)).addErrback(lambda _: None)

    async def _deleted(self, number: int) -> None:
        with suppress(StoreError):
            await self._objects.delete(
                [object_keys.volume(self._namespace, self._incarnation, number)]
            )

    def is_settled(self, incarnation: int, number: int) -> bool:
        """
        Whether it is a volume of this incarnation that no record is about to
        name any more.
        """
        return incarnation == self._incarnation and number not in self._reserved

    def abandon(self) -> None:
        """
        Delete nothing more.
        """
        self._deletions.stop()
