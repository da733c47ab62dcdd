"""
Has a broker keep to the quotas of the cluster.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.logger import Logger

from kafscale.access.quotas.quotas import Quotas
from kafscale.format.quota import QuotaEntity, QuotaRecord
from kafscale.interfaces import IClusterRecords
from kafscale.interfaces.quotas import IP


class Addresses:
    """
    The addresses of hosts that have quotas.
    """

    def __init__(self, look_up: Callable[[str], Awaitable[str]]) -> None:
        """
        @param look_up: Returns the address of a host name, or raises C{DNSLookupError}.
        """
        self._look_up = look_up
        self._found: dict[str, str] = {}

    def known(self, host: str) -> str | None:
        """
        The address of a host: of one that L{find} has found, or that is an address.
        """
        try:
            return str(ip_address(host))
        except ValueError:
            return self._found.get(host)

    async def find(self, host: str) -> str | None:
        """
        The address of a host; None if it has none.
        """
        if self.known(host) is None:
            try:
                self._found[host] = await self._look_up(host)
            except (DNSLookupError, OSError, UnicodeError):
                return None
        return self.known(host)


class QuotaFollower:
    """
    Changes the quotas of a broker whenever a record of them changes.
    """

    _log = Logger()

    def __init__(self, records: IClusterRecords, quotas: Quotas, addresses: Addresses) -> None:
        """
        @param records: The L{QuotaRecord} of each entity.
        @param quotas: What is changed.
        @param addresses: Finds those of hosts with quotas.
        """
        self._records = records
        self._quotas = quotas
        self._addresses = addresses
        self._entities: dict[str, QuotaEntity] = {}

    def start(self) -> None:
        """
        Begin with the present records.
        """
        self._changed(self._records.records())
        self._records.on_change(self._changed)

    def _changed(self, changed: Mapping[str, QuotaRecord | None]) -> None:
        for key, record in changed.items():
            before = self._entities.pop(key, None)
            if before is not None:
                self._quotas.change(before, None)
            if record is not None:
                self._put(key, record)

    def _put(self, key: str, record: QuotaRecord) -> None:
        entity = record.entity
        (kind, name), *_ = entity
        if kind == IP and name is not None:
            address = self._addresses.known(name)
            if address is None:
                Deferred.fromCoroutine(self._find(key, name))
                return
            entity = ((IP, address),)
        self._entities[key] = entity
        self._quotas.change(entity, record.values)

    async def _find(self, key: str, host: str) -> None:
        """
        Look up a host that another broker has found, or that has a quota since before
        this one started.
        """
        if await self._addresses.find(host) is None:
            self._log.warn(
                "{host} has a quota of connections, and no address is found for it: the quota is"
                " not in force here until it is set anew",
                host=host,
            )
            return
        record = self._records.get(key)
        if record is not None and key not in self._entities:
            self._put(key, record)
