"""
A watch that goes on whatever happens to who tells it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.errors import StoreUnavailable
from kafscale.interfaces import Change, Entry, IWatch
from kafscale.store.etcd.client import EtcdClient
from kafscale.store.etcd.encoding import end_of, entry_in, key_of, name_in
from kafscale.store.etcd.faults import Quiet
from kafscale.store.etcd.stream import Stream

QUIET_SECONDS = 30.0
"""After so long without a word the stream is begun anew: the connection may be
dead, and nobody would say so."""

AGAIN_SECONDS = 0.5

Present = Callable[[], Awaitable[tuple[list[Entry], int]]]


class Compacted(StoreUnavailable):
    """
    What happened since the watch's revision is forgotten.
    """


@implementer(IWatch)
class Watch:
    """
    Changes below a prefix, from a revision on, each once.

    When a stream ends the next one begins where it was. When etcd has
    forgotten what came after that (a compaction), what is there now is
    compared with what was told: what is different is told as changed, and
    what is not there any more as deleted.
    """

    _log = Logger()

    def __init__(
        self,
        client: EtcdClient,
        clock: IReactorTime,
        jitter: Callable[[], float],
        prefix: str,
        below: str,
        revision: int,
        known: dict[str, int],
        present: Present,
        changed: Callable[[Sequence[Change]], None],
        stopped: Callable[[Watch], None],
    ) -> None:
        """
        @param jitter: A number from 0 to 1, another one at each call.
        @param prefix: What all keys of the store begin with, and is not told.
        @param below: With what the keys of this watch begin after that.
        @param known: The keys there are at C{revision}, with their revisions.
        @param present: Reads what is there now: entries, and the revision.
        @param stopped: Called once.
        """
        self._client = client
        self._clock = clock
        self._jitter = jitter
        self._prefix = prefix
        self._below = prefix + below
        self._revision = revision
        self._known = known
        self._present = present
        self._changed = changed
        self._on_stopped = stopped
        self._behind = False
        self._stopped = False
        self._quiet: IDelayedCall | None = None
        self._stream: Stream | None = None
        self._going_on: Deferred[None] | None = None

    async def begin(self) -> None:
        """
        Return when the watch has begun.

        @raise StoreUnavailable: it has not.
        """
        stream = await self._streamed()
        self._going_on = Deferred.fromCoroutine(self._go_on(stream))
        self._going_on.addErrback(self._ended)

    def stop(self) -> None:
        """
        See L{IWatch.stop}.
        """
        if self._stopped:
            return
        self._stopped = True
        self._hush()
        if self._stream is not None:
            self._stream.end(CancelledError())
        if self._going_on is not None:
            self._going_on.cancel()
        self._on_stopped(self)

    def _ended(self, failure: Failure) -> None:
        if not self._stopped:
            self._log.failure("the watch of {below} ended", failure, below=self._below)

    async def _go_on(self, stream: Stream | None) -> None:
        while not self._stopped:
            try:
                if self._behind:
                    await self._catch_up()
                if stream is None:
                    stream = await self._streamed()
                await stream.ended
            except Compacted:
                self._behind = True
            except Quiet:
                pass
            except CancelledError:
                raise
            except StoreUnavailable as error:
                self._log.debug("a watch begins anew: {reason}", reason=error)
                await self._pause()
            except Exception:
                self._log.failure("the watch of {below} begins anew", below=self._below)
                await self._pause()
            stream = None

    async def _pause(self) -> None:
        if not self._stopped:
            await deferLater(self._clock, AGAIN_SECONDS * (0.5 + self._jitter()))

    async def _streamed(self) -> Stream:
        request = {
            "key": key_of(self._below),
            "range_end": end_of(self._below),
            "start_revision": str(self._revision + 1),
        }
        stream = await self._client.stream(
            "/v3/watch", {"create_request": request}, self._told
        )
        if self._stopped:
            stream.end(CancelledError())
        else:
            self._stream = stream
            self._listen()
        return stream

    # -- what is heard --------------------------------------------------------

    def _hush(self) -> None:
        if self._quiet is not None and self._quiet.active():
            self._quiet.cancel()

    def _listen(self) -> None:
        self._hush()
        self._quiet = self._clock.callLater(QUIET_SECONDS, self._too_quiet)

    def _too_quiet(self) -> None:
        if self._stream is not None:
            self._stream.end(Quiet("nothing was heard for long"))

    def _told(self, result: dict[str, Any]) -> None:
        if self._stopped:
            return
        self._listen()
        if int(result.get("compact_revision", 0)):
            raise Compacted("the watch's revision is compacted")
        if result.get("canceled"):
            raise StoreUnavailable(result.get("cancel_reason") or "the watch was cancelled")
        events = result.get("events", ())
        for revision, together in groupby(events, lambda event: int(event["kv"]["mod_revision"])):
            if revision > self._revision:
                self._tell([each for event in together for each in self._changes(event)], revision)

    def _changes(self, event: dict[str, Any]) -> list[Change]:
        """
        What an event tells; nothing if its value is not ours.
        """
        kv = event["kv"]
        revision = int(kv["mod_revision"])
        if event.get("type") == "DELETE":
            return [Change(name_in(kv).removeprefix(self._prefix), None, revision)]
        try:
            entry = entry_in(kv, self._prefix)
        except ValueError as error:
            self._log.error("{key} is not understood: {error}", key=name_in(kv), error=error)
            return []
        return [Change(entry.key, entry, revision)]

    def _tell(self, changes: Sequence[Change], revision: int) -> None:
        if self._stopped:
            return
        self._revision = revision
        for change in changes:
            if change.entry is None:
                self._known.pop(change.key, None)
            else:
                self._known[change.key] = change.revision
        if not changes:
            return
        try:
            self._changed(changes)
        except Exception:
            self._log.failure("a change below {below} was not taken", below=self._below)

    async def _catch_up(self) -> None:
        entries, revision = await self._present()
        there = {entry.key for entry in entries}
        changes = [
            Change(entry.key, entry, entry.revision)
            for entry in entries
            if self._known.get(entry.key) != entry.revision
        ]
        changes += [Change(key, None, revision) for key in self._known if key not in there]
        changes.sort(key=lambda change: change.revision)  # those that are gone come last
        self._log.warn("a watch was behind a compaction of etcd, and has caught up")
        self._tell(changes, revision)
        self._behind = False
