"""
Brokers that lead four partitions, for tests of rolling.
"""

from __future__ import annotations

from typing import Any

from tests.log.brokers import EACH, TOPIC, Broker, BrokerTestCase, append_to, batch

PARTITIONS = [(TOPIC, index) for index in range(4)]


class RollingTestCase(BrokerTestCase):
    """
    Tests with a broker that leads four partitions.
    """

    def leading(self, **settings: Any) -> Broker:
        """
        Start the broker, and open its partitions.
        """
        broker = self.leader(PARTITIONS, **{**EACH, **settings})
        for where in PARTITIONS:
            broker.log.partition(*where).opened()
        return broker

    def fill(self, broker: Broker, index: int, number: int = 1, size: int = 1000) -> None:
        """
        Append batches of about C{size} bytes to a partition.
        """
        for _ in range(number):
            append_to(broker.log.partition(TOPIC, index), batch(b"x" * (size - 70)))

    def rolled(self) -> list[int]:
        """
        Return C{rolled_to} of each partition.
        """
        return [self.shared.record(where).rolled_to for where in PARTITIONS]
