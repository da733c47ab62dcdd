"""
Tests for L{kafscale.store.s3.probe}, and for the claims of
L{kafscale.store.identity} in a store that replaces. The messages about buckets
that are refused are also tested in L{tests.clients.test_s3_failures} and
L{tests.clients.test_s3_treatments}.
"""

from __future__ import annotations

import re
from random import Random

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kafscale.errors import SettingError
from kafscale.format import object_keys
from kafscale.format.cluster import BUCKET, StoreRecord, write_probe_record
from kafscale.store.blocking import at_once
from kafscale.store.identity import Place, StoreIdentity
from kafscale.store.s3 import probe
from kafscale.store.s3.address import Address
from kafscale.store.s3.errors import Answer
from kafscale.store.s3.objects import S3ObjectStore
from kafscale.store.s3.probe import OBJECTS, PATIENCE, RIVALS, SLOW, Probe
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness import s3
from tests.harness.coroutines import begin
from tests.harness.small_s3 import (
    HOLDS,
    Answering,
    Asked,
    SmallBucket,
    listening,
    refused,
    said,
    wired,
)

RECORD = object_keys.probe_record("default", "one", "small/1")
"""The key of what stays in a bucket that was accepted."""

STARTS = 100
"""How often a store is tried that races, and one that does not."""


@attrs.frozen
class Outcome:
    """
    What became of a probe.

    @ivar why: Why the store is refused; empty if it is accepted.
    @ivar seconds: How long it took.
    @ivar store: The store.
    @ivar lines: Its warnings.
    @ivar told: Its other lines in the log.
    """

    why: str
    seconds: float
    store: S3ObjectStore
    lines: list[str]
    told: list[str]


def probed(bucket: SmallBucket, fencing: str = "create", seed: int = 0) -> Outcome:
    """
    Probe a bucket whose answers take 20 ms of a clock.
    """
    clock = Clock()
    store = wired(bucket, clock, seed)
    results: list[object] = []
    with capturedLogs() as logged:
        begin(Probe(store, clock, "default", "p", fencing).run("one")).addBoth(results.append)
        while not results:
            clock.advance(HOLDS / 3)
    why = ""
    if isinstance(results[0], Failure):
        results[0].trap(SettingError)
        why = results[0].getErrorMessage()
    warned, told = (
        [formatEvent(event) for event in logged if event["log_level"] is level]
        for level in (LogLevel.warn, LogLevel.info)
    )
    return Outcome(why, clock.seconds(), store, warned, told)


