"""
Tests for L{kafscale.log.retention.incarnations}: when records of incarnations go.

That incarnations which sleep meanwhile do no harm is in `tests.log.test_rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from kafscale.format import metadata_keys, object_keys
from kafscale.format.incarnation import IncarnationRecord, SealRecord
from kafscale.format.partition import Chapter, PartitionRecord
from kafscale.format.slot import write_seal
from kafscale.interfaces import Delete
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict, hold
from tests.inspect.looking import report, wrong
from tests.log.brokers import (
    EACH,
    WHERE,
    append_to,
    batch,
    everybody_is_gone,
    level_0,
)
from tests.log.retention.sweeping import EVERY, SweepTestCase

OVER = 20_000
"""The number of an incarnation of which nothing is left, of broker 7."""


class RecordsTests(SweepTestCase):
    """
    What is needed for a record to go, and what goes with it.
    """

    def make(self, number: int = OVER, **fields: Any) -> None:
        """
        Record an incarnation that is wound up, and its seal.
        """
        settings = {"guarded": True, "wound_up": True, "trim": 3, **fields}
        self.commit(metadata_keys.incarnation(number), IncarnationRecord(7, **settings).to_json())
        self.commit(metadata_keys.seal(number), SealRecord(1, 3).to_json())
        self.commit(metadata_keys.journal(number), {"stored": 2})

    def entries(self, number: int = OVER) -> list[Any]:
        """
        The values of an incarnation's entries.
        """
        kinds = metadata_keys.incarnation, metadata_keys.seal, metadata_keys.journal
        return [self.shared.value(kind(number)) for kind in kinds]

    def assert_gone(self, number: int = OVER) -> None:
        """
        Nothing is recorded of an incarnation, and it is known that it is over.
        """
        self.assertEqual(self.entries(number), [None] * 3)
        self.assertGreater(self.shared.value(metadata_keys.LOWEST_INCARNATION), number)

    def test_after_a_crash(self) -> None:
        """
        When all records of a broker that died are in segments, what is recorded of
        the dead incarnation goes, with the next sweep. Its seals stay, and nothing
        is wrong.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.run(5.0)
        writer.crash()
        sweeper = self.sweeper()
        seals = self.shared.seals(writer.incarnation)
        self.assertTrue(self.shared.value(metadata_keys.incarnation(writer.incarnation)))
        self.look(sweeper)
        self.assert_gone(writer.incarnation)
        self.assertEqual(
            self.shared.value(metadata_keys.LOWEST_INCARNATION), writer.incarnation + 1
        )
        self.assertEqual(len(seals), 2)
        self.assertEqual(self.shared.seals(writer.incarnation), seals)
        self.assertTrue(self.shared.value(metadata_keys.incarnation(sweeper.incarnation)))
        self.assertEqual(self.read_all(sweeper), [b"0"])
        self.assertEqual(wrong(self.shared), [])
        self.assertEqual(self.read_all(self.leader()), [b"0"])

    def test_one_after_the_other(self) -> None:
        """
        The lowest number rises only.
        """
        for number in (OVER + 5, OVER, OVER + 9):
            self.make(number)
        sweeper = self.sweeper()
        self.look(sweeper)
        for number in (OVER + 5, OVER, OVER + 9):
            self.assert_gone(number)
        self.make(OVER + 2)
        self.look(sweeper)
        self.assert_gone(OVER + 2)
        self.assertEqual(self.shared.value(metadata_keys.LOWEST_INCARNATION), OVER + 10)

    def assert_stays(self, change: Callable[[], object], **fields: Any) -> None:
        """
        The record does not go after something was changed.
        """
        self.make(**fields)
        change()
        before = self.entries()
        sweeper = self.sweeper()
        self.look(sweeper)
        self.look(sweeper)
        self.assertEqual(self.entries(), before)
        self.assertIsNone(self.shared.value(metadata_keys.LOWEST_INCARNATION))

    def test_a_journal_that_is_not_wound_up(self) -> None:
        """
        Its slots may be needed.
        """
        self.make(wound_up=False)
        sweeper = self.sweeper(broker_id=2)
        self.look(sweeper)
        self.assertNotIn(None, self.entries())

    def test_of_an_earlier_version(self) -> None:
        """
        An incarnation of a version that does not look for its record may sleep:
        its record stays.
        """
        self.assert_stays(lambda: None, guarded=False)
        writer = self.leader(level_of=level_0, **EACH)
        writer.append(b"0")
        writer.crash()
        sweeper = self.sweeper()
        self.look(sweeper)
        self.assertTrue(self.shared.value(metadata_keys.incarnation(writer.incarnation)))

    def named(self, **fields: Any) -> Callable[[], None]:
        """
        Return what puts the record of another partition.
        """
        where = UUID(int=77), 0
        record = PartitionRecord(**{"epoch": 1, **fields}).to_json()
        return lambda: self.commit(metadata_keys.partition(*where), record)

    def test_named_as_a_leader(self) -> None:
        """
        A partition's record names it as the last leader.
        """
        self.assert_stays(self.named(leader=7, incarnation=OVER))

    def test_named_in_journals(self) -> None:
        """
        A partition's record names its journal.
        """
        self.assert_stays(self.named(journals=((OVER, 1),)))

    def test_named_in_chapters(self) -> None:
        """
        A partition's record names a volume of it.
        """
        chapter = Chapter(0, OVER, 3, 0, 100)
        self.put(object_keys.volume("default", OVER, 3))
        self.assert_stays(self.named(rolled_to=5, last_segment=0, chapters=(chapter,)))

    def test_objects(self) -> None:
        """
        While there is a slot, a bundle or a volume of it the record stays: they
        are deleted first, and the record in the same sweep.
        """
        seal = object_keys.slot(object_keys.journal("default", 7, OVER), 3)
        kept = self.put(seal, write_seal(1))
        data = self.slot()
        for key in (
            object_keys.slot(object_keys.journal("default", 7, OVER), 7),
            object_keys.slot(object_keys.bundles("default", 7, OVER), 0),
            object_keys.volume("default", OVER, 1),
        ):
            self.make()
            self.put(key, data)
            sweeper = self.sweeper()
            self.look(sweeper)
            self.assertNotIn(None, self.entries(), key)
            self.look(sweeper)
            self.assert_gone()
            self.assertNotIn(key, self.shared.keys())
            self.assertIn(kept, self.shared.keys())
            sweeper.crash()

    def test_what_lands_later(self) -> None:
        """
        Slots, bundles and volumes of an incarnation whose record is gone are
        garbage; seals stay, and so does what belongs to an incarnation that may
        still be registered.
        """
        self.make()
        sweeper = self.sweeper()
        self.look(sweeper)
        self.assert_gone()
        data = self.slot()
        journal, bundles = (
            kind("default", 7, OVER) for kind in (object_keys.journal, object_keys.bundles)
        )
        gone = [
            self.put(object_keys.slot(journal, 1), data),
            self.put(object_keys.slot(journal, 5), data),
            self.put(object_keys.slot(bundles, 0), data),
            self.put(object_keys.volume("default", OVER, 2), data),
        ]
        kept = [
            self.put(object_keys.slot(journal, 3), write_seal(1)),
            self.put(object_keys.slot(object_keys.journal("default", 7, OVER + 1), 0), data),
            self.put(object_keys.volume("default", OVER + 1, 0), data),
        ]
        lines = report(self.shared)
        for key in gone[:3]:
            self.assertIn(f"garbage: {key}: of an incarnation that is over", lines)
        self.look(sweeper)
        self.assertLessEqual(set(gone), set(self.shared.keys()))
        self.look(sweeper)
        self.assertEqual(set(gone) & set(self.shared.keys()), set())
        self.assertLessEqual(set(kept), set(self.shared.keys()))

    def slot(self) -> bytes:
        """
        Return the bytes of a slot of another journal.
        """
        writer = self.leader([(UUID(int=5), 0)], broker_id=3, **EACH)
        before = set(self.shared.keys())
        partition = writer.partition((UUID(int=5), 0))
        append_to(partition, batch(b"1"))
        writer.run()
        (made,) = set(self.shared.keys()) - before
        data = now(self.shared.objects.get(made))
        now(self.shared.objects.delete([made]))
        writer.crash()
        return data

    def test_unknown_outcome(self) -> None:
        """
        If the answer to the commit is lost, the next sweep sees what came of it.
        """
        for verdict in (Verdict.FAIL, Verdict.FAIL_BUT_APPLY):
            self.make()
            sweeper = self.sweeper()
            lost: list[Operation] = []

            def lose(
                operation: Operation,
                verdict: Verdict = verdict,
                lost: list[Operation] = lost,
            ) -> Verdict:
                put = operation.kind == "commit" and operation.arguments[1][0]
                if not put or put.key != metadata_keys.LOWEST_INCARNATION or lost:
                    return Verdict.SUCCEED
                lost.append(operation)
                return verdict

            sweeper.obey(lose)
            self.look(sweeper)
            self.assertEqual(len(lost), 1)
            self.look(sweeper)
            self.assert_gone()
            sweeper.crash()

    def test_two_at_once(self) -> None:
        """
        Of two brokers that delete a record one does, and both go on.
        """
        sweepers = [
            self.sweeper(),
            self.leader([(UUID(int=6), 0)], broker_id=2, orphan_seconds=EVERY, **EACH),
        ]
        self.make()
        self.make(OVER + 4)
        for sweeper in sweepers:
            sweeper.obey(
                lambda each: None if each.kind == "commit" else Verdict.SUCCEED
            )
            sweeper.clock.advance(EVERY)
        for sweeper in sweepers:
            (commit,) = sweeper.pending("commit")
            self.assertEqual(commit.arguments[1][0].value, OVER + 1)
        for sweeper in sweepers:
            sweeper.obey(lambda each: Verdict.SUCCEED)
            sweeper.settle()
        self.assert_gone()
        self.assert_gone(OVER + 4)
        self.assertFalse(any(each.fenced for each in sweepers))

    def test_while_another_takes_over(self) -> None:
        """
        Two successors have listed the journals that are left; one has deleted
        the record of one of them when the other comes to seal it.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.run()
        writer.crash()
        slow = self.broker(**EACH)
        slow.obey(lambda each: None if each.kind == "get" else Verdict.SUCCEED)
        recovering = slow.recover([WHERE])
        sweeper = self.sweeper()
        self.look(sweeper)
        self.assert_gone(writer.incarnation)
        slow.obey(lambda each: Verdict.SUCCEED)
        slow.run()
        self.successResultOf(recovering)
        self.assertTrue(slow.fenced)
        self.assertEqual(self.read_all(self.leader()), [b"0"])

    def test_while_another_claims(self) -> None:
        """
        A partition's record names a journal when a successor reads it; when the
        journal is to be sealed its incarnation has no record any more. The
        partition is recovered from where it is by then.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.run()
        writer.crash()
        slow = self.broker(
            broker_id=2, policy=hold("get", metadata_keys.INCARNATIONS), **EACH
        )
        claiming = begin(slow.log.claim([WHERE], everybody_is_gone))
        self.assertTrue(slow.pending("get", metadata_keys.INCARNATIONS))
        sweeper = self.sweeper()
        self.look(sweeper)
        self.assert_gone(writer.incarnation)
        sweeper.crash()
        slow.obey(lambda each: Verdict.SUCCEED)
        slow.run()
        self.successResultOf(claiming)
        self.assertEqual(self.read_all(slow), [b"0"])

    def test_a_record_that_was_deleted_by_hand(self) -> None:
        """
        A partition that names an incarnation without a record is not led: where
        its records are is not known.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        writer.run()
        writer.crash()
        key = metadata_keys.incarnation(writer.incarnation)
        now(self.shared.metadata.commit([], [Delete(key)]))
        before = self.shared.record()
        broker = self.broker(**EACH)
        recovering = broker.recover([WHERE])
        broker.run()
        self.successResultOf(recovering)
        self.assertFalse(broker.log.leads(WHERE))
        self.assertEqual(self.shared.record(), before)
