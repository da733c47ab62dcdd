"""
Apache Kafka, one broker that is its own controller, as a process that ends with the
one that started it.

    python -m tests.harness.apache_kafka

prints its port, and serves until its standard input is closed. Its settings are the
defaults, but for those that one broker needs. The version is that of C{peers.toml}.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.harness import serving
from tests.harness.peers import java
from tests.harness.ports import free_port

VERSION = "4.4"
START_SECONDS = 180.0

VARIABLE = "KAFSCALE_TEST_KAFKA"
"""The environment variable with the port of the one that serves all processes of a
test run; each process starts its own if it is not set."""

TOKEN_SECRET = "of the cluster"
"""The secret key of its delegation tokens."""

_running: list[int] = []


def port() -> int:
    """
    The port of the broker of this test run. It is started when it is first used, and
    ends with this process, unless L{VARIABLE} names one that runs already.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return int(given)
    if not _running:
        _running.append(serving.port_of("tests.harness.apache_kafka"))
    return _running[0]


def settings(
    folder: Path, broker: int, controller: int, others: Mapping[str, object] | None = None
) -> str:
    """
    The content of its file with settings. Its listeners C{SASL} and C{ENDING}, whose
    sessions end after four seconds, have PLAIN and SCRAM-SHA-256 and the users C{alice}
    and C{bob}; their ports are in its configuration C{listeners}.

    @param broker: The port for clients.
    @param controller: The port for itself, as a controller.
    @param others: Settings that are not the defaults either.
    """
    login = "org.apache.kafka.common.security"
    plain = f'{login}.plain.PlainLoginModule required user_alice="secret" user_bob="secret";'
    listeners = {
        "PLAINTEXT": broker,
        "SASL": free_port(),
        "ENDING": free_port(),
        "CONTROLLER": controller,
    }
    addresses = [f"{name}://127.0.0.1:{port}" for name, port in listeners.items()]
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "listeners": ",".join(addresses),
        "advertised.listeners": ",".join(addresses[:-1]),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
        "SASL:SASL_PLAINTEXT,ENDING:SASL_PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        **{
            f"listener.name.{name}.{setting}": value
            for name in ("sasl", "ending")
            for setting, value in (
                ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256"),
                ("plain.sasl.jaas.config", plain),
                ("scram-sha-256.sasl.jaas.config", f"{login}.scram.ScramLoginModule required;"),
            )
        },
        "listener.name.ending.plain.connections.max.reauth.ms": 4000,
        "listener.name.ending.scram-sha-256.connections.max.reauth.ms": 4000,
        "log.dirs": folder / "data",
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # Everything is open until a test creates ACLs (tests.differential.rights), which
        # close it for clients at other addresses than 127.0.0.1.
        "delegation.token.secret.key": TOKEN_SECRET,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
        **(others or {}),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def start(
    folder: Path,
    port: int,
    others: Mapping[str, object] | None = None,
    options: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """
    Format its folder, start the process, and wait until it answers.

    @param others: See L{settings}.
    @param options: For the virtual machine, in place of those of
        L{java<tests.harness.peers.java>}.
    @raise serving.NotStarted: If it does not.
    """
    file = folder / "server.properties"
    file.write_text(settings(folder, port, free_port(), others))
    format_options = ["-t", "3nx1Tt6rQdWYZpqlBMJ7iw", "-c", str(file), "--standalone"]
    return serving.start(
        folder,
        [
            java(VERSION, "kafka.tools.StorageTool", "format", *format_options),
            java(VERSION, "kafka.Kafka", str(file), options=["-Xmx1g", *options]),
        ],
        lambda: _listens(port),
        START_SECONDS,
        {},
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    serving.serve("apache-kafka", start)
