"""
A group coordinator on a metadata store in memory, and members that send it
requests.
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
from kafscale.format.offset import CommittedOffset
from kafscale.format.partition import TopicIdPartition
from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.offsets_topic import OffsetsTopic
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import (
    Broker,
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
from tests.harness.coroutines import begin
from tests.harness.hostile import HostileMetadataStore, let_pass

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
    An image with topics that a test adds and removes.

    @ivar known: Topics by id.
    @ivar unseen: Ids of topics that exist, but that the image has not seen yet.
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

    def reassignment(self, topic_id: UUID, index: int) -> None:
        """
        See L{IImage.reassignment}.
        """

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
    The parameters of a consumer that joins without a member id, and gets one
    with its first answer.
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
    One coordinator. Its store executes all operations at once, unless a test
    changes the policy.

    @ivar offsets_topic: What shows the commits of the next coordinator.
    """

    settings = GroupSettings()
    offsets_topic: OffsetsTopic | None = None

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
        Start a coordinator. The one before gets no more requests.
        """
        self.store = HostileMetadataStore(self.inner, let_pass)
        self.coordinator = GroupCoordinator(
            self.store,
            self.image,
            self.clock,
            self.settings,
            lambda: str(next(self.ids)),
            offsets_topic=self.offsets_topic,
        )
        self.now(load(self.coordinator, next(self.incarnations)))

    def restart(self) -> None:
        """
        Kill the coordinator as by C{kill -9}, and start another one.
        """
        self.store.cut()
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.start()

    # -- asking ----------------------------------------------------------------

    def begin(self, awaitable: Awaitable[T]) -> Deferred[T]:
        """
        Send a request, without waiting for its answer.
        """
        asked = begin(awaitable)
        self.addCleanup(asked.addErrback, lambda _: None)  # some answers are not looked at
        return asked

    def now(self, awaitable: Awaitable[T]) -> T:
        """
        Send a request whose answer must come at once.
        """
        return self.successResultOf(self.begin(awaitable))

    def wait(self, seconds: float) -> None:
        """
        Let time pass, in steps so small that no timeout is late.
        """
        steps = int(seconds * 4)
        self.clock.pump([0.25] * steps)
        self.clock.advance(seconds - steps * 0.25)

    def refused(self, kind: type[KafkaError], asked: Deferred[Any]) -> None:
        """
        Check that a request is answered with this error.
        """
        self.failureResultOf(asked, kind)

    def join(self, **changes: Any) -> Deferred[JoinResult]:
        """
        Send a JoinGroup.
        """
        return self.begin(self.coordinator.join(joining(**changes)))

    def sync(
        self, joined: JoinResult, assignments: Mapping[str, bytes] | None = None, **changes: Any
    ) -> Deferred[SyncResult]:
        """
        Send the SyncGroup of a member that has joined.
        """
        group = changes.pop("group", "g")
        member = attrs.evolve(member_of(joined), **changes)
        return self.begin(self.coordinator.sync(group, member, None, None, assignments or {}))

    def commit(
        self,
        member: MemberIdentity,
        offset: int = 5,
        group: str = "g",
        partition: TopicIdPartition = (TOPIC.topic_id, 0),
    ) -> Deferred[None]:
        """
        Commit an offset.
        """
        at = round(self.clock.seconds() * 1000)
        offsets = {partition: CommittedOffset(offset, 3, "note", at)}
        return self.begin(self.coordinator.commit_offsets(group, member, offsets))

    def committed(self, group: str = "g") -> dict[TopicIdPartition, int]:
        """
        The committed offsets.
        """
        committed = self.coordinator.committed_offsets(group)
        return {partition: each.offset for partition, each in committed.items()}

    # -- groups that have come about -------------------------------------------

    def round(self, *members: Mapping[str, Any]) -> list[JoinResult]:
        """
        Let these members join one generation. The first member of a new group
        leads it.
        """
        asked = [self.join(**member) for member in members]
        self.wait(2 * self.settings.initial_delay)  # once more, as more than one came
        return [self.successResultOf(each) for each in asked]

    def stable(self, *members: Mapping[str, Any]) -> list[JoinResult]:
        """
        Let these members join and sync, until the group is stable. Each is
        assigned its own member id.
        """
        joined = self.round(*members)
        group = members[0].get("group", "g")
        assignments = {each.member_id: each.member_id.encode() for each in joined}
        asked = [
            self.sync(each, assignments if each.member_id == each.leader else {}, group=group)
            for each in joined
        ]
        for each in asked:
            self.successResultOf(each)
        return joined

    def state(self, group: str = "g") -> str:
        """
        The state of a group, as DescribeGroups shows it.
        """
        return self.coordinator.describe(group).state

    def beat(self, joined: JoinResult, group: str = "g") -> None:
        """
        Send a heartbeat.
        """
        self.coordinator.heartbeat(group, member_of(joined))


def member_of(joined: JoinResult, instance_id: str | None = None) -> MemberIdentity:
    """
    The identity of a member that has joined.
    """
    return MemberIdentity(joined.member_id, joined.generation, instance_id)


SIMPLE = MemberIdentity()
"""A consumer that is in no generation."""
