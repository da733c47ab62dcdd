"""
How a broker joins the cluster, and leaves it.

Each start of a broker is an incarnation, which owns a journal of its own. Its
number must never have been used before, and it is not enough that it is random:
numbers that grow tell an operator which came first. The metadata store's
revision is such a number already, so the number is that of a commit.

A broker is a member while its registration is there: a key under a lease,
which goes when the broker is not heard of any more. That says who is alive to
the best of everyone's knowledge; what stops an incarnation is its seal. So a
registration that goes, while nobody has sealed the incarnation, is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.cluster.ids import base64_of, fresh
from kafscale.errors import CommitConflict, SettingError, StoreError, StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.cluster import cluster_id_of
from kafscale.format.incarnation import CREATE, IncarnationRecord
from kafscale.interfaces import Broker, Compare, Delete, Entry, IMetadataStore, Phase, Put

LOOK = 0.5
"""Seconds between two looks at a registration that is another's."""

AGAIN = 1.0
"""Seconds after which what failed is tried again."""


async def cluster_id(store: IMetadataStore, new_id: Callable[[], UUID] = uuid4) -> str:
    """
    The cluster's id, 22 characters of base64url; whoever comes first makes it,
    and it never changes.
    """
    while True:
        entry = await store.get(metadata_keys.CLUSTER_ID)
        if entry is not None:
            return cluster_id_of(entry)
        made = Put(metadata_keys.CLUSTER_ID, base64_of(fresh(new_id)))
        with suppress(CommitConflict):  # another broker was first: its id is the cluster's
            await store.commit([Compare(metadata_keys.CLUSTER_ID, 0)], [made])


