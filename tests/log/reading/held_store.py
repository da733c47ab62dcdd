"""
A store whose reads wait for the test, and a cache on it.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from kafscale.interfaces import IObjectStore
from kafscale.log.reading.cache import BlockCache


class Asked:
    """
    A read that the store was asked for.
    """

    def __init__(self, key: str, start: int, length: int) -> None:
        self.run_key = (key, start, start + length)
        self.answer: Deferred[bytes] = Deferred()

    def succeed(self) -> None:
        """
        Answer with the content of this store.
        """
        self.answer.callback(content(*self.run_key))


def content(key: str, start: int, stop: int) -> bytes:
    """
    Return the bytes of any object, which contain its key and their position.
    """
    return b"".join(b"%s%06d" % (key.encode(), at) for at in range(start, stop))[: stop - start]


class HeldStore:
    """
    A store whose reads wait until a test answers them.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        assert length is not None
        asked = Asked(key, start, length)
        self.asked.append(asked)
        return await asked.answer


def make(store: object, max_bytes: int, ahead: int = 8) -> BlockCache:
    """
    Make a cache on a store of which only L{IObjectStore.get} is used.
    """
    reads: IObjectStore = store  # type: ignore[assignment]
    return BlockCache(reads, max_bytes, ahead)
