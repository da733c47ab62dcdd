"""
The life of a broker.

It opens the stores, registers the broker, recovers what it leads, and serves;
and it stops all that in the opposite order, each step when the one before is
done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from random import SystemRandom
from threading import Thread
from typing import Any

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from kafscale import __version__
from kafscale.config import Settings
from kafscale.errors import SettingError, StoreError
from kafscale.interfaces import Broker
from kafscale.log.takeover.sealing import CorruptLog
from kafscale.net.connection import Connection
from kafscale.net.dispatch import Dispatch
from kafscale.net.factory import BrokerFactory
from kafscale.net.peer import Peer
from kafscale.ops.process import (
    allow_many_files,
    collect_seldom,
    end_with_failure,
    restrict_log,
)
from kafscale.tap.listening import address_of, take_port
from kafscale.tap.node import Node
from kafscale.tap.operators import Operators
from kafscale.tap.stores import open_stores

DIAL_SECONDS = 5.0
"""How long a connection to another broker may take to be made."""


class BrokerService(Service):
    """
    One broker, from its stores to its listener.
    """

    _log = Logger()
    name = "kafscale"

    def __init__(self, settings: Settings, warnings: list[str]) -> None:
        self._settings = settings
        self._warnings = warnings
        self._starting: Deferred[None] | None = None
        self._pools: list[ThreadPool] = []
        self._factory: BrokerFactory | None = None
        self._node: Node | None = None
        self._port: Any = None  # a listening port, with stopReading and startReading

    # -- starting -----------------------------------------------------------

    def privilegedStartService(self) -> None:
        """
        Open what may be refused, while the process can still end with one line
        and exit status 1: the data directory and the port.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            self._stores = open_stores(self._settings, self._pool, reactor)
            self._convert = self._pool(2)  # one thread for producers, one for consumers
            self._listen()
            self._operators = Operators(self._stores, self._absent, self._lost, reactor)
            self._warnings += self._operators.listen(self._settings)
        except SettingError as error:
            # twistd tells its parent, if it is a daemon, and removes its pid
            # file; then Python would print a traceback.
            line = f"kafscale: {error}\n"
            sys.excepthook = lambda *_: sys.__stderr__.write(line) and None  # type: ignore[union-attr]
            raise

    def _pool(self, threads: int) -> Callable[..., Deferred[Any]]:
        pool = Pool(0, threads)
        self._pools.append(pool)

        def run(function: Callable[..., Any], *args: Any, **named: Any) -> Deferred[Any]:
            return deferToThreadPool(reactor, pool, function, *args, **named)  # type: ignore[arg-type]

        return run

    def _dial(self, other: Broker) -> Peer:
        endpoint = HostnameEndpoint(reactor, other.host, other.port, timeout=DIAL_SECONDS)
        return Peer(endpoint, reactor, f"kafscale-{self._broker.broker_id}")

    def _listen(self) -> None:
        """
        Take the port. Who connects already waits in the kernel's queue until
        the broker is ready.

        @raise SettingError: it is taken, or not ours to take.
        """
        self._gate = Gate()
        self._port = take_port(reactor, self._settings.broker_addr.endpoint, self._gate)
        self._port.stopReading()

    def startService(self) -> None:
        """
        Recover and serve; if that fails the process ends with exit status 1.
        """
        super().startService()  # type: ignore[no-untyped-call]
        restrict_log(self._settings.log_level)
        allow_many_files()
        for warning in self._warnings:
            self._log.warn("{warning}", warning=warning)
        self._operators.tell()
        for pool in self._pools:
            pool.start()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._not_started)

    async def _start(self) -> None:
        settings = self._settings
        listened = self._port.getHost().port
        self._broker = Broker(
            settings.broker_id,
            settings.advertised_host(),
            settings.advertised_port(listened),
            settings.broker_rack,
            weight=settings.broker_weight,
        )
        await self._stores.reach()
        node = self._node = Node(
            settings,
            self._broker,
            self._stores.objects,
            self._stores.metadata,
            self._stores.disk_cache or self._stores.objects,
            reactor,
            SystemRandom(),
            self._convert,
            self._dial,
        )
        await node.start(self._stores.probe)
        dispatch = Dispatch(node.services, time.monotonic)
        self._factory = BrokerFactory(dispatch, node.log.pressure, reactor, settings)
        self._gate.factory = self._factory
        self._operators.show(node, dispatch, self._factory)
        if self._stores.rollback_guard is not None:
            self._stores.rollback_guard.watch(self._rolled_back)
        collect_seldom()
        self._port.startReading()
        await node.serve()
        self._log.info(
            "kafscale {version} listens on {address}, as {host}:{port} to its clients;"
            " its data is {data}",
            version=__version__,
            address=address_of(self._port.getHost()),
            host=self._broker.host,
            port=self._broker.port,
            data=self._stores.where,
        )

    def _not_started(self, failure: Failure) -> None:
        if isinstance(failure.value, CancelledError):
            return
        if isinstance(failure.value, SettingError | CorruptLog | StoreError):
            self._log.critical("cannot start: {reason}", reason=failure.getErrorMessage())
        else:
            self._log.failure("cannot start", failure)
        reactor.callLater(0, end_with_failure, reactor.stop)

    def _rolled_back(self, why: str) -> None:
        """
        The metadata store has forgotten what this broker knows: it must not go
        on, and the next start says so, too.
        """
        self._log.critical("cannot go on: {reason}", reason=why)
        Deferred.fromCoroutine(self._end_silently())

    async def _end_silently(self) -> None:
        """
        The metadata store must not be told anything, not even that this broker
        leaves.
        """
        try:
            await self._stores.metadata.close()
        finally:
            end_with_failure(reactor.stop)

    # -- how it is ----------------------------------------------------------

    def _absent(self) -> str | None:
        """
        Why nobody is served now.
        """
        if not self.running:
            return "the broker stops"
        if self._factory is None or self._node is None:
            return "the broker starts: it has not recovered yet"
        if not self._node.is_present:
            return "another broker has taken over: this one joins the cluster again"
        return None

    def _lost(self) -> str | None:
        """
        Why nobody will be, unless somebody does something.
        """
        return None if self._node is None else self._node.lost

    # -- stopping -----------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """
        Answer what is in flight, store what was appended, let go.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        stopping = Deferred.fromCoroutine(self._stop())
        # What does not come to its end is what recovery is for.
        return stopping.addTimeout(self._settings.shutdown_ms / 1000, reactor).addErrback(
            self._not_stopped
        )

    async def _stop(self) -> None:
        assert self._starting is not None
        self._starting.cancel()
        node = self._node
        seconds = self._settings.shutdown_ms / 1000
        if self._factory is not None and node is not None:
            begun = reactor.seconds()
            handing_over = Deferred.fromCoroutine(node.hand_over())
            await handing_over.addTimeout(seconds / 2, reactor).addErrback(self._not_handed_over)
            seconds -= reactor.seconds() - begun
        await maybeDeferred(self._port.stopListening)
        if self._factory is not None and node is not None:
            # The larger part of the time is for the clients' answers.
            answered = self._factory.stop(seconds * 0.7)
            await node.answer_waiting()
            await answered
        if node is not None:
            await node.stop()
        if self._stores.rollback_guard is not None:
            await self._stores.rollback_guard.end()
        await self._stores.metadata.close()
        await self._stores.objects.close()
        for pool in self._pools:
            pool.stop()
        for lock in (self._stores.lock, self._stores.disk_cache):
            if lock is not None:
                lock.close()
        await self._operators.stop()
        if self._factory is not None:
            self._log.info("kafscale has stopped; all that was acknowledged is stored")

    def _not_handed_over(self, failure: Failure) -> None:
        self._log.warn(
            "not everything was handed over: {why}; other brokers take it when this one is gone",
            why=failure.getErrorMessage() or "time is up",
        )

    def _not_stopped(self, failure: Failure) -> None:
        if failure.check(DeferredTimeoutError):  # type: ignore[no-untyped-call]
            why = f"took longer than {self._settings.shutdown_ms} ms"
        else:
            why = f"failed: {failure.getErrorMessage()}"
        self._log.error("stopping {why}; the next start recovers what was acknowledged", why=why)


class PoolThread(Thread):
    """
    Keeps no process from ending: when stopping took too long or failed, it may
    be waiting for a disk or a network.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, daemon=True, **named)


class Pool(ThreadPool):
    """
    Such threads.
    """

    threadFactory = PoolThread  # noqa: N815 - Twisted's name


class Gate(ServerFactory):
    """
    Holds a port's place for the factory to come.
    """

    noisy = False
    factory: BrokerFactory | None = None

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        """
        How Twisted's own log lines about the port call it.
        """
        return "kafscale"

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """
        What the factory builds.
        """
        return None if self.factory is None else self.factory.buildProtocol(addr)
