"""
Tests for L{kafscale.store.http}.
"""

from __future__ import annotations

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError, ConnectionLost, ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import (
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)

from kafscale.store.http import is_cancelled, reason_of


class IsCancelledTests(SynchronousTestCase):
    """
    Which errors of Twisted mean that a request was cancelled.
    """

    def test_cancelled(self) -> None:
        """
        It may be while it connects, while it sends its body, or while it waits
        for the response or its body.
        """
        connecting = ConnectingCancelledError(HostnameAddress(b"localhost", 9000))
        responding = ResponseFailed([Failure(ConnectionLost()), Failure(CancelledError())])
        wrapped = [
            kind([Failure(CancelledError())])
            for kind in (RequestGenerationFailed, RequestTransmissionFailed, ResponseNeverReceived)
        ]
        for error in (connecting, responding, CancelledError(), *wrapped):
            self.assertTrue(is_cancelled(error))

    def test_others(self) -> None:
        """
        All other errors are those of the server, or of the network.
        """
        lost = ResponseFailed([Failure(ConnectionLost())])
        for error in (lost, ConnectionRefusedError(), ValueError()):
            self.assertFalse(is_cancelled(error))


class ReasonTests(SynchronousTestCase):
    """
    Errors of Twisted, for the log.
    """

    def test_wrapped(self) -> None:
        """
        The reason is that of the last error within.
        """
        for kind in (RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed):
            lost = kind([Failure(ValueError("at first")), Failure(ValueError("it broke."))])
            self.assertEqual(reason_of(lost), "it broke")
        self.assertEqual(reason_of(ValueError()), "ValueError")
