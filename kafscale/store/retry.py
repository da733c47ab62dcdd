"""
What to do when a store does not answer: the same again, later.

A create is repeated for as long as it takes, with the same key and the same
bytes: whether the first attempt arrived only a second one can tell, and
giving up would leave records that are neither stored nor refused. Reads give
up after a while, because somebody waits for them who can ask again.

Waits grow, up to a bound, and are jittered, so that many brokers that lost one
store do not come back to it in step.
"""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.errors import MetadataRolledBack, StoreBusy, StoreContended, StoreUnavailable
from kafscale.interfaces import (
    Change,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    IObjectStore,
    IWatch,
    ObjectInfo,
    Put,
)

T = TypeVar("T")

FIRST_WAIT = 0.05
LONGEST_WAIT = 5.0
"""Seconds before the second attempt, and at most between two."""

WAITS: dict[type[StoreUnavailable], tuple[float, float]] = {
    StoreBusy: (0.5, 20.0),
    StoreContended: (0.02, 1.0),
}
"""The same for failures of these kinds: who is asked too much needs more time, and who was asked
by several at once needs less."""

PATIENCE = 20.0
"""Seconds for which a read is repeated; below the 30 s after which clients give up."""


class Repeated:
    """
    Asks again until there is an answer.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, jitter: Callable[[], float]) -> None:
        """
        @param jitter: A number from 0 to 1, another one at each call.
        """
        self._clock = clock
        self._jitter = jitter
        self._closed = False
        self._failed_wait = FIRST_WAIT  # after the next failure of `once`

    async def again(self, what: str, once: Callable[[], Awaitable[T]], patience: float) -> T:
        """
        What C{once} answers at last; C{what} is what it does, for the log.

        @param patience: Seconds after which its failure is told.
        @raise StoreUnavailable: by then.
        """
        begun = self._clock.seconds()
        failed: Counter[type[StoreUnavailable]] = Counter()
        told = False
        while True:
            try:
                answer = await once()
            except MetadataRolledBack:
                raise
            except StoreUnavailable as unavailable:
                waited = self._clock.seconds() - begun
                if self._closed or waited >= patience:
                    raise
                if not told and waited >= 1:
                    self._log.warn(
                        "the store does not answer ({reason}); {what} waits for it",
                        reason=unavailable,
                        what=what,
                    )
                    told = True
                kind = type(unavailable)
                first, longest = WAITS.get(kind, (FIRST_WAIT, LONGEST_WAIT))
                await self._pause(min(first * 2 ** min(failed[kind], 16), longest))
                failed[kind] += 1
            else:
                if told:
                    self._log.info("the store answers again ({what})", what=what)
                return answer

    async def once(self, call: Callable[[], Awaitable[T]]) -> T:
        """
        What C{call} answers. Its failure is told after a while, the longer the
        more of them have failed in a row: who asks again at once may do so.
        """
        try:
            answer = await call()
        except StoreUnavailable:
            if not self._closed:
                wait = self._failed_wait
                self._failed_wait = min(wait * 2, LONGEST_WAIT)
                await self._pause(wait)
            raise
        self._failed_wait = FIRST_WAIT
        return answer

    def _pause(self, wait: float) -> Deferred[None]:
        return deferLater(self._clock, wait * (0.5 + self._jitter() / 2))

    def stop(self) -> None:
        """
        The next failure is told to who asked.
        """
        self._closed = True


@implementer(IObjectStore)
class RetryingObjectStore:
    """
    An object store that is asked again until it answers.
    """

    def __init__(
        self, store: IObjectStore, clock: IReactorTime, jitter: Callable[[], float]
    ) -> None:
        self._store = store
        self._repeated = Repeated(clock, jitter)

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}. Never gives up before L{close}.
        """
        await self._repeated.again(
            f"create {key}", lambda: self._store.create(key, pieces), patience=float("inf")
        )

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        return await self._repeated.again(
            f"get {key}", lambda: self._store.get(key, start, length), PATIENCE
        )

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.
        """
        return await self._repeated.again(
            f"get {key}", lambda: self._store.get_suffix(key, length), PATIENCE
        )

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectStore.list}.
        """
        return await self._repeated.again(
            f"list {prefix}", lambda: self._store.list(prefix, after, limit), PATIENCE
        )

    async def delete(self, keys: Sequence[str]) -> None:
        """
        See L{IObjectStore.delete}.
        """
        await self._repeated.again("delete", lambda: self._store.delete(keys), PATIENCE)

    async def close(self) -> None:
        """
        Repeat nothing any more.
        """
        self._repeated.stop()
        await self._store.close()


@implementer(IMetadataStore)
class RetryingMetadataStore:
    """
    A metadata store that is asked again until it answers; but a commit only
    once, because its outcome may be a success that nobody heard of: it is for
    who commits to read back (`kafscale.log.commit`). That failure is told
    after the wait that comes before another attempt.
    """

    def __init__(
        self, store: IMetadataStore, clock: IReactorTime, jitter: Callable[[], float]
    ) -> None:
        self._store = store
        self._repeated = Repeated(clock, jitter)

    async def get(self, key: str) -> Entry | None:
        """
        See L{IMetadataStore.get}. Never gives up before L{close}.
        """
        return await self._repeated.again(
            f"get {key}", lambda: self._store.get(key), patience=float("inf")
        )

    async def range(self, prefix: str) -> tuple[builtins.list[Entry], int]:
        """
        See L{IMetadataStore.range}.
        """
        return await self._repeated.again(
            f"range {prefix}", lambda: self._store.range(prefix), PATIENCE
        )

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        """
        See L{IMetadataStore.commit}.
        """
        return await self._repeated.once(lambda: self._store.commit(compares, operations))

    async def watch(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> IWatch:
        """
        See L{IMetadataStore.watch}.
        """
        return await self._store.watch(prefix, revision, changed)

    async def lease(self, seconds: float) -> int:
        """
        See L{IMetadataStore.lease}.
        """
        return await self._store.lease(seconds)

    async def revoke(self, lease: int) -> None:
        """
        See L{IMetadataStore.revoke}.
        """
        await self._store.revoke(lease)

    async def close(self) -> None:
        """
        Repeat nothing any more.
        """
        self._repeated.stop()
        await self._store.close()
