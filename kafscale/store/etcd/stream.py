"""
What comes from etcd: an answer's body, or messages without end.
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
from kafscale.store.etcd.faults import error_of


class Body(Protocol):
    """
    An answer's body.

    @ivar whole: Fires with it. To cancel it ends the connection.
    """

    transport: Any

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.whole: Deferred[bytes] = Deferred(lambda _: self._cut())

    def dataReceived(self, data: bytes) -> None:
        """
        Some of it.
        """
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        That was all, or all that comes.
        """
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # type: ignore[no-untyped-call]
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class Stream(Protocol):
    """
    Messages, each a JSON object on a line of its own.

    @ivar ended: Fails when there are no more.
    """

    transport: Any

    def __init__(self, member: str, told: Callable[[dict[str, Any]], None]) -> None:
        self._member = member
        self._told = told
        self._pieces: list[bytes] = []  # of a line that is not whole yet
        self.ended: Deferred[None] = Deferred(lambda _: self._cut())

    def dataReceived(self, data: bytes) -> None:
        """
        Some of it.
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
                self._told(message["result"])
            except Exception as error:  # noqa: BLE001 - it is for who waits for the end
                self.end(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        That was all.
        """
        self.end(StoreUnavailable(f"{self._member}: the stream ended"))

    def end(self, reason: Exception) -> None:
        """
        There is no more.
        """
        if not self.ended.called:
            self.ended.errback(reason)
            self._cut()

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
