"""
Small slots once more, many in one object.

A broker that flushes often leaves many small slots, and a successor would ask
for each of them. So when a group of neighbours is acknowledged, and is small as
a whole, their writer stores them once more, together: a successor then asks for
one object where it would have asked for sixty-four.

The layout of a bundle is in `kafscale.format.bundle`. What is durable and what
is not is never decided by it. Of a slot that a bundle has it is only known that
it was acknowledged; so it stands before the journal's end, wherever that is.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.errors import ObjectExists
from kafscale.format import object_keys
from kafscale.format.bundle import write_bundle
from kafscale.interfaces import IObjectStore

WORTH = 8 << 20
"""Bytes of a group that is worth being stored twice, at most."""


class Bundles:
    """
    Those of one incarnation's journal.
    """

    _log = Logger()

    def __init__(self, objects: IObjectStore, clock: IReactorTime, prefix: str, group: int) -> None:
        """
        @param prefix: See L{object_keys.bundles}.
        @param group: How many slots go together; 0: none.
        """
        self._objects = objects
        self._prefix = prefix
        self._group = group
        self._slots: list[list[bytes]] = []  # of the group that is being filled
        self._size = 0
        self._full: tuple[int, list[list[bytes]]] | None = None  # the group to be stored
        self._storing = Chore(clock, self._store, self._not_stored)

    def acknowledged(self, number: int, pieces: list[bytes]) -> None:
        """
        The next slot, in order, is acknowledged; it consists of these.
        """
        if not self._group:
            return
        place = number % self._group
        if place == 0:
            self._slots, self._size = [], 0
        if self._storing.stopped or place != len(self._slots):
            return  # the group is too large, or its beginning was missed
        self._size += sum(map(len, pieces))
        if self._size > WORTH:
            self._slots = []
            return
        self._slots.append(pieces)
        if place == self._group - 1:
            # While the store is away no more of them wait.
            if not self._storing.running:
                self._full = number - place, self._slots
                self._storing.kick()
            self._slots = []

    async def _store(self) -> None:
        assert self._full is not None
        (first, slots), self._full = self._full, None
        with suppress(ObjectExists):  # by an attempt of which we did not hear
            await self._objects.create(
                object_keys.slot(self._prefix, first), write_bundle(first, slots)
            )

    def _not_stored(self, failure: Failure) -> None:
        self._log.warn("slots are not bundled: {why}", why=failure)

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
        self._storing.abandon()
        self._slots = []
