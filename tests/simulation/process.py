"""
A broker's process: a `Node`, its stores behind links, and its idea of time.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kafscale.config import Settings
from kafscale.errors import NotLeaderOrFollower, StoreUnavailable
from kafscale.interfaces import ANONYMOUS, Broker, IService, Serving
from kafscale.store.blocking import at_once
from kafscale.store.etcd import EtcdMetadataStore
from kafscale.store.identity import StoreIdentity
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import RetryingMetadataStore, RetryingObjectStore
from kafscale.tap.node import Node
from kafscale.tap.stores import place_of
from kafscale.wire.schema import Request
from tests.harness.hostile import HostileObjectStore
from tests.harness.names import no_name
from tests.simulation.gateway import EtcdLink
from tests.simulation.link import Link
from tests.simulation.network import Pipe, Road
from tests.simulation.peer import SimulatedPeer
from tests.simulation.schedule import ProcessClock

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMESPACE = "default"

SETTINGS: dict[str, Any] = {
    "namespace": NAMESPACE,
    "slot_bytes": 2000,
    "slots_in_flight": 4,
    "flush_interval_ms": 50,
    "segment_bytes": 3000,
    "segment_ms": 60_000,
    "unrolled_bytes": 20_000,
    "journal_slots": 40,
    "cache_bytes": 1 << 20,
}
"""So small that slots, rolls, trims and sweeps happen all the time."""

CHAPTERS = 3
"""So few that volumes are left behind all the time."""

OBJECT_LATENCY = 0.03
OBJECT_PATIENCE = 20.0
ETCD_LATENCY = 0.002
ETCD_PATIENCE = 8.0


class Process:
    """
    One start of a broker.

    @ivar number: Which process of the simulation it is.
    @ivar begun: When it was started, in simulated seconds.
    @ivar pipes: Its connections.
    @ivar listens: Whether it takes connections.
    @ivar done: Whether it has ended by itself.
    """

    def __init__(
        self, world: World, broker_id: int, number: int, objects: MemoryObjectStore
    ) -> None:
        chance = Random(f"{world.seed} process {number}")
        self.world = world
        self.broker_id = broker_id
        self.number = number
        self.begun = world.schedule.now
        self.pipes: list[Pipe] = []
        self.listens = False
        self.leaving = False
        self.done = False
        self.clock = ProcessClock(
            world.schedule, chance.uniform(0.98, 1.02), chance.uniform(-2.0, 2.0)
        )
        self.objects_link = self._link("objects", chance, OBJECT_LATENCY, OBJECT_PATIENCE)
        self.etcd_link = self._link("etcd", chance, ETCD_LATENCY, ETCD_PATIENCE)
        self._objects = HostileObjectStore(objects, self.objects_link)
        self.etcd = EtcdLink(world.etcd, world.schedule, self.etcd_link, ETCD_PATIENCE)
        client: Any = self.etcd
        metadata = EtcdMetadataStore(client, self.clock, chance.random, NAMESPACE)
        retrying = RetryingObjectStore(self._objects, self.clock, chance.random)
        self.metadata = RetryingMetadataStore(metadata, self.clock, chance.random)
        orphan_ms = round(world.plan.sweeps * 1000)
        settings = Settings(broker_id=broker_id, orphan_ms=orphan_ms, **SETTINGS)
        if world.access is not None:
            settings = attrs.evolve(settings, authorizer="acl", super_users=(str(ANONYMOUS),))
        if world.is_careless:
            settings = attrs.evolve(settings, s3_bucket="careless", s3_fencing="metadata")
        elif world.has_volumes:
            settings = attrs.evolve(settings, s3_bucket="careful")
        self._identity = StoreIdentity(self.metadata, retrying, place_of(settings))
        self.node = Node(
            settings,
            Broker(broker_id, f"broker-{broker_id}", 9092, world.rack_of(broker_id) or None),
            retrying,
            self.metadata,
            retrying,
            self.clock,
            chance,
            at_once,
            lambda other: SimulatedPeer(self, other.broker_id, Road(world.schedule, chance)),
            no_name,
        )
        if self.node.log_settings.chapters:
            self.node.log_settings = attrs.evolve(self.node.log_settings, chapters=CHAPTERS)
        self._served: dict[type[Request], Serving] = {}
        self._starting: Deferred[None] | None = None

    def _link(self, name: str, chance: Random, latency: float, patience: float) -> Link:
        world = self.world
        return Link(
            name, world.schedule, self.clock, chance, world.counts, world.weather[name],
            latency, patience, world.plan.doomed,
        )  # fmt: skip

    def link(self, which: str) -> Link:
        """
        To etcd, or to the objects.
        """
        return self.etcd_link if which == "etcd" else self.objects_link

    def uses(self, objects: MemoryObjectStore) -> bool:
        """
        Return whether this is its object store.
        """
        return self._objects.inner is objects

    # -- its life -------------------------------------------------------------

    def start(self) -> None:
        """
        It begins.
        """
        self.clock.deliver(self._start)

    def _start(self) -> None:
        async def begin() -> None:
            await self.node.start(self._identity.check)
            self._serve(self.node.services)
            self.listens = True
            await self.node.serve()

        self._starting = Deferred.fromCoroutine(begin())
        self._starting.addErrback(self._not_started)

    def _serve(self, services: list[IService]) -> None:
        for service in services:
            for served in service.serves():
                self._served[served.request] = served

    def _not_started(self, failure: Failure) -> None:
        self.world.count(f"not started: {type(failure.value).__name__}")
        self.world.notes.append(f"{self.number}: {failure.getErrorMessage()}")
        self._end()
        # As a supervisor does with a process that has ended by itself.
        self.world.schedule.after(5.0, self.world.begin, self.broker_id)

    def crash(self, silently: bool) -> None:
        """
        End the process at once: it is never scheduled again.

        @param silently: Leave its connections open, as when a machine loses
            its power.
        """
        self.clock.die()
        self._objects.cut()
        self.etcd.cut()
        self.etcd.break_off()
        self.listens = False
        self.done = True
        if not silently:
            for pipe in self.pipes:
                pipe.broken()

    def stop(self) -> None:
        """
        Ask the process to end, as SIGTERM does.
        """
        self.leaving = True
        self.clock.deliver(self._begin_stop)

    def _begin_stop(self) -> None:
        Deferred.fromCoroutine(self._stop()).addErrback(self._not_stopped)

    def _not_stopped(self, failure: Failure) -> None:
        """
        What was acknowledged is recovered by others.
        """
        if not failure.check(StoreUnavailable, NotLeaderOrFollower):
            self.world.failed(failure)
        self.world.count("not stopped well")
        self._end()

    async def _stop(self) -> None:
        if self.listens:
            await self.node.hand_over()
            self.listens = False
            await self.node.answer_waiting()
            for pipe in self.pipes:
                pipe.shut()
        elif self._starting is not None and not self._starting.called:
            self.crash(silently=False)
            return
        await self.node.stop()
        await self.metadata.close()
        self._end()

    def _end(self) -> None:
        self.crash(silently=False)

    # -- as its clients see it ------------------------------------------------

    def serving(self, request: type[Request]) -> Serving | None:
        """
        See L{kafscale.net.dispatch.Dispatch.serving}.
        """
        return self._served.get(request)

    def surprised(self, failure: Failure) -> None:
        """
        See L{tests.simulation.network.Server}.
        """
        self.world.failed(failure)
