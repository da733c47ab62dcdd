"""
A metadata store in etcd.
"""

from __future__ import annotations

import builtins
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.errors import CommitConflict, MetadataRolledBack
from kafscale.interfaces import Change, Compare, Delete, Entry, IMetadataStore, IWatch, Put
from kafscale.store.checks import Operation, check_commit
from kafscale.store.etcd.client import EtcdClient
from kafscale.store.etcd.encoding import end_of, entry_in, key_of, name_in, revision_in
from kafscale.store.etcd.errors import NOT_FOUND, OUT_OF_RANGE, EtcdError, is_too_much
from kafscale.store.etcd.leases import Leases
from kafscale.store.etcd.watch import Compacted, Watch

T = TypeVar("T")

PAGE = 1000
"""How many entries of a range are read in one request."""


@implementer(IMetadataStore)
class EtcdMetadataStore:
    """
    The keys of one namespace in an etcd cluster.

    @ivar committed: The revision of the last commit of this store; 0 before
        the first.
    """

    _log = Logger()

    def __init__(
        self,
        client: EtcdClient,
        clock: IReactorTime,
        jitter: Callable[[], float],
        namespace: str,
        page: int = PAGE,
    ) -> None:
        """
        @param client: Sends the requests.
        @param clock: Times the renewal of leases, and the restart of watches.
        @param jitter: Returns a number from 0 to 1, another one at each call.
        @param namespace: What all keys in etcd begin with, followed by a slash.
        @param page: How many entries of a range are read in one request.
        """
        self._client = client
        self._clock = clock
        self._jitter = jitter
        self._prefix = f"{namespace}/"
        self._page = page
        self._leases = Leases(client, clock, jitter)
        self._watches: set[Watch] = set()
        self.committed = 0
        self._seen = 0  # the highest revision that etcd has reported
        self._rolled_back: MetadataRolledBack | None = None

    async def _ask(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """
        Send a request that is answered linearizably: the answer has at least
        the revision of any answer that was received before it was sent.

        @raise MetadataRolledBack: this answer has a lower revision, or an
            earlier one had. Later commits are lost.
        """
        if self._rolled_back is not None:
            raise self._rolled_back
        seen = self._seen
        answer = await self._client.call(path, request)
        revision = revision_in(answer)
        if revision < seen:
            self._rolled_back = MetadataRolledBack(revision, seen)
            raise self._rolled_back
        self._saw(revision)
        return answer

    def _saw(self, revision: int) -> None:
        self._seen = max(self._seen, revision)

    async def get(self, key: str) -> Entry | None:
        """
        See L{IMetadataStore.get}.
        """
        answer = await self._ask("/v3/kv/range", {"key": key_of(self._prefix + key)})
        for kv in answer.get("kvs", ()):
            return entry_in(kv, self._prefix)
        return None

    async def range(self, prefix: str) -> tuple[builtins.list[Entry], int]:
        """
        See L{IMetadataStore.range}.
        """
        entries, _, revision = await self._pages(
            prefix, lambda kvs: [entry_in(kv, self._prefix) for kv in kvs]
        )
        return entries, revision

    async def _pages(
        self,
        prefix: str,
        read: Callable[[Sequence[dict[str, Any]]], Sequence[T]],
        revision: int = 0,
        **others: object,
    ) -> tuple[builtins.list[T], int, int]:
        """
        What was read of the entries whose keys begin with C{prefix}, the number of all of
        them, and the revision of etcd at which they were read.

        @param read: Called with each page of entries, as etcd has them.
        @param revision: A revision of the past; 0: now.
        @param others: Fields of etcd's C{RangeRequest}, such as C{keys_only}.
        @raise Compacted: etcd has compacted the history past C{revision}.
        """
        while True:
            try:
                return await self._pages_at(self._prefix + prefix, read, revision, others)
            except EtcdError as error:
                if error.code != OUT_OF_RANGE:
                    raise
                if revision:
                    raise Compacted(error.reason) from None
                # etcd compacted the history between two pages: begin again.

    async def _pages_at(
        self,
        below: str,
        read: Callable[[Sequence[dict[str, Any]]], Sequence[T]],
        revision: int,
        others: dict[str, object],
    ) -> tuple[builtins.list[T], int, int]:
        found: builtins.list[T] = []
        count = 0
        start = key_of(below)
        while True:
            request: dict[str, Any] = {
                "key": start,
                "range_end": end_of(below),
                "limit": str(self._page),
                "revision": str(revision),
                **others,
            }
            answer = await self._ask("/v3/kv/range", request)
            kvs = answer.get("kvs", ())
            found += read(kvs)
            count = count or int(answer.get("count", 0))  # of the first page: all of them
            revision = revision or revision_in(answer)
            if not answer.get("more"):
                return found, count, revision
            start = key_of(name_in(kvs[-1]) + "\0")

    async def holds(self, compares: Sequence[Compare]) -> bool:
        """
        See L{IMetadataStore.holds}.
        """
        # With a range it is linearizable. A transaction without operations any member
        # answers by itself, even one that is cut off from the others and has not
        # noticed.
        read = {"key": key_of(self._prefix + compares[0].key), "keys_only": True}
        request = {"compare": self._conditions(compares), "success": [{"request_range": read}]}
        answer = await self._ask("/v3/kv/txn", request)
        return bool(answer.get("succeeded"))

    def _conditions(self, compares: Sequence[Compare]) -> builtins.list[dict[str, Any]]:
        return [
            {
                "key": key_of(self._prefix + each.key),
                "target": "MOD",
                "result": "GREATER" if each.revision is None else "EQUAL",
                "mod_revision": str(each.revision or 0),
            }
            for each in compares
        ]

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        """
        See L{IMetadataStore.commit}.
        """
        checked = check_commit(compares, operations)
        request = {
            "compare": self._conditions(compares),
            "success": [self._operation(each) for each in checked],
        }
        try:
            answer = await self._ask("/v3/kv/txn", request)
        except EtcdError as error:
            leased = any(lease for _, _, lease in checked)
            if leased and error.code == NOT_FOUND:
                raise CommitConflict(error.reason) from None
            if is_too_much(error):
                raise ValueError(error.reason) from None
            raise
        if not answer.get("succeeded"):
            keys = ", ".join(each.key for each in compares)
            raise CommitConflict(f"one of {keys} is at another revision")
        revision = revision_in(answer)
        self.committed = max(self.committed, revision)
        return revision

    def _operation(self, operation: Operation) -> dict[str, Any]:
        key, value, lease = operation
        name = key_of(self._prefix + key)
        if value is None:
            return {"request_delete_range": {"key": name}}
        data = b64encode(value.encode()).decode()
        return {"request_put": {"key": name, "value": data, "lease": str(lease or 0)}}

    async def watch(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> IWatch:
        """
        See L{IMetadataStore.watch}.

        @raise StoreUnavailable: etcd does not answer, or has compacted the
            history past C{revision}. In the latter case read the range again,
            and watch from its revision.
        """
        known: dict[str, int] = {}
        if revision:

            def read(kvs: Sequence[dict[str, Any]]) -> Sequence[tuple[str, int]]:
                return [
                    (name_in(kv).removeprefix(self._prefix), int(kv["mod_revision"])) for kv in kvs
                ]

            known.update((await self._pages(prefix, read, revision, keys_only=True))[0])

        def report(changes: Sequence[Change]) -> None:
            self._saw(changes[-1].revision)
            changed(changes)

        watch = Watch(
            self._client,
            self._clock,
            self._jitter,
            self._prefix,
            prefix,
            revision,
            known,
            partial(self._pages, prefix),
            report,
            self._watches.discard,
        )
        await watch.begin()
        self._watches.add(watch)
        return watch

    async def catch_up(self, watch: IWatch) -> int:
        """
        See L{IMetadataStore.catch_up}.
        """
        assert isinstance(watch, Watch)
        return await watch.catch_up()

    async def lease(self, seconds: float) -> int:
        """
        See L{IMetadataStore.lease}.
        """
        return await self._leases.grant(seconds)

    async def revoke(self, lease: int) -> None:
        """
        See L{IMetadataStore.revoke}.
        """
        await self._leases.revoke(lease)

    async def close(self) -> None:
        """
        See L{IMetadataStore.close}.
        """
        for watch in list(self._watches):
            watch.stop()
        self._leases.stop()
        await self._client.close()
