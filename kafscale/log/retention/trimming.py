"""
What journals hold that nobody needs any more.

When records are in segments, under a committed C{rolled_to}, slots may go: of
this broker's own journal those below the first that is still needed, of a
predecessor's all, when nothing in it is needed.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from kafscale.errors import CommitConflict
from kafscale.format import metadata_keys
from kafscale.interfaces import Compare
from kafscale.log.commit import settle
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.bundles import Bundles
from kafscale.log.journal.journal import Journal
from kafscale.log.takeover.sealed_journals import Estates

AGAIN = 1.0
"""Seconds after which a clearing up that failed is resumed."""


class Clearing:
    """
    Trims the journal of one incarnation, and winds up what it inherited.
    """

    _log = Logger()

    def __init__(
        self,
        environment: LogEnvironment,
        incarnation: int,
        *,
        journal: Journal,
        bundles: Bundles,
        sealed_journals: Estates,
    ) -> None:
        """
        @param incarnation: The number of the one whose journal is trimmed.
        @param bundles: Those of that journal.
        """
        self._objects = environment.objects
        self._metadata = environment.metadata
        self._clock = environment.clock
        self._journal = journal
        self._bundles = bundles
        self._sealed_journals = sealed_journals
        self._incarnation = incarnation
        self._alive = Compare(metadata_keys.seal(incarnation), 0)
        self._trim = 0  # as committed
        self._trimming: Deferred[None] | None = None
        self._winding: Deferred[None] | None = None
        self._wind_again: IDelayedCall | None = None
        self._wind_once_more = False  # something was rolled while it was under way
        self._stopped = False

    def begin(self) -> None:
        """
        Some records are not needed in a journal any more: trim what can be of
        this broker's, and wind up what it inherited.
        """
        self._trim_soon()
        self._wind_up_soon()

    def _wind_up_soon(self) -> None:
        if self._winding is not None:
            self._wind_once_more = True
        elif self._wind_again is None and not self._stopped:
            self._wind_once_more = False
            winding = Deferred.fromCoroutine(self._sealed_journals.wind_up())
            if not winding.called:
                self._winding = winding
            winding.addBoth(self._wound_up)

    def _wound_up(self, result: object) -> None:
        self._winding = None
        if result is not None and not self._stopped:
            self._log.warn("what was inherited is not wound up yet: {why}", why=result)
            self._wind_again = self._clock.callLater(AGAIN, self._wind_up_again)
        elif self._wind_once_more:
            self._wind_up_soon()

    def _wind_up_again(self) -> None:
        self._wind_again = None
        self._wind_up_soon()

    def _trim_soon(self) -> None:
        if self._journal.fenced:
            return  # its partitions are dropped, not rolled
        if self._trimming is None and self._journal.trimmable > self._trim:
            trimming = Deferred.fromCoroutine(self._trim_journal())
            if not trimming.called:
                self._trimming = trimming
            trimming.addBoth(self._trimmed)

    def _trimmed(self, result: object) -> None:
        self._trimming = None
        if result is not None:
            self._log.warn("trimming the journal failed: {why}", why=result)
        elif not self._stopped:
            self._trim_soon()

    async def _trim_journal(self) -> None:
        """
        Move the trim mark, and delete the slots below it once it is known to be
        committed (rules 7 and 9).
        """
        # Before the first wait: when it ends the journal may be fenced, and
        # its slots let go of though nothing of them is rolled (rule 7).
        target = self._journal.trimmable
        key = metadata_keys.incarnation(self._incarnation)
        entry = await self._metadata.get(key)
        assert entry is not None
        try:
            await settle(
                self._metadata, key, entry.revision, {**entry.value, "trim": target}, (self._alive,)
            )
        except CommitConflict:
            self._journal.fence()
            return
        first, self._trim = self._trim, target
        bundled = self._bundles.below(first, target)
        for at in range(0, len(bundled), 1000):
            await self._objects.delete(bundled[at : at + 1000])
        for at in range(first, target, 1000):
            await self._objects.delete(
                [self._journal.key(number) for number in range(at, min(at + 1000, target))]
            )

    def abandon(self) -> None:
        """
        Begin nothing more.
        """
        self._stopped = True
        if self._wind_again is not None:
            self._wind_again.cancel()
            self._wind_again = None

    async def ended(self) -> None:
        """
        Return when nothing is under way.
        """
        under_way = [each for each in (self._trimming, self._winding) if each is not None]
        await DeferredList(under_way, consumeErrors=True)
