"""
Tests of `kafscale.access.open_sessions`.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.open_sessions import OpenSessions
from kafscale.interfaces import ANONYMOUS, SecurityProtocol
from tests.harness.sessions import LISTENER


class OpenSessionsTests(SynchronousTestCase):
    """
    Sessions without SASL.
    """

    def test_begin(self) -> None:
        """
        Each is open, belongs to the listener, and is anonymous.
        """
        sessions = OpenSessions(LISTENER)
        session = sessions.begin("127.0.0.1")
        self.assertTrue(session.is_open)
        self.assertIs(session.listener, LISTENER)
        self.assertEqual(session.principal, ANONYMOUS)
        self.assertEqual(str(session.principal), "User:ANONYMOUS")
        self.assertIsNot(session, sessions.begin("127.0.0.1"))
        self.assertFalse(session.manages_tokens)

    def test_protocols(self) -> None:
        """
        What each protocol has.
        """
        self.assertEqual([each for each in SecurityProtocol if each.has_tls], ["SSL", "SASL_SSL"])
        self.assertEqual(
            [each for each in SecurityProtocol if each.has_sasl], ["SASL_PLAINTEXT", "SASL_SSL"]
        )
