"""
Tries a bucket again when its store was replaced while the broker runs.

A store that is updated, configured anew, or comes back as another one after an
outage may not do any more what it did at the start of the broker, or may have lost
the records. The broker would go on: requests that fail are repeated until the store
is there again. So the record that the probe has left is read once a minute. If it is
missing, or comes with a C{Server} header by which no broker of the cluster has tried
the store, everything that a start checks is checked again. A broker whose store is
refused then ends, as its next start would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.errors import SettingError, StoreError
from kafscale.store.s3.errors import NoAnswer, S3Error
from kafscale.store.s3.probe import Probe, UnfitStore

SECONDS = 60.0
"""How often the record is read."""


class ProbeWatch:
    """
    Watches one bucket.
    """

    _log = Logger()

    def __init__(
        self, probe: Probe, check: Callable[[str], Awaitable[None]], clock: IReactorTime
    ) -> None:
        """
        @param probe: Tries what the bucket can do; it has done so before L{begin}.
        @param check: Checks that the bucket has the records of the cluster with this
            id; raises L{SettingError<kafscale.errors.SettingError>} if not.
        @param clock: Times the looks at its record.
        """
        self._probe = probe
        self._check = check
        self._clock = clock
        self._looking: Chore | None = None

    def begin(self, refused: Callable[[str], None]) -> None:
        """
        Look at the record of the probe once a minute from now on.

        @param refused: Called with a line for the log when the bucket does not
            hold the records of the cluster, or cannot hold a log any more.
        """
        look = partial(self._look, refused)
        self._looking = Chore(self._clock, look, self._not_looked, interval=SECONDS)
        self._looking.start()

    def end(self) -> None:
        """
        Look no more.
        """
        if self._looking is not None:
            self._looking.abandon()

    async def _look(self, refused: Callable[[str], None]) -> None:
        why = await self._probe.why_replaced()
        if not why:
            return
        self._log.warn(
            "the store of {bucket} was replaced, trying it again: {why}",
            bucket=self._probe.where,
            why=why,
        )
        # First, because the probe leaves a new record.
        try:
            await self._check(self._probe.cluster)
        except SettingError as error:
            refused(str(error))
            return
        try:
            await self._probe.run(self._probe.cluster)
        except UnfitStore as error:
            refused(str(error))

    def _not_looked(self, failure: Failure) -> None:
        if failure.check(S3Error, NoAnswer, StoreError, SettingError):  # type: ignore[no-untyped-call]
            self._log.warn(
                "could not find out whether the store of {bucket} was replaced, next in"
                " {seconds:g} s: {why}",
                bucket=self._probe.where,
                seconds=SECONDS,
                why=failure.getErrorMessage(),
            )
        else:
            self._log.failure(
                "internal error while finding out whether the store of {bucket} was replaced, next"
                " in {seconds:g} s",
                failure,
                bucket=self._probe.where,
                seconds=SECONDS,
            )
