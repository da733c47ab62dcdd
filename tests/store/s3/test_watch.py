"""
Tests for L{kafscale.store.s3.watch}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import SettingError
from kafscale.format import object_keys
from kafscale.store.s3.probe import OBJECTS, RIVALS, Probe
from kafscale.store.s3.watch import SECONDS, ProbeWatch
from tests.harness.coroutines import begin
from tests.harness.small_s3 import HOLDS, Answering, Asked, SmallBucket, refused, wired


class Changing(SmallBucket):
    """
    A bucket that can become another one.

    @ivar is_away: Whether all requests are answered with errors.
    """

    def __init__(self) -> None:
        """
        See the attributes.
        """
        super().__init__()
        self.is_away = False

    def answer(self, asked: Asked) -> Answering:
        """
        See L{SmallBucket.answer}.
        """
        return self.fail() if self.is_away else super().answer(asked)

    def fail(self) -> Answering:
        """
        The answer while it is away.
        """
        yield 0
        return refused(503, "ServiceUnavailable")


class WatchTests(SynchronousTestCase):
    """
    A bucket that was probed, and is watched by a broker.
    """

    def setUp(self) -> None:
        """
        Probe a bucket, and begin to watch it.
        """
        self.clock = Clock()
        self.bucket = Changing()
        self.refusals: list[str] = []
        self.lost = False
        self.store = wired(self.bucket, self.clock)
        probe = Probe(self.store, self.clock, "default", "p")
        probing = begin(probe.run("one"))
        while not probing.called:
            self.clock.advance(HOLDS)
        self.successResultOf(probing)
        self.watch = ProbeWatch(probe, self.check, self.clock)
        self.watch.begin(self.refusals.append)

    async def check(self, cluster: str) -> None:
        """
        Check that the bucket has the records of the cluster.
        """
        if self.lost:
            raise SettingError(f"the records of {cluster} are lost")

    def creates(self) -> int:
        """
        How many objects were sent since the last call.
        """
        number = self.store.client.requests["PutObject"]
        created, self.seen = number - getattr(self, "seen", 0), number
        return created

    def pass_time(self, seconds: float = SECONDS + 15) -> list[str]:
        """
        Let time pass, and return the lines that are logged meanwhile.
        """
        with capturedLogs() as logged:
            self.clock.pump([0.001] * int(seconds * 1000))
        return [formatEvent(event) for event in logged]

    def record(self, server: str) -> str:
        """
        The key of the record for a C{Server} header.
        """
        return object_keys.probe_record("default", "one", server)

    def test_the_same(self) -> None:
        """
        As long as the store is the same its record is read once a minute, and
        nothing else is done.
        """
        before = sum(self.store.client.requests.values())
        self.assertEqual(self.pass_time(3 * SECONDS + 10), [])
        self.assertEqual(sum(self.store.client.requests.values()), before + 3)
        self.assertEqual(self.refusals, [])

    def test_another_header(self) -> None:
        """
        A store that calls itself by another name is tried again, once.
        """
        self.bucket.server = "small/2"
        self.creates()
        (line,) = self.pass_time()
        self.assertRegex(line, "the store of the bucket logs .* was 'small/1' and is 'small/2'")
        self.assertGreater(self.creates(), OBJECTS * RIVALS)
        self.assertEqual(set(self.bucket.objects), {self.record("small/1"), self.record("small/2")})
        self.assertEqual((self.pass_time(), self.creates(), self.refusals), ([], 0, []))

    def test_worse(self) -> None:
        """
        If it cannot hold a log any more, the broker is told so.
        """
        self.bucket.server, self.bucket.holds = "small/2", HOLDS
        self.pass_time()
        (line,) = self.refusals
        self.assertIn("does not keep to If-None-Match", line)

    def test_known_header(self) -> None:
        """
        A name for which there is a record, of another broker or an earlier time,
        is no reason to try it again: a store may consist of servers with
        different versions.
        """
        self.bucket.objects[self.record("small/2")] = b"{}"
        self.creates()
        for server in ("small/2", "small/1", "small/2"):
            self.bucket.server = server
            self.assertEqual((self.pass_time(SECONDS + 1), self.creates()), ([], 0))

    def test_no_record(self) -> None:
        """
        A store without the record is another one.
        """
        self.bucket.objects.clear()
        self.bucket.holds = HOLDS
        (line,) = self.pass_time()
        self.assertIn(f"{self.record('small/1')} is missing", line)
        self.assertEqual(len(self.refusals), 1)

    def test_emptied(self) -> None:
        """
        A store that could hold a log, but has lost that of the cluster, ends the
        broker, and no record is left that the next look would find.
        """
        self.bucket.objects.clear()
        self.lost = True
        self.pass_time()
        self.assertEqual(self.refusals, ["the records of one are lost"])
        self.assertEqual(self.bucket.objects, {})

    def test_away(self) -> None:
        """
        A store that is away is not refused, but tried when it is back.
        """
        self.bucket.is_away = True
        (line,) = self.pass_time()
        self.assertRegex(line, "could not find out .* next in 60 s: 503 ServiceUnavailable")
        self.assertEqual(self.refusals, [])
        self.bucket.is_away, self.bucket.server, self.bucket.holds = False, "small/2", HOLDS
        self.pass_time()
        self.assertEqual(len(self.refusals), 1)

    def test_away_while_it_is_tried(self) -> None:
        """
        Nor is one that goes away while it is tried again: that is repeated.
        """
        self.bucket.server = "small/2"
        self.pass_time(SECONDS - 10)
        self.pass_time(10.3)
        self.bucket.is_away = True
        lines = self.pass_time(25)
        self.assertRegex(lines[-1], "could not find out .* cannot be used: .* 503")
        self.bucket.is_away = False
        (line,) = self.pass_time()
        self.assertIn("is missing", line)
        self.assertEqual(self.refusals, [])
        self.assertIn(self.record("small/2"), self.bucket.objects)

    def test_end(self) -> None:
        """
        After its end nothing is done.
        """
        self.watch.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
