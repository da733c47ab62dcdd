"""
Where things are: the keys of the object store and of the metadata store.

Object keys begin with the namespace. Numbers are padded to twenty digits, so
that the order of the keys is the order of the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID
from zlib import crc32


def journal(namespace: str, broker_id: int, incarnation: int) -> str:
    """
    The prefix of an incarnation's slots. Its third part spreads incarnations
    over an object store that shards by prefix.
    """
    spread = crc32(f"{broker_id}/{incarnation}".encode()) & 0xFF
    return f"{namespace}/journal/{spread:02x}/{broker_id}/{incarnation}/"


def bundles(namespace: str, broker_id: int, incarnation: int) -> str:
    """
    The prefix of the bundles of an incarnation's slots; a bundle's number is
    that of its first slot.
    """
    return journal(namespace, broker_id, incarnation).replace("/journal/", "/bundles/", 1)


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
    return f"{namespace}/topics/{topic_id}/"


def partition(namespace: str, topic_id: UUID, index: int) -> str:
    """
    The prefix of a partition's segments.
    """
    return f"{namespace}/topics/{topic_id}/{index}/"


def segment(prefix: str, base_offset: int, maker: int = -1) -> str:
    """
    One segment, under its L{partition}'s prefix.

    @param maker: The leader epoch in which it was made, where keys tell (see
        `kafscale.log.journal.fencing`); otherwise -1.
    """
    made_in = f"-{maker:010d}" if maker >= 0 else ""
    return f"{prefix}{base_offset:020d}{made_in}.kfs"


def volume(namespace: str, incarnation: int, number: int) -> str:
    """
    One of the volumes that an incarnation has made; spread as its slots are.
    """
    spread = crc32(str(incarnation).encode()) & 0xFF
    return f"{namespace}/volumes/{spread:02x}/{incarnation}/{number:020d}"


def parse_volume(namespace: str, key: str) -> tuple[int, int] | None:
    """
    The incarnation and the number of the volume that has this key; None if it
    is not a volume's.
    """
    try:
        _, incarnation, number = key.removeprefix(f"{namespace}/volumes/").split("/")
        found = int(incarnation), int(number)
    except ValueError:
        return None
    return found if key == volume(namespace, *found) else None


def parse_slot(namespace: str, key: str) -> tuple[int, int] | None:
    """
    The incarnation and number of the slot that has this key; None if it is
    not a slot's.
    """
    return _parse_numbered(namespace, key, "journal", journal)


def parse_bundle(namespace: str, key: str) -> tuple[int, int] | None:
    """
    The incarnation and the number of the first slot of the bundle that has
    this key; None if it is not a bundle's.
    """
    return _parse_numbered(namespace, key, "bundles", bundles)


def _parse_numbered(
    namespace: str, key: str, kind: str, prefix_of: Callable[[str, int, int], str]
) -> tuple[int, int] | None:
    try:
        _, broker_id, incarnation, number = key.removeprefix(f"{namespace}/{kind}/").split("/")
        prefix = prefix_of(namespace, int(broker_id), int(incarnation))
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
        topic_id, index, _ = key.removeprefix(f"{namespace}/topics/").split("/")
        where = UUID(topic_id), int(index)
    except ValueError:
        return None
    prefix = partition(namespace, *where)
    return (*where, segment_base(key)) if is_segment(prefix, key) else None


def is_segment(prefix: str, key: str) -> bool:
    """
    Whether a segment of the partition with this prefix may have this key.
    """
    base, _, maker = key.removeprefix(prefix).removesuffix(".kfs").partition("-")
    try:
        return key == segment(prefix, int(base), int(maker) if maker else -1)
    except ValueError:
        return False


def segment_base(key: str) -> int:
    """
    The base offset of the segment that has this key.
    """
    return int(key.rsplit("/", 1)[1].removesuffix(".kfs").partition("-")[0])


def segment_maker(key: str) -> int:
    """
    The leader epoch in the key of a segment; -1: there is none.
    """
    return int(key.rsplit("/", 1)[1].removesuffix(".kfs").partition("-")[2] or -1)


# The metadata store adds a prefix of its own, so these begin with the kind.

INCARNATIONS = "incarnations/"
PARTITIONS = "partitions/"
SEALS = "seals/"


def incarnation_record(incarnation: int) -> str:
    """
    ``{"broker": id, "trim": slot}``, put by the incarnation itself, and at its
    end by a successor; with C{"wound_up": true} once its slots are deleted.
    With C{"fencing": "metadata"} from its beginning if that is what stops it
    (see `kafscale.log.journal.fencing`).
    """
    return f"{INCARNATIONS}{incarnation:020d}"


def seal_record(incarnation: int) -> str:
    """
    ``{"sealed_at": slot, "by": incarnation}``; absent while the incarnation
    may write; at first without C{sealed_at} if this is what stops it. A key of
    its own, so that "not sealed" can be compared whatever else the incarnation
    writes.
    """
    return f"{SEALS}{incarnation:020d}"


def partition_record(topic_id: UUID, index: int) -> str:
    """
    The record described at `kafscale.format.partition.PartitionRecord`.
    """
    return f"{PARTITIONS}{topic_id}/{index:010d}"


def partition_of(key: str) -> tuple[UUID, int]:
    """
    The topic id and index that a L{partition_record}'s key names.
    """
    _, topic_id, index = key.split("/")
    return UUID(topic_id), int(index)


def incarnation_of(key: str) -> int:
    """
    The incarnation that an L{incarnation_record}'s or L{seal_record}'s key
    names.
    """
    return int(key.rsplit("/", 1)[1])
