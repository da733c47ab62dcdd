"""
The log and the fake log of other rooms' tests, against the contracts.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from tests.harness.coroutines import begin, now
from tests.log import contract
from tests.log.brokers import NOW, TOPIC, WHERE, BrokerTestCase, append_to, batch
from tests.log.fakes import FakeLog

T = TypeVar("T")


class BrokersResults(BrokerTestCase):
    """
    Calls on the log of one broker.
    """

    def setUp(self) -> None:
        """
        Start a broker that leads two partitions.
        """
        super().setUp()
        self.first = self.leader([WHERE, (TOPIC, 1)])

    def result(self, awaitable: Awaitable[T]) -> T:
        """
        The result of a call. All operations of the stores succeed.
        """
        asked = begin(awaitable)
        self.first.run()
        return now(asked)


class PartitionTests(BrokersResults, contract.PartitionContract):
    """
    L{kafscale.log.partition.partition.Partition}.
    """

    def setUp(self) -> None:
        """
        Open the partition.
        """
        super().setUp()
        self.readable = self.first.partition()

    def put(self, *values: bytes, timestamp: int = NOW * 1000) -> None:
        """
        Append, and let the slot be stored.
        """
        for value in values:
            append_to(self.readable, batch(value, times=[timestamp]))
        self.settle()

    def settle(self) -> None:
        """
        Let the slot be sent and stored.
        """
        self.first.run()

    def move_log_start(self, offset: int) -> None:
        """
        Delete records.
        """
        self.result(self.readable.delete_before(offset))

    def drop(self) -> None:
        """
        Delete the topic.
        """
        self.result(self.first.log.drop([TOPIC]))


class RolledPartitionTests(PartitionTests):
    """
    The same, when all durable records are in segments.
    """

    def put(self, *values: bytes, timestamp: int = NOW * 1000) -> None:
        """
        Append, and roll.
        """
        super().put(*values, timestamp=timestamp)
        self.result(self.first.roll(self.readable))


class LogTests(BrokersResults, contract.LogContract):
    """
    L{kafscale.log.log.Log}.
    """

    def setUp(self) -> None:
        """
        Test the broker's log.
        """
        super().setUp()
        self.log = self.first.log


class FakePartitionTests(contract.PartitionContract):
    """
    L{tests.log.fakes.FakePartition}.
    """

    def setUp(self) -> None:
        """
        Make a partition of a fake log.
        """
        self.log = FakeLog()
        self.readable = self.log.partition(*WHERE)

    def put(self, *values: bytes, timestamp: int = NOW * 1000) -> None:
        """
        Put the batches.
        """
        self.readable.put(*(bytes(batch(value)) for value in values), timestamp=timestamp)

    def settle(self) -> None:
        """
        Settle what was appended.
        """
        self.log.settlements[-1].settle()
        self.log.next_settlement()

    def move_log_start(self, offset: int) -> None:
        """
        Delete records.
        """
        self.result(self.readable.delete_before(offset))

    def drop(self) -> None:
        """
        Stop leading it.
        """
        self.readable.drop()

    def result(self, awaitable: Awaitable[T]) -> T:
        """
        The result of a call, when its load is done.
        """
        asked = begin(awaitable)
        loading, self.readable.loading = self.readable.loading, []
        for waiter in loading:
            waiter.callback(None)
        return now(asked)


class ColdFakePartitionTests(FakePartitionTests):
    """
    The same, when records must be loaded.
    """

    def setUp(self) -> None:
        """
        Let no read succeed without a load.
        """
        super().setUp()
        self.readable.cold = True


class FakeLogTests(contract.LogContract):
    """
    L{tests.log.fakes.FakeLog}.
    """

    def setUp(self) -> None:
        """
        Make a log that leads two partitions.
        """
        self.log = FakeLog()
        self.log.elsewhere.add((contract.OTHER, 0))
        for index in (0, 1):
            self.log.partition(TOPIC, index)

    def result(self, awaitable: Awaitable[T]) -> T:
        """
        The result of a call, none of which waits.
        """
        return now(awaitable)
