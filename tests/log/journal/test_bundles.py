"""
Tests for L{kafscale.log.journal.bundles}.
"""

from __future__ import annotations

from kafscale.format import object_keys
from kafscale.log.journal import bundles as module
from tests.harness.coroutines import now
from tests.harness.hostile import Operation, Verdict, hold, let_pass
from tests.log.brokers import EACH, Broker, BrokerTestCase


class BundledTests(BrokerTestCase):
    """
    A writer that bundles its slots by four.
    """

    def writer(self, slots: int) -> Broker:
        """
        Start a writer that has stored so many slots of one record each.
        """
        broker = self.leader(bundled=4, **EACH)
        for number in range(slots):
            broker.append(b"%d" % number)
            broker.run()
        return broker

    def bundles(self, broker: Broker) -> list[int]:
        """
        Return the numbers of the first slots of its bundles.
        """
        prefix = object_keys.bundles("default", 1, broker.incarnation)
        return [object_keys.slot_number(key) for key in self.shared.keys(prefix)]

    def asked(self, of: Broker) -> tuple[Broker, list[str]]:
        """
        Start a successor, and return the keys of the writer's slots that it has
        read one by one.
        """
        asked: list[str] = []

        def note(operation: Operation) -> Verdict:
            if operation.kind.startswith("get") and "/journal/" in operation.key:
                asked.append(operation.key)
            return Verdict.SUCCEED

        successor = self.leader(policy=note)
        prefix = object_keys.journal("default", 1, of.incarnation)
        return successor, [key for key in asked if key.startswith(prefix)]

    def test_bundled(self) -> None:
        """
        A successor reads no slot by itself that is in a bundle, and finds all
        records.
        """
        writer = self.writer(11)
        self.assertEqual(self.bundles(writer), [0, 4])
        writer.crash()
        successor, asked = self.asked(writer)
        self.assertEqual(min(map(object_keys.slot_number, asked)), 8)
        self.assertEqual(self.read_all(successor), [b"%d" % number for number in range(11)])

    def test_gone_with_the_slots(self) -> None:
        """
        A bundle is deleted when all its slots are trimmed; all bundles are
        deleted with the slots of a sealed journal.
        """
        writer = self.writer(6)
        now(writer.roll(writer.partition()))
        writer.run()
        self.assertEqual(self.shared.slots(writer.incarnation), [])
        self.assertEqual(self.bundles(writer), [])
        for number in range(6, 10):
            writer.append(b"%d" % number)
            writer.run()
        self.assertEqual(self.bundles(writer), [4])
        for number in range(10, 13):
            writer.append(b"%d" % number)
            writer.run()
        self.assertEqual(self.bundles(writer), [4, 8])
        writer.crash()
        successor, _ = self.asked(writer)
        successor.run()
        self.assertEqual(self.bundles(writer), [])
        self.assertEqual(self.read_all(successor), [b"%d" % number for number in range(13)])

    def test_lost(self) -> None:
        """
        A journal without its bundles is complete, and so is one with a bundle
        that cannot be read.
        """
        writer = self.writer(9)
        writer.crash()
        prefix = object_keys.bundles("default", 1, writer.incarnation)
        now(self.shared.objects.delete([object_keys.slot(prefix, 0), object_keys.slot(prefix, 4)]))
        now(self.shared.objects.create(object_keys.slot(prefix, 4), [b"nonsense"]))
        successor, asked = self.asked(writer)
        self.assertEqual(min(map(object_keys.slot_number, asked)), 0)
        self.assertEqual(self.read_all(successor), [b"%d" % number for number in range(9)])

    def test_not_before_they_are_acknowledged(self) -> None:
        """
        A bundle that existed before its slots would have records that may never
        be durable.
        """
        writer = self.leader(bundled=4, **EACH)
        writer.obey(hold("create", f"/{1:020d}"))
        for number in range(4):
            writer.append(b"%d" % number)
        writer.clock.advance(1)
        self.assertEqual(self.bundles(writer), [])
        self.assertEqual(len(self.shared.slots(writer.incarnation)), 3)
        writer.obey(let_pass)
        writer.run()
        self.assertEqual(self.bundles(writer), [0])

    def test_large(self) -> None:
        """
        A group that is large as a whole is not stored twice.
        """
        self.patch(module, "MAX_GROUP_BYTES", 1000)
        writer = self.leader(bundled=4, **EACH)
        for size in (10, 900, 10, 10, 10, 10, 10, 10):
            writer.append(b"x" * size)
            writer.run()
        self.assertEqual(self.bundles(writer), [4])

    def test_store_away(self) -> None:
        """
        While one bundle waits for the store, no other does.
        """
        writer = self.leader(bundled=2, **EACH)
        writer.obey(hold("create", "/bundles/"))
        for number in range(8):
            writer.append(b"%d" % number)
            writer.clock.advance(0.1)
        self.assertEqual(len(writer.pending("create", "/bundles/")), 1)
        writer.obey(let_pass)
        writer.run()
        self.assertEqual(self.bundles(writer), [0])
        writer.append(b"8")
        writer.append(b"9")
        writer.run()
        self.assertEqual(self.bundles(writer), [0, 8])

    def test_swept(self) -> None:
        """
        A bundle that lands after its slots were trimmed is an orphan.
        """
        writer = self.leader(bundled=2, orphan_seconds=10.0, **EACH)
        writer.obey(hold("create", "/bundles/"))
        for number in range(66):
            writer.append(b"%d" % number)
            writer.clock.advance(0.01)
        now(writer.roll(writer.partition()))
        writer.obey(let_pass)
        writer.settle()
        self.assertEqual(self.bundles(writer), [0])
        writer.run(30.0)
        self.assertEqual(self.bundles(writer), [])
