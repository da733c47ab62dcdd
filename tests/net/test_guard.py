"""
Tests of `kafscale.net.guard`: connections whose session is not open at first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from kafscale.errors import ClusterAuthorizationFailed
from kafscale.interfaces import (
    ANONYMOUS,
    IConversation,
    ISession,
    ISessions,
    Listener,
    Principal,
    Refused,
    SecurityProtocol,
)
from kafscale.net.guard import MOST_BYTES
from kafscale.wire.messages import HeartbeatResponse
from tests.net.fakes import Broker, body, fetch, heartbeat, produce

Receive = Callable[["FakeSession", bytes, IConversation], Any]


@implementer(ISession)
class FakeSession:
    """
    A session that does with each frame what a test says.
    """

    is_open = False
    manages_tokens = False

    def __init__(self, listener: Listener, receive: Receive) -> None:
        self.listener = listener
        self.principal = ANONYMOUS
        self.received: list[bytes] = []
        self.over = False
        self._receive = receive

    def receive(self, frame: memoryview, conversation: IConversation) -> Any:
        """
        Remember the frame, and do what the test says.
        """
        self.received.append(bytes(frame))
        return self._receive(self, bytes(frame), conversation)

    def secured(self, subject: bytes | None) -> None:
        """
        There is no TLS.
        """

    def gone(self) -> None:
        """
        The connection is lost.
        """
        self.over = True


@implementer(ISessions)
@attrs.define
class FakeSessions:
    """
    Sessions of one test.
    """

    receive: Receive
    listener = Listener("CLIENTS", SecurityProtocol.SASL_PLAINTEXT)
    begun: list[FakeSession] = attrs.field(factory=list)

    def begin(self, host: str) -> FakeSession:
        """
        A session that does what the test says.
        """
        self.begun.append(FakeSession(self.listener, self.receive))
        return self.begun[-1]


def framed(data: bytes) -> bytes:
    """
    Any bytes as a frame.
    """
    return struct.pack(">i", len(data)) + data


class GuardTests(SynchronousTestCase):
    """
    Frames go to the session first.
    """

    def connect(self, receive: Receive) -> None:
        """
        A client whose session does this with each frame.
        """
        sessions = FakeSessions(receive)
        self.broker = Broker(sessions=sessions, connections_max_idle_ms=0)
        self.client = self.broker.connect()
        (self.session,) = sessions.begun

    def test_answers(self) -> None:
        """
        The session's answers are sent as they are; frames may be of any length, even
        none, and no request reaches a service.
        """
        self.connect(lambda session, frame, conversation: [framed(b"1234" + frame)])
        self.client.send(framed(b"a"), framed(b""))
        self.assertEqual([bytes(each) for each in self.client.answers()], [b"1234a", b"1234"])
        self.client.send(heartbeat(5))
        self.assertEqual(self.broker.begun, [])
        self.assertEqual(len(self.session.received), 3)

    def test_one_at_a_time(self) -> None:
        """
        An answer that is held back holds back the frames behind it.
        """
        held: list[Deferred[Any]] = []

        def hold(session: Any, frame: bytes, conversation: Any) -> Any:
            held.append(Deferred())
            return held[-1]

        self.connect(hold)
        self.client.send(framed(b"a"), framed(b"b"))
        self.assertEqual(self.session.received, [b"a"])
        held[0].callback([framed(b"1234")])
        self.assertEqual(len(self.client.answers()), 1)
        self.assertEqual(self.session.received, [b"a", b"b"])

    def test_too_large(self) -> None:
        """
        A frame that is announced longer than what authentication needs closes the
        connection; the longest is received.
        """
        self.connect(lambda session, frame, conversation: None)
        self.client.send(framed(bytes(MOST_BYTES)))
        self.assertFalse(self.client.transport.disconnecting)
        self.client.send(struct.pack(">i", MOST_BYTES + 1))
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual([len(each) for each in self.session.received], [MOST_BYTES])

    def test_serve(self) -> None:
        """
        A request that the session lets pass is served, for the session's principal.
        """
        self.connect(lambda session, frame, conversation: conversation.serve(memoryview(frame)))
        self.broker.service.at_once = True
        self.client.send(heartbeat(7))
        self.assertEqual(self.client.answered(), [7])
        self.assertIs(self.broker.begun[0].context.session, self.session)

    def test_refuse(self) -> None:
        """
        A request can be answered with an error in its own schema, and the connection
        closed after that.
        """

        def refuse(session: Any, frame: bytes, conversation: IConversation) -> Any:
            conversation.finish()
            return conversation.refuse(memoryview(frame), ClusterAuthorizationFailed())

        self.connect(refuse)
        self.client.send(heartbeat(7), heartbeat(8))
        (answer,) = self.client.answers()
        correlation_id, response = body(answer, HeartbeatResponse, 4)
        self.assertEqual(correlation_id, 7)
        self.assertEqual(response.error_code, ClusterAuthorizationFailed.code)
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(self.broker.begun, [])
        self.assertEqual(len(self.session.received), 1)

    def test_nothing_to_refuse_with(self) -> None:
        """
        A frame that is no request cannot be answered: the connection is closed.
        """
        for wrong in (b"\x03\xe7\0\0\0\0\0\1", b"\0\x0c\0\x63\0\0\0\1", b"\0\x0c\0\4\0\0\0\1\0"):
            self.connect(
                lambda session, frame, conversation: conversation.refuse(
                    memoryview(frame), ClusterAuthorizationFailed()
                )
            )
            self.client.send(framed(wrong))
            self.assertTrue(self.client.transport.disconnecting)
            self.assertEqual(self.client.answers(), [])

    def test_closes(self) -> None:
        """
        A session closes the connection without an answer.
        """

        def refuse(session: Any, frame: bytes, conversation: Any) -> Any:
            raise Refused("no")

        self.connect(refuse)
        self.client.send(framed(b"a"))
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(self.client.answers(), [])

    def opening(self, watched: bool) -> None:
        """
        A session that opens with its first frame, and lets all others pass.
        """

        def receive(session: FakeSession, frame: bytes, conversation: IConversation) -> Any:
            if len(session.received) > 1:
                return conversation.serve(memoryview(frame))
            session.principal = Principal("User", "alice")
            conversation.open(watched)
            return [framed(b"1234")]

        self.connect(receive)

    def test_opened(self) -> None:
        """
        Once it is open requests go past the session, overlap, and may be large.
        """
        self.opening(watched=False)
        self.client.send(framed(b"a"), produce(1), produce(2))
        self.assertEqual(len(self.client.answers()), 1)
        self.assertEqual(len(self.session.received), 1)
        self.client.send(produce(3, size=2 * MOST_BYTES))
        self.assertEqual(len(self.broker.begun), 3)
        self.assertEqual(str(self.broker.begun[0].context.session.principal), "User:alice")

    def test_watched(self) -> None:
        """
        A session that watches gets every frame, and requests overlap nevertheless.
        """
        self.opening(watched=True)
        self.client.send(framed(b"a"), produce(1), produce(2), fetch(3))
        self.assertEqual(len(self.session.received), 3)
        self.broker.finish(1)
        self.broker.finish(0)
        self.assertEqual(len(self.client.answers()), 3)
        self.assertEqual(len(self.session.received), 4)

    def test_short_frame_behind_the_last(self) -> None:
        """
        A frame that is too short for a request, sent before the session was open, closes
        the connection after the answer to the last one.
        """
        self.opening(watched=False)
        self.client.send(framed(b"a"), framed(b"b"))
        self.assertEqual(len(self.client.answers()), 1)
        self.assertTrue(self.client.transport.disconnecting)

    def test_gone(self) -> None:
        """
        The session learns that its connection is lost.
        """
        self.connect(lambda session, frame, conversation: Deferred())
        self.client.send(framed(b"a"))
        self.assertFalse(self.session.over)
        self.client.go()
        self.assertTrue(self.session.over)
