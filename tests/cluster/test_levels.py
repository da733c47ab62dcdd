"""
New levels of stored formats come into force in clusters of several versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.image import Image
from kafscale.cluster.levels import AGAIN, FormatLevels
from kafscale.cluster.membership import Membership
from kafscale.errors import SettingError
from kafscale.format import levels as table
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.cluster import LevelsRecord
from kafscale.format.errors import CorruptRecord
from kafscale.format.levels import LEVELS, levels_read
from kafscale.format.trailer import Kind, end_with, read_end
from kafscale.interfaces import Broker, Delete, Phase, Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, Operation, Verdict, let_pass

OLD: Mapping[str, int] = {}
NEW: Mapping[str, int] = {"segment": 1}


class Member:
    """
    A broker as far as it is a member of the cluster.

    @ivar store: Its view of the metadata store.
    @ivar replaced: The number of calls of C{replaced}.
    """

    def __init__(
        self, store: SQLiteMetadataStore, broker_id: int, reads: Mapping[str, int]
    ) -> None:
        self.clock = Clock()
        self.store = HostileMetadataStore(store, let_pass)
        broker = Broker(broker_id, f"broker-{broker_id}", 9092)
        self.levels = FormatLevels(self.store, self.clock, reads)
        self.membership = Membership(
            self.store, broker, self.clock, self.levels, self._replaced, version="1"
        )
        self.image = Image(self.store, "cluster", broker)
        self.image.on_change(self._changed)
        self.replaced = 0

    def _replaced(self) -> None:
        self.replaced += 1

    def _changed(self, changes: Any) -> None:
        for change in changes:
            if change.key == metadata_keys.broker(self.image.broker_id):
                self.membership.seen(change.entry)

    async def start(self) -> None:
        """
        As a broker starts.
        """
        await self.image.start()
        await self.membership.join()
        await self.levels.start(self.image)

    def crash(self) -> None:
        """
        Stop without a word; the registration stays.
        """
        self.levels.stop()
        self.image.stop()

    def leave(self) -> None:
        """
        Stop in good order.
        """
        self.crash()
        now(self.membership.leave())


class LevelsCase(SynchronousTestCase):
    """
    A metadata store in memory, in which brokers of two versions meet.
    """

    def setUp(self) -> None:
        """
        It is empty.
        """
        self.shared = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: now(self.shared.close()))

    def member(self, broker_id: int, reads: Mapping[str, int]) -> Member:
        """
        A broker that has not started.
        """
        return Member(self.shared, broker_id, reads)

    def started(self, broker_id: int, reads: Mapping[str, int]) -> Member:
        """
        A broker that has.
        """
        member = self.member(broker_id, reads)
        now(member.start())
        return member

    def record(self) -> LevelsRecord | None:
        """
        What the cluster requires and writes; None if that is not stored.
        """
        entry = now(self.shared.get(metadata_keys.LEVELS))
        return None if entry is None else LevelsRecord.from_entry(entry)

    def registered(self) -> dict[int, Mapping[str, int]]:
        """
        What each registered broker reads.
        """
        entries, _ = now(self.shared.range(metadata_keys.BROKERS))
        return {
            metadata_keys.broker_of(entry.key): BrokerRecord.from_entry(entry).levels
            for entry in entries
        }

    def check(self) -> None:
        """
        Every registered broker reads what is written.
        """
        record = self.record() or LevelsRecord()
        for name, level in record.in_force.items():
            self.assertGreaterEqual(record.required[name], level)
            for broker_id, reads in self.registered().items():
                self.assertGreaterEqual(reads.get(name, 0), level, broker_id)


class LevelZeroTests(LevelsCase):
    """
    Brokers that know no level above 0.
    """

    def test_nothing_is_stored(self) -> None:
        """
        They store nothing of it, in a registration or elsewhere, and ask for
        nothing when they start.
        """
        member = self.member(1, OLD)
        asked: list[str] = []

        def decide(operation: Operation) -> Verdict:
            asked.append(operation.key)
            return Verdict.SUCCEED

        member.store.policy = decide
        now(member.start())
        now(member.membership.announce(Phase.SERVING))
        self.started(2, OLD)
        self.assertIsNone(self.record())
        entry = now(self.shared.get("brokers/1"))
        assert entry is not None
        self.assertNotIn("levels", entry.value)
        self.assertNotIn(metadata_keys.LEVELS, asked)
        self.assertEqual(member.levels.in_force("segment"), 0)

    def test_the_table(self) -> None:
        """
        A broker registers what its version reads.
        """
        self.assertEqual(FormatLevels(self.shared, Clock()).reads, levels_read())
        self.patch(table, "LEVELS", {**LEVELS, "segment": ["old", "new", "newest"]})
        self.assertEqual(FormatLevels(self.shared, Clock()).reads["segment"], 2)


class RaisingTests(LevelsCase):
    """
    When a level comes into force.
    """

    def test_alone(self) -> None:
        """
        For a broker that is alone: when it starts.
        """
        member = self.started(1, NEW)
        self.assertEqual(self.registered(), {1: NEW})
        self.assertEqual(self.record(), LevelsRecord(NEW, NEW))
        self.assertEqual(member.levels.in_force("segment"), 1)
        self.assertEqual(member.levels.in_force("slot"), 0)

    def test_watched_from_now(self) -> None:
        """
        A broker watches the entry from the present on: etcd may have compacted the history
        since it was written.
        """
        self.started(1, NEW)
        now(self.shared.commit([], [Put("names/x", {})]))
        member = self.member(2, NEW)
        watched: list[int] = []
        watch = member.store.watch

        def note(prefix: str, revision: int, changed: Any) -> Any:
            if prefix == metadata_keys.LEVELS:
                watched.append(revision)
            return watch(prefix, revision, changed)

        self.patch(member.store, "watch", note)
        now(member.start())
        (revision,) = watched
        self.assertEqual(revision, now(self.shared.range(metadata_keys.LEVELS))[1])

    def test_rolling_upgrade(self) -> None:
        """
        For two brokers that are upgraded one after the other: when the second
        has started. At each step both read what either has written: what they
        write is a fake layout of seals, in the level that is in force.
        """
        objects: list[bytes] = []

        def write_and_read(*members: Member) -> None:
            for member in members:
                level = member.levels.in_force("seal")
                objects.append(end_with(Kind.SEAL, b'{"sealed_by": 1}' * (level + 1), level))
            for member in members:
                names = ["a level"] * (member.levels.reads.get("seal", 0) + 1)
                self.patch(table, "LEVELS", {**LEVELS, "seal": names})
                for data in objects:
                    read_end(data, len(data))
            self.check()

        new = {"seal": 1}
        first, second = self.started(1, OLD), self.started(2, OLD)
        write_and_read(first, second)
        first.leave()
        first = self.started(1, new)
        write_and_read(first, second)
        self.assertEqual(first.levels.in_force("seal"), 0)
        self.assertIsNone(self.record())
        second.crash()
        second = self.started(2, new)
        write_and_read(first, second)
        self.assertEqual((first.levels.in_force("seal"), second.levels.in_force("seal")), (1, 1))
        self.assertEqual({read_end(data, len(data)).level for data in objects}, {0, 1})  # type: ignore[union-attr]

    def test_when_the_last_old_one_leaves(self) -> None:
        """
        For brokers that read it already: when the last one that does not has
        gone.
        """
        old, new, other = self.started(1, OLD), self.started(2, NEW), self.started(3, NEW)
        self.assertIsNone(self.record())
        old.leave()
        self.assertEqual(self.record(), LevelsRecord(NEW, NEW))
        self.assertEqual((new.levels.in_force("segment"), other.levels.in_force("segment")), (1, 1))

    def test_the_lowest_counts(self) -> None:
        """
        What all read, format by format.
        """
        self.started(1, {"segment": 2, "slot": 1})
        self.assertEqual(self.record(), LevelsRecord(*[{"segment": 2, "slot": 1}] * 2))
        self.shared = SQLiteMetadataStore(":memory:", at_once)
        first = self.started(1, {"slot": 1})
        first.crash()
        now(self.shared.commit([], [Delete(metadata_keys.LEVELS)]))  # as if it had not begun
        self.started(2, {"segment": 2, "slot": 3})
        self.assertEqual(self.record(), LevelsRecord(*[{"slot": 1}] * 2))

    def test_one_line(self) -> None:
        """
        What comes into force together is one line of the log. What was in force
        before a start is none.
        """
        with capturedLogs() as logged:
            first = self.started(1, {"segment": 1, "slot": 2})
            first.leave()
            self.started(1, {"segment": 1, "slot": 3})
        found = [each["levels"] for each in logged if "levels" in each]
        self.assertEqual(found, ["segment 1, slot 2", "slot 3"])

    def test_never_falls(self) -> None:
        """
        A level in force stays so when brokers leave and join.
        """
        first = self.started(1, {"segment": 1, "slot": 2})
        second = self.started(2, {"segment": 1, "slot": 3})
        first.leave()
        self.assertEqual(self.record(), LevelsRecord(*[{"segment": 1, "slot": 3}] * 2))
        second.leave()
        self.started(1, {"segment": 4, "slot": 3})
        self.assertEqual(self.record(), LevelsRecord(*[{"segment": 4, "slot": 3}] * 2))

    def test_a_lost_answer(self) -> None:
        """
        A commit that was done, and of which the broker did not hear, is found
        to be done.
        """
        member = self.member(1, NEW)
        verdicts = [Verdict.FAIL_BUT_APPLY, Verdict.FAIL, Verdict.FAIL_BUT_APPLY]

        def decide(operation: Operation) -> Verdict:
            if operation.kind == "commit" and operation.key == metadata_keys.LEVELS and verdicts:
                return verdicts.pop(0)
            return Verdict.SUCCEED

        member.store.policy = decide
        now(member.start())
        self.assertEqual((verdicts, self.record()), ([], LevelsRecord(NEW, NEW)))
        self.assertEqual(member.levels.in_force("segment"), 1)

    def test_a_store_that_is_away(self) -> None:
        """
        It is tried again after a while.
        """
        old, new = self.started(1, OLD), self.started(2, NEW)
        new.store.policy = lambda operation: (
            Verdict.FAIL if operation.key == metadata_keys.LEVELS else Verdict.SUCCEED
        )
        old.leave()
        self.assertIsNone(self.record())
        new.store.policy = let_pass
        new.clock.advance(AGAIN)
        self.assertEqual(self.record(), LevelsRecord(NEW, NEW))

    def test_damaged(self) -> None:
        """
        An entry that was changed by hand changes nothing for running brokers,
        and is logged in one line, however often they look at it. It stops a
        start.
        """
        member = self.started(1, NEW)
        stored = now(self.shared.get(metadata_keys.LEVELS))
        assert stored is not None
        with capturedLogs() as logged:
            now(self.shared.commit([], [Put(metadata_keys.LEVELS, {"required": 7})]))
            self.member(2, NEW)
            for _ in range(3):
                member.clock.advance(AGAIN)
        self.assertEqual(
            [formatEvent(each) for each in logged],
            [
                "could not raise the levels of stored formats, trying again: levels:"
                " {'required': 7} is not understood: no broker has written it so"
            ],
        )
        self.assertEqual(member.levels.in_force("segment"), 1)
        self.failureResultOf(begin(self.member(2, NEW).start()), CorruptRecord)
        now(self.shared.commit([], [Put(metadata_keys.LEVELS, stored.value)]))
        self.started(2, NEW)

    def test_stopped(self) -> None:
        """
        A broker that stops raises nothing.
        """
        old, new = self.started(1, OLD), self.started(2, NEW)
        new.levels.stop()
        old.leave()
        self.assertIsNone(self.record())


class RefusalTests(LevelsCase):
    """
    Brokers of older versions.
    """

    LINE = (
        "the brokers of this cluster require level 1 of the stored format 'segment', and this"
        " version reads it up to level 0: start the version that the other brokers run"
        " (docs/compatibility.md)"
    )

    def refused(self, member: Member) -> None:
        """
        It does not become a member.
        """
        before = self.registered(), self.record()
        failure = self.failureResultOf(begin(member.start()), SettingError)
        self.assertEqual(failure.getErrorMessage(), self.LINE)
        self.assertEqual((self.registered(), self.record()), before)

    def test_in_force(self) -> None:
        """
        Is refused when the level is in force, beside others and alone.
        """
        new = self.started(1, NEW)
        self.refused(self.member(2, OLD))
        self.refused(self.member(2, {"slot": 7}))
        new.leave()
        self.refused(self.member(2, OLD))
        self.assertEqual(self.registered(), {})

    def test_under_way(self) -> None:
        """
        Is refused as soon as the level is required.
        """
        record = LevelsRecord(NEW, {})
        now(self.shared.commit([], [Put(metadata_keys.LEVELS, record.to_json())]))
        self.refused(self.member(2, OLD))

    def test_in_force_only(self) -> None:
        """
        Is refused by a level in force that is not required, which no version
        writes, and does not report that all brokers read it.
        """
        record = LevelsRecord({}, NEW)
        now(self.shared.commit([], [Put(metadata_keys.LEVELS, record.to_json())]))
        with capturedLogs() as events:
            self.refused(self.member(2, OLD))
        lines = [str(each.get("log_format")) for each in events]
        self.assertEqual([each for each in lines if "cannot go back" in each], [])

    def test_readable(self) -> None:
        """
        Joins while the levels in force are those that it reads.
        """
        self.started(1, NEW)
        self.started(2, NEW)
        self.started(3, {"segment": 2, "slot": 1})
        self.assertEqual(self.registered().keys(), {1, 2, 3})
        self.assertEqual(self.record(), LevelsRecord(NEW, NEW))

    def test_an_ended_lease(self) -> None:
        """
        A broker whose registration has ended, as if it were dead, does not
        register again once the level has come into force: it is replaced, and
        then refused.
        """
        old, new = self.started(1, OLD), self.started(2, NEW)
        old.store.policy = lambda operation: None  # it hears of nothing
        now(self.shared.commit([], [Delete(metadata_keys.broker(1))]))
        self.assertEqual(new.levels.in_force("segment"), 1)
        old.store.policy = let_pass
        for operation in list(old.store.pending):
            operation.succeed()
        old.clock.pump([1.0] * 5)
        self.assertEqual((self.registered(), old.replaced), ({2: NEW}, 1))
        self.failureResultOf(begin(old.membership.join()), SettingError)
        self.check()

    def test_an_ended_lease_before(self) -> None:
        """
        It registers again while the level is not required.
        """
        old = self.started(1, OLD)
        now(self.shared.commit([], [Delete(metadata_keys.broker(1))]))
        self.assertEqual((self.registered(), old.replaced), ({1: OLD}, 0))


class RaceTests(LevelsCase):
    """
    A level is raised while a broker that does not read it joins.
    """

    def interleave(self, outer: Member, at: int, inner: Callable[[], None]) -> bool:
        """
        Start a broker, and do something just before its operation number C{at}
        on the store; whether there was such an operation.
        """
        count = 0

        def decide(operation: Operation) -> Verdict:
            nonlocal count
            count += 1
            if count == at:
                inner()
            return Verdict.SUCCEED

        outer.store.policy = decide
        starting = begin(outer.start())
        outer.store.policy = let_pass
        starting.addErrback(lambda failure: failure.trap(SettingError))
        self.successResultOf(starting)
        return count >= at

    def outcomes(self, outer: Mapping[str, int], inner: Mapping[str, int]) -> set[tuple[bool, int]]:
        """
        Whether the old broker became a member, and what is required, for each
        moment at which one starts within the start of the other.
        """
        found = set()
        at = 0
        more = True
        while more:
            at += 1
            self.shared = SQLiteMetadataStore(":memory:", at_once)

            def start_inner() -> None:
                starting = begin(self.member(2, inner).start())
                starting.addErrback(lambda failure: failure.trap(SettingError))
                self.successResultOf(starting)
                self.check()

            more = self.interleave(self.member(1, outer), at, start_inner)
            self.check()
            record = self.record() or LevelsRecord()
            old = OLD in self.registered().values()
            self.assertEqual(record.in_force, {} if old else NEW, at)
            found.add((old, record.required.get("segment", 0)))
        self.assertGreater(at, 10)
        return found

    def test_joining_within(self) -> None:
        """
        The old one joins at any moment of the new one's start: it is a member,
        and the level neither required nor in force, or it is refused.
        """
        self.assertEqual(self.outcomes(NEW, OLD), {(True, 0), (False, 1)})

    def test_raising_within(self) -> None:
        """
        The new one starts at any moment of the old one's start: likewise.
        """
        self.assertEqual(self.outcomes(OLD, NEW), {(True, 0), (False, 1)})

    def test_two_raise(self) -> None:
        """
        Two that read the level, one within the start of the other.
        """
        at = 0
        more = True
        while more:
            at += 1
            self.shared = SQLiteMetadataStore(":memory:", at_once)
            first, second = self.member(1, NEW), self.member(2, NEW)
            more = self.interleave(first, at, lambda second=second: now(second.start()))  # type: ignore[misc]
            if more:
                self.assertEqual(self.record(), LevelsRecord(NEW, NEW), at)
                in_force = [each.levels.in_force("segment") for each in (first, second)]
                self.assertEqual(in_force, [1, 1], at)

    def until(self, member: Member, kind: str, key: str) -> Operation:
        """
        Let the operations of a broker succeed up to this one, which waits.
        """
        while (operation := member.store.pending[0]).kind != kind or operation.key != key:
            operation.succeed()
        return operation

    def disputed(self) -> tuple[Member, Member, Operation]:
        """
        The first of two new brokers has required the level, and goes on; the
        second one's commit that takes this back waits: it has seen the
        registration of an old broker, which is gone again.
        """
        first, second = self.member(1, NEW), self.member(3, NEW)
        first.store.policy = second.store.policy = None
        begin(first.start())
        require = self.until(first, "commit", metadata_keys.LEVELS)
        old = self.started(2, OLD)
        require.succeed()
        begin(second.start())
        lower = self.until(second, "commit", metadata_keys.LEVELS)
        old.leave()
        return first, second, lower

    def test_a_late_commit(self) -> None:
        """
        A commit that was to bring the level into force comes after it was
        taken back, and after an old broker has joined: it misses.
        """
        first, _, lower = self.disputed()
        bring = self.until(first, "commit", metadata_keys.LEVELS)
        lower.succeed()
        self.started(2, OLD)
        bring.succeed()
        self.assertEqual((self.record() or LevelsRecord()).in_force, {})
        self.check()

    def test_a_late_look(self) -> None:
        """
        The registrations are looked at after the entry: what was seen before
        an old broker has joined brings nothing into force that was required
        after that.
        """
        first, second, lower = self.disputed()
        lower.succeed()
        again = self.until(second, "commit", metadata_keys.LEVELS)
        first.store.pending[0].succeed()
        self.started(2, OLD)
        again.succeed()
        for _ in range(3):
            first.store.pending[0].succeed()
            self.check()

    def test_lowered(self) -> None:
        """
        An old broker that has registered just before the level was required
        lets the new ones take that back, and restarts as often as it likes.
        """
        new = self.member(1, NEW)
        joined: list[Member] = []

        def decide(operation: Operation) -> Verdict:
            if operation.kind == "commit" and operation.key == metadata_keys.LEVELS and not joined:
                joined.append(self.member(2, OLD))
                now(joined[0].start())
            return Verdict.SUCCEED

        new.store.policy = decide
        now(new.start())
        self.assertEqual(self.registered(), {1: NEW, 2: OLD})
        self.assertEqual(self.record(), LevelsRecord({}, {}))
        joined[0].crash()
        self.started(2, OLD)
        self.check()


class ScheduleTests(LevelsCase):
    """
    Brokers of both versions start, lose their leases and stop, and each request
    to the store takes as long as chance says.
    """

    SCHEDULES = 100

    def test_schedules(self) -> None:
        """
        However that goes, every registered broker reads what is in force; and
        in many schedules a level comes to be in force, and in others not.
        """
        raised = sum(self.play(Random(seed)) for seed in range(self.SCHEDULES))
        self.assertIn(raised * 10 // self.SCHEDULES, range(1, 9))

    def play(self, chance: Random) -> bool:
        """
        One schedule, until some time after a level has come into force; whether
        one has.
        """
        self.shared = SQLiteMetadataStore(":memory:", at_once)
        members: dict[int, Member] = {}
        left = 60
        in_force = False
        while left:
            left -= 1
            pending = [each for member in members.values() for each in member.store.pending]
            if pending and chance.random() < 0.8:
                chance.choice(pending).succeed()
            else:
                self.disturb(members, chance)
            self.check()
            if not in_force and (self.record() or LevelsRecord()).in_force:
                in_force, left = True, min(left, 15)
        return in_force

    def disturb(self, members: dict[int, Member], chance: Random) -> None:
        """
        Start a broker, or let one die, or its lease end.
        """
        broker_id = chance.randrange(4)
        if broker_id not in members:
            member = self.member(broker_id, OLD if broker_id < 2 else NEW)
            member.store.policy = None
            members[broker_id] = member
            begin(member.start()).addErrback(lambda failure: failure.trap(SettingError))
        else:
            if chance.random() < 0.5:
                member = members.pop(broker_id)
                member.crash()
                member.store.cut()
            now(self.shared.commit([], [Delete(metadata_keys.broker(broker_id))]))
