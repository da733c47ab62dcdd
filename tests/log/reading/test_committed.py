"""
What consumers of committed records see, beside the whole account of the log: in any log,
however it was cut into segments and chapters, from any offset on, with answers of any
length, on the broker that appended it and on the next (rules T36, T39, T40 and T43).
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kafscale.errors import NotLeaderOrFollower, OffsetOutOfRange
from kafscale.format.segment import AbortedTransaction
from kafscale.interfaces import Fetched
from kafscale.log.partition.partition import Partition
from kafscale.wire.records import BatchHeader, iterate
from tests.harness.coroutines import begin, now
from tests.harness.hostile import hold, let_pass
from tests.log.brokers import EACH, TOPIC, WHERE, Broker, Shared, Waiting, append_to, batch
from tests.log.transactions_case import TransactionsTestCase

STEPS = st.lists(
    st.sampled_from(
        [(producer, kind) for producer in (7, 8) for kind in "ddCA"]
        + [(0, "p"), (0, "r"), (0, "r"), (0, "v"), (0, "D")]
    ),
    max_size=14,
)
"""What happens: C{d} data of a transaction, C{C} and C{A} markers, C{p} data outside of
transactions, C{r} a roll, C{v} a roll into a volume, C{D} records are deleted."""


def headers_of(fetched: Fetched) -> list[BatchHeader]:
    """
    The headers of all batches that were read.
    """
    return [header for piece in fetched.pieces for _, header in iterate(piece)]


def shown(fetched: Fetched, offset: int) -> list[int]:
    """
    The offsets of the records that a consumer passes on, by the rule of Kafka's own
    (C{CompletedFetch}): aborted transactions begin at their first offset and end with
    their producer's marker.
    """
    waiting = sorted(fetched.aborted, key=lambda each: each.first_offset)
    hidden: set[int] = set()
    found: list[int] = []
    for header in headers_of(fetched):
        while waiting and waiting[0].first_offset <= header.last_offset:
            hidden.add(waiting.pop(0).producer_id)
        if header.control:
            hidden.discard(header.producer_id)
        elif not (header.transactional and header.producer_id in hidden):
            found += range(max(offset, header.base_offset), header.next_offset)
    return found


class Account:
    """
    The log as it is, batch by batch.

    @ivar decided: Of each record's offset, whether it counts; None while that is open.
    """

    def __init__(self) -> None:
        self.decided: dict[int, bool | None] = {}
        self._open: dict[int, list[int]] = {}

    def add(self, offset: int, producer: int, kind: str) -> None:
        """
        A batch of one record was appended.
        """
        if kind == "p":
            self.decided[offset] = True
        elif kind == "d":
            self.decided[offset] = None
            self._open.setdefault(producer, []).append(offset)
        else:
            for each in self._open.pop(producer, ()):
                self.decided[each] = kind == "C"

    def stable(self, end: int) -> int:
        """
        Where the first open transaction begins; C{end} if there is none.
        """
        return min([end, *(offsets[0] for offsets in self._open.values())])


class AnyLogTests(TransactionsTestCase):
    """
    Random histories.
    """

    def step(self, broker: Broker, account: Account, producer: int, kind: str) -> None:
        """
        Let one thing happen.
        """
        partition = broker.partition()
        offset = partition.next_offset
        if kind == "r":
            self.roll(broker)
        elif kind == "v":
            beside = broker.partition((TOPIC, 1))
            append_to(beside, batch(b"beside"))
            broker.run()
            now(broker.roll_all([partition, beside]))
            broker.run()
        elif kind == "D":
            middle = (partition.log_start + partition.high_watermark) // 2
            now(partition.delete_before(middle))
            broker.run()
        else:
            if kind == "p":
                append_to(partition, batch(b"plain"))
            elif kind == "d":
                self.data(broker, b"x", producer=producer)
            else:
                known = partition.transactions_of(producer)
                if known is None or known.open_from < 0:
                    self.numbers[producer] = self.numbers.get(producer, 0) + 1
                self.end(broker, committed=kind == "C", producer=producer)
            account.add(offset, producer, kind)
        broker.run()

    def check(self, broker: Broker, account: Account) -> None:
        """
        Read from each offset, a batch at a time, a few, and all.
        """
        partition = broker.partition()
        end, start = partition.high_watermark, partition.log_start
        stable = max(start, account.stable(end))
        self.assertEqual(partition.last_stable_offset, stable)
        for first in range(start, end + 1):
            for most in (1, 200, 1 << 20):
                found, position = [], first
                while position < stable:
                    fetched = self.fetch(partition, position, most)
                    headers = headers_of(fetched)
                    self.assertTrue(headers)
                    self.assertLessEqual(headers[-1].next_offset, stable)
                    found += shown(fetched, position)
                    position = headers[-1].next_offset
                self.assertEqual(
                    found,
                    [
                        offset
                        for offset, counts in account.decided.items()
                        if first <= offset < stable and counts
                    ],
                )
            if first >= stable:
                self.assertEqual(partition.committed.available(first), 0)
                self.assertEqual(self.fetch(partition, first, 1 << 20).size, 0)

    def fetch(self, partition: Partition, offset: int, max_bytes: int) -> Fetched:
        """
        Read as a consumer of committed records does.
        """
        if offset < partition.last_stable_offset:
            self.assertTrue(partition.committed.available(offset))
        found = partition.committed.read(offset, max_bytes, True)
        if found is None:
            return now(partition.committed.load(offset, max_bytes, True))
        return found

    @given(STEPS)
    @settings(max_examples=100, deadline=None)
    def test_any_log(self, steps: list[tuple[int, str]]) -> None:
        """
        Each consumer is shown the committed records below the last stable offset, all of
        them and no others.
        """
        self.shared, self.sequences, self.numbers = Shared(), {}, {}
        broker = self.leader([WHERE, (TOPIC, 1)], chapters=2, **EACH)
        account = Account()
        for producer, kind in steps:
            self.step(broker, account, producer, kind)
        self.check(broker, account)
        broker.crash()
        successor = self.leader([WHERE, (TOPIC, 1)], broker_id=2, chapters=2, **EACH)
        self.check(successor, account)
        successor.partition().segments.forget_footers()
        self.check(successor, account)


class CommittedTests(TransactionsTestCase):
    """
    Single properties.
    """

    def test_undecided(self) -> None:
        """
        What is open is not there, and the same records are there for others.
        """
        broker = self.leader(**EACH)
        partition = broker.partition()
        append_to(partition, batch(b"plain"))
        self.data(broker, b"a")
        append_to(partition, batch(b"later"))
        broker.run()
        whole = partition.read(0, 1 << 20, True)
        found = partition.committed.read(0, 1 << 20, True)
        assert whole is not None and found is not None
        self.assertEqual([len(each.pieces) for each in (whole, found)], [3, 1])
        self.assertEqual(partition.committed.available(0), found.size)
        for offset in (1, 2, 3):
            self.assertEqual(partition.committed.available(offset), 0)
            self.assertEqual(partition.committed.read(offset, 1 << 20, True), Fetched())

    def test_aborted(self) -> None:
        """
        A reader that begins in the middle of an aborted transaction, or at its marker, is
        told of it, with its true first offset; one that begins after it is not.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        self.data(broker, b"b")
        self.abort(broker)
        self.data(broker, b"c")
        self.commit(broker)
        broker.run()
        for rolled in (False, True):
            if rolled:
                self.roll(broker)
            for offset in range(5):
                committed = broker.partition().committed
                found = committed.read(offset, 1 << 20, True)
                if rolled:
                    self.assertIsNone(found)
                    found = now(committed.load(offset, 1 << 20, True))
                assert found is not None
                listed = [AbortedTransaction(7, 0, 2)] if offset <= 2 else []
                self.assertEqual(list(found.aborted), listed)

    def test_aborted_later(self) -> None:
        """
        The marker is in the next segment, or in none yet.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        self.roll(broker)
        append_to(broker.partition(), batch(b"plain"))
        broker.run()
        self.roll(broker)
        self.abort(broker)
        broker.run()
        for _ in range(2):
            found = now(broker.partition().committed.load(0, 1 << 20, True))
            self.assertEqual(list(found.aborted), [AbortedTransaction(7, 0, 2)])
            self.roll(broker)

    def test_t41_the_marker_is_past_the_stable_offset(self) -> None:
        """
        An aborted transaction is listed also if its marker comes after the beginning of one
        that is open, and in another segment.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        self.roll(broker)
        self.data(broker, b"b", producer=8)
        self.abort(broker)
        broker.run()
        self.roll(broker)
        partition = broker.partition()
        self.assertEqual(partition.last_stable_offset, 1)
        found = now(partition.committed.load(0, 1 << 20, True))
        self.assertEqual(list(found.aborted), [AbortedTransaction(7, 0, 2)])

    def test_rolled_while_it_is_read(self) -> None:
        """
        A marker that moves from memory into a segment during the read is not missed.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        self.roll(broker)
        self.abort(broker)
        broker.run()
        successor = self.successor(broker, 2)
        partition = successor.partition()
        partition.segments.forget_footers()
        successor.obey(hold("get", "/topics/"))
        reading = begin(partition.committed.load(0, 1 << 20, True))
        self.assertNoResult(reading)
        rolling = begin(successor.roll(partition))
        successor.obey(let_pass)
        successor.settle()
        self.successResultOf(rolling)
        found = self.successResultOf(reading)
        self.assertEqual(list(found.aborted), [AbortedTransaction(7, 0, 1)])

    def test_t39_not_open_yet(self) -> None:
        """
        A partition that is not open yet is opened by the first read of committed records;
        until then nobody is told a last stable offset.
        """
        broker = self.leader(**EACH)
        append_to(broker.partition(), batch(b"plain"))
        self.data(broker, b"a")
        broker.run()
        self.roll(broker)
        successor = self.successor(broker, 2)
        partition = successor.log.partition(*WHERE)
        self.assertFalse(partition.is_open)
        self.assertEqual(partition.committed.last_stable_offset, -1)
        self.assertTrue(partition.committed.available(2))
        self.assertIsNone(partition.committed.read(2, 1 << 20, True))
        self.assertEqual(now(partition.committed.load(2, 1 << 20, True)), Fetched())
        self.assertTrue(partition.is_open)
        self.assertEqual(partition.committed.last_stable_offset, 1)
        self.assertEqual(partition.committed.available(2), 0)
        found = now(partition.committed.load(0, 1 << 20, True))
        self.assertEqual([header.base_offset for header in headers_of(found)], [0])

    def test_t36_woken(self) -> None:
        """
        Who waits is woken when the marker is durable, and not before.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        woken: list[int] = []
        committed = broker.partition().committed
        waiting = Waiting(lambda: woken.append(committed.last_stable_offset))
        committed.watch(waiting)
        broker.obey(hold("create", "/journal/"))
        self.commit(broker)
        self.assertEqual(woken, [])
        broker.obey(let_pass)
        broker.settle()
        self.assertEqual(woken, [2])

    def test_refused(self) -> None:
        """
        Offsets out of range, and a partition that was dropped, as for others.
        """
        broker = self.leader(**EACH)
        for _ in range(2):
            append_to(broker.partition(), batch(b"plain"))
        broker.run()
        partition = broker.partition()
        now(partition.delete_before(1))
        for offset in (0, 3):
            self.assertRaises(OffsetOutOfRange, partition.committed.read, offset, 1, True)
        self.assertIs(partition.committed.committed, partition.committed)
        partition.drop()
        self.assertTrue(partition.committed.dropped)
        self.assertRaises(NotLeaderOrFollower, partition.committed.read, 1, 1, True)
