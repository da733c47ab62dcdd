"""
Who waits for something to change.
"""

from __future__ import annotations

from weakref import ref

from kafscale.interfaces import Watcher


class Watchers:
    """
    Each is woken once, and forgotten when nobody else refers to it: who has
    waited in vain need not come back to say so.
    """

    __slots__ = ("__weakref__", "_all")

    def __init__(self) -> None:
        self._all: dict[ref[Watcher], None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, watcher: Watcher) -> None:
        """
        Wake this one, too.
        """
        self._all[ref(watcher, self._gone)] = None

    def _gone(self, watcher: ref[Watcher]) -> None:
        self._all.pop(watcher, None)

    def wake(self) -> None:
        """
        Wake all; who is added meanwhile waits for the next time.
        """
        if self._all:
            watchers, self._all = self._all, {}
            for each in watchers:
                watcher = each()
                if watcher is not None:
                    watcher.wake()
