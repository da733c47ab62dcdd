"""
The PROXY protocol, versions 1 and 2, of load balancers.

A load balancer begins each connection with a header that names the client's address.
Anyone could write such a header, so it is read only from the load balancers' own
addresses; on connections from elsewhere it is not expected. The header is removed
before anything else, TLS included, and the connection goes on as the client's own.

The specification is https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.seldom import Seldom

HEADER_SECONDS: Final = 10.0
"""Seconds from the start of a connection within which its header must arrive."""

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_MOST_V1 = 107  # bytes with the end of the line, by the specification
_MOST_V2 = 4096
_V2 = struct.Struct(">12sBBH")
_ADDRESSES = {0x1: struct.Struct(">4s4sHH"), 0x2: struct.Struct(">16s16sHH")}
_V1 = re.compile(rb"PROXY (?:UNKNOWN[^\r\n]*|TCP([46]) (\S+) (\S+) (\d{1,5}) (\d{1,5}))")

Networks: TypeAlias = Sequence[IPv4Network | IPv6Network]


class NoHeader(ValueError):
    """
    The bytes are no header of the protocol.
    """


def read_header(data: bytes) -> tuple[tuple[str, int] | None, int] | None:
    """
    Read the header at the start of a connection.

    @return: The client's address, None if it is that of the connection itself, and the
        length of the header; None instead of both if the header is not complete.
    @raise NoHeader: The bytes do not begin with one.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _read_v2(data)
    if data[:6] != b"PROXY "[: len(data)]:
        raise NoHeader("it does not begin with a header of the PROXY protocol")
    return _read_v1(data)


def _read_v1(data: bytes) -> tuple[tuple[str, int] | None, int] | None:
    end = data.find(b"\r\n", 0, _MOST_V1)
    if end < 0:
        if len(data) >= _MOST_V1:
            raise NoHeader("its header of the PROXY protocol is too long")
        return None
    found = _V1.fullmatch(data, 0, end)
    if found is None:
        raise NoHeader("its header of the PROXY protocol is malformed")
    if found[1] is None:
        return None, end + 2
    try:
        host = ipaddress.ip_address(found[2].decode("ascii"))
        ipaddress.ip_address(found[3].decode("ascii"))
    except ValueError:
        raise NoHeader("its header of the PROXY protocol has no address") from None
    port = int(found[4])
    if host.version != int(found[1]) or port > 65535:
        raise NoHeader("its header of the PROXY protocol is malformed")
    return (str(host), port), end + 2


def _read_v2(data: bytes) -> tuple[tuple[str, int] | None, int] | None:
    if len(data) < _V2.size:
        return None
    _, command, family, size = _V2.unpack_from(data)
    if command not in (0x20, 0x21) or size > _MOST_V2:
        raise NoHeader("its header of the PROXY protocol is malformed")
    end = _V2.size + size
    if len(data) < end:
        return None
    layout = _ADDRESSES.get(family >> 4)
    if command == 0x20 or layout is None:  # of the load balancer itself, or not of IP
        return None, end
    if size < layout.size:
        raise NoHeader("its header of the PROXY protocol is malformed")
    host, _, port, _ = layout.unpack_from(data, _V2.size)
    return (str(ipaddress.ip_address(host)), port), end


class ProxiedFactory(Factory):
    """
    A listener's connections behind load balancers.
    """

    noisy = False

    def __init__(self, factory: Any, trusted: Networks, clock: IReactorTime, rare: Seldom) -> None:
        """
        @param factory: Builds the protocols of the clients.
        @param trusted: The load balancers' addresses.
        @param clock: Times the headers.
        @param rare: Which malformed headers are logged, by hosts.
        """
        self._factory = factory
        self._trusted = trusted
        self._clock = clock
        self._rare = rare

    def buildProtocol(self, addr: Any) -> Any:
        """
        From a load balancer a protocol that reads the header first; otherwise that of
        the client.
        """
        host = ipaddress.ip_address(addr.host.partition("%")[0])
        if host.version == 6 and host.ipv4_mapped is not None:
            host = host.ipv4_mapped
        if any(host in network for network in self._trusted):
            return _Header(self._factory, self._clock, self._rare)
        return self._factory.buildProtocol(addr)


class _Header(Protocol):
    """
    Reads the header, and makes the connection the client's.
    """

    _log = Logger()
    transport: Any

    def __init__(self, factory: Any, clock: IReactorTime, rare: Seldom) -> None:
        self._factory = factory
        self._clock = clock
        self._rare = rare
        self._received = b""
        self._due: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        Wait for the header, for a while.
        """
        self._due = self._clock.callLater(HEADER_SECONDS, self._refuse, "its header did not arrive")

    def dataReceived(self, data: bytes) -> None:
        """
        Read the header, and give what is behind it to the client's protocol.
        """
        self._received += data
        try:
            found = read_header(self._received)
        except NoHeader as why:
            self._refuse(str(why))
            return
        if found is None:
            return
        source, size = found
        self._stop()
        transport = self.transport
        address: IAddress = transport.getPeer()
        if source is not None:
            kind = IPv6Address if ":" in source[0] else IPv4Address
            address = kind("TCP", *source)
            transport.getPeer = lambda: address
        inner = self._factory.buildProtocol(address)
        if inner is None:
            transport.abortConnection()
            return
        transport.protocol = inner
        inner.makeConnection(transport)
        rest = self._received[size:]
        if rest:
            inner.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The load balancer has closed.
        """
        self._stop()

    def _stop(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()

    def _refuse(self, why: str) -> None:
        self._stop()
        host = self.transport.getPeer().host
        if self._rare.passes(host) is not None:
            self._log.warn("closing the connection from {host}: {reason}", host=host, reason=why)
        self.transport.abortConnection()
