"""
Requests of L{kafscale.store.s3} to a server that answers as the test says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from kafscale.errors import (
    NoSuchObject,
    ObjectExists,
    StoreBusy,
    StoreContended,
    StoreUnavailable,
)
from kafscale.interfaces import ObjectInfo
from kafscale.store.retry import RetryingObjectStore
from kafscale.store.s3 import S3ObjectStore, transport
from kafscale.store.s3.address import Address
from kafscale.store.s3.errors import NoAnswer, S3Error
from tests.harness import s3
from tests.harness.coroutines import begin
from tests.store.s3.scripted_case import BEGUN, DONE, ScriptedTestCase
from tests.store.scripted import Say, cut_short, error, hang, reset

LIST = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <EncodingType>url</EncodingType><IsTruncated>%s</IsTruncated>
  %s
</ListBucketResult>"""

NO_PROGRESS = r"\Ahttp://127.0.0.1:\d+/bucket: no progress for \d+ s\Z"


class AnswerTests(ScriptedTestCase):
    """
    Answers to single requests.
    """

    async def test_of_creates(self) -> None:
        """
        412 means that the object exists, and 503 that the store is busy. After
        409 and all other errors the outcome is unknown.
        """
        for answer, kind in (
            (error(412, "PreconditionFailed"), ObjectExists),
            (error(409, "ConditionalRequestConflict"), StoreContended),
            (error(503, "SlowDown"), StoreBusy),
            (error(429, "TooManyRequests"), StoreBusy),
            (error(500, "InternalError"), StoreUnavailable),
            (error(400, "BadDigest"), StoreUnavailable),
            (error(403, "AccessDenied"), StoreUnavailable),
            (error(404, "NoSuchBucket"), StoreUnavailable),
            (error(301, "PermanentRedirect"), StoreUnavailable),
            (Say(502, b"<html>bad gateway</html>"), StoreUnavailable),
            (Say(503), StoreBusy),
            (Say(500, b"<Error><Code>cut of"), StoreUnavailable),
            (reset, StoreUnavailable),
        ):
            self.script.answers = [answer]
            self.assertIs(type(await self.failure(self.store.create("a", [b"x"]))), kind, answer)

    async def test_of_reads(self) -> None:
        """
        Only S3's code NoSuchKey means that there is no such object.
        """
        for answer, kind in (
            (error(404, "NoSuchKey"), NoSuchObject),
            (error(404, "NoSuchBucket"), StoreUnavailable),
            (error(403, "AccessDenied"), StoreUnavailable),
            (error(503, "SlowDown"), StoreBusy),
            (cut_short, StoreUnavailable),
            (reset, StoreUnavailable),
        ):
            self.script.answers = [answer]
            self.assertIs(type(await self.failure(self.store.get("a", 0, 10))), kind, answer)
            self.assertIs(type(await self.failure(self.store.get("a"))), kind, answer)
            self.assertIs(type(await self.failure(self.store.get_suffix("a", 5))), kind, answer)

    async def test_listings(self) -> None:
        """
        An answer that is not a listing is an error, not an empty listing. So is
        one with a document type, whose entities could use up all memory.
        """
        for body in (
            b"", b"ok", b"<html/", b"<html/>", b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>',
            LIST % (b"false", b"<Contents><Key>a</Key><Size>many</Size></Contents>"),
            LIST % (b"true", b"<Contents><Key>a</Key><Size>1</Size></Contents>"),  # but no token
        ):  # fmt: skip
            self.script.answers = [Say(200, body)]
            self.assertIsInstance(await self.failure(self.store.list("")), StoreUnavailable)

    async def test_listing_of_strangers(self) -> None:
        """
        Objects that Kafscale cannot have made are left out. A page that has no
        others does not end the listing.
        """
        strange = b"<Contents><Key>a/%20b</Key><Size>1</Size></Contents>"
        strange += b"<Contents><Key>folder/</Key><Size>0</Size></Contents>"
        ours = b"<Contents><Key>a/c%3Dd</Key><Size>7</Size></Contents>"
        more = b"<NextContinuationToken>1/2=</NextContinuationToken>"
        self.script.answers = [
            Say(200, LIST % (b"true", strange + more)),
            Say(200, LIST % (b"false", ours)),
        ]
        self.assertEqual(await self.store.list("a/", "a/0"), [ObjectInfo("a/c=d", 7)])
        first, second = (asked.uri for asked in self.script.asked)
        self.assertIn("&start-after=a%2F0", first)
        self.assertIn("continuation-token=1%2F2%3D", second)

    async def test_deletes(self) -> None:
        """
        A key that could not be deleted is an error, unless it did not exist. An
        error that may pass has the status that it has elsewhere.
        """
        body = b"<DeleteResult><Error><Key>a</Key><Code>%s</Code></Error></DeleteResult>"
        self.script.answers = [Say(200, body % b"NoSuchKey")]
        await self.store.delete(["a"])
        for code, status, kind in (
            (b"AccessDenied", 200, StoreUnavailable),
            (b"InternalError", 500, StoreUnavailable),
            (b"SlowDown", 503, StoreBusy),
            (b"ServiceUnavailable", 503, StoreBusy),
        ):
            self.script.answers = [Say(200, body % code)]
            refused = await self.failure(self.store.delete(["a"]))
            self.assertIs(type(refused), kind)
            cause = refused.__cause__
            assert isinstance(cause, S3Error)
            self.assertEqual((cause.status, cause.code), (status, code.decode()))

    async def test_what_is_sent(self) -> None:
        """
        A create has the condition, the checksum and the KMS key in signed
        headers, and the pieces as its body.
        """
        self.script.answers = [Say()]
        view = memoryview(b"x678x")[1:4]
        pieces: list[bytes | memoryview] = [b"12345", view, b"", b"9" * 300_000]
        self.store.in_parts = False
        await self.store.create("a=b/c", pieces)
        (asked,) = self.script.asked
        self.assertEqual((asked.method, asked.uri), ("PUT", "/bucket/a%3Db/c"))
        self.assertTrue(asked.body == b"".join(pieces))
        self.assertEqual(asked.headers["if-none-match"], "*")
        self.assertEqual(asked.headers["x-amz-checksum-crc32c"], s3.crc(asked.body))
        self.assertEqual(asked.headers["x-amz-server-side-encryption"], "aws:kms")
        self.assertEqual(
            asked.headers["x-amz-server-side-encryption-aws-kms-key-id"], "arn:aws:kms:the-key"
        )
        for name in ("if-none-match", "x-amz-checksum-crc32c", "x-amz-server-side-encryption"):
            self.assertIn(name, asked.headers["authorization"])

    async def test_one_connection(self) -> None:
        """
        Requests that follow one another share a connection, also after errors.
        """
        self.script.answers = [Say(200, b"x"), error(500, "InternalError"), Say(200, b"x")]
        await self.store.get("a")
        await self.failure(self.store.get("a"))
        for _ in range(5):
            await self.store.get("a")
        self.assertEqual(self.script.connections, 1)

    async def test_close(self) -> None:
        """
        Closing cancels the requests in progress, and new ones are refused.
        """
        self.script.answers = [hang]
        creating = begin(self.store.create("a", [b"x"]))
        reading = begin(self.store.get("a", 0, 1))
        await self.script.came(2)
        await self.store.close()
        for asked in (creating, reading, self.store.get("a")):
            self.assertIsInstance(await self.failure(asked), StoreUnavailable)

    async def test_cancelled(self) -> None:
        """
        A request that its caller cancels fails with CancelledError: one that is
        taken for unavailable is made again.
        """
        self.script.answers = [hang]
        retrying = RetryingObjectStore(self.store, self.clock, lambda: 0.5)
        calls: list[Deferred[Any]] = [
            begin(retrying.create("a", [b"x"])),
            begin(retrying.create("a", [b"x" * 2000])),  # in parts
            begin(retrying.get("a", 0, 1)),  # hedged
            begin(retrying.get("a")),
        ]
        await self.script.came(len(calls))
        for call in calls:
            call.cancel()
            await self.assertFailure(call, CancelledError)
        self.clock.advance(60)
        await s3.moment()
        self.assertEqual(len(self.script.asked), len(calls))

    async def test_cut_short(self) -> None:
        """
        An answer whose connection is lost before its end: the error says so.
        """
        self.script.answers = [cut_short]
        lost = await self.failure(self.store.get("a"))
        self.assertRegex(str(lost), r"/bucket: the answer ended too soon: Connection was .*")

    async def test_longest(self) -> None:
        """
        An answer that is longer than it may be is not read to its end.
        """
        self.script.answers = [Say(200, b"x" * 100)]
        self.assertEqual((await self.client.get_object("a", most=100)).body, b"x" * 100)
        with self.assertRaisesRegex(NoAnswer, "the answer has more than 99 bytes"):
            await self.client.get_object("a", most=99)
        await s3.moment()  # the connection is being closed

    async def test_silent(self) -> None:
        """
        A server that takes a request and sends nothing: the error says so.
        """
        self.patch(transport, "STALL_SECONDS", 0.1)
        for answer in (hang, lambda request: request.write(b"half of it")):
            self.script.answers = [answer]
            silent = await self.failure(self.store.get("a"))
            self.assertIs(type(silent), StoreUnavailable)
            self.assertRegex(str(silent), NO_PROGRESS)

    async def test_server_that_reads_nothing(self) -> None:
        """
        A server that does not read a large body: the error says so, too, and a
        caller that cancels the request gets CancelledError.
        """

        connected: Deferred[None] = Deferred()

        class Deaf(Protocol):
            def connectionMade(self) -> None:
                self.transport.pauseProducing()  # type: ignore[union-attr]
                if not connected.called:
                    connected.callback(None)

        port = s3.listen(Factory.forProtocol(Deaf))
        self.addCleanup(port.stopListening)
        client = s3.client(
            Address("bucket", "us-east-1", f"http://127.0.0.1:{port.getHost().port}/bucket")
        )
        self.addCleanup(client.close)
        body = [b"x" * (1 << 20)] * 64  # more than the buffers of both sockets
        sending = begin(client.put_object("a", body))
        await connected
        await s3.moment()
        sending.cancel()
        await self.assertFailure(sending, CancelledError)
        self.patch(transport, "STALL_SECONDS", 0.1)
        with self.assertRaisesRegex(NoAnswer, NO_PROGRESS):
            await client.put_object("a", body)


