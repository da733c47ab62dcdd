"""
Requests to one bucket, over connections that are kept.
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
from kafscale.store.http import Endpoints, reason_of, trust_root
from kafscale.store.s3.address import Address
from kafscale.store.s3.bodies import Collector, Piece, PieceProducer
from kafscale.store.s3.credentials import Credentials
from kafscale.store.s3.errors import SKEWED, STALE, Answer, NoAnswer
from kafscale.store.s3.signing import Signer

#: Seconds for which an idle connection is kept. Stores close theirs after some
#: 20 s or more; a request that meets the closing is lost.
KEPT_SECONDS = 15

#: Seconds without any progress after which an exchange is given up.
STALL_SECONDS = 10.0

#: Seconds that any exchange has, and the least bytes in a second after that: a
#: body that drips does progress, and would take a place for ever.
GRACE_SECONDS = 30.0
LEAST_RATE = 64 * 1024


@attrs.frozen
class Request:
    """
    One request, before it is signed.

    @ivar operation: What S3 calls it.
    @ivar size: Of the answer's body, if that is known to be large.
    """

    operation: str
    method: str
    key: str = ""
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    pieces: Sequence[Piece] | None = None
    size: int = 0


class Transport:
    """
    Signs, sends, and waits for answers.

    @ivar requests: How many were sent, by operation: what the bill counts.
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
        @param reactor: Time, and TCP and name resolution.
        @param now: Seconds since 1970.
        @param concurrency: How many requests may be under way at once.
        @param ca_file: Certificates (PEM) of those who may sign the server's;
            None: those that this machine trusts.
        @raise SettingError: there are none in it.
        """
        self._address = address
        self._credentials = credentials
        self._reactor = reactor
        self._signer = Signer(address.region, now)
        self._limiter = RequestLimiter(concurrency)
        self._pool = HTTPConnectionPool(reactor)  # type: ignore[no-untyped-call]
        self._pool.maxPersistentPerHost = concurrency
        self._pool.cachedConnectionTimeout = KEPT_SECONDS
        self._pool.retryAutomatically = False  # who asks decides about that
        endpoints = Endpoints(reactor, trust_root(ca_file))
        agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)  # type: ignore[no-untyped-call]
        self._http = HTTPClient(agent)
        self._under_way: set[Deferred[Answer]] = set()
        self.requests: Counter[str] = Counter()
        self._closed = False

    def send(self, request: Request) -> Deferred[Answer]:
        """
        S3's answer, whatever it is. The Deferred can be cancelled.

        Who is refused because of a clock or of credentials that are too old is
        asked for once more, with better ones.

        @raise NoAnswer: there is none, or none that is whole.
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
                return await self._asked(request)
            finally:
                self._limiter.release()
        except CancelledError:
            if self._closed:
                raise NoAnswer("the store is closed") from None
            raise

    async def _asked(self, request: Request) -> Answer:
        credentials = await self._credentials.current()
        answer = await self._signed(request, credentials)
        if answer.status not in (400, 401, 403):
            return answer
        error = answer.error()
        # An answer to HEAD has no body that would say why: its time may.
        if error.code in SKEWED or error.code == "403":
            better = self._signer.learn(error.date)
        else:
            better = error.code in STALE and await self._credentials.replace(credentials)
        return await self._signed(request, await self._credentials.current()) if better else answer

    async def _signed(self, request: Request, credentials: ReadOnlyCredentials) -> Answer:
        url = self._address.url(request.key, request.query)
        signed = self._signer.sign(request.method, url, request.headers, credentials)
        sent = sum(map(len, request.pieces)) if request.pieces else 0
        longest = allowed_seconds(max(sent, request.size))
        stall = StallTimeout(self._reactor, STALL_SECONDS, longest)
        self.requests[request.operation] += 1
        try:
            return await self._exchange(request, url, signed, stall)
        except CancelledError:
            if stall.verdict:
                raise NoAnswer(f"{self._address.base}: {stall.verdict}") from None
            raise
        except Exception as error:  # noqa: BLE001 - whatever goes wrong below HTTP
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
            allow_redirects=False,  # which would not be signed
            unbuffered=True,
            reactor=self._reactor,
        )
        stall.guard(responding)
        response = await responding
        stall.progressed()
        if isinstance(response.length, int):
            stall.extend(allowed_seconds(response.length))
        collector = Collector(stall.progressed)
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
        End what is under way: it is answered L{NoAnswer}.
        """
        self._closed = True
        for sending in list(self._under_way):
            sending.cancel()
        await self._pool.closeCachedConnections()  # type: ignore[no-untyped-call]


def allowed_seconds(size: int) -> float:
    """
    How many seconds an exchange may take in all.

    @param size: Bytes of the larger body, as far as it is known.
    """
    return GRACE_SECONDS + size / LEAST_RATE
