"""
Objects that were deleted by something else than the broker are not taken for
objects that were never there (rule 26).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import KafkaStorageError
from kafscale.format import metadata_keys, object_keys
from kafscale.format.incarnation import WINDOW
from kafscale.format.trailer import End, end_with, read_end
from kafscale.interfaces import Delete, Put
from kafscale.log.journal.stored import FIRST_SECONDS, SECONDS, StoredSlots
from kafscale.log.takeover.recovery import REFUSED_SECONDS
from kafscale.log.takeover.sealing import CorruptLog
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, Operation, Verdict, hold, let_pass
from tests.inspect.looking import wrong
from tests.log.brokers import EACH, TOPIC, WHERE, Broker, BrokerTestCase, everybody_is_gone

OTHER = (TOPIC, 1)


class VanishedTestCase(BrokerTestCase):
    """
    A writer has died, whose records are in slots alone.
    """

    fencing = "create"

    def setUp(self) -> None:
        """
        It had four slots, and has recorded that.
        """
        super().setUp()
        self.writer = self.written(4)

    def written(self, slots: int) -> Broker:
        """
        A leader that has so many slots, has recorded that, and has died.
        """
        writer = self.leader(**EACH, fencing=self.fencing)
        for number in range(slots):
            writer.append(b"%d" % number)
        writer.run(2 * FIRST_SECONDS)
        writer.crash()
        return writer

    def key(self, number: int) -> str:
        """
        The key of one of the writer's slots.
        """
        prefix = object_keys.journal("default", 1, self.writer.incarnation)
        return object_keys.slot(prefix, number)

    def delete(self, *numbers: int) -> None:
        """
        Delete slots, as no broker does.
        """
        now(self.shared.objects.delete([self.key(number) for number in numbers]))

    def replace(self, number: int, data: bytes) -> bytes:
        """
        Replace a slot, as no broker does; return what it was.
        """
        before = now(self.shared.objects.get(self.key(number)))
        self.delete(number)
        now(self.shared.objects.create(self.key(number), [data]))
        return bytes(before)

    def damaged(self, number: int) -> list[bytes]:
        """
        A slot whose footer was changed, one that was cut off, one that was replaced
        by something short, and one that a newer version has written.
        """
        data = bytes(now(self.shared.objects.get(self.key(number))))
        changed = data[:-20] + bytes([data[-20] ^ 0xFF]) + data[-19:]
        return [changed, data[:-5], b"?", newer(data)]

    def claim(self, successor: Broker) -> None:
        """
        Let a broker claim both partitions.
        """
        claiming = begin(successor.log.claim([WHERE, OTHER], everybody_is_gone))
        successor.run()
        self.successResultOf(claiming)

    def assert_not_sealed(self) -> None:
        """
        No end of the writer's journal is recorded, and it is not wound up.
        """
        number = self.writer.incarnation
        sealed = self.shared.value(metadata_keys.seal(number)) or {}
        self.assertIsNone(sealed.get("sealed_at"))
        record = self.shared.value(metadata_keys.incarnation(number))
        self.assertFalse(record.get("wound_up", False))

    def recover(self, **settings: Any) -> Deferred[None]:
        """
        Let a successor recover.
        """
        successor = self.broker(fencing=self.fencing, **settings)
        recovering = successor.recover()
        successor.run(30)
        return recovering

    def assert_refused(self, missing: int) -> None:
        """
        A successor leads nothing, names the slot that is missing, and changes
        nothing.
        """
        before = self.shared.keys(), self.records()
        failure = self.failureResultOf(self.recover(), CorruptLog)
        self.assertIn(f"{self.key(missing)} is missing", str(failure.value))
        self.assertEqual((self.shared.keys(), self.records()), before)

    def records(self) -> list[Any]:
        """
        The entries of partitions, of the writer, and of its end.
        """
        number = self.writer.incarnation
        keys = [metadata_keys.partition(*WHERE), metadata_keys.incarnation(number)]
        return [now(self.shared.metadata.get(key)) for key in [*keys, metadata_keys.seal(number)]]


def newer(data: bytes) -> bytes:
    """
    A slot as if a newer version had written it.
    """
    end = read_end(data, len(data))
    assert isinstance(end, End)
    whole = len(end_with(end.kind, end.footer))
    return data[:-whole] + end_with(end.kind, end.footer, end.level + 10)


class VanishedTests(VanishedTestCase):
    """
    Slots that were acknowledged are missing.
    """

    def test_26_no_slot_is_left(self) -> None:
        """
        A journal all of which is gone has not ended at 0.
        """
        self.delete(0, 1, 2, 3)
        self.assert_refused(0)

    def test_26_the_first_or_the_last_is_missing(self) -> None:
        """
        Nor has one ended before its last slot.
        """
        for number in (0, 2, 3):
            self.setUp()
            self.delete(number)
            self.assert_refused(number)

    def test_inspected(self) -> None:
        """
        C{kafscale-inspect verify} names the first slot that is missing.
        """
        self.assertEqual(wrong(self.shared), [])
        self.delete(2, 3)
        (line,) = wrong(self.shared)
        self.assertIn(f"{self.key(2)}: missing, though it was acknowledged", str(line))

    def test_what_is_restored_is_recovered(self) -> None:
        """
        The attempt does no harm: with the slots all is there.
        """
        data = now(self.shared.objects.get(self.key(1)))
        self.delete(1)
        self.assert_refused(1)
        now(self.shared.objects.create(self.key(1), [data]))
        self.assertEqual(self.read_all(self.leader()), [b"0", b"1", b"2", b"3"])

    def test_the_loss_is_accepted(self) -> None:
        """
        Without the entry a journal ends where its slots do.
        """
        self.delete(2, 3)
        self.assert_refused(2)
        key = metadata_keys.journal(self.writer.incarnation)
        now(self.shared.metadata.commit([], [Delete(key)]))
        self.assertEqual(self.read_all(self.leader()), [b"0", b"1"])

    def test_26_a_window_below_a_slot(self) -> None:
        """
        What a slot shows that exists counts as what is recorded does.
        """
        writer = self.writer = self.leader(**EACH, fencing=self.fencing)
        writer.append(b"0")
        writer.run(2 * FIRST_SECONDS)
        for _ in range(WINDOW + 1):
            writer.append(b"1")
        writer.crash()
        self.assertEqual(self.stored(), 1)
        self.delete(2)  # slot 257 was stored, so 1 was acknowledged, but 2 perhaps not
        self.delete(1)
        self.assert_refused(1)

    def test_others_are_claimed(self) -> None:
        """
        A broker that takes over leads what is not damaged. The rest is logged
        once, and claimed when the slots are there again.
        """
        data = now(self.shared.objects.get(self.key(1)))
        self.delete(1)
        successor = self.broker(broker_id=2, fencing=self.fencing)
        with capturedLogs() as logged:
            for _ in range(3):
                self.claim(successor)
                self.assertEqual(successor.log.led(), (OTHER,))
                successor.run(REFUSED_SECONDS)
        (line,) = [each for each in logged if each["log_level"] >= LogLevel.error]
        self.assertIn(self.key(1), line["why"])
        self.assertIn("cannot lead orders-0, while other partitions", formatEvent(line))
        self.assertIsNone(self.shared.value(metadata_keys.seal(self.writer.incarnation)))
        now(self.shared.objects.create(self.key(1), [data]))
        self.claim(successor)
        self.assertEqual(self.read_all(successor), [b"0", b"1", b"2", b"3"])

    def test_read_once_a_minute(self) -> None:
        """
        Claims that are tried each second do not read the damaged journal each
        time.
        """
        self.delete(1)
        read: list[str] = []

        def policy(operation: Operation) -> Verdict | None:
            if "/journal/" in operation.key and f"/{self.writer.incarnation}/" in operation.key:
                read.append(operation.kind)
            return let_pass(operation)

        successor = self.broker(broker_id=2, policy=policy, fencing=self.fencing)
        self.claim(successor)
        first = len(read)
        self.assertGreater(first, 0)
        for _ in range(int(REFUSED_SECONDS) - 1):
            self.claim(successor)
        self.assertEqual(len(read), first)
        successor.run()
        self.claim(successor)
        self.assertEqual(len(read), 2 * first)

    def test_a_start_beside_it(self) -> None:
        """
        A broker that starts, or comes back after a fence, leaves out what the
        journal of another does not have, and claims it later.
        """
        data = now(self.shared.objects.get(self.key(1)))
        self.delete(1)
        successor = self.leader([WHERE, OTHER], broker_id=2, fencing=self.fencing)
        self.assertEqual(successor.log.led(), (OTHER,))
        successor.log.fence()
        successor.log.begin(self.shared.register(2, self.fencing))
        recovering = successor.recover([WHERE, OTHER])
        successor.run()
        self.successResultOf(recovering)
        self.assertEqual(successor.log.led(), (OTHER,))
        self.assertIsNone(self.shared.value(metadata_keys.seal(self.writer.incarnation)))
        now(self.shared.objects.create(self.key(1), [data]))
        successor.run(REFUSED_SECONDS)
        self.claim(successor)
        self.assertEqual(self.read_all(successor), [b"0", b"1", b"2", b"3"])

    def test_a_start_beside_changed_records(self) -> None:
        """
        The same if the slot is there, and its records were changed.
        """
        data = bytearray(now(self.shared.objects.get(self.key(1))))
        data[20] ^= 1
        before = self.replace(1, bytes(data))
        successor = self.leader([WHERE, OTHER], broker_id=2, fencing=self.fencing)
        self.assertEqual(successor.log.led(), (OTHER,))
        self.replace(1, before)
        successor.run(REFUSED_SECONDS)
        self.claim(successor)
        self.assertEqual(self.read_all(successor), [b"0", b"1", b"2", b"3"])

    def test_a_start_after_a_takeover(self) -> None:
        """
        The same if the broker has led the partition meanwhile, and needs the
        journals of both.
        """

        def roll_nothing(operation: Operation) -> Verdict | None:
            fails = operation.kind == "create" and "/journal/" not in operation.key
            return Verdict.FAIL if fails else let_pass(operation)

        second = self.broker(broker_id=2, policy=roll_nothing, fencing=self.fencing)
        self.claim(second)
        second.crash()
        self.assertEqual((self.shared.record().leader, self.shared.record().rolled_to), (2, 0))
        self.delete(1)
        third = self.leader([WHERE, OTHER], broker_id=2, fencing=self.fencing)
        self.assertEqual(third.log.led(), (OTHER,))
        self.assertEqual(self.shared.record().leader, 2)

    def test_26_a_slot_is_damaged(self) -> None:
        """
        A slot that cannot be read is as one that is missing.
        """
        for data in self.damaged(1):
            self.setUp()
            before = self.replace(1, data)
            slots = [self.key(number) for number in range(4)]
            with capturedLogs() as logged:
                successor = self.leader([WHERE, OTHER], broker_id=2, fencing=self.fencing)
                self.assertEqual(successor.log.led(), (OTHER,))
                successor.run(REFUSED_SECONDS)
                self.claim(successor)
            self.assertEqual(successor.log.led(), (OTHER,))
            (line,) = [each for each in logged if each["log_level"] >= LogLevel.error]
            self.assertIn(self.key(1), line["why"])
            self.assertIn(self.key(1), str(self.failureResultOf(self.recover(), CorruptLog).value))
            self.assert_not_sealed()
            self.assertEqual(set(slots) - set(self.shared.keys()), set())
            self.replace(1, before)
            successor.run(REFUSED_SECONDS)
            self.claim(successor)
            self.assertEqual(self.read_all(successor), [b"0", b"1", b"2", b"3"])

    def test_damaged_for_long(self) -> None:
        """
        Attempts at a damaged journal leave no object each, only the first one does.
        """
        for data in self.damaged(1):
            self.setUp()
            self.replace(1, data)
            successor = self.broker(broker_id=2, fencing=self.fencing)
            self.claim(successor)
            keys = self.shared.keys()
            for _ in range(3):
                successor.run(REFUSED_SECONDS)
                self.claim(successor)
            self.assertEqual(successor.log.led(), (OTHER,))
            self.assertEqual(self.shared.keys(), keys)

    def test_damaged_past_the_end(self) -> None:
        """
        A journal is wound up although an object past its end cannot be read. The
        object stays, because it may have been a seal.
        """
        for data in self.damaged(3):
            self.setUp()
            now(self.shared.objects.create(self.key(9), [data]))
            self.assertEqual(self.read_all(self.leader(fencing=self.fencing))[-1], b"3")
            keys = self.shared.keys()
            self.assertEqual([n for n in range(10) if self.key(n) in keys and n != 4], [9])
            record = self.shared.value(metadata_keys.incarnation(self.writer.incarnation))
            self.assertTrue(record["wound_up"])

    def test_leftovers_of_others(self) -> None:
        """
        The leftovers of one broker whose journal is damaged stay. Those of a
        later incarnation are deleted.
        """
        other = self.leader([OTHER], broker_id=3, fencing=self.fencing)
        other.crash()
        before = self.replace(1, self.damaged(1)[0])
        successor = self.broker(broker_id=2, fencing=self.fencing)
        with capturedLogs() as logged:
            self.clear_up(successor)
        (line,) = [each for each in logged if each["log_level"] >= LogLevel.error]
        self.assertEqual((line["number"], line["broker_id"]), (self.writer.incarnation, 1))
        self.assertIn(self.key(1), str(line["why"]))
        record = self.shared.value(metadata_keys.incarnation(other.incarnation))
        self.assertTrue(record["wound_up"])
        self.assert_not_sealed()
        self.replace(1, before)
        self.clear_up(successor)
        sealed = self.shared.value(metadata_keys.seal(self.writer.incarnation))
        self.assertEqual(sealed["sealed_at"], 4)
        self.assertEqual(self.shared.slots(self.writer.incarnation), [0, 1, 2, 3])

    def clear_up(self, successor: Broker) -> None:
        """
        Let a broker clear up what others have left.
        """
        clearing = begin(successor.log.clear_up(everybody_is_gone))
        successor.run()
        self.successResultOf(clearing)

    def test_a_gap_within_the_window(self) -> None:
        """
        A slot that nothing shows to have been acknowledged may be missing: it
        was under way with those after it.
        """
        writer = self.writer = self.leader(**EACH, fencing=self.fencing)
        writer.append(b"0")
        writer.run(2 * FIRST_SECONDS)
        for _ in range(WINDOW):
            writer.append(b"1")
        writer.crash()
        self.delete(1)
        self.assertEqual(self.read_all(self.leader(fencing=self.fencing))[-1], b"0")

    def test_a_writer_that_trims(self) -> None:
        """
        Slots that the writer trims while a successor looks for them are not
        missing.
        """
        writer = self.writer = self.leader(**EACH, fencing=self.fencing)
        for number in range(3):
            writer.append(b"%d" % number)
        writer.run(2 * FIRST_SECONDS)
        successor = self.broker(policy=hold("list", "/journal/"), fencing=self.fencing)
        recovering = successor.recover()
        while not successor.pending("list", f"/{writer.incarnation}/"):
            successor.settle()
        rolling = begin(writer.roll(writer.partition()))
        writer.run()
        self.successResultOf(rolling)
        self.assertEqual(self.shared.slots(writer.incarnation), [])
        successor.obey(let_pass)
        successor.run(10)
        self.successResultOf(recovering)
        self.assertEqual(self.read_all(successor)[-3:], [b"0", b"1", b"2"])

    def stored(self) -> int:
        """
        The number that the writer has recorded.
        """
        return int(self.shared.value(metadata_keys.journal(self.writer.incarnation))["stored"])


class MarkedTests(VanishedTests):
    """
    The same where a mark stops the writer.
    """

    fencing = "metadata"


class SegmentTests(BrokerTestCase):
    """
    Segments that the partition's record names are missing.
    """

    def setUp(self) -> None:
        """
        A partition has three segments, and was recovered.
        """
        super().setUp()
        broker = self.leader(**EACH)
        for number in range(3):
            broker.append(b"%d" % number)
            rolling = begin(broker.roll(broker.partition()))
            broker.run()
            self.successResultOf(rolling)
        broker.crash()
        self.assertEqual(self.shared.segments(), [0, 1, 2])

    def lose(self, base: int) -> Broker:
        """
        Delete a segment; return the next leader.
        """
        prefix = object_keys.partition("default", *WHERE)
        now(self.shared.objects.delete([object_keys.segment(prefix, base)]))
        broker = self.leader(**EACH)
        self.before = self.shared.record(), self.shared.segments()
        return broker

    def assert_fails(self, broker: Broker, asked: Any) -> Failure:
        """
        The request fails as when a store fails, and nothing is changed.
        """
        done = begin(asked)
        broker.run()
        failure = self.failureResultOf(done, KafkaStorageError)
        self.flushLoggedErrors()
        self.assertEqual((self.shared.record(), self.shared.segments()), self.before)
        return failure

    def test_reads(self) -> None:
        """
        Reads of its records fail, and are not answered with later ones.
        """
        for base in range(3):
            self.setUp()
            broker = self.lose(base)
            partition = broker.log.partition(*WHERE)
            self.assertEqual((partition.log_start, partition.high_watermark), (0, 3))
            self.assert_fails(broker, partition.load(base, 1 << 20, True))

    def test_produce(self) -> None:
        """
        Without the newest one nothing is appended: it has the states of the
        producers.
        """
        broker = self.lose(2)
        opening = broker.log.partition(*WHERE).opened()
        broker.run()
        self.failureResultOf(opening, KafkaStorageError)

    def test_delete_records(self) -> None:
        """
        The log start does not move into a segment that is missing.
        """
        broker = self.lose(1)
        partition = broker.log.partition(*WHERE)
        self.assert_fails(broker, broker.log.incarnation.move_start(partition, 1))

    def test_retention(self) -> None:
        """
        Retention deletes nothing, as it cannot know what is old.
        """
        for base in (0, 1):
            self.setUp()
            broker = self.lose(base)
            broker.clock.advance(1000)
            broker.configure(retention_ms=1)
            broker.run(1000)
            self.assertEqual((self.shared.record(), self.shared.segments()), self.before)
            self.flushLoggedErrors()
        self.setUp()
        broker = self.leader(**EACH)
        broker.clock.advance(1000)
        broker.configure(retention_ms=1)
        broker.run(1000)
        self.assertEqual(self.shared.segments(), [2])  # with all of them it does

    def test_sweep(self) -> None:
        """
        The other segments are no orphans.
        """
        broker = self.lose(1)
        broker.run(3 * 3600)
        self.assertEqual((self.shared.record(), self.shared.segments()), self.before)


class StoredSlotsTests(SynchronousTestCase):
    """
    L{StoredSlots} by itself.
    """

    def setUp(self) -> None:
        """
        No slot is stored yet.
        """
        self.clock = Clock()
        self.inner = SQLiteMetadataStore(":memory:", at_once)
        record = Put(metadata_keys.incarnation(5), {"broker": 1, "trim": 0})
        now(self.inner.commit([], [record]))
        self.metadata = HostileMetadataStore(self.inner, let_pass)
        self.stored = StoredSlots(self.metadata, self.clock, 5)

    def recorded(self) -> int:
        """
        The number that is recorded; 0 if there is none.
        """
        entry = now(self.inner.get(metadata_keys.journal(5)))
        return 0 if entry is None else int(entry.value["stored"])

    def test_now_and_then(self) -> None:
        """
        The first slots are recorded soon, later ones at an interval, and
        nothing without a slot.
        """
        self.stored.acknowledged(0)
        self.stored.acknowledged(1)
        self.assertEqual(self.recorded(), 0)
        self.clock.advance(FIRST_SECONDS)
        self.assertEqual(self.recorded(), 2)
        self.stored.acknowledged(2)
        self.clock.advance(SECONDS - 1)
        self.stored.acknowledged(3)
        self.assertEqual(self.recorded(), 2)
        self.clock.advance(1)
        self.assertEqual(self.recorded(), 4)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """
        A stop records the last number, once.
        """
        for number in range(3):
            self.stored.acknowledged(number)
        now(self.stored.stop())
        self.assertEqual(self.recorded(), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        revision = now(self.inner.range(""))[1]
        now(self.stored.stop())
        self.assertEqual(now(self.inner.range(""))[1], revision)

    def test_stop_without_the_store(self) -> None:
        """
        A store that does not answer does not hold up a stop.
        """
        self.stored.acknowledged(0)
        self.metadata.policy = lambda operation: Verdict.FAIL
        now(self.stored.stop())
        self.assertEqual(self.recorded(), 0)

    def test_unknown_outcome(self) -> None:
        """
        A commit whose answer was lost is read back.
        """
        lost: list[Operation] = []

        def lose(operation: Operation) -> Verdict | None:
            if operation.kind == "commit" and not lost:
                lost.append(operation)
                return Verdict.FAIL_BUT_APPLY
            return let_pass(operation)

        self.metadata.policy = lose
        self.stored.acknowledged(0)
        self.clock.advance(FIRST_SECONDS)
        self.stored.acknowledged(1)
        self.clock.advance(SECONDS)
        self.assertEqual((len(lost), self.recorded()), (1, 2))

    def test_27_not_without_the_incarnation(self) -> None:
        """
        Nothing is recorded of an incarnation whose record is gone.
        """
        now(self.inner.commit([], [Delete(metadata_keys.incarnation(5))]))
        self.stored.acknowledged(0)
        self.clock.advance(FIRST_SECONDS)
        self.assertEqual(self.recorded(), 0)
        now(self.stored.stop())
        self.assertEqual(self.recorded(), 0)

    def test_deleted(self) -> None:
        """
        An entry that was deleted is not made again: the loss was accepted.
        """
        self.stored.acknowledged(0)
        self.clock.advance(FIRST_SECONDS)
        now(self.inner.commit([], [Delete(metadata_keys.journal(5))]))
        self.stored.acknowledged(1)
        self.clock.advance(SECONDS)
        self.assertEqual(self.recorded(), 0)
        now(self.stored.stop())
        self.assertEqual(self.recorded(), 0)
