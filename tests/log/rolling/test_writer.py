"""
Tests for L{kafscale.log.rolling.writer}: what becomes a volume, and what a segment.
"""

from __future__ import annotations

from kafscale.format.volume import read_volume_footer
from kafscale.interfaces import LogRules
from kafscale.log.rolling import roller, writer
from kafscale.log.rolling.volumes import GRACE_SECONDS
from tests.harness.coroutines import begin, now
from tests.harness.hostile import hold, let_pass
from tests.inspect.looking import wrong
from tests.log.brokers import EACH, append_to, batch
from tests.log.volume_case import EVERY, PARTITIONS, VOLUMES, VolumeTestCase


class BindTests(VolumeTestCase):
    """
    What is put into volumes, and for how long it stays there.
    """

    def test_memory_is_full(self) -> None:
        """
        Many partitions with few records each become one object.
        """
        broker = self.leading(unrolled_bytes=3500)
        for partition in self.all_of(broker):
            self.assertEqual(self.volumes(), [])
            append_to(partition, batch(b"x" * 930))
        broker.run()
        self.assertEqual(self.volumes(), [(broker.incarnation, 0)])
        (key,) = self.shared.keys(VOLUMES)
        position = 0
        for index, where in enumerate(PARTITIONS):
            self.assertEqual(self.own(index), [])
            record = self.shared.record(where)
            (chapter,) = record.chapters
            self.assertEqual((chapter.base, chapter.number), (0, 0))
            self.assertEqual((record.first_segment, record.last_segment), (0, 0))
            self.assertEqual((record.rolled_to, record.stored_bytes), (1, chapter.size))
            self.assert_holds(broker, [b"x" * 930], index)
            position += chapter.size
        data = now(self.shared.objects.get(key))
        rows = read_volume_footer(data, len(data))
        assert not isinstance(rows, int)
        self.assertEqual(sorted(row.index for row in rows), [0, 1, 2, 3])
        self.assertEqual(sum(row.size for row in rows), position)
        self.assertEqual(broker.log.pressure.size, 0)
        self.assertEqual(self.shared.slots(broker.incarnation), [])
        self.assertEqual(wrong(self.shared), [])

    def test_several(self) -> None:
        """
        The chapters of a partition are read at each offset, by its leader and by
        the next one.
        """
        broker = self.leading()
        self.bind(broker, b"0", b"1", b"2")
        self.assertEqual(self.chapters(), [3, 3, 3, 3])
        record = self.shared.record()
        self.assertEqual([chapter.base for chapter in record.chapters], [0, 1, 2])
        self.assertEqual((record.first_segment, record.last_segment), (0, 2))
        self.assertEqual(record.stored_bytes, sum(each.size for each in record.chapters))
        self.assert_holds(broker, [b"0", b"1", b"2"])
        self.assertEqual(wrong(self.shared), [])
        broker.crash()
        self.assert_holds(self.successor(), [b"0", b"1", b"2"], 3)

    def test_what_is_inherited(self) -> None:
        """
        All that is inherited from a sealed journal goes together.
        """
        first = self.leading()
        self.fill(first, b"0")
        first.crash()
        second = self.successor()
        self.assertEqual((self.numbers(), self.chapters()), ([0], [1, 1, 1, 1]))
        for index in range(4):
            self.assert_holds(second, [b"0"], index)

    def test_as_many_as_may_be(self) -> None:
        """
        At the limit of chapters the next roll makes one segment of them all,
        with its epoch in the key.
        """
        self.leading().crash()
        broker = self.successor()
        self.bind(broker, b"0", b"1", b"2")
        self.assertEqual([self.own(index) for index in range(4)], [[]] * 4)
        self.bind(broker, b"3")
        self.assertEqual(self.chapters(), [0, 0, 0, 0])
        for index, where in enumerate(PARTITIONS):
            self.assertEqual(self.own(index), [self.key_of(index, 0, 1)])
            record = self.shared.record(where)
            self.assertEqual((record.first_segment, record.last_segment), (0, 0))
            self.assertEqual((record.rolled_to, record.key_epochs), (4, ((0, 1),)))
            size = len(now(self.shared.objects.get(self.key_of(index, 0, 1))))
            self.assertEqual(record.stored_bytes, size)
            self.assert_holds(broker, [b"0", b"1", b"2", b"3"], index)
        self.assertEqual(wrong(self.shared), [])

    def test_as_much_as_may_be(self) -> None:
        """
        A partition with enough records gets a segment of its own, with the
        chapters it had.
        """
        self.patch(roller, "MAX_CHAPTER_BYTES", 1500)
        broker = self.leading()
        self.bind(broker, b"a" * 900)
        self.assertEqual(self.chapters(), [1, 1, 1, 1])
        self.bind(broker, b"b" * 900)
        self.assertEqual(self.chapters(), [0, 0, 0, 0])
        self.assertEqual(len(self.own()), 1)
        self.assert_holds(broker, [b"a" * 900, b"b" * 900])

    def test_chapters_are_switched_off(self) -> None:
        """
        Existing chapters become a segment at the next roll, with the epoch in
        its key, so that it is not taken for another.
        """
        first = self.leading()
        self.bind(first, b"0", b"1")
        first.crash()
        second = self.successor(chapters=0)
        self.roll(second, b"2")
        self.assertEqual(self.own(), [self.key_of(0, 0, 1)])
        self.roll(second, b"3")
        self.assertEqual(self.own()[1:], [self.key_of(0, 3, -1)])
        self.assert_holds(second, [b"0", b"1", b"2", b"3"])
        self.assertEqual(wrong(self.shared), [])

    def test_the_log_starts_in_a_chapter(self) -> None:
        """
        The next segment includes the whole chapter, and its history begins at
        the log start.
        """
        broker = self.leading()
        for partition in self.all_of(broker):
            append_to(partition, batch(b"0", b"1"))
        self.bind(broker, b"2")
        now(broker.partition().delete_before(1))
        self.roll(broker, b"3")
        self.assertEqual(self.own(), [self.key_of(0, 0, 0)])
        footer, _ = now(broker.partition().segments.footer(0))
        self.assertEqual(footer.epochs.entries, ((0, 1),))
        self.assert_holds(broker, [b"0", b"1", b"2", b"3"])
        self.assertEqual(wrong(self.shared), [])


