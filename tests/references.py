"""
Finds the references in documents, docstrings and comments, and resolves them.

A reference is a rule of the log (C{rule 13}), a path (C{kafscale/net/}), a name
in the code (C{kafscale.wire.schema}, C{Partition.append}), or a link or an
anchor of Markdown. All of it is read from the source: nothing is imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[1]

CODE = ("kafscale", "tests", "tap", "twisted", "examples")
"""The folders that have Python modules of ours."""

FOLDERS = ("kafscale/", "tests/", "docs/", "tap/", "deploy/", "examples/", ".ci/")

NOT_OURS = {"node_modules", "__pycache__", "build", "dist", "kafscale-data"}

RULES = ("docs/architecture.md", "docs/transactions.md")
"""The documents with the tables of rules."""


@attrs.frozen
class Text:
    """
    A stretch of prose.

    @ivar where: The file, below the root of the project.
    @ivar line: The number of its first line.
    @ivar words: The prose itself.
    """

    where: str
    line: int
    words: str

    def at(self, position: int) -> str:
        """
        File and line of a position in the text, for messages.
        """
        return f"{self.where}:{self.line + self.words.count(chr(10), 0, position)}"


# ------------------------------------------------------------------ what there is


@cache
def files() -> frozenset[str]:
    """
    All files of the project, as paths below its root.
    """
    found = []
    folders = [ROOT]
    while folders:
        for entry in folders.pop().iterdir():
            hidden = entry.name.startswith(".") and entry.name != ".ci"
            if entry.is_dir() and not hidden and not _is_not_ours(entry):
                folders.append(entry)
            elif entry.is_file():
                found.append(entry.relative_to(ROOT).as_posix())
    return frozenset(found)


def _is_not_ours(folder: Path) -> bool:
    name = folder.name
    # Where trial and pytest keep the files of tests.
    return name in NOT_OURS or name.startswith(("_trial_temp", "tests."))


@cache
def paths() -> frozenset[str]:
    """
    All files and folders, each also without what stands before it:
    C{kafscale/net/peer.py}, C{net/peer.py}, C{peer.py}.
    """
    found = set()
    for file in files():
        parts = file.split("/")
        for end in range(1, len(parts) + 1):
            found |= {"/".join(parts[start:end]) for start in range(end)}
    return frozenset(found)


@cache
def documents() -> tuple[Text, ...]:
    """
    Every document in Markdown, without its fenced code.
    """
    return tuple(
        Text(file, 1, re.sub(r"(?ms)^ *```.*?^ *```$", _blank, (ROOT / file).read_text()))
        for file in sorted(files())
        if file.endswith(".md")
    )


@cache
def pictures() -> tuple[Text, ...]:
    """
    The fenced code of the documents that draw what calls what.
    """
    around = r"(?ms)(\A|^ *```$)(.*?)(^ *```\w*$|\Z)"
    return tuple(
        Text(file, 1, re.sub(around, _blank, (ROOT / file).read_text())) for file in ROOMS
    )


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


@cache
def prose() -> tuple[Text, ...]:
    """
    Every docstring and every block of comments.
    """
    return tuple(
        text
        for file in sorted(files())
        if file.endswith((".py", ".tac")) and file.startswith(CODE)
        for text in prose_of(file, (ROOT / file).read_text())
    )


def prose_of(file: str, source: str) -> Iterator[Text]:
    """
    The docstrings and comments of one module. Comments in lines that follow on
    one another are one text. (A string that looks like a comment counts as one.)
    """
    for node in _statements(_parsed(source).body):
        match node:
            case ast.Expr(value=ast.Constant(value=str(words))):
                yield Text(file, node.lineno, words)
    block: list[str] = []
    for number, line in enumerate([*source.split("\n"), ""], 1):
        comment = re.search(r"(?:^|\s)#:? ?(.*)", line)
        if comment:
            block.append(comment[1])
        elif block:
            yield Text(file, number - len(block), "\n".join(block))
            block = []


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """
    Statements, and those within them.
    """
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(node, part, ()))


# ------------------------------------------------------------------------- rules


@attrs.frozen
class Rule:
    """
    A row of the table of rules.

    @ivar kept: The code that keeps it: pairs of a path below the root and a name
        in that module.
    """

    number: str
    kept: tuple[tuple[str, str], ...]


def rules_in(document: str) -> dict[str, Rule]:
    """
    The rows of all tables of rules in a document, by number.

    @raise ValueError: A row does not say where its rule is kept.
    """
    found = {}
    for number, kept in re.findall(r"(?m)^\| (T?\d+m?) \|.*\| ([^|]+) \|$", document):
        places = []
        for place in kept.split(";"):
            path, _, names = re.sub(r"\(.*?\)", "", place).partition(":")
            file = path.strip(" `")
            if not file.startswith("kafscale/"):
                file = f"kafscale/log/{file}"
            places += [(file, name) for name in re.findall(r"`([\w.]+)`", names)]
        if not places:
            raise ValueError(f"rule {number} is kept nowhere")
        found[number] = Rule(number, tuple(places))
    return found


@cache
def rules() -> dict[str, Rule]:
    """
    The rules of the log, and those of transactions.
    """
    return {
        number: rule
        for document in RULES
        for number, rule in rules_in((ROOT / document).read_text()).items()
    }


def named_rules(text: Text) -> Iterator[tuple[str, str]]:
    """
    Where a rule is named, and its number: C{rule 13}, C{rules 3, 4 and 15},
    C{rules 2 to 5}.
    """
    number = r"\d+m?"
    several = rf"(?i)\brules?\s+({number}(?:(?:,\s+|,?\s+and\s+|\s+to\s+|-){number})*)"
    for match in re.finditer(several, text.words):
        for each in re.findall(number, match[1]):
            yield text.at(match.start()), each


# ------------------------------------------------------------------------- names


_parsed = cache(ast.parse)


def _module(file: str) -> ast.Module:
    return _parsed((ROOT / file).read_text())


@cache
def names_in(file: str) -> frozenset[str]:
    """
    What a module defines: C{Class}, C{Class.member}, C{function}, C{CONSTANT}, and
    what it imports.
    """
    found: set[str] = set()
    for node in _statements(_module(file).body):
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{member}" for member in _members(node)}
            if node.bases or node.decorator_list:
                found |= {f"{node.name}.{member}" for member in _inherited(node)}
    return frozenset(found | set(_bound(_module(file).body)))


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    """
    The names that statements bind, those in branches too.
    """
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (each.id for each in targets if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from ((each.asname or each.name).split(".")[0] for each in names)
            case ast.If() | ast.Try():
                yield from _bound([*node.body, *node.orelse])


def _members(node: ast.ClassDef) -> Iterator[str]:
    """
    Of a class: methods, class variables, and what its methods put on C{self}.
    """
    yield from _bound(node.body)
    for each in ast.walk(node):
        match each:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


def _inherited(node: ast.ClassDef) -> Iterator[str]:
    """
    The members of all classes that have the name of one of its bases.
    """
    for base in node.bases:
        name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        for parent in classes().get(name, ()):
            if parent is not node:
                yield from _members(parent)
                yield from _inherited(parent)


@cache
def classes() -> dict[str, list[ast.ClassDef]]:
    """
    All classes of the project, by name.
    """
    found: dict[str, list[ast.ClassDef]] = {}
    for file in files():
        if file.endswith(".py") and file.startswith(CODE):
            for node in _statements(_module(file).body):
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append(node)
    return found


def is_member(dotted: str) -> bool:
    """
    Whether a class of the project with that name has such a member.

    @param dotted: C{Class.member}
    """
    name, member = dotted.split(".")
    return any(
        member in {*_members(node), *_inherited(node)} for node in classes().get(name, ())
    )


def is_in_code(dotted: str) -> bool:
    """
    Whether a package, a module, or a name in a module is called that.

    @param dotted: It begins with the name of a package, like C{kafscale.wire.schema}.
    """
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        folder = "/".join(parts[:end])
        inside = ".".join(parts[end:])
        for file in (f"{folder}.py", f"{folder}/__init__.py"):
            if file in files():
                return not inside or inside in names_in(file) or _is_passed_on(file, inside)
        if folder in paths() and not inside:
            return True
    return False


def _is_passed_on(file: str, inside: str) -> bool:
    """
    Whether C{inside} is C{Class.member} of a class that the module imports.
    """
    name, _, member = inside.partition(".")
    return "." not in member and name in names_in(file) and is_member(inside)


def dotted_names(text: Text) -> Iterator[tuple[str, str]]:
    """
    Where a name in our packages is written in full, and the name.
    """
    for match in re.finditer(r"(?<![\w./@-])(?:kafscale|tests)(?:\.\w+)+(?!\w*[/-])", text.words):
        if not match[0].endswith((".py", ".service", ".env")):
            yield text.at(match.start()), match[0]


def members(text: Text) -> Iterator[tuple[str, str]]:
    """
    Where C{Class.member} stands in the inline code of a document, and that.
    """
    for match in re.finditer(r"`([A-Z]\w*[a-z]\w*\.[a-z_]\w*)(?:\(\))?`", text.words):
        yield text.at(match.start()), match[1]


# ------------------------------------------------------------------------- paths

ENDINGS = r"py|md|tac|toml|cfg|js|service"

ROOMS = ("docs/architecture.md", "docs/development.md")
"""The documents where C{`net/`} is a folder; elsewhere it is a prefix of stored keys."""

_IN_CODE = re.compile(rf"`([\w.-]*(?:/[\w.-]+)*\.(?:{ENDINGS})|(?:[\w.-]+/)+)`")

_IN_PROSE = re.compile(
    rf"(?<![\w/.{{*-])((?:kafscale|tests|docs|tap|deploy|examples|\.ci)/[\w./-]*\w"
    rf"|[\w-]+(?:/[\w.-]+)*\.(?:{ENDINGS}))(?![\w*/]|\.\w)"
)


def named_paths(text: Text) -> Iterator[tuple[str, str]]:
    """
    Where a file or folder of the project is named, and its name: in documents
    as inline code, in docstrings and comments also as plain words.
    """
    pattern = _IN_CODE if text.where.endswith(".md") else _IN_PROSE
    for match in pattern.finditer(text.words):
        name = match[1]
        if name.endswith("/") and not name.startswith(FOLDERS) and text.where not in ROOMS:
            continue
        yield text.at(match.start()), name.strip("/")


def drawn_paths(text: Text) -> Iterator[tuple[str, str]]:
    """
    The same in a picture: modules with their folder.
    """
    for match in re.finditer(r"(?<![\w/.-])(?:\w+/)+\w+\.py\b", text.words):
        yield text.at(match.start()), match[0]


# ------------------------------------------------------------------------- links


def links(text: Text) -> Iterator[tuple[str, str]]:
    """
    Where a document links to another, to a heading or to a picture, and the
    target. Links to other sites are left out.
    """
    words = re.sub(r"`[^`\n]*`", lambda match: "`" * len(match[0]), text.words)
    for match in re.finditer(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", words):
        target = match[1] or match[2]
        if not re.match(r"[a-z]+:", target):
            yield text.at(match.start()), target


def is_target(document: str, target: str) -> bool:
    """
    Whether a link in a document leads somewhere.

    @param target: A path from the document on, an anchor, or both.
    """
    path, _, anchor = target.partition("#")
    there = (ROOT / document).parent / path if path else ROOT / document
    if not there.exists():
        return False
    return not anchor or anchor in anchors(there)


@cache
def anchors(document: Path) -> frozenset[str]:
    """
    The anchors of a document's headings, made as GitHub and GitLab make them.
    """
    found: set[str] = set()
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", document.read_text())
    for heading in re.findall(r"(?m)^#+ +(.+?) *#*$", text):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return frozenset(found)
