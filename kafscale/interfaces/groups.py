"""
The coordinator of consumer groups.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from enum import Enum
from uuid import UUID

import attrs
from zope.interface import Interface

from kafscale.errors import KafkaError
from kafscale.format.offset import CommittedOffset
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
class JoinParameters:
    """
    What a member states in JoinGroup.

    @ivar member_id: Empty if it has none yet.
    @ivar instance_id: C{group.instance.id} of a static member (KIP-345).
    @ivar session_timeout_ms: How long it may send nothing.
    @ivar rebalance_timeout_ms: How long it may take to join again; -1 if its
        version of JoinGroup does not say.
    @ivar protocols: Pairs of name and metadata, the preferred one first.
    @ivar requires_known_member_id: Whether a member without id is to get one
        first, and join again with that (KIP-394).
    @ivar supports_skipping_assignment: Whether the member understands
        L{JoinResult.skip_assignment}.
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
    requires_known_member_id: bool = False
    supports_skipping_assignment: bool = False


@attrs.frozen
class JoinedMember:
    """
    A member, as the leader of its group gets it.
    """

    member_id: str
    instance_id: str | None
    metadata: bytes


@attrs.frozen
class JoinResult:
    """
    The generation that a member has joined.

    @ivar generation: -1 if it has not joined yet: it must join again with the
        id in C{member_id} (MEMBER_ID_REQUIRED).
    @ivar leader: Member id of the leader.
    @ivar members: All members; empty for all but the leader.
    @ivar skip_assignment: Whether the leader need not assign, because nothing
        has changed (KIP-814).
    """

    member_id: str
    generation: int = -1
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    members: Sequence[JoinedMember] = ()
    skip_assignment: bool = False


@attrs.frozen
class MemberIdentity:
    """
    The member that a request says that it comes from.

    @ivar generation: -1 if the client is in no generation.
    """

    member_id: str = ""
    generation: int = -1
    instance_id: str | None = None


@attrs.frozen
class SyncResult:
    """
    What the leader has assigned to a member, as the leader wrote it.
    """

    protocol_type: str
    protocol: str
    assignment: bytes


@attrs.frozen
class MemberDescription:
    """
    A member, as DescribeGroups shows it. Metadata and assignment are empty
    unless the group is stable.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@attrs.frozen
class GroupDescription:
    """
    A group, as DescribeGroups and ListGroups show it.

    @ivar state: The value of a L{GroupState}.
    @ivar protocol: Empty unless the group is stable.
    """

    name: str
    state: str
    protocol_type: str
    protocol: str
    members: Sequence[MemberDescription]


class IGroupCoordinator(Interface):
    """
    The groups that this broker coordinates, and their committed offsets.

    Every method that names a group raises C{CoordinatorLoadInProgress} while
    the group is being read from the metadata store, and C{NotCoordinator} if
    another broker coordinates it.
    """

    def begin(incarnation: int) -> None:
        """
        Coordinate as this incarnation of the broker, which owns no shard of the
        groups yet. All requests that wait are answered NOT_COORDINATOR.
        """

    def own(numbers: Collection[int]) -> Awaitable[None]:
        """
        Coordinate the groups of these shards, and of no others. The groups of
        shards that are new are read from the metadata store, and go on in their
        generations. Not to be called again before the result fires.
        """

    def join(parameters: JoinParameters) -> Awaitable[JoinResult]:
        """
        Join the next generation of a group (JoinGroup). Fires when it is formed.

        @raise KafkaError: INVALID_GROUP_ID, INVALID_SESSION_TIMEOUT,
            INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
            GROUP_MAX_SIZE_REACHED, REBALANCE_IN_PROGRESS.
        """

    def sync(
        group: str,
        member: MemberIdentity,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
    ) -> Awaitable[SyncResult]:
        """
        The assignment of a member (SyncGroup). Fires when the leader has sent
        the assignments of all members, and they are durable.

        @param protocol_type: What the member takes it for; None if its version
            of SyncGroup does not say.
        @param protocol: Likewise.
        @param assignments: From the leader, by member id; else empty.
        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS,
            INCONSISTENT_GROUP_PROTOCOL.
        """

    def heartbeat(group: str, member: MemberIdentity) -> None:
        """
        Restart the session timeout of a member.

        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """

    def leave(group: str, member_id: str, instance_id: str | None) -> None:
        """
        Remove a member (LeaveGroup).

        @param member_id: May be empty for a static member.
        @raise KafkaError: INVALID_GROUP_ID, UNKNOWN_MEMBER_ID,
            FENCED_INSTANCE_ID.
        """

    def commit_offsets(
        group: str, member: MemberIdentity, offsets: Mapping[TopicIdPartition, CommittedOffset]
    ) -> Awaitable[None]:
        """
        Commit offsets. Fires when they are durable.

        @raise KafkaError: GROUP_ID_NOT_FOUND (the group does not exist, and the
            request names a generation of it), UNKNOWN_MEMBER_ID,
            ILLEGAL_GENERATION, FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """

    def committed_offsets(group: str) -> Mapping[TopicIdPartition, CommittedOffset]:
        """
        The committed offsets that are durable. Empty if there is no such group.
        """

    def delete_offsets(
        group: str, wanted: Sequence[TopicIdPartition], topics: Mapping[UUID, str]
    ) -> Awaitable[Mapping[TopicIdPartition, KafkaError]]:
        """
        Delete committed offsets. Fires when that is durable.

        @param topics: The names of the topics, by id.
        @return: The partitions whose offsets are kept, with the reason:
            GROUP_SUBSCRIBED_TO_TOPIC.
        @raise KafkaError: INVALID_GROUP_ID, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP (the
            group has members, and their protocol type is not C{consumer}).
        """

    def describe(group: str) -> GroupDescription:
        """
        A group with its members.

        @raise GroupIdNotFound: there is no such group.
        """

    def groups() -> Sequence[GroupDescription]:
        """
        All groups that this broker coordinates, by name, without their members.

        @raise CoordinatorLoadInProgress: some groups are being read.
        """

    def delete(group: str) -> Awaitable[None]:
        """
        Delete a group and its committed offsets. Fires when that is durable.

        @raise KafkaError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
        """
