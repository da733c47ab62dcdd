"""
What keeps a broker that was replaced from doing harm.

A store that creates and never replaces (`CreateOnly`) does it by itself: a
successor's seal stands where the old broker wants to write, and a segment that
exists stays as it is. Where a create may replace what is there (`Marked`), the
metadata store does it:

- A successor marks the incarnation first, and looks for the journal's end
  afterwards (`kafscale.log.takeover.sealing`). A slot is acknowledged when it is stored
  and, after that, no mark was found: it was there before the mark, so the
  successor sees it. What comes later was never acknowledged.
- No key is ever given two contents: slots belong to their incarnation alone,
  and in keys of segments stands the leader epoch in which they were made. The
  partition's record says which of several counts (`kafscale.format.partition`).

Which of the two holds for an incarnation its record tells, for those who are
to stop it.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from kafscale.format import metadata_keys
from kafscale.format.incarnation import METADATA
from kafscale.interfaces import IMetadataStore


def fence_of(
    fencing: str, metadata: IMetadataStore, incarnation: int, names_epochs: bool
) -> Fence:
    """
    The fence of an incarnation that begins.

    @param names_epochs: Whether the leader epoch stands in keys of segments
        even if nothing can be replaced.
    """
    if fencing == METADATA:
        return Marked(metadata, incarnation)
    return CreateOnly(names_epochs)


class Fence(Protocol):
    """
    What an incarnation does so as not to go on when it has been replaced.

    @ivar may_replace: Whether a create may replace what is there.
    """

    may_replace: bool

    def passes(self) -> Deferred[bool] | None:
        """
        Whether what is stored by now may be acknowledged; None: it may.
        """

    def maker(self, leader_epoch: int) -> int:
        """
        What stands in the keys of segments made in this epoch, for
        L{object_keys.segment}.
        """


class CreateOnly:
    """
    The store replaces nothing: what could be created was created in time.
    """

    may_replace = False

    def __init__(self, names_epochs: bool = False) -> None:
        self._names_epochs = names_epochs

    def passes(self) -> None:
        """
        See L{Fence}.
        """

    def maker(self, leader_epoch: int) -> int:
        """
        See L{Fence}.
        """
        return leader_epoch if self._names_epochs else -1


class Marked:
    """
    The store may replace: the metadata store knows who was replaced.
    """

    may_replace = True

    def __init__(self, metadata: IMetadataStore, incarnation: int) -> None:
        self._metadata = metadata
        self._key = metadata_keys.seal(incarnation)
        self._asked: list[Deferred[bool]] = []  # since the last read began
        self._reading = False

    def passes(self) -> Deferred[bool]:
        """
        See L{Fence}. One read is for all who ask before it begins; who asks
        later may have stored later, and waits for the next.
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
                mark = await self._metadata.get(self._key)
            except Exception as error:  # noqa: BLE001 - theirs, who asked
                for told in covered:
                    told.errback(error)
            else:
                for told in covered:
                    told.callback(mark is None)
        self._reading = False

    def maker(self, leader_epoch: int) -> int:
        """
        See L{Fence}.
        """
        return leader_epoch
