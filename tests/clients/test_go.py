"""
Clients in Go: franz-go, Sarama and kafka-go.
"""

from __future__ import annotations

import subprocess

from tests.clients.broker import BrokerTestCase
from tests.harness.peers import go_program

SECONDS = 300.0


class GoTests(BrokerTestCase):
    """
    Default producers and consumers, administration, and groups; see the programs in
    C{tests/clients/go}.
    """

    def _checked(self, name: str) -> None:
        """
        Run a program, all of whose checks must hold.
        """
        broker = self.broker(group_initial_rebalance_delay_ms=0)
        done = subprocess.run(
            [str(go_program(name)), broker.address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout}\n{done.stderr[-3000:]}")
        self.assertEqual(done.stdout.splitlines(), ["topics", "records", "group"])

    def test_franz(self) -> None:
        """
        franz-go.
        """
        self._checked("franz")

    def test_old_franz(self) -> None:
        """
        franz-go of before ApiVersions 5.
        """
        self._checked("old_franz")

    def test_sarama(self) -> None:
        """
        Sarama, in the versions of the protocol that are its newest, its default and 0.10.
        """
        self._checked("sarama")

    def test_kafka_go(self) -> None:
        """
        kafka-go.
        """
        self._checked("segmentio")
