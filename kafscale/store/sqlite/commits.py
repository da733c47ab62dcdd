"""
Commits that are written together, each with an outcome of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import attrs
from twisted.internet.defer import Deferred

from kafscale.errors import CommitConflict
from kafscale.interfaces import Change, Compare, Entry
from kafscale.store.checks import Operation
from kafscale.store.sqlite.table import Row


@attrs.frozen
class AppliedCommit:
    """
    The changes that one commit made.

    @ivar rows: The changed keys, each with its new row, or None if it was
        deleted.
    """

    revision: int
    rows: tuple[tuple[str, Row | None], ...]

    def below(self, prefix: str) -> list[Change]:
        """
        The changes of keys that begin with C{prefix}. Each call returns new
        values, which the caller may modify.
        """
        return [
            Change(key, None if row is None else entry_of(key, row), self.revision)
            for key, row in self.rows
            if key.startswith(prefix)
        ]


@attrs.define(eq=False)
class PendingCommit:
    """
    A commit that waits to be written.

    @ivar revoked: The lease that ends with this commit, if one does.
    @ivar done: Fires with the commit's revision when it is durable.
    @ivar outcome: The revision, or the reason why the commit was refused, once
        it was applied to a L{WriteBatch}.
    """

    compares: Sequence[Compare]
    operations: Sequence[Operation]
    revoked: int | None = None
    done: Deferred[int] = attrs.field(factory=Deferred)
    outcome: int | CommitConflict = 0


class WriteBatch:
    """
    The state of the store as it will be when a number of commits are written.

    @ivar leases: The leases that will be alive.
    @ivar revision: The revision that the store will have.
    @ivar written: The rows that will be different, None for deleted keys.
    @ivar commits: The commits that changed something, in order.
    """

    def __init__(self, rows: Mapping[str, Row], leases: AbstractSet[int], revision: int) -> None:
        """
        @param rows: All rows of the store now.
        @param leases: The leases that are alive now.
        @param revision: The highest revision that was given to a commit so far.
        """
        self._rows = rows
        self.leases = set(leases)
        self.revision = revision
        self.written: dict[str, Row | None] = {}
        self.commits: list[AppliedCommit] = []

    def row(self, key: str) -> Row | None:
        """
        The row that a key will have.
        """
        return self.written[key] if key in self.written else self._rows.get(key)

    def apply(self, commit: PendingCommit) -> int | CommitConflict:
        """
        Add a commit, if its compares hold and its leases are alive. Return its
        revision, or the reason why it is refused.
        """
        for compare in commit.compares:
            row = self.row(compare.key)
            if not holds(compare, row):
                found = 0 if row is None else row.revision
                return CommitConflict(
                    f"{compare.key} is at revision {found}, not {compare.revision}"
                    if compare.revision is not None
                    else f"{compare.key} does not exist"
                )
        for _, _, lease in commit.operations:
            if lease is not None and lease not in self.leases:
                return CommitConflict(f"lease {lease} has ended")
        operations = commit.operations
        if commit.revoked is not None:
            self.leases.discard(commit.revoked)
            operations = [(key, None, None) for key in self._keys_under(commit.revoked)]
        if not operations:
            return self.revision
        self.revision += 1
        rows: list[tuple[str, Row | None]] = []
        for key, value, lease in operations:
            row = None if value is None else Row(value, self.revision, lease)
            if row is not None or self.row(key) is not None:
                rows.append((key, row))
                self.written[key] = row
        self.commits.append(AppliedCommit(self.revision, tuple(rows)))
        return self.revision

    def _keys_under(self, lease: int) -> list[str]:
        keys = {key for key, row in self._rows.items() if row.lease == lease}
        keys.update(self.written)
        return sorted(
            key for key in keys if (row := self.row(key)) is not None and row.lease == lease
        )


def holds(compare: Compare, row: Row | None) -> bool:
    """
    Whether a compare holds for its key's row, which is None if there is none.
    """
    if compare.revision is None:
        return row is not None
    return (0 if row is None else row.revision) == compare.revision


def entry_of(key: str, row: Row) -> Entry:
    """
    The entry of a row, with a value that its receiver may modify.
    """
    return Entry(key, json.loads(row.value), row.revision)
