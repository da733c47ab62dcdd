"""
The rules of the log, one by one, by their numbers in docs/architecture.md.

Each test fails when its rule is taken away. Rules 17 and 18, about releasing a
partition, are in `tests.log.rolling.test_releasing`; rule 22, about
coordinators, in `tests.group.test_shard`; rule 23, about brokers that read a
partition which they do not lead, in `tests.log.replicas.test_replicas`; rule
24, about stores that do not belong together, in `tests.store.test_identity`; rule
25, about new producers, in `tests.log.partition.test_new_producers`; rule
26, about objects that were deleted, in `tests.log.takeover.test_vanished` and in
the tests of the journal. Rule 27 is here for incarnations that sleep until their
records are gone, and in `tests.log.retention.test_incarnations` for when they go.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kafscale.errors import NotLeaderOrFollower
from kafscale.format import metadata_keys, object_keys
from kafscale.format.epochs import Epochs
from kafscale.format.segment import write_footer
from kafscale.interfaces import Put
from kafscale.log.takeover.sealing import BARRIER, JournalExtent, seal
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict, hold, let_pass
from tests.log.brokers import EACH, WHERE, Broker, BrokerTestCase, append_to, batch


class RuleTestCase(BrokerTestCase):
    """
    Helpers for tests of the rules.
    """

    def numbers(self, broker: Broker) -> list[int]:
        """
        Return the numbers of the slots that a broker is creating.
        """
        return [
            object_keys.slot_number(operation.key)
            for operation in broker.pending("create", "/journal/")
        ]

    def create(self, broker: Broker, number: int) -> None:
        """
        Let the creation of one slot succeed.
        """
        for operation in broker.pending("create", "/journal/"):
            if object_keys.slot_number(operation.key) == number:
                operation.succeed()

    def sealed(self, incarnation: int) -> int | None:
        """
        Return the recorded end of an incarnation's journal; None if there is
        none.
        """
        value = self.shared.value(metadata_keys.seal(incarnation))
        return None if value is None else int(value["sealed_at"])

    def trim(self, incarnation: int) -> int:
        """
        Return an incarnation's trim mark.
        """
        return int(self.shared.value(metadata_keys.incarnation(incarnation))["trim"])

    def seal(self, broker: Broker) -> JournalExtent:
        """
        Seal a broker's journal, and do nothing more.
        """
        number = self.shared.register(9)
        shared = self.shared
        return now(seal(shared.objects, shared.metadata, "default", broker.incarnation, number))

    def roll(self, broker: Broker) -> Any:
        """
        Roll the first partition now.
        """
        return begin(broker.roll(broker.partition()))


class AcknowledgingTests(RuleTestCase):
    """
    Rules 1 and 2.
    """

    def test_01_only_the_contiguous_prefix_is_acknowledged_and_shown(self) -> None:
        """
        Slot 1 is durable and slot 0 is not: neither is acknowledged or visible,
        and a successor finds neither.
        """
        broker = self.leader(**EACH)
        broker.obey(None)
        first = broker.append(b"0").settled
        second = broker.append(b"1").settled
        assert first is not None and second is not None
        told = first.wait(), second.wait()
        self.create(broker, 1)
        self.assertNoResult(told[0])
        self.assertNoResult(told[1])
        self.assertEqual(broker.partition().high_watermark, 0)
        self.assertEqual(broker.partition().available(0), 0)
        self.create(broker, 0)
        self.successResultOf(told[0])
        self.successResultOf(told[1])
        self.assertEqual(self.read_all(broker), [b"0", b"1"])

    def test_02_who_meets_a_seal_acknowledges_nothing_more(self) -> None:
        """
        A successor's seal is at slot 0: slot 0 and later slots are refused,
        though they are stored.
        """
        broker = self.leader(**EACH)
        partition = broker.partition()
        broker.obey(None)
        told = []
        for value in (b"0", b"1"):
            settled = broker.append(value).settled
            assert settled is not None
            told.append(settled.wait())
        self.seal(broker)
        broker.obey(hold("create", "/journal/"))
        self.create(broker, 1)
        self.create(broker, 0)
        for answer in told:
            self.failureResultOf(answer, NotLeaderOrFollower)
        self.assertTrue(broker.fenced)
        self.assertEqual(partition.high_watermark, 0)
        self.assertRaises(NotLeaderOrFollower, partition.read, 0, 1, True)

    def test_02_who_finds_itself_sealed_at_a_commit_acknowledges_nothing_more(self) -> None:
        """
        A broker that finds no seal learns from a commit on a partition's record
        that it was replaced.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        broker.settle()
        self.seal(broker)
        broker.obey(hold("create", "/journal/"))
        settled = broker.append(b"1").settled
        assert settled is not None
        told = settled.wait()
        self.failureResultOf(self.roll(broker), NotLeaderOrFollower)
        self.assertTrue(broker.fenced)
        self.create(broker, 1)
        self.failureResultOf(told, NotLeaderOrFollower)


