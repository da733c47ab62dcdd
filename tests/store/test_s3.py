"""
Objects in a bucket of a real server, over real HTTP.
"""

from __future__ import annotations

from kafscale.interfaces import IObjectStore
from tests import s3
from tests.store import contract


class S3ContractTests(contract.ObjectStoreContract):
    """
    A bucket keeps the contract.
    """

    async def make_store(self) -> IObjectStore:
        """
        In a new bucket.
        """
        return s3.store(await s3.new_bucket())


class PartsContractTests(contract.ObjectStoreContract):
    """
    It does so when large objects are sent in parts.
    """

    async def make_store(self) -> IObjectStore:
        """
        In a new bucket, in parts of 5 MiB.
        """
        return s3.store(await s3.new_bucket(), 5 * 1024 * 1024)
