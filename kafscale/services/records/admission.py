"""
Where produced batches wait before they are appended.

A batch is appended all at once (L{IPartition.append}), so all that may take time
comes before: inflating it and looking into it, converting it from an older
format, the claim of its partition, opening that. Most batches wait for nothing, and never come
here.

If a request must wait, every later request of its connection waits behind it,
whatever that one needs: a producer's batches are appended in the order in which
they came. Otherwise a small batch would overtake a large one, and be refused
with OUT_OF_ORDER_SEQUENCE_NUMBER. Other connections go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Causes = Sequence["Deferred[None]"]
"""What a request waits for. These Deferreds fire, and never fail."""


@attrs.define(eq=False)
class _Request:
    """
    A request that waits.

    @ivar size: Bytes of its batches.
    @ivar proceed: See L{Admission.wait}.
    @ivar done: Fires when it is appended.
    @ivar causes: How many things it still waits for.
    """

    size: int
    proceed: Callable[[], Causes]
    done: Deferred[None]
    causes: int = 0


class Admission:
    """
    The requests that wait, in one line for each connection.
    """

    def __init__(self, hold: Callable[[int], None]) -> None:
        """
        @param hold: Called with the bytes that wait here, and again, negative,
            when they wait no more. They count as memory, so they are bounded
            (L{IPressure.hold}).
        """
        self._hold = hold
        self._lines: dict[object, deque[_Request]] = {}
        self._moving: set[object] = set()

    def is_waiting(self, connection: object) -> bool:
        """
        Whether a request of this connection waits, so that later ones must.
        """
        return connection in self._lines

    def wait(
        self, connection: object, size: int, causes: Causes, proceed: Callable[[], Causes]
    ) -> Deferred[None]:
        """
        Let a request wait, until all of its causes have fired and no earlier
        request of its connection waits.

        @param connection: Identifies the connection.
        @param size: Bytes that the request holds in memory.
        @param proceed: Called then, to append the request, or to find that it
            must wait for something else: it returns what, or nothing when the
            request is appended. Meanwhile the request keeps its place.
        @return: Fires when the request is appended. To cancel it does not take
            the request out of its line: a batch is appended even if its producer
            disconnects, as many do after acks=0.
        """
        request = _Request(size, proceed, Deferred())
        self._lines.setdefault(connection, deque()).append(request)
        self._hold(size)
        self._let_wait(connection, request, causes)
        return request.done

    def _let_wait(self, connection: object, request: _Request, causes: Causes) -> None:
        def fired(_: object) -> None:
            request.causes -= 1
            self._move(connection)

        request.causes = len(causes) + 1
        for cause in causes:
            cause.addCallback(fired)
        fired(None)  # so that nothing goes on before all are counted

    def _move(self, connection: object) -> None:
        """
        Let those go on that are first in their line and wait for nothing.
        """
        if connection in self._moving:
            return  # called from the loop below, which goes on
        self._moving.add(connection)
        line = self._lines[connection]
        while line and not line[0].causes:
            first = line[0]
            outcome: Failure | None = None
            try:
                causes = first.proceed()
            except Exception:
                causes, outcome = (), Failure()  # type: ignore[no-untyped-call]
            if causes:
                self._let_wait(connection, first, causes)
                continue
            line.popleft()
            self._hold(-first.size)
            first.done.callback(outcome)
        self._moving.discard(connection)
        if not line:
            del self._lines[connection]
