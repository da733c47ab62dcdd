"""
Tests for L{kafscale.store.s3.objects}, with a real server.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from kafscale.errors import ObjectExists
from kafscale.interfaces import IObjectStore
from kafscale.store.s3.objects import PART_BYTES, S3ObjectStore
from tests.harness import s3
from tests.store import contract


class S3ContractTests(contract.ObjectStoreContract):
    """
    A bucket keeps the contract.
    """

    part_bytes = PART_BYTES

    async def make_store(self) -> IObjectStore:
        """
        Make a store in a new bucket, on the server of this test run.
        """
        return s3.store(await s3.new_bucket(), self.part_bytes)

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
