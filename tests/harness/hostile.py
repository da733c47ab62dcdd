"""
Stores that fail as a test says.

A hostile store is one broker's view of a store that several may share. Each call
waits as an L{Operation} until the test gives its verdict. Nothing here is random.
With a C{policy} the verdicts are given at once::

    shared = MemoryObjectStore()
    store = HostileObjectStore(shared)
    asked = Deferred.fromCoroutine(store.create("a", [b"1"]))
    store.pending[0].fail_but_apply()     # asked fails, and the object is there

    store.policy = let_pass
    store.policy = lambda operation: Verdict.FAIL if operation.kind == "create" else None
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.errors import StoreUnavailable
from kafscale.interfaces import (
    Change,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    IObjectStore,
    IWatch,
    ObjectInfo,
    Put,
)


class Verdict(Enum):
    """
    The fate of an operation.
    """

    SUCCEED = "done, and answered"
    FAIL = "not done"
    FAIL_BUT_APPLY = "done, and the answer is lost"
    FAIL_AND_APPLY_LATER = "not done yet, but the test may do so at any time"


@attrs.define(eq=False)
class Operation:
    """
    One call of a store.

    @ivar kind: The name of the method.
    @ivar key: The key or prefix; for a commit that of the first operation; of
        several deleted keys the first.
    @ivar arguments: The arguments of the call.
    @ivar outcome: The result of the store behind (a C{Failure} if it raised),
        once there is one.
    @ivar applied: Whether the store behind was called.
    """

    kind: str
    key: str
    arguments: tuple[Any, ...]
    _store: Hostile
    _perform: Callable[[], Awaitable[Any]]
    answer: Deferred[Any] = attrs.field(factory=Deferred, repr=False)
    outcome: Any = None
    applied: bool = False
    _came: bool = False
    _then: Callable[[], None] | None = None

    def apply(self) -> None:
        """
        Call the store behind, unless that was done, and leave the caller waiting.
        """
        if self.applied:
            return
        self.applied = True
        if self in self._store.late:
            self._store.late.remove(self)
        Deferred.fromCoroutine(_coroutine(self._perform)).addBoth(self._outcome_came)

    def repeat(self) -> None:
        """
        Call the store behind once more, as if the request was sent twice. The
        result is dropped.
        """
        Deferred.fromCoroutine(_coroutine(self._perform)).addErrback(lambda _: None)

    def succeed(self) -> None:
        """
        Call the store behind, unless that was done, and answer with its result.
        """
        self._after_applying(lambda: self._answer(self.outcome))

    def fail(self) -> None:
        """
        Answer with L{StoreUnavailable}. The store behind is not called, unless
        L{apply} has done so.
        """
        self._answer(Failure(StoreUnavailable(f"{self.kind} {self.key}: on the test's orders")))

    def refuse(self, error: Exception) -> None:
        """
        Answer with this error. The store behind is not called, unless L{apply} has done so.
        """
        self._answer(Failure(error))

    def fail_but_apply(self) -> None:
        """
        Call the store behind, and answer with L{StoreUnavailable}.
        """
        self._after_applying(self.fail)

    def fail_and_apply_later(self) -> Operation:
        """
        Answer with L{StoreUnavailable}. The operation, which is returned and is
        in the store's C{late}, can be applied later.
        """
        self._store.late.append(self)
        self.fail()
        return self

    def decide(self, verdict: Verdict) -> None:
        """
        Give a verdict.
        """
        if verdict is Verdict.SUCCEED:
            self.succeed()
        elif verdict is Verdict.FAIL:
            self.fail()
        elif verdict is Verdict.FAIL_BUT_APPLY:
            self.fail_but_apply()
        else:
            self.fail_and_apply_later()

    def _after_applying(self, then: Callable[[], None]) -> None:
        self.apply()
        if self._came:
            then()
        else:
            self._then = then

    def _outcome_came(self, outcome: Any) -> None:
        self.outcome = outcome
        self._came = True
        if self._then is not None:
            self._then()

    def _answer(self, result: Any) -> None:
        if self in self._store.pending:
            self._store.pending.remove(self)
        if self._store.is_cut:
            return
        if isinstance(result, Failure):
            self.answer.errback(result)
        else:
            self.answer.callback(result)


async def _coroutine(perform: Callable[[], Awaitable[Any]]) -> Any:
    return await perform()


def let_pass(operation: Operation) -> Verdict:
    """
    The policy of a store that does not fail.
    """
    return Verdict.SUCCEED


Policy = Callable[[Operation], Verdict | None]
"""Gives the verdict on a new operation; None leaves it to the test."""


def hold(kind: str, part: str) -> Callable[[Operation], Verdict | None]:
    """
    All pass but operations of that kind whose key has C{part}: they wait.
    """

    def verdict(operation: Operation) -> Verdict | None:
        held = operation.kind == kind and part in operation.key
        return None if held else Verdict.SUCCEED

    return verdict


class Hostile:
    """
    The base of hostile stores.

    @ivar policy: Gives the verdicts on new operations. Without it all wait.
    @ivar pending: The operations that wait for a verdict, in the order of their
        calls.
    @ivar late: The operations that have failed and may be applied later.
    @ivar is_cut: Whether there are no more answers.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy
        self.pending: list[Operation] = []
        self.late: list[Operation] = []
        self.is_cut = False

    def cut(self) -> None:
        """
        Give no more answers and report no more changes, as if the broker with
        this view was dead. Pending operations can still be applied.
        """
        self.is_cut = True

    def settle(self) -> None:
        """
        Let all pending operations succeed, also those that are called as a
        consequence.
        """
        while self.pending and not self.is_cut:
            self.pending[0].succeed()

    def ask(
        self,
        kind: str,
        key: str,
        arguments: tuple[Any, ...],
        perform: Callable[[], Awaitable[Any]],
    ) -> Deferred[Any]:
        """
        Make a new operation, and return its answer.

        @param perform: Calls the store behind.
        """
        operation = Operation(kind, key, arguments, self, perform)
        self.pending.append(operation)
        verdict = self.policy(operation) if self.policy is not None and not self.is_cut else None
        if verdict is not None:
            operation.decide(verdict)
        return operation.answer


