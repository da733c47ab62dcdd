"""
What consumers tell one another through the coordinator.

The coordinator of a group of protocol type C{consumer} looks into the first of
these; those of other types (Connect, Schema Registry) have formats of their
own. On the wire each has its version in front, as an `Int16`. A version above
the newest here is read as the newest: later ones only add fields at the end.
"""

from kafscale.wire.schema import (
    Array,
    Bytes,
    Int32,
    Message,
    Nullable,
    String,
    Struct,
    field,
)

__all__ = [
    "ConsumerProtocolAssignment",
    "ConsumerProtocolSubscription",
]


class ConsumerProtocolSubscription(Message, versions="0-3"):
    """
    What a member wants to read, and what it reads now: the metadata of a
    `JoinGroupRequest`.
    """

    class OwnedPartition(Struct):
        """
        Partitions of one topic that the member has.
        """

        topic: String
        partitions: Array[Int32]

    topics: Array[String]
    user_data: Nullable[Bytes] = None
    owned_partitions: Array[OwnedPartition] = field("1+", factory=list)
    # In which the member got them; -1: none.
    generation_id: Int32 = field("2+", default=-1)
    rack_id: Nullable[String] = field("3+", default=None)


class ConsumerProtocolAssignment(Message, versions="0-3"):
    """
    What a member is to read: the assignment of a `SyncGroupRequest`.
    """

    class AssignedPartition(Struct):
        """
        Partitions of one topic.
        """

        topic: String
        partitions: Array[Int32]

    assigned_partitions: Array[AssignedPartition]
    user_data: Nullable[Bytes] = None