class SealingTests(RuleTestCase):
    """
    Rules 3 to 6.
    """

    def test_03_a_busy_writer_runs_into_the_barrier(self) -> None:
        """
        Whenever the sealer would seal a slot, the writer has just written it.
        The barrier ends that.
        """
        writer = self.leader(**EACH)
        written = 0

        def racing(operation: Operation) -> Verdict:
            nonlocal written
            if operation.kind == "create" and not writer.fenced and written < 100:
                writer.append(b"%d" % written)
                written += 1
            return Verdict.SUCCEED

        sealer = self.broker(policy=racing)
        self.successResultOf(sealer.recover())
        self.assertTrue(writer.fenced)
        self.assertLess(written, BARRIER + 5)
        values = self.read_all(sealer)
        self.assertEqual(values, [b"%d" % number for number in range(len(values))])
        self.assertGreaterEqual(len(values), written - 1)

    def test_03_a_writer_that_is_past_the_barrier_already(self) -> None:
        """
        More slots are under way than the barrier is ahead: another barrier is
        put, farther ahead.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        values = [b"%d" % number for number in range(1, 2 * BARRIER)]

        def busy(operation: Operation) -> Verdict:
            while operation.kind == "create" and values:
                writer.append(values.pop(0))
            return Verdict.SUCCEED

        sealer = self.broker(policy=busy)
        self.successResultOf(sealer.recover())
        end, barrier = self.shared.seals(writer.incarnation)
        self.assertEqual((end, barrier), (2 * BARRIER, 2 * BARRIER - 1 + 2 * BARRIER))
        self.assertEqual(len(self.read_all(sealer)), 2 * BARRIER)

    def test_03_the_lowest_missing_slot_is_sealed(self) -> None:
        """
        Slots below it count, and slots above it do not.
        """
        writer = self.leader(**EACH)
        writer.obey(None)
        for value in (b"0", b"1", b"2", b"3"):
            writer.append(value)
        for number in (0, 1, 3):
            self.create(writer, number)
        writer.crash()
        successor = self.leader()
        self.assertEqual(self.sealed(writer.incarnation), 2)
        self.assertIn(2, self.shared.seals(writer.incarnation))
        self.assertEqual(self.read_all(successor), [b"0", b"1"])

    def test_03_a_seal_met_on_the_way_is_adopted(self) -> None:
        """
        A sealer died after it had put the seal, before it recorded the end. The
        next one ends the journal at the same seal, and puts no other.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        first = self.broker(policy=hold("commit", metadata_keys.SEALS))
        first.recover()
        first.crash()
        self.assertIn(1, self.shared.seals(writer.incarnation))
        self.assertEqual(self.seal(writer).sealed_at, 1)
        # The first one's barrier stops the writer as well as another would.
        self.assertEqual(self.shared.seals(writer.incarnation), [1, BARRIER])

    def test_04_after_the_seal_the_trim_mark_is_read_again(self) -> None:
        """
        While a sealer walks, the writer trims past it. A seal in place of a
        deleted slot stops nothing, so the sealer starts over.
        """
        writer = self.leader(**EACH)
        for number in range(3):
            writer.append(b"%d" % number)
        sealer = self.broker(policy=hold("get_suffix", "/journal/"))
        recovering = sealer.recover()
        writer.run()
        self.successResultOf(self.roll(writer))
        self.assertEqual(self.trim(writer.incarnation), 3)
        writer.append(b"3")
        writer.settle()
        sealer.run()
        self.successResultOf(recovering)
        self.assertEqual(self.sealed(writer.incarnation), 4)
        self.assertEqual(self.read_all(sealer), [b"0", b"1", b"2", b"3"])

    def test_05_what_is_recorded_first_is_the_end(self) -> None:
        """
        A recorded end is taken as it is, whatever slots and seals are in the
        journal, and is never changed.
        """
        writer = self.leader(**EACH)
        for number in range(3):
            writer.append(b"%d" % number)
        writer.crash()
        key = metadata_keys.seal(writer.incarnation)
        now(self.shared.metadata.commit([], [Put(key, {"sealed_at": 2, "by": 77})]))
        successor = self.leader()
        self.assertEqual(self.shared.value(key), {"sealed_at": 2, "by": 77})
        self.assertEqual(self.read_all(successor), [b"0", b"1"])

    def test_05_the_end_is_committed_only_if_absent(self) -> None:
        """
        Of two that seal at once, the one that records later takes the end that
        the other has recorded.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        late = self.broker(policy=hold("commit", metadata_keys.SEALS))
        late.recover()
        early = self.seal(writer)
        before = self.shared.value(metadata_keys.seal(writer.incarnation))
        late.run()
        self.assertEqual(self.shared.value(metadata_keys.seal(writer.incarnation)), before)
        self.assertEqual(self.sealed(writer.incarnation), early.sealed_at)
        self.assertEqual(self.read_all(late), [b"0"])

    def test_06_no_claim_before_the_end_is_recorded(self) -> None:
        """
        While it is unknown whether the end is recorded, no partition is claimed.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        successor = self.broker(policy=hold("commit", metadata_keys.SEALS))
        recovering = successor.recover()
        self.assertEqual(self.shared.record().incarnation, writer.incarnation)
        self.assertNoResult(recovering)
        [operation] = successor.pending("commit")
        successor.obey(hold("commit", metadata_keys.PARTITIONS))
        operation.fail()
        successor.clock.advance(0.1)
        self.assertEqual(len(successor.pending("commit", metadata_keys.PARTITIONS)), 1)
        self.assertEqual(self.sealed(writer.incarnation), 1)


