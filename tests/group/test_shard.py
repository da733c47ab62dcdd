"""
How a shard is written: together, in order, and with a known outcome (rule 22).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import NotCoordinator
from kafscale.format.errors import CorruptRecord
from kafscale.group.shard import MAX_OPERATIONS, Shard
from kafscale.interfaces import Delete, Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.hostile import HostileMetadataStore, Operation, Verdict, let_pass


class ShardTests(SynchronousTestCase):
    """
    One shard, on a store that delays and fails operations.
    """

    def setUp(self) -> None:
        """
        Incarnation 100 owns the shard.
        """
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.store = HostileMetadataStore(self.inner, let_pass)
        self.losses: list[Shard] = []
        self.shard = self.taken(self.store, 100)

    def taken(self, store: HostileMetadataStore, incarnation: int) -> Shard:
        """
        The shard, owned by this incarnation.
        """
        shard = Shard(store, 5, incarnation, self.losses.append)
        self.successResultOf(Deferred.fromCoroutine(shard.take()))
        return shard

    def value(self, key: str) -> Any:
        """
        The value of a key in the store; None if there is none.
        """
        entry = self.successResultOf(Deferred.fromCoroutine(self.inner.get(key)))
        return None if entry is None else entry.value

    def hold(self) -> None:
        """
        Let operations of the store wait for the test from now on.
        """
        self.store.policy = None

    # -- together --------------------------------------------------------------

    def test_written(self) -> None:
        """
        Each call is one commit, which increments the sequence.
        """
        self.successResultOf(self.shard.write([Put("a", 1), Put("b", 2)]))
        self.successResultOf(self.shard.write([Delete("a"), Put("b", 3)]))
        self.assertEqual((self.value("a"), self.value("b")), (None, 3))
        self.assertEqual(
            self.value("group-shards/05"), {"owner": 100, "since": 1, "sequence": 3}
        )

    def test_committed(self) -> None:
        """
        Each commit is reported when it is durable, with the sequence; one that is refused
        is not.
        """
        reported: list[Any] = []
        shard = Shard(self.store, 6, 100, self.losses.append, lambda *one: reported.append(one))
        self.successResultOf(Deferred.fromCoroutine(shard.take()))
        self.hold()
        self.addCleanup(shard.write([Put("a", 1)]).addErrback, lambda _: None)
        self.assertEqual(reported, [])
        self.store.pending[0].succeed()
        self.assertEqual(reported, [(6, 2, [Put("a", 1)])])
        other = Shard(self.inner, 6, 101, self.losses.append)
        self.successResultOf(Deferred.fromCoroutine(other.take()))
        self.store.policy = let_pass
        self.failureResultOf(shard.write([Put("b", 1)]), NotCoordinator)
        self.assertEqual(len(reported), 1)
        self.assertEqual((shard.sequence, other.sequence), (3, 3))

    def test_together(self) -> None:
        """
        Operations that come during a commit are written by the next one
        together. Of several values for one key the last is written.
        """
        self.hold()
        first = self.shard.write([Put("a", 0)])
        rest = [self.shard.write([Put("a", n), Put(f"k{n}", n)]) for n in range(1, 4)]
        (write,) = self.store.pending
        write.succeed()
        self.successResultOf(first)
        (write,) = self.store.pending
        self.assertEqual(
            list(write.arguments[1][1:]), [Put("a", 3), Put("k1", 1), Put("k2", 2), Put("k3", 3)]
        )
        for each in rest:
            self.assertNoResult(each)
        write.succeed()
        for each in rest:
            self.successResultOf(each)
        self.assertEqual(self.store.pending, [])

    def test_more_than_fits(self) -> None:
        """
        A call with more operations than one commit takes is answered with the
        last of them; a call that fits into the same commit at the same time.
        """
        self.hold()
        large = self.shard.write([Put(f"k{n:03d}", n) for n in range(MAX_OPERATIONS + 30)])
        small = self.shard.write([Put("small", 1)])
        self.assertEqual(len(self.store.pending[0].arguments[1]), 100)
        self.store.pending[0].succeed()
        self.assertNoResult(large)
        self.assertEqual(len(self.store.pending[0].arguments[1]), 32)
        self.store.pending[0].succeed()
        self.successResultOf(large)
        self.successResultOf(small)
        last = MAX_OPERATIONS + 29
        self.assertEqual((self.value("k000"), self.value(f"k{last:03d}")), (0, last))

    def test_nothing(self) -> None:
        """
        Without operations there is no commit.
        """
        self.hold()
        self.successResultOf(self.shard.write([]))
        self.assertEqual(self.store.pending, [])

    def test_idle(self) -> None:
        """
        The shard is idle when nothing waits to be written.
        """
        self.successResultOf(self.shard.idle())
        self.hold()
        self.shard.write([Put("a", 1)])
        self.shard.write([Put("a", 2)])
        idle = self.shard.idle()
        self.store.pending[0].succeed()
        self.assertNoResult(idle)
        self.store.pending[0].succeed()
        self.successResultOf(idle)

    # -- with certainty --------------------------------------------------------

    def test_outcome_unknown(self) -> None:
        """
        After a commit of unknown outcome the sequence is read before anything
        else. If the commit was not done, it is repeated once.
        """
        for verdict in (Verdict.FAIL, Verdict.FAIL_BUT_APPLY):
            self.hold()
            asked = self.shard.write([Put("a", verdict.name)])
            waiting = self.shard.write([Put("b", verdict.name)])
            self.store.pending[0].decide(verdict)
            self.assertEqual([each.kind for each in self.store.pending], ["get"])
            self.assertNoResult(asked)
            self.store.settle()
            self.successResultOf(asked)
            self.successResultOf(waiting)
            self.assertEqual((self.value("a"), self.value("b")), (verdict.name, verdict.name))
        # Two writes each time, after the one that took the shard: none twice.
        self.assertEqual(self.value("group-shards/05")["sequence"], 5)

    def test_late(self) -> None:
        """
        An attempt that arrives late does not undo later commits.
        """
        self.hold()
        asked = self.shard.write([Put("a", "early")])
        late = self.store.pending[0].fail_and_apply_later()
        self.store.pending[0].succeed()  # not done, as far as can be seen
        self.store.settle()
        self.successResultOf(asked)
        self.store.policy = let_pass
        self.successResultOf(self.shard.write([Put("a", "later")]))
        late.apply()
        self.assertEqual(self.value("a"), "later")

    def test_late_but_first(self) -> None:
        """
        An attempt arrives late, but before the second one, which fails; the
        sequence shows the reason.
        """
        self.hold()
        asked = self.shard.write([Put("a", 1)])
        late = self.store.pending[0].fail_and_apply_later()
        self.store.pending[0].succeed()
        late.apply()
        self.store.settle()
        self.successResultOf(asked)
        self.assertEqual(self.value("group-shards/05")["sequence"], 2)

    def test_never_written(self) -> None:
        """
        A write that fails for good is refused, and the next one is not mistaken
        for it.
        """
        self.failureResultOf(self.shard.write([Put("a", object())]), Exception)
        self.flushLoggedErrors()
        self.hold()
        asked = self.shard.write([Put("a", 1)])
        self.store.pending[0].fail_but_apply()
        self.store.settle()
        self.successResultOf(asked)
        self.assertEqual(self.value("a"), 1)
        self.assertEqual(self.losses, [])

    # -- owners ----------------------------------------------------------------

    def test_replaced(self) -> None:
        """
        When another broker has taken the shard, writes under way and waiting
        are refused, and nothing of them is stored.
        """
        self.hold()
        under_way = self.shard.write([Put("a", 1)])
        waiting = self.shard.write([Put("b", 1)])
        self.taken(HostileMetadataStore(self.inner, let_pass), 200)
        self.store.settle()
        self.failureResultOf(under_way, NotCoordinator)
        self.failureResultOf(waiting, NotCoordinator)
        self.failureResultOf(self.shard.write([Put("c", 1)]), NotCoordinator)
        self.assertEqual(self.losses, [self.shard])
        self.assertTrue(self.shard.is_lost)
        self.assertEqual([self.value(key) for key in "abc"], [None, None, None])

    def test_taken_again(self) -> None:
        """
        The broker has lost the shard and taken it again while the outcome of a
        commit was unknown. Taking it was a commit of the same owner with the
        same sequence, and is not mistaken for that one.
        """
        self.hold()
        asked = self.shard.write([Put("a", 1)])
        again = self.taken(HostileMetadataStore(self.inner, let_pass), 100)
        self.assertEqual(self.value("group-shards/05")["sequence"], 2)
        self.store.pending[0].fail()
        self.store.settle()
        self.failureResultOf(asked, NotCoordinator)
        self.assertIsNone(self.value("a"))
        self.successResultOf(again.write([Put("a", 2)]))
        self.assertEqual(self.value("a"), 2)

    def test_late_of_a_predecessor(self) -> None:
        """
        A commit of a former owner fails, however late it arrives.
        """
        self.hold()
        self.shard.write([Put("a", "old")]).addErrback(lambda _: None)
        late = self.store.pending[0].fail_and_apply_later()
        successor = self.taken(HostileMetadataStore(self.inner, let_pass), 200)
        self.successResultOf(successor.write([Put("a", "new")]))
        late.apply()
        self.assertEqual(self.value("a"), "new")

    def test_taken_in_spite_of_failures(self) -> None:
        """
        Taking a shard is repeated until the outcome is known.
        """
        verdicts = [Verdict.FAIL, Verdict.FAIL_BUT_APPLY, Verdict.SUCCEED]

        def fail_some(operation: Operation) -> Verdict:
            return verdicts.pop(0) if operation.kind == "commit" else Verdict.SUCCEED

        successor = self.taken(HostileMetadataStore(self.inner, fail_some), 200)
        self.assertEqual(verdicts, [])
        self.assertEqual(self.value("group-shards/05")["owner"], 200)
        self.failureResultOf(self.shard.write([Put("a", 1)]), NotCoordinator)
        self.assertFalse(successor.is_lost)

    # -- looking ---------------------------------------------------------------

    def test_look(self) -> None:
        """
        A look is a read of the owner. Those that look during a read wait for the next
        one, together: theirs began before they asked.
        """
        self.hold()
        first = self.shard.look()
        others = [self.shard.look() for _ in range(2)]
        (read,) = self.store.pending
        self.assertEqual((read.kind, read.key), ("get", "group-shards/05"))
        read.succeed()
        self.successResultOf(first)
        for each in others:
            self.assertNoResult(each)
        (read,) = self.store.pending
        read.succeed()
        for each in others:
            self.successResultOf(each)
        self.assertEqual(self.store.pending, [])

    def test_look_during_a_write(self) -> None:
        """
        A commit of the owner's own is no reason to refuse, done or not.
        """
        self.hold()
        asked = self.shard.write([Put("a", 1)])
        for apply in (False, True):
            if apply:
                self.store.pending[0].apply()
            looker = self.shard.look()
            self.store.pending[-1].succeed()
            self.successResultOf(looker)
        self.store.settle()
        self.successResultOf(asked)

    def test_look_finds_a_successor(self) -> None:
        """
        Who looks learns that the shard is lost, once, and so do all that write or look
        then.
        """
        for incarnation in (200, 100):
            shard = self.taken(self.store, 100)
            self.losses.clear()
            self.taken(HostileMetadataStore(self.inner, let_pass), incarnation)
            self.failureResultOf(shard.look(), NotCoordinator)
            self.failureResultOf(shard.look(), NotCoordinator)
            self.failureResultOf(shard.write([Put("a", 1)]), NotCoordinator)
            self.assertEqual(self.losses, [shard])

    def test_look_and_write_find_a_successor(self) -> None:
        """
        The loss is reported once, also if a commit is under way.
        """
        self.hold()
        asked = self.shard.write([Put("a", 1)])
        waiting = self.shard.write([Put("b", 1)])
        looker = self.shard.look()
        self.taken(HostileMetadataStore(self.inner, let_pass), 200)
        self.store.pending[1].succeed()
        self.failureResultOf(looker, NotCoordinator)
        self.store.settle()
        self.failureResultOf(asked, NotCoordinator)
        self.failureResultOf(waiting, NotCoordinator)
        self.assertEqual(self.losses, [self.shard])

    def test_look_at_what_is_damaged(self) -> None:
        """
        An entry that cannot be read is an error of those that look, and of nobody else.
        """
        entry = {"owner": "x", "since": 1, "sequence": 1}
        self.successResultOf(
            Deferred.fromCoroutine(self.inner.commit([], [Put("group-shards/05", entry)]))
        )
        self.failureResultOf(self.shard.look(), CorruptRecord)
        self.failureResultOf(self.shard.look(), CorruptRecord)
        self.assertFalse(self.shard.is_lost)

    def test_store_closed(self) -> None:
        """
        A store that was closed is treated as a shard that is lost.
        """
        self.store.policy = lambda operation: Verdict.FAIL
        self.failureResultOf(self.shard.write([Put("a", 1)]), NotCoordinator)
