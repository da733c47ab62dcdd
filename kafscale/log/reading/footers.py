"""
Reading the end of an object, where its footer is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kafscale.format.errors import CorruptObject
from kafscale.interfaces import IObjectReader

T = TypeVar("T")


async def read_end_of(
    objects: IObjectReader, key: str, length: int, read: Callable[[bytes, int], T | int]
) -> tuple[T, int]:
    """
    What C{read} makes of an object's last bytes and its size; and the size.

    @param length: How many bytes are enough for most footers.
    @param read: Tells how many are, if it needs more.
    @raise NoSuchObject: there is none.
    @raise CorruptObject: it does not end as it should.
    """
    suffix, size = await objects.get_suffix(key, length)
    found = read(suffix, size)
    if isinstance(found, int):
        suffix, size = await objects.get_suffix(key, found)
        found = read(suffix, size)
        if isinstance(found, int):
            raise CorruptObject("The footer is longer than it states")
    return found, size
