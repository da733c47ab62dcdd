"""
A watch that goes on whatever happens to who tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.errors import StoreUnavailable
from kafscale.interfaces import Change, Entry, IWatch
from kafscale.store.etcd.client import EtcdClient, Stream
from kafscale.store.etcd.words import end_of, entry_in, key_of, name_in

QUIET_SECONDS = 30.0
"""After so long without a word the stream is begun anew: the connection may be
dead, and nobody would say so."""

AGAIN_SECONDS = 0.5


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
        prefix: str,
        below: str,
        revision: int,
        known: dict[str, int],
        present: Callable[[], Any],
        changed: Callable[[Sequence[Change]], None],
    ) -> None:
        """
        @param prefix: What all keys of the store begin with, and is not told.
        @param below: With what the keys of this watch begin after that.
        @param known: The keys there are at C{revision}, with their revisions.
        @param present: Reads what is there now: entries, and the revision.
        """
        self._client = client
        self._clock = clock
        self._prefix = prefix
        self._below = prefix + below
        self._revision = revision
        self._known = known
        self._present = present
        self._changed = changed
        self._stopped = False
        self._quiet: IDelayedCall | None = None
        self._stream: Stream | None = None
        self._under_way: Deferred[None] | None = None

    async def begin(self) -> None:
        """
        Return when the watch has begun.

        @raise StoreUnavailable: it has not.
        """
        stream = await self._streamed()
        self._under_way = Deferred.fromCoroutine(self._go_on(stream))
        self._under_way.addErrback(self._broken)

    def stop(self) -> None:
        """
        See L{IWatch.stop}.
        """
        if self._stopped:
            return
        self._stopped = True
        self._hush()
        if self._stream is not None:
            self._stream.ended.cancel()
        if self._under_way is not None:
            self._under_way.cancel()

    def _broken(self, failure: Any) -> None:
        if not self._stopped and not failure.check(CancelledError):
            self._log.failure("the watch of {below} ended", failure, below=self._below)

    async def _go_on(self, stream: Stream | None) -> None:
        while not self._stopped:
            try:
                if stream is None:
                    stream = await self._streamed()
                await stream.ended
            except Compacted:
                await self._catch_up()
            except StoreUnavailable as error:
                if not self._stopped:
                    self._log.debug("a watch begins anew: {reason}", reason=error)
                    await deferLater(self._clock, AGAIN_SECONDS)
            stream = None

    async def _streamed(self) -> Stream:
        request = {
            "key": key_of(self._below),
            "range_end": end_of(self._below),
            "start_revision": str(self._revision + 1),
        }
        stream = self._stream = await self._client.stream(
            "/v3/watch", {"create_request": request}, self._told
        )
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
        stream = self._stream
        if stream is not None and not stream.ended.called:
            stream.ended.errback(StoreUnavailable("nothing was heard for long"))

    def _told(self, result: dict[str, Any]) -> None:
        if self._stopped:
            return
        self._listen()
        if int(result.get("compact_revision", 0)):
            raise Compacted("the watch's revision is compacted")
        if result.get("canceled"):
            raise StoreUnavailable(result.get("cancel_reason") or "the watch was cancelled")
        changes = [self._change(event) for event in result.get("events", ())]
        for revision, together in groupby(changes, lambda change: change.revision):
            if revision > self._revision:
                self._tell(list(together), revision)

    def _change(self, event: dict[str, Any]) -> Change:
        kv = event["kv"]
        revision = int(kv["mod_revision"])
        if event.get("type") == "DELETE":
            return Change(name_in(kv).removeprefix(self._prefix), None, revision)
        entry = entry_in(kv, self._prefix)
        return Change(entry.key, entry, revision)

    def _tell(self, changes: list[Change], revision: int) -> None:
        self._revision = revision
        for change in changes:
            if change.entry is None:
                self._known.pop(change.key, None)
            else:
                self._known[change.key] = change.revision
        self._changed(changes)

    async def _catch_up(self) -> None:
        entries: list[Entry]
        entries, revision = await self._present()
        there = {entry.key for entry in entries}
        changes = [Change(key, None, revision) for key in self._known if key not in there]
        changes += [
            Change(entry.key, entry, entry.revision)
            for entry in entries
            if self._known.get(entry.key) != entry.revision
        ]
        if self._stopped:
            return
        self._log.warn("a watch was behind a compaction of etcd, and has caught up")
        if changes:
            self._tell(changes, revision)
        self._revision = revision
