"""
Reading entries of the metadata store.

An entry has the fields of its level and no others. One with more is of a newer
version that did not state a level, or was changed by hand: it is refused, since
a record that is read and put again would lose them. The registration of a
broker is the exception (`kafscale.format.broker`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from kafscale.format.errors import CorruptRecord, NewerFormat
from kafscale.format.levels import check_json_level

T = TypeVar("T")


class StoredEntry(Protocol):
    """
    An entry of the metadata store, as L{kafscale.interfaces.Entry} is one.
    """

    @property
    def key(self) -> str:
        """
        Relative to the namespace.
        """

    @property
    def value(self) -> Any:
        """
        Plain JSON data.
        """


def read_record(
    name: str, entry: StoredEntry, read: Callable[[Any], T], secret: bool = False
) -> T:
    """
    What C{read} makes of the value of an entry.

    @param name: Of the format, one of L{kafscale.format.levels.LEVELS}.
    @param read: Called with plain JSON data of a level that this version reads.
    @param secret: Leave the value out of the error.
    @raise NewerFormat: it is of a newer level.
    @raise CorruptRecord: C{read} cannot make anything of it.
    """
    try:
        check_json_level(name, entry.value)
        return read(entry.value)
    except NewerFormat as newer:
        newer.key = entry.key
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        value = "the value" if secret else repr(entry.value)
        raise CorruptRecord(
            f"{value} is not understood: no broker has written it so", entry.key
        ) from (None if secret else error)
