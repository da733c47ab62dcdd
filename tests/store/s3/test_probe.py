"""
Tests for L{kafscale.store.s3.probe} with C{KAFSCALE_S3_FENCING=metadata}, and
for the claims of L{kafscale.store.identity} in a store that replaces. The
messages about buckets that are refused are tested in
L{tests.clients.test_s3_failures} and L{tests.clients.test_s3_treatments}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase

from kafscale.errors import SettingError
from kafscale.format.cluster import BUCKET, StoreRecord
from kafscale.store.blocking import at_once
from kafscale.store.identity import Place, StoreIdentity
from kafscale.store.s3.address import Address
from kafscale.store.s3.objects import S3ObjectStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness import s3


class ProbeTests(TestCase):
    """
    Buckets of different kinds.
    """

    def opened(self, address: Address) -> S3ObjectStore:
        """
        Make a store in a bucket, which is closed after the test.
        """
        store = s3.store(address)
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        return store

    async def probe(self, store: S3ObjectStore, cluster: str) -> None:
        """
        Do what a broker of this cluster does at its first start.
        """
        await s3.probe(store, "metadata")
        record = StoreRecord(BUCKET, "default", "any")
        place = Place(record, "the bucket", "the metadata", "", may_replace=True)
        metadata = SQLiteMetadataStore(":memory:", at_once)
        await StoreIdentity(metadata, store, place).check(cluster)

    async def keys(self, store: S3ObjectStore) -> list[str]:
        """
        The keys in the bucket.
        """
        return [info.key for info in await store.list("default/")]

    async def test_a_store_that_replaces(self) -> None:
        """
        A store that replaces objects is accepted, with uploads in parts. The
        objects of the probe are deleted.
        """
        store = self.opened(await s3.new_bucket("careless"))
        for _ in range(2):
            await self.probe(store, "one")
        self.assertTrue(store.create_only)
        self.assertTrue(store.in_parts)
        self.assertEqual(await self.keys(store), ["default/claims/one", "default/cluster"])

    async def test_a_store_that_creates_only(self) -> None:
        """
        A store with conditional creates is accepted, and its creates are
        conditional.
        """
        store = self.opened(await s3.new_bucket())
        await self.probe(store, "one")
        self.assertTrue(store.create_only and store.in_parts)

    async def test_a_store_that_knows_no_conditions(self) -> None:
        """
        A store that refuses conditional creates is accepted, and its creates are
        not conditional.
        """
        for kind in ("plain", "puzzled"):
            store = self.opened(await s3.new_bucket(kind))
            await self.probe(store, "one")
            self.assertFalse(store.create_only)
            self.assertTrue(store.in_parts)

    async def test_a_store_that_takes_nothing(self) -> None:
        """
        A store that refuses all creates is not accepted.
        """
        store = self.opened(await s3.new_bucket("readonly"))
        with self.assertRaisesRegex(SettingError, "AccessDenied"):
            await self.probe(store, "one")

    async def test_a_store_without_parts(self) -> None:
        """
        A store without multipart uploads is accepted, and each object is sent in
        one request.
        """
        store = self.opened(await s3.new_bucket("wholesale"))
        await self.probe(store, "one")
        self.assertFalse(store.in_parts)

    async def test_of_another_cluster(self) -> None:
        """
        A second cluster is refused, and the claim of the first is not replaced.
        """
        store = self.opened(await s3.new_bucket("careless"))
        await self.probe(store, "one")
        with self.assertRaisesRegex(SettingError, "of another cluster"):
            await self.probe(store, "two")
        self.assertIn(b"one", await store.get("default/cluster"))

    async def test_two_at_the_same_time(self) -> None:
        """
        Of several clusters that begin at the same time at most one is accepted.
        One that begins alone afterwards is.
        """
        for _ in range(5):
            address = await s3.new_bucket("careless")
            stores = {name: self.opened(address) for name in ("one", "two", "three")}
            outcomes = await DeferredList(
                [Deferred.fromCoroutine(self.probe(each, name)) for name, each in stores.items()],
                consumeErrors=True,
            )
            accepted = [name for name, (is_ok, _) in zip(stores, outcomes, strict=True) if is_ok]
            for _, result in outcomes:
                if result is not None:
                    self.assertIsInstance(result.value, SettingError)
            self.assertLessEqual(len(accepted), 1)
            last = accepted[0] if accepted else "one"
            await self.probe(stores[last], last)
            self.assertEqual(
                await self.keys(stores["one"]), [f"default/claims/{last}", "default/cluster"]
            )
