"""
The order of authentication on a connection.
"""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from kafscale.access.authentication.exchange import Identity, Step
from kafscale.access.authentication.exchange import Refused as NotBelieved
from kafscale.access.authentication.plain import PlainExchange
from kafscale.access.authentication.sasl_sessions import (
    FAILURE_SECONDS,
    SaslRules,
    SaslSession,
    SaslSessions,
)
from kafscale.counts import LoginCounts
from kafscale.errors import KafkaError
from kafscale.interfaces import (
    ANONYMOUS,
    IConversation,
    Listener,
    Principal,
    Refused,
    SecurityProtocol,
)
from kafscale.wire.headers import peek, request_header, response_header
from kafscale.wire.messages import (
    RESPONSES,
    ApiVersionsRequest,
    MetadataRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
)
from kafscale.wire.schema import Request

LISTENER = Listener("CLIENTS", SecurityProtocol.SASL_PLAINTEXT)
DELAY = 0.1
GOOD = b"\0alice\0secret"
BAD = b"\0alice\0wrong"
OTHER = b"\0bob\0secret"

VERSIONS = ApiVersionsRequest(client_software_name="test", client_software_version="1")
METADATA = MetadataRequest(topics=None)


class Rounds:
    """
    A mechanism of two rounds: C{again}, and then C{done} or a refusal. What the client
    proves ends when the test says.
    """

    expires_ms: int | None = None
    by_token = False

    def __init__(self) -> None:
        self.begun = False
        self.user: str | None = None

    async def step(self, token: bytes) -> Step:
        """
        See L{kafscale.access.authentication.exchange.Exchange.step}.
        """
        if not self.begun:
            self.begun = True
            return Step(b"again")
        if token != b"proof":
            raise NotBelieved
        return Step(b"done", Identity("alice", self.expires_ms, self.by_token))


@implementer(IConversation)
class FakeConversation:
    """
    A connection that serves everything with C{served}, and records the rest.
    """

    def __init__(self) -> None:
        self.served: list[int] = []
        self.code = 0
        self.opened: bool | None = None
        self.finished = False

    def serve(self, frame: memoryview) -> Any:
        """
        ApiVersions with C{code}; others with nothing of meaning.
        """
        key, _, correlation_id = peek(frame)
        self.served.append(key)
        body = struct.pack(">h", self.code) if key == ApiVersionsRequest.key else b"served"
        header = response_header(ApiVersionsRequest.key, 0, correlation_id)
        return [struct.pack(">i", len(header) + len(body)) + header, body]

    def refuse(self, frame: memoryview, error: KafkaError) -> Any:
        """
        The code, in place of a response.
        """
        return [b"refused %d" % error.code]

    def open(self, watched: bool) -> None:
        """
        Record it.
        """
        assert self.opened is None
        self.opened = watched

    def finish(self) -> None:
        """
        Record it.
        """
        self.finished = True


