"""
The metadata store in one file.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import kafscale
from kafscale.errors import CommitConflict, SettingError, StoreUnavailable
from kafscale.interfaces import Change, Compare, Delete, Entry, IMetadataStore, Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite import store as sqlite_store
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.store import contract
from tests.store.contract import begin

_CHECKOUT = str(Path(kafscale.__file__).parent.parent)


class FileContractTests(contract.MetadataStoreContract):
    """
    A store in a file keeps the contract.
    """

    async def make_store(self) -> IMetadataStore:
        """
        In a new file.
        """
        return SQLiteMetadataStore(self.mktemp(), at_once)


class MemoryContractTests(contract.MetadataStoreContract):
    """
    A store that keeps nothing keeps the contract.
    """

    async def make_store(self) -> IMetadataStore:
        """
        In memory.
        """
        return SQLiteMetadataStore(":memory:", at_once)


class ReopeningTests(SynchronousTestCase):
    """
    What is there when the next process opens the file.
    """

    def setUp(self) -> None:
        """
        Begin with a new file.
        """
        self.path = self.mktemp()

    def open(self) -> SQLiteMetadataStore:
        """
        Open it.
        """
        return SQLiteMetadataStore(self.path, at_once)

    def close(self, store: SQLiteMetadataStore) -> None:
        """
        Close it.
        """
        self.successResultOf(begin(store.close()))

    def test_data_and_revision(self) -> None:
        """
        Entries keep their values and revisions, and the next commit's is
        larger than all before, also when the last ones deleted.
        """
        store = self.open()
        first = self.successResultOf(begin(store.commit([], [Put("a", {"x": [1]}), Put("b", 2)])))
        last = self.successResultOf(begin(store.commit([], [Delete("b")])))
        self.close(store)
        store = self.open()
        self.assertEqual(
            self.successResultOf(begin(store.range(""))), ([Entry("a", {"x": [1]}, first)], last)
        )
        self.assertGreater(self.successResultOf(begin(store.commit([], [Put("c", 1)]))), last)
        self.close(store)

    def test_leases_end_with_the_process(self) -> None:
        """
        Keys under leases are gone, at a revision of their own.
        """
        store = self.open()
        lease = self.successResultOf(begin(store.lease(10)))
        last = self.successResultOf(
            begin(store.commit([], [Put("a", 1), Put("b", 2, lease=lease)]))
        )
        self.close(store)
        store = self.open()
        entries, revision = self.successResultOf(begin(store.range("")))
        self.assertEqual(entries, [Entry("a", 1, last)])
        self.assertGreater(revision, last)
        self.close(store)

    def test_watch_from_before_the_process(self) -> None:
        """
        A watch from a revision of an earlier process is told of what was put
        since and is still there, in the order of revisions.
        """
        store = self.open()
        commit = store.commit
        self.successResultOf(begin(commit([], [Put("w/z", 1)])))
        since = self.successResultOf(begin(commit([], [Put("w/b", 1), Put("w/gone", 1)])))
        two = self.successResultOf(begin(commit([], [Put("w/z", 2), Delete("w/gone")])))
        three = self.successResultOf(begin(commit([], [Put("w/a", 3), Put("x", 3)])))
        self.close(store)
        store = self.open()
        told: list[Sequence[Change]] = []
        self.successResultOf(begin(store.watch("w/", since, told.append)))
        four = self.successResultOf(begin(store.commit([], [Delete("w/a")])))
        self.assertEqual(
            told,
            [
                [Change("w/z", Entry("w/z", 2, two), two)],
                [Change("w/a", Entry("w/a", 3, three), three)],
                [Change("w/a", None, four)],
            ],
        )
        self.close(store)

    def test_history_is_bounded(self) -> None:
        """
        The history forgets; from before it, what is there is told.
        """
        self.patch(sqlite_store, "HISTORY", 20)
        store = self.open()
        for number in range(100):
            self.successResultOf(begin(store.commit([], [Put(f"k{number % 7}", number)])))
        self.assertLessEqual(len(store._history), 20)
        told: list[Sequence[Change]] = []
        self.successResultOf(begin(store.watch("", 0, told.append)))
        revisions = [changes[0].revision for changes in told]
        self.assertEqual(revisions, sorted(set(revisions)))
        last = {change.key: change.entry for changes in told for change in changes}
        entries, _ = self.successResultOf(begin(store.range("")))
        self.assertEqual(last, {entry.key: entry for entry in entries})
        self.close(store)

    def test_second_process(self) -> None:
        """
        A file that is open cannot be opened again.
        """
        store = self.open()
        error = self.assertRaises(SettingError, self.open)
        self.assertIn(self.path, str(error))
        self.close(store)
        self.close(self.open())

    def test_unusable(self) -> None:
        """
        A file that is something else, is damaged, comes from a later version,
        or cannot be made, is told in one line.
        """
        Path(self.path).write_bytes(b"this is not a database, and it is long enough" * 100)
        later, damaged, foreign = self.mktemp(), self.mktemp(), self.mktemp()
        with sqlite3.connect(later) as connection:
            connection.execute("PRAGMA user_version = 99")
        with sqlite3.connect(foreign) as connection:
            connection.execute("PRAGMA user_version = 1")
            connection.execute("CREATE TABLE cats (name)")
        self.close(self._filled(damaged))
        data = bytearray(Path(damaged).read_bytes())
        data[4096:] = b"\xff" * (len(data) - 4096)
        Path(damaged).write_bytes(data)
        for path in (self.path, later, damaged, foreign, f"{self.path}/below", "/proc/none/x"):
            error = self.assertRaises(SettingError, SQLiteMetadataStore, path, at_once)
            self.assertIn(path, str(error))
            self.assertNotIn("\n", str(error))

    def _filled(self, path: str) -> SQLiteMetadataStore:
        store = SQLiteMetadataStore(path, at_once)
        for number in range(50):
            self.successResultOf(begin(store.commit([], [Put(f"key{number}", "x" * 500)])))
        return store

    def test_killed(self) -> None:
        """
        A process that ends without closing has lost no commit that it was
        told of, and no part of one.
        """
        path = os.path.abspath(self.path)
        code = f"from tests.store.sqlite.test_store import *\ncommit_until_killed({path!r})"
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=_CHECKOUT, capture_output=True, check=False
        )
        self.assertEqual((ended.stderr, ended.returncode), (b"", 9))
        told = [int(line) for line in ended.stdout.split()]
        self.assertEqual(len(told), 200)
        store = self.open()
        entries, revision = self.successResultOf(begin(store.range("")))
        numbers = {entry.key: entry.value for entry in entries}
        self.assertEqual(numbers["a"], numbers["b"])
        self.assertIn(numbers["a"], (199, 200))
        self.assertGreaterEqual(revision, told[-1])
        self.close(store)


def commit_until_killed(path: str) -> None:
    """
    Commit, tell, and end in the middle of a commit.
    """
    store = SQLiteMetadataStore(path, at_once)
    for number in range(200):
        began = begin(store.commit([], [Put("a", number), Put("b", number)]))
        began.addCallback(lambda revision: print(revision, flush=True))
    connection = store._table._connection
    connection.set_trace_callback(lambda text: os._exit(9) if text == "COMMIT" else None)
    begin(store.commit([], [Put("a", 200), Put("b", 200)]))


class WaitingStoreTests(SynchronousTestCase):
    """
    What happens around a write that takes its time.
    """

    def setUp(self) -> None:
        """
        Begin with a store whose writes are done when the test says so.
        """
        self.work: list[tuple[Deferred[Any], Callable[[], Any]]] = []
        self.writes = 0
        self.store = SQLiteMetadataStore(":memory:", self.later)

    def later(self, function: Any, /, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """
        Do it in L{write}.
        """
        answer: Deferred[Any] = Deferred()
        self.work.append((answer, lambda: function(*args, **kwargs)))
        return answer

    def write(self) -> None:
        """
        Do the next piece of work.
        """
        self.writes += 1
        (answer, work), *self.work = self.work
        answer.callback(work())

    def lose(self, done: bool = False) -> None:
        """
        Fail the next piece of work, perhaps when it is done.
        """
        (answer, work), *self.work = self.work
        if done:
            work()
        answer.errback(sqlite3.OperationalError("disk I/O error"))

    def test_group_commit(self) -> None:
        """
        Commits that wait while one is written are written together, each with
        an outcome of its own, later ones seeing the earlier ones' work.
        """
        first = begin(self.store.commit([], [Put("a", 0)]))
        second = begin(self.store.commit([Compare("b", 0)], [Put("b", 1)]))
        loser = begin(self.store.commit([Compare("b", 0)], [Put("b", 2), Put("c", 2)]))
        third = begin(self.store.commit([Compare("c", 0)], [Put("c", 3)]))
        self.assertEqual(len(self.work), 1)
        self.write()
        self.assertEqual(self.successResultOf(first), 1)
        self.assertNoResult(second)
        self.assertNoResult(loser)
        self.assertIsNone(self.successResultOf(begin(self.store.get("b"))))
        self.write()
        self.assertEqual(self.successResultOf(second), 2)
        self.failureResultOf(loser, CommitConflict)
        self.assertEqual(self.successResultOf(third), 3)
        self.assertEqual(self.writes, 2)
        entries, revision = self.successResultOf(begin(self.store.range("")))
        self.assertEqual([(e.key, e.value, e.revision) for e in entries],
                         [("a", 0, 1), ("b", 1, 2), ("c", 3, 3)])  # fmt: skip
        self.assertEqual(revision, 3)

    def test_watch_before_answer(self) -> None:
        """
        Whoever committed finds that its own watch has seen the commit; nobody
        is told before it is durable.
        """
        events: list[object] = []
        watching = begin(self.store.watch("", 0, lambda changes: events.append(changes[0].key)))
        self.successResultOf(watching)
        begin(self.store.commit([], [Put("a", 1)])).addCallback(events.append)
        self.assertEqual(events, [])
        self.write()
        self.assertEqual(events, ["a", 1])

    def test_order_when_watches_commit(self) -> None:
        """
        A watch that commits when it is told does not make others see the
        commits in another order.
        """
        store = SQLiteMetadataStore(":memory:", at_once)
        seen: list[int] = []

        def commits(changes: Sequence[Change]) -> None:
            if changes[0].revision < 5:
                begin(store.commit([], [Put("a", changes[0].revision)]))

        self.successResultOf(begin(store.watch("", 0, commits)))
        self.successResultOf(begin(store.watch("", 0, lambda c: seen.append(c[0].revision))))
        begin(store.commit([], [Put("a", 0)]))
        self.assertEqual(seen, [1, 2, 3, 4, 5])

    def test_watch_made_by_a_watch(self) -> None:
        """
        A watch that is made while changes are told gets each of them once.
        """
        seen: list[int] = []

        def watches(changes: Sequence[Change]) -> None:
            if changes[0].revision == 2:
                begin(self.store.watch("", 0, lambda c: seen.append(c[0].revision)))

        self.successResultOf(begin(self.store.watch("", 0, watches)))
        for number in range(4):
            begin(self.store.commit([], [Put("a", number)]))
        self.write()
        self.write()
        self.assertEqual(seen, [1, 2, 3, 4])

    def test_failing_watch(self) -> None:
        """
        A watch that raises is logged; the others, and the commit, go on.
        """

        def fails(changes: Sequence[Change]) -> None:
            raise ZeroDivisionError

        seen: list[Sequence[Change]] = []
        self.successResultOf(begin(self.store.watch("", 0, fails)))
        self.successResultOf(begin(self.store.watch("", 0, seen.append)))
        answer = begin(self.store.commit([], [Put("a", 1)]))
        self.write()
        self.successResultOf(answer)
        self.assertEqual(len(seen), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lost_write(self) -> None:
        """
        A write that fails has an unknown outcome: nothing is shown of it, and
        reads wait until a write has succeeded, which settles it.
        """
        told: list[Sequence[Change]] = []
        self.successResultOf(begin(self.store.watch("", 0, told.append)))
        answer = begin(self.store.commit([], [Put("a", 1)]))
        self.lose()
        self.failureResultOf(answer, StoreUnavailable)
        reading = begin(self.store.get("a"))
        self.assertNoResult(reading)
        self.lose()
        self.failureResultOf(reading, StoreUnavailable)
        reading = begin(self.store.range(""))
        self.write()
        entries, _ = self.successResultOf(reading)
        self.assertEqual((entries, told), ([], []))
        answer = begin(self.store.commit([Compare("a", 0)], [Put("a", 2)]))
        self.write()
        self.assertGreater(self.successResultOf(answer), 1)
        self.assertEqual(len(told), 1)

    def test_revoke_is_in_turn(self) -> None:
        """
        A revoked lease takes the keys of commits that were waiting before it,
        and refuses those after it.
        """
        lease = self.successResultOf(begin(self.store.lease(1)))
        begin(self.store.commit([], [Put("x", 1)]))
        before = begin(self.store.commit([], [Put("a", 1, lease=lease)]))
        revoked = begin(self.store.revoke(lease))
        after = begin(self.store.commit([], [Put("b", 1, lease=lease)]))
        other = self.successResultOf(begin(self.store.lease(1)))
        self.write()
        self.write()
        self.successResultOf(before)
        self.successResultOf(revoked)
        self.failureResultOf(after, CommitConflict)
        entries, _ = self.successResultOf(begin(self.store.range("")))
        self.assertEqual([entry.key for entry in entries], ["x"])
        kept = begin(self.store.commit([], [Put("c", 1, lease=other)]))
        self.write()
        self.successResultOf(kept)

    def test_closing(self) -> None:
        """
        Closing writes what waits, tells watches nothing more, and refuses the
        rest.
        """
        told: list[Sequence[Change]] = []
        self.successResultOf(begin(self.store.watch("", 0, told.append)))
        first = begin(self.store.commit([], [Put("a", 1)]))
        second = begin(self.store.commit([], [Put("b", 1)]))
        closed = begin(self.store.close())
        self.failureResultOf(begin(self.store.commit([], [Put("c", 1)])), StoreUnavailable)
        self.failureResultOf(begin(self.store.get("a")), StoreUnavailable)
        self.write()
        self.write()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertNoResult(closed)
        self.write()
        self.successResultOf(closed)
        self.assertEqual(told, [])
