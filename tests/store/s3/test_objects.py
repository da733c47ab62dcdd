"""
Tests for L{kafscale.store.s3.objects}, with a real server.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from kafscale.errors import ObjectExists, SettingError
from kafscale.interfaces import IObjectStore
from kafscale.store.s3.objects import PART_BYTES, S3ObjectStore
from tests.harness import s3
from tests.store import contract

CONTRACTS = {
    "once": contract.ObjectStoreContract,
    "races": contract.RacingStoreContract,
    "replaces": contract.ReplacingStoreContract,
}
"""The contracts, by what becomes of several creates of one key."""


class S3ContractTests(CONTRACTS[s3.chosen().creates]):  # type: ignore[misc]  # by the server
    """
    A bucket keeps the contract.
    """

    part_bytes = PART_BYTES

    async def make_store(self) -> IObjectStore:
        """
        Make a store in a new bucket, on the server of this test run, with what the
        start-up probe finds out about this server.
        """
        store = s3.store(await s3.new_bucket(), self.part_bytes)
        peer = s3.chosen()
        store.in_parts = peer.in_parts
        self.nests = not peer.has_folders
        if peer.starts_within:
            self.elsewhere = ()
        return store

    def listing_order(self, key: str) -> Any:
        """
        SeaweedFS lists directory by directory: "a/b" comes before "a-/b". In S3
        it is the other way round.
        """
        return key.split("/") if s3.server().name == "seaweedfs" else super().listing_order(key)


class PartsContractTests(S3ContractTests):
    """
    A bucket keeps the contract when large objects are uploaded in parts.
    """

    part_bytes = 5 * 1024 * 1024


class CarelessContractTests(contract.ReplacingStoreContract):
    """
    A bucket that ignores C{If-None-Match} keeps the rest of the contract.
    """

    async def make_store(self) -> IObjectStore:
        """
        Make a store in a new bucket, with parts of 5 MiB.
        """
        return s3.store(await s3.new_bucket("careless"), 5 * 1024 * 1024)


class ProbeTests(TestCase):
    """
    The start-up probe, on the server of this test run.
    """

    async def test_found_out(self) -> None:
        """
        The probe accepts the server with the setting that it needs, refuses it without,
        and finds out whether uploads in parts can be used.
        """
        peer = s3.chosen()
        found = [await self.probed(fencing) for fencing in ("create", "metadata")]
        if peer.refused:
            self.assertIsInstance(found[0], SettingError)
            self.assertIn(peer.refused, str(found[1]))
        elif peer.creates == "once":
            self.assertEqual(found, [peer.in_parts, True])
        else:
            self.assertIn("does not keep to If-None-Match", str(found[0]))
            self.assertEqual(found[1], True)

    async def probed(self, fencing: str) -> bool | SettingError:
        """
        Whether uploads in parts can be used, as the probe finds out; its error, if it
        refuses the server.
        """
        store = s3.store(await s3.new_bucket())
        try:
            await s3.probe(store, fencing)
        except SettingError as error:
            return error
        finally:
            await store.close()
        return store.in_parts


class CountTests(TestCase):
    """
    The counts of requests, which are those of S3's bill.
    """

    async def test_requests(self) -> None:
        """
        An upload in parts is several requests, a refused create counts, and a
        listing is one request for each page.
        """
        store: S3ObjectStore = s3.store(await s3.new_bucket(), 5 * 1024 * 1024)
        await store.create("small", [b"one"])
        await store.create("large", [bytes(11 * 1024 * 1024)])
        with self.assertRaises(ObjectExists):
            await store.create("small", [b"two"])
        await store.get("small")
        await store.get_suffix("small", 2)
        await store.list("")
        await store.delete(["small", "large"])
        await store.close()
        self.assertEqual(
            dict(store.client.requests),
            {
                "PutObject": 2,
                "CreateMultipartUpload": 1,
                "UploadPart": 3,
                "CompleteMultipartUpload": 1,
                "GetObject": 2,
                "ListObjectsV2": 1,
                "DeleteObjects": 1,
            },
        )
