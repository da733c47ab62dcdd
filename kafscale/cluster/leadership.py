"""
Who leads what, and bringing it about.

A broker that is alone leads every partition: those that it finds when it
starts, and those that appear in its image later. What was deleted it removes,
also when it was interrupted in that before.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale.cluster import keys
from kafscale.cluster.image import Image
from kafscale.errors import UnknownTopicId
from kafscale.interfaces import Change, Delete, ILog, IMetadataStore, Topic

AGAIN = 1.0
"""Seconds after which what failed is tried again."""


class Leaderships:
    """
    What this broker leads, kept in step with the image.
    """

    _log = Logger()

    def __init__(self, store: IMetadataStore, image: Image, log: ILog, clock: IReactorTime) -> None:
        self._store = store
        self._image = image
        self._partitions = log
        self._clock = clock
        # One step at a time: a topic that is deleted while it is claimed is
        # claimed first.
        self._steps = DeferredLock()
        self._running = False

    async def start(self) -> None:
        """
        Lead all partitions that there are, and from now on those that appear.

        @raise Exception: what a partition's recovery raised: the broker cannot
            serve its data.
        """
        self._running = True
        self._image.on_change(self._changed)
        await self.recover()
        entries, _ = await self._store.range(keys.TOMBSTONES)
        for entry in entries:
            self._remove(UUID(entry.key.removeprefix(keys.TOMBSTONES)))

    async def recover(self) -> None:
        """
        Lead all partitions that there are, as a new incarnation.
        """
        wanted = [
            (topic.topic_id, index)
            for topic in self._image.topics()
            for index in range(topic.partitions)
        ]
        async with self._steps:
            await self._partitions.recover(wanted)

    def stop(self) -> None:
        """
        Follow the image no more.
        """
        self._running = False

    async def led(self, topic_id: UUID, indexes: Sequence[int]) -> None:
        """
        Return when all these partitions of a topic have a leader.

        @raise UnknownTopicId: the topic is deleted.
        """
        wanted = [(topic_id, index) for index in indexes]
        pause = 0.0  # at first: the image may be a moment behind
        while any(self._image.leadership(*where).leader < 0 for where in wanted):
            self._image.topic_by_id(topic_id)  # raises if it is gone
            async with self._steps:
                await self._partitions.claim(wanted)
            await deferLater(self._clock, pause)
            # Who was replaced claims nothing until it is back.
            pause = min(AGAIN, 2 * pause + 0.005)

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if not self._running:
                return
            if change.key.startswith(keys.TOPICS) and change.entry is not None:
                topic_id = UUID(change.key.removeprefix(keys.TOPICS))
                topic = self._image.topic_by_id(topic_id)
                self._partitions.configured(topic_id, topic.partitions)
                missing = [
                    index
                    for index in range(topic.partitions)
                    if self._image.leadership(topic_id, index).leader < 0
                ]
                if missing:
                    Deferred.fromCoroutine(self._claim(topic, missing))
            elif change.key.startswith(keys.TOMBSTONES) and change.entry is not None:
                self._remove(UUID(change.key.removeprefix(keys.TOMBSTONES)))

    async def _claim(self, topic: Topic, indexes: Sequence[int]) -> None:
        while self._running:
            try:
                await self.led(topic.topic_id, indexes)
            except UnknownTopicId:
                return
            except Exception:
                self._log.failure("claiming partitions of {topic} failed", topic=topic.name)
                await deferLater(self._clock, AGAIN)
            else:
                return

    def _remove(self, topic_id: UUID) -> None:
        Deferred.fromCoroutine(self._delete(topic_id))

    async def _delete(self, topic_id: UUID) -> None:
        """
        Remove a deleted topic's data, then its tombstone.
        """
        while self._running:
            try:
                async with self._steps:
                    await self._partitions.delete(topic_id)
                await self._store.commit([], [Delete(keys.tombstone(topic_id))])
            except Exception:
                self._log.failure("deleting the data of {topic_id} failed", topic_id=topic_id)
                await deferLater(self._clock, AGAIN)
            else:
                return
