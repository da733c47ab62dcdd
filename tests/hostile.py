"""
Stores that do their worst, on a test's orders.

A wrapper is one broker's view of a store that several may share. Each call
waits as an L{Operation} until the test decides about it; nothing here is
random. With a L{policy <Hostile.policy>} the decisions are made at once::

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
    What becomes of an operation.
    """

    SUCCEED = "done, and answered"
    FAIL = "not done"
    FAIL_BUT_APPLY = "done, and the answer is lost"
    FAIL_AND_APPLY_LATER = "not done yet, but the test may do so at any time"


@attrs.define(eq=False)
class Operation:
    """
    One call on a store.

    @ivar kind: The method's name.
    @ivar key: The key or prefix; the first operation's key for a commit; of
        several deleted, the first.
    @ivar arguments: As the method was called.
    @ivar outcome: What the store behind said (a L{Failure} if it refused),
        once it has.
    @ivar applied: Whether the store behind was asked.
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
        Do it (once), and leave the caller waiting.
        """
        if self.applied:
            return
        self.applied = True
        if self in self._store.late:
            self._store.late.remove(self)
        Deferred.fromCoroutine(_coroutine(self._perform)).addBoth(self._outcome_came)

    def repeat(self) -> None:
        """
        Do it once more, as a message does that was sent twice. Nobody hears
        what comes of it.
        """
        Deferred.fromCoroutine(_coroutine(self._perform)).addErrback(lambda _: None)

    def succeed(self) -> None:
        """
        Do it, if it is not done, and answer what the store says.
        """
        self._after_applying(lambda: self._answer(self.outcome))

    def fail(self) -> None:
        """
        Answer L{StoreUnavailable}. It is not done, or it was by L{apply}.
        """
        self._answer(Failure(StoreUnavailable(f"{self.kind} {self.key}: on the test's orders")))

    def fail_but_apply(self) -> None:
        """
        Do it, and lose the answer.
        """
        self._after_applying(self.fail)

    def fail_and_apply_later(self) -> Operation:
        """
        Answer L{StoreUnavailable}; L{apply} of the operation, which is
        returned and stands in the store's C{late} too, does it.
        """
        self._store.late.append(self)
        self.fail()
        return self

    def decide(self, verdict: Verdict) -> None:
        """
        Do as the verdict says.
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
    The policy of a store without malice.
    """
    return Verdict.SUCCEED


#: Decides about an operation when it is called for; None leaves it pending.
Policy = Callable[[Operation], Verdict | None]


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
    What hostile stores have in common.

    @ivar policy: Decides about new operations; by default all wait.
    @ivar pending: Operations that wait for a decision, in the order in which
        they were called.
    @ivar late: Those that failed and may yet be applied.
    @ivar is_cut: Whether no answer comes any more.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy
        self.pending: list[Operation] = []
        self.late: list[Operation] = []
        self.is_cut = False

    def cut(self) -> None:
        """
        From now on nobody gets an answer, or hears of a change: the broker
        that has this view is as good as dead. What is pending can still be
        applied.
        """
        self.is_cut = True

    def settle(self) -> None:
        """
        Let all that is pending succeed, also what is asked for because of it.
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
        A new operation, which awaits its verdict.

        @param perform: Asks the store behind.
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
    """

    def __init__(self, inner: IObjectStore, policy: Policy | None = None) -> None:
        super().__init__(policy)
        self.inner = inner

    async def create(self, key: str, pieces: Sequence[bytes | memoryview]) -> None:
        """
        See L{IObjectStore.create}. What is applied, however late, are the
        bytes of the moment of the call.
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

    @ivar holds_changes: While True, watches are told nothing; L{tell} does.
    """

    def __init__(self, inner: IMetadataStore, policy: Policy | None = None) -> None:
        super().__init__(policy)
        self.inner = inner
        self.holds_changes = False
        self._held: list[tuple[_Watch, Sequence[Change]]] = []

    def tell(self) -> None:
        """
        Tell the watches what they were not told.
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
            watch.stop()  # who failed to get it is told nothing
            raise
        return watch

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
        self._inner: IWatch | None = None
        self._changed: Callable[[Sequence[Change]], None] | None = changed

    def begun(self, inner: IWatch) -> None:
        """
        The watch on the store behind, whose part this is.
        """
        self._inner = inner
        if self._changed is None:
            inner.stop()

    def tell(self, changes: Sequence[Change]) -> None:
        """
        Tell of changes, unless it was stopped.
        """
        if self._changed is not None:
            self._changed(changes)

    def stop(self) -> None:
        """
        See L{IWatch.stop}.
        """
        self._changed = None
        if self._inner is not None:
            self._inner.stop()
