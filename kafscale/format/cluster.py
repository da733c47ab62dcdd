"""
What is stored once for a cluster, and is no more than one value: entries of
the metadata store, and small objects of a bucket.
"""

from __future__ import annotations

import json
from operator import index

from kafscale.format.errors import CorruptObject, NewerFormat
from kafscale.format.levels import check_json_level
from kafscale.format.record import StoredEntry, read_record


def cluster_id_of(entry: StoredEntry) -> str:
    """
    The cluster's id, from the entry C{cluster/id}: 22 characters of base64url.

    @raise CorruptRecord: it is no string.
    """
    return read_record("cluster/id", entry, _string)


def producer_ids_of(entry: StoredEntry) -> int:
    """
    The first producer id that no broker has taken, from the entry
    C{producer-ids}.

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


def _field(name: str, key: str, data: bytes, field: str) -> str:
    try:
        value = json.loads(data)
        check_json_level(name, value)
        return _string(value[field])
    except NewerFormat as newer:
        newer.key = key
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise CorruptObject(f"{data[:100]!r} is not understood: {error!r}", key) from error
