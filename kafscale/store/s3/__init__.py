"""
Objects in a bucket of S3, or of a store that speaks its protocol.

`S3Client` knows S3's verbs, one request each; `S3ObjectStore` is made of them.
This package imports botocore, which takes half a second: import it only where
a bucket is used.
"""

from kafscale.store.s3.client import S3Client
from kafscale.store.s3.objects import S3ObjectStore

__all__ = ["S3Client", "S3ObjectStore"]
