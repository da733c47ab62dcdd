"""
Tests for L{kafscale.log.takeover.sealing}, L{kafscale.log.takeover.sealed_journals} and
L{kafscale.log.takeover.recovery}. The rules that they keep are tested in
L{tests.log.test_rules}.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs
from twisted.internet.defer import CancelledError, Deferred

from kafscale.format import metadata_keys, object_keys
from kafscale.format.slot import Seal
from kafscale.interfaces import Put
from kafscale.log.takeover import suffix_cache
from kafscale.log.takeover.sealing import (
    BARRIER,
    PARALLEL_READS,
    CorruptLog,
    read_slots,
    seal,
)
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict, hold, let_pass
from tests.log.brokers import EACH, TOPIC, WHERE, Broker, BrokerTestCase


class SealTests(BrokerTestCase):
    """
    The end of a journal.
    """

    def test_an_incarnation_without_slots(self) -> None:
        """
        The seal is at 0, and stops the writer.
        """
        writer = self.leader(**EACH)
        self.leader()
        self.assertEqual(self.shared.seals(writer.incarnation), [0, BARRIER - 1])
        settled = writer.append(b"0").settled
        assert settled is not None
        self.failureResultOf(settled.wait())
        self.assertTrue(writer.fenced)

    def test_no_such_incarnation(self) -> None:
        """
        An incarnation that was never registered is an error.
        """
        shared = self.shared
        sealing = begin(seal(shared.objects, shared.metadata, "default", 5000, 1))
        self.failureResultOf(sealing, LookupError)

    def test_more_slots_than_one_look(self) -> None:
        """
        The walk continues, window by window.
        """
        writer = self.leader(**EACH)
        for number in range(PARALLEL_READS * 2):
            writer.append(b"%d" % number)
        successor = self.leader()
        self.assertEqual(len(self.read_all(successor)), PARALLEL_READS * 2)

    def test_several_at_once_agree(self) -> None:
        """
        Sealers agree, whatever the order of their steps.
        """
        for turn in (1, -1):
            writer = self.leader(**EACH)
            writer.append(b"0")
            sealers = [self.broker(policy=None) for _ in range(3)]
            sealing = [
                begin(
                    seal(
                        each.objects,
                        each.metadata,
                        "default",
                        writer.incarnation,
                        each.incarnation,
                    )
                )
                for each in sealers
            ]
            while any(view.pending for each in sealers for view in each.views):
                for each in sealers[::turn]:
                    for view in each.views:
                        if view.pending:
                            view.pending[turn // 2].succeed()
            ends = {self.successResultOf(done).sealed_at for done in sealing}
            recorded = self.shared.value(metadata_keys.seal(writer.incarnation))["sealed_at"]
            self.assertEqual(ends, {recorded})
            self.assertIsInstance(self.shared.journal(writer.incarnation)[recorded], Seal)

    def test_a_slot_that_appears(self) -> None:
        """
        A slot that was missing during the walk exists when it is to be sealed: it
        counts.
        """
        writer = self.leader(**EACH)
        writer.obey(None)
        writer.append(b"0")
        sealer = self.broker(policy=hold("create", f"{0:020d}"))
        recovering = sealer.recover()
        writer.settle()
        sealer.run()
        self.successResultOf(recovering)
        self.assertEqual(self.read_all(sealer), [b"0"])


class CorruptTests(BrokerTestCase):
    """
    A log that something else has changed is not served.
    """

    def setUp(self) -> None:
        """
        A writer has died, with three slots that are not rolled.
        """
        super().setUp()
        self.writer = self.leader(**EACH)
        for number in range(3):
            self.writer.append(b"%d" % number)
        self.writer.crash()
        self.prefix = object_keys.journal("default", 1, self.writer.incarnation)

    def recover(self) -> Deferred[None]:
        """
        Start the recovery of a successor.
        """
        successor = self.broker()
        recovering = successor.recover()
        successor.run(30)
        return recovering

    def replace(self, number: int, data: bytes) -> None:
        """
        Change a slot.
        """
        key = object_keys.slot(self.prefix, number)
        now(self.shared.objects.delete([key]))
        now(self.shared.objects.create(key, [data]))

    def test_records_that_are_not_what_the_footer_says(self) -> None:
        """
        A bit of a batch's header has changed.
        """
        data = bytearray(now(self.shared.objects.get(object_keys.slot(self.prefix, 1))))
        data[20] ^= 1
        self.replace(1, bytes(data))
        self.failureResultOf(self.recover(), CorruptLog)

    def test_a_slot_that_is_missing(self) -> None:
        """
        The end is recorded, and a slot before it is missing.
        """
        key = metadata_keys.seal(self.writer.incarnation)
        now(self.shared.metadata.commit([], [Put(key, {"sealed_at": 3, "by": 9})]))
        now(self.shared.objects.delete([object_keys.slot(self.prefix, 1)]))
        self.failureResultOf(self.recover(), CorruptLog)

    def test_a_gap(self) -> None:
        """
        The slots exist, but not all records of the partition.
        """
        self.replace(1, now(self.shared.objects.get(object_keys.slot(self.prefix, 2))))
        self.failureResultOf(self.recover(), CorruptLog)

    def test_a_slot_that_vanishes_while_it_is_read(self) -> None:
        """
        And the partition's record has not changed: no broker has deleted it.
        """
        self.patch(suffix_cache, "MAX_BYTES", 0)  # as if slots were large
        successor = self.broker(policy=hold("get", "/journal/"))
        recovering = successor.recover()
        now(self.shared.objects.delete([object_keys.slot(self.prefix, 1)]))
        successor.run()
        self.failureResultOf(recovering, CorruptLog)

    def test_a_range_that_a_segment_has_in_part(self) -> None:
        """
        A record that is rolled already is left out.
        """
        key = metadata_keys.partition(*WHERE)
        record = {**self.shared.value(key), "rolled_to": 2}
        now(self.shared.metadata.commit([], [Put(key, record)]))
        journal = now(self.broker().log.incarnation.sealed_journals.open(self.writer.incarnation))
        needed = journal.needed(WHERE, self.shared.record())
        self.assertEqual([part.first_offset for _, part in needed], [2])

    def test_slots_name_what_is_wrong(self) -> None:
        """
        A seal is before the end.
        """
        successor = self.leader()
        sealed = now(
            seal(
                self.shared.objects,
                self.shared.metadata,
                "default",
                self.writer.incarnation,
                successor.incarnation,
            )
        )

        beyond = attrs.evolve(sealed, sealed_at=sealed.sealed_at + 1)
        self.failureResultOf(begin(read_slots(self.shared.objects, beyond)), CorruptLog)


class TwoSuccessorsTests(BrokerTestCase):
    """
    One successor deletes what the other is about to read.
    """

    def recovered_after(self, policy: Any) -> Broker:
        """
        Return a successor that waits by C{policy} while another does everything.
        """
        self.patch(suffix_cache, "MAX_BYTES", 0)  # as if slots were large
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.append(b"1")
        writer.crash()
        slow = self.broker(policy=policy)
        recovering = slow.recover()
        quick = self.leader(broker_id=2)
        self.assertEqual(self.shared.slots(writer.incarnation), [])
        slow.obey(let_pass)
        slow.run()
        self.successResultOf(recovering)
        quick.append(b"2")
        quick.run()
        self.assertTrue(quick.fenced)
        return slow

    def test_while_it_reads_records(self) -> None:
        """
        The slot is gone: the record has changed, and is read again.
        """
        slow = self.recovered_after(hold("get", "/journal/"))
        self.assertEqual(self.read_all(slow), [b"0", b"1"])

    def test_while_it_reads_footers(self) -> None:
        """
        The slots are gone: the trim mark has moved, and is read again.
        """
        seen = 0

        def second_look(operation: Operation) -> Verdict | None:
            nonlocal seen
            if operation.kind == "get_suffix" and "/journal/" in operation.key:
                seen += 1
                if seen > PARALLEL_READS:  # the first read was the walk's
                    return None
            return Verdict.SUCCEED

        slow = self.recovered_after(second_look)
        self.assertEqual(self.read_all(slow), [b"0", b"1"])

    def test_while_it_winds_up(self) -> None:
        """
        A journal whose slots another successor has begun to delete is left to
        that one.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.crash()
        slow = self.broker(policy=hold("commit", metadata_keys.INCARNATIONS))
        slow.recover()
        quick = self.leader()
        key = metadata_keys.incarnation(writer.incarnation)
        done = now(self.shared.metadata.get(key))
        slow.run()
        self.assertEqual(now(self.shared.metadata.get(key)), done)
        self.assertEqual(self.read_all(quick), [b"0"])


