"""
Sessions on listeners where clients authenticate by SASL.

The requests of a connection until its session is open (Kafka's
C{SaslServerAuthenticator})::

    =========  =======================================================  ==========
    Stage      What is taken                                            Then
    =========  =======================================================  ==========
    FIRST      ApiVersions, once; a wrong one is answered and not       HANDSHAKE
               counted
    FIRST,     SaslHandshake that names a mechanism of the listener     TOKENS, of
    HANDSHAKE                                                           version 0:
                                                                        RAW
    TOKENS     SaslAuthenticate: tokens of the mechanism                OPEN
    RAW        bare tokens                                              OPEN
    OPEN       requests, if the session has no end; SaslHandshake and
               SaslAuthenticate are requests like others then, and are
               answered with ILLEGAL_SASL_STATE
    =========  =======================================================  ==========

An open session ends if C{connections.max.reauth.ms} is set, or the client has
authenticated by something that ends (KIP-368). Then a SaslHandshake begins another
authentication, before or after that end, for the same user by the same mechanism::

    =========  =======================================================  ==========
    OPEN       SaslHandshake, at most once a second; others until the   RENEWING
               session ends
    RENEWING   SaslAuthenticate                                         OPEN
    =========  =======================================================  ==========

Anything else closes the connection: without an answer, if nothing was agreed on
yet; with an answer that says why, if the client can read one. Such an answer is
held for a while (C{connection.failed.authentication.delay.ms}), counted from when
the token came, so that neither many guesses are made nor the time that one takes
says anything.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.access.authentication import exchange
from kafscale.access.authentication.exchange import Exchange, Identity
from kafscale.concurrency.seldom import Seldom
from kafscale.counts import LoginCounts
from kafscale.errors import (
    NONE,
    IllegalSaslState,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanism,
)
from kafscale.interfaces import (
    ANONYMOUS,
    Answer,
    IConversation,
    ISession,
    ISessions,
    Listener,
    Principal,
    Refused,
    Reply,
    Unsettled,
)
from kafscale.wire.frames import MIN_REQUEST
from kafscale.wire.headers import peek, read_header, response_header
from kafscale.wire.messages import (
    ApiVersionsRequest,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from kafscale.wire.schema import MalformedMessage, Request, Response

RENEWAL_SECONDS: Final = 1.0
"""The time from the beginning of an authentication on an open session to the next
one, at least (KIP-368)."""

FAILURE_SECONDS: Final = 60.0
"""At most one line in this time says of a host that a client there failed."""

MOST_LETTERS: Final = 300
"""How much of a reason is logged."""

_LENGTH = struct.Struct(">i")
_CODE = struct.Struct(">h")


class Stage(Enum):
    """
    How far the authentication of a connection is; the module has the table.
    """

    FIRST = auto()
    HANDSHAKE = auto()
    TOKENS = auto()
    RAW = auto()
    OPEN = auto()
    RENEWING = auto()
    OVER = auto()


@attrs.frozen
class SaslRules:
    """
    How clients authenticate on a listener.

    @ivar mechanisms: Begin an exchange, by the name of its mechanism.
    @ivar max_reauth_ms: The longest that a session lasts; 0: as long as what the
        client authenticates by.
    @ivar delay_seconds: How long a refusal is held back.
    """

    mechanisms: Mapping[str, Callable[[], Exchange]]
    max_reauth_ms: int = 0
    delay_seconds: float = 0.1


@implementer(ISessions)
class SaslSessions:
    """
    The sessions of a listener with SASL.

    @ivar listener: See L{ISessions.listener}.
    @ivar rules: How clients authenticate.
    @ivar counts: Of all sessions.
    """

    _log = Logger()

    def __init__(
        self,
        listener: Listener,
        rules: SaslRules,
        clock: IReactorTime,
        now: Callable[[], float],
        counts: LoginCounts,
    ) -> None:
        """
        @param clock: Measures sessions and delays.
        @param now: The time of day, in seconds since 1970.
        """
        self.listener = listener
        self.rules = rules
        self.clock = clock
        self.now = now
        self.counts = counts
        counts.offer(rules.mechanisms)
        self._seldom = Seldom(clock.seconds, FAILURE_SECONDS)

    def begin(self, host: str) -> SaslSession:
        """
        See L{ISessions.begin}.
        """
        return SaslSession(self, host)

    def failed(self, host: str, mechanism: str, user: str | None, why: str) -> None:
        """
        Count and log that a client failed to authenticate.

        @param mechanism: Of the listener; empty if none was agreed on.
        @param user: The name that the client has given; None if it has given none.
        """
        self.counts.fail(mechanism)
        more = self._seldom.passes(host)
        if more is not None:
            self._log.warn(
                "a client at {host} was not authenticated on the listener {listener}{how}{who}:"
                " {reason} ({more} more from there since the last such line)",
                host=host,
                listener=self.listener.name,
                how=f" by {mechanism}" if mechanism else "",
                who="" if user is None else f" as {exchange.quoted(user)}",
                reason=why[:MOST_LETTERS],
                more=more,
            )


@implementer(ISession)
class SaslSession:
    """
    The authentication of one connection, driven by its frames.

    @ivar listener: See L{ISession.listener}.
    @ivar principal: See L{ISession.principal}.
    @ivar is_open: See L{ISession.is_open}.
    @ivar identity: What the client has authenticated as; None until it has.
    """

    def __init__(self, sessions: SaslSessions, host: str) -> None:
        self._sessions = sessions
        self._rules = sessions.rules
        self._clock = sessions.clock
        self._host = host
        self._stage = Stage.FIRST
        self._mechanism = ""
        self._exchange: Exchange | None = None
        self._told = False  # its failure is logged, and the client does not know it yet
        self._ends: float | None = None  # by the clock
        self._renewal: float | None = None  # when the last one began
        self._held: Deferred[None] | None = None
        self.listener = sessions.listener
        self.principal: Principal = ANONYMOUS
        self.is_open = False
        self.identity: Identity | None = None

    @property
    def manages_tokens(self) -> bool:
        """
        See L{ISession.manages_tokens}.
        """
        return self.identity is not None and not self.identity.by_token

    def receive(self, frame: memoryview, conversation: IConversation) -> Reply:
        """
        See L{ISession.receive}.
        """
        match self._stage:
            case Stage.OPEN:
                return self._request(frame, conversation)
            case Stage.FIRST | Stage.HANDSHAKE:
                return self._before_tokens(frame, conversation)
            case Stage.TOKENS | Stage.RENEWING:
                return self._wrapped_token(frame, conversation)
            case Stage.RAW:
                return Deferred.fromCoroutine(self._raw_token(bytes(frame), conversation))
        return self._closed("it sends what its re-authentication does not allow")

    def secured(self, subject: bytes | None) -> None:
        """
        See L{ISession.secured}: the principal is that of SASL.
        """

    def gone(self) -> None:
        """
        See L{ISession.gone}.
        """
        self._exchange = None
        if self._held is not None:
            self._held.cancel()

    # -- before the session is open ------------------------------------------------

    def _before_tokens(
        self, frame: memoryview, conversation: IConversation
    ) -> Answer | Deferred[Answer]:
        key = _key(frame)
        if key == SaslHandshakeRequest.key:
            return self._handshake(frame, conversation)
        if key == ApiVersionsRequest.key and self._stage is Stage.FIRST:
            return Deferred.fromCoroutine(self._versions(frame, conversation))
        self._failed("it does not begin by authenticating")
        raise Refused("a request before authentication")

    async def _versions(self, frame: memoryview, conversation: IConversation) -> Answer:
        """
        The answer to ApiVersions. Another one is not taken, unless this one was refused,
        because then the client has to send another.
        """
        served = conversation.serve(frame)
        pieces = await served if isinstance(served, Deferred) else served
        assert not isinstance(pieces, Unsettled)  # it appends nothing
        (code,) = _CODE.unpack_from(b"".join(pieces or ()), _LENGTH.size + _LENGTH.size)
        if code == NONE:
            self._stage = Stage.HANDSHAKE
        return pieces

    def _handshake(
        self, frame: memoryview, conversation: IConversation
    ) -> Answer | Deferred[Answer]:
        version, request = _decoded(SaslHandshakeRequest, frame)
        if request.mechanism not in self._rules.mechanisms:
            return self._failure(
                self._offer(frame, UnsupportedSaslMechanism.code),
                conversation,
                _no_mechanism(request.mechanism),
            )
        self._begin(request.mechanism)
        self._stage = Stage.TOKENS if version else Stage.RAW
        return self._offer(frame, NONE)

    def _begin(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._exchange = self._rules.mechanisms[mechanism]()

    def _offer(self, frame: memoryview, code: int) -> Answer:
        offered = list(self._rules.mechanisms)
        return _framed(frame, SaslHandshakeResponse(error_code=code, mechanisms=offered))

    # -- tokens -----------------------------------------------------------------

    def _wrapped_token(
        self, frame: memoryview, conversation: IConversation
    ) -> Answer | Deferred[Answer]:
        if _key(frame) != SaslAuthenticateRequest.key:
            error = IllegalSaslState("Unexpected request during SASL authentication")
            answer = conversation.refuse(frame, error)
            return self._failure(answer, conversation, "it sent a request instead of a token")
        _, request = _decoded(SaslAuthenticateRequest, frame)
        token = bytes(request.auth_bytes)
        head = bytes(frame[:MIN_REQUEST])  # the rest of it need not wait for the answer
        return Deferred.fromCoroutine(self._token(token, head, conversation))

    async def _token(self, token: bytes, head: bytes, conversation: IConversation) -> Answer:
        """
        The answer to a token in a SaslAuthenticate.

        @param head: The beginning of that, as L{_framed} takes it.
        """
        arrived = self._clock.seconds()
        try:
            step = await self._step(token)
        except exchange.Refused as refused:
            again = "re-authentication" if self.identity else "authentication"
            text = refused.message or (
                f"Authentication failed during {again} due to invalid credentials with SASL"
                f" mechanism {self._mechanism}"
            )
            answer = _framed(
                head,
                SaslAuthenticateResponse(
                    error_code=SaslAuthenticationFailed.code, error_message=text, auth_bytes=b""
                ),
            )
            return await self._failure(answer, conversation, refused.reason, arrived)
        lifetime = 0
        if step.identity is not None:
            lifetime = self._authenticated(step.identity, conversation)
        return _framed(
            head,
            SaslAuthenticateResponse(
                error_message="", auth_bytes=step.token, session_lifetime_ms=lifetime
            ),
        )

    async def _raw_token(self, token: bytes, conversation: IConversation) -> Answer:
        """
        The answer to a bare token, which is one, too; a client that is not believed
        gets none.
        """
        arrived = self._clock.seconds()
        try:
            step = await self._step(token)
        except exchange.Refused as refused:
            await self._failure(None, conversation, refused.reason, arrived)
            raise Refused("it was not authenticated") from None
        if step.identity is not None:
            self._authenticated(step.identity, conversation)
        return [_LENGTH.pack(len(step.token)) + step.token]

    async def _step(self, token: bytes) -> exchange.Step:
        """
        @raise kafscale.access.authentication.exchange.Refused: The client is not
            believed, or has become another.
        """
        assert self._exchange is not None
        step = await self._exchange.step(token)
        if step.refused is not None:  # the client may not wait for the answer that says so
            self._failed(step.refused)
            self._told = True
        known, found = self.identity, step.identity
        if known is not None and found is not None and known.name != found.name:
            raise exchange.Refused(
                "Cannot change principals during re-authentication from"
                f" {_dotted(self.principal)}: {_dotted(Principal('User', found.name))}",
                f"it is the user {exchange.quoted(known.name)}, and cannot become another",
            )
        return step

    def _authenticated(self, identity: Identity, conversation: IConversation) -> int:
        """
        Serve the client from now on.

        @return: After how many ms its session ends; 0: never.
        """
        lifetimes = [self._rules.max_reauth_ms] if self._rules.max_reauth_ms else []
        if identity.expires_ms is not None:
            lifetimes.append(max(0, identity.expires_ms - int(self._sessions.now() * 1000)))
        renewed, self.identity = self.identity is not None, identity
        self.principal = Principal("User", identity.name)
        self._exchange = None
        self._stage = Stage.OPEN
        if lifetimes:
            self._ends = self._clock.seconds() + min(lifetimes) / 1000
        elif renewed:
            self._ends = None
        if renewed:
            self._sessions.counts.renewed += 1
        else:
            self._sessions.counts.succeed(self._mechanism)
            self.is_open = True
            conversation.open(watched=bool(lifetimes))
        return min(lifetimes, default=0)

    # -- the open session ----------------------------------------------------------

    def _request(self, frame: memoryview, conversation: IConversation) -> Reply:
        """
        A request on a session that ends.
        """
        now = self._clock.seconds()
        if _key(frame) == SaslHandshakeRequest.key:
            if self._renewal is None or now - self._renewal >= RENEWAL_SECONDS:
                self._renewal = now
                return self._renew(frame)
        elif self._ends is not None and now >= self._ends:
            self._sessions.counts.expired += 1
            raise Refused("its session has ended, and it has not authenticated again")
        return conversation.serve(frame)

    def _renew(self, frame: memoryview) -> Answer | Deferred[Answer]:
        version, request = _decoded(SaslHandshakeRequest, frame)
        if request.mechanism not in self._rules.mechanisms:
            return self._closed(_no_mechanism(request.mechanism))
        if version and request.mechanism == self._mechanism:
            self._begin(request.mechanism)
            self._stage = Stage.RENEWING
        else:
            # Kafka says yes to another mechanism, and closes at its first token.
            # Bare tokens cannot be told from requests here.
            self._stage = Stage.OVER
        return self._offer(frame, NONE)

    # -- refusing --------------------------------------------------------------------

    def _failed(self, why: str) -> None:
        user = None
        if self._exchange is not None:
            user = self._exchange.user
        elif self.identity is not None:
            user = self.identity.name
        self._sessions.failed(self._host, self._mechanism, user, why)

    def _closed(self, why: str) -> Answer:
        """
        @raise Refused: Always.
        """
        self._failed(why)
        raise Refused(why)

    def _failure(
        self, answer: Answer, conversation: IConversation, why: str, since: float | None = None
    ) -> Deferred[Answer]:
        """
        The last answer, held back.

        @param since: From when on it is held back, by the clock; None: from now on.
        """
        if not self._told:
            self._failed(why)
        self._stage = Stage.OVER
        self._exchange = None
        conversation.finish()
        now = self._clock.seconds()
        due = (now if since is None else since) + self._rules.delay_seconds
        self._held = deferLater(self._clock, max(0.0, due - now))
        return self._held.addCallback(lambda _: answer)


def _key(frame: memoryview) -> int:
    """
    @raise Refused: The frame is too short for a request.
    """
    if len(frame) < MIN_REQUEST:
        raise Refused("what it sends is no request")
    return (frame[0] << 8) | frame[1]


def _decoded(request: type[Request], frame: memoryview) -> tuple[int, Any]:
    """
    The version of a request, and the request.

    @raise Refused: It is malformed, or of a version that there is not.
    """
    try:
        header, at = read_header(frame)
        found, _ = request.decode_some(header.api_version, frame, at)
    except MalformedMessage as error:
        raise Refused(str(error)) from None
    return header.api_version, found


def _framed(frame: bytes | memoryview, response: Response) -> list[bytes]:
    """
    The response to the request in C{frame}, with its length.

    @param frame: L{MIN_REQUEST} of it suffice.
    """
    key, version, correlation_id = peek(frame)
    body = b"".join([response_header(key, version, correlation_id), *response.encode(version)])
    return [_LENGTH.pack(len(body)) + body]


def _no_mechanism(asked: str) -> str:
    return f"it asked for the mechanism {exchange.quoted(asked)}, which the listener does not have"


def _dotted(principal: Principal) -> str:
    """
    A principal, as Kafka's message about its change has it.
    """
    return f"{principal.kind}.{principal.name}"
