"""
The table of log lines in docs/operations.md, compared with the code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]
LOGGED = ("info", "warn", "error", "critical", "failure")

ELSEWHERE = {
    "kafscale starting on ...",  # Twisted
    "kafscale HTTP starting on ...",  # Twisted
    "(TCP Port ... Closed)",  # Twisted
    "no HTTP server for /metrics, /healthz and /readyz: ...",  # a warning of kafscale.tap
    "unknown setting KAFSCALE_... ignored",  # a warning of kafscale.config
    "KAFSCALE_...=... was set by Kubernetes for a service: ignored",  # likewise
}
"""Documented lines that are not written by a call of a logger with a literal."""


def logged() -> Iterator[str]:
    """
    The format of each call of a logger, with ``...`` for its fields.
    """
    for path in (ROOT / "kafscale").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            logger = ast.unparse(node.func.value).rpartition(".")[2]
            if node.func.attr in LOGGED and logger in ("_log", "log") and node.args:
                text = ast.literal_eval(node.args[0])
                yield re.sub(r"(\{[^}]*\})+", "...", text)


def documented() -> Iterator[str]:
    """
    The lines in the tables of the section on logs.
    """
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.split("\n## Logs\n")[1].split("\n## ")[0]
    for row in section.splitlines():
        if row.startswith("| `"):
            yield from re.findall(r"`([^`]+)`", row.split(" | ")[0])


def covers(row: str, line: str) -> bool:
    """
    Whether a documented line stands for a line of the code: its ``...`` may
    also stand for some of the text.
    """
    return re.fullmatch(".*".join(map(re.escape, row.split("..."))), line) is not None


class LogLineTests(SynchronousTestCase):
    """
    Operators look up each line that they see.
    """

    def setUp(self) -> None:
        """
        All lines but those that only repeat another text.
        """
        self.logged = set(logged()) - {"..."}
        self.documented = set(documented())

    def test_all_are_documented(self) -> None:
        """
        The tables have every line of the levels info and above.
        """
        rows = self.documented
        missing = [line for line in self.logged if not any(covers(row, line) for row in rows)]
        self.assertEqual(missing, [])

    def test_no_other_is(self) -> None:
        """
        Each documented line is in the code, or in the list of exceptions.
        """
        rows = self.documented - ELSEWHERE
        stale = [row for row in rows if not any(covers(row, line) for line in self.logged)]
        self.assertEqual(stale, [])
        self.assertEqual(ELSEWHERE - self.documented, set())
