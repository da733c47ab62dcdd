"""
Fencing: keeps a broker that was replaced from acknowledging writes.

A store that creates objects and never replaces one (`CreateOnly`) is enough by
itself: a successor's seal is where the old broker wants to write, and a segment
that exists stays as it is. Where a create may replace an object (`Marked`), the
metadata store does it:

  - A successor marks the incarnation first, and looks for the journal's end
    afterwards (`kafscale.log.takeover.sealing`). A slot is acknowledged when it is
    stored and a read that began after that found no mark, and the incarnation's
    own record (rule 27). So it was there before the mark, and the successor sees
    it. A slot stored later is never acknowledged.
  - No key ever gets two contents. Slots belong to their incarnation alone, and
    the key of a segment contains the leader epoch in which it was written. The
    partition's record says which of several segments counts
    (`kafscale.format.partition`).

An incarnation's record says which of the two stops it.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from kafscale.format.incarnation import METADATA
from kafscale.interfaces import IMetadataStore
from kafscale.interfaces.incarnations import alive


def fence_of(
    fencing: str, metadata: IMetadataStore, incarnation: int, names_epochs: bool
) -> Fence:
    """
    Make the fence of an incarnation that begins.

    @param names_epochs: Whether the keys of segments contain the leader epoch
        even if no object can be replaced.
    """
    if fencing == METADATA:
        return Marked(metadata, incarnation)
    return CreateOnly(names_epochs)


class Fence(Protocol):
    """
    How an incarnation finds out that it was replaced.

    @ivar may_replace: Whether a create may replace an object.
    """

    may_replace: bool

    def passes(self) -> Deferred[bool] | None:
        """
        Check whether the slots stored by now may be acknowledged. None if they
        may, without a request.
        """

    def key_epoch(self, leader_epoch: int) -> int:
        """
        Return the epoch that the keys of segments written in this leader epoch
        contain; -1 for none. See L{object_keys.segment}.
        """


class CreateOnly:
    """
    The fence of a store that replaces nothing: an object that could be created
    was created in time.
    """

    may_replace = False

    def __init__(self, names_epochs: bool = False) -> None:
        self._names_epochs = names_epochs

    def passes(self) -> None:
        """
        See L{Fence}.
        """

    def key_epoch(self, leader_epoch: int) -> int:
        """
        See L{Fence}.
        """
        return leader_epoch if self._names_epochs else -1


class Marked:
    """
    The fence of a store that may replace objects: a mark in the metadata store
    says that the incarnation was replaced.
    """

    may_replace = True

    def __init__(self, metadata: IMetadataStore, incarnation: int) -> None:
        self._metadata = metadata
        self._alive = alive(incarnation)
        self._asked: list[Deferred[bool]] = []  # since the last read began
        self._reading = False

    def passes(self) -> Deferred[bool]:
        """
        See L{Fence}. One read answers all that ask before it begins. Those that
        ask later may have stored a slot later, and wait for the next read.
        """
        told: Deferred[bool] = Deferred()
        self._asked.append(told)
        if not self._reading:
            self._reading = True
            Deferred.fromCoroutine(self._read())
        return told

    async def _read(self) -> None:
        while self._asked:
            covered, self._asked = self._asked, []
            try:
                passes = await self._metadata.holds(self._alive)
            except Exception as error:  # noqa: BLE001 - goes to the callers of passes()
                for told in covered:
                    told.errback(error)
            else:
                for told in covered:
                    told.callback(passes)
        self._reading = False

    def key_epoch(self, leader_epoch: int) -> int:
        """
        See L{Fence}.
        """
        return leader_epoch
