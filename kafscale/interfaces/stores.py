"""
The interfaces of object stores and metadata stores.

An object store holds the records, a metadata store says which of its objects
count. docs/storage.md lists the contents of each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
from zope.interface import Interface


@attrs.frozen
class ObjectInfo:
    """
    An object in a listing.

    @ivar key: The whole key of the object.
    @ivar size: The length of the object in bytes.
    @ivar modified: When the object was stored by the store's clock, in seconds since
        1970; None if the store does not say.
    """

    key: str
    size: int
    modified: float | None = attrs.field(default=None, eq=False)


class IObjectReader(Interface):
    """
    Reads objects: byte strings with a key, which never change.

    A key consists of parts that are joined by ``/``. Each part has 1 to 255
    characters of ``[A-Za-z0-9._=-]`` and does not begin with a dot; a key has
    at most 1024 characters. No key is the directory of another: there is never
    both C{a} and C{a/b}.

    Every method raises C{ValueError} if a key or a range is invalid, and
    L{kafscale.errors.StoreUnavailable} if the store did not answer; the caller
    decides whether to try again.
    """

    def get(key: str, start: int = 0, length: int | None = None) -> Awaitable[bytes]:
        """
        Return at most C{length} bytes of an object, from C{start} on: fewer if
        the object ends before, none if it ends before C{start}.

        @param length: None: up to the end of the object.
        @raise NoSuchObject: there is no object with this key.
        """

    def get_suffix(key: str, length: int) -> Awaitable[tuple[bytes, int]]:
        """
        Return the last C{length} bytes of an object (the whole object, if it is
        shorter), and the size of the object in bytes.

        @raise NoSuchObject: there is no object with this key.
        """

    def list(prefix: str, after: str = "", limit: int = 1000) -> Awaitable[list[ObjectInfo]]:
        """
        Return at most C{limit} objects whose keys begin with C{prefix} and are
        greater than C{after}, in the order of their keys (as UTF-8 bytes). Fewer
        than C{limit} objects mean that there are no more.

        A store may compare keys part by part instead of byte by byte, in this
        order and for C{after}. For the keys that Kafscale makes there is no
        difference.
        """


class IObjectStore(IObjectReader):
    """
    Stores objects. An object is created once, and never changes until it is
    deleted.

    If a method of this interface raises L{kafscale.errors.StoreUnavailable} its
    outcome is unknown: it was done, will be done later, or is never done.
    """

    def create(key: str, pieces: Sequence[bytes | memoryview]) -> Awaitable[None]:
        """
        Store the concatenation of C{pieces} under C{key}, unless the key exists
        (S3: a conditional write, C{If-None-Match: *}). When it returns the
        object is durable.

        The pieces must not change until then.

        A store that cannot do that replaces the whole object. It is used only
        with C{KAFSCALE_S3_FENCING=metadata}, where no broker depends on it
        (L{kafscale.log.journal.fencing}).

        @raise ObjectExists: the key exists, from before or from an earlier
            attempt whose answer was lost. Read the object to find out which.
        """

    def delete(keys: Sequence[str]) -> Awaitable[None]:
        """
        Delete objects. A key without an object is ignored.
        """

    def close() -> Awaitable[None]:
        """
        End what is in progress and release all resources. No method may be
        called after this one.
        """


@attrs.frozen
class Entry:
    """
    A key of a metadata store, with its value.

    @ivar value: Plain JSON data (dict, list, str, int, float, bool, None).
    @ivar revision: The revision of the store at which this value was put.
    """

    key: str
    value: Any
    revision: int


MAX_COMMIT = 128
"""The maximum number of compares, and of operations, in one commit: what etcd accepts
by default (C{--max-txn-ops})."""


@attrs.frozen
class Compare:
    """
    A condition of a commit: the value of C{key} was put at exactly C{revision}.
    0 means that the key does not exist, and None that it does, at whatever
    revision.
    """

    key: str
    revision: int | None


@attrs.frozen
class Put:
    """
    An operation of a commit: set C{key} to C{value}.

    @ivar value: Plain JSON data.
    @ivar lease: If set, the key is deleted when this lease ends.
    """

    key: str
    value: Any
    lease: int | None = None


@attrs.frozen
class Delete:
    """
    An operation of a commit: delete C{key}. A key that does not exist is ignored.
    """

    key: str


@attrs.frozen
class Change:
    """
    A change of one key, as a watch reports it.

    @ivar entry: The new entry; None if the key was deleted.
    @ivar revision: The revision of the commit that made the change.
    """

    key: str
    entry: Entry | None
    revision: int


class IWatch(Interface):
    """
    A watch that was started with L{IMetadataStore.watch}.
    """

    def stop() -> None:
        """
        Stop the watch. It reports no change after this returns.
        """

    def behind() -> float:
        """
        For how many seconds changes may be missing, because the store has not been heard
        of; 0 while it is connected.
        """


class IMetadataStore(Interface):
    """
    A small, ordered, linearizable key-value store, after the model of etcd.

    Keys are relative to a namespace: the store adds a prefix of its own. Every
    commit raises the revision of the whole store by at least one.

    Every method may raise L{kafscale.errors.StoreUnavailable}: the store did
    not answer. The outcome of a commit is then unknown, and must be read back
    (L{kafscale.log.commit}).
    """

    def get(key: str) -> Awaitable[Entry | None]:
        """
        Return the entry of a key, or None if the key does not exist.
        """

    def range(prefix: str) -> Awaitable[tuple[list[Entry], int]]:
        """
        Return all entries whose keys begin with C{prefix}, in the order of their
        keys, and the revision of the store at which they were read.
        """

    def holds(compares: Sequence[Compare]) -> Awaitable[bool]:
        """
        Return whether all the compares hold at one moment after the call. It is a
        read: nothing is written, and the revision of the store stays.

        @param compares: At least one, and at most L{MAX_COMMIT}.
        """

    def commit(compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> Awaitable[int]:
        """
        Do all the operations at once and durably, if all the compares hold.
        Return the revision of the commit, which becomes the revision of the
        values that it puts.

        @param compares: At most L{MAX_COMMIT}.
        @param operations: At most L{MAX_COMMIT}, each with a key of its own. Without
            any, an old state of the store may be compared: see L{holds} for that.
        @raise CommitConflict: a compare did not hold, or the lease of a put has
            ended; nothing was done.
        @raise ValueError: there are too many compares or operations, two
            operations have the same key, or a value is not plain JSON data.
        """

    def watch(
        prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> Awaitable[IWatch]:
        """
        Report all changes after C{revision} of keys that begin with C{prefix}.

        @param changed: Called in the reactor's thread with the changes of one
            commit, for each commit in order; after an interruption with all that
            have changed meanwhile.
        """

    def catch_up(watch: IWatch) -> Awaitable[int]:
        """
        Let a watch of this store report now all changes that were made before the call,
        by whomever. Return a revision: no change up to it will be reported any more.
        """

    def lease(seconds: float) -> Awaitable[int]:
        """
        Grant a lease, and return its id. The store keeps the lease alive until
        it is revoked, or the process ends or loses the store.

        @param seconds: After how many seconds the lease ends when it is no
            longer kept alive. The keys that were put with the lease are then
            deleted.
        """

    def revoke(lease: int) -> Awaitable[None]:
        """
        End a lease now, and delete the keys that were put with it.
        """

    def close() -> Awaitable[None]:
        """
        Stop all watches and release all resources. No method may be called
        after this one.
        """
