"""
Tests for L{kafscale.store.s3.credentials}.
"""

from __future__ import annotations

from typing import Any

from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.store.blocking import at_once
from kafscale.store.s3.credentials import CHECK_SECONDS, SEARCH_SECONDS, Credentials
from kafscale.store.s3.errors import NoCredentials
from tests.harness.coroutines import begin, now


class Source:
    """
    Stands in for botocore's credentials.

    @ivar known: The credentials that are valid now.
    @ivar expired: Whether they have expired.
    @ivar looks: How often they were asked for.
    @ivar error: What is raised when they are asked for.
    """

    def __init__(self, name: str = "a") -> None:
        self.known = ReadOnlyCredentials(name, "secret", None)
        self.expired = False
        self.looks = 0
        self.error: Exception | None = None

    def refresh_needed(self, refresh_in: float) -> bool:
        """
        See botocore's C{RefreshableCredentials}.
        """
        return self.expired

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """
        See botocore's C{RefreshableCredentials}.
        """
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.known


class CredentialsTests(SynchronousTestCase):
    """
    Credentials that are found, refreshed and replaced.
    """

    def setUp(self) -> None:
        """
        Make a source of credentials.
        """
        self.clock = Clock()
        self.source = Source()
        self.sources: list[Any] = [self.source]
        self.work: list[Deferred[None]] = []
        self.waits = False
        self.credentials = Credentials(self.search, self.run_blocking, self.clock)

    def search(self) -> Any:
        """
        Find the latest source.
        """
        return self.sources[-1]

    def run_blocking(self, function: Any, /, *args: Any, **named: Any) -> Deferred[Any]:
        """
        Run a function at once, or when the test fires a Deferred in C{work}.
        """
        if not self.waits:
            return at_once(function, *args, **named)
        started: Deferred[None] = Deferred()
        self.work.append(started)
        return started.addCallback(lambda _: function(*args, **named))

    def test_one_search_for_all(self) -> None:
        """
        Several callers wait for the same search. If one of them is cancelled,
        the others go on waiting.
        """
        self.waits = True
        asked = [begin(self.credentials.current()) for _ in range(3)]
        self.assertEqual(len(self.work), 1)
        asked[0].cancel()
        self.failureResultOf(asked[0], CancelledError)
        self.work[0].callback(None)
        for each in asked[1:]:
            self.assertEqual(self.successResultOf(each).access_key, "a")

    def test_refreshed_ahead(self) -> None:
        """
        Credentials are refreshed at intervals, in a thread. Meanwhile the old
        ones are used.
        """
        now(self.credentials.current())
        self.waits = True
        self.source.known = ReadOnlyCredentials("b", "secret", None)
        self.clock.advance(CHECK_SECONDS)
        for _ in range(2):
            current = now(self.credentials.current())
            self.assertEqual(current.access_key, "a")
        self.assertEqual(len(self.work), 1)
        self.work[0].callback(None)
        current = now(self.credentials.current())
        self.assertEqual((current.access_key, self.source.looks), ("b", 2))

    def test_expired(self) -> None:
        """
        If the credentials have expired, callers wait for new ones, and fail if
        there are none.
        """
        now(self.credentials.current())
        self.source.expired = True
        self.source.error = OSError("the instance's role does not answer")
        self.clock.advance(CHECK_SECONDS)
        self.failureResultOf(begin(self.credentials.current()), NoCredentials)
        self.source.error, self.source.expired = None, False
        self.clock.advance(CHECK_SECONDS)
        now(self.credentials.current())

    def test_none(self) -> None:
        """
        While there are no credentials, each request searches for them.
        """
        self.sources = [None]
        self.failureResultOf(begin(self.credentials.current()), NoCredentials)
        self.sources = [self.source]
        now(self.credentials.current())

    def test_replaced(self) -> None:
        """
        If S3 refuses credentials, others are searched for, but not too often.
        """
        refused = now(self.credentials.current())
        self.assertFalse(now(self.credentials.replace(refused)))
        self.sources.append(Source("new"))
        self.assertFalse(now(self.credentials.replace(refused)))
        self.clock.advance(SEARCH_SECONDS)
        self.assertTrue(now(self.credentials.replace(refused)))
        self.assertTrue(now(self.credentials.replace(refused)))
        current = now(self.credentials.current())
        self.assertEqual(current.access_key, "new")
