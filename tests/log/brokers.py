"""
Brokers' logs over stores that they share, each with a hostile view of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord
from kafscale.format.slot import Range, Seal, read_slot
from kafscale.interfaces import Append, AppendRules, Fetched, LogRules, Put
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
from kafscale.wire.records import Record, build_batch, iterate, read_records
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, HostileObjectStore, Policy, let_pass

TOPIC = UUID(int=0xABC)
WHERE = (TOPIC, 0)
NOW = 1_700_000_000
"""When the clocks of brokers begin, in seconds since 1970."""

RULES = AppendRules()

EACH: dict[str, Any] = {"slot_bytes": 1}
"""Each batch is a slot of its own, sent at once."""

_kept: list[Broker] = []
"""All that there ever were. What a dead broker waits for never comes; if it
were collected as garbage, its coroutines would end, and give back locks."""


def batch(
    *values: bytes,
    producer: int = -1,
    epoch: int = 0,
    sequence: int = 0,
    times: Sequence[int] = (),
    keys: Sequence[bytes | None] = (),
) -> memoryview:
    """
    A batch as a producer sends it, a record for each value.
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


def records_of(fetched: Fetched) -> list[Record]:
    """
    All records of what was read.
    """
    found: list[Record] = []
    for piece in fetched.pieces:
        for position, header in iterate(piece):
            found += read_records(piece[position : position + header.size], 1 << 20)
    return found


def values_of(fetched: Fetched) -> list[bytes]:
    """
    The values of all records of what was read.
    """
    return [record.value or b"" for record in records_of(fetched)]


class Waiting:
    """
    Who waits for a partition.
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
    For whoever claims against all appearances.
    """
    return True


async def nobody_is_gone(broker_id: int, incarnation: int) -> bool:
    """
    For whoever claims only what was released.
    """
    return False


class Shared:
    """
    What all brokers of a cluster see.
    """

    def __init__(self, objects: MemoryObjectStore | None = None) -> None:
        self.objects = objects or MemoryObjectStore()
        self.metadata = SQLiteMetadataStore(":memory:", at_once)

    def register(self, broker_id: int, fencing: str = "create") -> int:
        """
        A new incarnation, as `kafscale.cluster.membership.Membership.join` makes it.
        """
        address = {"host": "h", "port": 1, "rack": "a", "weight": 1.0, "incarnation": 0}
        put = Put(f"brokers/{broker_id}", address | {"phase": "serving", "version": ""})
        number = now(self.metadata.commit([], [put]))
        record: dict[str, Any] = {"broker": broker_id, "trim": 0}
        if fencing != "create":
            record["fencing"] = fencing
        now(self.metadata.commit([], [Put(metadata_keys.incarnation(number), record)]))
        return number

    def value(self, key: str) -> Any:
        """
        A value in the metadata store, None if there is none.
        """
        entry = now(self.metadata.get(key))
        return None if entry is None else entry.value

    def record(self, where: tuple[UUID, int] = WHERE) -> PartitionRecord:
        """
        A partition's record.
        """
        return PartitionRecord.from_json(self.value(metadata_keys.partition(*where)))

    def keys(self, prefix: str = "default/") -> list[str]:
        """
        The keys of all objects.
        """
        return [info.key for info in now(self.objects.list(prefix, limit=1 << 30))]

    def segments(self, where: tuple[UUID, int] = WHERE) -> list[int]:
        """
        The base offsets of a partition's segments.
        """
        return [
            object_keys.segment_base(key)
            for key in self.keys(object_keys.partition("default", *where))
        ]

    def journal(self, incarnation: int, broker_id: int = 1) -> dict[int, Seal | Sequence[Range]]:
        """
        The slots and seals of an incarnation.
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
        The numbers of an incarnation's slots at which seals stand.
        """
        return [
            number for number, held in self.journal(incarnation).items() if isinstance(held, Seal)
        ]

    def slots(self, incarnation: int) -> list[int]:
        """
        The numbers of an incarnation's slots that hold records.
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

    @ivar fenced: Whether its log has said that it was replaced.
    @ivar cache: Of what it reads from segments.
    @ivar environment: What its log works with.
    """

    def __init__(
        self,
        shared: Shared,
        *,
        broker_id: int = 1,
        policy: Policy | None = let_pass,
        rules: LogRules | None = None,
        **settings: Any,
    ) -> None:
        """
        @param rules: Of every topic; see L{configure}.
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
        )
        self.incarnation = shared.register(broker_id, settings.get("fencing", "create"))
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
        Of both stores.
        """
        return self.objects, self.metadata

    def obey(self, policy: Policy | None) -> None:
        """
        What becomes of new operations from now on.
        """
        for view in self.views:
            view.policy = policy

    def settle(self) -> None:
        """
        Let everything pass that is pending, and what follows from it.
        """
        while any(view.pending for view in self.views):
            for view in self.views:
                view.settle()

    def run(self, seconds: float = 1.0) -> None:
        """
        Let everything pass for some time.
        """
        for _ in range(20):
            self.settle()
            self.clock.advance(seconds / 20)
        self.settle()

    def crash(self) -> None:
        """
        It is never scheduled again. What it asked of the stores may yet be
        done.
        """
        for view in self.views:
            view.cut()

    def recover(self, wanted: Iterable[tuple[UUID, int]] = (WHERE,)) -> Deferred[None]:
        """
        Take over from its past, and lead these partitions.
        """
        return begin(self.log.recover(wanted, everybody_is_gone))

    def configure(self, **rules: Any) -> None:
        """
        The configuration of the topic is altered.
        """
        self.rules = LogRules(**rules)
        self.log.configured(TOPIC, 1, self.rules)

    def partition(self, where: tuple[UUID, int] = WHERE) -> Partition:
        """
        A partition that it leads, opened.
        """
        partition = self.log.partition(*where)
        partition.opened()
        return partition

    @property
    def journal(self) -> Journal:
        """
        That of its incarnation.
        """
        return self.log.incarnation.journal

    def roll(self, partition: Partition) -> Awaitable[None]:
        """
        Put what is durable of a partition into its next segment.
        """
        return self.log.incarnation.roller.roll(partition)

    def roll_all(self, partitions: Sequence[Partition]) -> Awaitable[None]:
        """
        Put what is durable of partitions into segments or volumes, as the
        roller would.
        """
        return self.log.incarnation.roller.roll_all(partitions)

    def append(self, *values: bytes, **named: Any) -> Append:
        """
        Append a batch to the first partition.
        """
        return self.partition().append(batch(*values, **named), RULES)

    def pending(self, kind: str, part: str = "") -> list[Any]:
        """
        The operations of a kind that wait, those whose key has C{part}.
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
        Nothing is stored yet.
        """
        self.shared = Shared()

    def broker(self, **settings: Any) -> Broker:
        """
        A new incarnation, which leads nothing yet.
        """
        return Broker(self.shared, **settings)

    def leader(self, wanted: Iterable[tuple[UUID, int]] = (WHERE,), **settings: Any) -> Broker:
        """
        A new incarnation that has recovered these partitions.
        """
        broker = self.broker(**settings)
        done = broker.recover(wanted)
        broker.run()
        self.successResultOf(done)
        return broker

    def read_all(self, broker: Broker, where: tuple[UUID, int] = WHERE) -> list[bytes]:
        """
        The values of all records of a partition, read as a consumer does.
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
