"""
All groups that this broker coordinates, and their committed offsets.

Heartbeats and waiting requests are in memory only. The metadata store has the
generation, members and assignment of a group as of its last complete round, and
all committed offsets. So when a broker restarts, or another one takes over, a
group goes on in its generation, and its members need not join again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import (
    CoordinatorLoadInProgress,
    GroupIdNotFound,
    GroupSubscribedToTopic,
    InvalidGroupId,
    InvalidSessionTimeout,
    KafkaError,
    NonEmptyGroup,
    NotCoordinator,
    UnknownMemberId,
)
from kafscale.format import metadata_keys
from kafscale.format.group import GroupRecord
from kafscale.format.offset import CommittedOffset
from kafscale.format.partition import TopicIdPartition
from kafscale.group.group import Group
from kafscale.group.offsets import Offsets
from kafscale.group.offsets_topic import OffsetsTopic
from kafscale.group.records import record_of, restore
from kafscale.group.settings import CHECK_SECONDS, GroupSettings
from kafscale.group.shard import Shard
from kafscale.group.subscription import CONSUMER, subscribed
from kafscale.interfaces import (
    Delete,
    Entry,
    GroupDescription,
    GroupState,
    IGroupCoordinator,
    IImage,
    IMetadataStore,
    IShardTenant,
    JoinParameters,
    JoinResult,
    MemberIdentity,
    Put,
    SyncResult,
)
from kafscale.wire.schema import NOT_TEXT


@attrs.frozen
class CoordinatedGroup:
    """
    A group with its committed offsets, and the shard that stores both.
    """

    group: Group
    shard: Shard
    offsets: Offsets

    def expired(
        self, now: float, retention: float, names: Mapping[object, str]
    ) -> list[TopicIdPartition]:
        """
        See L{Offsets.expired}.
        """
        return self.offsets.expired(self.group, now, retention, names)

    def delete_offsets(self, partitions: Sequence[TopicIdPartition]) -> Deferred[None]:
        """
        Delete the offsets committed for these partitions. Fires when that is
        durable.
        """
        deletions = [Delete(self.offsets.key(partition)) for partition in partitions]
        self.offsets.remove(partitions)
        return self.shard.write(deletions)


@implementer(IGroupCoordinator)
class GroupCoordinator:
    """
    Coordinates the groups of the shards that it owns, once they are loaded.
    """

    _log = Logger()

    def __init__(
        self,
        store: IMetadataStore,
        image: IImage,
        clock: IReactorTime,
        settings: GroupSettings,
        new_id: Callable[[], str],
        lost: Callable[[], None] = lambda: None,
        offsets_topic: OffsetsTopic | None = None,
        tenants: Sequence[IShardTenant] = (),
    ) -> None:
        """
        @param store: Groups and committed offsets are stored there.
        @param image: Knows the topics that exist.
        @param clock: In seconds since 1970, because offsets expire after days.
        @param settings: Bounds and waits.
        @param new_id: Returns text that no other member id contains.
        @param lost: Called when another broker turns out to own a shard.
        @param offsets_topic: Shows what is committed.
        @param tenants: Whose state is in the same shards.
        """
        self._store = store
        self._image = image
        self._clock = clock
        self._settings = settings
        self._new_id = new_id
        self._lost = lost
        self._offsets_topic = offsets_topic
        self._tenants = tenants
        self._incarnation = 0
        self._groups: dict[str, CoordinatedGroup] = {}
        self._shards: dict[int, Shard] = {}
        self._loading: set[int] = set()
        self._stopped = False
        self._next_expiry: IDelayedCall | None = None

    # -- life ------------------------------------------------------------------

    def begin(self, incarnation: int) -> None:
        """
        See L{IGroupCoordinator.begin}.
        """
        self._release(list(self._shards))
        self._incarnation = incarnation
        self._expect(range(metadata_keys.SHARDS))
        if self._next_expiry is None:
            self._next_expiry = self._clock.callLater(CHECK_SECONDS, self._expire)

    async def own(self, numbers: Collection[int]) -> None:
        """
        See L{IGroupCoordinator.own}.
        """
        self._release([number for number in self._shards if number not in numbers])
        new = [number for number in numbers if number not in self._shards]
        self._expect(new)
        incarnation = self._incarnation
        shown = self._offsets_topic
        committed = None if shown is None else shown.committed
        shards = [
            Shard(self._store, number, incarnation, self._shard_lost, committed) for number in new
        ]
        # All at once, so that the store writes them together.
        await map_bounded(Shard.take, shards, limit=len(shards))
        groups, offsets = await self._read(shards)
        if self._stopped or incarnation != self._incarnation:
            self._release_tenants(new)
            return
        self._shards |= {shard.number: shard for shard in shards}
        if shown is not None:
            for shard in shards:
                shown.begin(shard.number, shard.sequence)
        self._loading -= set(new)
        for entry in groups:
            name = metadata_keys.group_of(entry.key)
            coordinated = self._groups[name] = self._new(name)
            restore(coordinated.group, GroupRecord.from_entry(entry))
        topic_ids: set[UUID] = set()
        for entry in offsets:
            name, partition = metadata_keys.offset_of(entry.key)
            if name not in self._groups:
                self._groups[name] = self._new(name)
            self._groups[name].offsets.put(partition, CommittedOffset.from_entry(entry))
            topic_ids.add(partition[0])
        for shard in shards:
            if shard.is_lost:  # found by a tenant meanwhile
                self._shard_lost(shard)
        for topic_id in await self._image.gone(sorted(topic_ids)):
            self.topic_deleted(topic_id)

    async def _read(self, shards: Sequence[Shard]) -> tuple[list[Entry], list[Entry]]:
        """
        What is stored of the groups of these shards, and their offsets. Tenants load
        theirs.
        """
        groups: list[Entry] = []
        offsets: list[Entry] = []
        try:
            for shard in shards:
                groups += (await self._store.range(metadata_keys.groups(shard.number)))[0]
                offsets += (await self._store.range(metadata_keys.offsets(shard.number)))[0]
                for tenant in self._tenants:
                    await tenant.load(shard)
        except Exception:
            self._release_tenants([shard.number for shard in shards])
            raise
        return groups, offsets

    async def stop(self) -> None:
        """
        Coordinate no group any longer. Requests that wait are answered
        NOT_COORDINATOR at once. Returns when all writes under way have ended.
        """
        self._stopped = True
        if self._next_expiry is not None and self._next_expiry.active():
            self._next_expiry.cancel()
        shards = list(self._shards.values())
        self._expect(())
        self._release(list(self._shards))
        for shard in shards:
            await shard.idle()

    def _release(self, numbers: Collection[int]) -> None:
        """
        Coordinate the groups of these shards no longer.
        """
        for number in numbers:
            shard = self._shards.pop(number)
            self._release_tenants([number])
            if self._offsets_topic is not None:
                self._offsets_topic.end(number)
            for name, coordinated in list(self._groups.items()):
                if coordinated.shard is shard:
                    del self._groups[name]
                    coordinated.group.end(NotCoordinator())

    def _expect(self, numbers: Collection[int]) -> None:
        """
        These shards are being taken.
        """
        self._loading = set(numbers)
        for tenant in self._tenants:
            tenant.expect(numbers)

    def _release_tenants(self, numbers: Collection[int]) -> None:
        for tenant in self._tenants:
            for number in numbers:
                tenant.release(number)

    def _shard_lost(self, shard: Shard) -> None:
        if self._shards.get(shard.number) is shard:
            self._release([shard.number])
            self._lost()

    def _new(self, name: str) -> CoordinatedGroup:
        group = Group(name, self._clock, self._settings, self._new_id, self._store_group)
        return CoordinatedGroup(group, self._shard(name), Offsets(metadata_keys.offsets_of(name)))

    def _shard(self, name: str) -> Shard:
        """
        The shard of a group.

        @raise CoordinatorLoadInProgress: it is being read.
        @raise NotCoordinator: another broker owns it.
        """
        number = metadata_keys.shard_of(name)
        shard = self._shards.get(number)
        if shard is None:
            raise CoordinatorLoadInProgress if number in self._loading else NotCoordinator
        return shard

    def find(self, name: str) -> CoordinatedGroup | None:
        """
        The group of this name, or None if there is none.

        @raise InvalidGroupId: the name was not UTF-8; different names would be the same.
        @raise KafkaError: as L{_shard}.
        """
        if NOT_TEXT in name:
            raise InvalidGroupId
        self._shard(name)
        return self._groups.get(name)

    def _find_for_member(self, name: str) -> Group:
        coordinated = self.find(name)
        if not name:
            raise InvalidGroupId  # a group without a name has no members, only offsets
        if coordinated is None:
            raise UnknownMemberId
        return coordinated.group

    def _find_existing(self, name: str) -> CoordinatedGroup:
        coordinated = self.find(name)
        if coordinated is None:
            raise GroupIdNotFound
        return coordinated

    # -- members ---------------------------------------------------------------

    async def join(self, parameters: JoinParameters) -> JoinResult:
        """
        See L{IGroupCoordinator.join}.
        """
        coordinated = self.find(parameters.group)
        if not parameters.group:
            raise InvalidGroupId
        seconds = parameters.session_timeout_ms / 1000
        if not self._settings.min_session <= seconds <= self._settings.max_session:
            raise InvalidSessionTimeout
        if coordinated is None:
            if parameters.member_id:
                raise UnknownMemberId
            coordinated = self._new(parameters.group)
            answer = coordinated.group.join(parameters)  # if it raises, there is no group
            self._groups[parameters.group] = coordinated
            if coordinated.group.state is GroupState.EMPTY:
                # Its first member was only given an id. Until it joins, the group is listed
                # as an empty one, also after a restart (as in Kafka).
                await self._store_group(coordinated.group, {})
            return await answer
        return await coordinated.group.join(parameters)

    async def sync(
        self,
        group: str,
        member: MemberIdentity,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
    ) -> SyncResult:
        """
        See L{IGroupCoordinator.sync}.
        """
        return await self._find_for_member(group).sync(member, protocol_type, protocol, assignments)

    def heartbeat(self, group: str, member: MemberIdentity) -> None:
        """
        See L{IGroupCoordinator.heartbeat}.
        """
        self._find_for_member(group).heartbeat(member)

    def leave(self, group: str, member_id: str, instance_id: str | None) -> None:
        """
        See L{IGroupCoordinator.leave}.
        """
        self._find_for_member(group).leave(member_id, instance_id)

    # -- offsets ---------------------------------------------------------------

    async def commit_offsets(
        self,
        group: str,
        member: MemberIdentity,
        offsets: Mapping[TopicIdPartition, CommittedOffset],
    ) -> None:
        """
        See L{IGroupCoordinator.commit_offsets}.
        """
        coordinated = self.find(group)
        if coordinated is None:
            if member.generation >= 0:
                raise GroupIdNotFound
            if not offsets:
                return
            coordinated = self._groups[group] = self._new(group)
        coordinated.group.check_commit(member)
        key = coordinated.offsets.key
        puts = [Put(key(partition), each.to_json()) for partition, each in offsets.items()]
        ticket, durable = coordinated.offsets.begin(offsets), False
        try:
            await coordinated.shard.write(puts)
            durable = True
        finally:
            coordinated.offsets.end(ticket, offsets, durable)

    def committed_offsets(self, group: str) -> Mapping[TopicIdPartition, CommittedOffset]:
        """
        See L{IGroupCoordinator.committed_offsets}.
        """
        coordinated = self.find(group)
        return {} if coordinated is None else coordinated.offsets.durable()

    async def delete_offsets(
        self, group: str, wanted: Sequence[TopicIdPartition], topics: Mapping[UUID, str]
    ) -> Mapping[TopicIdPartition, KafkaError]:
        """
        See L{IGroupCoordinator.delete_offsets}.
        """
        if not group:
            raise InvalidGroupId
        coordinated = self._find_existing(group)
        members = coordinated.group.members
        if members and coordinated.group.protocol_type != CONSUMER:
            raise NonEmptyGroup
        subscription = subscribed(coordinated.group)
        refused: dict[TopicIdPartition, KafkaError] = {
            partition: GroupSubscribedToTopic()
            for partition in wanted
            if subscription is None or topics.get(partition[0]) in subscription
        }
        await coordinated.delete_offsets([each for each in wanted if each not in refused])
        return refused

    def topic_deleted(self, topic_id: UUID) -> None:
        """
        Delete all offsets committed for a deleted topic, in the background.
        """
        for name, coordinated in list(self._groups.items()):
            self._delete_offsets(name, coordinated.offsets.of_topic(topic_id))

    # -- tools -----------------------------------------------------------------

    def describe(self, group: str) -> GroupDescription:
        """
        See L{IGroupCoordinator.describe}.
        """
        return self._find_existing(group).group.describe(with_members=True)

    def groups(self) -> Sequence[GroupDescription]:
        """
        See L{IGroupCoordinator.groups}.
        """
        if self._stopped:
            raise NotCoordinator
        if self._loading:
            raise CoordinatorLoadInProgress
        return [
            self._groups[name].group.describe(with_members=False) for name in sorted(self._groups)
        ]

    async def delete(self, group: str) -> None:
        """
        See L{IGroupCoordinator.delete}.
        """
        coordinated = self._find_existing(group)
        if coordinated.group.state is not GroupState.EMPTY:
            raise NonEmptyGroup
        await self._delete_group(group, coordinated)

    # -- writing ---------------------------------------------------------------

    def _store_group(self, group: Group, assignments: Mapping[str, bytes]) -> Deferred[None]:
        coordinated = self._groups.get(group.name)
        if coordinated is None or coordinated.group is not group:
            return succeed(None)  # the group was deleted, or its first member is being refused
        return coordinated.shard.write(
            [Put(metadata_keys.group(group.name), record_of(group, assignments).to_json())]
        )

    def _delete_offsets(self, name: str, partitions: Sequence[TopicIdPartition]) -> None:
        """
        Delete committed offsets in the background.
        """
        if partitions:
            deleting = self._groups[name].delete_offsets(partitions)
            deleting.addErrback(self._could_not_delete, name)

    def _delete_group(self, name: str, coordinated: CoordinatedGroup) -> Deferred[None]:
        deletions = [Delete(coordinated.offsets.key(each)) for each in coordinated.offsets.all()]
        deleted = coordinated.shard.write([Delete(metadata_keys.group(name)), *deletions])
        del self._groups[name]
        coordinated.group.end(GroupIdNotFound())
        return deleted

    def _expire(self) -> None:
        """
        Delete expired offsets, and groups that have neither members nor
        offsets.
        """
        self._next_expiry = self._clock.callLater(CHECK_SECONDS, self._expire)
        names: dict[object, str] = {topic.topic_id: topic.name for topic in self._image.topics()}
        now = self._clock.seconds()
        for name, coordinated in list(self._groups.items()):
            self._delete_offsets(name, coordinated.expired(now, self._settings.retention, names))
            if coordinated.group.is_vacant and not coordinated.offsets.all():
                self._delete_group(name, coordinated).addErrback(self._could_not_delete, name)

    def _could_not_delete(self, failure: object, name: str) -> None:
        self._log.warn(
            "group {name}: could not delete its old offsets from the metadata store; they are"
            " deleted when the group is loaded next: {failure}",
            name=name,
            failure=failure,
        )
