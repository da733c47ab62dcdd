"""
The last request of a connection, decoded, and its response, encoded.

An idle consumer sends the same Fetch, byte for byte, twice a second, and gets
the same response. Decoding the one and encoding the other each time would cost
more than everything else that is done for the request.
"""

from __future__ import annotations

from typing import Final

import attrs

from kafscale.interfaces import ISession, RequestContext, Serving
from kafscale.wire.headers import read_client_id
from kafscale.wire.schema import Request, Response

# In bytes. Larger messages are not remembered: there may be ten thousand
# connections.
MOST_REMEMBERED: Final = 4096

# The bounds of the correlation id, the only field that differs each time.
_CORRELATION: Final = 4
_BEHIND: Final = 8


@attrs.define
class RememberedResponse:
    """
    A response that was sent.

    @ivar response: The message object; the same object is not encoded again.
    @ivar version: The API version in which it was encoded.
    @ivar code: The first error code in it.
    @ivar body: Its bytes, without the header.
    """

    response: Response
    version: int
    code: int
    body: bytes


class RequestMemo:
    """
    The last repeatable request of one connection (see L{Serving.repeats}), and
    the response to it.

    @ivar response: None if there is none.
    @ivar throttle_ms: For how long the client is to be slowed down when all its requests
        are answered, in ms; no other begins meanwhile.
    """

    def __init__(self, host: str, connection: object, session: ISession) -> None:
        """
        @param host: The client's address.
        @param connection: For L{RequestContext.connection}.
        @param session: Of the connection.
        """
        self._session = session
        self._host = host
        self._connection = connection
        self._frame = b""
        self._decoded: tuple[Request, RequestContext]
        self.response: RememberedResponse | None = None
        self.throttle_ms = 0

    def request(
        self, serving: Serving, version: int, frame: memoryview
    ) -> tuple[Request, RequestContext]:
        """
        The decoded request in a frame, with its context. For a repeated
        request these are the same two objects as the time before.

        @param serving: How the API is served.
        @param version: The API version in the frame's header.
        @param frame: The request, without its length.
        @raise MalformedMessage: The frame is not a valid request of this API
            and version.
        """
        if not serving.repeats or len(frame) > MOST_REMEMBERED:
            return self._decode(serving, version, frame)
        repeated = bytes(frame[:_CORRELATION]) + frame[_BEHIND:]
        if repeated != self._frame:
            self._decoded = self._decode(serving, version, frame)
            self._frame = repeated
        return self._decoded

    def _decode(
        self, serving: Serving, version: int, frame: memoryview
    ) -> tuple[Request, RequestContext]:
        client_id, at = read_client_id(frame, serving.request.flexible(version))
        # Trailing bytes are ignored, as Kafka ignores them: librdkafka up to at
        # least 2.16 appends three to a Metadata request for all topics.
        request, _ = serving.request.decode_some(version, frame, at)
        return request, RequestContext(
            version, client_id, self._host, self._connection, self._session
        )
