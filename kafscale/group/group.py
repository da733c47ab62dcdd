"""
One group, by the classic protocol: members join, a leader among them assigns.

The state machine, drawn in docs/groups.md::

    Empty ---join---> PreparingRebalance ---all have joined---> CompletingRebalance
      ^                 |      ^      ^                              |       |
      +---all are gone--+      |      +------- members change -------+       |
                               |                                    leader has synced
                               +------- members change ------- Stable <------+

Members that ask to join, or for their assignment, wait: they are answered
together, by what ends the wait. Answers are gathered while the state changes
and given when it has changed, because who is answered may ask the next thing
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from kafscale.errors import (
    CoordinatorNotAvailable,
    FencedInstanceId,
    IllegalGeneration,
    KafkaError,
    RebalanceInProgress,
    UnknownMemberId,
)
from kafscale.group.answers import Answers
from kafscale.group.deadline import Deadline
from kafscale.group.member import Member
from kafscale.group.pending import Pending
from kafscale.group.roster import Roster
from kafscale.group.settings import GroupSettings
from kafscale.group.silence import Silence
from kafscale.interfaces import GroupState, Joined, Membership, Synced


class Group:
    """
    The members of a group, and its generation.

    @ivar generation: Grows with each round, and never falls.
    @ivar protocol_type: What the members are: ``consumer``, ``connect``; None
        while there never were any.
    @ivar protocol: What the members of this generation have chosen.
    @ivar leader: Member id.
    @ivar members: Who is in it.
    @ivar pending: Who is about to join.
    @ivar since: When it got into its present state, in seconds.
    @ivar new_id: Gives text that no other member id has.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        clock: IReactorTime,
        settings: GroupSettings,
        new_id: Callable[[], str],
        store: Callable[[Group, Mapping[str, bytes]], Deferred[None]],
    ) -> None:
        """
        @param store: Keeps the group as it is now, but with these assignments
            (by member id); fires when that is durable.
        """
        self.name = name
        self.state = GroupState.EMPTY
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members = Roster()
        self.since = clock.seconds()
        self.settings = settings
        self.new_id = new_id
        self.answers = Answers(clock)
        self.silence = Silence(clock, self.answers, self.drop)
        self.pending = Pending(self.answers, self._maybe_complete)
        self._clock = clock
        self._store = store
        self._deadline = Deadline(clock, self.answers)
        # Of the first round: how long it may yet be prolonged (None: it is not
        # the first), and whether somebody has come since it last was.
        self._first_left: float | None = None
        self._grew = False
        # Who has been told of this generation, and has not asked for its part.
        self._unsynced: set[str] = set()
        self.storing = -1  # the last generation whose assignments were on their way

    # -- what members ask (see also `joining` and `syncing`) --------------

    def heartbeat(self, asking: Membership) -> None:
        """
        See L{ICoordinator.heartbeat}. During a rebalance it keeps the member,
        too.
        """
        self.silence.heard(self.present(asking))
        if self.state is GroupState.PREPARING:
            raise RebalanceInProgress

    def leave(self, member_id: str, instance_id: str | None) -> None:
        """
        See L{ICoordinator.leave}.
        """
        self.check_alive()
        if instance_id is None and self.pending.take(member_id):
            self._maybe_complete()
        else:
            static = None if member_id else self.members.static(instance_id)
            self.drop(static or self.members.known(member_id, instance_id))
        self.answers.give()

    def check_commit(self, asking: Membership) -> None:
        """
        Whether this one may commit offsets now. Without a generation it is a
        consumer that assigns partitions to itself, beside which there can be
        no members.

        @raise KafkaError: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
            FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """
        self.check_alive()
        if asking.generation < 0 and self.state is GroupState.EMPTY:
            return
        self.silence.heard(self.present(asking))
        if self.state is GroupState.COMPLETING:
            raise RebalanceInProgress

    # -- what the coordinator does ---------------------------------------------

    def restore(self, members: list[Member]) -> None:
        """
        Go on where a predecessor stood: nobody knows how long the members have
        been silent, so that begins now.
        """
        for member in members:
            self.members.add(member)
            self.silence.heard(member)
        self.state = GroupState.STABLE if members else GroupState.EMPTY

    def end(self, error: KafkaError) -> None:
        """
        It is deleted, or coordinated elsewhere: who waits gets this error.
        """
        self._become(GroupState.DEAD)
        self._deadline.clear()
        self.pending.clear()
        for member in self.members.all():
            self._forget(member, error)
        self.answers.give()

    @property
    def is_vacant(self) -> bool:
        """
        There are no members, and none is about to come.
        """
        return self.state is GroupState.EMPTY and not self.pending

    # -- members ---------------------------------------------------------------

    def check_alive(self) -> None:
        """
        @raise CoordinatorNotAvailable: it was deleted, or is coordinated
            elsewhere.
        """
        if self.state is GroupState.DEAD:
            raise CoordinatorNotAvailable

    def drop(self, member: Member) -> None:
        """
        It has left, or was silent for too long.
        """
        self._forget(member, UnknownMemberId())
        self._members_changed()

    def rename(self, member: Member, member_id: str) -> None:
        """
        A static member has come back, and has a new member id from now on; who
        had the old one is out.
        """
        self._refuse(member, FencedInstanceId())
        self.has_asked(member)
        if self.leader == member.member_id:
            self.leader = member_id
        self.members.rename(member, member_id)

    def present(self, asking: Membership) -> Member:
        """
        The member of this generation that asks.

        @raise KafkaError: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
            FENCED_INSTANCE_ID.
        """
        self.check_alive()
        member = self.members.known(asking.member_id, asking.instance_id)
        if asking.generation != self.generation:
            raise IllegalGeneration
        return member

    def _forget(self, member: Member, error: KafkaError) -> None:
        self.members.remove(member)
        self._unsynced.discard(member.member_id)
        self.silence.end(member)
        self._refuse(member, error)

    def _refuse(self, member: Member, error: KafkaError) -> None:
        self._answer_join(member, error)
        self.answer_sync(member, error)

    # -- rounds ----------------------------------------------------------------

    def wait_for_round(self, member: Member) -> Deferred[Joined]:
        """
        The next generation, with this member.
        """
        self.answers.owe(member.joining, RebalanceInProgress())  # it asks again: the first is lost
        waiting = member.joining = Deferred()
        self.silence.waits(member)
        self._grew = self._grew or member.is_new
        self._members_changed()
        return waiting

    def _members_changed(self) -> None:
        if self.state is GroupState.PREPARING:
            self._maybe_complete()
        else:
            self.rebalance()

    def rebalance(self) -> None:
        """
        Begin a round: wait until all members have joined.
        """
        self._unsynced.clear()
        for member in self.members.all():
            if member.syncing is not None:
                self.answer_sync(member, RebalanceInProgress())
                self.silence.heard(member)
        first = self.state is GroupState.EMPTY
        self._become(GroupState.PREPARING)
        if first:
            self._first_left = self.members.longest()
            self._delay_first()
        else:
            self._deadline.set(self.members.longest(), self._complete)
            self._maybe_complete()

    def _delay_first(self) -> None:
        """
        Members of a new group come one after the other: as long as they do,
        the round waits.
        """
        assert self._first_left is not None
        delay = min(self.settings.initial_delay, self._first_left)
        self._first_left -= delay
        self._grew = False
        self._deadline.set(delay, self._first_delay_over)

    def _first_delay_over(self) -> None:
        if self._grew and self._first_left:
            self._delay_first()
        else:
            self._complete()

    def _maybe_complete(self) -> None:
        if self.state is not GroupState.PREPARING or self.pending:
            return
        delayed = self._first_left is not None and self.members
        if not delayed and all(member.joining is not None for member in self.members.all()):
            self._complete()

    def _complete(self) -> None:
        """
        Whoever has joined makes the next generation. Static members keep their
        places although they have not.
        """
        self._deadline.clear()
        for member in self.members.all():
            if member.joining is None and member.instance_id is None:
                self._forget(member, UnknownMemberId())
        joined = [member for member in self.members.all() if member.joining is not None]
        if not self.members:
            self._vacate()
        elif not joined:  # static members only, and all of them silent
            self._deadline.set(self.members.longest(), self._complete)
        else:
            self._begin_generation(joined)

    def _begin_generation(self, joined: list[Member]) -> None:
        if self.leader not in {member.member_id for member in joined}:
            self.leader = joined[0].member_id
        self._first_left = None
        self.generation += 1
        self.protocol = self.members.choose()
        self._become(GroupState.COMPLETING)
        self._deadline.set(self.members.longest(), self._sync_overdue)
        for member in joined:
            self._unsynced.add(member.member_id)
            member.is_new = False
            self._answer_join(member, self.joined(member))
            self.silence.end(member)
            self.silence.heard(member)

    def _vacate(self) -> None:
        self._first_left = None
        self.generation += 1
        self.protocol = self.leader = None
        self._become(GroupState.EMPTY)
        self.store().addErrback(
            lambda failure: self._log.warn(
                "group {name} is empty, which was not stored: {error}",
                name=self.name,
                error=failure.getErrorMessage(),
            )
        )

    def become_stable(self, assignments: Mapping[str, bytes]) -> None:
        """
        These are the parts of all members, and stored.
        """
        self._become(GroupState.STABLE)
        for member in self.members.all():
            member.assignment = assignments[member.member_id]

    def has_asked(self, member: Member) -> None:
        """
        This one has asked for its part.
        """
        self._unsynced.discard(member.member_id)
        if not self._unsynced and self.state is not GroupState.PREPARING:
            self._deadline.clear()

    def _sync_overdue(self) -> None:
        """
        Who has joined, but does not ask for its part, holds up the others.
        """
        for member in self.members.all():
            if member.member_id in self._unsynced:
                self._forget(member, UnknownMemberId())
        self.rebalance()

    # -- what is told, and kept ------------------------------------------------

    def joined(self, member: Member) -> Joined:
        """
        The present generation, as this member is told of it.
        """
        leads = member.member_id == self.leader
        return Joined(
            member.member_id,
            self.generation,
            self.protocol_type,
            self.protocol,
            self.leader or "",
            [each.as_joined(self.protocol) for each in self.members.all()] if leads else (),
        )

    def store(self, assignments: Mapping[str, bytes] | None = None) -> Deferred[None]:
        """
        Keep the group as it is now, or with these assignments instead.
        """
        if assignments is None:
            assignments = {each.member_id: each.assignment for each in self.members.all()}
        return self._store(self, assignments)

    def answer_sync(self, member: Member, answer: Synced | KafkaError) -> None:
        """
        It need not wait any more, if it did.
        """
        waiting, member.syncing = member.syncing, None
        self.answers.owe(waiting, answer)

    def _answer_join(self, member: Member, answer: Joined | KafkaError) -> None:
        waiting, member.joining = member.joining, None
        self.answers.owe(waiting, answer)

    # -- time ------------------------------------------------------------------

    def _become(self, state: GroupState) -> None:
        self.state = state
        self.since = self._clock.seconds()
