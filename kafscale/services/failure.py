"""
How a service tells of what went wrong with one part of a request.

Most requests name many topics or partitions, and each fails for itself. What
goes wrong with a request as a whole is simply raised: who called the service
then asks its `Serving.failed`.
"""

from __future__ import annotations

from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.errors import KafkaError, StoreError, code_of, message_of

_log = Logger()


def told(error: Exception, what: str) -> tuple[int, str]:
    """
    Code and message that the client gets. What nobody expected is logged with
    its traceback: it is a defect of the broker.

    @param what: Was done when it happened, for the log: C{"create topic x"}.
    """
    if isinstance(error, StoreError):
        _log.warn("{what}: the store failed: {error!r}", what=what, error=error)
    elif not isinstance(error, KafkaError):
        cause = Failure(error)  # type: ignore[no-untyped-call]
        _log.failure("{what} failed unexpectedly", cause, what=what)
    return code_of(error), message_of(error)
