"""
Records how many slots of a journal are stored at least.

Where a journal ends is found by looking for the first slot that is missing. A
slot that was never stored and one that was deleted by a rule of the bucket, or
is in another store, look the same. So the number of slots that are acknowledged
is recorded now and then, and at an orderly stop, and a journal does not end
before that (rule 26). No append waits for it, so the number in the metadata is
that of a minute ago at most.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.errors import StoreError
from kafscale.format import metadata_keys
from kafscale.format.incarnation import JournalRecord
from kafscale.interfaces import Compare, IMetadataStore, Put
from kafscale.log.commit import settle

FIRST_SECONDS = 1.0
"""Seconds from the first slot until it is recorded."""

SECONDS = 60.0
"""Seconds from one record to the next, if there are more slots."""


class StoredSlots:
    """
    Counts the acknowledged slots of one incarnation's journal.
    """

    _log = Logger()

    def __init__(self, metadata: IMetadataStore, clock: IReactorTime, incarnation: int) -> None:
        self._metadata = metadata
        self._key = metadata_keys.journal(incarnation)
        # The entry does not outlive the incarnation's record (rule 27).
        self._exists = Compare(metadata_keys.incarnation(incarnation), None)
        self._count = self._recorded = 0
        self._revision = 0  # of the entry
        self._recording = Chore(clock, self._record, self._not_recorded)

    def acknowledged(self, number: int) -> None:
        """
        Count a slot: it is acknowledged, as are all slots before it.

        @param number: The number of the slot.
        """
        self._count = number + 1
        self._recording.kick_after(SECONDS if self._recorded else FIRST_SECONDS)

    async def _record(self) -> None:
        count = self._count
        value = JournalRecord(count).to_json()
        self._revision = await settle(
            self._metadata, self._key, self._revision, value, (self._exists,)
        )
        self._recorded = count

    def _not_recorded(self, failure: Failure) -> None:
        self._log.warn(
            "could not record how many slots are stored in {key}, trying again with a later slot:"
            " {why}",
            key=self._key,
            why=failure.getErrorMessage(),
        )

    def abandon(self) -> None:
        """
        Record nothing more.
        """
        self._recording.abandon()

    async def stop(self) -> None:
        """
        Record the last number, if the metadata store answers.
        """
        await self._recording.stop()
        if self._count > self._recorded:
            value = JournalRecord(self._count).to_json()
            with suppress(StoreError):
                await self._metadata.commit(
                    [Compare(self._key, self._revision), self._exists], [Put(self._key, value)]
                )
