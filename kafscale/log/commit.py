"""
Commits whose outcome is known in the end.

A commit that got no answer may have been done. The broker must neither go on as
if it had been done nor as if it had not, so it reads the entry back until the
store answers (rules 9 and 18). The store that is passed in waits between its
attempts (`kafscale.store.retry`), so an error raised here means that the broker
is stopping.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import attrs

from kafscale.errors import CommitConflict, StoreUnavailable
from kafscale.interfaces import MAX_COMMIT, Compare, IMetadataStore, Put

TOGETHER = 50
"""How many changes go into one commit, at most."""


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
    Put C{value} at C{key} if the key has the revision C{revision} and all guards
    hold.

    @param in_doubt: Whether an earlier attempt had an unknown outcome.
    @return: The new revision.
    @raise CommitConflict: another writer has changed the key, or a guard did not
        hold.
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
            missed = True  # perhaps because an earlier attempt was done
        found = await store.get(key)
        if found is not None and found.revision != revision and found.value == value:
            return found.revision  # an attempt was done
        if missed or (found.revision if found is not None else 0) != revision:
            raise CommitConflict(key)
        # Not done, or not yet: the next attempt compares the same revision, so at
        # most one of the two is done.


@attrs.frozen
class Change:
    """
    A change of one entry.

    @ivar key: The entry's key.
    @ivar revision: The revision that it must have; 0 if it must not exist.
    @ivar value: Its new value.
    @ivar guard: What must hold for this change, besides the guards of all; None for
        nothing.
    """

    key: str
    revision: int
    value: Any
    guard: Compare | None = None


async def settle_all(
    store: IMetadataStore, changes: Sequence[Change], guards: tuple[Compare, ...] = ()
) -> list[int | None]:
    """
    Do many changes, each as L{settle} would, in as few commits as possible.

    @return: The new revision of each; None if another writer has changed the
        key, or a guard did not hold.
    """
    revisions: list[int | None] = []
    for group, compares in _groups(changes, guards):
        try:
            revision = await store.commit(
                list(compares), [Put(each.key, each.value) for each in group]
            )
        except (CommitConflict, StoreUnavailable) as why:
            in_doubt = isinstance(why, StoreUnavailable)
            for each in group:  # one by one, to find out which
                try:
                    own = guards if each.guard is None else (*guards, each.guard)
                    revisions.append(
                        await settle(
                            store, each.key, each.revision, each.value, own, in_doubt=in_doubt
                        )
                    )
                except CommitConflict:
                    revisions.append(None)
        else:
            revisions += [revision] * len(group)
    return revisions


def _groups(
    changes: Sequence[Change], guards: Sequence[Compare]
) -> Iterator[tuple[list[Change], Collection[Compare]]]:
    """
    Divide changes among commits: up to L{TOGETHER} each, with no more compares than a
    commit may have.

    @return: The changes of each commit, and what it compares.
    """
    group: list[Change] = []
    compares = dict.fromkeys(guards)
    for change in changes:
        own = dict.fromkeys([Compare(change.key, change.revision)])
        if change.guard is not None:
            own[change.guard] = None
        if len(group) == TOGETHER or len(compares | own) > MAX_COMMIT:
            yield group, compares
            group, compares = [], dict.fromkeys(guards)
        group.append(change)
        compares |= own
    if group:
        yield group, compares
