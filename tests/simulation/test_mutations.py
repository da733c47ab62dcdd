"""
The seams of mutations exist in the broker.

That each is caught is a matter of minutes: L{tests.simulation.test_simulation}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.mutations import MUTATIONS, RECORD_END, Seam


class SeamTests(SynchronousTestCase):
    """
    The functions and methods that mutations replace.
    """

    def test_each_is_there(self) -> None:
        """
        Under the name that it has here, and what mutations put there can be
        called as it is.
        """
        for mutation in MUTATIONS:
            for seam, change in mutation.changes:
                seam.check(change)

    def test_one_is_missing(self) -> None:
        """
        The error for an unknown name contains the module and the name.
        """
        seam = Seam(RECORD_END.owner, "settled_by_nobody")
        told = str(self.assertRaises(LookupError, seam.original))
        self.assertIn("kafscale.log.takeover.sealing has no settled_by_nobody", told)

    def test_other_arguments(self) -> None:
        """
        What takes fewer arguments than the original fails here.
        """

        def shorter(original: object) -> object:
            return lambda store: None

        self.assertRaises(TypeError, RECORD_END.check, shorter)
