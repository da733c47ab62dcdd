"""
Ports for servers that are processes of their own.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

FIRST, LAST = 10_000, 32_000
"""The range: below the ports that the kernel gives to outgoing connections, so that
none of these takes a port while the server on it restarts."""

_reserved: set[int] = set()
_file: int | None = None


def free_port(offsets: Iterable[int] = (0,)) -> int:
    """
    Reserve a port on which no process listens, until this process ends. Test processes
    that run at the same time never get the same one.

    @param offsets: The ports that must be free, counted from the one that is returned.
    """
    while True:
        first = random.randint(FIRST, LAST)
        ports = [first + offset for offset in offsets]
        if all(port not in _reserved and _reserve(port) and _is_free(port) for port in ports):
            return first


def _reserve(port: int) -> bool:
    # A port is a byte of one file, which is locked by the process that has reserved it.
    global _file
    if _file is None:
        path = Path(tempfile.gettempdir(), f"kafscale-test-ports-{os.getuid()}")
        _file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _reserved.add(port)
    return True


def _is_free(port: int) -> bool:
    # On all addresses: some servers listen on more than the loopback interface.
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
