"""
Tests for L{kafscale.store.http}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.interfaces import IReactorPluggableNameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import (
    URI,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from zope.interface import implementer

from kafscale.store.http import Endpoints, is_cancelled, reason_of


@implementer(IReactorPluggableNameResolver)
class Resolving(MemoryReactorClock):
    """
    A reactor that has a name resolved when the test says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver: Any = self
        self.receivers: list[Any] = []

    def installNameResolver(self, resolver: Any) -> Any:  # noqa: N802
        """
        See C{IReactorPluggableNameResolver}.
        """

    def resolveHostName(self, receiver: Any, *args: Any, **named: Any) -> None:  # noqa: N802
        """
        See C{IHostnameResolver}.
        """
        self.receivers.append(receiver)


class EndpointTests(SynchronousTestCase):
    """
    Connections.
    """

    def setUp(self) -> None:
        """
        Begin to connect to a server by its name.
        """
        self.reactor = Resolving()
        endpoint = Endpoints(self.reactor, None).endpointForURI(URI.fromBytes(b"http://s3.test:1/"))
        self.connecting = endpoint.connect(Factory.forProtocol(Protocol))
        (self.receiver,) = self.reactor.receivers

    def test_cancelled_look_up(self) -> None:
        """
        To cancel one while the name is being resolved is not an error of the name.
        What is found later is ignored.
        """
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)
        self.receiver.addressResolved(IPv4Address("TCP", "10.0.0.1", 1))
        self.receiver.resolutionComplete()
        self.assertEqual(self.reactor.tcpClients, [])

    def test_cancelled_connection(self) -> None:
        """
        Nor is it one of the server later on.
        """
        self.receiver.addressResolved(IPv4Address("TCP", "10.0.0.1", 1))
        self.receiver.resolutionComplete()
        self.assertEqual([each[:2] for each in self.reactor.tcpClients], [("10.0.0.1", 1)])
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)

    def test_unknown_name(self) -> None:
        """
        A name that is not found is.
        """
        self.receiver.resolutionComplete()
        self.failureResultOf(self.connecting, DNSLookupError)


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

    def test_cut_short(self) -> None:
        """
        Of an answer that has begun the reason says that it is not complete.
        """
        reasons = [Failure(ConnectionDone()), Failure(ValueError())]
        self.assertEqual(
            reason_of(ResponseFailed(reasons, object())),
            "the answer ended too soon: Connection was closed cleanly",
        )
        self.assertEqual(
            reason_of(PotentialDataLoss()), "the answer does not say where it ends"
        )
