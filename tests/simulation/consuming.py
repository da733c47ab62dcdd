"""
Consumers in groups, by the classic protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafscale import errors
from kafscale.errors import retriable
from kafscale.wire.messages import (
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)
from tests.simulation.network import Disconnected
from tests.simulation.reading import Name, Position, Reader

if TYPE_CHECKING:
    from tests.simulation.world import World

FIND_VERSION = 4
JOIN_VERSION = 9
SYNC_VERSION = 5
HEARTBEAT_VERSION = 4
LEAVE_VERSION = 5
COMMIT_VERSION = 9
OFFSETS_VERSION = 9

SESSION_MS = 30_000
REBALANCE_MS = 40_000
HEARTBEAT_SECONDS = 9.0
COMMIT_SECONDS = 8.0

REJOINS = {
    errors.RebalanceInProgress.code,
    errors.IllegalGeneration.code,
    errors.UnknownMemberId.code,
    errors.FencedInstanceId.code,
    errors.MemberIdRequired.code,
    errors.GroupIdNotFound.code,
}
ELSEWHERE = {errors.NotCoordinator.code, errors.CoordinatorNotAvailable.code}


class Rejoin(Exception):
    """
    The member has to join anew.
    """


class Member(Reader):
    """
    One consumer of a group. Its metadata and assignments are texts, C{topic
    index} on each line.
    """

    def __init__(
        self, world: World, name: str, group: str, topics: list[tuple[str, int]], rack: str = ""
    ) -> None:
        super().__init__(world, name, rack=rack)
        self.group = group
        self._topics = topics
        self._coordinator = -1
        self._member_id = ""
        self._generation = -1
        self._busy = False
        self._rejoin = False
        self._committed: dict[Name, int] = {}

    async def run(self, pause: float) -> None:
        """
        Join, read and commit until C{running} is false; then leave.
        """
        while self.running:
            try:
                await self._join()
                await self._consume(pause)
            except Rejoin:
                await self.pause(0.6)
            except Disconnected:
                self._coordinator = -1
                await self.pause(1.0)
        if self._member_id and self._coordinator >= 0:
            await self._leave()

    # -- the coordinator ------------------------------------------------------

    async def _find(self) -> None:
        while self._coordinator < 0:
            request = FindCoordinatorRequest(key_type=0, coordinator_keys=[self.group])
            broker_id = self.chance.choice(self.world.broker_ids())
            try:
                answer = (await self.ask(broker_id, request, FIND_VERSION)).coordinators[0]
            except Disconnected:
                await self.pause(1.5)
                continue
            if answer.error_code == 0:
                self._coordinator = answer.node_id
            else:
                self._expect_retriable(answer.error_code, "FindCoordinator")
                await self.pause(1.5)

    def _expect_retriable(self, code: int, what: str) -> None:
        self.world.checker.expect(retriable(code), f"{self.name}: {what}: {code}")

    async def _ask(self, request: Any, version: int, seconds: float = 15.0) -> Any:
        return await self.ask(self._coordinator, request, version, seconds)

    def _check(self, code: int, what: str) -> None:
        """
        @raise Rejoin: if it is an error.
        """
        if code == 0:
            return
        if code in ELSEWHERE:
            self._coordinator = -1
        elif code in (errors.UnknownMemberId.code, errors.FencedInstanceId.code):
            self._member_id = ""
        elif code not in REJOINS:
            self._expect_retriable(code, what)
        raise Rejoin

    # -- joining --------------------------------------------------------------

    async def _join(self) -> None:
        await self._find()
        self._rejoin = False
        self.positions = {}
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            member_id=self._member_id,
            protocol_type="test",
            protocols=[JoinGroupRequest.Protocol(name="share", metadata=b"")],
        )
        joined = await self._ask(request, JOIN_VERSION, REBALANCE_MS / 1000 + 20.0)
        if joined.error_code == errors.MemberIdRequired.code:
            self._member_id = joined.member_id
        self._check(joined.error_code, "JoinGroup")
        self._member_id = joined.member_id
        self._generation = joined.generation_id
        assignments = []
        if joined.leader == joined.member_id:
            assignments = self._share([member.member_id for member in joined.members])
        synced = await self._ask(
            SyncGroupRequest(
                group_id=self.group,
                generation_id=self._generation,
                member_id=self._member_id,
                protocol_type="test",
                protocol_name="share",
                assignments=assignments,
            ),
            SYNC_VERSION,
            REBALANCE_MS / 1000 + 20.0,
        )
        self._check(synced.error_code, "SyncGroup")
        names = _names(bytes(synced.assignment))
        self.world.groups.synced(
            self.group, self._generation, self._member_id, names, self._coordinator
        )
        await self._fetch_offsets(names)

    def _share(self, member_ids: list[str]) -> list[SyncGroupRequest.Assignment]:
        shares: dict[str, list[str]] = {member_id: [] for member_id in sorted(member_ids)}
        each = list(shares.values())
        number = 0
        for topic, partitions in self._topics:
            for index in range(partitions):
                each[number % len(each)].append(f"{topic} {index}")
                number += 1
        return [
            SyncGroupRequest.Assignment(member_id=member_id, assignment="\n".join(names).encode())
            for member_id, names in shares.items()
        ]

    async def _fetch_offsets(self, names: list[Name]) -> None:
        by_topic: dict[str, list[int]] = {}
        for topic, index in names:
            by_topic.setdefault(topic, []).append(index)
        if not names:
            return
        group = OffsetFetchRequest.Group(
            group_id=self.group,
            topics=[
                OffsetFetchRequest.Group.Topic(name=topic, partition_indexes=indexes)
                for topic, indexes in by_topic.items()
            ],
        )
        coordinator = self._coordinator
        response = await self._ask(OffsetFetchRequest(groups=[group]), OFFSETS_VERSION)
        answered = response.groups[0]
        self._check(answered.error_code, "OffsetFetch")
        for topic in answered.topics:
            for each in topic.partitions:
                self._check(each.error_code, "OffsetFetch")
                name = topic.name, each.partition_index
                self.world.groups.fetched(
                    self.group, self._generation, name, each.committed_offset, coordinator
                )
                self.positions[name] = Position(
                    each.committed_offset, each.committed_leader_epoch
                )
                self._committed[name] = each.committed_offset

    # -- consuming ------------------------------------------------------------

    async def _consume(self, pause: float) -> None:
        now = self.world.schedule.seconds
        beat, commit = now() + HEARTBEAT_SECONDS, now() + COMMIT_SECONDS
        self._start_reading(pause)
        while self.running:
            await self.pause(min(beat, commit) - now())
            if now() >= commit:
                await self._commit()
                commit = now() + COMMIT_SECONDS
            if now() >= beat:
                await self._heartbeat()
                beat = now() + HEARTBEAT_SECONDS
        if self.chance.random() < 0.7:
            await self._commit()

    def _start_reading(self, pause: float) -> None:
        """
        Read these positions, until there are others.
        """
        positions = self.positions

        async def read() -> None:
            while self.running and self.positions is positions and positions:
                await self.read_once()
                await self.pause(pause)

        self.world.start(read())

    async def _heartbeat(self) -> None:
        request = HeartbeatRequest(
            group_id=self.group, generation_id=self._generation, member_id=self._member_id
        )
        answer = await self._ask(request, HEARTBEAT_VERSION)
        if answer.error_code:
            if answer.error_code == errors.RebalanceInProgress.code:
                await self._commit()
            self._check(answer.error_code, "Heartbeat")

    async def _commit(self) -> None:
        news = {
            name: position.offset
            for name, position in self.positions.items()
            if position.offset >= 0 and position.offset != self._committed.get(name)
        }
        if not news:
            return
        by_topic: dict[str, list[OffsetCommitRequest.Topic.Partition]] = {}
        for (topic, index), offset in news.items():
            by_topic.setdefault(topic, []).append(
                OffsetCommitRequest.Topic.Partition(
                    partition_index=index,
                    committed_offset=offset,
                    committed_leader_epoch=self.positions[topic, index].epoch,
                    committed_metadata=None,
                )
            )
        request = OffsetCommitRequest(
            group_id=self.group,
            generation_id_or_member_epoch=self._generation,
            member_id=self._member_id,
            topics=[
                OffsetCommitRequest.Topic(name=topic, partitions=parts)
                for topic, parts in by_topic.items()
            ],
        )
        groups = self.world.groups
        tokens = groups.committing(self.group, self._generation, news)
        answer = await self._ask(request, COMMIT_VERSION)
        for topic in answer.topics:
            for each in topic.partitions:
                if each.error_code == 0:
                    name = topic.name, each.partition_index
                    groups.committed(tokens[name])
                    self._committed[name] = news[name]
        for topic in answer.topics:
            for each in topic.partitions:
                self._check(each.error_code, "OffsetCommit")

    async def _leave(self) -> None:
        request = LeaveGroupRequest(
            group_id=self.group, members=[LeaveGroupRequest.Member(member_id=self._member_id)]
        )
        try:
            await self._ask(request, LEAVE_VERSION)
        except Disconnected:
            self.world.count("clients: left without an answer")


def _names(assignment: bytes) -> list[Name]:
    lines = assignment.decode().splitlines()
    return [(topic, int(index)) for topic, _, index in (line.partition(" ") for line in lines)]
