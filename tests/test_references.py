"""
Every reference in documents, docstrings and comments resolves.

pydoctor checks L{...} in C{kafscale} (C{make docs}); this checks the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests import references
from tests.references import Text

Finder = Callable[[Text], Iterator[tuple[str, str]]]

NOT_A_PATH = {"Node.js"}

NOT_A_NAME = {"kafscale.segment.bytes"}
"""Names of configurations that look like modules."""


def wrong(texts: Iterable[Text], find: Finder, is_right: Callable[[str], bool]) -> list[str]:
    """
    The references that do not resolve, each with file and line.
    """
    return [
        f"{where}: {name}" for text in texts for where, name in find(text) if not is_right(name)
    ]


def everything() -> Iterator[Text]:
    """
    All prose of the project, but for this module and its helper, which have
    references that are wrong on purpose.
    """
    yield from references.documents()
    for text in references.prose():
        if text.where not in ("tests/test_references.py", "tests/references.py"):
            yield text


class ReferenceTests(SynchronousTestCase):
    """
    What is named exists.
    """

    maxDiff = None

    def assert_none(self, found: list[str]) -> None:
        """
        Fail with all of the references, one a line.
        """
        self.assertEqual(found, [], "do not resolve:\n" + "\n".join(found))

    def test_rules(self) -> None:
        """
        Each rule of the log that is named is in the table of
        docs/architecture.md, and none is named in another way.
        """
        known = references.rules()
        self.assert_none(wrong(everything(), references.named_rules, known.__contains__))
        self.assert_none(
            [text.at(0) for text in everything() if "log-rules" in text.words.replace("\n", " ")]
        )

    def test_table_of_rules(self) -> None:
        """
        The table numbers its rules without a gap, and the code that keeps each
        of them is where the table says.
        """
        rules = references.rules()
        numbers = sorted(int(each) for each in rules if each.isdigit())
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assertTrue(numbers)
        self.assert_none(
            [
                f"rule {rule.number}: {file}: {name}"
                for rule in rules.values()
                for file, name in rule.kept
                if file not in references.files() or name not in references.names_in(file)
            ]
        )

    def test_names(self) -> None:
        """
        Packages, modules, classes and functions that are written in full exist.
        """
        self.assert_none(
            wrong(
                everything(),
                references.dotted_names,
                lambda name: name in NOT_A_NAME or references.is_in_code(name),
            )
        )

    def test_members(self) -> None:
        """
        C{Class.member} in documents: a class of ours has such a member.
        """
        self.assert_none(
            wrong(references.documents(), references.members, references.is_member)
        )

    def test_paths(self) -> None:
        """
        Files and folders that are named exist, as they are named or below a
        folder of the project.
        """
        known = references.paths() | NOT_A_PATH
        self.assert_none(wrong(everything(), references.named_paths, known.__contains__))
        pictures = references.pictures()
        self.assert_none(wrong(pictures, references.drawn_paths, known.__contains__))

    def test_links(self) -> None:
        """
        Links of documents lead to files and headings that exist.
        """
        self.assert_none(
            [
                f"{where}: {target}"
                for text in references.documents()
                for where, target in references.links(text)
                if not references.is_target(text.where, target)
            ]
        )


class WrongReferenceTests(SynchronousTestCase):
    """
    The checks find what is wrong, and only that.
    """

    def found(self, words: str, find: Finder, where: str = "docs/architecture.md") -> list[str]:
        """
        What the finder finds in a text.
        """
        return [name for _, name in find(Text(where, 1, words))]

    def test_rules(self) -> None:
        """
        Numbers are found in lists, ranges and across lines.
        """
        words = "(rule 3), Rules 9, 10 and\n21; rules 2 to 5, rule 15m; ruler 7, rule of 8"
        self.assertEqual(
            self.found(words, references.named_rules), ["3", "9", "10", "21", "2", "5", "15m"]
        )
        self.assertNotIn("99", references.rules())

    def test_kept(self) -> None:
        """
        A row of the table names modules below kafscale/log, or in full.
        """
        row = "| 3 | It holds. | `a/b.py`: `C._d`, `e` (f); `kafscale/g.py`: `H` |\n"
        (rule,) = references.rules_in(row).values()
        self.assertEqual(
            rule.kept,
            (
                ("kafscale/log/a/b.py", "C._d"),
                ("kafscale/log/a/b.py", "e"),
                ("kafscale/g.py", "H"),
            ),
        )
        self.assertRaises(ValueError, references.rules_in, "| 3 | It holds. | somewhere |\n")

    def test_names(self) -> None:
        """
        Names are resolved to members of classes.
        """
        words = "L{kafscale.wire.schema}, `kafscale.errors.KafkaError`. kafscale.net; x.kafscale.y"
        self.assertEqual(
            self.found(words, references.dotted_names),
            ["kafscale.wire.schema", "kafscale.errors.KafkaError", "kafscale.net"],
        )
        here = "tests.references"
        for right in ("kafscale.wire", here, f"{here}.Text", f"{here}.Text.at", f"{here}.ROOT"):
            self.assertTrue(references.is_in_code(right), right)
        for false in ("kafscale.nothing", f"{here}.nothing", f"{here}.Text.nothing"):
            self.assertFalse(references.is_in_code(false), false)
        self.assertTrue(references.is_in_code("tests.test_references.Text.at"), "imported")
        self.assertFalse(references.is_in_code("tests.test_references.Text.nothing"))
        self.assertTrue(references.is_member("Text.at"))
        self.assertTrue(references.is_member("Text.words"))
        self.assertFalse(references.is_member("Text.nothing"))
        self.assertFalse(references.is_member("Nothing.at"))

    def test_paths(self) -> None:
        """
        Inline code in documents, words in docstrings.
        """
        words = "`net/peer.py` and `wire/`, `a.b`, peer.py, `1/2`, `x.kfs`"
        self.assertEqual(self.found(words, references.named_paths), ["net/peer.py", "wire"])
        words = "docs/storage.md, and see kafscale/net. Also peer.py; a/b of c.d/e.txt"
        self.assertEqual(
            self.found(words, references.named_paths, "tests/x.py"),
            ["docs/storage.md", "kafscale/net", "peer.py"],
        )
        self.assertIn("tests/references.py", references.paths())
        self.assertIn("references.py", references.paths())
        self.assertNotIn("tests/nothing.py", references.paths())

    def test_links(self) -> None:
        """
        Anchors are those of the headings; code and other sites do not count.
        """
        words = "[a](storage.md#metadata) `[b](nothing.md)` [c](https://d.example/e) [f](#metadata)"
        self.assertEqual(self.found(words, references.links), ["storage.md#metadata", "#metadata"])
        self.assertTrue(references.is_target("docs/groups.md", "storage.md"))
        self.assertTrue(references.is_target("CHANGELOG.md", "docs/storage.md"))
        self.assertTrue(references.is_target("README.md", "docs/development.md#tests"))
        self.assertFalse(references.is_target("README.md", "docs/development.md#nothing"))
        self.assertFalse(references.is_target("README.md", "development.md"))

    def test_prose(self) -> None:
        """
        Docstrings and comments are found with their lines.
        """
        source = '"""\nOne.\n"""\nx = 1  # two\n\n# three\n# four\ny = "no prose"\n'
        texts = list(references.prose_of("x.py", source))
        self.assertEqual(
            [(text.line, text.words) for text in texts],
            [(1, "\nOne.\n"), (4, "two"), (6, "three\nfour")],
        )
        self.assertEqual(texts[0].at(2), "x.py:2")
