"""
Tests for L{kafscale.store.s3.transport}. How requests are sent and answered is
tested in L{tests.store.s3.test_requests}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kafscale.store.s3.transport import allowed_seconds


class AllowedSecondsTests(SynchronousTestCase):
    """
    How long an exchange may take.
    """

    def test_grows_with_the_body(self) -> None:
        """
        30 seconds, and as long as the body takes at 64 KiB/s.
        """
        self.assertEqual(allowed_seconds(0), 30)
        self.assertEqual(allowed_seconds(60 * 64 * 1024), 90)