class SessionTestCase(SynchronousTestCase):
    """
    A listener with PLAIN, for C{alice} and C{bob}, and with C{ROUNDS}.
    """

    max_reauth_ms = 0

    def setUp(self) -> None:
        """
        A new connection.
        """
        self.clock = Clock()
        self.clock.advance(1000)
        self.counts = LoginCounts()
        self.rounds = Rounds
        Rounds.expires_ms, Rounds.by_token = None, False
        self.verifying: Deferred[None] | None = None
        mechanisms: dict[str, Any] = {
            "PLAIN": lambda: PlainExchange(self.verify),
            "ROUNDS": lambda: self.rounds(),
        }
        self.sessions = SaslSessions(
            LISTENER,
            SaslRules(mechanisms, self.max_reauth_ms, DELAY),
            self.clock,
            self.clock.seconds,
            self.counts,
        )
        self.connect()

    def connect(self) -> SaslSession:
        """
        A new connection in place of the last.
        """
        self.conversation = FakeConversation()
        self.session = self.sessions.begin("10.0.0.1")
        return self.session

    async def verify(self, name: str, password: str) -> str | None:
        """
        Whether it is one of the two; C{verifying} delays the answer.
        """
        if self.verifying is not None:
            await self.verifying
        if name not in ("alice", "bob"):
            return "there is no such user"
        return None if password == "secret" else "the password is wrong"

    # -- sending ---------------------------------------------------------------------

    def send_bytes(self, frame: bytes) -> Deferred[Any]:
        """
        The answer to a frame, or the failure in its place.
        """
        try:
            answer = self.session.receive(memoryview(frame), self.conversation)
        except Refused:
            answer = Deferred()
            answer.errback(Failure())
        return answer if isinstance(answer, Deferred) else succeed(answer)

    def send(self, request: Request, version: int) -> Deferred[Any]:
        """
        The same for a request.
        """
        header = request_header(type(request).key, version, 7, "client")
        return self.send_bytes(header + b"".join(request.encode(version)))

    def answer(self, request: Request, version: int) -> Any:
        """
        The response to a request that is answered at once.
        """
        return self.response(self.successResultOf(self.send(request, version)), request, version)

    def response(self, pieces: list[bytes], request: Request, version: int) -> Any:
        """
        A response in its bytes.
        """
        frame = b"".join(pieces)
        self.assertEqual(struct.unpack_from(">i", frame)[0], len(frame) - 4)
        header = response_header(type(request).key, version, 7)
        self.assertEqual(frame[4 : 4 + len(header)], header)
        return RESPONSES[type(request).key].decode(version, frame[4 + len(header) :])

    def held(self, request: Request, version: int) -> Any:
        """
        The response to a request that is held back, and then ends the connection.
        """
        pending = self.send(request, version)
        self.assertNoResult(pending)
        self.assertTrue(self.conversation.finished)
        self.clock.advance(DELAY * 0.9)
        self.assertNoResult(pending)
        self.clock.advance(DELAY * 0.1)
        return self.response(self.successResultOf(pending), request, version)

    def refused(self, request: Request, version: int) -> None:
        """
        A request closes the connection at once.
        """
        self.failureResultOf(self.send(request, version), Refused)

    # -- the usual steps ----------------------------------------------------------------

    def hello(self, mechanism: str = "PLAIN", version: int = 1) -> None:
        """
        A handshake that succeeds.
        """
        response = self.answer(SaslHandshakeRequest(mechanism=mechanism), version)
        self.assertEqual((response.error_code, response.mechanisms), (0, ["PLAIN", "ROUNDS"]))

    def token(self, token: bytes, version: int = 2) -> Any:
        """
        The response to a token.
        """
        return self.answer(SaslAuthenticateRequest(auth_bytes=token), version)

    def log_in(self, token: bytes = GOOD) -> Any:
        """
        A handshake and a good token.
        """
        self.hello()
        response = self.token(token)
        self.assertEqual(
            (response.error_code, response.error_message, response.auth_bytes), (0, "", b"")
        )
        return response


