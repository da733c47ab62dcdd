"""
Sends requests to one bucket, over persistent connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from botocore.credentials import ReadOnlyCredentials
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from kafscale.concurrency.limiter import RequestLimiter
from kafscale.concurrency.stall_timeout import StallTimeout
from kafscale.store.http import Endpoints, is_cancelled, reason_of, trust_root
from kafscale.store.s3.address import Address
from kafscale.store.s3.bodies import Collector, Piece, PieceProducer
from kafscale.store.s3.credentials import Credentials
from kafscale.store.s3.errors import SKEWED, STALE, Answer, NoAnswer
from kafscale.store.s3.signing import Signer

KEPT_SECONDS = 15
"""How long an idle connection is kept open. Stores close theirs after 20 s or
more, and a request that is sent at that moment is lost."""

STALL_SECONDS = 10.0
"""The time-out of an exchange in which no byte is sent or received."""

GRACE_SECONDS = 30.0
LEAST_RATE = 64 * 1024
"""The time-out of a whole exchange: these seconds, and one more for so many bytes.
An exchange that is very slow makes progress, but must not occupy a connection for
ever."""


@attrs.frozen
class Request:
    """
    A request, before it is signed.

    @ivar operation: The name of the operation in S3's API.
    @ivar method: The HTTP method.
    @ivar key: The key of the object; empty for a request to the bucket.
    @ivar query: The parameters of the URL.
    @ivar headers: The headers, except those of the signature.
    @ivar pieces: The body; None if the method has none.
    @ivar size: The size of the answer's body in bytes, if it may be large.
    @ivar most: The maximum size of the answer's body in bytes; None: any. A longer
        one is not read to its end.
    """

    operation: str
    method: str
    key: str = ""
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    pieces: Sequence[Piece] | None = None
    size: int = 0
    most: int | None = None


class Transport:
    """
    Signs and sends requests, and receives the answers.

    @ivar requests: The number of requests that were sent, by operation, as S3
        bills them.
    """

    def __init__(
        self,
        address: Address,
        credentials: Credentials,
        reactor: Any,
        now: Callable[[], float],
        concurrency: int,
        ca_file: str | None,
    ) -> None:
        """
        @param address: The URL of the bucket.
        @param credentials: Provides the credentials for signatures.
        @param reactor: Makes connections, resolves names and is the clock.
        @param now: Returns the seconds since 1970.
        @param concurrency: The maximum number of requests in progress. Others
            wait: those with a body (writes) go first.
        @param ca_file: A file with the certificate authorities (PEM) that are
            trusted; None: those of the platform.
        @raise SettingError: the file cannot be read, or has no certificate.
        """
        self._address = address
        self._credentials = credentials
        self._reactor = reactor
        self._signer = Signer(address.region, now)
        self._limiter = RequestLimiter(concurrency)
        self._pool = HTTPConnectionPool(reactor)  # type: ignore[no-untyped-call]
        self._pool.maxPersistentPerHost = concurrency
        self._pool.cachedConnectionTimeout = KEPT_SECONDS
        self._pool.retryAutomatically = False  # the caller decides about that
        endpoints = Endpoints(reactor, trust_root(ca_file))
        agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)  # type: ignore[no-untyped-call]
        self._http = HTTPClient(agent)
        self._under_way: set[Deferred[Answer]] = set()
        self.requests: Counter[str] = Counter()
        self._closed = False

    def send(self, request: Request) -> Deferred[Answer]:
        """
        Send a request, and return the answer, also if it is an error. The
        Deferred can be cancelled.

        A request that is refused because of this machine's clock, or of
        credentials that have expired, is signed anew and sent once more.

        @raise NoAnswer: there is no answer, or it is not complete.
        @raise NoCredentials: there are no credentials to sign with.
        """
        sending = Deferred.fromCoroutine(self._send(request))
        self._under_way.add(sending)

        def done(result: Any) -> Any:
            self._under_way.discard(sending)
            return result

        return sending.addBoth(done)

    async def _send(self, request: Request) -> Answer:
        if self._closed:
            raise NoAnswer("the store is closed")
        try:
            await self._limiter.acquire(urgent=request.pieces is not None)
            try:
                return await self._send_signed(request)
            finally:
                self._limiter.release()
        except CancelledError:
            if self._closed:
                raise NoAnswer("the store is closed") from None
            raise

    async def _send_signed(self, request: Request) -> Answer:
        credentials = await self._credentials.current()
        answer = await self._attempt(request, credentials)
        if answer.status not in (400, 401, 403, 404):
            return answer
        error = answer.error()
        if error.code in SKEWED:
            better = self._signer.learn(error.date)
        else:
            better = error.code in STALE and await self._credentials.replace(credentials)
        if not better:
            return answer
        return await self._attempt(request, await self._credentials.current())

    async def _attempt(self, request: Request, credentials: ReadOnlyCredentials) -> Answer:
        url = self._address.url(request.key, request.query)
        signed = self._signer.sign(request.method, url, request.headers, credentials)
        sent = sum(map(len, request.pieces)) if request.pieces else 0
        longest = allowed_seconds(max(sent, request.size))
        stall = StallTimeout(self._reactor, STALL_SECONDS, longest)
        self.requests[request.operation] += 1
        try:
            return await self._exchange(request, url, signed, stall)
        except Exception as error:  # noqa: BLE001 - any error of HTTP, TLS or TCP
            if stall.verdict:  # whatever the cancellation looks like
                raise NoAnswer(f"{self._address.base}: {stall.verdict}") from None
            if is_cancelled(error):
                raise CancelledError from None  # by the caller, who does not try again
            raise NoAnswer(f"{self._address.base}: {reason_of(error)}") from error
        finally:
            stall.end()

    async def _exchange(
        self, request: Request, url: str, signed: Mapping[str, str], stall: StallTimeout
    ) -> Answer:
        headers = Headers({name: [value] for name, value in signed.items()})
        body = None
        if request.pieces is not None:
            body = PieceProducer(request.pieces, stall.progressed)
        responding = self._http.request(
            request.method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,  # the signature is for this URL only
            unbuffered=True,
            reactor=self._reactor,
        )
        stall.guard(responding)
        response = await responding
        stall.progressed()
        if isinstance(response.length, int):
            stall.extend(allowed_seconds(response.length))
        collector = Collector(stall.progressed, request.most)
        stall.guard(collector.done)
        response.deliverBody(collector)
        data = await collector.done
        got = {
            name.decode("ascii", "replace").lower(): values[-1].decode("utf-8", "replace")
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, got, data)

    async def close(self) -> None:
        """
        Cancel all requests, which fail with L{NoAnswer}, and close all
        connections.
        """
        self._closed = True
        for sending in list(self._under_way):
            sending.cancel()
        await self._pool.closeCachedConnections()  # type: ignore[no-untyped-call]


def allowed_seconds(size: int) -> float:
    """
    The time-out of a whole exchange, in seconds.

    @param size: The size of the larger body in bytes, as far as it is known.
    """
    return GRACE_SECONDS + size / LEAST_RATE
