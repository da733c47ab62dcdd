"""
Tests for L{kafscale.store.s3.checksums} and L{kafscale.store.s3.unknown_header}.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from kafscale.store.s3.checksums import CRC32C, HEADERS, MD5
from kafscale.store.s3.client import LARGE
from kafscale.store.s3.errors import NoAnswer, S3Error
from kafscale.store.s3.objects import S3ObjectStore
from kafscale.store.s3.unknown_header import unknown_header
from tests.harness import s3
from tests.store.s3.scripted_case import BEGUN, DONE, ScriptedTestCase
from tests.store.scripted import Say, error, reset


def md5(data: bytes) -> str:
    """
    An MD5 as C{Content-MD5} has it (RFC 1864).
    """
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


class ChecksumTests(ScriptedTestCase):
    """
    A client that sends an MD5 with each object.
    """

    def setUp(self) -> None:
        """
        Make the client.
        """
        super().setUp()
        self.in_threads = 0
        self.other = s3.client(self.client.address, run_blocking=self.run_blocking)
        self.other.checksum = MD5
        self.addCleanup(self.other.close)

    def run_blocking(self, function: Any, /, *args: Any, **named: Any) -> Deferred[Any]:
        """
        Run a function in a thread.
        """
        self.in_threads += 1
        return deferToThread(function, *args, **named)

    async def test_objects(self) -> None:
        """
        The MD5 is sent in the place of the CRC-32C, and signed. That of a large
        object is computed in a thread.
        """
        self.script.answers = [Say()]
        large = b"x" * (LARGE - 5)
        bodies: list[list[bytes | memoryview]] = [[b"small"], [b"large", memoryview(large)]]
        for number, pieces in enumerate(bodies):
            self.script.asked.clear()
            await self.other.put_object("a", pieces)
            (asked,) = self.script.asked
            self.assertEqual(asked.headers["content-md5"], md5(b"".join(pieces)))
            self.assertIn("content-md5", asked.headers["authorization"])
            self.assertNotIn("x-amz-checksum-crc32c", asked.headers)
            self.assertEqual(self.in_threads, number)

    async def test_parts(self) -> None:
        """
        So it is with each part of an upload, and nothing asks for a CRC-32C of
        the whole.
        """
        self.script.answers = [
            Say(200, BEGUN), Say(200, b"", {"etag": '"tag"'}), Say(200, DONE)
        ]
        store = S3ObjectStore(self.other, self.clock, 5)
        self.script.answers[1:1] = [Say(200, b"", {"etag": '"tag"'})]
        await store.create("a", [b"12345678"])
        begun, first, second, last = self.script.asked
        self.assertNotIn("x-amz-checksum-algorithm", begun.headers)
        self.assertEqual(
            {each.headers["content-md5"] for each in (first, second)}, {md5(b"12345"), md5(b"678")}
        )
        for each in self.script.asked:
            self.assertNotIn("x-amz-checksum-crc32c", each.headers)
        self.assertNotIn(b"Checksum", last.body)
        self.assertIn(b"<PartNumber>2</PartNumber><ETag>\"tag\"</ETag></Part>", last.body)

    async def test_unknown_header(self) -> None:
        """
        The header that a store does not know is found by leaving the condition
        out, and then the checksum. It is believed not to know the condition when
        it refuses that a second time. Other errors, and those that may pass, are
        raised.
        """

        def without(*names: str, status: int = 501) -> Callable[[Any], None]:
            def serve(request: Any) -> None:
                known = not any(request.getHeader(name) for name in names)
                (Say() if known else error(status, "NotImplemented"))(request)

            return serve

        condition, crc, md5_header = "If-None-Match", HEADERS[CRC32C], HEADERS[MD5]
        encryption = "x-amz-server-side-encryption"
        for client, answer, found in (
            (self.client, without(condition), condition),
            (self.client, without(condition, status=400), condition),
            (self.client, without(crc), crc),
            (self.client, without(crc, status=400), crc),
            (self.client, without(condition, crc), crc),  # the condition comes up after it
            (self.client, Say(), ""),
            (self.other, without(condition), condition),
        ):
            self.script.answers = [answer]
            self.assertEqual(await unknown_header(client, "a"), found)

        exists = error(412, "PreconditionFailed")
        self.script.answers = [Say(), exists]
        self.assertEqual(await unknown_header(self.client, "a"), "")
        slow = error(400, "RequestTimeout")
        for client, answers, said in (
            (self.client, [without(encryption)], "501 NotImplemented"),
            (self.client, [error(403, "AccessDenied")], "403 AccessDenied"),
            (self.client, [error(503, "SlowDown"), Say()], "503 SlowDown"),
            (self.client, [Say(), error(503, "SlowDown")], "503 SlowDown"),
            (self.client, [slow, Say()], "400 RequestTimeout"),
            (self.client, [Say(), slow], "400 RequestTimeout"),
            (self.client, [reset], ""),
            (self.other, [without(md5_header)], "501 NotImplemented"),
        ):
            self.script.answers = [*answers]
            with self.assertRaisesRegex((S3Error, NoAnswer), said):
                await unknown_header(client, "a")
