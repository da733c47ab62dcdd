"""
Tests for L{kafscale.store.memory}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.interfaces import IObjectStore
from kafscale.store.memory import MemoryObjectStore
from tests.harness.careless import CarelessObjectStore
from tests.harness.coroutines import now
from tests.store import contract


class MemoryContractTests(contract.ObjectStoreContract):
    """
    The store in memory keeps the contract.
    """

    async def make_store(self) -> IObjectStore:
        """
        Make an empty store.
        """
        return MemoryObjectStore()


class CarelessContractTests(contract.ReplacingStoreContract):
    """
    The store with which tests stand in for one that replaces objects keeps the
    rest of the contract.
    """

    async def make_store(self) -> IObjectStore:
        """
        Make an empty store.
        """
        return CarelessObjectStore()


class MemoryListingTests(SynchronousTestCase):
    """
    Listings, compared with a model.
    """

    @settings(max_examples=100, deadline=None)
    @given(contract.keys, st.data())
    def test_listing(self, keys: list[str], data: st.DataObject) -> None:
        """
        Any listing of any set of keys is that of a sorted list.
        """
        store = MemoryObjectStore()
        for key in keys:
            now(store.create(key, [b"x"]))
        cuts = [key[:at] for key in keys for at in range(len(key) + 1)] or [""]
        prefix, after = data.draw(st.sampled_from(cuts)), data.draw(st.sampled_from(cuts))
        limit = data.draw(st.integers(0, 6))
        found = now(store.list(prefix, after, limit))
        self.assertEqual(
            [info.key for info in found], contract.listed(keys, prefix, after, limit)
        )
