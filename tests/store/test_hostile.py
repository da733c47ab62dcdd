"""
The hostile stores do as they are told.
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
from tests.hostile import HostileMetadataStore, HostileObjectStore, Verdict, let_pass
from tests.store import contract
from tests.store.contract import begin


class PassingObjectsTests(contract.ObjectStoreContract):
    """
    When all passes it is a store like others.
    """

    async def make_store(self) -> IObjectStore:
        """
        Around a memory store.
        """
        return HostileObjectStore(MemoryObjectStore(), let_pass)


class PassingMetadataTests(contract.MetadataStoreContract):
    """
    When all passes it is a store like others.
    """

    async def make_store(self) -> IMetadataStore:
        """
        Around an embedded store.
        """
        return HostileMetadataStore(SQLiteMetadataStore(":memory:", at_once), let_pass)


class HostileObjectStoreTests(SynchronousTestCase):
    """
    Creates with every fate.
    """

    def setUp(self) -> None:
        """
        Begin with a create that waits.
        """
        self.inner = MemoryObjectStore()
        self.store = HostileObjectStore(self.inner)
        self.data = bytearray(b"data")
        self.answer = begin(self.store.create("a", [memoryview(self.data)]))

    def stored(self) -> bytes | None:
        """
        What is stored.
        """
        found: bytes | None = self.successResultOf(
            begin(self.inner.get("a")).addErrback(lambda error: error.trap(NoSuchObject) and None)
        )
        return found

    def test_waits(self) -> None:
        """
        Nothing happens before the test decides.
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
        What the store behind raises is the answer.
        """
        self.successResultOf(begin(self.inner.create("a", [b"theirs"])))
        self.store.settle()
        self.failureResultOf(self.answer, ObjectExists)

    def test_fail(self) -> None:
        """
        It fails and was not done.
        """
        self.store.pending[0].fail()
        self.failureResultOf(self.answer, StoreUnavailable)
        self.assertIsNone(self.stored())

    def test_fail_but_apply(self) -> None:
        """
        It fails and was done.
        """
        self.store.pending[0].fail_but_apply()
        self.failureResultOf(self.answer, StoreUnavailable)
        self.assertEqual(self.stored(), b"data")

    def test_late(self) -> None:
        """
        It fails, and is done later, with the bytes of the call.
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
        It is done long before it is answered.
        """
        self.store.pending[0].apply()
        self.assertEqual(self.stored(), b"data")
        self.assertNoResult(self.answer)
        self.store.pending[0].succeed()
        self.successResultOf(self.answer)

    def test_changed_pieces(self) -> None:
        """
        Pieces that change while they are stored are a mistake that is found.
        """
        self.data[0] = 0
        self.store.settle()
        self.failureResultOf(self.answer, AssertionError)

    def test_cut(self) -> None:
        """
        Nobody is answered any more, though what waits can be done; others
        that share the store go on.
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
        self.assertEqual(self.successResultOf(begin(view.get("a"))), b"data")

    def test_policy(self) -> None:
        """
        A policy decides at once, or leaves it to the test.
        """
        verdicts = {"fail": Verdict.FAIL, "lost": Verdict.FAIL_BUT_APPLY, "pass": Verdict.SUCCEED,
                    "late": Verdict.FAIL_AND_APPLY_LATER}  # fmt: skip
        self.store.policy = lambda operation: verdicts.get(operation.key)
        for key in ("fail", "lost", "late"):
            self.failureResultOf(begin(self.store.create(key, [b"x"])), StoreUnavailable)
        self.successResultOf(begin(self.store.create("pass", [b"x"])))
        self.assertNoResult(begin(self.store.create("left", [b"x"])))
        self.assertEqual([operation.key for operation in self.store.pending], ["a", "left"])
        self.assertEqual([operation.key for operation in self.store.late], ["late"])
        found = self.successResultOf(begin(self.inner.list("")))
        self.assertEqual([info.key for info in found], ["lost", "pass"])


class HostileMetadataStoreTests(SynchronousTestCase):
    """
    Commits of unknown outcome, and late news.
    """

    def setUp(self) -> None:
        """
        Begin with a view of a store.
        """
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.store = HostileMetadataStore(self.inner, let_pass)
        self.told: list[Sequence[Change]] = []

    def commit(self) -> Deferred[Any]:
        """
        Begin a commit that demands that the key is absent.
        """
        return begin(self.store.commit([Compare("a", 0)], [Put("a", 1)]))

    def test_unknown_outcome(self) -> None:
        """
        A commit whose answer was lost is done; a late one is done unless its
        compares fail by then.
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
        Changes are told late, but in order.
        """
        self.successResultOf(begin(self.store.watch("", 0, self.told.append)))
        self.store.holds_changes = True
        self.successResultOf(self.commit())
        self.assertEqual(self.told, [])
        self.store.holds_changes = False
        self.successResultOf(begin(self.store.commit([], [Put("b", 1)])))
        self.assertEqual(self.told, [])
        self.store.tell()
        self.assertEqual([changes[0].key for changes in self.told], ["a", "b"])

    def test_failed_watch(self) -> None:
        """
        Who was not given a watch is told nothing.
        """
        self.store.policy = lambda operation: Verdict.FAIL_BUT_APPLY
        watching = begin(self.store.watch("", 0, self.told.append))
        self.failureResultOf(watching, StoreUnavailable)
        self.successResultOf(begin(self.inner.commit([], [Put("a", 1)])))
        self.assertEqual(self.told, [])

    def test_cut(self) -> None:
        """
        Who is cut off is told nothing.
        """
        self.successResultOf(begin(self.store.watch("", 0, self.told.append)))
        self.store.cut()
        self.assertNoResult(self.commit())
        self.successResultOf(begin(self.inner.commit([], [Put("a", 1)])))
        self.assertEqual(self.told, [])
