"""
What a declaration says, as plain values.

`kafscale.wire.schema` makes these from class bodies; `kafscale.wire.decoder`
and `kafscale.wire.encoder` turn them into code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs


class MalformedMessage(Exception):
    """
    Bytes that are not the message they should be, or a message that cannot be
    written at the version asked for.
    """


@attrs.frozen
class Versions:
    """
    A range of versions, both ends included; empty when C{last < first}.
    """

    first: int
    last: int

    def __contains__(self, version: int) -> bool:
        return self.first <= version <= self.last


NEWEST = 32767
NO_VERSION = Versions(0, -1)


def parse_versions(text: str) -> Versions:
    """
    Read ``"3"``, ``"0-12"``, ``"9+"`` or ``"none"``.

    @raise ValueError: It is none of these.
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
    A value that takes the same number of bytes whatever it is.

    @ivar code: Its format in the C{struct} module.
    @ivar size: Its bytes.
    """

    code: str
    size: int


@attrs.frozen
class Text:
    """
    UTF-8 with a length in front: 16 bits, or a varint where flexible.
    """


@attrs.frozen
class Blob:
    """
    Bytes with a length in front: 32 bits, or a varint where flexible.

    @ivar view: Decoded as a view into the frame, not copied.
    """

    view: bool = False


@attrs.frozen
class ListOf:
    """
    Elements with their count in front: 32 bits, or a varint where flexible.
    """

    element: Kind


@attrs.frozen(eq=False)
class StructOf:
    """
    The fields of another declaration.

    @ivar declaration: The class.
    """

    declaration: type[Any]


Kind = Fixed | Text | Blob | ListOf | StructOf

UUID_FORMAT = "16s"
BOOLEAN_FORMAT = "?"


class Required:
    """
    Stands for the default of a field that has none.
    """


@attrs.frozen(eq=False)
class Field:
    """
    One field of a declaration.

    @ivar versions: Where it exists.
    @ivar nullable: Where null may stand in its place.
    @ivar tag: Its number, if it is sent among the tagged fields.
    @ivar default: The value where it does not exist, or `Required`.
    @ivar factory: Makes that value anew, when it can be changed in place.
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
        The value where the field does not exist; None for want of a default.
        """
        if self.factory is not None:
            return self.factory()
        return None if self.default is Required else self.default


def in_line(fields: tuple[Field, ...], version: int) -> list[Field]:
    """
    The fields that stand one after the other at this version.
    """
    return [each for each in fields if each.tag is None and version in each.versions]


def tagged(fields: tuple[Field, ...], version: int) -> list[Field]:
    """
    The fields that may follow as tagged ones at this version, by tag.
    """
    found = [each for each in fields if each.tag is not None and version in each.versions]
    return sorted(found, key=lambda each: each.tag or 0)


def least_size(kind: Kind, version: int, flexible: bool) -> int:
    """
    How few bytes a value can take: what a count is checked against.
    """
    if isinstance(kind, Fixed):
        return kind.size
    if isinstance(kind, StructOf):
        total = 1 if flexible else 0
        for each in in_line(kind.declaration.fields, version):
            null = version in each.nullable and isinstance(each.kind, StructOf)
            total += 1 if null else least_size(each.kind, version, flexible)
        return total
    if flexible:
        return 1
    return 2 if isinstance(kind, Text) else 4