class ClaimTests(BrokerTestCase):
    """
    Claims of unknown outcome.
    """

    def claim(self, *verdicts: Verdict) -> Broker:
        """
        Claim while the first commits on partitions have these outcomes.
        """
        other = (TOPIC, 1)
        fates = list(verdicts)

        def decide(operation: Operation) -> Verdict:
            if (
                operation.kind == "commit"
                and operation.key.startswith(metadata_keys.PARTITIONS)
                and fates
            ):
                return fates.pop(0)
            return Verdict.SUCCEED

        broker = self.broker(policy=decide)
        recovering = broker.recover([WHERE, other])
        broker.run(5)
        self.successResultOf(recovering)
        self.assertFalse(broker.fenced)
        self.assertIsNone(self.shared.value(metadata_keys.seal(broker.incarnation)))
        for where in (WHERE, other):
            self.assertEqual(self.shared.record(where).incarnation, broker.incarnation)
            self.assertEqual(self.shared.record(where).epoch, 0)
            self.assertEqual(broker.log.partition(*where).leader_epoch, 0)
        return broker

    def test_not_done(self) -> None:
        """
        A claim that was not done is committed again, one by one.
        """
        self.claim(Verdict.FAIL)

    def test_done(self) -> None:
        """
        A claim that was done is not lost to another.
        """
        self.claim(Verdict.FAIL_BUT_APPLY)

    def test_one_by_one(self) -> None:
        """
        It is the same when the second attempts fail, too.
        """
        self.claim(Verdict.FAIL, Verdict.FAIL_BUT_APPLY, Verdict.FAIL)

    def test_given_up_and_tried_again(self) -> None:
        """
        A broker whose claim was done without its knowledge does not fence itself
        when it claims again.
        """
        broker = self.broker(policy=hold("commit", metadata_keys.PARTITIONS))
        first = broker.recover()
        [commit] = broker.pending("commit")
        commit.apply()
        first.cancel()  # the answer is lost
        self.failureResultOf(first, CancelledError)
        broker.obey(let_pass)
        again = broker.recover()
        broker.run()
        self.successResultOf(again)
        self.assertFalse(broker.fenced)
        self.assertIsNone(self.shared.value(metadata_keys.seal(broker.incarnation)))
        self.assertEqual(broker.partition().leader_epoch, self.shared.record().epoch)


