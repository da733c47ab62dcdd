"""
The records of C{__consumer_offsets} that have committed offsets.

On the wire an `Int16` version comes first, in keys and in values.
"""

from kafscale.wire.schema import Int32, Int64, Message, String, field

__all__ = [
    "OffsetCommitKey",
    "OffsetCommitValue",
]


class OffsetCommitKey(Message, versions="0-1"):
    """
    Of which group and which partition an offset is.
    """

    group: String
    topic: String
    partition: Int32


class OffsetCommitValue(Message, versions="0-3"):
    """
    A committed offset. Where it was deleted, the record has no value.
    """

    offset: Int64
    leader_epoch: Int32 = field("3+", default=-1)
    metadata: String
    commit_timestamp: Int64
    expire_timestamp: Int64 = field("1", default=-1)
