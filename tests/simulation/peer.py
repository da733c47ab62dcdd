"""
Requests from one broker's process to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.interfaces import IPeer, PeerUnavailable
from kafscale.wire.messages import RESPONSES
from tests.simulation.network import Pipe, Road

if TYPE_CHECKING:
    from tests.simulation.process import Process


@implementer(IPeer)
class SimulatedPeer:
    """
    See L{IPeer}.
    """

    def __init__(self, process: Process, broker_id: int, road: Road) -> None:
        """
        @param process: Whose it is.
        @param broker_id: Whom it asks.
        """
        self._process = process
        self._broker_id = broker_id
        self._road = road
        self._pipe: Pipe | None = None

    def ask(self, request: Any, version: int, seconds: float) -> Deferred[Any]:
        """
        See L{IPeer.ask}.
        """
        answer: Deferred[Any] = Deferred()
        deliver = self._process.clock.deliver
        pipe = self._pipe
        if pipe is None or not pipe.is_open:
            server = self._process.world.server(self._broker_id)
            if server is None:
                self._process.world.schedule.after(0.01, deliver, self._failed, answer)
                return answer
            name = f"broker-{self._process.broker_id}"
            pipe = self._pipe = Pipe(self._road, server, name)
            server.pipes.append(pipe)
        asked = pipe.ask(request, version, seconds)
        # A process that is paused hears of it when it goes on.
        asked.addCallbacks(
            lambda response: deliver(self._answered, answer, response, version),
            lambda _: deliver(self._failed, answer),
        )
        return answer

    def _answered(self, answer: Deferred[Any], response: Any, version: int) -> None:
        data = b"".join(response.encode(version))
        answer.callback(RESPONSES[type(response).key].decode(version, data))

    def _failed(self, answer: Deferred[Any]) -> None:
        answer.errback(Failure(PeerUnavailable("there is no answer")))

    def close(self) -> None:
        """
        See L{IPeer.close}.
        """
        if self._pipe is not None:
            self._pipe.close()
