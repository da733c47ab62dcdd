"""
A watch that survives interruptions of its stream.
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
from kafscale.interfaces import Change, IWatch
from kafscale.store.etcd.client import EtcdClient
from kafscale.store.etcd.encoding import end_of, entry_in, key_of, name_in
from kafscale.store.etcd.errors import Quiet
from kafscale.store.etcd.stream import Stream

QUIET_SECONDS = 30.0
"""If nothing was received for so long, a new stream is started: the connection
may be dead without a sign."""

AGAIN_SECONDS = 0.5
"""The mean time before a stream that failed is started again."""

Pages = Callable[..., Awaitable[tuple[list[Any], int, int]]]


class Compacted(StoreUnavailable):
    """
    etcd has compacted its history past the revision of a watch or a range.
    """


@implementer(IWatch)
class Watch:
    """
    Reports each change of keys with a prefix, from a revision on, once.

    When a stream ends, the next one begins at the revision that was reported
    last. If etcd has compacted its history past that, the present entries are
    compared with the reported ones: entries that are different are reported as
    put, and keys that are missing as deleted.
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
        pages: Pages,
        changed: Callable[[Sequence[Change]], None],
        stopped: Callable[[Watch], None],
    ) -> None:
        """
        @param client: Starts the streams.
        @param clock: Times their restart.
        @param jitter: Returns a number from 0 to 1, another one at each call.
        @param prefix: The prefix of all keys of the store, which is not
            reported.
        @param below: The prefix of this watch, which follows.
        @param revision: The revision after which changes are reported.
        @param known: The keys that exist at C{revision}, with their revisions.
        @param pages: Reads entries of this watch, in pages
            (C{EtcdMetadataStore._pages}).
        @param changed: Called with the changes of each commit.
        @param stopped: Called once, when the watch is stopped.
        """
        self._client = client
        self._clock = clock
        self._jitter = jitter
        self._prefix = prefix
        self._below = prefix + below
        self._revision = revision
        self._known = known
        self._pages = pages
        self._changed = changed
        self._on_stopped = stopped
        self._behind = False
        self._stopped = False
        self._heard = clock.seconds()
        self._lost = False
        self._silence: IDelayedCall | None = None
        self._stream: Stream | None = None
        self._running: Deferred[None] | None = None

    async def begin(self) -> None:
        """
        Start the watch.

        @raise StoreUnavailable: its first stream could not be started.
        """
        stream = await self._start_stream()
        self._running = Deferred.fromCoroutine(self._run(stream))
        self._running.addErrback(self._ended)

    def stop(self) -> None:
        """
        See L{IWatch.stop}.
        """
        if self._stopped:
            return
        self._stopped = True
        self._cancel_silence()
        if self._stream is not None:
            self._stream.end(CancelledError())
        if self._running is not None:
            self._running.cancel()
        self._on_stopped(self)

    def behind(self) -> float:
        """
        See L{IWatch.behind}.
        """
        return self._clock.seconds() - self._heard if self._lost else 0.0

    def _ended(self, failure: Failure) -> None:
        if not self._stopped:
            self._log.failure(
                "internal error: the watch of {below} in etcd has ended; the broker must be"
                " restarted",
                failure,
                below=self._below,
            )

    async def _run(self, stream: Stream | None) -> None:
        while not self._stopped:
            try:
                if self._behind:
                    await self.catch_up()
                    self._behind = False
                    self._log.warn(
                        "etcd was compacted past the watch of {below}, which has caught up from"
                        " the present entries",
                        below=self._below,
                    )
                if stream is None:
                    stream = await self._start_stream()
                self._lost = False
                await stream.ended
            except Compacted:
                self._behind = True
            except Quiet:
                pass
            except CancelledError:
                raise
            except StoreUnavailable as error:
                self._lost = True
                self._log.debug(
                    "the watch of {below} in etcd was interrupted, restarting it: {reason}",
                    below=self._below,
                    reason=error,
                )
                await self._pause()
            except Exception:
                self._lost = True
                self._log.failure(
                    "internal error in the watch of {below} in etcd, restarting it",
                    below=self._below,
                )
                await self._pause()
            stream = None

    async def _pause(self) -> None:
        if not self._stopped:
            await deferLater(self._clock, AGAIN_SECONDS * (0.5 + self._jitter()))

    def _first_revision(self) -> int:
        # What was reported last, and not what comes after it: a compaction of that one
        # deletes what was deleted in it, and etcd 3.4.23 does not say that it is missing
        # (findings/etcd-compacted-deletion.sh). What was reported already is left out.
        return self._revision

    async def _start_stream(self) -> Stream:
        request = {
            "key": key_of(self._below),
            "range_end": end_of(self._below),
            "start_revision": str(self._first_revision()),
        }
        stream = await self._client.stream(
            "/v3/watch", {"create_request": request}, self._received
        )
        if self._stopped:
            stream.end(CancelledError())
        else:
            self._stream = stream
            self._heard = self._clock.seconds()
            self._expect_message()
        return stream

    # -- messages -----------------------------------------------------------------

    def _cancel_silence(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()

    def _expect_message(self) -> None:
        self._cancel_silence()
        self._silence = self._clock.callLater(QUIET_SECONDS, self._silent)

    def _silent(self) -> None:
        if self._stream is not None:
            self._stream.end(Quiet(f"nothing was received for {QUIET_SECONDS:g} s"))

    def _received(self, result: dict[str, Any]) -> None:
        if self._stopped:
            return
        self._expect_message()
        self._heard = self._clock.seconds()
        if int(result.get("compact_revision", 0)):
            raise Compacted("the revision of the watch is compacted")
        if result.get("canceled"):
            raise StoreUnavailable(result.get("cancel_reason") or "the watch was cancelled")
        events = result.get("events", ())
        for revision, commit in groupby(events, lambda event: int(event["kv"]["mod_revision"])):
            if revision > self._revision:
                self._report([each for event in commit for each in self._changes(event)], revision)

    def _changes(self, event: dict[str, Any]) -> list[Change]:
        """
        The change in an event; none if the value was not written by Kafscale. It is known
        then nevertheless, because L{catch_up} counts.
        """
        kv = event["kv"]
        revision = int(kv["mod_revision"])
        if event.get("type") == "DELETE":
            return [Change(name_in(kv).removeprefix(self._prefix), None, revision)]
        try:
            entry = entry_in(kv, self._prefix)
        except ValueError as error:
            self._log.error(
                "ignored the value of {key} in etcd, which is not JSON: {reason}",
                key=name_in(kv),
                reason=error,
            )
            self._known[name_in(kv).removeprefix(self._prefix)] = revision
            return []
        return [Change(entry.key, entry, revision)]

    def _report(self, changes: Sequence[Change], revision: int) -> None:
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
            self._log.failure(
                "could not apply changes of metadata below {below} at revision {revision};"
                " later changes are applied",
                below=self._below,
                revision=revision,
            )

    async def catch_up(self) -> int:
        """
        Report the differences between the present entries and the reported ones. Return
        the revision up to which all is reported then.

        Only what was put since is read, because there may be many entries. Whether others
        were deleted shows in the number of all; then the keys are read, too.

        @raise StoreUnavailable: etcd does not answer.
        """
        puts, count, revision = await self._pages(
            self._puts, min_mod_revision=str(self._revision + 1)
        )
        there: set[str] | None = None
        if len(self._known.keys() | {change.key for change in puts}) != count:
            names, _, _ = await self._pages(self._names, revision, keys_only=True)
            there = set(names)
        if revision > self._revision:  # else the stream was faster
            changes = [each for each in puts if self._known.get(each.key) != each.revision]
            if there is not None:
                changes += [Change(key, None, revision) for key in self._known if key not in there]
            changes.sort(key=lambda change: change.revision)  # deletions come last
            self._report(changes, revision)
        return self._revision

    def _puts(self, kvs: Sequence[dict[str, Any]]) -> list[Change]:
        return [change for kv in kvs for change in self._changes({"kv": kv})]

    def _names(self, kvs: Sequence[dict[str, Any]]) -> list[str]:
        return [name_in(kv).removeprefix(self._prefix) for kv in kvs]
