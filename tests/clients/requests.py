"""
All that a broker serves: versions, and a request of each kind.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    AlterClientQuotasRequest,
    AlterConfigsRequest,
    AlterPartitionReassignmentsRequest,
    AlterUserScramCredentialsRequest,
    ApiVersionsRequest,
    CreateAclsRequest,
    CreateDelegationTokenRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteAclsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeAclsRequest,
    DescribeClientQuotasRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeDelegationTokenRequest,
    DescribeGroupsRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeTopicPartitionsRequest,
    DescribeUserScramCredentialsRequest,
    ElectLeadersRequest,
    ExpireDelegationTokenRequest,
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
    RenewDelegationTokenRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
    SyncGroupRequest,
)
from kafscale.wire.schema import Request
from tests.clients.raw import LATEST, batch_of

#: API key to the lowest and highest version advertised.
ADVERTISED: dict[type[Request], tuple[int, int]] = {
    ProduceRequest: (0, 13),
    FetchRequest: (0, 18),
    ListOffsetsRequest: (0, 11),
    MetadataRequest: (0, 13),
    OffsetCommitRequest: (0, 10),
    OffsetFetchRequest: (0, 10),
    FindCoordinatorRequest: (0, 6),
    JoinGroupRequest: (0, 9),
    HeartbeatRequest: (0, 4),
    LeaveGroupRequest: (0, 5),
    SyncGroupRequest: (0, 5),
    DescribeGroupsRequest: (0, 6),
    ListGroupsRequest: (0, 5),
    SaslHandshakeRequest: (0, 1),
    SaslAuthenticateRequest: (0, 2),
    ApiVersionsRequest: (0, 5),
    CreateTopicsRequest: (0, 7),
    DeleteTopicsRequest: (0, 6),
    DeleteRecordsRequest: (0, 2),
    InitProducerIdRequest: (0, 5),
    OffsetForLeaderEpochRequest: (0, 4),
    DescribeAclsRequest: (0, 3),
    CreateAclsRequest: (0, 3),
    DeleteAclsRequest: (0, 3),
    DescribeConfigsRequest: (0, 4),
    AlterConfigsRequest: (0, 2),
    DescribeLogDirsRequest: (0, 5),
    CreatePartitionsRequest: (0, 3),
    CreateDelegationTokenRequest: (1, 3),
    RenewDelegationTokenRequest: (1, 2),
    ExpireDelegationTokenRequest: (1, 2),
    DescribeDelegationTokenRequest: (1, 3),
    DeleteGroupsRequest: (0, 3),
    ElectLeadersRequest: (0, 2),
    IncrementalAlterConfigsRequest: (0, 1),
    AlterPartitionReassignmentsRequest: (0, 1),
    ListPartitionReassignmentsRequest: (0, 0),
    OffsetDeleteRequest: (0, 0),
    DescribeClientQuotasRequest: (0, 1),
    AlterClientQuotasRequest: (0, 1),
    DescribeUserScramCredentialsRequest: (0, 0),
    AlterUserScramCredentialsRequest: (0, 0),
    DescribeClusterRequest: (0, 2),
    DescribeProducersRequest: (0, 0),
    ListConfigResourcesRequest: (0, 1),
    DescribeTopicPartitionsRequest: (0, 0),
}


def some_requests(topic_id: UUID) -> list[Request]:
    """
    A request of each kind that is served, the same for all versions.
    """
    produce = ProduceRequest.Topic
    batch = produce.Partition(index=0, records=memoryview(batch_of([b"x"])))
    fetch = FetchRequest.Topic
    position = fetch.Partition(partition=0, fetch_offset=0, partition_max_bytes=1000)
    offsets = ListOffsetsRequest.Topic
    when = offsets.Partition(partition_index=0, timestamp=LATEST)
    epochs = OffsetForLeaderEpochRequest.Topic
    epoch = epochs.Partition(partition=0, leader_epoch=0)
    records = DeleteRecordsRequest.Topic
    before = records.Partition(partition_index=0, offset=0)
    return [
        ProduceRequest(
            acks=-1,
            timeout_ms=1000,
            topic_data=[produce(name="talk", topic_id=topic_id, partition_data=[batch])],
        ),
        FetchRequest(
            max_wait_ms=0,
            min_bytes=1,
            topics=[fetch(topic="talk", topic_id=topic_id, partitions=[position])],
        ),
        ListOffsetsRequest(topics=[offsets(name="talk", partitions=[when])]),
        MetadataRequest(topics=[MetadataRequest.Topic(name="talk")]),
        FindCoordinatorRequest(key="group", coordinator_keys=["group"]),
        *group_requests(topic_id),
        SaslHandshakeRequest(mechanism="PLAIN"),
        SaslAuthenticateRequest(auth_bytes=b"x"),
        ApiVersionsRequest(client_software_name="raw", client_software_version="1"),
        CreateTopicsRequest(topics=[], timeout_ms=1000),
        DeleteTopicsRequest(topic_names=[], topics=[], timeout_ms=1000),
        DeleteRecordsRequest(topics=[records(name="talk", partitions=[before])], timeout_ms=1000),
        InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000),
        OffsetForLeaderEpochRequest(topics=[epochs(topic="talk", partitions=[epoch])]),
        CreatePartitionsRequest(topics=[], timeout_ms=1000, validate_only=False),
        DescribeClusterRequest(include_cluster_authorized_operations=True),
        DescribeTopicPartitionsRequest(topics=[]),
        *operators_requests(),
        *security_requests(),
        *token_requests(),
    ]


def security_requests() -> list[Request]:
    """
    Those about access control lists and users, of which there are none.
    """
    acl = CreateAclsRequest.Creation(
        resource_type=2,
        resource_name="talk",
        principal="User:ann",
        host="*",
        operation=3,
        permission_type=3,
    )
    every = DeleteAclsRequest.Filter(
        resource_type_filter=2,
        resource_name_filter="talk",
        principal_filter=None,
        host_filter=None,
        operation=1,
        permission_type=1,
    )
    return [
        DescribeAclsRequest(
            resource_type_filter=2,
            resource_name_filter="talk",
            principal_filter=None,
            host_filter=None,
            operation=1,
            permission_type=1,
        ),
        CreateAclsRequest(creations=[acl, acl]),
        DeleteAclsRequest(filters=[every]),
        DescribeUserScramCredentialsRequest(users=None),
        AlterUserScramCredentialsRequest(
            deletions=[AlterUserScramCredentialsRequest.Deletion(name="ann", mechanism=1)],
            upsertions=[],
        ),
    ]


def token_requests() -> list[Request]:
    """
    Those about delegation tokens, which are refused to who has not authenticated.
    """
    create = CreateDelegationTokenRequest
    renewer = create.Renewer(principal_type="User", principal_name="ann")
    return [
        create(renewers=[renewer], max_lifetime_ms=-1),
        RenewDelegationTokenRequest(hmac=b"x", renew_period_ms=-1),
        ExpireDelegationTokenRequest(hmac=b"x", expiry_time_period_ms=-1),
        DescribeDelegationTokenRequest(owners=None),
    ]


def operators_requests() -> list[Request]:
    """
    Those about configurations, and what else operators ask for; nothing is
    changed by them.
    """
    described = DescribeConfigsRequest.Resource
    replaced = AlterConfigsRequest.Resource
    changed = IncrementalAlterConfigsRequest.Resource
    moved = AlterPartitionReassignmentsRequest.Topic
    quotas = AlterClientQuotasRequest.Entry
    return [
        DescribeConfigsRequest(
            resources=[
                described(resource_type=2, resource_name="talk", configuration_keys=None),
                described(resource_type=4, resource_name="0", configuration_keys=["broker.id"]),
                described(resource_type=2, resource_name="none", configuration_keys=[]),
            ],
            include_synonyms=True,
            include_documentation=True,
        ),
        AlterConfigsRequest(
            resources=[replaced(resource_type=2, resource_name="talk", configs=[])],
            validate_only=True,
        ),
        IncrementalAlterConfigsRequest(
            resources=[
                changed(
                    resource_type=2,
                    resource_name="talk",
                    configs=[
                        changed.Config(name="retention.ms", config_operation=0, value="5000"),
                        changed.Config(name="segment.ms", config_operation=1, value=None),
                    ],
                )
            ],
            validate_only=True,
        ),
        ListConfigResourcesRequest(resource_types=[]),
        DescribeLogDirsRequest(topics=None),
        DescribeProducersRequest(
            topics=[DescribeProducersRequest.Topic(name="talk", partition_indexes=[0, 1])]
        ),
        ElectLeadersRequest(topic_partitions=None),
        AlterPartitionReassignmentsRequest(
            topics=[
                moved(name="talk", partitions=[moved.Partition(partition_index=0, replicas=None)])
            ]
        ),
        ListPartitionReassignmentsRequest(topics=None),
        DescribeClientQuotasRequest(components=[], strict=False),
        AlterClientQuotasRequest(
            entries=[
                quotas(
                    entity=[quotas.Entity(entity_type="user", entity_name="talk")],
                    ops=[quotas.Op(key="producer_byte_rate", value=1e9, remove=False)],
                )
            ],
            validate_only=True,
        ),
    ]


def group_requests(topic_id: UUID) -> list[Request]:
    """
    Those about groups; none of them is one that waits for others.
    """
    member = LeaveGroupRequest.Member(member_id="nobody")
    commit = OffsetCommitRequest.Topic
    fetch = OffsetFetchRequest.Topic
    group = OffsetFetchRequest.Group
    wanted = group.Topic(name="talk", topic_id=topic_id, partition_indexes=[0, 1])
    delete = OffsetDeleteRequest.Topic
    return [
        JoinGroupRequest(
            group_id="group",
            session_timeout_ms=1,
            member_id="",
            protocol_type="consumer",
            protocols=[],
        ),
        SyncGroupRequest(
            group_id="group", generation_id=1, member_id="nobody", assignments=[]
        ),
        HeartbeatRequest(group_id="group", generation_id=1, member_id="nobody"),
        LeaveGroupRequest(group_id="group", member_id="nobody", members=[member]),
        OffsetCommitRequest(
            group_id="group",
            topics=[
                commit(
                    name="talk",
                    topic_id=topic_id,
                    partitions=[
                        commit.Partition(
                            partition_index=0, committed_offset=3, committed_metadata=None
                        )
                    ],
                )
            ],
        ),
        OffsetFetchRequest(
            group_id="group",
            topics=[fetch(name="talk", partition_indexes=[0, 1])],
            groups=[group(group_id="group", topics=[wanted])],
        ),
        OffsetDeleteRequest(
            group_id="group",
            topics=[delete(name="talk", partitions=[delete.Partition(partition_index=1)])],
        ),
        DescribeGroupsRequest(groups=["group", "none"]),
        ListGroupsRequest(),
        DeleteGroupsRequest(groups_names=["none"]),
    ]