@implementer(IObjectStore)
class HostileObjectStore(Hostile):
    """
    A hostile view of an object store.

    @ivar inner: The store behind.
    """

    def __init__(self, inner: IObjectStore, policy: Policy | None = None) -> None:
        super().__init__(policy)
        self.inner = inner

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}. However late it is applied, the object has
        the bytes of the moment of the call.
        """
        data = b"".join(pieces)
        await self.ask("create", key, (key, data), lambda: self.inner.create(key, [data]))
        if b"".join(pieces) != data:
            raise AssertionError(f"the pieces of {key} changed while it was created")

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        arguments = (key, start, length)
        data: bytes = await self.ask("get", key, arguments, lambda: self.inner.get(*arguments))
        return data

    async def get_suffix(self, key: str, length: int) -> tuple[bytes, int]:
        """
        See L{IObjectStore.get_suffix}.
        """
        found: tuple[bytes, int] = await self.ask(
            "get_suffix", key, (key, length), lambda: self.inner.get_suffix(key, length)
        )
        return found

    async def list(
        self, prefix: str, after: str = "", limit: int = 1000
    ) -> builtins.list[ObjectInfo]:
        """
        See L{IObjectStore.list}.
        """
        arguments = (prefix, after, limit)
        found: builtins.list[ObjectInfo] = await self.ask(
            "list", prefix, arguments, lambda: self.inner.list(*arguments)
        )
        return found

    async def delete(self, keys: Sequence[str]) -> None:
        """
        See L{IObjectStore.delete}.
        """
        several = tuple(keys)
        first = several[0] if several else ""
        await self.ask("delete", first, (several,), lambda: self.inner.delete(several))

    async def close(self) -> None:
        """
        See L{IObjectStore.close}. The store behind, which others share, stays
        open.
        """


@implementer(IMetadataStore)
class HostileMetadataStore(Hostile):
    """
    A hostile view of a metadata store.

    @ivar inner: The store behind.
    @ivar holds_changes: While this is True watches report nothing; L{tell}
        makes them do so.
    """

    def __init__(self, inner: IMetadataStore, policy: Policy | None = None) -> None:
        super().__init__(policy)
        self.inner = inner
        self.holds_changes = False
        self._held: list[tuple[_Watch, Sequence[Change]]] = []

    def tell(self) -> None:
        """
        Report the changes that were held back.
        """
        held, self._held = self._held, []
        for watch, changes in held:
            if not self.is_cut:
                watch.tell(changes)

    async def get(self, key: str) -> Entry | None:
        """
        See L{IMetadataStore.get}.
        """
        entry: Entry | None = await self.ask("get", key, (key,), lambda: self.inner.get(key))
        return entry

    async def range(self, prefix: str) -> tuple[list[Entry], int]:
        """
        See L{IMetadataStore.range}.
        """
        found: tuple[list[Entry], int] = await self.ask(
            "range", prefix, (prefix,), lambda: self.inner.range(prefix)
        )
        return found

    async def holds(self, compares: Sequence[Compare]) -> bool:
        """
        See L{IMetadataStore.holds}.
        """
        arguments = (tuple(compares),)
        answer: bool = await self.ask(
            "holds", compares[0].key, arguments, lambda: self.inner.holds(*arguments)
        )
        return answer

    async def commit(
        self, compares: Sequence[Compare], operations: Sequence[Put | Delete]
    ) -> int:
        """
        See L{IMetadataStore.commit}.
        """
        arguments = (tuple(compares), tuple(operations))
        first = operations[0].key if operations else ""
        revision: int = await self.ask(
            "commit", first, arguments, lambda: self.inner.commit(*arguments)
        )
        return revision

    async def watch(
        self, prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> IWatch:
        """
        See L{IMetadataStore.watch}.
        """
        watch = _Watch(changed)

        def came(changes: Sequence[Change]) -> None:
            if self.holds_changes or self._held:
                self._held.append((watch, changes))
            elif not self.is_cut:
                watch.tell(changes)

        async def begin() -> None:
            watch.begun(await self.inner.watch(prefix, revision, came))

        try:
            await self.ask("watch", prefix, (prefix, revision), begin)
        except BaseException:
            watch.stop()  # the caller does not have it, so it reports nothing
            raise
        return watch

    async def catch_up(self, watch: IWatch) -> int:
        """
        See L{IMetadataStore.catch_up}. What was held back of the watch is reported.
        """
        assert isinstance(watch, _Watch) and watch.inner is not None
        inner = watch.inner

        async def catch_up() -> int:
            revision = await self.inner.catch_up(inner)
            for each, changes in self._held:
                if each is watch:
                    watch.tell(changes)
            self._held = [held for held in self._held if held[0] is not watch]
            return revision

        revision: int = await self.ask("catch_up", "", (), catch_up)
        return revision

    async def lease(self, seconds: float) -> int:
        """
        See L{IMetadataStore.lease}.
        """
        lease: int = await self.ask("lease", "", (seconds,), lambda: self.inner.lease(seconds))
        return lease

    async def revoke(self, lease: int) -> None:
        """
        See L{IMetadataStore.revoke}.
        """
        await self.ask("revoke", "", (lease,), lambda: self.inner.revoke(lease))

    async def close(self) -> None:
        """
        See L{IMetadataStore.close}. The store behind, which others share,
        stays open.
        """


@implementer(IWatch)
class _Watch:
    """
    A watch whose changes can be held back.
    """

    def __init__(self, changed: Callable[[Sequence[Change]], None]) -> None:
        self.inner: IWatch | None = None
        self._changed: Callable[[Sequence[Change]], None] | None = changed

    def begun(self, inner: IWatch) -> None:
        """
        Take the watch of the store behind, whose changes this one reports.
        """
        self.inner = inner
        if self._changed is None:
            inner.stop()

    def tell(self, changes: Sequence[Change]) -> None:
        """
        Report changes, unless the watch was stopped.
        """
        if self._changed is not None:
            self._changed(changes)

    def stop(self) -> None:
        """
        See L{IWatch.stop}.
        """
        self._changed = None
        if self.inner is not None:
            self.inner.stop()

    def behind(self) -> float:
        """
        See L{IWatch.behind}.
        """
        return 0.0 if self.inner is None else self.inner.behind()
