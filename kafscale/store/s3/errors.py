"""
What S3 says when it does not do what it was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from botocore.parsers import create_parser

from kafscale.errors import NoSuchObject, ObjectExists, StoreBusy, StoreContended, StoreUnavailable

_parser = create_parser("rest-xml")

#: Codes that say: less of it, and later. So does any answer of status 429 or 503.
_BUSY = frozenset(
    {
        "BandwidthLimitExceeded",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)

#: Codes that new credentials may cure.
STALE = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "TokenRefreshRequired",
    }
)

#: Codes that say that the clocks differ.
SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired"})


class NoAnswer(Exception):
    """
    No answer, or not all of it: whether the request was done is unknown.
    """


class NoCredentials(NoAnswer):
    """
    Nothing to sign a request with: none were found, or those that were have
    expired and no others are to be had.
    """


class S3Error(Exception):
    """
    S3's answer is an error.

    @ivar status: Of HTTP.
    @ivar code: S3's word for it, such as C{NoSuchKey}; the status when the
        answer has none.
    @ivar region: Where the bucket is, when the answer says so.
    @ivar date: The server's time, as its header says it.
    """

    def __init__(
        self, status: int, code: str, message: str, region: str = "", date: str = ""
    ) -> None:
        super().__init__(f"{status} {code}: {message}" if message else f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.region = region
        self.date = date


@attrs.frozen
class Answer:
    """
    What S3 answered.

    @ivar headers: By their names in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def error(self) -> S3Error:
        """
        The error that it is.
        """
        response = {"status_code": self.status, "headers": dict(self.headers), "body": self.body}
        try:
            told = _parser.parse(response, None).get("Error", {})
        except Exception:  # noqa: BLE001 - it reads what anything on the way may have written
            told = {}
        region = told.get("Region") or self.headers.get("x-amz-bucket-region", "")
        return S3Error(
            self.status,
            str(told.get("Code") or self.status),
            str(told.get("Message") or ""),
            str(region),
            self.headers.get("date", ""),
        )


def as_store_error(error: Exception, key: str) -> Exception:
    """
    What an S3Error, or none at all, means to who uses an object store.

    Of a create that found something (412) nobody here can tell whose it is:
    that is `ObjectExists`, and who created it reads it. A conflict (409) is no
    verdict, and neither is anything else.
    """
    if not isinstance(error, S3Error):
        return StoreUnavailable(str(error))
    if error.status == 412:
        return ObjectExists(key)
    if error.status == 404 and error.code in ("NoSuchKey", "404"):
        return NoSuchObject(key)
    if error.status == 409:
        return StoreContended(str(error))
    if error.status in (429, 503) or error.code in _BUSY:
        return StoreBusy(str(error))
    return StoreUnavailable(str(error))
