"""
A broker without its process: what is between the stores and the listener.

Time, chance and threads come in from outside, so that a cluster of these can
run in one process, under a clock that is moved by hand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale import __version__
from kafscale.cluster.configs import TopicConfigs
from kafscale.cluster.image import Image
from kafscale.cluster.leadership import Leaderships
from kafscale.cluster.membership import Membership, cluster_id
from kafscale.cluster.shards import Sharing
from kafscale.config import Settings
from kafscale.counts import ConversionCounts
from kafscale.errors import SettingError, StoreError
from kafscale.format import metadata_keys
from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import (
    Broker,
    Change,
    IMetadataStore,
    IObjectStore,
    IPeer,
    IService,
    Phase,
)
from kafscale.log.log import Log
from kafscale.log.reading.cache import BlockCache, Reads
from kafscale.log.replicas.replicas import Following
from kafscale.log.takeover.sealing import CorruptLog
from kafscale.tap.serving import all_services, log_rules, log_settings

REJOIN_SECONDS = 1.0
"""Seconds between two attempts of a broker that was replaced to come back."""


class Node:
    """
    One broker.

    @ivar lost: What keeps it from coming back after it was replaced, if that
        does not end by itself.
    @ivar services: What it serves, once it is started.
    @ivar image: What it knows of the cluster, likewise; so the others.
    """

    _log = Logger()

    image: Image
    log: Log
    cache: BlockCache
    following: Following
    coordinator: GroupCoordinator
    services: list[IService]
    conversions: ConversionCounts

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        objects: IObjectStore,
        metadata: IMetadataStore,
        cached: Reads,
        clock: Any,
        chance: Random,
        run_blocking: Callable[..., Deferred[Any]],
        dial: Callable[[Broker], IPeer],
    ) -> None:
        """
        @param cached: The objects, as segments are read.
        @param clock: L{IReactorTime}, in seconds since 1970.
        @param run_blocking: Where what is compressed is converted for old
            clients.
        @param dial: Makes the means of asking another broker.
        """
        self._settings = settings
        self._broker = broker
        self._objects = objects
        self._metadata = metadata
        self._cached = cached
        self._clock = clock
        self._chance = chance
        self._run_blocking = run_blocking
        self._dial = dial
        self._membership = Membership(
            metadata,
            broker,
            clock,
            self._fenced,
            lease_seconds=settings.lease_seconds,
            fencing=settings.fencing(),
            version=__version__,
        )
        self._running = True
        self._begun = False
        self._replaced = False
        self._joining = True  # who is replaced while it starts, begins anew below
        self.lost: str | None = None

    # -- beginning ---------------------------------------------------------------

    async def start(self, probe: Callable[[str], Awaitable[None]]) -> None:
        """
        Join the cluster, and recover what this broker is to lead.

        @param probe: Finds out whether the object store can hold the log of
            the cluster with this id.
        @raise Exception: it cannot serve.
        """
        cluster = await cluster_id(self._metadata, self._new_id)
        await probe(cluster)
        settings, clock = self._settings, self._clock
        configs = TopicConfigs()
        image = self.image = Image(self._metadata, cluster, self._broker)
        image.on_change(self._changed)
        await image.start()
        self.cache = BlockCache(self._cached, settings.cache_bytes)
        self.log = Log(
            self._objects,
            self._metadata,
            self.cache,
            clock,
            clock.seconds,
            self._broker.broker_id,
            log_settings(settings),
            self._fenced,
            log_rules(image, configs),
        )
        self.following = Following(
            self._objects,
            self._metadata,
            self.cache,
            image,
            clock,
            log_settings(settings),
            self.log.counts,
            self._dial,
        )
        image.on_change(self.following.changed)
        self._leaderships = Leaderships(self._metadata, image, self.log, clock)
        self.coordinator = GroupCoordinator(
            self._metadata,
            image,
            clock,
            GroupSettings.of(settings),
            lambda: str(self._new_id()),
            lambda: self._sharing.lost(),
        )
        image.on_topic_deleted(self.coordinator.topic_deleted)
        self._sharing = Sharing(image, self.coordinator, metadata_keys.SHARDS, clock)
        await self._begin()
        await self._leaderships.start()
        await self._sharing.start(self._membership.incarnation)
        await self._join()
        self.conversions = ConversionCounts()
        self.services = all_services(
            settings,
            self._broker,
            image,
            configs,
            self.log,
            self.following,
            self._leaderships,
            self.coordinator,
            self._sharing,
            self._metadata,
            clock,
            self._run_blocking,
            self._chance,
            self.conversions,
        )

    async def serve(self) -> None:
        """
        Take part in the cluster's work: clients that come are served.
        """
        await self._membership.announce(Phase.SERVING)

    def _new_id(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)

    async def _begin(self) -> None:
        """
        Become a new incarnation.
        """
        self.log.begin(await self._membership.join())
        self._begun = True  # from now on there is something to be stopped
        await self.image.until(self._membership.revision, metadata_keys.BROKERS)

    # -- being replaced ----------------------------------------------------------

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.key == metadata_keys.broker(self._broker.broker_id):
                self._membership.seen(change.entry)

    def _fenced(self) -> None:
        """
        Another broker has taken over: come back as a new incarnation.
        """
        self._replaced = True
        if self._running and not self._joining:
            Deferred.fromCoroutine(self._join())

    async def _join(self) -> None:
        self._joining = True
        while self._running and self._replaced:
            self._replaced = False
            try:
                self.log.journal.fence()  # if it is the registration that was replaced
                self._replaced = False
                await self._begin()
                await self._leaderships.recover()
                await self._sharing.start(self._membership.incarnation)
                await self._membership.announce(Phase.SERVING)
            except (StoreError, CorruptLog, SettingError) as error:
                self._log.error("cannot join the cluster again yet: {error}", error=error)
                self._replaced = True
                # A store comes back; a log that is not as it should be does not.
                self.lost = None if isinstance(error, StoreError) else str(error)
            except Exception as error:
                self._log.failure("cannot join the cluster again yet")
                self._replaced = True
                self.lost = f"{type(error).__name__}: {error}"
            if self._replaced:
                await deferLater(self._clock, REJOIN_SECONDS)
            else:
                self.lost = None
                self._log.info(
                    "joined again, as incarnation {number}", number=self._membership.incarnation
                )
        self._joining = False

    @property
    def is_present(self) -> bool:
        """
        Whether it is a member of the cluster, and has recovered what it leads.
        """
        return not (self._replaced or self._joining)

    # -- ending ------------------------------------------------------------------

    async def hand_over(self) -> None:
        """
        Let others lead and coordinate what this broker does, if there are any:
        while it still answers, so that its clients learn where to go.
        """
        others = [
            broker
            for broker in self.image.brokers()
            if broker.broker_id != self._broker.broker_id and broker.phase is Phase.SERVING
        ]
        if others:
            await self._membership.announce(Phase.LEAVING)
            await self._sharing.leave()
            await self._leaderships.leave()

    async def answer_waiting(self) -> None:
        """
        Answer those who wait for a group's round: it would be for too long.
        """
        await self.coordinator.stop()

    async def stop(self) -> None:
        """
        Store what was appended, and leave the cluster.
        """
        self._running = False
        if self._begun:
            self._leaderships.stop()
            self._sharing.stop()
            self.following.stop()
            await self.log.stop()
            self.image.stop()
            await self._membership.leave()
