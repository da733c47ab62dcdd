"""
Member ids that were given, but not used yet (KIP-394).

Who joins without an id is told one, and joins again with it. So a join whose
answer was lost leaves no member behind that nobody is.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall

from kafscale.group.answers import Answers


class Pending:
    """
    Those who are expected to come again.
    """

    def __init__(self, answers: Answers, not_come: Callable[[], None]) -> None:
        """
        @param not_come: Called when one is not expected any more.
        """
        self._answers = answers
        self._not_come = not_come
        self._calls: dict[str, IDelayedCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, member_id: object) -> bool:
        return member_id in self._calls

    def expect(self, member_id: str, seconds: float) -> None:
        """
        Wait for this one, for so long.
        """
        self._calls[member_id] = self._answers.later(seconds, self._over, member_id)

    def take(self, member_id: str) -> bool:
        """
        Whether this one was expected; it is not any more.
        """
        call = self._calls.pop(member_id, None)
        if call is None:
            return False
        call.cancel()
        return True

    def clear(self) -> None:
        """
        Expect nobody.
        """
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def _over(self, member_id: str) -> None:
        del self._calls[member_id]
        self._not_come()
