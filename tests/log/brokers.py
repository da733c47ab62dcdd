"""
Logs of brokers that share stores, each broker with a hostile view of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.format import metadata_keys, object_keys
from kafscale.format.incarnation import GUARDED_LEVEL, IncarnationRecord
from kafscale.format.levels import highest_level
from kafscale.format.partition import PartitionRecord
from kafscale.format.slot import Range, Seal, read_slot
from kafscale.interfaces import Append, AppendRules, Fetched, IPartition, LogRules, Put
from kafscale.log.environment import LogEnvironment
from kafscale.log.journal.journal import Journal
from kafscale.log.log import Log
from kafscale.log.partition.partition import Partition
from kafscale.log.reading.cache import BlockCache
from kafscale.log.settings import LogSettings
from kafscale.store.blocking import at_once
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.retry import RetryingMetadataStore, RetryingObjectStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.wire.records import Record, build_batch, iterate, read_batch_header, read_records
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, HostileObjectStore, Policy, let_pass

TOPIC = UUID(int=0xABC)
WHERE = (TOPIC, 0)
NOW = 1_700_000_000
"""The time at which the clocks of brokers begin, in seconds since 1970."""

RULES = AppendRules()

EACH: dict[str, Any] = {"slot_bytes": 1}
"""Settings with which each batch is a slot of its own, sent at once."""

def level_0(name: str) -> int:
    """
    Write every format as the first version does.
    """
    return 0


_kept: list[Broker] = []
"""All brokers that ever existed. What a dead broker waits for never comes; if it
were collected as garbage, its coroutines would end and release locks."""


def batch(
    *values: bytes,
    producer: int = -1,
    epoch: int = 0,
    sequence: int = 0,
    times: Sequence[int] = (),
    keys: Sequence[bytes | None] = (),
) -> memoryview:
    """
    Build a batch as a producer sends it, with a record for each value.
    """
    records = [
        Record(
            number,
            times[number] if times else NOW * 1000,
            keys[number] if keys else None,
            value,
        )
        for number, value in enumerate(values)
    ]
    if producer < 0:
        return memoryview(build_batch(records))
    return memoryview(
        build_batch(records, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)
    )


def append_to(partition: IPartition, sent: memoryview, rules: AppendRules = RULES) -> Append:
    """
    Append a batch as if it was looked into.
    """
    return partition.append(sent, read_batch_header(sent), rules)


def records_of(fetched: Fetched) -> list[Record]:
    """
    Return all records of what was read.
    """
    found: list[Record] = []
    for piece in fetched.pieces:
        for position, header in iterate(piece):
            found += read_records(piece[position : position + header.size], 1 << 20)
    return found


def values_of(fetched: Fetched) -> list[bytes]:
    """
    Return the values of all records of what was read.
    """
    return [record.value or b"" for record in records_of(fetched)]


class Waiting:
    """
    Waits for a change in a partition.
    """

    def __init__(self, woken: Callable[[], object]) -> None:
        self._woken = woken

    def wake(self) -> None:
        """
        See L{Watcher}.
        """
        self._woken()


async def everybody_is_gone(broker_id: int, incarnation: int) -> bool:
    """
    Say that every incarnation is gone, so that a claim takes everything.
    """
    return True


async def nobody_is_gone(broker_id: int, incarnation: int) -> bool:
    """
    Say that no incarnation is gone, so that a claim takes only what was released.
    """
    return False


class Shared:
    """
    The stores of a cluster.
    """

    def __init__(self, objects: MemoryObjectStore | None = None) -> None:
        self.objects = objects or MemoryObjectStore()
        self.metadata = SQLiteMetadataStore(":memory:", at_once)

    def register(self, broker_id: int, fencing: str = "create", *, guarded: bool = True) -> int:
        """
        Register a new incarnation, as
        L{kafscale.cluster.membership.Membership.join} does; return its number.

        @param guarded: See L{IncarnationRecord}.
        """
        address = {"host": "h", "port": 1, "rack": "a", "weight": 1.0, "incarnation": 0}
        put = Put(f"brokers/{broker_id}", address | {"phase": "serving", "version": ""})
        number = now(self.metadata.commit([], [put]))
        record = IncarnationRecord(broker_id, fencing=fencing, guarded=guarded).to_json()
        now(self.metadata.commit([], [Put(metadata_keys.incarnation(number), record)]))
        return number

    def value(self, key: str) -> Any:
        """
        Return a value of the metadata store; None if there is none.
        """
        entry = now(self.metadata.get(key))
        return None if entry is None else entry.value

    def record(self, where: tuple[UUID, int] = WHERE) -> PartitionRecord:
        """
        Return a partition's record.
        """
        return PartitionRecord.from_json(self.value(metadata_keys.partition(*where)))

    def keys(self, prefix: str = "default/") -> list[str]:
        """
        Return the keys of all objects.
        """
        return [info.key for info in now(self.objects.list(prefix, limit=1 << 30))]

    def segments(self, where: tuple[UUID, int] = WHERE) -> list[int]:
        """
        Return the base offsets of a partition's segments.
        """
        return [
            object_keys.segment_base(key)
            for key in self.keys(object_keys.partition("default", *where))
        ]

    def journal(self, incarnation: int, broker_id: int = 1) -> dict[int, Seal | Sequence[Range]]:
        """
        Return the slots and seals of an incarnation, by their numbers.
        """
        found: dict[int, Seal | Sequence[Range]] = {}
        for key in self.keys(object_keys.journal("default", broker_id, incarnation)):
            data = now(self.objects.get(key))
            held = read_slot(data, len(data))
            assert not isinstance(held, int)
            found[object_keys.slot_number(key)] = held
        return found

    def seals(self, incarnation: int) -> list[int]:
        """
        Return the numbers of an incarnation's slots that are seals.
        """
        return [
            number for number, held in self.journal(incarnation).items() if isinstance(held, Seal)
        ]

    def slots(self, incarnation: int) -> list[int]:
        """
        Return the numbers of an incarnation's slots that hold records.
        """
        return [
            number
            for number, held in self.journal(incarnation).items()
            if not isinstance(held, Seal)
        ]


class Broker:
    """
    One incarnation of a broker: its log, its clock, and its views of the
    stores. Nothing happens in it unless the test lets it.

    @ivar fenced: Whether its log has reported that it was replaced.
    @ivar cache: The cache of blocks of segments.
    @ivar environment: What the parts of its log share.
    """

    def __init__(
        self,
        shared: Shared,
        *,
        broker_id: int = 1,
        policy: Policy | None = let_pass,
        rules: LogRules | None = None,
        level_of: Callable[[str], int] = highest_level,
        **settings: Any,
    ) -> None:
        """
        @param policy: What happens to operations of the stores.
        @param rules: The configuration of every topic; see L{configure}.
        @param level_of: See L{LogEnvironment.level_of}.
        """
        self.shared = shared
        self.fenced = False
        self.rules = rules or LogRules()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.objects = HostileObjectStore(shared.objects, policy)
        self.metadata = HostileMetadataStore(shared.metadata, policy)
        objects = RetryingObjectStore(self.objects, self.clock, lambda: 0.0)
        self.cache = BlockCache(objects, 1 << 20)
        self.environment = LogEnvironment(
            broker_id=broker_id,
            objects=objects,
            metadata=RetryingMetadataStore(self.metadata, self.clock, lambda: 0.0),
            cache=self.cache,
            clock=self.clock,
            settings=LogSettings(**settings),
            work=WorkQueue(self.clock, execute),
            level_of=level_of,
            topic_name=lambda topic_id: "orders" if topic_id == TOPIC else str(topic_id),
        )
        self.incarnation = shared.register(
            broker_id,
            settings.get("fencing", "create"),
            guarded=level_of("incarnations") >= GUARDED_LEVEL,
        )
        self.log = Log(
            self.environment,
            self.incarnation,
            fenced=self._fenced,
            rules_of=lambda topic_id: self.rules,
        )
        _kept.append(self)

    def _fenced(self) -> None:
        self.fenced = True

    @property
    def views(self) -> tuple[HostileObjectStore, HostileMetadataStore]:
        """
        The views of both stores.
        """
        return self.objects, self.metadata

    def obey(self, policy: Policy | None) -> None:
        """
        Set what happens to new operations from now on.
        """
        for view in self.views:
            view.policy = policy

    def settle(self) -> None:
        """
        Let all pending operations succeed, and those that follow from them.
        """
        while any(view.pending for view in self.views):
            for view in self.views:
                view.settle()

    def run(self, seconds: float = 1.0) -> None:
        """
        Let all operations succeed for some time.
        """
        for _ in range(20):
            self.settle()
            self.clock.advance(seconds / 20)
        self.settle()

    def crash(self) -> None:
        """
        Never schedule the broker again. What it has asked of the stores may
        still be done.
        """
        for view in self.views:
            view.cut()

    def recover(self, wanted: Iterable[tuple[UUID, int]] = (WHERE,)) -> Deferred[None]:
        """
        Recover from this broker's past, and lead these partitions.
        """
        return begin(self.log.recover(wanted, everybody_is_gone))

    def configure(self, **rules: Any) -> None:
        """
        Alter the configuration of the topic.
        """
        self.rules = LogRules(**rules)
        self.log.configured(TOPIC, 1, self.rules)

    def partition(self, where: tuple[UUID, int] = WHERE) -> Partition:
        """
        Return a partition that the broker leads, opened.
        """
        partition = self.log.partition(*where)
        partition.opened()
        return partition

    @property
    def journal(self) -> Journal:
        """
        The journal of its incarnation.
        """
        return self.log.incarnation.journal

    def roll(self, partition: Partition) -> Awaitable[None]:
        """
        Roll the durable records of a partition into its next segment.
        """
        return self.log.incarnation.roller.roll(partition)

    def roll_all(self, partitions: Sequence[Partition]) -> Awaitable[None]:
        """
        Roll the durable records of partitions into segments or volumes, as the
        roller would.
        """
        return self.log.incarnation.roller.roll_all(partitions)

    def append(self, *values: bytes, **named: Any) -> Append:
        """
        Append a batch to the first partition.
        """
        return append_to(self.partition(), batch(*values, **named))

    def pending(self, kind: str, part: str = "") -> list[Any]:
        """
        Return the pending operations of a kind whose keys contain C{part}.
        """
        return [
            operation
            for view in self.views
            for operation in view.pending
            if operation.kind == kind and part in operation.key
        ]


class BrokerTestCase(SynchronousTestCase):
    """
    Tests with brokers that share stores.
    """

    def setUp(self) -> None:
        """
        Begin with empty stores.
        """
        self.shared = Shared()

    def broker(self, **settings: Any) -> Broker:
        """
        Start a new incarnation, which leads nothing yet.
        """
        return Broker(self.shared, **settings)

    def leader(self, wanted: Iterable[tuple[UUID, int]] = (WHERE,), **settings: Any) -> Broker:
        """
        Start a new incarnation that has recovered these partitions.
        """
        broker = self.broker(**settings)
        done = broker.recover(wanted)
        broker.run()
        self.successResultOf(done)
        return broker

    def read_all(self, broker: Broker, where: tuple[UUID, int] = WHERE) -> list[bytes]:
        """
        Read a partition as a consumer does; return the values of all records.
        """
        partition = broker.partition(where)
        found: list[Record] = []
        offset = partition.log_start
        while offset < partition.high_watermark:
            fetched = partition.read(offset, 1 << 20, True)
            if fetched is None:
                loading = begin(partition.load(offset, 1 << 20, True))
                broker.settle()
                fetched = self.successResultOf(loading)
            records = [record for record in records_of(fetched) if record.offset >= offset]
            self.assertEqual(
                [record.offset for record in records],
                list(range(offset, offset + len(records))),
            )
            self.assertTrue(records, f"nothing to read at {offset}")
            found += records
            offset = records[-1].offset + 1
        return [record.value or b"" for record in found]
