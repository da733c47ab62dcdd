"""
Transactions in a partition: appends, markers, and what is left of them after rolls,
takeovers and deletions (rules T32 to T37, T39, T40 and T43).
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from kafscale.errors import (
    ConcurrentTransactions,
    InvalidProducerEpoch,
    InvalidRecord,
    InvalidTxnState,
    NotEnoughReplicas,
    NotLeaderOrFollower,
    TransactionCoordinatorFenced,
)
from kafscale.format.segment import AbortedTransaction
from kafscale.interfaces import ProducerTransactions
from kafscale.wire.control_batches import Marker, build_marker
from kafscale.wire.records import Record, build_batch, read_batch_header, stamp
from tests.harness.coroutines import begin, now
from tests.harness.hostile import hold, let_pass
from tests.log.brokers import EACH, NOW, RULES, TOPIC, WHERE, Broker, append_to, batch
from tests.log.transactions_case import TransactionsTestCase, transactional


def level_1(name: str) -> int:
    """
    The levels of before transactions.
    """
    return 1


class AppendTests(TransactionsTestCase):
    """
    Batches of transactions.
    """

    def test_t32_the_first_batch_needs_a_number(self) -> None:
        """
        Those after it need none.
        """
        broker = self.leader(**EACH)
        partition = broker.partition()
        sent = transactional(b"a")
        self.assertTrue(partition.begins_transaction(read_batch_header(sent)))
        self.assertRaises(InvalidTxnState, append_to, partition, sent)
        self.assertEqual(partition.next_offset, 0)
        self.data(broker, b"a", b"b")
        following = transactional(b"c", sequence=2)
        self.assertFalse(partition.begins_transaction(read_batch_header(following)))
        append_to(partition, following)
        self.assertEqual(
            partition.transactions_of(7),
            ProducerTransactions(producer_epoch=0, number=0, open_from=0),
        )

    def test_t32_open_under_the_next_leader(self) -> None:
        """
        The next leader asks nobody, whether the transaction's beginning is in a segment
        or in the journal.
        """
        for broker_id in (1, 3):
            self.setUp()
            broker = self.leader(broker_id=broker_id, **EACH)
            self.data(broker, b"a")
            broker.run()
            if broker_id == 3:
                self.roll(broker)
            successor = self.successor(broker, broker_id + 1)
            sent = transactional(b"b", sequence=1)
            partition = successor.partition()
            self.assertFalse(partition.begins_transaction(read_batch_header(sent)))
            append_to(partition, sent)

    def test_t32_what_was_lost_is_asked_for_again(self) -> None:
        """
        A beginning that was never durable is not open under the next leader.
        """
        broker = self.leader(**EACH)
        broker.obey(hold("create", "/journal/"))
        self.data(broker, b"a")
        successor = self.successor(broker, 2)
        partition = successor.partition()
        self.assertTrue(partition.begins_transaction(read_batch_header(transactional(b"a"))))
        self.assertIsNone(partition.transactions_of(7))

    def test_t33_the_number_is_above_the_last_markers(self) -> None:
        """
        An answer that came after the marker counts for nothing, also under the next
        leader.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        self.commit(broker)
        broker.run()
        self.roll(broker)
        for leader in (broker, self.successor(broker, 2)):
            partition = leader.partition()
            sent = transactional(b"b", sequence=1)
            header = read_batch_header(sent)
            self.assertTrue(partition.begins_transaction(header))
            self.assertRaises(InvalidTxnState, partition.append, sent, header, RULES, 1)
        partition.append(sent, header, RULES, 2)

    def test_t35_a_later_epoch_waits(self) -> None:
        """
        A batch of the producer's next epoch waits for the marker.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        sent = transactional(b"b", epoch=1)
        header = read_batch_header(sent)
        partition = broker.partition()
        self.assertRaises(ConcurrentTransactions, partition.begins_transaction, header)
        self.assertRaises(ConcurrentTransactions, partition.append, sent, header, RULES, 2)
        self.commit(broker, epoch=1)
        self.assertTrue(partition.begins_transaction(header))
        partition.append(sent, header, RULES, 2)
        late = read_batch_header(transactional(b"c"))
        self.assertRaises(InvalidProducerEpoch, partition.begins_transaction, late)

    def test_a_copy_is_answered(self) -> None:
        """
        A batch that was appended before needs no question, though its transaction has
        ended.
        """
        broker = self.leader(**EACH)
        first = self.data(broker, b"a")
        self.commit(broker)
        sent = transactional(b"a")
        partition = broker.partition()
        self.assertFalse(partition.begins_transaction(read_batch_header(sent)))
        self.assertEqual(append_to(partition, sent).base_offset, first.base_offset)
        self.assertEqual(partition.next_offset, 2)

    def test_without_a_producer(self) -> None:
        """
        A transaction has a producer.
        """
        sent = memoryview(build_batch([Record(0, 0, None, b"")], transactional=True))
        partition = self.leader(**EACH).partition()
        header = read_batch_header(sent)
        self.assertRaises(InvalidRecord, partition.append, sent, header, RULES)
        self.assertRaises(InvalidRecord, partition.append, sent, header, RULES, 1)

    def test_not_before_all_brokers_know_them(self) -> None:
        """
        While a broker of the cluster does not read what is stored of transactions, none
        begins.
        """
        broker = self.leader(level_of=level_1, **EACH)
        self.assertFalse(broker.log.takes_transactions())
        self.assertRaises(NotEnoughReplicas, self.data, broker, b"a")
        self.assertEqual(broker.partition().next_offset, 0)
        self.assertTrue(self.leader(broker_id=2, **EACH).log.takes_transactions())


class MarkerTests(TransactionsTestCase):
    """
    Markers.
    """

    def test_stored(self) -> None:
        """
        The marker is in the log as Kafka has it, with offset and leader epoch.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a", b"b")
        self.commit(broker, epoch=1)
        broker.run()
        fetched = broker.partition().read(2, 1 << 20, True)
        assert fetched is not None
        built = build_marker(Marker(7, 1, True, 1), NOW * 1000 + 1000)
        (piece,) = fetched.pieces
        at = read_batch_header(piece).max_timestamp
        built = build_marker(Marker(7, 1, True, 1), at)
        expected = stamp(memoryview(built), read_batch_header(built), 2, 0)
        self.assertEqual(bytes(piece), expected)
        self.assertEqual(broker.partition().high_watermark, 3)

    def test_t34_a_marker_is_appended_once(self) -> None:
        """
        A copy, and the marker of an earlier transaction, are not appended, also when the
        next transaction is open.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        self.commit(broker)
        self.data(broker, b"b")
        partition = broker.partition()
        end = partition.next_offset
        for committed in (True, False):
            self.assertIsNone(partition.append_marker(Marker(7, 0, committed, 1)))
        self.assertEqual(partition.next_offset, end)
        self.assertEqual(partition.transactions_of(7), ProducerTransactions(0, 1, 2))

    def test_t34_a_copy_waits_for_the_first(self) -> None:
        """
        A copy is answered when the marker that was appended is durable.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        broker.obey(hold("create", "/journal/"))
        first = self.commit(broker)
        second = self.commit(broker)
        assert first is not None and second is not None
        waiting = first.wait(), second.wait()
        self.assertNoResult(waiting[1])
        broker.obey(let_pass)
        broker.settle()
        for each in waiting:
            self.successResultOf(each)
        self.assertIsNone(self.commit(broker))
        self.assertEqual(broker.partition().next_offset, 2)

    def test_t34_a_marker_that_was_lost_comes_again(self) -> None:
        """
        A marker that was never durable is not answered, and is not late under the next
        leader.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        broker.obey(hold("create", "/journal/"))
        settlement = self.commit(broker)
        assert settlement is not None
        waiting = settlement.wait()
        successor = self.successor(broker, 2)
        self.assertNoResult(waiting)
        self.assertEqual(successor.partition().last_stable_offset, 0)
        self.assertIsNotNone(self.commit(successor))
        successor.run()
        self.assertEqual(successor.partition().last_stable_offset, 2)

    def test_t34_late_after_a_takeover(self) -> None:
        """
        The number is found in the journal, and in a segment.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        self.commit(broker)
        broker.run()
        second = self.successor(broker, 2)
        self.assertIsNone(self.commit(second))
        self.roll(second)
        third = self.successor(second, 3)
        self.assertEqual(third.shared.record().rolled_to, 2)
        self.assertIsNone(self.commit(third))
        self.assertEqual(third.partition().next_offset, 2)

    def test_nothing_is_open(self) -> None:
        """
        The marker of a producer that has written nothing is appended: what is late of its
        transaction is known then.
        """
        broker = self.leader(**EACH)
        partition = broker.partition()
        self.assertIsNotNone(partition.append_marker(Marker(7, 0, False, 3)))
        broker.run()
        self.assertEqual(partition.transactions_of(7), ProducerTransactions(0, 3, -1))
        self.assertEqual(partition.last_stable_offset, 1)
        sent = transactional(b"a")
        header = read_batch_header(sent)
        self.assertRaises(InvalidTxnState, partition.append, sent, header, RULES, 3)

    def test_by_an_operator(self) -> None:
        """
        An operator's marker may have the last one's number; a lower one is fenced. It is
        appended each time, as in Kafka.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        self.commit(broker)
        self.data(broker, b"b")
        partition = broker.partition()
        fenced = Marker(7, 0, False, 0)
        self.assertRaises(TransactionCoordinatorFenced, partition.append_marker, fenced, False)
        for end in (4, 5):
            self.assertIsNotNone(partition.append_marker(Marker(7, 0, False, 1), False))
            self.assertEqual(partition.next_offset, end)
        self.assertEqual(partition.transactions_of(7), ProducerTransactions(0, 1, -1))

    def test_a_lower_epoch(self) -> None:
        """
        It is refused, and nothing changes.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a", epoch=2)
        partition = broker.partition()
        self.assertRaises(InvalidProducerEpoch, partition.append_marker, Marker(7, 1, True, 1))
        self.assertEqual(partition.next_offset, 1)

    def test_not_led(self) -> None:
        """
        A leader that was dropped, or releases the partition, appends no marker.
        """
        broker = self.leader(**EACH)
        partition = broker.partition()
        partition.closed = True
        self.assertRaises(NotLeaderOrFollower, partition.append_marker, Marker(7, 0, True, 1))
        partition.closed = False
        partition.drop()
        self.assertRaises(NotLeaderOrFollower, partition.append_marker, Marker(7, 0, True, 1))

    def test_replaced(self) -> None:
        """
        A marker of a broker that was replaced is refused when it finds out.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        broker.obey(hold("create", "/journal/"))
        settlement = self.commit(broker)
        assert settlement is not None
        waiting = settlement.wait()
        broker.log.fence()
        self.failureResultOf(waiting, NotLeaderOrFollower)


class StableTests(TransactionsTestCase):
    """
    The last stable offset.
    """

    def test_t36_it_waits_for_a_durable_marker(self) -> None:
        """
        It stands at the first open transaction until the marker is durable.
        """
        broker = self.leader(**EACH)
        partition = broker.partition()
        append_to(partition, batch(b"plain"))
        self.data(broker, b"a")
        append_to(partition, batch(b"plain"))
        broker.run()
        self.assertEqual((partition.last_stable_offset, partition.high_watermark), (1, 3))
        broker.obey(hold("create", "/journal/"))
        self.commit(broker)
        self.assertEqual(partition.last_stable_offset, 1)
        broker.obey(let_pass)
        broker.settle()
        self.assertEqual((partition.last_stable_offset, partition.high_watermark), (4, 4))

    def test_not_above_the_high_watermark(self) -> None:
        """
        What is not durable is not stable, in a transaction or not.
        """
        broker = self.leader(**EACH)
        broker.obey(hold("create", "/journal/"))
        append_to(broker.partition(), batch(b"plain"))
        self.data(broker, b"a")
        self.assertEqual(broker.partition().last_stable_offset, 0)

    def test_several(self) -> None:
        """
        The first of those that are open counts.
        """
        broker = self.leader(**EACH)
        for producer in (7, 8, 9):
            self.data(broker, b"x", producer=producer)
        self.commit(broker, producer=8)
        broker.run()
        self.assertEqual(broker.partition().last_stable_offset, 0)
        self.abort(broker, producer=7)
        broker.run()
        self.assertEqual(broker.partition().last_stable_offset, 2)
        self.commit(broker, producer=9)
        broker.run()
        self.assertEqual(broker.partition().last_stable_offset, 6)

    def test_t39_it_is_known_once_the_partition_is_open(self) -> None:
        """
        One record of a transaction, rolled and still open: the next leader shows nothing
        of it, before and after it has looked.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        self.roll(broker)
        successor = self.successor(broker, 2)
        partition = successor.log.partition(*WHERE)
        self.assertFalse(partition.is_open)
        self.assertEqual((partition.last_stable_offset, partition.high_watermark), (-1, 1))
        partition.opened()
        self.assertTrue(partition.is_open)
        self.assertEqual(partition.last_stable_offset, 0)
        self.commit(successor)
        successor.run()
        self.assertEqual(partition.last_stable_offset, 2)

    def test_t43_records_deleted_past_the_beginning(self) -> None:
        """
        Then it is the log start, the transaction is still open, and the marker comes; also
        under the next leader.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        self.data(broker, b"b")
        self.data(broker, b"c")
        broker.run()
        now(broker.partition().delete_before(2))
        successor = self.successor(broker, 2)
        for leader in (broker, successor):
            partition = leader.partition()
            self.assertEqual((partition.log_start, partition.last_stable_offset), (2, 2))
            self.assertEqual(partition.transactions_of(7), ProducerTransactions(0, 0, 0))
        self.commit(successor)
        successor.run()
        self.assertEqual(successor.partition().last_stable_offset, 4)


class FooterTests(TransactionsTestCase):
    """
    What segments say of transactions.
    """

    def test_nothing(self) -> None:
        """
        Without transactions segments are what they were.
        """
        broker = self.leader(**EACH)
        broker.append(b"a", producer=7)
        broker.run()
        self.roll(broker)
        (key,) = [each for each in self.shared.keys("default/topics/") if each.endswith(".kfs")]
        data = now(self.shared.objects.get(key))
        self.assertIn(b'"transactions":[]', data)
        self.assertEqual(int.from_bytes(data[-14:-12], "big"), 2)  # level 1

    def test_t39_open_at_the_end_of_a_segment(self) -> None:
        """
        The footer says what is open at the segment's end, and not what the leader knows
        by then: the records before C{rolled_to} are what it speaks of.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        broker.obey(hold("create", "/topics/"))
        rolling = self.rolling(broker)
        self.abort(broker)
        self.data(broker, b"b", producer=8)
        broker.obey(let_pass)
        broker.settle()
        self.successResultOf(rolling)
        states = broker.partition().producers_in(self.footer(broker).producers)
        self.assertEqual(states.open_from(), {7: 0})
        self.assertEqual(self.listed(broker), [])
        successor = self.successor(broker, 2)
        self.assertEqual(successor.partition().last_stable_offset, 2)
        self.roll(successor)
        self.assertEqual(self.listed(successor), [AbortedTransaction(7, 0, 1)])

    def rolling(self, broker: Broker) -> Deferred[None]:
        """
        Begin to roll the partition.
        """
        return begin(broker.roll(broker.partition()))

    def test_t40_listed_with_the_marker(self) -> None:
        """
        An aborted transaction is listed once: with the segment of its marker, and with its
        true first offset.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        self.roll(broker)
        self.data(broker, b"b")
        self.abort(broker)
        self.data(broker, b"c", producer=8)
        self.commit(broker, producer=8)
        broker.run()
        self.roll(broker)
        self.assertEqual(self.footer(broker).transactions, [AbortedTransaction(7, 0, 2)])
        self.assertEqual(self.listed(broker), [AbortedTransaction(7, 0, 2)])
        self.assertEqual(self.footer(broker).first_offset, 1)

    def test_t40_chapters_become_a_segment(self) -> None:
        """
        The segment lists the transactions of all chapters, and has the producers of the
        last.
        """
        both = [WHERE, (TOPIC, 1)]
        broker = self.leader(both, chapters=2, **EACH)
        for _ in range(2):
            self.data(broker, b"a")
            self.abort(broker)
            self.data(broker, b"b", producer=8)
            append_to(broker.partition(both[1]), batch(b"beside"))
            broker.run()
            now(broker.roll_all([broker.partition(where) for where in both]))
        self.assertEqual([each.base for each in self.shared.record().chapters], [0, 3])
        self.data(broker, b"c")
        self.abort(broker)
        broker.run()
        self.roll(broker)
        self.assertEqual(self.shared.record().chapters, ())
        expected = [AbortedTransaction(7, first, first + 1) for first in (0, 3, 6)]
        self.assertEqual(self.footer(broker).transactions, expected)
        states = broker.partition().producers_in(self.footer(broker).producers)
        self.assertEqual(states.open_from(), {8: 2})
        successor = self.successor(broker, 2)
        self.assertEqual(successor.partition().last_stable_offset, 2)
        self.assertEqual(
            successor.partition().transactions_of(7), ProducerTransactions(0, 3, -1)
        )

    def test_t39_over_a_release(self) -> None:
        """
        A partition that is handed over has all in its segments.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        self.data(broker, b"b", producer=8)
        self.abort(broker, producer=8)
        broker.run()
        now(broker.log.release([WHERE]))
        successor = self.leader(broker_id=2, **EACH)
        partition = successor.partition()
        self.assertEqual(partition.last_stable_offset, 0)
        self.assertEqual(partition.transactions_of(7), ProducerTransactions(0, 0, 0))
        self.assertEqual(partition.transactions_of(8), ProducerTransactions(0, 1, -1))

    def test_t39_written_whatever_level_is_in_force(self) -> None:
        """
        A broker that does not know yet that the level is in force writes what it found of
        transactions all the same: another broker knew it.
        """
        broker = self.leader(**EACH)
        self.data(broker, b"a")
        broker.run()
        successor = self.successor(broker, 2, level_of=level_1)
        self.roll(successor)
        third = self.successor(successor, 3)
        self.assertEqual(third.partition().last_stable_offset, 0)

    def test_adopted(self) -> None:
        """
        A segment that a leader adopts brings its transactions along.
        """
        first = self.leader(**EACH)
        self.data(first, b"a")
        self.abort(first)
        self.data(first, b"b")
        first.run()
        first.obey(hold("commit", "partitions/"))
        self.rolling(first)
        second = self.successor(first, 2)
        self.roll(second)
        self.assertEqual(self.listed(second), [AbortedTransaction(7, 0, 1)])
        third = self.successor(second, 3)
        self.assertEqual(third.partition().last_stable_offset, 2)
