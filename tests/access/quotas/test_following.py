"""
Following the records of quotas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.quotas.following import Addresses, QuotaFollower
from kafscale.access.quotas.quotas import Quotas
from kafscale.format.quota import QuotaRecord
from kafscale.interfaces.quotas import CONNECTION_RATE, PRODUCE_RATE


class FakeRecords:
    """
    Stands in for L{kafscale.interfaces.IClusterRecords}.
    """

    def __init__(self, records: dict[str, QuotaRecord]) -> None:
        self._records = records
        self._changed: Callable[[Mapping[str, Any]], None] = lambda _: None

    def records(self) -> Mapping[str, QuotaRecord]:
        """
        All of them.
        """
        return self._records

    def get(self, key: str) -> QuotaRecord | None:
        """
        One of them.
        """
        return self._records.get(key)

    def on_change(self, changed: Callable[[Mapping[str, Any]], None]) -> None:
        """
        There is one subscriber.
        """
        self._changed = changed

    def put(self, key: str, record: QuotaRecord | None) -> None:
        """
        Change one.
        """
        if record is None:
            del self._records[key]
        else:
            self._records[key] = record
        self._changed({key: record})


class FollowingTests(SynchronousTestCase):
    """
    Tests of L{QuotaFollower} and L{Addresses}.
    """

    def setUp(self) -> None:
        """
        One user has a quota.
        """
        self.quotas = Quotas(Clock().seconds)
        self.records = FakeRecords({"a": QuotaRecord((("user", "ann"),), {PRODUCE_RATE: 10.0})})
        self.looked_up: list[tuple[str, Deferred[str]]] = []

    def follow(self) -> Addresses:
        """
        Begin.
        """

        def look_up(host: str) -> Deferred[str]:
            found: Deferred[str] = Deferred()
            self.looked_up.append((host, found))
            return found

        addresses = Addresses(look_up)
        QuotaFollower(self.records, self.quotas, addresses).start()  # type: ignore[arg-type]
        return addresses

    def test_follows(self) -> None:
        """
        Quotas that were there, that come, and that go.
        """
        self.follow()
        self.assertEqual(self.quotas.produced("ann", None, 110), 1000)
        self.records.put("b", QuotaRecord((("user", "bob"),), {PRODUCE_RATE: 10.0}))
        self.assertEqual(self.quotas.produced("bob", None, 110), 1000)
        self.records.put("a", None)
        self.records.put("b", None)
        self.assertFalse(self.quotas.active)

    def test_address(self) -> None:
        """
        An address is compared in its usual form.
        """
        self.records.put("i", QuotaRecord((("ip", "::0001"),), {CONNECTION_RATE: 1.0}))
        self.follow()
        self.assertEqual([self.quotas.connected("::1") > 0 for _ in range(11)][-1], True)

    def test_host(self) -> None:
        """
        A host is looked up, and its quota is in force then, unless it is gone.
        """
        for key, host in (("i", "x.example"), ("j", "y.example"), ("k", "z.example")):
            self.records.put(key, QuotaRecord((("ip", host),), {CONNECTION_RATE: 1.0}))
        self.follow()
        self.records.put("j", None)
        for (_, found), address in zip(self.looked_up, ("10.0.0.1", "10.0.0.2"), strict=False):
            found.callback(address)
        self.looked_up[2][1].errback(DNSLookupError())
        last = [self.quotas.connected(f"10.0.0.{at % 2 + 1}") for at in range(22)][-2:]
        self.assertEqual([delay > 0 for delay in last], [True, False])
        self.records.put("i", None)
        self.assertEqual(self.quotas.connected("10.0.0.1"), 0)

    def test_find(self) -> None:
        """
        A host that is found is known from then on; one without an address is not.
        """
        asked: list[str] = []

        def look_up(host: str) -> Deferred[str]:
            asked.append(host)
            if host != "x.example":
                raise DNSLookupError
            return succeed("10.0.0.1")

        addresses = Addresses(look_up)
        for host, address in (
            ("x.example", "10.0.0.1"),
            ("x.example", "10.0.0.1"),
            ("y.example", None),
            ("127.0.0.1", "127.0.0.1"),
            ("10.0.0.0/8", None),
        ):
            finding = Deferred.fromCoroutine(addresses.find(host))
            self.assertEqual(self.successResultOf(finding), address)
        self.assertEqual(asked, ["x.example", "y.example", "10.0.0.0/8"])