class CheckTests(SynchronousTestCase):
    """
    What the log needs of a store is tried, and named where it is missing.
    """

    def assert_refused(self, bucket: SmallBucket, *words: str, fencing: str = "create") -> None:
        """
        Check that a bucket is refused with these words, and that nothing of the
        probe stays in it.
        """
        outcome = probed(bucket, fencing)
        for word in ("the bucket logs at http://test/logs ", *words):
            self.assertIn(word, outcome.why)
        self.assertNotIn("\n", outcome.why)

    def test_everything_is_right(self) -> None:
        """
        A store that does all of it is accepted without a line, within two
        seconds. A record stays in it.
        """
        for fencing in ("create", "metadata"):
            bucket = SmallBucket()
            outcome = probed(bucket, fencing)
            self.assertEqual((outcome.why, outcome.lines), ("", []))
            self.assertLess(outcome.seconds, 2)
            self.assertTrue(outcome.store.create_only and outcome.store.in_parts)
            self.assertEqual(bucket.objects, {RECORD: write_probe_record("small/1")})
            self.assertEqual(probed(bucket, fencing).why, "")
            self.assertEqual(list(bucket.objects), [RECORD])

    def test_number_of_creates(self) -> None:
        """
        Eight creates are made of each of eight keys.
        """
        creates: dict[str, int] = {}

        class Counting(SmallBucket):
            def put(self, asked: Asked) -> Answering:
                creates[asked.key] = creates.get(asked.key, 0) + 1
                return super().put(asked)

        probed(Counting())
        self.assertEqual([*creates.values()][:OBJECTS], [RIVALS] * OBJECTS)

    def test_second_winner(self) -> None:
        """
        One second winner for one of the keys is enough to refuse the store, and
        the line names the setting to use. What was stored is deleted.
        """

        class Seldom(SmallBucket):
            def create(self, asked: Asked, body: bytes) -> Answering:
                if asked.key.endswith("-007") and body[:1] in (b"3", b"5"):
                    asked = attrs.evolve(asked, headers={})
                return super().create(asked, body)

        bucket = Seldom()
        self.assert_refused(
            bucket, "does not keep to If-None-Match", "KAFSCALE_S3_FENCING=metadata"
        )
        self.assertEqual(bucket.objects, {})
        self.assertEqual(probed(Seldom(), "metadata").why, "")

    def test_winner_is_replaced(self) -> None:
        """
        A create that is refused and stored all the same refuses the store.
        """

        class Lying(SmallBucket):
            def create(self, asked: Asked, body: bytes) -> Answering:
                answer = yield from super().create(asked, body)
                if body[:1] == b"6":
                    self.objects[asked.key] = body
                return answer

        self.assert_refused(Lying(), "does not keep to If-None-Match", "accepted 2")

    def test_conflicts(self) -> None:
        """
        Creates that are answered 409 are made again.
        """

        class Contended(SmallBucket):
            def __init__(self) -> None:
                super().__init__()
                self.left = 40

            def create(self, asked: Asked, body: bytes) -> Answering:
                if self.left:
                    self.left -= 1
                    yield 0
                    return refused(409, "ConditionalRequestConflict")
                return (yield from super().create(asked, body))

        self.assertEqual(probed(Contended()).why, "")

    def test_busy(self) -> None:
        """
        A store that is busy while creates of one key are made, or whose answers
        are lost, is accepted: other keys are tried and listed.
        """

        class Busy(SmallBucket):
            def create(self, asked: Asked, body: bytes) -> Answering:
                if asked.key.endswith("-002") and body[:1] > b"2":
                    yield 0
                    return refused(503, "SlowDown")
                return (yield from super().create(asked, body))

        class Lost(SmallBucket):
            def create(self, asked: Asked, body: bytes) -> Answering:
                answer = yield from super().create(asked, body)
                return refused(500, "InternalError") if asked.key.endswith("-002") else answer

        class Late(SmallBucket):
            def __init__(self) -> None:
                super().__init__()
                self.late: dict[str, list[bytes]] = {}

            def create(self, asked: Asked, body: bytes) -> Answering:
                late = self.late.setdefault(asked.key, [])
                if not asked.key.endswith("-002") or len(late) == RIVALS:
                    return (yield from super().create(asked, body))
                yield 0
                late.append(body)
                return refused(500, "InternalError")

            def listing(self, asked: Asked) -> Answering:
                for key, bodies in self.late.items():
                    for body in bodies:
                        self.objects.setdefault(key, body)
                return super().listing(asked)

        for bucket in (Busy(), Lost(), Late()):
            outcome = probed(bucket)
            self.assertEqual((outcome.why, outcome.lines), ("", []))
            self.assertLess(outcome.seconds, 3)
            self.assertEqual(list(bucket.objects), [RECORD])

    def test_overloaded(self) -> None:
        """
        A store that refuses all creates for seconds is accepted afterwards, and
        gets few requests meanwhile.
        """

        class Overloaded(SmallBucket):
            def __init__(self, most: int) -> None:
                super().__init__()
                self.most = most
                self.creates = 0

            def create(self, asked: Asked, body: bytes) -> Answering:
                self.creates += 1
                if self.creates > self.most:
                    return (yield from super().create(asked, body))
                yield 0
                return refused(503, "SlowDown")

        self.assertEqual(probed(Overloaded(OBJECTS * RIVALS + 20)).why, "")
        bucket = Overloaded(1000)
        self.assert_refused(bucket, "create: too many requests fail")
        self.assertLess(bucket.creates, RIVALS * (OBJECTS + PATIENCE / 0.3))

    def test_too_few_answers(self) -> None:
        """
        A store that answers most creates with errors is not trusted.
        """

        class Failing(SmallBucket):
            def create(self, asked: Asked, body: bytes) -> Answering:
                if body[:1] > b"2":
                    yield 0
                    return refused(500, "InternalError")
                return (yield from super().create(asked, body))

        self.assert_refused(Failing(), "too many requests fail")

    def test_single_refusal(self) -> None:
        """
        One create that is refused with 400 is no reason to believe that the store
        does not know a header.
        """

        class Once(SmallBucket):
            def __init__(self, code: str, number: int) -> None:
                super().__init__()
                self.code = code
                self.left = number

            def put(self, asked: Asked) -> Answering:
                self.left -= 1
                if self.left:
                    return (yield from super().put(asked))
                yield 0
                return refused(400, self.code)

        for code in ("RequestTimeout", "InvalidRequest"):
            for number in (1, 2, 8):
                for fencing in ("create", "metadata"):
                    bucket = Once(code, number)
                    outcome = probed(bucket, fencing)
                    self.assertEqual((outcome.why, outcome.lines), ("", []))
                    self.assertTrue(outcome.store.create_only)
                    self.assertEqual(list(bucket.objects), [RECORD])

    def test_refusals(self) -> None:
        """
        A store that refuses all creates, or all with the condition, is named as
        such.
        """

        class Refusing(SmallBucket):
            def put(self, asked: Asked) -> Answering:
                yield 0
                return refused(400, "InvalidRequest")

        class Puzzled(SmallBucket):
            def put(self, asked: Asked) -> Answering:
                if "if-none-match" not in asked.headers:
                    return (yield from super().put(asked))
                yield 0
                return refused(400, "InvalidArgument")

        for fencing in ("create", "metadata"):
            self.assert_refused(Refusing(), "create: 400 InvalidRequest", fencing=fencing)
        bucket = Puzzled()
        self.assert_refused(bucket, "does not know If-None-Match")
        self.assertEqual(bucket.objects, {})
        outcome = probed(bucket, "metadata")
        self.assertEqual((outcome.why, outcome.store.create_only), ("", False))

    def test_absent_key(self) -> None:
        """
        A key without an object must be answered so.
        """

        class Evasive(SmallBucket):
            def get(self, asked: Asked) -> Answering:
                answer = yield from super().get(asked)
                return refused(403, "AccessDenied") if answer.status == 404 else answer

        self.assert_refused(Evasive(), "a key without an object: 403", "s3:ListBucket")

    def test_not_there_yet(self) -> None:
        """
        An object must be there as soon as it is stored.
        """

        class Late(SmallBucket):
            def get(self, asked: Asked) -> Answering:
                if asked.key.endswith("-004"):
                    asked = attrs.evolve(asked, key="none")
                return super().get(asked)

        self.assert_refused(Late(), "-004 was stored, and then not found")
        self.assert_refused(Late(), "read after write", fencing="metadata")

    def test_other_bytes(self) -> None:
        """
        An object must have the bytes that were stored.
        """

        class Broken(SmallBucket):
            def get(self, asked: Asked) -> Answering:
                answer = yield from super().get(asked)
                if answer.status == 404:
                    return answer
                return attrs.evolve(answer, body=answer.body[:-1] + b"?")

        self.assert_refused(Broken(), "read after write", fencing="metadata")

    def test_ranges(self) -> None:
        """
        A range must have the bytes that were asked for; a store that answers
        with the whole object has them, too.
        """

        class Shifted(SmallBucket):
            def ranged(self, body: bytes, first: str, last: str) -> Answer:
                answer = super().ranged(body, first, last)
                return attrs.evolve(answer, body=b"?" * len(answer.body)) if first else answer

        class Whole(SmallBucket):
            def ranged(self, body: bytes, first: str, last: str) -> Answer:
                return super().ranged(body, "", "")

        self.assert_refused(Shifted(), "cannot be used: range: ")
        self.assertEqual(probed(Whole()).why, "")

    def test_suffixes(self) -> None:
        """
        Suffixes that are refused, all or those longer than the object, or are
        taken for something else, cost a line. Other bytes refuse the store.
        """

        class Refusing(SmallBucket):
            def ranged(self, body: bytes, first: str, last: str) -> Answer:
                if not first and last:
                    return refused(500, "InternalError")
                return super().ranged(body, first, last)

        class Short(SmallBucket):
            def ranged(self, body: bytes, first: str, last: str) -> Answer:
                if not first and last and int(last) > len(body):
                    return refused(416, "InvalidRange")
                return super().ranged(body, first, last)

        class First(SmallBucket):
            def ranged(self, body: bytes, first: str, last: str) -> Answer:
                return super().ranged(body, "0" if last else first, last)

        for bucket, lines in (
            (Refusing(), ["bytes=-100 .*: 500 InternalError", "bytes=-2000 .*: 500"]),
            (Short(), ["bytes=-2000 of 1000 bytes: 416 InvalidRange"]),
            (First(), ["bytes=-100 .*: the answer is not what was asked for"]),
        ):
            outcome = probed(bucket)
            self.assertEqual((outcome.why, outcome.store.suffixes), ("", False))
            for line, words in zip(outcome.lines, lines, strict=True):
                self.assertRegex(line, f"suffix ranges .* the bucket logs .*{words}")

        class Wrong(SmallBucket):
            def ranged(self, body: bytes, first: str, last: str) -> Answer:
                answer = super().ranged(body, first, last)
                if first or not last:
                    return answer
                return attrs.evolve(answer, body=b"?" * len(answer.body))

        self.assert_refused(Wrong(), "cannot be used: suffix range: ")

    def test_suffixes_in_trouble(self) -> None:
        """
        Errors that pass are no reason to do without suffixes: neither some in a
        row, nor many while plain ranges are answered with errors, too.
        """

        class Passing(SmallBucket):
            left = 2

            def ranged(self, body: bytes, first: str, last: str) -> Answer:
                if not self.left or first or not last:
                    return super().ranged(body, first, last)
                self.left -= 1
                return refused(500, "InternalError")

        class Troubled(SmallBucket):
            left = 20

            def ranged(self, body: bytes, first: str, last: str) -> Answer:
                if not self.left or not last:
                    return super().ranged(body, first, last)
                self.left -= 1
                return refused(500, "InternalError")

        for bucket in (Passing(), Troubled()):
            outcome = probed(bucket)
            self.assertEqual((outcome.why, outcome.lines, bucket.left), ("", [], 0))
            self.assertTrue(outcome.store.suffixes)

    def test_order(self) -> None:
        """
        A listing must be in the order of the keys.
        """

        class Unordered(SmallBucket):
            def page(self, keys: list[str], most: int) -> Answer:
                return super().page(keys[::-1], most)

        self.assert_refused(Unordered(), "cannot be used: list: ")

    def test_pages(self) -> None:
        """
        A page must have as many keys as were asked for, and say that there are
        more; the next one begins behind it.
        """

        class Endless(SmallBucket):
            def page(self, keys: list[str], most: int) -> Answer:
                return super().page(keys, 1000)

        class Ending(SmallBucket):
            def page(self, keys: list[str], most: int) -> Answer:
                return super().page(keys[:most], most)

        class Repeating(SmallBucket):
            def listing(self, asked: Asked) -> Answering:
                return super().listing(
                    attrs.evolve(asked, query={**asked.query, "continuation-token": ""})
                )

        for bucket in (Endless(), Ending(), Repeating()):
            self.assert_refused(bucket, "cannot be used: list: ")

    def test_start_after(self) -> None:
        """
        A listing must begin behind the key that was asked for.
        """

        class Starting(SmallBucket):
            def listing(self, asked: Asked) -> Answering:
                query = {name: text for name, text in asked.query.items() if name != "start-after"}
                return super().listing(attrs.evolve(asked, query=query))

        self.assert_refused(Starting(), "cannot be used: list: ", "start-after")

    def test_deletes(self) -> None:
        """
        Objects that were deleted must be gone, and no others.
        """

        class Keeping(SmallBucket):
            def delete(self, asked: Asked) -> Answering:
                return super().delete(attrs.evolve(asked, body=b""))

        class Clearing(SmallBucket):
            def delete(self, asked: Asked) -> Answering:
                self.objects.clear()
                return super().delete(asked)

        class Unable(SmallBucket):
            def delete(self, asked: Asked) -> Answering:
                yield 0
                return refused(501, "NotImplemented")

        for bucket in (Keeping(), Clearing(), Unable()):
            self.assert_refused(bucket, "cannot be used: DeleteObjects: ")

    def test_created_late(self) -> None:
        """
        A create that was given up may be done after the object was deleted.
        """

        class Late(SmallBucket):
            late = 1

            def delete(self, asked: Asked) -> Answering:
                before = dict(self.objects)
                answer = yield from super().delete(asked)
                if self.late:
                    self.late = 0
                    self.objects = before
                return answer

        for fencing in ("create", "metadata"):
            self.assertEqual(probed(Late(), fencing).why, "")

    def test_refused_by_mistake(self) -> None:
        """
        An object that was not stored, although the answer says that it exists, is
        stored by another attempt.
        """

        class Mistaken(SmallBucket):
            mistakes = 3

            def create(self, asked: Asked, body: bytes) -> Answering:
                if self.mistakes:
                    self.mistakes -= 1
                    yield 0
                    return refused(412, "PreconditionFailed")
                return (yield from super().create(asked, body))

        self.assertEqual(probed(Mistaken(), "metadata").why, "")

    def test_keys_that_are_not_deleted(self) -> None:
        """
        An error of one key that may pass does not refuse the store.
        """

        class Partial(SmallBucket):
            def __init__(self, code: str) -> None:
                super().__init__()
                self.codes = [code]

            def delete(self, asked: Asked) -> Answering:
                if not self.codes:
                    return (yield from super().delete(asked))
                yield 0
                key = re.findall(r"<Key>([^<]*)</Key>", asked.body.decode())[0]
                code = self.codes.pop()
                return said(
                    200,
                    f"<DeleteResult><Error><Key>{key}</Key><Code>{code}</Code></Error>"
                    "</DeleteResult>",
                )

        for code in ("InternalError", "SlowDown", "ServiceUnavailable"):
            self.assertEqual(probed(Partial(code)).why, "")
        self.assert_refused(Partial("AccessDenied"), "DeleteObjects: ", "s3:DeleteObject")

    def test_checksums(self) -> None:
        """
        That wrong checksums are accepted costs a line.
        """

        class Blind(SmallBucket):
            def put(self, asked: Asked) -> Answering:
                return self.create(asked, asked.body)

        for fencing in ("create", "metadata"):
            self.assertEqual(probed(SmallBucket(), fencing).lines, [])
            bucket = Blind()
            outcome = probed(bucket, fencing)
            self.assertEqual((outcome.why, list(bucket.objects)), ("", [RECORD]))
            (line,) = outcome.lines
            self.assertIn("checksums are not compared in the bucket logs", line)

    def test_parts(self) -> None:
        """
        A store whose uploads in parts are refused, replace objects or store
        something else is used without them, and a line says why.
        """

        class Replacing(SmallBucket):
            def upload(self, asked: Asked) -> Answering:
                return super().upload(attrs.evolve(asked, headers={}))

        class Unable(SmallBucket):
            def upload(self, asked: Asked) -> Answering:
                yield 0
                return refused(501, "NotImplemented")

        class Losing(SmallBucket):
            def part(self, asked: Asked) -> Answering:
                return super().part(attrs.evolve(asked, body=b""))

        for bucket, why in (
            (Replacing(), "they replace objects"),
            (Unable(), "501 NotImplemented"),
            (Losing(), "other bytes"),
        ):
            outcome = probed(bucket)
            self.assertEqual((outcome.why, list(bucket.objects)), ("", [RECORD]))
            self.assertFalse(outcome.store.in_parts)
            (line,) = outcome.lines
            self.assertRegex(line, f"multipart uploads cannot be used in the bucket logs.*{why}")
        self.assertTrue(probed(Replacing(), "metadata").store.in_parts)

    def test_patience(self) -> None:
        """
        Errors that may pass are waited for; then the line names what failed.
        """

        class Ill(SmallBucket):
            def listing(self, asked: Asked) -> Answering:
                if "start-after" in asked.query:
                    yield 0
                    return refused(503, "SlowDown")
                return (yield from super().listing(asked))

        outcome = probed(Ill())
        self.assertIn("cannot be used: list: 503 SlowDown", outcome.why)
        self.assertTrue(PATIENCE <= outcome.seconds < PATIENCE + 2, outcome.seconds)

    def test_slow(self) -> None:
        """
        A store that answers late is accepted, and after some seconds a line says what
        the start is waiting for.
        """

        class Slow(SmallBucket):
            def create(self, asked: Asked, body: bytes) -> Answering:
                yield SLOW / 2 + 1
                return (yield from super().create(asked, body))

        outcome = probed(Slow())
        line = "still checking the bucket logs at http://test/logs after 3.0 s: create"
        self.assertEqual((outcome.why, outcome.told), ("", [line]))
        self.assertEqual(probed(SmallBucket()).told, [])

    def test_left_behind(self) -> None:
        """
        What a start has left that was killed is deleted a day later, and nothing
        else.
        """
        bucket = SmallBucket()
        now = 1_800_000_000.0
        old, new = "default/probes/a-1-000", "default/probes/b-1-000"
        other = object_keys.probe_record("default", "other", "small/1")
        segment = "default/topics/0-1-000"
        for key, age in ((old, 86_401), (new, 86_399), (other, 10**6), (segment, 10**6)):
            bucket.objects[key] = b"1"
            bucket.times[key] = now - age
        bucket.now = now
        self.assertEqual(probed(bucket).why, "")
        self.assertEqual(sorted(bucket.objects), sorted([new, other, RECORD, segment]))

    def test_silence(self) -> None:
        """
        A request that was given up after all of the time is made once more.
        """

        class Silent(SmallBucket):
            was_asked = False

            def listing(self, asked: Asked) -> Answering:
                if not self.was_asked:
                    self.was_asked = True
                    yield PATIENCE
                    return refused(503, "SlowDown")
                return (yield from super().listing(asked))

        self.assertEqual(probed(Silent()).why, "")

    def test_one_after_the_other(self) -> None:
        """
        A store that answers nothing else while it is busy with creates is not given
        up.
        """

        class Single(SmallBucket):
            creates = 0
            done = 0

            def create(self, asked: Asked, body: bytes) -> Answering:
                self.creates += 1
                if self.creates <= OBJECTS * RIVALS:
                    yield 0.05 * self.creates
                self.done += 1
                return (yield from super().create(asked, body))

            def get(self, asked: Asked) -> Answering:
                if self.done < self.creates:
                    yield 0.5
                    return refused(503, "SlowDown")
                return (yield from super().get(asked))

        self.patch(probe, "PATIENCE", 0.5)
        self.assertEqual(probed(Single()).why, "")

    def test_errors_that_pass(self) -> None:
        """
        A store in trouble, which answers one request in four with an error, is
        accepted all the same. If too few creates of a key were answered, those of
        another one are made, and the first one may be there.
        """

        class Troubled(SmallBucket):
            def __init__(self, seed: int) -> None:
                super().__init__()
                self.random = Random(seed)

            def answer(self, asked: Asked) -> Answering:
                if self.random.random() < 0.25:
                    return self.fail()
                return super().answer(asked)

            def fail(self) -> Answering:
                yield 0
                return refused(503, "SlowDown")

        for seed in range(20):
            bucket = Troubled(seed)
            outcome = probed(bucket, "create" if seed % 2 else "metadata")
            self.assertEqual((outcome.why, outcome.lines), ("", []))
            self.assertEqual(list(bucket.objects), [RECORD])


