"""
Looking up the names of hosts.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError


def no_name(host: str) -> Deferred[str]:
    """
    Fail: where this is used, no name has an address.
    """
    raise DNSLookupError(host)
