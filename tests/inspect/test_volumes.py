"""
Tests for what L{kafscale.inspect} makes of volumes and their chapters.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs

from kafscale.format import object_keys
from kafscale.format.reading import volume_footer
from kafscale.format.volume import write_volume_footer
from kafscale.inspect.dump import dump
from kafscale.inspect.listing import list_all
from kafscale.log.rolling.volumes import GRACE_SECONDS
from tests.harness.coroutines import now
from tests.inspect.looking import PARTITION, RECORD, LookTestCase, report, view_of, wrong
from tests.log.brokers import EACH, TOPIC, Broker, append_to, batch

PARTITIONS = [(TOPIC, index) for index in range(3)]
MANY: dict[str, Any] = {**EACH, "chapters": 3}
"""What is rolled together becomes a volume, of which each partition has a
chapter; or segments, once each has three chapters."""


class VolumeTestCase(LookTestCase):
    """
    Each partition has a segment of its own, then three chapters.
    """

    def setUp(self) -> None:
        """
        They begin at 0, 4, 5 and 6.
        """
        super().setUp()
        self.writer = self.leader(PARTITIONS, **MANY)
        self.grow(self.writer, 7)
        self.writer.run(GRACE_SECONDS + 1)
        self.chapters = self.shared.record().chapters
        self.assertEqual([each.base for each in self.chapters], [4, 5, 6])
        self.keys = self.shared.keys("default/volumes/")
        self.assertEqual(self.keys, [self.volume(number) for number in (3, 4, 5)])

    def grow(self, broker: Broker, rounds: int) -> None:
        """
        So often a record in each partition, and all of them rolled together.
        """
        partitions = [broker.log.partition(*where) for where in PARTITIONS]
        for _ in range(rounds):
            for partition in partitions:
                append_to(partition, batch(b"%d" % partition.index))
            broker.settle()
            now(broker.roll_all(partitions))
            broker.settle()

    def volume(self, number: int) -> str:
        """
        The key of one of the writer's volumes.
        """
        return object_keys.volume("default", self.writer.incarnation, number)

    def rewrite(self, key: str, *changes: tuple[int, dict[str, Any]]) -> None:
        """
        Change these rows of a volume's footer.
        """
        rows = now(volume_footer(self.shared.objects, key))
        data = self.get(key)
        body = data[: sum(row.size for row in rows)]
        for at, change in changes:
            rows[at] = attrs.evolve(rows[at], **change)
        self.put(key, body + write_volume_footer(rows))


class WholeTests(VolumeTestCase):
    """
    What brokers have made is well.
    """

    def test_chapters(self) -> None:
        """
        Every object is counted, none is unneeded.
        """
        size = sum(len(self.get(key)) for key in self.shared.keys())  # noqa: SIM118 - no dictionary
        self.assertEqual(
            self.assert_well(),
            [f"ok: 6 objects with {size} bytes; 1 journals, 3 partitions; 0 not needed"],
        )

    def test_one_segment_of_many_chapters(self) -> None:
        """
        Volumes without a chapter that counts are not needed.
        """
        self.grow(self.writer, 1)
        lines = self.assert_well()
        self.assertEqual(
            lines[:-1],
            [f"garbage: {key}: a volume of which no record names a chapter" for key in self.keys],
        )
        self.assertIn("3 not needed", lines[-1])

    def test_only_chapters(self) -> None:
        """
        The first segment may be one.
        """
        now(self.writer.partition().delete_before(6))
        self.assertEqual(self.shared.record().first_segment, 6)
        self.assert_well()

    def test_successors(self) -> None:
        """
        They take chapters over, and put them into segments.
        """
        for settings in (MANY, EACH):
            successor = self.leader(PARTITIONS, **settings)
            self.assert_well()
            self.grow(successor, 2)
            self.assert_well()

    def test_while_a_broker_goes_on(self) -> None:
        """
        What it has bound, named and dropped since is neither wrong nor
        unneeded.
        """

        def go_on() -> None:
            self.grow(self.writer, 3)
            self.writer.run(GRACE_SECONDS + 1)

        lines = report(self.shared, go_on)
        self.assertEqual([line for line in lines if "volumes" in line], [])
        self.assertTrue(lines[-1].startswith("ok: "))


class ChainTests(VolumeTestCase):
    """
    The chain of a partition's segments goes through its chapters.
    """

    def test_every_bit_counts(self) -> None:
        """
        A volume of which any byte was changed is wrong.
        """
        key = self.keys[1]
        data = self.get(key)
        for at in range(len(data)):
            self.put(key, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            self.assert_wrong(key)
        self.put(key, data)
        self.assert_well()

    def test_cut_short(self) -> None:
        """
        At any length.
        """
        key = self.keys[1]
        data = self.get(key)
        for size in range(0, len(data), 7):
            self.put(key, data[:size])
            self.assert_wrong(key)

    def test_missing(self) -> None:
        """
        Each partition misses its chapter, and the rest is looked at all the
        same.
        """
        for base, key in zip((4, 5, 6), self.keys, strict=True):
            data = self.get(key)
            self.remove(key)
            self.assertEqual(
                wrong(self.shared),
                [
                    f"wrong: {key}, topic-{index} from {base}: missing: it has the records from"
                    f" offset {base} on"
                    for index in range(3)
                ],
            )
            self.put(key, data)
        self.assert_well()

    def test_what_is_before_missing(self) -> None:
        """
        The chain goes on at the first chapter.
        """
        record = self.shared.record()
        key = object_keys.segment(PARTITION, 0, record.key_epoch(0))
        self.remove(key)
        self.assert_wrong(key, "missing", "offset 0 on")
        self.assertEqual(len(wrong(self.shared)), 1)

    def test_another_place(self) -> None:
        """
        A chapter is where the record says, with the records that it says.
        """
        four, five, six = self.chapters
        self.alter(chapters=(four, attrs.evolve(five, position=five.size), six))
        self.assert_wrong(self.keys[1], "the footer says")
        self.alter(chapters=(four, attrs.evolve(five, number=six.number), six))
        self.assert_wrong(f"{self.keys[2]}, topic-0 from 5", "says that it begins at 6")
        self.alter(chapters=(four, attrs.evolve(five, size=five.size - 1), six))
        self.assert_wrong(f"{self.keys[1]}, topic-0 from 5")
        self.alter(chapters=(four, attrs.evolve(five, position=5000), six))
        self.assert_wrong(f"{self.keys[1]}, topic-0 from 5", "ends before byte")
        self.assert_wrong(self.keys[1], "the footer says nothing there")

    def test_records_that_contradict_themselves(self) -> None:
        """
        Chapters are the last segments, one after another.
        """
        good = self.shared.record()
        four, five, six = self.chapters
        wrongs: list[tuple[dict[str, Any], str]] = [
            ({"chapters": (five, four, six)}, "out of order: [5, 4, 6]"),
            ({"chapters": (four, five, five, six)}, "out of order: [4, 5, 5, 6]"),
            ({"chapters": (four, five)}, "last segment is 6, but its last chapter 5"),
            ({"last_segment": 5}, "last segment is 5, but its last chapter 6"),
            ({"first_segment": 5, "log_start": 5}, "begin at [4, 5, 6], the segments are 5-6"),
            ({"rolled_to": 6}, "begin at [4, 5, 6], the segments are 0-5"),
            ({"chapters": (attrs.evolve(four, number=5, position=9), five, six)}, "overlap at"),
        ]
        for changes, text in wrongs:
            self.alter(**changes)
            self.assert_wrong(RECORD, text)
            self.commit(RECORD, good.to_json())
        self.alter(stored_bytes=good.stored_bytes - four.size)
        self.assert_wrong(PARTITION, "bytes, the record says")
        self.alter(chapters=(), last_segment=0, stored_bytes=1)
        self.assert_wrong(
            object_keys.segment(PARTITION, 4, good.key_epoch(4)), "missing", "offset 4 on"
        )

    def test_a_chapter_in_no_chain(self) -> None:
        """
        One that begins within another segment.
        """
        four = self.chapters[0]
        self.alter(chapters=(attrs.evolve(four, base=3), *self.chapters))
        self.assert_wrong(f"{self.keys[0]}, topic-0 from 3", "in no chain")

    def test_a_segment_between_chapters(self) -> None:
        """
        Chapters are the end of the chain, with nothing in between.
        """
        four, five, six = self.chapters
        key = object_keys.segment(PARTITION, 5, self.shared.record().key_epoch(5))
        self.put(key, self.get(self.keys[1])[five.position :][: five.size])
        self.alter(chapters=(four, six))
        self.assertEqual(
            wrong(self.shared),
            [f"wrong: {key}: an object of its own, though a chapter comes before it"],
        )


class StrayTests(VolumeTestCase):
    """
    Segments and volumes that count for nothing.
    """

    def stray(self, base: int, key_epoch: int) -> str:
        """
        What verifying says of a segment under this key.
        """
        key = object_keys.segment(PARTITION, base, key_epoch)
        self.put(key, b"anything")
        found = [line for line in report(self.shared) if key in line]
        self.remove(key)
        self.assertEqual(len(found), 1, found)
        return found[0].replace(f" {key}:", "")

    def test_of_predecessors(self) -> None:
        """
        What they had not committed is garbage, under whatever name: a chapter
        is there, or a segment of another epoch.
        """
        self.leader(PARTITIONS, **MANY)
        self.assertEqual(self.shared.record().epoch, 1)
        self.assertEqual(self.shared.record().next_base, 4)
        replaced = "garbage: made by a leader that was replaced"
        for base, key_epoch in ((4, 0), (4, -1), (5, 0), (5, 1), (6, -1), (0, 1), (0, -1), (2, 7)):
            self.assertEqual(self.stray(base, key_epoch), replaced)
        self.assertIn("wrong: in no chain", self.stray(2, 0))
        self.assertIn("wrong: in no chain", self.stray(7, 1))

    def test_of_the_leader(self) -> None:
        """
        What it has not committed yet stands where its chapters begin.
        """
        self.leader(PARTITIONS, **MANY)
        self.assertEqual(self.stray(4, 1), "note: not part of the log yet")

    def test_without_chapters(self) -> None:
        """
        The same where the segments end.
        """
        self.grow(self.leader(PARTITIONS, **MANY), 1)
        record = self.shared.record()
        self.assertEqual((record.chapters, record.rolled_to, record.epoch), ((), 8, 1))
        self.assertIn("garbage: made by", self.stray(4, 0))
        self.assertIn("garbage: made by", self.stray(8, 0))
        self.assertEqual(self.stray(8, 1), "note: not part of the log yet")

    def test_volumes_that_no_record_names(self) -> None:
        """
        They are garbage, whole or not.
        """
        whole, broken = self.volume(88), object_keys.volume("default", 999, 0)
        self.put(whole, self.get(self.keys[0]))
        self.put(broken, b"anything")
        lines = self.assert_well()
        for key in (whole, broken):
            self.assertIn(f"garbage: {key}: a volume of which no record names a chapter", lines)
        self.assertTrue(any(f"note: {broken}: not needed, and not whole" in each for each in lines))
        self.assertIn("8 objects", lines[-1])
        self.assertIn("2 not needed", lines[-1])

    def test_foreign_objects(self) -> None:
        """
        What others have put there is no harm.
        """
        foreign = [f"{self.keys[0]}-copy", "default/volumes/readme"]
        for key in foreign:
            self.put(key, b"1")
        lines = self.assert_well()
        self.assertEqual(lines[:-1], [f"note: {key}: not an object of Kafscale" for key in foreign])


class FooterTests(VolumeTestCase):
    """
    What a volume says of its chapters is what records say.
    """

    def test_rows_that_contradict_records(self) -> None:
        """
        In any field; the chapters themselves are where records say.
        """
        key = self.keys[0]
        good = self.get(key)
        first, second, _ = now(volume_footer(self.shared.objects, key))
        other: list[list[tuple[int, dict[str, Any]]]] = [
            [(0, {"topic_id": UUID(int=0xDEF)})],
            [(0, {"index": 9})],
            [(0, {"base": 3})],
            [
                (0, {"size": first.size - 1}),
                (1, {"position": second.position - 1, "size": second.size + 1}),
            ],
        ]
        for changes in other:
            self.rewrite(key, *changes)
            self.assert_wrong(
                key,
                f"the record of topic-0 names its chapter at byte 0: from offset"
                f" 4, {first.size} bytes; the footer says",
            )
            self.assertEqual(len(wrong(self.shared)), len(changes))
            self.put(key, good)
        self.assert_well()

    def test_chapters_that_overlap(self) -> None:
        """
        They follow one another.
        """
        self.rewrite(self.keys[0], (1, {"position": 0}))
        self.assert_wrong(self.keys[0], "A chapter begins at byte 0, not at ")

    def test_no_volume(self) -> None:
        """
        A segment in its place.
        """
        segment = self.shared.keys("default/topics/")[0]
        self.put(self.keys[0], self.get(segment))
        self.assert_wrong(self.keys[0], "the footer of a segment")


class ShowTests(VolumeTestCase):
    """
    Lists and dumps.
    """

    def listed(self) -> tuple[bool, list[str]]:
        """
        Whether all could be read, and the lines.
        """
        lines: list[str] = []
        view = now(view_of(self.shared))
        return now(list_all(self.shared.objects, view, lines.append)), lines

    def dumped(self, key: str) -> tuple[bool, list[str]]:
        """
        The same.
        """
        lines: list[str] = []
        return now(dump(self.shared.objects, key, False, lines.append)), lines

    def test_list(self) -> None:
        """
        Chapters stand with their partitions; volumes come at the end.
        """
        now(self.writer.partition().delete_before(5))
        whole, lines = self.listed()
        self.assertTrue(whole)
        size = len(self.get(self.keys[0]))
        for key, count in zip(self.keys, (2, 3, 3), strict=True):
            self.assertIn(
                f"volume {key} {size} bytes, 3 chapters, of which records name {count}",
                lines[-3:],
            )
            chapters = [line for line in lines if line.startswith(f"  {key} at byte ")]
            self.assertEqual(len(chapters), count)
        self.assertIn(
            f"  {self.keys[1]} at byte 0: {self.chapters[1].size} bytes, chapter: 5-5, 1"
            " batches, largest timestamp 1700000000000",
            lines,
        )

    def test_list_what_is_damaged(self) -> None:
        """
        It says so, and goes on.
        """
        data = self.get(self.keys[1])
        self.put(self.keys[1], data[:-1])
        whole, lines = self.listed()
        self.assertFalse(whole)
        self.assertTrue(any(line.startswith(f"volume {self.keys[1]} damaged: ") for line in lines))
        size = self.chapters[1].size
        self.put(self.keys[1], data[: size - 1] + b"!" + data[size:])
        whole, lines = self.listed()
        self.assertFalse(whole)
        self.assertTrue(
            any(line.startswith(f"  {self.keys[1]} at byte 0: damaged: ") for line in lines)
        )
        self.assertIn(f"volume {self.keys[2]}", lines[-1])

    def test_dump(self) -> None:
        """
        A volume's records, chapter by chapter.
        """
        whole, lines = self.dumped(self.keys[1])
        self.assertTrue(whole)
        self.assertEqual(lines[0], f"volume {self.keys[1]}: 3 chapters")
        self.assertEqual(
            [line for line in lines if line.startswith("partition")],
            [f"partition {TOPIC}/{index}: offsets 5-5" for index in range(3)],
        )
        self.assertEqual([line[-3:] for line in lines if "value" in line], ["'0'", "'1'", "'2'"])

    def test_dump_what_is_damaged(self) -> None:
        """
        As much as can be read of it.
        """
        key, size = self.keys[1], self.chapters[1].size
        data = self.get(key)
        self.put(key, data[: size - 1] + b"!" + data[size:])
        whole, lines = self.dumped(key)
        self.assertFalse(whole)
        self.assertIn(f"partition {TOPIC}/0: from offset 5, damaged: ", lines[1])
        self.assertEqual([line[-3:] for line in lines if "value" in line], ["'0'", "'1'", "'2'"])
        self.put(key, data[1:])
        whole, lines = self.dumped(key)
        self.assertFalse(whole)
        self.assertIn(f"wrong: {key}: A volume of", lines[0])