class TrimmingTests(RuleTestCase):
    """
    Rules 7 to 10.
    """

    def test_07_a_sealed_incarnation_does_not_trim(self) -> None:
        """
        The commit of the trim mark compares that no end is recorded.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        broker.obey(hold("commit", metadata_keys.INCARNATIONS))
        self.roll(broker)
        self.seal(broker)
        broker.settle()
        self.assertEqual(self.trim(broker.incarnation), 0)
        self.assertEqual(self.shared.slots(broker.incarnation), [0])
        self.assertTrue(broker.fenced)

    def test_07_trim_never_passes_what_is_acknowledged(self) -> None:
        """
        A slot that is under way is not trimmed, nor are later ones.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        broker.obey(hold("create", "/journal/"))
        broker.append(b"1")
        broker.append(b"2")
        self.create(broker, 2)
        self.successResultOf(self.roll(broker))
        self.assertEqual(self.trim(broker.incarnation), 1)

    def test_07_who_is_fenced_trims_no_more(self) -> None:
        """
        A fenced broker's partitions are dropped and need no slots, but its
        successor does, whether it has recorded the end yet or not.
        """
        other = (WHERE[0], 1)
        broker = self.leader([WHERE, other], **EACH)
        broker.append(b"0")
        broker.log.partition(*other).opened()
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        rolling = self.roll(broker)
        broker.append(b"1")
        broker.journal.fence()
        broker.settle()
        broker.run()
        self.successResultOf(rolling)
        self.assertEqual(self.trim(broker.incarnation), 0)
        self.assertEqual(self.shared.slots(broker.incarnation), [0, 1])
        self.assertEqual(self.read_all(self.leader()), [b"0", b"1"])

    def test_07_who_is_fenced_while_it_trims_goes_no_further(self) -> None:
        """
        The new trim mark is the one from before the first wait.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        broker.obey(hold("get", metadata_keys.INCARNATIONS))
        self.successResultOf(self.roll(broker))
        broker.append(b"1")
        broker.journal.fence()
        broker.settle()
        self.assertEqual(self.trim(broker.incarnation), 1)
        self.assertEqual(self.read_all(self.leader()), [b"0", b"1"])

    def test_08_only_what_is_committed_as_rolled_is_rolled(self) -> None:
        """
        The segment exists, but C{rolled_to} is not committed: the journal keeps
        the records.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        rolling = self.roll(broker)
        self.assertEqual(self.shared.segments(), [0])
        broker.log.incarnation.trimmer.kick()
        self.assertEqual(broker.journal.trimmable, 0)
        self.assertEqual(self.trim(broker.incarnation), 0)
        broker.settle()
        self.successResultOf(rolling)
        self.assertEqual(self.trim(broker.incarnation), 1)

    def test_09_slots_are_deleted_under_a_trim_mark_known_to_be_committed(self) -> None:
        """
        While the outcome of the commit is unknown nothing is deleted, even after
        it has failed.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        broker.obey(hold("commit", metadata_keys.INCARNATIONS))
        self.roll(broker)
        [commit] = broker.pending("commit")
        self.assertEqual(self.shared.slots(broker.incarnation), [0])
        commit.fail()
        broker.clock.advance(0.1)
        self.assertEqual(self.shared.slots(broker.incarnation), [0])
        [commit] = broker.pending("commit")
        commit.fail_but_apply()
        self.assertEqual(self.shared.slots(broker.incarnation), [0])
        broker.clock.advance(0.1)
        self.assertEqual(self.trim(broker.incarnation), 1)
        self.assertEqual(self.shared.slots(broker.incarnation), [])

    def test_09_a_predecessors_slots_too(self) -> None:
        """
        A successor deletes a sealed journal's slots after its trim mark is known
        to be committed.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.crash()
        successor = self.broker(policy=hold("commit", metadata_keys.INCARNATIONS))
        successor.recover()
        successor.pending("commit")[0].fail()
        successor.clock.advance(0.1)
        self.assertEqual(self.trim(writer.incarnation), 0)
        self.assertEqual(self.shared.slots(writer.incarnation), [0])
        successor.run()
        self.assertEqual(self.trim(writer.incarnation), 1)
        self.assertEqual(self.shared.slots(writer.incarnation), [])

    def test_10_slots_below_the_trim_mark_and_past_the_end_are_garbage_and_seals_never(
        self,
    ) -> None:
        """
        When the slots of a sealed journal are deleted, its seals stay.
        """
        writer = self.leader(**EACH)
        writer.obey(None)
        for number in range(4):
            writer.append(b"%d" % number)
        for number in (0, 1, 3):
            self.create(writer, number)
        writer.crash()
        self.leader()
        self.assertEqual(self.shared.slots(writer.incarnation), [])
        self.assertEqual(self.shared.seals(writer.incarnation), [2, 3 + BARRIER])

    def test_10_a_segment_past_rolled_to_is_no_orphan(self) -> None:
        """
        A segment past C{rolled_to} may be committed at any moment: moving the
        log start leaves it alone.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        self.successResultOf(self.roll(broker))
        broker.append(b"1")
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        rolling = self.roll(broker)
        self.assertEqual(self.shared.segments(), [0, 1])
        gone = now(broker.partition().segments.objects_before(0))
        self.assertEqual(gone, [])
        broker.settle()
        self.successResultOf(rolling)
        gone = now(broker.partition().segments.objects_before(1))
        self.assertEqual([object_keys.segment_base(info.key) for info in gone], [0])


class RecordTests(RuleTestCase):
    """
    Rules 11 to 13.
    """

    def test_11_every_commit_compares_the_revision(self) -> None:
        """
        Another writer has changed the record, with the same leader and epoch. A
        broker that has read it before does not overwrite that.
        """
        for change in ("roll", "move"):
            broker = self.leader(**EACH)
            broker.append(b"0")
            broker.append(b"1")
            if change == "move":
                self.successResultOf(self.roll(broker))
            key = metadata_keys.partition(*WHERE)
            touched = {**self.shared.value(key), "stored_bytes": 12345}
            now(self.shared.metadata.commit([], [Put(key, touched)]))
            if change == "roll":
                self.failureResultOf(self.roll(broker), NotLeaderOrFollower)
            else:
                self.failureResultOf(
                    begin(broker.partition().delete_before(1)), NotLeaderOrFollower
                )
            self.assertEqual(self.shared.value(key), touched)
            self.assertTrue(broker.fenced)

    def test_12_a_claim_compares_the_revision_that_recovery_began_from(self) -> None:
        """
        Two successors recover. The one that claims later recovers again, and so
        finds what the other has acknowledged meanwhile.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        slow = self.broker(policy=hold("commit", metadata_keys.PARTITIONS))
        recovering = slow.recover()
        quick = self.leader(broker_id=2, **EACH)
        appended = quick.append(b"1")
        assert appended.settled is not None
        quick.settle()
        self.successResultOf(appended.settled.wait())
        slow.run()
        self.successResultOf(recovering)
        self.assertEqual(self.read_all(slow), [b"0", b"1"])
        refused = quick.append(b"2").settled
        assert refused is not None
        self.failureResultOf(refused.wait(), NotLeaderOrFollower)

    def test_12_who_is_sealed_claims_nothing(self) -> None:
        """
        A claim compares that the claiming incarnation's own end is not recorded.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        successor = self.broker(policy=hold("commit", metadata_keys.PARTITIONS))
        recovering = successor.recover()
        before = self.shared.record()
        self.seal(successor)
        successor.run()
        self.assertEqual(self.shared.record(), before)
        self.assertTrue(successor.fenced)
        self.successResultOf(recovering)
        self.assertRaises(NotLeaderOrFollower, successor.log.partition, *WHERE)

    def test_13_the_record_names_every_journal_with_unrolled_records(self) -> None:
        """
        A successor that dies before it has rolled what it inherited leaves two
        journals. The next one reads both.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        middle = self.broker(policy=hold("create", "/topics/"), **EACH)
        middle.recover()
        middle.append(b"1")
        self.assertEqual(
            self.shared.record().journals, ((writer.incarnation, 0), (middle.incarnation, 1))
        )
        middle.crash()
        last = self.leader()
        self.assertEqual(self.read_all(last), [b"0", b"1"])
        self.assertEqual(self.shared.record().journals, ((last.incarnation, 2),))

    def test_13_ranges_of_other_journals_do_not_count(self) -> None:
        """
        A journal that the record does not name holds nothing of the partition.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.crash()
        key = metadata_keys.partition(*WHERE)
        record = {**self.shared.value(key), "journals": [[writer.incarnation, 7]]}
        now(self.shared.metadata.commit([], [Put(key, record)]))
        self.assertEqual(self.read_all(self.leader()), [])


class SegmentTests(RuleTestCase):
    """
    Rules 14 to 16.
    """

    def test_14_only_records_below_the_high_watermark_are_rolled(self) -> None:
        """
        Records that are not acknowledged may never become durable.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        broker.obey(hold("create", "/journal/"))
        broker.append(b"1")
        self.successResultOf(self.roll(broker))
        self.assertEqual(self.shared.record().rolled_to, 1)

    def test_15_the_chain_goes_on_from_the_end_of_a_segment_that_exists(self) -> None:
        """
        An earlier leader has written a segment of two records and not committed
        it. The next segment begins after it.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.append(b"1")
        writer.obey(hold("commit", metadata_keys.PARTITIONS))
        self.roll(writer)
        writer.append(b"2")
        writer.crash()
        successor = self.leader()
        self.assertEqual(self.shared.segments(), [0, 2])
        self.assertEqual(self.shared.record().rolled_to, 3)
        self.assertEqual(self.read_all(successor), [b"0", b"1", b"2"])

    def test_15_who_would_adopt_past_its_high_watermark_is_fenced(self) -> None:
        """
        Only a successor can have written a segment past the high watermark.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        other = self.leader([(WHERE[0], 1)], broker_id=2)
        appended = [b"".join(fetched) for fetched in self._batches(other, 2)]
        footer = write_footer(appended, Epochs(((0, 0),)), b"")
        key = broker.partition().segments.key(0)
        now(self.shared.objects.create(key, [*appended, footer]))
        self.failureResultOf(self.roll(broker), NotLeaderOrFollower)
        self.assertTrue(broker.fenced)
        self.assertEqual(self.shared.record().rolled_to, 0)

    def _batches(self, broker: Broker, number: int) -> list[tuple[bytes, ...]]:
        partition = broker.log.partition(WHERE[0], 1)
        partition.opened()
        for value in range(number):
            append_to(partition, batch(b"%d" % value))
        broker.run()
        return [(piece,) for piece in partition.tail.from_offset(0)]

    def test_16_rolled_to_is_committed_after_the_segment_exists(self) -> None:
        """
        Nothing is committed while the segment is being written.
        """
        broker = self.leader(**EACH)
        broker.append(b"0")
        broker.obey(hold("create", "/topics/"))
        self.roll(broker)
        self.assertEqual(self.shared.record().rolled_to, 0)
        self.assertEqual(broker.pending("commit"), [])
        broker.pending("create")[0].fail()
        self.assertEqual(self.shared.record().rolled_to, 0)
        broker.run()
        self.assertEqual(self.shared.segments(), [0])
        self.assertEqual(self.shared.record().rolled_to, 1)