class BeginTests(SessionTestCase):
    """
    Before the tokens.
    """

    def test_one_api_versions(self) -> None:
        """
        One is served, and another closes the connection.
        """
        self.assertFalse(self.session.is_open)
        self.assertEqual(self.session.principal, ANONYMOUS)
        self.successResultOf(self.send(VERSIONS, 3))
        self.assertEqual(self.conversation.served, [ApiVersionsRequest.key])
        self.refused(VERSIONS, 3)
        self.connect()
        self.successResultOf(self.send(VERSIONS, 3))
        self.log_in()

    def test_api_versions_that_fails(self) -> None:
        """
        An answer with an error asks for another ApiVersions.
        """
        for self.conversation.code in (35, 42):
            self.successResultOf(self.send(VERSIONS, 3))
        self.conversation.code = 0
        self.successResultOf(self.send(VERSIONS, 3))
        self.refused(VERSIONS, 3)

    def test_other_requests(self) -> None:
        """
        Anything else closes the connection without an answer.
        """
        self.refused(METADATA, 12)
        self.connect()
        self.refused(SaslAuthenticateRequest(auth_bytes=GOOD), 2)
        self.connect()
        self.successResultOf(self.send(VERSIONS, 3))
        self.refused(METADATA, 12)
        for frame in (b"", b"\0\x11\0\x01", b"\0\x11\0\x02\0\0\0\0\xff\xff\0\0"):
            self.connect()
            self.failureResultOf(self.send_bytes(frame), Refused)
        self.assertIsNone(self.conversation.opened)

    def test_unknown_mechanism(self) -> None:
        """
        The answer has those of the listener, is held, and is the last.
        """
        response = self.held(SaslHandshakeRequest(mechanism="GSSAPI"), 1)
        self.assertEqual((response.error_code, response.mechanisms), (33, ["PLAIN", "ROUNDS"]))
        self.refused(SaslHandshakeRequest(mechanism="PLAIN"), 1)

    def test_requests_between_handshake_and_token(self) -> None:
        """
        They get the error of their API, late, and are the last.
        """
        for request, version in (
            (METADATA, 12),
            (VERSIONS, 3),
            (SaslHandshakeRequest(mechanism="PLAIN"), 1),
        ):
            self.connect()
            self.hello()
            pending = self.send(request, version)
            self.assertNoResult(pending)
            self.clock.advance(DELAY)
            self.assertEqual(self.successResultOf(pending), [b"refused 34"])
            self.assertTrue(self.conversation.finished)


