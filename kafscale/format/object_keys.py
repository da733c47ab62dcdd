"""
The keys of objects.

Every key begins with the namespace and, after it, the kind of object. Numbers
are padded to twenty digits, so that the order of the keys is the order of the
numbers. docs/storage.md has the same layouts in a table.

A new kind of object gets a new kind in its keys: L{SWEPT} names the kinds that
the orphan sweep of this version lists, and the sweep of an older version lists
fewer, so it never deletes an object that it does not know.
"""

from __future__ import annotations

import re
from uuid import UUID
from zlib import crc32

JOURNAL = "journal"
BUNDLES = "bundles"
TOPICS = "topics"
VOLUMES = "volumes"

SWEPT = (JOURNAL, BUNDLES, TOPICS, VOLUMES)
"""The kinds of objects that hold records, in the order in which they are listed."""


def kind_of(key: str) -> str:
    """
    What comes after the namespace in an object's key, for example L{TOPICS};
    an empty string if the key has no such part.
    """
    _, _, rest = key.partition("/")
    return rest.partition("/")[0]


def prefix_of(namespace: str, kind: str) -> str:
    """
    The prefix of all objects of one of the kinds in L{SWEPT}.
    """
    return f"{namespace}/{kind}/"


def journal(namespace: str, broker_id: int, incarnation: int) -> str:
    """
    The prefix of an incarnation's slots. Its third part spreads incarnations
    over an object store that shards by prefix.
    """
    return _of_incarnation(namespace, JOURNAL, broker_id, incarnation)


def bundles(namespace: str, broker_id: int, incarnation: int) -> str:
    """
    The prefix of the bundles of an incarnation's slots; a bundle's number is
    that of its first slot.
    """
    return _of_incarnation(namespace, BUNDLES, broker_id, incarnation)


def _of_incarnation(namespace: str, kind: str, broker_id: int, incarnation: int) -> str:
    spread = crc32(f"{broker_id}/{incarnation}".encode()) & 0xFF
    return f"{namespace}/{kind}/{spread:02x}/{broker_id}/{incarnation}/"


def slot(prefix: str, number: int) -> str:
    """
    One slot, under its L{journal}'s prefix; or a bundle of them, under its own.
    """
    return f"{prefix}{number:020d}"


def slot_number(key: str) -> int:
    """
    The number of the slot that has this key.
    """
    return int(key.rsplit("/", 1)[1])


def topic(namespace: str, topic_id: UUID) -> str:
    """
    The prefix of all segments of a topic.
    """
    return f"{namespace}/{TOPICS}/{topic_id}/"


def partition(namespace: str, topic_id: UUID, index: int) -> str:
    """
    The prefix of a partition's segments.
    """
    return f"{namespace}/{TOPICS}/{topic_id}/{index}/"


def segment(prefix: str, base_offset: int, key_epoch: int = -1) -> str:
    """
    One segment, under its L{partition}'s prefix.

    @param key_epoch: The leader epoch in which it was written, where keys have it (see
        `kafscale.log.journal.fencing`); otherwise -1.
    """
    made_in = f"-{key_epoch:010d}" if key_epoch >= 0 else ""
    return f"{prefix}{base_offset:020d}{made_in}.kfs"


def volumes(namespace: str, incarnation: int) -> str:
    """
    The prefix of the volumes that an incarnation has made; spread as its slots are.
    """
    spread = crc32(str(incarnation).encode()) & 0xFF
    return f"{namespace}/{VOLUMES}/{spread:02x}/{incarnation}/"


def volume(namespace: str, incarnation: int, number: int) -> str:
    """
    One of the L{volumes} of an incarnation.
    """
    return f"{volumes(namespace, incarnation)}{number:020d}"


def parse_volume(namespace: str, key: str) -> tuple[int, int] | None:
    """
    The incarnation and the number of the volume that has this key; None if it
    is not a volume's.
    """
    try:
        _, incarnation, number = key.removeprefix(f"{namespace}/{VOLUMES}/").split("/")
        found = int(incarnation), int(number)
    except ValueError:
        return None
    return found if key == volume(namespace, *found) else None


