"""
Having the markers of a decided transaction written.

The decision is one record in the metadata store. Everything after it is repeated until
it is done, by whoever coordinates the id: a marker is sent to the present leader of each
partition, and to the coordinator of each group, again and again, until that says that it
is durable (rule T28). A marker that comes twice is harmless, because it has the number of
its transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.gathering import all_settled
from kafscale.errors import StoreError, reason_in_log
from kafscale.interfaces import IImage, IMarkerWriter, Marker, Place

SHORTEST_PAUSE = 0.1
"""Seconds after the first attempt that was not successful everywhere."""

LONGEST_PAUSE = 1.0
"""Seconds to which the pauses between attempts grow."""

SILENT_ATTEMPTS = 30
"""Every so many attempts a line in the log says what is missing."""


class Sending:
    """
    The markers of one transaction, until all are durable.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        marker: Marker,
        places: Iterable[Place],
        writer: IMarkerWriter,
        image: IImage,
        clock: IReactorTime,
    ) -> None:
        """
        @param name: The transactional id.
        """
        self.marker = marker
        self._name = name
        self._left = list(places)
        self._writer = writer
        self._image = image
        self._clock = clock
        self._stopped = False
        self._sleeping: Deferred[None] | None = None

    def start(self, done: Callable[[], None]) -> None:
        """
        Send them.

        @param done: Called when all are durable, and not after L{stop}.
        """

        async def send() -> None:
            with suppress(CancelledError):
                await self._send_all()
                if not self._stopped:
                    done()

        Deferred.fromCoroutine(send()).addErrback(self._defect)

    def stop(self) -> None:
        """
        Send no more. Those that are under way may still arrive.
        """
        self._stopped = True
        if self._sleeping is not None:
            self._sleeping.cancel()

    async def _send_all(self) -> None:
        pause, attempts = SHORTEST_PAUSE, 0
        while self._left and not self._stopped:
            attempts += 1
            outcomes = await all_settled(
                [Deferred.fromCoroutine(self._write(place)) for place in self._left]
            )
            failed = [
                (place, outcome)
                for place, outcome in zip(self._left, outcomes, strict=True)
                if isinstance(outcome, Failure)
            ]
            self._left = await self._existing([place for place, _ in failed])
            if self._left and not self._stopped:
                if attempts % SILENT_ATTEMPTS == 0:
                    self._log_missing(failed[0][1])
                self._sleeping = deferLater(self._clock, pause)
                await self._sleeping
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _write(self, place: Place) -> None:
        await self._writer.write(self.marker, place)

    async def _existing(self, places: Sequence[Place]) -> list[Place]:
        """
        Those of these places that need a marker: all but partitions of topics that are
        known from the store to be deleted.
        """
        topic_ids = {place[0] for place in places if not isinstance(place, str)}
        try:
            gone = set(await self._image.gone(sorted(topic_ids)))
        except StoreError:
            gone = set()
        return [place for place in places if isinstance(place, str) or place[0] not in gone]

    def _log_missing(self, failure: Failure) -> None:
        self._log.warn(
            "transaction {number} of {name} is decided, but {count} partitions or groups could"
            " not be told, trying again; consumers that read committed records wait there:"
            " {why}",
            number=self.marker.number,
            name=self._name,
            count=len(self._left),
            why=reason_in_log(failure.value),
        )

    def _defect(self, failure: Failure) -> None:
        self._log.failure(
            "internal error while the markers of {name} were sent; they are sent when its shard"
            " is loaded next",
            failure,
            name=self._name,
        )
