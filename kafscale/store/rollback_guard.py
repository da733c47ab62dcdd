"""
Detects a metadata store that was rolled back behind the records in the bucket.

An etcd or a data directory that was restored from an old backup has forgotten
what happened since: which journals exist, which of them were sealed, where
segments end. A broker that trusted it would reuse numbers that are in use, and
would take objects for missing or for garbage. So brokers write milestones to the
bucket: objects named after a revision of the metadata store, that of the broker's
last commit. A milestone with a higher revision than the metadata store shows that
the store was rolled back. But revisions grow again after a restore, and can be raised by
hand (C{etcdutl snapshot restore --bump-revision}). So each milestone also has a
random name, and the metadata store lists the latest names.

A milestone is written at each start and at each orderly stop, and in between at
intervals, also while the metadata store is unavailable. So a rolled-back store
goes unnoticed only if its backup is younger than the last milestone, and all
brokers were killed together with it (docs/operations.md, "When etcd has lost
its data"). docs/storage.md has the layout of a milestone. With objects in a
data directory there are none: metadata and objects are backed up together.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.errors import (
    CommitConflict,
    MetadataRolledBack,
    NoSuchObject,
    ObjectExists,
    SettingError,
    StoreError,
    reason_in_log,
)
from kafscale.format import object_keys
from kafscale.format.cluster import milestone_names_of, read_milestone, write_milestone
from kafscale.format.metadata_keys import MILESTONES
from kafscale.interfaces import Compare, IMetadataStore, IObjectStore, Put

KNOWN = 1000
"""The maximum length of the list of names: the last two names of each broker, and those
of brokers that are gone."""

SECONDS = 15.0
"""From one check to the next."""

SELDOM = 4
"""A milestone is written after this many checks, if the broker has committed
something: it costs a request to the bucket."""


class RollbackGuard:
    """
    Writes and checks the milestones of one broker.
    """

    _log = Logger()

    def __init__(
        self,
        metadata: IMetadataStore,
        committed: Callable[[], int],
        objects: IObjectStore,
        namespace: str,
        clock: IReactorTime,
        new_name: Callable[[], str],
        where: str = "etcd",
    ) -> None:
        """
        @param metadata: The store that is guarded.
        @param committed: Returns the revision of this broker's last commit.
        @param objects: The bucket that milestones are written to.
        @param namespace: The first part of their keys.
        @param clock: Times the checks.
        @param new_name: Returns a name that no milestone has had.
        @param where: The place of the metadata, for messages.
        """
        self._metadata = metadata
        self._committed = committed
        self._objects = objects
        self._namespace = namespace
        self._clock = clock
        self._new_name = new_name
        self._where = where
        self._name = self._name_before = ""  # the last two names that we have listed
        self._written_name = ""  # of our last milestone in the bucket
        self._written_revision = 0  # likewise
        self._checks = 0  # since it was written
        self._checking: Chore | None = None

    async def begin(self) -> None:
        """
        Write the first milestone, if the metadata store knows the last one in
        the bucket.

        @raise SettingError: the metadata store was rolled back.
        @raise StoreUnavailable: one of the stores did not answer.
        """
        listed = [
            info.key for info in await self._objects.list(object_keys.milestones(self._namespace))
        ]
        if listed:
            last = max(listed)
            there = object_keys.milestone_revision(last)
            with suppress(NoSuchObject):  # another broker has just replaced it by a later one
                name = read_milestone(last, await self._objects.get(last))
                revision, names, _ = await self._read_names()
                if revision < there or name not in names:
                    raise SettingError(self._line(revision, there))
        await self._add_name()
        await self._write()
        older = [key for key in listed if key < self._key(self._written_revision)]
        await self._objects.delete(older)

    def watch(self, rolled_back: Callable[[str], None]) -> None:
        """
        Check the metadata store, and write milestones, at intervals.

        @param rolled_back: Called with a line for the log at each check that
            finds that the metadata store was rolled back.
        """

        async def check() -> None:
            await self._check(rolled_back)

        self._checking = Chore(self._clock, check, self._check_failed, interval=SECONDS)
        self._checking.start()

    async def end(self) -> None:
        """
        Stop checking, and write the last milestone.
        """
        if self._checking is not None:
            self._checking.abandon()
            self._checking = None
            await self._replace()

    def _check_failed(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreError):
            self._log.warn(
                "could not check the metadata against the milestones in the bucket, next in"
                " {seconds:g} s: {why}",
                seconds=SECONDS,
                why=reason_in_log(failure.value),
            )
        else:
            self._log.failure(
                "internal error while checking the metadata against the milestones in the bucket,"
                " next in {seconds:g} s",
                failure,
                seconds=SECONDS,
            )

    async def _check(self, rolled_back: Callable[[str], None]) -> None:
        self._checks += 1
        with suppress(StoreError):  # unavailable: all the more reason to write a milestone
            try:
                revision, names, _ = await self._read_names()
                if self._name not in names:
                    raise MetadataRolledBack(revision, self._committed())
            except MetadataRolledBack as error:
                await self._replace()
                rolled_back(self._line(error.here, error.seen))
                return
            # The name of a broker that commits nothing for long must stay in the list.
            is_old = names.index(self._name) < len(names) - KNOWN // 2
            is_due = self._checks >= SELDOM and self._committed() > self._written_revision
            if not is_old and not is_due:
                return
            # While the bucket is away its last milestone has the name before.
            if self._name == self._written_name:
                await self._add_name()
        await self._replace()

    async def _replace(self) -> None:
        """
        Write a milestone and delete the one before, if there was a commit since.
        """
        if self._committed() > self._written_revision:
            before = self._written_revision
            with suppress(StoreError):  # the next check tries again
                await self._write()
                await self._objects.delete([self._key(before)])

    async def _add_name(self) -> None:
        """
        Put a new name in the metadata store's list.
        """
        while True:
            _, names, at = await self._read_names()
            # Our last name stays: its milestone is in the bucket until the new one is.
            names = [each for each in names if each != self._name_before]
            name = self._new_name()
            with suppress(CommitConflict):  # another broker was faster
                await self._metadata.commit(
                    [Compare(MILESTONES, at)], [Put(MILESTONES, [*names, name][-KNOWN:])]
                )
                self._name_before, self._name = self._name, name
                return

    async def _write(self) -> None:
        revision = self._committed()
        with suppress(ObjectExists):  # our own, by an attempt before
            body = write_milestone(self._name)
            await self._objects.create(self._key(revision), [body])
        self._written_name = self._name
        self._written_revision = revision
        self._checks = 0

    async def _read_names(self) -> tuple[int, list[str], int]:
        """
        The revision of the metadata store, the names that it lists, and the
        revision of that list.
        """
        entries, revision = await self._metadata.range(MILESTONES)
        for entry in entries:
            if entry.key == MILESTONES:
                return revision, milestone_names_of(entry), entry.revision
        return revision, [], 0

    def _key(self, revision: int) -> str:
        return object_keys.milestone(self._namespace, revision)

    def _line(self, here: int, there: int) -> str:
        return (
            f"the metadata in {self._where} is older than the records in the bucket: it is at"
            f" revision {here}, the bucket was written at revision {there} or later."
            f" {self._where} was restored from an old backup, or has lost its data. Restore a"
            " newer one, or begin anew with new metadata in another KAFSCALE_NAMESPACE"
            " (docs/operations.md: When etcd has lost its data)"
        )
