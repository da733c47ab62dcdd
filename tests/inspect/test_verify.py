"""
Tests for L{kafscale.inspect}: each thing that can be wrong is found, and what
is well is not called wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from kafscale.config.settings import MAX_SLOTS_IN_FLIGHT
from kafscale.format import levels as table
from kafscale.format import metadata_keys, object_keys
from kafscale.format.errors import NewerFormat
from kafscale.format.slot import write_seal
from kafscale.format.trailer import Kind, end_with
from kafscale.inspect.dump import dump
from kafscale.inspect.listing import list_all
from kafscale.interfaces import Delete
from tests.harness.coroutines import now
from tests.harness.hostile import Operation, Verdict
from tests.inspect.looking import PARTITION, RECORD, LookTestCase, report, view_of, wrong
from tests.log.brokers import EACH, Broker


class JournalTests(LookTestCase):
    """
    Journals, of brokers that run and of those that are gone.
    """

    def writer(self, slots: int = 3, **settings: Any) -> Broker:
        """
        A broker that has written some slots, a record in each.
        """
        broker = self.leader(**{**EACH, **settings})
        for number in range(slots):
            broker.append(b"%d" % number)
        broker.settle()
        return broker

    def sealed(self, slots: int = 3) -> Broker:
        """
        The same, but stopped by a successor that dies before it rolls.
        """
        broker = self.writer(slots)

        def no_segments(operation: Operation) -> Verdict | None:
            return None if operation.key.endswith(".kfs") else Verdict.SUCCEED

        successor = self.broker(policy=no_segments)
        self.successResultOf(successor.recover())
        successor.crash()
        return broker

    def test_nothing_there(self) -> None:
        """
        An empty namespace is well.
        """
        self.assertEqual(len(self.assert_well()), 1)

    def test_a_running_broker(self) -> None:
        """
        Its journal is not sealed, and whole.
        """
        self.writer()
        self.assertIn("3 objects", self.assert_well()[-1])

    def test_a_journal_that_was_inherited(self) -> None:
        """
        JournalExtent, and needed.
        """
        writer = self.sealed()
        self.assertEqual(self.shared.slots(writer.incarnation), [0, 1, 2])
        self.assert_well()

    def test_a_journal_wound_up(self) -> None:
        """
        Its seals stay.
        """
        writer = self.writer()
        self.leader()
        self.assertEqual(self.shared.slots(writer.incarnation), [])
        self.assert_well()

    def test_every_bit_counts(self) -> None:
        """
        A slot of which any byte was changed is wrong, running or sealed; but
        for bytes of a batch that are not under its checksum: those are under
        the footer's.
        """
        for make in (self.writer, self.sealed):
            key = self.slot(make(1), 0)
            data = self.get(key)
            for at in range(len(data)):
                self.put(key, data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
                self.assert_wrong(key)
            self.put(key, data)
            self.assert_well()

    def test_a_slot_cut_short(self) -> None:
        """
        At any length.
        """
        key = self.slot(self.sealed(1), 0)
        data = self.get(key)
        for size in range(len(data)):
            self.put(key, data[:size])
            self.assert_wrong(key)

    def test_a_slot_missing_in_a_sealed_journal(self) -> None:
        """
        Wherever it was; and the partition's records have a gap.
        """
        for number in range(3):
            writer = self.sealed()
            key = self.slot(writer, number)
            data = self.get(key)
            self.remove(key)
            self.assert_wrong(key, "missing")
            if number < 2:
                self.assert_wrong(RECORD, "no record at")
            self.put(key, data)
            self.assert_well()
            self.setUp()

    def test_a_slot_of_another_time(self) -> None:
        """
        A whole slot, but with records that do not follow.
        """
        writer = self.sealed()
        self.put(self.slot(writer, 1), self.get(self.slot(writer, 2)))
        self.assert_wrong(RECORD, "no record at 1", "go on at 2")

    def test_a_gap_in_an_open_journal(self) -> None:
        """
        Flushes that are under way together leave gaps: a note, unless
        something says that what comes after was acknowledged.
        """
        writer = self.writer(4)
        key = self.slot(writer, 1)
        self.remove(key)
        notes = [line for line in self.assert_well() if line.startswith("note: ")]
        self.assertEqual(len(notes), 1)
        self.assertIn(f"{key}: missing, and 2 slots come after it", notes[0])
        self.alter(rolled_to=3, first_segment=0, last_segment=0)
        self.assert_wrong(key, "slot 2, after it, was acknowledged")

    def test_a_gap_with_too_much_after_it(self) -> None:
        """
        More than can be under way together.
        """
        writer = self.writer(MAX_SLOTS_IN_FLIGHT + 2)
        self.remove(self.slot(writer, 0))
        self.assert_wrong(self.slot(writer, 0), f"{MAX_SLOTS_IN_FLIGHT + 1} slots come after it")

    def test_a_seal_missing(self) -> None:
        """
        The end of a journal is not only recorded, it stands there, too.
        """
        writer = self.sealed()
        self.remove(self.slot(writer, 3))
        self.assert_wrong(self.slot(writer, 3), "the seal is missing")

    def test_a_slot_for_a_seal(self) -> None:
        """
        A slot is written at the end of the journal.
        """
        writer = self.sealed()
        self.put(self.slot(writer, 3), self.get(self.slot(writer, 2)))
        self.assert_wrong(self.slot(writer, 3), "this is no seal")

    def test_a_seal_too_early(self) -> None:
        """
        The journal is recorded to go on after it.
        """
        writer = self.sealed()
        self.put(self.slot(writer, 1), write_seal(9))
        self.assert_wrong(self.slot(writer, 1), "a seal, but the journal ends at 3")

    def test_seals_that_nobody_recorded(self) -> None:
        """
        A successor that died in between: no harm.
        """
        writer = self.writer()
        self.put(self.slot(writer, 3), write_seal(9))
        self.put(self.slot(writer, 20), write_seal(9))
        self.assertTrue(any("did not record it" in line for line in self.assert_well()))

    def test_what_is_not_needed(self) -> None:
        """
        Slots past the end and below the trim mark are garbage, not wrong.
        """
        writer = self.sealed()
        data = self.get(self.slot(writer, 0))
        self.leader()
        self.put(self.slot(writer, 7), data)
        self.put(self.slot(writer, 0), data)
        lines = self.assert_well()
        self.assertIn(f"garbage: {self.slot(writer, 0)}: below the trim mark", lines)
        self.assertIn(f"garbage: {self.slot(writer, 7)}: past the end", lines)
        self.assertIn("2 not needed", lines[-1])

    def test_marks(self) -> None:
        """
        The trim mark is not past the end (rule 7); a journal that is wound up has
        nothing left.
        """
        writer = self.sealed()
        key = metadata_keys.incarnation(writer.incarnation)
        self.alter_incarnation(writer, trim=4)
        self.assert_wrong(key, "the trim mark, 4, is past the end, 3")
        self.alter_incarnation(writer, trim=0, wound_up=True)
        self.assert_wrong(key, "wound up, but its trim mark is 0")

    def test_journals_that_nobody_knows(self) -> None:
        """
        Metadata older than the objects, perhaps; or the other way round.
        """
        writer = self.sealed()
        key = metadata_keys.incarnation(writer.incarnation)
        now(self.shared.metadata.commit([], [Delete(key)]))
        self.assert_wrong(object_keys.journal("default", 1, writer.incarnation), "knows nothing")
        self.assert_wrong(metadata_keys.seal(writer.incarnation), "no such incarnation")
        self.assert_wrong(RECORD, f"names the journal of incarnation {writer.incarnation}")

    def test_entries_of_another_shape(self) -> None:
        """
        They are reported, and the rest is checked.
        """
        self.sealed()
        self.commit(RECORD, {"leader": 1})
        self.commit(metadata_keys.incarnation(5), {"trim": "?"})
        self.assert_wrong(RECORD, "is not understood")
        self.assert_wrong(metadata_keys.incarnation(5), "is not understood")

    def test_foreign_objects(self) -> None:
        """
        What others have put there is no harm.
        """
        writer = self.writer()
        self.put(self.slot(writer, 1) + "-copy", b"1")
        self.put("default/topics/notes", b"1")
        self.put(f"{PARTITION}readme", b"1")
        self.assertEqual(
            sum("ot of Kafscale" in line or "not an object" in line for line in self.assert_well()),
            3,
        )


class BundleTests(LookTestCase):
    """
    Bundles say what their slots say.
    """

    def setUp(self) -> None:
        """
        A broker that bundles by twos, with a bundle or two.
        """
        super().setUp()
        self.broker_ = self.leader(slot_bytes=1, bundled=2)
        for number in range(5):
            self.broker_.append(b"%d" % number)
            self.broker_.run()
        prefix = object_keys.bundles("default", 1, self.broker_.incarnation)
        self.first, self.second = object_keys.slot(prefix, 0), object_keys.slot(prefix, 2)

    def test_well(self) -> None:
        """
        Copies are not reported.
        """
        self.assert_well()
        self.assertIn("a bundle of slots", "\n".join(self.listed()))

    def listed(self) -> list[str]:
        """
        The lines of a listing.
        """
        lines: list[str] = []
        view = now(view_of(self.shared))
        self.assertTrue(now(list_all(self.shared.objects, view, lines.append)))
        return lines

    def test_dumped(self) -> None:
        """
        A bundle's records, slot by slot.
        """
        lines: list[str] = []
        self.assertTrue(now(dump(self.shared.objects, self.first, False, lines.append)))
        self.assertIn("2 slots", lines[0])
        self.assertEqual([line[-3:] for line in lines if "value" in line], ["'0'", "'1'"])

    def test_differs(self) -> None:
        """
        A copy of something else is wrong.
        """
        self.put(self.second, self.get(self.second).replace(b"3", b"4", 1))
        self.assert_wrong(self.second, "differs from slot")

    def test_damaged(self) -> None:
        """
        A bundle that cannot be read is reported.
        """
        self.put(self.second, self.get(self.second)[1:])
        self.assert_wrong(self.second, "A bundle")

    def test_nobodys(self) -> None:
        """
        Bundles of an incarnation that is not in the metadata.
        """
        key = object_keys.slot(object_keys.bundles("default", 9, 999), 0)
        self.put(key, self.get(self.first))
        self.assert_wrong(key.rsplit("/", 1)[0] + "/", "knows nothing")


class SegmentTests(LookTestCase):
    """
    Partitions and their chains.
    """

    def setUp(self) -> None:
        """
        Four segments of a few records each, and a tail.
        """
        super().setUp()
        self.log_of(4)

    def log_of(self, segments: int) -> None:
        """
        So many segments with three records each, and one record after them.
        """
        self.writer = self.leader(**EACH, segment_bytes=150)
        for number in range(3 * segments):
            self.writer.append(b"%d" % number)
            self.writer.settle()
        self.bases = self.shared.segments()
        self.assertGreaterEqual(len(self.bases), 4)

    def key(self, at: int) -> str:
        """
        Of one of the segments.
        """
        return object_keys.segment(PARTITION, self.bases[at])

    def test_whole(self) -> None:
        """
        As the broker has made them; also when some were deleted.
        """
        self.assert_well()
        now(self.writer.partition().delete_before(self.bases[2] + 1))
        self.assertEqual(self.shared.segments(), self.bases[2:])
        self.assert_well()

    def test_every_bit_counts(self) -> None:
        """
        A segment of which any byte was changed is wrong.
        """
        key = self.key(1)
        data = self.get(key)
        for at in range(len(data)):
            self.put(key, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            self.assert_wrong(key)

    def test_cut_short(self) -> None:
        """
        At any length.
        """
        key = self.key(1)
        data = self.get(key)
        for size in range(0, len(data), 7):
            self.put(key, data[:size])
            self.assert_wrong(key)

    def test_missing(self) -> None:
        """
        The first, one in between, the last: the chain says so, and the rest
        is looked at all the same.
        """
        for at in (0, 1, len(self.bases) - 1):
            data = self.get(self.key(at))
            self.remove(self.key(at))
            self.assert_wrong(self.key(at), "missing", f"offset {self.bases[at]} on")
            self.assertEqual(len(wrong(self.shared)), 1)
            self.put(self.key(at), data)
        self.assert_well()

    def test_all_missing(self) -> None:
        """
        One line is enough.
        """
        for at in range(len(self.bases)):
            self.remove(self.key(at))
        self.assert_wrong(self.key(0), "missing")

    def test_another_one_in_its_place(self) -> None:
        """
        Each begins where its key says.
        """
        self.put(self.key(1), self.get(self.key(2)))
        self.assert_wrong(self.key(1), f"begins at {self.bases[2]}")

    def test_a_slot_in_its_place(self) -> None:
        """
        It is no segment.
        """
        self.put(self.key(1), self.get(self.shared.keys("default/journal/")[0]))
        self.assert_wrong(self.key(1), "footer of a slot")

    def test_in_no_chain(self) -> None:
        """
        Segments between those of the chain, and past the end.
        """
        end = self.shared.record().rolled_to
        for base in (self.bases[1] + 1, end + 50):
            key = object_keys.segment(PARTITION, base)
            self.put(key, self.get(self.key(1)))
            self.assert_wrong(key, "in no chain")
            self.remove(key)

    def test_not_published(self) -> None:
        """
        A segment at C{rolled_to} is never an orphan (rule 10), one
        before the first is.
        """
        now(self.writer.partition().delete_before(self.bases[2]))
        self.put(object_keys.segment(PARTITION, self.shared.record().rolled_to), b"anything")
        self.put(self.key(0), b"anything")
        lines = self.assert_well()
        self.assertTrue(any("the next roll adopts it" in line for line in lines))
        self.assertIn(f"garbage: {self.key(0)}: before the first segment that is needed", lines)

    def test_a_gap_between_segments_and_journal(self) -> None:
        """
        The journal goes on where the segments end.
        """
        record = self.shared.record()
        self.assertTrue(self.shared.slots(self.writer.incarnation))
        self.alter(rolled_to=self.bases[-2], last_segment=self.bases[-3])
        self.assert_wrong(RECORD, f"no record at {self.bases[-2]}")
        self.alter(rolled_to=record.rolled_to, last_segment=record.last_segment)
        self.assert_well()

    def test_records_that_contradict_themselves(self) -> None:
        """
        Each contradiction is reported.
        """
        good = self.shared.record()
        wrongs: list[tuple[dict[str, Any], str]] = [
            ({"log_start": good.rolled_to + 1}, "past rolled_to"),
            ({"first_segment": None}, "with first segment None"),
            ({"first_segment": self.bases[1]}, "before the first segment"),
            ({"epochs": ((3, 5), (2, 9))}, "goes back"),
            ({"journals": ((77777, 0),)}, "incarnation 77777, which is not known"),
            ({"journals": ((self.writer.incarnation, 9),)}, "yet to come"),
        ]
        for changes, text in wrongs:
            self.alter(**changes)
            self.assert_wrong(RECORD, text)
            self.commit(RECORD, good.to_json())
        self.alter(last_segment=self.bases[1])
        self.assert_wrong(self.key(-1), f"the record says {self.bases[1]}")
        self.commit(RECORD, good.to_json())
        self.alter(stored_bytes=good.stored_bytes + 1)
        self.assert_wrong(PARTITION, "bytes, the record says")

    def test_of_no_topic(self) -> None:
        """
        What was deleted is garbage.
        """
        now(self.shared.metadata.commit([], [Delete(RECORD)]))
        lines = self.assert_well()
        self.assertIn(f"garbage: {PARTITION}: of a topic that was deleted", lines)


class RunningTests(LookTestCase):
    """
    A broker goes on while it is looked at.
    """

    def test_what_was_right_when_it_was_read(self) -> None:
        """
        Between the metadata and the objects a broker may have rolled, trimmed
        and deleted: that is not called wrong.
        """
        broker = self.leader(**EACH, segment_bytes=150)
        for number in range(10):
            broker.append(b"%d" % number)
        broker.settle()
        before = self.shared.segments()

        def go_on() -> None:
            partition = broker.partition()
            for number in range(8):
                broker.append(b"%d" % number)
                broker.settle()
            now(partition.delete_before(partition.high_watermark - 1))

        lines = report(self.shared, go_on)
        self.assertFalse(set(before) & set(self.shared.segments()))
        self.assertEqual([line for line in lines if line.startswith("wrong")], [])

    def test_what_stays_wrong(self) -> None:
        """
        It is found beside all that.
        """
        broker = self.leader(**EACH)
        for number in range(6):
            broker.append(b"%d" % number)
        broker.settle()
        key = self.slot(broker, 2)
        self.put(key, self.get(key)[:-1])

        def go_on() -> None:
            broker.append(b"more")
            broker.settle()

        self.assertTrue(
            any(line.startswith(f"wrong: {key}") for line in report(self.shared, go_on))
        )


class ShowTests(LookTestCase):
    """
    Lists and dumps.
    """

    def shown(self, what: Callable[..., Any], *arguments: Any) -> tuple[bool, list[str]]:
        """
        Whether all could be read, and the lines.
        """
        lines: list[str] = []
        return now(what(self.shared.objects, *arguments, lines.append)), lines

    def test_list(self) -> None:
        """
        Every object has a line; one that is damaged says so.
        """
        first = self.leader(**EACH)
        first.append(b"0")
        first.settle()
        second = self.leader(**EACH)
        second.append(b"1")
        second.settle()
        view = now(view_of(self.shared))
        whole, lines = self.shown(list_all, view)
        self.assertTrue(whole)
        for key in self.shared.keys():  # noqa: SIM118 - no dictionary
            self.assertEqual(sum(key in line for line in lines), 1, key)
        text = "\n".join(lines)
        self.assertIn("topic-0 1-1 epoch 1", text)
        self.assertIn(f"seal by {second.incarnation}", text)
        self.assertIn("segment: 0-0, 1 batches", text)
        self.assertIn("trim mark 1, sealed at 1, wound up", text)
        for key in (self.slot(second, 0), object_keys.segment(PARTITION, 0)):
            self.put(key, self.get(key)[1:])
            whole, lines = self.shown(list_all, view)
            self.assertFalse(whole)
            self.assertTrue(any(key in line and "damaged" in line for line in lines))

    def test_levels(self) -> None:
        """
        Levels that are in force have a line each. If this version does not read
        one of them it looks at nothing, and says why in a line.
        """
        self.leader(**EACH)
        levels = {"required": {"volume": 1}, "in_force": {"volume": 1}}
        self.commit(metadata_keys.LEVELS, levels)
        with self.assertRaises(NewerFormat) as caught:
            now(view_of(self.shared))
        self.assertEqual(
            str(caught.exception),
            "levels: level 1 of the format 'volume' is newer than this version, which reads it up"
            " to level 0: use the version that has written it",
        )
        self.patch(table, "LEVELS", {**table.LEVELS, "volume": ["old", "new"]})
        _, lines = self.shown(list_all, now(view_of(self.shared)))
        self.assertIn("level 1 of the stored format volume is in force", lines)

    def test_newer_objects(self) -> None:
        """
        An object of a level that this version does not read is reported.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        key = self.slot(writer, 0)
        self.put(key, self.get(key)[:-20] + end_with(Kind.SLOT, b"", 2))
        self.assert_wrong(key, "level 2 of the format 'slot' is newer than this version")

    def test_dump(self) -> None:
        """
        Batches and records of a slot, a segment; whose a seal is.
        """
        first = self.leader(**EACH)
        first.append(b"a", b"\xff", producer=7, sequence=0)
        first.settle()
        key = self.slot(first, 0)
        whole, lines = self.shown(dump, key, False)
        self.assertTrue(whole)
        self.assertEqual(len(lines), 5)
        self.assertIn(f"partition {UUID(int=0xABC)}/0: offsets 0-1", lines[1])
        self.assertIn("codec none", lines[2])
        self.assertIn("producer 7 epoch 0 sequence 0", lines[2])
        self.assertEqual(lines[3], "  0 timestamp 1700000000000 key null value 'a'")
        self.assertEqual(lines[4], "  1 timestamp 1700000000000 key null value '\\xff'")
        data = self.get(key)
        second = self.leader(**EACH)
        self.assertEqual(
            self.shown(dump, self.slot(first, 1), False),
            (True, [f"seal {self.slot(first, 1)}: by incarnation {second.incarnation}"]),
        )
        whole, lines = self.shown(dump, object_keys.segment(PARTITION, 0), True)
        self.assertTrue(whole)
        self.assertEqual(len(lines), 2)
        self.put(key, data[:70] + b"!" + data[71:])
        whole, lines = self.shown(dump, key, True)
        self.assertFalse(whole)
        self.assertIn("wrong: the batch does not have the checksum that it states", lines)
        self.put(key, data[:-1])
        self.assertFalse(self.shown(dump, key, False)[0])
