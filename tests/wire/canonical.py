"""
Comparison of frames, spelled out byte by byte, with messages.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.headers import (
    read_header,
    read_response_header,
    request_header,
    response_header,
)

CORRELATION_ID = 7
CLIENT_ID = "me"


class CanonicalTestCase(SynchronousTestCase):
    """
    Compares frames, headers included, with messages in both directions.
    """

    def assert_request(self, frame: bytes, version: int, request: Any) -> None:
        """
        Check that the frame decodes as the request, and the request encodes as the frame.
        """
        header, body = read_header(frame)
        self.assertEqual(header.api_key, type(request).key)
        self.assertEqual(header.api_version, version)
        self.assertEqual(header.correlation_id, CORRELATION_ID)
        self.assertEqual(header.client_id, CLIENT_ID)
        self.assertEqual(type(request).decode(version, frame, body), request)
        written = request_header(header.api_key, version, CORRELATION_ID, CLIENT_ID)
        self.assertEqual(written + b"".join(request.encode(version)), frame)

    def assert_response(self, frame: bytes, version: int, response: Any) -> None:
        """
        Check that the frame decodes as the response, and the response encodes as the
        frame.
        """
        key = type(response).key
        correlation_id, body = read_response_header(key, version, frame)
        self.assertEqual(correlation_id, CORRELATION_ID)
        self.assertEqual(type(response).decode(version, frame, body), response)
        written = response_header(key, version, CORRELATION_ID)
        self.assertEqual(written + b"".join(response.encode(version)), frame)
