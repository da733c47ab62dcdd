"""
Who coordinates which groups.

Groups are divided into shards, and the shards among the brokers as partitions
are (`kafscale.cluster.spread`). A shard's state is all in the metadata store,
each write of it guarded by who owns the shard: so whoever should have it takes
it, without being given it.
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
from kafscale.format import metadata_keys
from kafscale.interfaces import Broker, Change, IGroupCoordinator, Phase

AGAIN = 1.0
"""Seconds after which what failed is tried again."""

NAME = "group-shards"
"""What the brokers bid for."""


class Sharing:
    """
    What this broker coordinates, kept in step with the image.
    """

    _log = Logger()

    def __init__(
        self, image: Image, coordinator: IGroupCoordinator, shards: int, clock: IReactorTime
    ) -> None:
        """
        @param shards: How many there are.
        """
        self._image = image
        self._coordinator = coordinator
        self._shards = shards
        self._taking = Chore(clock, self._take, self._not_taken)
        self._owners: Sequence[int] = ()
        self._steps = DeferredLock()
        self._running = False

    async def start(self, incarnation: int) -> None:
        """
        Coordinate, as this incarnation, what this broker should, and from now
        on what it comes to be the one for.
        """
        if not self._running:
            self._running = True
            self._image.on_change(self._changed)
        self._owners = ()
        async with self._steps:
            self._coordinator.begin(incarnation)
            await self._coordinator.own(self._mine())

    def stop(self) -> None:
        """
        Follow the image no more.
        """
        self._running = False

    async def leave(self) -> None:
        """
        Coordinate nothing any more, for others to do it.
        """
        self._running = False
        async with self._steps:
            await self._coordinator.own(())

    def coordinator(self, shard: int) -> Broker | None:
        """
        Who should coordinate the groups of a shard.
        """
        if not self._owners:
            brokers = self._image.brokers()
            serving = [each for each in brokers if each.phase is Phase.SERVING]
            self._owners = leaders(NAME, self._shards, serving or brokers)
        owner = self._owners[shard]
        return next((each for each in self._image.brokers() if each.broker_id == owner), None)

    def _mine(self) -> list[int]:
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
            self._owners = ()
            self._taking.kick()

    def lost(self) -> None:
        """
        Another has taken what this broker has: it may know more; or less, then
        it is taken back before long.
        """
        self._taking.kick_after(AGAIN)

    async def _take(self) -> None:
        async with self._steps:
            if self._running:
                await self._coordinator.own(self._mine())

    def _not_taken(self, failure: Failure) -> None:
        self._log.failure("the groups of some shards could not be taken over yet", failure)
        # Not as a retry: when brokers change, that does not wait.
        self._taking.kick_after(AGAIN)
