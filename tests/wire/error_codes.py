"""
The error codes of a message, found without its declaration.
"""

from __future__ import annotations

from kafscale.wire.schema import Struct


def codes(value: object) -> list[int]:
    """
    Return all error codes in a message, by a search of all its fields.
    """
    found = []
    if isinstance(value, list):
        for each in value:
            found += codes(each)
    elif isinstance(value, Struct):
        for name in (each.name for each in value.fields):
            inner = getattr(value, name)
            found += [inner] if name == "error_code" else codes(inner)
    return found
