"""
Bodies of etcd's answers: of a single answer, and of a stream of messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from kafscale.errors import StoreUnavailable
from kafscale.store.etcd.errors import error_of


class Body(Protocol):
    """
    Collects the body of an answer.

    @ivar whole: Fires with the body when it is complete, and fails if the
        connection is lost before. Cancelling it closes the connection.
    """

    transport: Any

    def __init__(self) -> None:
        """
        Begin with no bytes.
        """
        self._pieces: list[bytes] = []
        self.whole: Deferred[bytes] = Deferred(lambda _: self._disconnect())

    def dataReceived(self, data: bytes) -> None:
        """
        See C{IProtocol.dataReceived}.
        """
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        See C{IProtocol.connectionLost}: the body is complete, or cut short.
        """
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # type: ignore[no-untyped-call]
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _disconnect(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class Stream(Protocol):
    """
    Receives messages, each of which is a JSON object on a line of its own.

    @ivar ended: Fails when no more messages come. Cancelling it closes the
        connection.
    """

    transport: Any

    def __init__(self, member: str, received: Callable[[dict[str, Any]], None]) -> None:
        """
        @param member: The URL of the member that sends the messages.
        @param received: Called with the C{result} of each message. If it
            raises, the stream ends.
        """
        self._member = member
        self._received = received
        self._pieces: list[bytes] = []  # of a line that is not complete
        self.ended: Deferred[None] = Deferred(lambda _: self._disconnect())

    def dataReceived(self, data: bytes) -> None:
        """
        See C{IProtocol.dataReceived}.
        """
        first, *others = data.split(b"\n")
        self._pieces.append(first)
        for following in others:
            line = b"".join(self._pieces)
            self._pieces = [following]
            if self.ended.called:
                return
            try:
                message = json.loads(line)
                if "error" in message:
                    raise error_of(self._member, message)
                self._received(message["result"])
            except Exception as error:  # noqa: BLE001 - `ended` fails with it
                self.end(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        See C{IProtocol.connectionLost}.
        """
        self.end(StoreUnavailable(f"{self._member}: the stream ended"))

    def end(self, reason: Exception) -> None:
        """
        End the stream, and close the connection.

        @param reason: What L{ended} fails with, unless it has failed already.
        """
        if not self.ended.called:
            self.ended.errback(reason)
            self._disconnect()

    def _disconnect(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
