"""
Entries and objects of which a cluster has one each: its id, its object store,
the next producer id, the levels of formats, and the small objects beside the
records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from operator import index
from typing import Any

import attrs

from kafscale.format.errors import CorruptObject, NewerFormat
from kafscale.format.levels import check_json_level
from kafscale.format.record import StoredEntry, read_record


def _above_0(levels: Mapping[str, int]) -> dict[str, int]:
    return {name: index(level) for name, level in sorted(levels.items()) if level}


@attrs.frozen
class LevelsRecord:
    """
    The entry C{levels}: the levels of stored formats of a cluster
    (`kafscale.cluster.levels`). It is absent while all of them are 0. In both
    maps a format that is missing is at level 0.

    @ivar required: The levels that a broker must read to be registered.
    @ivar in_force: The levels that brokers write.
    """

    required: Mapping[str, int] = attrs.field(factory=dict, converter=_above_0)
    in_force: Mapping[str, int] = attrs.field(factory=dict, converter=_above_0)

    def following(self, read: Iterable[Mapping[str, int]]) -> LevelsRecord:
        """
        The record that comes after this one when the registered brokers read
        these levels; the same if there is nothing to be changed.

        @param read: What each of them reads.
        """
        brokers = list(read)
        names = self.required.keys() | {name for each in brokers for name in each}
        required = _above_0(
            {
                name: max(self.in_force.get(name, 0), min(each.get(name, 0) for each in brokers))
                for name in names
            }
        )
        if required != self.required:
            return LevelsRecord(required, self.in_force)
        return LevelsRecord(required, required)

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return {"required": dict(self.required), "in_force": dict(self.in_force)}

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> LevelsRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(required: Mapping[str, int], in_force: Mapping[str, int]) -> LevelsRecord:
            return cls(required, in_force)

        return read_record("levels", entry, lambda value: read(**value))


BUCKET = "bucket"
"""Objects in a bucket of S3, or of a store with S3's API."""

DIRECTORY = "directory"
"""Objects in the data directory."""


@attrs.frozen
class StoreRecord:
    """
    The entry C{store}: which object store the metadata belongs to. A store of
    the same name is another one unless its claim (L{read_claim}) has the id of
    the cluster (`kafscale.store.identity`).

    @ivar kind: L{BUCKET} or L{DIRECTORY}. The path of a directory is not kept,
        so that a data directory may be moved.
    @ivar namespace: The first part of all keys.
    @ivar bucket: The name of the bucket; None for a directory. The endpoint is
        not kept, because brokers may reach a bucket at several.
    """

    kind: str
    namespace: str
    bucket: str | None = None

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store: C{bucket} is absent if it is None.
        """
        value = attrs.asdict(self)
        if self.bucket is None:
            del value["bucket"]
        return value

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> StoreRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(kind: object, namespace: object, bucket: object = None) -> StoreRecord:
            name = None if bucket is None else _string(bucket)
            return cls(_string(kind), _string(namespace), name)

        return read_record("store", entry, lambda value: read(**value))


def cluster_id_of(entry: StoredEntry) -> str:
    """
    The cluster's id, from the entry C{cluster/id}: 22 characters of base64url.

    @raise CorruptRecord: it is no string.
    """
    return read_record("cluster/id", entry, _string)


IDS_PER_REVISION = 1000
"""How many producer ids one commit to the metadata store may give out, at most."""


def first_id_after(revision: int) -> int:
    """
    A producer id that divides those given out before a commit from those that
    producers ask for after it: the former are lower, the latter are not. So it needs
    no look-up to find out which producers may be older than a topic.

    Whoever gives out ids keeps it so: each commit that does reads the revision of the
    store first, begins at L{first_id_after} of that at least, and takes at most
    L{IDS_PER_REVISION} ids. Brokers of version 0.1 take blocks of 1000 from 0 on, one in
    a commit, and so never have more ids than a thousand for each revision either.

    @param revision: The revision of the commit.
    """
    return (revision + 1) * IDS_PER_REVISION


def producer_ids_of(entry: StoredEntry) -> int:
    """
    The first producer id that was not given out, from the entry C{producer-ids}.

    @raise CorruptRecord: it is no number.
    """
    return read_record("producer-ids", entry, index)


def milestone_names_of(entry: StoredEntry) -> list[str]:
    """
    The names of the last milestones, from the entry C{milestones}; the oldest
    first.

    @raise CorruptRecord: it is no list of strings.
    """
    return read_record("milestones", entry, _strings)


def _strings(value: object) -> list[str]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return [_string(each) for each in value]


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value


def write_claim(cluster_id: str) -> bytes:
    """
    All bytes of an object that says which cluster a namespace belongs to.
    """
    return json.dumps({"cluster_id": cluster_id}).encode()


def read_claim(key: str, data: bytes) -> str:
    """
    The id of the cluster that a namespace belongs to.

    @raise CorruptObject: it is no such object.
    @raise NewerFormat: a newer version has written it.
    """
    return _field("cluster", key, data, "cluster_id")


def write_milestone(name: str) -> bytes:
    """
    All bytes of a milestone (`kafscale.store.rollback_guard`).
    """
    return json.dumps({"name": name}).encode()


def read_milestone(key: str, data: bytes) -> str:
    """
    The name of a milestone.

    @raise CorruptObject: it is none.
    @raise NewerFormat: a newer version has written it.
    """
    return _field("milestone", key, data, "name")


def write_probe_record(server: str) -> bytes:
    """
    All bytes of the record of a probe (`kafscale.store.s3.watch`), of which only
    the key is ever looked at.

    @param server: What the store calls itself.
    """
    return json.dumps({"server": server}).encode()


def _field(name: str, key: str, data: bytes, field: str) -> str:
    try:
        value = json.loads(data)
        check_json_level(name, value)
        return _string(value[field])
    except NewerFormat as newer:
        newer.key = key
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise CorruptObject(
            f"{data[:100]!r} is not understood: no broker has written it so", key
        ) from error
