"""
Tests for L{kafscale.log.rolling.volumes}: which volumes are deleted, when, and by
which broker.
"""

from __future__ import annotations

from uuid import UUID

from twisted.internet.defer import Deferred

from kafscale.format import metadata_keys, object_keys
from kafscale.log.rolling.volumes import GRACE_SECONDS
from tests.harness.coroutines import begin, now
from tests.harness.hostile import hold, let_pass
from tests.inspect.looking import wrong
from tests.log.brokers import TOPIC, Broker
from tests.log.volume_case import EVERY, VolumeTestCase


class GraceTests(VolumeTestCase):
    """
    When the broker that has written a volume deletes it.
    """

    def test_when_no_record_names_it(self) -> None:
        """
        It is deleted a while after no record names it any more.
        """
        broker = self.leading()
        self.bind(broker, b"0", b"1", b"2", b"3")
        self.wait(broker, GRACE_SECONDS - 1)
        self.assertEqual(self.numbers(), [0, 1, 2])
        self.wait(broker, 2)
        self.assertEqual(self.numbers(), [])
        self.assert_holds(broker, [b"0", b"1", b"2", b"3"])
        self.assertEqual(wrong(self.shared), [])

    def test_while_one_record_names_it(self) -> None:
        """
        It stays while one record names it.
        """
        broker = self.leading()
        self.bind(broker, b"0", b"1")
        for index in range(3):
            self.roll(broker, b"2", index)
        self.wait(broker, 3 * GRACE_SECONDS)
        self.assertEqual(self.numbers(), [0, 1])
        self.assert_holds(broker, [b"0", b"1"], 3)
        self.roll(broker, b"2", 3)
        self.wait(broker, GRACE_SECONDS + 1)
        self.assertEqual(self.numbers(), [])

    def test_deleted_records(self) -> None:
        """
        Chapters before the log start are named no more.
        """
        broker = self.leading()
        self.bind(broker, b"0", b"1", b"2")
        for partition in self.all_of(broker):
            now(partition.delete_before(2))
        self.assertEqual(self.chapters(), [1, 1, 1, 1])
        record = self.shared.record()
        self.assertEqual(record.stored_bytes, record.chapters[0].size)
        self.wait(broker, GRACE_SECONDS + 1)
        self.assertEqual(self.numbers(), [2])
        self.assert_holds(broker, [b"0", b"1", b"2"])
        self.assertEqual(wrong(self.shared), [])

    def test_a_deleted_topic(self) -> None:
        """
        The chapters of a deleted topic are named no more.
        """
        broker = self.leading()
        self.bind(broker, b"0")
        now(broker.log.delete([TOPIC]))
        self.wait(broker, GRACE_SECONDS + 1)
        self.assertEqual(self.numbers(), [])

    def test_stop(self) -> None:
        """
        A broker that stops deletes nothing more, and waits for nothing.
        """
        broker = self.leading()
        self.bind(broker, b"0", b"1", b"2", b"3")
        now(broker.log.stop())
        self.assertEqual(broker.clock.getDelayedCalls(), [])
        self.assertEqual(self.numbers(), [0, 1, 2])


