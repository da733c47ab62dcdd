"""
Tests for L{kafscale.log.log}: all partitions of a broker together.
"""

from __future__ import annotations

from kafscale.errors import NotLeaderOrFollower
from kafscale.format import metadata_keys, object_keys
from kafscale.interfaces import Compare, Delete, ILog, IPressure, Put
from tests.harness.coroutines import begin, now
from tests.harness.hostile import hold, let_pass
from tests.log.brokers import (
    EACH,
    TOPIC,
    WHERE,
    BrokerTestCase,
    Waiting,
    append_to,
    batch,
    everybody_is_gone,
)

OTHER = (TOPIC, 1)


class ClaimTests(BrokerTestCase):
    """
    Claiming partitions.
    """

    def test_new_partitions(self) -> None:
        """
        New partitions are led at once, empty, in epoch 0.
        """
        wanted = [(TOPIC, index) for index in range(120)]
        broker = self.leader()
        claiming = begin(broker.log.claim(wanted, everybody_is_gone))
        broker.settle()
        self.successResultOf(claiming)
        self.assertEqual(len(broker.log.partitions()), 120)
        partition = broker.log.partition(TOPIC, 119)
        self.assertEqual(
            (partition.leader_epoch, partition.log_start, partition.next_offset), (0, 0, 0)
        )
        record = self.shared.record((TOPIC, 119))
        self.assertEqual((record.leader, record.incarnation), (1, broker.incarnation))
        self.assertEqual(record.journals, ((broker.incarnation, 0),))
        self.assertTrue(ILog.providedBy(broker.log))
        self.assertTrue(IPressure.providedBy(broker.log.pressure))

    def test_of_a_deleted_topic(self) -> None:
        """
        A partition without a record is not created again when its topic is
        deleted, whatever the claiming broker knows of that.
        """
        broker = self.leader()
        key = f"topics/{TOPIC}"
        there = now(self.shared.metadata.commit([], [Put(key, {})]))
        guard = Compare(key, there)
        now(self.shared.metadata.commit([], [Delete(key)]))
        wanted = [(TOPIC, 5), (TOPIC, 6)]
        claiming = begin(broker.log.claim(wanted, everybody_is_gone, lambda _: guard))
        broker.settle()
        self.successResultOf(claiming)
        self.assertFalse(broker.log.leads((TOPIC, 5)))
        self.assertIsNone(self.shared.value(metadata_keys.partition(TOPIC, 5)))
        self.assertFalse(broker.fenced)

    def test_what_is_led_already(self) -> None:
        """
        A partition that is led already is not claimed again.
        """
        broker = self.leader()
        before = broker.partition()
        now(broker.log.claim([WHERE, OTHER], everybody_is_gone))
        self.assertIs(broker.log.partition(*WHERE), before)
        self.assertEqual(self.shared.record().epoch, 0)

    def test_at_the_same_time(self) -> None:
        """
        Of two calls that ask for the same partition the second claims nothing. It
        would drop what was appended after the first.
        """
        for first in (0, -1):
            broker = self.broker(policy=hold("range", metadata_keys.PARTITIONS), **EACH)
            claims = [begin(broker.log.claim([WHERE], everybody_is_gone)) for _ in range(2)]
            reads = broker.pending("range", metadata_keys.PARTITIONS)
            broker.obey(let_pass)
            reads[first].succeed()
            broker.append(b"kept")
            broker.run()
            for claim in claims:
                self.successResultOf(claim)
            self.assertEqual(broker.partition().leader_epoch, self.shared.record().epoch)
            self.assertEqual(self.read_all(self.leader())[-1:], [b"kept"])

    def test_what_is_not_led(self) -> None:
        """
        A partition of another leader, or of none, is refused.
        """
        self.assertRaises(NotLeaderOrFollower, self.leader().log.partition, TOPIC, 5)

    def test_one_of_many_is_lost(self) -> None:
        """
        The other partitions are claimed all the same, and the lost one is
        recovered again.
        """
        broker = self.broker(policy=hold("commit", metadata_keys.PARTITIONS))
        recovering = broker.recover([WHERE, OTHER])
        rival = self.leader([OTHER], broker_id=2, **EACH)
        rival.log.partition(*OTHER).opened()
        append_to(rival.log.partition(*OTHER), batch(b"theirs"))
        broker.run()
        self.successResultOf(recovering)
        self.assertEqual(broker.log.partition(*WHERE).leader_epoch, 0)
        self.assertEqual(broker.log.partition(*OTHER).leader_epoch, 1)
        self.assertEqual(self.read_all(broker, OTHER), [b"theirs"])

    def test_fenced_while_claiming(self) -> None:
        """
        What was claimed is not led: the next incarnation claims it again.
        """
        broker = self.broker(policy=hold("commit", metadata_keys.PARTITIONS))
        recovering = broker.recover()
        broker.journal.fence()
        broker.settle()
        self.successResultOf(recovering)
        self.assertEqual(broker.log.partitions(), ())
        broker.log.begin(self.shared.register(1))
        again = broker.recover()
        broker.run()
        self.successResultOf(again)
        self.assertEqual(broker.partition().leader_epoch, 1)
        self.assertEqual(len(broker.log.partitions()), 1)

    def test_as_a_new_incarnation(self) -> None:
        """
        A broker that was fenced comes back with what it had acknowledged, and
        without what it had not.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        key = object_keys.slot(object_keys.journal("default", 1, broker.incarnation), 1)
        now(self.shared.objects.create(key, [b"not ours"]))
        settled = broker.append(b"1").settled
        assert settled is not None
        self.failureResultOf(settled.wait(), NotLeaderOrFollower)
        self.assertEqual(broker.log.partitions(), ())
        now(self.shared.objects.delete([key]))
        broker.log.begin(self.shared.register(1))
        recovering = broker.recover()
        broker.run()
        self.successResultOf(recovering)
        self.assertEqual(self.read_all(broker), [b"0"])


class RecordedTests(BrokerTestCase):
    """
    Leader epochs that partitions' records have.
    """

    def test_replaced(self) -> None:
        """
        A broker that sees an epoch it has not claimed was replaced, even if it
        has met no seal because it has written nothing.
        """
        broker = self.leader()
        broker.log.recorded(WHERE, 0)
        self.assertFalse(broker.fenced)
        broker.log.recorded(WHERE, 1)
        self.assertTrue(broker.fenced)
        self.assertFalse(broker.log.leads(WHERE))

    def test_of_others(self) -> None:
        """
        The epoch of a partition that is not led here changes nothing.
        """
        broker = self.leader()
        broker.log.recorded((TOPIC, 1), 7)
        self.assertFalse(broker.fenced)


class DeleteTests(BrokerTestCase):
    """
    Deleting a topic.
    """

    def test_all_goes(self) -> None:
        """
        Records, segments, slots and cached blocks are deleted; readers are
        woken.
        """
        broker = self.leader([WHERE, OTHER], **EACH)
        partition = broker.partition()
        broker.append(b"0")
        now(broker.roll(partition))
        self.read_all(broker)
        broker.append(b"1")
        woken: list[bool] = []
        waiting = Waiting(lambda: woken.append(partition.dropped))
        partition.watch(waiting)
        now(broker.log.delete([TOPIC]))
        self.assertEqual(woken, [True])
        self.assertEqual(broker.log.partitions(), ())
        self.assertEqual(self.shared.keys(), [])
        self.assertIsNone(self.shared.value(metadata_keys.partition(*WHERE)))
        self.assertEqual((broker.log.pressure.size, broker.cache.size), (0, 0))
        self.assertFalse(broker.fenced)

    def test_with_records_under_way(self) -> None:
        """
        Records under way are settled, and their slots are deleted after that.
        """
        broker = self.leader(**EACH)
        broker.obey(hold("create", "/journal/"))
        settled = [broker.append(b"%d" % number).settled for number in range(3)]
        now(broker.log.delete([TOPIC]))
        broker.obey(let_pass)
        broker.settle()
        for each in settled:
            assert each is not None
            self.successResultOf(each.wait())
        self.assertEqual(broker.log.pressure.size, 0)
        self.assertEqual(broker.journal.trimmable, 3)

    def test_repeated(self) -> None:
        """
        After a failure the deletion is repeated as a whole.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        now(broker.roll(broker.partition()))
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        deleting = begin(broker.log.delete([TOPIC]))
        broker.pending("commit")[0].fail()
        broker.clock.advance(1)
        self.failureResultOf(deleting)
        broker.obey(let_pass)
        now(broker.log.delete([TOPIC]))
        self.assertEqual(self.shared.segments(), [])

    def test_other_topics_stay(self) -> None:
        """
        Other topics keep their slots.
        """
        other = (type(TOPIC)(int=0xABD), 0)
        broker = self.leader([WHERE, other], **EACH)
        broker.append(b"0")
        broker.log.partition(*other).opened()
        append_to(broker.log.partition(*other), batch(b"1"))
        now(broker.log.delete([TOPIC]))
        self.assertEqual(self.shared.slots(broker.incarnation), [1])
        broker.crash()
        self.assertEqual(self.read_all(self.leader([other]), other), [b"1"])


