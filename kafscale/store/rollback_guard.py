"""
Whether the metadata store is the one that the bucket's records belong to, as
it is now, and not as it was some time ago.

A metadata store that is restored from an old backup has forgotten what has
happened since: which journals there are, who was sealed, where segments end. A
broker that believed it would hand out numbers again that are in use, and would
take for missing or for left over what is there. So brokers set milestones in
the bucket: objects that have a revision for a name, the one of the last commit
that the broker has made. Who finds a milestone that is later than the metadata
store's own revision knows that time has gone backwards there. But revisions
grow again in a store that was restored, and can be raised by hand. So each
milestone has a name, too, and the metadata store knows the last ones.

They are set at each start and each end in good order, and in between from time
to time, also while the metadata store is away. So a backup passes for the truth
only if it is younger than the last milestone of brokers that were killed
together with the metadata store.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from kafscale.errors import (
    CommitConflict,
    NoSuchObject,
    ObjectExists,
    SettingError,
    StoreError,
)
from kafscale.interfaces import Compare, IMetadataStore, IObjectStore, Put
from kafscale.store.set_back import StoreSetBack

KEY = "milestones"
"""Where the last names are in the metadata store."""

KNOWN = 1000
"""How many they are at most: the last two of each broker, and those of brokers
that are no more."""

SECONDS = 15.0
"""From one look to the next."""

SELDOM = 4
"""After how many looks one is set, if there is something new: it costs a
request to the bucket."""


class Milestones:
    """
    Those of one broker.
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
    ) -> None:
        """
        @param committed: The revision of this broker's last commit.
        """
        self._metadata = metadata
        self._committed = committed
        self._objects = objects
        self._prefix = f"{namespace}/milestones/"
        self._clock = clock
        self._new_name = new_name
        self._name = self._name_before = ""  # the last two that we have put
        self._name_set = ""  # of the last milestone that is in the bucket
        self._made = 0  # our last milestone
        self._looks = 0  # since then
        self._due: IDelayedCall | None = None
        self._lost: Callable[[str], None] = lambda _: None

    async def begin(self) -> None:
        """
        Set the first one, if the metadata store knows of all that are there.

        @raise SettingError: it does not.
        """
        listed = [info.key for info in await self._objects.list(self._prefix)]
        if listed:
            last = max(listed)
            there = int(last.removeprefix(self._prefix))
            with suppress(NoSuchObject):  # another broker has just replaced it by a later one
                name = json.loads(await self._objects.get(last))["name"]
                revision, names, _ = await self._look()
                if revision < there or name not in names:
                    raise SettingError(_line(revision, there))
        await self._put()
        await self._set()
        await self._objects.delete([key for key in listed if key < self._key(self._made)])

    def keep(self, lost: Callable[[str], None]) -> None:
        """
        Look, and set one, again and again from now on.

        @param lost: Is told, in a line, that the metadata store has gone back.
        """
        self._lost = lost
        self._later()

    async def end(self) -> None:
        """
        Set the last one.
        """
        if self._due is not None:
            if self._due.active():
                self._due.cancel()
            self._due = None
            await self._renew()

    def _later(self) -> None:
        self._due = self._clock.callLater(SECONDS, self._again)

    def _again(self) -> None:
        def done(_: object) -> None:
            if self._due is not None:
                self._later()

        again = Deferred.fromCoroutine(self._look_and_set())
        again.addErrback(lambda failure: self._log.failure("a milestone was not set", failure))
        again.addBoth(done)

    async def _look_and_set(self) -> None:
        self._looks += 1
        with suppress(StoreError):  # it is away: the milestone is all the more needed
            try:
                revision, names, _ = await self._look()
                if self._name not in names:
                    raise StoreSetBack(revision, self._committed())
            except StoreSetBack as error:
                await self._renew()
                self._lost(_line(error.here, error.seen))
                return
            # Who has nothing new for long must not be forgotten all the same.
            is_old = names.index(self._name) < len(names) - KNOWN // 2
            is_due = self._looks >= SELDOM and self._committed() > self._made
            if not is_old and not is_due:
                return
            # While the bucket is away its last milestone has the name before.
            if self._name == self._name_set:
                await self._put()
        await self._renew()

    async def _renew(self) -> None:
        if self._committed() > self._made:
            before = self._made
            with suppress(StoreError):  # then next time
                await self._set()
                await self._objects.delete([self._key(before)])

    async def _put(self) -> None:
        """
        Let the metadata store know a new name.
        """
        while True:
            _, names, at = await self._look()
            # The last one stays: it is in the bucket until the new one is.
            names = [each for each in names if each != self._name_before]
            name = self._new_name()
            with suppress(CommitConflict):  # another broker was faster
                await self._metadata.commit(
                    [Compare(KEY, at)], [Put(KEY, [*names, name][-KNOWN:])]
                )
                self._name_before, self._name = self._name, name
                return

    async def _set(self) -> None:
        revision = self._committed()
        with suppress(ObjectExists):  # our own, by an attempt before
            body = json.dumps({"name": self._name}).encode()
            await self._objects.create(self._key(revision), [body])
        self._name_set = self._name
        self._made = revision
        self._looks = 0

    async def _look(self) -> tuple[int, list[str], int]:
        """
        The revision of the metadata store, the names that it knows, and their
        revision.
        """
        entries, revision = await self._metadata.range(KEY)
        for entry in entries:
            if entry.key == KEY:
                return revision, list(entry.value), entry.revision
        return revision, [], 0

    def _key(self, revision: int) -> str:
        return f"{self._prefix}{revision:020d}"


def _line(here: int, there: int) -> str:
    return (
        "the metadata in etcd is older than the records in the bucket: it is at revision"
        f" {here}, and what is in the bucket at {there} or later. It was restored from an old"
        " backup, or lost. Restore a newer one, or use another KAFSCALE_NAMESPACE"
        " (docs/operations.md: When etcd has lost its data)"
    )
