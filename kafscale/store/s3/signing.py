"""
Signs requests with AWS Signature Version 4, also if the clock of this machine is
wrong.

A body is not part of the signature (C{UNSIGNED-PAYLOAD}), but its checksum is, in
a signed header (L{kafscale.store.s3.checksums}).
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
    Signs as botocore does, but with a given time.
    """

    def __init__(self, credentials: ReadOnlyCredentials, region: str, seconds: float) -> None:
        super().__init__(credentials, "s3", region)
        self._timestamp = datetime.fromtimestamp(seconds, UTC).strftime(SIGV4_TIMESTAMP)

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = self._timestamp
        super()._modify_request_before_signing(request)


class Signer:
    """
    Signs requests for one region.

    @ivar offset: By how many seconds the server's clock is ahead of this
        machine's, as far as is known.
    """

    def __init__(self, region: str, now: Callable[[], float]) -> None:
        """
        @param region: The AWS region.
        @param now: Returns the seconds since 1970.
        """
        self._region = region
        self._now = now
        self.offset = 0.0

    def sign(
        self, method: str, url: str, headers: Mapping[str, str], credentials: ReadOnlyCredentials
    ) -> dict[str, str]:
        """
        Sign a request. Return its headers, with the signature.

        @param headers: The other headers, which are signed, too.
        """
        request = AWSRequest(method, url, headers=dict(headers))
        request.context["client_config"] = _CONFIG
        _Auth(credentials, self._region, self._now() + self.offset).add_auth(request)
        return dict(request.headers.items())

    def learn(self, date: str) -> bool:
        """
        Use the time of the server from now on.

        @param date: The C{Date} header of an answer that refused this machine's
            time.
        @return: Whether that changed the time by a minute or more, so that
            another attempt may succeed.
        """
        try:
            offset = parsedate_to_datetime(date).timestamp() - self._now()
        except (TypeError, ValueError):
            return False
        if abs(offset - self.offset) < 60:
            return False
        self.offset = offset
        return True
