"""
Tests for L{kafscale.log.retention.orphans}. That nothing is deleted which is needed is
also tested in L{tests.log.test_machine}, whose brokers sweep all the time.
"""

from __future__ import annotations

from itertools import product
from uuid import UUID

import attrs

from kafscale.errors import StoreUnavailable
from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord
from kafscale.format.slot import SMALLEST_SLOT, write_seal
from kafscale.interfaces import Delete
from kafscale.log.retention.orphans import PAGE_KEYS, OrphanSweep
from kafscale.log.settings import LogSettings
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict
from tests.log.brokers import EACH, append_to, batch
from tests.log.retention.sweeping import EVERY, SweepTestCase


class SweepTests(SweepTestCase):
    """
    What a sweep deletes, and when.
    """

    def slot(self) -> bytes:
        """
        Return the bytes of a slot of another journal.
        """
        broker = self.leader([(UUID(int=5), 0)], **EACH)
        broker.log.partition(UUID(int=5), 0).opened()
        before = set(self.shared.keys())
        append_to(broker.log.partition(UUID(int=5), 0), batch(b"1"))
        broker.run()
        (made,) = set(self.shared.keys()) - before
        data = now(self.shared.objects.get(made))
        now(self.shared.objects.delete([made]))
        return data

    def test_every_slot(self) -> None:
        """
        Slots and seals below the trim mark, at it, before the end, at the end and
        past it, sealed and not: only slots below the mark and past the end are
        deleted.
        """
        data = self.slot()
        sweeper = self.sweeper()
        expected: dict[str, bool] = {}
        cases = product((0, 3), (None, 3, 6), range(9), (True, False))
        for number, (trim, sealed_at, slot, is_seal) in enumerate(cases):
            incarnation = 10_000 + number
            self.commit(metadata_keys.incarnation(incarnation), {"broker": 7, "trim": trim})
            if sealed_at is not None:
                self.commit(metadata_keys.seal(incarnation), {"sealed_at": sealed_at, "by": 1})
            key = object_keys.slot(object_keys.journal("default", 7, incarnation), slot)
            # Seals are recognized by their content, not by their size alone.
            self.put(key, b" " * SMALLEST_SLOT + write_seal(1) if is_seal else data)
            needed = slot >= trim and (sealed_at is None or slot <= sealed_at)
            expected[key] = needed or is_seal
        self.look(sweeper)
        self.assertLessEqual(set(expected), set(self.shared.keys()))
        self.look(sweeper)
        left = set(self.shared.keys())
        for key, stays in expected.items():
            self.assertEqual(key in left, stays, key)
        self.assertEqual(sweeper.log.counts.orphans, list(expected.values()).count(False))

    def test_every_segment(self) -> None:
        """
        Segments before the first that is needed are deleted. Those past
        C{rolled_to}, and all of partitions that never had a segment, stay.
        """
        sweeper = self.sweeper()
        topic = UUID(int=77)
        records = [
            PartitionRecord(rolled_to=9, first_segment=3, last_segment=6, log_start=4),
            PartitionRecord(),
        ]
        for index, record in enumerate(records):
            self.commit(metadata_keys.partition(topic, index), record.to_json())
            for base in range(12):
                self.put(
                    object_keys.segment(object_keys.partition("default", topic, index), base), b"x"
                )
        self.look(sweeper)
        self.look(sweeper)
        self.assertEqual(self.shared.segments((topic, 0)), list(range(3, 12)))
        self.assertEqual(self.shared.segments((topic, 1)), list(range(12)))

    def test_a_topic_that_was_deleted(self) -> None:
        """
        A segment that lands after the topic was deleted is deleted.
        """
        sweeper = self.sweeper()
        self.put(object_keys.segment(object_keys.partition("default", UUID(int=78), 0), 0), b"x")
        self.look(sweeper)
        self.look(sweeper)
        self.assertEqual(self.shared.segments((UUID(int=78), 0)), [])

    def test_what_is_not_ours(self) -> None:
        """
        Foreign objects stay, as do journals that the metadata does not know,
        damaged objects, and other namespaces.
        """
        sweeper = self.sweeper()
        self.commit(metadata_keys.incarnation(20_000), {"broker": 7, "trim": 5})
        journal = object_keys.journal("default", 7, 20_000)
        unknown = object_keys.journal("default", 7, 20_001)
        large = b"x" * SMALLEST_SLOT
        kept = [
            self.put(key, large)
            for key in (
                object_keys.slot(journal, 1),
                f"{journal}2",
                object_keys.slot(unknown, 0),
                object_keys.slot("default/journal/zz/7/20000/", 0),
                f"{object_keys.partition('default', UUID(int=79), 0)}notes",
                f"default/topics/{'0' * 32}/0/{0:020d}.kfs",
                object_keys.segment(object_keys.partition("other", UUID(int=79), 0), 0),
                "default/else",
            )
        ]
        self.look(sweeper)
        self.look(sweeper)
        self.assertLessEqual(set(kept), set(self.shared.keys("")))

    def test_new_kinds(self) -> None:
        """
        Objects of a kind that this version does not know have a prefix of their
        own: they are left alone, and not even listed.
        """
        data = self.slot()
        sweeper = self.sweeper()
        self.commit(metadata_keys.incarnation(20_000), {"broker": 7, "trim": 5})
        slot = object_keys.slot(object_keys.journal("default", 7, 20_000), 1)
        volume = object_keys.volume("default", 20_000, 1)
        segment = object_keys.segment(object_keys.partition("default", UUID(int=79), 0), 0)
        kept = [
            self.put(key.replace("default/", f"default/{kind}", 1), data)
            for key in (slot, volume, segment)
            for kind in ("future/", "future-")
        ]
        gone = [self.put(key, data) for key in (slot, volume, segment)]
        listed = []

        def decide(operation: Operation) -> Verdict:
            if operation.kind == "list":
                listed.append(operation.key)
            return Verdict.SUCCEED

        sweeper.obey(decide)
        self.look(sweeper)
        self.look(sweeper)
        self.assertEqual(set(listed), {f"default/{kind}/" for kind in object_keys.SWEPT})
        left = set(self.shared.keys(""))
        self.assertLessEqual(set(kept), left)
        self.assertEqual(left & set(gone), set())

    def test_a_late_put(self) -> None:
        """
        A writer sleeps, the slots of its journal are deleted, and its last flush
        lands.
        """
        writer = self.leader(**EACH)
        writer.obey(lambda each: None if each.kind == "create" else Verdict.SUCCEED)
        for number in range(4):
            writer.append(b"%d" % number)
        late = writer.pending("create", "/journal/")[-1]
        sweeper = self.sweeper()
        seals = self.shared.seals(writer.incarnation)
        late.apply()
        self.assertEqual(self.shared.slots(writer.incarnation), [3])
        self.look(sweeper)
        self.look(sweeper)
        self.assertEqual(self.shared.slots(writer.incarnation), [])
        self.assertEqual(self.shared.seals(writer.incarnation), seals)

    def test_its_own_slots(self) -> None:
        """
        A deletion that failed is made up for while the broker lives.
        """
        sweeper = self.sweeper(segment_bytes=100)
        sweeper.obey(lambda each: Verdict.FAIL if each.kind == "delete" else Verdict.SUCCEED)
        for number in range(5):
            sweeper.append(b"%d" % number)
            sweeper.settle()
        self.assertTrue(self.shared.slots(sweeper.incarnation))
        sweeper.crash()  # it would try for ever
        other = self.sweeper(broker_id=2)
        trim = self.shared.value(metadata_keys.incarnation(sweeper.incarnation))["trim"]
        self.look(other)
        self.look(other)
        slots = self.shared.slots(sweeper.incarnation)
        self.assertEqual([number for number in slots if number < trim], [])

    def test_many(self) -> None:
        """
        Keys are listed page by page, with pauses; each page is deleted by itself.
        """
        sweeper = self.sweeper()
        prefix = object_keys.partition("default", UUID(int=80), 0)
        for base in range(2 * PAGE_KEYS + 5):
            self.put(object_keys.segment(prefix, base), b"x")
        sweeper.clock.advance(EVERY)
        sweeper.run(5.0)
        sweeper.clock.advance(EVERY)
        sweeper.settle()
        left = len(self.shared.segments((UUID(int=80), 0)))
        self.assertTrue(0 < left <= 2 * PAGE_KEYS, left)
        sweeper.run(5.0)
        self.assertEqual(self.shared.segments((UUID(int=80), 0)), [])

    def test_needed_again(self) -> None:
        """
        An object must be an orphan in two sweeps.
        """
        sweeper = self.sweeper()
        key = self.put(
            object_keys.segment(object_keys.partition("default", UUID(int=81), 0), 0), b"x"
        )
        self.look(sweeper)
        self.commit(metadata_keys.partition(UUID(int=81), 0), PartitionRecord().to_json())
        self.look(sweeper)
        record = metadata_keys.partition(UUID(int=81), 0)
        now(self.shared.metadata.commit([], [Delete(record)]))
        self.look(sweeper)
        self.assertIn(key, self.shared.keys())
        self.look(sweeper)
        self.assertNotIn(key, self.shared.keys())

    def test_idle(self) -> None:
        """
        A sweep in which nothing is wrong reads no object, and sends four
        listings.
        """
        sweeper = self.sweeper()
        for number in range(20):
            sweeper.append(b"%d" % number)
        sweeper.settle()
        asked: list[str] = []

        def note(operation: Operation) -> Verdict:
            asked.append(operation.kind)
            return Verdict.SUCCEED

        sweeper.obey(note)
        self.look(sweeper)
        objects = [kind for kind in asked if kind in ("list", "get_suffix", "delete", "create")]
        self.assertEqual(objects, ["list"] * 4)
        self.assertLess(len(asked), 10)

    def test_never(self) -> None:
        """
        With an interval of 0 there is no sweep.
        """
        sweeper = self.sweeper(orphan_seconds=0.0)
        key = self.put(
            object_keys.segment(object_keys.partition("default", UUID(int=82), 0), 0), b"x"
        )
        for _ in range(5):
            self.look(sweeper)
        self.assertIn(key, self.shared.keys())

    def test_a_failure(self) -> None:
        """
        After a failure the next sweep takes place all the same.
        """
        broker = self.broker()
        environment = attrs.evolve(
            broker.environment,
            objects=broker.objects,
            metadata=broker.metadata,
            settings=LogSettings(orphan_seconds=EVERY),
        )
        sweep = OrphanSweep(environment, lambda *volume: True)
        sweep.begin()
        sweep.begin()
        key = self.put(
            object_keys.segment(object_keys.partition("default", UUID(int=83), 0), 0), b"x"
        )
        broker.obey(lambda each: Verdict.FAIL if each.kind == "list" else Verdict.SUCCEED)
        broker.clock.advance(EVERY)
        broker.obey(lambda each: Verdict.SUCCEED)
        for _ in range(2):
            broker.clock.advance(EVERY)
        self.assertNotIn(key, self.shared.keys())
        now(sweep.stop())
        self.flushLoggedErrors(StoreUnavailable)

    def test_stopped_while_it_looks(self) -> None:
        """
        Stopping waits for what is under way, and for no pause.
        """
        sweeper = self.sweeper()
        prefix = object_keys.partition("default", UUID(int=84), 0)
        for base in range(PAGE_KEYS + 5):
            self.put(object_keys.segment(prefix, base), b"x")
        sweeper.clock.advance(EVERY)
        sweeper.settle()
        now(sweeper.log.stop())
        sweeper.clock.advance(2 * EVERY)
        sweeper.settle()
        self.assertEqual(len(self.shared.segments((UUID(int=84), 0))), PAGE_KEYS + 5)
        other = self.sweeper()
        other.obey(None)
        other.clock.advance(EVERY)
        (listing,) = other.pending("list", "journal")
        stopping = begin(other.log.stop())
        self.assertNoResult(stopping)
        listing.succeed()
        self.successResultOf(stopping)
        self.assertEqual(other.pending("list"), [])
