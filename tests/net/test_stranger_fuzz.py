"""
Some seconds of `tests.net.stranger_fuzz`.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.net.stranger_fuzz import Frames, fuzz


class StrangerFuzzTests(SynchronousTestCase):
    """
    Whatever a client sends before it has authenticated.
    """

    def test_frames(self) -> None:
        """
        No request reaches a service, nothing is told, and nothing is left.
        """
        connections, answered = fuzz(4000, seed=1)
        self.assertGreater(connections, 400)
        self.assertGreater(answered, 10_000)

    def test_all_are_tried(self) -> None:
        """
        Requests of every API are among the frames.
        """
        self.assertGreater(len({key for key, _ in Frames().headers}), 60)