class SweepTests(VolumeTestCase):
    """
    Which volumes and segments are orphans.
    """

    def look(self, broker: Broker, times: int = 2) -> None:
        """
        Run so many sweeps.
        """
        for _ in range(times):
            broker.clock.advance(EVERY)

    def test_a_predecessors(self) -> None:
        """
        Volumes of an earlier incarnation are deleted by a sweep when no record
        names them.
        """
        first = self.leading()
        self.bind(first, b"0", b"1")
        first.crash()
        second = self.successor(orphan_seconds=EVERY)
        self.look(second, 3)
        self.assertEqual(self.numbers(), [0, 1])
        for index in range(4):
            self.roll(second, b"2", index)
        self.wait(second, GRACE_SECONDS + 1)
        self.assertEqual(self.numbers(), [0, 1])
        self.look(second, 3)
        self.assertEqual(self.numbers(), [])
        self.assert_holds(second, [b"0", b"1", b"2"])

    def test_its_own_before_they_are_named(self) -> None:
        """
        A broker's own volumes stay before they are named, however long it takes.
        """
        for broker_id in (1, 2):
            self.setUp()
            writer = self.leading(orphan_seconds=EVERY if broker_id == 1 else 0)
            sweeper = writer if broker_id == 1 else self.broker(broker_id=2, orphan_seconds=EVERY)
            self.fill(writer, b"0")
            writer.obey(hold("commit", metadata_keys.PARTITIONS))
            binding = begin(writer.roll_all(self.all_of(writer)))
            self.look(sweeper, 5)
            self.assertEqual((self.chapters(), self.numbers()), ([0, 0, 0, 0], [0]))
            writer.obey(let_pass)
            writer.settle()
            self.successResultOf(binding)
            self.look(sweeper, 5)
            self.assertEqual((self.chapters(), self.numbers()), ([1, 1, 1, 1], [0]))
            self.assert_holds(writer, [b"0"])

    def test_of_whom_is_known(self) -> None:
        """
        A sweep deletes no volumes of incarnations that the metadata does not
        know, and none of incarnations that lead something, except its own that
        are settled.
        """
        other = (UUID(int=5), 0)
        leading = self.leader([other], broker_id=3)
        idle = self.shared.register(4)
        sweeper = self.leading(orphan_seconds=EVERY)
        for incarnation in (leading.incarnation, idle, 999, sweeper.incarnation):
            key = object_keys.volume("default", incarnation, 77)
            now(self.shared.objects.create(key, [b"x"]))
        self.look(sweeper, 1)
        self.assertEqual(len(self.volumes()), 4)
        self.look(sweeper, 2)
        self.assertEqual(set(self.volumes()), {(leading.incarnation, 77), (999, 77)})

    def bind_under_way(self) -> tuple[Broker, Deferred[None]]:
        """
        Start a broker that has written a segment from its chapters, and is about
        to commit it.
        """
        broker = self.leading()
        self.bind(broker, b"0", b"1")
        self.fill(broker, b"2")
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        rolling = begin(broker.roll(broker.partition()))
        self.assertNoResult(rolling)
        self.assertEqual(self.own(), [self.key_of(0, 0, 0)])
        return broker, rolling

    def test_a_segment_that_takes_chapters_in(self) -> None:
        """
        A segment with chapters stays until it is committed, although it begins
        before C{rolled_to}.
        """
        writer, rolling = self.bind_under_way()
        self.look(self.broker(broker_id=2, orphan_seconds=EVERY), 5)
        self.assertEqual(self.own(), [self.key_of(0, 0, 0)])
        writer.obey(let_pass)
        writer.settle()
        self.successResultOf(rolling)
        self.assert_holds(writer, [b"0", b"1", b"2"])

    def test_of_a_leader_that_was_replaced(self) -> None:
        """
        A segment of a leader that was replaced is deleted: it is never adopted.
        """
        first = self.leading()
        self.bind(first, b"0", b"1")
        first.crash()
        second = self.successor(orphan_seconds=EVERY)
        now(self.shared.objects.create(self.key_of(0, 0, 0), [b"late"]))
        self.look(second, 3)
        self.assertEqual((self.own(), self.chapters()), ([], [2, 2, 2, 2]))
        self.roll(second, b"2")
        self.assertEqual(self.own(), [self.key_of(0, 0, 1)])
        self.assert_holds(second, [b"0", b"1", b"2"])
        self.assertEqual(wrong(self.shared), [])

    def test_deleted_records_beside_it(self) -> None:
        """
        The size of a replaced leader's segment at the place of a chapter never
        counted, and is not subtracted.
        """
        first = self.leading()
        self.roll(first, b"0")
        first.crash()
        second = self.successor()
        self.bind(second, b"1", b"2")
        late = self.key_of(0, 1, 0)
        self.assertEqual(second.partition().segments.key(1), late)
        now(self.shared.objects.create(late, [b"late"]))
        now(second.partition().delete_before(2))
        record = self.shared.record()
        self.assertEqual(record.stored_bytes, sum(each.size for each in record.chapters))
        self.assertEqual((len(record.chapters), self.own()), (1, []))
        self.assertEqual(wrong(self.shared), [])
