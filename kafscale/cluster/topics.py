"""
Creation, deletion, growth and configuration of topics.

Each change is one commit. So a broker that dies in the middle leaves nothing half
done, and if two create topics of the same name, one of them fails.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID, uuid4

import attrs
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.cluster.ids import fresh
from kafscale.cluster.image import Image, topic_of
from kafscale.errors import (
    CommitConflict,
    InvalidPartitions,
    InvalidTopicException,
    PolicyViolation,
    RequestTimedOut,
    StoreUnavailable,
    TopicAlreadyExists,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kafscale.format import metadata_keys
from kafscale.format.topic import NameRecord, TombstoneRecord, TopicRecord
from kafscale.interfaces import (
    MAX_NEW_PARTITIONS,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    ITopicConfigs,
    ITopics,
    Put,
    Topic,
)

#: Returns when all these partitions of a topic have a leader.
WaitForLeaders = Callable[[UUID, Sequence[int]], Awaitable[None]]

LONGEST_NAME = 249

_NAME = re.compile(r"[a-zA-Z0-9._-]+")


def check_name(name: str) -> None:
    """
    Check the name of a topic (C{org.apache.kafka.common.internals.Topic.validate}).

    @raise InvalidTopicException: no topic can have this name.
    """
    if not name:
        raise InvalidTopicException("Topic name is invalid: it is empty")
    if name in (".", ".."):
        raise InvalidTopicException(f"Topic name is invalid: it cannot be {name}")
    if len(name) > LONGEST_NAME:
        raise InvalidTopicException(
            f"Topic name is invalid: its length is {len(name)}, "
            f"and the longest allowed is {LONGEST_NAME}"
        )
    if _NAME.fullmatch(name) is None:
        raise InvalidTopicException(
            "Topic name is invalid: it may contain ASCII letters and digits, '.', '_' and '-' only"
        )


@implementer(ITopics)
class Topics:
    """
    The topics in the metadata store.
    """

    def __init__(
        self,
        store: IMetadataStore,
        image: Image,
        configs: ITopicConfigs,
        wait_for_leaders: WaitForLeaders,
        clock: IReactorTime,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        """
        @param store: The metadata store.
        @param image: Has the topics that exist, and shows when a commit is in force.
        @param configs: Checks configurations.
        @param wait_for_leaders: See L{WaitForLeaders}.
        @param clock: For timestamps of topics.
        @param new_id: Creates random UUIDs.
        """
        self._store = store
        self._image = image
        self._configs = configs
        self._wait_for_leaders = wait_for_leaders
        self._clock = clock
        self._new_id = new_id

    def check_name(self, name: str) -> None:
        """
        See L{ITopics.check_name}.
        """
        check_name(name)

    async def create(
        self,
        name: str,
        partitions: int,
        configs: Mapping[str, str],
        validate_only: bool = False,
    ) -> Topic:
        """
        See L{ITopics.create}.

        @raise PolicyViolation: too many partitions for one request.
        @raise RequestTimedOut: the store did not respond. The topic may exist, or
            appear later.
        """
        check_name(name)
        self._check_partitions(partitions)
        self._check_free(name)
        self._configs.check(configs)
        topic = Topic(fresh(self._new_id), name, partitions, dict(configs))
        if validate_only:
            return topic
        revision = await self._put(topic)
        await self._image.until(revision)
        await self._wait_for_leaders(topic.topic_id, range(partitions))
        return topic

    async def wait_for_leaders(self, topic: Topic) -> None:
        """
        See L{ITopics.wait_for_leaders}.
        """
        try:
            await self._wait_for_leaders(topic.topic_id, range(topic.partitions))
        except UnknownTopicId:
            raise UnknownTopicOrPartition(f"Topic '{topic.name}' does not exist.") from None

    async def delete(self, topic: Topic) -> None:
        """
        See L{ITopics.delete}.

        @raise UnknownTopicOrPartition: the topic is already deleted.
        """
        key = metadata_keys.topic(topic.topic_id)
        while True:
            entry = await self._present(topic)
            present = TopicRecord.from_entry(entry)
            tombstone = TombstoneRecord(present.name, present.partitions, self._now())
            try:
                revision = await self._store.commit(
                    [Compare(key, entry.revision)],
                    [
                        Put(metadata_keys.tombstone(topic.topic_id), tombstone.to_json()),
                        Delete(metadata_keys.name(present.name)),
                        Delete(key),
                    ],
                )
            except CommitConflict:
                continue  # the topic was changed or deleted concurrently
            await self._image.until(revision)
            return

    async def grow(self, topic: Topic, partitions: int, validate_only: bool = False) -> Topic:
        """
        See L{ITopics.grow}.

        @raise UnknownTopicOrPartition: the topic is already deleted.
        @raise PolicyViolation: too many new partitions for one request.
        """
        key = metadata_keys.topic(topic.topic_id)
        while True:
            entry = await self._present(topic)
            record = TopicRecord.from_entry(entry)
            before = record.partitions
            if partitions <= before:
                raise InvalidPartitions(
                    f"The topic {topic.name} has {before} partitions already; "
                    f"their number can only grow, not become {partitions}"
                )
            self._check_partitions(partitions - before)
            value = attrs.evolve(record, partitions=partitions).to_json()
            grown = topic_of(Entry(key, value, entry.revision))
            if validate_only:
                return grown
            try:
                revision = await self._store.commit(
                    [Compare(key, entry.revision)], [Put(key, value)]
                )
            except CommitConflict:
                continue
            await self._image.until(revision)
            await self._wait_for_leaders(topic.topic_id, range(before, partitions))
            return grown

    async def alter(
        self,
        topic: Topic,
        change: Callable[[Mapping[str, str]], Mapping[str, str]],
        validate_only: bool = False,
    ) -> Topic:
        """
        See L{ITopics.alter}.
        """
        key = metadata_keys.topic(topic.topic_id)
        while True:
            entry = await self._present(topic)
            before = TopicRecord.from_entry(entry)
            configs = dict(change(before.configs))
            self._configs.check(configs, before.configs)
            value = attrs.evolve(before, configs=configs).to_json()
            altered = topic_of(Entry(key, value, entry.revision))
            if validate_only:
                return altered
            revision = entry.revision
            if configs != before.configs:
                try:
                    revision = await self._store.commit(
                        [Compare(key, entry.revision)], [Put(key, value)]
                    )
                except CommitConflict:
                    continue
            await self._image.until(revision)
            return altered

    def _check_partitions(self, partitions: int) -> None:
        if partitions < 1:
            raise InvalidPartitions("The number of partitions must be larger than 0")
        if partitions > MAX_NEW_PARTITIONS:
            raise PolicyViolation(
                f"At most {MAX_NEW_PARTITIONS} partitions can be created at once"
            )

    def _check_free(self, name: str) -> None:
        """
        Check that the name does not exist, nor one that differs only in ``.`` and ``_``:
        names of metrics have ``_`` for both.
        """
        blurred = name.replace(".", "_")
        for other in self._image.topics():
            if other.name == name:
                raise TopicAlreadyExists(f"Topic '{name}' already exists.")
            if other.name.replace(".", "_") == blurred:
                raise InvalidTopicException(
                    f"Topic '{name}' collides with the existing topic '{other.name}'"
                )

    async def _put(self, topic: Topic) -> int:
        """
        Commit the topic, and return the revision of the commit.
        """
        name_key = metadata_keys.name(topic.name)
        record = TopicRecord(topic.name, topic.partitions, topic.configs, self._now())
        try:
            return await self._store.commit(
                [Compare(name_key, 0)],
                [
                    Put(name_key, NameRecord(topic.topic_id).to_json()),
                    Put(metadata_keys.topic(topic.topic_id), record.to_json()),
                ],
            )
        except CommitConflict:
            raise TopicAlreadyExists(f"Topic '{topic.name}' already exists.") from None
        except StoreUnavailable:
            # The commit may have been done. The id shows whether the topic is ours.
            entry = await self._store.get(metadata_keys.topic(topic.topic_id))
            if entry is None:
                raise RequestTimedOut(
                    "The metadata store did not respond; the topic may appear later"
                ) from None
            return entry.revision

    async def _present(self, topic: Topic) -> Entry:
        entry = await self._store.get(metadata_keys.topic(topic.topic_id))
        if entry is None:
            raise UnknownTopicOrPartition(f"Topic '{topic.name}' does not exist.")
        return entry

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
