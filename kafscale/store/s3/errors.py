"""
S3's answers, and the errors in them.

The codes are those of "Error responses" in the Amazon S3 API Reference
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), and of
other stores with the same API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs
from botocore.parsers import create_parser

from kafscale.errors import NoSuchObject, ObjectExists, StoreBusy, StoreContended, StoreUnavailable

_parser = create_parser("rest-xml")

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
"""Codes of an overloaded store, which must get fewer requests. So must any store
that answers with status 429 or 503."""

STATUSES = {
    **dict.fromkeys(_BUSY, 503),
    "ConditionalRequestConflict": 409,
    "InternalError": 500,
    "PreconditionFailed": 412,
}
"""The statuses of errors that come in the body of an answer with status 200."""

STALE = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "NotSignedUp",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "XAdminUserNotFound",
    }
)
"""Codes of requests that may succeed with other credentials: with another key, or
with another secret of the same key. For an unknown key s3s-fs says C{NotSignedUp}, and
versitygw C{XAdminUserNotFound} with status 404."""

SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
"""Codes of requests whose time differs too much from the server's."""


class NoAnswer(Exception):
    """
    There is no answer, or it is incomplete: whether the request was done is
    unknown.
    """


class NoCredentials(NoAnswer):
    """
    There are no credentials to sign a request with, or they have expired. The
    request was not sent.
    """


class NotFromS3(NoAnswer):
    """
    The answer is not what S3 sends: the page of a web server, for example.
    """


class WrongRange(NoAnswer):
    """
    The answer does not have the bytes that were asked for.
    """


class S3Error(Exception):
    """
    S3 answered a request with an error.

    @ivar status: The HTTP status.
    @ivar code: S3's code, such as C{NoSuchKey}; the status if the answer has no
        code.
    @ivar message: S3's message, or empty; the text of an answer that has no code.
    @ivar region: The region of the bucket, if the answer has it.
    @ivar date: The time of the server, from its C{Date} header.
    @ivar size: The size of the object in bytes, if the answer has it: it may
        when the object has no byte of the range that was asked for (416).
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        region: str = "",
        date: str = "",
        size: int | None = None,
    ) -> None:
        """
        See the attributes.
        """
        words = str(status) if code == str(status) else f"{status} {code}"
        super().__init__(f"{words}: {message}" if message else words)
        self.status = status
        self.code = code
        self.message = message
        self.region = region
        self.date = date
        self.size = size


@attrs.frozen
class Answer:
    """
    An answer of S3.

    @ivar status: The HTTP status.
    @ivar headers: The headers, by their names in lower case.
    @ivar body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def error(self) -> S3Error:
        """
        The error in an answer whose status is not 2xx.
        """
        response = {"status_code": self.status, "headers": dict(self.headers), "body": self.body}
        try:
            parsed = _parser.parse(response, None).get("Error", {})
        except Exception:  # noqa: BLE001 - the body may be from a proxy, and have any form
            parsed = {}
        region = parsed.get("Region") or self.headers.get("x-amz-bucket-region", "")
        code = str(parsed.get("Code") or self.status)
        if code == str(self.status):  # of botocore, or of nobody
            parsed["Message"] = _text(self.body)
        return S3Error(
            self.status,
            code,
            str(parsed.get("Message") or ""),
            str(region),
            self.headers.get("date", ""),
            _size(self.headers.get("content-range"), parsed.get("ActualObjectSize")),
        )


def may_pass(error: BaseException) -> bool:
    """
    Whether a request that failed with this error may succeed later, if it is made
    again. C{RequestTimeout}, with status 400, means that its body came too slowly.
    """
    if isinstance(error, S3Error):
        return (
            error.status in (409, 429)
            or (error.status >= 500 and error.status != 501)
            or error.code == "RequestTimeout"
        )
    return not isinstance(error, NoCredentials | WrongRange)


def _text(body: bytes) -> str:
    """
    The beginning of the text of an answer, which may be a page of a web server.
    """
    words = _TAG.sub(" ", body[:10_000].decode("utf-8", "replace")).split()
    text = "".join(each for each in " ".join(words) if each.isprintable())
    return text if len(text) <= TEXT_CHARACTERS else f"{text[:TEXT_CHARACTERS]}..."


_TAG = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)

TEXT_CHARACTERS = 100
"""How much of the text of an answer is part of an error."""

_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,19})", re.IGNORECASE)
"""The C{Content-Range} of a 416 (RFC 9110, 15.5.17)."""


def _size(content_range: str | None, stated: object) -> int | None:
    """
    The size of an object in an answer with status 416: in the header of HTTP, or
    in the body, as Amazon S3 has it.
    """
    if content_range and (found := _UNSATISFIED.fullmatch(content_range)):
        return int(found[1])
    if isinstance(stated, str) and re.fullmatch("[0-9]{1,19}", stated):
        return int(stated)
    return None


def as_store_error(error: Exception, key: str) -> Exception:
    """
    The error of L{kafscale.interfaces.IObjectStore} for an error of S3.

    A create of a key that exists (412) is ObjectExists: its caller must read the
    object to find out whether an earlier attempt of its own made it. A conflict
    (409) with a request of another client, and any other error, leaves the
    outcome unknown.

    @param error: An L{S3Error} or a L{NoAnswer}.
    @param key: The key of the request.
    """
    if not isinstance(error, S3Error):
        return StoreUnavailable(str(error))
    if error.status == 412:
        return ObjectExists(key)
    if error.status == 404 and error.code == "NoSuchKey":
        return NoSuchObject(key)
    if error.status == 409:
        return StoreContended(str(error))
    if error.status in (429, 503) or error.code in _BUSY:
        return StoreBusy(str(error))
    return StoreUnavailable(str(error))
