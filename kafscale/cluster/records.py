"""
Small records that hold for the whole cluster: ACLs, users, quotas, tokens.

Each has an entry of its own in the metadata store, below the prefix of its kind.
Every broker has all of a kind in memory, kept up to date by a watch, so requests
look up dictionaries and do not access the store. A kind of record takes:

  - a prefix and a key in L{kafscale.format.metadata_keys}, a line in
    L{kafscale.format.levels}, and a class in L{kafscale.format} with C{to_json} and
    C{from_entry}. Other versions ignore a prefix that they do not know;
  - a L{ClusterRecords} with the prefix and that C{from_entry}, which
    L{kafscale.tap} starts before the broker serves clients::

        acls = ClusterRecords(store, metadata_keys.ACLS, AclRecord.from_entry)
        await acls.start()

A change is one commit, for one key or up to L{MAX_RECORDS} of them, and is made by a
function of the present records::

    def rename(present: Mapping[str, Any]) -> Mapping[str, Any]:
        if key not in present:
            raise ResourceNotFound("there is no such user")
        return {key: None}  # delete it

    await acls.change([key], rename)

The change is durable, and in force on this broker, when that returns; other brokers
have it as soon as their watches report it, within a second while they reach the
store. A broker that does not reach the store goes on with the records that it has:
L{ClusterRecords.behind} says since when.

A commit that was given up may still arrive. If it is to change or to delete a record, that
has another revision by then. If it is to create one, it could bring back what was deleted
since; so each commit that deletes also puts the entry whose key is the prefix alone, the
I{mark of deletions}, and each that creates compares the revision of that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from kafscale.errors import CommitConflict, KafkaError, StoreUnavailable
from kafscale.format.errors import UnreadableData
from kafscale.interfaces import (
    Change,
    Compare,
    Delete,
    Entry,
    IClusterRecords,
    IMetadataStore,
    IWatch,
    Put,
)


@implementer(IClusterRecords)
class ClusterRecords:
    """
    The records of one kind, by their keys.
    """

    _log = Logger()

    def __init__(
        self, store: IMetadataStore, prefix: str, read: Callable[[Entry], Any]
    ) -> None:
        """
        @param store: The metadata store.
        @param prefix: What all keys of the kind begin with.
        @param read: Returns the record of an entry. Records have C{to_json}, and are
            equal if their JSON is.
        """
        self._store = store
        self._prefix = prefix
        self._read = read
        self._records: dict[str, Any] = {}
        self._revisions: dict[str, int] = {}
        self._unreadable: dict[str, UnreadableData] = {}
        self._seen = 0  # all commits up to this revision of the store are known
        self._watch: IWatch | None = None
        self._subscribers: list[Callable[[Mapping[str, Any]], None]] = []
        self._waiting: list[tuple[int, Deferred[None]]] = []

    async def start(self) -> None:
        """
        Read all records, and begin to watch for changes.

        @raise UnreadableData: a record cannot be read.
        @raise StoreUnavailable: the store did not answer.
        """
        entries, self._seen = await self._store.range(self._prefix)
        for entry in entries:
            if entry.key != self._prefix:
                self._records[entry.key] = self._read(entry)
            self._revisions[entry.key] = entry.revision
        self._watch = await self._store.watch(self._prefix, self._seen, self._changed)

    def stop(self) -> None:
        """
        Stop watching.
        """
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    # -- asking -----------------------------------------------------------------

    def records(self) -> Mapping[str, Any]:
        """
        See L{IClusterRecords.records}.
        """
        return self._records

    def get(self, key: str) -> Any:
        """
        See L{IClusterRecords.get}.
        """
        return self._records.get(key)

    def behind(self) -> float:
        """
        See L{IClusterRecords.behind}.
        """
        return 0.0 if self._watch is None else self._watch.behind()

    def on_change(self, changed: Callable[[Mapping[str, Any]], None]) -> None:
        """
        See L{IClusterRecords.on_change}.
        """
        self._subscribers.append(changed)

    # -- changing ---------------------------------------------------------------

    async def change(
        self,
        keys: Collection[str],
        decide: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        """
        See L{IClusterRecords.change}.
        """
        in_doubt: list[Mapping[str, Any]] = []  # what commits of unknown outcome would do
        while True:
            compares = self._compares(keys)
            present = {key: self._records[key] for key in keys if key in self._records}
            refused: KafkaError | None = None
            wanted: Mapping[str, Any] = {}
            try:
                wanted = {
                    key: record
                    for key, record in decide(present).items()
                    if record != present.get(key)
                }
            except KafkaError as why:
                refused = why
            try:
                if wanted:
                    revision = await self._store.commit(compares, self._operations(wanted))
                    await self._until(revision)
                    return
                # What is refused, or has no effect, must not be so of an old state only.
                if await self._store.holds(compares):
                    break
            except CommitConflict:
                pass
            except StoreUnavailable:
                if not wanted:
                    raise
                in_doubt.append(wanted)
            await self.refresh()
            if any(self._shows(each) for each in in_doubt):
                return
        if refused is not None:
            raise refused

    def _compares(self, keys: Collection[str]) -> list[Compare]:
        """
        @raise UnreadableData: one of the records cannot be read.
        """
        compared = list(keys)
        for key in keys:
            if key in self._unreadable:  # its revision would never be the one known
                raise self._unreadable[key]
        if any(key not in self._revisions for key in keys):
            compared.append(self._prefix)
        return [Compare(key, self._revisions.get(key, 0)) for key in compared]

    def _operations(self, wanted: Mapping[str, Any]) -> list[Put | Delete]:
        operations: list[Put | Delete] = [
            Delete(key) if record is None else Put(key, record.to_json())
            for key, record in wanted.items()
        ]
        if None in wanted.values():
            operations.append(Put(self._prefix, {}))
        return operations

    def _shows(self, wanted: Mapping[str, Any]) -> bool:
        return all(self._records.get(key) == record for key, record in wanted.items())

    async def refresh(self) -> None:
        """
        See L{IClusterRecords.refresh}.
        """
        if self._watch is None:
            raise StoreUnavailable("the broker is stopping")
        self._saw(await self._store.catch_up(self._watch))

    def _until(self, revision: int) -> Deferred[None]:
        """
        Fires when all commits up to a revision are known. The one with this revision has
        changed a record.
        """
        done: Deferred[None] = Deferred()
        if self._seen >= revision:
            done.callback(None)
        else:
            self._waiting.append((revision, done))
        return done

    # -- following ----------------------------------------------------------------

    def _changed(self, changes: Sequence[Change]) -> None:
        """
        The watch reports a commit, or several.
        """
        changed: dict[str, Any] = {}
        for change in changes:
            key, entry = change.key, change.entry
            if key == self._prefix:
                # No broker deletes it, but an operator may, with all that has the prefix.
                self._revisions[key] = 0 if entry is None else entry.revision
                continue
            record = None
            self._unreadable.pop(key, None)
            if entry is not None:
                try:
                    record = self._read(entry)
                except UnreadableData as why:
                    self._log.error(
                        "a record of the metadata store cannot be read, and its last value stays"
                        " in force: {why}",
                        why=why,
                    )
                    self._unreadable[key] = why
                    continue
                self._records[key] = record
                self._revisions[key] = entry.revision
            else:
                self._records.pop(key, None)
                self._revisions.pop(key, None)
            changed[key] = record
        if changed:
            for subscriber in self._subscribers:
                try:
                    subscriber(changed)
                except Exception:
                    self._log.failure(
                        "internal error in a subscriber to changes below {prefix}; the broker"
                        " should be restarted",
                        prefix=self._prefix,
                    )
        self._saw(max(change.revision for change in changes))

    def _saw(self, revision: int) -> None:
        """
        All commits up to a revision are known.
        """
        self._seen = max(self._seen, revision)
        ready = [done for least, done in self._waiting if least <= revision]
        self._waiting = [each for each in self._waiting if each[0] > revision]
        for done in ready:
            done.callback(None)
