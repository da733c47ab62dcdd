"""
A cluster with one broker, in memory, without delays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from itertools import count
from typing import TypeVar
from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.quotas.quotas import Quotas
from kafscale.cluster.image import Image
from kafscale.cluster.topic_configs import TopicConfigs
from kafscale.cluster.topics import Topics
from kafscale.errors import StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.format.broker import BrokerRecord
from kafscale.format.levels import highest_level
from kafscale.interfaces import Broker, Delete, IMetadataStore, NewTopic, Put, Topic
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin

T = TypeVar("T")

BROKER = Broker(7, "broker.example", 9092)
CLUSTER_ID = "qLbRyF0aTQ2eFTNQ2bZAbA"


class FakeCoordinator:
    """
    A coordinator that records the shards that it owns, unless it fails.

    @ivar owned: The shards of each call.
    @ivar incarnations: The incarnations it began as.
    @ivar failures: How many more calls fail.
    """

    def __init__(self) -> None:
        self.owned: list[list[int]] = []
        self.incarnations: list[int] = []
        self.failures = 0

    def begin(self, incarnation: int) -> None:
        """
        Record the incarnation.
        """
        self.incarnations.append(incarnation)

    async def own(self, numbers: Collection[int]) -> None:
        """
        Record the shards.
        """
        self.owned.append(list(numbers))
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("503")


class SmallCluster:
    """
    An image and topics over a metadata store in memory. Broker 7 leads new partitions at
    once, in epoch 0, unless L{leaderless} is set.
    """

    def __init__(self, case: SynchronousTestCase, store: IMetadataStore | None = None) -> None:
        self._case = case
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = store or SQLiteMetadataStore(":memory:", at_once)
        self.image = Image(self.store, CLUSTER_ID, BROKER)
        self.configs = TopicConfigs()
        self.quotas = Quotas(self.clock.seconds)
        self.leaderless = False
        self._ids = count(0x1000)
        self.topics = Topics(
            self.store,
            self.image,
            self.configs,
            self._lead_new,
            highest_level,
            self.clock,
            self.new_id,
        )
        self.now(self.image.start())
        case.addCleanup(lambda: self.now(self.store.close()))

    def new_id(self) -> UUID:
        """
        Return the next of a sequence of predictable ids.
        """
        return UUID(int=next(self._ids))

    def now(self, awaitable: Awaitable[T]) -> T:
        """
        Return the result of an awaitable that does not wait.
        """
        return self._case.successResultOf(begin(awaitable))

    def create_assigned(self, name: str, replicas: Sequence[Sequence[int]]) -> Topic:
        """
        Create a topic whose replicas are assigned by hand.
        """
        (created,) = self.topics.create_all([NewTopic(name, len(replicas), {}, replicas)])
        return self.now(created)

    def delete(self, topic: Topic) -> None:
        """
        Delete a topic.
        """
        (deleted,) = self.topics.delete_all([topic])
        self.now(deleted)

    def put_leader(
        self, topic_id: UUID, index: int, leader: int, epoch: int, incarnation: int = 1
    ) -> None:
        """
        Make an incarnation of a broker the leader of a partition.
        """
        key = f"{metadata_keys.PARTITIONS}{topic_id}/{index:010d}"
        record = {"leader": leader, "epoch": epoch, "incarnation": incarnation}
        self.now(self.store.commit([], [Put(key, record)]))

    def put_broker(self, broker: Broker) -> None:
        """
        Register a broker, or change its registration.
        """
        record = BrokerRecord(
            broker.host,
            broker.port,
            broker.rack,
            broker.weight,
            "",
            broker.incarnation,
            broker.phase,
            listeners=broker.listeners,
        )
        key = metadata_keys.broker(broker.broker_id)
        self.now(self.store.commit([], [Put(key, record.to_json())]))

    def end_broker(self, broker_id: int) -> None:
        """
        Remove a registration.
        """
        self.now(self.store.commit([], [Delete(metadata_keys.broker(broker_id))]))

    async def _lead_new(self, topic_id: UUID, indexes: Sequence[int]) -> None:
        await self.lead(topic_id, indexes)

    async def lead(self, topic_id: UUID, indexes: Sequence[int]) -> None:
        """
        Lead new partitions. A test may replace it.
        """
        if not self.leaderless:
            for index in indexes:
                self.put_leader(topic_id, index, BROKER.broker_id, 0)
