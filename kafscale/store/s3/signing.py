"""
Signing requests, as S3 demands it, also when this machine's clock is wrong.

Bodies are not part of the signature (C{UNSIGNED-PAYLOAD}): their CRC-32C is,
as a signed header, at a fiftieth of the cost of a SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

_CONFIG = Config(s3={"payload_signing_enabled": False})


class _Auth(S3SigV4Auth):  # type: ignore[misc]  # botocore carries no types
    """
    Botocore's, at a time that is given.
    """

    def __init__(self, credentials: ReadOnlyCredentials, region: str, seconds: float) -> None:
        super().__init__(credentials, "s3", region)
        self._timestamp = datetime.fromtimestamp(seconds, UTC).strftime(SIGV4_TIMESTAMP)

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self._timestamp
        super()._modify_request_before_signing(request)


class Signer:
    """
    Signs for one region.

    @ivar offset: Seconds that the server's clock is ahead of ours, as far as it
        has told.
    """

    def __init__(self, region: str, now: Callable[[], float]) -> None:
        """
        @param now: Seconds since 1970.
        """
        self._region = region
        self._now = now
        self.offset = 0.0

    def sign(
        self, method: str, url: str, headers: Mapping[str, str], credentials: ReadOnlyCredentials
    ) -> dict[str, str]:
        """
        The headers to send, C{headers} among them.
        """
        request = AWSRequest(method, url, headers=dict(headers))
        request.context["client_config"] = _CONFIG
        _Auth(credentials, self._region, self._now() + self.offset).add_auth(request)
        return dict(request.headers.items())

    def learn(self, date: str) -> bool:
        """
        Take the time from a server that refused ours; False when it does not
        tell, or tells what we believed already.
        """
        try:
            offset = parsedate_to_datetime(date).timestamp() - self._now()
        except (TypeError, ValueError):
            return False
        if abs(offset - self.offset) < 60:
            return False
        self.offset = offset
        return True
