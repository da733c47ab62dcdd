"""
The embedded protocol of consumers in classic groups.

JoinGroup and SyncGroup carry these as opaque bytes. The coordinator decodes the
subscription of groups of protocol type C{consumer} only; other types (Connect,
Schema Registry) have formats of their own. On the wire an `Int16` version comes
first. A version above the highest here is decoded as the highest, because later
versions only append fields.
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
    The topics that a member subscribes to and the partitions that it owns: the
    metadata of a `JoinGroupRequest`.
    """

    class OwnedPartition(Struct):
        """
        Partitions of one topic that the member owns.
        """

        topic: String
        partitions: Array[Int32]

    topics: Array[String]
    user_data: Nullable[Bytes] = None
    owned_partitions: Array[OwnedPartition] = field("1+", factory=list)
    # In which the partitions were assigned; -1: none.
    generation_id: Int32 = field("2+", default=-1)
    rack_id: Nullable[String] = field("3+", default=None)


class ConsumerProtocolAssignment(Message, versions="0-3"):
    """
    The partitions assigned to a member: the assignment of a `SyncGroupRequest`.
    """

    class AssignedPartition(Struct):
        """
        Partitions of one topic.
        """

        topic: String
        partitions: Array[Int32]

    assigned_partitions: Array[AssignedPartition]
    user_data: Nullable[Bytes] = None
