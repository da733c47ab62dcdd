"""
A group of the classic protocol: members join, a leader among them assigns.

L{TRANSITIONS} is the state machine of a group; docs/groups.md draws it. What
requests are answered depends on the state as well::

    ============  ========  ==================  ====================  ========
    Request       Empty     PreparingRebalance  CompletingRebalance   Stable
    ============  ========  ==================  ====================  ========
    JoinGroup     waits     waits               waits; an unchanged   waits; an
                                                member is answered    unchanged
                                                                      follower is
                                                                      answered
    SyncGroup     (b)       (a)                 waits                 answered
    Heartbeat     (b)       (a)                 answered              answered
    OffsetCommit  answered  answered            (a)                   answered
    LeaveGroup    (b)       answered            answered              answered
    ============  ========  ==================  ====================  ========

(a) is REBALANCE_IN_PROGRESS. (b) is UNKNOWN_MEMBER_ID: an empty group has no
members. All requests to a dead group are answered COORDINATOR_NOT_AVAILABLE.

Requests that wait are answered together, by the transition that ends the wait,
and only when the state has changed (L{DeferredAnswers}).

Kafka's C{GroupMetadata} and C{GroupCoordinator} have the same states.

The module is long because it is one state machine: a part of it alone would
need the private state of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
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
from kafscale.group.members import Member, Roster
from kafscale.group.settings import GroupSettings
from kafscale.group.timeouts import (
    DeferredAnswers,
    PendingMembers,
    RoundTimeout,
    SessionTimeouts,
)
from kafscale.interfaces import (
    GroupDescription,
    GroupState,
    JoinParameters,
    JoinResult,
    MemberIdentity,
    SyncResult,
)


class Event(Enum):
    """
    What changes the state of a group.
    """

    #: A member has joined, has changed, has left or was removed; or the leader
    #: has joined again, by which it asks for a new assignment.
    MEMBERS_CHANGED = 1
    #: All members have joined, or some have and the time to join is over.
    ROUND_COMPLETE = 2
    #: The round is over, and there are no members.
    ALL_LEFT = 3
    #: The leader's assignment is durable.
    ASSIGNMENT_STORED = 4
    #: The leader's assignment could not be stored.
    ASSIGNMENT_LOST = 5
    #: The group is deleted, or coordinated by another broker.
    ENDED = 6


TRANSITIONS: Mapping[GroupState, Mapping[Event, GroupState]] = {
    GroupState.EMPTY: {
        Event.MEMBERS_CHANGED: GroupState.PREPARING,
        Event.ENDED: GroupState.DEAD,
    },
    GroupState.PREPARING: {
        Event.MEMBERS_CHANGED: GroupState.PREPARING,
        Event.ROUND_COMPLETE: GroupState.COMPLETING,
        Event.ALL_LEFT: GroupState.EMPTY,
        Event.ENDED: GroupState.DEAD,
    },
    GroupState.COMPLETING: {
        Event.MEMBERS_CHANGED: GroupState.PREPARING,
        Event.ASSIGNMENT_STORED: GroupState.STABLE,
        Event.ASSIGNMENT_LOST: GroupState.PREPARING,
        Event.ENDED: GroupState.DEAD,
    },
    GroupState.STABLE: {
        Event.MEMBERS_CHANGED: GroupState.PREPARING,
        Event.ENDED: GroupState.DEAD,
    },
    GroupState.DEAD: {},
}
"""The next state by state and event. A state ignores the events that it does
not list."""


class Group:
    """
    The members of a group, its generation and its state.

    @ivar name: The group id.
    @ivar state: One of L{TRANSITIONS}.
    @ivar since: When it entered its state, in seconds since 1970.
    @ivar generation: Grows with each round, and never falls.
    @ivar protocol_type: C{consumer} or C{connect}, for instance; None while the
        group never had a member.
    @ivar protocol: The protocol chosen for this generation; None without
        members.
    @ivar leader: Member id of the leader; None without members.
    @ivar members: The members, without those of L{PendingMembers}.
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
        @param name: The group id.
        @param clock: In seconds since 1970.
        @param settings: Bounds and waits.
        @param new_id: Returns text that no other member id contains.
        @param store: Called with the group and an assignment for each member
            id. Stores the group as it is at the time of the call, with these
            assignments; the result fires when that is durable.
        """
        self.name = name
        self.state = GroupState.EMPTY
        self.since = clock.seconds()
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol: str | None = None
        self.leader: str | None = None
        self.members = Roster()
        self._clock = clock
        self._settings = settings
        self._new_id = new_id
        self._store = store
        self._answers = DeferredAnswers(clock)
        self._sessions = SessionTimeouts(clock, self._answers, self._remove)
        self._pending = PendingMembers(self._answers, self._complete_if_all_joined)
        self._round_timeout = RoundTimeout(clock, self._answers)
        # For how long the initial delay may yet be prolonged, in seconds; None
        # if this is not the first round. And whether a member has joined since
        # it was prolonged last.
        self._initial_delay_left: float | None = None
        self._new_member_added = False
        # Members of this generation that have not sent SyncGroup yet.
        self._pending_sync: set[str] = set()
        # The last generation whose assignment the leader has brought.
        self._assigned = -1

    # -- JoinGroup -------------------------------------------------------------

    def join(self, parameters: JoinParameters) -> Deferred[JoinResult]:
        """
        See L{IGroupCoordinator.join}. A request by::

            ==========================  =========================================
            Without a member id         becomes a member; if its JoinGroup is 4 or
                                        newer, it gets an id first, and joins with
                                        that (KIP-394)
            Static, without member id   takes the place of its instance id
            With an id that it was      becomes a member
            given
            A member, unchanged         is answered with its generation; but if it
                                        leads a stable group, a round begins
            A member that has changed   waits for the next round
            ==========================  =========================================
        """
        self._check_not_dead()
        try:
            return self._join(parameters)
        finally:
            self._answers.send()

    def _join(self, parameters: JoinParameters) -> Deferred[JoinResult]:
        known = self.members.get(parameters.member_id)
        if not parameters.member_id:
            known = self.members.static(parameters.instance_id)
        if not self._has_place_for(known):
            if known is not None:
                self._remove(known)
            raise GroupMaxSizeReached
        if not self._supports(parameters):
            raise InconsistentGroupProtocol
        if not parameters.member_id:
            return self._join_without_id(parameters, known)
        if self._pending.remove(parameters.member_id):
            return self._join_as_new(parameters, parameters.member_id)
        return self._join_again(parameters)

    def _has_place_for(self, known: Member | None) -> bool:
        """
        Whether the group has a place for one more member, or for this one of
        its members. While a round is prepared, members that have joined come
        before members that have not.
        """
        limit = self._settings.max_size
        if len(self.members) < limit:
            return True
        if self.state is not GroupState.PREPARING:
            return known is not None
        if known is not None and known.awaiting_join is not None:
            return True
        return sum(each.awaiting_join is not None for each in self.members.all()) < limit

    def _supports(self, parameters: JoinParameters) -> bool:
        """
        Whether all members could use a protocol of the one that joins.
        """
        if not self.members:
            return bool(parameters.protocol_type and parameters.protocols)
        if parameters.protocol_type != self.protocol_type:
            return False
        common = self.members.protocols()
        return any(name in common for name, _ in parameters.protocols)

    def _join_without_id(
        self, parameters: JoinParameters, known: Member | None
    ) -> Deferred[JoinResult]:
        prefix = parameters.client_id if parameters.instance_id is None else parameters.instance_id
        member_id = f"{prefix}-{self._new_id()}"
        if known is not None:
            return self._replace(parameters, known, member_id)
        if parameters.instance_id is None and parameters.requires_known_member_id:
            self._pending.add(member_id, parameters.session_timeout_ms / 1000)
            return succeed(JoinResult(member_id))
        return self._join_as_new(parameters, member_id)

    def _join_as_new(self, parameters: JoinParameters, member_id: str) -> Deferred[JoinResult]:
        if self.members.static(parameters.instance_id) is not None:
            raise FencedInstanceId
        if not self.members:
            self.protocol_type = parameters.protocol_type
        member = Member.create(parameters, member_id)
        self.members.add(member)
        return self._wait_for_round(member)

    def _join_again(self, parameters: JoinParameters) -> Deferred[JoinResult]:
        member = self.members.find(parameters.member_id, parameters.instance_id)
        if member.matches(parameters.protocols) and (
            self.state is GroupState.COMPLETING
            or (self.state is GroupState.STABLE and member.member_id != self.leader)
        ):
            self._sessions.restart(member)
            return succeed(self._joined(member))
        self.members.update(member, parameters)
        return self._wait_for_round(member)

    def _replace(
        self, parameters: JoinParameters, member: Member, member_id: str
    ) -> Deferred[JoinResult]:
        """
        A static member has restarted, and takes its place again with a new
        member id (KIP-345). There is no rebalance as long as the group is
        stable and would choose the same protocol.
        """
        leader = self.leader
        self._refuse(member, FencedInstanceId())
        self._has_synced(member)
        if leader == member.member_id:
            self.leader = member_id
        self.members.rename(member, member_id)
        self.members.update(member, parameters)
        if (
            self.state is not GroupState.STABLE
            or self.members.choose_protocol() != self.protocol
        ):
            return self._wait_for_round(member)
        return self._wait_for_store(member, leader, parameters.supports_skipping_assignment)

    def _wait_for_store(
        self, member: Member, leader: str | None, skips: bool
    ) -> Deferred[JoinResult]:
        """
        Answer a static member when its new id is durable. A round that begins
        before counts it as joined, and answers it; and a member that takes its
        place meanwhile fences it. So an answer of this generation never comes
        after one of the next.

        @param leader: Member id of the leader before; perhaps the member's former id.
        @param skips: Whether the client supports skipping the assignment.
        """
        waiting = member.awaiting_join = Deferred()
        self._sessions.suspend(member)

        def ended(failure: Failure | None) -> None:
            if member.awaiting_join is not waiting or self.state is not GroupState.STABLE:
                return
            self._answer_join(member, failure or self._rejoined(member, leader, skips))
            self._sessions.restart(member)
            self._answers.send()

        self._store_now().addBoth(ended)
        return waiting

    def _rejoined(self, member: Member, leader: str | None, skips: bool) -> JoinResult:
        """
        The present generation, as a static member gets it that has restarted.
        """
        joined = self._joined(member)
        if not skips:
            # A leader would assign anew, and no other member would ask for that
            # assignment. So the answer names its former id as the leader.
            return attrs.evolve(joined, leader=leader or "", members=())
        return attrs.evolve(joined, skip_assignment=member.member_id == self.leader)

    def _wait_for_round(self, member: Member) -> Deferred[JoinResult]:
        # If the member repeats its request, the first one is lost.
        self._answer_join(member, RebalanceInProgress())
        waiting = member.awaiting_join = Deferred()
        self._sessions.suspend(member)
        self._new_member_added = self._new_member_added or member.is_new
        self._fire(Event.MEMBERS_CHANGED)
        return waiting

    def _joined(self, member: Member) -> JoinResult:
        """
        The present generation, as this member gets it. Only the leader gets the
        list of members.
        """
        leads = member.member_id == self.leader
        return JoinResult(
            member.member_id,
            self.generation,
            self.protocol_type,
            self.protocol,
            self.leader or "",
            [each.as_joined(self.protocol) for each in self.members.all()] if leads else (),
        )

    # -- SyncGroup -------------------------------------------------------------

    def sync(
        self,
        identity: MemberIdentity,
        protocol_type: str | None,
        protocol: str | None,
        assignments: Mapping[str, bytes],
    ) -> Deferred[SyncResult]:
        """
        See L{IGroupCoordinator.sync}.
        """
        member = self._find(identity)
        if protocol_type not in (None, self.protocol_type) or protocol not in (None, self.protocol):
            raise InconsistentGroupProtocol
        if self.state is GroupState.PREPARING:
            raise RebalanceInProgress
        self._has_synced(member)
        if self.state is GroupState.STABLE:
            self._sessions.restart(member)
            return succeed(self._synced(member))
        # If the member repeats its request, the first one is lost.
        self._answer_sync(member, RebalanceInProgress())
        waiting = member.awaiting_sync = Deferred()
        self._sessions.suspend(member)
        if member.member_id == self.leader and self._assigned != self.generation:
            self._assign(assignments)
        self._answers.send()
        return waiting

    def _assign(self, given: Mapping[str, bytes]) -> None:
        """
        Store the leader's assignment. Members get it when it is durable: none
        has an assignment that a restart of the broker would not know.
        """
        self._assigned = generation = self.generation
        assignments = {
            member.member_id: given.get(member.member_id, b"") for member in self.members.all()
        }

        def stored(_: None) -> None:
            # If another round has begun meanwhile, this assignment is of no use.
            if self.generation == generation and self._fire(Event.ASSIGNMENT_STORED):
                for member in self.members.all():
                    member.assignment = assignments[member.member_id]
                    if member.awaiting_sync is not None:
                        self._answer_sync(member, self._synced(member))
                        self._sessions.restart(member)
                self._answers.send()

        def failed(failure: Failure) -> None:
            if self.generation == generation and self._fire(Event.ASSIGNMENT_LOST):
                self._log.warn(
                    "group {name}: could not store the assignment of generation {generation};"
                    " its members join again: {error}",
                    name=self.name,
                    generation=generation,
                    error=failure.getErrorMessage(),
                )
                self._answers.send()

        self._store(self, assignments).addCallbacks(stored, failed)

    def _has_synced(self, member: Member) -> None:
        """
        The member need not be waited for any longer.
        """
        self._pending_sync.discard(member.member_id)
        if not self._pending_sync and self.state is not GroupState.PREPARING:
            self._round_timeout.clear()

    def _synced(self, member: Member) -> SyncResult:
        return SyncResult(self.protocol_type or "", self.protocol or "", member.assignment)

    # -- other requests --------------------------------------------------------

    def heartbeat(self, identity: MemberIdentity) -> None:
        """
        See L{IGroupCoordinator.heartbeat}. It restarts the session timeout also when
        it is answered REBALANCE_IN_PROGRESS.
        """
        self._sessions.restart(self._find(identity))
        if self.state is GroupState.PREPARING:
            raise RebalanceInProgress

    def leave(self, member_id: str, instance_id: str | None) -> None:
        """
        See L{IGroupCoordinator.leave}.
        """
        self._check_not_dead()
        if instance_id is None and self._pending.remove(member_id):
            self._complete_if_all_joined()
        else:
            static = None if member_id else self.members.static(instance_id)
            self._remove(static or self.members.find(member_id, instance_id))
        self._answers.send()

    def check_commit(self, identity: MemberIdentity) -> None:
        """
        Check that a client may commit offsets now. A client without generation
        assigns partitions to itself; it may commit while there are no members.

        @raise KafkaError: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
            FENCED_INSTANCE_ID, REBALANCE_IN_PROGRESS.
        """
        self._check_not_dead()
        if identity.generation < 0 and self.state is GroupState.EMPTY:
            return
        self._sessions.restart(self._find(identity))
        if self.state is GroupState.COMPLETING:
            raise RebalanceInProgress

    def _check_not_dead(self) -> None:
        if self.state is GroupState.DEAD:
            raise CoordinatorNotAvailable

    def _find(self, identity: MemberIdentity) -> Member:
        """
        The member of this generation that a request comes from.

        @raise KafkaError: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION,
            FENCED_INSTANCE_ID.
        """
        self._check_not_dead()
        member = self.members.find(identity.member_id, identity.instance_id)
        if identity.generation != self.generation:
            raise IllegalGeneration
        return member

    # -- for the coordinator ---------------------------------------------------

    def restore(self, members: list[Member]) -> None:
        """
        Go on as the coordinator before has stored the group. How long the
        members have sent nothing is not known, so their sessions begin now.
        """
        for member in members:
            self.members.add(member)
            self._sessions.restart(member)
        self.state = GroupState.STABLE if members else GroupState.EMPTY

    def end(self, error: KafkaError) -> None:
        """
        The group is deleted, or coordinated by another broker.

        @param error: The answer to all requests that wait.
        """
        self._fire(Event.ENDED)
        self._round_timeout.clear()
        self._pending.clear()
        for member in self.members.all():
            self._drop(member, error)
        self._answers.send()

    @property
    def is_vacant(self) -> bool:
        """
        Whether the group has no members, and expects none.
        """
        return self.state is GroupState.EMPTY and not self._pending

    @property
    def has_timeout(self) -> bool:
        """
        Whether its state ends by itself: at a timeout, or when the assignment
        that is being stored is durable. True while a round is under way.
        """
        storing = self.state is GroupState.COMPLETING and self._assigned == self.generation
        return storing or self._round_timeout.is_set

    def describe(self, with_members: bool) -> GroupDescription:
        """
        The group, for DescribeGroups and ListGroups. Protocol, metadata and
        assignments are those of a stable group, and otherwise empty.
        """
        stable = self.state is GroupState.STABLE
        protocol = (stable and self.protocol) or ""
        members = self.members.all() if with_members else ()
        return GroupDescription(
            self.name,
            self.state.value,
            self.protocol_type or "",
            protocol,
            [each.describe(protocol, each.assignment if stable else b"") for each in members],
        )

    # -- the state machine -----------------------------------------------------

    def _fire(self, event: Event) -> bool:
        """
        Take the transition for an event, and do what the next state requires.

        @return: False if the state ignores the event.
        """
        before = self.state
        after = TRANSITIONS[before].get(event)
        if after is None:
            return False
        if after is not before:
            self.state = after
            self.since = self._clock.seconds()
        match after:
            case GroupState.PREPARING:
                if before is not GroupState.PREPARING:
                    self._begin_round(is_first=before is GroupState.EMPTY)
                self._complete_if_all_joined()
            case GroupState.COMPLETING:
                self._begin_generation()
            case GroupState.EMPTY:
                self._become_empty()
        return True

    def _begin_round(self, is_first: bool) -> None:
        """
        Wait until all members have joined.
        """
        self._pending_sync.clear()
        for member in self.members.all():
            if member.awaiting_sync is not None:
                self._answer_sync(member, RebalanceInProgress())
                self._sessions.restart(member)
        if is_first:
            self._initial_delay_left = self.members.longest_rebalance_timeout()
            self._delay()
        else:
            self._round_timeout.set(self.members.longest_rebalance_timeout(), self._end_round)

    def _delay(self) -> None:
        """
        Members of a new group start one after the other: the first round waits
        for as long as they do (C{group.initial.rebalance.delay.ms}).
        """
        assert self._initial_delay_left is not None
        delay = min(self._settings.initial_delay, self._initial_delay_left)
        self._initial_delay_left -= delay
        self._new_member_added = False
        self._round_timeout.set(delay, self._delay_over)

    def _delay_over(self) -> None:
        if self._new_member_added and self._initial_delay_left:
            self._delay()
        else:
            self._end_round()

    def _complete_if_all_joined(self) -> None:
        if self.state is not GroupState.PREPARING or self._pending:
            return
        is_delayed = self._initial_delay_left is not None and self.members
        if not is_delayed and all(member.awaiting_join for member in self.members.all()):
            self._end_round()

    def _end_round(self) -> None:
        """
        Members that have not joined are removed, but for static ones, which
        keep their places until their sessions time out.
        """
        self._round_timeout.clear()
        for member in self.members.all():
            if member.awaiting_join is None and member.instance_id is None:
                self._drop(member, UnknownMemberId())
        if not self.members:
            self._fire(Event.ALL_LEFT)
        elif any(member.awaiting_join for member in self.members.all()):
            self._fire(Event.ROUND_COMPLETE)
        else:  # static members only, and none of them has joined
            self._round_timeout.set(self.members.longest_rebalance_timeout(), self._end_round)

    def _begin_generation(self) -> None:
        """
        The members that have joined are the next generation. The leader stays
        the same if it is among them.
        """
        joined = [member for member in self.members.all() if member.awaiting_join]
        if self.leader not in {member.member_id for member in joined}:
            self.leader = joined[0].member_id
        self._initial_delay_left = None
        self.generation += 1
        self.protocol = self.members.choose_protocol()
        self._round_timeout.set(self.members.longest_rebalance_timeout(), self._sync_over)
        for member in joined:
            self._pending_sync.add(member.member_id)
            member.is_new = False
            self._answer_join(member, self._joined(member))
            self._sessions.cancel(member)
            self._sessions.restart(member)

    def _sync_over(self) -> None:
        """
        Remove members that have joined, and have not sent SyncGroup in time.
        """
        for member in self.members.all():
            if member.member_id in self._pending_sync:
                self._drop(member, UnknownMemberId())
        self._fire(Event.MEMBERS_CHANGED)

    def _become_empty(self) -> None:
        self._initial_delay_left = None
        self.generation += 1
        self.protocol = self.leader = None
        self._store_now().addErrback(
            lambda failure: self._log.warn(
                "group {name}: could not store that it has no members; after a restart of the"
                " broker they are members until their sessions time out: {error}",
                name=self.name,
                error=failure.getErrorMessage(),
            )
        )

    def _store_now(self) -> Deferred[None]:
        """
        Store the group as it is, with the assignments that its members have.
        """
        return self._store(self, {each.member_id: each.assignment for each in self.members.all()})

    # -- members ---------------------------------------------------------------

    def _remove(self, member: Member) -> None:
        """
        Remove a member that has left, or whose session has timed out.
        """
        self._drop(member, UnknownMemberId())
        self._fire(Event.MEMBERS_CHANGED)

    def _drop(self, member: Member, error: KafkaError) -> None:
        self.members.remove(member)
        self._pending_sync.discard(member.member_id)
        self._sessions.cancel(member)
        self._refuse(member, error)

    def _refuse(self, member: Member, error: KafkaError) -> None:
        self._answer_join(member, error)
        self._answer_sync(member, error)

    def _answer_join(self, member: Member, answer: JoinResult | KafkaError | Failure) -> None:
        waiting, member.awaiting_join = member.awaiting_join, None
        self._answers.add(waiting, answer)

    def _answer_sync(self, member: Member, answer: SyncResult | KafkaError) -> None:
        waiting, member.awaiting_sync = member.awaiting_sync, None
        self._answers.add(waiting, answer)