class TokenTests(SessionTestCase):
    """
    Tokens in SaslAuthenticate, and bare ones.
    """

    def test_success(self) -> None:
        """
        The session is open, and sees no further frame.
        """
        self.assertEqual(self.log_in().session_lifetime_ms, 0)
        self.assertEqual(self.session.principal, Principal("User", "alice"))
        self.assertIs(self.conversation.opened, False)
        self.assertTrue(self.session.is_open)
        self.assertEqual(self.counts.succeeded, {"PLAIN": 1, "ROUNDS": 0})
        self.assertEqual(self.counts.failed, {"PLAIN": 0, "ROUNDS": 0, "NONE": 0})

    def test_two_rounds(self) -> None:
        """
        The session opens after the last.
        """
        for version in (0, 1, 2):
            self.connect()
            self.hello("ROUNDS")
            self.assertEqual(self.token(b"hello", version).auth_bytes, b"again")
            self.assertIsNone(self.conversation.opened)
            self.assertFalse(self.session.manages_tokens)
            self.assertEqual(self.token(b"proof", version).auth_bytes, b"done")
            self.assertIs(self.conversation.opened, False)

    def test_manages_tokens(self) -> None:
        """
        A client that has logged in may ask for delegation tokens, unless by such a token.
        """
        for Rounds.by_token in (False, True):
            self.connect()
            self.hello("ROUNDS")
            self.token(b"hello")
            self.token(b"proof")
            self.assertIs(self.session.manages_tokens, not Rounds.by_token)

    def test_wrong_password(self) -> None:
        """
        The mechanism's text; held, and the last answer.
        """
        self.hello()
        response = self.held(SaslAuthenticateRequest(auth_bytes=BAD), 1)
        self.assertEqual(
            (response.error_code, response.error_message),
            (58, "Authentication failed: Invalid username or password"),
        )
        self.assertEqual(self.session.principal, ANONYMOUS)
        self.assertIsNone(self.conversation.opened)
        self.refused(SaslAuthenticateRequest(auth_bytes=GOOD), 1)
        self.assertEqual(self.counts.succeeded, {"PLAIN": 0, "ROUNDS": 0})
        self.assertEqual(self.counts.failed, {"PLAIN": 2, "ROUNDS": 0, "NONE": 0})

    def test_text_without_a_reason(self) -> None:
        """
        Where the mechanism has none, the text names it.
        """
        self.hello("ROUNDS")
        self.token(b"hello")
        response = self.held(SaslAuthenticateRequest(auth_bytes=b"x"), 2)
        self.assertEqual(
            response.error_message,
            "Authentication failed during authentication due to invalid credentials with SASL"
            " mechanism ROUNDS",
        )

    def test_delay_from_the_token(self) -> None:
        """
        The delay counts from when the token came: how long it took to check says
        nothing.
        """
        self.verifying = Deferred()
        self.hello()
        pending = self.send(SaslAuthenticateRequest(auth_bytes=BAD), 1)
        self.clock.advance(DELAY * 0.75)
        self.verifying.callback(None)
        self.clock.advance(DELAY * 0.2)
        self.assertNoResult(pending)
        self.clock.advance(DELAY * 0.05)
        self.successResultOf(pending)

    def test_gone_while_held(self) -> None:
        """
        A client that goes away leaves no call behind.
        """
        self.hello()
        pending = self.send(SaslAuthenticateRequest(auth_bytes=BAD), 1)
        self.session.gone()
        self.failureResultOf(pending)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bare_tokens(self) -> None:
        """
        After version 0 of the handshake tokens have only their length.
        """
        self.hello("ROUNDS", 0)
        self.assertEqual(self.successResultOf(self.send_bytes(b"x")), [b"\0\0\0\5again"])
        self.assertEqual(self.successResultOf(self.send_bytes(b"proof")), [b"\0\0\0\4done"])
        self.assertIs(self.conversation.opened, False)
        self.connect()
        self.hello("PLAIN", 0)
        self.assertEqual(self.successResultOf(self.send_bytes(GOOD)), [b"\0\0\0\0"])

    def test_bare_token_that_fails(self) -> None:
        """
        The connection is closed without an answer, after the delay; a
        SaslAuthenticate is no bare token.
        """
        self.hello("PLAIN", 0)
        pending = self.send_bytes(BAD)
        self.assertNoResult(pending)
        self.clock.advance(DELAY)
        self.failureResultOf(pending, Refused)
        self.connect()
        self.hello("PLAIN", 0)
        pending = self.send(SaslAuthenticateRequest(auth_bytes=GOOD), 1)
        self.clock.advance(DELAY)
        self.failureResultOf(pending, Refused)


