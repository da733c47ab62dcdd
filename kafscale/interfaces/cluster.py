"""
The cluster: brokers, topics, leaders and configurations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import attrs
from zope.interface import Attribute, Interface

from kafscale.errors import KafkaError
from kafscale.format.topic import Reassignment
from kafscale.interfaces.log import AppendRules, LogRules
from kafscale.interfaces.stores import MAX_COMMIT


class Phase(StrEnum):
    """
    The phase of a broker's life in the cluster.
    """

    #: It takes over partitions of its former incarnation, and no others.
    STARTING = "starting"
    SERVING = "serving"
    #: It is stopping, and leads no partition any longer.
    LEAVING = "leaving"


UNNAMED_LISTENERS = ("PLAINTEXT", "SSL")
"""The names of the one listener of a broker that has not given its listeners names:
its protocol."""


@attrs.frozen
class Broker:
    """
    A broker of the cluster: its address for clients, and what decides which
    partitions it leads.

    @ivar host: Of its first listener; so is C{port}.
    @ivar rack: None if it has none.
    @ivar incarnation: 0 if it is not known.
    @ivar weight: Its share of the partitions, relative to those of the others.
    @ivar phase: The phase of its life.
    @ivar listeners: Name, host and port of each of its listeners. Empty if it has
        one only, which was not given a name.
    """

    broker_id: int
    host: str
    port: int
    rack: str | None = None
    incarnation: int = 0
    weight: float = 1.0
    phase: Phase = Phase.SERVING
    listeners: tuple[tuple[str, str, int], ...] = ()

    def address(self, listener: str) -> tuple[str, int] | None:
        """
        Host and port for clients of a listener; None if the broker has no such
        listener.

        @param listener: The name of the listener.
        """
        if not self.listeners:
            return (self.host, self.port) if listener in UNNAMED_LISTENERS else None
        for name, host, port in self.listeners:
            if name == listener:
                return host, port
        return None


OFFSETS_TOPIC = "__consumer_offsets"
OFFSETS_PARTITIONS = 50
"""The number of partitions that monitors expect the topic to have."""

INTERNAL_TOPICS = frozenset({OFFSETS_TOPIC, "__transaction_state"})
"""The names of Kafka's internal topics. Clients can neither create such a topic nor
write to it."""


@attrs.frozen
class Topic:
    """
    A topic as the metadata store has it.

    @ivar partitions: The number of its partitions.
    @ivar configs: The overrides of its configuration, values by name, as text.
    @ivar replicas: The broker ids assigned to partitions by hand, the preferred leader
        first, by the index of the partition.
    @ivar reassignments: The last changes of these, which may be under way still
        (L{IImage.reassignment}).
    """

    topic_id: UUID
    name: str
    partitions: int
    configs: Mapping[str, str]
    replicas: Mapping[int, Sequence[int]] = attrs.field(factory=dict)
    reassignments: Mapping[int, Reassignment] = attrs.field(factory=dict)


@attrs.frozen
class Leadership:
    """
    The leader of a partition.

    @ivar leader: Its broker id; -1 if there is none.
    @ivar leader_epoch: -1 if there never was a leader.
    @ivar incarnation: Of the leader; 0 if there is none.
    """

    leader: int
    leader_epoch: int
    incarnation: int = 0


class ITopicLookup(Interface):
    """
    Looks topics up.
    """

    topic_changes: int = Attribute(
        "Another number after a topic was created, changed or deleted."
    )

    def topic(name: str) -> Topic:
        """
        The topic with this name.

        @raise UnknownTopicOrPartition: there is none.
        """

    def topic_by_id(topic_id: UUID) -> Topic:
        """
        The topic with this id.

        @raise UnknownTopicId: there is none.
        """


class IImage(ITopicLookup):
    """
    The metadata of the cluster in memory, kept up to date by a watch of the
    metadata store.
    """

    cluster_id = Attribute("The id of the cluster: 22 characters of base64url.")
    broker_id = Attribute("The id of this broker.")

    def brokers() -> Sequence[Broker]:
        """
        The living brokers, including this one, by id.
        """

    def topics() -> Sequence[Topic]:
        """
        All topics, by name.
        """

    def leadership(topic_id: UUID, index: int) -> Leadership:
        """
        The leader of a partition.
        """

    def nearest(rack: str, topic_id: UUID, index: int) -> int:
        """
        The id of the broker from which consumers in a rack should read a
        partition (KIP-392): the leader, if it is in the rack, or no serving broker
        is; -1 if there is no broker at all.
        """

    def replicas(topic_id: UUID, index: int) -> Sequence[int]:
        """
        The ids of the brokers that clients see as a partition's replicas: those that
        are assigned to it by hand, which may not be alive, and its leader if that is
        another one; or else the brokers from which it may be read, its leader first if
        that is alive.
        """

    def reassignment(topic_id: UUID, index: int) -> Reassignment | None:
        """
        The reassignment of a partition that is under way.

        @raise UnknownTopicId: the topic does not exist.
        """

    def gone(topic_ids: Iterable[UUID]) -> Awaitable[Sequence[UUID]]:
        """
        Those of these topics that are deleted. Topics that were created, and that
        the image has not seen yet, are not.
        """


MAX_NEW_PARTITIONS = 10_000
"""How many partitions one request may create: more would keep the cluster busy
for minutes (Kafka's C{ReplicationControlManager.MAX_PARTITIONS_PER_BATCH})."""


@attrs.frozen
class NewTopic:
    """
    A topic to be created.

    @ivar partitions: The number of its partitions.
    @ivar configs: The overrides of its configuration, values by name, as text.
    @ivar replicas: The broker ids assigned to each partition by hand, the preferred
        leader first; if there are none, brokers divide the partitions among themselves.
    """

    name: str
    partitions: int
    configs: Mapping[str, str] = attrs.field(factory=dict)
    replicas: Sequence[Sequence[int]] = ()


class ITopics(Interface):
    """
    Changes to topics.
    """

    def check_name(name: str) -> None:
        """
        Check that a topic may have this name.

        @raise InvalidTopicException: it may not.
        """

    def create(name: str, partitions: int, configs: Mapping[str, str]) -> Awaitable[Topic]:
        """
        Create one topic: L{create_all}.
        """

    def create_all(
        wanted: Sequence[NewTopic], validate_only: bool = False
    ) -> Sequence[Awaitable[Topic]]:
        """
        Create topics, together as far as possible. Each result comes when the topic is
        durable and in the image, and all its partitions have leaders.

        @param validate_only: Check everything, and create nothing.
        @raise KafkaError: from a result: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS,
            INVALID_PARTITIONS, INVALID_CONFIG, INVALID_REPLICA_ASSIGNMENT.
        """

    def wait_for_leaders(topic: Topic) -> Awaitable[None]:
        """
        Fires when all partitions of a topic have leaders.

        @raise UnknownTopicOrPartition: the topic is deleted.
        """

    def delete_all(topics: Sequence[Topic]) -> Sequence[Awaitable[None]]:
        """
        Delete topics, together as far as possible. Each result comes when the deletion
        is durable; the data is deleted later.

        @param topics: Each once.
        @raise UnknownTopicOrPartition: from a result: the topic is deleted already.
        """

    def grow(
        topic: Topic,
        partitions: int,
        validate_only: bool = False,
        replicas: Sequence[Sequence[int]] | None = None,
    ) -> Awaitable[Topic]:
        """
        Increase the number of a topic's partitions. Fires when that is durable,
        and the new partitions have leaders.

        @param partitions: Of all partitions.
        @param validate_only: Check everything, and change nothing.
        @param replicas: The broker ids assigned to each new partition by hand; None if
            brokers divide them among themselves.
        @raise InvalidPartitions: the topic has as many already.
        @raise InvalidReplicaAssignment: these replicas cannot be assigned.
        """

    def reassign(
        topic: Topic, targets: Mapping[int, Sequence[int] | None], same_factor: bool = False
    ) -> Awaitable[Mapping[int, KafkaError]]:
        """
        Assign replicas to partitions by hand. Fires when that is durable and in the
        image. The leaders move afterwards: L{IImage.reassignment} shows how far it is.

        @param targets: The broker ids by the index of the partition, the preferred
            leader first; None cancels the reassignment that is under way.
        @param same_factor: Whether the number of replicas must stay the same.
        @return: Why partitions are not reassigned, by index: unknown; with an invalid
            list; or without a reassignment that could be cancelled.
        @raise UnknownTopicOrPartition: the topic is deleted.
        """

    def alter(
        topic: Topic,
        change: Callable[[Mapping[str, str]], Mapping[str, str]],
        validate_only: bool = False,
    ) -> Awaitable[Topic]:
        """
        Alter the configuration of a topic. Fires when that is durable, and in
        force on this broker.

        @param change: Called with the present overrides, returns the new ones. It
            is called again if the overrides are altered concurrently.
        @param validate_only: Check everything, and change nothing.
        @raise InvalidConfig: the new overrides are invalid.
        @raise UnknownTopicOrPartition: the topic is deleted.
        """


@attrs.frozen
class TopicConfig:
    """
    A configuration of a topic, with the value that is in force.

    @ivar value: As text, in the form in which it is set.
    @ivar kind: Its type: C{boolean}, C{int}, C{long}, C{double}, C{string} or
        C{list}.
    @ivar source: Where the value comes from: C{topic} (an override), C{broker} (a
        setting of the brokers) or C{default}.
    @ivar meaning: One line of documentation.
    @ivar synonym: Kafka's name of the setting of brokers that has the value for
        topics without override; empty if there is none.
    @ivar default: The value without overrides and settings.
    """

    name: str
    value: str
    kind: str
    source: str
    meaning: str
    synonym: str = ""
    default: str = ""


class ITopicConfigs(Interface):
    """
    The configurations of topics. All methods take the overrides of a topic, as in
    L{Topic.configs}.
    """

    def check(
        overrides: Mapping[str, str | None], stored: Mapping[str, str] | None = None
    ) -> None:
        """
        Check names and values.

        @param stored: The overrides that the topic has. Each of them may stay as it is,
            even if its value is no longer accepted.
        @raise InvalidConfig: a name is unknown, a value invalid, or two values
            contradict each other. The message names the configuration.
        """

    def describe(overrides: Mapping[str, str]) -> Sequence[TopicConfig]:
        """
        All configurations of the topic, by name.
        """

    def value(overrides: Mapping[str, str], name: str) -> Any:
        """
        The value of a configuration in its own type: bool, int, float, str, or a
        tuple of str for a list.

        @raise KeyError: there is no configuration of this name.
        """

    def append_rules(overrides: Mapping[str, str]) -> AppendRules:
        """
        The rules for batches that are appended.
        """

    def log_rules(overrides: Mapping[str, str]) -> LogRules:
        """
        The rules for segments.
        """


MAX_RECORDS: Final = MAX_COMMIT - 1
"""How many records one change may be about: something else is in its commit, too."""


class IClusterRecords(Interface):
    """
    The records of one kind that hold for the whole cluster, such as ACLs: all of them in
    memory, kept up to date by a watch of the metadata store.
    """

    def records() -> Mapping[str, Any]:
        """
        All records by their keys. They must not be changed; later changes show in it.
        """

    def get(key: str) -> Any:
        """
        The record with a key; None if there is none.
        """

    def behind() -> float:
        """
        For how many seconds the metadata store has not been heard of, so that changes may
        be missing; 0 while it is connected.
        """

    def on_change(changed: Callable[[Mapping[str, Any]], None]) -> None:
        """
        Call C{changed} with the records that each later commit puts, by their keys, and
        None for those that it deletes. L{records} has the change then, and L{change} has
        not returned yet.
        """

    def refresh() -> Awaitable[None]:
        """
        When it fires all changes are known that were made before the call, by whichever
        broker.

        @raise StoreUnavailable: the store did not answer.
        """

    def change(
        keys: Collection[str], decide: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> Awaitable[None]:
        """
        Change records in one commit. When it fires the change is durable, and in force on
        this broker. If nothing is to be changed nothing is committed.

        @param keys: The records that C{decide} depends on; at most L{MAX_RECORDS}.
        @param decide: Called with those of them that exist, by their keys. Returns the
            new records, by their keys, each of which is in C{keys}, and None for a record
            that is to be deleted. It is called again if another broker has changed them
            meanwhile.
        @raise KafkaError: as C{decide} raised it, of records that were so after the call.
        @raise StoreUnavailable: the store did not answer; the change may have been made.
        """


class IProducerIds(Interface):
    """
    The source of producer ids.
    """

    def new() -> Awaitable[int]:
        """
        A producer id that was never given before, on any broker.
        """
