"""
Tests for L{kafscale.store.s3.probe} where creates may replace. What a broker
says of buckets that it refuses is tested in L{tests.clients.test_s3}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase

from kafscale.errors import SettingError
from kafscale.store.s3.address import Address
from kafscale.store.s3.objects import S3ObjectStore
from tests import s3


class ProbeTests(TestCase):
    """
    With C{KAFSCALE_S3_FENCING=metadata}.
    """

    def opened(self, address: Address) -> S3ObjectStore:
        """
        A bucket's objects, for one test.
        """
        store = s3.store(address)
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        return store

    async def probe(self, store: S3ObjectStore, cluster: str) -> None:
        """
        What a broker of this cluster does at its start.
        """
        await s3.probe(store, cluster, "metadata")

    async def keys(self, store: S3ObjectStore) -> list[str]:
        """
        What is in the bucket.
        """
        return [info.key for info in await store.list("default/")]

    async def test_a_store_that_replaces(self) -> None:
        """
        It is taken, large objects are sent in parts, and no probe is left.
        """
        store = self.opened(await s3.new_bucket("careless"))
        for _ in range(2):
            await self.probe(store, "one")
        self.assertTrue(store.create_only)
        self.assertTrue(store.in_parts)
        self.assertEqual(await self.keys(store), ["default/claims/one", "default/cluster"])

    async def test_a_store_that_creates_only(self) -> None:
        """
        It is taken as it is.
        """
        store = self.opened(await s3.new_bucket())
        await self.probe(store, "one")
        self.assertTrue(store.create_only and store.in_parts)

    async def test_a_store_that_knows_no_conditions(self) -> None:
        """
        It is sent none.
        """
        for kind in ("plain", "puzzled"):
            store = self.opened(await s3.new_bucket(kind))
            await self.probe(store, "one")
            self.assertFalse(store.create_only)
            self.assertTrue(store.in_parts)

    async def test_a_store_that_takes_nothing(self) -> None:
        """
        With a condition or without: it says why, as ever.
        """
        store = self.opened(await s3.new_bucket("readonly"))
        with self.assertRaisesRegex(SettingError, "AccessDenied"):
            await self.probe(store, "one")

    async def test_a_store_without_parts(self) -> None:
        """
        It is used without them.
        """
        store = self.opened(await s3.new_bucket("wholesale"))
        await self.probe(store, "one")
        self.assertFalse(store.in_parts)

    async def test_of_another_cluster(self) -> None:
        """
        The first claim is not replaced.
        """
        store = self.opened(await s3.new_bucket("careless"))
        await self.probe(store, "one")
        with self.assertRaisesRegex(SettingError, "of another cluster"):
            await self.probe(store, "two")
        self.assertIn(b"one", await store.get("default/cluster"))

    async def test_two_at_the_same_time(self) -> None:
        """
        However their steps mix, not both are let in; and who is alone then, is.
        """
        for _ in range(5):
            address = await s3.new_bucket("careless")
            stores = {name: self.opened(address) for name in ("one", "two", "three")}
            told = await DeferredList(
                [Deferred.fromCoroutine(self.probe(each, name)) for name, each in stores.items()],
                consumeErrors=True,
            )
            entered = [name for name, (well, _) in zip(stores, told, strict=True) if well]
            for _, result in told:
                if result is not None:
                    self.assertIsInstance(result.value, SettingError)
            self.assertLessEqual(len(entered), 1)
            last = entered[0] if entered else "one"
            await self.probe(stores[last], last)
            self.assertEqual(
                await self.keys(stores["one"]), [f"default/claims/{last}", "default/cluster"]
            )
