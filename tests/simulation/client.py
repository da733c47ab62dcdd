"""
The base of all clients: find brokers, send requests, and learn the leaders.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred

from kafscale.interfaces import ISession
from kafscale.wire.messages import MetadataRequest
from kafscale.wire.schema import Request
from tests.harness.sessions import SESSION
from tests.simulation.network import Disconnected, Pipe, Road

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

LONGEST_REST = 6.0
"""The longest wait of a client, in seconds, before it asks for leaders again."""

REQUEST_SECONDS = 15.0
"""How long a client waits for an answer by default."""

METADATA_VERSION = 12


@attrs.frozen
class Led:
    """
    The leader of a partition, as a client knows it.
    """

    topic_id: UUID
    leader: int
    epoch: int


class Client:
    """
    A process that uses the cluster.

    @ivar leaders: By topic's name and partition.
    @cvar session: That of its connections.
    """

    session: ISession = SESSION

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.chance = Random(f"{world.seed} {name}")
        self.leaders: dict[tuple[str, int], Led] = {}
        self.roads: dict[int, Road] = {}
        self._pipes: dict[int, Pipe] = {}
        self._refreshing: Deferred[None] | None = None

    def road(self, broker_id: int) -> Road:
        """
        The way to one broker.
        """
        road = self.roads.get(broker_id)
        if road is None:
            road = self.roads[broker_id] = Road(self.world.schedule, self.chance)
            road.slowness = self.world.plan.distance
        return road

    async def pause(self, seconds: float) -> None:
        """
        Wait for about so long.
        """
        await self.world.schedule.sleep(seconds * (0.5 + self.chance.random()))

    async def ask(
        self, broker_id: int, request: Request, version: int, seconds: float = REQUEST_SECONDS
    ) -> Any:
        """
        A broker's response.

        @raise Disconnected: there is none.
        """
        pipe = self._pipes.get(broker_id)
        if pipe is None or not pipe.is_open:
            server = self.world.server(broker_id)
            if server is None:
                await self.pause(0.01)
                raise Disconnected(f"{broker_id} does not listen")
            pipe = self._pipes[broker_id] = Pipe(
                self.road(broker_id), server, self.name, self.session
            )
            server.pipes.append(pipe)
        return await pipe.ask(request, version, seconds)

    def pipe(self, broker_id: int) -> Pipe | None:
        """
        The last connection to a broker.
        """
        return self._pipes.get(broker_id)

    def process(self, broker_id: int) -> Process:
        """
        The process that has answered the last request to a broker.
        """
        return self.world.process(self._pipes[broker_id].process)

    def close(self) -> None:
        """
        Close all connections.
        """
        for pipe in self._pipes.values():
            pipe.close()

    async def refresh(self, names: Sequence[str]) -> None:
        """
        Learn the leaders of these topics. A call during a refresh waits for
        that one.
        """
        if self._refreshing is not None:
            waiter: Deferred[None] = Deferred()
            self._refreshing.addBoth(lambda _: waiter.callback(None))
            await waiter
            return
        self._refreshing = Deferred()
        try:
            await self._refresh(names)
        except Disconnected:
            await self.pause(0.2)
        finally:
            done, self._refreshing = self._refreshing, None
            done.callback(None)

    async def _refresh(self, names: Sequence[str]) -> None:
        request = MetadataRequest(
            topics=[MetadataRequest.Topic(name=name) for name in names],
            allow_auto_topic_creation=False,
        )
        broker_id = self.chance.choice(self.world.broker_ids())
        response = await self.ask(broker_id, request, METADATA_VERSION)
        self.world.checker.described(self._pipes[broker_id], response)
        for topic in response.topics:
            for each in topic.partitions:
                where = topic.name, each.partition_index
                known = self.leaders.get(where)
                # What is older than what one knows is not believed.
                if (
                    known is None
                    or known.topic_id != topic.topic_id
                    or each.leader_epoch >= known.epoch
                ):
                    self.leaders[where] = Led(topic.topic_id, each.leader_id, each.leader_epoch)
