"""
The programs in examples/: each runs to its end, and prints the lines that it
documents.
"""

from __future__ import annotations

import subprocess
import sys

from tests.clients.broker import ROOT, Broker, BrokerTestCase
from tests.clients.raw import batch_of

SECONDS = 120.0


class ExampleTests(BrokerTestCase):
    """
    Against one broker, which is new for each test.
    """

    def setUp(self) -> None:
        """
        A broker where a new group does not wait for more members.
        """
        super().setUp()
        self.server = self.broker(use_memory_s3=1, group_initial_rebalance_delay_ms=0)

    def run_example(self, name: str, broker: Broker) -> list[str]:
        """
        The lines that the program prints.

        @raise AssertionError: It ended with another status than 0.
        """
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / name), broker.address],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout.splitlines()

    def test_produce_and_consume(self) -> None:
        """
        All ten orders are printed, those of a customer in their order; a
        second run finds the topic there, and prints twenty.
        """
        lines = self.run_example("produce_and_consume.py", self.server)
        self.assertEqual(len(lines), 10, lines)
        for customer in range(4):
            orders = [
                int(line.rsplit(" ", 1)[1]) for line in lines if f"customer-{customer}," in line
            ]
            self.assertEqual(orders, list(range(customer, 10, 4)))
        self.assertEqual(len(self.run_example("produce_and_consume.py", self.server)), 20)

    def test_consumer_group(self) -> None:
        """
        The second run goes on after the commit of the first.
        """
        amounts = (5, 10, 20, 40, 80)
        for first in (0, 5):
            self.assertEqual(
                self.run_example("consumer_group.py", self.server),
                [f"offset {first + i}: {amount} euros" for i, amount in enumerate(amounts)],
            )

    def test_admin(self) -> None:
        """
        The topic's own configuration is printed, and how far a group is
        behind: by the three records that came after its commit. A second run
        finds the topic there.
        """
        self.run_example("consumer_group.py", self.server)
        with self.connect(self.server) as client:
            client.produce("payments", 0, batch_of([b"1 euro"] * 3))
        expected = [
            "audit: message.timestamp.type=LogAppendTime",
            "audit: retention.ms=86400000",
            "billing: payments-0 at 5 of 8, lag 3",
        ]
        self.assertEqual(self.run_example("admin.py", self.server), expected)
        with self.connect(self.server) as client:
            self.assertEqual(len(client.metadata("audit").topics[0].partitions), 4)
        self.assertEqual(self.run_example("admin.py", self.server), expected)
