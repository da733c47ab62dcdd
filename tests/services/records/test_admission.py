"""
Requests that wait before they are appended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from kafscale import errors
from kafscale.services.records.admission import Admission
from kafscale.wire.compression import Codec
from kafscale.wire.records import Record, build_batch
from tests.services.client import Connection
from tests.services.records.producing import BATCH, ProduceCase
from tests.wire.batches import with_header

LARGE = build_batch(
    [Record(n, 1, b"%d" % n, bytes(range(256)) * 16) for n in range(256)], codec=Codec.GZIP
)
"""A batch that inflates to a megabyte, and is looked into in a thread."""

SMALL = build_batch([Record(0, 1, b"key", b"small")], codec=Codec.GZIP)
"""A compressed batch that is looked into at once by the compiled walker."""


class LineTests(SynchronousTestCase):
    """
    One line for each connection.
    """

    def setUp(self) -> None:
        """
        Nothing waits.
        """
        self.held = 0
        self.appended: list[str] = []
        self.admission = Admission(self.hold)

    def hold(self, size: int) -> None:
        """
        Count what waits.
        """
        self.held += size

    def wait(
        self, connection: str, name: str, causes: Sequence[Deferred[None]], size: int = 10
    ) -> Deferred[None]:
        """
        Let a request wait, which notes when it is appended.
        """

        def append() -> tuple[()]:
            self.appended.append(name)
            return ()

        return self.admission.wait(connection, size, causes, append)

    def test_nothing_to_wait_for(self) -> None:
        """
        Without causes, and the first of its line, a request is appended at once.
        """
        self.successResultOf(self.wait("a", "one", ()))
        fired: Deferred[None] = Deferred()
        fired.callback(None)
        self.successResultOf(self.wait("a", "two", [fired]))
        self.assertEqual((self.appended, self.held), (["one", "two"], 0))
        self.assertFalse(self.admission.is_waiting("a"))

    def test_in_line(self) -> None:
        """
        Requests of one connection go on in their order, others at any time. What
        waits is counted.
        """
        causes: list[Deferred[None]] = [Deferred() for _ in range(3)]
        done = [
            self.wait("a", "a0", causes[:2]),
            self.wait("a", "a1", ()),
            self.wait("b", "b0", causes[2:]),
        ]
        self.assertEqual(self.held, 30)
        causes[2].callback(None)
        self.successResultOf(done[2])
        causes[0].callback(None)
        self.assertTrue(self.admission.is_waiting("a"))
        self.assertFalse(self.admission.is_waiting("b"))
        self.assertNoResult(done[1])
        causes[1].callback(None)
        self.assertEqual(self.appended, ["b0", "a0", "a1"])
        self.assertEqual(self.held, 0)

    def test_keeps_its_place(self) -> None:
        """
        A request that finds that it must wait again is still the first.
        """
        first: Deferred[None] = Deferred()
        again: list[Deferred[None]] = [Deferred()]

        def append() -> Sequence[Deferred[None]]:
            if again:
                return [again.pop()]
            self.appended.append("a0")
            return ()

        cause = again[0]
        self.admission.wait("a", 1, [first], append)
        self.wait("a", "a1", ())
        first.callback(None)
        self.assertEqual(self.appended, [])
        cause.callback(None)
        self.assertEqual(self.appended, ["a0", "a1"])

    def test_one_that_comes_meanwhile(self) -> None:
        """
        A request that comes while another goes on is behind it, and behind those
        that wait.
        """
        cause: Deferred[None] = Deferred()
        first = self.wait("a", "a0", [cause])
        self.wait("a", "a1", ())
        done = first.addCallback(lambda _: self.wait("a", "a2", ()))
        cause.callback(None)
        self.assertEqual(self.appended, ["a0", "a1", "a2"])
        self.successResultOf(done)
        self.assertFalse(self.admission.is_waiting("a"))

    def test_defect(self) -> None:
        """
        A request that fails does not hold up the others.
        """
        cause: Deferred[None] = Deferred()

        def fail() -> Sequence[Deferred[None]]:
            raise ZeroDivisionError

        failed = self.admission.wait("a", 1, [cause], fail)
        done = self.wait("a", "a1", ())
        cause.callback(None)
        self.failureResultOf(failed, ZeroDivisionError)
        self.successResultOf(done)
        self.assertEqual(self.held, 0)

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_any_order(self, data: st.DataObject) -> None:
        """
        Whatever order causes fire in, each connection's requests keep theirs, and
        in the end nothing is held.
        """
        self.setUp()
        causes: list[Deferred[None]] = []
        sent: dict[str, list[str]] = {"a": [], "b": [], "c": []}
        for number in range(data.draw(st.integers(1, 20))):
            connection: str = data.draw(st.sampled_from("abc"))
            number_of_causes = data.draw(st.integers(0, 3))
            own: list[Deferred[None]] = [Deferred() for _ in range(number_of_causes)]
            causes += own
            name = f"{connection}{number}"
            sent[connection].append(name)
            self.wait(connection, name, own, number)
            fires: bool = data.draw(st.booleans())
            if causes and fires:
                causes.pop(data.draw(st.integers(0, len(causes) - 1))).callback(None)
        while causes:
            causes.pop(data.draw(st.integers(0, len(causes) - 1))).callback(None)
        for connection, names in sent.items():
            self.assertEqual([n for n in self.appended if n.startswith(connection)], names)
            self.assertFalse(self.admission.is_waiting(connection))
        self.assertEqual(self.held, 0)


class ThreadCase(ProduceCase):
    """
    What is looked into in threads waits for the test.
    """

    def setUp(self) -> None:
        """
        No thread is busy.
        """
        super().setUp()
        self.threads: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.run_blocking = self.in_thread

    def in_thread(self, function: Callable[[], Any]) -> Deferred[Any]:
        """
        Let the function wait.
        """
        self.threads.append((function, Deferred()))
        return self.threads[-1][1]

    def end_threads(self) -> None:
        """
        Let all functions end, the last first.
        """
        while self.threads:
            function, done = self.threads.pop()
            execute(function).chainDeferred(done)
            self.cluster.clock.advance(0)

    def appended(self, index: int = 0) -> list[bytes]:
        """
        The batches in a partition.
        """
        return [each.data for each in self.partition(index).batches]


class ClaimedTests(ThreadCase):
    """
    Requests to a partition that the broker is about to lead.
    """

    def setUp(self) -> None:
        """
        The claim of partition 0 is under way.
        """
        super().setUp()
        self.where = self.topic.topic_id, 0
        self.log.elsewhere.add(self.where)
        self.claims[self.where] = self.claim = Deferred[None]()

    def end(self, led: bool) -> None:
        """
        End the claim.
        """
        del self.claims[self.where]
        if led:
            self.log.elsewhere.remove(self.where)
        self.claim.callback(None)

    def test_led(self) -> None:
        """
        They wait, and are appended in their order when the partition is led; what waits
        is counted.
        """
        first = self.produce((0, BATCH))
        second = self.produce((1, BATCH), (0, SMALL))
        third = self.produce((1, SMALL))
        self.assertEqual(self.appended(1), [])
        self.assertEqual(sum(self.held), 2 * len(BATCH) + 2 * len(SMALL))
        self.end(led=True)
        self.assertEqual((self.appended(0), self.appended(1)), ([BATCH, SMALL], [BATCH, SMALL]))
        self.assertEqual(sum(self.held), 0)
        self.log.settlements[0].settle()
        for answer in (first, second, third):
            self.assertEqual([each.error_code for each in self.successResultOf(answer)][-1], 0)

    def test_not_opened(self) -> None:
        """
        Then they wait until the partition is open.
        """
        self.produce((0, BATCH))
        self.log.elsewhere.remove(self.where)
        partition = self.partition()
        partition.is_open = False
        self.log.elsewhere.add(self.where)
        self.end(led=True)
        self.assertEqual(self.appended(), [])
        partition.open()
        self.assertEqual(self.appended(), [BATCH])

    def test_looked_into(self) -> None:
        """
        Meanwhile they are looked into.
        """
        self.produce((0, LARGE))
        self.produce((0, BATCH))
        self.end_threads()
        self.end(led=True)
        self.assertEqual(self.appended(), [LARGE, BATCH])

    def test_not_led(self) -> None:
        """
        They are refused if the broker does not lead it in the end, and so is what comes
        then.
        """
        waiting = self.produce((0, BATCH))
        self.assertNoResult(waiting)
        self.end(led=False)
        self.assertEqual(self.successResultOf(waiting)[0].error_code, 6)
        self.assertEqual(self.refused((0, BATCH))[0], 6)
        self.assertEqual(sum(self.held), 0)

    def test_other_partitions(self) -> None:
        """
        Requests of other connections to partitions that are led do not wait.
        """
        self.produce((0, BATCH))
        self.produce((1, BATCH), connection=Connection())
        self.assertEqual(self.appended(1), [BATCH])


class WaitingTests(ThreadCase):
    """
    Requests whose batches are looked into in a thread.
    """

    def test_order_on_one_connection(self) -> None:
        """
        A small batch is appended after the large one before it.
        """
        first = self.produce((0, LARGE))
        second = self.produce((0, BATCH), (1, BATCH))
        third = self.produce((0, SMALL))
        self.assertEqual((self.appended(0), self.appended(1)), ([], []))
        self.assertEqual(sum(self.held), len(LARGE) + 2 * len(BATCH) + len(SMALL))
        self.end_threads()
        self.assertEqual(self.appended(0), [LARGE, BATCH, SMALL])
        self.assertEqual(self.appended(1), [BATCH])
        self.assertEqual(sum(self.held), 0)
        self.log.settlements[0].settle()
        offsets = [self.successResultOf(each)[0].base_offset for each in (first, second, third)]
        self.assertEqual(offsets, [0, 1, 2])

    def test_order_within_a_request(self) -> None:
        """
        What comes after the batch that waits is appended after it.
        """
        self.produce((1, BATCH), (0, LARGE), (0, BATCH))
        self.assertEqual((self.appended(0), self.appended(1)), ([], [BATCH]))
        self.end_threads()
        self.assertEqual(self.appended(0), [LARGE, BATCH])

    def test_other_connections(self) -> None:
        """
        Batches of other connections overtake it.
        """
        self.produce((0, LARGE))
        self.produce((0, BATCH), connection=Connection())
        self.assertEqual(self.appended(), [BATCH])
        self.end_threads()
        self.assertEqual(self.appended(), [BATCH, LARGE])

    def test_threads_are_shared(self) -> None:
        """
        A connection with many large batches does not keep the threads from the
        others.
        """
        for _ in range(20):
            self.produce((0, LARGE))
        self.assertEqual(len(self.threads), 4)
        self.produce((1, LARGE), connection=Connection())
        for _ in range(2):
            function, done = self.threads.pop(0)
            done.callback(function())
        self.end_threads()
        self.assertEqual(len(self.appended(0)), 20)
        self.assertEqual(self.appended(1), [LARGE])

    def test_refused(self) -> None:
        """
        A batch that turns out to be unreadable is refused in its place.
        """
        unreadable = with_header(LARGE, LARGE[61:-9])
        answer = self.produce((0, unreadable), (0, BATCH))
        self.end_threads()
        self.log.settlements[0].settle()
        first, second = self.successResultOf(answer)
        self.assertEqual((first.error_code, second.error_code), (87, 0))
        self.assertEqual(self.appended(), [BATCH])

    def test_partition_lost(self) -> None:
        """
        A partition that another broker leads meanwhile, or whose topic is
        deleted, is answered as if the batch came now.
        """
        lost, deleted = self.produce((0, LARGE)), self.produce((1, LARGE), version=13)
        other = self.produce((2, BATCH))
        self.log.elsewhere.add((self.topic.topic_id, 0))
        self.end_threads()
        self.log.settlements[0].settle()
        self.assertEqual(self.successResultOf(lost)[0].error_code, 6)
        self.assertEqual(self.successResultOf(deleted)[0].error_code, 0)
        self.assertEqual(self.successResultOf(other)[0].error_code, 0)
        answers = [self.produce((1, LARGE), version=version) for version in (12, 13)]
        self.cluster.delete(self.topic)
        self.end_threads()
        self.assertEqual([self.successResultOf(each)[0].error_code for each in answers], [3, 100])

    def test_led_again(self) -> None:
        """
        A partition that was lost and is led again is opened first.
        """
        self.produce((0, LARGE))
        self.partition().is_open = False
        self.end_threads()
        self.assertEqual(self.appended(), [])
        self.partition().open()
        self.assertEqual(self.appended(), [LARGE])

    def test_no_answer(self) -> None:
        """
        With acks=0 it is appended, too; if it is refused the connection is closed.
        """
        asked = self.client.start(self.request((0, LARGE), acks=0), 9)
        self.end_threads()
        self.assertIsNone(self.successResultOf(asked))
        asked = self.client.start(self.request((0, LARGE), acks=0), 9)
        self.log.elsewhere.add((self.topic.topic_id, 0))
        self.end_threads()
        self.failureResultOf(asked, errors.NotLeaderOrFollower)

    def test_disconnected(self) -> None:
        """
        It is appended although its producer has disconnected.
        """
        asked = self.client.start(self.request((0, LARGE), acks=0), 9)
        asked.cancel()
        self.failureResultOf(asked)
        self.end_threads()
        self.assertEqual(self.appended(), [LARGE])
        self.assertEqual(sum(self.held), 0)
