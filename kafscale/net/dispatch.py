"""
From the bytes of a request to the bytes of its response.

The APIs and versions that are advertised, decoded, answered and encoded follow
from one table, made of the L{Serving} values of all services. ApiVersions is
answered here, because it returns that table, and so are SaslHandshake and
SaslAuthenticate where they are requests like others: on a connection that is open.

An exception of a service becomes an error response in the API's own schema.
Where no response is possible, because the request cannot be decoded or gets
none (acks=0), L{Refused} makes the connection close.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import ApiCounts
from kafscale.errors import (
    NONE,
    IllegalSaslState,
    InvalidRequest,
    KafkaError,
    RebootstrapRequired,
    StoreUnavailable,
    UnsupportedVersion,
    code_of,
    message_of,
)
from kafscale.interfaces import (
    Answer,
    IService,
    Refused,
    Reply,
    RequestContext,
    Serving,
    Settling,
    Unsettled,
)
from kafscale.interfaces.quotas import IQuotas
from kafscale.net.metering import Metered
from kafscale.net.request_memo import MOST_REMEMBERED, RememberedResponse, RequestMemo
from kafscale.wire.error_responses import error_response
from kafscale.wire.first_error import first_error
from kafscale.wire.headers import peek, response_header
from kafscale.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from kafscale.wire.schema import MalformedMessage, Request, Response
from kafscale.wire.steps import Steps

_LENGTH = struct.Struct(">i")

# Valid names and versions of client software (KIP-511, ApiVersionsRequest.java).
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")


@attrs.define(eq=False)
class Call(Unsettled):
    """
    A request that is under way.

    @ivar dispatch: What serves it.
    @ivar memo: Of the connection from which the request came.
    @ivar begun: When the request began, in seconds of the dispatch's clock.
    @ivar settling: What is answered when a settlement fires; None if the request waits
        for something else.
    @ivar request: The request with its context, for the response to it if C{settling}
        fails.
    @ivar metered: What it uses of quotas; None while there are none.
    """

    dispatch: Dispatch
    memo: RequestMemo
    serving: Serving
    version: int
    correlation_id: int
    counts: ApiCounts
    begun: float
    settling: Settling | None = None
    request: tuple[Request, RequestContext] | None = None
    metered: Metered | None = None

    @property
    def api(self) -> str:
        """
        The name of the request, for the log.
        """
        return self.serving.request.__name__


class Dispatch:
    """
    The APIs that the broker serves.

    @ivar counts: Counts of requests, by API key.
    @ivar refused: Number of requests that closed their connection instead of
        getting a response.
    """

    _log = Logger()

    def __init__(
        self,
        services: Iterable[IService],
        seconds: Callable[[], float],
        cluster_id: str,
        broker_id: int,
        quotas: IQuotas,
        work: WorkQueue,
    ) -> None:
        """
        @param services: Each API of each of them is served.
        @param seconds: A monotonic clock.
        @param cluster_id: The cluster of this broker.
        @param broker_id: The id of this broker.
        @param quotas: Of clients.
        @param work: Encodes long responses.
        @raise ValueError: Two services serve the same API.
        """
        self._seconds = seconds
        self._cluster_id = cluster_id
        self._broker_id = broker_id
        self._quotas = quotas
        self._work = work
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
        The L{Serving} of the request in C{frame}; None if its API is not served.
        """
        return self._served.get((frame[0] << 8) | frame[1])

    def answer(
        self, frame: memoryview, memo: RequestMemo
    ) -> Reply:
        """
        The response to a request, with its length prefix, in pieces to be sent
        in order; None if the request gets no response. The service's code up to
        its first wait has run when this returns; without a wait the response
        itself is returned. If the request waits for a settlement, the L{Call} is, and
        L{settled} is to be called when that has fired.

        @param frame: The request, without its length.
        @param memo: Of the connection from which the request came.
        @raise Refused: The connection must be closed (also as a failure).
        """
        key, version, correlation_id = peek(frame)
        serving = self._served.get(key)
        if serving is None:
            raise self._refusal(f"API key {key} is not served")
        counts = self.counts[key]
        counts.received += _LENGTH.size + len(frame)
        call = Call(self, memo, serving, version, correlation_id, counts, self._seconds())
        if not serving.lowest <= version <= serving.highest:
            if key != ApiVersionsRequest.key:
                raise self._refusal(f"{call.api} v{version} is not served")
            call.version = 0
            return self._answered(self._other_version(serving), call)
        try:
            request, context = memo.request(serving, version, frame)
        except MalformedMessage as error:
            raise self._refusal(f"malformed {call.api} v{version}: {error}") from None
        if self._quotas.active:
            call.metered = Metered(self._quotas, memo, request, context, len(frame))
        # No coroutine around each request, and no Deferred where the service does
        # not wait: each would cost as much as a small request takes in all.
        try:
            answer = serving.answer(request, context)
            if isinstance(answer, Settling):
                call.settling = answer
                call.request = request, context
                if call.metered is not None:
                    call.metered.waits(self._seconds() - call.begun)
                return call
            if answer is None or isinstance(answer, Response):
                return self._answered(answer, call)
        except Exception:
            failure = Failure()  # type: ignore[no-untyped-call]
            return self._failed(failure, call, request, context)
        waiting = answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(answer)
        if call.metered is not None:
            call.metered.waits(self._seconds() - call.begun)
        waiting.addCallback(self._answered, call)
        return waiting.addErrback(self._failed, call, request, context)

    def refuse(self, frame: memoryview, memo: RequestMemo, error: KafkaError) -> Answer:
        """
        The response of a request's API with an error, as L{answer} returns it. It is
        made of the declarations alone: no service sees the request, so that nothing is
        told to a client that has not authenticated.

        @raise Refused: The request cannot be decoded.
        """
        key, version, correlation_id = peek(frame)
        serving = self._served.get(key)
        if serving is None or not serving.lowest <= version <= serving.highest:
            raise self._refusal(f"API key {key} v{version} is not served")
        counts = self.counts[key]
        counts.received += _LENGTH.size + len(frame)
        call = Call(self, memo, serving, version, correlation_id, counts, self._seconds())
        try:
            request, _ = memo.request(serving, version, frame)
        except MalformedMessage as malformed:
            raise self._refusal(f"malformed {call.api} v{version}: {malformed}") from None
        response = error_response(request, version, error.code, message_of(error))
        return self._framed(response.encode(version), error.code, call)

    def settled(self, call: Call, failure: Failure | None) -> Answer | Deferred[Answer]:
        """
        The response to a request whose settlement has fired, as L{answer} returns it.

        @param failure: Of the settlement; None if it succeeded.
        @raise Refused: The connection must be closed (also as a failure).
        """
        assert call.settling is not None and call.request is not None
        try:
            if failure is None:
                return self._answered(call.settling.response, call)
            waiting: Deferred[Any] = call.settling.refused(failure)
        except Exception:
            failure = Failure()  # type: ignore[no-untyped-call]
            return self._failed(failure, call, *call.request)
        waiting.addCallback(self._answered, call)
        return waiting.addErrback(self._failed, call, *call.request)

    def _answered(self, response: Response | None, call: Call) -> Answer | Deferred[Answer]:
        if call.metered is not None:
            response = call.metered.answered(response, self._seconds() - call.begun)
        if response is None:
            call.counts.answered(NONE, self._seconds() - call.begun, 0)
            return None
        last = call.memo.response
        if last is not None and last.response is response and last.version == call.version:
            return self._framed([last.body], last.code, call)
        if call.serving.long:
            return self._work.run(self._encoded(response, call))
        code, pieces = first_error(response), response.encode(call.version)
        if call.serving.repeats and len(pieces) == 1 and len(pieces[0]) <= MOST_REMEMBERED:
            call.memo.response = RememberedResponse(response, call.version, code, pieces[0])
        return self._framed(pieces, code, call)

    def _encoded(self, response: Response, call: Call) -> Steps[Answer]:
        pieces = yield from response.encode_in_steps(call.version)
        return self._framed(pieces, first_error(response), call)

    def _failed(
        self, failure: Failure, call: Call, request: Request, context: RequestContext
    ) -> list[bytes]:
        """
        The error response of the API.
        """
        error = failure.value
        if isinstance(error, CancelledError) or not isinstance(error, Exception):
            failure.raiseException()
        if not isinstance(error, KafkaError | StoreUnavailable):
            self._log.failure(
                "{api} v{version} failed", failure, api=call.api, version=call.version
            )
        code = code_of(error)
        response = call.serving.failed(request, context, code, message_of(error))
        if call.metered is not None:
            response = call.metered.answered(response, self._seconds() - call.begun)
        if response is None:
            call.counts.answered(code, self._seconds() - call.begun, 0)
            raise self._refusal(f"{call.api} failed, and gets no response: {error}")
        return self._framed(response.encode(call.version), code, call)

    def _framed(self, pieces: list[bytes], code: int, call: Call) -> list[bytes]:
        """
        A response with its length prefix and header.
        """
        header = response_header(call.serving.request.key, call.version, call.correlation_id)
        size = len(header) + sum(map(len, pieces))
        call.counts.answered(code, self._seconds() - call.begun, _LENGTH.size + size)
        return [_LENGTH.pack(size) + header, *pieces]

    def _refusal(self, why: str) -> Refused:
        self.refused += 1
        return Refused(why)

    # ----------------------------------------------------------------------
    # APIs that are answered here
    # ----------------------------------------------------------------------

    def _own(self) -> Sequence[Serving]:
        return [
            Serving(
                request=ApiVersionsRequest,
                lowest=0,
                highest=5,
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
            Serving(
                request=SaslAuthenticateRequest,
                lowest=0,
                highest=2,
                answer=self._sasl_authenticate,
                failed=self._sasl_authenticate_failed,
            ),
        ]

    async def _api_versions(
        self, request: ApiVersionsRequest, context: RequestContext
    ) -> ApiVersionsResponse:
        """
        From version 3 on the client names its software, and from version 5 on the
        broker that it means, or neither cluster nor broker (KIP-1242). The
        response names no features: none is supported, and none is finalized.
        """
        if context.api_version >= 3:
            for text in (request.client_software_name, request.client_software_version):
                if _SOFTWARE.fullmatch(text) is None:
                    raise InvalidRequest("the name or version of the client's software is invalid")
        cluster, broker = request.cluster_id, request.node_id
        if (cluster is None) != (broker == -1):
            raise InvalidRequest("cluster id and node id are given together, or not at all")
        if cluster is not None and (cluster, broker) != (self._cluster_id, self._broker_id):
            raise RebootstrapRequired("the request is meant for another broker")
        return ApiVersionsResponse(error_code=NONE, api_keys=self._api_keys)

    def _api_versions_failed(
        self, request: ApiVersionsRequest, context: RequestContext, code: int, message: str
    ) -> ApiVersionsResponse:
        return ApiVersionsResponse(error_code=code, api_keys=[])

    def _other_version(self, serving: Serving) -> ApiVersionsResponse:
        """
        The response to an unsupported version of ApiVersions: the versions that
        the client may use instead, in version 0, which every client can read
        (KIP-511).
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
        raise IllegalSaslState

    def _sasl_handshake_failed(
        self, request: SaslHandshakeRequest, context: RequestContext, code: int, message: str
    ) -> SaslHandshakeResponse:
        return SaslHandshakeResponse(error_code=code, mechanisms=[])

    async def _sasl_authenticate(
        self, request: SaslAuthenticateRequest, context: RequestContext
    ) -> SaslAuthenticateResponse:
        raise IllegalSaslState(
            "SaslAuthenticate request received after successful authentication"
        )

    def _sasl_authenticate_failed(
        self, request: SaslAuthenticateRequest, context: RequestContext, code: int, message: str
    ) -> SaslAuthenticateResponse:
        return SaslAuthenticateResponse(error_code=code, error_message=message, auth_bytes=b"")
