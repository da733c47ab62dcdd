"""
What the coordinator of consumer groups promises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from enum import Enum
from uuid import UUID

import attrs
from zope.interface import Interface

from kafscale.errors import KafkaError
from kafscale.format.partition import TopicIdPartition


class GroupState(Enum):
    """
    The state of a group, by the name that Kafka's tools show.
    """

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


@attrs.frozen
class Joining:
    """
    What a member brings when it joins.

    @ivar member_id: Empty at first.
    @ivar instance_id: Makes it a static member (KIP-345).
    @ivar session_timeout_ms: How long it may be silent.
    @ivar rebalance_timeout_ms: How long it may take to join again.
    @ivar protocols: Name and metadata, the most wanted first.
    @ivar takes_id_first: Whether it understands that it must come again with
        the id that it is given (KIP-394).
    @ivar may_skip: Whether it understands L{Joined.skip_assignment}.
    """

    group: str
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: Sequence[tuple[str, bytes]]
    takes_id_first: bool = False
    may_skip: bool = False


@attrs.frozen
class JoinedMember:
    """
    A member, as the leader of its group is told of it.
    """

    member_id: str
    instance_id: str | None
    metadata: bytes


@attrs.frozen
class Joined:
    """
    The round that a member has joined.

    @ivar generation: -1 if there is none yet: it must join again, under the
        id in C{member_id} (MEMBER_ID_REQUIRED).
    @ivar leader: Member id of the one that assigns.
    @ivar members: All of them, told to the leader only.
    @ivar skip_assignment: The leader need not assign: nothing has changed
        (KIP-814).
    """

    member_id: str
    generation: int = -1
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    members: Sequence[JoinedMember] = ()
    skip_assignment: bool = False


@attrs.frozen
class Membership:
    """
    Who a request says that it comes from.

    @ivar generation: -1 from one who is in no generation.
    """

    member_id: str = ""
    generation: int = -1
    instance_id: str | None = None


@attrs.frozen
class Synced:
    """
    A member's part of the work, as the leader wrote it.
    """

    protocol_type: str
    protocol: str
    assignment: bytes


@attrs.frozen
class CommittedOffset:
    """
    How far a group has read in one partition.

    @ivar offset: The next to be read.
    @ivar leader_epoch: Of the record read last; -1 if unknown.
    @ivar metadata: A note of the consumer's.
    @ivar committed_ms: When it was committed, in ms.
    @ivar expires_ms: When it is to be forgotten, if the consumer said so;
        otherwise -1.
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    committed_ms: int = -1
    expires_ms: int = -1




@attrs.frozen
class DescribedMember:
    """
    A member, as it is shown. Metadata and assignment are empty while the
    group rebalances.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@attrs.frozen
class DescribedGroup:
    """
    A group, as it is shown.

    @ivar state: The value of a L{GroupState}.
    @ivar protocol: Empty while the group rebalances.
    """

    name: str
    state: str
    protocol_type: str
    protocol: str
    members: Sequence[DescribedMember]


class ICoordinator(Interface):
    """
    The groups that this broker coordinates, and how far they have read. All
    methods raise `CoordinatorLoadInProgress` while these are read from the
    store, and `NotCoordinator` when somebody else coordinates the group.
    """

    def begin(incarnation: int) -> None:
        """
        Coordinate as this incarnation of the broker, which owns no shard of
        the groups yet. Who waits for an answer of before, if there was a
        before, must look for the coordinator.
        """

    def own(numbers: Collection[int]) -> Awaitable[None]:
        """
        Coordinate the groups of these shards, and no others: those that are
        new go on where their groups stood. One call after the other.
        """

    def join(joining: Joining) -> Awaitable[Joined]:
        """
        Take part in the group's next generation; answered when it is formed.

        @raise KafkaError: INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT,
            INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
            GROUP_MAX_SIZE_REACHED, REBALANCE_IN_PROGRESS.
        """

    def sync(
        group: str,
        member: Membership,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
    ) -> Awaitable[Synced]:
        """
        The member's part; answered when the leader has brought those of all,
        and they are durable.

        @param protocol_type: What the member takes it for; None: it does not
            say. So too C{protocol}.
        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS,
            INCONSISTENT_GROUP_PROTOCOL.
        """

    def heartbeat(group: str, member: Membership) -> None:
        """
        The member is still there.

        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """

    def leave(group: str, member_id: str, instance_id: str | None) -> None:
        """
        The member leaves. One with an instance id may be named by that alone.

        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            FENCED_INSTANCE_ID.
        """

    def commit(
        group: str, member: Membership, offsets: Mapping[TopicIdPartition, CommittedOffset]
    ) -> Awaitable[None]:
        """
        Durable when it is answered.

        @raise KafkaError: GROUP_ID_NOT_FOUND (there is no such group, but a
            generation of it), UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
            FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """

    def committed(group: str) -> Mapping[TopicIdPartition, CommittedOffset]:
        """
        What is committed; nothing for a group that is not there.
        """

    def forget(
        group: str, wanted: Sequence[TopicIdPartition], topics: Mapping[UUID, str]
    ) -> Awaitable[Mapping[TopicIdPartition, KafkaError]]:
        """
        Forget these commits. Returns those that are not forgotten, with the
        reason: GROUP_SUBSCRIBED_TO_TOPIC.

        @param topics: The names of the topics.
        @raise KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP (its members
            use another protocol than consumers).
        """

    def describe(group: str) -> DescribedGroup:
        """
        @raise GroupIdNotFound: there is none of that name.
        """

    def groups() -> Sequence[DescribedGroup]:
        """
        All groups, by name, without their members.
        """

    def delete(group: str) -> Awaitable[None]:
        """
        Forget a group and its commits.

        @raise KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
        """
