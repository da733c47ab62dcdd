"""
The list of tests that stay with local directories.
"""

from __future__ import annotations

import os

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from tests.clients.stored import LOCAL, in_bucket
from tests.harness import s3


class LocalTests(SynchronousTestCase):
    """
    It names tests, and nothing else.
    """

    def test_there_are_such(self) -> None:
        """
        Each is there under its name.
        """
        for name in LOCAL:
            self.assertIsNotNone(namedAny(f"tests.clients.{name}"))

    def test_in_bucket(self) -> None:
        """
        With the variable set all but those have buckets; without it, none.
        """
        local, other = "tests.clients.test_disk.FullDiskTests.test_it", "tests.clients.test_x.Y.z"
        self.patch(os, "environ", {s3.VARIABLE: "moto"})
        self.assertEqual([in_bucket(local), in_bucket(other)], [False, True])
        self.patch(os, "environ", {})
        self.assertEqual([in_bucket(local), in_bucket(other)], [False, False])
