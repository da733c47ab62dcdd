"""
Brokers that coordinate transactional ids, on one metadata store; leaders are faked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from itertools import count
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from kafscale.errors import NotLeaderOrFollower
from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.format.transactional_id import (
    ProducerEpoch,
    TransactionalIdRecord,
    TransactionState,
)
from kafscale.group.coordinator import GroupCoordinator
from kafscale.group.settings import GroupSettings
from kafscale.interfaces import (
    Admitted,
    Delete,
    Given,
    IMarkerWriter,
    IProducerIds,
    IShard,
    IShardTenant,
    Marker,
    Place,
    Put,
)
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.transaction.coordinator import TransactionCoordinator
from kafscale.transaction.settings import TransactionSettings
from tests.group.members import BEGIN, OTHER, TOPIC, FakeImage, load
from tests.harness.coroutines import begin
from tests.harness.hostile import HostileMetadataStore, let_pass

T = TypeVar("T")

PARTITION = (TOPIC.topic_id, 0)
SECOND = (TOPIC.topic_id, 1)
ELSEWHERE = (OTHER.topic_id, 0)
TIMEOUT_MS = 60_000
ID = "app-1"
SHARD = metadata_keys.shard_of(ID)


@implementer(IProducerIds)
class FakeIds:
    """
    Gives out 1000, 1001 and so on.

    @ivar failure: Raised by the next calls, unless it is None.
    """

    def __init__(self) -> None:
        self._numbers = count(1000)
        self.failure: Exception | None = None

    async def new(self) -> int:
        """
        See L{IProducerIds.new}.
        """
        if self.failure is not None:
            raise self.failure
        return next(self._numbers)


@attrs.define(eq=False)
class Sent:
    """
    A marker that waits for its leader.
    """

    marker: Marker
    place: Place
    answer: Deferred[None] = attrs.field(factory=Deferred)

    def refuse(self) -> None:
        """
        Answer that it is not known to be durable.
        """
        self.answer.errback(NotLeaderOrFollower())


@implementer(IMarkerWriter)
class Leaders:
    """
    Leaders of partitions and coordinators of groups, which remember what they are sent.

    @ivar written: What is durable.
    @ivar waiting: What is not answered yet.
    @ivar are_slow: Whether the test answers.
    """

    def __init__(self) -> None:
        self.written: list[tuple[Marker, Place]] = []
        self.waiting: list[Sent] = []
        self.are_slow = False

    async def write(self, marker: Marker, place: Place) -> None:
        """
        See L{IMarkerWriter.write}.
        """
        if self.are_slow:
            sent = Sent(marker, place)
            self.waiting.append(sent)
            await sent.answer
        self.written.append((marker, place))

    def answer_all(self) -> None:
        """
        Let all that waits be durable.
        """
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.answer.callback(None)

    def refuse_all(self) -> None:
        """
        Let nothing that waits be durable.
        """
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.refuse()


@implementer(IShard)
class FailingShard:
    """
    A shard whose next commits fail for another reason than a store that is unavailable.

    @ivar failure: Raised by the next write, once.
    @ivar applies: Whether that write is done all the same.
    """

    def __init__(self, inner: IShard) -> None:
        self.number = inner.number
        self._inner = inner
        self.failure: Exception | None = None
        self.applies = False

    def write(self, operations: Sequence[Put | Delete]) -> Deferred[None]:
        """
        See L{IShard.write}.
        """
        failure, self.failure = self.failure, None
        if failure is None:
            return self._inner.write(operations)
        done = self._inner.write(operations if self.applies else [])

        def fail(_: object) -> None:
            raise failure

        return done.addCallback(fail)

    def look(self) -> Deferred[None]:
        """
        See L{IShard.look}.
        """
        return self._inner.look()


@implementer(IShardTenant)
class Broker:
    """
    A broker that may own shards.

    @ivar store: Its view of the metadata store.
    @ivar coordinator: Its coordinator.
    @ivar shards: Of L{FailingShard}, by number, if C{wraps}.
    """

    def __init__(self, case: TransactionTestCase, incarnation: int, wraps: bool = False) -> None:
        self.store = HostileMetadataStore(case.inner, let_pass)
        self.shards: dict[int, FailingShard] = {}
        self.coordinator = TransactionCoordinator(
            self.store,
            case.image,
            case.ids,
            case.leaders,
            case.clock,
            case.settings,
            lambda: case.keeps_epoch,
        )
        self._wraps = wraps
        member_ids = count(1)
        self.groups = GroupCoordinator(
            self.store,
            case.image,
            case.clock,
            GroupSettings(),
            lambda: str(next(member_ids)),
            tenants=[self],
        )
        self.incarnation = incarnation

    def expect(self, numbers: Collection[int]) -> None:
        """
        See L{IShardTenant.expect}.
        """
        self.coordinator.expect(numbers)

    async def load(self, shard: IShard) -> None:
        """
        See L{IShardTenant.load}.
        """
        if self._wraps:
            shard = self.shards[shard.number] = FailingShard(shard)
        await self.coordinator.load(shard)

    def release(self, number: int) -> None:
        """
        See L{IShardTenant.release}.
        """
        self.coordinator.release(number)


class TransactionTestCase(SynchronousTestCase):
    """
    One broker, which owns all shards. Its store executes all operations at once, unless a
    test changes the policy.

    @ivar broker: The last that was started.
    @ivar keeps_epoch: Whether transaction.version is 2.
    """

    settings = TransactionSettings()
    keeps_epoch = True

    def setUp(self) -> None:
        """
        Start it.
        """
        self.clock = Clock()
        self.clock.rightNow = BEGIN
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        self.image = FakeImage()
        self.ids = FakeIds()
        self.leaders = Leaders()
        self.incarnations = count(100)
        self.brokers: list[Broker] = []
        self.broker = self.started()

    def tearDown(self) -> None:
        """
        Stop all brokers: nothing of them remains.
        """
        for broker in self.brokers:
            broker.store.policy = let_pass
            broker.coordinator.stop()
            broker.store.settle()

    def started(self, wraps: bool = False) -> Broker:
        """
        A broker that takes all shards. Those before do not know that yet.
        """
        broker = Broker(self, next(self.incarnations), wraps)
        self.brokers.append(broker)
        self.now(load(broker.groups, broker.incarnation))
        return broker

    def restart(self) -> None:
        """
        Kill the broker as by C{kill -9}, and start another one.
        """
        self.kill()
        self.broker = self.started()

    def kill(self) -> None:
        """
        Kill all brokers.
        """
        for broker in self.brokers:
            broker.store.cut()
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.brokers.clear()
        self.leaders.waiting.clear()

    # -- asking ----------------------------------------------------------------

    def begin(self, awaitable: Awaitable[T]) -> Deferred[T]:
        """
        Send a request, without waiting for its answer.
        """
        asked = begin(awaitable)
        self.addCleanup(asked.addErrback, lambda _: None)  # some answers are not looked at
        return asked

    def now(self, awaitable: Awaitable[T]) -> T:
        """
        Send a request whose answer must come at once.
        """
        return self.successResultOf(self.begin(awaitable))

    def refused(self, kind: type[Exception], awaitable: Awaitable[Any]) -> None:
        """
        Send a request that must be refused at once.
        """
        self.failureResultOf(self.begin(awaitable), kind)

    def initialized(self, name: str = ID, broker: Broker | None = None) -> ProducerEpoch:
        """
        Initialize an id.
        """
        coordinator = (broker or self.broker).coordinator
        given = self.now(coordinator.initialize(name, TIMEOUT_MS))
        return given.producer_id, given.epoch

    def add(
        self, producer: ProducerEpoch, *places: Place, broker: Broker | None = None, **how: Any
    ) -> Awaitable[Admitted]:
        """
        Add to the transaction of L{ID}.
        """
        partitions: list[TopicIdPartition] = [each for each in places if not isinstance(each, str)]
        groups = [each for each in places if isinstance(each, str)]
        coordinator = (broker or self.broker).coordinator
        return coordinator.add(ID, producer, partitions, groups, **how)

    def end(
        self,
        producer: ProducerEpoch,
        commit: bool = True,
        raises: bool = True,
        broker: Broker | None = None,
    ) -> Awaitable[Given]:
        """
        End the transaction of L{ID}.
        """
        return (broker or self.broker).coordinator.end(ID, producer, commit, raises)

    def opened(self, *places: Place) -> ProducerEpoch:
        """
        Begin a transaction of L{ID}.
        """
        producer = self.initialized()
        self.now(self.add(producer, *(places or (PARTITION,))))
        return producer

    # -- looking ---------------------------------------------------------------

    def stored(self, name: str = ID) -> TransactionalIdRecord | None:
        """
        The record of an id in the store.
        """
        entry = self.now(self.inner.get(metadata_keys.transactional_id(name)))
        return None if entry is None else TransactionalIdRecord.from_entry(entry)

    def state(self, name: str = ID) -> TransactionState:
        """
        Its state there.
        """
        record = self.stored(name)
        return TransactionState.DEAD if record is None else record.state

    def commits(self, shard: int = SHARD) -> int:
        """
        How many commits a shard has had.
        """
        entry = self.now(self.inner.get(metadata_keys.group_shard(shard)))
        assert entry is not None
        sequence = entry.value["sequence"]
        assert isinstance(sequence, int)
        return sequence

    def hold(self, broker: Broker | None = None) -> HostileMetadataStore:
        """
        Let operations of a broker's store wait for the test.
        """
        store = (broker or self.broker).store
        store.policy = None
        return store

    def put(self, record: TransactionalIdRecord, name: str = ID) -> None:
        """
        Store a record, and start a broker that reads it.
        """
        put = Put(metadata_keys.transactional_id(name), record.to_json())
        self.now(self.inner.commit([], [put]))
        self.restart()