class RaceTests(SynchronousTestCase):
    """
    Stores that look for a key and then write it, some tenths of a millisecond
    later. Requests that are sent together do not come at the same time, above all
    if their connections must be opened first.
    """

    def test_racing(self) -> None:
        """
        Such a store is refused at every start.
        """
        for seed in range(STARTS):
            self.assertIn("If-None-Match", probed(SmallBucket(HOLDS), seed=seed).why)

    def test_not_racing(self) -> None:
        """
        A store that does both at once is accepted at every start.
        """
        for seed in range(STARTS):
            self.assertEqual(probed(SmallBucket(), seed=seed).why, "")


class ServedRaceTests(TestCase):
    """
    The same over HTTP, with threads in the server.
    """

    timeout = 600

    async def start(self, endpoint: str, number: int) -> str:
        """
        Do what a broker does at its start. Return why the store is refused.
        """
        bucket = f"logs-{number}"
        store = s3.store(Address(bucket, "us-east-1", f"{endpoint}/{bucket}"))
        try:
            await s3.probe(store, "create")
        except SettingError as error:
            return str(error)
        finally:
            await store.close()
        return ""

    async def test_racing(self) -> None:
        """
        A store that races is refused at every start.
        """
        with listening(lambda: SmallBucket(HOLDS)) as endpoint:
            for number in range(STARTS):
                why = await self.start(endpoint, number)
                self.assertIn("does not keep to If-None-Match", why)

    async def test_not_racing(self) -> None:
        """
        A store that does not is accepted at every start.
        """
        with listening(SmallBucket) as endpoint:
            for number in range(STARTS):
                self.assertEqual(await self.start(endpoint, number), "")


