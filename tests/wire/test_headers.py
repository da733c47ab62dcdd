"""
Headers of requests and responses.
"""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol.api_header import RequestHeader as KafkaPythonHeader
from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.headers import (
    RequestHeader,
    peek,
    read_header,
    read_response_header,
    request_header,
    response_header,
)
from kafscale.wire.messages import REQUESTS
from kafscale.wire.schema import MalformedMessage

METADATA_V0 = bytes.fromhex(
    "0003"  # api key: Metadata
    "0000"  # version 0
    "00000001"  # correlation id 1
    "ffff"  # client id: null
    "00000000"  # no topic named: all topics
)

METADATA_V12 = bytes.fromhex(
    "0003"  # api key: Metadata
    "000c"  # version 12
    "00000001"  # correlation id 1
    "00026d65"  # client id: "me", of 16-bit length although the body is flexible
    "01"  # one tagged field
    "0502abcd"  # tag 5, undefined, two bytes
    "00"  # topics: null
)


class RequestHeaderTests(SynchronousTestCase):
    def test_version_1(self) -> None:
        """
        A request that is not flexible has a header without tagged fields.
        """
        header, body = read_header(METADATA_V0)
        self.assertEqual(header, RequestHeader(3, 0, 1, None))
        self.assertEqual(METADATA_V0[body:], bytes(4))
        self.assertEqual(request_header(3, 0, 1), METADATA_V0[:body])

    def test_version_2(self) -> None:
        """
        Tagged fields are skipped, and the client id has an INT16 length.
        """
        header, body = read_header(memoryview(METADATA_V12))
        self.assertEqual(header, RequestHeader(3, 12, 1, "me"))
        self.assertEqual(METADATA_V12[body:], b"\x00")
        self.assertEqual(request_header(3, 12, 1, "me"), METADATA_V12[:12] + b"\x00")

    def test_peek(self) -> None:
        """
        The first eight bytes can be read without the rest.
        """
        self.assertEqual(peek(b"\x00\x63\x00\x01\x00\x00\x00\x07"), (99, 1, 7))
        with self.assertRaises(MalformedMessage):
            peek(bytes(7))

    def test_every_request(self) -> None:
        """
        The header of each request decodes as it was encoded, and as kafka-python decodes
        it.
        """
        for key, request in REQUESTS.items():
            for version in range(request.highest + 1):
                flexible = request.flexible(version)
                for client_id in (None, "", "mé"):
                    data = request_header(key, version, -5, client_id)
                    header, end = read_header(data)
                    self.assertEqual(header, RequestHeader(key, version, -5, client_id))
                    self.assertEqual(end, len(data))
                    theirs = KafkaPythonHeader.decode(io.BytesIO(data), flexible=flexible)
                    self.assertEqual(theirs.client_id, client_id)
                    self.assertEqual(theirs.correlation_id, -5)

    def test_cut_short(self) -> None:
        """
        A truncated header is malformed.
        """
        for end in range(len(METADATA_V12) - 1):
            with self.assertRaises(MalformedMessage):
                read_header(METADATA_V12[:end])

    def test_any_bytes(self) -> None:
        """
        Arbitrary bytes raise MalformedMessage only.
        """

        @settings(max_examples=300, derandomize=True, database=None, deadline=None)
        @given(st.sampled_from(sorted(REQUESTS)), st.integers(0, 13), st.binary(max_size=40))
        def check(key: int, version: int, rest: bytes) -> None:
            data = key.to_bytes(2, "big") + version.to_bytes(2, "big") + rest
            try:
                _, end = read_header(data)
            except MalformedMessage:
                return
            self.assertLessEqual(end, len(data))

        check()

    def test_unknown_api(self) -> None:
        """
        A header of an unknown API cannot be decoded, because its version is unknown.
        """
        with self.assertRaises(MalformedMessage):
            read_header(b"\x00\x04" + bytes(20))  # LeaderAndIsr

    def test_too_many_tags(self) -> None:
        """
        A thousand tagged fields in a header are refused.
        """
        fixed = METADATA_V12[:12]
        with self.assertRaises(MalformedMessage):
            read_header(fixed + b"\xe8\x07" + b"\x00\x00" * 1000)


class ResponseHeaderTests(SynchronousTestCase):
    def test_every_response(self) -> None:
        """
        Flexible responses have tagged fields in the header, except for ApiVersions.
        """
        for key, request in REQUESTS.items():
            for version in range(request.highest + 1):
                data = response_header(key, version, 7)
                tags = request.flexible(version) and key != 18
                self.assertEqual(data, b"\x00\x00\x00\x07" + b"\x00" * tags)
                self.assertEqual(read_response_header(key, version, data), (7, len(data)))

    def test_cut_short(self) -> None:
        """
        A truncated header is malformed.
        """
        for data in (b"", b"\x00\x00\x00", b"\x00\x00\x00\x07", b"\x00\x00\x00\x07\x01\x05"):
            with self.assertRaises(MalformedMessage):
                read_response_header(0, 9, data)
