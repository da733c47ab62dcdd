"""
What a request uses of the quotas of its client.

The bytes of a produce request count when it begins, and the time that the broker
works on a request when it is answered. A service counts what else there is a quota
for, and says in its response for how long the client is slowed down. The client is
told the longest of these times, and then its connection is muted for as long
(L{kafscale.net.connection}), as by Kafka (KIP-219).
"""

from __future__ import annotations

from copy import copy

from kafscale.interfaces import ANONYMOUS, RequestContext
from kafscale.interfaces.quotas import IQuotas, is_of_broker
from kafscale.net.request_memo import RequestMemo
from kafscale.wire.messages import FetchRequest, ProduceRequest
from kafscale.wire.schema import Request, Response


class Metered:
    """
    One request, while any client has a quota.
    """

    def __init__(
        self,
        quotas: IQuotas,
        memo: RequestMemo,
        request: Request,
        context: RequestContext,
        size: int,
    ) -> None:
        """
        @param quotas: Of all clients.
        @param memo: Of the connection.
        @param request: The request, which begins now.
        @param context: Of the request.
        @param size: Of the request, in bytes.
        """
        self._quotas = quotas
        self._memo = memo
        self._client_id = context.client_id
        session = context.session
        self._user = session.principal.name
        # Before its login a client uses the quota of no user; and other brokers fetch
        # without quotas, as in Kafka.
        self._counts = not (
            (session.listener.protocol.has_sasl and session.principal is ANONYMOUS)
            or (isinstance(request, FetchRequest) and is_of_broker(request))
        )
        self._worked: float | None = None
        self._throttle_ms = 0
        if self._counts and isinstance(request, ProduceRequest):
            self._throttle_ms = quotas.produced(self._user, self._client_id, size)
            # No request begins after it until the client was told.
            memo.throttle_ms = self._throttle_ms

    def waits(self, seconds: float) -> None:
        """
        The service has worked for so long, and waits for something.
        """
        self._worked = seconds

    def answered(self, response: Response | None, seconds: float) -> Response | None:
        """
        The response, with the time for which the client is slowed down.

        @param response: The service's; None if there is none.
        @param seconds: The time since the request began.
        """
        if not self._counts:
            return response
        throttle_ms = self._throttle_ms
        if response is not None:
            worked = seconds if self._worked is None else self._worked
            handled = self._quotas.handled(self._user, self._client_id, worked)
            told = getattr(response, "throttle_time_ms", 0)
            throttle_ms = max(throttle_ms, handled, told)
            if throttle_ms > told:
                # A copy: the service may return the same response again.
                response = copy(response)
                response.throttle_time_ms = throttle_ms  # type: ignore[attr-defined]
        self._memo.throttle_ms = max(self._memo.throttle_ms, throttle_ms)
        return response
