"""
Accounts of what clients use.
"""

from __future__ import annotations

from math import inf

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.access.quotas.limits import connection_limit_of, limit_of
from kafscale.access.quotas.quotas import IDLE_MS, MOST_ACCOUNTS, Quotas
from kafscale.errors import ThrottlingQuotaExceeded
from kafscale.format.quota import QuotaEntity
from kafscale.interfaces.quotas import (
    CONNECTION_RATE,
    FETCH_RATE,
    MUTATION_RATE,
    PRODUCE_RATE,
    REQUEST_PERCENTAGE,
    IQuotas,
)

MB = 1_000_000


def client(name: str | None) -> QuotaEntity:
    """
    A client id; None is the default.
    """
    return (("client-id", name),)


def user(name: str | None) -> QuotaEntity:
    """
    A user; None is the default.
    """
    return (("user", name),)


def both(name: str | None, client_id: str | None) -> QuotaEntity:
    """
    A user with a client id; None is the default.
    """
    return (("client-id", client_id), ("user", name))


PRECEDENCE = (
    (both("ann", "app"), ("ann", "app")),
    (both("ann", None), ("ann", "app")),
    (user("ann"), ("ann", "")),
    (both(None, "app"), ("ann", "app")),
    (both(None, None), ("ann", "app")),
    (user(None), ("ann", "")),
    (client("app"), ("", "app")),
    (client(None), ("", "app")),
)
"""Entities of which each comes before the next one, with the user and the client id whose
use counts."""


class LimitTests(SynchronousTestCase):
    """
    Tests of L{limit_of} and L{connection_limit_of}.
    """

    def test_precedence(self) -> None:
        """
        The most specific quota holds, and not those after it.
        """
        quotas = {entity: {PRODUCE_RATE: at + 1.0} for at, (entity, _) in enumerate(PRECEDENCE)}
        for at, (entity, counts) in enumerate(PRECEDENCE):
            found = limit_of(quotas, PRODUCE_RATE, "ann", "app")
            assert found is not None
            self.assertEqual((found.value, (found.user, found.client_id)), (at + 1.0, counts))
            del quotas[entity]
        self.assertIsNone(limit_of(quotas, PRODUCE_RATE, "ann", "app"))

    def test_each_key(self) -> None:
        """
        An entity without a quota of a kind leaves that kind to the next one.
        """
        quotas = {user("ann"): {FETCH_RATE: 1.0}, client("app"): {PRODUCE_RATE: 2.0}}
        found = limit_of(quotas, PRODUCE_RATE, "ann", "app")
        self.assertEqual(found and found.value, 2.0)

    def test_others(self) -> None:
        """
        Quotas of others do not hold.
        """
        quotas = {user("bob"): {PRODUCE_RATE: 1.0}, both("ann", "x"): {PRODUCE_RATE: 2.0}}
        self.assertIsNone(limit_of(quotas, PRODUCE_RATE, "ann", "app"))

    def test_addresses(self) -> None:
        """
        An address has its own quota, or the default of all.
        """
        quotas: dict[QuotaEntity, dict[str, float]] = {
            (("ip", "10.0.0.1"),): {CONNECTION_RATE: 1.0},
            (("ip", None),): {CONNECTION_RATE: 2.0},
        }
        self.assertEqual(connection_limit_of(quotas, "10.0.0.1"), 1.0)
        self.assertEqual(connection_limit_of(quotas, "10.0.0.2"), 2.0)
        self.assertIsNone(connection_limit_of({}, "10.0.0.1"))


