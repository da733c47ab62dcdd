"""
``python -m kafscale hash-password``: lines for a file of users.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence

from kafscale.tap.users import credentials_of

USAGE = """Usage: python -m kafscale hash-password NAME

Reads a password from the terminal, or the first line of the standard input, and
writes lines for KAFSCALE_USERS_FILE, one for each mechanism of SCRAM.
"""


def hash_password(arguments: Sequence[str]) -> int:
    """
    Write the lines.

    @param arguments: The user's name.
    @return: The exit status.
    """
    if list(arguments) == ["--help"]:
        sys.stdout.write(USAGE)
        return 0
    if len(arguments) != 1 or not arguments[0] or arguments[0].startswith(("-", "#")):
        sys.stderr.write(USAGE)
        return 2
    (name,) = arguments
    try:
        password = _read(name)
        password.encode()
    except UnicodeError:
        sys.stderr.write("kafscale: the password is not UTF-8\n")
        return 1
    if not password:
        sys.stderr.write("kafscale: the password is empty\n")
        return 1
    for mechanism, credential in credentials_of(password).items():
        sys.stdout.write(f"{name}:{credential.to_text(mechanism)}\n")
    return 0


def _read(name: str) -> str:
    """
    The password; empty at the end of the input, and if the user gives up (Ctrl-D, Ctrl-C).
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    try:
        return getpass.getpass(f"Password of {name}: ")
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write("\n")
        return ""