class LogStartTests(RuleTestCase):
    """
    Rules 19 to 21.
    """

    def setUp(self) -> None:
        """
        Write three segments of one record each.
        """
        super().setUp()
        self.broker_ = self.leader(**EACH)
        for number in range(3):
            self.broker_.append(b"%d" % number)
            self.successResultOf(self.roll(self.broker_))

    def test_19_log_start_is_committed_before_anything_is_deleted(self) -> None:
        """
        It is also committed before the request is answered.
        """
        broker = self.broker_
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        moving = begin(broker.partition().delete_before(2))
        self.assertEqual(self.shared.segments(), [0, 1, 2])
        self.assertNoResult(moving)
        self.assertEqual(broker.partition().log_start, 0)
        broker.obey(hold("delete", "/topics/"))
        broker.pending("commit")[0].succeed()
        self.assertEqual(self.shared.record().log_start, 2)
        broker.settle()
        self.assertEqual(self.successResultOf(moving), 2)
        self.assertEqual(self.shared.segments(), [2])

    def test_20_log_start_never_passes_rolled_to(self) -> None:
        """
        Deleting beyond C{rolled_to} rolls first.
        """
        broker = self.broker_
        broker.append(b"3")
        broker.append(b"4")
        seen = []

        def check(operation: Operation) -> Verdict:
            if operation.kind == "commit" and operation.key.startswith(metadata_keys.PARTITIONS):
                value = operation.arguments[1][0].value
                seen.append((value["rolled_to"], value["log_start"]))
            return Verdict.SUCCEED

        broker.obey(check)
        self.assertEqual(now(broker.partition().delete_before(4)), 4)
        self.assertEqual(seen, [(5, 0), (5, 4)])

    def test_20_the_listing_begins_at_the_segment_with_the_log_start(self) -> None:
        """
        The record keeps the base offset of that segment.
        """
        now(self.broker_.partition().delete_before(1))
        self.assertEqual(self.shared.record().first_segment, 1)
        self.broker_.crash()
        successor = self.leader()
        listed = []

        def note(operation: Operation) -> Verdict:
            if operation.kind == "list":
                listed.append(operation.arguments[1])
            return Verdict.SUCCEED

        successor.obey(note)
        self.assertEqual(self.read_all(successor), [b"1", b"2"])
        self.assertEqual(listed, [successor.partition().segments.key(0)])

    def test_21_the_newest_segment_stays(self) -> None:
        """
        It carries the end offset and the states of producers, even when none of
        its records is left.
        """
        broker = self.broker_
        original = broker.append(b"3", producer=5)
        self.successResultOf(self.roll(broker))
        self.assertEqual(now(broker.partition().delete_before(-1)), 4)
        self.assertEqual(self.shared.segments(), [3])
        broker.crash()
        successor = self.leader()
        partition = successor.partition()
        self.assertEqual((partition.log_start, partition.next_offset), (4, 4))
        again = successor.append(b"3", producer=5)
        self.assertEqual((again.base_offset, again.settled), (original.base_offset, None))
        self.assertEqual(successor.append(b"4").base_offset, 4)


