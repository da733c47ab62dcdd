"""
Tests for L{tests.harness.hostile}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import CommitConflict, NoSuchObject, ObjectExists, StoreUnavailable
from kafscale.interfaces import Change, Compare, IMetadataStore, IObjectStore, Put
from kafscale.store.blocking import at_once
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, HostileObjectStore, Verdict, let_pass
from tests.store import contract


class PassingObjectsTests(contract.ObjectStoreContract):
    """
    A hostile store whose policy lets all operations pass keeps the contract.
    """

    async def make_store(self) -> IObjectStore:
        """
        Make a view of a store in memory.
        """
        return HostileObjectStore(MemoryObjectStore(), let_pass)


class PassingMetadataTests(contract.MetadataStoreContract):
    """
    A hostile store whose policy lets all operations pass keeps the contract.
    """

    async def make_store(self) -> IMetadataStore:
        """
        Make a view of a store in memory.
        """
        return HostileMetadataStore(SQLiteMetadataStore(":memory:", at_once), let_pass)


class HostileObjectStoreTests(SynchronousTestCase):
    """
    Every outcome of a create.
    """

    def setUp(self) -> None:
        """
        Begin a create, which waits for the verdict.
        """
        self.inner = MemoryObjectStore()
        self.store = HostileObjectStore(self.inner)
        self.data = bytearray(b"data")
        self.answer = begin(self.store.create("a", [memoryview(self.data)]))

    def stored(self) -> bytes | None:
        """
        The object in the store behind, or None.
        """
        found: bytes | None = self.successResultOf(
            begin(self.inner.get("a")).addErrback(lambda error: error.trap(NoSuchObject) and None)
        )
        return found

    def test_waits(self) -> None:
        """
        An operation does nothing before its verdict.
        """
        (operation,) = self.store.pending
        self.assertEqual((operation.kind, operation.key), ("create", "a"))
        self.assertNoResult(self.answer)
        self.assertIsNone(self.stored())
        operation.succeed()
        self.successResultOf(self.answer)
        self.assertEqual(self.stored(), b"data")
        self.assertEqual(self.store.pending, [])

    def test_answer_of_the_store(self) -> None:
        """
        An error of the store behind is the answer.
        """
        now(self.inner.create("a", [b"theirs"]))
        self.store.settle()
        self.failureResultOf(self.answer, ObjectExists)

    def test_fail(self) -> None:
        """
        The create fails, and was not done.
        """
        self.store.pending[0].fail()
        self.failureResultOf(self.answer, StoreUnavailable)
        self.assertIsNone(self.stored())

    def test_fail_but_apply(self) -> None:
        """
        The create fails, but was done.
        """
        self.store.pending[0].fail_but_apply()
        self.failureResultOf(self.answer, StoreUnavailable)
        self.assertEqual(self.stored(), b"data")

    def test_late(self) -> None:
        """
        The create fails, and is done later, with the bytes of the call.
        """
        late = self.store.pending[0].fail_and_apply_later()
        self.failureResultOf(self.answer, StoreUnavailable)
        self.assertIsNone(self.stored())
        self.assertEqual(self.store.late, [late])
        self.data[:] = b"xxxx"
        late.apply()
        self.assertEqual(self.stored(), b"data")
        self.assertEqual(self.store.late, [])

    def test_slow_answer(self) -> None:
        """
        The create is done before it is answered.
        """
        self.store.pending[0].apply()
        self.assertEqual(self.stored(), b"data")
        self.assertNoResult(self.answer)
        self.store.pending[0].succeed()
        self.successResultOf(self.answer)

    def test_changed_pieces(self) -> None:
        """
        Pieces that change during a create are detected.
        """
        self.data[0] = 0
        self.store.settle()
        self.failureResultOf(self.answer, AssertionError)

    def test_cut(self) -> None:
        """
        A view that is cut gives no more answers, though its operations can
        still be done. Other views of the same store go on.
        """
        self.store.cut()
        self.store.policy = let_pass
        other = begin(self.store.get("a"))
        for operation in list(self.store.pending):
            operation.succeed()
        self.assertNoResult(self.answer)
        self.assertNoResult(other)
        self.assertEqual(self.stored(), b"data")
        view = HostileObjectStore(self.inner, let_pass)
        self.assertEqual(now(view.get("a")), b"data")

    def test_policy(self) -> None:
        """
        A policy gives the verdict at once, or leaves it to the test.
        """
        verdicts = {"fail": Verdict.FAIL, "lost": Verdict.FAIL_BUT_APPLY, "pass": Verdict.SUCCEED,
                    "late": Verdict.FAIL_AND_APPLY_LATER}  # fmt: skip
        self.store.policy = lambda operation: verdicts.get(operation.key)
        for key in ("fail", "lost", "late"):
            self.failureResultOf(begin(self.store.create(key, [b"x"])), StoreUnavailable)
        now(self.store.create("pass", [b"x"]))
        self.assertNoResult(begin(self.store.create("left", [b"x"])))
        self.assertEqual([operation.key for operation in self.store.pending], ["a", "left"])
        self.assertEqual([operation.key for operation in self.store.late], ["late"])
        found = now(self.inner.list(""))
        self.assertEqual([info.key for info in found], ["lost", "pass"])


class HostileMetadataStoreTests(SynchronousTestCase):
    """
    Commits of unknown outcome, and changes that are reported late.
    """

    def setUp(self) -> None:
        """
        Make a view of a store in memory.
        """
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.store = HostileMetadataStore(self.inner, let_pass)
        self.reported: list[Sequence[Change]] = []

    def commit(self) -> Deferred[Any]:
        """
        Begin a commit with the condition that the key does not exist.
        """
        return begin(self.store.commit([Compare("a", 0)], [Put("a", 1)]))

    def test_unknown_outcome(self) -> None:
        """
        A commit whose answer was lost was done. A late one is done, unless its
        compares do not hold by then.
        """
        self.store.policy = None
        lost, late = self.commit(), self.commit()
        first, second = list(self.store.pending)
        second.fail_and_apply_later()
        first.fail_but_apply()
        self.failureResultOf(lost, StoreUnavailable)
        self.failureResultOf(late, StoreUnavailable)
        second.apply()
        self.assertIsInstance(second.outcome.value, CommitConflict)

    def test_held_changes(self) -> None:
        """
        Changes that are held back are reported late, but in order.
        """
        now(self.store.watch("", 0, self.reported.append))
        self.store.holds_changes = True
        self.successResultOf(self.commit())
        self.assertEqual(self.reported, [])
        self.store.holds_changes = False
        now(self.store.commit([], [Put("b", 1)]))
        self.assertEqual(self.reported, [])
        self.store.tell()
        self.assertEqual([changes[0].key for changes in self.reported], ["a", "b"])

    def test_failed_watch(self) -> None:
        """
        A watch whose start failed reports nothing.
        """
        self.store.policy = lambda operation: Verdict.FAIL_BUT_APPLY
        watching = begin(self.store.watch("", 0, self.reported.append))
        self.failureResultOf(watching, StoreUnavailable)
        now(self.inner.commit([], [Put("a", 1)]))
        self.assertEqual(self.reported, [])

    def test_cut(self) -> None:
        """
        A watch of a view that is cut reports nothing.
        """
        now(self.store.watch("", 0, self.reported.append))
        self.store.cut()
        self.assertNoResult(self.commit())
        now(self.inner.commit([], [Put("a", 1)]))
        self.assertEqual(self.reported, [])
