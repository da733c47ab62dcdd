"""
The base of tests with brokers that sweep.
"""

from __future__ import annotations

from typing import Any

from kafscale.format.slot import SMALLEST_SLOT
from kafscale.interfaces import Put
from tests.harness.coroutines import now
from tests.log.brokers import EACH, Broker, BrokerTestCase

EVERY = 100.0
"""Seconds between two sweeps."""


class SweepTestCase(BrokerTestCase):
    """
    A case with brokers, their stores, and sweeps.
    """

    def sweeper(self, **settings: Any) -> Broker:
        """
        Start a broker that sweeps.
        """
        return self.leader(**{**EACH, "orphan_seconds": EVERY, **settings})

    def look(self, broker: Broker) -> None:
        """
        Let the interval to the next sweep pass.
        """
        broker.clock.advance(EVERY)
        broker.run()

    def commit(self, key: str, value: Any) -> None:
        """
        Put an entry into the metadata.
        """
        now(self.shared.metadata.commit([], [Put(key, value)]))

    def put(self, key: str, data: bytes = b"x" * SMALLEST_SLOT) -> str:
        """
        Store an object, which may come late; return its key.
        """
        now(self.shared.objects.create(key, [data]))
        return key