class LifetimeTests(SessionTestCase):
    """
    Sessions that end, and their renewal.
    """

    max_reauth_ms = 10_000

    def test_lifetime(self) -> None:
        """
        The setting, or what is left of the proof, if that is less.
        """
        self.assertEqual(self.log_in().session_lifetime_ms, 10_000)
        self.assertIs(self.conversation.opened, True)
        for left, lifetime in ((4_000, 4_000), (30_000, 10_000), (-1, 0)):
            self.connect()
            self.hello("ROUNDS")
            self.token(b"hello")
            Rounds.expires_ms = int(self.clock.seconds() * 1000) + left
            self.assertEqual(self.token(b"proof").session_lifetime_ms, lifetime)

    def test_end(self) -> None:
        """
        Requests are served until the session ends; then the first one closes the
        connection, and nothing happens while there is none.
        """
        self.log_in()
        self.clock.advance(9.9)
        self.successResultOf(self.send(METADATA, 12))
        self.clock.advance(100)
        self.assertFalse(self.conversation.finished)
        self.refused(VERSIONS, 3)
        self.assertEqual(self.counts.expired, 1)

    def test_end_without_being_told(self) -> None:
        """
        A client of an old version is not told, and its session ends as well.
        """
        for version in (0, 1):
            self.connect()
            self.hello("PLAIN", version)
            if version:
                self.token(GOOD, 0)
            else:
                self.successResultOf(self.send_bytes(GOOD))
            self.clock.advance(10)
            self.refused(METADATA, 12)

    def test_renewal(self) -> None:
        """
        The session goes on, renewed before its end or after it.
        """
        self.log_in()
        for wait in (9.0, 9.0, 50.0):
            self.clock.advance(wait)
            self.assertEqual(self.log_in().session_lifetime_ms, 10_000)
            self.successResultOf(self.send(METADATA, 12))
        self.assertEqual((self.counts.succeeded["PLAIN"], self.counts.renewed), (1, 3))
        self.assertEqual(self.session.principal, Principal("User", "alice"))

    def test_too_soon(self) -> None:
        """
        Within a second of the last renewal a handshake is a request like others.
        """
        self.log_in()
        self.log_in()
        self.clock.advance(0.9)
        self.successResultOf(self.send(SaslHandshakeRequest(mechanism="PLAIN"), 1))
        self.assertEqual(self.conversation.served, [SaslHandshakeRequest.key])
        self.successResultOf(self.send(METADATA, 12))
        self.clock.advance(0.1)
        self.log_in()

    def test_requests_while_renewing(self) -> None:
        """
        A request between handshake and token is the last.
        """
        self.log_in()
        self.hello()
        pending = self.send(METADATA, 12)
        self.clock.advance(DELAY)
        self.assertEqual(self.successResultOf(pending), [b"refused 34"])
        self.assertTrue(self.conversation.finished)

    def test_wrong_password(self) -> None:
        """
        It ends the connection.
        """
        self.log_in()
        self.hello()
        self.assertEqual(self.held(SaslAuthenticateRequest(auth_bytes=BAD), 2).error_code, 58)
        self.refused(METADATA, 12)

    def test_text_of_a_renewal(self) -> None:
        """
        The text says that it was one.
        """
        self.hello("ROUNDS")
        self.token(b"hello")
        self.token(b"proof")
        self.hello("ROUNDS")
        self.token(b"hello")
        response = self.held(SaslAuthenticateRequest(auth_bytes=b"x"), 2)
        self.assertIn("failed during re-authentication due", response.error_message)

    def test_another_user(self) -> None:
        """
        A session stays with its user.
        """
        self.log_in()
        self.hello()
        response = self.held(SaslAuthenticateRequest(auth_bytes=OTHER), 2)
        self.assertEqual(
            (response.error_code, response.error_message),
            (
                58,
                "Cannot change principals during re-authentication from User.alice: User.bob",
            ),
        )

    def test_another_mechanism(self) -> None:
        """
        The handshake succeeds, and the first token closes the connection.
        """
        self.log_in()
        self.hello("ROUNDS")
        self.refused(SaslAuthenticateRequest(auth_bytes=b"hello"), 2)

    def test_unknown_mechanism(self) -> None:
        """
        It closes the connection.
        """
        self.log_in()
        self.refused(SaslHandshakeRequest(mechanism="GSSAPI"), 1)

    def test_version_0(self) -> None:
        """
        A renewal has no bare tokens.
        """
        self.log_in()
        self.hello("PLAIN", 0)
        self.refused(SaslAuthenticateRequest(auth_bytes=GOOD), 1)


class ProofLifetimeTests(SessionTestCase):
    """
    Proofs that end, on a listener whose sessions do not.
    """

    def test_enforced(self) -> None:
        """
        The client is told, may renew, and the session ends otherwise.
        """
        Rounds.expires_ms = int(self.clock.seconds() * 1000) + 5_000
        self.hello("ROUNDS")
        self.token(b"hello")
        self.assertEqual(self.token(b"proof").session_lifetime_ms, 5_000)
        self.assertIs(self.conversation.opened, True)
        self.clock.advance(4.9)
        self.successResultOf(self.send(METADATA, 12))
        self.clock.advance(0.1)
        self.refused(METADATA, 12)

    def test_renewed_by_what_does_not_end(self) -> None:
        """
        Then the session does not end any more.
        """
        Rounds.expires_ms = int(self.clock.seconds() * 1000) + 5_000
        self.hello("ROUNDS")
        self.token(b"hello")
        self.token(b"proof")
        Rounds.expires_ms = None
        self.hello("ROUNDS")
        self.token(b"hello")
        self.assertEqual(self.token(b"proof").session_lifetime_ms, 0)
        self.clock.advance(1000)
        self.successResultOf(self.send(METADATA, 12))


