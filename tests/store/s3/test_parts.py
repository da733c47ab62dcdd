"""
What the bucket's client is made of, piece by piece.
"""

from __future__ import annotations

from typing import Any

from botocore.credentials import ReadOnlyCredentials
from botocore.session import Session
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.store.blocking import at_once
from kafscale.store.s3.address import address_of
from kafscale.store.s3.bodies import CHUNK, PieceProducer, checksum, chunks, cut
from kafscale.store.s3.credentials import LOOK_SECONDS, SEARCH_SECONDS, Credentials
from kafscale.store.s3.faults import NoCredentials
from kafscale.store.s3.hedge import ENOUGH, LATEST, MOST, SOONEST, Hedge
from kafscale.store.s3.transport import allowed_seconds
from tests.store.contract import begin

_sizes = st.sampled_from([0, 1, 7, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 9 * CHUNK])
_pieces = st.lists(st.tuples(_sizes, st.booleans()), max_size=8)


def made(sizes: list[tuple[int, bool]]) -> list[bytes | memoryview]:
    """
    Pieces of these sizes, some of them views.
    """
    found: list[bytes | memoryview] = []
    for number, (size, as_view) in enumerate(sizes):
        data = bytes([number + 1]) * size
        found.append(memoryview(b"-" + data + b"-")[1:-1] if as_view else data)
    return found


