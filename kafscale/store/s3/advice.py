"""
What an operator can do about a bucket that cannot be used.
"""

from __future__ import annotations

from kafscale.store.s3.address import Address
from kafscale.store.s3.errors import NotFromS3, S3Error


def advice(error: BaseException, address: Address, *, reached: bool) -> str:
    """
    What to do about an error, in parentheses after a blank; empty if nothing is
    known that helps.

    @param error: Of a request to the bucket.
    @param address: The address of the bucket.
    @param reached: Whether the store has answered an earlier request as S3.
    """
    found = ""
    if isinstance(error, S3Error) and error.code != str(error.status):
        found = _OF_CODES.get(error.code, "")
    elif not reached:
        found = _of_endpoint(error, is_tls=address.base.startswith("https:"))
    return f" ({found})" if found else ""


def _of_endpoint(error: BaseException, *, is_tls: bool) -> str:
    """
    What to do about the address of something that does not answer as S3 does.
    """
    for words, at_tls, found in _OF_TEXTS:
        if words in str(error) and at_tls in (is_tls, None):
            return found
    has_answered = isinstance(error, S3Error) and 300 <= error.status < 500
    return _STRANGER if has_answered or isinstance(error, NotFromS3) else ""


_STRANGER = (
    "is that the API of S3, and not a web server or the console of a store? Check"
    " KAFSCALE_S3_ENDPOINT"
)
_TO_HTTP = "is it http? Then KAFSCALE_S3_ENDPOINT must begin with http://"
_TO_HTTPS = "is it https? Then KAFSCALE_S3_ENDPOINT must begin with https://"
_ENDPOINT = "check KAFSCALE_S3_ENDPOINT, and that the store is running"

_OF_TEXTS: tuple[tuple[str, bool | None, str], ...] = (
    (
        "certificate verify failed",
        True,
        "set KAFSCALE_S3_CA_FILE to the CA that signed it; it must be for the name in the endpoint",
    ),
    ("the answer ended too soon", None, ""),  # so it was in HTTP
    ("SSL routines", True, _TO_HTTP),
    ("HTTPS", False, _TO_HTTPS),  # of Go, nginx and others, with status 400
    ("wrong number of parts", False, _TO_HTTPS),  # the beginning is no status line
    ("Connection to the other side was lost", False, _TO_HTTPS),
    ("Connection was closed cleanly", False, _TO_HTTPS),
    ("no progress for", None, _ENDPOINT),
    ("Connection was refused", None, _ENDPOINT),
    ("DNS lookup failed", None, _ENDPOINT),
)
"""Words of errors without a code of S3, whether they are of a connection with TLS
(None: of any), and what to do about them."""

_OF_CODES = {
    "AccessDenied": "the permissions s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject"
    " and s3:AbortMultipartUpload are needed",
    "AuthorizationHeaderMalformed": "is KAFSCALE_S3_REGION right?",
    "ExpiredToken": "renew the credentials",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID or the profile",
    "NoSuchBucket": "create it, or check KAFSCALE_S3_BUCKET",
    "NotSignedUp": "check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY or the profile",
    "XAdminUserNotFound": "check AWS_ACCESS_KEY_ID or the profile",
}
"""By S3's codes, and those of s3s-fs (C{NotSignedUp}) and versitygw
(C{XAdminUserNotFound}) for an unknown key."""
