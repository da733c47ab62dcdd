"""
Bundles: many small slots, stored a second time in one object.

A broker that flushes often leaves many small slots, and a successor would have
to read each of them. So when a group of neighbouring slots is acknowledged, and
is small as a whole, the broker stores the group once more as one object. A
successor then sends one request in place of sixty-four.

The layout of a bundle is in `kafscale.format.bundle`. A bundle never decides
what is durable. All that it says of a slot is that it was acknowledged, so the
slot is before the journal's end, wherever that is.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from kafscale.concurrency.chore import Chore
from kafscale.errors import ObjectExists, reason_in_log
from kafscale.format import object_keys
from kafscale.format.bundle import write_bundle
from kafscale.interfaces import IObjectStore

MAX_GROUP_BYTES = 8 << 20
"""Bytes of a group above which it is not stored a second time."""


class Bundles:
    """
    The bundles of one incarnation's journal.
    """

    _log = Logger()

    def __init__(self, objects: IObjectStore, clock: IReactorTime, prefix: str, group: int) -> None:
        """
        @param prefix: The prefix of their keys: see L{object_keys.bundles}.
        @param group: How many slots go into a bundle; 0 for no bundles.
        """
        self._objects = objects
        self._prefix = prefix
        self._group = group
        self._slots: list[list[bytes]] = []  # of the group that is being filled
        self._size = 0
        # The group to store: the number of its first slot, and its slots.
        self._full: tuple[int, list[list[bytes]]] | None = None
        self._storing = Chore(clock, self._store, self._not_stored)

    def acknowledged(self, number: int, pieces: list[bytes]) -> None:
        """
        Add the next slot, in order, which is acknowledged.

        @param number: Its number.
        @param pieces: Its bytes.
        """
        if not self._group:
            return
        place = number % self._group
        if place == 0:
            self._slots, self._size = [], 0
        if self._storing.stopped or place != len(self._slots):
            return  # the group is too large, or its beginning was missed
        self._size += sum(map(len, pieces))
        if self._size > MAX_GROUP_BYTES:
            self._slots = []
            return
        self._slots.append(pieces)
        if place == self._group - 1:
            # While the store is away no further groups wait in memory.
            if not self._storing.running:
                self._full = number - place, self._slots
                self._storing.kick()
            self._slots = []

    async def _store(self) -> None:
        assert self._full is not None
        (first, slots), self._full = self._full, None
        with suppress(ObjectExists):  # by an earlier attempt whose answer was lost
            await self._objects.create(
                object_keys.slot(self._prefix, first), write_bundle(first, slots)
            )

    def _not_stored(self, failure: Failure) -> None:
        self._log.warn(
            "could not store a bundle of slots, recovery may have to read them one by one: {why}",
            why=reason_in_log(failure.value),
        )

    def below(self, first: int, trim: int) -> list[str]:
        """
        Return the keys that bundles may have whose slots are all below C{trim},
        and were not all below C{first}.
        """
        if not self._group:
            return []
        groups = range(first // self._group, trim // self._group)
        return [object_keys.slot(self._prefix, group * self._group) for group in groups]

    def abandon(self) -> None:
        """
        Store nothing more.
        """
        self._storing.abandon()
        self._slots = []
