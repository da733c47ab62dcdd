"""
Makes connections, knows them all, and brings them to an end.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from kafscale.config import Settings
from kafscale.interfaces import IPressure
from kafscale.net.connection import Connection
from kafscale.net.dispatch import Dispatch
from kafscale.net.memory import Memory
from kafscale.net.surroundings import Surroundings

# When the broker stops, fetches that wait for records are given up after this.
POLL_SECONDS = 1.0


class BrokerFactory(Factory):
    """
    The connections of all clients.

    @ivar accepted: How many were made, ever.
    @ivar rejected: How many were closed at once, because there were too many.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        dispatch: Dispatch,
        pressure: IPressure,
        clock: IReactorTime,
        settings: Settings,
        memory: Memory | None = None,
    ) -> None:
        """
        @param memory: What requests may take before they are served, if not
            the usual.
        """
        self._clock = clock
        self._most = settings.max_connections
        self._surroundings = Surroundings(
            dispatch=dispatch,
            pressure=pressure,
            memory=memory or Memory(clock),
            clock=clock,
            max_request_bytes=settings.max_request_bytes,
            idle_seconds=settings.connections_max_idle_ms / 1000,
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
        How many there are.
        """
        return len(self._connections)

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """
        A client connects. None, when there are too many already or the broker
        stops: it is closed at once.
        """
        if self._stopping:
            return None
        if self._most and len(self._connections) >= self._most:
            self.rejected += 1
            if not self._refusing:
                # Once until there is room again: these come by the thousand.
                self._refusing = True
                self._log.warn(
                    "All {most} connections are taken: new ones are closed at once"
                    " (KAFSCALE_MAX_CONNECTIONS)",
                    most=self._most,
                )
            return None
        connection = Connection(self._surroundings, self._gone)
        connection.factory = self
        self.accepted += 1
        self._connections.add(connection)
        return connection

    def stop(self, seconds: float) -> Deferred[None]:
        """
        Begin no new request, answer those under way, close. Fetches that wait
        for records are given up sooner.

        @param seconds: After so long connections are closed, answered or not.
        @return: Fires when there is no connection any more.
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
