"""
A broker without stores, listener and process.

Clock, randomness and threads are parameters, so that the simulation can run a
cluster of brokers in one process, with a clock that it moves itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale import __version__
from kafscale.access.authentication.delegation_tokens import DelegationTokens, TokenRules
from kafscale.access.authentication.users import Users
from kafscale.access.authorization.authorizer import StandardAuthorizer
from kafscale.access.quotas.following import Addresses, QuotaFollower
from kafscale.access.quotas.quotas import Quotas
from kafscale.cluster.image import Image
from kafscale.cluster.leadership import Leaderships
from kafscale.cluster.levels import FormatLevels
from kafscale.cluster.membership import Membership, cluster_id
from kafscale.cluster.records import ClusterRecords
from kafscale.cluster.shards import ShardOwnership
from kafscale.concurrency.gathering import map_bounded
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.config import Settings
from kafscale.counts import ConversionCounts, DenialCounts
from kafscale.errors import SettingError, StoreError
from kafscale.format import metadata_keys
from kafscale.format.acl import AclRecord
from kafscale.format.delegation_token import DelegationTokenRecord
from kafscale.format.quota import QuotaRecord
from kafscale.format.user import UserRecord
from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import (
    Broker,
    Change,
    IMetadataStore,
    IObjectReader,
    IObjectStore,
    IPeer,
    IService,
    Phase,
)
from kafscale.log.environment import LogEnvironment
from kafscale.log.log import Log
from kafscale.log.reading.cache import BlockCache
from kafscale.log.replicas.replicas import Replicas
from kafscale.log.takeover.sealing import CorruptLog
from kafscale.net.fetch_client import FetchClient
from kafscale.tap.serving import (
    all_services,
    follow_configs,
    follow_shards,
    log_rules,
    log_settings,
    shown_offsets,
    topic_configs,
    topic_name,
)
from kafscale.tap.users import users_in_file

REJOIN_SECONDS = 1.0
"""Seconds between two attempts of a replaced broker to rejoin the cluster."""


class Node:
    """
    A broker.

    @ivar log_settings: The bounds of its log, which take effect when it is
        started.
    @ivar unhealthy: Why it cannot rejoin the cluster after it was replaced,
        unless the reason is a store that is unavailable; else None.
    @ivar services: What it serves. This and the following exist once it is
        started.
    @ivar image: The metadata of the cluster.
    @ivar records: Small records of the cluster that this broker follows, such as ACLs.
    @ivar quotas: Of clients, as they are used on this broker.
    """

    _log = Logger()

    image: Image
    quotas: Quotas
    log: Log
    cache: BlockCache
    replicas: Replicas
    coordinator: GroupCoordinator
    users: Users
    tokens: DelegationTokens
    services: list[IService]
    conversions: ConversionCounts
    denials: DenialCounts

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        objects: IObjectStore,
        metadata: IMetadataStore,
        cached: IObjectReader,
        clock: Any,
        chance: Random,
        run_blocking: Callable[..., Deferred[Any]],
        dial: Callable[[Broker], IPeer],
        look_up: Callable[[str], Awaitable[str]],
    ) -> None:
        """
        @param settings: The settings of the broker.
        @param broker: The broker as it is registered.
        @param objects: The object store.
        @param metadata: The metadata store.
        @param cached: The object store through the disk cache, if there is
            one; segments are read through it.
        @param clock: C{IReactorTime}, in seconds since 1970.
        @param chance: The source of ids.
        @param run_blocking: Calls a function in a thread: inflates and
            compresses batches.
        @param dial: Makes a client for requests to another broker.
        @param look_up: Returns the address of a host name.
        """
        self._settings = settings
        self.log_settings = log_settings(settings)
        self._broker = broker
        self._objects = objects
        self._metadata = metadata
        self._cached = cached
        self._clock = clock
        self._chance = chance
        self._run_blocking = run_blocking
        self._dial = dial
        self._addresses = Addresses(look_up)
        self._quota_records = ClusterRecords(
            metadata, metadata_keys.QUOTAS, QuotaRecord.from_entry
        )
        self._levels = FormatLevels(metadata, clock)
        self._membership = Membership(
            metadata,
            broker,
            clock,
            self._levels,
            self._fenced,
            lease_seconds=settings.lease_seconds,
            fencing=settings.fencing(),
            version=__version__,
        )
        self._running = True
        self._begun = False
        self._replaced = False
        self._joining = True  # a broker that is replaced while it starts rejoins below
        self.unhealthy: str | None = None
        self.records: list[ClusterRecords] = []

    # -- starting ---------------------------------------------------------------

    async def start(self, probe: Callable[[str], Awaitable[None]]) -> None:
        """
        Join the cluster and recover the partitions that this broker is to lead.

        @param probe: Checks that the object store can hold the log of the
            cluster with the given id.
        @raise Exception: The broker cannot serve.
        """
        cluster = await cluster_id(self._metadata, self._new_id)
        await probe(cluster)
        settings, clock = self._settings, self._clock
        configs = topic_configs(settings)
        image = self.image = Image(self._metadata, cluster, self._broker)
        image.on_change(self._changed)
        # Together, as each costs several answers of the store.
        await map_bounded(lambda start: start(), [image.start, self._quota_records.start])
        self.records.append(self._quota_records)
        self.quotas = Quotas(clock.seconds)
        QuotaFollower(self._quota_records, self.quotas, self._addresses).start()
        authorizer = await self._authorizer()
        self.cache = BlockCache(self._cached, settings.cache_bytes)
        environment = LogEnvironment(
            broker_id=self._broker.broker_id,
            objects=self._objects,
            metadata=self._metadata,
            cache=self.cache,
            clock=clock,
            settings=self.log_settings,
            work=WorkQueue(clock, self._run_blocking),
            level_of=self._levels.in_force,
            topic_name=partial(topic_name, image),
        )
        self.log = Log(
            environment,
            await self._membership.join(),
            fenced=self._fenced,
            rules_of=log_rules(image, configs),
        )
        follow_configs(self.log, image, configs)
        self.replicas = Replicas(
            environment,
            image,
            lambda leader: FetchClient(
                self._dial(leader), self._dial(leader), self._broker.broker_id
            ),
        )
        image.on_change(self.replicas.changed)
        self._leaderships = Leaderships(self._metadata, image, self.log, clock)
        offsets_topic = shown_offsets(image, self.log, clock)
        self.coordinator = GroupCoordinator(
            self._metadata,
            image,
            clock,
            GroupSettings.of(settings),
            lambda: str(self._new_id()),
            lambda: self._shard_ownership.lost(),
            offsets_topic,
        )
        image.on_topic_deleted(self.coordinator.topic_deleted)
        self._shard_ownership = ShardOwnership(image, self.coordinator, metadata_keys.SHARDS, clock)
        users = ClusterRecords(self._metadata, metadata_keys.USERS, UserRecord.from_entry)
        await users.start()
        self.records.append(users)
        self.users = Users(users, users_in_file(settings))
        self.tokens = await self._delegation_tokens()
        self._begun = True  # from now on there is something to stop
        await self._registered()
        await self._levels.start(image)
        await self._leaderships.start()
        await self._shard_ownership.start(self._membership.incarnation)
        follow_shards(image, self._shard_ownership)
        await self._join()
        self.conversions = ConversionCounts()
        self.denials = DenialCounts()
        self.services = all_services(
            settings=settings,
            broker=self._broker,
            image=image,
            configs=configs,
            log=self.log,
            replicas=self.replicas,
            leaderships=self._leaderships,
            coordinator=self.coordinator,
            shard_ownership=self._shard_ownership,
            metadata=self._metadata,
            users=self.users,
            tokens=self.tokens,
            levels=self._levels,
            reactor=clock,
            run_blocking=self._run_blocking,
            chance=self._chance,
            conversions=self.conversions,
            authorizer=authorizer,
            denials=self.denials,
            quotas=self.quotas,
            quota_records=self._quota_records,
            find_address=self._addresses.find,
        )

    async def _authorizer(self) -> StandardAuthorizer | None:
        """
        What decides by the ACLs of the cluster; None if the settings ask for none.
        """
        settings = self._settings
        if settings.authorizer == "none":
            return None
        acls = ClusterRecords(self._metadata, metadata_keys.ACLS, AclRecord.from_entry)
        self.records.append(acls)
        await acls.start()
        return StandardAuthorizer(
            acls, settings.super_users or (), settings.allow_everyone_if_no_acl_found
        )

    async def _delegation_tokens(self) -> DelegationTokens:
        """
        The delegation tokens of the cluster, which clients can use from now on. Without a
        secret key there are none, and their records are not read.
        """
        settings = self._settings
        records = ClusterRecords(
            self._metadata, metadata_keys.DELEGATION_TOKENS, DelegationTokenRecord.from_entry
        )
        secret = settings.delegation_token_secret_key
        if secret is not None:
            self.records.append(records)
            await records.start()
        rules = TokenRules(
            None if secret is None else secret.encode(),
            settings.delegation_token_max_lifetime_ms,
            settings.delegation_token_expiry_time_ms,
            settings.delegation_token_expiry_check_interval_ms,
        )
        return DelegationTokens(records, rules, self._clock, lambda: str(self._new_id()))

    async def serve(self) -> None:
        """
        Announce that this broker serves clients, so that it gets its share of
        partitions and groups.
        """
        await self._membership.announce(Phase.SERVING)

    def _new_id(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)

    @property
    def incarnation(self) -> int:
        """
        The number with which this broker has joined the cluster; 0 before that.
        """
        return self._membership.incarnation

    async def _registered(self) -> None:
        """
        Return when the image has this broker's registration.
        """
        await self.image.until(self._membership.revision, metadata_keys.BROKERS)

    # -- being replaced ----------------------------------------------------------

    def _changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.key == metadata_keys.broker(self._broker.broker_id):
                self._membership.seen(change.entry)

    def _fenced(self) -> None:
        """
        Another broker has taken over: rejoin as a new incarnation.
        """
        self._replaced = True
        if self._running and not self._joining:
            Deferred.fromCoroutine(self._join())

    async def _join(self) -> None:
        self._joining = True
        while self._running and self._replaced:
            self._replaced = False
            try:
                self.log.fence()  # if the registration was replaced, not the journal
                self._replaced = False
                self.log.begin(await self._membership.join())
                await self._registered()
                await self._leaderships.recover()
                await self._shard_ownership.start(self._membership.incarnation)
                await self._membership.announce(Phase.SERVING)
            except (StoreError, CorruptLog, SettingError) as error:
                self._log.error(
                    "cannot rejoin the cluster, trying again in {seconds:g} s: {error}",
                    seconds=REJOIN_SECONDS,
                    error=error,
                )
                self._replaced = True
                # A store becomes available again; a corrupt log stays corrupt.
                self.unhealthy = None if isinstance(error, StoreError) else str(error)
            except Exception as error:
                self._log.failure(
                    "cannot rejoin the cluster, trying again in {seconds:g} s",
                    seconds=REJOIN_SECONDS,
                )
                self._replaced = True
                self.unhealthy = f"{type(error).__name__}: {error}"
            if self._replaced:
                await deferLater(self._clock, REJOIN_SECONDS)
            else:
                self.unhealthy = None
                self._log.info(
                    "rejoined the cluster as incarnation {number}",
                    number=self._membership.incarnation,
                )
        self._joining = False

    @property
    def is_present(self) -> bool:
        """
        Whether the broker is a member of the cluster and has recovered the
        partitions that it leads.
        """
        return not (self._replaced or self._joining)

    # -- stopping ----------------------------------------------------------------

    async def hand_over(self) -> None:
        """
        Hand partitions and groups over to other brokers, if there are any.
        This broker still answers, so that its clients learn the new leaders.
        """
        others = [
            broker
            for broker in self.image.brokers()
            if broker.broker_id != self._broker.broker_id and broker.phase is Phase.SERVING
        ]
        if others:
            await self._membership.announce(Phase.LEAVING)
            await self._shard_ownership.leave()
            await self._leaderships.leave()

    async def answer_waiting(self) -> None:
        """
        Answer the members that wait for a group's rebalance, which would take
        too long.
        """
        await self.coordinator.stop()

    async def stop(self) -> None:
        """
        Store appended records and leave the cluster.
        """
        self._running = False
        if self._begun:
            self._levels.stop()
            self._leaderships.stop()
            self._shard_ownership.stop()
            self.replicas.stop()
            await self.log.stop()
            self.image.stop()
            self.tokens.stop()
            for each in self.records:
                each.stop()
            await self._membership.leave()
