"""
A bucket in memory that answers S3's requests as the documentation says. Each
test overrides what its store does otherwise.

The same bucket is served in two ways: L{Wire} takes the place of a transport and
has the time of a L{Clock}, L{listening} serves it over HTTP, with a thread for
each connection.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from kafscale.store.s3.address import Address
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.errors import Answer
from kafscale.store.s3.objects import S3ObjectStore
from kafscale.store.s3.transport import Request
from tests.harness.s3 import crc

HOLDS = 0.0003
"""Seconds between the look for a key and the write of it, in a store that races."""

APART = 4 * HOLDS
"""Seconds between the first and the last of some requests that are sent together
over open connections."""


@attrs.frozen
class Asked:
    """
    A request.

    @ivar headers: By their names in lower case.
    """

    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def span(self) -> tuple[str, str]:
        """
        The two numbers of the C{Range}; both are empty if there is none.
        """
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        return (found[1], found[2]) if found else ("", "")


Answering = Generator[float, None, Answer]
"""Yields after how many seconds it is to be continued."""


def said(status: int, body: str = "", **headers: str) -> Answer:
    """
    An answer in XML.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, body.encode())


def refused(status: int, code: str) -> Answer:
    """
    An answer that is an error.
    """
    return said(status, f"<Error><Code>{code}</Code><Message>by the test</Message></Error>")


class SmallBucket:
    """
    A bucket.

    @ivar objects: The objects, by their keys.
    @ivar now: The time of all objects that are stored from now on, in seconds since
        1970.
    @ivar times: When an object was stored, by its key.
    @ivar holds: Seconds between the look for a key and the write of it.
    @ivar server: The C{Server} header of all answers.
    """

    def __init__(self, holds: float = 0.0) -> None:
        """
        See the attributes.
        """
        self.server = "small/1"
        self.objects: dict[str, bytes] = {}
        self.now = 0.0
        self.times: dict[str, float] = {}
        self.holds = holds
        self._uploads: dict[str, bytes] = {}

    def serve(self, asked: Asked) -> Answering:
        """
        Answer a request as this server.
        """
        answer = yield from self.answer(asked)
        return attrs.evolve(answer, headers={**answer.headers, "server": self.server})

    def answer(self, asked: Asked) -> Answering:
        """
        Answer a request.
        """
        if asked.method == "GET":
            return self.listing(asked) if "list-type" in asked.query else self.get(asked)
        if asked.method == "PUT":
            return self.part(asked) if "partNumber" in asked.query else self.put(asked)
        if asked.method == "POST" and "delete" in asked.query:
            return self.delete(asked)
        return self.upload(asked)

    def get(self, asked: Asked) -> Answering:
        """
        GetObject.
        """
        yield from ()
        if asked.key not in self.objects:
            return refused(404, "NoSuchKey")
        body = self.objects[asked.key]
        return self.ranged(body, *asked.span)

    def ranged(self, body: bytes, first: str, last: str) -> Answer:
        """
        A range of an object.
        """
        size = len(body)
        if not first and not last:
            return Answer(200, {}, body)
        start = int(first) if first else max(0, size - int(last))
        stop = min(int(last) + 1, size) if first and last else size
        if start >= size:
            return attrs.evolve(
                refused(416, "InvalidRange"), headers={"content-range": f"bytes */{size}"}
            )
        header = {"content-range": f"bytes {start}-{stop - 1}/{size}"}
        return Answer(206, header, body[start:stop])

    def listing(self, asked: Asked) -> Answering:
        """
        ListObjectsV2.
        """
        yield from ()
        query = asked.query
        after = query.get("continuation-token", query.get("start-after", ""))
        keys = [key for key in sorted(self.objects) if key.startswith(query["prefix"])]
        return self.page([key for key in keys if key > after], int(query["max-keys"]))

    def page(self, keys: list[str], most: int) -> Answer:
        """
        A page of a listing.
        """
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects.get(key, b''))}</Size>"
            f"<LastModified>{self._time(key)}</LastModified></Contents>"
            for key in keys[:most]
        )
        more = ""
        if len(keys) > most:
            more = f"<NextContinuationToken>{escape(keys[most - 1])}</NextContinuationToken>"
        truncated = "true" if more else "false"
        return said(
            200,
            f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{items}"
            "</ListBucketResult>",
        )

    def _time(self, key: str) -> str:
        return datetime.fromtimestamp(self.times.get(key, self.now), UTC).isoformat()

    def put(self, asked: Asked) -> Answering:
        """
        PutObject.
        """
        if asked.headers.get("x-amz-checksum-crc32c", crc(asked.body)) != crc(asked.body):
            return refused(400, "BadDigest")
        return (yield from self.create(asked, asked.body))

    def create(self, asked: Asked, body: bytes) -> Answering:
        """
        Make an object, under the condition of the request.
        """
        if "if-none-match" in asked.headers and asked.key in self.objects:
            return refused(412, "PreconditionFailed")
        if self.holds:
            yield self.holds
        self.objects[asked.key] = body
        return said(200, etag='"e"')

    def delete(self, asked: Asked) -> Answering:
        """
        DeleteObjects.
        """
        yield from ()
        for key in re.findall(r"<Key>([^<]*)</Key>", asked.body.decode()):
            self.objects.pop(key, None)
        return said(200, "<DeleteResult/>")

    def part(self, asked: Asked) -> Answering:
        """
        UploadPart.
        """
        yield from ()
        self._uploads[asked.query["uploadId"]] += asked.body
        return said(200, etag='"p"')

    def upload(self, asked: Asked) -> Answering:
        """
        CreateMultipartUpload, CompleteMultipartUpload, AbortMultipartUpload.
        """
        if "uploads" in asked.query:
            name = f"u{len(self._uploads)}"
            self._uploads[name] = b""
            return said(200, f"<R><UploadId>{name}</UploadId></R>")
        if asked.method == "DELETE":
            return said(204)
        done = yield from self.create(asked, self._uploads[asked.query["uploadId"]])
        return attrs.evolve(done, body=done.body or b"<CompleteMultipartUploadResult/>")


