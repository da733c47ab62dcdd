"""
Objects in memory.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.interfaces import IObjectStore
from kafscale.store.memory import MemoryObjectStore
from tests.careless import CarelessObjectStore
from tests.store import contract


class MemoryContractTests(contract.ObjectStoreContract):
    """
    The memory store keeps the contract.
    """

    async def make_store(self) -> IObjectStore:
        """
        In memory.
        """
        return MemoryObjectStore()


class CarelessContractTests(contract.ReplacingStoreContract):
    """
    So does the one that tests take for a store that replaces, but for that.
    """

    async def make_store(self) -> IObjectStore:
        """
        In memory.
        """
        return CarelessObjectStore()


class MemoryListingTests(SynchronousTestCase):
    """
    Listings against a model.
    """

    @settings(max_examples=100, deadline=None)
    @given(contract.keys, st.data())
    def test_listing(self, keys: list[str], data: st.DataObject) -> None:
        """
        Any listing of any set of keys is the sorted list's.
        """
        store = MemoryObjectStore()
        for key in keys:
            self.successResultOf(contract.begin(store.create(key, [b"x"])))
        cuts = [key[:at] for key in keys for at in range(len(key) + 1)] or [""]
        prefix, after = data.draw(st.sampled_from(cuts)), data.draw(st.sampled_from(cuts))
        limit = data.draw(st.integers(0, 6))
        found = self.successResultOf(contract.begin(store.list(prefix, after, limit)))
        self.assertEqual(
            [info.key for info in found], contract.listed(keys, prefix, after, limit)
        )
