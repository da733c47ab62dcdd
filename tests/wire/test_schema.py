"""
Tests of `kafscale.wire.schema`.
"""
# Annotations of declarations are read when the class is made: no __future__.

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.kinds import Versions, parse_versions
from kafscale.wire.messages import FetchRequest, FindCoordinatorRequest, ProduceRequest
from kafscale.wire.schema import (
    NO_UUID,
    Array,
    Declaration,
    Int16,
    Int32,
    MalformedMessage,
    Message,
    Nullable,
    Request,
    String,
    Struct,
    Uuid,
    field,
)


class Parcel(Message, versions="0-3", flexible="2+"):
    """
    A message with a field of each kind.
    """

    class Item(Struct):
        """
        A nested structure.
        """

        name: String
        weight: Int32 = field("1+", default=-1)

    sender: String
    note: Nullable[String] = field(nullable="1+", default=None)
    priority: Int16 = field("0-1", default=5)
    items: Array[Item] = field(factory=list)
    wrapping: Nullable[Item] = field("3+", default=None)
    stamp: Int32 = field("2+", tag=0, default=-1)
    seal: Nullable[Item] = field("2+", tag=3, default=None)
    routes: Array[Int32] = field("3+", tag=7, factory=list)
    owner: Uuid = field("3+", default=NO_UUID)


def again(parcel: Parcel, version: int) -> Parcel:
    """
    Return a parcel that was encoded and decoded.
    """
    return Parcel.decode(version, b"".join(parcel.encode(version)))


class VersionsTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """
        A single version, a range, an open range, and none are parsed.
        """
        self.assertEqual(parse_versions("3"), Versions(3, 3))
        self.assertEqual(parse_versions("0-12"), Versions(0, 12))
        self.assertIn(1000, parse_versions("9+"))
        self.assertNotIn(8, parse_versions("9+"))
        self.assertNotIn(0, parse_versions("none"))

    def test_nonsense(self) -> None:
        """
        Other text is refused.
        """
        for text in ("", "x", "1-", "-1", "1,2"):
            with self.assertRaises(ValueError):
                parse_versions(text)


class DeclarationTests(SynchronousTestCase):
    def test_class_knows_its_api(self) -> None:
        """
        The class has key, versions and flexible versions.
        """
        self.assertEqual(ProduceRequest.key, 0)
        self.assertEqual((ProduceRequest.lowest, ProduceRequest.highest), (0, 13))
        self.assertFalse(ProduceRequest.flexible(8))
        self.assertTrue(ProduceRequest.flexible(9))

    def test_field_named_key(self) -> None:
        """
        A field C{key}, as of FindCoordinator, does not hide the API key of the class.
        """
        self.assertEqual(type(FindCoordinatorRequest(key="g")).key, 10)
        self.assertEqual(FindCoordinatorRequest(key="g").key, "g")

    def test_no_key(self) -> None:
        """
        A structure that is neither a request nor a response has no API key.
        """
        with self.assertRaises(AttributeError):
            Parcel.key  # noqa: B018

    def test_keywords(self) -> None:
        """
        Fields are keyword arguments, required if they have no default.
        """
        with self.assertRaises(TypeError):
            Parcel()  # type: ignore[call-arg]
        with self.assertRaises(TypeError):
            Parcel("me")  # type: ignore[arg-type,call-arg]
        with self.assertRaises(TypeError):
            Parcel(sender="me", colour="red")  # type: ignore[call-arg]
        self.assertEqual(Parcel(sender="me").priority, 5)

    def test_lists_are_not_shared(self) -> None:
        """
        Each message has a default list of its own.
        """
        one, two = Parcel(sender="me"), Parcel(sender="me")
        one.items.append(Parcel.Item(name="book"))
        self.assertEqual(two.items, [])

    def test_slots(self) -> None:
        """
        A misspelled field is an error, not a new attribute.
        """
        with self.assertRaises(AttributeError):
            Parcel(sender="me").sendr = "you"  # type: ignore[attr-defined]

    def test_equality(self) -> None:
        """
        Messages are equal if all their fields are, at all levels.
        """
        one = Parcel(sender="me", items=[Parcel.Item(name="book")])
        self.assertEqual(one, Parcel(sender="me", items=[Parcel.Item(name="book")]))
        self.assertNotEqual(one, Parcel(sender="me", items=[Parcel.Item(name="pen")]))
        self.assertNotEqual(one, Parcel(sender="me", unknown_tags={9: b""}))
        self.assertNotEqual(one, "parcel")

    def test_representation(self) -> None:
        """
        The representation has all fields, but not the contents of records.
        """
        self.assertEqual(
            repr(Parcel.Item(name="book", unknown_tags={1: b"x"})),
            "Item(name='book', weight=-1, unknown_tags={1: b'x'})",
        )
        partition = ProduceRequest.Topic.Partition(index=0, records=memoryview(b"abc"))
        self.assertEqual(repr(partition), "Partition(index=0, records=<3 bytes>)")

    def test_annotations_must_be_there(self) -> None:
        """
        A declaration under C{from __future__ import annotations} is refused.
        """
        with self.assertRaises(TypeError):
            Declaration("Late", (Struct,), {"__annotations__": {"x": "Int32"}, "__module__": "m"})

    def test_unknown_type(self) -> None:
        """
        An annotation that is not a wire type is refused when the class is created.
        """
        with self.assertRaises(TypeError):
            Declaration("Odd", (Struct,), {"__annotations__": {"x": int}, "__module__": "m"})