class SigningTests(ScriptedTestCase):
    """
    Requests that are signed anew after a refusal.
    """

    async def test_skewed_clock(self) -> None:
        """
        If the server refuses the time of a request, it is sent again with the
        server's time, and so are later ones.
        """
        refused = error(403, "RequestTimeTooSkewed", date="Sun, 17 Jan 2027 08:00:00 GMT")
        self.script.answers = [refused, Say(200, b"x")]
        self.now = 1_800_000_000.0  # 15 January 2027, 8:00
        await self.store.get("a")
        self.now += 60
        await self.store.get("a")
        self.assertEqual(
            [asked.headers["x-amz-date"] for asked in self.script.asked],
            ["20270115T080000Z", "20270117T080000Z", "20270117T080100Z"],
        )

    async def test_skew_once(self) -> None:
        """
        If the server refuses its own time, too, the request is not sent again.
        """
        refused = error(403, "RequestTimeTooSkewed", date="Sun, 17 Jan 2027 08:00:00 GMT")
        self.script.answers = [refused]
        self.assertIsInstance(await self.failure(self.store.get("a")), StoreUnavailable)
        self.assertEqual(len(self.script.asked), 2)
        self.assertIsInstance(await self.failure(self.store.get("a")), StoreUnavailable)
        self.assertEqual(len(self.script.asked), 3)

    async def test_new_credentials(self) -> None:
        """
        If credentials are refused, others are searched for, and the request is
        sent again with these.
        """
        for refused in (
            error(403, "ExpiredToken"),
            error(403, "SignatureDoesNotMatch"),  # another secret of the same key
            error(404, "XAdminUserNotFound"),  # versitygw
        ):
            self.keys = [("old", "secret"), ("new", "secret")]
            self.script.answers = [refused, Say(200, b"x")]
            self.script.asked.clear()
            store = S3ObjectStore(s3.client(self.client.address, search=self.search), self.clock)
            self.addCleanup(store.close)
            self.assertEqual(await store.get("a"), b"x")
            used = [asked.headers["authorization"] for asked in self.script.asked]
            self.assertIn("Credential=old/", used[0])
            self.assertIn("Credential=new/", used[1])

    async def test_no_others(self) -> None:
        """
        If there are no other credentials, the request fails as for any store
        that is unavailable.
        """
        for status, code in ((403, "InvalidAccessKeyId"), (404, "XAdminUserNotFound")):
            self.script.answers = [error(status, code)]
            self.script.asked.clear()
            refused = await self.failure(self.store.get("a"))
            self.assertIs(type(refused), StoreUnavailable)
            self.assertIn(code, str(refused))
            self.assertEqual(len(self.script.asked), 1)


