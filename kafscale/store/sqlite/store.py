"""
The metadata store of a single broker: a SQLite file.

All entries are in memory, too, so reads cost nothing. Commits that arrive while
others are written wait, and are then written together in one transaction of
SQLite; each still has an outcome of its own. So the number of commits per second
is that of the syncs of the disk, times the number of commits that callers make
at once.

Memory shows only what is durable. The watches report a commit before its caller
has the answer, so a caller may rely on its own watch having seen the commit.
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
from kafscale.store.sqlite.commits import (
    AppliedCommit,
    PendingCommit,
    WriteBatch,
    entry_of,
    holds,
)
from kafscale.store.sqlite.table import Row, Table

HISTORY = 65536
"""How many changes are kept for watches that begin at an earlier revision."""


@implementer(IWatch)
class _Watch:
    """
    Reports the changes of keys with a prefix.
    """

    _log = Logger()

    def __init__(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> None:
        self._prefix = prefix
        self._reported = revision
        self._changed: Callable[[Sequence[Change]], None] | None = changed

    def report(self, commit: AppliedCommit) -> None:
        """
        Report the changes of a commit, unless they were reported before.
        """
        if self._changed is None or commit.revision <= self._reported:
            return
        self._reported = commit.revision
        changes = commit.below(self._prefix)
        if changes:
            try:
                self._changed(changes)
            except Exception:  # noqa: BLE001 - the callback's, whatever it is; other watches go on
                self._log.failure(
                    "could not apply changes of metadata below {prefix} at revision {revision};"
                    " later changes are applied",
                    prefix=self._prefix,
                    revision=commit.revision,
                )

    def stop(self) -> None:
        """
        See L{IWatch.stop}.
        """
        self._changed = None

    def behind(self) -> float:
        """
        See L{IWatch.behind}. The store is in this process.
        """
        return 0.0

    @property
    def stopped(self) -> bool:
        """
        Whether L{stop} was called.
        """
        return self._changed is None


@implementer(IMetadataStore)
class SQLiteMetadataStore:
    """
    A metadata store of one process, in one file.

    Leases live as long as the process: opening the file deletes the keys with
    leases that an earlier process left.

    SQLite does not allow a connection in a process that was forked from the one
    that made it: open the store after the process has become a daemon.

    @ivar history_size: The number of changes that are kept for watches that
        begin at an earlier revision.
    """

    _log = Logger()

    def __init__(self, path: str, run_blocking: RunBlocking) -> None:
        """
        @param path: The file, which is made if need be. C{":memory:"} keeps
            nothing.
        @param run_blocking: Runs the writing, one call at a time.
        @raise SettingError: the file cannot be used, or another process uses it.
        """
        self._path = path
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

    @property
    def committed(self) -> int:
        """
        The revision of the last commit.
        """
        return self._revision

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

    async def holds(self, compares: Sequence[Compare]) -> bool:
        """
        See L{IMetadataStore.holds}. It waits for no commit that is being written.
        """
        await self._certain()
        return all(holds(each, self._rows.get(each.key)) for each in compares)

    async def commit(
        self, compares: Sequence[Compare], operations: Sequence[Put | Delete]
    ) -> int:
        """
        See L{IMetadataStore.commit}.
        """
        checked = check_commit(compares, operations)
        return await self._submit(PendingCommit(tuple(compares), checked))

    async def watch(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> IWatch:
        """
        See L{IMetadataStore.watch}. The changes of the past are reported before
        this returns.

        Of revisions before the history, only entries that still exist are
        reported, as they are now, and no deletions. A watch from the revision
        of a range misses nothing.
        """
        await self._certain()
        watch = _Watch(prefix, revision, changed)
        for commit in [*self._before_history(revision), *self._history]:
            watch.report(commit)
        if not watch.stopped:
            self._watches.append(watch)
        return watch

    async def catch_up(self, watch: IWatch) -> int:
        """
        See L{IMetadataStore.catch_up}. Watches report each commit when it is durable.
        """
        await self._certain()
        return self._revision

    async def lease(self, seconds: float) -> int:
        """
        See L{IMetadataStore.lease}. The lease ends when it is revoked, or the
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
        See L{IMetadataStore.close}. Commits that were made before are written.
        """
        if self._closed is not None:
            return
        self._closed = Deferred()
        for watch in self._watches:
            watch.stop()
        if self._writing:
            await self._closed
        await self._run_blocking(self._table.close)

    # -- reading ----------------------------------------------------------------

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
        Return when memory and file agree. After a write that failed, its changes
        may be in the file at the next start, or not. A write that succeeds
        settles it: the file then has the state in memory.
        """
        self._check_open()
        if self._in_doubt:
            await self._submit(PendingCommit((), ()))

    # -- writing ----------------------------------------------------------------

    async def _submit(self, commit: PendingCommit) -> int:
        self._check_open()
        self._waiting.append(commit)
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write()).addErrback(
                lambda failure: self._log.failure(
                    "internal error while writing metadata; the broker must be restarted", failure
                )
            )
        return await commit.done

    async def _write(self) -> None:
        """
        Write commits until none waits. The commits that watches and callers
        make when a batch is done are written in the next batch, so that all
        watches report commits in the same order.
        """
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._write_together(batch)
        finally:
            self._writing = False
            if self._closed is not None:
                self._closed.callback(None)

    async def _write_together(self, commits: list[PendingCommit]) -> None:
        batch = WriteBatch(self._rows, self._leases, max(self._revision, self._assigned))
        for commit in commits:
            commit.outcome = batch.apply(commit)
        self._assigned = batch.revision
        if batch.commits or self._in_doubt:
            try:
                await self._run_blocking(self._table.write, batch.written, batch.revision)
            except Exception as error:  # noqa: BLE001 - after any error the outcome is unknown
                self._in_doubt = True
                self._log.warn(
                    "could not write {commits} commits to {path}, their callers try again or"
                    " fail: {reason}",
                    commits=len(commits),
                    path=self._path,
                    reason=error,
                )
                for commit in commits:
                    commit.done.errback(StoreUnavailable(f"metadata was not written: {error}"))
                return
            self._in_doubt = False
        # Not the leases of the batch: others may have been granted meanwhile.
        self._leases.difference_update(
            commit.revoked for commit in commits if commit.revoked is not None
        )
        self._show(batch)
        for commit in commits:
            if isinstance(commit.outcome, CommitConflict):
                commit.done.errback(commit.outcome)
            else:
                commit.done.callback(commit.outcome)

    def _show(self, batch: WriteBatch) -> None:
        """
        Make a batch that was written visible to reads and watches.
        """
        self._revision = batch.revision
        for key, row in batch.written.items():
            if row is None:
                if self._rows.pop(key, None) is not None:
                    del self._keys[bisect_left(self._keys, key)]
            else:
                if key not in self._rows:
                    insort(self._keys, key)
                self._rows[key] = row
        for commit in batch.commits:
            self._history.append(commit)
            self.history_size += 1 + len(commit.rows)
        while self.history_size > HISTORY:
            oldest = self._history.popleft()
            self.history_size -= 1 + len(oldest.rows)
            self._floor = oldest.revision
        for commit in batch.commits:
            for watch in tuple(self._watches):
                watch.report(commit)
        self._watches = [watch for watch in self._watches if not watch.stopped]
