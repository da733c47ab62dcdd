"""
The benchmarks' own S3 server is one.
"""

from __future__ import annotations

from kafscale.interfaces import IObjectStore
from kafscale.store.s3.address import Address
from tests.bench.on_s3 import BUCKET, Store
from tests.harness import s3
from tests.store import contract


class BenchStoreTests(contract.ObjectStoreContract):
    """
    It keeps the contract of object stores.
    """

    async def make_store(self) -> IObjectStore:
        """
        In a bucket of a server of its own.
        """
        server = Store()
        self.addCleanup(server.stop)
        address = Address(BUCKET, "us-east-1", f"{server.endpoint}/{BUCKET}")
        return s3.store(address, 5 * 1024 * 1024)
