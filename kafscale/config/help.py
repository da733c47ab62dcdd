"""
The settings in words: for ``--help`` and for docs/configuration.md.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

import twisted
from kafscale import __version__
from kafscale.config.setting import Setting
from kafscale.config.settings import SETTINGS

_INTRODUCTION = (
    "Run a Kafka-compatible broker that stores its log in object storage. Every option can also"
    " be given as an environment variable, which is named in its description; the option takes"
    " precedence. See docs/configuration.md for the settings and docs/operations.md for running a"
    " broker."
)


def _by_section() -> Iterator[tuple[str, Sequence[Setting]]]:
    for section, settings in groupby(SETTINGS, lambda each: each.section):
        yield section, list(settings)


def help_text(width: int = 80) -> str:
    """
    All options by section, each with its meaning, variable, default and what
    is expected.

    @param width: Columns of the terminal.
    """
    wrapped = partial(textwrap.wrap, width=width, break_on_hyphens=False)
    indented = partial(wrapped, initial_indent=" " * 6, subsequent_indent=" " * 6)
    lines = wrapped(_INTRODUCTION)
    for section, settings in _by_section():
        lines += ["", f"{section}:"]
        for each in settings:
            variables = " or ".join(each.variables)
            facts = f"{variables}; default: {each.default_text}; {each.kind.expects}"
            lines.append(f"  {each.usage}")
            lines += indented(each.meaning.replace("`", ""))
            lines += indented(f"[{facts}]".replace("`", ""))
    lines += ["", "Other:", "  --help", "      Show this help and exit."]
    lines += ["  --version", "      Show the versions of Kafscale and Twisted and exit."]
    return "\n".join(lines) + "\n"


def table() -> str:
    """
    All settings by section, as the Markdown of docs/configuration.md.
    """
    lines = []
    for section, settings in _by_section():
        lines += [f"### {section}", ""]
        lines += ["| Variable and option | Default | Expected | Meaning |", "|---|---|---|---|"]
        for each in settings:
            names = "<br>".join(f"`{name}`" for name in (*each.variables, f"--{each.option}"))
            expects = each.kind.expects.replace("|", r"\|")
            lines.append(f"| {names} | {each.default_text} | {expects} | {each.meaning} |")
        lines.append("")
    return "\n".join(lines)


def version_text() -> str:
    """
    The versions of Kafscale and of Twisted, a line each.
    """
    return f"Kafscale {__version__}\nTwisted {twisted.__version__}"
