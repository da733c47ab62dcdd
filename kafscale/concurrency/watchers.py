"""
Sets of watchers to wake at the next change.
"""

from __future__ import annotations

from weakref import ref

from kafscale.interfaces import Watcher


class Watchers:
    """
    A set of watchers, each of which is woken once.

    The references are weak: a watcher that is dropped by its owner leaves the
    set by itself. So a fetch whose time is up need not be removed from each of
    its partitions.
    """

    __slots__ = ("__weakref__", "_all")

    def __init__(self) -> None:
        self._all: dict[ref[Watcher], None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, watcher: Watcher) -> None:
        """
        Wake this watcher at the next change.
        """
        self._all[ref(watcher, self._gone)] = None

    def _gone(self, watcher: ref[Watcher]) -> None:
        self._all.pop(watcher, None)

    def wake(self) -> None:
        """
        Remove all watchers and wake them. One that is added meanwhile waits
        for the next change.
        """
        if self._all:
            watchers, self._all = self._all, {}
            for each in watchers:
                watcher = each()
                if watcher is not None:
                    watcher.wake()
