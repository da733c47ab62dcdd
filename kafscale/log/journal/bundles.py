"""
Small slots once more, many in one object.

A broker that flushes often leaves many small slots, and a successor would ask
for each of them. So when a group of neighbours is acknowledged, and is small as
a whole, their writer stores them once more, together: a successor then asks for
one object where it would have asked for sixty-four.

A bundle is the slots, byte for byte, one after the other, then a footer of
INT64 (number of the first slot) and a UINT32 for the length of each
(big-endian), then the trailer of `kafscale.format.trailer`. It tells nothing that
its slots do not tell: what is durable and what is not is never decided by it.
Of a slot that a bundle has it is only known that it was acknowledged; so it
stands before the journal's end, wherever that is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from kafscale.errors import ObjectExists
from kafscale.format import object_keys
from kafscale.format.trailer import TRAILER_SIZE, CorruptObject, Kind, end_with, read_end
from kafscale.interfaces import IObjectStore

GROUP = 64
"""How many neighbours go together, at most: those whose numbers have the same
quotient."""

WORTH = 8 << 20
"""Bytes of a group that is worth being stored twice, at most."""

_FIRST = struct.Struct(">q")


class Bundles:
    """
    Those of one incarnation's journal.
    """

    _log = Logger()

    def __init__(self, objects: IObjectStore, prefix: str, group: int) -> None:
        """
        @param prefix: See L{object_keys.bundles}.
        @param group: How many slots go together; 0: none.
        """
        self._objects = objects
        self._prefix = prefix
        self._group = group
        self._slots: list[list[bytes]] = []  # of the group that is being filled
        self._size = 0
        self._storing: Deferred[None] | None = None
        self._stopped = False

    def acknowledged(self, number: int, pieces: list[bytes]) -> None:
        """
        The next slot, in order, is acknowledged; it consists of these.
        """
        if not self._group:
            return
        place = number % self._group
        if place == 0:
            self._slots, self._size = [], 0
        if self._stopped or place != len(self._slots):
            return  # the group is too large, or its beginning was missed
        self._size += sum(map(len, pieces))
        if self._size > WORTH:
            self._slots = []
            return
        self._slots.append(pieces)
        if place == self._group - 1:
            slots, self._slots = self._slots, []
            # While the store is away no more of them wait.
            if self._storing is None:
                storing = Deferred.fromCoroutine(self._store(number - place, slots))
                if not storing.called:
                    self._storing = storing
                storing.addBoth(self._stored)

    async def _store(self, first: int, slots: Sequence[list[bytes]]) -> None:
        with suppress(ObjectExists):  # by an attempt of which we did not hear
            await self._objects.create(
                object_keys.slot(self._prefix, first), write_bundle(first, slots)
            )

    def _stored(self, result: object) -> None:
        self._storing = None
        if result is not None and not self._stopped:
            self._log.warn("slots are not bundled: {why}", why=result)

    def below(self, first: int, trim: int) -> list[str]:
        """
        The keys that bundles may have of which all slots are below C{trim},
        and were not below C{first}.
        """
        if not self._group:
            return []
        groups = range(first // self._group, trim // self._group)
        return [object_keys.slot(self._prefix, group * self._group) for group in groups]

    def abandon(self) -> None:
        """
        Begin nothing more.
        """
        self._stopped = True
        self._slots = []


def write_bundle(first: int, slots: Sequence[list[bytes]]) -> list[bytes]:
    """
    All pieces of a bundle.
    """
    sizes = [sum(map(len, pieces)) for pieces in slots]
    footer = _FIRST.pack(first) + struct.pack(f">{len(sizes)}I", *sizes)
    return [*(piece for pieces in slots for piece in pieces), end_with(Kind.BUNDLE, footer)]


def read_bundle(data: bytes) -> Iterator[tuple[int, bytes]]:
    """
    The slots of a bundle, with their numbers.

    @raise CorruptObject: it is none.
    """
    end = read_end(data, len(data))
    if isinstance(end, int) or end[0] is not Kind.BUNDLE or len(end[1]) % 4:
        raise CorruptObject("A bundle of slots does not end as one")
    footer = end[1]
    (number,) = _FIRST.unpack_from(footer)
    sizes = struct.unpack(f">{(len(footer) - _FIRST.size) // 4}I", footer[_FIRST.size :])
    if sum(sizes) + len(footer) + TRAILER_SIZE != len(data):
        raise CorruptObject(f"A bundle of {len(data)} bytes has slots of {sum(sizes)}")
    at = 0
    for size in sizes:
        yield number, data[at : at + size]
        number += 1
        at += size
