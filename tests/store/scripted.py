"""
An S3 server, in the test's own reactor, that gives the answers of a script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site


@attrs.frozen
class Asked:
    """
    A request that was received.

    @ivar headers: The headers, by their names in lower case.
    """

    method: str
    uri: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Say:
    """
    An answer, which can be called with a request.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}

    def __call__(self, request: Any) -> None:
        """
        Send the answer to a request.
        """
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        request.write(self.body)
        request.finish()


def error(status: int, code: str, **headers: str) -> Say:
    """
    Make the answer of S3 for an error.

    @param headers: Headers of the answer, with underscores in their names.
    """
    body = f"<Error><Code>{code}</Code><Message>on the test's orders</Message></Error>"
    return Say(status, body.encode(), {k.replace("_", "-"): v for k, v in headers.items()})


def hang(request: Any) -> None:
    """
    Send no answer.
    """


def reset(request: Any) -> None:
    """
    Close the connection.
    """
    request.channel.transport.abortConnection()


def cut_short(request: Any) -> None:
    """
    Send half of an answer, and close the connection.
    """
    request.setHeader("content-length", "1000")
    request.write(b"x" * 500)
    request.channel.transport.loseConnection()


class _Counted(Site):
    noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        self.resource.connections += 1
        return super().buildProtocol(addr)


class Script(Resource):
    """
    Gives the answers of a list, one to each request; at the end of the list, the
    last one again.

    @ivar answers: Called with the request, one after the other.
    @ivar asked: The requests that were received.
    @ivar connections: The number of connections that were made.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Callable[[Any], None]] = []
        self.asked: list[Asked] = []
        self.connections = 0
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def site(self) -> Site:
        """
        The factory of the server.
        """
        return _Counted(self)

    def came(self, number: int) -> Deferred[None]:
        """
        Return a Deferred that fires when this many requests were received.
        """
        waiter: Deferred[None] = Deferred()
        self._waiting.append((number, waiter))
        self._fire()
        return waiter

    def _fire(self) -> None:
        for number, waiter in list(self._waiting):
            if len(self.asked) >= number:
                self._waiting.remove((number, waiter))
                waiter.callback(None)

    def render(self, request: Any) -> int:
        """
        Record a request, and give the next answer.
        """
        headers = {
            name.decode().lower(): values[0].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        method, uri = request.method.decode(), request.uri.decode()
        self.asked.append(Asked(method, uri, headers, request.content.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(request)
        self._fire()
        return NOT_DONE_YET