class BodyTests(SynchronousTestCase):
    """
    Pieces on their way out.
    """

    @given(_pieces)
    def test_chunks(self, sizes: list[tuple[int, bool]]) -> None:
        """
        Chunks are the same bytes, in strings that are worth a call.
        """
        pieces = made(sizes)
        found = list(chunks(pieces))
        self.assertTrue(b"".join(found) == b"".join(pieces))
        self.assertTrue(all(type(each) is bytes and each for each in found))
        self.assertLessEqual(len(found), 3 * sum(map(len, pieces)) // CHUNK + 2)
        self.assertEqual(checksum(pieces), crc32c(b"".join(pieces)))

    @given(_pieces, st.integers(1, 3 * CHUNK))
    def test_cut(self, sizes: list[tuple[int, bool]], size: int) -> None:
        """
        Parts are the same bytes, all of one size but the last.
        """
        pieces = made([(length % 5000, view) for length, view in sizes])
        size = size % 4000 + 1
        groups = [b"".join(group) for group in cut(pieces, size)]
        self.assertEqual(b"".join(groups), b"".join(pieces))
        self.assertTrue(all(len(group) == size for group in groups[:-1]))
        self.assertTrue(all(0 < len(group) <= size for group in groups[-1:]))

    def test_paused(self) -> None:
        """
        Nothing is written while the transport has enough, and nothing after
        it gave up.
        """
        written: list[bytes] = []
        progress: list[None] = []
        body = PieceProducer([b"x" * CHUNK] * 4, lambda: progress.append(None))

        class Consumer:
            def write(self, data: bytes) -> None:
                written.append(data)
                body.pauseProducing()

        done = body.startProducing(Consumer())  # type: ignore[arg-type]
        self.assertEqual((len(written), body.length), (1, 4 * CHUNK))
        body.resumeProducing()
        self.assertEqual((len(written), len(progress)), (2, 1))
        body.stopProducing()
        body.resumeProducing()
        self.assertEqual(len(written), 2)
        self.assertNoResult(done)

    def test_done(self) -> None:
        """
        When all is written it says so; also when there is nothing.
        """
        written: list[bytes] = []

        class Consumer:
            def write(self, data: bytes) -> None:
                written.append(data)

        for pieces in ([], [b""], [b"a", b"b"]):
            body = PieceProducer(pieces, lambda: None)
            self.successResultOf(body.startProducing(Consumer()))  # type: ignore[arg-type]
        self.assertEqual(written, [b"ab"])


class AllowedSecondsTests(SynchronousTestCase):
    """
    How long an exchange may take.
    """

    def test_grows_with_the_body(self) -> None:
        """
        Half a minute, and as long as the body takes at 64 KiB in a second.
        """
        self.assertEqual(allowed_seconds(0), 30)
        self.assertEqual(allowed_seconds(60 * 64 * 1024), 90)


class HedgeTests(SynchronousTestCase):
    """
    Asking twice.
    """

    def setUp(self) -> None:
        """
        A question whose answers the test gives.
        """
        self.clock = Clock()
        self.hedge = Hedge(self.clock)
        self.asked: list[Deferred[int]] = []
        self.ended: list[Deferred[int]] = []

    def ask(self) -> Deferred[int]:
        """
        Ask once.
        """
        self.asked.append(Deferred(self.ended.append))
        return self.asked[-1]

    def settle(self, seconds: float) -> None:
        """
        An answer that takes so long.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(seconds)
        self.asked[0].callback(0)
        self.asked.clear()
        self.successResultOf(answer)

    def test_in_time(self) -> None:
        """
        An answer that is not late is the only one asked for.
        """
        answer = self.hedge.call(self.ask)
        self.asked[0].callback(1)
        self.assertEqual(self.successResultOf(answer), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_second_wins(self) -> None:
        """
        The first answer counts, and the other request is ended.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(LATEST)
        self.asked[1].callback(2)
        self.assertEqual(self.successResultOf(answer), 2)
        self.assertEqual(self.ended, self.asked[:1])

    def test_first_wins(self) -> None:
        """
        It may be the first request's after all.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(LATEST)
        self.asked[0].callback(1)
        self.assertEqual(self.successResultOf(answer), 1)
        self.assertEqual(self.ended, self.asked[1:])

    def test_failures(self) -> None:
        """
        While one may answer yet, the failure of the other does not count.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(LATEST)
        self.asked[0].errback(ValueError("first"))
        self.assertNoResult(answer)
        self.asked[1].errback(ValueError("second"))
        self.assertEqual(str(self.failureResultOf(answer, ValueError).value), "second")

    def test_failed_in_time(self) -> None:
        """
        Who fails in time is not asked again here.
        """
        answer = self.hedge.call(self.ask)
        self.asked[0].errback(ValueError())
        self.failureResultOf(answer, ValueError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """
        Who does not want to know any more ends both.
        """
        answer = self.hedge.call(self.ask)
        self.clock.advance(LATEST)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(self.ended, self.asked)

    def test_learns(self) -> None:
        """
        What is late depends on how long answers take, within bounds.
        """
        self.assertEqual(self.hedge.late, LATEST)
        for _ in range(100):
            self.settle(0.1)
        self.assertAlmostEqual(self.hedge.late, 0.1)
        for _ in range(200):
            self.settle(0.001)
        self.assertEqual(self.hedge.late, SOONEST)
        self.assertGreater(100, ENOUGH)

    def test_budget(self) -> None:
        """
        A store that is slow for everybody is not asked everything twice.
        """
        answers = [self.hedge.call(self.ask) for _ in range(200)]
        self.clock.advance(LATEST)
        self.assertEqual(len(self.asked), 200 + int(MOST))
        for answer in answers:
            answer.cancel()
            self.failureResultOf(answer, CancelledError)


class Source:
    """
    Botocore's credentials, on the test's orders.
    """

    def __init__(self, name: str = "a") -> None:
        self.known = ReadOnlyCredentials(name, "secret", None)
        self.expired = False
        self.looks = 0
        self.error: Exception | None = None

    def refresh_needed(self, refresh_in: float) -> bool:
        """
        Whether they have expired.
        """
        return self.expired

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """
        What is good now.
        """
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.known


class CredentialsTests(SynchronousTestCase):
    """
    Found, kept, refreshed, replaced.
    """

    def setUp(self) -> None:
        """
        A source of credentials, and threads whose work the test lets happen.
        """
        self.clock = Clock()
        self.source = Source()
        self.sources: list[Any] = [self.source]
        self.work: list[Deferred[None]] = []
        self.waits = False
        self.credentials = Credentials(self.search, self.run_blocking, self.clock)

    def search(self) -> Any:
        """
        The newest source.
        """
        return self.sources[-1]

    def run_blocking(self, function: Any, /, *args: Any, **named: Any) -> Deferred[Any]:
        """
        At once, or when the test says.
        """
        if not self.waits:
            return at_once(function, *args, **named)
        started: Deferred[None] = Deferred()
        self.work.append(started)
        return started.addCallback(lambda _: function(*args, **named))

    def test_one_search_for_all(self) -> None:
        """
        Who asks while a thread searches waits for it; who gives up spoils
        nothing for the others.
        """
        self.waits = True
        asked = [begin(self.credentials.current()) for _ in range(3)]
        self.assertEqual(len(self.work), 1)
        asked[0].cancel()
        self.failureResultOf(asked[0], CancelledError)
        self.work[0].callback(None)
        for each in asked[1:]:
            self.assertEqual(self.successResultOf(each).access_key, "a")

    def test_refreshed_ahead(self) -> None:
        """
        They are looked at now and then, in a thread, and nobody waits for it
        while the old ones are good.
        """
        self.successResultOf(begin(self.credentials.current()))
        self.waits = True
        self.source.known = ReadOnlyCredentials("b", "secret", None)
        self.clock.advance(LOOK_SECONDS)
        for _ in range(2):
            now = self.successResultOf(begin(self.credentials.current()))
            self.assertEqual(now.access_key, "a")
        self.assertEqual(len(self.work), 1)
        self.work[0].callback(None)
        now = self.successResultOf(begin(self.credentials.current()))
        self.assertEqual((now.access_key, self.source.looks), ("b", 2))

    def test_expired(self) -> None:
        """
        Expired ones are waited for, and not used when they do not come; when
        they do come all is well again.
        """
        self.successResultOf(begin(self.credentials.current()))
        self.source.expired = True
        self.source.error = OSError("the instance's role does not answer")
        self.clock.advance(LOOK_SECONDS)
        self.failureResultOf(begin(self.credentials.current()), NoCredentials)
        self.source.error, self.source.expired = None, False
        self.clock.advance(LOOK_SECONDS)
        self.successResultOf(begin(self.credentials.current()))

    def test_none(self) -> None:
        """
        When there are none they are looked for at each request.
        """
        self.sources = [None]
        self.failureResultOf(begin(self.credentials.current()), NoCredentials)
        self.sources = [self.source]
        self.successResultOf(begin(self.credentials.current()))

    def test_replaced(self) -> None:
        """
        Refused ones are looked for anew, but not all the time.
        """
        refused = self.successResultOf(begin(self.credentials.current()))
        self.assertFalse(self.successResultOf(begin(self.credentials.replace(refused))))
        self.sources.append(Source("new"))
        self.assertFalse(self.successResultOf(begin(self.credentials.replace(refused))))
        self.clock.advance(SEARCH_SECONDS)
        self.assertTrue(self.successResultOf(begin(self.credentials.replace(refused))))
        self.assertTrue(self.successResultOf(begin(self.credentials.replace(refused))))
        now = self.successResultOf(begin(self.credentials.current()))
        self.assertEqual(now.access_key, "new")


class AddressTests(SynchronousTestCase):
    """
    Where a bucket is.
    """

    def base(self, bucket: str, **named: Any) -> str:
        """
        Its URL.
        """
        given = {"region": "eu-west-1", "endpoint": None, "path_style": None, **named}
        return address_of(Session(), bucket, **given).base

    def test_amazon(self) -> None:
        """
        By the host's name, in the region's own domain.
        """
        self.assertEqual(self.base("logs"), "https://logs.s3.eu-west-1.amazonaws.com")
        self.assertEqual(
            self.base("logs", region="cn-north-1"), "https://logs.s3.cn-north-1.amazonaws.com.cn"
        )
        self.assertEqual(
            self.base("logs", region="xy-new-9"), "https://logs.s3.xy-new-9.amazonaws.com"
        )

    def test_dots(self) -> None:
        """
        A bucket with a dot is in the path: no wildcard certificate has it.
        """
        self.assertEqual(self.base("my.logs"), "https://s3.eu-west-1.amazonaws.com/my.logs")

    def test_endpoint(self) -> None:
        """
        At an endpoint it is in the path, unless told otherwise.
        """
        endpoint = "http://127.0.0.1:9000"
        self.assertEqual(self.base("logs", endpoint=endpoint), "http://127.0.0.1:9000/logs")
        self.assertEqual(
            self.base("logs", endpoint="https://store.example:9000", path_style=False),
            "https://logs.store.example:9000",
        )
        self.assertEqual(
            self.base("logs", path_style=True), "https://s3.eu-west-1.amazonaws.com/logs"
        )

    def test_url(self) -> None:
        """
        URLs are encoded as S3 encodes them before it checks the signature.
        """
        address = address_of(Session(), "logs", "eu-west-1", "http://h", None)
        self.assertEqual(
            address.url("a=b/c.kfs", {"uploadId": "x/y+z", "a": ""}),
            "http://h/logs/a%3Db/c.kfs?a=&uploadId=x%2Fy%2Bz",
        )
