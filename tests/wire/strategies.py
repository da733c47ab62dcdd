"""
Hypothesis strategies for messages, derived from their declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kafscale.wire.kinds import Blob, Field, Fixed, Kind, ListOf, StructOf, Text
from kafscale.wire.messages import REQUESTS, RESPONSES
from kafscale.wire.schema import Message, Struct

# Returns the strategy of a field that must not have any value of its type, else None.
Limits = Callable[[Field], "st.SearchStrategy[Any] | None"]

_BITS = {"b": 8, "h": 16, "i": 32, "q": 64}
_TEXT = st.text(max_size=5)
_BLOB = st.binary(max_size=5)
# 1 comes first, so that the simplest example has each structure.
_COUNTS = st.sampled_from([1, 2, 0])
_TAGS = st.dictionaries(st.integers(100, 2**31 - 1), _BLOB, max_size=2)


def every_message() -> Iterator[tuple[type[Message], int]]:
    """
    Yield each class of messages with each of its versions.
    """
    for declared in (*REQUESTS.values(), *RESPONSES.values()):
        for version in range(declared.lowest, declared.highest + 1):
            yield declared, version


@cache
def _fixed(code: str) -> st.SearchStrategy[Any]:
    if code in _BITS:
        half = 2 ** (_BITS[code] - 1)
        return st.integers(-half, half - 1)
    return {
        "H": st.integers(0, 2**16 - 1),
        "I": st.integers(0, 2**32 - 1),
        "d": st.floats(allow_nan=False),
        "?": st.booleans(),
        "16s": st.builds(UUID, bytes=st.binary(min_size=16, max_size=16)),
    }[code]


def anything(field: Field) -> None:
    """
    Limit no field.
    """


def _draw(
    draw: st.DrawFn, kind: Kind, field: Field, version: int, flexible: bool, limits: Limits
) -> Any:
    """
    Draw a value of a wire type.
    """
    if isinstance(kind, ListOf):
        count = draw(_COUNTS)
        return [_draw(draw, kind.element, field, version, flexible, limits) for _ in range(count)]
    if isinstance(kind, StructOf):
        return _struct(draw, kind.declaration, version, flexible, limits)
    limited = limits(field)
    if limited is not None:
        return draw(limited)
    if isinstance(kind, Fixed):
        return draw(_fixed(kind.code))
    return draw(_TEXT if isinstance(kind, Text) else _BLOB)


def _struct(
    draw: st.DrawFn, declaration: type[Struct], version: int, flexible: bool, limits: Limits
) -> Any:
    """
    Draw a structure: the fields of this version are drawn, others have defaults.
    """
    values = {}
    for field in declaration.fields:
        if version not in field.versions:
            values[field.name] = field.missing()
            continue
        # A tagged struct is left out by None, whatever else may be null.
        left_out = field.tag is not None and isinstance(field.kind, StructOf)
        if (left_out or version in field.nullable) and draw(st.booleans()):
            values[field.name] = None
        else:
            values[field.name] = _draw(draw, field.kind, field, version, flexible, limits)
    made: Any = declaration
    tags = None
    if flexible and limits is anything:
        tags = draw(_TAGS) or None
    return made(unknown_tags=tags, **values)


@st.composite
def messages(
    draw: st.DrawFn, declared: type[Message], version: int, limits: Limits = anything
) -> Any:
    """
    Return a strategy for messages with any values that a version can encode.
    """
    return _struct(draw, declared, version, declared.flexible(version), limits)


def check_with(
    examples: int, check: Callable[..., None], *strategies: st.SearchStrategy[Any]
) -> None:
    """
    Call C{check} with a number of examples, the same ones in each run.
    """

    def checked(drawn: tuple[Any, ...]) -> None:
        check(*drawn)

    limited = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    limited(given(st.tuples(*strategies))(checked))()


def check_every(
    examples: int, check: Callable[..., None], *more: st.SearchStrategy[Any]
) -> None:
    """
    Call C{check} with (class, version, message) and further drawn values, for each
    class of messages at each version.
    """
    for declared, version in every_message():
        check_with(
            examples,
            check,
            st.just(declared),
            st.just(version),
            messages(declared, version),
            *more,
        )


def records_of(message: Any) -> Iterator[Any]:
    """
    Yield each value of a records field in a message.
    """
    for field in message.fields:
        value = getattr(message, field.name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Struct):
                yield from records_of(each)
            elif isinstance(field.kind, Blob) and field.kind.view:
                yield each