class PressureTests(BrokerTestCase):
    """
    Memory, and whether producers must wait.
    """

    def test_spent_and_relieved(self) -> None:
        """
        The pressure is spent while too many bytes wait for the journal or for
        segments.
        """
        broker = self.leader(slot_bytes=500, slots_in_flight=2, unrolled_bytes=2000)
        self.assertFalse(broker.log.pressure.spent())
        self.successResultOf(broker.log.pressure.relieved())
        broker.obey(hold("create", "/journal/"))
        for _ in range(3):
            self.assertFalse(broker.log.pressure.spent())
            broker.append(b"x" * 400)
        self.assertTrue(broker.log.pressure.spent())
        waiting = broker.log.pressure.relieved()
        self.assertNoResult(waiting)
        broker.settle()
        self.successResultOf(waiting)
        self.assertFalse(broker.log.pressure.spent())
        broker.obey(hold("create", "/topics/"))
        while not broker.log.pressure.spent():
            broker.append(b"x" * 400)
        waiting = broker.log.pressure.relieved()
        given_up = broker.log.pressure.relieved()
        given_up.cancel()
        self.failureResultOf(given_up)
        self.assertNoResult(waiting)
        broker.obey(let_pass)
        broker.run()
        self.successResultOf(waiting)

    def test_held(self) -> None:
        """
        Bytes that are held until they are appended count, too.
        """
        broker = self.leader(slot_bytes=500, slots_in_flight=2)
        broker.log.pressure.hold(800)
        self.assertFalse(broker.log.pressure.spent())
        broker.log.pressure.hold(300)
        self.assertTrue(broker.log.pressure.spent())
        waiting = broker.log.pressure.relieved()
        broker.log.pressure.hold(-300)
        self.successResultOf(waiting)

    def test_where_slots_linger(self) -> None:
        """
        Two more slots may fill while the others are under way.
        """
        broker = self.leader(slot_bytes=500, slots_in_flight=2, linger=0.05)
        broker.log.pressure.hold(2000)
        self.assertFalse(broker.log.pressure.spent())
        broker.log.pressure.hold(1)
        self.assertTrue(broker.log.pressure.spent())

    def test_relieved_by_a_fence(self) -> None:
        """
        After a fence no producer waits any more.
        """
        broker = self.leader(slot_bytes=100, slots_in_flight=1)
        broker.obey(hold("create", "/journal/"))
        for _ in range(3):
            broker.append(b"x" * 400)
        waiting = broker.log.pressure.relieved()
        self.assertNoResult(waiting)
        broker.journal.fence()
        self.successResultOf(waiting)
        self.assertEqual(broker.log.pressure.size, 0)


class StopTests(BrokerTestCase):
    """
    Stopping a log.
    """

    def test_stores_what_was_appended(self) -> None:
        """
        A lingering slot is stored, too; the next start finds it.
        """
        broker = self.leader(linger=10.0)
        settled = broker.append(b"0").settled
        assert settled is not None
        now(broker.log.stop())
        self.successResultOf(settled.wait())
        self.assertEqual(broker.clock.getDelayedCalls(), [])
        self.assertEqual(self.read_all(self.leader()), [b"0"])

    def test_records_of_other_brokers_are_left_alone(self) -> None:
        """
        Recovery seals only this broker's own earlier incarnations.
        """
        other = self.leader([OTHER], broker_id=2, **EACH)
        other.log.partition(*OTHER).opened()
        self.leader()
        now(self.shared.metadata.commit([], [Put("unrelated", 1)]))
        append_to(other.log.partition(*OTHER), batch(b"0"))
        self.assertFalse(other.fenced)
        self.assertEqual(self.read_all(other, OTHER), [b"0"])
