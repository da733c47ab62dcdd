"""
Where a bucket is: the URL of each of its objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import attrs
from botocore.session import Session


@attrs.frozen
class Address:
    """
    A bucket, and how to reach it.

    @ivar bucket: Its name.
    @ivar region: For which requests are signed.
    @ivar base: URL of the bucket, without a slash at its end.
    """

    bucket: str
    region: str
    base: str

    def url(self, key: str = "", query: Mapping[str, str] | None = None) -> str:
        """
        The URL of an object, or of the bucket, encoded as it is signed.
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
    Where the bucket is.

    @param region: None: what the environment or the profile says, else
        us-east-1.
    @param endpoint: C{http://host:port} or C{https://host:port} of a store;
        None: Amazon's, in that region.
    @param path_style: Whether the bucket stands in the path and not in the
        host's name. None: with an endpoint of one's own, and for a bucket
        with a dot, which no wildcard certificate matches.
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
