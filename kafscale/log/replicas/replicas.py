"""
The partitions that other brokers lead and that are read here.

A replica exists from when a consumer first asks for the partition until no
consumer has read it for a while. It is not registered anywhere, and partitions
that are not read here cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.errors import NotLeaderOrFollower, StoreError, reason_in_log
from kafscale.format import metadata_keys
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.interfaces import (
    Broker,
    Change,
    IFetchClient,
    IImage,
    IReplicas,
)
from kafscale.log.environment import LogEnvironment
from kafscale.log.reading.segments import ReplicaSegments
from kafscale.log.replicas.leader_fetcher import SILENCE_SECONDS, LeaderFetcher
from kafscale.log.replicas.replica import Replica

MAX_BYTES: Final = 64 << 20
"""Bytes that all replicas may have in memory, beside one response of each leader."""

MAX_REPLICA_BYTES: Final = 8 << 20
"""Bytes that one replica may have in memory."""

CHECK_SECONDS: Final = 10.0
WAKE_SECONDS: Final = 20.0
"""Seconds without a read after which waiting consumers are woken, so that those
that are still there ask again."""
IDLE_SECONDS: Final = 40.0
"""Seconds without a read after which a partition has no consumers."""


@implementer(IReplicas)
class Replicas:
    """
    See L{IReplicas}.

    @ivar fetchers: Those of the leaders that are followed, by the leaders'
        registrations.
    @ivar size: Bytes of records in memory.
    @ivar fetched: Bytes of records that have come from leaders, ever.
    """

    _log = Logger()

    def __init__(
        self,
        environment: LogEnvironment,
        image: IImage,
        connect: Callable[[Broker], IFetchClient],
    ) -> None:
        """
        @param image: The cluster. Its changes are to be passed to L{changed}.
        @param connect: Makes a client of another broker.
        """
        self._environment = environment
        self._clock = environment.clock
        self._image = image
        self._connect = connect
        self._replicas: dict[TopicIdPartition, Replica] = {}
        self.fetchers: dict[Broker, LeaderFetcher] = {}
        self._routes: dict[Replica, Broker] = {}
        self._opening: set[Replica] = set()
        self._check: IDelayedCall | None = None
        self.size = 0
        self.fetched = 0

    def __len__(self) -> int:
        return len(self._replicas)

    def partition(self, topic_id: UUID, index: int) -> Replica:
        """
        See L{IReplicas.partition}.
        """
        where = topic_id, index
        replica = self._replicas.get(where)
        if replica is None:
            environment = self._environment
            segments = ReplicaSegments(
                environment.objects,
                environment.cache,
                environment.settings.namespace,
                where,
                PartitionRecord(),
                environment.settings.readahead,
                environment.work,
            )
            counts = environment.counts.topic(topic_id)
            replica = Replica(topic_id, index, self._image, segments, counts, self._clock, self)
            self._replicas[where] = replica
            Deferred.fromCoroutine(self._open(replica))
            if self._check is None:
                self._check = self._clock.callLater(CHECK_SECONDS, self._check_readers)
        return replica

    async def _open(self, replica: Replica) -> None:
        if replica in self._opening:
            return
        self._opening.add(replica)
        late = self._clock.callLater(SILENCE_SECONDS, replica.fell_silent)
        try:
            key = metadata_keys.partition(replica.topic_id, replica.index)
            entry = await self._environment.metadata.get(key)
        except StoreError as error:
            self._log.warn(
                "could not read the record of {replica.topic_id}/{replica.index}, consumers read"
                " from its leader meanwhile: {why}",
                replica=replica,
                why=reason_in_log(error),
            )
            entry = None
        except Exception:
            self._log.failure(
                "internal error while reading the record of {replica.topic_id}/{replica.index},"
                " consumers read from its leader meanwhile",
                replica=replica,
            )
            entry = None
        self._opening.discard(replica)
        if late.active():
            late.cancel()
        if entry is not None and not replica.dropped:
            replica.apply(PartitionRecord.from_entry(entry), entry.revision)
        elif replica.record is None:
            replica.fell_silent()

    def stop(self) -> None:
        """
        Drop all replicas.
        """
        for replica in list(self._replicas.values()):
            self._drop(replica)
        if self._check is not None:
            self._check.cancel()
            self._check = None

    # -- following the cluster ---------------------------------------------------

    def changed(self, changes: Sequence[Change]) -> None:
        """
        Apply changes of the image.
        """
        if not self._replicas:
            return
        for change in changes:
            if change.key.startswith(metadata_keys.PARTITIONS):
                replica = self._replicas.get(metadata_keys.partition_of(change.key))
                if replica is not None:
                    self._apply(replica, change)
            elif change.key.startswith(metadata_keys.BROKERS):
                for replica in self._replicas.values():
                    if replica.wanted:
                        self._route(replica)

    def _apply(self, replica: Replica, change: Change) -> None:
        if change.entry is None:
            self._drop(replica)
            return
        record = PartitionRecord.from_entry(change.entry)
        if record.leader == self._image.broker_id:
            self._drop(replica)
            return
        replica.apply(record, change.entry.revision)
        if replica.wanted:
            self._route(replica)

    def _route(self, replica: Replica) -> None:
        """
        Follow the broker that leads the partition now.
        """
        leader = self._image.leadership(replica.topic_id, replica.index).leader
        if leader == self._image.broker_id:
            return  # it will be dropped
        broker = next((each for each in self._image.brokers() if each.broker_id == leader), None)
        if broker is not None:
            broker = Broker(
                leader,
                broker.host,
                broker.port,
                incarnation=broker.incarnation,
                listeners=broker.listeners,
            )
        before = self._routes.get(replica)
        if before == broker:
            return
        self._unroute(replica)
        if broker is not None:
            self._routes[replica] = broker
            fetcher = self.fetchers.get(broker)
            if fetcher is None:
                fetcher = self.fetchers[broker] = LeaderFetcher(
                    leader, self._connect(broker), self._clock, self._max_bytes, self._received
                )
            fetcher.add(replica)

    def _unroute(self, replica: Replica) -> None:
        broker = self._routes.pop(replica, None)
        if broker is not None:
            fetcher = self.fetchers[broker]
            fetcher.remove(replica)
            if not len(fetcher):
                del self.fetchers[broker]
                fetcher.stop()

    def _drop(self, replica: Replica) -> None:
        self._replicas.pop((replica.topic_id, replica.index), None)
        self._unroute(replica)
        replica.drop()

    # -- consumers come and go ---------------------------------------------------

    def _check_readers(self) -> None:
        """
        Drop replicas that are not read any more. A consumer that waits for records does
        not ask again while there are none, so it is woken first.
        """
        now = self._clock.seconds()
        for replica in list(self._replicas.values()):
            if now - replica.read_at >= IDLE_SECONDS:
                self._drop(replica)
            elif replica.wanted and now - replica.wanted_at >= IDLE_SECONDS:
                self._unroute(replica)
                replica.unwanted()
            elif now - (replica.wanted_at if replica.wanted else replica.read_at) >= WAKE_SECONDS:
                replica.wake()
            if replica.record is None and replica.silent and not replica.dropped:
                Deferred.fromCoroutine(self._open(replica))
        self._check = None
        if self._replicas:
            self._check = self._clock.callLater(CHECK_SECONDS, self._check_readers)

    # -- see LeaderReads -----------------------------------------------------------

    def want(self, replica: Replica) -> None:
        """
        See L{kafscale.log.replicas.replica.LeaderReads.want}.
        """
        self._route(replica)

    async def fetch(self, replica: Replica, offset: int, max_bytes: int) -> bytes:
        """
        See L{kafscale.log.replicas.replica.LeaderReads.fetch}.
        """
        broker = self._routes.get(replica)
        if broker is None:
            raise NotLeaderOrFollower("the partition has no leader now")
        return await self.fetchers[broker].fetch(replica, offset, max_bytes)

    def grew(self, size: int) -> None:
        """
        See L{kafscale.log.replicas.replica.LeaderReads.grew}.
        """
        self.size += size

    def _max_bytes(self) -> int:
        return min(MAX_REPLICA_BYTES, MAX_BYTES // max(1, len(self._routes)))

    def _received(self, size: int) -> None:
        self.fetched += size