class HedgedTests(ScriptedTestCase):
    """
    Hedged reads.
    """

    async def test_late_answer(self) -> None:
        """
        If the answer is late another request is sent, and its answer used.
        """
        self.script.answers = [hang, Say(206, b"x", {"content-range": "bytes 0-0/1"})]
        reading = begin(self.store.get_suffix("a", 1))
        await self.script.came(1)
        self.clock.advance(2)
        self.assertEqual(await reading, (b"x", 1))
        self.assertEqual(len(self.script.asked), 2)

    async def test_not_for_creates(self) -> None:
        """
        A create is not hedged, nor is a read that may be large.
        """
        self.script.answers = [hang]
        asked = [begin(self.store.create("a", [b"x"])), begin(self.store.get("a"))]
        await self.script.came(2)
        self.clock.advance(60)
        self.assertEqual(len(self.script.asked), 2)
        await self.store.close()
        for each in asked:
            await self.failure(each)


class PartsTests(ScriptedTestCase):
    """
    Multipart uploads, with parts of a thousand bytes.
    """

    data = bytes(range(250)) * 14  # 3500 bytes

    def answer(self, **special: Any) -> None:
        """
        Answer all requests with success, unless C{special} has another answer:
        C{part} to parts, C{complete} to the last request.
        """

        def serve(request: Any) -> None:
            method, uri = request.method, request.uri
            say: Callable[[Any], None]
            if method == b"POST" and b"uploads" in uri:
                say = Say(200, BEGUN)
            elif method == b"PUT":
                say = special.get("part", Say(200, b"", {"etag": '"tag"'}))
            elif method == b"POST":
                say = special.get("complete", Say(200, DONE))
            else:
                say = Say(204)
            say(request)

        self.script.answers = [serve]

    def requests(self) -> list[str]:
        """
        The method and the query of each request.
        """
        return [f"{asked.method} {asked.uri.partition('?')[2]}" for asked in self.script.asked]

    async def test_parts(self) -> None:
        """
        The parts have the bytes of the object, and the last request makes it,
        create-only.
        """
        self.answer()
        await self.store.create("a", [self.data[:1], self.data[1:2700], self.data[2700:]])
        parts = [asked for asked in self.script.asked if asked.method == "PUT"]
        parts.sort(key=lambda asked: asked.uri)
        self.assertTrue(b"".join(asked.body for asked in parts) == self.data)
        self.assertEqual([len(asked.body) for asked in parts], [1000, 1000, 1000, 500])
        for asked in parts:
            self.assertEqual(asked.headers["x-amz-checksum-crc32c"], s3.crc(asked.body))
            self.assertNotIn("if-none-match", asked.headers)
        begun, last = self.script.asked[0], self.script.asked[-1]
        self.assertEqual(begun.headers["x-amz-server-side-encryption"], "aws:kms")
        self.assertEqual(last.headers["if-none-match"], "*")
        self.assertEqual(last.uri, "/bucket/a?uploadId=the%2Fid")
        self.assertIn(b"<PartNumber>4</PartNumber><ETag>\"tag\"</ETag>", last.body)

    async def test_existing(self) -> None:
        """
        If the object exists the last request fails, with 412 or with an error
        after status 200. The upload is aborted.
        """
        late = Say(200, b"<Error><Code>PreconditionFailed</Code></Error>")
        for answer in (error(412, "PreconditionFailed"), late):
            self.script.asked.clear()
            self.answer(complete=answer)
            refused = await self.failure(self.store.create("a", [self.data]))
            self.assertIs(type(refused), ObjectExists)
            await self.script.came(7)
            self.assertEqual(self.requests()[-1], "DELETE uploadId=the%2Fid")

    async def test_failed(self) -> None:
        """
        If the last request fails in another way its outcome is unknown. The
        upload is aborted, and the caller begins anew.
        """
        for answer in (
            Say(200, b"<Error><Code>InternalError</Code></Error>"),
            error(404, "NoSuchUpload"),
            error(500, "InternalError"),
            reset,
        ):
            self.script.asked.clear()
            self.answer(complete=answer)
            refused = await self.failure(self.store.create("a", [self.data]))
            self.assertIs(type(refused), StoreUnavailable)
            await self.script.came(7)
            self.assertEqual(self.requests()[-1], "DELETE uploadId=the%2Fid")

    async def test_part_again(self) -> None:
        """
        A part that fails is sent again, without the others.
        """
        failing: list[Callable[[Any], None]] = [error(503, "SlowDown"), reset]

        def part(request: Any) -> None:
            say: Callable[[Any], None] = Say(200, b"", {"etag": '"tag"'})
            if failing:
                say = failing.pop()
            say(request)

        self.answer(part=part)
        creating = begin(self.store.create("a", [self.data]))
        await self.script.came(5)
        while not creating.called:
            self.clock.advance(1)
            await s3.moment()
        await creating
        self.assertEqual(sum(each.startswith("PUT") for each in self.requests()), 6)
        self.assertEqual(sum("uploads=" in each for each in self.requests()), 1)

    async def test_part_given_up(self) -> None:
        """
        If a part fails for good the upload is aborted.
        """
        self.answer(part=error(403, "AccessDenied"))
        refused = await self.failure(self.store.create("a", [self.data]))
        self.assertIs(type(refused), StoreUnavailable)
        while "DELETE uploadId=the%2Fid" not in self.requests():
            await s3.moment()
        self.assertFalse(any(each.startswith("POST uploadId") for each in self.requests()))
