"""
The service of a broker: its start and its stop.

The start opens the stores, registers the broker, recovers the partitions that
it leads, and serves. The stop undoes that in the opposite order, each step
when the one before is done.
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
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from kafscale import __version__
from kafscale.access.authentication.passwords import AT_A_TIME
from kafscale.concurrency.gathering import within
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.config import Settings
from kafscale.config.agreement import check_effects, check_groups, check_stores
from kafscale.errors import SettingError, StoreError
from kafscale.interfaces import Broker
from kafscale.log.takeover.sealing import CorruptLog
from kafscale.net.dispatch import Dispatch
from kafscale.net.factory import BrokerFactory
from kafscale.net.peer import Peer
from kafscale.ops.launch import Launch, stop_at_signals
from kafscale.ops.process import (
    allow_many_files,
    collect_seldom,
    end_with_failure,
    restrict_log,
)
from kafscale.ops.turns import count_turns
from kafscale.store.local.creation import creator_of
from kafscale.tap.authentication import Authentication, check_authentication
from kafscale.tap.listeners import Listeners
from kafscale.tap.node import Node
from kafscale.tap.operators import Operators
from kafscale.tap.stores import open_stores
from kafscale.wire import record_walk


class BrokerService(Service):
    """
    A broker, from its stores to its listener.
    """

    _log = Logger()
    name = "kafscale"

    def __init__(self, settings: Settings, warnings: list[str], launch: Launch) -> None:
        """
        @param settings: The settings of the broker.
        @param warnings: Lines to log at the start, about variables that are
            not settings.
        @param launch: Gets the outcome of the start.
        """
        self._launch = launch
        self._settings = settings
        self._warnings = warnings
        self._starting: Deferred[None] | None = None
        self._pools: list[ThreadPool] = []
        self._factory: BrokerFactory | None = None
        self._node: Node | None = None
        self._continues = True

    # -- starting -----------------------------------------------------------

    def privilegedStartService(self) -> None:
        """
        Take the data directory and the ports, which may be in use, while the
        process can still end with one line and exit status 1.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._launch.begin()
        try:
            self._choose_modules()
            check_stores(self._settings)
            check_effects(self._settings)
            check_groups(self._settings)
            self._stores = open_stores(self._settings, self._pool, reactor)
            self._convert = self._pool(2)  # one thread for producers, one for consumers
            check_authentication(self._settings)
            self._listeners = Listeners(self._settings, reactor)
            self._authentication = Authentication(
                self._settings, self._listeners.mechanisms, reactor, self._pool(AT_A_TIME)
            )
            self._listeners.take()
            self._operators = Operators(
                self._stores, self._why_unready, self._why_unhealthy, reactor
            )
            self._warnings += self._operators.listen(self._settings)
        except SettingError as error:
            if self._launch.in_background:  # where what Python prints is lost
                self._log.critical("cannot start: {reason}", reason=error)
            self._launch.failed(str(error))
            # twistd removes its pid file; then Python would print a traceback.
            line = f"kafscale: {error}\n"
            sys.excepthook = lambda *_: sys.__stderr__.write(line) and None  # type: ignore[union-attr]
            raise

    def _choose_modules(self) -> None:
        """
        Choose between compiled modules and their twins in Python.

        @raise SettingError: The compiled ones are required, and one was not built.
        """
        try:
            record_walk.choose(self._settings.compiled)
            creator_of(self._settings.compiled)
        except record_walk.NotBuilt as error:
            raise SettingError(
                f"KAFSCALE_COMPILED=require: {error}; install a C compiler and Python's headers,"
                " then Kafscale again (to run a checkout: pip install -e . in it), or set it to"
                " auto"
            ) from None

    def _log_walker(self) -> None:
        """
        Log that the compiled walker is not in use.
        """
        if self._settings.compiled == "off":
            self._log.info(
                "KAFSCALE_COMPILED=off: records are walked over in Python, about {factor} times"
                " slower",
                factor=record_walk.TWIN_FACTOR,
            )
        elif not record_walk.is_compiled():
            self._log.warn(
                "the compiled walker was not built; records are walked over in Python, about"
                " {factor} times slower: install a C compiler and Python's headers, then Kafscale"
                " again (to run a checkout: pip install -e . in it)",
                factor=record_walk.TWIN_FACTOR,
            )

    def _pool(self, threads: int) -> Callable[..., Deferred[Any]]:
        pool = Pool(0, threads)
        self._pools.append(pool)

        def run(function: Callable[..., Any], *args: Any, **named: Any) -> Deferred[Any]:
            return deferToThreadPool(reactor, pool, function, *args, **named)  # type: ignore[arg-type]

        return run

    def _dial(self, other: Broker) -> Peer:
        endpoint = self._listeners.endpoint_of(other)
        login = self._authentication.peer_login() if self._listeners.logs_in else None
        return Peer(endpoint, reactor, f"kafscale-{self._broker.broker_id}", login)

    def startService(self) -> None:
        """
        Recover and serve. If that fails the process ends with exit status 1.
        """
        super().startService()  # type: ignore[no-untyped-call]
        restrict_log(self._settings.log_level)
        allow_many_files()
        for warning in self._warnings:
            self._log.warn("{warning}", warning=warning)
        self._operators.log_address()
        self._log_walker()
        for pool in self._pools:
            pool.start()
        call_soon = IReactorFromThreads(reactor).callFromThread
        reactor.callWhenRunning(stop_at_signals, call_soon, reactor.stop)
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._not_started)

    async def _start(self) -> None:
        settings = self._settings
        self._broker = self._listeners.broker(settings)
        await self._stores.check_metadata()
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
            reactor.resolve,
        )
        await node.start(self._stores.check_objects)
        dispatch = Dispatch(
            node.services,
            time.monotonic,
            node.image.cluster_id,
            self._broker.broker_id,
            node.quotas,
            WorkQueue(reactor, self._convert),
        )
        self._factory = BrokerFactory(
            dispatch, node.log.pressure, reactor, settings, node.quotas
        )
        self._operators.add_readings(
            node, dispatch, self._factory, self._listeners.expiries, self._authentication
        )
        if self._stores.rollback_guard is not None:
            self._stores.rollback_guard.watch(self._cannot_continue)
        if self._stores.watch is not None:
            self._stores.watch.begin(self._cannot_continue)
        collect_seldom()
        count_turns(reactor, time.thread_time, self._operators.turns)
        await self._authentication.start(node.users, node.tokens, self._stores.metadata)
        self._listeners.serve(self._factory, self._authentication)
        await node.serve()
        self._log.info(
            "kafscale {version} listens on {listeners}; {data}",
            version=__version__,
            listeners=self._listeners.described(),
            data=self._stores.description,
        )
        self._launch.succeeded()

    def _not_started(self, failure: Failure) -> None:
        if isinstance(failure.value, CancelledError):
            self._launch.failed("it was stopped while it started")
            return
        if isinstance(failure.value, SettingError | CorruptLog | StoreError):
            self._log.critical("cannot start: {reason}", reason=failure.getErrorMessage())
        else:
            self._log.failure("cannot start", failure)
        # Last: whoever is told looks into the log.
        self._launch.failed(failure.getErrorMessage())
        reactor.callLater(0, end_with_failure, reactor.stop)

    def _cannot_continue(self, why: str) -> None:
        """
        End the broker: the metadata store has lost commits that this broker
        has seen, or the bucket cannot hold a log any more. The next start is
        refused for the same reason.
        """
        self._log.critical("cannot continue: {reason}", reason=why)
        self._continues = False
        Deferred.fromCoroutine(self._end_silently())

    async def _end_silently(self) -> None:
        """
        End without another write to the metadata store, not even to
        deregister.
        """
        try:
            await self._stores.metadata.close()
        finally:
            end_with_failure(reactor.stop)

    # -- its state ----------------------------------------------------------

    def _why_unready(self) -> str | None:
        """
        Why the broker does not serve clients now; None if it does.
        """
        if not self.running:
            return "the broker is stopping"
        if self._factory is None or self._node is None:
            return "the broker is starting and has not recovered its partitions yet"
        if not self._node.is_present:
            return "another broker has taken over; this broker is rejoining the cluster"
        return None

    def _why_unhealthy(self) -> str | None:
        """
        Why the broker will not serve clients without help; None if it will.
        """
        return None if self._node is None else self._node.unhealthy

    # -- stopping -----------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """
        Hand over, answer requests in progress, store appended records, and
        close the stores, within C{KAFSCALE_SHUTDOWN_MS}.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        stopping = Deferred.fromCoroutine(self._stop())
        # Recovery completes anything that is not finished by then.
        return within(reactor, self._settings.shutdown_ms / 1000, stopping).addErrback(
            self._not_stopped
        )

    async def _stop(self) -> None:
        assert self._starting is not None
        self._starting.cancel()
        if self._stores.watch is not None:
            self._stores.watch.end()
        node = self._node
        seconds = self._settings.shutdown_ms / 1000
        if self._factory is not None and node is not None:
            begun = reactor.seconds()
            handing_over = Deferred.fromCoroutine(node.hand_over())
            await within(reactor, seconds / 2, handing_over).addErrback(
                self._not_handed_over, seconds / 2
            )
            seconds = max(0.0, seconds - (reactor.seconds() - begun))
        await self._listeners.stop()
        if self._factory is not None and node is not None:
            # Most of the remaining time is for answering clients.
            answered = self._factory.stop(seconds * 0.7)
            await node.answer_waiting()
            await answered
        await self._authentication.stop()
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
            self._log.info("kafscale has stopped; {outcome}", outcome=self._outcome("stored"))

    def _outcome(self, stored: str) -> str:
        if self._settings.use_memory_s3:
            return "the records in memory are discarded"
        return f"all acknowledged records are {stored}"

    def _not_handed_over(self, failure: Failure, seconds: float) -> None:
        if failure.check(TimeoutError):  # type: ignore[no-untyped-call]
            why = f"is not finished after {seconds:g} s"
        else:
            why = f"failed: {failure.getErrorMessage()}"
        self._log.warn(
            "handing over {why}; other brokers take over the rest when this one has ended", why=why
        )

    def _not_stopped(self, failure: Failure) -> None:
        if not self._continues:
            return  # the metadata store was closed first, and the log says why
        if failure.check(TimeoutError):  # type: ignore[no-untyped-call]
            why = f"is not finished after {self._settings.shutdown_ms} ms (KAFSCALE_SHUTDOWN_MS)"
        else:
            why = f"failed: {failure.getErrorMessage()}"
        self._log.error(
            "stopping {why}; {outcome}",
            why=why,
            outcome=self._outcome("safe, and the next start recovers them"),
        )


class PoolThread(Thread):
    """
    A thread that does not keep the process from ending. When stopping took too
    long or failed, it may still wait for a disk or a network.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, daemon=True, **named)


class Pool(ThreadPool):
    """
    A pool of such threads.
    """

    threadFactory = PoolThread  # noqa: N815 - Twisted's name
