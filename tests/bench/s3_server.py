"""
An S3 server for benchmarks: it keeps everything in memory, and costs little,
so that a benchmark measures the broker.

    python -m tests.bench.s3_server

prints its port, and serves until its standard input ends. It implements the
requests that the broker uses, and passes the contract tests of object stores
(tests/bench/test_s3_server.py); it does not check signatures and checksums.

Lines on its standard input change it: C{{"delays": {"PUT": 100}}} makes each
PUT answer 100 ms after it has come (and take effect then, as on S3: requests
meanwhile do not see the object), and C{{"copy": [bucket, key, [key, ...]]}} stores an
object under more keys, for a full bucket at little cost. Each line is answered
with one, when it is done.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

Body = bytes | bytearray | memoryview

SCRATCH = 64 * 1024
PAGE = 1000
XML = "application/xml"


class Fault(Exception):
    """
    An answer that is an error.
    """

    def __init__(self, status: str, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Bucket:
    """
    Objects by key, and their keys in order.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Body] = {}
        self._keys: list[str] = []  # by code points, which is by their UTF-8 bytes
        self.uploads: dict[str, dict[int, Body]] = {}

    def put(self, key: str, body: Body, create_only: bool) -> None:
        """
        Store an object.
        """
        if key in self.objects:
            if create_only:
                raise Fault("412 Precondition Failed", "PreconditionFailed")
        else:
            insort(self._keys, key)
        self.objects[key] = body

    def get(self, key: str) -> memoryview:
        """
        All of an object.
        """
        try:
            return memoryview(self.objects[key])
        except KeyError:
            raise Fault("404 Not Found", "NoSuchKey") from None

    def delete(self, key: str) -> None:
        """
        Remove an object, if it is there.
        """
        if self.objects.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def page(self, prefix: str, after: str, limit: int) -> tuple[list[str], bool]:
        """
        Keys that begin so, and come after that one; and whether there are more.
        """
        at = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after) if after else 0)
        found: list[str] = []
        for key in self._keys[at : at + limit + 1]:
            if not key.startswith(prefix):
                return found, False
            found.append(key)
        return found[:limit], len(found) > limit


