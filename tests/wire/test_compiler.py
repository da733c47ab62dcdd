"""
Tests of compiled encoders and decoders.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.messages import (
    FetchResponse,
    HeartbeatRequest,
    MetadataResponse,
    SyncGroupResponse,
)
from kafscale.wire.primitives import LARGE, gather, read_varint, size_of, varint
from kafscale.wire.schema import MalformedMessage


def fetched(records: Any) -> FetchResponse:
    """
    Return a response with records for one partition.
    """
    topic = FetchResponse.Topic
    partition = topic.Partition(partition_index=0, high_watermark=1, records=records)
    return FetchResponse(responses=[topic(topic="t", partitions=[partition])])


def records_of(response: FetchResponse) -> Any:
    """
    Return the records in such a response.
    """
    return response.responses[0].partitions[0].records


class VarintTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """
        Each number of 32 bits is decoded as it was encoded.
        """

        @settings(max_examples=200, derandomize=True, database=None, deadline=None)
        @given(st.integers(0, 2**32 - 1))
        def check(value: int) -> None:
            data = varint(value)
            self.assertEqual(read_varint(memoryview(data + b"x"), 0), (value, len(data)))

        check()

    def test_known(self) -> None:
        """
        A byte has seven bits, the lowest ones first.
        """
        self.assertEqual(varint(0), b"\x00")
        self.assertEqual(varint(127), b"\x7f")
        self.assertEqual(varint(300), b"\xac\x02")

    def test_too_long(self) -> None:
        """
        More than 32 bits are refused, in five bytes or more.
        """
        for data in (b"\xff\xff\xff\xff\x10", b"\x80" * 5 + b"\x00", b"\xff" * 20):
            with self.assertRaises(ValueError):
                read_varint(memoryview(data), 0)

    def test_cut_short(self) -> None:
        """
        A truncated varint is refused.
        """
        with self.assertRaises(IndexError):
            read_varint(memoryview(b"\x80\x80"), 0)


class PiecesTests(SynchronousTestCase):
    def test_large_records_are_not_copied(self) -> None:
        """
        A large byte string is a piece of its own, the same object.
        """
        records = bytes(LARGE)
        for value in (records, memoryview(records), [records], (memoryview(records),)):
            pieces = fetched(value).encode(12)
            self.assertEqual(len(pieces), 3)
            self.assertIs(pieces[1], records)

    def test_small_ones_are_gathered(self) -> None:
        """
        Small byte strings are joined with the fields around them.
        """
        value = [b"a" * 100, memoryview(b"b" * 100), b""]
        (piece,) = fetched(value).encode(12)
        self.assertEqual(records_of(FetchResponse.decode(12, piece)), b"a" * 100 + b"b" * 100)

    def test_mixed(self) -> None:
        """
        Byte strings of any sizes stay in order.
        """
        value = [b"a" * 10, b"b" * LARGE, b"c" * 10, b"d" * LARGE]
        pieces = fetched(value).encode(4)
        self.assertEqual(len(pieces), 5)
        decoded = FetchResponse.decode(4, b"".join(pieces))
        self.assertEqual(records_of(decoded), b"".join(value))

    def test_part_of_a_view(self) -> None:
        """
        A view of a part of a byte string is copied to bytes, as transports take bytes only.
        """
        whole = bytes(range(256)) * 64
        for view in (memoryview(whole)[1:], memoryview(whole)[::-1]):
            pieces = fetched(view).encode(4)
            self.assertEqual({type(each) for each in pieces}, {bytes})
            self.assertEqual(pieces[1], view.tobytes())

    def test_empty_and_null(self) -> None:
        """
        Empty records and null records are encoded differently.
        """
        for version in (4, 12):
            for value, expected in ((None, None), (b"", b""), ([], b"")):
                data = b"".join(fetched(value).encode(version))
                self.assertEqual(records_of(FetchResponse.decode(version, data)), expected)

    def test_sizes(self) -> None:
        """
        The size is the number of bytes, also of views with wider items.
        """
        wide = memoryview(bytes(16)).cast("q")
        self.assertEqual(size_of([b"abc", wide, memoryview(b"de")]), 21)
        out: list[Any] = []
        gather(out, [], wide)
        self.assertEqual(b"".join(out), bytes(16))

    def test_bytes_field(self) -> None:
        """
        Byte strings other than records are joined or passed on in the same way.
        """
        large = bytes(LARGE)
        self.assertIs(SyncGroupResponse(assignment=large).encode(5)[1], large)
        data = b"".join(SyncGroupResponse(assignment=b"abc").encode(5))
        self.assertEqual(SyncGroupResponse.decode(5, data).assignment, b"abc")


class RefusalTests(SynchronousTestCase):
    def test_values_without_a_form(self) -> None:
        """
        A value that cannot be encoded raises MalformedMessage, which names the message.
        """
        good = {"group_id": "g", "generation_id": 1, "member_id": "m"}
        HeartbeatRequest(**good).encode(0)  # type: ignore[arg-type]
        for wrong in (
            {"group_id": None},
            {"group_id": "x" * 32768},
            {"group_id": "\ud800"},
            {"group_id": 5},
            {"generation_id": 2**31},
            {"generation_id": "1"},
            {"generation_id": None},
        ):
            with self.assertRaises(MalformedMessage) as caught:
                HeartbeatRequest(**{**good, **wrong}).encode(0)  # type: ignore[arg-type]
            self.assertIn("HeartbeatRequest v0", str(caught.exception))

    def test_places_without_a_form(self) -> None:
        """
        So does a value within a nested structure.
        """
        broker = MetadataResponse.Broker(node_id=1, host="h", port=2**40)
        with self.assertRaises(MalformedMessage):
            MetadataResponse(brokers=[broker], topics=[]).encode(1)
        with self.assertRaises(MalformedMessage):
            MetadataResponse(brokers=[broker], topics=None).encode(1)  # type: ignore[arg-type]

    def test_boolean(self) -> None:
        """
        Each byte but 0 is true, as in Kafka.
        """
        topic = b"\x00\x00\x00\x01" + b"\x00\x00" + b"\x00\x01t" + b"\x05" + bytes(4)
        response = MetadataResponse.decode(1, bytes(4) + bytes(4) + topic)
        self.assertIs(response.topics[0].is_internal, True)
