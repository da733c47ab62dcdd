"""
Accepts connections, up to limits, and closes them when the broker stops.

There is a limit for all connections, one for each address, and one for each
listener. What is above one is closed at once. A quota limits how many connections
an address makes in a second: of those above it each is held open for a moment, so
that a client that connects again and again cannot do so as fast as it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.seldom import Seldom
from kafscale.config import Settings
from kafscale.interfaces import IPressure, ISessions
from kafscale.interfaces.quotas import IQuotas
from kafscale.net import guard
from kafscale.net.connection import Connection, ConnectionSettings
from kafscale.net.dispatch import Dispatch
from kafscale.net.request_memory import RequestMemory

# When the broker stops, long polls are cancelled after this time.
POLL_SECONDS = 1.0

# At most one line in this time says of a host that a client there speaks another protocol.
FOREIGN_SECONDS = 60.0

# So many connections above a quota are held open at once; further ones are closed.
MOST_HELD = 1000


class ListenerFactory(Factory):
    """
    The connections to one listener.
    """

    noisy = False

    def __init__(
        self, all_connections: BrokerFactory, settings: ConnectionSettings, most: int
    ) -> None:
        """
        @param all_connections: Of the broker.
        @param settings: Of this listener's connections.
        @param most: How many connections there may be; 0: no limit.
        """
        self._all = all_connections
        self.settings = settings
        self.name = settings.sessions.listener.name
        self.most = most
        self.connections = 0

    def buildProtocol(self, addr: Any) -> Protocol:
        """
        See L{BrokerFactory.accept}.
        """
        # IPv4 in IPv6, as a listener on [::] has it, is IPv4: limits and quotas name that.
        return self._all.accept(self, getattr(addr, "host", "").removeprefix("::ffff:"))


class Held(Protocol):
    """
    A connection that is closed after a while, unread.
    """

    transport: Any

    def __init__(
        self, clock: IReactorTime, seconds: float, gone: Callable[[Held], None]
    ) -> None:
        """
        @param clock: Times the close.
        @param seconds: After this time it is closed; 0: at once.
        @param gone: Called with this when it is closed.
        """
        self._clock = clock
        self._seconds = seconds
        self._gone = gone
        self._due: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        Begin to wait.
        """
        self.transport.pauseProducing()
        if self._seconds:
            self._due = self._clock.callLater(self._seconds, self.transport.abortConnection)
        else:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is over.
        """
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._gone(self)


class BrokerFactory:
    """
    The connections of all clients.

    @ivar accepted: Number of connections accepted since the start.
    @ivar strangers: What connections hold before their clients have authenticated.
    @ivar rejected: Number of connections closed at once, or after a moment, because of a
        limit or a quota.
    """

    _log = Logger()

    def __init__(
        self,
        dispatch: Dispatch,
        pressure: IPressure,
        clock: IReactorTime,
        settings: Settings,
        quotas: IQuotas,
        memory: RequestMemory | None = None,
    ) -> None:
        """
        @param dispatch: Turns requests into responses.
        @param pressure: Whether the log has room for more records.
        @param clock: Times idle connections and the stop.
        @param settings: The limits of connections and requests.
        @param quotas: How many connections an address may make in a second.
        @param memory: The memory for requests that are not under way; by
            default one with the usual limit.
        """
        self._clock = clock
        self._quotas = quotas
        self._most = settings.max_connections
        self.strangers = RequestMemory(clock, guard.MEMORY)
        self._most_per_host = settings.max_connections_per_ip
        self._most_of_host = dict(settings.max_connections_per_ip_overrides or ())
        self._settings_of = partial(
            ConnectionSettings,
            dispatch=dispatch,
            pressure=pressure,
            memory=memory or RequestMemory(clock),
            strangers=self.strangers,
            clock=clock,
            max_request_bytes=settings.max_request_bytes,
            idle_seconds=settings.connections_max_idle_ms / 1000,
            foreign=Seldom(clock.seconds, FOREIGN_SECONDS),
        )
        self._connections: dict[Connection, tuple[ListenerFactory, str]] = {}
        self._by_host: dict[str, int] = {}
        self._held: set[Held] = set()
        # Logged once until a connection is free: clients retry by the thousand.
        self._refusing: set[str] = set()
        self._refused_hosts = Seldom(clock.seconds, FOREIGN_SECONDS)
        self._stopping = False
        self.accepted = 0
        self.rejected = 0
        self._stopped: list[Deferred[None]] = []

    @property
    def connections(self) -> int:
        """
        Number of open connections.
        """
        return len(self._connections)

    def listener(self, sessions: ISessions, most: int = 0) -> ListenerFactory:
        """
        The factory of a listener's connections.

        @param sessions: Of the listener.
        @param most: How many connections to it there may be; 0: no limit.
        """
        return ListenerFactory(self, self._settings_of(sessions=sessions), most)

    def accept(self, listener: ListenerFactory, host: str) -> Connection | Held:
        """
        A connection for a client; one that is closed if there are too many, or the
        broker is stopping.

        @param listener: To which the client has connected.
        @param host: The client's address.
        """
        if self._stopping:
            return self._hold(0)
        if self._full(listener, host):
            self.rejected += 1
            return self._hold(0)
        delay_ms = self._quotas.connected(host)
        if delay_ms:
            self.rejected += 1
            return self._hold(delay_ms / 1000 if len(self._held) < MOST_HELD else 0)
        connection = Connection(listener.settings, self._gone)
        self.accepted += 1
        listener.connections += 1
        self._by_host[host] = self._by_host.get(host, 0) + 1
        self._connections[connection] = listener, host
        return connection

    def _hold(self, seconds: float) -> Held:
        held = Held(self._clock, seconds, self._held.discard)
        if seconds:
            self._held.add(held)
        return held

    def _full(self, listener: ListenerFactory, host: str) -> bool:
        """
        Whether one of the limits is reached; then it is logged.
        """
        if self._most and len(self._connections) >= self._most:
            if "" not in self._refusing:
                self._refusing.add("")
                self._log_full(self._most, "", "KAFSCALE_MAX_CONNECTIONS")
            return True
        if listener.most and listener.connections >= listener.most:
            if listener.name not in self._refusing:
                self._refusing.add(listener.name)
                setting = f"KAFSCALE_LISTENER_NAME_{listener.name}_MAX_CONNECTIONS"
                self._log_full(listener.most, f" to the listener {listener.name}", setting)
            return True
        most = self._most_of_host.get(host, self._most_per_host)
        if most and self._by_host.get(host, 0) >= most:
            if self._refused_hosts.passes(host) is not None:
                self._log_full(most, f" from {host}", "KAFSCALE_MAX_CONNECTIONS_PER_IP")
            return True
        return False

    def _log_full(self, most: int, which: str, setting: str) -> None:
        self._log.warn(
            "all {most} connections{which} are in use; new ones are closed at once until one is"
            " free (to allow more: {setting})",
            most=most,
            which=which,
            setting=setting,
        )

    def stop(self, seconds: float) -> Deferred[None]:
        """
        Begin no new request, answer those under way, and close. Long polls are
        cancelled after L{POLL_SECONDS}.

        @param seconds: After this time all connections are closed, even if
            responses are still owed.
        @return: Fires when all connections are closed.
        """
        self._stopping = True
        for held in list(self._held):
            held.transport.abortConnection()
        for connection in list(self._connections):
            connection.finish()
        if not self._connections:
            return succeed(None)
        abandon = self._clock.callLater(min(POLL_SECONDS, seconds), self._each, Connection.abandon)
        abort = self._clock.callLater(seconds, self._each, Connection.abort)

        def done(_: None) -> None:
            for call in (abandon, abort):
                if call.active():
                    call.cancel()

        stopped: Deferred[None] = Deferred()
        self._stopped.append(stopped)
        return stopped.addCallback(done)

    def _each(self, do: Callable[[Connection], None]) -> None:
        for connection in list(self._connections):
            do(connection)

    def _gone(self, connection: Connection) -> None:
        listener, host = self._connections.pop(connection)
        listener.connections -= 1
        left = self._by_host.pop(host) - 1
        if left:
            self._by_host[host] = left
        self._refusing.clear()
        if self._stopping and not self._connections:
            stopped, self._stopped = self._stopped, []
            for each in stopped:
                each.callback(None)
