"""
Tests for L{kafscale.store.s3.address}.
"""

from __future__ import annotations

from typing import Any

from botocore.session import Session
from twisted.trial.unittest import SynchronousTestCase

from kafscale.store.s3.address import address_of


class AddressTests(SynchronousTestCase):
    """
    URLs of buckets and objects.
    """

    def base(self, bucket: str, **named: Any) -> str:
        """
        The URL of a bucket.
        """
        given = {"region": "eu-west-1", "endpoint": None, "path_style": None, **named}
        return address_of(Session(), bucket, **given).base

    def test_amazon(self) -> None:
        """
        On Amazon S3 the bucket is in the host name, in the domain of its region.
        """
        self.assertEqual(self.base("logs"), "https://logs.s3.eu-west-1.amazonaws.com")
        self.assertEqual(
            self.base("logs", region="cn-north-1"), "https://logs.s3.cn-north-1.amazonaws.com.cn"
        )
        self.assertEqual(
            self.base("logs", region="xy-new-9"), "https://logs.s3.xy-new-9.amazonaws.com"
        )

    def test_dots(self) -> None:
        """
        A bucket with a dot in its name is in the path: wildcard certificates do
        not match it.
        """
        self.assertEqual(self.base("my.logs"), "https://s3.eu-west-1.amazonaws.com/my.logs")

    def test_endpoint(self) -> None:
        """
        At an endpoint that is set the bucket is in the path, unless the setting
        says otherwise.
        """
        endpoint = "http://127.0.0.1:9000"
        self.assertEqual(self.base("logs", endpoint=endpoint), "http://127.0.0.1:9000/logs")
        self.assertEqual(
            self.base("logs", endpoint="https://store.example:9000", path_style=False),
            "https://logs.store.example:9000",
        )
        self.assertEqual(
            self.base("logs", path_style=True), "https://s3.eu-west-1.amazonaws.com/logs"
        )

    def test_url(self) -> None:
        """
        URLs are encoded as S3 encodes them when it checks the signature.
        """
        address = address_of(Session(), "logs", "eu-west-1", "http://h", None)
        self.assertEqual(
            address.url("a=b/c.kfs", {"uploadId": "x/y+z", "a": ""}),
            "http://h/logs/a%3Db/c.kfs?a=&uploadId=x%2Fy%2Bz",
        )
