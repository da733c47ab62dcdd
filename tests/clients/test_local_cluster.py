"""
tap/cluster.tac: a cluster on one machine, for trying Kafscale.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.messages import AlterUserScramCredentialsRequest
from tests.clients.broker import ROOT, eventually
from tests.clients.changing import log_in, produce, upsertion
from tests.clients.kafka_tools import tools
from tests.clients.raw import RawClient, batch_of
from tests.harness.ports import free_port

MECHANISM = "SCRAM-SHA-512"

SERVERS = [*range(3), *range(100, 102), *range(110, 118), *range(216, 219)]
"""The ports that are taken, counted from the first."""


def is_free(port: int) -> bool:
    """
    Return whether no process listens on the port.
    """
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class LocalClusterTestCase(SynchronousTestCase):
    """
    A cluster that is started by one command.

    @cvar settings: What else is in its environment.
    """

    settings: ClassVar[Mapping[str, str]] = {}

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
                env={
                    **inherited,
                    "CLUSTER_PORT": str(self.port),
                    "PYTHONPATH": str(ROOT),
                    **self.settings,
                },
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

    def wait_until(self, what: Callable[[], bool]) -> None:
        """
        Wait for the cluster to start; its log is part of a failure.
        """
        try:
            eventually(what, 240)
        except AssertionError:
            raise AssertionError(self.log.read_text()[-6000:]) from None


class OpenTests(LocalClusterTestCase):
    """
    Without users.
    """

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
        self.wait_until(lambda: all(self.members(p) == [1, 2, 3] for p in ports))
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


class SecuredTests(LocalClusterTestCase):
    """
    With users and rights.
    """

    settings: ClassVar[Mapping[str, str]] = {"CLUSTER_SECURED": "1"}

    def logged_in(self, port: int, name: str, password: str) -> RawClient:
        """
        A connection of a user, who must be able to log in.
        """
        client = log_in(port, name, password, MECHANISM)
        assert client is not None, f"{name} cannot log in"
        self.addCleanup(client.close)
        return client

    def run_program(self, *command: str) -> str:
        """
        What a program prints, which must succeed.
        """
        done = subprocess.run(
            command,
            env=self.tools,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def test_users_and_rights(self) -> None:
        """
        The files that have the password of the first user can be read by their owner only,
        and kcat and Kafka's tools log in with them. Nobody gets in without a password; a
        new user may do nothing until an ACL allows it.
        """
        self.tools = tools(self.folder / "bin", "4.4")
        ports = [self.port + each for each in range(3)]
        self.wait_until(lambda: self.log.read_text(errors="replace").count("listens on") == 3)
        folder = self.folder / "kafscale-cluster"
        for name in ("admin-password", "admin.properties", "broker-password", "kcat.conf", "users"):
            self.assertEqual((folder / name).stat().st_mode & 0o777, 0o600, name)
        address = f"127.0.0.1:{ports[0]}"
        kcat = ["kcat", "-F", str(folder / "kcat.conf"), "-L", "-b", address]
        self.wait_until(lambda: "3 brokers" in self.run_program(*kcat))

        with RawClient(ports[0]) as stranger:
            self.assertRaises(ConnectionError, stranger.metadata)
        self.assertIsNone(log_in(ports[0], "admin", "wrong", MECHANISM))
        for port in ports:
            self.logged_in(port, "broker", (folder / "broker-password").read_text())
        admin = self.logged_in(ports[0], "admin", (folder / "admin-password").read_text())
        admin.create("t")
        users = [upsertion("ann", MECHANISM, "secret", 0)]
        request = AlterUserScramCredentialsRequest(deletions=[], upsertions=users)
        self.assertEqual([each.error_code for each in admin.call(request, 0).results], [0])
        (leader,) = (each.leader_id for each in admin.metadata("t").topics[0].partitions)
        eventually(lambda: log_in(ports[leader - 1], "ann", "secret", MECHANISM), 10)
        ann = self.logged_in(ports[leader - 1], "ann", "secret")
        self.assertEqual(produce(ann, "t"), (29, 0))
        self.run_program(
            "kafka-acls.sh", "--bootstrap-server", address,
            "--command-config", str(folder / "admin.properties"),
            "--add", "--allow-principal", "User:ann", "--producer", "--topic", "t",
        )  # fmt: skip
        eventually(lambda: produce(ann, "t") == (0, 0), 10)
        log = self.log.read_text(errors="replace")
        password = (folder / "admin-password").read_text()
        self.assertNotIn(password, log)
        self.assertNotIn("Traceback", log)
        self.assertIsNone(re.search(r"(?m)^.*#error.*$", log))
