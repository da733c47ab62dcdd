"""
Makes a client for the bucket that the settings name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafscale.config import Settings
from kafscale.store.blocking import RunBlocking
from kafscale.store.s3.client import S3Client


def client_of(
    settings: Settings,
    bucket: str,
    reactor: Any,
    run_blocking: RunBlocking,
    now: Callable[[], float],
) -> S3Client:
    """
    Make a client for a bucket. See L{S3Client.for_bucket}.

    @param bucket: The name of the bucket.
    @param reactor: Makes connections, resolves names and is the clock.
    @param run_blocking: Runs the search for credentials, and computes MD5s.
    @param now: Returns the seconds since 1970, for signatures.
    @raise SettingError: the certificates or the AWS profile cannot be used.
    """
    client = S3Client.for_bucket(
        bucket,
        reactor,
        run_blocking,
        now,
        region=settings.s3_region,
        endpoint=settings.s3_endpoint,
        path_style=settings.s3_path_style,
        kms_arn=settings.s3_kms_arn,
        ca_file=settings.s3_ca_file,
        concurrency=settings.s3_concurrency,
    )
    client.checksum = settings.s3_checksum
    return client
