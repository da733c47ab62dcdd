"""
What tells that a metadata store has gone back in time.
"""

from __future__ import annotations

from kafscale.errors import StoreUnavailable


class StoreSetBack(StoreUnavailable):
    """
    The store has forgotten what it had told: it was restored from a backup,
    or lost. Nothing that it says is true any more, and asking again is of no use.

    @ivar here: The revision that it has now.
    @ivar seen: The one that it had.
    """

    def __init__(self, here: int, seen: int) -> None:
        super().__init__(f"the metadata store is at revision {here}, and was at {seen} before")
        self.here = here
        self.seen = seen
