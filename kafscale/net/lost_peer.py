"""
Whether a client is gone whose connection is not read.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from kafscale.net.layers import lowest

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)

# States of a connection in Linux's tcp_states.h: it was reset, or the client has
# closed its side.
_ENDED: Final = (7, 8)


def is_gone(transport: Any) -> bool:
    """
    Whether the client has closed the connection, or it was reset, although nothing was
    read since. False where the kernel does not say.

    @param transport: The connection's, on top of others perhaps.
    """
    if _TCP_INFO is None:
        return False
    try:
        handle = lowest(transport).getHandle()
        return handle.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] in _ENDED
    except (AttributeError, OSError):
        return False
