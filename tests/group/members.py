"""
A coordinator over a store in memory, and members that ask it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from kafscale.errors import KafkaError, UnknownTopicId, UnknownTopicOrPartition
from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import (
    Broker,
    CommittedOffset,
    IImage,
    JoinParameters,
    JoinResult,
    Leadership,
    MemberIdentity,
    SyncResult,
    Topic,
)
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.hostile import HostileMetadataStore, let_pass

T = TypeVar("T")

BEGIN = 1_700_000_000.0
TOPIC = Topic(UUID(int=0x1001), "t", 4, {})
OTHER = Topic(UUID(int=0x1002), "other", 4, {})


async def load(coordinator: GroupCoordinator, incarnation: int) -> None:
    """
    Coordinate all groups, as this incarnation.
    """
    coordinator.begin(incarnation)
    await coordinator.own(range(metadata_keys.SHARDS))


@implementer(IImage)
class FakeImage:
    """
    Topics that a test adds and removes.

    @ivar known: Topics by id.
    @ivar unseen: Ids of topics that are there, but that the image has not
        heard of yet.
    """

    cluster_id = "qLbRyF0aTQ2eFTNQ2bZAbA"
    broker_id = 7
    topic_changes = 0

    def __init__(self) -> None:
        self.known = {topic.topic_id: topic for topic in (TOPIC, OTHER)}
        self.unseen: set[UUID] = set()

    def brokers(self) -> Sequence[Broker]:
        """
        See L{IImage.brokers}.
        """
        return [Broker(7, "broker.example", 9092)]

    def topics(self) -> Sequence[Topic]:
        """
        See L{IImage.topics}.
        """
        return sorted(self.known.values(), key=lambda topic: topic.name)

    def topic(self, name: str) -> Topic:
        """
        See L{IImage.topic}.
        """
        for topic in self.known.values():
            if topic.name == name:
                return topic
        raise UnknownTopicOrPartition

    def topic_by_id(self, topic_id: UUID) -> Topic:
        """
        See L{IImage.topic_by_id}.
        """
        if topic_id not in self.known:
            raise UnknownTopicId
        return self.known[topic_id]

    def leadership(self, topic_id: UUID, index: int) -> Leadership:
        """
        See L{IImage.leadership}.
        """
        return Leadership(7, 0)

    def nearest(self, rack: str, topic_id: UUID, index: int) -> int:
        """
        See L{IImage.nearest}.
        """
        return 7

    def replicas(self, topic_id: UUID, index: int) -> Sequence[int]:
        """
        See L{IImage.replicas}.
        """
        return (7,)

    async def gone(self, topic_ids: Iterable[UUID]) -> Sequence[UUID]:
        """
        See L{IImage.gone}.
        """
        return [each for each in topic_ids if each not in self.known and each not in self.unseen]


def joining(group: str = "g", **changes: Any) -> JoinParameters:
    """
    A consumer that joins without an id, and gets one with its first answer.
    """
    usual = JoinParameters(
        group=group,
        member_id="",
        instance_id=None,
        client_id="c",
        client_host="/127.0.0.1",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=60_000,
        protocol_type="consumer",
        protocols=[("range", b"metadata")],
    )
    return attrs.evolve(usual, **changes)


class GroupTestCase(SynchronousTestCase):
    """
    One coordinator; its store does at once what it is asked, until a test
    changes the policy.
    """

    settings = GroupSettings()

    def setUp(self) -> None:
        """
        Member ids are C{c-1}, C{c-2}.
        """
        self.clock = Clock()
        self.clock.rightNow = BEGIN
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.image = FakeImage()
        self.ids = count(1)
        self.incarnations = count(100)
        self.start()
        self.addCleanup(lambda: self.now(self.coordinator.stop()))

    def start(self) -> None:
        """
        A coordinator that has just been started, in place of any other, which
        is as good as dead.
        """
        self.store = HostileMetadataStore(self.inner, let_pass)
        self.coordinator = GroupCoordinator(
            self.store, self.image, self.clock, self.settings, lambda: str(next(self.ids))
        )
        self.now(load(self.coordinator, next(self.incarnations)))

    def restart(self) -> None:
        """
        C{kill -9}, and a new one.
        """
        self.store.cut()
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.start()

    # -- asking ----------------------------------------------------------------

    def begin(self, awaitable: Awaitable[T]) -> Deferred[T]:
        """
        Ask, without waiting for the answer.
        """

        async def wait() -> T:
            return await awaitable

        asked = Deferred.fromCoroutine(wait())
        self.addCleanup(asked.addErrback, lambda _: None)  # of some nobody wants the answer
        return asked

    def now(self, awaitable: Awaitable[T]) -> T:
        """
        The answer, which must come at once.
        """
        return self.successResultOf(self.begin(awaitable))

    def wait(self, seconds: float) -> None:
        """
        Time passes; none of it while the broker would not have listened.
        """
        steps = int(seconds * 4)
        self.clock.pump([0.25] * steps)
        self.clock.advance(seconds - steps * 0.25)

    def refused(self, kind: type[KafkaError], asked: Deferred[Any]) -> None:
        """
        The answer is this error.
        """
        self.failureResultOf(asked, kind)

    def join(self, **changes: Any) -> Deferred[JoinResult]:
        """
        Somebody joins.
        """
        return self.begin(self.coordinator.join(joining(**changes)))

    def sync(
        self, joined: JoinResult, parts: Mapping[str, bytes] | None = None, **changes: Any
    ) -> Deferred[SyncResult]:
        """
        Somebody who has joined asks for its part.
        """
        group = changes.pop("group", "g")
        member = attrs.evolve(member_of(joined), **changes)
        return self.begin(self.coordinator.sync(group, member, None, None, parts or {}))

    def commit(
        self,
        member: MemberIdentity,
        offset: int = 5,
        group: str = "g",
        partition: TopicIdPartition = (TOPIC.topic_id, 0),
    ) -> Deferred[None]:
        """
        Somebody commits; for partition 0 of the first topic, if not told
        otherwise.
        """
        at = round(self.clock.seconds() * 1000)
        offsets = {partition: CommittedOffset(offset, 3, "note", at)}
        return self.begin(self.coordinator.commit_offsets(group, member, offsets))

    def committed(self, group: str = "g") -> dict[TopicIdPartition, int]:
        """
        The offsets that are committed.
        """
        committed = self.coordinator.committed_offsets(group)
        return {partition: each.offset for partition, each in committed.items()}

    # -- groups that have come about -------------------------------------------

    def round(self, *members: Mapping[str, Any]) -> list[JoinResult]:
        """
        These join together, and are in a generation that nobody has assigned
        yet; the first of a new group leads it.
        """
        asked = [self.join(**member) for member in members]
        self.wait(2 * self.settings.initial_delay)  # once more, as more than one came
        return [self.successResultOf(each) for each in asked]

    def stable(self, *members: Mapping[str, Any]) -> list[JoinResult]:
        """
        These are the members of a stable group; the part of each is its member
        id.
        """
        joined = self.round(*members)
        group = members[0].get("group", "g")
        parts = {each.member_id: each.member_id.encode() for each in joined}
        asked = [
            self.sync(each, parts if each.member_id == each.leader else {}, group=group)
            for each in joined
        ]
        for each in asked:
            self.successResultOf(each)
        return joined

    def state(self, group: str = "g") -> str:
        """
        As tools are told.
        """
        return self.coordinator.describe(group).state

    def beat(self, joined: JoinResult, group: str = "g") -> None:
        """
        A heartbeat.
        """
        self.coordinator.heartbeat(group, member_of(joined))


def member_of(joined: JoinResult, instance_id: str | None = None) -> MemberIdentity:
    """
    Who has joined so, as it calls itself from then on.
    """
    return MemberIdentity(joined.member_id, joined.generation, instance_id)


SIMPLE = MemberIdentity()
"""A consumer that is in no generation."""
