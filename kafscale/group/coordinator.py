"""
All groups of this broker, and what they have committed.

Members and their heartbeats are in memory. In the metadata store are a group's
generation, members and assignment as of its last complete round, and all
commits: so a broker that starts again goes on where it stood, and members that
have not noticed have lost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from kafscale.format.partition import TopicIdPartition
from kafscale.group.group import Group
from kafscale.group.offsets import Offsets
from kafscale.group.records import group_value, offset_from, offset_value, restore_group
from kafscale.group.settings import CHECK_SECONDS, GroupSettings
from kafscale.group.shard import Shard
from kafscale.group.subscription import CONSUMER, subscribed
from kafscale.interfaces import (
    CommittedOffset,
    Delete,
    DescribedGroup,
    Entry,
    GroupState,
    ICoordinator,
    IImage,
    IMetadataStore,
    Joined,
    Joining,
    Membership,
    Put,
    Synced,
)


@attrs.frozen
class CoordinatedGroup:
    """
    A group with its committed offsets, and the shard that stores both.
    """

    group: Group
    shard: Shard
    offsets: Offsets

    def deletions(self, partitions: Iterable[TopicIdPartition]) -> list[Delete]:
        """
        The operations that delete the offsets committed for these partitions.
        """
        return [Delete(self.offsets.key(partition)) for partition in partitions]


@implementer(ICoordinator)
class Coordinator:
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
    ) -> None:
        """
        @param clock: In seconds since 1970, as commits are kept for days.
        @param new_id: Gives text that no other member id has.
        @param lost: Called when another turns out to own a shard.
        """
        self._store = store
        self._image = image
        self._clock = clock
        self._settings = settings
        self._new_id = new_id
        self._lost = lost
        self._incarnation = 0
        self._kept: dict[str, CoordinatedGroup] = {}
        self._shards: dict[int, Shard] = {}
        self._loading: set[int] = set()
        self._stopped = False
        self._check: IDelayedCall | None = None

    # -- beginning and end -----------------------------------------------------

    def begin(self, incarnation: int) -> None:
        """
        See L{ICoordinator.begin}.
        """
        self._let_go(list(self._shards))
        self._incarnation = incarnation
        self._loading = set(range(metadata_keys.SHARDS))
        if self._check is None:
            self._check = self._clock.callLater(CHECK_SECONDS, self._look_through)

    async def own(self, numbers: Collection[int]) -> None:
        """
        See L{ICoordinator.own}.
        """
        self._let_go([number for number in self._shards if number not in numbers])
        new = [number for number in numbers if number not in self._shards]
        self._loading = set(new)
        incarnation = self._incarnation
        shards = [Shard(self._store, number, incarnation, self._shard_lost) for number in new]
        # All at once, so that the store writes them together.
        await map_bounded(Shard.take, shards, limit=len(shards))
        groups: list[Entry] = []
        offsets: list[Entry] = []
        for shard in shards:
            groups += (await self._store.range(metadata_keys.groups(shard.number)))[0]
            offsets += (await self._store.range(metadata_keys.offsets(shard.number)))[0]
        if self._stopped or incarnation != self._incarnation:
            return
        self._shards |= {shard.number: shard for shard in shards}
        self._loading -= set(new)
        for entry in groups:
            name = metadata_keys.group_of(entry.key)
            kept = self._kept[name] = self._new(name)
            restore_group(kept.group, entry.value)
        read: set[UUID] = set()
        for entry in offsets:
            name, where = metadata_keys.offset_of(entry.key)
            if name not in self._kept:
                self._kept[name] = self._new(name)
            self._kept[name].offsets.put(where, offset_from(entry.value))
            read.add(where[0])
        for topic_id in await self._image.gone(sorted(read)):
            self.topic_deleted(topic_id)

    async def stop(self) -> None:
        """
        Coordinate nothing any more; who waits for an answer is told so at
        once. Returns when what is being written is written.
        """
        self._stopped = True
        if self._check is not None and self._check.active():
            self._check.cancel()
        shards = list(self._shards.values())
        self._loading.clear()
        self._let_go(list(self._shards))
        for shard in shards:
            await shard.idle()

    def _let_go(self, numbers: Collection[int]) -> None:
        """
        These are others' to coordinate.
        """
        for number in numbers:
            shard = self._shards.pop(number)
            for name, kept in list(self._kept.items()):
                if kept.shard is shard:
                    del self._kept[name]
                    kept.group.end(NotCoordinator())

    def _shard_lost(self, shard: Shard) -> None:
        if self._shards.get(shard.number) is shard:
            self._let_go([shard.number])
            self._lost()

    def _new(self, name: str) -> CoordinatedGroup:
        group = Group(name, self._clock, self._settings, self._new_id, self._store_group)
        return CoordinatedGroup(group, self._shard(name), Offsets(metadata_keys.offsets_of(name)))

    def _shard(self, name: str) -> Shard:
        """
        The shard of a group.

        @raise KafkaError: it is another's, or not loaded yet.
        """
        number = metadata_keys.shard_of(name)
        shard = self._shards.get(number)
        if shard is None:
            raise CoordinatorLoadInProgress if number in self._loading else NotCoordinator
        return shard

    def _found(self, name: str) -> CoordinatedGroup | None:
        """
        The group of that name, if there is one.

        @raise KafkaError: that cannot be known here, or not yet.
        """
        self._shard(name)
        return self._kept.get(name)

    def _joined(self, name: str) -> Group:
        kept = self._found(name)
        if not name:
            raise InvalidGroupId  # only commits may be of a group without a name
        if kept is None:
            raise UnknownMemberId
        return kept.group

    def _present(self, name: str) -> CoordinatedGroup:
        kept = self._found(name)
        if kept is None:
            raise GroupIdNotFound
        return kept

    # -- members ---------------------------------------------------------------

    async def join(self, joining: Joining) -> Joined:
        """
        See L{ICoordinator.join}.
        """
        kept = self._found(joining.group)
        if not joining.group:
            raise InvalidGroupId
        seconds = joining.session_timeout_ms / 1000
        if not self._settings.min_session <= seconds <= self._settings.max_session:
            raise InvalidSessionTimeout
        if kept is None:
            if joining.member_id:
                raise UnknownMemberId
            kept = self._new(joining.group)
            answer = kept.group.join(joining)  # it may be refused
            self._kept[joining.group] = kept
            return await answer
        return await kept.group.join(joining)

    async def sync(
        self,
        group: str,
        member: Membership,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
    ) -> Synced:
        """
        See L{ICoordinator.sync}.
        """
        return await self._joined(group).sync(member, protocol_type, protocol, assignments)

    def heartbeat(self, group: str, member: Membership) -> None:
        """
        See L{ICoordinator.heartbeat}.
        """
        self._joined(group).heartbeat(member)

    def leave(self, group: str, member_id: str, instance_id: str | None) -> None:
        """
        See L{ICoordinator.leave}.
        """
        self._joined(group).leave(member_id, instance_id)

    # -- commits ---------------------------------------------------------------

    async def commit(
        self, group: str, member: Membership, offsets: Mapping[TopicIdPartition, CommittedOffset]
    ) -> None:
        """
        See L{ICoordinator.commit}.
        """
        kept = self._found(group)
        if kept is None:
            if member.generation >= 0:
                raise GroupIdNotFound
            if not offsets:
                return
            kept = self._kept[group] = self._new(group)
        kept.group.check_commit(member)
        key = kept.offsets.key
        puts = [Put(key(where), offset_value(offset)) for where, offset in offsets.items()]
        ticket, durable = kept.offsets.begin(offsets), False
        try:
            await kept.shard.write(puts)
            durable = True
        finally:
            kept.offsets.end(ticket, offsets, durable)

    def committed(self, group: str) -> Mapping[TopicIdPartition, CommittedOffset]:
        """
        See L{ICoordinator.committed}.
        """
        kept = self._found(group)
        return {} if kept is None else kept.offsets.durable()

    async def forget(
        self, group: str, wanted: Sequence[TopicIdPartition], topics: Mapping[UUID, str]
    ) -> Mapping[TopicIdPartition, KafkaError]:
        """
        See L{ICoordinator.forget}.
        """
        kept = self._present(group)
        members = kept.group.members
        if members and kept.group.protocol_type != CONSUMER:
            raise NonEmptyGroup
        read = subscribed(kept.group)
        refused: dict[TopicIdPartition, KafkaError] = {
            where: GroupSubscribedToTopic()
            for where in wanted
            if read is None or topics.get(where[0]) in read
        }
        gone = [where for where in wanted if where not in refused]
        deletions = kept.deletions(gone)
        kept.offsets.remove(gone)
        await kept.shard.write(deletions)
        return refused

    def topic_deleted(self, topic_id: UUID) -> None:
        """
        Nobody has read anything of it any more.
        """
        for name, kept in list(self._kept.items()):
            self._remove(name, kept.offsets.of_topic(topic_id))

    # -- groups as seen from outside -------------------------------------------

    def describe(self, group: str) -> DescribedGroup:
        """
        See L{ICoordinator.describe}.
        """
        return self._present(group).group.describe(with_members=True)

    def groups(self) -> Sequence[DescribedGroup]:
        """
        See L{ICoordinator.groups}.
        """
        if self._stopped:
            raise NotCoordinator
        if self._loading:
            raise CoordinatorLoadInProgress
        return [
            self._kept[name].group.describe(with_members=False) for name in sorted(self._kept)
        ]

    async def delete(self, group: str) -> None:
        """
        See L{ICoordinator.delete}.
        """
        kept = self._present(group)
        if kept.group.state is not GroupState.EMPTY:
            raise NonEmptyGroup
        await self._delete(group, kept)

    # -- keeping ---------------------------------------------------------------

    def _store_group(self, group: Group, assignments: Mapping[str, bytes]) -> Deferred[None]:
        kept = self._kept.get(group.name)
        if kept is None or kept.group is not group:
            return succeed(None)  # it was deleted, or its first member is being refused
        return kept.shard.write(
            [Put(metadata_keys.group(group.name), group_value(group, assignments))]
        )

    def _remove(self, name: str, gone: Sequence[TopicIdPartition]) -> None:
        """
        Forget commits in the background.
        """
        if gone:
            kept = self._kept[name]
            deletions = kept.deletions(gone)
            kept.offsets.remove(gone)
            removing = kept.shard.write(deletions)
            removing.addErrback(self._not_removed, name)

    def _delete(self, name: str, kept: CoordinatedGroup) -> Deferred[None]:
        deletions = kept.deletions(kept.offsets.all())
        deleted = kept.shard.write([Delete(metadata_keys.group(name)), *deletions])
        del self._kept[name]
        kept.group.end(GroupIdNotFound())
        return deleted

    def _look_through(self) -> None:
        """
        Forget what is old, and groups of which nothing is left.
        """
        self._check = self._clock.callLater(CHECK_SECONDS, self._look_through)
        names: dict[object, str] = {topic.topic_id: topic.name for topic in self._image.topics()}
        now = self._clock.seconds()
        for name, kept in list(self._kept.items()):
            retention = self._settings.retention
            self._remove(name, kept.offsets.expired(kept.group, now, retention, names))
            if kept.group.is_vacant and not kept.offsets.all():
                self._delete(name, kept).addErrback(self._not_removed, name)

    def _not_removed(self, failure: object, name: str) -> None:
        self._log.warn(
            "what is old in group {name} was not removed: {failure}", name=name, failure=failure
        )
