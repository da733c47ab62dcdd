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
from typing import TypeAlias

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

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
from kafscale.net.request_memo import MOST_REMEMBERED, Answer, Caller
from kafscale.wire.codes import first_error
from kafscale.wire.headers import peek, response_header
from kafscale.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from kafscale.wire.schema import MalformedMessage, Request, Response

Pieces: TypeAlias = list[bytes] | None

_LENGTH = struct.Struct(">i")

# What a client may call its software (KIP-511, ApiVersionsRequest.java).
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")


class Refused(Exception):
    """
    There is no answer to this request: its connection is to be closed. The
    words say why, for the log.
    """


@attrs.define(eq=False)
class _Asked:
    """
    A request that is under way.

    @ivar begun: When it came, in seconds.
    """

    caller: Caller
    serving: Serving
    version: int
    correlation_id: int
    counts: ApiCounts
    begun: float

    @property
    def api(self) -> str:
        """
        What the log calls it.
        """
        return self.serving.request.__name__


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
                api_key=key, min_version=serving.lowest, max_version=serving.highest
            )
            for key, serving in sorted(self._served.items())
        ]

    def _add(self, serving: Serving) -> None:
        key = serving.request.key
        if key in self._served:
            raise ValueError(f"{serving.request.__name__} is served twice")
        self._served[key] = serving
        self.counts[key] = ApiCounts(serving.request.__name__.removesuffix("Request"))

    def serving(self, frame: memoryview) -> Serving | None:
        """
        How the request in C{frame} is served; None when its API is not.
        """
        return self._served.get((frame[0] << 8) | frame[1])

    def answer(
        self, frame: memoryview, caller: Caller
    ) -> Pieces | Deferred[Pieces]:
        """
        The whole response to a request, its length included, in pieces to be
        sent one after the other; None when none is owed. What the service
        does before it first waits is done when this returns; if that was all,
        so is the answer.

        @param frame: The request, without its length.
        @param caller: Where it came from.
        @raise Refused: The connection is to be closed (also as a failure).
        """
        key, version, correlation_id = peek(frame)
        serving = self._served.get(key)
        if serving is None:
            raise self._refusal(f"API key {key} is not served")
        counts = self.counts[key]
        counts.received += _LENGTH.size + len(frame)
        asked = _Asked(caller, serving, version, correlation_id, counts, self._seconds())
        if not serving.lowest <= version <= serving.highest:
            if key != ApiVersionsRequest.key:
                raise self._refusal(f"{asked.api} v{version} is not served")
            asked.version = 0
            return self._answered(self._other_version(serving), asked)
        try:
            request, context = caller.request(serving, version, frame)
        except MalformedMessage as error:
            raise self._refusal(f"malformed {asked.api} v{version}: {error}") from None
        # No coroutine around each request, and nothing to wait with if there is
        # nothing to wait for: it costs as much as a small request takes in all.
        try:
            answer = serving.answer(request, context)
            if answer is None or isinstance(answer, Response):
                return self._answered(answer, asked)
        except Exception:
            failure = Failure()  # type: ignore[no-untyped-call]
            return self._failed(failure, asked, request, context)
        waiting = answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(answer)
        waiting.addCallback(self._answered, asked)
        return waiting.addErrback(self._failed, asked, request, context)

    def _answered(self, response: Response | None, asked: _Asked) -> Pieces:
        if response is None:
            asked.counts.answered(NONE, self._seconds() - asked.begun, 0)
            return None
        last = asked.caller.answer
        if last is not None and last.response is response and last.version == asked.version:
            return self._framed([last.body], last.code, asked)
        code, pieces = first_error(response), response.encode(asked.version)
        if asked.serving.repeats and len(pieces) == 1 and len(pieces[0]) <= MOST_REMEMBERED:
            asked.caller.answer = Answer(response, asked.version, code, pieces[0])
        return self._framed(pieces, code, asked)

    def _failed(
        self, failure: Failure, asked: _Asked, request: Request, context: RequestContext
    ) -> list[bytes]:
        """
        The response that says what went wrong.
        """
        error = failure.value
        if isinstance(error, CancelledError) or not isinstance(error, Exception):
            failure.raiseException()
        if not isinstance(error, KafkaError | StoreUnavailable):
            self._log.failure(
                "{api} v{version} failed", failure, api=asked.api, version=asked.version
            )
        code = code_of(error)
        response = asked.serving.failed(request, context, code, message_of(error))
        if response is None:
            asked.counts.answered(code, self._seconds() - asked.begun, 0)
            raise self._refusal(f"{asked.api} failed, and owes no answer: {error}")
        return self._framed(response.encode(asked.version), code, asked)

    def _framed(self, pieces: list[bytes], code: int, asked: _Asked) -> list[bytes]:
        """
        A response with its length and header.
        """
        header = response_header(asked.serving.request.key, asked.version, asked.correlation_id)
        size = len(header) + sum(map(len, pieces))
        asked.counts.answered(code, self._seconds() - asked.begun, _LENGTH.size + size)
        return [_LENGTH.pack(size) + header, *pieces]

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
