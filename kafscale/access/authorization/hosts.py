"""
Addresses of clients, and the hosts in ACLs that match them.

The host of an ACL is C{*}, an address, or a network in CIDR notation (KIP-1274).
Anything else, such as a name, is kept and never matches, as in Kafka.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeAlias

from kafscale.errors import InvalidRequest

ANY_HOST = "*"

Address: TypeAlias = tuple[int, int] | None
"""The version of IP and the address as a number; None if it is no address."""

_NEVER = (0, 0, 0)


def address_of(host: str) -> Address:
    """
    The address of a client. IPv4 in IPv6 (C{::ffff:192.0.2.1}) is IPv4.
    """
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.version, int(found)


def check_host(host: str) -> None:
    """
    Check the host of a new ACL.

    @raise InvalidRequest: it is empty, or meant as a network and none.
    """
    if not host:
        raise InvalidRequest("Invalid empty host")
    if "/" in host:
        try:
            ip_network(host, strict=False)
        except ValueError:
            raise InvalidRequest(f"Invalid CIDR notation {host[:100]!r}") from None


def _network_of(host: str) -> tuple[int, int, int]:
    """
    The version of IP, the mask and the network of a host in an ACL.
    """
    if "/" in host:
        try:
            network = ip_network(host, strict=False)
        except ValueError:
            return _NEVER
        return network.version, int(network.netmask), int(network.network_address)
    address = address_of(host)
    return _NEVER if address is None else (address[0], -1, address[1])


class Hosts:
    """
    The hosts of ACLs that are alike otherwise.
    """

    __slots__ = ("_networks",)

    def __init__(self) -> None:
        self._networks: dict[str, tuple[int, int, int]] = {}

    def __len__(self) -> int:
        return len(self._networks)

    def add(self, host: str) -> None:
        """
        Add the host of an ACL.
        """
        self._networks[host] = _network_of(host)

    def remove(self, host: str) -> None:
        """
        Remove it again.
        """
        self._networks.pop(host, None)

    def match(self, address: Address) -> bool:
        """
        Whether one of them matches the address of a client.
        """
        if ANY_HOST in self._networks:
            return True
        if address is None:
            return False
        version, number = address
        return any(
            version == each and number & mask == network
            for each, mask, network in self._networks.values()
        )
