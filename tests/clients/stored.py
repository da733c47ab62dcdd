"""
The objects of brokers, read directly from the directory or the bucket, and the
place in which each test keeps them.

With C{KAFSCALE_TEST_S3} each broker of the tests keeps its objects in a bucket
of the server that it names, but for those of the tests in L{LOCAL}.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Protocol

import attrs
from botocore.config import Config
from botocore.session import Session

from tests.harness import s3
from tests.harness.identities import KEY, SECRETS

#: Tests, or classes of them, whose brokers have local directories also when the others have
#: buckets; and why.
LOCAL = {
    "test_configs.KafkaPythonTests.test_disk": "how much room the disk has",
    "test_disk.FullDiskTests": "objects on a disk that is full",
    "test_identity.DirectoryTests": "a directory in whose place a bucket comes",
    "test_inspect.InspectTests": "damage done to files; test_s3 looks into a bucket",
    "test_operators.HealthTests.test_store_that_fails": "a directory that is no directory",
}


def in_bucket(test: str) -> bool:
    """
    Whether the brokers of the test with this id keep their objects in buckets.
    """
    name = test.removeprefix("tests.clients.")
    is_local = any(name == each or name.startswith(f"{each}.") for each in LOCAL)
    return bool(os.environ.get(s3.VARIABLE)) and not is_local


class Stored(Protocol):
    """
    The objects of a broker.
    """

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """
        Return the sizes of the objects by key, in the order of keys.
        """

    def read(self, key: str) -> bytes:
        """
        Return the contents of an object.
        """

    def write(self, key: str, data: bytes) -> None:
        """
        Write an object, replacing one that exists.
        """

    def remove(self, key: str) -> None:
        """
        Take one away.
        """


@attrs.frozen
class Directory:
    """
    Objects below a directory.
    """

    root: Path

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """
        See L{Stored.sizes}.
        """
        found = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                key = str(path.relative_to(self.root))
                if key.startswith(prefix) and not key.startswith("."):
                    try:
                        found[key] = path.stat().st_size
                    except FileNotFoundError:  # deleted while we look
                        continue
        return dict(sorted(found.items()))

    def read(self, key: str) -> bytes:
        """
        See L{Stored.read}.
        """
        return (self.root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """
        See L{Stored.write}.
        """
        (self.root / key).write_bytes(data)

    def remove(self, key: str) -> None:
        """
        See L{Stored.remove}.
        """
        (self.root / key).unlink()


@attrs.frozen
class Bucket:
    """
    Objects in a bucket.
    """

    endpoint: str
    name: str

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """
        See L{Stored.sizes}.
        """
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}

    def read(self, key: str) -> bytes:
        """
        See L{Stored.read}.
        """
        return bytes(self._client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def write(self, key: str, data: bytes) -> None:
        """
        See L{Stored.write}.
        """
        self._client.put_object(Bucket=self.name, Key=key, Body=data)

    def remove(self, key: str) -> None:
        """
        See L{Stored.remove}.
        """
        self._client.delete_object(Bucket=self.name, Key=key)

    @property
    def _client(self) -> Any:
        return _client_of(self.endpoint)


@functools.cache
def _client_of(endpoint: str) -> Any:
    """
    Return botocore's client: the checks do not use the broker's own client.
    """
    return Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRETS[KEY],
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
