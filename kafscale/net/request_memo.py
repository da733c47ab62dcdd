"""
What the broker remembers of a connection from one request to the next.

A consumer to which nothing happens asks the same, byte for byte, twice a
second, and is answered the same. To decode the one and encode the other again
costs more than all else that is done for it.
"""

from __future__ import annotations

from typing import Final

import attrs

from kafscale.interfaces import RequestContext, Serving
from kafscale.wire.headers import read_client_id
from kafscale.wire.schema import Request, Response

# What is larger is not remembered: there may be ten thousand connections.
MOST_REMEMBERED: Final = 4096

# Where the correlation id stands, the one thing that is another each time.
_CORRELATION: Final = 4
_BEHIND: Final = 8


@attrs.define
class Answer:
    """
    An answer that was sent.

    @ivar code: The first error code in it.
    @ivar body: Its bytes behind its header.
    """

    response: Response
    version: int
    code: int
    body: bytes


class Caller:
    """
    One connection, and what it asked and was answered last (of what is asked
    again and again, see L{Serving.repeats}).

    @ivar answer: None if there is none to remember.
    """

    def __init__(self, host: str, connection: object) -> None:
        """
        @param host: Where it comes from.
        @param connection: What its L{RequestContext} is to hold.
        """
        self._host = host
        self._connection = connection
        self._asked = b""
        self._decoded: tuple[Request, RequestContext]
        self.answer: Answer | None = None

    def request(
        self, serving: Serving, version: int, frame: memoryview
    ) -> tuple[Request, RequestContext]:
        """
        The request in a frame, decoded; the same objects as the last time, if
        it is the same.

        @raise MalformedMessage: It is no such request.
        """
        if not serving.repeats or len(frame) > MOST_REMEMBERED:
            return self._decode(serving, version, frame)
        asked = bytes(frame[:_CORRELATION]) + frame[_BEHIND:]
        if asked != self._asked:
            self._decoded = self._decode(serving, version, frame)
            self._asked = asked
        return self._decoded

    def _decode(
        self, serving: Serving, version: int, frame: memoryview
    ) -> tuple[Request, RequestContext]:
        client_id, at = read_client_id(frame, serving.request.flexible(version))
        # What is left over is ignored, as Kafka ignores it: librdkafka up to
        # 2.16 at least puts three bytes too many into "metadata of all topics".
        request, _ = serving.request.decode_some(version, frame, at)
        return request, RequestContext(version, client_id, self._host, self._connection)
