"""
A cluster, its clients and its misfortunes: one seed, one history.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from random import Random
from typing import Any
from unittest.mock import patch

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from kafscale.errors import KafkaError, StoreError
from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.interfaces import Phase
from kafscale.log.takeover import sealing
from kafscale.store.memory import MemoryObjectStore
from tests.harness.coroutines import now
from tests.simulation.access import Access, Guest, Warden
from tests.simulation.admin import Admin
from tests.simulation.checker import Checker, Wrong
from tests.simulation.client import Client
from tests.simulation.consuming import Member
from tests.simulation.etcd import Etcd
from tests.simulation.groups import Groups
from tests.simulation.link import Weather
from tests.simulation.misfortunes import Misfortunes
from tests.simulation.moving import Mover
from tests.simulation.objects import Objects
from tests.simulation.pairs import PairProducer
from tests.simulation.plan import USUAL, Plan
from tests.simulation.process import NAMESPACE, Process
from tests.simulation.producing import Producer
from tests.simulation.reading import Reader
from tests.simulation.records import Records
from tests.simulation.schedule import BEGIN, Schedule

BROKERS = 3
TOPICS = [("one", 2), ("two", 3)]

SETTLE_SECONDS = 240.0
"""How long a cluster may take, at most, until all is well when nothing goes
wrong any more."""


@attrs.frozen
class Outcome:
    """
    The result of a seed.

    @ivar wrong: The first violation found; None if there is none.
    @ivar digest: The same for the same history.
    @ivar notes: Log lines of the brokers, for finding the cause of a failure.
    """

    seed: int
    wrong: str | None
    minutes: float
    counts: Counter[str]
    digest: str
    notes: list[str] = attrs.field(repr=False)


class World:
    """
    One simulated cluster, with its clients and stores.

    @ivar counts: How many faults were injected and operations done, by kind.
    @ivar notes: Log lines of the brokers, for finding the cause of a failure.
    """

    def __init__(self, seed: int, plan: Plan = USUAL) -> None:
        self.seed = seed
        self.plan = plan
        self.brokers = BROKERS
        self.chance = Random(f"{seed} world")
        self.schedule = Schedule()
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        self.is_careless = self.chance.random() < plan.careless
        self.has_volumes = Random(f"{seed} volumes").random() < plan.volumes
        self.has_moves = Random(f"{seed} moves").random() < plan.moves
        has_access = Random(f"{seed} access").random() < plan.access
        self.access = Access(TOPICS[0][0]) if has_access else None
        self.has_racks = self.chance.random() < plan.racks
        self.usual = self.chance.choice(plan.weathers)
        late = self.chance.choice((5.0, 20.0, 60.0))
        self.weather = {
            name: Weather(*self.usual, late, plan.mistaken, plan.delayed)
            for name in ("etcd", "objects")
        }
        self.etcd = Etcd(self.schedule)
        self.checker = Checker(self.schedule, self._log_start)
        self.objects = Objects(
            self.checker, NAMESPACE, self._value, self._partition_records, self.is_careless
        )
        self.groups = Groups(self.checker, self._coordinates)
        self.records = Records(self.checker, NAMESPACE)
        self.etcd.seen.append(self.records.seen)
        self.clients: list[Client] = []
        self._processes: list[Process] = []
        self._failure: Failure | None = None

    # -- brokers --------------------------------------------------------------

    def rack_of(self, number: int) -> str:
        """
        Return the rack of a broker or a client, if there are racks.
        """
        return "ab"[number % 2] if self.has_racks else ""

    def begin(self, broker_id: int, objects: MemoryObjectStore | None = None) -> None:
        """
        Start a broker, unless it runs.

        @param objects: The object store that its settings name; by default the
            cluster's.
        """
        if not self.running(broker_id):
            process = Process(self, broker_id, len(self._processes), objects or self.objects)
            self._processes.append(process)
            process.start()

    def process(self, number: int) -> Process:
        """
        A process that was begun.
        """
        return self._processes[number]

    def living(self) -> list[Process]:
        """
        The processes that there are.
        """
        return [process for process in self._processes if not process.done]

    def running(self, broker_id: int) -> Process | None:
        """
        The process of a broker.
        """
        for process in reversed(self._processes):
            if process.broker_id == broker_id and not process.done:
                return process
        return None

    def server(self, broker_id: int) -> Process | None:
        """
        Return the process that accepts connections for a broker, if any.
        """
        process = self.running(broker_id)
        return process if process is not None and process.listens else None

    def broker_ids(self) -> list[int]:
        """
        Return the ids of the brokers that clients may connect to first.
        """
        return list(range(1, self.brokers + 1))

    # -- state read directly from the simulated etcd ---------------------------

    def _value(self, key: str) -> Any:
        text = self.etcd.text(f"{NAMESPACE}/{key}")
        return None if text is None else json.loads(text)

    def _partition_records(self) -> list[PartitionRecord]:
        found = (
            self.etcd.text(key)
            for key in self.etcd.below(f"{NAMESPACE}/{metadata_keys.PARTITIONS}")
        )
        return [PartitionRecord.from_json(json.loads(text)) for text in found if text]

    def _log_start(self, where: TopicIdPartition) -> int | None:
        record = self._value(f"partitions/{where[0]}/{where[1]:010d}")
        return None if record is None else int(record["log_start"])

    def acknowledged_slots(self, process: Process) -> list[str]:
        """
        Return the keys of a process's slots that may be needed and are recorded as
        acknowledged, in order; none if it was replaced.
        """
        number = process.node.incarnation
        record = self._value(metadata_keys.incarnation(number))
        stored = self._value(metadata_keys.journal(number))
        sealed = self._value(metadata_keys.seal(number))
        if record is None or stored is None or sealed is not None:
            return []
        prefix = object_keys.journal(NAMESPACE, process.broker_id, number)
        return [object_keys.slot(prefix, each) for each in range(record["trim"], stored["stored"])]

    def leads(self, broker_id: int, where: TopicIdPartition) -> bool:
        """
        Return whether a broker leads a partition and was not replaced.
        """
        record = self._value(f"partitions/{where[0]}/{where[1]:010d}")
        return record is not None and self._is(broker_id, record["incarnation"])

    def is_led_as_assigned(self) -> bool:
        """
        Return whether each partition whose replicas are assigned by hand is led by the
        first of them that runs.
        """
        for key in self.etcd.below(f"{NAMESPACE}/{metadata_keys.TOPICS}"):
            topic_id = metadata_keys.topic_of(key.removeprefix(f"{NAMESPACE}/"))
            for index, replicas in self._value(metadata_keys.topic(topic_id)).get("replicas", ()):
                first = next((each for each in replicas if self.running(each)), None)
                if first is not None and not self.leads(first, (topic_id, index)):
                    return False
        return True

    def _is(self, broker_id: int, incarnation: int) -> bool:
        process = self.running(broker_id)
        return process is not None and process.node.incarnation == incarnation

    def _coordinates(self, broker_id: int, group: str) -> bool:
        owner = self._value(metadata_keys.group_shard(metadata_keys.shard_of(group)))
        return owner is not None and self._is(broker_id, owner["owner"])

    # -- running --------------------------------------------------------------

    def start(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """
        Begin something that is expected to succeed.
        """
        return Deferred.fromCoroutine(work).addErrback(self.failed)

    async def all(self, works: Sequence[Coroutine[Any, Any, Any]]) -> None:
        """
        Do these together.
        """
        begun = [self.start(work) for work in works]
        for each in begun:
            await each

    def failed(self, failure: Failure) -> None:
        """
        Something is not as it should be.
        """
        if self._failure is None:
            self._failure = failure
            self.schedule.halt()

    def count(self, what: str) -> None:
        """
        Count an event of this kind.
        """
        self.counts[what] += 1

    def run(self, minutes: float) -> Outcome:
        """
        The history of so many minutes, and what came of it.
        """
        wrong = None
        with _alone(self._heard):
            try:
                self._live(minutes * 60.0)
            except Wrong as error:
                wrong = str(error)
        return Outcome(
            self.seed,
            wrong,
            (self.schedule.now - BEGIN) / 60,
            self.counts,
            self._digest(),
            self.notes,
        )

    def _heard(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            self.notes.append(f"{self.schedule.now - BEGIN:.3f} {failure}")
            self.count("brokers: failures logged")
            text = failure.getTraceback()
            # What is missing of a topic that is being deleted is no loss.
            dead = any(str(topic_id) in text for topic_id in self.checker.gone)
            self.checker.note(dead or failure.check(StoreError, KafkaError) is not None, text)

    def _pass(self, seconds: float) -> None:
        """
        @raise Wrong: something went wrong.
        """
        self.schedule.run(self.schedule.now + seconds)
        self._look()

    def _look(self) -> None:
        if self._failure is not None:
            value = self._failure.value
            if isinstance(value, Wrong):
                raise value
            raise Wrong(self._failure.getTraceback())
        if self.checker.wrong:
            raise Wrong(self.checker.wrong[0])

    def _until(self, done: Deferred[Any], what: str, seconds: float = SETTLE_SECONDS) -> None:
        end = self.schedule.now + seconds
        while not done.called and self.schedule.now < end:
            self._pass(0.5)
        if not done.called:
            raise Wrong(f"{what}: not done after {seconds:g} s in which nothing went wrong")

    def _live(self, seconds: float) -> None:
        for broker_id in self.broker_ids():
            self.begin(broker_id)
        admin = Admin(self, "admin")
        self._until(self.start(self._create(admin)), "creating topics")
        producers = [
            Producer(self, f"p{number}", TOPICS, self.plan.produce)
            for number in range(self.plan.producers)
        ]
        members = [
            Member(self, f"m{number}", f"g{number % 2}", TOPICS, self.rack_of(number))
            for number in range(4)
        ]
        names = [topic for topic, _ in TOPICS]
        pairs = [PairProducer(self, f"pair{n}", names, 1.0) for n in range(self.plan.pairs)]
        tail = Reader(self, "tail", rack=self.rack_of(1))
        mover = Mover(self, "mover")
        self.clients += [admin, mover, *producers, *pairs, *members, tail]
        writers: list[Producer | PairProducer] = [*producers, *pairs]
        for writer in writers:
            self.start(writer.run())
        for member in members:
            self.start(member.run(5.0))
        self.start(self._tail(tail))
        changing: list[Deferred[Any]] = []
        warden = guest = None
        if self.access is not None:
            warden = Warden(self, "warden", self.access)
            guest = Guest(self, "guest", self.access, TOPICS[0][1])
            self.clients += [warden, guest]
            self._until(self.start(warden.allow()), "letting the guest write")
            changing = [self.start(warden.run(2.0)), self.start(guest.run(1.0))]
        administration = self.start(admin.run(TOPICS, 25.0))
        moving = self.start(mover.run(TOPICS, 8.0)) if self.has_moves else None
        misfortunes = Misfortunes(self)
        self.start(misfortunes.run())
        self._pass(seconds)
        misfortunes.running = admin.running = mover.running = False
        if warden is not None and guest is not None:
            warden.running = guest.running = False
        self._heal()
        for writer in writers:
            writer.running = False
        self._until(administration, "the last act of the operator")
        self._until(self.start(self._quiet(writers)), "acknowledging everything")
        if moving is not None:
            self._until(moving, "the last reassignment")
            self._until(self.start(mover.until_settled()), "leading as assigned by hand")
        self._until(self.start(self._all_serve()), "all brokers announced as serving")
        if warden is not None and guest is not None:
            for each in changing:
                self._until(each, "the last change of users and rights")
            self._until(self.start(warden.until_equal()), "the same users and rights everywhere")
            self.counts["histories with users and rights"] = 1
            self.counts["users and rights: changes"] = warden.changes
            self.counts["users and rights: a broker behind"] = warden.behind
            self.counts["users and rights: written"] = guest.written
            self.counts["users and rights: refused"] = guest.refused
        tail.running = False
        for member in members:
            member.running = False
        for number in range(2):
            reader = Reader(self, f"last {number}", 500, self.rack_of(number))
            wanted = [(topic, index) for topic, count in TOPICS for index in range(count)]
            self._until(self.start(reader.read_all(wanted)), "reading everything")
            self.counts["records read in the end"] += sum(
                len(position.values) for position in reader.positions.values()
            )
        self.counts["answers from a broker nearby"] = self.checker.near
        self.counts["records acknowledged"] = sum(each.acknowledged for each in producers)
        self.counts["producers that began anew"] = sum(each.renewals for each in producers)
        self.counts["requests of two batches: both stored"] = sum(each.both for each in pairs)
        self.counts["requests of two batches: one stored"] = sum(each.one for each in pairs)
        self.counts["batches sent again"] = sum(each.retries for each in producers)
        self.counts["groups: told by who was replaced"] = self.groups.stale
        self.counts["commits acknowledged"] = self.groups.commits
        self.counts["replicas assigned"] = mover.moves
        self.counts["records deleted, times"] = admin.deletions
        self.counts["histories with a careless store"] = self.is_careless
        self.counts["histories with volumes"] = self.has_volumes or self.is_careless
        self.counts["volumes deleted"] = self.objects.volumes_deleted
        self.counts["segments that took chapters in"] = self.records.bound
        self.counts["records of incarnations deleted"] = self.records.deleted
        self.counts["processes"] = len(self._processes)

    async def _create(self, admin: Admin) -> None:
        for name, partitions in TOPICS:
            await admin.create(name, partitions)

    async def _tail(self, reader: Reader) -> None:
        reader.follow(TOPICS)
        await reader.run(6.0)

    async def _quiet(self, producers: Sequence[Producer | PairProducer]) -> None:
        while any(producer.pending() for producer in producers):
            await self.schedule.sleep(1.0)

    async def _all_serve(self) -> None:
        while any(self._phase(broker_id) != Phase.SERVING for broker_id in self.broker_ids()):
            await self.schedule.sleep(1.0)

    def _phase(self, broker_id: int) -> str | None:
        record = self._value(metadata_keys.broker(broker_id))
        return None if record is None else str(record["phase"])

    def _heal(self) -> None:
        """
        Nothing goes wrong any more.
        """
        self.usual = (0.0, 0.0)
        self.objects.restore()
        for weather in self.weather.values():
            weather.writes = weather.reads = weather.mistaken = 0.0
            weather.delayed = None
        for process in self.living():
            process.clock.drift(1.0)
            process.clock.go_on()
            for which in ("etcd", "objects"):
                link = process.link(which)
                link.slowness = 1.0
                link.heal()
            process.etcd.take_streams()
            process.etcd.go_on()
        for client in self.clients:
            for road in client.roads.values():
                road.slowness = 1.0
                road.heal()
        for broker_id in self.broker_ids():
            running = self.running(broker_id)
            if running is not None and running.leaving:
                running.crash(False)
            self.begin(broker_id)

    def _digest(self) -> str:
        summed = blake2b(digest_size=8)
        summed.update(f"{self.schedule.steps} {self.schedule.now!r}".encode())
        for key in self.etcd.below(""):
            summed.update(f"{key} {self.etcd.text(key)}".encode())
        for info in now(self.objects.list("", limit=1 << 30)):
            summed.update(f"{info.key} {info.size}".encode())
        summed.update(repr(sorted(self.counts.items())).encode())
        return summed.hexdigest()


def history(seed: int, minutes: float, plan: Plan = USUAL) -> Outcome:
    """
    Run a seed, and forget it.
    """
    with _alone(lambda event: None):
        gc.freeze()  # what is there already need not be looked through
        # Journals are short here: not so many slots need be looked at together.
        with patch.object(sealing, "PARALLEL_READS", 8):
            outcome = World(seed, plan).run(minutes)
        for _ in range(2):
            # This ends coroutines that still wait; what they log is not recorded.
            gc.collect()
        gc.unfreeze()
    return outcome


@contextmanager
def _alone(heard: Any) -> Iterator[None]:
    """
    Replace all log observers by this one, since logging would take most of the
    time, and switch off garbage collection, so that coroutines that wait are
    not collected meanwhile.
    """
    others = list(globalLogPublisher._observers)
    for observer in others:
        globalLogPublisher.removeObserver(observer)
    globalLogPublisher.addObserver(heard)
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        globalLogPublisher.removeObserver(heard)
        for observer in others:
            globalLogPublisher.addObserver(observer)
