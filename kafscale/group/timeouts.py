"""
What a group waits for, and for how long.

A timeout may change the state of a group, so each is set through
L{DeferredAnswers}, which sends the answers that the change has made due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from kafscale.group.members import Member
from kafscale.group.settings import LATE_SECONDS, NEW_MEMBER_SECONDS


class DeferredAnswers:
    """
    Collects answers to waiting requests while the state of a group changes,
    and sends them when it has changed: a client that gets its answer may send
    its next request at once, within the same call.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: deque[tuple[Deferred[Any], object]] = deque()

    def add(self, waiting: Deferred[Any] | None, answer: object) -> None:
        """
        Answer this request at the next L{send}.

        @param waiting: None if no request waits: then nothing is added.
        @param answer: The result, or an exception or a C{Failure}.
        """
        if waiting is not None:
            self._due.append((waiting, answer))

    def send(self) -> None:
        """
        Send all answers, in the order in which they were added.
        """
        while self._due:
            waiting, answer = self._due.popleft()
            if isinstance(answer, (BaseException, Failure)):
                waiting.errback(answer)
            else:
                waiting.callback(answer)

    def call_later(self, seconds: float, call: Callable[..., None], *args: Any) -> IDelayedCall:
        """
        Make a call after some time, and send the answers that it adds.
        """

        def now() -> None:
            call(*args)
            self.send()

        return self._clock.callLater(seconds, now)


class RoundTimeout:
    """
    The one timeout of a round: a group waits for JoinGroup requests, or for
    SyncGroup requests.
    """

    def __init__(self, clock: IReactorTime, answers: DeferredAnswers) -> None:
        self._clock = clock
        self._answers = answers
        self._call: IDelayedCall | None = None

    @property
    def is_set(self) -> bool:
        """
        Whether there is a timeout to come.
        """
        return self._call is not None

    def set(self, seconds: float, expired: Callable[[], None]) -> None:
        """
        Call C{expired} after this time. Replaces the timeout set before.
        """
        self.clear()
        self._call = self._answers.call_later(seconds, self._expire, expired)

    def clear(self) -> None:
        """
        Cancel the timeout, if one is set.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _expire(self, expired: Callable[[], None]) -> None:
        """
        A timeout that fires late means that the broker itself was stopped. The
        requests that members have sent meanwhile are read first.
        """
        assert self._call is not None
        late = self._clock.seconds() - self._call.getTime()
        self._call = None
        if late > LATE_SECONDS:
            self._call = self._answers.call_later(LATE_SECONDS, self._expire, expired)
        else:
            expired()


class SessionTimeouts:
    """
    The session timeouts of a group's members. A member whose JoinGroup or
    SyncGroup request waits for the broker has none.
    """

    def __init__(
        self, clock: IReactorTime, answers: DeferredAnswers, expired: Callable[[Member], None]
    ) -> None:
        """
        @param expired: Called with a member whose session has timed out.
        """
        self._clock = clock
        self._answers = answers
        self._expired = expired

    def restart(self, member: Member) -> None:
        """
        Begin the session timeout of a member anew, as a request of it has come;
        unless another of its requests waits.
        """
        if member.awaiting_join is not None or member.awaiting_sync is not None:
            return
        if member.expiry is None:
            self._begin(member, member.session_timeout)
        else:
            member.expiry.reset(member.session_timeout)

    def suspend(self, member: Member) -> None:
        """
        Stop the session timeout of a member, as a request of it waits. A member
        that has not been in any generation gets a fixed time instead, because
        it sends no heartbeats while it waits for its first (KAFKA-7610).
        """
        self.cancel(member)
        if member.is_new:
            self._begin(member, NEW_MEMBER_SECONDS)

    def cancel(self, member: Member) -> None:
        """
        Cancel the timeout of a member, if it has one.
        """
        if member.expiry is not None:
            member.expiry.cancel()
            member.expiry = None

    def _begin(self, member: Member, seconds: float) -> None:
        member.expiry = self._answers.call_later(seconds, self._expire, member)

    def _expire(self, member: Member) -> None:
        """
        A timeout that fires late means that the broker was stopped, or too busy
        to read heartbeats: then the member gets its whole time again.
        """
        assert member.expiry is not None
        late = self._clock.seconds() - member.expiry.getTime()
        member.expiry = None
        if late > LATE_SECONDS:
            self._begin(member, NEW_MEMBER_SECONDS if member.is_new else member.session_timeout)
        else:
            self._expired(member)


class PendingMembers:
    """
    Member ids that were assigned, and not used yet (KIP-394).

    A member that joins without an id is answered MEMBER_ID_REQUIRED with an id,
    and joins again with that. So a JoinGroup whose answer was lost leaves no
    member behind that the group would wait for.
    """

    def __init__(self, answers: DeferredAnswers, expired: Callable[[], None]) -> None:
        """
        @param expired: Called when an id was not used in time.
        """
        self._answers = answers
        self._expired = expired
        self._calls: dict[str, IDelayedCall] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, member_id: str, seconds: float) -> None:
        """
        Expect a JoinGroup with this id within this time.
        """
        self._calls[member_id] = self._answers.call_later(seconds, self._expire, member_id)

    def remove(self, member_id: str) -> bool:
        """
        Expect this id no longer.

        @return: Whether it was expected.
        """
        call = self._calls.pop(member_id, None)
        if call is None:
            return False
        call.cancel()
        return True

    def clear(self) -> None:
        """
        Expect no id any longer.
        """
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def _expire(self, member_id: str) -> None:
        del self._calls[member_id]
        self._expired()
