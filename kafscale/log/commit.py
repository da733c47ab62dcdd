"""
Commits whose outcome is always known in the end.

A store that does not answer may have done the commit. Nobody may go on as if
it had, or as if it had not: it is read back, until the store tells
(rules 9 and 18). The store given here waits between its attempts
(`kafscale.store.retry`), so what is raised means that the broker is stopping.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from kafscale.errors import CommitConflict, StoreUnavailable
from kafscale.interfaces import Compare, IMetadataStore, Put

TOGETHER = 50
"""How many changes go into one commit."""


async def settle(
    store: IMetadataStore,
    key: str,
    revision: int,
    value: Any,
    guards: tuple[Compare, ...] = (),
    *,
    in_doubt: bool = False,
) -> int:
    """
    Put C{value} at C{key} if its revision is C{revision} and the guards hold;
    return the new revision.

    @param in_doubt: An attempt was made before, and its outcome is not known.
    @raise CommitConflict: somebody else has changed the key, or a guard did
        not hold.
    """
    while True:
        missed = False
        try:
            return await store.commit([Compare(key, revision), *guards], [Put(key, value)])
        except StoreUnavailable:
            in_doubt = True
        except CommitConflict:
            if not in_doubt:
                raise
            missed = True  # perhaps because an earlier attempt of ours came through
        found = await store.get(key)
        if found is not None and found.revision != revision and found.value == value:
            return found.revision  # it was done
        if missed or (found.revision if found is not None else 0) != revision:
            raise CommitConflict(key)
        # Not done, or not yet: the next attempt is guarded by the same
        # revision, so one of the two will miss.


@attrs.frozen
class Change:
    """
    C{value} is to replace what is at C{key} in C{revision}.
    """

    key: str
    revision: int
    value: Any


async def settle_all(
    store: IMetadataStore, changes: Sequence[Change], guards: tuple[Compare, ...] = ()
) -> list[int | None]:
    """
    L{settle} many, as far as they can be in one commit: their new revisions;
    None for each that lost against somebody else, or against a guard.
    """
    revisions: list[int | None] = []
    for at in range(0, len(changes), TOGETHER):
        group = changes[at : at + TOGETHER]
        try:
            revision = await store.commit(
                [*guards, *(Compare(each.key, each.revision) for each in group)],
                [Put(each.key, each.value) for each in group],
            )
        except (CommitConflict, StoreUnavailable) as why:
            in_doubt = isinstance(why, StoreUnavailable)
            for each in group:  # one by one, to see which
                try:
                    revisions.append(
                        await settle(
                            store, each.key, each.revision, each.value, guards, in_doubt=in_doubt
                        )
                    )
                except CommitConflict:
                    revisions.append(None)
        else:
            revisions += [revision] * len(group)
    return revisions
