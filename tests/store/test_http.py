"""
Tests for L{kafscale.store.http}.
"""

from __future__ import annotations

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError, ConnectionLost, ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed

from kafscale.store.http import is_cancelled


class IsCancelledTests(SynchronousTestCase):
    """
    Which errors of Twisted mean that a request was cancelled.
    """

    def test_cancelled(self) -> None:
        """
        It may be while it connects, while it waits for the response, or for the
        body.
        """
        connecting = ConnectingCancelledError(HostnameAddress(b"localhost", 9000))
        responding = ResponseFailed([Failure(ConnectionLost()), Failure(CancelledError())])
        for error in (connecting, responding, CancelledError()):
            self.assertTrue(is_cancelled(error))

    def test_others(self) -> None:
        """
        All other errors are those of the server, or of the network.
        """
        lost = ResponseFailed([Failure(ConnectionLost())])
        for error in (lost, ConnectionRefusedError(), ValueError()):
            self.assertFalse(is_cancelled(error))
