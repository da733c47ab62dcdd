"""
The versions that both brokers serve.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from kafscale.wire.messages import (
    AlterConfigsRequest,
    AlterPartitionReassignmentsRequest,
    ApiVersionsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeClientQuotasRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeTopicPartitionsRequest,
    ElectLeadersRequest,
    FetchRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    IncrementalAlterConfigsRequest,
    InitProducerIdRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListConfigResourcesRequest,
    ListGroupsRequest,
    ListOffsetsRequest,
    ListPartitionReassignmentsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    OffsetForLeaderEpochRequest,
    ProduceRequest,
    SaslHandshakeRequest,
    SyncGroupRequest,
)
from kafscale.wire.schema import Request
from tests.clients.requests import ADVERTISED
from tests.differential.talk import Case, Talk

#: The lowest and highest version that Apache Kafka 4.4.0 advertises.
KAFKA: dict[type[Request], tuple[int, int]] = {
    ProduceRequest: (3, 13),
    FetchRequest: (4, 18),
    ListOffsetsRequest: (1, 11),
    MetadataRequest: (0, 13),
    OffsetCommitRequest: (2, 10),
    OffsetFetchRequest: (1, 10),
    FindCoordinatorRequest: (0, 6),
    JoinGroupRequest: (0, 9),
    HeartbeatRequest: (0, 4),
    LeaveGroupRequest: (0, 5),
    SyncGroupRequest: (0, 5),
    DescribeGroupsRequest: (0, 6),
    ListGroupsRequest: (0, 5),
    SaslHandshakeRequest: (0, 1),
    ApiVersionsRequest: (0, 5),
    CreateTopicsRequest: (2, 7),
    DeleteTopicsRequest: (1, 6),
    DeleteRecordsRequest: (0, 2),
    InitProducerIdRequest: (0, 5),
    OffsetForLeaderEpochRequest: (2, 4),
    DescribeConfigsRequest: (1, 4),
    AlterConfigsRequest: (0, 2),
    DescribeLogDirsRequest: (1, 5),
    CreatePartitionsRequest: (0, 3),
    DeleteGroupsRequest: (0, 3),
    ElectLeadersRequest: (0, 2),
    IncrementalAlterConfigsRequest: (0, 1),
    AlterPartitionReassignmentsRequest: (0, 1),
    ListPartitionReassignmentsRequest: (0, 0),
    OffsetDeleteRequest: (0, 0),
    DescribeClientQuotasRequest: (0, 1),
    DescribeClusterRequest: (0, 2),
    DescribeProducersRequest: (0, 0),
    ListConfigResourcesRequest: (0, 1),
    DescribeTopicPartitionsRequest: (0, 0),
}


def versions(request: type[Request], first: int = 0) -> range:
    """
    The versions of a request that both brokers serve.

    @param first: The lowest one that is of interest.
    """
    (theirs, last), (ours, newest) = KAFKA[request], ADVERTISED[request]
    return range(max(first, theirs, ours), min(last, newest) + 1)


def newest(request: type[Request]) -> int:
    """
    The newest version that both brokers serve.
    """
    return versions(request)[-1]


def each_version(
    name: str, request: type[Request], run: Callable[[int, Talk], None]
) -> Iterator[Case]:
    """
    A case for each version of a request that both brokers serve.

    @param run: Gets the version, and the conversation.
    """
    for version in versions(request):
        yield Case(f"{name}, version {version}", functools.partial(run, version))