class ProbeTests(TestCase):
    """
    Buckets of different kinds.
    """

    def opened(self, address: Address) -> S3ObjectStore:
        """
        Make a store in a bucket, which is closed after the test.
        """
        store = s3.store(address)
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        return store

    async def probe(self, store: S3ObjectStore, cluster: str) -> None:
        """
        Do what a broker of this cluster does at its first start.
        """
        await s3.probe(store, "metadata", cluster)
        record = StoreRecord(BUCKET, "default", "any")
        place = Place(record, "the bucket", "the metadata", "", may_replace=True)
        metadata = SQLiteMetadataStore(":memory:", at_once)
        await StoreIdentity(metadata, store, place).check(cluster)

    async def keys(self, store: S3ObjectStore) -> list[str]:
        """
        The keys in the bucket, without the records of probes.
        """
        found = [info.key for info in await store.list("default/")]
        return [key for key in found if not key.startswith("default/probes/")]

    async def test_a_store_that_replaces(self) -> None:
        """
        A store that replaces objects is accepted, with uploads in parts. Of the
        objects of the probe one stays.
        """
        store = self.opened(await s3.new_bucket("careless"))
        for _ in range(2):
            await self.probe(store, "one")
        self.assertTrue(store.create_only)
        self.assertTrue(store.in_parts)
        self.assertEqual(await self.keys(store), ["default/claims/one", "default/cluster"])
        self.assertEqual(len(await store.list("default/probes/")), 1)

    async def test_a_store_that_creates_only(self) -> None:
        """
        A store with conditional creates is accepted, and its creates are
        conditional.
        """
        store = self.opened(await s3.new_bucket())
        await self.probe(store, "one")
        self.assertTrue(store.create_only and store.in_parts)

    async def test_a_store_that_knows_no_conditions(self) -> None:
        """
        A store that refuses conditional creates is accepted, and its creates are
        not conditional.
        """
        for kind in ("plain", "puzzled"):
            store = self.opened(await s3.new_bucket(kind))
            await self.probe(store, "one")
            self.assertFalse(store.create_only)
            self.assertTrue(store.in_parts)

    async def test_a_store_that_takes_nothing(self) -> None:
        """
        A store that refuses all creates is not accepted.
        """
        store = self.opened(await s3.new_bucket("readonly"))
        with self.assertRaisesRegex(SettingError, "AccessDenied"):
            await self.probe(store, "one")

    async def test_a_store_without_parts(self) -> None:
        """
        A store without multipart uploads is accepted, and each object is sent in
        one request.
        """
        store = self.opened(await s3.new_bucket("wholesale"))
        await self.probe(store, "one")
        self.assertFalse(store.in_parts)

    async def test_of_another_cluster(self) -> None:
        """
        A second cluster is refused, and the claim of the first is not replaced.
        """
        store = self.opened(await s3.new_bucket("careless"))
        await self.probe(store, "one")
        with self.assertRaisesRegex(SettingError, "of another cluster"):
            await self.probe(store, "two")
        self.assertIn(b"one", await store.get("default/cluster"))

    async def test_two_at_the_same_time(self) -> None:
        """
        Of several clusters that begin at the same time at most one is accepted.
        One that begins alone afterwards is.
        """
        for _ in range(5):
            address = await s3.new_bucket("careless")
            stores = {name: self.opened(address) for name in ("one", "two", "three")}
            outcomes = await DeferredList(
                [Deferred.fromCoroutine(self.probe(each, name)) for name, each in stores.items()],
                consumeErrors=True,
            )
            accepted = [name for name, (is_ok, _) in zip(stores, outcomes, strict=True) if is_ok]
            for _, result in outcomes:
                if result is not None:
                    self.assertIsInstance(result.value, SettingError)
            self.assertLessEqual(len(accepted), 1)
            last = accepted[0] if accepted else "one"
            await self.probe(stores[last], last)
            self.assertEqual(
                await self.keys(stores["one"]), [f"default/claims/{last}", "default/cluster"]
            )
