"""
Deleting slots of journals that are no longer needed.

Slots can be deleted when their records are in segments, under a committed
C{rolled_to}. Of this incarnation's journal these are the slots below the first
one that is still needed; of a sealed journal all of them, when none is needed.
"""

from __future__ import annotations

import attrs
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.errors import CommitConflict, reason_in_log
from kafscale.format import metadata_keys
from kafscale.format.incarnation import IncarnationRecord
from kafscale.interfaces.incarnations import alive
from kafscale.log.commit import settle
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.bundles import Bundles
from kafscale.log.journal.journal import Journal
from kafscale.log.takeover.sealed_journals import SealedJournals

RETRY_SECONDS = 1.0
"""Seconds after which deleting a sealed journal's slots is tried again."""


class JournalTrimmer:
    """
    Trims the journal of one incarnation, and deletes the slots of sealed
    journals.
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
        @param incarnation: The number of the incarnation whose journal is
            trimmed.
        @param bundles: The bundles of that journal.
        @param sealed_journals: Those of earlier incarnations.
        """
        self._objects = environment.objects
        self._metadata = environment.metadata
        self._journal = journal
        self._bundles = bundles
        self._incarnation = incarnation
        self._alive = alive(incarnation)
        self._trim = 0  # as committed
        clock = environment.clock
        self._trimming = Chore(clock, self._trim_journal, self._not_trimmed)
        self._deleting = Chore(clock, sealed_journals.delete_rolled, self._not_deleted)

    def kick(self) -> None:
        """
        Delete slots, because some records are not needed in a journal any more.
        """
        self._trimming.kick()
        self._deleting.kick()

    def _not_deleted(self, failure: Failure) -> float:
        self._log.warn(
            "could not delete the slots of a sealed journal, trying again in {seconds:.0f} s:"
            " {why}",
            seconds=RETRY_SECONDS,
            why=reason_in_log(failure.value),
        )
        return RETRY_SECONDS

    def _not_trimmed(self, failure: Failure) -> None:
        self._log.warn(
            "could not trim the journal, trying again after the next roll: {why}",
            why=reason_in_log(failure.value),
        )

    async def _trim_journal(self) -> None:
        """
        Move the trim mark, and delete the slots below it once it is known to be
        committed (rules 7 and 9).
        """
        if self._journal.fenced:
            return  # its partitions were dropped, not rolled
        # Before the first wait: after it the journal may be fenced, and its
        # slots free of records that were never rolled (rule 7).
        target = self._journal.trimmable
        if target <= self._trim:
            return
        key = metadata_keys.incarnation(self._incarnation)
        entry = await self._metadata.get(key)
        if entry is None:  # it was replaced so long ago that its record is gone (rule 27)
            self._journal.fence()
            return
        try:
            record = attrs.evolve(IncarnationRecord.from_entry(entry), trim=target)
            await settle(self._metadata, key, entry.revision, record.to_json(), self._alive)
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
        Stop deleting slots of sealed journals. The rolls that are under way
        still trim this incarnation's journal.
        """
        self._deleting.abandon()

    async def stop(self) -> None:
        """
        Start nothing more, and return when nothing is under way.
        """
        await self._trimming.stop()
        await self._deleting.stop()
