"""
Sends requests to the members of an etcd cluster.

Requests go to one member as long as it answers, then to the next one. A request
that may have been done is not sent again, unless its caller allows it: only when
no connection could be made it was certainly not done.
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
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
)
from twisted.web.http_headers import Headers

from kafscale.errors import StoreUnavailable
from kafscale.store.etcd.errors import (
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
from kafscale.store.http import Endpoints, is_cancelled, reason_of

ANSWER_SECONDS = 8.0
"""The time-out of a request. etcd itself fails after some 5 s without a leader or
a majority (5 s and twice the election timeout)."""

KEPT_SECONDS = 60
"""How long an idle connection is kept open."""

_NEVER_CONNECTED = (ConnectError, ConnectionRefusedError, DNSLookupError)


@attrs.frozen
class Login:
    """
    A user of etcd, and the password.
    """

    user: str
    password: str = attrs.field(repr=False)


class EtcdClient:
    """
    Sends requests to one member of a cluster after the other.

    @cvar seconds: The maximum time-out of a request.
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
        @param members: The URLs of the members, without a path, such as
            C{http://127.0.0.1:2379}.
        @param reactor: Makes connections, resolves names and times requests.
        @param trust: The certificate authorities that are trusted, from
            L{trust_root}. Needed for https.
        @param certificate: The certificate of this client, from
            L{client_certificate}.
        @param login: The user, where etcd has authentication.
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
        self._pool.retryAutomatically = False  # a request must not be sent twice
        endpoints = Endpoints(reactor, trust, certificate)
        unpooled = HTTPConnectionPool(reactor, persistent=False)  # type: ignore[no-untyped-call]

        def client(pool: Any) -> HTTPClient:
            return HTTPClient(Agent.usingEndpointFactory(reactor, endpoints, pool))  # type: ignore[no-untyped-call]

        self._http = client(self._pool)
        self._streaming = client(unpooled)
        self._in_progress: set[Deferred[Any]] = set()
        self._streams: set[Stream] = set()
        self._closed = False

    @property
    def member(self) -> str:
        """
        The URL of the member that gets the next request.
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
        Send a request, and return the answer.

        @param path: The path of the API, such as C{/v3/kv/range}.
        @param body: The request, in JSON's types.
        @param seconds: The time-out of each member.
        @param repeatable: Whether the request may be sent to the next member
            after one that did not answer.
        @raise EtcdError: the answer is an error.
        @raise LoginRefused: etcd refused the user or the password.
        @raise NotSent: no connection could be made to any member.
        @raise StoreUnavailable: there is no answer. The request may have been
            done.
        """
        members = self._members[self._at :] + self._members[: self._at]
        for member in members:
            try:
                return await self._call_member(member, path, body, seconds)
            except StoreUnavailable as error:
                has_answered = isinstance(error, EtcdError)
                if not (isinstance(error, EtcdError) and error.code in MISTAKES):
                    self._leave(member)
                again = isinstance(error, NotSent) or (repeatable and not has_answered)
                if not again or member is members[-1]:
                    raise
        raise AssertionError("there are no members")

    def _leave(self, member: str) -> None:
        """
        Send further requests to the next member, unless another request has
        done so already.
        """
        if member == self.member:
            self._at = (self._at + 1) % len(self._members)

    async def _call_member(
        self, member: str, path: str, body: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        """
        Send a request to one member, logged in; again with a new token, if etcd
        does not accept the old one.
        """
        for first in (True, False):
            token = await self._login_token(member)
            try:
                return await self._post(member, path, body, token, seconds)
            except EtcdError as error:
                if first and self._login and is_old_token(error):
                    self._drop_token(token)
                elif is_refusal(error):
                    raise LoginRefused(str(error)) from None
                else:
                    raise
        raise AssertionError("not reached")

    def _drop_token(self, token: str | None) -> None:
        if token == self._token:
            self._token = None

    async def _login_token(self, member: str) -> str | None:
        """
        The token of this client; None without authentication.
        """
        if self._login is not None and self._token is None:
            async with self._logging_in:  # once for all requests that wait
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
        request = Deferred.fromCoroutine(self._exchange(member, path, body, token))
        request.addTimeout(seconds, self._reactor)
        try:
            answer: dict[str, Any] = await self._cancelled_by_close(request)
        except TimeoutError:
            raise StoreUnavailable(f"{member}: no answer in {seconds:g} s") from None
        return answer

    def _cancelled_by_close(self, request: Deferred[Any]) -> Deferred[Any]:
        """
        Have L{close} cancel a request. It then fails with StoreUnavailable.
        """
        self._in_progress.add(request)

        def done(result: Any) -> Any:
            self._in_progress.discard(request)
            if self._closed and isinstance(result, Failure):
                result.trap(CancelledError)  # type: ignore[no-untyped-call]
                raise StoreUnavailable("the metadata store is closed")
            return result

        return request.addBoth(done)

    async def _exchange(
        self, member: str, path: str, body: dict[str, Any], token: str | None
    ) -> dict[str, Any]:
        response = await self._send(self._http, member, path, body, token)
        data = await self._body_of(member, response)
        try:
            answer: dict[str, Any] = json.loads(data)
        except ValueError:
            raise StoreUnavailable(f"{member}: the answer is not JSON") from None
        return answer

    async def _send(
        self, http: HTTPClient, member: str, path: str, body: dict[str, Any], token: str | None
    ) -> Any:
        """
        Send a request, and return the response, without its body.
        """
        if self._closed:
            raise StoreUnavailable("the metadata store is closed")
        # With hasleader a member that has lost the others ends its streams. It
        # would keep them open without sending anything otherwise.
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
            raise _as_store_error(member, error) from error

    async def _body_of(self, member: str, response: Any) -> bytes:
        body = Body()
        response.deliverBody(body)
        try:
            data = await body.whole
        except Exception as error:
            raise _as_store_error(member, error) from error
        if response.code != 200:
            raise error_in(member, response.code, data)
        return data

    async def _open_stream(
        self, member: str, path: str, body: dict[str, Any], token: str | None
    ) -> Any:
        response = await self._send(self._streaming, member, path, body, token)
        if response.code != 200:
            await self._body_of(member, response)  # raises
        return response

    async def stream(
        self, path: str, body: dict[str, Any], received: Callable[[dict[str, Any]], None]
    ) -> Stream:
        """
        Send a request that is answered by a stream of messages.

        @param path: The path of the API, such as C{/v3/watch}.
        @param body: The request, in JSON's types.
        @param received: Called with the C{result} of each message. If it
            raises, the stream ends.
        @raise LoginRefused: etcd refused the user or the password.
        @raise StoreUnavailable: the stream did not begin.
        """
        member = self.member
        token = None
        try:
            token = await self._login_token(member)
            opening = Deferred.fromCoroutine(self._open_stream(member, path, body, token))
            opening.addTimeout(self.seconds, self._reactor)
            response = await self._cancelled_by_close(opening)
        except TimeoutError:
            self._leave(member)
            raise StoreUnavailable(f"{member}: no answer in {self.seconds:g} s") from None
        except StoreUnavailable:
            self._drop_token(token)
            self._leave(member)
            raise
        stream = Stream(member, received)
        response.deliverBody(stream)
        self._streams.add(stream)

        def ended(failure: Failure) -> Failure:
            self._streams.discard(stream)
            if not failure.check(CancelledError, Quiet):  # type: ignore[no-untyped-call]
                # An old token may be the reason, which etcd reports in several ways.
                self._drop_token(token)
                self._leave(member)
            return failure

        stream.ended.addErrback(ended)
        return stream

    async def close(self) -> None:
        """
        Cancel all requests, end all streams, and close all connections.
        """
        self._closed = True
        for request in list(self._in_progress):
            request.cancel()
        for stream in list(self._streams):
            stream.end(CancelledError())
        await maybeDeferred(self._pool.closeCachedConnections)


def _as_store_error(member: str, error: Exception) -> Exception:
    """
    The error to raise when a request ended without an answer.

    @param error: The error of the HTTP client.
    """
    if is_cancelled(error):
        return CancelledError()
    kind = NotSent if isinstance(error, _NEVER_CONNECTED) else StoreUnavailable
    return kind(f"{member}: {reason_of(error)}")
