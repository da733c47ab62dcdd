"""
The error codes in a response.

Each API has its error codes in fields of its own: at the top level, with each
partition, or both. The function that finds them is compiled from the
declaration, once for each response class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from kafscale.wire.compiler import Source
from kafscale.wire.kinds import Kind, ListOf, StructOf
from kafscale.wire.schema import Declaration, Response

CODE = "error_code"
"""The name of the fields that have an error code."""

_finders: dict[type[Response], Callable[[Response], int]] = {}


def first_error(response: Response) -> int:
    """
    Return the first error code in a response that is not 0; 0 if there is none.
    """
    finder = _finders.get(type(response))
    if finder is None:
        finder = _finders[type(response)] = _compile(type(response))
    return finder(response)


def _compile(declaration: type[Response]) -> Callable[[Response], int]:
    source = Source(0, False)
    with source.block("def find(message):"):
        _find_in(declaration, "message", source)
        source.line("return 0")
    found: Callable[[Response], int] = source.function("find", f"errors of {declaration.__name__}")
    return found


def _find_in(declaration: Declaration, value: str, source: Source) -> None:
    if any(each.name == CODE for each in declaration.fields):
        with source.block(f"if {value}.{CODE}:"):
            source.line(f"return {value}.{CODE}")
    for each in declaration.fields:
        inner = struct_in(each.kind)
        if inner is None or not has_code(inner):
            continue
        item = source.fresh("item")
        if isinstance(each.kind, ListOf):
            with source.block(f"for {item} in {value}.{each.name} or ():"):
                _find_in(inner, item, source)
        else:
            source.line(f"{item} = {value}.{each.name}")
            with source.block(f"if {item} is not None:"):
                _find_in(inner, item, source)


def struct_in(kind: Kind) -> Declaration | None:
    """
    Return the declaration of a structure, or of the elements of a list of
    structures; None for any other type.
    """
    if isinstance(kind, ListOf):
        kind = kind.element
    return cast(Declaration, kind.declaration) if isinstance(kind, StructOf) else None


def has_code(declaration: Declaration) -> bool:
    """
    Whether a structure, or a structure within it, has an error code.
    """
    for each in declaration.fields:
        if each.name == CODE:
            return True
        inner = struct_in(each.kind)
        if inner is not None and has_code(inner):
            return True
    return False