class QuotasTests(SynchronousTestCase):
    """
    Tests of L{Quotas}.
    """

    def setUp(self) -> None:
        """
        No quotas.
        """
        self.clock = Clock()
        self.quotas = Quotas(self.clock.seconds)

    def set(self, quotas: dict[QuotaEntity, dict[str, float]]) -> None:
        """
        Set quotas.
        """
        for entity, values in quotas.items():
            self.quotas.change(entity, values)

    def test_none(self) -> None:
        """
        Without quotas nothing is throttled, and no account is kept.
        """
        verifyObject(IQuotas, self.quotas)
        self.assertFalse(self.quotas.active)
        self.assertEqual(self.quotas.produced("ann", None, 10**12), 0)
        self.assertEqual(self.quotas.fetched("ann", None, 10**12), 0)
        self.assertEqual(self.quotas.handled("ann", None, 1000.0), 0)
        self.assertEqual(self.quotas.connected("10.0.0.1"), 0)
        self.assertEqual(self.quotas.most_fetched("ann", None), inf)
        self.quotas.mutation("ann", None, True).use(10**6)
        self.assertEqual(self.quotas.counts.accounts, 0)

    def test_active(self) -> None:
        """
        Quotas of addresses alone cost requests nothing.
        """
        self.set({(("ip", None),): {CONNECTION_RATE: 1.0}})
        self.assertFalse(self.quotas.active)
        self.set({user(None): {PRODUCE_RATE: 1.0}})
        self.assertTrue(self.quotas.active)
        self.set({(("ip", None),): {CONNECTION_RATE: 2.0}})
        self.quotas.change(user(None), None)
        self.assertFalse(self.quotas.active)
        self.quotas.change((("ip", None),), None)
        self.assertEqual([self.quotas.connected("10.0.0.1") for _ in range(99)], [0] * 99)

    def test_shared(self) -> None:
        """
        All client ids of a user share its quota; with a quota for each client id of
        each user, they do not. A null client id is an empty one.
        """
        self.set({user("ann"): {PRODUCE_RATE: MB}})
        self.assertEqual(self.quotas.produced("ann", "a", 10 * MB), 0)
        self.assertEqual(self.quotas.produced("ann", "b", MB), 1000)
        self.set({both(None, None): {PRODUCE_RATE: MB}})
        self.assertEqual(self.quotas.produced("bob", "a", 10 * MB), 0)
        self.assertEqual(self.quotas.produced("bob", None, 10 * MB), 0)
        self.assertEqual(self.quotas.produced("bob", "", MB), 1000)
        self.assertEqual(self.quotas.counts.throttled, {PRODUCE_RATE: 2})

    def test_new_limit(self) -> None:
        """
        What was used before a quota is changed counts.
        """
        self.set({user("ann"): {PRODUCE_RATE: MB}})
        self.quotas.produced("ann", "a", 10 * MB)
        self.set({user("ann"): {PRODUCE_RATE: MB / 2}})
        self.assertEqual(self.quotas.produced("ann", "a", 0), 10_000)

    def test_fetch(self) -> None:
        """
        A response may have what comes in ten seconds. One that is throttled does not
        count.
        """
        self.set({user("ann"): {FETCH_RATE: MB}})
        self.assertEqual(self.quotas.most_fetched("ann", "a"), 10 * MB)
        self.assertEqual(self.quotas.fetched("ann", "a", 10 * MB), 0)
        self.assertEqual(self.quotas.fetched("ann", "a", MB), 1000)
        self.assertEqual(self.quotas.fetched("ann", "a", MB), 1000)
        self.clock.advance(11)
        self.assertEqual(self.quotas.fetched("ann", "a", MB), 0)

    def test_requests(self) -> None:
        """
        Work on requests is throttled for a second at most.
        """
        self.set({client(None): {REQUEST_PERCENTAGE: 1.0}})
        self.assertEqual(self.quotas.handled("ann", "a", 0.1), 0)
        self.assertEqual(self.quotas.handled("ann", "a", 0.001), 100)
        self.assertEqual(self.quotas.handled("ann", "a", 1.0), 1000)
        self.assertEqual(self.quotas.handled("ann", "b", 0.0), 0)

    def test_strict_mutation(self) -> None:
        """
        What exceeds the quota is done once, and the next request is refused.
        """
        self.set({user("ann"): {MUTATION_RATE: 1.0}})
        first = self.quotas.mutation("ann", None, True)
        first.use(50)
        self.assertEqual(first.throttle_ms, 0)
        second = self.quotas.mutation("ann", None, True)
        self.assertRaises(ThrottlingQuotaExceeded, second.use, 1)
        self.assertEqual(second.throttle_ms, 39_000)
        self.clock.advance(39)
        self.quotas.mutation("ann", None, True).use(1)

    def test_lenient_mutation(self) -> None:
        """
        What exceeds the quota is done, and the client slowed down.
        """
        self.set({user("ann"): {MUTATION_RATE: 1.0}})
        mutation = self.quotas.mutation("ann", None, False)
        mutation.use(10)
        self.assertEqual(mutation.throttle_ms, 0)
        mutation.use(7)
        self.assertEqual(mutation.throttle_ms, 6000)
        self.assertEqual(self.quotas.counts.throttled, {MUTATION_RATE: 1})

    def test_connections(self) -> None:
        """
        Twenty connections in ten seconds with two a second; one that is refused does
        not count, and is held for a second at most.
        """
        self.set({(("ip", "10.0.0.1"),): {CONNECTION_RATE: 2.0}})
        self.assertEqual([self.quotas.connected("10.0.0.1") for _ in range(20)], [0] * 20)
        self.assertEqual(self.quotas.connected("10.0.0.1"), 500)
        self.assertEqual(self.quotas.connected("10.0.0.1"), 500)
        self.assertEqual(self.quotas.connected("10.0.0.2"), 0)
        self.clock.advance(0.5)
        self.assertEqual(self.quotas.connected("10.0.0.1"), 0)

    def test_idle_accounts(self) -> None:
        """
        An account that was not used for an hour is dropped when there is a new one.
        """
        self.set({client(None): {PRODUCE_RATE: MB}})
        self.quotas.produced("ann", "a", 1)
        self.quotas.produced("ann", "b", 1)
        self.clock.advance(IDLE_MS / 1000)
        self.quotas.produced("ann", "b", 1)
        self.quotas.produced("ann", "c", 1)
        self.assertEqual(self.quotas.counts.accounts, 2)

    def test_many_accounts(self) -> None:
        """
        There are so many accounts at most; the one that was used least recently goes.
        """
        self.set({client(None): {PRODUCE_RATE: MB}})
        self.quotas.produced("ann", "first", 11 * MB)
        for number in range(MOST_ACCOUNTS - 1):
            self.quotas.produced("ann", f"client {number}", 1)
        self.assertGreater(self.quotas.produced("ann", "first", 1), 0)
        self.quotas.produced("ann", "one more", 1)
        self.assertEqual(self.quotas.counts.accounts, MOST_ACCOUNTS)
        self.assertGreater(self.quotas.produced("ann", "first", 1), 0)

    def test_long_names(self) -> None:
        """
        Clients with long ids have accounts of their own, and quotas.
        """
        self.set({client("x" * 30_000): {PRODUCE_RATE: MB}, user(None): {FETCH_RATE: MB}})
        self.assertEqual(self.quotas.produced("ann", "x" * 30_000, 10 * MB), 0)
        self.assertEqual(self.quotas.produced("ann", "x" * 30_000, MB), 1000)
        self.assertEqual(self.quotas.produced("ann", "x" * 29_999, 100 * MB), 0)
