"""
An object store whose creates replace objects.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.store.checks import check_key
from kafscale.store.memory import MemoryObjectStore


class CarelessObjectStore(MemoryObjectStore):
    """
    A store in memory whose creates replace objects.

    @ivar replaced: The keys that were created with two different contents.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replaced: list[str] = []
        self._first: dict[str, bytes] = {}

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        Create an object, or replace it.
        """
        data = b"".join(pieces)
        if self._first.setdefault(check_key(key), data) != data:
            self.replaced.append(key)
        await self.delete([key])
        await super().create(key, [data])
