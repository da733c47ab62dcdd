"""
From a request's bytes to its response's bytes.

What is advertised, decoded, answered and encoded follows from one table, made
of what the services say they serve. ApiVersions is answered here, because it
tells that table, and so is SaslHandshake, until there is authentication.

An exception of a service becomes an answer in the API's own schema. Where no
answer is possible, as the request cannot be understood or owes none, `Refused`
tells the connection to close.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Sequence

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from kafscale.counts import ApiCounts
from kafscale.errors import (
    NONE,
    InvalidRequest,
    KafkaError,
    StoreUnavailable,
    UnsupportedSaslMechanism,
    UnsupportedVersion,
    code_of,
    message_of,
)
from kafscale.interfaces import IService, RequestContext, Serving
from kafscale.wire.codes import first_error
from kafscale.wire.headers import peek, read_header, response_header
from kafscale.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from kafscale.wire.schema import MalformedMessage

_LENGTH = struct.Struct(">i")

# What a client may call its software (KIP-511, ApiVersionsRequest.java).
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")


class Refused(Exception):
    """
    There is no answer to this request: its connection is to be closed. The
    words say why, for the log.
    """


class Dispatch:
    """
    All APIs that the broker serves.

    @ivar counts: Of their requests, by API key.
    @ivar refused: How many requests had no answer but a closed connection.
    """

    _log = Logger()

    def __init__(self, services: Iterable[IService], seconds: Callable[[], float]) -> None:
        """
        @param seconds: A clock that never goes back.
        @raise ValueError: Two services serve the same API.
        """
        self._seconds = seconds
        self._served: dict[int, Serving] = {}
        self.counts: dict[int, ApiCounts] = {}
        self.refused = 0
        for serving in self._own():
            self._add(serving)
        for service in services:
            for serving in service.serves():
                self._add(serving)
        self._api_keys = [
            ApiVersionsResponse.ApiKey(
                api_key=key,
                min_version=(
                    serving.lowest
                    if serving.advertised_lowest is None
                    else serving.advertised_lowest
                ),
                max_version=serving.highest,
            )
            for key, serving in sorted(self._served.items())
        ]

    def _add(self, serving: Serving) -> None:
        key = serving.request.key
        if key in self._served:
            raise ValueError(f"{serving.request.__name__} is served twice")
        self._served[key] = serving
        self.counts[key] = ApiCounts(_name(serving).removesuffix("Request"))

    def serving(self, frame: memoryview) -> Serving | None:
        """
        How the request in C{frame} is served; None when its API is not.
        """
        return self._served.get((frame[0] << 8) | frame[1])

    async def answer(self, frame: memoryview, host: str, connection: object) -> list[bytes] | None:
        """
        The whole response to a request, its length included, in pieces to be
        sent one after the other; None when none is owed. What the service
        does before it first waits is done when this returns.

        @param frame: The request, without its length.
        @param host: Where it came from.
        @param connection: What its L{RequestContext} is to hold.
        @raise Refused: The connection is to be closed.
        """
        key, version, correlation_id = peek(frame)
        serving = self._served.get(key)
        if serving is None:
            raise self._refusal(f"API key {key} is not served")
        begun = self._seconds()
        counts = self.counts[key]
        counts.received += _LENGTH.size + len(frame)
        if not serving.lowest <= version <= serving.highest:
            if key != ApiVersionsRequest.key:
                raise self._refusal(f"{serving.request.__name__} v{version} is not served")
            other = self._other_version(serving)
            framed, size = _framed(key, 0, correlation_id, other.encode(0))
            counts.answered(other.error_code, self._seconds() - begun, size)
            return framed
        try:
            header, at = read_header(frame)
            # What is left over is ignored, as Kafka ignores it: librdkafka up to
            # 2.16 at least puts three bytes too many into "metadata of all topics".
            request, _ = serving.request.decode_some(version, frame, at)
        except MalformedMessage as error:
            raise self._refusal(
                f"malformed {serving.request.__name__} v{version}: {error}"
            ) from None
        # The frame is not needed while the answer is waited for.
        del frame
        context = RequestContext(version, header.client_id, host, connection)
        try:
            response = await serving.answer(request, context)
            if response is None:
                counts.answered(NONE, self._seconds() - begun, 0)
                return None
            pieces = response.encode(version)
            code = first_error(response)
        except CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, KafkaError | StoreUnavailable):
                self._log.failure("{api} v{version} failed", api=_name(serving), version=version)
            code = code_of(error)
            failure = serving.failed(request, context, code, message_of(error))
            if failure is None:
                counts.answered(code, self._seconds() - begun, 0)
                raise self._refusal(
                    f"{_name(serving)} failed, and owes no answer: {error}"
                ) from None
            pieces = failure.encode(version)
        framed, size = _framed(key, version, correlation_id, pieces)
        counts.answered(code, self._seconds() - begun, size)
        return framed

    def _refusal(self, why: str) -> Refused:
        self.refused += 1
        return Refused(why)

    # ----------------------------------------------------------------------
    # What is answered here
    # ----------------------------------------------------------------------

    def _own(self) -> Sequence[Serving]:
        return [
            Serving(
                request=ApiVersionsRequest,
                lowest=0,
                highest=4,
                answer=self._api_versions,
                failed=self._api_versions_failed,
            ),
            Serving(
                request=SaslHandshakeRequest,
                lowest=0,
                highest=1,
                answer=self._sasl_handshake,
                failed=self._sasl_handshake_failed,
            ),
        ]

    async def _api_versions(
        self, request: ApiVersionsRequest, context: RequestContext
    ) -> ApiVersionsResponse:
        """
        From version 3 on the client names its software. No feature is told:
        none is finalized, and none is offered.
        """
        if context.api_version >= 3:
            for text in (request.client_software_name, request.client_software_version):
                if _SOFTWARE.fullmatch(text) is None:
                    raise InvalidRequest("the client's software has no proper name and version")
        return ApiVersionsResponse(error_code=NONE, api_keys=self._api_keys)

    def _api_versions_failed(
        self, request: ApiVersionsRequest, context: RequestContext, code: int, message: str
    ) -> ApiVersionsResponse:
        return ApiVersionsResponse(error_code=code, api_keys=[])

    def _other_version(self, serving: Serving) -> ApiVersionsResponse:
        """
        In version 0 whatever the client asked in, as it can read that: which
        versions of ApiVersions it may use instead (KIP-511).
        """
        own = ApiVersionsResponse.ApiKey(
            api_key=ApiVersionsRequest.key,
            min_version=serving.lowest,
            max_version=serving.highest,
        )
        return ApiVersionsResponse(error_code=UnsupportedVersion.code, api_keys=[own])

    async def _sasl_handshake(
        self, request: SaslHandshakeRequest, context: RequestContext
    ) -> SaslHandshakeResponse:
        raise UnsupportedSaslMechanism

    def _sasl_handshake_failed(
        self, request: SaslHandshakeRequest, context: RequestContext, code: int, message: str
    ) -> SaslHandshakeResponse:
        return SaslHandshakeResponse(error_code=code, mechanisms=[])


def _name(serving: Serving) -> str:
    return serving.request.__name__


def _framed(
    key: int, version: int, correlation_id: int, pieces: list[bytes]
) -> tuple[list[bytes], int]:
    """
    A response's body with its length and header, and the bytes of all that.
    """
    header = response_header(key, version, correlation_id)
    size = len(header) + sum(map(len, pieces))
    return [_LENGTH.pack(size) + header, *pieces], _LENGTH.size + size
