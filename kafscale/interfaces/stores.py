"""
What an object store and a metadata store promise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
from zope.interface import Interface


@attrs.frozen
class ObjectInfo:
    """
    One object of a listing.

    @ivar key: The whole key.
    @ivar size: Its length in bytes.
    """

    key: str
    size: int


class IObjectStore(Interface):
    """
    Named byte strings that are created once and never change.

    Keys are ``/``-separated; each part is of ``[A-Za-z0-9._=-]`` and does not
    begin with a dot; none is the directory of another. ValueError otherwise.
    Every method may raise `kafscale.errors.StoreUnavailable`: the store did
    not answer, and the outcome is unknown. The caller decides about retries.
    """

    def create(key: str, pieces: Sequence[bytes | memoryview]) -> Awaitable[None]:
        """
        Store the concatenation of C{pieces} under C{key}, durably, unless the
        key exists (in S3's words: ``If-None-Match: *``). A store that cannot
        do that replaces what is there, whole; it is used only where nobody
        depends on it (`kafscale.log.journal.fencing`).

        The pieces must not change until the answer.

        @raise ObjectExists: the key was there before, or an earlier attempt
            of ours, whose answer was lost, made it: read it to see whose.
        """

    def get(key: str, start: int = 0, length: int | None = None) -> Awaitable[bytes]:
        """
        The bytes of an object from C{start}, at most C{length} of them.

        @raise NoSuchObject: nothing under that key.
        """

    def get_suffix(key: str, length: int) -> Awaitable[tuple[bytes, int]]:
        """
        The last C{length} bytes of an object (all, when it is shorter), and
        the object's whole size.

        @raise NoSuchObject: nothing under that key.
        """

    def list(prefix: str, after: str = "", limit: int = 1000) -> Awaitable[list[ObjectInfo]]:
        """
        At most C{limit} objects whose key begins with C{prefix} and is greater
        than C{after}, in the order of their keys (as UTF-8 bytes). Fewer than
        C{limit} means that there are no more.

        A store may compare keys part by part, a part being what is between
        slashes, if it does so for C{after}, too. For the keys that we make
        that is the same.
        """

    def delete(keys: Sequence[str]) -> Awaitable[None]:
        """
        Remove these objects; those that are not there are no error.
        """

    def close() -> Awaitable[None]:
        """
        End what is under way and let go of everything. No call comes after.
        """


@attrs.frozen
class Entry:
    """
    A key's value in the metadata store.

    @ivar value: Plain JSON data (dict, list, str, int, float, bool, None).
    @ivar revision: The store's revision at which this value was put.
    """

    key: str
    value: Any
    revision: int


@attrs.frozen
class Compare:
    """
    What a commit demands of a key: that its revision is exactly C{revision};
    0 demands that the key is absent.
    """

    key: str
    revision: int


@attrs.frozen
class Put:
    """
    Set C{key} to C{value} (plain JSON data); with C{lease}, for as long as
    that lease lives.
    """

    key: str
    value: Any
    lease: int | None = None


@attrs.frozen
class Delete:
    """
    Remove C{key} (absent is no error).
    """

    key: str


@attrs.frozen
class Change:
    """
    What a watch tells: C{entry} is None when the key was deleted.
    """

    key: str
    entry: Entry | None
    revision: int


class IWatch(Interface):
    """
    A watch under way.
    """

    def stop() -> None:
        """
        No further change is delivered after this returns.
        """


class IMetadataStore(Interface):
    """
    A small, ordered, linearizable key-value store, in etcd's words.

    Keys are relative to the namespace: the store adds its own prefix. Every
    commit raises the revision of the whole store by at least one. Every
    method may raise `kafscale.errors.StoreUnavailable`: the outcome of a
    commit is then unknown, and must be read back.
    """

    def get(key: str) -> Awaitable[Entry | None]:
        """
        The key's present entry.
        """

    def range(prefix: str) -> Awaitable[tuple[list[Entry], int]]:
        """
        All entries whose keys begin with C{prefix}, in the order of their
        keys, and the store's revision at which they were read.
        """

    def commit(compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> Awaitable[int]:
        """
        If every compare holds, do all the operations as one, durably; return
        the revision at which they were done (the puts' new revision). At most
        100 compares and 100 operations.

        @raise CommitConflict: some compare did not hold, or the lease of a put
            has ended; nothing was done.
        """

    def watch(
        prefix: str, revision: int, changed: Callable[[Sequence[Change]], None]
    ) -> Awaitable[IWatch]:
        """
        Call C{changed} with every change to keys that begin with C{prefix}
        made after C{revision}, in order, those of one commit together; from
        the reactor's thread.
        """

    def lease(seconds: float) -> Awaitable[int]:
        """
        A new lease, kept alive by the store for as long as it can; keys put
        under it go when it ends. Its id.
        """

    def revoke(lease: int) -> Awaitable[None]:
        """
        End a lease now: its keys are deleted.
        """

    def close() -> Awaitable[None]:
        """
        End watches, and let go of everything. No call comes after.
        """
