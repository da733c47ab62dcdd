"""
Buckets for tests, in an S3 server that runs in a process of its own.
"""

from __future__ import annotations

import base64
import itertools
import os
import time
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import attrs
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import ReadOnlyCredentials
from crc32c import crc32c
from twisted.internet import reactor
from twisted.internet.task import deferLater

from kafscale.store.blocking import RunBlocking, at_once
from kafscale.store.s3.address import Address
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.credentials import Credentials
from kafscale.store.s3.objects import PART_BYTES, S3ObjectStore
from kafscale.store.s3.probe import Probe
from kafscale.store.s3.signing import Signer
from kafscale.store.s3.transport import Transport
from tests.harness import serving
from tests.harness.identities import KEY, SECRETS, TREATMENTS, variables
from tests.harness.s3_peers import AS_S3, PEERS, Peer

KEYS = variables(KEY)
"""The environment variables with the credentials of a broker process."""

VARIABLE = "KAFSCALE_TEST_S3"
"""The environment variable with the name of the server for the tests' buckets;
moto if it is not set."""

SERVERS = {
    "moto": ["tests.harness.moto_server"],
    "seaweedfs": ["tests.harness.seaweed_server"],
    **{name: ["tests.harness.s3_peers", name] for name in PEERS},
}
"""The modules that run the servers, with their arguments, by the names of the servers."""

_numbers = itertools.count(1)


@attrs.frozen
class Server:
    """
    A running S3 server.

    @ivar name: One of L{SERVERS}.
    @ivar endpoint: Its URL.
    """

    name: str
    endpoint: str

    def address(self, bucket: str) -> Address:
        """
        The address of a bucket, in path style.
        """
        return Address(bucket, "us-east-1", f"{self.endpoint}/{bucket}")


def chosen() -> Peer:
    """
    What the server of this test run is like.
    """
    return PEERS.get(os.environ.get(VARIABLE, ""), AS_S3)


_running: dict[str, Server] = {}


def server(name: str = "") -> Server:
    """
    The server with this name, or that of this test run. It is started when it is
    first used, and ends with this process.
    """
    name = name or os.environ.get(VARIABLE) or "moto"
    if name not in _running:
        port = serving.port_of(*SERVERS[name])
        _running[name] = Server(name, f"http://127.0.0.1:{port}")
    return _running[name]


def client(
    address: Address,
    concurrency: int = 64,
    now: Callable[[], float] = time.time,
    search: Callable[[], Any] = lambda: BotocoreCredentials(KEY, SECRETS[KEY]),
    clock: Any = reactor,
    ca_file: str | None = None,
    kms_arn: str | None = None,
    run_blocking: RunBlocking = at_once,
) -> S3Client:
    """
    Make a client of a bucket, with the real reactor.
    """
    credentials = Credentials(search, at_once, clock)
    transport = Transport(address, credentials, reactor, now, concurrency, ca_file)
    made = S3Client(address, transport, kms_arn, run_blocking)
    made.checksum = chosen().checksum
    return made


def store(address: Address, part_bytes: int = PART_BYTES) -> S3ObjectStore:
    """
    Make a store in a bucket, with the real reactor.
    """
    return S3ObjectStore(client(address), reactor, part_bytes)


async def probe(store: S3ObjectStore, fencing: str, cluster: str = "one") -> None:
    """
    Probe a bucket as a broker of this cluster does at its start.
    """
    await Probe(store, reactor, "default", new_name("probe"), fencing).run(cluster)


def listen(factory: Any) -> Any:
    """
    Listen on a port of 127.0.0.1.
    """
    return reactor.listenTCP(0, factory, interface="127.0.0.1")


async def moment() -> None:
    """
    Let the reactor do other work for a moment.
    """
    await deferLater(reactor, 0.01)


def crc(data: bytes) -> str:
    """
    The CRC-32C of some bytes, as S3 has it: in base64.
    """
    return base64.b64encode(crc32c(data).to_bytes(4, "big")).decode()


def new_name(kind: str = "bucket") -> str:
    """
    A name that no bucket has yet.

    @param kind: The beginning of the name. Buckets with some of these are
        treated in another way: see L{TREATMENTS}.
    """
    return f"{kind}-{os.getpid()}-{next(_numbers)}"


def server_of(bucket: str) -> Server:
    """
    The server of a bucket, by its name: buckets with a treatment are on moto.
    """
    return server("moto" if bucket.partition("-")[0] in TREATMENTS else "")


def make_bucket(kind: str = "bucket", on: str = "") -> str:
    """
    Make a bucket, and return its name. Blocks, for tests without a reactor.

    @param kind: See L{new_name}.
    @param on: The name of the server, if it must be a certain one.
    """
    name = new_name(kind)
    _ask("PUT", (server(on) if on else server_of(name)).address(name).url())
    return name


def treat(bucket: str, how: str) -> None:
    """
    Have moto treat a bucket in another way from now on.

    @param how: One of L{TREATMENTS}.
    """
    url = f"{server('moto').endpoint}/treat/{bucket}"
    with urlopen(Request(url, how.encode(), method="PUT")) as answer:
        assert answer.status == 200, answer.status


def _ask(verb: str, url: str) -> None:
    key = ReadOnlyCredentials(KEY, SECRETS[KEY], None)
    signed = Signer("us-east-1", time.time).sign(verb, url, {}, key)
    with urlopen(Request(url, b"", signed, method=verb)) as answer:
        assert answer.status in (200, 204), answer.status


async def new_bucket(kind: str = "bucket") -> Address:
    """
    Make a bucket, and return its address.

    @param kind: See L{new_name}.
    """
    name = new_name(kind)
    address = server_of(name).address(name)
    making = client(address)
    await making.put_object("", [], create_only=False)
    await making.close()
    return address
