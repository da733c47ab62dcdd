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
