"""
An S3 server that says what a test tells it to, in the test's own reactor.
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
    A request that came.

    @ivar headers: By their names in lower case.
    """

    method: str
    uri: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen
class Say:
    """
    An answer.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}

    def __call__(self, request: Any) -> None:
        """
        Give it.
        """
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        request.write(self.body)
        request.finish()


def error(status: int, code: str, **headers: str) -> Say:
    """
    An error as S3 tells it; headers by their names with underscores.
    """
    body = f"<Error><Code>{code}</Code><Message>on the test's orders</Message></Error>"
    return Say(status, body.encode(), {k.replace("_", "-"): v for k, v in headers.items()})


def hang(request: Any) -> None:
    """
    No answer.
    """


def reset(request: Any) -> None:
    """
    The connection ends.
    """
    request.channel.transport.abortConnection()


def cut_short(request: Any) -> None:
    """
    Half of an answer, and the connection ends.
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
    Answers from a list, the next one to each request; at the end of the list
    the last again and again.

    @ivar asked: The requests that came.
    @ivar connections: How many there were.
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
        As a factory to listen with.
        """
        return _Counted(self)

    def came(self, number: int) -> Deferred[None]:
        """
        Fires when so many requests have come.
        """
        waiter: Deferred[None] = Deferred()
        self._waiting.append((number, waiter))
        self._tell()
        return waiter

    def _tell(self) -> None:
        for number, waiter in list(self._waiting):
            if len(self.asked) >= number:
                self._waiting.remove((number, waiter))
                waiter.callback(None)

    def render(self, request: Any) -> int:
        """
        Note the request, and give the answer.
        """
        headers = {
            name.decode().lower(): values[0].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        method, uri = request.method.decode(), request.uri.decode()
        self.asked.append(Asked(method, uri, headers, request.content.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(request)
        self._tell()
        return NOT_DONE_YET
