"""
tap/cluster.tac: a cluster on one machine, for trying Kafscale.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.broker import ROOT, eventually
from tests.clients.raw import RawClient, batch_of
from tests.harness.ports import free_port

SERVERS = [*range(3), *range(100, 102), *range(110, 118), *range(216, 219)]
"""The ports that are taken, counted from the first."""


def is_free(port: int) -> bool:
    """
    Return whether no process listens on the port.
    """
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class LocalClusterTests(SynchronousTestCase):
    """
    A cluster that is started by one command.
    """

    def setUp(self) -> None:
        """
        Start the cluster, on ports that no process uses.
        """
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.port = free_port(SERVERS)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("KAFSCALE_")}
        self.log = self.folder / "log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("twistd")),
                    "-ny",
                    str(ROOT / "tap" / "cluster.tac"),
                    "--pidfile=",
                ],
                cwd=self.folder,
                env={**inherited, "CLUSTER_PORT": str(self.port), "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # as in a terminal of its own
            )
        self.addCleanup(self.end)

    def end(self) -> None:
        """
        Stop the cluster by SIGTERM, also when the test fails: otherwise the
        processes that it started would go on.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def members(self, port: int) -> list[int]:
        """
        Whom the broker there tells of; none if it is not there.
        """
        try:
            with RawClient(port) as raw:
                return [each.node_id for each in raw.metadata().brokers]
        except OSError:
            return []

    def test_lives_and_ends(self) -> None:
        """
        Three brokers know each other, share the work, and serve. Ctrl-C, which
        a terminal sends to all processes of the group, stops them in order, even
        if it is pressed twice: nothing is left running, and the brokers have
        stored everything before the servers were stopped.
        """
        ports = [self.port + each for each in range(3)]
        try:
            eventually(lambda: all(self.members(p) == [1, 2, 3] for p in ports), 90)
        except AssertionError:
            raise AssertionError(self.log.read_text()[-6000:]) from None
        with RawClient(ports[0]) as raw:
            raw.create("t", 3)
            leaders = [each.leader_id for each in raw.metadata("t").topics[0].partitions]
        self.assertEqual(sorted(leaders), [1, 2, 3])
        with RawClient(ports[leaders[0] - 1]) as raw:
            self.assertEqual(raw.produce("t", 0, batch_of([b"a"])).error_code, 0)
            self.assertEqual([each.value for each in raw.records("t", 0)], [b"a"])
        for _ in range(2):
            os.killpg(self.process.pid, signal.SIGINT)
            eventually(lambda: "received SIGINT, stopping" in self.log.read_text(errors="replace"))
        self.assertEqual(self.process.wait(60), 0)
        log = self.log.read_text(errors="replace")
        self.assertEqual(log.count("all acknowledged records are stored"), 3, log[-3000:])
        self.assertNotIn("Traceback", log)
        self.assertNotIn("is not finished after", log)
        self.assertTrue(all(is_free(self.port + each) for each in SERVERS))
