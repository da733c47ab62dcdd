"""
An object store in a bucket of Amazon S3, or of another store with S3's API.

L{S3Client} has a method for each request of the API that is used, and
L{S3ObjectStore} is built on them. This package imports botocore, which takes
half a second: import it only where a bucket is used.
"""

from kafscale.store.s3.client import S3Client
from kafscale.store.s3.objects import S3ObjectStore

__all__ = ["S3Client", "S3ObjectStore"]
