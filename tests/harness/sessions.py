"""
Sessions for tests that are not about them.
"""

from __future__ import annotations

from kafscale.access.open_sessions import OpenSession
from kafscale.interfaces import Listener, SecurityProtocol

LISTENER = Listener("PLAINTEXT", SecurityProtocol.PLAINTEXT)
"""A listener without authentication."""

SESSION = OpenSession(LISTENER)
"""The session of a connection to it."""
