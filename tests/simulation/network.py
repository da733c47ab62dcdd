"""
Clients' connections to brokers, and the roads that they take.

A request is a message object and not bytes; all else is as in
`kafscale.net.connection`: answers come in the order of requests, produces that
follow produces are under way together, any other request waits for those
before it. What a paused broker's kernel has taken it reads when it goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from kafscale.errors import KafkaError, StoreUnavailable, code_of, message_of
from kafscale.interfaces import ISession, RequestContext, Serving, Settling
from kafscale.wire.messages import FetchRequest
from kafscale.wire.schema import Request
from tests.harness.sessions import SESSION
from tests.simulation.schedule import ProcessClock, Schedule

LATENCY = 0.002


class Disconnected(Exception):
    """
    There is no answer, and the connection is closed.
    """


class Server(Protocol):
    """
    The process at the other end.
    """

    clock: ProcessClock
    number: int

    def serving(self, request: type[Request]) -> Serving | None:
        """
        How it serves such requests.
        """

    def surprised(self, failure: Failure) -> None:
        """
        A service has failed in a way that it should not.
        """


class Road:
    """
    Between one client and one broker.

    @ivar slowness: How much longer messages take than usual.
    """

    def __init__(self, schedule: Schedule, chance: Random) -> None:
        self.slowness = 1.0
        self.is_cut = False
        self.schedule = schedule
        self._chance = chance
        self._held: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def send(self, not_before: float, function: Callable[..., Any], *arguments: Any) -> float:
        """
        Call it at the other end; when, if nothing comes between.

        @param not_before: When the message before this one arrives.
        """
        if self.is_cut:
            self._held.append((function, arguments))
            return not_before
        wait = LATENCY * self.slowness * (0.5 + self._chance.random())
        at = max(not_before + 1e-4, self.schedule.now + wait)
        self.schedule.after(at - self.schedule.now, function, *arguments)
        return at

    def heal(self) -> None:
        """
        Deliver the messages sent meanwhile: they were retransmitted all the
        time.
        """
        self.is_cut = False
        held, self._held = self._held, []
        for number, (function, arguments) in enumerate(held):
            self.schedule.after(LATENCY + number * 1e-3, function, *arguments)


@attrs.define(eq=False)
class Asked:
    """
    A request on its way.
    """

    request: Any
    version: int
    answer: Deferred[Any]
    serving: Serving | None = None
    under_way: Deferred[Any] | None = None
    response: Any = None
    done: bool = False


class Pipe:
    """
    A connection between a client and a broker.
    """

    def __init__(
        self, road: Road, server: Server, client: str, session: ISession = SESSION
    ) -> None:
        """
        @param session: Has the principal for which requests are served.
        """
        self._session = session
        self._road = road
        self._server = server
        self._client = client
        self.process = server.number
        self.is_open = True
        self._there = 0.0  # when the last request arrives
        self._back = 0.0  # when the last answer does
        self._asked: deque[Asked] = deque()  # as the client knows it
        self._waiting: deque[Asked] = deque()  # as the broker does, from here on
        self._owed: deque[Asked] = deque()
        self._gone = False
        self._proceeding = False

    # -- the client's end -----------------------------------------------------

    def ask(self, request: Request, version: int, seconds: float) -> Deferred[Any]:
        """
        The response.

        @param seconds: After this time without one the connection is closed.
        @raise Disconnected: (by the Deferred) it is closed.
        """
        asked = Asked(request, version, Deferred())
        if not self.is_open:
            asked.answer.errback(Disconnected())
            return asked.answer
        self._asked.append(asked)
        self._there = self._road.send(
            self._there, self._server.clock.deliver, self._came, asked
        )
        timer = self._road.schedule.after(seconds, self.close)

        def answered(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        return asked.answer.addBoth(answered)

    def close(self) -> None:
        """
        The client hangs up.
        """
        if self.is_open:
            self._road.send(self._there, self._server.clock.deliver, self._hung_up)
            self.lost()

    def lost(self) -> None:
        """
        The client finds the connection closed.
        """
        self.is_open = False
        asked, self._asked = self._asked, deque()
        for each in asked:
            each.answer.errback(Disconnected())

    def _got(self, asked: Asked) -> None:
        if self._asked and self._asked[0] is asked:
            self._asked.popleft()
            asked.answer.callback(asked.response)

    # -- the broker's end -----------------------------------------------------

    @property
    def is_over(self) -> bool:
        """
        Whether the broker has hung up, or heard that the client has, and is done with all
        requests.
        """
        return self._gone and not self._owed

    def _came(self, asked: Asked) -> None:
        if not self._gone:
            self._waiting.append(asked)
            self._proceed()

    def _hung_up(self) -> None:
        """
        What was asked for is still done, but fetches are given up.
        """
        self._gone = True
        self._waiting.clear()
        for asked in list(self._owed):
            if isinstance(asked.request, FetchRequest) and asked.under_way is not None:
                asked.under_way.cancel()

    def _proceed(self) -> None:
        if self._proceeding:
            return
        self._proceeding = True
        while self._waiting and not self._gone:
            serving = self._server.serving(type(self._waiting[0].request))
            if self._owed and not (
                serving is not None and serving.overlaps and self._owed[-1].serving is serving
            ):
                break
            asked = self._waiting.popleft()
            asked.serving = serving
            self._owed.append(asked)
            self._begin(asked)
        self._proceeding = False

    def _begin(self, asked: Asked) -> None:
        if asked.serving is None:
            self.shut()
            return
        context = RequestContext(asked.version, self._client, self._client, self, self._session)
        try:
            answer = asked.serving.answer(asked.request, context)
        except Exception:
            self._failed(Failure(), asked, context)
            return
        if answer is None or hasattr(answer, "encode"):
            self._answered(answer, asked)
            return
        if isinstance(answer, Settling):
            answer = answer.deferred()
        waiting = answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(answer)
        asked.under_way = waiting
        waiting.addCallbacks(self._answered, self._failed, (asked,), {}, (asked, context))

    def _failed(self, failure: Failure, asked: Asked, context: RequestContext) -> None:
        error = failure.value
        if error is None or isinstance(error, CancelledError) or asked.serving is None:
            self.shut()
            return
        if not isinstance(error, KafkaError | StoreUnavailable):
            self._server.surprised(failure)
        code, message = code_of(error), message_of(error)
        self._answered(asked.serving.failed(asked.request, context, code, message), asked)

    def _answered(self, response: Any, asked: Asked) -> None:
        asked.response = response
        asked.done = True
        while self._owed and self._owed[0].done:
            first = self._owed.popleft()
            if not self._gone:
                self._back = self._road.send(self._back, self._got, first)
        self._proceed()

    def shut(self) -> None:
        """
        The broker hangs up.
        """
        if not self._gone:
            self._hung_up()
            self.broken()

    def broken(self) -> None:
        """
        The broker's end is closed, whatever the broker does.
        """
        if self.is_open:
            self._back = self._road.send(self._back, self.lost)
