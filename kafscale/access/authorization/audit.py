"""
What was denied and what was administered, as events of the log.

The events of this module's logger are all of it, so that they can be kept apart. They
have names, and no values: those of configurations may be secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.logger import Logger

from kafscale.access.authorization.needs import Asked, Denied, Needs
from kafscale.concurrency.seldom import Seldom
from kafscale.counts import DenialCounts
from kafscale.interfaces import RequestContext, Serving
from kafscale.wire.schema import Request

AUDIT_SECONDS = 10.0
"""Seconds between two lines that say that the same is denied to the same principal."""

MOST_NAMES = 10
"""How many names one line has."""

MOST_LETTERS = 256
"""How much of a name tells lines apart: clients may ask for names of many MiB."""


class Audit:
    """
    Logs requests that are denied, and those that change something.
    """

    _log = Logger()

    def __init__(self, seconds: Callable[[], float], counts: DenialCounts) -> None:
        """
        @param seconds: A monotonic clock.
        @param counts: Counts what is denied.
        """
        self._counts = counts
        self._seldom = Seldom(seconds, AUDIT_SECONDS)

    def denied(
        self,
        request: type[Request],
        context: RequestContext,
        denied: Sequence[Denied],
        logged: bool = True,
    ) -> bool:
        """
        A request, or some of it, was denied.

        @param denied: The rights that it lacked, one at least.
        @param logged: Whether it may be logged. It is counted in any case.
        @return: Whether it was logged.
        """
        for operation, kind, _ in denied:
            self._counts.deny(operation.name, kind.name)
        session = context.session
        api = _name(request)
        operation, kind, first = denied[0]
        what = f"{session.principal} {api} {operation} {kind} {first[:MOST_LETTERS]}"
        passed = self._seldom.passes(what) if logged else None
        if passed is None:
            return False
        self._log.info(
            "denied to {principal!r} from {host} on {listener}: {api}, which needs {operation} on"
            " {kind} {names}{more}",
            principal=str(session.principal),
            host=context.host,
            listener=session.listener.name,
            api=api,
            operation=operation.name,
            kind=kind.name,
            names=_shortened([name for _, _, name in denied]),
            more=f" ({passed} more since the last line)" if passed else "",
        )
        return True

    def changed(
        self, serving: Serving, needs: Needs, asked: Asked, context: RequestContext, code: int
    ) -> None:
        """
        A request was served, and is logged if it is administrative.

        @param code: The first error code of the response; 0 if there is none.
        """
        if needs.changes is None:
            return
        session = context.session
        self._log.info(
            "{api} by {principal!r} from {host} on {listener}: {names}; error code {code}",
            api=_name(serving.request),
            principal=str(session.principal),
            host=context.host,
            listener=session.listener.name,
            names=_shortened(needs.changes(asked.request)),
            code=code,
        )


def _name(request: type[Request]) -> str:
    return request.__name__.removesuffix("Request")


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    text = ", ".join(repr(name[:100]) for name in names[:MOST_NAMES])
    return f"{text} and {more} more" if more > 0 else text or "-"
