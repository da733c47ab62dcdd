"""
Creation, deletion, growth, configuration and reassignment of topics.

Each change is one commit, which may have many topics. So a broker that dies in the
middle leaves nothing half done, and if two create topics of the same name, one of them
fails.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import NoReturn, TypeVar
from uuid import UUID, uuid4

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.cluster.assignments import cancelled, check_factor, check_new, reassigned
from kafscale.cluster.ids import fresh
from kafscale.cluster.image import Image, topic_of
from kafscale.cluster.spread import first_living
from kafscale.concurrency.gathering import map_bounded
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
    MAX_COMMIT,
    MAX_NEW_PARTITIONS,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    ITopicConfigs,
    ITopics,
    NewTopic,
    Phase,
    Put,
    Topic,
)

#: Returns when all these partitions of a topic have a leader.
WaitForLeaders = Callable[[UUID, Sequence[int]], Awaitable[None]]

LONGEST_NAME = 249

NOTHING: Mapping[str, int] = MappingProxyType({})

T = TypeVar("T")

CREATED_TOGETHER = 50
"""The number of topics created in one commit, at most. A broker that gets one partition
of each can claim them in one commit, too."""

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

    async def create(self, name: str, partitions: int, configs: Mapping[str, str]) -> Topic:
        """
        See L{ITopics.create}.

        @raise PolicyViolation: too many partitions for one request.
        @raise RequestTimedOut: the store did not respond. The topic may exist, or
            appear later.
        """
        (created,) = self.create_all([NewTopic(name, partitions, configs)])
        return await created

    def create_all(
        self, wanted: Sequence[NewTopic], validate_only: bool = False
    ) -> Sequence[Deferred[Topic]]:
        """
        See L{ITopics.create_all}.
        """
        results: list[Deferred[Topic]] = []
        names: set[str] = {_blurred(topic.name) for topic in self._image.topics()}
        batch: list[tuple[Topic, Deferred[Topic]]] = []
        for new in wanted:
            created: Deferred[Topic] = Deferred()
            results.append(created)
            try:
                topic = self._checked(new, names)
            except Exception as error:  # noqa: BLE001 - raised where the result is awaited
                created.errback(error)
                continue
            names.add(_blurred(new.name))
            if validate_only:
                created.callback(topic)
            else:
                batch.append((topic, created))
        for together in _commits(batch, 2, CREATED_TOGETHER):
            Deferred.fromCoroutine(self._create(together))
        return results

    def _checked(self, new: NewTopic, names: Collection[str]) -> Topic:
        """
        Return a new topic if it can be created.

        @param names: The names of all other topics, with L{_blurred}.
        """
        check_name(new.name)
        self._check_partitions(new.partitions)
        if _blurred(new.name) in names:
            self._refuse(new.name)
        if new.name in INTERNAL_TOPICS:
            raise InvalidTopicException(
                f"Topic '{new.name}' is internal: clients cannot create it"
            )
        self._configs.check(new.configs)
        if new.replicas:
            self._check_assigned(new.replicas)
        return Topic(
            fresh(self._new_id),
            new.name,
            new.partitions,
            dict(new.configs),
            dict(enumerate(new.replicas)),
        )

    async def _create(self, batch: Sequence[tuple[Topic, Deferred[Topic]]]) -> None:
        """
        Commit new topics together, or one by one if a name among them exists, and
        fire the Deferred of each when it has leaders.
        """
        try:
            revision = await self._put([topic for topic, _ in batch])
            await self._image.until(revision)
        except (TopicAlreadyExists, InvalidTopicException) as error:
            if len(batch) == 1:
                batch[0][1].errback(error)
            else:
                await map_bounded(self._create, [[each] for each in batch])
        except Exception as error:  # noqa: BLE001 - raised where the results are awaited
            for _, created in batch:
                created.errback(error)
        else:
            for topic, created in batch:
                leading = self._wait_for_leaders(topic.topic_id, range(topic.partitions))
                Deferred.fromCoroutine(_return(topic, leading)).chainDeferred(created)

    async def wait_for_leaders(self, topic: Topic) -> None:
        """
        See L{ITopics.wait_for_leaders}.
        """
        try:
            await self._wait_for_leaders(topic.topic_id, range(topic.partitions))
        except UnknownTopicId:
            raise UnknownTopicOrPartition(f"Topic '{topic.name}' does not exist.") from None

    def delete_all(self, topics: Sequence[Topic]) -> Sequence[Deferred[None]]:
        """
        See L{ITopics.delete_all}.
        """
        results: list[Deferred[None]] = [Deferred() for _ in topics]
        pairs = list(zip(topics, results, strict=True))
        for together in _commits(pairs, 3, MAX_COMMIT):
            Deferred.fromCoroutine(self._delete_some(together))
        return results

    async def _delete_some(self, batch: Sequence[tuple[Topic, Deferred[None]]]) -> None:
        """
        Delete topics in one commit if they are as the image has them, or else one by
        one, and fire the Deferred of each.
        """
        try:
            revision = await self._bury(
                [(topic, self._image.guard_of(topic.topic_id)) for topic, _ in batch]
            )
            await self._image.until(revision)
        except CommitConflict:
            # Those that were changed or deleted concurrently are read.
            await map_bounded(self._delete_one, batch)
        except Exception as error:  # noqa: BLE001 - raised where the results are awaited
            for _, deleted in batch:
                deleted.errback(error)
        else:
            for _, deleted in batch:
                deleted.callback(None)

    async def _delete_one(self, one: tuple[Topic, Deferred[None]]) -> None:
        topic, deleted = one
        try:
            while True:
                entry = await self._present(topic)
                guard = Compare(entry.key, entry.revision)
                with suppress(CommitConflict):  # changed or deleted concurrently
                    revision = await self._bury([(topic_of(entry), guard)])
                    break
            await self._image.until(revision)
        except Exception as error:  # noqa: BLE001 - raised where the result is awaited
            deleted.errback(error)
        else:
            deleted.callback(None)

    async def _bury(self, topics: Sequence[tuple[Topic, Compare]]) -> int:
        """
        Put a tombstone in the place of each of these topics, and return the revision.

        @param topics: Each with a compare that holds while it exists and is unchanged.
        @raise CommitConflict: one of the compares does not hold.
        """
        changes: list[Put | Delete] = []
        for topic, guard in topics:
            tombstone = TombstoneRecord(topic.name, topic.partitions, self._now())
            changes += [
                Put(metadata_keys.tombstone(topic.topic_id), tombstone.to_json()),
                *(Delete(key) for key in _name_keys(topic.name)),
                Delete(guard.key),
            ]
        return await self._store.commit([guard for _, guard in topics], changes)

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

    def _refuse(self, name: str) -> NoReturn:
        """
        Raise the reason why a name is not free: it exists, or one that differs only in
        ``.`` and ``_``: names of metrics have ``_`` for both.
        """
        for other in self._image.topics():
            if other.name == name:
                raise TopicAlreadyExists(f"Topic '{name}' already exists.")
            if _blurred(other.name) == _blurred(name):
                raise InvalidTopicException(
                    f"Topic '{name}' collides with the existing topic '{other.name}'"
                )
        raise InvalidTopicException(f"Topic '{name}' collides with another of the request")

    async def _put(self, topics: Sequence[Topic], left: Mapping[str, int] = NOTHING) -> int:
        """
        Commit new topics, and return the revision of the commit.

        @param left: The revisions of entries for names that a topic has left behind.
        @raise TopicAlreadyExists: the name of one of them exists.
        @raise InvalidTopicException: a name exists that is too similar.
        """
        changes: list[Put] = []
        guards: list[Compare] = []
        for topic in topics:
            keys = _name_keys(topic.name)
            guards += [Compare(key, left.get(key, 0)) for key in keys]
            record = TopicRecord(
                topic.name, topic.partitions, topic.configs, self._now(), topic.replicas
            )
            changes += [
                *(Put(key, NameRecord(topic.topic_id).to_json()) for key in keys),
                Put(metadata_keys.topic(topic.topic_id), record.to_json()),
            ]
        try:
            return await self._store.commit(guards, changes)
        except CommitConflict:
            return await self._put(topics, await self._left(topics, left))
        except StoreUnavailable:
            # The commit may have been done, then for all. The id shows whether the
            # topics are ours.
            entry = await self._store.get(metadata_keys.topic(topics[0].topic_id))
            if entry is None:
                raise RequestTimedOut(
                    "The metadata store did not respond; the topic may appear later"
                ) from None
            return entry.revision

    async def _left(self, topics: Sequence[Topic], tried: Mapping[str, int]) -> Mapping[str, int]:
        """
        The entry for similar names that stands in the way of a topic, though the topic
        that it names does not exist: brokers of an earlier version do not delete it.

        @param tried: Those that were found before.
        @raise TopicAlreadyExists: the name exists; or one of several does.
        @raise InvalidTopicException: a similar name exists.
        """
        name = topics[0].name
        similar = metadata_keys.similar_names(name)
        if similar is not None and similar not in tried and len(topics) == 1:
            entry = await self._store.get(similar)
            if entry is not None and await self._store.get(metadata_keys.name(name)) is None:
                other = NameRecord.from_entry(entry).topic_id
                if await self._store.get(metadata_keys.topic(other)) is not None:
                    raise InvalidTopicException(
                        f"Topic '{name}' collides with an existing topic, which differs only in"
                        " '.' and '_'"
                    )
                return {similar: entry.revision}
        raise TopicAlreadyExists(f"Topic '{name}' already exists.")

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


def _blurred(name: str) -> str:
    """
    Return what no other topic's name may become by this.
    """
    return name.replace(".", "_")


def _name_keys(name: str) -> list[str]:
    """
    Return the keys that a topic's name takes.
    """
    similar = metadata_keys.similar_names(name)
    return [metadata_keys.name(name), *([] if similar is None else [similar])]


def _commits(
    batch: Sequence[tuple[Topic, Deferred[T]]], operations: int, most: int
) -> Iterator[list[tuple[Topic, Deferred[T]]]]:
    """
    Divide topics among commits.

    @param operations: How many operations a topic takes whose name takes one key.
    @param most: How many topics a commit may have.
    """
    together: list[tuple[Topic, Deferred[T]]] = []
    left = MAX_COMMIT
    for topic, result in batch:
        needed = operations - 1 + len(_name_keys(topic.name))
        if together and (needed > left or len(together) == most):
            yield together
            together, left = [], MAX_COMMIT
        together.append((topic, result))
        left -= needed
    if together:
        yield together


async def _return(topic: Topic, event: Awaitable[None]) -> Topic:
    await event
    return topic
