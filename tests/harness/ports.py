"""
Ports for servers that are processes of their own.
"""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """
    Return a port on which no process listens, below those that the kernel gives
    to outgoing connections: so none of these takes it while a broker restarts.
    """
    while True:
        port = random.randint(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
