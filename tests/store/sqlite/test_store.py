"""
Tests for L{kafscale.store.sqlite.store}.
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
from tests.harness.coroutines import begin, now
from tests.store import contract

_CHECKOUT = str(Path(kafscale.__file__).parent.parent)


class FileContractTests(contract.MetadataStoreContract):
    """
    A store in a file keeps the contract.
    """

    async def make_store(self) -> IMetadataStore:
        """
        Make a store in a new file.
        """
        return SQLiteMetadataStore(self.mktemp(), at_once)


class MemoryContractTests(contract.MetadataStoreContract):
    """
    A store in memory keeps the contract.
    """

    async def make_store(self) -> IMetadataStore:
        """
        Make a store in memory.
        """
        return SQLiteMetadataStore(":memory:", at_once)


class ReopeningTests(SynchronousTestCase):
    """
    A file that the next process opens.
    """

    def setUp(self) -> None:
        """
        Choose a new file.
        """
        self.path = self.mktemp()

    def open(self) -> SQLiteMetadataStore:
        """
        Open the file.
        """
        return SQLiteMetadataStore(self.path, at_once)

    def close(self, store: SQLiteMetadataStore) -> None:
        """
        Close the file.
        """
        now(store.close())

    def test_data_and_revision(self) -> None:
        """
        Entries keep their values and revisions. The next commit has a higher
        revision than all before, also if the last one deleted something.
        """
        store = self.open()
        first = now(store.commit([], [Put("a", {"x": [1]}), Put("b", 2)]))
        last = now(store.commit([], [Delete("b")]))
        self.close(store)
        store = self.open()
        self.assertEqual(
            now(store.range("")), ([Entry("a", {"x": [1]}, first)], last)
        )
        self.assertGreater(now(store.commit([], [Put("c", 1)])), last)
        self.close(store)

    def test_committed(self) -> None:
        """
        The revision of the last commit is that of the process before, until
        there is another one.
        """
        store = SQLiteMetadataStore(self.path, at_once)
        revision = now(store.commit([], [Put("a", 1)]))
        self.assertEqual(store.committed, revision)
        now(store.close())
        store = SQLiteMetadataStore(self.path, at_once)
        self.assertEqual(store.committed, revision)
        self.assertEqual(now(store.commit([], [Put("a", 2)])), store.committed)
        now(store.close())

    def test_leases_end_with_the_process(self) -> None:
        """
        Keys with leases are deleted, at a revision of their own.
        """
        store = self.open()
        lease = now(store.lease(10))
        last = now(store.commit([], [Put("a", 1), Put("b", 2, lease=lease)]))
        self.close(store)
        store = self.open()
        entries, revision = now(store.range(""))
        self.assertEqual(entries, [Entry("a", 1, last)])
        self.assertGreater(revision, last)
        self.close(store)

    def test_watch_from_before_the_process(self) -> None:
        """
        A watch from a revision of an earlier process reports the entries that
        were put since and still exist, in the order of revisions.
        """
        store = self.open()
        commit = store.commit
        now(commit([], [Put("w/z", 1)]))
        since = now(commit([], [Put("w/b", 1), Put("w/gone", 1)]))
        two = now(commit([], [Put("w/z", 2), Delete("w/gone")]))
        three = now(commit([], [Put("w/a", 3), Put("x", 3)]))
        self.close(store)
        store = self.open()
        reported: list[Sequence[Change]] = []
        now(store.watch("w/", since, reported.append))
        four = now(store.commit([], [Delete("w/a")]))
        self.assertEqual(
            reported,
            [
                [Change("w/z", Entry("w/z", 2, two), two)],
                [Change("w/a", Entry("w/a", 3, three), three)],
                [Change("w/a", None, four)],
            ],
        )
        self.close(store)

    def test_history_is_bounded(self) -> None:
        """
        The history has a limited size. A watch from before it reports the
        entries that exist.
        """
        self.patch(sqlite_store, "HISTORY", 20)
        store = self.open()
        for number in range(100):
            now(store.commit([], [Put(f"k{number % 7}", number)]))
        self.assertLessEqual(store.history_size, 20)
        reported: list[Sequence[Change]] = []
        now(store.watch("", 0, reported.append))
        revisions = [changes[0].revision for changes in reported]
        self.assertEqual(revisions, sorted(set(revisions)))
        last = {change.key: change.entry for changes in reported for change in changes}
        entries, _ = now(store.range(""))
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
        A file that is no database of ours, is damaged, was written by a later
        version or cannot be made is a SettingError of one line.
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
            now(store.commit([], [Put(f"key{number}", "x" * 500)]))
        return store

    def test_killed(self) -> None:
        """
        A process that is killed loses no commit that succeeded, and no part of
        one.
        """
        path = os.path.abspath(self.path)
        code = f"from tests.store.sqlite.test_store import *\ncommit_until_killed({path!r})"
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=_CHECKOUT, capture_output=True, check=False
        )
        self.assertEqual((ended.stderr, ended.returncode), (b"", 9))
        succeeded = [int(line) for line in ended.stdout.split()]
        self.assertEqual(len(succeeded), 200)
        store = self.open()
        entries, revision = now(store.range(""))
        numbers = {entry.key: entry.value for entry in entries}
        self.assertEqual(numbers["a"], numbers["b"])
        self.assertIn(numbers["a"], (199, 200))
        self.assertGreaterEqual(revision, succeeded[-1])
        self.close(store)


def commit_until_killed(path: str) -> None:
    """
    Make commits, print the revision of each, and end in the middle of one.
    """
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def record(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **named))
        return connections[-1]

    sqlite3.connect = record  # type: ignore[assignment]
    store = SQLiteMetadataStore(path, at_once)
    for number in range(200):
        began = begin(store.commit([], [Put("a", number), Put("b", number)]))
        began.addCallback(lambda revision: print(revision, flush=True))
    (connection,) = connections
    connection.set_trace_callback(lambda text: os._exit(9) if text == "COMMIT" else None)
    begin(store.commit([], [Put("a", 200), Put("b", 200)]))


class WaitingStoreTests(SynchronousTestCase):
    """
    Calls while a write is in progress.
    """

    def setUp(self) -> None:
        """
        Make a store whose writes wait for the test.
        """
        self.work: list[tuple[Deferred[Any], Callable[[], Any]]] = []
        self.writes = 0
        self.store = SQLiteMetadataStore(":memory:", self.later)

    def later(self, function: Any, /, *args: Any, **kwargs: Any) -> Deferred[Any]:
        """
        Run a function when the test calls L{write}.
        """
        answer: Deferred[Any] = Deferred()
        self.work.append((answer, lambda: function(*args, **kwargs)))
        return answer

    def write(self) -> None:
        """
        Do the next write.
        """
        self.writes += 1
        (answer, work), *self.work = self.work
        answer.callback(work())

    def lose(self, done: bool = False) -> None:
        """
        Fail the next write.

        @param done: Whether it is done all the same.
        """
        (answer, work), *self.work = self.work
        if done:
            work()
        answer.errback(sqlite3.OperationalError("disk I/O error"))

    def test_group_commit(self) -> None:
        """
        Commits that arrive during a write are written together. Each has an
        outcome of its own, and sees the changes of those before it.
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
        self.assertIsNone(now(self.store.get("b")))
        self.write()
        self.assertEqual(self.successResultOf(second), 2)
        self.failureResultOf(loser, CommitConflict)
        self.assertEqual(self.successResultOf(third), 3)
        self.assertEqual(self.writes, 2)
        entries, revision = now(self.store.range(""))
        self.assertEqual([(e.key, e.value, e.revision) for e in entries],
                         [("a", 0, 1), ("b", 1, 2), ("c", 3, 3)])  # fmt: skip
        self.assertEqual(revision, 3)

    def test_watch_before_answer(self) -> None:
        """
        Watches report a commit when it is durable, and before its caller has
        the answer.
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
        All watches report commits in the same order, also if one of them
        commits when it is called.
        """
        store = SQLiteMetadataStore(":memory:", at_once)
        seen: list[int] = []

        def commits(changes: Sequence[Change]) -> None:
            if changes[0].revision < 5:
                begin(store.commit([], [Put("a", changes[0].revision)]))

        now(store.watch("", 0, commits))
        now(store.watch("", 0, lambda c: seen.append(c[0].revision)))
        begin(store.commit([], [Put("a", 0)]))
        self.assertEqual(seen, [1, 2, 3, 4, 5])

    def test_watch_made_by_a_watch(self) -> None:
        """
        A watch that is started while changes are reported reports each of them
        once.
        """
        seen: list[int] = []

        def watches(changes: Sequence[Change]) -> None:
            if changes[0].revision == 2:
                begin(self.store.watch("", 0, lambda c: seen.append(c[0].revision)))

        now(self.store.watch("", 0, watches))
        for number in range(4):
            begin(self.store.commit([], [Put("a", number)]))
        self.write()
        self.write()
        self.assertEqual(seen, [1, 2, 3, 4])

    def test_failing_watch(self) -> None:
        """
        If the callback of a watch raises, that is logged, and the commit and
        the other watches go on.
        """

        def fails(changes: Sequence[Change]) -> None:
            raise ZeroDivisionError

        seen: list[Sequence[Change]] = []
        now(self.store.watch("", 0, fails))
        now(self.store.watch("", 0, seen.append))
        answer = begin(self.store.commit([], [Put("a", 1)]))
        self.write()
        self.successResultOf(answer)
        self.assertEqual(len(seen), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lost_write(self) -> None:
        """
        The outcome of a write that fails is unknown. Its changes are not shown,
        and reads wait until a write has succeeded, which replaces it.
        """
        reported: list[Sequence[Change]] = []
        now(self.store.watch("", 0, reported.append))
        answer = begin(self.store.commit([], [Put("a", 1)]))
        self.lose()
        self.failureResultOf(answer, StoreUnavailable)
        reading = begin(self.store.get("a"))
        self.assertNoResult(reading)
        self.lose()
        self.failureResultOf(reading, StoreUnavailable)
        reading_all = begin(self.store.range(""))
        self.write()
        entries, _ = self.successResultOf(reading_all)
        self.assertEqual((entries, reported), ([], []))
        answer = begin(self.store.commit([Compare("a", 0)], [Put("a", 2)]))
        self.write()
        self.assertGreater(self.successResultOf(answer), 1)
        self.assertEqual(len(reported), 1)

    def test_revoke_is_in_turn(self) -> None:
        """
        Revoking a lease deletes the keys of commits that were waiting before
        it, and refuses those after it.
        """
        lease = now(self.store.lease(1))
        begin(self.store.commit([], [Put("x", 1)]))
        before = begin(self.store.commit([], [Put("a", 1, lease=lease)]))
        revoked = begin(self.store.revoke(lease))
        after = begin(self.store.commit([], [Put("b", 1, lease=lease)]))
        other = now(self.store.lease(1))
        self.write()
        self.write()
        self.successResultOf(before)
        self.successResultOf(revoked)
        self.failureResultOf(after, CommitConflict)
        entries, _ = now(self.store.range(""))
        self.assertEqual([entry.key for entry in entries], ["x"])
        kept = begin(self.store.commit([], [Put("c", 1, lease=other)]))
        self.write()
        self.successResultOf(kept)

    def test_closing(self) -> None:
        """
        Closing writes the commits that wait, stops the watches, and refuses new
        calls.
        """
        reported: list[Sequence[Change]] = []
        now(self.store.watch("", 0, reported.append))
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
        self.assertEqual(reported, [])
