"""
How groups and commits get into the metadata store.

Groups are divided into shards, and each shard has one broker that writes it.
What must be written waits while a commit of the shard is under way, and goes
into the next one together, as far as there is room: so thousands of commits
in a second are few writes. Of several values for one key the last is written.

Each commit compares and raises the shard's *sequence*, whose entry also names
the owner (rule 22 of the log's rules). So there is no doubt: a commit that is
late, or of a broker that has been replaced, misses; and after one of which
nothing was heard, the sequence tells whether it was done. The entry has also
the sequence with which the owner took the shard: a broker may lose a shard
and take it again, while a commit from before is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from kafscale.errors import CommitConflict, NotCoordinator, StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.interfaces import Compare, Delete, IMetadataStore, Put

ROOM = 99
"""Operations in one commit; the hundredth raises the sequence."""


@attrs.define(eq=False)
class _Written:
    """
    What one caller wants written.

    @ivar left: How many operations are not done yet.
    @ivar refused: Whether that was told already.
    """

    done: Deferred[None]
    left: int
    refused: bool = False


class Shard:
    """
    One shard, written by one incarnation of a broker.

    @ivar is_lost: Another owns it now.
    """

    _log = Logger()

    def __init__(
        self,
        store: IMetadataStore,
        number: int,
        incarnation: int,
        lost: Callable[[Shard], None],
    ) -> None:
        """
        @param lost: Called when another has come to own it.
        """
        self.number = number
        self.is_lost = False
        self._store = store
        self._key = metadata_keys.group_shard(number)
        self._incarnation = incarnation
        self._sequence = 0
        self._since = 0  # the sequence of taking it
        self._revision = 0  # of the sequence's entry
        self._waiting: list[tuple[Put | Delete, _Written]] = []
        self._writing = False
        self._idle: list[Deferred[None]] = []
        self._lost = lost

    async def take(self) -> None:
        """
        Own it from now on. What a former owner has under way misses.
        """
        while True:
            entry = await self._store.get(self._key)
            if entry is not None:
                self._sequence = entry.value["sequence"]
                self._revision = entry.revision
            self._sequence += 1
            self._since = self._sequence
            try:
                await self._attempt([])
            except (CommitConflict, StoreUnavailable):
                continue  # read what came of it
            return

    def write(self, operations: Sequence[Put | Delete]) -> Deferred[None]:
        """
        Do these; fires when all of them are durable. They are done in the
        order of calls, and not necessarily as one.

        @raise NotCoordinator: (by the Deferred) another owns the shard now.
        """
        written = _Written(Deferred(), len(operations))
        if self.is_lost:
            written.done.errback(NotCoordinator())
        elif not operations:
            written.done.callback(None)
        else:
            self._waiting.extend((operation, written) for operation in operations)
            if not self._writing:
                self._writing = True
                Deferred.fromCoroutine(self._write_all())
        return written.done

    def idle(self) -> Deferred[None]:
        """
        Fires when nothing waits to be written.
        """
        done: Deferred[None] = Deferred()
        if self._writing:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    async def _write_all(self) -> None:
        while self._waiting:
            operations, now = self._take_together()
            try:
                await self._commit(operations)
            except NotCoordinator as lost:
                self.is_lost = True
                self._log.warn("shard {number} of the groups is another's now", number=self.number)
                left, self._waiting = self._waiting, []
                self._lost(self)
                _refuse(now + [written for _, written in left], lost)
            except Exception as error:
                self._log.failure("shard {number} of the groups: not written", number=self.number)
                _refuse(now, error)
            for written in now:
                written.left -= 1
                if not written.left and not written.refused:
                    written.done.callback(None)
        self._writing = False
        idle, self._idle = self._idle, []
        for done in idle:
            done.callback(None)

    def _take_together(self) -> tuple[list[Put | Delete], list[_Written]]:
        """
        What goes into the next commit, and those who wait for it: once for
        each of their operations.
        """
        operations: dict[str, Put | Delete] = {}
        size = 0
        for operation, _ in self._waiting:
            if operation.key not in operations and len(operations) == ROOM:
                break
            operations[operation.key] = operation
            size += 1
        together, self._waiting = self._waiting[:size], self._waiting[size:]
        return list(operations.values()), [written for _, written in together]

    async def _commit(self, operations: Sequence[Put | Delete]) -> None:
        """
        One commit, until it is certain: of several attempts with the same
        compare one at most is done, and the sequence tells which.

        @raise NotCoordinator: the shard has another owner.
        """
        self._sequence += 1
        while True:
            try:
                await self._attempt(operations)
            except (CommitConflict, StoreUnavailable):
                if await self._is_done():
                    return
            else:
                return

    async def _attempt(self, operations: Sequence[Put | Delete]) -> None:
        value = {
            "owner": self._incarnation,
            "since": self._since,
            "sequence": self._sequence,
        }
        self._revision = await self._store.commit(
            [Compare(self._key, self._revision)], [Put(self._key, value), *operations]
        )

    async def _is_done(self) -> bool:
        try:
            entry = await self._store.get(self._key)
        except StoreUnavailable:  # it would have waited, but that it is closed
            raise NotCoordinator from None
        if entry is None or entry.value["owner"] != self._incarnation:
            raise NotCoordinator
        if entry.value.get("since") != self._since:
            raise NotCoordinator  # taken anew by this broker itself
        self._revision = entry.revision
        return bool(entry.value["sequence"] == self._sequence)


def _refuse(written: Sequence[_Written], error: Exception) -> None:
    for each in dict.fromkeys(written):
        if not each.refused:
            each.refused = True
            each.done.errback(error)
