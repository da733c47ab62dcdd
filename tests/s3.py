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

#: What a broker process needs to be let in.
KEY, SECRET = "test", "a secret"
KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

_numbers = itertools.count(1)


@attrs.frozen
class Server:
    """
    An S3 server that runs.
    """

    endpoint: str

    def address(self, bucket: str) -> Address:
        """
        Of a bucket, in the path style.
        """
        return Address(bucket, "us-east-1", f"{self.endpoint}/{bucket}")


_running: list[Server] = []


def server() -> Server:
    """
    The server of this test run, started when it is first asked for.
    """
    if not _running:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.moto_server"],
            cwd=Path(__file__).resolve().parents[1],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        _running.append(Server(f"http://127.0.0.1:{int(process.stdout.readline())}"))
        atexit.register(process.wait)
        atexit.register(process.stdin.close)  # called first: this ends it
    return _running[0]


def client(
    address: Address,
    concurrency: int = 64,
    now: Callable[[], float] = time.time,
    search: Callable[[], Any] = lambda: BotocoreCredentials(KEY, SECRET),
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
    A name that no bucket has yet; see L{tests.moto_server} for other kinds.
    """
    return f"{kind}-{os.getpid()}-{next(_numbers)}"


def make_bucket(kind: str = "bucket") -> str:
    """
    Make a bucket, and wait for it (for tests without a reactor): its name.
    """
    name = new_name(kind)
    _ask("PUT", server().address(name).url())
    return name


def remove(bucket: str, key: str) -> None:
    """
    Delete an object, and wait for it.
    """
    _ask("DELETE", server().address(bucket).url(key))


def _ask(verb: str, url: str) -> None:
    key = ReadOnlyCredentials(KEY, SECRET, None)
    signed = Signer("us-east-1", time.time).sign(verb, url, {}, key)
    with urlopen(Request(url, b"", signed, method=verb)) as answer:
        assert answer.status in (200, 204), answer.status


async def new_bucket(kind: str = "bucket") -> Address:
    """
    The address of a bucket that is new and empty.
    """
    address = server().address(new_name(kind))
    making = client(address)
    await making.put_object("", [], create_only=False)
    await making.close()
    return address
