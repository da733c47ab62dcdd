"""
Tests use few private names, and those are listed: L{tests.seams}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.due_queue import DueQueue
from tests.references import NOT_OURS, ROOT
from tests.seams import SEAMS, Seam, uses


class SeamTests(SynchronousTestCase):
    """
    The names in the table.
    """

    def test_each_is_there(self) -> None:
        """
        Its owner has it.
        """
        for seam in SEAMS:
            seam.check()

    def test_one_is_missing(self) -> None:
        """
        A name that is gone is reported in a sentence.
        """
        missing = Seam(DueQueue, "_pile", "Never there.")
        message = str(self.assertRaises(LookupError, missing.check))
        self.assertIn("DueQueue has no _pile: if it was renamed, rename it in tests.seams", message)


class UseTests(SynchronousTestCase):
    """
    The private names that tests use.
    """

    def test_only_those(self) -> None:
        """
        Each is in the table, and each name in the table is used.
        """
        found: dict[str, list[str]] = {}
        modules = sorted((ROOT / "tests").rglob("*.py"))
        self.assertGreater(len(modules), 100)
        for module in modules:
            where = module.relative_to(ROOT)
            if NOT_OURS.isdisjoint(where.parts):
                for line, name in uses(module.read_text(encoding="utf-8")):
                    found.setdefault(name, []).append(f"{where}:{line}")
        listed = {seam.name for seam in SEAMS}
        unlisted = {name: places for name, places in found.items() if name not in listed}
        self.assertEqual(unlisted, {}, "use a public name, or list it in tests/seams.py")
        self.assertEqual(listed - set(found), set(), "unused: remove it from tests/seams.py")

    def test_what_counts(self) -> None:
        """
        Every way to use a private name is found, and no other name.
        """
        for line in (
            "queue._heap",
            "self.queue._heap",
            "self.queue._heap.append(1)",
            "queue._heap = []",
            "from kafscale.concurrency.due_queue import _heap",
            "self.patch(queue, '_heap', [])",
            "getattr(queue, '_heap')",
        ):
            self.assertEqual(list(uses(line)), [(1, "_heap")], line)
        for line in (
            "self._queue",
            "cls._queue",
            "self._queue.heap",
            "queue.heap",
            "queue.__class__",
            "record._replace(offset=1)",
            "self.patch(queue, 'heap', [])",
            "self.assertEqual(found, '_heap')",
        ):
            self.assertEqual(list(uses(line)), [], line)
