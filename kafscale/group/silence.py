"""
How long members have been silent, and what is done about it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from kafscale.group.answers import Answers
from kafscale.group.member import Member
from kafscale.group.settings import LATE_SECONDS, NEW_MEMBER_SECONDS


class Silence:
    """
    The session time-outs of a group's members. No time counts while a member
    waits for us.
    """

    def __init__(
        self, clock: IReactorTime, answers: Answers, gone: Callable[[Member], None]
    ) -> None:
        """
        @param gone: Told of a member that was silent for too long.
        """
        self._clock = clock
        self._answers = answers
        self._gone = gone

    def heard(self, member: Member) -> None:
        """
        It is there: its silence begins now, unless it waits for us.
        """
        if member.joining is not None or member.syncing is not None:
            return
        expiry = member.expiry
        if expiry is None:
            self._begin(member, member.session)
        else:
            expiry.reset(member.session)

    def waits(self, member: Member) -> None:
        """
        It waits for an answer of ours. Of one who has not been in any
        generation nobody can tell for how long it does (KAFKA-7610).
        """
        self.end(member)
        if member.is_new:
            self._begin(member, NEW_MEMBER_SECONDS)

    def end(self, member: Member) -> None:
        """
        Its silence does not count any more.
        """
        if member.expiry is not None:
            member.expiry.cancel()
            member.expiry = None

    def _begin(self, member: Member, seconds: float) -> None:
        member.expiry = self._answers.later(seconds, self._over, member)

    def _over(self, member: Member) -> None:
        """
        If the time-out itself is late, the broker was stopped, or had no time
        to listen: then it was not the member that was silent.
        """
        assert member.expiry is not None
        late = self._clock.seconds() - member.expiry.getTime()
        member.expiry = None
        if late > LATE_SECONDS:
            self._begin(member, NEW_MEMBER_SECONDS if member.is_new else member.session)
        else:
            self._gone(member)
