"""
Asking another broker.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from kafscale.interfaces import IPeer, IPeerLogin, PeerUnavailable
from kafscale.net.peer import Peer
from kafscale.wire.frames import FrameBuffer
from kafscale.wire.headers import read_header, response_header
from kafscale.wire.messages import HeartbeatRequest, HeartbeatResponse

VERSION = 4


class Transport(StringTransport):
    """
    Of TCP, as far as a peer needs it.
    """

    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        """
        Nothing is delayed.
        """

    def abortConnection(self) -> None:  # noqa: N802
        """
        Close at once.
        """
        self.aborted = True


@implementer(IStreamClientEndpoint)
class Endpoint:
    """
    Where the other broker is; the test connects, or refuses to.

    @ivar cancelled: The error of attempts that are cancelled.
    """

    cancelled: Exception = CancelledError()

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Deferred[Any]]] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        See L{IStreamClientEndpoint.connect}.
        """
        self.calls.append((factory, Deferred(lambda call: call.errback(self.cancelled))))
        return self.calls[-1][1]

    def accept(self) -> Line:
        """
        The last attempt succeeds.
        """
        factory, done = self.calls[-1]
        line = Line(factory.buildProtocol(None))
        done.callback(line.protocol)
        return line


class Line:
    """
    The other broker's end of a connection.
    """

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.transport = Transport()
        self._frames = FrameBuffer(1 << 20)
        protocol.makeConnection(self.transport)

    def requests(self) -> list[tuple[int, str]]:
        """
        Correlation ids and groups of the heartbeats that came since the last
        call.
        """
        found = []
        for frame in self._frames.feed(self.transport.value()):
            header, at = read_header(frame)
            request = HeartbeatRequest.decode(header.api_version, frame, at)
            found.append((header.correlation_id, request.group_id))
            assert header.client_id == "me"
        self.transport.clear()
        return found

    def answer(self, correlation_id: int, code: int = 0) -> bytes:
        """
        An answer as it goes over the wire.
        """
        body = b"".join(HeartbeatResponse(error_code=code).encode(VERSION))
        header = response_header(HeartbeatRequest.key, VERSION, correlation_id)
        return struct.pack(">i", len(header) + len(body)) + header + body

    def lose(self) -> None:
        """
        The connection ends.
        """
        self.protocol.connectionLost(Failure(ConnectionDone()))


