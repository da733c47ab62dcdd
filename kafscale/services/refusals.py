"""
How a service answers that something went wrong.

Most requests name many topics or partitions, and each of these succeeds or
fails on its own: L{error_fields} is its error in the response. An exception
that a service raises is for the request as a whole: the dispatcher then calls
L{Serving.failed}, which for most APIs is a L{refusal}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.errors import (
    KafkaError,
    StoreError,
    ThrottlingQuotaExceeded,
    code_of,
    message_of,
    reason_in_log,
)
from kafscale.interfaces import RequestContext
from kafscale.wire.error_responses import error_response
from kafscale.wire.schema import Request

_log = Logger()


def error_fields(error: Exception, what: str) -> tuple[int, str | None]:
    """
    The error code and the error message for a response; None for a quota that is used
    up, which has none in Kafka's responses. An exception that is
    neither Kafka's nor the stores' is a defect of the broker, so it is logged
    with its traceback.

    @param what: What could not be done, for the log: C{"create topic x"}.
    """
    if isinstance(error, StoreError):
        _log.warn(
            "could not {what}, as the store failed; clients retry: {why}",
            what=what,
            why=reason_in_log(error),
        )
    elif not isinstance(error, KafkaError):
        cause = Failure(error)  # type: ignore[no-untyped-call]
        _log.failure("could not {what}: a defect of the broker, please report it", cause, what=what)
    message = None if isinstance(error, ThrottlingQuotaExceeded) else message_of(error)
    return code_of(error), message


def refusal(**values: Any) -> Callable[[Request, RequestContext, int, str], Any]:
    """
    A function for L{Serving.failed} that derives the response from the
    declarations of request and response.

    @param values: See L{error_response}.
    """

    def refuse(request: Request, context: RequestContext, code: int, message: str) -> Any:
        return error_response(request, context.api_version, code, message, **values)

    return refuse