# -- with the time of a clock --------------------------------------------------


class Wire:
    """
    What a client sends its requests with, and a bucket at the other end: each
    answer comes after C{seconds}. A request for which no connection is open waits
    for one that is opened, which takes some milliseconds more or less.

    @ivar requests: The requests that were sent, by operation.
    """

    def __init__(
        self, bucket: SmallBucket, clock: IReactorTime, seconds: float = 0.02, seed: int = 0
    ) -> None:
        """
        @param seconds: From the request to the answer, over an open connection.
        @param seed: Decides how requests that are sent together differ in time.
        """
        self._bucket = bucket
        self._clock = clock
        self._seconds = seconds
        self._random = Random(seed)
        self._open = 0  # connections without a request
        self.requests: Counter[str] = Counter()

    def send(self, request: Request) -> Deferred[Answer]:
        """
        See L{kafscale.store.s3.transport.Transport}.
        """
        return Deferred.fromCoroutine(self._send(request))

    async def _send(self, request: Request) -> Answer:
        self.requests[request.operation] += 1
        if self._open:
            self._open -= 1
        else:
            await self._pause(self._seconds + self._random.uniform(0, 0.005))
        await self._pause(self._seconds / 2 + self._random.uniform(0, APART))
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = b"".join(request.pieces or ())
        answering = self._bucket.serve(
            Asked(request.method, request.key, request.query, headers, body)
        )
        while True:
            try:
                await self._pause(next(answering))
            except StopIteration as done:
                answer: Answer = done.value
                break
        await self._pause(self._seconds / 2)
        self._open += 1
        return answer

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds)

    async def close(self) -> None:
        """
        There is nothing to close.
        """


def wired(bucket: SmallBucket, clock: IReactorTime, seed: int = 0) -> S3ObjectStore:
    """
    A store in this bucket.
    """
    wire: Any = Wire(bucket, clock, seed=seed)
    address = Address("logs", "us-east-1", "http://test/logs")
    return S3ObjectStore(S3Client(address, wire), clock)


# -- over HTTP -------------------------------------------------------------------


@contextmanager
def listening(of: Callable[[], SmallBucket]) -> Iterator[str]:
    """
    Serve buckets over HTTP on a port of 127.0.0.1, with a thread for each
    connection. The value is the URL of the server.

    @param of: Makes a bucket when its name is first asked for.
    """
    buckets: dict[str, SmallBucket] = {}
    lock = threading.Lock()

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None:
            pass

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            url = urlsplit(self.path)
            name, _, key = unquote(url.path).lstrip("/").partition("/")
            asked = Asked(
                self.command,
                key,
                dict(parse_qsl(url.query, keep_blank_values=True)),
                {header.lower(): value for header, value in self.headers.items()},
                self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            )
            with lock:
                if name not in buckets:
                    buckets[name] = of()
                answering = buckets[name].serve(asked)
            while True:
                try:
                    with lock:  # from one pause to the next everything is done at once
                        seconds = next(answering)
                except StopIteration as done:
                    answer: Answer = done.value
                    break
                time.sleep(seconds)
            self.send_response_only(answer.status)
            for header, value in answer.headers.items():
                self.send_header(header, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # a probe opens 64 connections at once
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Connection)
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