class Late:
    """
    A mechanism that does not believe the client, which hears it in the second round.
    """

    user = "carol"

    def __init__(self) -> None:
        self.begun = False

    async def step(self, token: bytes) -> Step:
        """
        See L{kafscale.access.authentication.exchange.Exchange.step}.
        """
        if self.begun:
            raise NotBelieved
        self.begun = True
        return Step(b"no", refused="its token is not accepted: it has expired")


class LogTests(SessionTestCase):
    """
    What the log says of a failed login, which is more than the client hears.
    """

    def logged(self, mechanism: str, *tokens: bytes) -> list[str]:
        """
        The lines of a login, a minute after the last.
        """
        self.clock.advance(FAILURE_SECONDS)
        self.connect()
        with capturedLogs() as logs:
            self.send(SaslHandshakeRequest(mechanism=mechanism), 1)
            for token in tokens:
                self.send(SaslAuthenticateRequest(auth_bytes=token), 2).addErrback(lambda _: None)
                self.clock.advance(DELAY)
        return [str(formatEvent(each)) for each in logs]

    def test_plain(self) -> None:
        """
        The address, the listener, the mechanism, the name and the reason, and no password.
        """
        where = "a client at 10.0.0.1 was not authenticated on the listener CLIENTS"
        for token, how in (
            (BAD, " by PLAIN as 'alice': the password is wrong"),
            (b"\0carol\0secret", " by PLAIN as 'carol': there is no such user"),
            (b"\0alice", " by PLAIN: Invalid SASL/PLAIN response: expected 3 tokens, got 2"),
        ):
            (line,) = self.logged("PLAIN", token)
            self.assertTrue(line.startswith(where + how), line)
            for secret in ("secret", "wrong\0", "\0wrong"):
                self.assertNotIn(secret, line)

    def test_names(self) -> None:
        """
        Names are of the clients' choice: one cannot make another line, or a long one.
        """
        (line,) = self.logged("PLAIN", b"\0eve\n2026 [-] all is well\x1b[2J\0x")
        self.assertIn(r"as 'eve\n2026 [-] all is well\x1b[2J': there is", line)
        (line,) = self.logged("PLAIN", b"\0" + b"x" * 4000 + b"\0x")
        self.assertIn(f"as '{'x' * 64}'...: ", line)
        self.assertLess(len(line), 300)
        (line,) = self.logged("GSS\nAPI" + "x" * 1000)
        self.assertIn(r"it asked for the mechanism 'GSS\nAPIxxx", line)
        self.assertLess(len(line), 300)

    def test_late(self) -> None:
        """
        A client may go away before it hears that its token is not accepted; that is
        logged and counted once, whether or not it does.
        """
        self.rounds = Late  # type: ignore[assignment]
        for tokens in ((b"",), (b"", b"\x01")):
            failed = self.counts.failed["ROUNDS"]
            (line,) = self.logged("ROUNDS", *tokens)
            self.assertIn("by ROUNDS as 'carol': its token is not accepted: it has expired", line)
            self.assertEqual(self.counts.failed["ROUNDS"], failed + 1)

    def test_seldom(self) -> None:
        """
        One line a minute for an address.
        """
        (line,) = self.logged("PLAIN", BAD)
        self.connect()
        with capturedLogs() as logs:
            self.send(SaslHandshakeRequest(mechanism="OTHER"), 1)
        self.assertEqual(logs, [])
        (line,) = self.logged("PLAIN", BAD)
        self.assertIn("(1 more from there since the last such line)", line)
