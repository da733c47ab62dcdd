"""
Where groups are in the metadata store, and what stands there.

================================================  =================================
``group-shards/{shard}``                          ``{"owner", "since", "sequence"}``:
                                                  the incarnation that coordinates the
                                                  shard's groups, how many commits the
                                                  shard has had, and with which of
                                                  them it was taken
``groups/{shard}/{group}``                        a group (see ``records``)
``offsets/{shard}/{group}/{topic_id}/{index}``    a committed offset (likewise)
================================================  =================================

The name of a group may be any text, so it stands here with everything but
letters, digits and ``_.-~`` as ``%XX``. A group is in the shard that the
checksum of its name says.
"""

from __future__ import annotations

from urllib.parse import quote, unquote
from uuid import UUID
from zlib import crc32

from kafscale.format.partition import TopicIdPartition

SHARDS = 16
"""Never to be changed: it says where a group is."""


def shard_of(group: str) -> int:
    """
    The shard of a group.
    """
    return crc32(group.encode()) % SHARDS


def shard(number: int) -> str:
    """
    Whose a shard is.
    """
    return f"group-shards/{number:02d}"


def groups(number: int) -> str:
    """
    What the keys of all groups of a shard begin with.
    """
    return f"groups/{number:02d}/"


def offsets(number: int) -> str:
    """
    What the keys of all commits of a shard begin with.
    """
    return f"offsets/{number:02d}/"


def group(name: str) -> str:
    """
    Where a group is.
    """
    return groups(shard_of(name)) + quote(name, safe="")


def offsets_of(name: str) -> str:
    """
    What the keys of all commits of a group begin with.
    """
    return offsets(shard_of(name)) + quote(name, safe="") + "/"


def offset(prefix: str, where: TopicIdPartition) -> str:
    """
    Where a commit for a partition is, of the group with that L{offsets_of}.
    """
    topic_id, index = where
    return f"{prefix}{topic_id}/{index:010d}"


def group_of(key: str) -> str:
    """
    The name in the key of a group.
    """
    return unquote(key.split("/")[2])


def offset_of(key: str) -> tuple[str, TopicIdPartition]:
    """
    Group and partition in the key of a commit.
    """
    _, _, name, topic_id, index = key.split("/")
    return unquote(name), (UUID(topic_id), int(index))
