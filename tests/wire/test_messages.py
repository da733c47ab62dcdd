"""
Properties of all messages at all versions.
"""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from typing import Any

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.messages import (
    REQUESTS,
    RESPONSES,
    DescribeAclsResponse,
    DescribeGroupsRequest,
    FetchRequest,
    FetchResponse,
    HeartbeatRequest,
    MetadataRequest,
    OffsetFetchRequest,
    ProduceRequest,
    ProduceResponse,
)
from kafscale.wire.messages.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)
from kafscale.wire.primitives import MAX_ELEMENTS, MAX_TAGS, varint
from kafscale.wire.schema import NOT_TEXT, MalformedMessage, Message

from .strategies import check_every, check_with, every_message, messages, records_of

# API key: the newest version that is declared. All begin at 0.
NEWEST = {
    0: 13, 1: 18, 2: 11, 3: 13,
    8: 10, 9: 10, 10: 6, 11: 9, 12: 4, 13: 5, 14: 5, 15: 6, 16: 5, 17: 1, 18: 5,
    19: 7, 20: 6, 21: 2, 22: 6, 23: 4, 24: 5, 25: 4, 26: 5, 27: 2, 28: 6, 29: 3,
    30: 3, 31: 3, 32: 4, 33: 2, 34: 2, 35: 5, 36: 2, 37: 3, 38: 3, 39: 2,
    40: 2, 41: 3, 42: 3, 43: 2, 44: 1, 45: 1, 46: 0, 47: 0, 48: 1, 49: 1,
    50: 0, 51: 0, 55: 2, 57: 2, 60: 2, 61: 0, 64: 0, 65: 0, 66: 2, 68: 1, 69: 1,
    71: 0, 72: 0, 74: 1, 75: 0, 76: 1, 77: 1, 78: 2, 79: 2,
    80: 1, 81: 0, 88: 1, 89: 1, 90: 1, 91: 0, 92: 0, 93: 0, 94: 0,
}


class CompletenessTests(SynchronousTestCase):
    def test_keys_and_versions(self) -> None:
        """
        All of Kafka's client APIs are declared, from version 0 to the newest.
        """
        for declared in (REQUESTS, RESPONSES):
            self.assertEqual({key: each.highest for key, each in declared.items()}, NEWEST)
            self.assertEqual({each.lowest for each in declared.values()}, {0})

    def test_pairs(self) -> None:
        """
        A request and its response have the same name, versions and flexible versions.
        """
        for key, request in REQUESTS.items():
            response = RESPONSES[key]
            self.assertEqual(request.__name__[:-7], response.__name__[:-8])
            for version in range(request.highest + 1):
                self.assertEqual(request.flexible(version), response.flexible(version))

    def test_documented(self) -> None:
        """
        Each message has a docstring.
        """
        for declared, _ in every_message():
            self.assertTrue((declared.__doc__ or "").strip(), declared)


def in_steps(message: Message, version: int) -> tuple[list[bytes], int]:
    """
    The pieces of a message that is encoded in steps, and the number of steps.
    """
    steps = 0
    encoding = message.encode_in_steps(version)
    while True:
        try:
            next(encoding)
        except StopIteration as end:
            return end.value, steps
        steps += 1


class RoundTripTests(SynchronousTestCase):
    def check(self, declared: Any, version: int, message: Any) -> None:
        """
        Encode, decode, and encode again.
        """
        data = b"".join(message.encode(version))
        again = declared.decode(version, data)
        self.assertEqual(again, message)
        self.assertEqual(b"".join(again.encode(version)), data)
        self.assertEqual(b"".join(in_steps(again, version)[0]), data)
        for records in records_of(again):
            if records is not None:
                self.assertIs(records.obj, data)

    def test_every_message(self) -> None:
        """
        A message decodes as it was encoded, with its fields and unknown tags, and records
        are not copied.
        """
        check_every(8, self.check)

    def test_in_steps(self) -> None:
        """
        A long message is encoded in many steps, and one that cannot be encoded fails.
        """
        acl = DescribeAclsResponse.Resource.Acl(
            principal="User:alice", host="*", operation=3, permission_type=3
        )
        resources = [
            DescribeAclsResponse.Resource(
                resource_type=2, resource_name=f"t{number}", pattern_type=3, acls=[acl, acl]
            )
            for number in range(1000)
        ]
        message = DescribeAclsResponse(resources=resources)
        for version in range(DescribeAclsResponse.highest + 1):
            pieces, steps = in_steps(message, version)
            self.assertEqual(b"".join(pieces), b"".join(message.encode(version)))
            self.assertGreater(steps, 10)
        acl.operation = 1000
        self.assertRaises(MalformedMessage, in_steps, message, 3)

    def test_hot_messages(self) -> None:
        """
        So do the messages on the path of records, with more examples.
        """
        for declared in (ProduceRequest, ProduceResponse, FetchRequest, FetchResponse):
            for version in range(declared.highest + 1):
                check_with(
                    25, self.check, st.just(declared), st.just(version), messages(declared, version)
                )

    def check_prefix(self, declared: Any, version: int, message: Any) -> None:
        """
        Check that the message is decoded if bytes follow.
        """
        data = b"".join(message.encode(version))
        found, end = declared.decode_some(version, data + b"more")
        self.assertEqual((found, end), (message, len(data)))

    def test_consumer_protocol(self) -> None:
        """
        Bytes of later versions may follow an embedded consumer protocol message.
        """
        for declared in (ConsumerProtocolAssignment, ConsumerProtocolSubscription):
            for version in range(declared.highest + 1):
                drawn = st.just(declared), st.just(version), messages(declared, version)
                check_with(10, self.check, *drawn)
                check_with(10, self.check_prefix, *drawn)


