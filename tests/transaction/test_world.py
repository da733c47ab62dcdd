"""
Whole transactions, whatever happens to their coordinator.

Two brokers own the shard by turns, and the one before goes on until a commit of its own
misses. Commits fail, are done without an answer, or land late; markers are lost, and come
twice; times run out. Two instances of a producer, of EndTxn 5 and of EndTxn 4, use one
id. Their leaders keep the rules of leaders: they ask before the first batch, compare
numbers, and refuse old epochs. A transaction is committed or aborted in all partitions
alike, as EndTxn has said; and when faults stop, everything ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random  # noqa: TID251 - seeded
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.errors import KafkaError, NotLeaderOrFollower
from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.format.transactional_id import ProducerEpoch
from kafscale.interfaces import Admitted, Given, IMarkerWriter, Marker, Place
from kafscale.transaction.states import PREPARED
from tests.harness.coroutines import begin
from tests.harness.hostile import Verdict, let_pass
from tests.transaction.brokers import (
    ID,
    PARTITION,
    SECOND,
    SHARD,
    TIMEOUT_MS,
    Broker,
    TransactionTestCase,
)

PLACES = (PARTITION, SECOND)
SEEDS = 100
STEPS = 200


@attrs.define(eq=False)
class Transaction:
    """
    A transaction as its producer sees it.

    @ivar places: Where it has written.
    @ivar told: What EndTxn was answered: True if it is committed; None before.
    """

    producer: ProducerEpoch
    places: set[TopicIdPartition] = attrs.field(factory=set)
    told: bool | None = None


@attrs.define(eq=False)
class Instance:
    """
    An instance of the producer.

    @ivar raises: Whether it sends EndTxn 5, and leaders add for it.
    @ivar asked: The InitProducerId or EndTxn that waits.
    @ivar producing: How many batches wait.
    """

    raises: bool
    producer: ProducerEpoch | None = None
    now: Transaction | None = None
    asked: Deferred[Any] | None = None
    producing: int = 0


@implementer(IMarkerWriter)
class Logs:
    """
    What the leaders of the two partitions have: every record and marker is durable at
    once.

    @ivar is_open: The transactions with records after the last marker, by partition.
    @ivar last: The number of the last marker, by partition and producer id.
    @ivar epochs: The epoch of the producer, likewise.
    @ivar shown: How transactions have ended.
    @ivar verdicts: How the next markers fare.
    """

    def __init__(self) -> None:
        self.is_open: dict[TopicIdPartition, list[Transaction]] = {place: [] for place in PLACES}
        self.last: dict[tuple[TopicIdPartition, int], int] = {}
        self.epochs: dict[tuple[TopicIdPartition, int], int] = {}
        self.shown: dict[Transaction, bool] = {}
        self.verdicts: list[Verdict] = []
        self.sent: list[tuple[Marker, Place]] = []

    async def write(self, marker: Marker, place: Place) -> None:
        """
        See L{IMarkerWriter.write}.
        """
        verdict = self.verdicts.pop() if self.verdicts else Verdict.SUCCEED
        self.sent.append((marker, place))
        if verdict is not Verdict.FAIL:
            self.mark(marker, place)
        if verdict is not Verdict.SUCCEED:
            raise NotLeaderOrFollower

    def mark(self, marker: Marker, place: Place) -> None:
        """
        A marker arrives, for the first time or again.
        """
        assert not isinstance(place, str)
        which = (place, marker.producer[0])
        if marker.number <= self.last.get(which, 0):
            return
        self.last[which] = marker.number
        self.epochs[which] = max(self.epochs.get(which, -1), marker.producer[1])
        ended, self.is_open[place] = self.is_open[place], []
        assert len(set(ended)) <= 1, "records of two transactions in one"
        for each in ended:
            assert self.shown.setdefault(each, marker.commit) is marker.commit
            assert each.told in (None, marker.commit)

    def takes(self, place: TopicIdPartition, of: Transaction) -> bool:
        """
        Whether a batch is not of an old epoch.
        """
        which = (place, of.producer[0])
        return of.producer[1] >= self.epochs.get(which, -1)

    def append(self, place: TopicIdPartition, of: Transaction, number: int | None) -> bool:
        """
        Append a batch.

        @param number: What the coordinator has answered; None if it was not asked.
        @return: Whether it was appended.
        """
        which = (place, of.producer[0])
        if not self.takes(place, of):
            return False
        others = [each for each in self.is_open[place] if each.producer != of.producer]
        if others or (
            not self.is_open[place] and (number is None or number <= self.last.get(which, 0))
        ):
            return False
        self.epochs[which] = of.producer[1]
        self.is_open[place].append(of)
        of.places.add(place)
        return True


class World:
    """
    One id, two instances of its producer, two brokers, and two partitions.
    """

    def __init__(self) -> None:
        self.case = TransactionTestCase()
        self.logs = Logs()
        self.instances = [Instance(True), Instance(False)]
        self.case.setUp()
        self.case.leaders = self.logs  # type: ignore[assignment]
        self.owners = [self.broker(), self.broker()]

    def broker(self) -> Broker:
        """
        A broker that takes the shard.
        """
        broker = Broker(self.case, next(self.case.incarnations))
        self.case.brokers.append(broker)
        broker.groups.begin(broker.incarnation)
        begin(broker.groups.own([SHARD]))
        return broker

    def send(self, awaitable: Awaitable[Any]) -> Deferred[Any]:
        """
        Send a request.
        """
        return begin(awaitable)

    # -- the store -------------------------------------------------------------

    def slow(self, which: int) -> None:
        """
        A broker's operations wait from now on.
        """
        self.owners[which].store.policy = None

    def fast(self, which: int) -> None:
        """
        They do not wait any longer.
        """
        self.owners[which].store.policy = let_pass
        self.owners[which].store.settle()

    def decide(self, which: int, verdict: Verdict) -> None:
        """
        The oldest operation that waits has its outcome.
        """
        store = self.owners[which].store
        if store.pending:
            operation = store.pending[0]
            # A store that does not answer a read is closed, as far as shards can tell.
            operation.decide(verdict if operation.kind == "commit" else Verdict.SUCCEED)

    def late(self, which: int) -> None:
        """
        A commit that was given up lands.
        """
        store = self.owners[which].store
        if store.late:
            store.late[0].apply()

    def taken(self, which: int) -> None:
        """
        A broker takes the shard, again or for the first time. The other one does not know.
        """
        owner = self.owners[which]
        owner.incarnation = next(self.case.incarnations)
        owner.groups.begin(owner.incarnation)
        self.send(owner.groups.own([SHARD])).addErrback(lambda _: None)

    def wait(self, seconds: float) -> None:
        """
        Time passes.
        """
        self.case.clock.advance(seconds)

    # -- markers ---------------------------------------------------------------

    def leaders_fail(self, verdicts: list[Verdict]) -> None:
        """
        How the next markers fare.
        """
        self.logs.verdicts = verdicts

    def marker_again(self, which: int) -> None:
        """
        A marker comes once more.
        """
        if self.logs.sent:
            self.logs.mark(*self.logs.sent[which % len(self.logs.sent)])

    # -- producers -------------------------------------------------------------

    def initializes(self, number: int, which: int) -> None:
        """
        An instance starts.
        """
        instance = self.instances[number]
        if instance.asked is None and not instance.producing:
            instance.producer = instance.now = None
            self.ask(instance, self.owners[which].coordinator.initialize(ID, TIMEOUT_MS), None)

    def ask(self, instance: Instance, awaitable: Awaitable[Any], commit: bool | None) -> None:
        """
        Send InitProducerId or EndTxn.
        """
        asked = instance.asked = self.send(awaitable)
        asked.addBoth(partial(self.answered, instance, instance.now, commit))

    def answered(
        self,
        instance: Instance,
        transaction: Transaction | None,
        commit: bool | None,
        answer: Given | Failure,
    ) -> None:
        """
        InitProducerId or EndTxn is answered. After an error the instance is to start anew.
        """
        instance.asked = instance.now = None
        if isinstance(answer, Failure):
            answer.trap(KafkaError)
            instance.producer = None
            return
        instance.producer = (answer.producer_id, answer.epoch)
        if transaction is not None:
            assert commit is not None
            assert self.logs.shown.get(transaction, commit) is commit
            transaction.told = commit

    def writes(self, number: int, which: int, asked: int, place: TopicIdPartition) -> None:
        """
        An instance writes a batch, as part of its transaction.

        @param asked: The broker that the leader asks, if the instance adds by itself.
        """
        instance = self.instances[number]
        if instance.producer is None or instance.asked is not None:
            return
        if instance.now is None:
            instance.now = Transaction(instance.producer)
        transaction = instance.now
        if place in transaction.places and self.logs.append(place, transaction, None):
            return
        if self.logs.is_open[place] or not self.logs.takes(place, transaction):
            return  # the leader asks nobody
        instance.producing += 1
        coordinator = self.owners[which].coordinator
        verifier = self.owners[asked].coordinator

        async def permitted() -> Admitted:
            if instance.raises:
                return await coordinator.add(ID, transaction.producer, [place], asks=True)
            await coordinator.add(ID, transaction.producer, [place])
            return await verifier.verify(ID, transaction.producer, [place])

        self.send(permitted()).addBoth(partial(self.permitted, instance, transaction, place))

    def permitted(
        self,
        instance: Instance,
        transaction: Transaction,
        place: TopicIdPartition,
        answer: Admitted | Failure,
    ) -> None:
        """
        The leader has its answer. A producer whose batch is refused starts anew.
        """
        instance.producing -= 1
        if isinstance(answer, Failure):
            answer.trap(KafkaError)
        elif not answer.missing and self.logs.append(place, transaction, answer.number):
            return
        if instance.now is transaction and instance.asked is None:
            instance.producer = instance.now = None

    def ends(self, number: int, which: int, commit: bool) -> None:
        """
        An instance ends its transaction.
        """
        instance = self.instances[number]
        transaction = instance.now
        if (
            instance.producer is None
            or transaction is None
            or not transaction.places
            or instance.asked is not None
            or instance.producing
        ):
            return
        coordinator = self.owners[which].coordinator
        ending = coordinator.end(ID, instance.producer, commit, instance.raises)
        self.ask(instance, ending, commit)

    # -- together --------------------------------------------------------------

    def step(self, chance: Random) -> None:
        """
        Do one thing. Most are what producers do, or nothing of interest is there when
        something fails.
        """
        which, number = chance.randrange(2), chance.randrange(2)
        verdict = chance.choice(list(Verdict))
        owner = 1 if chance.random() < 0.9 else 0
        steps: list[tuple[float, Callable[[], None]]] = [
            (40, lambda: self.writes(number, owner, owner, chance.choice(PLACES))),
            (15, lambda: self.ends(number, owner, chance.random() < 0.7)),
            (8, lambda: self.initializes(number, owner)),
            (20, lambda: self.decide(which, Verdict.SUCCEED)),
            (5, lambda: self.wait(0.1)),
            (1, lambda: self.slow(which)),
            (2, lambda: self.fast(which)),
            (4, lambda: self.decide(which, verdict)),
            (2, lambda: self.late(which)),
            (2, lambda: self.taken(which)),
            (1, lambda: self.wait(chance.choice([1.0, 30.0, 60.0]))),
            (2, lambda: self.leaders_fail([chance.choice(list(Verdict)) for _ in range(3)])),
            (4, lambda: self.marker_again(chance.randrange(1000))),
        ]
        weights, calls = zip(*steps, strict=True)
        (call,) = chance.choices(calls, weights)
        call()
        if self.owners[0].incarnation > self.owners[1].incarnation:
            self.owners.reverse()  # the last is the one that producers find

    def quiesce(self) -> None:
        """
        When faults stop, every transaction ends, alike in all partitions.
        """
        self.logs.verdicts = []
        for owner in self.owners:
            owner.store.policy = let_pass
            owner.store.settle()
        last = self.broker()
        for _ in range(200):
            self.case.clock.advance(1)
        assert [len(each) for each in self.logs.is_open.values()] == [0, 0]
        record = dict(last.coordinator.ids()).get(ID)
        assert record is None or (record.state not in PREPARED and not record.partitions)
        for transaction, commit in self.logs.shown.items():
            assert transaction.told in (None, commit)
        self.case.tearDown()


class WorldTests(TransactionTestCase):
    """
    L{World}, run.
    """

    def test_world(self) -> None:
        """
        Transactions are whole in many random histories.
        """
        ended: Counter[bool] = Counter()
        for seed in range(SEEDS):
            chance = Random(seed)
            world = World()
            try:
                for _ in range(STEPS):
                    world.step(chance)
                world.quiesce()
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise
            ended.update(world.logs.shown.values())
        self.assertGreater(min(ended[True], ended[False]), SEEDS, ended)

    def test_a_history(self) -> None:
        """
        The world does what it is for: transactions are committed and aborted, by both
        instances, also when the shard moves.
        """
        world = World()
        for number, commit in ((0, True), (1, False), (0, False), (1, True)):
            world.initializes(number, 1)
            world.initializes(number, 1)
            for place in PLACES:
                world.writes(number, 1, 1, place)
            written = world.instances[number].now
            assert written is not None
            self.assertEqual(written.places, set(PLACES))
            world.ends(number, 1, commit)
            self.assertEqual((written.told, world.logs.shown[written]), (commit, commit))
        self.assertEqual(metadata_keys.shard_of(ID), SHARD)
        world.taken(0)
        world.initializes(1, 0)
        world.writes(1, 0, 0, PARTITION)
        world.quiesce()
