"""
Leases, kept alive.
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
from kafscale.store.etcd.faults import NOT_FOUND, EtcdError

AGAIN_SECONDS = 0.5


class Leases:
    """
    Those of this process.
    """

    _log = Logger()

    def __init__(
        self, client: EtcdClient, clock: IReactorTime, jitter: Callable[[], float]
    ) -> None:
        """
        @param jitter: A number from 0 to 1, another one at each call.
        """
        self._client = client
        self._jitter = jitter
        self._clock = clock
        self._kept: dict[int, Chore] = {}

    async def grant(self, seconds: float) -> int:
        """
        A new one, which is kept alive until it is revoked, etcd says that it
        has ended, or this process does not reach etcd for so long.

        @param seconds: Rounded up; etcd has a least of its own.
        """
        answer = await self._client.call("/v3/lease/grant", {"TTL": str(math.ceil(seconds))})
        lease, left = int(answer["ID"]), float(answer["TTL"])
        self._kept[lease] = Chore(
            self._clock,
            partial(self._keep, lease, left),
            partial(self._not_kept, lease),
            interval=left / 3,
        )
        self._kept[lease].start()
        return lease

    async def revoke(self, lease: int) -> None:
        """
        End it now; one that has ended is no error.
        """
        self._forget(lease)
        try:
            await self._client.call("/v3/lease/revoke", {"ID": str(lease)})
        except EtcdError as error:
            if error.code != NOT_FOUND:
                raise

    def stop(self) -> None:
        """
        Keep none alive any more.
        """
        for lease in list(self._kept):
            self._forget(lease)

    def _forget(self, lease: int) -> None:
        keeping = self._kept.pop(lease, None)
        if keeping is not None:
            keeping.abandon()

    async def _keep(self, lease: int, seconds: float) -> None:
        """
        Ask once; the stream of the gateway has one answer.

        @param seconds: For which it was granted.
        """
        # In time to ask the next member, too, before it ends.
        answer = await self._client.call(
            "/v3/lease/keepalive", {"ID": str(lease)}, seconds / 6, repeatable=True
        )
        left = int(answer.get("result", {}).get("TTL", 0))
        if left <= 0 and lease in self._kept:
            self._log.warn("a lease has ended: {lease}", lease=lease)
            self._forget(lease)

    def _not_kept(self, lease: int, failure: Failure) -> float | None:
        if isinstance(failure.value, StoreError):  # also who is not let in may be, later
            self._log.warn("a lease is not kept alive yet: {reason}", reason=failure.value)
            return AGAIN_SECONDS * (0.5 + self._jitter())
        self._log.failure("keeping a lease ended", failure)
        self._forget(lease)
        return None
