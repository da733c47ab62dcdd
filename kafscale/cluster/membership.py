"""
The membership of brokers in the cluster.

Each start of a broker is an incarnation, which has a journal of its own. The number
of an incarnation must never repeat, and should grow, so that operators can tell
which came first. Revisions of the metadata store have both properties, so the
number is the revision of a commit.

A broker is a member while its registration exists: a key with a lease, which
expires when the broker does not renew it. The registration is only the best
knowledge of whether a broker lives; a seal is what stops an incarnation. So a
registration that expires before the incarnation is sealed is made again.
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
from kafscale.cluster.levels import FormatLevels
from kafscale.errors import CommitConflict, SettingError, StoreError, StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.cluster import cluster_id_of
from kafscale.format.incarnation import (
    CREATE,
    GUARDED_LEVEL,
    IncarnationRecord,
    lowest_incarnation_of,
)
from kafscale.interfaces import Broker, Compare, Delete, Entry, IMetadataStore, Phase, Put
from kafscale.interfaces.incarnations import alive

POLL_SECONDS = 0.5
"""Seconds between two looks at the registration of another process."""

RETRY_SECONDS = 1.0
"""Seconds until a registration that failed is tried again."""


async def cluster_id(store: IMetadataStore, new_id: Callable[[], UUID] = uuid4) -> str:
    """
    Return the id of the cluster, 22 characters of base64url. The first broker creates
    it, and it never changes.

    @param new_id: Creates random UUIDs.
    """
    while True:
        entry = await store.get(metadata_keys.CLUSTER_ID)
        if entry is not None:
            return cluster_id_of(entry)
        made = Put(metadata_keys.CLUSTER_ID, base64_of(fresh(new_id)))
        with suppress(CommitConflict):  # another broker was first, and its id is in force
            await store.commit([Compare(metadata_keys.CLUSTER_ID, 0)], [made])


class Membership:
    """
    The registration of this broker.

    @ivar incarnation: The number of the present incarnation; 0 before L{join}.
    @ivar revision: The revision of its registration.
    """

    _log = Logger()

    def __init__(
        self,
        store: IMetadataStore,
        broker: Broker,
        clock: IReactorTime,
        levels: FormatLevels,
        replaced: Callable[[], None],
        *,
        lease_seconds: float = 10.0,
        fencing: str = CREATE,
        version: str = "",
    ) -> None:
        """
        @param store: The metadata store.
        @param broker: The broker to register.
        @param clock: For delays.
        @param levels: The levels of stored formats that this broker reads, and that the
            cluster requires.
        @param replaced: Called when this incarnation is over: it was sealed, or another
            process has registered with the same broker id.
        @param lease_seconds: The time after which the registration of a silent broker
            expires.
        @param fencing: How the incarnation is to be stopped (`kafscale.log.journal.fencing`):
            "create" or "metadata".
        @param version: The version of the software, for operators.
        """
        self._store = store
        self._key = metadata_keys.broker(broker.broker_id)
        self._broker = broker
        self._clock = clock
        self._levels = levels
        self._replaced = replaced
        self._lease_seconds = lease_seconds
        self._fencing = fencing
        self._version = version
        self._leases: list[int] = []
        self._drawn: set[int] = set()  # the numbers of all incarnations of this process
        self._phase = Phase.STARTING
        self._renewing = False
        self._absent = False  # the registration is missing
        self.incarnation = 0
        self.revision = 0

    async def join(self) -> int:
        """
        Draw the number of a new incarnation and register it; return the number.

        After a failure of unknown outcome, call it again: an incarnation whose number was
        drawn but never used has an empty journal, and does no harm.

        @raise SettingError: another live broker has the same id, or the cluster requires
            levels of stored formats that this version does not read.
        """
        self._phase = Phase.STARTING
        number = await self._draw()
        lease = await self._lease()
        waited = 0.0
        while True:
            found = await self._store.get(self._key)
            other = None if found is None else BrokerRecord.from_entry(found)
            if other is not None and not self._is_past(other):
                # Another process is alive, or has died and its lease has not expired.
                if waited > self._lease_seconds + RETRY_SECONDS:
                    raise SettingError(
                        f"broker id {self._broker.broker_id} is in use by"
                        f" {other.host}:{other.port}: each broker needs its own"
                        " (KAFSCALE_BROKER_ID)"
                    )
                await deferLater(self._clock, POLL_SECONDS)
                waited += POLL_SECONDS
                continue
            revision = 0 if found is None else found.revision
            lowest = await self._store.get(metadata_keys.LOWEST_INCARNATION)
            if lowest is not None and number < lowest_incarnation_of(lowest):
                number = await self._draw()  # too late: that one counts as over (rule 27)
            record = IncarnationRecord(
                self._broker.broker_id,
                fencing=self._fencing,
                guarded=self._levels.in_force("incarnations") >= GUARDED_LEVEL,
            )
            lowest_revision = 0 if lowest is None else lowest.revision
            try:
                # In one commit, so that a registration never lacks its incarnation's record.
                self.revision = await self._store.commit(
                    [
                        Compare(metadata_keys.incarnation(number), 0),
                        Compare(self._key, revision),
                        Compare(metadata_keys.LOWEST_INCARNATION, lowest_revision),
                        self._levels.guard(),
                    ],
                    [
                        Put(metadata_keys.incarnation(number), record.to_json()),
                        Put(self._key, self._value(number), lease),
                    ],
                )
            except CommitConflict:
                # Another process has registered, the lease has expired, a level of a
                # stored format was raised, or the record of an incarnation was deleted.
                await self._levels.read()
                lease = await self._lease()
                continue
            self.incarnation = number
            self._absent = False
            await self._end_leases(before=lease)
            return number

    async def _draw(self) -> int:
        number = await self._store.commit(
            [], [Put(metadata_keys.LAST_INCARNATION, self._broker.broker_id)]
        )
        self._drawn.add(number)
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
            self._levels.reads,
            broker.listeners,
        ).to_json()

    def _is_past(self, found: BrokerRecord) -> bool:
        """
        Whether a registration is of this broker's own past: of an earlier incarnation of
        this process; or, before the first one, of a process at the same address, which
        cannot be running any more.
        """
        if found.incarnation in self._drawn:
            return True
        same = (found.host, found.port) == (self._broker.host, self._broker.port)
        return same and not self.incarnation

    # -- staying -------------------------------------------------------------

    def seen(self, entry: Entry | None) -> None:
        """
        React to a change of this broker's registration.

        @param entry: The present registration; None if there is none.
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
        Register again after the lease has expired, unless the incarnation was sealed.
        """
        try:
            while self._absent and self._phase is not Phase.LEAVING:
                incarnation = self.incarnation
                try:
                    await self._register_again(incarnation)
                except SettingError as why:
                    self._log.error("cannot register again: {why}", why=why)
                    self._absent = False
                    self._replaced()
                    return
                except (StoreUnavailable, CommitConflict) as why:
                    if incarnation != self.incarnation:
                        continue  # the broker has rejoined meanwhile
                    if not await self._store.holds(alive(incarnation)):
                        self._absent = False
                        self._replaced()
                        return
                    if await self._store.get(self._key) is None:
                        await self._levels.read()
                        self._log.warn(
                            "could not register again, trying again in {seconds} s: {why}",
                            seconds=RETRY_SECONDS,
                            why=why,
                        )
                        await deferLater(self._clock, RETRY_SECONDS)
                        continue
                    self._absent = False  # done; if by another process, `seen` is called
                await self._announce_again()
        finally:
            self._renewing = False

    async def _register_again(self, incarnation: int) -> None:
        lease = await self._lease()
        await self._store.commit(
            [
                *alive(incarnation),
                Compare(self._key, 0),
                self._levels.guard(),
            ],
            [Put(self._key, self._value(incarnation), lease)],
        )
        self._absent = False
        self._log.warn("registered again: the lease had expired, but no broker has taken over")
        await self._end_leases(before=lease)

    async def _announce_again(self) -> None:
        """
        Publish the phase, which may have changed while the registration was on its way.
        """
        await self.announce(self._phase)

    def _not_renewed(self, failure: Failure) -> None:
        self._log.failure(
            "internal error while registering again; the broker must be restarted", failure
        )

    async def announce(self, phase: Phase) -> None:
        """
        Publish the phase of this broker in its registration.
        """
        self._phase = phase
        while True:
            found = await self._store.get(self._key)
            if found is None or not self._is_ours(found):
                return  # the next registration has the phase, if there is one
            value = self._value(self.incarnation)
            if found.value == value or not self._leases:  # the broker has left
                return
            with suppress(CommitConflict, StoreUnavailable):  # read the outcome
                await self._store.commit(
                    [Compare(self._key, found.revision)], [Put(self._key, value, self._leases[-1])]
                )

    def _is_ours(self, found: Entry) -> bool:
        return BrokerRecord.from_entry(found).incarnation == self.incarnation

    # -- leaving -------------------------------------------------------------

    async def leave(self) -> None:
        """
        Remove the registration, unless a later incarnation has replaced it.
        """
        self._phase = Phase.LEAVING
        found = await self._store.get(self._key)
        if found is not None and self._is_ours(found):
            # On a conflict it was replaced, or has expired.
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
        Revoke the leases of earlier registrations.

        @param before: Only leases granted before this one; None: all.
        """
        ended = list(self._leases)
        if before is not None:
            ended = ended[: ended.index(before)] if before in ended else []
        for lease in ended:
            if lease in self._leases:  # joining and registering again may run concurrently
                self._leases.remove(lease)
                with suppress(StoreError):  # the lease expires by itself
                    await self._store.revoke(lease)
