"""
What each client has used of its quotas.

Each broker keeps its own account, as Kafka's brokers do: a client that is held to
1 MB/s gets that from each broker.

An account is kept for whatever a quota holds for: a user, a client id, both, or an
address. It is dropped when nothing was used for an hour, and the one that was used
least recently is dropped when there are too many, because clients choose their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from math import inf
from typing import Final, TypeAlias

import attrs
from zope.interface import implementer

from kafscale.access.quotas.limits import Limit, connection_limit_of, limit_of
from kafscale.access.quotas.windows import SAMPLE_MS, WINDOW_SECONDS, Rate, TokenBucket
from kafscale.counts import QuotaCounts
from kafscale.errors import ThrottlingQuotaExceeded
from kafscale.format.quota import QuotaEntity
from kafscale.interfaces.quotas import (
    CONNECTION_RATE,
    FETCH_RATE,
    IP,
    MUTATION_RATE,
    PRODUCE_RATE,
    REQUEST_PERCENTAGE,
    IQuotas,
)

IDLE_MS: Final = 3_600_000
"""An account that was not used for so long is dropped, as in Kafka."""

MOST_ACCOUNTS: Final = 10_000
"""How many accounts are kept, and for how many clients it is known which are theirs."""

_LONG_NAME: Final = 256

_Limits: TypeAlias = dict[str, Limit]


@attrs.define(eq=False)
class _Account:
    """
    What was used of one quota.

    @ivar used: When something was used last, in ms.
    """

    measure: Rate | TokenBucket
    used: int


class _Accounts:
    """
    The accounts, in the order of their last use.
    """

    def __init__(self, counts: QuotaCounts) -> None:
        self._accounts: dict[tuple[str, str, str], _Account] = {}
        self._counts = counts

    def rate(self, key: str, user: str, client_id: str, now: int) -> Rate:
        """
        The account of a quota that is a rate.
        """
        measure = self._used((key, user, client_id), now, lambda: Rate(now))
        assert isinstance(measure, Rate)
        return measure

    def bucket(self, limit: Limit, now: int) -> TokenBucket:
        """
        The account of a quota of changes.
        """
        measure = self._used(
            (MUTATION_RATE, limit.user, limit.client_id),
            now,
            lambda: TokenBucket(limit.value, now),
        )
        assert isinstance(measure, TokenBucket)
        return measure

    def _used(
        self, key: tuple[str, str, str], now: int, new: Callable[[], Rate | TokenBucket]
    ) -> Rate | TokenBucket:
        account = self._accounts.pop(key, None)
        if account is None:
            account = _Account(new(), now)
            self._drop(now)
        account.used = now
        self._accounts[key] = account
        self._counts.accounts = len(self._accounts)
        return account.measure

    def _drop(self, now: int) -> None:
        while self._accounts:
            first = next(iter(self._accounts))
            idle = now - self._accounts[first].used >= IDLE_MS
            if not idle and len(self._accounts) < MOST_ACCOUNTS:
                return
            del self._accounts[first]


@attrs.define(eq=False)
class _Mutation:
    """
    See L{kafscale.interfaces.quotas.IMutationQuota}.
    """

    _limit: Limit | None
    _accounts: _Accounts
    _ms: Callable[[], int]
    _counts: QuotaCounts
    _strict: bool
    throttle_ms: int = 0

    def use(self, partitions: int) -> None:
        """
        See L{kafscale.interfaces.quotas.IMutationQuota.use}.
        """
        if self._limit is None:
            return
        now = self._ms()
        bucket, limit = self._accounts.bucket(self._limit, now), self._limit.value
        if self._strict:
            self._throttle(bucket.delay(limit, now))
            if self.throttle_ms:
                raise ThrottlingQuotaExceeded
        bucket.take(partitions, limit, now)
        if not self._strict:
            self._throttle(bucket.delay(limit, now))

    def _throttle(self, ms: int) -> None:
        if ms and not self.throttle_ms:
            self._counts.exceeded(MUTATION_RATE)
        self.throttle_ms = max(self.throttle_ms, ms)


@implementer(IQuotas)
class Quotas:
    """
    See L{IQuotas}.

    @ivar active: See L{IQuotas}.
    @ivar counts: How often a quota was exceeded.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """
        @param seconds: A monotonic clock.
        """
        self._seconds = seconds
        self._quotas: dict[QuotaEntity, Mapping[str, float]] = {}
        self._of_addresses = 0  # so many of them are for addresses
        self.counts = QuotaCounts()
        self._accounts = _Accounts(self.counts)
        self._limits: dict[tuple[str, str | None], _Limits] = {}
        self.active = False

    def change(self, entity: QuotaEntity, values: Mapping[str, float] | None) -> None:
        """
        From now on these are the quotas of an entity; None: it has none. What was used
        before counts.
        """
        before = self._quotas.pop(entity, None)
        if values is not None:
            self._quotas[entity] = values
        if entity[0][0] == IP:
            self._of_addresses += (values is not None) - (before is not None)
        self._limits.clear()
        self.active = len(self._quotas) > self._of_addresses

    def produced(self, user: str, client_id: str | None, size: int) -> int:
        """
        See L{IQuotas.produced}.
        """
        return self._used(PRODUCE_RATE, user, client_id, size)

    def most_fetched(self, user: str, client_id: str | None) -> float:
        """
        See L{IQuotas.most_fetched}: what may come in a window.
        """
        limit = self._limits_of(user, client_id).get(FETCH_RATE)
        return inf if limit is None else limit.value * WINDOW_SECONDS

    def fetched(self, user: str, client_id: str | None, size: int) -> int:
        """
        See L{IQuotas.fetched}.
        """
        delay = self._used(FETCH_RATE, user, client_id, size)
        if delay:
            limit = self._limits_of(user, client_id)[FETCH_RATE]
            now = self._ms()
            self._accounts.rate(FETCH_RATE, limit.user, limit.client_id, now).add(-size, now)
        return delay

    def handled(self, user: str, client_id: str | None, seconds: float) -> int:
        """
        See L{IQuotas.handled}.
        """
        delay = self._used(REQUEST_PERCENTAGE, user, client_id, seconds * 100)
        return min(delay, SAMPLE_MS)

    def mutation(self, user: str, client_id: str | None, strict: bool) -> _Mutation:
        """
        See L{IQuotas.mutation}.
        """
        limit = self._limits_of(user, client_id).get(MUTATION_RATE)
        return _Mutation(limit, self._accounts, self._ms, self.counts, strict)

    def connected(self, host: str) -> int:
        """
        See L{IQuotas.connected}.
        """
        if not self._of_addresses:
            return 0
        limit = connection_limit_of(self._quotas, host)
        if limit is None:
            return 0
        now = self._ms()
        rate = self._accounts.rate(CONNECTION_RATE, host, "", now)
        rate.add(1, now)
        delay = rate.delay(limit, now)
        if delay:
            rate.add(-1, now)
            self.counts.exceeded(CONNECTION_RATE)
        return min(delay, SAMPLE_MS)

    # ----------------------------------------------------------------------

    def _ms(self) -> int:
        return int(self._seconds() * 1000)

    def _used(self, key: str, user: str, client_id: str | None, amount: float) -> int:
        limit = self._limits_of(user, client_id).get(key)
        if limit is None:
            return 0
        now = self._ms()
        rate = self._accounts.rate(key, limit.user, limit.client_id, now)
        rate.add(amount, now)
        delay = rate.delay(limit.value, now)
        if delay:
            self.counts.exceeded(key)
        return delay

    def _limits_of(self, user: str, client_id: str | None) -> _Limits:
        if not self.active:
            return {}
        limits = self._limits.get((user, client_id))
        if limits is None:
            found = {
                key: limit_of(self._quotas, key, user, client_id or "")
                for key in (PRODUCE_RATE, FETCH_RATE, REQUEST_PERCENTAGE, MUTATION_RATE)
            }
            limits = {
                key: Limit(limit.value, _short(limit.user), _short(limit.client_id))
                for key, limit in found.items()
                if limit is not None
            }
            if len(self._limits) >= MOST_ACCOUNTS:
                self._limits.clear()
            if len(user) + len(client_id or "") <= _LONG_NAME:
                self._limits[user, client_id] = limits
        return limits


def _short(name: str) -> str:
    """
    A name that is kept in its place: a client may choose one of 32 KiB.
    """
    return name if len(name) <= _LONG_NAME else sha256(name.encode()).hexdigest()
