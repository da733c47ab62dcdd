"""
Leases, kept alive.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

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
        self._due: dict[int, IDelayedCall] = {}
        self._seconds: dict[int, float] = {}

    async def grant(self, seconds: float) -> int:
        """
        A new one, which is kept alive until it is revoked, etcd says that it
        has ended, or this process does not reach etcd for so long.

        @param seconds: Rounded up; etcd has a least of its own.
        """
        answer = await self._client.call("/v3/lease/grant", {"TTL": str(math.ceil(seconds))})
        lease = int(answer["ID"])
        self._seconds[lease] = float(answer["TTL"])
        self._later(lease, self._seconds[lease] / 3)
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
        for lease in list(self._seconds):
            self._forget(lease)

    def _forget(self, lease: int) -> None:
        self._seconds.pop(lease, None)
        due = self._due.pop(lease, None)
        if due is not None and due.active():
            due.cancel()

    def _later(self, lease: int, seconds: float) -> None:
        self._due[lease] = self._clock.callLater(seconds, self._keep, lease)

    def _keep(self, lease: int) -> None:
        keeping = Deferred.fromCoroutine(self._kept(lease))
        keeping.addErrback(lambda failure: self._log.failure("keeping a lease ended", failure))

    async def _kept(self, lease: int) -> None:
        """
        Ask once; the stream of the gateway has one answer.
        """
        if lease not in self._seconds:
            return
        try:
            # In time to ask the next member, too, before it ends.
            seconds = self._seconds[lease] / 6
            answer = await self._client.call(
                "/v3/lease/keepalive", {"ID": str(lease)}, seconds, repeatable=True
            )
            left = int(answer.get("result", {}).get("TTL", 0))
        except StoreError as error:  # also who is not let in may be, later
            if lease in self._seconds:
                self._log.warn("a lease is not kept alive yet: {reason}", reason=error)
                self._later(lease, AGAIN_SECONDS * (0.5 + self._jitter()))
            return
        if lease not in self._seconds:
            return
        if left <= 0:
            self._log.warn("a lease has ended: {lease}", lease=lease)
            self._forget(lease)
        else:
            self._later(lease, self._seconds[lease] / 3)