class SleepingTests(RuleTestCase):
    """
    Rule 27: an incarnation sleeps until nothing is recorded of it any more.
    """

    def forget(self, sleeper: Broker, where: tuple[UUID, int] = WHERE) -> Broker:
        """
        A successor takes over, leads a partition, and deletes what is recorded of
        an incarnation; return it.
        """
        fencing = sleeper.environment.settings.fencing
        successor = self.leader([where], orphan_seconds=100.0, fencing=fencing, **EACH)
        successor.run(5.0)
        successor.clock.advance(100.0)
        successor.run()
        for key in (metadata_keys.incarnation, metadata_keys.seal, metadata_keys.journal):
            self.assertIsNone(self.shared.value(key(sleeper.incarnation)))
        return successor

    def wake(self, sleeper: Broker) -> None:
        """
        Let an incarnation go on.
        """
        sleeper.obey(let_pass)
        sleeper.run()

    def check_claim(self, fencing: str) -> None:
        """
        A claim that was about to be committed is not made. It would be by a
        leader whose journal no successor finds.
        """
        sleeper = self.broker(fencing=fencing, policy=hold("commit", metadata_keys.PARTITIONS))
        claiming = sleeper.recover()
        self.assertEqual(len(sleeper.pending("commit")), 1)
        self.forget(sleeper, (UUID(int=5), 0))
        self.wake(sleeper)
        self.successResultOf(claiming)
        self.assertTrue(sleeper.fenced)
        self.assertIsNone(self.shared.value(metadata_keys.partition(*WHERE)))
        self.assertEqual(self.read_all(self.leader(fencing=fencing)), [])

    def test_27_no_claim(self) -> None:
        """
        Where seals stop an incarnation.
        """
        self.check_claim("create")

    def test_27m_no_claim(self) -> None:
        """
        Where marks do.
        """
        self.check_claim("metadata")

    def check_append(self, fencing: str) -> None:
        """
        Nothing is acknowledged, and it is not seen.
        """
        sleeper = self.leader(fencing=fencing, **EACH)
        sleeper.append(b"0")
        sleeper.run(5.0)
        successor = self.forget(sleeper)
        settled = sleeper.append(b"1").settled
        assert settled is not None
        told = settled.wait()
        sleeper.run()
        self.failureResultOf(told, NotLeaderOrFollower)
        self.assertTrue(sleeper.fenced)
        self.assertEqual(self.read_all(successor), [b"0"])
        self.assertEqual(self.read_all(self.leader(fencing=fencing)), [b"0"])

    def test_27_no_acknowledgement(self) -> None:
        """
        The seal is still there.
        """
        self.check_append("create")

    def test_27m_no_acknowledgement(self) -> None:
        """
        The mark is not.
        """
        self.check_append("metadata")

    def check_trim(self, fencing: str) -> None:
        """
        Its trim mark does not come back.
        """
        sleeper = self.leader(fencing=fencing, **EACH)
        sleeper.append(b"0")
        sleeper.run(5.0)
        for held in ("get", "commit"):
            sleeper.obey(hold(held, metadata_keys.INCARNATIONS))
            self.roll(sleeper)
            self.assertEqual(len(sleeper.pending(held)), 1)
            self.forget(sleeper)
            self.wake(sleeper)
            self.assertTrue(sleeper.fenced)
            self.assertIsNone(self.shared.value(metadata_keys.incarnation(sleeper.incarnation)))
            sleeper = self.leader(fencing=fencing, **EACH)
            sleeper.append(b"1")
            sleeper.run(5.0)

    def test_27_no_trim(self) -> None:
        """
        Where seals stop it.
        """
        self.check_trim("create")

    def test_27m_no_trim(self) -> None:
        """
        Where marks do.
        """
        self.check_trim("metadata")

    def test_27m_no_mark_without_a_record(self) -> None:
        """
        A successor that sleeps before it marks a journal does not mark it when
        nothing is recorded of it any more.
        """
        writer = self.leader(fencing="metadata", **EACH)
        writer.append(b"0")
        writer.run(5.0)
        sleeper = self.broker(fencing="metadata", policy=hold("commit", metadata_keys.SEALS))
        recovering = sleeper.recover()
        self.assertEqual(len(sleeper.pending("commit")), 1)
        self.forget(writer)
        self.wake(sleeper)
        self.assertTrue(recovering.called)
        self.assertIsNone(self.shared.value(metadata_keys.seal(writer.incarnation)))
        self.assertEqual(self.read_all(self.leader(fencing="metadata")), [b"0"])
