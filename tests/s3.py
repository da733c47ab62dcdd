"""
Buckets for tests, in an S3 server that is a process of its own.
"""

from __future__ import annotations

import atexit
import base64
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import attrs
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import ReadOnlyCredentials
from crc32c import crc32c
from twisted.internet import reactor
from twisted.internet.task import deferLater

from kafscale.store.blocking import at_once
from kafscale.store.s3.address import Address
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.credentials import Credentials
from kafscale.store.s3.objects import PART_BYTES, S3ObjectStore
from kafscale.store.s3.probe import Probe
from kafscale.store.s3.signing import Signer
from kafscale.store.s3.transport import Transport
from tests.identities import KEY, SECRETS, TREATMENTS, variables

#: What a broker process needs to be let in.
KEYS = variables(KEY)

#: The variable that says which server has the buckets of the tests; moto's if nothing does.
VARIABLE = "KAFSCALE_TEST_S3"

#: The servers, and the modules that run them.
SERVERS = {"moto": "tests.moto_server", "seaweedfs": "tests.seaweed_server"}

_numbers = itertools.count(1)


@attrs.frozen
class Server:
    """
    An S3 server that runs.
    """

    name: str
    endpoint: str

    def address(self, bucket: str) -> Address:
        """
        Of a bucket, in the path style.
        """
        return Address(bucket, "us-east-1", f"{self.endpoint}/{bucket}")


_running: dict[str, Server] = {}


def server(name: str = "") -> Server:
    """
    The server of this test run, or the one with this name; started when it is
    first asked for.
    """
    name = name or os.environ.get(VARIABLE) or "moto"
    if name not in _running:
        process = subprocess.Popen(
            [sys.executable, "-m", SERVERS[name]],
            cwd=Path(__file__).resolve().parents[1],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        _running[name] = Server(
            name, f"http://127.0.0.1:{int(process.stdout.readline())}"
        )
        atexit.register(process.wait)
        atexit.register(process.stdin.close)  # called first: this ends it
    return _running[name]


def client(
    address: Address,
    concurrency: int = 64,
    now: Callable[[], float] = time.time,
    search: Callable[[], Any] = lambda: BotocoreCredentials(KEY, SECRETS[KEY]),
    clock: Any = reactor,
    ca_file: str | None = None,
    kms_arn: str | None = None,
) -> S3Client:
    """
    A client of a bucket, on the test's reactor.
    """
    credentials = Credentials(search, at_once, clock)
    transport = Transport(address, credentials, reactor, now, concurrency, ca_file)
    return S3Client(address, transport, kms_arn)


def store(address: Address, part_bytes: int = PART_BYTES) -> S3ObjectStore:
    """
    The objects of a bucket, on the test's reactor.
    """
    return S3ObjectStore(client(address), reactor, part_bytes)


async def probe(store: S3ObjectStore, cluster: str, fencing: str) -> None:
    """
    What a broker of this cluster does with a bucket at its start.
    """
    await Probe(store, reactor, "default", new_name("probe"), fencing).run(cluster)


def listen(factory: Any) -> Any:
    """
    A port on loopback that serves this.
    """
    return reactor.listenTCP(0, factory, interface="127.0.0.1")


async def moment() -> None:
    """
    Let the reactor do what it has to do.
    """
    await deferLater(reactor, 0.01)


def crc(data: bytes) -> str:
    """
    The checksum as S3 writes it.
    """
    return base64.b64encode(crc32c(data).to_bytes(4, "big")).decode()


def new_name(kind: str = "bucket") -> str:
    """
    A name that no bucket has yet; see L{TREATMENTS} for other kinds.
    """
    return f"{kind}-{os.getpid()}-{next(_numbers)}"


def server_of(bucket: str) -> Server:
    """
    The server that a bucket is on, by its name: it is moto that treats them.
    """
    return server("moto" if bucket.partition("-")[0] in TREATMENTS else "")


def make_bucket(kind: str = "bucket", on: str = "") -> str:
    """
    Make a bucket, and wait for it (for tests without a reactor): its name.

    @param on: Which server, if it is to be a certain one.
    """
    name = new_name(kind)
    _ask("PUT", (server(on) if on else server_of(name)).address(name).url())
    return name


def treat(bucket: str, how: str) -> None:
    """
    Have moto treat a bucket in another way from now on: see
    L{tests.moto_server}.
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
    The address of a bucket that is new and empty.
    """
    name = new_name(kind)
    address = server_of(name).address(name)
    making = client(address)
    await making.put_object("", [], create_only=False)
    await making.close()
    return address
