"""
Tests of `kafscale.net.proxy_protocol`.
"""

from __future__ import annotations

import struct
from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from kafscale.concurrency.seldom import Seldom
from kafscale.net.proxy_protocol import HEADER_SECONDS, NoHeader, ProxiedFactory, read_header

V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 5001 9092\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, body: bytes) -> bytes:
    """
    A header of version 2.
    """
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


V2 = v2(0x21, 0x11, bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack(">HH", 5001, 9092))
V2_IPV6 = v2(0x21, 0x21, bytes(15) + b"\1" + bytes(16) + struct.pack(">HH", 5001, 9092) + b"tlv")


class HeaderTests(SynchronousTestCase):
    """
    Headers and what is none.
    """

    def test_headers(self) -> None:
        """
        The client's address and the length of the header, however it is cut.
        """
        for header, source in (
            (V1, ("192.0.2.7", 5001)),
            (b"PROXY TCP6 2001:db8::1 ::1 5001 9092\r\n", ("2001:db8::1", 5001)),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
            (V2, ("192.0.2.7", 5001)),
            (V2_IPV6, ("::1", 5001)),
            (v2(0x20, 0x00, b""), None),  # the load balancer's own check
            (v2(0x21, 0x31, bytes(216)), None),  # Unix sockets
        ):
            for end in range(len(header)):
                self.assertIsNone(read_header(header[:end]), header[:end])
            self.assertEqual(read_header(header), (source, len(header)))
            self.assertEqual(read_header(header + b"more"), (source, len(header)))

    def test_malformed(self) -> None:
        """
        What is no header is refused as early as it can be seen.
        """
        for wrong in (
            b"G",
            b"\0\0\0\x2a",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5001\r\n",
            b"PROXY TCP4 ::1 ::1 5001 9092\r\n",
            b"PROXY TCP4 host 10.0.0.1 5001 9092\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 9092\r\n",
            b"PROXY UNKNOWN " + b"x" * 200,
            v2(0x11, 0x11, bytes(12)),
            v2(0x21, 0x11, bytes(11)),
            SIGNATURE + b"\x21\x11\xff\xff",
        ):
            self.assertRaises(NoHeader, read_header, wrong)

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are a header, the start of one, or refused.
        """
        for each in (data, SIGNATURE + data, b"PROXY " + data):
            try:
                read_header(each)
            except NoHeader:
                continue


class Seen(Protocol):
    """
    A client's protocol.
    """

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        """
        Keep it.
        """
        self.received += data


class ProxiedTests(SynchronousTestCase):
    """
    Connections of load balancers, and others.
    """

    def setUp(self) -> None:
        """
        Load balancers are in 10.0.0.0/8.
        """
        self.clock = Clock()
        rare = Seldom(self.clock.seconds, 60)
        factory = Factory.forProtocol(Seen)
        self.factory = ProxiedFactory(factory, [ip_network("10.0.0.0/8")], self.clock, rare)

    def connect(self, host: str) -> tuple[Any, Any]:
        """
        A connection from there.
        """
        address = IPv4Address("TCP", host, 1)
        protocol = self.factory.buildProtocol(address)
        transport: Any = StringTransport(peerAddress=address)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport

    def test_header(self) -> None:
        """
        The client's protocol sees the client's address and what is behind the header.
        """
        for header in (V1, V2):
            protocol, transport = self.connect("10.1.2.3")
            for byte in header[:-1]:
                protocol.dataReceived(bytes([byte]))
            self.assertIs(transport.protocol, protocol)
            protocol.dataReceived(header[-1:] + b"rest")
            inner = transport.protocol
            self.assertIsInstance(inner, Seen)
            self.assertEqual(inner.received, b"rest")
            self.assertEqual(inner.transport.getPeer().host, "192.0.2.7")
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_own_connection(self) -> None:
        """
        A load balancer's own connection keeps its address.
        """
        protocol, transport = self.connect("10.1.2.3")
        protocol.dataReceived(v2(0x20, 0, b""))
        self.assertEqual(transport.protocol.transport.getPeer().host, "10.1.2.3")

    def test_from_elsewhere(self) -> None:
        """
        From another address no header is read: it is data as any other.
        """
        protocol, _ = self.connect("192.0.2.9")
        protocol.dataReceived(V1)
        self.assertIsInstance(protocol, Seen)
        self.assertEqual(protocol.received, V1)
        self.assertEqual(protocol.transport.getPeer().host, "192.0.2.9")

    def test_no_header(self) -> None:
        """
        Without a header, or without one in time, the connection is closed.
        """
        protocol, transport = self.connect("10.1.2.3")
        protocol.dataReceived(b"\0\0\0\x0a")
        self.assertTrue(transport.disconnecting or transport.disconnected)
        protocol, transport = self.connect("10.1.2.3")
        protocol.dataReceived(V1[:5])
        self.clock.advance(HEADER_SECONDS - 0.1)
        self.assertFalse(transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(transport.disconnected)

    def test_gone(self) -> None:
        """
        A connection that is lost leaves no timer.
        """
        protocol, _ = self.connect("10.1.2.3")
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
