"""
The state machine of a group, walked: every request and timeout, in every state.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import (
    CoordinatorNotAvailable,
    KafkaError,
    NotCoordinator,
    RebalanceInProgress,
    StoreUnavailable,
    UnknownMemberId,
)
from kafscale.group.group import TRANSITIONS, Group
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import GroupState, MemberIdentity
from tests.group.members import BEGIN, SIMPLE, joining

EMPTY = GroupState.EMPTY
PREPARING = GroupState.PREPARING
COMPLETING = GroupState.COMPLETING
STABLE = GroupState.STABLE
DEAD = GroupState.DEAD

#: The state afterwards, by its first letter, and the answer to the last request:
#: "wait" is none yet, "rejoin" REBALANCE_IN_PROGRESS, "unknown" UNKNOWN_MEMBER_ID,
#: "dead" COORDINATOR_NOT_AVAILABLE, "-" that there was no request.
WALK = """
                                Empty       Preparing   Completing  Stable      Dead
a new member joins              P wait      P wait      P wait      P wait      D dead
the leader joins again          E unknown   P wait      C ok        P wait      D dead
the follower joins again        E unknown   P wait      C ok        S ok        D dead
the follower joins, changed     E unknown   P wait      P wait      P wait      D dead
all members join again          E unknown   C ok        C ok        P wait      D dead
the follower syncs              E unknown   P rejoin    C wait      S ok        D dead
the leader syncs                E unknown   P rejoin    S ok        S ok        D dead
the assignment is not stored    E unknown   P rejoin    P rejoin    S ok        D dead
the follower sends a heartbeat  E unknown   P rejoin    C ok        S ok        D dead
the follower commits            E unknown   P ok        C rejoin    S ok        D dead
a client without generation     E ok        P unknown   C unknown   S unknown   D dead
the follower leaves             E unknown   P ok        P ok        P ok        D dead
all members leave               E unknown   E ok        E ok        E ok        D dead
the follower is silent          E -         P -         P -         P -         D -
a minute passes                 E -         C -         P -         S -         D -
the group is moved              D -         D -         D -         D -         D -
"""

ANSWERS: dict[type, str] = {
    CoordinatorNotAvailable: "dead",
    RebalanceInProgress: "rejoin",
    UnknownMemberId: "unknown",
}


class Walk:
    """
    One group in one state.

    Its members are C{c-1}, which leads, and C{c-2}. While it is preparing there
    is also C{c-3}, the only one that has joined.

    @ivar seen: All changes of the state, as pairs.
    @ivar last: The answer to the last request, or its refusal.
    @ivar is_slow: Whether writes wait for the test.
    @ivar storing: The write that waits.
    """

    def __init__(self, state: GroupState) -> None:
        self.clock = Clock()
        self.clock.rightNow = BEGIN
        ids = count(1)
        self.group = Group(
            "g",
            self.clock,
            GroupSettings(),
            lambda: str(next(ids)),
            lambda group, assignments: self.store(),
        )
        self.seen: set[tuple[GroupState, GroupState]] = set()
        self.last: object = None
        self.storing: Deferred[None] | None = None
        self.is_slow = False
        {
            EMPTY: lambda: None,
            PREPARING: self.prepare,
            COMPLETING: self.complete,
            STABLE: self.stabilize,
            DEAD: self.die,
        }[state]()
        assert self.group.state is state
        self.last = None

    def store(self) -> Deferred[None]:
        """
        Store the group: at once, or when the test says so.
        """
        if not self.is_slow:
            return succeed(None)
        self.storing = Deferred()
        return self.storing

    def sync_slowly(self) -> Deferred[None] | None:
        """
        Send the leader's SyncGroup. Returns the write of its assignment, which
        waits; None if there is none.
        """
        self.is_slow = True
        self.sync("c-1")
        self.is_slow = False
        return self.storing

    # -- ways into the states --------------------------------------------------

    def complete(self) -> None:
        """
        Let both members join.
        """
        for _ in range(2):
            self.join()
        for _ in range(2):
            self.step(lambda: self.clock.advance(3))

    def stabilize(self) -> None:
        """
        Let both members join, and the leader assign.
        """
        self.complete()
        self.sync("c-1")

    def prepare(self) -> None:
        """
        Let a third member join a stable group.
        """
        self.stabilize()
        self.join()

    def die(self) -> None:
        """
        Move a stable group to another broker.
        """
        self.stabilize()
        self.end()

    # -- one step each -----------------------------------------------------------

    def step(self, call: Callable[[], object]) -> None:
        """
        Do one thing, and record how it changes the state.
        """
        before = self.group.state
        try:
            self.last = call()
        except KafkaError as error:
            self.last = error
        if isinstance(self.last, Deferred):
            self.last.addErrback(lambda failure: failure.value)
        if before is not self.group.state:
            self.seen.add((before, self.group.state))

    def member(self, member_id: str, generation: int = 1) -> MemberIdentity:
        """
        The identity of a member.
        """
        return MemberIdentity(member_id, generation)

    def join(self, member_id: str = "", metadata: bytes = b"metadata") -> None:
        """
        Send a JoinGroup, for the first time or again.
        """
        request = joining(member_id=member_id, protocols=[("range", metadata)])
        self.step(lambda: self.group.join(request))

    def sync(self, member_id: str, generation: int = 1) -> None:
        """
        Send a SyncGroup.
        """
        member = self.member(member_id, generation)
        self.step(lambda: self.group.sync(member, None, None, {}))

    def leave(self, member_id: str) -> None:
        """
        Send a LeaveGroup.
        """
        self.step(lambda: self.group.leave(member_id, None))

    def heartbeat(self, member_id: str) -> None:
        """
        Send a heartbeat.
        """
        self.step(lambda: self.group.heartbeat(self.member(member_id)))

    def end(self) -> None:
        """
        Move the group to another broker.
        """
        self.step(lambda: self.group.end(NotCoordinator()))

    def wait(self, seconds: int, *members: str) -> None:
        """
        Let time pass, while these members send heartbeats.
        """
        for _ in range(seconds):
            self.step(lambda: self.clock.advance(1))
            for member_id in members:
                self.heartbeat(member_id)

    def rejoin(self) -> None:
        """
        Let all members join the next generation, which begins because one has
        changed.
        """
        self.join("c-2", b"changed")
        self.join("c-1", b"changed")

    def rejoin_and_sync(self) -> None:
        """
        Likewise, and let the leader assign.
        """
        self.rejoin()
        self.sync("c-1", generation=2)

    # -- what may happen -------------------------------------------------------

    def happen(self, event: str) -> None:
        """
        Do what one line of L{WALK} says.
        """
        match event:
            case "a new member joins":
                self.join()
            case "the leader joins again":
                self.join("c-1")
            case "the follower joins again":
                self.join("c-2")
            case "the follower joins, changed":
                self.join("c-2", b"changed")
            case "all members join again":
                self.join("c-2")
                self.join("c-1")
            case "the follower syncs":
                self.sync("c-2")
            case "the leader syncs":
                self.sync("c-1")
            case "the assignment is not stored":
                waiting = self.sync_slowly()
                if waiting is not None:
                    answer = self.last
                    self.step(lambda: waiting.errback(StoreUnavailable()))
                    self.last = answer
            case "the follower sends a heartbeat":
                self.heartbeat("c-2")
            case "the follower commits":
                self.step(lambda: self.group.check_commit(self.member("c-2")))
            case "a client without generation":
                self.step(lambda: self.group.check_commit(SIMPLE))
            case "the follower leaves":
                self.leave("c-2")
            case "all members leave":
                if self.group.state is PREPARING:
                    self.leave("c-3")
                self.leave("c-2")
                self.leave("c-1")
            case "the follower is silent":
                self.wait(10, "c-1")
                self.last = None
            case "a minute passes":
                self.sync("c-2")
                self.wait(60, "c-1", "c-2")
                self.last = None
            case "the group is moved":
                self.end()
            case _:
                raise AssertionError(event)

    def answer(self) -> str:
        """
        The answer to the last request, as in L{WALK}.
        """
        answer = self.last
        if isinstance(answer, Deferred):
            if not answer.called:
                return "wait"
            answer = answer.result
        return ANSWERS.get(type(answer), "ok")


class TransitionTests(SynchronousTestCase):
    """
    L{TRANSITIONS}, compared with what groups do and what docs/groups.md says.
    """

    def test_walk(self) -> None:
        """
        In every state each line of L{WALK} leads to the state, and is answered,
        as it says. Together they take every transition, and no other change of
        the state is seen.
        """
        seen: set[tuple[GroupState, GroupState]] = set()
        lines = [re.split(r"  +", line) for line in WALK.strip("\n").splitlines()]
        states = lines[0][1:]
        self.assertEqual(states, ["Empty", "Preparing", "Completing", "Stable", "Dead"])
        for event, *cells in lines[1:]:
            for state, name, cell in zip(TRANSITIONS, states, cells, strict=True):
                walk = Walk(state)
                walk.happen(event)
                letter, answer = cell.split()
                found = walk.group.state.name[0], "-" if answer == "-" else walk.answer()
                self.assertEqual(found, (letter, answer), f"{event}, {name}")
                seen |= walk.seen
        self.assertEqual(seen, _changes())

    def test_former_assignment(self) -> None:
        """
        When the group has left a generation, the outcome of storing its
        assignment has no effect.
        """
        ways: dict[GroupState, Callable[[Walk], object]] = {
            EMPTY: lambda walk: walk.happen("all members leave"),
            PREPARING: lambda walk: walk.happen("a new member joins"),
            COMPLETING: Walk.rejoin,
            STABLE: Walk.rejoin_and_sync,
            DEAD: lambda walk: walk.happen("the group is moved"),
        }
        for state, way in ways.items():
            for result in (None, Failure(StoreUnavailable())):
                walk = Walk(COMPLETING)
                storing = walk.sync_slowly()
                assert storing is not None
                way(walk)
                storing.callback(result)
                self.assertIs(walk.group.state, state)

    def test_documented(self) -> None:
        """
        The table in docs/groups.md has the same transitions.
        """
        page = (Path(__file__).parents[2] / "docs" / "groups.md").read_text()
        names = {state.value: state for state in GroupState}
        rows = re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \|$", page, re.MULTILINE)
        self.assertEqual({(names[a], names[b]) for a, b in rows}, _changes())


def _changes() -> set[tuple[GroupState, GroupState]]:
    return {
        (before, after)
        for before, events in TRANSITIONS.items()
        for after in events.values()
        if after is not before
    }
