"""
Who we are to S3.

Botocore's chain finds credentials in the environment, in a profile, by a web
identity or from the instance's role. It blocks (it reads files, and asks other
servers), so it runs in a thread, and ahead of time: requests are signed with
what is known already, as long as that is good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.store.blocking import RunBlocking
from kafscale.store.s3.errors import NoCredentials

#: Seconds between two looks at whether credentials are to be refreshed. Botocore
#: refreshes them a quarter of an hour before they expire.
LOOK_SECONDS = 60.0

#: Seconds between two searches for others when those that there are were refused.
SEARCH_SECONDS = 5.0


class Credentials:
    """
    The credentials that are good now.
    """

    _log = Logger()

    def __init__(
        self,
        search: Callable[[], Any],
        run_blocking: RunBlocking,
        clock: IReactorTime,
    ) -> None:
        """
        @param search: Goes through botocore's chain from the beginning: botocore's
            credentials, or None. It may block.
        """
        self._search = search
        self._run_blocking = run_blocking
        self._clock = clock
        self._source: Any = None
        self._known: ReadOnlyCredentials | None = None
        self._looked = 0.0
        self._searched: float | None = None
        self._waiting: list[Deferred[None]] | None = None  # while a thread is at it

    async def current(self) -> ReadOnlyCredentials:
        """
        The credentials to sign with.

        @raise NoCredentials: there are none.
        """
        if self._known is None:
            await self._update(search=self._source is None)
        elif self._clock.seconds() - self._looked >= LOOK_SECONDS:
            updating = self._update(search=False)
            if self._expired():
                await updating
        if self._known is None or self._expired():
            raise NoCredentials("no credentials for S3, or they have expired")
        return self._known

    async def replace(self, refused: ReadOnlyCredentials) -> bool:
        """
        S3 has refused these: whether there are others now. Somebody may have
        written new ones into a profile, or a role's were revoked.
        """
        if self._known == refused:
            now = self._clock.seconds()
            searched = self._searched is not None and now - self._searched < SEARCH_SECONDS
            if searched and self._waiting is None:
                return False
            self._searched = now
            await self._update(search=True)
        return self._known is not None and self._known != refused

    def _expired(self) -> bool:
        needed = getattr(self._source, "refresh_needed", None)  # static ones have none
        return needed is not None and bool(needed(0))

    def _update(self, search: bool) -> Deferred[None]:
        """
        Fires, never with a failure, when a thread has looked. Who waits may be
        cancelled; the look goes on for the others.
        """
        waiter: Deferred[None] = Deferred()
        if self._waiting is None:
            self._waiting = []
            self._looked = self._clock.seconds()
            self._run_blocking(self._look, search).addCallbacks(
                self._found, self._not_found
            ).addBoth(self._tell)
        if self._waiting is None:  # it was done at once
            waiter.callback(None)
        else:
            self._waiting.append(waiter)
        return waiter

    def _look(self, search: bool) -> tuple[Any, ReadOnlyCredentials | None]:
        """
        In a thread.
        """
        source = self._search() if search or self._source is None else self._source
        return source, source.get_frozen_credentials() if source is not None else None

    def _found(self, found: tuple[Any, ReadOnlyCredentials | None]) -> None:
        source, known = found
        if known is None and self._known is not None:
            return  # better what was refused once than nothing
        self._source, self._known = source, known

    def _not_found(self, failure: Failure) -> None:
        self._log.warn(
            "credentials for S3 cannot be had now: {reason}", reason=failure.getErrorMessage()
        )

    def _tell(self, _: object) -> None:
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)
