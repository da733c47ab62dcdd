"""
The metadata store of a broker that is alone: a SQLite file.

All of it is in memory too, so reads cost nothing. Commits that come while
one is being written wait, and are then written together, as one transaction
of SQLite; each still has an outcome of its own. So there are as many commits
in a second as callers have under way, times those that the disk can sync.

The memory shows only what is durable. A commit's changes are told to the
watches before the one who committed is answered: whoever committed may rely
on its own watch having seen it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count, takewhile

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.errors import CommitConflict, StoreUnavailable
from kafscale.interfaces import (
    Change,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    IWatch,
    Put,
)
from kafscale.store.blocking import RunBlocking
from kafscale.store.checks import check_commit
from kafscale.store.sqlite.commits import AppliedCommit, PendingCommit, WriteBatch, entry_of
from kafscale.store.sqlite.table import Row, Table

#: Changes that a watch which is made later may still ask for.
HISTORY = 65536


@implementer(IWatch)
class _Watch:
    """
    One who is told of changes.
    """

    _log = Logger()

    def __init__(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> None:
        self._prefix = prefix
        self._told = revision
        self._changed: Callable[[Sequence[Change]], None] | None = changed

    def tell(self, commit: AppliedCommit) -> None:
        """
        Tell of a commit, unless it is known.
        """
        if self._changed is None or commit.revision <= self._told:
            return
        self._told = commit.revision
        changes = commit.below(self._prefix)
        if changes:
            try:
                self._changed(changes)
            except Exception:  # noqa: BLE001 - theirs, whatever it is; the others go on
                self._log.failure("a watch on {prefix} failed", prefix=self._prefix)

    def stop(self) -> None:
        """
        See L{IWatch.stop}.
        """
        self._changed = None

    @property
    def stopped(self) -> bool:
        """
        Whether it is to be forgotten.
        """
        return self._changed is None


@implementer(IMetadataStore)
class SQLiteMetadataStore:
    """
    A metadata store of one process, in one file.

    Leases live as long as the process: opening the store removes the keys of
    the leases that the process before had.

    Must not be carried over a fork: open it after the process is a daemon.
    """

    _log = Logger()

    def __init__(self, path: str, run_blocking: RunBlocking) -> None:
        """
        @param path: The file; made if it is not there. C{":memory:"} keeps
            nothing.
        @param run_blocking: Does the writing, one piece of work at a time.

        @raise SettingError: the file cannot be used, or another process does.
        """
        self._table = Table(path)
        self._run_blocking = run_blocking
        self._rows, self._revision = self._table.load()
        self._assigned = self._revision  # also to commits that failed
        self._floor = self._revision  # the history begins after this
        self._keys = sorted(self._rows)
        self._history: deque[AppliedCommit] = deque()
        self.history_size = 0
        self._leases: set[int] = set()
        self._lease_ids = count(1)
        self._watches: list[_Watch] = []
        self._waiting: list[PendingCommit] = []
        self._writing = False
        self._in_doubt = False
        self._closed: Deferred[None] | None = None

    async def get(self, key: str) -> Entry | None:
        """
        See L{IMetadataStore.get}.
        """
        await self._certain()
        row = self._rows.get(key)
        return None if row is None else entry_of(key, row)

    async def range(self, prefix: str) -> tuple[list[Entry], int]:
        """
        See L{IMetadataStore.range}.
        """
        await self._certain()
        return [entry_of(key, self._rows[key]) for key in self._below(prefix)], self._revision

    async def commit(
        self, compares: Sequence[Compare], operations: Sequence[Put | Delete]
    ) -> int:
        """
        See L{IMetadataStore.commit}.

        @raise ValueError: it is too large, names a key twice, or a value is
            no JSON data.
        """
        checked = check_commit(compares, operations)
        return await self._submit(PendingCommit(tuple(compares), checked))

    async def watch(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> IWatch:
        """
        See L{IMetadataStore.watch}. Changes made before are told before this
        returns.

        From before the process began, only the entries that are there still
        are told, as they are now; not those that were deleted since. Whoever
        ranges first and watches from the range's revision misses nothing.
        """
        await self._certain()
        watch = _Watch(prefix, revision, changed)
        for commit in [*self._before_history(revision), *self._history]:
            watch.tell(commit)
        if not watch.stopped:
            self._watches.append(watch)
        return watch

    async def lease(self, seconds: float) -> int:
        """
        See L{IMetadataStore.lease}. It lasts until it is revoked, or the
        process ends.
        """
        self._check_open()
        lease = next(self._lease_ids)
        self._leases.add(lease)
        return lease

    async def revoke(self, lease: int) -> None:
        """
        See L{IMetadataStore.revoke}.
        """
        await self._submit(PendingCommit((), (), revoked=lease))

    async def close(self) -> None:
        """
        See L{IMetadataStore.close}. Commits that came before are written.
        """
        if self._closed is not None:
            return
        self._closed = Deferred()
        for watch in self._watches:
            watch.stop()
        if self._writing:
            await self._closed
        await self._run_blocking(self._table.close)

    # Reading

    def _below(self, prefix: str) -> Iterator[str]:
        at = bisect_left(self._keys, prefix)
        return takewhile(lambda key: key.startswith(prefix), self._keys[at:])

    def _before_history(self, revision: int) -> list[AppliedCommit]:
        if revision >= self._floor:
            return []
        made: dict[int, list[tuple[str, Row | None]]] = {}
        for key in self._keys:
            row = self._rows[key]
            if revision < row.revision <= self._floor:
                made.setdefault(row.revision, []).append((key, row))
        return [AppliedCommit(number, tuple(made[number])) for number in sorted(made)]

    def _check_open(self) -> None:
        if self._closed is not None:
            raise StoreUnavailable("the metadata store is closed")

    async def _certain(self) -> None:
        """
        Return when the memory is what the file has. After a write that
        failed, what was written may be found in the file at the next start,
        or not; a write that succeeds takes its place.
        """
        self._check_open()
        if self._in_doubt:
            await self._submit(PendingCommit((), ()))

    # Writing

    async def _submit(self, commit: PendingCommit) -> int:
        self._check_open()
        self._waiting.append(commit)
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write()).addErrback(
                lambda failure: self._log.failure("writing metadata ended", failure)
            )
        return await commit.done

    async def _write(self) -> None:
        """
        Write what waits, until nothing does. What callers do when they are
        told or answered is written in the next turn, so that all see the
        commits in one order.
        """
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._write_together(batch)
        finally:
            self._writing = False
            if self._closed is not None:
                self._closed.callback(None)

    async def _write_together(self, batch: list[PendingCommit]) -> None:
        view = WriteBatch(self._rows, self._leases, max(self._revision, self._assigned))
        for commit in batch:
            commit.outcome = view.apply(commit)
        self._assigned = view.revision
        if view.commits or self._in_doubt:
            try:
                await self._run_blocking(self._table.write, view.written, view.revision)
            except Exception as error:  # noqa: BLE001 - every one leaves us in doubt
                self._in_doubt = True
                self._log.warn("metadata was not written: {error}", error=error)
                for commit in batch:
                    commit.done.errback(StoreUnavailable(f"metadata was not written: {error}"))
                return
            self._in_doubt = False
        # Not the view's leases: one may have been given meanwhile.
        self._leases.difference_update(
            commit.revoked for commit in batch if commit.revoked is not None
        )
        self._show(view)
        for commit in batch:
            if isinstance(commit.outcome, CommitConflict):
                commit.done.errback(commit.outcome)
            else:
                commit.done.callback(commit.outcome)

    def _show(self, view: WriteBatch) -> None:
        self._revision = view.revision
        for key, row in view.written.items():
            if row is None:
                if self._rows.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if key not in self._rows:
                    insort(self._keys, key)
                self._rows[key] = row
        for commit in view.commits:
            self._history.append(commit)
            self.history_size += 1 + len(commit.rows)
        while self.history_size > HISTORY:
            oldest = self._history.popleft()
            self.history_size -= 1 + len(oldest.rows)
            self._floor = oldest.revision
        for commit in view.commits:
            for watch in tuple(self._watches):
                watch.tell(commit)
        self._watches = [watch for watch in self._watches if not watch.stopped]