class Membership:
    """
    This broker's place in the cluster.

    @ivar incarnation: The present one; 0 before L{join}.
    @ivar revision: At which it was registered.
    """

    _log = Logger()

    def __init__(
        self,
        store: IMetadataStore,
        broker: Broker,
        clock: IReactorTime,
        replaced: Callable[[], None],
        *,
        lease_seconds: float = 10.0,
        fencing: str = CREATE,
        version: str = "",
    ) -> None:
        """
        @param broker: As it is to be registered.
        @param replaced: Called when the incarnation turns out to be another's
            past: it is sealed, or somebody else has registered in its place.
        @param lease_seconds: How long the registration outlives the broker.
        @param fencing: What stops it (`kafscale.log.journal.fencing`): "create" or
            "metadata".
        @param version: Of the broker's software, for operators to read.
        """
        self._store = store
        self._key = metadata_keys.broker(broker.broker_id)
        self._broker = broker
        self._clock = clock
        self._replaced = replaced
        self._lease_seconds = lease_seconds
        self._fencing = fencing
        self._version = version
        self._leases: list[int] = []
        self._drawn: set[int] = set()  # all numbers that were this broker's
        self._phase = Phase.STARTING
        self._renewing = False
        self._absent = False  # it was taken away while it was being renewed
        self.incarnation = 0
        self.revision = 0

    async def join(self) -> int:
        """
        Become a new incarnation, and register as that. Its number.

        After a failure of unknown outcome it is called again as a whole: an
        incarnation that was drawn and never used has an empty journal, and
        does no harm.

        @raise SettingError: another broker lives that has this one's id.
        """
        self._phase = Phase.STARTING
        number = await self._store.commit(
            [], [Put(metadata_keys.LAST_INCARNATION, self._broker.broker_id)]
        )
        self._drawn.add(number)
        record = IncarnationRecord(self._broker.broker_id, fencing=self._fencing)
        lease = await self._lease()
        waited = 0.0
        while True:
            found = await self._store.get(self._key)
            other = None if found is None else BrokerRecord.from_entry(found)
            if other is not None and not self._is_past(other):
                # It may be dead, and its lease not over; or a mistake.
                if waited > self._lease_seconds + AGAIN:
                    raise SettingError(
                        f"broker id {self._broker.broker_id} is in use by"
                        f" {other.host}:{other.port}: each broker needs its own"
                        " (KAFSCALE_BROKER_ID)"
                    )
                await deferLater(self._clock, LOOK)
                waited += LOOK
                continue
            revision = 0 if found is None else found.revision
            try:
                # Together: who sees the registration finds the journal's record.
                self.revision = await self._store.commit(
                    [Compare(metadata_keys.incarnation(number), 0), Compare(self._key, revision)],
                    [
                        Put(metadata_keys.incarnation(number), record.to_json()),
                        Put(self._key, self._value(number), lease),
                    ],
                )
            except CommitConflict:
                # Somebody else has registered; or the lease has ended meanwhile.
                lease = await self._lease()
                continue
            self.incarnation = number
            self._absent = False
            await self._end_leases(before=lease)
            return number

    def _value(self, incarnation: int) -> dict[str, Any]:
        broker = self._broker
        return BrokerRecord(
            broker.host,
            broker.port,
            broker.rack,
            broker.weight,
            self._version,
            incarnation,
            self._phase,
        ).to_json()

    def _is_past(self, found: BrokerRecord) -> bool:
        """
        Whether a registration is our own: of an incarnation that we were; or,
        before we were any, of who had our address, and has left it to us.
        """
        if found.incarnation in self._drawn:
            return True
        same = (found.host, found.port) == (self._broker.host, self._broker.port)
        return same and not self.incarnation

    # -- staying -------------------------------------------------------------

    def seen(self, entry: Entry | None) -> None:
        """
        What is registered for this broker's id now; None for nothing.
        """
        if not self.incarnation:
            return
        if entry is None:
            self._absent = True
            if not self._renewing:
                self._renewing = True
                Deferred.fromCoroutine(self._renew()).addErrback(self._not_renewed)
            return
        found = BrokerRecord.from_entry(entry)
        if found.incarnation > max(self._drawn):
            self._log.error(
                "another process at {found.host}:{found.port} has registered with the id of this"
                " broker",
                found=found,
            )
            self._replaced()

    async def _renew(self) -> None:
        """
        The lease has ended, as if this broker were dead: unless somebody has
        stopped it, it is there.
        """
        try:
            while self._absent and self._phase is not Phase.LEAVING:
                incarnation = self.incarnation
                try:
                    await self._register_again(incarnation)
                except (StoreUnavailable, CommitConflict) as why:
                    if incarnation != self.incarnation:
                        continue  # joined anew meanwhile
                    if await self._store.get(metadata_keys.seal(incarnation)) is not None:
                        self._absent = False
                        self._replaced()
                        return
                    found = await self._store.get(self._key)
                    if found is not None:  # done; if by another, `seen` will be told
                        self._absent = False
                        return
                    self._log.warn("not registered again yet: {why}", why=why)
                    await deferLater(self._clock, AGAIN)
        finally:
            self._renewing = False

    async def _register_again(self, incarnation: int) -> None:
        lease = await self._lease()
        await self._store.commit(
            [Compare(metadata_keys.seal(incarnation), 0), Compare(self._key, 0)],
            [Put(self._key, self._value(incarnation), lease)],
        )
        self._absent = False
        self._log.warn("registered again: the lease had ended, but nobody has taken over")
        await self._end_leases(before=lease)

    def _not_renewed(self, failure: Failure) -> None:
        self._log.failure("not registered any more", failure)

    async def announce(self, phase: Phase) -> None:
        """
        Tell the others how far this broker is.
        """
        self._phase = phase
        while True:
            found = await self._store.get(self._key)
            if found is None or not self._is_ours(found):
                return  # it is told with the next registration, if there is one
            value = self._value(self.incarnation)
            if found.value == value or not self._leases:  # it has left meanwhile
                return
            with suppress(CommitConflict, StoreUnavailable):  # read what came of it
                await self._store.commit(
                    [Compare(self._key, found.revision)], [Put(self._key, value, self._leases[-1])]
                )

    def _is_ours(self, found: Entry) -> bool:
        return BrokerRecord.from_entry(found).incarnation == self.incarnation

    # -- leaving -------------------------------------------------------------

    async def leave(self) -> None:
        """
        Take the broker out of the cluster, unless a later incarnation of it has
        registered meanwhile.
        """
        self._phase = Phase.LEAVING
        found = await self._store.get(self._key)
        if found is not None and self._is_ours(found):
            # A conflict: it is another's by now, or has ended with its lease.
            with suppress(CommitConflict):
                await self._store.commit([Compare(self._key, found.revision)], [Delete(self._key)])
        await self._end_leases()

    # -- leases --------------------------------------------------------------

    async def _lease(self) -> int:
        lease = await self._store.lease(self._lease_seconds)
        self._leases.append(lease)
        return lease

    async def _end_leases(self, before: int | None = None) -> None:
        """
        What registrations of the past lived with: the leases that were given
        before this one; all, if none is named.
        """
        ended = list(self._leases)
        if before is not None:
            ended = ended[: ended.index(before)] if before in ended else []
        for lease in ended:
            if lease in self._leases:  # joining and registering again may do this together
                self._leases.remove(lease)
                with suppress(StoreError):  # then it ends by itself
                    await self._store.revoke(lease)
