"""
Compares the answers of two brokers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from tests.differential.talk import identity

ABSENT = "<absent>"


@attrs.frozen
class Found:
    """
    A field in which two answers differ.

    @ivar case: The name of the case.
    @ivar path: The way to the field: the request, and the names from there.
    @ivar kafka: What Apache Kafka answered.
    @ivar ours: What Kafscale answered.
    """

    case: str
    path: str
    kafka: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.case}: {self.path}: {self.kafka!r} of Kafka, {self.ours!r} of Kafscale"


def compare(
    case: str, kafka: list[tuple[str, Any]], ours: list[tuple[str, Any]]
) -> Iterator[Found]:
    """
    The fields in which the answers of a case differ.
    """
    for (label, theirs), (_, own) in zip(kafka, ours, strict=False):
        for path, left, right in _differing(theirs, own):
            yield Found(case, f"{label}{path}", left, right)
    if len(kafka) != len(ours):
        yield Found(case, "answers", len(kafka), len(ours))


def _differing(left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, dict) and isinstance(right, dict):
        if left.get("error_code") != right.get("error_code"):
            # All else follows from that.
            left = {"error_code": left.get("error_code", ABSENT)}
        for name in left:
            for path, one, other in _differing(left[name], right.get(name, ABSENT)):
                yield f".{name}{path}", one, other
    elif isinstance(left, list) and isinstance(right, list):
        yield from _differing_lists(left, right)
    elif left != right:
        yield "", left, right


def _differing_lists(left: list[Any], right: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    if not all(isinstance(each, dict) for each in left + right):
        if left != right:
            yield "", left, right
        return
    one, other = _by_identity(left), _by_identity(right)
    for name in dict.fromkeys([*one, *other]):
        found = _differing(one.get(name, ABSENT), other.get(name, ABSENT))
        for path, theirs, own in found:
            yield f"[{name}]{path}", theirs, own


def _by_identity(values: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for value in values:
        name = identity(value) if _has_identity(value) else ""
        while name in named or not name:
            name += "'"
        named[name] = value
    return named


def _has_identity(value: dict[str, Any]) -> bool:
    return identity(value) != repr(value)
