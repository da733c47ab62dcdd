"""
The ownership of group shards by brokers.

Groups are divided into shards, and shards are assigned to brokers as partitions are
(`kafscale.cluster.spread`). All state of a shard is in the metadata store, and each
write to it compares the owner. So a broker takes the shards that are assigned to
it; the previous owner does not have to release them.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.cluster.image import Image
from kafscale.cluster.spread import leaders
from kafscale.concurrency.chore import Chore
from kafscale.errors import StoreError, reason_in_log
from kafscale.format import metadata_keys
from kafscale.interfaces import Broker, Change, IGroupCoordinator, Phase

RETRY_SECONDS = 1.0
"""Seconds until shards that could not be loaded are tried again."""

BID_NAME = "group-shards"
"""The name under which brokers bid for shards."""


class ShardOwnership:
    """
    Makes this broker own the group shards that are assigned to it.
    """

    _log = Logger()

    def __init__(
        self, image: Image, coordinator: IGroupCoordinator, shards: int, clock: IReactorTime
    ) -> None:
        """
        @param image: Calls back when brokers change.
        @param coordinator: Loads the groups of owned shards.
        @param shards: The number of shards in the cluster.
        @param clock: For delays.
        """
        self._image = image
        self._coordinator = coordinator
        self._shards = shards
        self._taking = Chore(clock, self._take, self._not_taken)
        self._assignment: Sequence[int] = ()
        self._steps = DeferredLock()
        self._running = False

    async def start(self, incarnation: int) -> None:
        """
        Own the shards that are assigned to this broker, from now on.

        @param incarnation: The number of this broker's incarnation, as which it owns them.
        @raise Exception: the groups could not be loaded.
        """
        if not self._running:
            self._running = True
            self._image.on_change(self._changed)
        self._assignment = ()
        async with self._steps:
            self._coordinator.begin(incarnation)
            await self._coordinator.own(self._assigned())

    def stop(self) -> None:
        """
        Stop following the image.
        """
        self._running = False

    async def leave(self) -> None:
        """
        Release all shards, so that other brokers own them.
        """
        self._running = False
        async with self._steps:
            await self._coordinator.own(())

    def coordinator(self, shard: int) -> Broker | None:
        """
        Return the broker that should coordinate the groups of a shard; None if there is
        none.
        """
        if not self._assignment:
            brokers = self._image.brokers()
            serving = [each for each in brokers if each.phase is Phase.SERVING]
            self._assignment = leaders(BID_NAME, self._shards, serving or brokers)
        assigned = self._assignment[shard]
        return next((each for each in self._image.brokers() if each.broker_id == assigned), None)

    def _assigned(self) -> list[int]:
        me = self._image.broker_id
        found = []
        for shard in range(self._shards):
            broker = self.coordinator(shard)
            if broker is not None and broker.broker_id == me:
                found.append(shard)
        return found

    def _changed(self, changes: Sequence[Change]) -> None:
        if self._running and any(
            change.key.startswith(metadata_keys.BROKERS) for change in changes
        ):
            self._assignment = ()
            self._taking.kick()

    def lost(self) -> None:
        """
        Claim the assigned shards again, after a while. To be called when another broker has
        taken a shard of this one. Its image may be newer; if it is older, the shard comes
        back.
        """
        self._taking.kick_after(RETRY_SECONDS)

    async def _take(self) -> None:
        async with self._steps:
            if self._running:
                await self._coordinator.own(self._assigned())

    def _not_taken(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreError):
            self._log.warn(
                "could not load the groups of some shards, trying again in {seconds:g} s: {why}",
                seconds=RETRY_SECONDS,
                why=reason_in_log(failure.value),
            )
        else:
            self._log.failure(
                "internal error while loading the groups of some shards, trying again in"
                " {seconds:g} s",
                failure,
                seconds=RETRY_SECONDS,
            )
        # Not as a retry of the chore, for which a change of brokers would have to wait.
        self._taking.kick_after(RETRY_SECONDS)
