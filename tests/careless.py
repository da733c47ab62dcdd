"""
A store that has never heard of create-only.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.store.checks import check_key
from kafscale.store.memory import MemoryObjectStore


class CarelessObjectStore(MemoryObjectStore):
    """
    A create replaces what is there.

    @ivar replaced: Keys that were given two different contents, ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replaced: list[str] = []
        self._first: dict[str, bytes] = {}

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        As no store should.
        """
        data = b"".join(pieces)
        if self._first.setdefault(check_key(key), data) != data:
            self.replaced.append(key)
        await self.delete([key])
        await super().create(key, [data])
