"""
Streams groups: membership and description (KIP-1071).
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
    field,
)

__all__ = [
    "KeyValue",
    "StreamsGroupDescribeRequest",
    "StreamsGroupDescribeResponse",
    "StreamsGroupHeartbeatRequest",
    "StreamsGroupHeartbeatResponse",
    "StreamsGroupTopologyDescriptionUpdateRequest",
    "StreamsGroupTopologyDescriptionUpdateResponse",
    "TaskAssignment",
    "TaskIds",
    "TaskOffset",
    "TopicInfo",
    "TopicPartition",
    "TopologyDescription",
    "TopologyNode",
]


class KeyValue(Struct):
    """
    A name with its value.
    """

    key: String
    value: String


class TopicInfo(Struct):
    """
    An internal topic of the application. With 0 partitions the coordinator chooses.
    """

    name: String
    partitions: Int32
    replication_factor: Int16
    topic_configs: Array[KeyValue]


class TaskIds(Struct):
    """
    Tasks of one subtopology, by partition.
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


class StreamsGroupHeartbeatRequest(Request, key=88, versions="0-1", flexible="0+"):
    """
    The only request by which members of a streams group join, heartbeat and leave. Null
    stands for a value that has not changed since the last request.
    """

    class Topology(Struct):
        """
        The complete topology of the application.
        """

        class Subtopology(Struct):
            """
            A part of the topology that runs as one unit, and its topics.
            """

            class CopartitionGroup(Struct):
                """
                Topics that must have equal numbers of partitions, by their index in
                the lists of the subtopology.
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
        The address at which the member's state can be queried.
        """

        host: String
        port: Uint16

    group_id: String
    member_id: String
    # 0: join; -1: leave; -2: leave for a time, as a static member.
    member_epoch: Int32
    endpoint_information_epoch: Int32
    instance_id: Nullable[String] = None
    rack_id: Nullable[String] = None
    rebalance_timeout_ms: Int32 = -1
    topology: Nullable[Topology] = None
    active_tasks: Nullable[Array[TaskIds]] = None
    standby_tasks: Nullable[Array[TaskIds]] = None
    warmup_tasks: Nullable[Array[TaskIds]] = None
    process_id: Nullable[String] = None
    user_endpoint: Nullable[UserEndpoint] = None
    client_tags: Nullable[Array[KeyValue]] = None
    task_offsets: Nullable[Array[TaskOffset]] = None
    task_end_offsets: Nullable[Array[TaskOffset]] = None
    shutdown_application: Boolean = False


class TopicPartition(Struct):
    """
    Partitions of one topic.
    """

    topic: String
    partitions: Array[Int32]


class StreamsGroupHeartbeatResponse(Response, key=88, versions="0-1", flexible="0+"):
    """
    The epoch of the member, and its tasks if those have changed.
    """

    class Status(Struct):
        """
        A condition of the group that concerns the member.
        """

        status_code: Int8
        status_detail: String

    class PartitionsByUserEndpoint(Struct):
        """
        The partitions whose state can be queried at one address.
        """

        class UserEndpoint(Struct):
            """
            The address at which the state of a member can be queried.
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
    acceptable_recovery_lag_legacy: Int32 = field("0", default=0)
    task_offset_interval_ms: Int32
    # In offsets; -1: not supported.
    acceptable_recovery_lag: Int64 = field("1+", default=-1)
    status: Nullable[Array[Status]]
    active_tasks: Nullable[Array[TaskIds]] = None
    standby_tasks: Nullable[Array[TaskIds]] = None
    warmup_tasks: Nullable[Array[TaskIds]] = None
    topology_description_required: Boolean = field("1+", default=False)
    endpoint_information_epoch: Int32
    partitions_by_user_endpoint: Nullable[Array[PartitionsByUserEndpoint]] = None


class StreamsGroupDescribeRequest(Request, key=89, versions="0-1", flexible="0+"):
    """
    Asks for the state of streams groups.
    """

    group_ids: Array[String]
    include_authorized_operations: Boolean
    include_topology_description: Boolean = field("1+", default=False)


class TaskAssignment(Struct):
    """
    Tasks of a member.
    """

    active_tasks: Array[TaskIds]
    standby_tasks: Array[TaskIds]
    warmup_tasks: Array[TaskIds]


class TopologyNode(Struct):
    """
    A node of a topology: a source, a processor or a sink.
    """

    name: String
    # 1: source; 2: processor; 3: sink.
    node_type: Int8
    source_topics: Array[String]
    sink_topic: Nullable[String] = None
    stores: Array[String]
    successors: Array[String]


class TopologyDescription(Struct):
    """
    A topology, node by node, as an application describes itself (KIP-1331).
    """

    class Subtopology(Struct):
        """
        A part of the topology that runs as one unit.
        """

        subtopology_id: String
        nodes: Array[TopologyNode]

    class GlobalStore(Struct):
        """
        A store with all partitions of its topic, in every instance.
        """

        source: TopologyNode
        processor: TopologyNode

    subtopologies: Array[Subtopology]
    global_stores: Array[GlobalStore]


class StreamsGroupDescribeResponse(Response, key=89, versions="0-1", flexible="0+"):
    """
    The state of streams groups.
    """

    class Group(Struct):
        """
        One group.
        """

        class Topology(Struct):
            """
            The topology that the group executes.
            """

            class Subtopology(Struct):
                """
                A part of the topology, and its topics.
                """

                subtopology_id: String
                source_topics: Array[String]
                repartition_sink_topics: Array[String]
                state_changelog_topics: Array[TopicInfo]
                repartition_source_topics: Array[TopicInfo]

            epoch: Int32
            subtopologies: Nullable[Array[Subtopology]] = None

        class Member(Struct):
            """
            A member with its present and its target tasks.
            """

            class UserEndpoint(Struct):
                """
                The address at which the member's state can be queried.
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
        topology_description: Nullable[TopologyDescription] = field("1+", default=None)
        # 0: not requested; 1: not stored; 2: not readable; 3: available.
        topology_description_status: Int8 = field("1+", default=0)
        assignor_name: Nullable[String] = field("1+", default=None)

    throttle_time_ms: Int32 = 0
    groups: Array[Group]


class StreamsGroupTopologyDescriptionUpdateRequest(Request, key=93, versions="0", flexible="0+"):
    """
    Describes the topology of a streams group, when a heartbeat has asked for it (KIP-1331).
    """

    group_id: String
    member_id: String
    topology_epoch: Int32
    topology_description: TopologyDescription


class StreamsGroupTopologyDescriptionUpdateResponse(Response, key=93, versions="0", flexible="0+"):
    """
    Whether the description is stored.
    """

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
