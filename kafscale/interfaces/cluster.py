"""
What there is: brokers, topics, leaders, configurations.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs
from zope.interface import Attribute, Interface

from kafscale.interfaces.log import AppendRules, LogRules


class Phase(StrEnum):
    """
    Of a broker's life as a member of the cluster.
    """

    #: It takes over what a broker that died has left to it, and no more.
    STARTING = "starting"
    SERVING = "serving"
    #: It is about to go, and is to lead nothing.
    LEAVING = "leaving"


@attrs.frozen
class Broker:
    """
    A broker of the cluster: an address for clients, and what the others need to
    share the work with it.

    @ivar incarnation: 0 if that is not known.
    @ivar weight: Its part of the work, in relation to the others'.
    @ivar phase: Of its life.
    """

    broker_id: int
    host: str
    port: int
    rack: str | None = None
    incarnation: int = 0
    weight: float = 1.0
    phase: Phase = Phase.SERVING


@attrs.frozen
class Topic:
    """
    A topic as the metadata store has it.

    @ivar configs: Its configuration's overrides, name to value (strings).
    @ivar partitions: How many it has.
    """

    topic_id: UUID
    name: str
    partitions: int
    configs: Mapping[str, str]


@attrs.frozen
class Leadership:
    """
    Who leads a partition.

    @ivar leader: Broker id, or -1.
    @ivar incarnation: The leader's, 0 if there is none.
    """

    leader: int
    leader_epoch: int
    incarnation: int = 0


class IImage(Interface):
    """
    What is known of the cluster now: a watched view of the metadata store.
    """

    cluster_id = Attribute("Stable, 22 characters of base64url.")
    broker_id = Attribute("This broker's id.")
    topic_changes = Attribute("How often a topic has come, changed or gone.")

    def brokers() -> Sequence[Broker]:
        """
        The live brokers, this one among them, by id.
        """

    def topics() -> Sequence[Topic]:
        """
        All topics, by name.
        """

    def topic(name: str) -> Topic:
        """
        @raise UnknownTopicOrPartition: there is none of that name.
        """

    def topic_by_id(topic_id: UUID) -> Topic:
        """
        @raise UnknownTopicId: there is none of that id.
        """

    def leadership(topic_id: UUID, index: int) -> Leadership:
        """
        Who leads it; leader -1 while nobody does.
        """

    def nearest(rack: str, topic_id: UUID, index: int) -> int:
        """
        The broker from which readers in a rack should read: the leader if it
        is there, or no other that serves is; -1 if there is none at all.
        """

    def replicas(topic_id: UUID, index: int) -> Sequence[int]:
        """
        The brokers that clients may read it from, its leader first, if that is
        alive.
        """

    def gone(topic_ids: Iterable[UUID]) -> Awaitable[Sequence[UUID]]:
        """
        Those of these topics that are deleted, and not merely unknown to the
        image yet.
        """


MAX_NEW_PARTITIONS = 10_000
"""How many partitions one request may create: more would keep the cluster busy
for minutes (Kafka's C{ReplicationControlManager.MAX_PARTITIONS_PER_BATCH})."""


class ITopics(Interface):
    """
    Changes to topics.
    """

    def check_name(name: str) -> None:
        """
        @raise InvalidTopicException: no topic can have this name.
        """

    def create(
        name: str, partitions: int, configs: Mapping[str, str], validate_only: bool = False
    ) -> Awaitable[Topic]:
        """
        Durable, in the image, and led when it answers.

        @raise KafkaError: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS,
            INVALID_PARTITIONS, INVALID_CONFIG.
        """

    def wait_for_leaders(topic: Topic) -> Awaitable[None]:
        """
        Return when all partitions of a topic have a leader.

        @raise UnknownTopicOrPartition: it is deleted.
        """

    def delete(topic: Topic) -> Awaitable[None]:
        """
        Durable when it answers; the data goes afterwards.
        """

    def grow(topic: Topic, partitions: int, validate_only: bool = False) -> Awaitable[Topic]:
        """
        Raise the number of partitions.

        @raise InvalidPartitions: not more than there are.
        """

    def alter(
        topic: Topic,
        change: Callable[[Mapping[str, str]], Mapping[str, str]],
        validate_only: bool = False,
    ) -> Awaitable[Topic]:
        """
        Change the topic's configuration: C{change} is given the overrides that
        there are, and returns those that there shall be; it is asked again if
        somebody else changes them meanwhile. Durable, and in force on this
        broker, when it answers.

        @raise InvalidConfig: they cannot be.
        @raise UnknownTopicOrPartition: it is deleted already.
        """


@attrs.frozen
class TopicConfig:
    """
    One configuration of a topic, as it is in force.

    @ivar value: As text, in the form in which it is set.
    @ivar kind: What it is made of: ``boolean``, ``int``, ``long``, ``double``,
        ``string`` or ``list``.
    @ivar source: Where the value comes from: ``topic`` (an override),
        ``broker`` (a setting of the brokers) or ``default``.
    @ivar meaning: One line for people.
    @ivar synonym: What Kafka calls the setting of the brokers from which it
        comes where the topic has none; empty when there is no such setting.
    """

    name: str
    value: str
    kind: str
    source: str
    meaning: str
    synonym: str = ""


class ITopicConfigs(Interface):
    """
    What the configurations of topics mean. All take a topic's overrides, as
    in L{Topic.configs}.
    """

    def check(overrides: Mapping[str, str | None]) -> None:
        """
        @raise InvalidConfig: an unknown name, a value that cannot be, or two
            that contradict each other; the message names the configuration.
        """

    def describe(overrides: Mapping[str, str]) -> Sequence[TopicConfig]:
        """
        Every configuration of the topic, by name.
        """

    def value(overrides: Mapping[str, str], name: str) -> Any:
        """
        One configuration in its own type: bool, int, float, str, or a tuple
        of str for a list.

        @raise KeyError: Kafka knows none of that name.
        """

    def append_rules(overrides: Mapping[str, str]) -> AppendRules:
        """
        What they say of a batch that is appended.
        """

    def log_rules(overrides: Mapping[str, str]) -> LogRules:
        """
        What they say of segments.
        """


class IProducerIds(Interface):
    """
    Where producer ids come from.
    """

    def new() -> Awaitable[int]:
        """
        An id that was never given before.
        """
