"""
Leases of etcd that are kept alive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.errors import StoreError
from kafscale.store.etcd.client import EtcdClient
from kafscale.store.etcd.errors import NOT_FOUND, EtcdError

AGAIN_SECONDS = 0.5
"""The mean time before a renewal that failed is tried again."""


class Leases:
    """
    Grants leases, and renews them.
    """

    _log = Logger()

    def __init__(
        self, client: EtcdClient, clock: IReactorTime, jitter: Callable[[], float]
    ) -> None:
        """
        @param client: Sends the requests.
        @param clock: Times the renewals.
        @param jitter: Returns a number from 0 to 1, another one at each call.
        """
        self._client = client
        self._jitter = jitter
        self._clock = clock
        self._renewals: dict[int, Chore] = {}

    async def grant(self, seconds: float) -> int:
        """
        Grant a lease, and return its id. It is renewed until it is revoked, or
        etcd reports that it has ended: which it does if this process does not
        reach etcd for that many seconds.

        @param seconds: Rounded up. etcd has a minimum, which depends on its
            election timeout.
        """
        answer = await self._client.call("/v3/lease/grant", {"TTL": str(math.ceil(seconds))})
        lease, granted = int(answer["ID"]), float(answer["TTL"])
        self._renewals[lease] = Chore(
            self._clock,
            partial(self._renew, lease, granted),
            partial(self._not_renewed, lease),
            interval=granted / 3,
        )
        self._renewals[lease].start()
        return lease

    async def revoke(self, lease: int) -> None:
        """
        End a lease now. One that has already ended is no error.
        """
        self._stop_renewing(lease)
        try:
            await self._client.call("/v3/lease/revoke", {"ID": str(lease)})
        except EtcdError as error:
            if error.code != NOT_FOUND:
                raise

    def stop(self) -> None:
        """
        Renew no lease any more.
        """
        for lease in list(self._renewals):
            self._stop_renewing(lease)

    def _stop_renewing(self, lease: int) -> None:
        renewal = self._renewals.pop(lease, None)
        if renewal is not None:
            renewal.abandon()

    async def _renew(self, lease: int, seconds: float) -> None:
        """
        Renew a lease once. (The API is a stream; a request to the gateway has
        one answer.)

        @param seconds: For how long the lease was granted.
        """
        # The time-out leaves time to ask the next member before the lease ends.
        answer = await self._client.call(
            "/v3/lease/keepalive", {"ID": str(lease)}, seconds / 6, repeatable=True
        )
        left = int(answer.get("result", {}).get("TTL", 0))
        if left <= 0 and lease in self._renewals:
            self._log.warn("lease {lease} has ended in etcd, with the keys under it", lease=lease)
            self._stop_renewing(lease)

    def _not_renewed(self, lease: int, failure: Failure) -> float | None:
        if isinstance(failure.value, StoreError):  # a refused login may succeed later, too
            seconds = AGAIN_SECONDS * (0.5 + self._jitter())
            self._log.warn(
                "could not renew lease {lease} in etcd, trying again in {seconds:.1f} s: {reason}",
                lease=lease,
                seconds=seconds,
                reason=failure.value,
            )
            return seconds
        self._log.failure(
            "internal error while renewing lease {lease} in etcd, which is renewed no more",
            failure,
            lease=lease,
        )
        self._stop_renewing(lease)
        return None