def parse_slot(namespace: str, key: str) -> tuple[int, int] | None:
    """
    The incarnation and number of the slot that has this key; None if it is
    not a slot's.
    """
    return _parse_numbered(namespace, key, JOURNAL)


def parse_bundle(namespace: str, key: str) -> tuple[int, int] | None:
    """
    The incarnation and the number of the first slot of the bundle that has
    this key; None if it is not a bundle's.
    """
    return _parse_numbered(namespace, key, BUNDLES)


def _parse_numbered(namespace: str, key: str, kind: str) -> tuple[int, int] | None:
    try:
        _, broker_id, incarnation, number = key.removeprefix(f"{namespace}/{kind}/").split("/")
        prefix = _of_incarnation(namespace, kind, int(broker_id), int(incarnation))
        found = int(incarnation), int(number)
    except ValueError:
        return None
    return found if key == slot(prefix, found[1]) else None


def parse_segment(namespace: str, key: str) -> tuple[UUID, int, int] | None:
    """
    The topic id, index and base offset of the segment that has this key; None
    if it is not a segment's.
    """
    try:
        topic_id, index, _ = key.removeprefix(f"{namespace}/{TOPICS}/").split("/")
        where = UUID(topic_id), int(index)
    except ValueError:
        return None
    prefix = partition(namespace, *where)
    return (*where, segment_base(key)) if is_segment(prefix, key) else None


def is_segment(prefix: str, key: str) -> bool:
    """
    Whether a segment of the partition with this prefix may have this key.
    """
    base, _, key_epoch = key.removeprefix(prefix).removesuffix(".kfs").partition("-")
    try:
        return key == segment(prefix, int(base), int(key_epoch) if key_epoch else -1)
    except ValueError:
        return False


def segment_base(key: str) -> int:
    """
    The base offset of the segment that has this key.
    """
    return int(key.rsplit("/", 1)[1].removesuffix(".kfs").partition("-")[0])


def segment_key_epoch(key: str) -> int:
    """
    The leader epoch in the key of a segment; -1: there is none.
    """
    return int(key.rsplit("/", 1)[1].removesuffix(".kfs").partition("-")[2] or -1)


def cluster(namespace: str) -> str:
    """
    The object that says which cluster the namespace of a store belongs to.
    """
    return f"{namespace}/cluster"


def claims(namespace: str) -> str:
    """
    The prefix of the claims of clusters to a namespace, of which one at most
    becomes L{cluster}; only where a PUT may replace.
    """
    return f"{namespace}/claims/"


def claim(namespace: str, cluster_id: str) -> str:
    """
    The claim of one cluster.
    """
    return f"{claims(namespace)}{cluster_id}"


def probe(namespace: str, name: str) -> str:
    """
    An object that is made and deleted at start to try the bucket.
    """
    return f"{namespace}/probes/{name}"


def is_probe(namespace: str, key: str) -> bool:
    """
    Whether this is the key of an object to try the bucket, whose name ends with a
    number of fewer than eight digits, and not that of a L{probe_record}.
    """
    name = key.removeprefix(probe(namespace, ""))
    return name != key and re.fullmatch(r"[^/]+-[0-9]{1,7}", name) is not None


def probe_record(namespace: str, cluster_id: str, server: str) -> str:
    """
    The object that says that a cluster has tried the bucket.

    @param server: What the store calls itself in its C{Server} header.
    """
    return probe(namespace, f"{cluster_id}-{crc32(server.encode()):08x}")


def milestones(namespace: str) -> str:
    """
    The prefix of the milestones that protect against a metadata store that
    was rolled back (`kafscale.store.rollback_guard`).
    """
    return f"{namespace}/milestones/"


def milestone(namespace: str, revision: int) -> str:
    """
    The milestone of a revision of the metadata store.
    """
    return f"{milestones(namespace)}{revision:020d}"


def milestone_revision(key: str) -> int:
    """
    The revision that a L{milestone}'s key names.
    """
    return int(key.rsplit("/", 1)[1])
