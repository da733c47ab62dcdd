"""
Brokers whose partitions have chapters in volumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafscale.format import object_keys
from kafscale.log.partition.partition import Partition
from tests.harness.coroutines import begin, now
from tests.log.brokers import EACH, TOPIC, Broker, BrokerTestCase, append_to, batch, records_of

PARTITIONS = [(TOPIC, index) for index in range(4)]
VOLUMES = "default/volumes/"
EVERY = 100.0
"""Seconds between two orphan sweeps."""


class VolumeTestCase(BrokerTestCase):
    """
    Brokers that lead four partitions, with up to three chapters each.
    """

    def leading(self, **settings: Any) -> Broker:
        """
        Start a broker that leads them, all opened. It runs no orphan sweep
        unless the settings say so.
        """
        wanted = {**EACH, "chapters": 3, "orphan_seconds": 0, **settings}
        broker = self.leader(PARTITIONS, **wanted)
        for where in PARTITIONS:
            broker.partition(where)
        return broker

    def all_of(self, broker: Broker) -> list[Partition]:
        """
        Return the partitions on a broker.
        """
        return [broker.log.partition(*where) for where in PARTITIONS]

    def fill(self, broker: Broker, value: bytes, times: Sequence[int] = ()) -> None:
        """
        Append a record to each partition.
        """
        for partition in self.all_of(broker):
            append_to(partition, batch(value, times=times))

    def bind(self, broker: Broker, *values: bytes) -> None:
        """
        Write a volume for each value: each partition appends a record with it.
        """
        for value in values:
            self.fill(broker, value)
            now(broker.roll_all(self.all_of(broker)))

    def roll(self, broker: Broker, value: bytes = b"last", index: int = 0) -> None:
        """
        Append a record to one partition, and roll it with its chapters into a
        segment.
        """
        partition = broker.partition(PARTITIONS[index])
        append_to(partition, batch(value))
        self.assertTrue(partition.tail.visible_size)
        now(broker.roll(partition))

    def volumes(self) -> list[tuple[int, int]]:
        """
        Return the incarnation and number of each volume.
        """
        found = [object_keys.parse_volume("default", key) for key in self.shared.keys(VOLUMES)]
        return [volume for volume in found if volume is not None]

    def numbers(self) -> list[int]:
        """
        Return the numbers of all volumes.
        """
        return [number for _, number in self.volumes()]

    def chapters(self) -> list[int]:
        """
        Return how many chapters each partition has.
        """
        return [len(self.shared.record(where).chapters) for where in PARTITIONS]

    def rolled(self) -> list[int]:
        """
        Return C{rolled_to} of each partition.
        """
        return [self.shared.record(where).rolled_to for where in PARTITIONS]

    def own(self, index: int = 0) -> list[str]:
        """
        Return the keys of a partition's segments that are objects of their own.
        """
        return self.shared.keys(object_keys.partition("default", *PARTITIONS[index]))

    def key_of(self, index: int, base: int, epoch: int) -> str:
        """
        Return the key of such a segment.
        """
        return object_keys.segment(
            object_keys.partition("default", *PARTITIONS[index]), base, epoch
        )

    def assert_holds(self, broker: Broker, expected: Sequence[bytes], index: int = 0) -> None:
        """
        Assert that each offset can be read, with no help from earlier reads.
        """
        partition = broker.partition(PARTITIONS[index])
        for offset in range(partition.log_start, partition.high_watermark):
            partition.segments.forget_footers()
            loading = begin(partition.load(offset, 1, True))
            broker.settle()
            found = records_of(self.successResultOf(loading))
            first = next(record for record in found if record.offset >= offset)
            self.assertEqual((first.offset, first.value), (offset, expected[offset]))
        alive = list(expected)[partition.log_start :]
        self.assertEqual(self.read_all(broker, PARTITIONS[index]), alive)

    def read_one(self, broker: Broker, offset: int) -> bytes | None:
        """
        Read a record of the first partition, with no help from earlier reads.
        """
        partition = broker.partition()
        partition.segments.forget_footers()
        loading = begin(partition.load(offset, 1, True))
        broker.settle()
        found = records_of(self.successResultOf(loading))
        return next(record.value for record in found if record.offset == offset)

    def successor(self, **settings: Any) -> Broker:
        """
        Start another broker that leads the partitions now.
        """
        return self.leading(broker_id=2, **settings)

    def wait(self, broker: Broker, seconds: float) -> None:
        """
        Let time pass; held operations stay held.
        """
        for _ in range(10):
            broker.clock.advance(seconds / 10)