class PeerTests(SynchronousTestCase):
    """
    Requests and responses.
    """

    def setUp(self) -> None:
        """
        Nothing was asked yet.
        """
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.peer = Peer(self.endpoint, self.clock, "me")

    def ask(self, group: str) -> Deferred[Any]:
        """
        One question.
        """
        request = HeartbeatRequest(group_id=group, generation_id=1, member_id="m")
        return self.peer.ask(request, VERSION, 5.0)

    def test_interface(self) -> None:
        """
        It is what others take it for; it connects when it has to.
        """
        self.assertTrue(verifyObject(IPeer, self.peer))
        self.assertEqual(self.endpoint.calls, [])

    def test_answers(self) -> None:
        """
        Several questions go over one connection, and each gets its answer,
        however that is cut.
        """
        first, second = self.ask("a"), self.ask("b")
        line = self.endpoint.accept()
        third = self.ask("c")
        self.assertEqual(line.requests(), [(0, "a"), (1, "b"), (2, "c")])
        data = b"".join(line.answer(number, number + 10) for number in range(3))
        for at in range(len(data)):
            line.protocol.dataReceived(data[at : at + 1])
        codes = [self.successResultOf(each).error_code for each in (first, second, third)]
        self.assertEqual(codes, [10, 11, 12])
        self.assertEqual(len(self.endpoint.calls), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """
        Without a listener the request fails; the next request connects again.
        """
        first = self.ask("a")
        self.endpoint.calls[-1][1].errback(Failure(ConnectionRefusedError()))
        self.failureResultOf(first, PeerUnavailable)
        self.ask("b")
        self.assertEqual(self.endpoint.accept().requests(), [(0, "b")])

    def test_lost(self) -> None:
        """
        With the connection all answers are lost that had not come; the next
        question makes another.
        """
        first, second = self.ask("a"), self.ask("b")
        line = self.endpoint.accept()
        line.protocol.dataReceived(line.answer(0))
        line.lose()
        self.successResultOf(first)
        self.failureResultOf(second, PeerUnavailable)
        self.ask("c")
        self.assertEqual(self.endpoint.accept().requests(), [(0, "c")])

    def test_too_late(self) -> None:
        """
        A response that does not come in time fails its request.
        """
        asked = self.ask("a")
        line = self.endpoint.accept()
        self.clock.advance(4.9)
        self.assertFalse(line.transport.aborted)
        self.clock.advance(0.2)
        self.assertTrue(line.transport.aborted)
        line.lose()
        self.failureResultOf(asked, PeerUnavailable)

    def test_nonsense(self) -> None:
        """
        An answer to something else, or none at all, ends the connection.
        """
        for data in (b"\x00\x00\x00\x01", struct.pack(">ii", 4, 99)):
            asked = self.ask("a")
            line = self.endpoint.accept()
            line.protocol.dataReceived(data)
            self.assertTrue(line.transport.aborted)
            line.lose()
            self.failureResultOf(asked, PeerUnavailable)

    def test_unasked(self) -> None:
        """
        So does a response without a request.
        """
        asked = self.ask("a")
        line = self.endpoint.accept()
        line.protocol.dataReceived(line.answer(0) + line.answer(1))
        self.successResultOf(asked)
        self.assertTrue(line.transport.aborted)

    def test_closed(self) -> None:
        """
        close() fails all pending requests, whether the peer is connected or not.
        """
        self.endpoint.cancelled = ConnectingCancelledError(HostnameAddress(b"other", 9092))
        asked = self.ask("a")
        self.peer.close()
        failure = self.failureResultOf(asked, PeerUnavailable)
        self.assertEqual(failure.getErrorMessage(), "the connection was closed")
        self.ask("b")
        line = self.endpoint.accept()
        self.peer.close()
        self.assertTrue(line.transport.aborted)


@implementer(IPeerLogin)
class FakeLogin:
    """
    Asks one question, and wants another login after ten seconds.

    @ivar refused: Whether the login fails after the answer.
    """

    refused = False

    async def log_in(self, ask: Callable[[Any, int], Awaitable[Any]]) -> float:
        """
        See L{IPeerLogin.log_in}.
        """
        request = HeartbeatRequest(group_id="login", generation_id=1, member_id="m")
        await ask(request, VERSION)
        if self.refused:
            raise PeerUnavailable("the password is wrong")
        return 10.0


class LoginTests(SynchronousTestCase):
    """
    Requests to a broker that this one logs in to.
    """

    def setUp(self) -> None:
        """
        Nothing was asked yet.
        """
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.login = FakeLogin()
        self.peer = Peer(self.endpoint, self.clock, "me", self.login)

    def ask(self, group: str) -> Deferred[Any]:
        """
        One question.
        """
        request = HeartbeatRequest(group_id=group, generation_id=1, member_id="m")
        return self.peer.ask(request, VERSION, 5.0)

    def logged_in(self) -> Line:
        """
        The last connection, when the login is done.
        """
        line = self.endpoint.accept()
        self.assertEqual(line.requests(), [(0, "login")])
        line.protocol.dataReceived(line.answer(0))
        return line

    def test_first(self) -> None:
        """
        Nothing is sent before the login is done.
        """
        asked = [self.ask("a")]
        line = self.endpoint.accept()
        asked.append(self.ask("b"))
        self.assertEqual(line.requests(), [(0, "login")])
        line.protocol.dataReceived(line.answer(0))
        self.assertEqual(line.requests(), [(1, "a"), (2, "b")])
        for number, each in enumerate(asked, 1):
            line.protocol.dataReceived(line.answer(number))
            self.assertEqual(self.successResultOf(each).error_code, 0)

    def test_refused(self) -> None:
        """
        A login that fails closes the connection, and fails what was asked.
        """
        self.login.refused = True
        asked = self.ask("a")
        line = self.logged_in()
        failure = self.failureResultOf(asked, PeerUnavailable)
        self.assertEqual(failure.getErrorMessage(), "the password is wrong")
        self.assertTrue(line.transport.aborted)

    def test_lost_or_closed(self) -> None:
        """
        So does a connection that is lost, or closed by this broker.
        """
        asked = self.ask("a")
        self.endpoint.accept().lose()
        self.failureResultOf(asked, PeerUnavailable)
        asked = self.ask("b")
        line = self.endpoint.accept()
        self.peer.close()
        self.failureResultOf(asked, PeerUnavailable)
        self.assertTrue(line.transport.aborted)

    def test_again(self) -> None:
        """
        Before another login is due what is asked goes over a new connection, and the old
        one is closed when it owes nothing.
        """
        first = self.ask("a")
        old = self.logged_in()
        old.protocol.dataReceived(old.answer(1))
        self.successResultOf(first)
        self.clock.advance(7.9)
        before, also = self.ask("b"), self.ask("c")
        self.assertEqual(old.requests(), [(1, "a"), (2, "b"), (3, "c")])
        self.clock.advance(0.1)
        after = self.ask("d")
        new = self.logged_in()
        self.assertEqual(new.requests(), [(1, "d")])
        self.assertEqual(old.requests(), [])
        old.protocol.dataReceived(old.answer(2))
        self.assertFalse(old.transport.aborted)
        old.protocol.dataReceived(old.answer(3))
        self.assertTrue(old.transport.aborted)
        old.lose()
        new.protocol.dataReceived(new.answer(1))
        for each in (before, also, after):
            self.successResultOf(each)
