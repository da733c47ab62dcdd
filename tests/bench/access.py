"""
What access control costs: TLS, logins and ACLs.

    python -m tests.bench access --folder FOLDER-ON-A-DISK --rounds 5

TLS and logins are measured beside Apache Kafka, by turns, with the same certificate and
the same users. All figures but rates are CPU time of the broker, so what the client costs
is not in them. Much is produced before, and the first round of each load is thrown away:
the JVM compiles in it.
"""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from timeit import Timer
from typing import Any, TypeAlias

from cryptography.x509.oid import NameOID

from kafscale.access.authentication.scram import MECHANISMS
from kafscale.access.authorization.authorizer import MOST_DECISIONS
from kafscale.format.acl import AclRecord, Operation, PatternType, Permission, ResourceType
from kafscale.interfaces import IRights, Principal
from kafscale.wire.messages import (
    AlterUserScramCredentialsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
)
from tests.access.authorization.acls import Acls, acl, ten_thousand
from tests.bench.peers import Figures, by_turns, fetch, produce
from tests.bench.servers import ApacheKafka, Kafscale, Server, load, touch_memory
from tests.clients.broker import Broker
from tests.clients.raw import RawClient
from tests.harness.certificates import issue
from tests.harness.ports import free_port

PARTITIONS = 12
USER, PASSWORD = "alice", "secret"
"""A user of Apache Kafka's (`tests.harness.apache_kafka`)."""

SALT = bytes(range(16))
ITERATIONS = 4096
CONNECTIONS = 8
WARM_UP_MIB = 768
"""How much is produced to each listener before anything is measured. The JVM compiles in
it."""

CLIENTS = 200
TOPICS = 20
CHANGES = 10
READ, TOPIC = Operation.READ, ResourceType.TOPIC
ALL: dict[str, Any] = {
    "resource_type_filter": ResourceType.ANY,
    "resource_name_filter": None,
    "pattern_type_filter": PatternType.ANY,
    "principal_filter": None,
    "host_filter": None,
    "operation": Operation.ANY,
    "permission_type": Permission.ANY,
}
"""A filter that matches all ACLs."""

LONGEST = re.compile(r"^kafscale_reactor_longest_turn_seconds (\S+)$", re.MULTILINE)

Table: TypeAlias = tuple[str, list[str], list[list[str]]]


class Way(Server):
    """
    One listener of a server.
    """

    def __init__(self, server: Server, port: int, ca: str | None = None) -> None:
        """
        @param ca: See L{Server}.
        """
        self.name = server.name
        self.port = port
        self.ca = ca
        self._server = server

    @property
    def pid(self) -> int:
        """
        See `Server`.
        """
        return self._server.pid


class Secured:
    """
    Kafscale and Apache Kafka, each with a plain listener, one with TLS, and one where
    clients log in.

    @ivar servers: Both.
    @ivar ways: Their plain listeners, and those with TLS.
    @ivar logins: Those where clients log in.
    """

    def __init__(self, folder: Path) -> None:
        """
        @param folder: Where they have their data.
        """
        certificate = issue([(NameOID.COMMON_NAME, "localhost")], hosts=["localhost"])
        path, both = folder / "broker.pem", folder / "broker.both.pem"
        path.write_bytes(certificate.pem())
        both.write_bytes(certificate.key_pem() + certificate.pem())
        kafscale, kafka = Kafscale(folder), ApacheKafka(folder)
        self.servers: Sequence[Server] = (kafscale, kafka)
        self.ways: list[Server] = []
        self.logins: list[Server] = []
        urls = []
        for server in self.servers:
            tls, login = free_port(), free_port()
            self.ways += [Way(server, server.port), Way(server, tls, str(path))]
            self.logins.append(Way(server, login))
            ports = {"PLAINTEXT": server.port, "SSL": tls, "SASL": login}
            urls.append([f"{name}://127.0.0.1:{port}" for name, port in ports.items()])
        mechanisms = ",".join(["PLAIN", *MECHANISMS])
        kafscale.broker.settings |= {
            "listeners": ",".join(urls[0]),
            "listener_security_protocol_map": "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL:SASL_PLAINTEXT",
            "ssl_cert": path,
            "ssl_key": both,
            "sasl_enabled_mechanisms": mechanisms,
        }
        controller = f"127.0.0.1:{free_port()}"
        kafka.others |= {
            "listeners": ",".join([*urls[1], f"CONTROLLER://{controller}"]),
            "advertised.listeners": ",".join(urls[1]),
            "controller.quorum.bootstrap.servers": controller,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL:SASL_PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": both,
            "listener.name.sasl.sasl.enabled.mechanisms": mechanisms,
            "listener.name.sasl.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common"
            ".security.scram.ScramLoginModule required;",
        }

    def start(self) -> None:
        """
        Both, with a topic and a user.
        """
        for server in self.servers:
            server.start(PARTITIONS)
            create_user(server.port)

    def stop(self) -> None:
        """
        Both, and their data goes.
        """
        for server in self.servers:
            server.stop()


