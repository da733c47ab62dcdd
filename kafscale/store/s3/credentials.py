"""
The credentials with which requests are signed.

Botocore searches for credentials in the environment, in an AWS profile, with a
web identity, and in the role of the container or the instance. The search blocks,
as it reads files and sends requests, so it runs in a thread, and ahead of time:
meanwhile requests are signed with the present credentials, while these are valid.
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

CHECK_SECONDS = 60.0
"""How often botocore gets the opportunity to refresh credentials. It does so a
quarter of an hour before they expire."""

SEARCH_SECONDS = 5.0
"""The minimum time between two searches for others, if S3 refuses the present
ones."""


class Credentials:
    """
    Provides the credentials that are valid now.
    """

    _log = Logger()

    def __init__(
        self,
        search: Callable[[], Any],
        run_blocking: RunBlocking,
        clock: IReactorTime,
    ) -> None:
        """
        @param search: Searches for credentials from the beginning. Returns
            botocore's object, or None. It may block.
        @param run_blocking: Runs the search.
        @param clock: Times checks and searches.
        """
        self._search = search
        self._run_blocking = run_blocking
        self._clock = clock
        self._source: Any = None
        self._known: ReadOnlyCredentials | None = None
        self._checked = 0.0
        self._searched: float | None = None
        self._waiting: list[Deferred[None]] | None = None  # while a thread searches

    async def current(self) -> ReadOnlyCredentials:
        """
        The credentials to sign with.

        @raise NoCredentials: none were found, or they have expired.
        """
        if self._known is None:
            await self._update(search=self._source is None)
        elif self._clock.seconds() - self._checked >= CHECK_SECONDS:
            updating = self._update(search=False)
            if self._expired():
                await updating
        if self._known is None:
            raise NoCredentials(
                "no credentials for S3 were found (environment, AWS profile, web identity,"
                " container role and instance role were tried)"
            )
        if self._expired():
            raise NoCredentials("the credentials for S3 have expired, and there are no new ones")
        return self._known

    async def replace(self, refused: ReadOnlyCredentials) -> bool:
        """
        Search for other credentials: those in a profile may have been changed,
        or those of a role revoked.

        @param refused: The credentials that S3 has refused.
        @return: Whether there are others now.
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
        Load the credentials in a thread, and wait for it. The Deferred never
        fails. If it is cancelled, loading goes on for the other callers.

        @param search: Whether to search from the beginning, and not only to
            refresh what was found.
        """
        waiter: Deferred[None] = Deferred()
        if self._waiting is None:
            self._waiting = []
            self._checked = self._clock.seconds()
            self._run_blocking(self._load, search).addCallbacks(
                self._found, self._not_found
            ).addBoth(self._loaded)
        if self._waiting is None:  # the work did not need a thread
            waiter.callback(None)
        else:
            self._waiting.append(waiter)
        return waiter

    def _load(self, search: bool) -> tuple[Any, ReadOnlyCredentials | None]:
        """
        Called in a thread.
        """
        source = self._search() if search or self._source is None else self._source
        return source, source.get_frozen_credentials() if source is not None else None

    def _found(self, found: tuple[Any, ReadOnlyCredentials | None]) -> None:
        source, known = found
        if known is None and self._known is not None:
            return  # credentials that were refused are better than none
        self._source, self._known = source, known

    def _not_found(self, failure: Failure) -> None:
        self._log.warn(
            "could not load credentials for S3, using the old ones while they are valid: {reason}",
            reason=failure.getErrorMessage(),
        )

    def _loaded(self, _: object) -> None:
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)
