"""
C{kill -9} during produce, again and again on one data directory.
"""

from __future__ import annotations

from tests.clients import contract


class CrashTests(contract.CrashContract):
    """
    A broker on a directory.
    """