def create_user(port: int) -> None:
    """
    Give L{USER} a credential for each mechanism of SCRAM.
    """
    with RawClient(port, 120.0) as client:
        for mechanism in MECHANISMS.values():
            upsertion = AlterUserScramCredentialsRequest.Upsertion(
                name=USER,
                mechanism=mechanism.number,
                iterations=ITERATIONS,
                salt=SALT,
                salted_password=mechanism.salted(PASSWORD.encode(), SALT, ITERATIONS),
            )
            request = AlterUserScramCredentialsRequest(deletions=[], upsertions=[upsertion])
            (result,) = client.call(request, 0).results
            assert result.error_code == 0, result.error_message


def logins(mechanism: str, seconds: float) -> Callable[[Server], Figures]:
    """
    Logins on L{CONNECTIONS} connections at a time: how many a second, and CPU milliseconds
    for each.
    """

    def measure(server: Server) -> Figures:
        job: dict[str, Any] = {"mechanism": mechanism, "name": USER, "password": PASSWORD}
        job |= {"seconds": seconds, "connections": CONNECTIONS}
        found = load("logins", server, client="logins", **job)
        return found["logins"] / found["seconds"], found["cpu"] / found["logins"] * 1e3

    return measure


def beside_kafka(folder: Path, options: argparse.Namespace) -> list[Table]:
    """
    TLS and logins.
    """
    secured = Secured(folder)
    loads = [("produce", produce(options.mib)), ("fetch", fetch(4 * options.mib))]
    costs, rates = [], []
    try:
        secured.start()
        for way in secured.ways:
            produce(WARM_UP_MIB)(way)
        for what, measure in loads:
            figures = by_turns(secured.ways, options.rounds, measure)
            costs.append([f"{what}, MB/s", *(f"{rate:.0f}" for rate, _ in figures)])
            costs.append(["... CPU s/GB", *with_ratios([cost for _, cost in figures])])
            print(costs[-2:], file=sys.stderr, flush=True)
        for mechanism in (*MECHANISMS, "PLAIN"):
            figures = by_turns(secured.logins, options.rounds, logins(mechanism, options.seconds))
            rates.append(
                [
                    mechanism,
                    *(f"{rate:.0f}/s" for rate, _ in figures),
                    *(f"{cost:.2f} ms" for _, cost in figures),
                ]
            )
            print(rates[-1], file=sys.stderr, flush=True)
    finally:
        secured.stop()
    title = f"In one run, by turns, medians of {options.rounds}"
    return [
        (
            f"{title}: 1 connection, {PARTITIONS} partitions, batches of 1 MB in records of"
            " 1 KiB. In brackets: to the same without TLS",
            ["", "Kafscale", "Kafscale, TLS", "Kafka", "Kafka, TLS"],
            costs,
        ),
        (
            f"{title}: logins, each on a connection of its own, {CONNECTIONS} at a time,"
            f" {ITERATIONS} iterations",
            ["", "Kafscale", "Kafka", "CPU each: Kafscale", "Kafka"],
            rates,
        ),
    ]


def with_ratios(costs: Sequence[float]) -> list[str]:
    """
    The costs of pairs, of which the second has its ratio to the first.
    """
    cells = []
    for plain, encrypted in zip(costs[::2], costs[1::2], strict=True):
        cells += [f"{plain:.2f}", f"{encrypted:.2f} ({encrypted / plain:.1f})"]
    return cells


def decisions(rounds: int) -> list[list[str]]:
    """
    CPU time of a decision among ten thousand ACLs.
    """
    acls = Acls()
    acls.authorizer.changed({text: acl(text) for text in ten_thousand()})
    rights = acls.authorizer.rights(Principal("User", "alice"), "127.0.0.1")
    names = {
        "rights": rights,
        "READ": READ,
        "TOPIC": TOPIC,
        "long": "p" * 240,
        "number": itertools.count(),
    }
    cases = [
        ("a decision that is remembered", 200_000, '"t77"'),
        ("a new decision", 2_000, 'f"t{next(number)}"'),
        ("... about a name with 240 prefixes of ACLs", 2_000, 'f"{long}{next(number)}"'),
    ]
    rows = []
    for what, times, name in cases:
        timer = Timer(f"rights.allows(READ, TOPIC, {name})", "", time.thread_time, names)
        taken = statistics.median(timer.repeat(rounds, times)) / times
        rows.append([what, f"{taken * 1e6:.2f} µs"])
    taken = statistics.median(change_costs(acls, rights))
    what = f"a change, and the next decision about one of {MOST_DECISIONS:,} things"
    rows.append([what, f"{taken * 1e3:.2f} ms"])
    acls.close()
    return rows