class WindingUpTests(BrokerTestCase):
    """
    Deleting the slots of sealed journals.
    """

    def died(self, *wanted: tuple[UUID, int]) -> int:
        """
        Return an incarnation that has left a record in each partition.
        """
        writer = self.leader(wanted or (WHERE,), **EACH)
        for where in wanted or (WHERE,):
            writer.log.partition(*where).opened()
        writer.append(b"0")
        writer.crash()
        return writer.incarnation

    def wound_up(self, incarnation: int) -> bool:
        """
        Return whether its slots are recorded as deleted.
        """
        record = self.shared.value(metadata_keys.incarnation(incarnation))
        return bool(record.get("wound_up"))

    def test_done_when_all_is_rolled(self) -> None:
        """
        Its slots stay until all records are rolled.
        """
        past = self.died()
        successor = self.broker(policy=hold("create", "/topics/"))
        successor.recover()
        self.assertEqual((self.wound_up(past), self.shared.slots(past)), (False, [0]))
        successor.run()
        self.assertEqual((self.wound_up(past), self.shared.slots(past)), (True, []))

    def test_interrupted(self) -> None:
        """
        The trim mark was moved and the slots were not deleted: the next
        incarnation deletes them.
        """
        past = self.died()
        successor = self.broker(policy=hold("delete", "/journal/"))
        successor.recover()
        self.assertEqual(self.shared.value(metadata_keys.incarnation(past))["trim"], 1)
        self.assertEqual(self.shared.slots(past), [0])
        successor.crash()
        self.leader()
        self.assertEqual((self.wound_up(past), self.shared.slots(past)), (True, []))

    def test_tried_again(self) -> None:
        """
        A store that fails for long is asked again later. The successor leads
        meanwhile.
        """
        past = self.died()

        def refuse(operation: Operation) -> Verdict:
            journal = operation.kind == "delete" and "/journal/" in operation.key
            return Verdict.FAIL if journal else Verdict.SUCCEED

        successor = self.broker(policy=refuse)
        recovering = successor.recover()
        self.successResultOf(recovering)
        self.assertEqual(self.read_all(successor), [b"0"])
        for _ in range(60):
            successor.clock.advance(1)
        self.assertEqual(self.shared.slots(past), [0])
        successor.obey(let_pass)
        successor.run(30)
        self.assertEqual((self.wound_up(past), self.shared.slots(past)), (True, []))

    def test_a_store_that_deletes_nothing(self) -> None:
        """
        A successor leads although its predecessors' slots, which are not needed
        any more, cannot be deleted.
        """
        past = self.died()
        successor = self.broker(policy=hold("delete", "/journal/"))
        successor.recover()
        successor.crash()
        third = self.broker(policy=hold("delete", "/journal/"))
        recovering = third.recover()
        self.assertEqual(len(third.pending("delete")), 1)
        self.successResultOf(recovering)
        self.assertEqual(self.read_all(third), [b"0"])
        third.run()
        self.assertEqual((self.wound_up(past), self.shared.slots(past)), (True, []))

    def test_more_than_a_segment(self) -> None:
        """
        Inherited records are rolled to the end, however many they are.
        """
        writer = self.leader(**EACH)
        for number in range(20):
            writer.append(b"%d" % number)
        writer.crash()
        successor = self.leader(segment_bytes=300)
        self.assertEqual(self.shared.record().rolled_to, 20)
        self.assertTrue(self.wound_up(writer.incarnation))
        self.assertEqual(successor.log.pressure.size, 0)
        self.assertEqual(len(self.read_all(successor)), 20)

    def test_of_a_deleted_topic(self) -> None:
        """
        Records of a deleted topic do not count.
        """
        past = self.died()
        successor = self.broker(policy=hold("create", "/topics/"))
        successor.recover()
        deleting = begin(successor.log.delete([TOPIC]))
        successor.run()
        self.successResultOf(deleting)
        self.assertTrue(self.wound_up(past))
        self.assertEqual(self.shared.keys("default/topics/"), [])
