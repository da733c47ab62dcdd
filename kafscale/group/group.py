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
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.errors import (
    CoordinatorNotAvailable,
    FencedInstanceId,
    GroupMaxSizeReached,
    IllegalGeneration,
    InconsistentGroupProtocol,
    KafkaError,
    RebalanceInProgress,
    UnknownMemberId,
)
from kafscale.group.answers import Answers
from kafscale.group.member import Member, rebalance_seconds
from kafscale.group.roster import Roster
from kafscale.group.settings import NEW_MEMBER_SECONDS, GroupSettings
from kafscale.interfaces import Joined, Joining, Membership, Synced


class State(Enum):
    """
    Where a group is between two generations, as tools are told.
    """

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class Group:
    """
    The members of a group, and its generation.

    @ivar generation: Grows with each round, and never falls.
    @ivar protocol_type: What the members are: ``consumer``, ``connect``; None
        while there never were any.
    @ivar protocol: What the members of this generation have chosen.
    @ivar leader: Member id.
    @ivar members: Who is in it.
    @ivar since: When it got into its present state, in seconds.
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
        @param new_id: Gives text that no other member id has.
        @param store: Keeps the group as it is now, but with these assignments
            (by member id); fires when that is durable.
        """
        self.name = name
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members = Roster()
        self.since = clock.seconds()
        # Ids that were given (KIP-394), but not used yet.
        self._pending: dict[str, IDelayedCall] = {}
        self._clock = clock
        self._settings = settings
        self._new_id = new_id
        self._store = store
        # Ends the wait for joins, or for syncs.
        self._deadline: IDelayedCall | None = None
        # Of the first round: how long it may yet be prolonged (None: it is not
        # the first), and whether somebody has come since it last was.
        self._first_left: float | None = None
        self._grew = False
        # Who has been told of this generation, and has not asked for its part.
        self._unsynced: set[str] = set()
        self._storing = -1  # the generation that is being stored
        self._answers = Answers()

    # -- what members ask ------------------------------------------------------

    def join(self, joining: Joining) -> Deferred[Joined]:
        """
        See L{ICoordinator.join}.
        """
        try:
            return self._join(joining)
        finally:
            self._answers.give()

    def sync(
        self,
        asking: Membership,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
    ) -> Deferred[Synced]:
        """
        See L{ICoordinator.sync}.
        """
        member = self._present(asking)
        if protocol_type not in (None, self.protocol_type) or protocol not in (None, self.protocol):
            raise InconsistentGroupProtocol
        if self.state is State.PREPARING:
            raise RebalanceInProgress
        self._unsynced.discard(member.member_id)
        if not self._unsynced:
            self._stop_waiting()
        if self.state is State.STABLE:
            self._touch(member)
            return succeed(self._synced(member))
        self._answers.owe(member.syncing, RebalanceInProgress())  # it asks again: the first is lost
        waiting = member.syncing = Deferred()
        member.rest()
        if member.member_id == self.leader and self._storing != self.generation:
            self._assign(
                {
                    each.member_id: assignments.get(each.member_id, b"")
                    for each in self.members.all()
                }
            )
        self._answers.give()
        return waiting

    def heartbeat(self, asking: Membership) -> None:
        """
        See L{ICoordinator.heartbeat}. During a rebalance it keeps the member,
        too.
        """
        self._touch(self._present(asking))
        if self.state is State.PREPARING:
            raise RebalanceInProgress

    def leave(self, member_id: str, instance_id: str | None) -> None:
        """
        See L{ICoordinator.leave}.
        """
        self._check_alive()
        if member_id in self._pending and instance_id is None:
            self._pending.pop(member_id).cancel()
            self._maybe_complete()
        else:
            static = None if member_id else self.members.static(instance_id)
            self._drop(static or self.members.known(member_id, instance_id))
        self._answers.give()

    def check_commit(self, asking: Membership) -> None:
        """
        Whether this one may commit offsets now. Without a generation it is a
        consumer that assigns partitions to itself, beside which there can be
        no members.

        @raise KafkaError: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
            FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """
        self._check_alive()
        if asking.generation < 0 and self.state is State.EMPTY:
            return
        self._touch(self._present(asking))
        if self.state is State.COMPLETING:
            raise RebalanceInProgress

    # -- what the coordinator does ---------------------------------------------

    def restore(self, members: list[Member]) -> None:
        """
        Go on where a predecessor stood: nobody knows how long the members have
        been silent, so that begins now.
        """
        for member in members:
            self.members.add(member)
            self._touch(member)
        self.state = State.STABLE if members else State.EMPTY

    def end(self, error: KafkaError) -> None:
        """
        It is deleted, or coordinated elsewhere: who waits gets this error.
        """
        self._become(State.DEAD)
        self._stop_waiting()
        for call in self._pending.values():
            call.cancel()
        self._pending.clear()
        for member in self.members.all():
            self._forget(member, error)
        self._answers.give()

    @property
    def is_vacant(self) -> bool:
        """
        There are no members, and none is about to come.
        """
        return self.state is State.EMPTY and not self._pending

    # -- joining ---------------------------------------------------------------

    def _join(self, joining: Joining) -> Deferred[Joined]:
        self._check_alive()
        known = self.members.get(joining.member_id)
        if not joining.member_id:
            known = self.members.static(joining.instance_id)
        if not self._has_room_for(known):
            if known is not None:
                self._drop(known)
            raise GroupMaxSizeReached
        if not self._goes_with(joining):
            raise InconsistentGroupProtocol
        if not joining.member_id:
            return self._join_without_id(joining, known)
        if joining.member_id in self._pending:
            self._pending.pop(joining.member_id).cancel()
            return self._add(joining, joining.member_id)
        return self._join_again(self.members.known(joining.member_id, joining.instance_id), joining)

    def _has_room_for(self, known: Member | None) -> bool:
        """
        While a round is prepared the places are for those who have joined.
        """
        if self.state is not State.PREPARING:
            return known is not None or len(self.members) < self._settings.max_size
        if known is not None and known.joining is not None:
            return True
        joined = sum(each.joining is not None for each in self.members.all())
        return joined < self._settings.max_size

    def _goes_with(self, joining: Joining) -> bool:
        if not self.members:
            return bool(joining.protocol_type and joining.protocols)
        offered = {name for name, _ in joining.protocols}
        common = offered & self.members.protocols()
        return joining.protocol_type == self.protocol_type and bool(common)

    def _join_without_id(self, joining: Joining, known: Member | None) -> Deferred[Joined]:
        prefix = joining.client_id if joining.instance_id is None else joining.instance_id
        member_id = f"{prefix}-{self._new_id()}"
        if known is not None:
            return self._replace(known, member_id, joining)
        if joining.instance_id is None and joining.takes_id_first:
            seconds = joining.session_timeout_ms / 1000
            self._pending[member_id] = self._later(seconds, self._not_come, member_id)
            return succeed(Joined(member_id))
        return self._add(joining, member_id)

    def _not_come(self, member_id: str) -> None:
        del self._pending[member_id]
        self._maybe_complete()

    def _add(self, joining: Joining, member_id: str) -> Deferred[Joined]:
        if self.members.static(joining.instance_id) is not None:
            raise FencedInstanceId
        if not self.members:
            self.protocol_type = joining.protocol_type
        member = Member(
            member_id,
            joining.instance_id,
            joining.client_id,
            joining.client_host,
            joining.session_timeout_ms / 1000,
            rebalance_seconds(joining),
            tuple(joining.protocols),
            is_new=True,
        )
        self.members.add(member)
        self._grew = True
        return self._wait_for_round(member)

    def _join_again(self, member: Member, joining: Joining) -> Deferred[Joined]:
        """
        Nothing changes the group but a member that has changed, or its leader,
        who asks for a new assignment in this way.
        """
        same = member.matches(joining.protocols)
        if same and (
            self.state is State.COMPLETING
            or (self.state is State.STABLE and member.member_id != self.leader)
        ):
            self._touch(member)
            return succeed(self._joined(member))
        member.update(joining)
        return self._wait_for_round(member)

    def _replace(self, member: Member, member_id: str, joining: Joining) -> Deferred[Joined]:
        """
        A static member has restarted, and takes its own place (KIP-345). As
        long as the group would choose the same protocol, nobody else notices.
        """
        led = self.leader  # who asks before version 9 must not take itself for the leader
        self._refuse(member, FencedInstanceId())
        self._unsynced.discard(member.member_id)
        if self.leader == member.member_id:
            self.leader = member_id
        self.members.rename(member, member_id)
        member.update(joining)
        if self.state is not State.STABLE or self.members.choose() != self.protocol:
            return self._wait_for_round(member)
        self._touch(member)
        skips = joining.may_skip and self.leader == member_id
        joined = Joined(
            member_id,
            self.generation,
            self.protocol_type,
            self.protocol,
            (self.leader if joining.may_skip else led) or "",
            [each.as_joined(self.protocol) for each in self.members.all()] if skips else (),
            skips,
        )
        stored = self._store(self, {each.member_id: each.assignment for each in self.members.all()})
        return stored.addCallback(lambda _: joined)

    def _wait_for_round(self, member: Member) -> Deferred[Joined]:
        self._answers.owe(member.joining, RebalanceInProgress())  # it asks again: the first is lost
        waiting = member.joining = Deferred()
        member.rest()
        if member.is_new:
            member.expiry = self._later(NEW_MEMBER_SECONDS, self._drop, member)
        if self.state is State.PREPARING:
            self._maybe_complete()
        else:
            self._prepare()
        return waiting

    # -- rounds ----------------------------------------------------------------

    def _prepare(self) -> None:
        """
        Wait until all members have joined.
        """
        self._stop_waiting()
        self._unsynced.clear()
        for member in self.members.all():
            self._answer_sync(member, RebalanceInProgress())
        first = self.state is State.EMPTY
        self._become(State.PREPARING)
        if first:
            delay = self._settings.initial_delay
            self._first_left = max(0.0, self.members.longest() - delay)
            self._grew = False
            self._deadline = self._later(delay, self._first_delay_over)
        else:
            self._deadline = self._later(self.members.longest(), self._complete)
            self._maybe_complete()

    def _first_delay_over(self) -> None:
        """
        Members of a new group come one after the other: as long as they do,
        the round waits.
        """
        if not self._grew or not self._first_left:
            self._complete()
            return
        delay = min(self._settings.initial_delay, self._first_left)
        self._first_left -= delay
        self._grew = False
        self._deadline = self._later(delay, self._first_delay_over)

    def _maybe_complete(self) -> None:
        if self.state is not State.PREPARING or self._pending:
            return
        waiting = bool(self.members) if self._first_left is not None else False
        if not waiting and all(member.joining is not None for member in self.members.all()):
            self._complete()

    def _complete(self) -> None:
        """
        Whoever has joined makes the next generation. Static members keep their
        places although they have not.
        """
        self._stop_waiting()
        for member in [each for each in self.members.all() if each.joining is None]:
            if member.instance_id is None:
                self._forget(member)
        if not self.members:
            self._vacate()
            return
        leader = self.members.get(self.leader or "")
        if leader is None or leader.joining is None:
            joined = [each.member_id for each in self.members.all() if each.joining is not None]
            if not joined:  # static members only, and all of them silent
                self._deadline = self._later(self.members.longest(), self._complete)
                return
            self.leader = joined[0]
        self._first_left = None
        self.generation += 1
        self.protocol = self.members.choose()
        self._become(State.COMPLETING)
        self._deadline = self._later(self.members.longest(), self._sync_overdue)
        for member in self.members.all():
            if member.joining is not None:
                self._unsynced.add(member.member_id)
                self._answer_join(member, self._joined(member))
                self._touch(member)

    def _vacate(self) -> None:
        self._first_left = None
        self.generation += 1
        self.protocol = self.leader = None
        self._become(State.EMPTY)
        self._store(self, {}).addErrback(
            lambda failure: self._log.warn(
                "group {name} is empty, which was not stored: {error}",
                name=self.name,
                error=failure.getErrorMessage(),
            )
        )

    def _assign(self, assignments: Mapping[str, bytes]) -> None:
        """
        The leader has spoken. Members are told when a restart would know it.
        """
        self._storing = generation = self.generation

        def stored(_: None) -> None:
            if self.state is State.COMPLETING and self.generation == generation:
                self._become(State.STABLE)
                for member in self.members.all():
                    member.assignment = assignments[member.member_id]
                    self._answer_sync(member, self._synced(member))
                self._answers.give()

        def not_stored(failure: Failure) -> None:
            assert failure.value is not None
            if self.state is State.COMPLETING and self.generation == generation:
                for member in self.members.all():
                    self._answer_sync(member, failure.value)
                self._prepare()
                self._answers.give()

        self._store(self, assignments).addCallbacks(stored, not_stored)

    def _sync_overdue(self) -> None:
        """
        Who has joined, but does not ask for its part, holds up the others.
        """
        for member_id in sorted(self._unsynced):
            member = self.members.get(member_id)
            if member is not None:
                self._forget(member)
        self._prepare()

    # -- members ---------------------------------------------------------------

    def _check_alive(self) -> None:
        if self.state is State.DEAD:
            raise CoordinatorNotAvailable

    def _present(self, asking: Membership) -> Member:
        self._check_alive()
        member = self.members.known(asking.member_id, asking.instance_id)
        if asking.generation != self.generation:
            raise IllegalGeneration
        return member

    def _forget(self, member: Member, error: KafkaError | None = None) -> None:
        self.members.remove(member)
        self._unsynced.discard(member.member_id)
        member.rest()
        self._refuse(member, error or UnknownMemberId())

    def _drop(self, member: Member) -> None:
        """
        It has left, or was silent for too long.
        """
        self._forget(member)
        if self.state is State.PREPARING:
            self._maybe_complete()
        else:
            self._prepare()

    def _touch(self, member: Member) -> None:
        """
        It is there: its silence begins now, unless it waits for us.
        """
        if member.joining is not None or member.syncing is not None:
            return
        if member.expiry is not None and member.expiry.active():
            member.expiry.cancel() if member.is_new else member.expiry.reset(member.session)
        if member.expiry is None or not member.expiry.active():
            member.expiry = self._later(member.session, self._drop, member)
        member.is_new = False

    # -- time and answers ------------------------------------------------------

    def _become(self, state: State) -> None:
        self.state = state
        self.since = self._clock.seconds()

    def _later(self, seconds: float, do: Callable[..., None], *args: Any) -> IDelayedCall:
        def now() -> None:
            do(*args)
            self._answers.give()

        return self._clock.callLater(seconds, now)

    def _stop_waiting(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _joined(self, member: Member) -> Joined:
        leads = member.member_id == self.leader
        return Joined(
            member.member_id,
            self.generation,
            self.protocol_type,
            self.protocol,
            self.leader or "",
            [each.as_joined(self.protocol) for each in self.members.all()] if leads else (),
        )

    def _synced(self, member: Member) -> Synced:
        return Synced(self.protocol_type or "", self.protocol or "", member.assignment)

    def _answer_join(self, member: Member, answer: Joined | Exception) -> None:
        waiting, member.joining = member.joining, None
        self._answers.owe(waiting, answer)

    def _answer_sync(self, member: Member, answer: Synced | BaseException) -> None:
        waiting, member.syncing = member.syncing, None
        self._answers.owe(waiting, answer)
        if waiting is not None:
            self._touch(member)

    def _refuse(self, member: Member, error: KafkaError) -> None:
        self._answers.owe(member.joining, error)
        self._answers.owe(member.syncing, error)
        member.joining = member.syncing = None
