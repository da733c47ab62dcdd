"""
A simulated etcd: it answers as etcd's JSON gateway does. All members are one.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from kafscale.store.etcd.errors import INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE, EtcdError
from tests.simulation.schedule import Call, Schedule

LEAST_TTL = 2
"""Seconds: a shorter lease is not given."""

MOST_OPERATIONS = 128


@attrs.define(eq=False)
class Row:
    """
    A key's value, in base64, as it came.
    """

    value: str
    created: int
    modified: int
    lease: int


@attrs.define(eq=False)
class Lease:
    """
    @ivar until: When it ends, unless it is kept alive.
    """

    seconds: int
    until: float
    timer: Call
    keys: dict[str, None] = attrs.field(factory=dict)


class Listener(Protocol):
    """
    A receiver of changes.

    @ivar start: The first revision that it receives.
    """

    start: int

    def hear(self, done: list[Done]) -> None:
        """
        Some keys were changed.
        """

    def refuse(self, compacted: int) -> None:
        """
        Report that the requested revision was compacted.
        """


@attrs.frozen
class Done:
    """
    The change of one key in one revision.
    """

    revision: int
    key: str
    before: Row | None
    after: Row | None

    def event(self) -> dict[str, Any]:
        """
        Return the change as an event of a watch.
        """
        if self.after is None:
            kv = {"key": base64_of(self.key), "mod_revision": str(self.revision)}
            return {"type": "DELETE", "kv": kv}
        return {"kv": kv_of(self.key, self.after)}


class Etcd:
    """
    The state that the members of etcd agree upon.

    @ivar seen: Called with everything that was done, in order.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._rows: dict[str, Row] = {}
        self._keys: list[str] = []  # sorted
        self._revision = 1
        self._history: list[Done] = []
        self._compacted = 0
        self._leases: dict[int, Lease] = {}
        self._next_lease = 7587840000000000000
        self._listeners: dict[Listener, None] = {}
        self.seen: list[Callable[[list[Done]], None]] = []
        self._verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "/v3/kv/range": self._range,
            "/v3/kv/txn": self._txn,
            "/v3/lease/grant": self._grant,
            "/v3/lease/keepalive": self._keepalive,
            "/v3/lease/revoke": self._revoke,
        }

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """
        The answer to one request, at once.

        @raise EtcdError: it says no.
        """
        return self._verbs[path](body)

    def text(self, key: str) -> str | None:
        """
        Return the value of a key, for checkers; None if there is none.
        """
        row = self._rows.get(key)
        return None if row is None else b64decode(row.value).decode()

    def below(self, prefix: str) -> list[str]:
        """
        Return the keys with this prefix, for checkers.
        """
        return self._span(prefix, prefix + "\U0010ffff")

    # -- keys -----------------------------------------------------------------

    def _header(self) -> dict[str, str]:
        return {"revision": str(self._revision)}

    def _span(self, start: str, end: str) -> list[str]:
        return self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, end)]

    def _range(self, body: dict[str, Any]) -> dict[str, Any]:
        start = text_of(body["key"])
        revision = int(body.get("revision") or 0)
        found: list[tuple[str, Row]]
        if revision:
            found = self._past(start, text_of(body["range_end"]), revision)
        elif "range_end" in body:
            span = self._span(start, text_of(body["range_end"]))
            found = [(key, self._rows[key]) for key in span]
        else:
            row = self._rows.get(start)
            found = [] if row is None else [(start, row)]
        count = len(found)
        least = int(body.get("min_mod_revision") or 0)
        found = [(key, row) for key, row in found if row.modified >= least]
        limit = int(body.get("limit") or 0) or count
        kvs = [kv_of(key, row, bool(body.get("keys_only"))) for key, row in found[:limit]]
        answer: dict[str, Any] = {"header": self._header(), "kvs": kvs, "count": str(count)}
        if len(found) > limit:
            answer["more"] = True
        return answer

    def _past(self, start: str, end: str, revision: int) -> list[tuple[str, Row]]:
        if revision > self._revision:
            raise EtcdError("etcd", OUT_OF_RANGE, "required revision is a future revision")
        if revision < self._compacted:
            raise EtcdError("etcd", OUT_OF_RANGE, "required revision has been compacted")
        rows: dict[str, Row | None] = {key: self._rows[key] for key in self._span(start, end)}
        for done in reversed(self._history):
            if done.revision <= revision:
                break
            if start <= done.key < end:
                rows[done.key] = done.before
        return [(key, row) for key in sorted(rows) if (row := rows[key]) is not None]

    def _txn(self, body: dict[str, Any]) -> dict[str, Any]:
        # A real one would answer it without the other members, from an old state.
        assert body.get("success"), "a transaction without operations"
        for compare in body.get("compare", ()):
            row = self._rows.get(text_of(compare["key"]))
            modified = 0 if row is None else row.modified
            wanted_revision = int(compare["mod_revision"])
            holds = {"EQUAL": modified == wanted_revision, "GREATER": modified > wanted_revision}
            if not holds[compare["result"]]:
                return {"header": self._header()}
        operations = body.get("success", ())
        if len(operations) > MOST_OPERATIONS:
            reason = "etcdserver: too many operations in txn request"
            raise EtcdError("etcd", INVALID_ARGUMENT, reason)
        wanted: dict[str, tuple[str, int] | None] = {}
        for operation in operations:
            if "request_range" in operation:
                continue  # its answer is not used
            put = operation.get("request_put")
            if put is None:
                wanted[text_of(operation["request_delete_range"]["key"])] = None
                continue
            lease = int(put.get("lease") or 0)
            if lease and lease not in self._leases:
                raise EtcdError("etcd", NOT_FOUND, "etcdserver: requested lease not found")
            wanted[text_of(put["key"])] = put["value"], lease
        self._do(wanted)
        return {"header": self._header(), "succeeded": True}

    def _do(self, wanted: dict[str, tuple[str, int] | None]) -> None:
        """
        Change these keys, in one revision if there is anything to change.
        """
        revision = self._revision + 1
        done = []
        for key, what in wanted.items():
            before = self._rows.get(key)
            if what is None:
                if before is None:
                    continue
                del self._rows[key]
                del self._keys[bisect_left(self._keys, key)]
                after = None
            else:
                value, lease = what
                created = revision if before is None else before.created
                after = self._rows[key] = Row(value, created, revision, lease)
                if before is None:
                    insort(self._keys, key)
                if lease:
                    self._leases[lease].keys[key] = None
            if (
                before is not None
                and before.lease in self._leases
                and (after is None or after.lease != before.lease)
            ):
                self._leases[before.lease].keys.pop(key, None)
            done.append(Done(revision, key, before, after))
        if not done:
            return
        self._revision = revision
        self._history += done
        for see in self.seen:
            see(done)
        for listener in tuple(self._listeners):
            listener.hear(done)

    def compact(self) -> None:
        """
        Forget all that was before the last revision, and as etcd 3.4.23 does, what that
        one deleted.
        """
        self._compacted = self._revision
        self._history = [
            done
            for done in self._history
            if done.revision == self._revision and done.after is not None
        ]

    # -- leases ---------------------------------------------------------------

    def leases(self) -> list[int]:
        """
        Those that there are.
        """
        return list(self._leases)

    def lease_of(self, key: str) -> int:
        """
        Return the lease with which a key ends; 0 if there is none.
        """
        row = self._rows.get(key)
        return 0 if row is None else row.lease

    def end_lease(self, lease: int) -> None:
        """
        End a lease, and delete its keys.
        """
        ended = self._leases.pop(lease)
        if ended.timer.active():
            ended.timer.cancel()
        self._do(dict.fromkeys(sorted(ended.keys)))

    def _expire(self, lease: int) -> None:
        if lease in self._leases:
            left = self._leases[lease].until - self._schedule.now
            if left > 0:
                self._leases[lease].timer = self._schedule.after(left, self._expire, lease)
            else:
                self.end_lease(lease)

    def _grant(self, body: dict[str, Any]) -> dict[str, Any]:
        seconds = max(LEAST_TTL, int(body["TTL"]))
        self._next_lease += 1
        lease = self._next_lease
        timer = self._schedule.after(seconds, self._expire, lease)
        self._leases[lease] = Lease(seconds, self._schedule.now + seconds, timer)
        return {"header": self._header(), "ID": str(lease), "TTL": str(seconds)}

    def _keepalive(self, body: dict[str, Any]) -> dict[str, Any]:
        lease = self._leases.get(int(body["ID"]))
        result = {"header": self._header(), "ID": body["ID"]}
        if lease is not None:
            lease.until = self._schedule.now + lease.seconds
            result["TTL"] = str(lease.seconds)
        return {"result": result}

    def _revoke(self, body: dict[str, Any]) -> dict[str, Any]:
        if int(body["ID"]) not in self._leases:
            raise EtcdError("etcd", NOT_FOUND, "etcdserver: requested lease not found")
        self.end_lease(int(body["ID"]))
        return {"header": self._header()}

    # -- watches --------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """
        Tell someone from his revision on.
        """
        if listener.start < self._compacted:
            listener.refuse(self._compacted)
            return
        self._listeners[listener] = None
        past = [done for done in self._history if done.revision >= listener.start]
        if past:
            listener.hear(past)

    def ignore(self, listener: Listener) -> None:
        """
        Tell him no more.
        """
        self._listeners.pop(listener, None)


def kv_of(key: str, row: Row, keys_only: bool = False) -> dict[str, Any]:
    """
    Return a row as etcd's JSON gateway writes it.
    """
    kv = {"key": base64_of(key), "mod_revision": str(row.modified)}
    if not keys_only:
        kv["value"] = row.value
    return kv


def text_of(data: str) -> str:
    """
    A key, from base64.
    """
    return b64decode(data).decode()


def base64_of(text: str) -> str:
    """
    A key, in base64.
    """
    return b64encode(text.encode()).decode()
