"""
Tests for L{kafscale.store.s3.ranges} and the reads of
L{kafscale.store.s3.objects}, with servers that each understand ranges in a way of
their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import NoSuchObject, StoreUnavailable
from kafscale.store.s3.errors import Answer, WrongRange, as_store_error
from kafscale.store.s3.objects import REFUSED_BYTES, S3ObjectStore
from kafscale.store.s3.ranges import range_of, suffix_of
from tests.harness import s3
from tests.store.s3.scripted_case import ScriptedTestCase
from tests.store.scripted import Say, cut_short, error

DATA = b"0123456789"

Refuse = Callable[[int], Say]
"""Makes the answer to a range that an object of so many bytes does not have."""


def in_header(size: int) -> Say:
    """
    As RFC 9110 has it: the size of the object is in a header.
    """
    return error(416, "InvalidRange", content_range=f"bytes */{size}")


def in_body(size: int) -> Say:
    """
    As Amazon S3 and s3rver 3.7: it is in the body.
    """
    body = f"<Error><Code>InvalidRange</Code><ActualObjectSize>{size}</ActualObjectSize></Error>"
    return Say(416, body.encode())


def nowhere(size: int) -> Say:
    """
    As rclone 1.76 and gofakes3 1.2: the answer does not have it.
    """
    return error(416, "InvalidRange")


def broken(size: int) -> Say:
    """
    As s3s-fs 0.14: an error of the server.
    """
    return error(500, "InternalError")


@attrs.frozen
class Server:
    """
    A server with one object.

    @ivar unsatisfied: What it answers to plain ranges past the end.
    @ivar long_suffix: What it answers to suffixes longer than the object; None:
        all of it.
    @ivar suffix: What it answers to all suffixes; None: the suffix.
    @ivar empty_suffix: What it answers to suffixes of an empty object; None: as to
        plain ranges past the end.
    @ivar swapped: Whether it takes a suffix for the first bytes.
    @ivar whole: Whether it ignores ranges.
    """

    unsatisfied: Refuse = in_header
    long_suffix: Refuse | None = None
    suffix: Refuse | None = None
    empty_suffix: Say | None = None
    swapped: bool = False
    whole: bool = False

    def says(self, data: bytes) -> Callable[[Any], None]:
        """
        The answer to any request, if the object has these bytes.
        """

        def serve(request: Any) -> None:
            self._answer(data, request.getHeader("range") or "")(request)

        return serve

    def _answer(self, data: bytes, wanted: str) -> Say:
        size = len(data)
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if found is None or self.whole:
            return Say(200, data)
        first, last = found.groups()
        if first:
            start, stop = int(first), min(int(last or size) + 1, size)
        elif self.suffix is not None:
            return self.suffix(size)
        elif not size and self.empty_suffix is not None:
            return self.empty_suffix
        elif self.swapped:
            start, stop = 0, min(int(last) + 1, size)
        elif int(last) > size > 0 and self.long_suffix is not None:
            return self.long_suffix(size)
        else:
            start, stop = max(0, size - int(last)), size
        if start >= size:
            return self.unsatisfied(size)
        return Say(206, data[start:stop], {"content-range": f"bytes {start}-{stop - 1}/{size}"})


SERVERS = {
    "as RFC 9110 has it": Server(),
    "Amazon S3": Server(in_body),
    "rclone": Server(nowhere, nowhere),
    "one that says the size with its refusal": Server(in_header, in_header),
    "s3s-fs": Server(nowhere, broken),
    "versitygw, LocalStack": Server(in_body, empty_suffix=Say(200)),
    "JuiceFS": Server(nowhere, empty_suffix=Say(206, b"", {"content-range": "bytes 0--1/0"})),
    "s3rver": Server(in_body, swapped=True),
    "one without suffixes": Server(suffix=lambda _: error(501, "NotImplemented")),
    "one without ranges": Server(whole=True),
}


class ServerTests(ScriptedTestCase):
    """
    The same bytes from every server.
    """

    async def test_suffixes(self) -> None:
        """
        A suffix that is refused, or answered with other bytes, is read in another
        way, with or without suffix ranges.
        """
        for name, server in SERVERS.items():
            for data in (DATA, b"x", b""):
                self.script.answers = [server.says(data)]
                store = S3ObjectStore(self.client, self.clock)
                for store.suffixes in (True, False):
                    for length in (4, 10, 11, 64, 1, 0):
                        expected = (data[max(0, len(data) - length) :], len(data))
                        self.assertEqual(
                            await store.get_suffix("a", length), expected, (name, data, length)
                        )

    async def test_ranges(self) -> None:
        """
        A plain range is read as far as the object has it; of an object that ends
        before there is nothing.
        """
        for name, server in SERVERS.items():
            for data in (DATA, b""):
                self.script.answers = [server.says(data)]
                for start, length in (
                    (0, None), (3, None), (10, None), (30, None),
                    (0, 4), (0, 64), (3, 4), (3, 0), (8, 5), (10, 5), (12, 5),
                ):  # fmt: skip
                    stop = None if length is None else start + length
                    self.assertEqual(
                        await self.store.get("a", start, length),
                        data[start:stop],
                        (name, data, start, length),
                    )

    async def asked_for(self, server: Server, data: bytes, length: int) -> list[str]:
        """
        The ranges that are asked for to read a suffix.
        """
        self.script.answers = [server.says(data)]
        self.script.asked.clear()
        await self.store.get_suffix("a", length)
        return [asked.headers.get("range", "whole") for asked in self.script.asked]

    async def test_requests(self) -> None:
        """
        A suffix that is refused takes further requests. A store that is known to
        refuse them is asked for none: what is shorter than the suffix takes one
        request.
        """
        rclone = SERVERS["rclone"]
        self.assertEqual(await self.asked_for(rclone, DATA, 64), ["bytes=-64", "bytes=0-63"])
        self.store.suffixes = False
        self.assertEqual(await self.asked_for(rclone, DATA, 64), ["bytes=0-63"])
        self.assertEqual(await self.asked_for(rclone, DATA, 4), ["bytes=0-3", "bytes=6-9"])

    async def test_errors_that_pass(self) -> None:
        """
        After errors of a store that knows suffixes, however many, it is asked for
        them again. An overloaded store gets no second request.
        """
        for _ in range(10):
            await self.asked_for(Server(suffix=broken), DATA, 64)
        self.assertEqual(await self.asked_for(Server(), DATA, 64), ["bytes=-64"])
        self.script.asked.clear()
        self.script.answers = [error(503, "SlowDown")]
        await self.failure(self.store.get_suffix("a", 64))
        self.assertEqual(len(self.script.asked), 1)

    async def test_empty(self) -> None:
        """
        The answer about an empty object that has its size needs no second request.
        """
        amazon = SERVERS["Amazon S3"]
        self.assertEqual(await self.asked_for(amazon, b"", 64), ["bytes=-64"])

    async def test_refused(self) -> None:
        """
        A store that refuses every range, and does not say how large the object is:
        a small one is read whole, a large one is not.
        """

        def refusing(data: bytes) -> Callable[[Any], None]:
            def serve(request: Any) -> None:
                (nowhere(0) if request.getHeader("range") else Say(200, data))(request)

            return serve

        self.script.answers = [refusing(DATA)]
        self.assertEqual(await self.store.get("a", 0, 4), DATA[:4])
        self.assertEqual(await self.store.get_suffix("a", 64), (DATA, len(DATA)))
        self.script.answers = [refusing(bytes(REFUSED_BYTES + 1))]
        for reading in (self.store.get("a", 0, 4), self.store.get_suffix("a", 64)):
            self.assertIn("has more than", str(await self.failure(reading)))
        await s3.moment()  # the connection is being closed

    async def test_unreadable(self) -> None:
        """
        An answer that does not have the bytes that were asked for is no answer:
        the object is not taken for absent, empty or shorter.
        """
        for name, answer in (
            ("other bytes", Say(206, b"0123", {"content-range": "bytes 0-3/10"})),
            ("fewer than asked for", Say(206, b"67", {"content-range": "bytes 6-7/10"})),
            ("fewer than it says", Say(206, b"678", {"content-range": "bytes 6-9/10"})),
            ("no place", Say(206, b"6789")),
            ("no size", Say(206, b"6789", {"content-range": "bytes 6-9/*"})),
            ("a smaller size", Say(206, b"6789", {"content-range": "bytes 6-9/9"})),
            ("other units", Say(206, b"6789", {"content-range": "lines 6-9/10"})),
            ("no content", Say(204)),
            ("a range after all", Say(200, b"0123", {"content-range": "bytes 0-3/10"})),
            ("cut short", cut_short),
            ("a range that it says it has", in_header(10)),
            ("a 404 of a proxy", Say(404, b"<html>not found</html>")),
            ("a 404 without a body", Say(404)),
            ("no such bucket", error(404, "NoSuchBucket")),
        ):
            self.script.answers = [answer]
            for reading in (self.store.get("a", 6, 4), self.store.get_suffix("a", 4)):
                refused = await self.failure(reading)
                self.assertIs(type(refused), StoreUnavailable, name)

    async def test_changed_meanwhile(self) -> None:
        """
        If the object has another size at the second request the two answers do
        not belong together.
        """
        without = SERVERS["one without suffixes"]
        self.script.answers = [
            without.says(DATA), without.says(DATA), without.says(DATA + b"more")
        ]
        refused = await self.failure(self.store.get_suffix("a", 4))
        self.assertIn("had 10 bytes, and now 14", str(refused))

    async def test_deleted_meanwhile(self) -> None:
        """
        An object that is gone at the second request does not exist.
        """
        self.script.answers = [in_body(10), error(404, "NoSuchKey")]
        self.assertIsInstance(await self.failure(self.store.get_suffix("a", 64)), NoSuchObject)


class AnswerTests(SynchronousTestCase):
    """
    Single answers.
    """

    def test_larger_range(self) -> None:
        """
        A server may answer with more than was asked for, if it says so.
        """
        answer = Answer(206, {"content-range": "bytes 2-8/10"}, b"2345678")
        self.assertEqual(range_of(answer, 3, 4), (b"3456", 10))
        self.assertRaises(WrongRange, range_of, answer, 1, 4)
        self.assertRaises(WrongRange, range_of, answer, 3, None)
        self.assertRaises(WrongRange, suffix_of, answer, 1)

    def test_reason(self) -> None:
        """
        The error has what the answer says.
        """
        answer = Answer(206, {"content-range": "bytes 0-3/10"}, b"0123")
        raised = self.assertRaises(WrongRange, suffix_of, answer, 4)
        self.assertEqual(
            str(as_store_error(raised, "a")),
            "the answer is not what was asked for: status 206, 4 bytes, Content-Range: bytes"
            " 0-3/10",
        )
