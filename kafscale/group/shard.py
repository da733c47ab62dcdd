"""
Writes groups and committed offsets to the metadata store.

Groups are divided into shards, and one broker writes each shard, with one
commit at a time. Operations that come while a commit is under way are written
together by the next one, up to L{MAX_OPERATIONS}; of several values for one key
the last is written. So thousands of offset commits a second are few writes.

Each commit compares and increments the shard's *sequence*, whose entry also
names the owner (rule 22, docs/architecture.md). So a commit fails that is late,
or comes from a broker that no longer owns the shard; and after a commit without
an answer, the sequence shows whether it succeeded. The entry also has the
sequence with which the owner took the shard (C{since}), because a broker may
lose a shard and take it again while the outcome of an earlier commit is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.errors import (
    CommitConflict,
    NotCoordinator,
    StoreError,
    StoreUnavailable,
    reason_in_log,
)
from kafscale.format import metadata_keys
from kafscale.format.group import ShardRecord
from kafscale.interfaces import Compare, Delete, Entry, IMetadataStore, IShard, Put

Committed: TypeAlias = Callable[[int, int, Sequence[Put | Delete]], None]
"""Called with the number and the sequence of a shard and the operations of a commit when
that is durable."""

MAX_OPERATIONS = 99
"""Operations in one commit, besides the one that increments the sequence."""


@attrs.define(eq=False)
class _Write:
    """
    The operations of one call of L{Shard.write}.

    @ivar done: Fires when all of them are durable, or fails.
    @ivar left: How many operations are not durable yet.
    @ivar refused: Whether C{done} has failed.
    """

    done: Deferred[None]
    left: int
    refused: bool = False


@implementer(IShard)
class Shard:
    """
    One shard, written by one incarnation of a broker.

    @ivar is_lost: Whether another broker owns it now.
    """

    _log = Logger()

    def __init__(
        self,
        store: IMetadataStore,
        number: int,
        incarnation: int,
        lost: Callable[[Shard], None],
        committed: Committed | None = None,
    ) -> None:
        """
        @param number: Of the shard.
        @param incarnation: Of this broker.
        @param lost: Called when another broker turns out to own the shard.
        @param committed: See L{Committed}.
        """
        self.number = number
        self.is_lost = False
        self._store = store
        self._key = metadata_keys.group_shard(number)
        self._incarnation = incarnation
        self._sequence = 0
        self._since = 0  # the sequence with which it was taken
        self._revision = 0  # of the sequence's entry
        self._waiting: list[tuple[Put | Delete, _Write]] = []
        self._writing = False
        self._idle: list[Deferred[None]] = []
        self._lookers: list[Deferred[None]] = []  # that wait for the next read
        self._looking = False
        self._lost = lost
        self._committed = committed

    @property
    def sequence(self) -> int:
        """
        How many commits the shard has had.
        """
        return self._sequence

    async def take(self) -> None:
        """
        Become the owner. Commits of the former owner fail from then on.
        """
        while True:
            entry = await self._store.get(self._key)
            if entry is not None:
                self._sequence = ShardRecord.from_entry(entry).sequence
                self._revision = entry.revision
            self._sequence += 1
            self._since = self._sequence
            try:
                await self._attempt([])
            except (CommitConflict, StoreUnavailable):
                continue  # the next read shows the outcome
            return

    def write(self, operations: Sequence[Put | Delete]) -> Deferred[None]:
        """
        See L{IShard.write}.
        """
        write = _Write(Deferred(), len(operations))
        if self.is_lost:
            write.done.errback(NotCoordinator())
        elif not operations:
            write.done.callback(None)
        else:
            self._waiting.extend((operation, write) for operation in operations)
            if not self._writing:
                self._writing = True
                Deferred.fromCoroutine(self._write_all())
        return write.done

    def look(self) -> Deferred[None]:
        """
        See L{IShard.look}. Those that look while a read is under way share the next.

        The sequence need not be compared: only the owner raises it, and it knows what
        it has written.
        """
        looker: Deferred[None] = Deferred()
        if self.is_lost:
            looker.errback(NotCoordinator())
        else:
            self._lookers.append(looker)
            if not self._looking:
                self._looking = True
                Deferred.fromCoroutine(self._look_all())
        return looker

    async def _look_all(self) -> None:
        while self._lookers:
            lookers, self._lookers = self._lookers, []
            try:
                await self._read_own()
            except NotCoordinator as lost:
                self._has_lost()
                for looker in lookers:
                    looker.errback(lost)
            except Exception as error:  # noqa: BLE001 - goes to those that wait
                for looker in lookers:
                    looker.errback(error)
            else:
                for looker in lookers:
                    looker.callback(None)
        self._looking = False

    def _has_lost(self) -> None:
        """
        Another broker owns the shard.
        """
        if not self.is_lost:
            self.is_lost = True
            self._log.warn(
                "lost group shard {number} to another broker; its groups are coordinated"
                " there",
                number=self.number,
            )
            self._lost(self)

    def idle(self) -> Deferred[None]:
        """
        Fires when all operations are written, or have failed.
        """
        done: Deferred[None] = Deferred()
        if self._writing:
            self._idle.append(done)
        else:
            done.callback(None)
        return done

    async def _write_all(self) -> None:
        while self._waiting:
            operations, now = self._next_batch()
            try:
                await self._commit(operations)
            except NotCoordinator as lost:
                left, self._waiting = self._waiting, []
                self._has_lost()
                _refuse(now + [write for _, write in left], lost)
            except StoreError as error:
                self._log.warn(
                    "could not write {count} operations of group shard {number}; their requests"
                    " are refused: {why}",
                    number=self.number,
                    count=len(now),
                    why=reason_in_log(error),
                )
                _refuse(now, error)
            except Exception as error:
                self._log.failure(
                    "internal error while writing {count} operations of group shard {number};"
                    " their requests are refused",
                    number=self.number,
                    count=len(now),
                )
                _refuse(now, error)
            else:
                if self._committed is not None:
                    self._committed(self.number, self._sequence, operations)
            for write in now:
                write.left -= 1
                if not write.left and not write.refused:
                    write.done.callback(None)
        self._writing = False
        idle, self._idle = self._idle, []
        for done in idle:
            done.callback(None)

    def _next_batch(self) -> tuple[list[Put | Delete], list[_Write]]:
        """
        The operations of the next commit, and for each operation, also for
        those that another one replaces, the write that it belongs to.
        """
        operations: dict[str, Put | Delete] = {}
        size = 0
        for operation, _ in self._waiting:
            if operation.key not in operations and len(operations) == MAX_OPERATIONS:
                break
            operations[operation.key] = operation
            size += 1
        together, self._waiting = self._waiting[:size], self._waiting[size:]
        return list(operations.values()), [write for _, write in together]

    async def _commit(self, operations: Sequence[Put | Delete]) -> None:
        """
        Commit, and try again until the outcome is known. At most one attempt
        with the same comparison succeeds.

        @raise NotCoordinator: another broker owns the shard.
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
        record = ShardRecord(self._incarnation, self._since, self._sequence)
        self._revision = await self._store.commit(
            [Compare(self._key, self._revision)], [Put(self._key, record.to_json()), *operations]
        )

    async def _is_done(self) -> bool:
        entry, record = await self._read_own()
        self._revision = entry.revision
        return record.sequence == self._sequence

    async def _read_own(self) -> tuple[Entry, ShardRecord]:
        """
        The shard's entry, as it is now.

        @raise NotCoordinator: it is not what this object has taken.
        """
        try:
            entry = await self._store.get(self._key)
        except StoreUnavailable:  # raised only by a store that is closed: others wait
            raise NotCoordinator from None
        if entry is None:
            raise NotCoordinator
        record = ShardRecord.from_entry(entry)
        if record.owner != self._incarnation:
            raise NotCoordinator
        if record.since != self._since:
            raise NotCoordinator  # this broker itself has lost it, and taken it again
        return entry, record


def _refuse(writes: Sequence[_Write], error: Exception) -> None:
    for each in dict.fromkeys(writes):
        if not each.refused:
            each.refused = True
            each.done.errback(error)
