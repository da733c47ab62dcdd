"""
How a cluster comes to write a new level of a stored format.

Brokers of several versions may run at the same time, and each must be able to
read what any of them writes. So a broker registers the highest level of each
format that it reads (`kafscale.format.levels`), and a new level is written only
when every registered broker reads it. The metadata entry C{levels} has two
maps from formats to levels, in which a format that is missing is at level 0:

  - C{required}: what a broker must read to be registered;
  - C{in_force}: what brokers write. It is never above C{required}, and never
    falls.

A level comes into force in two commits, both of which compare the revision of
the entry. The first one raises C{required} to what all registered brokers read.
The second one, if all brokers that are registered then still read it, makes it
C{in_force}. And each registration compares the revision of the entry at which
its broker has checked C{required}. So whichever comes first, a broker that does
not read the new level is not registered when it comes into force:

  - it has registered before the registrations are read for the second commit:
    then that commit is not made, and C{required} falls again;
  - it registers after the first commit: then its commit fails, and the broker
    reads the entry, and is refused.

A broker that is alone does both at once. A broker whose own table has no level
above 0 does neither; it only compares, with an entry that is normally absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.cluster.image import Image
from kafscale.concurrency.chore import Chore
from kafscale.errors import CommitConflict, SettingError, StoreUnavailable, reason_in_log
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.cluster import LevelsRecord
from kafscale.format.errors import UnreadableData
from kafscale.format.levels import levels_read
from kafscale.interfaces import Change, Compare, Entry, IMetadataStore, IWatch, Put

AGAIN = 1.0
"""Seconds from a failed attempt to raise a level to the next."""


class FormatLevels:
    """
    The levels of stored formats that this broker reads, and those that the
    cluster requires and writes.

    @ivar reads: The highest level of each format that this broker reads,
        without those of which it reads level 0 only.
    """

    _log = Logger()

    def __init__(
        self, store: IMetadataStore, clock: IReactorTime, reads: Mapping[str, int] | None = None
    ) -> None:
        """
        @param store: The metadata store.
        @param reads: By default those of this version.
        """
        self.reads = levels_read() if reads is None else reads
        self._store = store
        self._record = LevelsRecord()
        self._revision = 0  # at which the entry was that record
        self._was_read = False  # so that what was in force before is not reported
        self._seen = 0  # the revision of the store when it was read
        self._watch: IWatch | None = None
        self._logged = ""  # why they could not be raised, since they last could
        self._raising = Chore(clock, self._raise, self._not_raised)

    # -- registering -----------------------------------------------------------

    def guard(self) -> Compare:
        """
        What a registration has to compare: that the cluster requires what this
        broker was last known to read.

        @raise SettingError: the cluster requires a level that this broker does
            not read.
        """
        record = self._record
        for name in sorted(record.required.keys() | record.in_force.keys()):
            level = max(record.required.get(name, 0), record.in_force.get(name, 0))
            reads = self.reads.get(name, 0)
            if reads < level:
                raise SettingError(
                    f"the brokers of this cluster require level {level} of the stored format"
                    f" {name!r}, and this version reads it up to level {reads}: start the version"
                    " that the other brokers run (docs/compatibility.md)"
                )
        return Compare(metadata_keys.LEVELS, self._revision)

    async def read(self) -> None:
        """
        Find out what the cluster requires now.

        @raise StoreUnavailable: the store did not answer.
        """
        entries, self._seen = await self._store.range(metadata_keys.LEVELS)
        self._take(entries[0] if entries else None)

    # -- writing ---------------------------------------------------------------

    def in_force(self, name: str) -> int:
        """
        The level of a format to be written now. It is never above what all
        registered brokers read, and may be a moment behind.
        """
        return self._record.in_force.get(name, 0)

    async def start(self, image: Image) -> None:
        """
        Bring into force what all registered brokers read, now and whenever a
        broker comes or goes. This broker must be registered.

        @param image: Reports changed registrations.
        """
        if not self.reads:
            return  # there is nothing to be raised, nor to be followed
        await self._raise()
        self._watch = await self._store.watch(
            metadata_keys.LEVELS, self._seen, self._entry_changed
        )
        image.on_change(self._registrations_changed)
        self._raising.kick()  # for changes meanwhile

    def stop(self) -> None:
        """
        Raise nothing more.
        """
        self._raising.abandon()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _registrations_changed(self, changes: Sequence[Change]) -> None:
        if any(change.key.startswith(metadata_keys.BROKERS) for change in changes):
            self._raising.kick()

    def _entry_changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.key == metadata_keys.LEVELS and change.revision > self._revision:
                try:
                    self._take(change.entry)
                except UnreadableData as why:
                    self._log_not_raised(why)

    def _take(self, entry: Entry | None) -> None:
        before = self._record.in_force
        self._record = LevelsRecord() if entry is None else LevelsRecord.from_entry(entry)
        self._revision = 0 if entry is None else entry.revision
        raised = [
            f"{name} {level}"
            for name, level in sorted(self._record.in_force.items())
            if before.get(name, 0) < level <= self.reads.get(name, 0)
        ]
        was_read, self._was_read = self._was_read, True
        if raised and was_read:
            self._log.info(
                "this cluster cannot go back to a version of Kafscale that does not read what it"
                " stores from now on: {levels} (stored formats and their levels)",
                levels=", ".join(raised),
            )

    async def _raise(self) -> None:
        while True:
            # The entry first: a later registration compares this revision, or a newer one.
            await self.read()
            entries, _ = await self._store.range(metadata_keys.BROKERS)
            if not entries:
                return
            following = self._record.following(
                BrokerRecord.from_entry(entry).levels for entry in entries
            )
            if following == self._record:
                self._logged = ""
                return
            try:
                await self._store.commit(
                    [Compare(metadata_keys.LEVELS, self._revision)],
                    [Put(metadata_keys.LEVELS, following.to_json())],
                )
            except (CommitConflict, StoreUnavailable):
                continue  # read what came of it

    def _not_raised(self, failure: Failure) -> float:
        self._log_not_raised(failure.value)
        return AGAIN

    def _log_not_raised(self, error: BaseException | None) -> None:
        """
        Log why the levels stay as they are; once, however often it is tried.
        """
        why = reason_in_log(error)
        if why != self._logged:
            self._logged = why
            self._log.warn(
                "could not raise the levels of stored formats, trying again: {why}", why=why
            )