class Store:
    """
    The store's implementation of S3's requests, by verb.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self._numbers = count(1)

    def answer(
        self, verb: str, target: str, headers: dict[str, str], body: Body
    ) -> tuple[str, dict[str, str], Sequence[Body]]:
        """
        Status, headers and body.
        """
        path, _, query = target.partition("?")
        name, _, key = unquote(path).lstrip("/").partition("/")
        asked = dict(parse_qsl(query, keep_blank_values=True))
        if verb == "PUT" and not key:
            self.buckets.setdefault(name, Bucket())
            return "200 OK", {}, ()
        bucket = self.buckets.get(name)
        if bucket is None:
            raise Fault("404 Not Found", "NoSuchBucket")
        does: Callable[..., Any] = getattr(self, f"_{verb.lower()}")
        found: tuple[str, dict[str, str], Sequence[Body]]
        found = does(bucket, key, asked, headers, body)
        return found

    def _put(
        self, bucket: Bucket, key: str, asked: dict[str, str], headers: dict[str, str], body: Body
    ) -> Any:
        if "uploadId" in asked:
            self._upload(bucket, asked)[int(asked["partNumber"])] = body
        else:
            bucket.put(key, body, headers.get("if-none-match") == "*")
        return "200 OK", {"ETag": '"etag"'}, ()

    def _get(
        self, bucket: Bucket, key: str, asked: dict[str, str], headers: dict[str, str], _: Body
    ) -> Any:
        if not key:
            return "200 OK", {"Content-Type": XML}, [self._listed(bucket, asked)]
        whole = bucket.get(key)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
        if wanted is None:
            return "200 OK", {}, [whole]
        size = len(whole)
        if wanted[1]:
            first = int(wanted[1])
            last = min(int(wanted[2]) if wanted[2] else size - 1, size - 1)
        else:
            first, last = max(0, size - int(wanted[2])), size - 1
        if first > last:
            raise Fault("416 Range Not Satisfiable", "InvalidRange")
        told = {"Content-Range": f"bytes {first}-{last}/{size}"}
        return "206 Partial Content", told, [whole[first : last + 1]]

    def _listed(self, bucket: Bucket, asked: dict[str, str]) -> bytes:
        limit = min(int(asked.get("max-keys", PAGE)), PAGE)
        after = unquote(asked.get("continuation-token", "")) or asked.get("start-after", "")
        found, more = bucket.page(asked.get("prefix", ""), after, limit)
        items = "".join(
            f"<Contents><Key>{quote(key)}</Key><Size>{len(bucket.objects[key])}</Size></Contents>"
            for key in found
        )
        token = f"<NextContinuationToken>{quote(found[-1])}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType>{items}{token}"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated></ListBucketResult>"
        ).encode()

    def _head(
        self, bucket: Bucket, key: str, asked: dict[str, str], headers: dict[str, str], _: Body
    ) -> Any:
        return "200 OK", {"Content-Length": str(len(bucket.get(key)))}, ()

    def _delete(
        self, bucket: Bucket, key: str, asked: dict[str, str], headers: dict[str, str], _: Body
    ) -> Any:
        if "uploadId" in asked:
            self._upload(bucket, asked)
            del bucket.uploads[asked["uploadId"]]
        else:
            bucket.delete(key)
        return "204 No Content", {}, ()

    def _post(
        self, bucket: Bucket, key: str, asked: dict[str, str], headers: dict[str, str], body: Body
    ) -> Any:
        if "delete" in asked:
            for each in ElementTree.fromstring(bytes(body)).iterfind("{*}Object/{*}Key"):
                bucket.delete(each.text or "")
            return "200 OK", {"Content-Type": XML}, [b"<DeleteResult/>"]
        if "uploads" in asked:
            upload = str(next(self._numbers))
            bucket.uploads[upload] = {}
            told = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
            return "200 OK", {}, [f"{told}</InitiateMultipartUploadResult>".encode()]
        parts = self._upload(bucket, asked)
        whole = b"".join(parts[number] for number in sorted(parts))
        bucket.put(key, whole, headers.get("if-none-match") == "*")
        del bucket.uploads[asked["uploadId"]]
        return "200 OK", {"Content-Type": XML}, [b"<CompleteMultipartUploadResult/>"]

    def _upload(self, bucket: Bucket, asked: dict[str, str]) -> dict[int, Body]:
        try:
            return bucket.uploads[asked["uploadId"]]
        except KeyError:
            raise Fault("404 Not Found", "NoSuchUpload") from None


class Connection(asyncio.BufferedProtocol):
    """
    Requests of one connection, one after the other. Bodies are received where
    they are kept.
    """

    def __init__(self, store: Store, delays: dict[str, float]) -> None:
        self._store = store
        self._delays = delays
        self._transport: Any = None
        self._scratch = bytearray(SCRATCH)
        self._head = b""
        self._request: tuple[str, str, dict[str, str]] | None = None
        self._body = bytearray()
        self._got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        A client is there.
        """
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """
        Where what comes next is received.
        """
        if self._request is not None:
            return memoryview(self._body)[self._got :]
        return memoryview(self._scratch)

    def buffer_updated(self, size: int) -> None:
        """
        Something came.
        """
        if self._request is not None:
            self._got += size
        else:
            self._head += self._scratch[:size]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._begin(self._head[:end].decode("latin-1"), self._head[end + 4 :])
        if self._got == len(self._body):
            self._whole()

    def _begin(self, head: str, rest: bytes) -> None:
        first, *lines = head.split("\r\n")
        verb, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self._request = verb, target, headers
        # The broker's client sends no second request before the first answer.
        self._body = bytearray(int(headers.get("content-length", 0)))
        self._body[: len(rest)] = rest
        self._got = len(rest)
        self._head = b""

    def _whole(self) -> None:
        assert self._request is not None
        request, body = self._request, self._body
        self._request, self._body, self._got = None, bytearray(), 0
        delay = self._delays.get(request[0], 0.0)
        if delay:
            asyncio.get_running_loop().call_later(delay / 1000, self._answer, *request, body)
        else:
            self._answer(*request, body)

    def _answer(self, verb: str, target: str, headers: dict[str, str], body: bytearray) -> None:
        try:
            status, told, data = self._store.answer(verb, target, headers, body)
        except Fault as fault:
            status, told = fault.status, {"Content-Type": XML}
            data = [f"<Error><Code>{escape(fault.code)}</Code></Error>".encode()]
        if verb == "HEAD":
            data = ()
        if not status.startswith("204"):
            told = {"Content-Length": str(sum(map(len, data))), **told}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self._transport.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode())
        for each in data:
            self._transport.write(each)


async def serve() -> None:
    """
    Until standard input ends.
    """
    loop = asyncio.get_running_loop()
    store = Store()
    delays: dict[str, float] = {}
    server = await loop.create_server(lambda: Connection(store, delays), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader(limit=1 << 28)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        wish = json.loads(line)
        delays |= wish.get("delays", {})
        if "copy" in wish:
            name, key, keys = wish["copy"]
            bucket = store.buckets[name]
            for each in keys:
                bucket.put(each, bucket.objects[key], create_only=True)
        print(json.dumps({}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve())