class VersionedFieldsTests(SynchronousTestCase):
    def test_missing_fields(self) -> None:
        """
        A field is not encoded in versions without it, and decodes as its default.
        """
        parcel = Parcel(sender="me", note="hi", priority=9, owner=UUID(int=7), routes=[1])
        parcel.items = [Parcel.Item(name="book", weight=3)]
        old = again(parcel, 0)
        self.assertEqual((old.priority, old.owner, old.routes), (9, NO_UUID, []))
        self.assertEqual(old.items, [Parcel.Item(name="book")])
        new = again(parcel, 3)
        self.assertEqual((new.priority, new.owner, new.routes), (5, UUID(int=7), [1]))
        self.assertEqual(new.items, parcel.items)

    def test_null(self) -> None:
        """
        Null is encoded only in versions in which the field is nullable.
        """
        self.assertIsNone(again(Parcel(sender="me"), 1).note)
        with self.assertRaises(MalformedMessage):
            Parcel(sender="me").encode(0)

    def test_nullable_struct(self) -> None:
        """
        A nullable structure begins with a byte.
        """
        self.assertIsNone(again(Parcel(sender="me"), 3).wrapping)
        wrapped = Parcel(sender="me", wrapping=Parcel.Item(name="paper"))
        self.assertEqual(again(wrapped, 3), wrapped)

    def test_no_such_version(self) -> None:
        """
        An undeclared version can neither be encoded nor decoded.
        """
        for version in (-1, 4):
            with self.assertRaises(MalformedMessage):
                Parcel(sender="me", note="").encode(version)
            with self.assertRaises(MalformedMessage):
                Parcel.decode(version, b"")


class TaggedFieldsTests(SynchronousTestCase):
    def test_default_is_not_sent(self) -> None:
        """
        A tagged field with its default takes no bytes.
        """
        plain = Parcel(sender="me", note="")
        self.assertTrue(b"".join(plain.encode(2)).endswith(b"\x01\x00"))
        self.assertEqual(again(plain, 2), plain)

    def test_sent(self) -> None:
        """
        Tagged fields of all kinds are encoded and decoded.
        """
        full = Parcel(sender="me", stamp=4, seal=Parcel.Item(name="wax"), routes=[1, 2])
        self.assertEqual(again(full, 3), full)

    def test_unknown_are_kept(self) -> None:
        """
        Unknown tagged fields are encoded again, among the known ones, ordered by tag.
        """
        parcel = Parcel(sender="me", stamp=4, routes=[1], unknown_tags={1: b"a", 9: b"b"})
        parcel.items = [Parcel.Item(name="book", unknown_tags={0: b"c"})]
        data = b"".join(parcel.encode(3))
        self.assertIn(b"\x01\x01a", data)
        self.assertEqual(Parcel.decode(3, data), parcel)

    def test_older_version_passes_them_on(self) -> None:
        """
        A tag that this version does not have is unknown, and kept.
        """
        data = b"".join(Parcel(sender="me", note="", unknown_tags={7: b"abc"}).encode(2))
        self.assertEqual(Parcel.decode(2, data).unknown_tags, {7: b"abc"})

    def test_rest_of_a_tag(self) -> None:
        """
        A known tagged field must fill its bytes.
        """
        data = b"".join(Parcel(sender="me", note="", unknown_tags={0: bytes(5)}).encode(2))
        with self.assertRaises(MalformedMessage):
            Parcel.decode(2, data)

    def test_struct_of_fetch(self) -> None:
        """
        The replica state of Fetch is encoded from version 15 on.
        """
        state = FetchRequest.ReplicaState(replica_id=2, replica_epoch=3)
        request = FetchRequest(max_wait_ms=1, min_bytes=1, topics=[], replica_state=state)
        for version, expected in ((14, None), (15, state)):
            data = b"".join(request.encode(version))
            self.assertEqual(FetchRequest.decode(version, data).replica_state, expected)


class RequestTests(SynchronousTestCase):
    def test_position(self) -> None:
        """
        A body is decoded from the end of the header, and must fill the frame.
        """

        class Ping(Request, key=99, versions="0"):
            """
            A request of one number.
            """

            number: Int32

        self.assertEqual(Ping.decode(0, b"head" + b"\x00\x00\x00\x05", 4), Ping(number=5))
        with self.assertRaises(MalformedMessage):
            Ping.decode(0, b"\x00\x00\x00\x05\x00")
        self.assertEqual(Ping.decode_some(0, b"\x00\x00\x00\x05\x00"), (Ping(number=5), 4))
