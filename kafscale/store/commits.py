"""
Commits of the embedded metadata store: what they demand, and what they do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import attrs
from twisted.internet.defer import Deferred

from kafscale.errors import CommitConflict
from kafscale.interfaces import Change, Compare, Delete, Entry, Put
from kafscale.store.sqlite.table import Row

#: Compares, and operations, of one commit.
MOST = 100


@attrs.frozen
class Changed:
    """
    What one commit did.
    """

    revision: int
    rows: tuple[tuple[str, Row | None], ...]

    def below(self, prefix: str) -> list[Change]:
        """
        The part of it that a watch on C{prefix} is told; values are the
        watch's own.
        """
        return [
            Change(key, None if row is None else entry_of(key, row), self.revision)
            for key, row in self.rows
            if key.startswith(prefix)
        ]


@attrs.define(eq=False)
class Commit:
    """
    A commit that waits for its turn.
    """

    compares: Sequence[Compare]
    operations: Sequence[tuple[str, str | None, int | None]]  # key, JSON, lease
    revoked: int | None = None
    done: Deferred[int] = attrs.field(factory=Deferred)
    outcome: int | CommitConflict = 0


class View:
    """
    The store as it will be when the commits before are written.
    """

    def __init__(self, rows: Mapping[str, Row], leases: AbstractSet[int], revision: int) -> None:
        self._rows = rows
        self.leases = set(leases)
        self.revision = revision
        self.written: dict[str, Row | None] = {}
        self.changes: list[Changed] = []

    def row(self, key: str) -> Row | None:
        """
        What C{key} will have.
        """
        return self.written[key] if key in self.written else self._rows.get(key)

    def apply(self, commit: Commit) -> int | CommitConflict:
        """
        Do one commit, if it may be: the revision, or why not.
        """
        for compare in commit.compares:
            row = self.row(compare.key)
            found = 0 if row is None else row.revision
            if found != compare.revision:
                return CommitConflict(
                    f"{compare.key} is at revision {found}, not {compare.revision}"
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
        self.changes.append(Changed(self.revision, tuple(rows)))
        return self.revision

    def _keys_under(self, lease: int) -> list[str]:
        keys = {key for key, row in self._rows.items() if row.lease == lease}
        keys.update(self.written)
        return sorted(
            key for key in keys if (row := self.row(key)) is not None and row.lease == lease
        )


def entry_of(key: str, row: Row) -> Entry:
    """
    What callers are given of a row: a value of their own.
    """
    return Entry(key, json.loads(row.value), row.revision)


def commit_of(compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> Commit:
    """
    What a caller asks for, checked.

    @raise ValueError: it is too large, names a key twice, or a value is no
        JSON data.
    """
    if len(compares) > MOST or len(operations) > MOST:
        raise ValueError(f"a commit has at most {MOST} compares and {MOST} operations")
    if len({operation.key for operation in operations}) < len(operations):
        raise ValueError("a commit does one thing to a key")
    return Commit(tuple(compares), [_plain(operation) for operation in operations])


def _plain(operation: Put | Delete) -> tuple[str, str | None, int | None]:
    operation.key.encode()  # raises the ValueError here, not in the others' transaction
    if isinstance(operation, Delete):
        return operation.key, None, None
    try:
        text = json.dumps(operation.value, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise ValueError(f"{operation.key}: {error}") from None
    return operation.key, text, operation.lease
