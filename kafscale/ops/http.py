"""
The HTTP server: /metrics, /healthz and /readyz.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.protocols.policies import ThrottlingFactory
from twisted.python.failure import Failure
from twisted.web.http import (
    INTERNAL_SERVER_ERROR,
    NOT_ALLOWED,
    NOT_FOUND,
    OK,
    SERVICE_UNAVAILABLE,
    UNAUTHORIZED,
)
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from kafscale.ops.credentials import Credentials
from kafscale.ops.exposition import CONTENT_TYPE, Metrics
from kafscale.ops.health import Health

MOST_CONNECTIONS = 100
"""Maximum number of connections: few are needed, and each is an open file."""

IDLE_SECONDS = 30.0
"""Seconds without a request after which a connection is closed."""

OPEN: Final = (b"/healthz", b"/readyz")
"""Pages for which no credentials are asked for: they say little, and supervisors and load
balancers have none."""

_PLAIN = "text/plain; charset=utf-8"


@attrs.frozen
class Page:
    """
    A response.
    """

    body: bytes
    status: int = OK
    content_type: str = _PLAIN


def pages(metrics: Metrics, health: Health) -> Mapping[bytes, Callable[[], Awaitable[Page]]]:
    """
    The functions that make the responses, by path.
    """

    async def show_metrics() -> Page:
        return Page(await metrics.text(), content_type=CONTENT_TYPE)

    async def show_health() -> Page:
        return _verdict(await health.unhealthy())

    async def show_readiness() -> Page:
        return _verdict(await health.unready())

    return {b"/metrics": show_metrics, b"/healthz": show_health, b"/readyz": show_readiness}


def _verdict(reasons: Sequence[str]) -> Page:
    if not reasons:
        return Page(b"ok\n")
    body = "".join(f"{reason}\n" for reason in reasons)
    return Page(body.encode(errors="replace"), SERVICE_UNAVAILABLE)


class Pages(Resource):
    """
    Answers GET and HEAD for the given paths, and nothing else.
    """

    _log = Logger()
    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(
        self,
        shown: Mapping[bytes, Callable[[], Awaitable[Page]]],
        credentials: Credentials,
    ) -> None:
        """
        @param shown: See L{pages}.
        @param credentials: What requests must have, but for pages that are L{OPEN}.
        """
        super().__init__()
        self._shown = shown
        self._credentials = credentials

    def render(self, request: Request) -> Any:
        """
        Answer, now or later.
        """
        show = self._shown.get(request.path)
        given = request.getHeader(b"authorization")
        if request.path not in OPEN and not self._credentials.allow(given):
            headers = request.responseHeaders
            headers.setRawHeaders("WWW-Authenticate", list(self._credentials.challenges))
            self._answer(Page(b"credentials are needed\n", UNAUTHORIZED), request)
        elif show is None:
            paths = ", ".join(path.decode() for path in self._shown)
            self._answer(Page(f"not found; see {paths}\n".encode(), NOT_FOUND), request)
        elif request.method not in (b"GET", b"HEAD"):
            request.setHeader("Allow", "GET, HEAD")
            self._answer(Page(b"only GET and HEAD\n", NOT_ALLOWED), request)
        else:
            showing = Deferred.fromCoroutine(_awaited(show))
            request.notifyFinish().addErrback(lambda _: showing.cancel())
            showing.addCallbacks(
                self._answer, self._failed, callbackArgs=(request,), errbackArgs=(request,)
            )
        return NOT_DONE_YET

    def _answer(self, page: Page, request: Request) -> None:
        request.setResponseCode(page.status)
        request.setHeader("Content-Type", page.content_type)
        request.setHeader("Content-Length", str(len(page.body)))
        request.setHeader("Cache-Control", "no-store")
        if request.method != b"HEAD":
            request.write(page.body)
        request.finish()

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return  # the client has disconnected
        path = request.path.decode("ascii", "replace")
        self._log.failure("HTTP request {path} failed with an unexpected error", failure, path=path)
        self._answer(Page(b"failed; the reason is in the log\n", INTERNAL_SERVER_ERROR), request)


async def _awaited(show: Callable[[], Awaitable[Page]]) -> Page:
    return await show()


class _Request(Request):
    """
    A request whose body, if it has one, is dropped.
    """

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        pass


class _Site(Site):
    """
    A site that does not log requests, of which some come every few seconds,
    and so needs no timer for the time in such lines.
    """

    def startFactory(self) -> None:  # noqa: N802 - Twisted's name
        pass

    def stopFactory(self) -> None:  # noqa: N802 - Twisted's name
        pass

    def log(self, request: Any) -> None:
        pass


class _Limited(ThrottlingFactory):
    noisy = False

    def logPrefix(self) -> str:  # noqa: N802 - Twisted's name
        return "kafscale HTTP"


def operators_site(
    metrics: Metrics,
    health: Health,
    reactor: IReactorTime,
    credentials: Credentials,
) -> ThrottlingFactory:
    """
    The factory for the port of the HTTP server.

    @param credentials: See L{Pages}.
    """
    site = _Site(
        Pages(pages(metrics, health), credentials),
        requestFactory=_Request,
        timeout=IDLE_SECONDS,
        reactor=reactor,
    )
    site.noisy = False
    site.displayTracebacks = False
    return _Limited(site, maxConnectionCount=MOST_CONNECTIONS)
