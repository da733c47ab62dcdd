"""
What holds for a group whatever its members do, however the store fails, and
whenever the broker is killed.

Members join, leave, time out and send requests out of turn; writes succeed,
fail, or fail although they were done. All assignments of a generation are by
one leader and of one SyncGroup; generations grow; all requests are answered;
and what was answered is there after the next restart.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import FencedInstanceId, KafkaError, NotCoordinator, UnknownMemberId
from kafscale.format.offset import CommittedOffset
from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.group import Group
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import GroupState, JoinResult, MemberIdentity, SyncResult
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.group.members import BEGIN, TOPIC, FakeImage, joining, load
from tests.harness.hostile import HostileMetadataStore, Verdict, let_pass

WHERE = (TOPIC.topic_id, 0)
PROTOCOLS = [
    [("range", b"")],
    [("range", b""), ("sticky", b"")],
    [("sticky", b"new"), ("range", b"")],
]
INSTANCES = [None, None, "x", "y"]

client_numbers = st.integers(0, 5)


@attrs.define(eq=False)
class Client:
    """
    A consumer.

    @ivar joined: The last generation that it has joined; None if it has no id.
    @ivar asking: The request that waits.
    """

    instance_id: str | None
    joined: JoinResult | None = None
    asking: Deferred[Any] | None = None

    def me(self) -> MemberIdentity:
        """
        Its identity in requests.
        """
        if self.joined is None:
            return MemberIdentity("", -1, self.instance_id)
        return MemberIdentity(self.joined.member_id, self.joined.generation, self.instance_id)


def consumer_of(member_id: str) -> str:
    """
    The name of a consumer, whatever its member id: static members get a new id
    when they restart.
    """
    return member_id[0] if member_id[0] in "xy" else member_id


class GroupMachine(RuleBasedStateMachine):
    """
    One group, six consumers, and a broker that is killed now and then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.rightNow = BEGIN
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.ids = count(1)
        self.numbers = count(1)
        self.incarnations = count(1)
        self.clients = [Client(INSTANCES[n % 4]) for n in range(6)]
        self.assignments: dict[int, int] = {}  # the SyncGroup of each generation
        self.sent = {-1}  # offsets
        self.durable = -1
        self.defects: list[Failure] = []
        self.start()

    # -- the broker ------------------------------------------------------------

    def start(self) -> None:
        """
        Start a new coordinator from what is stored.
        """
        self.leaders: dict[int, tuple[str, str | None]] = {}
        self.generation = max(self.assignments, default=0)
        self.store = HostileMetadataStore(self.inner, let_pass)
        self.coordinator = GroupCoordinator(
            self.store,
            FakeImage(),
            self.clock,
            GroupSettings(max_size=4),
            lambda: str(next(self.ids)),
        )
        loading = Deferred.fromCoroutine(load(self.coordinator, next(self.incarnations)))
        assert loading.called
        found = self.coordinator.committed_offsets("g").get(WHERE, CommittedOffset(-1)).offset
        assert found in self.sent
        assert found >= self.durable
        self.durable = found

    def group(self) -> Group | None:
        """
        The group, or None if it does not exist.
        """
        found = self.coordinator.find("g")
        return None if found is None else found.group

    @rule()
    def kill(self) -> None:
        """
        Kill the broker as by C{kill -9}. Waiting requests get no answer, and
        the group is as it was stored.
        """
        group = self.group()
        quiet = group is not None and group.state is GroupState.STABLE and not self.store.pending
        before = self.coordinator.describe("g") if quiet else None
        self.store.cut()
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        for client in self.clients:
            client.asking = None
        self.start()
        if before is not None:
            after = self.coordinator.describe("g")
            assert [m.member_id for m in after.members] == [m.member_id for m in before.members]
            assert after == before, (before, after)

    @rule(seconds=st.sampled_from([1, 3, 7, 11, 25]))
    def time_passes(self, seconds: int) -> None:
        """
        Let time pass, so that sessions time out.
        """
        self.clock.pump([1.0] * seconds)

    # -- the store -------------------------------------------------------------

    @rule()
    def store_is_slow(self) -> None:
        """
        Let writes wait from now on.
        """
        self.store.policy = lambda op: None if op.kind == "commit" else Verdict.SUCCEED

    @precondition(lambda self: self.store.pending)
    @rule(
        verdict=st.sampled_from(
            [Verdict.SUCCEED, Verdict.SUCCEED, Verdict.FAIL, Verdict.FAIL_BUT_APPLY]
        )
    )
    def store_decides(self, verdict: Verdict) -> None:
        """
        End one write.
        """
        self.store.pending[0].decide(verdict)

    @rule()
    def store_is_well(self) -> None:
        """
        Do all writes that wait, and let no more wait.
        """
        self.store.policy = let_pass
        self.store.settle()

    # -- the members -----------------------------------------------------------

    @rule(
        number=client_numbers,
        protocols=st.sampled_from(PROTOCOLS),
        first=st.booleans(),
        skips=st.booleans(),
    )
    def join(self, number: int, protocols: Any, first: bool, skips: bool) -> None:
        """
        Send a JoinGroup, for the first time or again.
        """
        client = self.clients[number]
        asked = self.coordinator.join(
            joining(
                member_id=client.joined.member_id if client.joined else "",
                instance_id=client.instance_id,
                client_id="c",
                rebalance_timeout_ms=20_000,
                protocols=protocols,
                requires_known_member_id=first,
                supports_skipping_assignment=skips,
            )
        )
        self.ask(client, asked, self.has_joined)

    @rule(protocols=st.sampled_from(PROTOCOLS))
    def all_join(self, protocols: Any) -> None:
        """
        Let all consumers join, as well-behaved ones do.
        """
        for number in range(len(self.clients)):
            self.join(number, protocols, False, True)
        self.time_passes(7)

    @rule()
    def all_sync(self) -> None:
        """
        Let all consumers send SyncGroup, likewise.
        """
        for number in range(len(self.clients)):
            self.sync(number)

    @rule(number=client_numbers)
    def restart_member(self, number: int) -> None:
        """
        Restart a consumer, which forgets its member id.
        """
        self.clients[number] = Client(self.clients[number].instance_id)

    @precondition(lambda self: any(client.joined for client in self.clients))
    @rule(number=client_numbers)
    def sync(self, number: int) -> None:
        """
        Send a SyncGroup; the leader's has the assignments.
        """
        client = self.clients[number]
        if client.joined is None:
            return
        assignments: dict[str, bytes] = {}
        if client.joined.leader == client.joined.member_id and not client.joined.skip_assignment:
            mark = next(self.numbers)
            for each in client.joined.members:
                part = f"{client.joined.generation} {mark} {consumer_of(each.member_id)}"
                assignments[each.member_id] = part.encode()
        protocol = client.joined.protocol
        asked = self.coordinator.sync("g", client.me(), "consumer", protocol, assignments)
        self.ask(client, asked, self.has_synced)

    @rule(number=client_numbers)
    def heartbeat(self, number: int) -> None:
        """
        Send a heartbeat.
        """
        client = self.clients[number]
        try:
            self.coordinator.heartbeat("g", client.me())
        except KafkaError as error:
            assert not isinstance(error, NotCoordinator)
        else:
            group = self.group()
            assert group is not None
            assert client.joined is not None
            assert group.state in (GroupState.STABLE, GroupState.COMPLETING)
            assert client.joined.generation == group.generation

    @rule(number=client_numbers)
    def leave(self, number: int) -> None:
        """
        Send a LeaveGroup.
        """
        client = self.clients[number]
        try:
            self.coordinator.leave("g", client.me().member_id, client.instance_id)
        except KafkaError as error:
            assert not isinstance(error, NotCoordinator)
        client.joined = None

    @rule(number=client_numbers)
    def commit(self, number: int) -> None:
        """
        Commit an offset.
        """
        client = self.clients[number]
        offset = next(self.numbers)
        self.sent.add(offset)
        commits = {WHERE: CommittedOffset(offset, -1, "", round(self.clock.seconds() * 1000))}

        def answered(_: None) -> None:
            self.durable = max(self.durable, offset)

        asked = Deferred.fromCoroutine(self.coordinator.commit_offsets("g", client.me(), commits))
        asked.addCallbacks(answered, lambda failure: failure.trap(KafkaError))

    def ask(self, client: Client, asked: Any, answered: Any) -> None:
        """
        Wait for an answer, instead of for any before.
        """
        store = self.store
        waiting = Deferred.fromCoroutine(asked)
        client.asking = waiting

        def came(answer: Any) -> None:
            if store is not self.store:
                return  # the broker that answers is dead
            if client.asking is waiting:
                client.asking = None
            if isinstance(answer, Failure):
                answer.trap(KafkaError)
                assert answer.check(NotCoordinator) is None
                if answer.check(UnknownMemberId, FencedInstanceId):
                    client.joined = None
            else:
                answered(client, answer)

        def broken(failure: Failure) -> None:
            self.defects.append(failure)

        waiting.addBoth(came).addErrback(broken)

    def has_joined(self, client: Client, joined: JoinResult) -> None:
        """
        There is one leader and one protocol in each generation.
        """
        client.joined = joined
        if joined.generation < 0:
            return
        found = (consumer_of(joined.leader), joined.protocol)
        assert self.leaders.setdefault(joined.generation, found) == found
        if joined.members:
            assert joined.leader == joined.member_id
            assert joined.member_id in {member.member_id for member in joined.members}

    def has_synced(self, client: Client, synced: SyncResult) -> None:
        """
        An assignment is the member's own, of this generation, and of one
        SyncGroup of the leader.
        """
        assert client.joined is not None
        generation, mark, member = synced.assignment.decode().split()
        assert int(generation) == client.joined.generation
        assert member == consumer_of(client.joined.member_id)
        assert self.assignments.setdefault(int(generation), int(mark)) == int(mark)

    # -- always ----------------------------------------------------------------

    @invariant()
    def no_check_failed(self) -> None:
        """
        No check failed in a callback.
        """
        for failure in self.defects:
            failure.raiseException()

    @invariant()
    def commits_are_durable(self) -> None:
        """
        Committed offsets do not go back, and include all commits that were
        answered.
        """
        found = self.coordinator.committed_offsets("g").get(WHERE, CommittedOffset(-1)).offset
        assert found >= self.durable
        self.durable = found

    @invariant()
    def generation_grows(self) -> None:
        """
        The generation grows, and is not below one that had an assignment.
        """
        group = self.group()
        if group is not None:
            assert group.generation >= self.generation
            self.generation = group.generation

    @invariant()
    def every_wait_ends(self) -> None:
        """
        Every member has a request that waits, or a session timeout; and every
        wait has an end.
        """
        group = self.group()
        if group is None or group.state is GroupState.DEAD:
            return
        for member in group.members.all():
            waits = member.awaiting_join is not None or member.awaiting_sync is not None
            assert waits != (member.expiry is not None) or member.is_new
            assert not (member.awaiting_join and member.awaiting_sync)
            if waits and group.state is GroupState.STABLE:  # a static member, until it is stored
                assert member.awaiting_join and member.instance_id and self.store.pending
        without_members = (GroupState.EMPTY, GroupState.PREPARING)
        assert (len(group.members) == 0) <= (group.state in without_members)
        if group.state in (GroupState.PREPARING, GroupState.COMPLETING):
            assert group.has_timeout

    def teardown(self) -> None:
        """
        When time passes without requests, all that wait are answered, and the
        group is empty in the end.
        """
        self.store_is_well()
        self.clock.pump([1.0] * 400)
        assert [client.asking for client in self.clients if client.asking] == []
        group = self.group()
        assert group is None or group.is_vacant
        self.no_check_failed()


class MachineTests(SynchronousTestCase):
    """
    Runs the machine.
    """

    def test_static_member_restarted_while_the_store_is_slow(self) -> None:
        """
        A static member restarts three times while the store is slow, and a new
        generation begins meanwhile: the writes, when they succeed at last, do
        not answer its earlier JoinGroups with the generation before.
        """
        machine = GroupMachine()
        machine.all_join(PROTOCOLS[0])
        machine.all_sync()
        machine.store_is_slow()
        machine.restart_member(0)  # so that a round begins when its session times out
        machine.restart_member(2)  # the static one
        for _ in range(3):
            machine.all_join(PROTOCOLS[0])
        machine.all_sync()
        machine.teardown()

    def test_invariants(self) -> None:
        """
        The invariants hold in every order of events.
        """
        run_state_machine_as_test(
            GroupMachine,
            settings=settings(
                max_examples=300,
                stateful_step_count=60,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
