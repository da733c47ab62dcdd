"""
Agreement with two client libraries, field by field.

`kio` is generated from Kafka's message definitions; kafka-python 3 reads them when it
is imported. They must decode our encodings to the same fields, and we theirs.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import inspect
import io
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from kafka.protocol import admin, consumer, metadata, producer, sasl
from kafka.protocol.api_message import ApiMessage
from kio.schema.errors import ErrorCode
from kio.schema.index import api_key_map, schema_name_map
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType
from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.kinds import Field, Fixed, StructOf, in_line, tagged
from kafscale.wire.messages import REQUESTS, RESPONSES, ApiVersionsResponse
from kafscale.wire.schema import NO_UUID, Message, Struct

from .strategies import check_with, messages

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)

# Names of fields that kio holds as a point or a span of time, which cannot be
# as large as the number that stands for it.
TIMES = ("_ms", "timestamp", "timeout", "duration_filter")


def kio_limits(field: Field) -> st.SearchStrategy[Any] | None:
    """
    Exclude values that kio's types cannot represent.
    """
    if not isinstance(field.kind, Fixed):
        return None
    if field.name.endswith("error_code"):
        return st.sampled_from([each.value for each in ErrorCode])
    if field.kind.code in "iq" and field.name.endswith(TIMES):
        return st.integers(0, 2**31 - 1)
    return None


def kafka_python_limits(field: Field) -> st.SearchStrategy[Any] | None:
    """
    Exclude negative sets of authorized operations, which kafka-python cannot represent.
    """
    bits = isinstance(field.kind, Fixed) and field.kind.code == "i" and "_operations" in field.name
    return st.integers(0, 2**31 - 1) if bits else None


def norm(name: str) -> str:
    """
    Return the name of a field without the changes that libraries make to it.
    """
    name = name.removeprefix("cluster_auth").removeprefix("topic_auth").removeprefix("auth")
    # Kafka 4.4 has renamed a few, which neither library knows yet.
    name = name.removesuffix("_or_member_epoch").removesuffix("_legacy")
    return name.replace("_", "").removesuffix("ms")


def plain(value: Any) -> Any:
    """
    Return a value of a library in our type.
    """
    if isinstance(value, datetime.timedelta):
        return value // MILLISECOND
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // MILLISECOND
    if isinstance(value, ErrorCode):
        return value.value
    if isinstance(value, set):
        return sum(1 << bit for bit in value)
    return value


class OracleTests(SynchronousTestCase):
    def assert_same(self, ours: Any, theirs: Any, version: int, names: Names) -> None:
        """
        Check that all fields of a structure at this version are equal.
        """
        fields = ours.fields
        known = {norm(name): name for name in names(theirs)}
        for field in [*in_line(fields, version), *tagged(fields, version)]:
            mine = getattr(ours, field.name)
            other = plain(getattr(theirs, known[norm(field.name)]))
            where = f"{type(ours).__qualname__}.{field.name} v{version}"
            if mine is None and field.tag is not None and isinstance(field.kind, StructOf):
                continue  # not sent, and its default differs between libraries
            if isinstance(mine, list):
                self.assertEqual(len(mine), len(other), where)
                pairs = list(zip(mine, other, strict=True))
            else:
                pairs = [(mine, other)]
            for one, two in pairs:
                if isinstance(one, Struct):
                    self.assert_same(one, two, version, names)
                elif isinstance(one, UUID):
                    self.assertEqual(one, two or NO_UUID, where)
                elif isinstance(one, int) and two is None:
                    self.assertEqual(one, -1, where)  # how kio has no time
                else:
                    self.assertEqual(one, two, where)


Names = Callable[[Any], "list[str]"]


def kio_messages() -> Iterator[tuple[type[Message], int, Any]]:
    """
    Yield our class, version and kio's class, of all common messages.
    """
    for kind in (EntityType.request, EntityType.response):
        declared: Any = REQUESTS if kind == EntityType.request else RESPONSES
        for key, ours in declared.items():
            if key not in api_key_map:
                continue  # newer than kio
            for version, classes in schema_name_map[api_key_map[key]].items():
                module, _, name = classes[kind].partition(":")
                yield ours, version, getattr(importlib.import_module(module), name)


class KioTests(OracleTests):
    """
    Agreement with kio.
    """

    def names(self, theirs: Any) -> list[str]:
        """
        Return the fields of a message of kio.
        """
        return [each.name for each in dataclasses.fields(theirs)]

    def check(self, ours: Any, version: int, theirs: Any, message: Any) -> None:
        """
        Encode with one library and decode with the other, in both directions.
        """
        data = b"".join(message.encode(version))
        read, end = entity_reader(theirs)(data, 0)
        self.assertEqual(end, len(data))
        self.assert_same(message, read, version, self.names)
        out = io.BytesIO()
        entity_writer(theirs)(out, read)
        self.assert_same(ours.decode(version, out.getvalue()), read, version, self.names)

    def test_every_message(self) -> None:
        """
        All messages of kio agree with ours.
        """
        seen = 0
        for ours, version, theirs in kio_messages():
            self.assertEqual(ours.flexible(version), theirs.__flexible__)
            drawn = messages(ours, version, kio_limits)
            check_with(8, self.check, st.just(ours), st.just(version), st.just(theirs), drawn)
            seen += 1
        self.assertGreater(seen, 500)

    def test_newest(self) -> None:
        """
        kio has no version of a message that we lack.
        """
        for ours, version, _ in kio_messages():
            self.assertIn(version, range(ours.highest + 1))


def is_message(theirs: Any) -> bool:
    """
    Whether an object is a message class of kafka-python.
    """
    return inspect.isclass(theirs) and issubclass(theirs, ApiMessage)


def kafka_python_messages() -> Iterator[tuple[type[Message], Any]]:
    """
    Yield our class and kafka-python's, of all common messages.
    """
    for module in (admin, consumer, metadata, producer, sasl):
        for name in module.__all__:
            theirs: Any = getattr(module, name)
            if is_message(theirs):
                declared: Any = REQUESTS if theirs.is_request() else RESPONSES
                if theirs.API_KEY in declared:
                    yield declared[theirs.API_KEY], theirs


class KafkaPythonTests(OracleTests):
    """
    Agreement with kafka-python.
    """

    def names(self, theirs: Any) -> list[str]:
        """
        Return the fields of a message of kafka-python.
        """
        return list(theirs.fields)

    def check(self, ours: Any, version: int, theirs: Any, message: Any) -> None:
        """
        Encode with one library and decode with the other, in both directions.
        """
        if isinstance(message, ApiVersionsResponse):
            message.error_code = 0  # with an error it reads version 0, whatever it asked for
        data = b"".join(message.encode(version))
        read = theirs.decode(data, version=version)
        self.assert_same(message, read, version, self.names)
        read._header = None  # forgotten by its reader, asked for by its writer
        again = ours.decode(version, bytes(read.encode(version=version)))
        self.assert_same(again, read, version, self.names)

    def test_every_message(self) -> None:
        """
        All messages of kafka-python agree with ours.
        """
        seen = 0
        for ours, theirs in kafka_python_messages():
            for version in range(theirs.valid_versions[0], theirs.max_version + 1):
                self.assertEqual(ours.flexible(version), theirs.flexible_version_q(version))
                drawn = messages(ours, version, kafka_python_limits)
                check_with(8, self.check, st.just(ours), st.just(version), st.just(theirs), drawn)
                seen += 1
        self.assertGreater(seen, 450)
