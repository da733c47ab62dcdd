"""
What journals hold that nobody needs any more.

When records are in segments, under a committed C{rolled_to}, slots may go: of
this broker's own journal those below the first that is still needed, of a
predecessor's all, when nothing in it is needed.
"""

from __future__ import annotations

import attrs
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.errors import CommitConflict
from kafscale.format import metadata_keys
from kafscale.format.incarnation import IncarnationRecord
from kafscale.interfaces import Compare
from kafscale.log.commit import settle
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.bundles import Bundles
from kafscale.log.journal.journal import Journal
from kafscale.log.takeover.sealed_journals import SealedJournals

RETRY_SECONDS = 1.0
"""Seconds after which a clearing up that failed is resumed."""


class JournalTrimmer:
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
        sealed_journals: SealedJournals,
    ) -> None:
        """
        @param incarnation: The number of the one whose journal is trimmed.
        @param bundles: Those of that journal.
        """
        self._objects = environment.objects
        self._metadata = environment.metadata
        self._journal = journal
        self._bundles = bundles
        self._incarnation = incarnation
        self._alive = Compare(metadata_keys.seal(incarnation), 0)
        self._trim = 0  # as committed
        clock = environment.clock
        self._trimming = Chore(clock, self._trim_journal, self._not_trimmed)
        self._deleting = Chore(clock, sealed_journals.delete_rolled, self._not_deleted)

    def kick(self) -> None:
        """
        Some records are not needed in a journal any more: trim what can be of
        this broker's, and wind up what it inherited.
        """
        self._trimming.kick()
        self._deleting.kick()

    def _not_deleted(self, failure: Failure) -> float:
        self._log.warn("what was inherited is not wound up yet: {why}", why=failure)
        return RETRY_SECONDS

    def _not_trimmed(self, failure: Failure) -> None:
        self._log.warn("trimming the journal failed: {why}", why=failure)

    async def _trim_journal(self) -> None:
        """
        Move the trim mark, and delete the slots below it once it is known to be
        committed (rules 7 and 9).
        """
        if self._journal.fenced:
            return  # its partitions are dropped, not rolled
        # Before the first wait: when it ends the journal may be fenced, and
        # its slots let go of though nothing of them is rolled (rule 7).
        target = self._journal.trimmable
        if target <= self._trim:
            return
        key = metadata_keys.incarnation(self._incarnation)
        entry = await self._metadata.get(key)
        assert entry is not None
        try:
            record = attrs.evolve(IncarnationRecord.from_entry(entry), trim=target)
            await settle(self._metadata, key, entry.revision, record.to_json(), (self._alive,))
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
        self._trimming.kick()  # more may be trimmable by now

    def abandon(self) -> None:
        """
        Wind up nothing more. What is still rolled is trimmed.
        """
        self._deleting.abandon()

    async def stop(self) -> None:
        """
        Begin nothing more; return when nothing is under way.
        """
        await self._trimming.stop()
        await self._deleting.stop()
