"""
Accepts connections, up to a limit, and closes them when the broker stops.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from kafscale.concurrency.seldom import Seldom
from kafscale.config import Settings
from kafscale.interfaces import IPressure, ISessions
from kafscale.net import guard
from kafscale.net.connection import Connection, ConnectionSettings
from kafscale.net.dispatch import Dispatch
from kafscale.net.request_memory import RequestMemory

# When the broker stops, long polls are cancelled after this time.
POLL_SECONDS = 1.0

# At most one line in this time says of a host that a client there speaks another protocol.
FOREIGN_SECONDS = 60.0


class ListenerFactory(Factory):
    """
    The connections to one listener.
    """

    noisy = False

    def __init__(self, all_connections: BrokerFactory, settings: ConnectionSettings) -> None:
        """
        @param all_connections: Of the broker.
        @param settings: Of this listener's connections.
        """
        self._all = all_connections
        self._settings = settings

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """
        See L{BrokerFactory.accept}.
        """
        return self._all.accept(self._settings)


class BrokerFactory:
    """
    The connections of all clients.

    @ivar accepted: Number of connections accepted since the start.
    @ivar strangers: What connections hold before their clients have authenticated.
    @ivar rejected: Number of connections closed at once, because
        C{KAFSCALE_MAX_CONNECTIONS} were open.
    """

    _log = Logger()

    def __init__(
        self,
        dispatch: Dispatch,
        pressure: IPressure,
        clock: IReactorTime,
        settings: Settings,
        memory: RequestMemory | None = None,
    ) -> None:
        """
        @param dispatch: Turns requests into responses.
        @param pressure: Whether the log has room for more records.
        @param clock: Times idle connections and the stop.
        @param settings: The limits of connections and requests.
        @param memory: The memory for requests that are not under way; by
            default one with the usual limit.
        """
        self._clock = clock
        self._most = settings.max_connections
        self.strangers = RequestMemory(clock, guard.MEMORY)
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
        self._connections: set[Connection] = set()
        self._refusing = False
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

    def listener(self, sessions: ISessions) -> ListenerFactory:
        """
        The factory of a listener's connections.

        @param sessions: Of the listener.
        """
        return ListenerFactory(self, self._settings_of(sessions=sessions))

    def accept(self, settings: ConnectionSettings) -> Connection | None:
        """
        A connection for a client; None if too many are open or the broker is
        stopping, and then Twisted closes it at once.

        @param settings: Of the listener.
        """
        if self._stopping:
            return None
        if self._most and len(self._connections) >= self._most:
            self.rejected += 1
            if not self._refusing:
                # Logged once until a connection is free: clients retry by the
                # thousand.
                self._refusing = True
                self._log.warn(
                    "all {most} connections are in use; new ones are closed at once until one"
                    " is free (to allow more: KAFSCALE_MAX_CONNECTIONS)",
                    most=self._most,
                )
            return None
        connection = Connection(settings, self._gone)
        self.accepted += 1
        self._connections.add(connection)
        return connection

    def stop(self, seconds: float) -> Deferred[None]:
        """
        Begin no new request, answer those under way, and close. Long polls are
        cancelled after L{POLL_SECONDS}.

        @param seconds: After this time all connections are closed, even if
            responses are still owed.
        @return: Fires when all connections are closed.
        """
        self._stopping = True
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
        self._connections.discard(connection)
        self._refusing = False
        if self._stopping and not self._connections:
            stopped, self._stopped = self._stopped, []
            for each in stopped:
                each.callback(None)