def change_costs(acls: Acls, rights: IRights) -> Iterator[float]:
    """
    CPU seconds of changes that forget as many decisions as are remembered of a principal.
    """
    for change in range(CHANGES):
        for number in range(MOST_DECISIONS):
            rights.allows(READ, TOPIC, f"t{number}")
        begun = time.thread_time()
        acls.create(f"allow read topic new{change}")
        rights.allows(READ, TOPIC, "t77")
        yield time.thread_time() - begun


def changes(folder: Path) -> list[list[str]]:
    """
    The longest turn of a broker with ten thousand ACLs while one after the other is created
    and deleted, and clients ask for what was decided for them before; and then while all are
    described and deleted.
    """
    broker = Broker(
        folder / "acls",
        metrics_addr=f"127.0.0.1:{free_port()}",
        authorizer="acl",
        super_users="User:ANONYMOUS",
    )
    texts = ten_thousand()
    topics = [f"t{number}" for number in range(TOPICS)]
    try:
        broker.start()
        with RawClient(broker.port, 120.0) as admin:
            for topic in topics:
                admin.create(topic)
            for first in range(0, len(texts), 100):
                create(admin, [acl(text) for text in texts[first : first + 100]])
        broker.kill()
        broker.start()  # its longest turn is counted anew
        with ExitStack() as opened:
            clients = [
                opened.enter_context(RawClient(broker.port, 120.0, f"127.0.1.{number}"))
                for number in range(1, CLIENTS + 1)
            ]
            ask(clients, topics)
            before = longest_turn(metrics(broker))
            for number in range(CHANGES):
                change = acl(f"allow read topic new{number}")
                for do in (create, delete):
                    do(clients[0], [change])
                    ask(clients, topics)
            after = longest_turn(metrics(broker))
            all_of_them = []
            for request in (
                DescribeAclsRequest(**ALL),
                DeleteAclsRequest(filters=[DeleteAclsRequest.Filter(**ALL)]),
            ):
                clients[0].call(request, 3)
                name = type(request).__name__.removesuffix("Request")
                longest = longest_turn(metrics(broker))
                all_of_them.append([f"... and after {name} of all", f"{longest * 1e3:.1f} ms"])
    finally:
        broker.kill()
        shutil.rmtree(broker.folder)
    what = (
        f"the longest turn of a broker while ACLs are created and deleted {CHANGES} times, between"
        f" requests of clients at {CLIENTS} addresses about {TOPICS} topics (before: only requests)"
    )
    return [[what, f"{after * 1e3:.1f} ms ({before * 1e3:.1f} ms)"], *all_of_them]


def ask(clients: Sequence[RawClient], topics: Sequence[str]) -> None:
    """
    Have it decided what each client may see.
    """
    for client in clients:
        assert len(client.metadata(*topics).topics) == len(topics)


def metrics(broker: Broker) -> str:
    """
    The page of a broker's metrics.
    """
    address = broker.settings["metrics_addr"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as page:
        text: str = page.read().decode()
    return text


def longest_turn(page: str) -> float:
    """
    The seconds of the longest turn of a broker, from its metrics.
    """
    found = LONGEST.search(page)
    assert found is not None, page
    return float(found[1])


def create(admin: RawClient, acls: Sequence[AclRecord]) -> None:
    """
    Create ACLs.
    """
    creations = [
        CreateAclsRequest.Creation(
            resource_type=each.resource_type,
            resource_name=each.name,
            resource_pattern_type=each.pattern_type,
            principal=each.principal,
            host=each.host,
            operation=each.operation,
            permission_type=each.permission,
        )
        for each in acls
    ]
    for result in admin.call(CreateAclsRequest(creations=creations), 3).results:
        assert result.error_code == 0, result.error_message


def delete(admin: RawClient, acls: Sequence[AclRecord]) -> None:
    """
    Delete ACLs.
    """
    filters = [
        DeleteAclsRequest.Filter(
            resource_type_filter=each.resource_type,
            resource_name_filter=each.name,
            pattern_type_filter=each.pattern_type,
            principal_filter=each.principal,
            host_filter=each.host,
            operation=each.operation,
            permission_type=each.permission,
        )
        for each in acls
    ]
    for result in admin.call(DeleteAclsRequest(filters=filters), 3).filter_results:
        assert len(result.matching_acls) == 1, result


def tables(folder: Path, options: argparse.Namespace) -> list[Table]:
    """
    Measure all of it. Return title, head and rows of each table.

    @param options: Of the command line.
    """
    touch_memory(options.touch_gib << 30)
    acls = decisions(options.rounds) + changes(folder)
    return [*beside_kafka(folder, options), ("10,000 ACLs", ["", ""], acls)]
