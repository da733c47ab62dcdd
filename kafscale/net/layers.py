"""
What lies between a connection and its socket, such as TLS.
"""

from __future__ import annotations

from typing import Any


def lowest(transport: Any) -> Any:
    """
    The transport that has the socket.

    @param transport: The connection's: that one, or one on top of others.
    """
    while (below := getattr(transport, "transport", None)) is not None:
        transport = below
    return transport
