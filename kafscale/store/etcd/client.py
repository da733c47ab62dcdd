"""
Requests to the members of an etcd cluster.

One member is asked as long as it answers; then the next. Nothing is sent twice
that may have been done: only who could not be connected to was surely not asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredLock,
    TimeoutError,
    maybeDeferred,
)
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    ResponseFailed,
)
from twisted.web.http_headers import Headers

from kafscale.errors import StoreUnavailable
from kafscale.store.etcd.faults import (
    MISTAKES,
    EtcdError,
    LoginRefused,
    NotSent,
    Quiet,
    error_in,
    is_old_token,
    is_refusal,
)
from kafscale.store.etcd.stream import Body, Stream
from kafscale.store.http import Endpoints, reason_of

ANSWER_SECONDS = 8.0
"""etcd itself gives up after 5 s, when it finds no leader or no majority."""

KEPT_SECONDS = 60

_NEVER_CONNECTED = (ConnectError, ConnectionRefusedError, DNSLookupError)


@attrs.frozen
class Login:
    """
    Who asks, where etcd has authentication.
    """

    user: str
    password: str = attrs.field(repr=False)


class EtcdClient:
    """
    Asks members by turns.

    @cvar seconds: How long an answer may take.
    """

    seconds = ANSWER_SECONDS

    def __init__(
        self,
        members: Sequence[str],
        reactor: Any,
        trust: Any = None,
        certificate: Any = None,
        login: Login | None = None,
    ) -> None:
        """
        @param members: URLs without a path, such as C{http://127.0.0.1:2379}.
        @param reactor: Time, and TCP and name resolution.
        @param trust: Whose certificates are believed (L{trust_root}); needed
            for https.
        @param certificate: See L{client_certificate}.
        """
        self._members = list(members)
        self._at = 0
        self._reactor = reactor
        self._login = login
        self._token: str | None = None
        self._logging_in = DeferredLock()
        self._pool = HTTPConnectionPool(reactor)  # type: ignore[no-untyped-call]
        self._pool.maxPersistentPerHost = 64
        self._pool.cachedConnectionTimeout = KEPT_SECONDS
        self._pool.retryAutomatically = False  # it would ask twice
        endpoints = Endpoints(reactor, trust, certificate)
        alone = HTTPConnectionPool(reactor, persistent=False)  # type: ignore[no-untyped-call]

        def client(pool: Any) -> HTTPClient:
            return HTTPClient(Agent.usingEndpointFactory(reactor, endpoints, pool))  # type: ignore[no-untyped-call]

        self._http = client(self._pool)
        self._streaming = client(alone)
        self._under_way: set[Deferred[Any]] = set()
        self._streams: set[Stream] = set()
        self._closed = False

    @property
    def member(self) -> str:
        """
        Who is asked now.
        """
        return self._members[self._at]

    async def call(
        self,
        path: str,
        body: dict[str, Any],
        seconds: float = ANSWER_SECONDS,
        repeatable: bool = False,
    ) -> dict[str, Any]:
        """
        The answer to one request.

        @param path: Such as C{/v3/kv/range}.
        @param seconds: How long a member may take.
        @param repeatable: Whether the next member may be asked after one that
            did not answer.
        @raise EtcdError: etcd says no.
        @raise LoginRefused: etcd does not let us in.
        @raise NotSent: no member could be connected to.
        @raise StoreUnavailable: there is no answer; what was asked for may
            have been done.
        """
        members = self._members[self._at :] + self._members[: self._at]
        for member in members:
            try:
                return await self._authorized(member, path, body, seconds)
            except StoreUnavailable as error:
                says_no = isinstance(error, EtcdError)
                if not (isinstance(error, EtcdError) and error.code in MISTAKES):
                    self._leave(member)
                again = isinstance(error, NotSent) or (repeatable and not says_no)
                if not again or member is members[-1]:
                    raise
        raise AssertionError("there are no members")

    def _leave(self, member: str) -> None:
        """
        The next one is asked from now on, unless somebody has said so already.
        """
        if member == self.member:
            self._at = (self._at + 1) % len(self._members)

    async def _authorized(
        self, member: str, path: str, body: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        for first in (True, False):
            token = await self._token_of(member)
            try:
                return await self._post(member, path, body, token, seconds)
            except EtcdError as error:
                if first and self._login and is_old_token(error):
                    self._forget(token)
                elif is_refusal(error):
                    raise LoginRefused(str(error)) from None
                else:
                    raise
        raise AssertionError("not reached")

    def _forget(self, token: str | None) -> None:
        if token == self._token:
            self._token = None

    async def _token_of(self, member: str) -> str | None:
        if self._login is not None and self._token is None:
            async with self._logging_in:  # for all who need it
                if self._token is None:
                    self._token = await self._log_in(member, self._login)
        return self._token

    async def _log_in(self, member: str, login: Login) -> str:
        body = {"name": login.user, "password": login.password}
        try:
            answer = await self._post(
                member, "/v3/auth/authenticate", body, None, self.seconds
            )
        except EtcdError as error:
            if is_refusal(error):
                raise LoginRefused(str(error)) from None
            raise
        return str(answer["token"])

    async def _post(
        self, member: str, path: str, body: dict[str, Any], token: str | None, seconds: float
    ) -> dict[str, Any]:
        seconds = min(seconds, self.seconds)
        asking = Deferred.fromCoroutine(self._asked(member, path, body, token))
        asking.addTimeout(seconds, self._reactor)
        try:
            answer: dict[str, Any] = await self._guarded(asking)
        except TimeoutError:
            raise StoreUnavailable(f"{member}: no answer in {seconds:g} s") from None
        return answer

    def _guarded(self, asking: Deferred[Any]) -> Deferred[Any]:
        """
        The same, to be ended by L{close}.
        """
        self._under_way.add(asking)

        def done(result: Any) -> Any:
            self._under_way.discard(asking)
            if self._closed and isinstance(result, Failure):
                result.trap(CancelledError)  # type: ignore[no-untyped-call]
                raise StoreUnavailable("the metadata store is closed")
            return result

        return asking.addBoth(done)

    async def _asked(
        self, member: str, path: str, body: dict[str, Any], token: str | None
    ) -> dict[str, Any]:
        response = await self._responded(self._http, member, path, body, token)
        data = await self._body_of(member, response)
        try:
            answer: dict[str, Any] = json.loads(data)
        except ValueError:
            raise StoreUnavailable(f"{member}: an answer that is no JSON") from None
        return answer

    async def _responded(
        self, http: HTTPClient, member: str, path: str, body: dict[str, Any], token: str | None
    ) -> Any:
        if self._closed:
            raise StoreUnavailable("the metadata store is closed")
        # A member that has lost the others ends its streams, instead of saying
        # nothing for ever.
        headers = Headers({"Content-Type": ["application/json"]})
        headers.setRawHeaders("Grpc-Metadata-hasleader", ["true"])
        if token is not None:
            headers.setRawHeaders("Authorization", [token])
        try:
            return await http.post(
                member + path,
                data=json.dumps(body).encode(),
                headers=headers,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
        except Exception as error:
            raise _unheard(member, error) from error

    async def _body_of(self, member: str, response: Any) -> bytes:
        body = Body()
        response.deliverBody(body)
        try:
            data = await body.whole
        except Exception as error:
            raise _unheard(member, error) from error
        if response.code != 200:
            raise error_in(member, response.code, data)
        return data

    async def _begun(self, member: str, path: str, body: dict[str, Any], token: str | None) -> Any:
        response = await self._responded(self._streaming, member, path, body, token)
        if response.code != 200:
            await self._body_of(member, response)  # raises
        return response

    async def stream(
        self, path: str, body: dict[str, Any], told: Callable[[dict[str, Any]], None]
    ) -> Stream:
        """
        Ask for messages until they end. Each one's C{result} is given to
        C{told}, which may raise: that ends the stream.

        @raise StoreUnavailable: it did not begin.
        """
        member = self.member
        token = None
        try:
            token = await self._token_of(member)
            beginning = Deferred.fromCoroutine(self._begun(member, path, body, token))
            beginning.addTimeout(self.seconds, self._reactor)
            response = await self._guarded(beginning)
        except TimeoutError:
            self._leave(member)
            raise StoreUnavailable(f"{member}: no answer in {self.seconds:g} s") from None
        except StoreUnavailable:
            self._forget(token)
            self._leave(member)
            raise
        stream = Stream(member, told)
        response.deliverBody(stream)
        self._streams.add(stream)

        def ended(failure: Failure) -> Failure:
            self._streams.discard(stream)
            if not failure.check(CancelledError, Quiet):  # type: ignore[no-untyped-call]
                # The token may be why: etcd says so in several ways.
                self._forget(token)
                self._leave(member)
            return failure

        stream.ended.addErrback(ended)
        return stream

    async def close(self) -> None:
        """
        End what is under way.
        """
        self._closed = True
        for asking in list(self._under_way):
            asking.cancel()
        for stream in list(self._streams):
            stream.end(CancelledError())
        await maybeDeferred(self._pool.closeCachedConnections)


def _unheard(member: str, error: Exception) -> Exception:
    """
    What it means that a request ended without an answer.
    """
    reasons = [each.value for each in error.reasons] if isinstance(error, ResponseFailed) else []
    cancelled = (CancelledError, ConnectingCancelledError)
    if any(isinstance(each, cancelled) for each in (error, *reasons)):
        return CancelledError()
    kind = NotSent if isinstance(error, _NEVER_CONNECTED) else StoreUnavailable
    return kind(f"{member}: {reason_of(error)}")
