"""
The contents of declarations, as plain values.

`kafscale.wire.schema` makes them from class bodies; `kafscale.wire.decoder` and
`kafscale.wire.encoder` compile them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs


class MalformedMessage(Exception):
    """
    Bytes that are not a valid message, or a message that cannot be encoded in the
    requested version.
    """


@attrs.frozen
class Versions:
    """
    A range of versions, inclusive; empty if C{last < first}.
    """

    first: int
    last: int

    def __contains__(self, version: int) -> bool:
        return self.first <= version <= self.last


NEWEST = 32767
NO_VERSION = Versions(0, -1)


def parse_versions(text: str) -> Versions:
    """
    Parse ``"3"``, ``"0-12"``, ``"9+"`` or ``"none"``, as in Kafka's message
    definitions.

    @raise ValueError: the text is none of these.
    """
    if text == "none":
        return NO_VERSION
    if text.endswith("+"):
        return Versions(int(text[:-1]), NEWEST)
    first, dash, last = text.partition("-")
    return Versions(int(first), int(last if dash else first))


@attrs.frozen
class Fixed:
    """
    The type of a value with a fixed number of bytes.

    @ivar code: The format of the value in the C{struct} module.
    @ivar size: The number of bytes.
    """

    code: str
    size: int


@attrs.frozen
class Text:
    """
    The type of a string: UTF-8 after an INT16 length, or a varint if flexible.

    @ivar lenient: Whether bytes that are not UTF-8 are decoded as U+FFFD instead of
        being malformed, so that the request can be refused with an error code.
    """

    lenient: bool = False


@attrs.frozen
class Blob:
    """
    The type of a byte string: bytes after an INT32 length, or a varint if flexible.

    @ivar view: Whether it is decoded as a view of the frame, uncopied.
    """

    view: bool = False


@attrs.frozen
class ListOf:
    """
    The type of an array: its elements after an INT32 count, or a varint if flexible.
    """

    element: Kind


@attrs.frozen(eq=False)
class StructOf:
    """
    The type of a structure: its fields, one after the other.

    @ivar declaration: The class that declares the fields.
    """

    declaration: type[Any]


Kind = Fixed | Text | Blob | ListOf | StructOf

UUID_FORMAT = "16s"
BOOLEAN_FORMAT = "?"


class Required:
    """
    Marks a field that has no default.
    """


@attrs.frozen(eq=False)
class Field:
    """
    One field of a declaration.

    @ivar versions: The versions that have the field.
    @ivar nullable: The versions in which it may be null.
    @ivar tag: The number of a tagged field, else None.
    @ivar default: The value in versions without the field, or `Required`.
    @ivar factory: Creates a new default, for mutable values.
    """

    name: str
    kind: Kind
    versions: Versions
    nullable: Versions
    tag: int | None
    default: Any
    factory: Callable[[], Any] | None

    def missing(self) -> Any:
        """
        Return the value in versions without the field; None if it has no default.
        """
        if self.factory is not None:
            return self.factory()
        return None if self.default is Required else self.default


def in_line(fields: tuple[Field, ...], version: int) -> list[Field]:
    """
    Return the fields that this version encodes one after the other, in order.
    """
    return [each for each in fields if each.tag is None and version in each.versions]


def tagged(fields: tuple[Field, ...], version: int) -> list[Field]:
    """
    Return the tagged fields of this version, ordered by tag.
    """
    found = [each for each in fields if each.tag is not None and version in each.versions]
    return sorted(found, key=lambda each: each.tag or 0)


def min_size(kind: Kind, version: int, flexible: bool) -> int:
    """
    Return the minimum size of a value in bytes, against which counts of elements are
    checked.
    """
    if isinstance(kind, Fixed):
        return kind.size
    if isinstance(kind, StructOf):
        total = 1 if flexible else 0
        for each in in_line(kind.declaration.fields, version):
            null = version in each.nullable and isinstance(each.kind, StructOf)
            total += 1 if null else min_size(each.kind, version, flexible)
        return total
    if flexible:
        return 1
    return 2 if isinstance(kind, Text) else 4
