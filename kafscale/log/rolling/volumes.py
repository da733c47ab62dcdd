"""
Volumes: small segments of many partitions in one object.

A broker that leads thousands of partitions has little of each in memory when
the memory is full. A segment for each would be a request for each, and requests
would grow with the number of partitions. So small segments become the chapters
of a volume, which is one request. The partition's record says where its
chapters are. When there are many of them, or they are large, the next roll
reads them and writes them again, with the records that came after them, as one
segment that is an object of its own (`kafscale.log.rolling.writer`).

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
from kafscale.errors import NoSuchObject, ObjectExists, StoreError, StoreUnavailable
from kafscale.format import object_keys
from kafscale.format.partition import Chapter
from kafscale.format.volume import VolumeRow, write_volume_footer
from kafscale.interfaces import IObjectStore

MAX_CHAPTERS = 32
"""How many segments of a partition may be chapters."""

MAX_CHAPTER_BYTES = 4 << 20
"""Bytes from which a segment is an object of its own."""

VOLUME_BYTES = 8 << 20
"""Bytes of records with which a volume is full."""

VOLUME_CHAPTERS = 1000
"""Chapters with which a volume is full."""

GRACE_SECONDS = 60.0
"""Seconds for which a volume that no record names is kept, for reads that are
under way."""


class Volumes:
    """
    The volumes of one incarnation.
    """

    def __init__(
        self, objects: IObjectStore, clock: IReactorTime, namespace: str, incarnation: int
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._namespace = namespace
        self._incarnation = incarnation
        self._next_number = 0
        self._references: Counter[int] = Counter()  # chapters of each that records name
        self._reserved: set[int] = set()  # volumes that records may be about to name
        self._deletions: DueQueue[int] = DueQueue(clock, clock.seconds, self._delete)

    def reserve(self) -> int:
        """
        Reserve the number of a new volume. Call L{named} once every commit that
        may name the volume has a known outcome.
        """
        number, self._next_number = self._next_number, self._next_number + 1
        self._reserved.add(number)
        return number

    async def create(
        self, number: int, segments: Sequence[tuple[UUID, int, int, Sequence[bytes]]]
    ) -> list[Chapter]:
        """
        Store a volume.

        @param number: As reserved.
        @param segments: Topic id, partition index, base offset and all pieces of
            each segment.
        @return: A chapter for each segment.
        @raise StoreUnavailable: the store refused the volume as one that exists, and has
            no such volume.
        """
        rows = []
        position = 0
        for topic_id, index, base, pieces in segments:
            size = sum(map(len, pieces))
            rows.append(VolumeRow(topic_id, index, base, position, size))
            position += size
        data = [piece for *_, pieces in segments for piece in pieces]
        footer = write_volume_footer(rows)
        key = object_keys.volume(self._namespace, self._incarnation, number)
        try:
            await self._objects.create(key, [*data, footer])
        except ObjectExists:
            # By an earlier attempt whose answer was lost, if the store is right.
            if not await self._is_stored(key, position, footer):
                raise StoreUnavailable(f"{key} was refused as existing, and is not there") from None
        return [
            Chapter(row.base, self._incarnation, number, row.position, row.size) for row in rows
        ]

    async def _is_stored(self, key: str, size: int, footer: bytes) -> bool:
        try:
            found, whole = await self._objects.get_suffix(key, len(footer))
        except NoSuchObject:
            return False
        return found == footer and whole == size + len(footer)

    def named(self, number: int, chapters: int) -> None:
        """
        Note how many chapters of a volume records name. No other chapter of it
        will ever be named.
        """
        self._reserved.discard(number)
        self._references[number] = chapters
        self._check_references(number)

    def dropped(self, chapters: Iterable[Chapter]) -> None:
        """
        Note that records do not name these chapters any more.
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
        # If this fails, `kafscale.log.retention.orphans` finds the volume.
        Deferred.fromCoroutine(self._deleted(number)).addErrback(lambda _: None)

    async def _deleted(self, number: int) -> None:
        with suppress(StoreError):
            await self._objects.delete(
                [object_keys.volume(self._namespace, self._incarnation, number)]
            )

    def is_settled(self, incarnation: int, number: int) -> bool:
        """
        Return whether a volume is this incarnation's, and no record is about to
        name it any more.
        """
        return incarnation == self._incarnation and number not in self._reserved

    def abandon(self) -> None:
        """
        Delete nothing more.
        """
        self._deletions.stop()
