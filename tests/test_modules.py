"""
What holds for modules, and ruff does not check.
"""

from __future__ import annotations

import ast

from twisted.trial.unittest import SynchronousTestCase

from tests.references import ROOT

LONG = 600
"""Lines above which a module says why it is not two."""

REASON = "The module is long because"


def is_explained(source: str) -> bool:
    """
    Whether a module is short, or its docstring says why it is long.
    """
    if source.count("\n") <= LONG:
        return True
    words = (ast.get_docstring(ast.parse(source)) or "").split()
    return REASON in " ".join(words)


def imported_tests(source: str) -> list[str]:
    """
    The test modules that a module imports, whole or in part.
    """
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if name.startswith("tests.") and ".test_" in name]


class ImportTests(SynchronousTestCase):
    """
    Test modules are at the top: only trial imports them.
    """

    def test_nothing_imports_a_test_module(self) -> None:
        """
        What several test modules need is in a module of its own. A test case
        that another module imports would run twice.
        """
        found = {
            str(each.relative_to(ROOT)): imported_tests(each.read_text())
            for each in sorted((ROOT / "tests").rglob("*.py"))
        }
        self.assertGreater(len(found), 100)
        self.assertEqual({where: names for where, names in found.items() if names}, {})

    def test_what_counts(self) -> None:
        """
        Every way to import one is found; other modules may be imported.
        """
        for line in (
            "import tests.wire.test_records",
            "from tests.wire import test_records",
            "from tests.wire.test_records import RECORDS",
            "def f():\n    from tests.wire.test_records import RECORDS",
        ):
            self.assertTrue(imported_tests(line), line)
        self.assertEqual(imported_tests("from tests.wire.batches import RECORDS"), [])


class LengthTests(SynchronousTestCase):
    """
    A module is one thought.
    """

    def test_long_modules_say_why(self) -> None:
        """
        Above 600 lines the docstring has a sentence that begins "The module
        is long because" (docs/development.md).
        """
        modules = sorted((ROOT / "kafscale").rglob("*.py"))
        self.assertTrue(modules)
        silent = [
            str(each.relative_to(ROOT)) for each in modules if not is_explained(each.read_text())
        ]
        self.assertEqual(silent, [])

    def test_what_counts(self) -> None:
        """
        The sentence may be broken over lines; a short module needs none.
        """
        self.assertTrue(is_explained('"""\nShort.\n"""\n'))
        self.assertFalse(is_explained('"""\nLong.\n"""\n' + "x = 1\n" * LONG))
        explained = '"""\nLong. The module is\nlong because it is.\n"""\n'
        self.assertTrue(is_explained(explained + "x = 1\n" * LONG))
