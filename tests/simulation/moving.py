"""
An operator that assigns replicas to partitions by hand, so that leaders move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kafscale import errors
from kafscale.errors import retriable
from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
)
from tests.simulation.client import Client
from tests.simulation.network import Disconnected

if TYPE_CHECKING:
    from tests.simulation.world import World

ALTER_VERSION = 1
LIST_VERSION = 0
ELECT_VERSION = 2

EXPECTED = frozenset(
    each.code
    for each in (
        errors.InvalidReplicaAssignment,  # a broker is not alive
        errors.NoReassignmentInProgress,
        errors.ElectionNotNeeded,
        errors.PreferredLeaderNotAvailable,
        errors.UnsupportedVersion,  # the level is not in force yet
    )
)
"""The errors that may come of what it asks for, beside retriable ones."""


class Mover(Client):
    """
    Assigns replicas to one partition after the other, takes some of that back, and asks
    for elections.

    @ivar moves: How many assignments were acknowledged.
    """

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.running = True
        self.moves = 0

    async def run(self, topics: Sequence[tuple[str, int]], pause: float) -> None:
        """
        Do so from time to time.
        """
        names = [(topic, index) for topic, count in topics for index in range(count)]
        while self.running:
            await self.pause(pause)
            topic, index = self.chance.choice(names)
            dice = self.chance.random()
            try:
                if dice < 0.6:
                    await self._assign(topic, index, self._some_brokers())
                elif dice < 0.8:
                    await self._assign(topic, index, None)
                else:
                    await self._elect(topic, index)
            except Disconnected:
                continue

    def _some_brokers(self) -> list[int]:
        brokers = list(range(1, self.world.brokers + 2))  # one of them comes and goes
        return self.chance.sample(brokers, self.chance.randint(1, len(brokers)))

    async def _assign(self, topic: str, index: int, replicas: list[int] | None) -> None:
        kind = AlterPartitionReassignmentsRequest.Topic
        part = kind.Partition(partition_index=index, replicas=replicas)
        request = AlterPartitionReassignmentsRequest(
            topics=[kind(name=topic, partitions=[part])], timeout_ms=10_000
        )
        broker_id = self.chance.choice(self.world.broker_ids())
        answer = await self.ask(broker_id, request, ALTER_VERSION)
        code = answer.responses[0].partitions[0].error_code
        self._expect(f"reassigning {topic}-{index} to {replicas}", code)
        if code == 0:
            self.moves += 1

    async def _elect(self, topic: str, index: int) -> None:
        asked = ElectLeadersRequest.TopicPartition(topic=topic, partitions=[index])
        request = ElectLeadersRequest(topic_partitions=[asked], timeout_ms=10_000)
        broker_id = self.chance.choice(self.world.broker_ids())
        answer = await self.ask(broker_id, request, ELECT_VERSION)
        code = answer.replica_election_results[0].partition_result[0].error_code
        self._expect(f"an election for {topic}-{index}", code)

    def _expect(self, what: str, code: int) -> None:
        allowed = code == 0 or code in EXPECTED or retriable(code)
        self.world.checker.expect(allowed, f"{what}: {code}")

    async def until_settled(self) -> None:
        """
        Return when every partition whose replicas are assigned is led by the first of
        them that runs, and no reassignment is under way.
        """
        while not self.world.is_led_as_assigned() or await self._is_moving():
            await self.pause(1.0)

    async def _is_moving(self) -> bool:
        request = ListPartitionReassignmentsRequest(topics=None)
        broker_id = self.chance.choice(self.world.broker_ids())
        try:
            answer = await self.ask(broker_id, request, LIST_VERSION)
        except Disconnected:
            return True
        return bool(answer.topics)
