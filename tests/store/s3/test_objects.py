"""
Objects in a bucket of a real server, over real HTTP.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from kafscale.errors import ObjectExists
from kafscale.interfaces import IObjectStore
from kafscale.store.s3.objects import PART_BYTES, S3ObjectStore
from tests import s3
from tests.store import contract


class S3ContractTests(contract.ObjectStoreContract):
    """
    A bucket keeps the contract.
    """

    part_bytes = PART_BYTES

    async def make_store(self) -> IObjectStore:
        """
        In a new bucket, on the server of this test run.
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
    It does so when large objects are sent in parts.
    """

    part_bytes = 5 * 1024 * 1024


class CarelessContractTests(contract.ReplacingStoreContract):
    """
    Where C{If-None-Match} is ignored the rest of it holds.
    """

    async def make_store(self) -> IObjectStore:
        """
        In a new bucket, in parts of 5 MiB.
        """
        return s3.store(await s3.new_bucket("careless"), 5 * 1024 * 1024)


class CountTests(TestCase):
    """
    Requests are counted as S3's bill does.
    """

    async def test_requests(self) -> None:
        """
        An object in parts is several; one that is refused counts; a listing is
        as many as it has pages.
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
