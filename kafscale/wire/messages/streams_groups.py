"""
Members of streams groups, and such groups as seen from outside (KIP-1071).
"""

from kafscale.wire.schema import (
    Array,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    Uint16,
)

__all__ = [
    "KeyValue",
    "StreamsGroupDescribeRequest",
    "StreamsGroupDescribeResponse",
    "StreamsGroupHeartbeatRequest",
    "StreamsGroupHeartbeatResponse",
    "TaskAssignment",
    "TaskIds",
    "TaskOffset",
    "TopicInfo",
    "TopicPartition",
]


class KeyValue(Struct):
    """
    A name and a value.
    """

    key: String
    value: String


class TopicInfo(Struct):
    """
    A topic inside the application; 0 partitions lets the coordinator choose.
    """

    name: String
    partitions: Int32
    replication_factor: Int16
    topic_configs: Array[KeyValue]


class TaskIds(Struct):
    """
    Tasks of one subtopology, by their partitions.
    """

    subtopology_id: String
    partitions: Array[Int32]


class TaskOffset(Struct):
    """
    An offset in the changelog of one task.
    """

    subtopology_id: String
    partition: Int32
    offset: Int64


class StreamsGroupHeartbeatRequest(Request, key=88, versions="0", flexible="0+"):
    """
    All that a member of a streams group ever says (KIP-1071). Null means that nothing
    has changed.
    """

    class Topology(Struct):
        """
        The whole topology of the application.
        """

        class Subtopology(Struct):
            """
            A part of the topology that runs as one, with the topics that it needs.
            """

            class CopartitionGroup(Struct):
                """
                Topics that must have as many partitions as one another, by their place in the
                subtopology's lists.
                """

                source_topics: Array[Int16]
                source_topic_regex: Array[Int16]
                repartition_source_topics: Array[Int16]

            subtopology_id: String
            source_topics: Array[String]
            source_topic_regex: Array[String]
            state_changelog_topics: Array[TopicInfo]
            repartition_sink_topics: Array[String]
            repartition_source_topics: Array[TopicInfo]
            copartition_groups: Array[CopartitionGroup]

        epoch: Int32
        subtopologies: Array[Subtopology]

    class UserEndpoint(Struct):
        """
        Where the member can be asked for its state.
        """

        host: String
        port: Uint16

    group_id: String
    member_id: String
    # 0: joins; -1: leaves; -2: leaves, but will be back (static).
    member_epoch: Int32
    endpoint_information_epoch: Int32
    instance_id: Nullable[String] = None
    rack_id: Nullable[String] = None
    rebalance_timeout_ms: Int32 = -1
    topology: Nullable[Topology] = None
    active_tasks: Nullable[Array[TaskIds]]
    standby_tasks: Nullable[Array[TaskIds]]
    warmup_tasks: Nullable[Array[TaskIds]]
    process_id: Nullable[String] = None
    user_endpoint: Nullable[UserEndpoint] = None
    client_tags: Nullable[Array[KeyValue]]
    task_offsets: Nullable[Array[TaskOffset]]
    task_end_offsets: Nullable[Array[TaskOffset]]
    shutdown_application: Boolean = False


class TopicPartition(Struct):
    """
    Partitions of one topic.
    """

    topic: String
    partitions: Array[Int32]


class StreamsGroupHeartbeatResponse(Response, key=88, versions="0", flexible="0+"):
    """
    The member's epoch, and its tasks if they have changed.
    """

    class Status(Struct):
        """
        Something that the member should know of its group.
        """

        status_code: Int8
        status_detail: String

    class PartitionsByUserEndpoint(Struct):
        """
        The partitions whose state can be asked for at one endpoint.
        """

        class UserEndpoint(Struct):
            """
            Where some member can be asked for its state.
            """

            host: String
            port: Uint16

        user_endpoint: UserEndpoint
        active_partitions: Array[TopicPartition]
        standby_partitions: Array[TopicPartition]

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    member_id: String
    member_epoch: Int32
    heartbeat_interval_ms: Int32
    acceptable_recovery_lag: Int32
    task_offset_interval_ms: Int32
    status: Nullable[Array[Status]]
    active_tasks: Nullable[Array[TaskIds]]
    standby_tasks: Nullable[Array[TaskIds]]
    warmup_tasks: Nullable[Array[TaskIds]]
    endpoint_information_epoch: Int32
    partitions_by_user_endpoint: Nullable[Array[PartitionsByUserEndpoint]]


class StreamsGroupDescribeRequest(Request, key=89, versions="0", flexible="0+"):
    """
    What streams groups are doing.
    """

    group_ids: Array[String]
    include_authorized_operations: Boolean


class TaskAssignment(Struct):
    """
    Tasks of a member.
    """

    active_tasks: Array[TaskIds]
    standby_tasks: Array[TaskIds]
    warmup_tasks: Array[TaskIds]


class StreamsGroupDescribeResponse(Response, key=89, versions="0", flexible="0+"):
    """
    The state of streams groups.
    """

    class Group(Struct):
        """
        One group.
        """

        class Topology(Struct):
            """
            The topology that the group runs.
            """

            class Subtopology(Struct):
                """
                A part of the topology, with the topics that it needs.
                """

                subtopology_id: String
                source_topics: Array[String]
                repartition_sink_topics: Array[String]
                state_changelog_topics: Array[TopicInfo]
                repartition_source_topics: Array[TopicInfo]

            epoch: Int32
            subtopologies: Nullable[Array[Subtopology]]

        class Member(Struct):
            """
            A member, the tasks it has and those it is to have.
            """

            class UserEndpoint(Struct):
                """
                Where the member can be asked for its state.
                """

                host: String
                port: Uint16

            member_id: String
            member_epoch: Int32
            instance_id: Nullable[String] = None
            rack_id: Nullable[String] = None
            client_id: String
            client_host: String
            topology_epoch: Int32
            process_id: String
            user_endpoint: Nullable[UserEndpoint] = None
            client_tags: Array[KeyValue]
            task_offsets: Array[TaskOffset]
            task_end_offsets: Array[TaskOffset]
            assignment: TaskAssignment
            target_assignment: TaskAssignment
            is_classic: Boolean

        error_code: Int16 = 0
        error_message: Nullable[String] = None
        group_id: String
        group_state: String
        group_epoch: Int32
        assignment_epoch: Int32
        topology: Nullable[Topology] = None
        members: Array[Member]
        authorized_operations: Int32 = -2147483648

    throttle_time_ms: Int32 = 0
    groups: Array[Group]
