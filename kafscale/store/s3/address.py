"""
The URL of a bucket, and of each of its objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import attrs
from botocore.session import Session


@attrs.frozen
class Address:
    """
    The address of a bucket.

    @ivar bucket: The name of the bucket.
    @ivar region: The AWS region, which is part of each signature.
    @ivar base: The URL of the bucket, without a slash at the end.
    """

    bucket: str
    region: str
    base: str

    def url(self, key: str = "", query: Mapping[str, str] | None = None) -> str:
        """
        The URL of an object, or of the bucket, encoded as it is signed
        ("Create a canonical request" in the documentation of AWS Signature
        Version 4).
        """
        url = f"{self.base}/{quote(key, safe='/-_.~')}"
        if not query:
            return url
        pairs = (f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in query.items())
        return f"{url}?{'&'.join(sorted(pairs))}"


def address_of(
    session: Session,
    bucket: str,
    region: str | None,
    endpoint: str | None,
    path_style: bool | None,
) -> Address:
    """
    Determine the address of a bucket.

    @param session: Has the environment and the AWS profile.
    @param bucket: The name of the bucket.
    @param region: None: the region of the environment or the profile, else
        us-east-1.
    @param endpoint: The C{http://host:port} or C{https://host:port} of another
        store than Amazon S3.
    @param path_style: Whether the name of the bucket is in the path, and not in
        the host name. None: if there is an C{endpoint}, and for a bucket with a
        dot in its name, which wildcard certificates do not match.
    """
    region = region or session.get_config_variable("region") or "us-east-1"
    if endpoint is None:
        endpoint = f"https://{_amazon(session, region)}"
        if path_style is None:
            path_style = "." in bucket
    elif path_style is None:
        path_style = True
    endpoint = endpoint.rstrip("/")
    if path_style:
        return Address(bucket, region, f"{endpoint}/{bucket}")
    parts = urlsplit(endpoint)
    return Address(bucket, region, f"{parts.scheme}://{bucket}.{parts.netloc}")


def _amazon(session: Session, region: str) -> str:
    known = session.get_component("endpoint_resolver").construct_endpoint("s3", region)
    return str(known["hostname"]) if known else f"s3.{region}.amazonaws.com"
