"""
The socket of a connection, below what lies between them, such as TLS.
"""

from __future__ import annotations

import socket
from typing import Any, Final

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)

# States of a connection in Linux's tcp_states.h: it was reset, or the client has
# closed its side.
_ENDED: Final = (7, 8)


def lowest(transport: Any) -> Any:
    """
    The transport that has the socket.

    @param transport: The connection's: that one, or one on top of others.
    """
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below
    return transport


def is_gone(transport: Any) -> bool:
    """
    Whether the client of a connection that is not read has closed it, or it was reset.
    False where the kernel does not say.

    @param transport: The connection's, on top of others perhaps.
    """
    if _TCP_INFO is None:
        return False
    try:
        handle = lowest(transport).getHandle()
        return handle.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] in _ENDED
    except (AttributeError, OSError):
        return False