class RoomTests(VolumeTestCase):
    """
    What does not go into one volume.
    """

    def test_what_is_released(self) -> None:
        """
        What is released goes into several volumes.
        """
        self.patch(writer, "MAX_VOLUME_BYTES", 300)
        first = self.leading()
        self.fill(first, b"0")
        now(first.log.release(PARTITIONS))
        self.assertEqual((self.numbers(), self.chapters()), ([0, 1], [1, 1, 1, 1]))
        second = self.successor()
        for index in range(4):
            self.assert_holds(second, [b"0"], index)

    def test_what_is_old(self) -> None:
        """
        What is old does, too; partitions that are left over do not wait for the
        next check.
        """
        self.patch(writer, "MAX_VOLUME_BYTES", 300)
        broker = self.leading(slot_bytes=1 << 20, segment_seconds=50, rolls=1)
        self.fill(broker, b"0")
        broker.run(65)
        self.assertEqual((self.numbers(), self.chapters()), ([0, 1], [1, 1, 1, 1]))
        self.assertEqual(broker.log.pressure.size, 0)
        self.assertEqual(self.shared.slots(broker.incarnation), [])

    def test_so_many_chapters(self) -> None:
        """
        One volume has at most so many chapters.
        """
        self.patch(roller, "VOLUME_CHAPTERS", 2)
        broker = self.leading()
        self.bind(broker, b"0")
        self.assertEqual((self.numbers(), self.chapters()), ([0, 1], [1, 1, 1, 1]))

    def test_who_is_busy(self) -> None:
        """
        The others do not wait for a partition whose lock is held; it is rolled
        afterwards.
        """
        broker = self.leading(slot_bytes=1 << 20, segment_seconds=50)
        self.fill(broker, b"0")
        lock = broker.partition().lock
        now(lock.acquire())
        broker.run(65)
        self.assertEqual(self.rolled(), [0, 1, 1, 1])
        lock.release()
        broker.run(1)
        self.assertEqual(self.rolled(), [1, 1, 1, 1])


