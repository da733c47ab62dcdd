"""
``python -m kafscale``: the command line, a table of verbs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import attrs

from kafscale.config import version_text


@attrs.frozen
class Verb:
    """
    A command of ``python -m kafscale``.

    @ivar name: As it is written on the command line.
    @ivar summary: Its description, in a line.
    @ivar run: Does it, with the arguments after the verb, and returns the exit
        status.
    """

    name: str
    summary: str
    run: Callable[[Sequence[str]], int]


def _run(arguments: Sequence[str]) -> int:
    """
    Do what C{twistd -n kafscale} does, without a pid file: the data directory
    has a lock of its own. Options, errors and exit status are twistd's.
    """
    from twisted.scripts import twistd

    from kafscale.tap import Options

    Options.command = "python -m kafscale run"
    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "kafscale", *arguments]
    twistd.run()  # type: ignore[no-untyped-call]
    return 0


def _hash_password(arguments: Sequence[str]) -> int:
    """
    See L{kafscale.tap.hash_password}.
    """
    from kafscale.tap.hash_password import hash_password

    return hash_password(arguments)


VERBS: Sequence[Verb] = [
    Verb("run", "Run a broker in the foreground; see python -m kafscale run --help.", _run),
    Verb("hash-password", "Make lines for a file of users from a password.", _hash_password),
]


def usage() -> str:
    """
    The help: all verbs.
    """
    width = max(len(verb.name) for verb in VERBS)
    lines = ["Usage: python -m kafscale [--help] [--version] VERB [options]", "", "Verbs:"]
    lines += [f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """
    Run a command line.

    @param arguments: What follows C{python -m kafscale}.
    @return: The exit status: 2 if the command line is not understood, else
        that of the verb.
    """
    first = arguments[0] if arguments else ""
    if first == "--help":
        sys.stdout.write(usage())
        return 0
    if first == "--version":
        sys.stdout.write(f"{version_text()}\n")
        return 0
    for verb in VERBS:
        if verb.name == first:
            return verb.run(arguments[1:])
    if first:
        sys.stderr.write(f"kafscale: unknown verb {first!r}; see python -m kafscale --help\n")
    else:
        sys.stderr.write(usage())
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
