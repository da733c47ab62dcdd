"""
Creation, deletion, growth, configuration and reassignment of topics.

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

from kafscale.cluster.assignments import cancelled, check_factor, check_new, reassigned
from kafscale.cluster.ids import fresh
from kafscale.cluster.image import Image, topic_of
from kafscale.cluster.spread import first_living
from kafscale.errors import (
    CommitConflict,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidTopicException,
    KafkaError,
    PolicyViolation,
    RequestTimedOut,
    StoreUnavailable,
    TopicAlreadyExists,
    UnknownTopicId,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from kafscale.format import metadata_keys
from kafscale.format.topic import REPLICAS_LEVEL, NameRecord, TombstoneRecord, TopicRecord
from kafscale.interfaces import (
    INTERNAL_TOPICS,
    MAX_NEW_PARTITIONS,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    ITopicConfigs,
    ITopics,
    Phase,
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
        level: Callable[[str], int],
        clock: IReactorTime,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        """
        @param store: The metadata store.
        @param image: Has the topics that exist, and shows when a commit is in force.
        @param configs: Checks configurations.
        @param wait_for_leaders: See L{WaitForLeaders}.
        @param level: Returns the level of a stored format that may be written.
        @param clock: For timestamps of topics.
        @param new_id: Creates random UUIDs.
        """
        self._store = store
        self._image = image
        self._configs = configs
        self._wait_for_leaders = wait_for_leaders
        self._level = level
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
        replicas: Sequence[Sequence[int]] = (),
    ) -> Topic:
        """
        See L{ITopics.create}.

        @raise PolicyViolation: too many partitions for one request.
        @raise UnsupportedVersion: brokers of an earlier version are in the cluster.
        @raise RequestTimedOut: the store did not respond. The topic may exist, or
            appear later.
        """
        check_name(name)
        self._check_partitions(partitions)
        self._check_free(name)
        if name in INTERNAL_TOPICS:
            raise InvalidTopicException(f"Topic '{name}' is internal: clients cannot create it")
        self._configs.check(configs)
        if replicas:
            self._check_assigned(replicas)
        topic = Topic(
            fresh(self._new_id), name, partitions, dict(configs), dict(enumerate(replicas))
        )
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

    async def grow(
        self,
        topic: Topic,
        partitions: int,
        validate_only: bool = False,
        replicas: Sequence[Sequence[int]] | None = None,
    ) -> Topic:
        """
        See L{ITopics.grow}.

        @raise UnknownTopicOrPartition: the topic is already deleted.
        @raise PolicyViolation: too many new partitions for one request.
        @raise UnsupportedVersion: brokers of an earlier version are in the cluster.
        """
        before = 0

        def grown(record: TopicRecord) -> TopicRecord:
            nonlocal before
            before = record.partitions
            if partitions <= before:
                raise InvalidPartitions(
                    f"The topic {topic.name} has {before} partitions already; "
                    f"their number can only grow, not become {partitions}"
                )
            self._check_partitions(partitions - before)
            record = attrs.evolve(record, partitions=partitions)
            if replicas is None:
                return record
            if len(replicas) != partitions - before:
                raise InvalidReplicaAssignment(
                    f"Attempted to add {partitions - before} additional partition(s), but only"
                    f" {len(replicas)} assignment(s) were specified."
                )
            first = record.replicas.get(0)
            self._check_assigned(replicas, None if first is None else len(first))
            new = dict(enumerate(replicas, before))
            return attrs.evolve(record, replicas={**record.replicas, **new})

        changed = await self._change(topic, grown, validate_only)
        if not validate_only:
            await self._wait_for_leaders(topic.topic_id, range(before, partitions))
        return changed

    async def alter(
        self,
        topic: Topic,
        change: Callable[[Mapping[str, str]], Mapping[str, str]],
        validate_only: bool = False,
    ) -> Topic:
        """
        See L{ITopics.alter}.
        """

        def altered(record: TopicRecord) -> TopicRecord:
            configs = dict(change(record.configs))
            self._configs.check(configs, record.configs)
            return attrs.evolve(record, configs=configs)

        return await self._change(topic, altered, validate_only)

    async def reassign(
        self,
        topic: Topic,
        targets: Mapping[int, Sequence[int] | None],
        same_factor: bool = False,
    ) -> Mapping[int, KafkaError]:
        """
        See L{ITopics.reassign}.
        """
        refused: dict[int, KafkaError] = {}

        def moved(record: TopicRecord) -> TopicRecord:
            refused.clear()
            for index, replicas in targets.items():
                try:
                    record = self._reassigned(topic, record, index, replicas, same_factor)
                except KafkaError as error:
                    refused[index] = error
            return record

        await self._change(topic, moved)
        return refused

    def _reassigned(
        self,
        topic: Topic,
        record: TopicRecord,
        index: int,
        replicas: Sequence[int] | None,
        same_factor: bool,
    ) -> TopicRecord:
        if not 0 <= index < record.partitions:
            raise UnknownTopicOrPartition
        known = self._image.leadership(topic.topic_id, index)
        if replicas is None:
            return cancelled(record, index, known.leader_epoch)
        self._check_assigned([replicas])
        if same_factor:
            check_factor(len(self._image.replicas(topic.topic_id, index)), replicas)
        staying = {
            each.broker_id for each in self._image.brokers() if each.phase is not Phase.LEAVING
        }
        moves = known.leader != first_living(replicas, staying)
        return reassigned(record, index, replicas, moves, known.leader_epoch)

    async def _change(
        self,
        topic: Topic,
        change: Callable[[TopicRecord], TopicRecord],
        validate_only: bool = False,
    ) -> Topic:
        """
        Change the record of a topic, and return when the image has the change.

        @param change: Returns the new record for the present one. It is called again
            if the record is changed concurrently.
        @raise UnknownTopicOrPartition: the topic is already deleted.
        """
        key = metadata_keys.topic(topic.topic_id)
        while True:
            entry = await self._present(topic)
            before = TopicRecord.from_entry(entry)
            after = change(before)
            changed = topic_of(Entry(key, after.to_json(), entry.revision))
            if validate_only:
                return changed
            revision = entry.revision
            if after != before:
                try:
                    revision = await self._store.commit(
                        [Compare(key, entry.revision)], [Put(key, after.to_json())]
                    )
                except CommitConflict:
                    continue
            await self._image.until(revision)
            return changed

    def _check_assigned(self, lists: Sequence[Sequence[int]], size: int | None = None) -> None:
        """
        Check replicas that are assigned by hand.

        @param size: See L{check_new}.
        @raise UnsupportedVersion: brokers of an earlier version are in the cluster.
        """
        if self._level("topics") < REPLICAS_LEVEL:
            raise UnsupportedVersion(
                "Replicas can be assigned when all brokers of the cluster run a version that"
                " knows them"
            )
        check_new(lists, self._image.brokers(), size)

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
        record = TopicRecord(
            topic.name, topic.partitions, topic.configs, self._now(), topic.replicas
        )
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
        """
        @raise UnknownTopicOrPartition: the topic is deleted.
        @raise InvalidTopicException: it is internal, and not stored.
        """
        entry = await self._store.get(metadata_keys.topic(topic.topic_id))
        if entry is None and topic.name in INTERNAL_TOPICS:
            raise InvalidTopicException(f"Topic '{topic.name}' is internal")
        if entry is None:
            raise UnknownTopicOrPartition(f"Topic '{topic.name}' does not exist.")
        return entry

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
