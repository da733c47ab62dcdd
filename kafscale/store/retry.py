"""
Repeats the requests that a store did not answer.

A create is repeated for as long as it takes, with the same key and the same
bytes: only another attempt can tell whether the first one arrived, and giving
up would leave records that are neither stored nor refused. Reads give up after
a while, because a client waits that can ask again.

The waits between attempts grow up to a limit. They have jitter, so that many
brokers that lost the same store do not come back to it in step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale.errors import MetadataRolledBack, StoreBusy, StoreContended, StoreUnavailable
from kafscale.interfaces import IMetadataStore, IObjectStore
from kafscale.store.wrapping import MetadataStoreWrapper, ObjectStoreWrapper

T = TypeVar("T")

FIRST_WAIT = 0.05
LONGEST_WAIT = 5.0
"""Seconds before the second attempt, and at most between two attempts."""

WAITS: dict[type[StoreUnavailable], tuple[float, float]] = {
    StoreBusy: (0.5, 20.0),
    StoreContended: (0.02, 1.0),
}
"""The same two numbers for failures of certain kinds: an overloaded store needs
more time, one that several brokers asked for the same needs less."""

PATIENCE = 20.0
"""For how many seconds a read is repeated. Kafka's clients give up after 30 s
(C{request.timeout.ms})."""

FOR_EVER = float("inf")


class Retrier:
    """
    Repeats the requests to one store.
    """

    _log = Logger()

    def __init__(self, store: str, clock: IReactorTime, jitter: Callable[[], float]) -> None:
        """
        @param store: What the store is called in the log.
        @param clock: Times the waits.
        @param jitter: Returns a number from 0 to 1, another one at each call.
        """
        self._store = store
        self._clock = clock
        self._jitter = jitter
        self._stopped = False
        self._next_wait = FIRST_WAIT  # after the next failure of `once`

    async def retry(self, what: str, request: Callable[[], Awaitable[T]], patience: float) -> T:
        """
        Make a request until the store answers, and return the answer.

        @param what: What the request does, for the log.
        @param patience: The number of seconds after which no further attempt
            is made.
        @raise StoreUnavailable: the last attempt failed, too.
        @raise MetadataRolledBack: at once, as no attempt can succeed.
        """
        begun = self._clock.seconds()
        failed: Counter[type[StoreUnavailable]] = Counter()
        is_logged = False
        while True:
            try:
                answer = await request()
            except MetadataRolledBack:
                raise
            except StoreUnavailable as unavailable:
                waited = self._clock.seconds() - begun
                if self._stopped or waited >= patience:
                    raise
                if not is_logged and waited >= 1:
                    self._log.warn(
                        "{store} request failed, retrying: {what}: {reason}",
                        store=self._store,
                        what=what,
                        reason=unavailable,
                    )
                    is_logged = True
                kind = type(unavailable)
                first, longest = WAITS.get(kind, (FIRST_WAIT, LONGEST_WAIT))
                await self._pause(min(first * 2 ** min(failed[kind], 16), longest))
                failed[kind] += 1
            else:
                if is_logged:
                    self._log.info(
                        "{store} request succeeded after {seconds:.0f} s: {what}",
                        store=self._store,
                        what=what,
                        seconds=self._clock.seconds() - begun,
                    )
                return answer

    async def once(self, request: Callable[[], Awaitable[T]]) -> T:
        """
        Make a request once, and return the answer. A failure is raised after a
        wait, which grows with the number of failures in a row: so a caller may
        try again at once.

        @raise StoreUnavailable: the store did not answer.
        """
        try:
            answer = await request()
        except StoreUnavailable:
            if not self._stopped:
                wait = self._next_wait
                self._next_wait = min(wait * 2, LONGEST_WAIT)
                await self._pause(wait)
            raise
        self._next_wait = FIRST_WAIT
        return answer

    def _pause(self, wait: float) -> Deferred[None]:
        return deferLater(self._clock, wait * (0.5 + self._jitter() / 2))

    def stop(self) -> None:
        """
        Start no further attempts: the next failure of each request is raised.
        """
        self._stopped = True


class RetryingObjectStore(ObjectStoreWrapper):
    """
    An object store whose requests are repeated until the store answers:
    creates until the store is closed, all others for L{PATIENCE} seconds.
    """

    def __init__(
        self, inner: IObjectStore, clock: IReactorTime, jitter: Callable[[], float]
    ) -> None:
        """
        @param inner: The store that requests are passed on to.
        @param clock: Times the waits between attempts.
        @param jitter: Returns a number from 0 to 1, another one at each call.
        """
        super().__init__(inner)
        self._retrier = Retrier("object store", clock, jitter)

    def call(self, operation: str, key: str, perform: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """
        Repeat a request until the store answers.
        """
        patience = FOR_EVER if operation == "create" else PATIENCE
        return self._retrier.retry(f"{operation} {key}", perform, patience)

    async def close(self) -> None:
        """
        See L{IObjectStore.close}. Requests are repeated no more.
        """
        self._retrier.stop()
        await super().close()


class RetryingMetadataStore(MetadataStoreWrapper):
    """
    A metadata store whose reads are repeated until the store answers: ranges, and
    what watches catch up with, for L{PATIENCE} seconds, all others until the store is
    closed.

    A commit is made once. It may have been done although there was no answer,
    and only its caller can read back whether it was (L{kafscale.log.commit}).
    Its failure is raised after the wait before another attempt. Watches and
    leases are passed on: the store keeps them going by itself.
    """

    def __init__(
        self, inner: IMetadataStore, clock: IReactorTime, jitter: Callable[[], float]
    ) -> None:
        """
        @param inner: The store that requests are passed on to.
        @param clock: Times the waits between attempts.
        @param jitter: Returns a number from 0 to 1, another one at each call.
        """
        super().__init__(inner)
        self._retrier = Retrier("metadata store", clock, jitter)

    def call(self, operation: str, key: str, perform: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """
        Repeat a read until the store answers; delay the failure of a commit.
        """
        if operation == "commit":
            return self._retrier.once(perform)
        if operation in ("get", "holds", "range", "catch_up"):
            patience = PATIENCE if operation in ("range", "catch_up") else FOR_EVER
            return self._retrier.retry(f"{operation} {key}", perform, patience)
        return perform()

    async def close(self) -> None:
        """
        See L{IMetadataStore.close}. Requests are repeated no more.
        """
        self._retrier.stop()
        await super().close()
