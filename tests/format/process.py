"""
A broker's process in a fixed history: a L{Node} over stores with a constant
latency, in which nothing goes wrong but what the script says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from kafscale.interfaces import (
    Broker,
    IMetadataStore,
    IService,
    RequestContext,
    Serving,
    Settling,
)
from kafscale.store.blocking import at_once
from kafscale.store.etcd import EtcdMetadataStore
from kafscale.store.identity import StoreIdentity
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import RetryingMetadataStore, RetryingObjectStore
from kafscale.store.rollback_guard import RollbackGuard
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.tap.node import Node
from kafscale.tap.stores import place_of
from kafscale.wire.messages import RESPONSES
from kafscale.wire.schema import Request
from tests.harness.hostile import Hostile, HostileMetadataStore, HostileObjectStore, Operation
from tests.harness.names import no_name
from tests.harness.sessions import SESSION
from tests.simulation.etcd import Etcd
from tests.simulation.gateway import EtcdLink
from tests.simulation.link import Link, Weather
from tests.simulation.schedule import ProcessClock

if TYPE_CHECKING:
    from tests.format.cluster import Cluster

NAMESPACE = "default"

LATENCY = 0.002
"""Seconds that a message to a store takes, and its answer."""

PROBING = {"create": 8 * LATENCY, "metadata": 10 * LATENCY}
"""Seconds that a probe of a bucket takes, by the way of fencing: what it took when
the golden data were made, whatever is tried since."""

PATIENCE = 600.0
"""Seconds after which a process gives up: longer than any answer takes."""


class Even:
    """
    The middle of all chance: every message takes its usual time.
    """

    def random(self) -> float:
        """
        As L{Random.random}.
        """
        return 0.5


class Replacing(MemoryObjectStore):
    """
    Objects in memory; a create replaces what is there.
    """

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}.
        """
        await super().delete([key])
        await super().create(key, pieces)


class Process:
    """
    One start of a broker.

    @ivar loses: Which operations on a store never arrive.
    """

    def __init__(self, cluster: Cluster, broker_id: int, number: int) -> None:
        chance = Random(f"golden {cluster.name} {number}")
        schedule = cluster.schedule
        self.broker_id = broker_id
        self.clock = ProcessClock(schedule)
        self.loses: Callable[[Operation], bool] = lambda operation: False
        self._cluster = cluster
        self._chance = chance
        self._serving: dict[type[Request], Serving] = {}
        self._views: list[Hostile] = []
        even: Any = Even()
        view = HostileObjectStore(cluster.objects, self._policy("objects"))
        self._views.append(view)
        objects = RetryingObjectStore(view, self.clock, even.random)
        metadata = RetryingMetadataStore(self._metadata(cluster.metadata), self.clock, even.random)
        settings = cluster.settings(broker_id)
        self.node = Node(
            settings,
            Broker(broker_id, f"broker-{broker_id}", 9092, settings.broker_rack),
            objects,
            metadata,
            objects,
            self.clock,
            chance,
            at_once,
            _no_peer,
            no_name,
        )
        self._rollback_guard: RollbackGuard | None = None
        if isinstance(cluster.metadata, Etcd):
            self._rollback_guard = RollbackGuard(
                metadata,
                lambda: self._etcd.committed,
                objects,
                NAMESPACE,
                self.clock,
                lambda: f"{chance.getrandbits(64):016x}",
            )
        self._settings = settings
        place = place_of(attrs.evolve(settings, data_dir=cluster.folder))
        self._identity = StoreIdentity(metadata, objects, place)

    def _policy(self, name: str) -> Callable[[Operation], None]:
        even: Any = Even()
        link = Link(
            name, self._cluster.schedule, self.clock, even, self._cluster.counts, Weather(),
            LATENCY, PATIENCE,
        )  # fmt: skip
        self._link = link

        def decide(operation: Operation) -> None:
            if not self.loses(operation):
                link(operation)

        return decide

    def _metadata(self, store: SQLiteMetadataStore | Etcd) -> IMetadataStore:
        policy = self._policy("metadata")
        if isinstance(store, Etcd):
            link = EtcdLink(store, self._cluster.schedule, self._link, PATIENCE)
            link.policy = policy
            self._views.append(link)
            client: Any = link
            even: Any = Even()
            self._etcd = EtcdMetadataStore(client, self.clock, even.random, NAMESPACE)
            return self._etcd
        view = HostileMetadataStore(store, policy)
        self._views.append(view)
        return view

    # -- its life -------------------------------------------------------------

    def start(self) -> Deferred[None]:
        """
        Fires when it serves.
        """
        started: Deferred[None] = Deferred()
        self.clock.deliver(
            lambda: Deferred.fromCoroutine(self._start()).chainDeferred(started)
        )
        return started

    async def _start(self) -> None:
        await self.node.start(self._probe)
        self._serving = serving_of(self.node.services)
        if self._rollback_guard is not None:
            self._rollback_guard.watch(self._rolled_back)
        await self.node.serve()

    async def _probe(self, cluster_id: str) -> None:
        """
        As `kafscale.tap.stores` has it done.
        """
        await self._identity.compare()
        if self._settings.s3_bucket is not None:
            # Nothing stays of a probe but the times after it.
            await deferLater(self.clock, PROBING[self._settings.fencing()])
        await self._identity.check(cluster_id)
        if self._rollback_guard is not None:
            await self._rollback_guard.begin()

    def _rolled_back(self, why: str) -> None:
        raise AssertionError(why)

    def stop(self) -> Deferred[None]:
        """
        As by SIGTERM; fires when it has ended.
        """
        stopped: Deferred[None] = Deferred()
        self.clock.deliver(
            lambda: Deferred.fromCoroutine(self._stop()).chainDeferred(stopped)
        )
        return stopped

    async def _stop(self) -> None:
        await self.node.hand_over()
        await self.node.answer_waiting()
        await self.node.stop()
        if self._rollback_guard is not None:
            await self._rollback_guard.end()
        self.crash()

    def crash(self) -> None:
        """
        It is never scheduled again.
        """
        self.clock.die()
        for view in self._views:
            view.cut()
            if isinstance(view, EtcdLink):
                view.break_off()

    def ask(self, request: Request, version: int) -> Deferred[Any]:
        """
        The response, as a client has it.
        """
        answered: Deferred[Any] = Deferred()

        def begin() -> None:
            answer = Deferred.fromCoroutine(ask(self._serving, request, version))
            answer.chainDeferred(answered)

        self.clock.deliver(begin)
        return answered


def serving_of(services: Sequence[IService]) -> dict[type[Request], Serving]:
    """
    How a broker serves each kind of request.
    """
    return {served.request: served for service in services for served in service.serves()}


async def ask(serving: Mapping[type[Request], Serving], request: Request, version: int) -> Any:
    """
    A broker's response, as a client decodes it.
    """
    answer = serving[type(request)].answer(
        request, RequestContext(version, "golden", "127.0.0.1", id(serving), SESSION)
    )
    if isinstance(answer, Awaitable):
        answer = await answer
    if isinstance(answer, Settling):
        answer = await answer.deferred()
    data = b"".join(answer.encode(version))
    return RESPONSES[type(request).key].decode(version, data)


def _no_peer(other: Broker) -> Any:
    raise AssertionError("no reader is nearer to one broker than to another")