class ReleaseTests(VolumeTestCase):
    """
    Small partitions that are released.
    """

    def test_few_objects(self) -> None:
        """
        There is one object for all, and one for what came meanwhile; the
        successor reads them, and makes chapters part of segments.
        """
        first = self.leading()
        self.fill(first, b"0")
        first.obey(hold("create", VOLUMES))
        releasing = begin(first.log.release(PARTITIONS))
        self.fill(first, b"1")
        first.obey(let_pass)
        first.settle()
        self.successResultOf(releasing)
        self.assertEqual((self.numbers(), self.chapters()), ([0, 1], [2, 2, 2, 2]))
        self.assertEqual([self.own(index) for index in range(4)], [[]] * 4)
        second = self.successor()
        for index in range(4):
            self.assertEqual(self.shared.record(PARTITIONS[index]).leader, 2)
            self.assert_holds(second, [b"0", b"1"], index)
        self.bind(second, b"2")
        self.assertEqual(len(self.volumes()), 3)
        for index in range(4):
            self.roll(second, b"3", index)
        self.assertEqual(self.own(), [self.key_of(0, 0, 1)])
        self.wait(second, GRACE_SECONDS + 1)
        self.wait(first, GRACE_SECONDS + 1)
        # The broker that has written it is not told.
        self.assertEqual(self.volumes(), [(first.incarnation, 0), (first.incarnation, 1)])
        self.assertEqual(wrong(self.shared), [])
        third = self.broker(broker_id=3, orphan_seconds=EVERY)
        for _ in range(3):
            third.run(EVERY)
        self.assertEqual(self.volumes(), [])
        for index in range(4):
            self.assert_holds(second, [b"0", b"1", b"2", b"3"], index)

    def test_while_its_maker_leads_others(self) -> None:
        """
        While it leads other partitions, no other broker deletes its volumes; its
        own sweep does.
        """
        first = self.leading(orphan_seconds=EVERY)
        self.bind(first, b"0")
        now(first.log.release(PARTITIONS[:3]))
        second = self.leader(PARTITIONS[:3], broker_id=2, chapters=3, orphan_seconds=EVERY, **EACH)
        for index in range(3):
            self.roll(second, b"1", index)
        self.roll(first, b"1", 3)
        for _ in range(5):
            second.run(EVERY)
        self.assertEqual(self.volumes(), [(first.incarnation, 0)])
        for _ in range(3):
            first.run(EVERY)
        self.assertEqual(self.volumes(), [])


class TopicTests(VolumeTestCase):
    """
    Topics that ask for segments of a certain age or size.
    """

    def test_an_age(self) -> None:
        """
        Partitions whose segments are to be younger than the broker's get objects
        of their own; the others do not.
        """
        broker = self.leading()
        broker.configure(segment_ms=10_000)  # the first partition
        self.bind(broker, b"0")
        self.assertEqual((self.chapters(), len(self.own())), ([0, 1, 1, 1], 1))
        self.fill(broker, b"1")
        broker.run(11)
        self.assertEqual((self.rolled(), len(self.own())), ([2, 1, 1, 1], 2))
        self.assertEqual(self.chapters(), [0, 1, 1, 1])

    def test_an_older_age(self) -> None:
        """
        A longer time than the broker's asks for nothing.
        """
        broker = self.leading(rules=LogRules(segment_ms=8_000_000))
        self.bind(broker, b"0")
        self.assertEqual(self.chapters(), [1, 1, 1, 1])

    def test_a_size(self) -> None:
        """
        A segment that includes chapters is as large as the topic allows.
        """
        broker = self.leading(rules=LogRules(segment_bytes=3000))
        self.bind(broker, b"0" * 900, b"1" * 900)
        self.assertEqual(self.chapters(), [2, 2, 2, 2])
        broker.obey(hold("create", "/journal/"))
        partition = broker.partition()
        for number in range(2, 8):
            append_to(partition, batch(b"%d" % number * 900))
        broker.obey(let_pass)
        broker.settle()
        broker.run()
        sizes = [len(now(self.shared.objects.get(key))) for key in self.own()]
        self.assertEqual(len(sizes), 2, sizes)
        self.assertLess(max(sizes), 3000 + 1000)
        self.assertEqual(sum(sizes), partition.record.stored_bytes)
        self.assert_holds(broker, [b"%d" % number * 900 for number in range(8)])

    def test_chapters_of_a_size(self) -> None:
        """
        Chapters together are not larger either.
        """
        broker = self.leading(chapters=32, rules=LogRules(segment_bytes=3000))
        for number in range(9):
            self.bind(broker, b"%d" % number * 900)
            bound = sum(each.size for each in self.shared.record().chapters)
            self.assertLess(bound, 3000)
        self.assertEqual(len(self.own()), 3)
        self.assert_holds(broker, [b"%d" % number * 900 for number in range(9)])