class HostileTests(SynchronousTestCase):
    def test_any_bytes(self) -> None:
        """
        Arbitrary bytes raise MalformedMessage, if any error.
        """

        def check(declared: Any, version: int, data: bytes) -> None:
            with contextlib.suppress(MalformedMessage):
                declared.decode(version, data)

        for declared, version in every_message():
            check_with(
                4, check, st.just(declared), st.just(version), st.binary(min_size=1, max_size=80)
            )

    def test_damaged(self) -> None:
        """
        So do messages with one changed byte.
        """

        def check(declared: Any, version: int, message: Any, at: float, change: int) -> None:
            data = bytearray(b"".join(message.encode(version)))
            if data:
                data[int(at * len(data))] ^= change
            with contextlib.suppress(MalformedMessage):
                declared.decode(version, bytes(data))

        check_every(6, check, st.floats(0, 1, exclude_max=True), st.integers(1, 255))

    def test_cut_short(self) -> None:
        """
        Truncated messages, and messages with trailing bytes, are refused.
        """

        def check(declared: Any, version: int, message: Any) -> None:
            data = b"".join(message.encode(version))
            for end in range(max(0, len(data) - 60), len(data)):
                with self.assertRaises(MalformedMessage):
                    declared.decode(version, data[:end])
                with self.assertRaises(MalformedMessage):
                    declared.decode_some(version, data[:end])
            with self.assertRaises(MalformedMessage):
                declared.decode(version, data + b"\x00")

        check_every(2, check)

    def assert_nothing_is_made(self, declared: Any, version: int, data: bytes) -> None:
        """
        Check that C{data} is refused, and hardly any memory is allocated.
        """
        with self.assertRaises(MalformedMessage):
            declared.decode(version, b"")  # whatever is made once, is made now
        tracemalloc.start()
        try:
            with self.assertRaises(MalformedMessage):
                declared.decode(version, data)
            self.assertLess(tracemalloc.get_traced_memory()[1], 100_000)
        finally:
            tracemalloc.stop()

    def test_huge_counts(self) -> None:
        """
        A count or length beyond the message allocates no memory.
        """
        most = struct.pack(">i", 2**31 - 1)
        longest = varint(2**32 - 1)
        for declared, version, data in [
            (MetadataRequest, 1, most),
            (MetadataRequest, 9, longest),
            (MetadataRequest, 9, b"\x00\x00\x00\x00" + longest),  # tagged fields
            (ProduceRequest, 0, b"\x00\x01" + bytes(4) + most),
            (ProduceRequest, 3, b"\x7f\xff"),
            (ProduceRequest, 9, longest),
            (OffsetFetchRequest, 1, b"\x00\x00" + b"\x00\x00\x00\x01" + b"\x00\x00" + most),
            (OffsetFetchRequest, 6, b"\x01\x02\x01" + longest),
            (HeartbeatRequest, 0, b"\x7f\xff"),
        ]:
            self.assert_nothing_is_made(declared, version, data)

    def test_no_negative_lengths(self) -> None:
        """
        A negative length is null in a nullable field, and malformed elsewhere.
        """
        null = b"\xff\xff\xff\xff"
        self.assertIsNone(MetadataRequest.decode(1, null).topics)
        with self.assertRaises(MalformedMessage):
            MetadataRequest.decode(0, null)
        with self.assertRaises(MalformedMessage):
            HeartbeatRequest.decode(0, null)

    def test_many_small_elements(self) -> None:
        """
        The number of one-byte elements is bounded, as a frame must not take a hundred times
        its size in memory.
        """
        count = MAX_ELEMENTS + 1
        data = varint(count + 1) + bytes([1]) * count + b"\x00\x00"
        self.assert_nothing_is_made(DescribeGroupsRequest, 5, data)

    def test_many_small_tags(self) -> None:
        """
        So is the number of unknown tagged fields of a structure.
        """
        count = MAX_TAGS + 1
        data = b"\x00\x00\x00\x00" + varint(count) + b"\x01\x00" * count
        self.assert_nothing_is_made(MetadataRequest, 9, data)

    def test_order_of_tags(self) -> None:
        """
        Tagged fields must be in order, and must not repeat.
        """
        for tags in (b"\x02\x05\x00\x05\x00", b"\x02\x06\x00\x05\x00"):
            with self.assertRaises(MalformedMessage):
                ProduceResponse.decode(9, b"\x01\x00\x00\x00\x00" + tags)

    def test_no_text(self) -> None:
        """
        A string that is not UTF-8 is malformed, unless it is the name of a group.
        """
        with self.assertRaises(MalformedMessage):
            HeartbeatRequest.decode(0, bytes(6) + b"\x00\x01\xff")
        read = HeartbeatRequest.decode(0, b"\x00\x01\xff" + bytes(6))
        self.assertEqual(read.group_id, NOT_TEXT)
