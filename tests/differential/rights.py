"""
What clients with some rights are answered, by both brokers.

Clients are told apart by their addresses, which ACLs can name: so no client has to
authenticate. At first everything is open (C{allow.everyone.if.no.acl.found}). ACLs for
all names then give 127.0.0.1 all rights, and everybody else those that further ACLs
give: L{CLIENT} one operation on each topic, group and transactional id that is named
after the operation, and the address of an operation (L{cluster_host}) that one on the
cluster.

Each case is one request of one client: with no right, with each single one, with all of
them, and with one denied that another ACL allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import attrs
from crc32c import crc32c

from kafscale.format.acl import Operation, PatternType, Permission, ResourceType
from kafscale.wire.messages import (
    AlterClientQuotasRequest,
    AlterConfigsRequest,
    AlterPartitionReassignmentsRequest,
    AlterUserScramCredentialsRequest,
    CreateAclsRequest,
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
    DescribeGroupsRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeTopicPartitionsRequest,
    DescribeUserScramCredentialsRequest,
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
    SyncGroupRequest,
)
from kafscale.wire.schema import Request
from tests.clients.raw import LATEST, RawClient, batch_of
from tests.differential.compare import Found, compare
from tests.differential.talk import PROSE, Talk
from tests.differential.versions import versions

ADMIN = "127.0.0.1"
"""The address of clients that may do everything."""

CLIENT = "127.0.0.2"
"""The address of the client with rights on topics and groups."""

TOPIC, GROUP, CLUSTER, TRANSACTION = (
    ResourceType.TOPIC,
    ResourceType.GROUP,
    ResourceType.CLUSTER,
    ResourceType.TRANSACTIONAL_ID,
)

TOPIC_OPERATIONS = [
    "none",
    "read",
    "write",
    "create",
    "delete",
    "alter",
    "describe",
    "describe_configs",
    "alter_configs",
    "all",
]
GROUP_OPERATIONS = [
    "none",
    "read",
    "delete",
    "describe",
    "describe_configs",
    "alter_configs",
    "all",
]
CLUSTER_OPERATIONS = [
    "none",
    "create",
    "alter",
    "describe",
    "cluster_action",
    "describe_configs",
    "alter_configs",
    "idempotent_write",
    "all",
]
DENIED = ["deny-read", "deny-write", "deny-describe"]
"""Names of topics on which everything is allowed but this, which is denied to all
names that begin so."""


DENIED_TOPIC = 29


def cluster_host(operation: str) -> str:
    """
    The address of the client that may do this with the cluster.
    """
    return f"127.0.1.{CLUSTER_OPERATIONS.index(operation) + 1}"


Named = Callable[[str], str]
"""Returns the name that stands for another one in this run."""


@attrs.frozen
class Asking:
    """
    One request.

    @ivar name: Of the case.
    @ivar host: The address of the client.
    @ivar request: Makes the request, from the names and ids of the run's topics.
    @ivar version: Of the API.
    @ivar kept: What is compared of the answer; None for all of it.
    """

    name: str
    host: str
    request: Callable[[Named, dict[str, UUID]], Request]
    version: int
    kept: Callable[[Any, Named], Any] | None = None


class Broker:
    """
    One of both brokers, with topics, groups and ACLs.
    """

    def __init__(self, port: int, nonce: str) -> None:
        self._port = port
        self._nonce = nonce
        self._ids: dict[str, UUID] = {}

    def named(self, what: str) -> str:
        """
        A name of this run.
        """
        return f"{self._nonce}-{what}"

    def prepare(self) -> None:
        """
        Create ACLs, topics and groups.
        """
        with RawClient(self._port, 60.0) as admin:
            self._close(admin)
            self._create_topics(admin)
            self._create_groups(admin)
            self._wait_for_ids(admin)

    def _close(self, admin: RawClient) -> None:
        acls = [
            _acl(kind, "kafka-cluster" if kind is CLUSTER else "*", "all", ADMIN)
            for kind in (TOPIC, GROUP, CLUSTER, TRANSACTION, ResourceType.DELEGATION_TOKEN)
        ]
        for kind, operations in ((TOPIC, TOPIC_OPERATIONS), (GROUP, GROUP_OPERATIONS)):
            for each in operations[1:]:
                for prefix in ("t", "gone", "new", "missing") if kind is TOPIC else ("g",):
                    acls.append(_acl(kind, self.named(f"{prefix}-{each}"), each, CLIENT))
        for each in DENIED:
            acls.append(_acl(TOPIC, self.named(f"t-{each}"), "all", CLIENT))
            acls.append(
                _acl(
                    TOPIC,
                    self.named(f"t-{each[:8]}"),
                    each.removeprefix("deny-"),
                    CLIENT,
                    PatternType.PREFIXED,
                    Permission.DENY,
                )
            )
        for each in CLUSTER_OPERATIONS[1:]:
            acls.append(_acl(CLUSTER, "kafka-cluster", each, cluster_host(each)))
        answer = admin.call(CreateAclsRequest(creations=acls), 3)
        assert not any(each.error_code for each in answer.results), answer

    def _create_topics(self, admin: RawClient) -> None:
        names = [self.named(f"t-{each}") for each in (*TOPIC_OPERATIONS, *DENIED)]
        names += [
            self.named(f"gone-{each}-{version}")
            for each in TOPIC_OPERATIONS
            for version in ("name", "id")
        ]
        names += [self.named(f"gone-{each}") for each in TOPIC_OPERATIONS]
        made = CreateTopicsRequest.Topic
        wanted = [
            made(name=each, num_partitions=1, replication_factor=1, assignments=[], configs=[])
            for each in names
        ]
        answer = admin.call(CreateTopicsRequest(topics=wanted, timeout_ms=30_000), 7)
        self._ids = {each.name: each.topic_id for each in answer.topics}
        assert not any(each.error_code for each in answer.topics), answer
        end = time.monotonic() + 60
        while any(admin.offset_response(each, 0, LATEST).error_code for each in names):
            assert time.monotonic() < end, "the topics have no leaders"
            time.sleep(0.05)

    def _create_groups(self, admin: RawClient) -> None:
        """
        Commit an offset of each topic for each group.
        """
        commit = OffsetCommitRequest.Topic
        part = commit.Partition(partition_index=0, committed_offset=0, committed_metadata="")
        for each in GROUP_OPERATIONS:
            # Kafka creates the topic of the offsets when it is first asked for.
            admin.call(FindCoordinatorRequest(key=self.named(f"g-{each}")), 3)
            request = OffsetCommitRequest(
                group_id=self.named(f"g-{each}"),
                topics=[
                    commit(name=self.named(f"t-{topic}"), partitions=[part])
                    for topic in TOPIC_OPERATIONS
                ],
            )
            end = time.monotonic() + 60
            while any(
                part.error_code
                for topic in admin.call(request, 8).topics
                for part in topic.partitions
            ):
                assert time.monotonic() < end, "the groups have no coordinator"
                time.sleep(0.05)

    def _wait_for_ids(self, admin: RawClient) -> None:
        """
        Kafka has no producer ids to give before it got its first ones.
        """
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
        end = time.monotonic() + 60
        while admin.call(request, 4).error_code:
            assert time.monotonic() < end, "there are no producer ids"
            time.sleep(0.05)

    def ask(self, asking: Asking) -> list[tuple[str, Any]]:
        """
        The answer to one request, as plain data.
        """
        talk = _Talk(self._port, self._nonce, asking.host)
        talk.ids = self._ids
        try:
            request = asking.request(self.named, self._ids)
            if asking.kept is None:
                talk.ask(request, asking.version)
            else:
                talk.answers.append(
                    (
                        "kept",
                        talk.plain(asking.kept(talk.call(request, asking.version), self.named)),
                    )
                )
            return [(label, _without_prose(answer)) for label, answer in talk.answers]
        except Exception as error:
            error.add_note(f"in the case {asking.name}, with the broker at {self._port}")
            raise
        finally:
            talk.close()


class _Talk(Talk):
    """
    A conversation from another address.
    """

    def __init__(self, port: int, nonce: str, host: str) -> None:
        self._host = host
        super().__init__(port, "", nonce)

    def connect(self) -> RawClient:
        """
        Return one more connection.
        """
        client = RawClient(self.port, 60.0, self._host)
        self._clients.append(client)
        return client

    def plain(self, value: Any) -> Any:
        """
        As answers are compared.
        """
        return self._plain(value, 0)


def _without_prose(value: Any) -> Any:
    """
    An answer without its texts for people.
    """
    if isinstance(value, dict):
        return {
            name: _without_prose(each) for name, each in value.items() if name not in PROSE
        }
    return [_without_prose(each) for each in value] if isinstance(value, list) else value


def _acl(
    kind: ResourceType,
    name: str,
    operation: str,
    host: str,
    pattern: PatternType = PatternType.LITERAL,
    permission: Permission = Permission.ALLOW,
) -> CreateAclsRequest.Creation:
    return CreateAclsRequest.Creation(
        resource_type=kind,
        resource_name=name,
        resource_pattern_type=pattern,
        principal="User:*",
        host=host,
        operation=Operation[operation.upper()],
        permission_type=permission,
    )


def differing(kafka: int, ours: int) -> list[Found]:
    """
    The fields in which the answers to L{CASES} differ.

    @param kafka: The port of Apache Kafka.
    @param ours: The port of Kafscale.
    """
    nonce = uuid4().hex[:8]
    brokers = [Broker(port, nonce) for port in (kafka, ours)]
    with ThreadPoolExecutor(2) as both:
        list(both.map(Broker.prepare, brokers))

        def all_of(broker: Broker) -> list[list[tuple[str, Any]]]:
            with ThreadPoolExecutor(4) as several:
                return list(several.map(broker.ask, CASES))

        left, right = both.map(all_of, brokers)
        return [
            found
            for case, theirs, own in zip(CASES, left, right, strict=True)
            for found in compare(case.name, theirs, own)
        ]


# -- cases ----------------------------------------------------------------------


def _two(request: type[Request]) -> Sequence[int]:
    """
    The lowest and the highest version that both serve.
    """
    served = versions(request)
    return sorted({served[0], served[-1]})


def _on_topics(
    label: str,
    make: Callable[[str, UUID], Request],
    at: Sequence[int],
    prefix: str = "t",
    names: Sequence[str] = (*TOPIC_OPERATIONS, *DENIED),
    kept: Callable[[Any, Named], Any] | None = None,
    host: str = CLIENT,
) -> Iterator[Asking]:
    """
    A case for each topic and version.
    """
    for each in names:
        for version in at:

            def request(named: Named, ids: dict[str, UUID], each: str = each) -> Request:
                name = named(f"{prefix}-{each}")
                return make(name, ids.get(name, UUID(int=77)))

            yield Asking(f"{label} v{version}: {prefix}-{each}", host, request, version, kept)


def _on_groups(
    label: str,
    make: Callable[[str, Named], Request],
    at: Sequence[int],
    names: Sequence[str] = GROUP_OPERATIONS,
) -> Iterator[Asking]:
    """
    A case for each group and version.
    """
    for each in names:
        for version in at:

            def request(named: Named, ids: dict[str, UUID], each: str = each) -> Request:
                return make(named(f"g-{each}"), named)

            yield Asking(f"{label} v{version}: g-{each}", CLIENT, request, version)


def _on_cluster(
    label: str,
    make: Callable[[Named], Request],
    at: Sequence[int],
    kept: Callable[[Any, Named], Any] | None = None,
) -> Iterator[Asking]:
    """
    A case for each right on the cluster.
    """
    for each in CLUSTER_OPERATIONS:
        for version in at:

            def request(named: Named, ids: dict[str, UUID]) -> Request:
                return make(named)

            yield Asking(f"{label} v{version}: {each}", cluster_host(each), request, version, kept)


def _code(answer: Any, named: Named) -> Any:
    return answer.error_code


def _metadata(name: str, topic_id: UUID) -> Request:
    return MetadataRequest(
        topics=[MetadataRequest.Topic(name=name)],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=True,
        include_cluster_authorized_operations=True,
    )


def _metadata_by_id(name: str, topic_id: UUID) -> Request:
    return MetadataRequest(
        topics=[MetadataRequest.Topic(name=None, topic_id=topic_id)],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=True,
    )


def _metadata_creates(name: str, topic_id: UUID) -> Request:
    return MetadataRequest(topics=[MetadataRequest.Topic(name=name)])


def _all_topics(answer: Any, named: Named) -> Any:
    return sorted(each.name for each in answer.topics if each.name.startswith(named("t-")))


def _all_groups(answer: Any, named: Named) -> Any:
    return sorted(
        each.group_id for each in answer.groups if each.group_id.startswith(named("g-"))
    )


def _produce(name: str, topic_id: UUID) -> Request:
    data = ProduceRequest.Topic
    part = data.Partition(index=0, records=memoryview(batch_of([b"x"])))
    return ProduceRequest(
        acks=-1,
        timeout_ms=30_000,
        topic_data=[data(name=name, topic_id=topic_id, partition_data=[part])],
    )


def _produced(answer: Any, named: Named) -> Any:
    return [
        (part.error_code, part.error_message if part.error_code == DENIED_TOPIC else None)
        for topic in answer.responses
        for part in topic.partition_responses
    ]


def _fetch(name: str, topic_id: UUID) -> Request:
    asked = FetchRequest.Topic
    part = asked.Partition(partition=0, fetch_offset=0, partition_max_bytes=1)
    return FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        topics=[asked(topic=name, topic_id=topic_id, partitions=[part])],
    )


def _fetched(answer: Any, named: Named) -> Any:
    return [
        answer.error_code,
        *(part.error_code for topic in answer.responses for part in topic.partitions),
    ]


def _denied(answer: Any, named: Named) -> Any:
    return DENIED_TOPIC in _fetched(answer, named)


def _follow(name: str, topic_id: UUID) -> Request:
    asked = FetchRequest.Topic
    part = asked.Partition(partition=0, fetch_offset=0, partition_max_bytes=1)
    return FetchRequest(
        replica_id=7,
        max_wait_ms=0,
        min_bytes=0,
        topics=[asked(topic=name, topic_id=topic_id, partitions=[part])],
    )


def _offsets(name: str, topic_id: UUID) -> Request:
    asked = ListOffsetsRequest.Topic
    part = asked.Partition(partition_index=0, timestamp=-2)
    return ListOffsetsRequest(topics=[asked(name=name, partitions=[part])])


def _epochs(name: str, topic_id: UUID) -> Request:
    asked = OffsetForLeaderEpochRequest.Topic
    part = asked.Partition(partition=0, leader_epoch=77)
    return OffsetForLeaderEpochRequest(topics=[asked(topic=name, partitions=[part])])


def _delete_records(name: str, topic_id: UUID) -> Request:
    asked = DeleteRecordsRequest.Topic
    part = asked.Partition(partition_index=0, offset=0)
    return DeleteRecordsRequest(topics=[asked(name=name, partitions=[part])], timeout_ms=30_000)


def _producers(name: str, topic_id: UUID) -> Request:
    return DescribeProducersRequest(
        topics=[DescribeProducersRequest.Topic(name=name, partition_indexes=[0])]
    )


def _partitions(name: str, topic_id: UUID) -> Request:
    return DescribeTopicPartitionsRequest(
        topics=[DescribeTopicPartitionsRequest.Topic(name=name)]
    )


def _create_topic(name: str) -> CreateTopicsRequest:
    topic = CreateTopicsRequest.Topic(
        name=name, num_partitions=1, replication_factor=1, assignments=[], configs=[]
    )
    return CreateTopicsRequest(topics=[topic], timeout_ms=30_000, validate_only=True)


def _created(answer: Any, named: Named) -> Any:
    return [
        (each.error_code, each.topic_config_error_code, each.num_partitions, bool(each.configs))
        for each in answer.topics
    ]


def _delete_topic(name: str, topic_id: UUID) -> Request:
    return DeleteTopicsRequest(
        topic_names=[name], topics=[DeleteTopicsRequest.Topic(name=name)], timeout_ms=30_000
    )


def _delete_topic_by_id(name: str, topic_id: UUID) -> Request:
    return DeleteTopicsRequest(
        topics=[DeleteTopicsRequest.Topic(topic_id=topic_id)], timeout_ms=30_000
    )


def _grow(name: str, topic_id: UUID) -> Request:
    topic = CreatePartitionsRequest.Topic(name=name, count=2, assignments=None)
    return CreatePartitionsRequest(topics=[topic], timeout_ms=30_000, validate_only=True)


def _describe_configs(kind: int) -> Callable[[str, UUID], Request]:
    def request(name: str, topic_id: UUID) -> Request:
        resource = DescribeConfigsRequest.Resource(
            resource_type=kind, resource_name=name, configuration_keys=["retention.ms"]
        )
        return DescribeConfigsRequest(resources=[resource])

    return request


def _described(answer: Any, named: Named) -> Any:
    return [(each.error_code, len(each.configs)) for each in answer.results]


def _alter_configs(name: str, topic_id: UUID) -> Request:
    resource = AlterConfigsRequest.Resource(resource_type=2, resource_name=name, configs=[])
    return AlterConfigsRequest(resources=[resource], validate_only=True)


def _change_configs(name: str, topic_id: UUID) -> Request:
    resource = IncrementalAlterConfigsRequest.Resource
    change = resource.Config(name="retention.ms", config_operation=0, value="5000")
    return IncrementalAlterConfigsRequest(
        resources=[resource(resource_type=2, resource_name=name, configs=[change])],
        validate_only=True,
    )


def _join(name: str, named: Named) -> Request:
    return JoinGroupRequest(
        group_id=name, session_timeout_ms=1, member_id="", protocol_type="consumer", protocols=[]
    )


def _sync(name: str, named: Named) -> Request:
    return SyncGroupRequest(
        group_id=name,
        generation_id=1,
        member_id="x",
        protocol_type="consumer",
        protocol_name="range",
        assignments=[],
    )


def _heartbeat(name: str, named: Named) -> Request:
    return HeartbeatRequest(group_id=name, generation_id=1, member_id="x")


def _leave(name: str, named: Named) -> Request:
    return LeaveGroupRequest(
        group_id=name, member_id="x", members=[LeaveGroupRequest.Member(member_id="x")]
    )


def _commit(group: str, topics: Sequence[tuple[str, UUID]]) -> Request:
    commit = OffsetCommitRequest.Topic
    part = commit.Partition(partition_index=0, committed_offset=0, committed_metadata="")
    return OffsetCommitRequest(
        group_id=group,
        topics=[
            commit(name=name, topic_id=topic_id, partitions=[part]) for name, topic_id in topics
        ],
    )


def _fetch_offsets(group: str, names: Sequence[str] | None) -> Request:
    asked = OffsetFetchRequest.Group
    topics = None if names is None else [
        asked.Topic(name=each, partition_indexes=[0, 5]) for each in names
    ]
    old = None if names is None else [
        OffsetFetchRequest.Topic(name=each, partition_indexes=[0, 5]) for each in names
    ]
    return OffsetFetchRequest(
        group_id=group, topics=old, groups=[asked(group_id=group, topics=topics)]
    )


def _delete_offsets(group: str, name: str) -> Request:
    asked = OffsetDeleteRequest.Topic
    part = asked.Partition(partition_index=9)
    return OffsetDeleteRequest(group_id=group, topics=[asked(name=name, partitions=[part])])


def _coordinator(name: str, named: Named) -> Request:
    return FindCoordinatorRequest(key=name, coordinator_keys=[name])


def _groups_described(name: str, named: Named) -> Request:
    return DescribeGroupsRequest(groups=[name], include_authorized_operations=True)


def _topic_cases() -> Iterator[Asking]:
    yield from _on_topics("metadata", _metadata, [1, 8, 12, 13])
    yield from _on_topics("metadata by id", _metadata_by_id, [12, 13])
    missing = ["none", "read", "describe", "create"]
    yield from _on_topics("metadata", _metadata, [8, 13], "missing")
    yield from _on_topics("metadata that creates", _metadata_creates, [4, 13], "missing", missing)
    yield from _on_topics("produce", _produce, _two(ProduceRequest), kept=_produced)
    yield from _on_topics("produce", _produce, [3, 13], "missing", kept=_produced)
    yield from _on_topics("fetch", _fetch, [4, 12, 13, 18], kept=_fetched)
    yield from _on_topics("fetch", _fetch, [4, 12, 13], "missing", kept=_fetched)
    yield from _on_topics("offsets", _offsets, _two(ListOffsetsRequest))
    yield from _on_topics("offsets", _offsets, [10], "missing")
    yield from _on_topics("epochs", _epochs, _two(OffsetForLeaderEpochRequest))
    yield from _on_topics("delete records", _delete_records, _two(DeleteRecordsRequest))
    yield from _on_topics("delete records", _delete_records, [2], "missing")
    yield from _on_topics("producers", _producers, [0], names=["none", "describe", "write"])
    yield from _on_topics("partitions", _partitions, [0])
    yield from _on_topics("partitions", _partitions, [0], "missing")
    for prefix in ("t", "new"):
        yield from _on_topics(
            "create",
            lambda name, _: _create_topic(name),
            _two(CreateTopicsRequest),
            prefix,
            TOPIC_OPERATIONS,
            kept=_created,
        )
    yield from _on_topics("delete", _delete_topic, [1], "gone", TOPIC_OPERATIONS)
    yield from _on_topics("delete", _delete_topic, [5, 6], "missing", TOPIC_OPERATIONS)
    by_id = [each for each in TOPIC_OPERATIONS if each not in ("delete", "all")]
    yield from _on_topics("delete by id", _delete_topic_by_id, [6], "t", by_id)
    yield from _on_topics("grow", _grow, _two(CreatePartitionsRequest))
    yield from _on_topics("grow", _grow, [3], "missing")
    yield from _on_topics("describe configs", _describe_configs(2), [1, 4], kept=_described)
    yield from _on_topics("describe configs", _describe_configs(2), [4], "missing", kept=_described)
    yield from _on_topics("alter configs", _alter_configs, _two(AlterConfigsRequest))
    yield from _on_topics("change configs", _change_configs, [0, 1])
    yield from _on_topics("change configs", _change_configs, [1], "missing")
    for version in (1, 13):
        yield Asking(
            f"metadata of all v{version}",
            CLIENT,
            lambda named, ids: MetadataRequest(topics=None),
            version,
            _all_topics,
        )
    yield Asking(
        "partitions of all",
        CLIENT,
        lambda named, ids: DescribeTopicPartitionsRequest(topics=[]),
        0,
        _all_topics,
    )


def _mixed_cases() -> Iterator[Asking]:
    """
    Several topics in one request, in part allowed.
    """
    for pair in (("none", "all"), ("all", "none"), ("none", "deny-read"), ("read", "write")):
        label = " and ".join(pair)

        def names(named: Named, pair: tuple[str, str] = pair) -> list[str]:
            return [named(f"t-{each}") for each in pair]

        yield Asking(
            f"metadata of {label}",
            CLIENT,
            lambda named, ids, names=names: MetadataRequest(  # type: ignore[misc]
                topics=[MetadataRequest.Topic(name=each) for each in names(named)],
                allow_auto_topic_creation=False,
            ),
            12,
        )
        yield Asking(
            f"offsets of {label}",
            CLIENT,
            lambda named, ids, names=names: ListOffsetsRequest(  # type: ignore[misc]
                topics=[_offsets(each, UUID(int=1)).topics[0] for each in names(named)]  # type: ignore[attr-defined]
            ),
            10,
        )
        yield Asking(
            f"commit of {label}",
            CLIENT,
            lambda named, ids, names=names: _commit(  # type: ignore[misc]
                named("g-all"), [(each, ids[each]) for each in names(named)]
            ),
            10,
        )


def _group_cases() -> Iterator[Asking]:
    yield from _on_groups("join", _join, [2, 9])
    yield from _on_groups("sync", _sync, _two(SyncGroupRequest))
    yield from _on_groups("heartbeat", _heartbeat, _two(HeartbeatRequest))
    yield from _on_groups("leave", _leave, _two(LeaveGroupRequest))
    yield from _on_groups("describe", _groups_described, [0, 3, 6])
    yield from _on_groups("coordinator", _coordinator, [0, 3, 6])
    yield from _on_groups(
        "delete",
        lambda name, named: DeleteGroupsRequest(groups_names=[name + "-none"]),
        _two(DeleteGroupsRequest),
    )
    yield from _on_groups(
        "commit",
        lambda name, named: _commit(name, [(named("t-all"), UUID(int=1))]),
        [2, 9],
    )
    yield from _on_groups(
        "offsets", lambda name, named: _fetch_offsets(name, [named("t-all")]), [1, 2, 7, 8, 9]
    )
    yield from _on_groups("all offsets", lambda name, named: _fetch_offsets(name, None), [7, 9])
    yield from _on_groups(
        "delete offsets", lambda name, named: _delete_offsets(name, named("t-all")), [0]
    )
    yield from _on_topics(
        "commit", lambda name, topic_id: _commit(_all(name), [(name, topic_id)]), [2, 9, 10]
    )
    yield from _on_topics(
        "offsets of a group", lambda name, _: _fetch_offsets(_all(name), [name]), [1, 7, 9]
    )
    yield from _on_topics(
        "delete offsets", lambda name, _: _delete_offsets(_all(name), name), [0]
    )
    for version in (0, 5):
        yield Asking(
            f"list groups v{version}",
            CLIENT,
            lambda named, ids: ListGroupsRequest(),
            version,
            _all_groups,
        )


def _all(topic: str) -> str:
    """
    The group of the run of a topic with which the client may do everything.
    """
    return topic.partition("-")[0] + "-g-all"


def _cluster_cases() -> Iterator[Asking]:
    yield from _on_cluster(
        "cluster",
        lambda named: DescribeClusterRequest(include_cluster_authorized_operations=True),
        [0, 2],
    )
    yield from _on_cluster(
        "metadata",
        lambda named: MetadataRequest(topics=[], include_cluster_authorized_operations=True),
        [8, 10],
    )
    for prefix in ("t", "new"):
        yield from _on_cluster(
            f"create {prefix}",
            lambda named, prefix=prefix: _create_topic(named(f"{prefix}-none")),  # type: ignore[misc]
            _two(CreateTopicsRequest),
            kept=_created,
        )
    yield from _on_cluster("list groups", lambda named: ListGroupsRequest(), [5], kept=_all_groups)
    yield from _on_cluster(
        "producer id",
        lambda named: InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000),
        [0, 4],
        kept=_code,
    )
    for version in (0, 4):
        yield Asking(
            f"producer id v{version}: a topic",
            CLIENT,
            lambda named, ids: InitProducerIdRequest(
                transactional_id=None, transaction_timeout_ms=1000
            ),
            version,
            _code,
        )
    yield from _on_cluster(
        "log dirs",
        lambda named: DescribeLogDirsRequest(topics=[]),
        [1, 4],
        kept=lambda answer, named: (answer.error_code, len(answer.results)),
    )
    elect = ElectLeadersRequest.TopicPartition
    yield from _on_cluster(
        "elect",
        lambda named: ElectLeadersRequest(
            topic_partitions=[elect(topic=named("t-none"), partitions=[0])], timeout_ms=1000
        ),
        _two(ElectLeadersRequest),
    )
    moved = AlterPartitionReassignmentsRequest.Topic
    yield from _on_cluster(
        "reassign",
        lambda named: AlterPartitionReassignmentsRequest(
            topics=[
                moved(
                    name=named("t-none"),
                    partitions=[moved.Partition(partition_index=0, replicas=None)],
                )
            ]
        ),
        _two(AlterPartitionReassignmentsRequest),
    )
    yield from _on_cluster(
        "reassignments", lambda named: ListPartitionReassignmentsRequest(topics=[]), [0]
    )
    yield from _on_cluster(
        "epochs", lambda named: _epochs(named("t-none"), UUID(int=1)), [2, 4]
    )
    yield from _on_cluster(
        "follow", lambda named: _follow(named("t-none"), UUID(int=1)), [12], kept=_denied
    )
    yield from _on_cluster(
        "configs",
        lambda named: DescribeConfigsRequest(
            resources=[
                DescribeConfigsRequest.Resource(
                    resource_type=4, resource_name="1", configuration_keys=["message.max.bytes"]
                )
            ]
        ),
        [1, 4],
        kept=_described,
    )
    yield from _on_cluster(
        "config resources",
        lambda named: ListConfigResourcesRequest(resource_types=[16]),
        [1],
    )
    yield from _on_cluster(
        "quotas",
        lambda named: DescribeClientQuotasRequest(
            components=[
                DescribeClientQuotasRequest.Component(
                    entity_type="user", match_type=0, match=named("x")
                )
            ],
            strict=True,
        ),
        [0, 1],
    )
    entry = AlterClientQuotasRequest.Entry
    yield from _on_cluster(
        "alter quotas",
        lambda named: AlterClientQuotasRequest(
            entries=[
                entry(
                    entity=[entry.Entity(entity_type="user", entity_name=named(each))],
                    ops=[entry.Op(key="producer_byte_rate", value=1e6, remove=False)],
                )
                for each in ("one", "two")
            ],
            validate_only=True,
        ),
        [0, 1],
    )
    deletion = AlterUserScramCredentialsRequest.Deletion
    yield from _on_cluster(
        "alter users",
        lambda named: AlterUserScramCredentialsRequest(
            deletions=[deletion(name=named("absent"), mechanism=1)], upsertions=[]
        ),
        [0],
    )
    yield from _on_cluster(
        "users", lambda named: DescribeUserScramCredentialsRequest(users=[]), [0], kept=_code
    )
    yield from _on_cluster(
        "describe acls",
        lambda named: DescribeAclsRequest(
            resource_type_filter=TOPIC,
            resource_name_filter=named("t-read"),
            pattern_type_filter=PatternType.LITERAL,
            principal_filter=None,
            host_filter=None,
            operation=Operation.ANY,
            permission_type=Permission.ANY,
        ),
        _two(DescribeAclsRequest),
    )
    yield from _on_cluster(
        "create acls",
        lambda named: CreateAclsRequest(
            creations=[
                _acl(TOPIC, named("other"), "read", ADMIN),
                _acl(CLUSTER, named("wrong"), "read", ADMIN),
            ]
        ),
        _two(CreateAclsRequest),
    )
    yield from _on_cluster(
        "delete acls",
        lambda named: DeleteAclsRequest(
            filters=[
                DeleteAclsRequest.Filter(
                    resource_type_filter=TOPIC,
                    resource_name_filter=named("absent"),
                    pattern_type_filter=PatternType.LITERAL,
                    principal_filter=None,
                    host_filter=None,
                    operation=Operation.ANY,
                    permission_type=Permission.ANY,
                )
            ]
        ),
        _two(DeleteAclsRequest),
    )


def _transaction_cases() -> Iterator[Asking]:
    """
    What needs a right on a transactional id, by a client without; and on what is not
    there, by clients with other rights.
    """
    for version in (0, 4):
        yield Asking(
            f"transactional producer v{version}",
            CLIENT,
            lambda named, ids: InitProducerIdRequest(
                transactional_id=named("x"), transaction_timeout_ms=1000
            ),
            version,
        )

    def produce(named: Named, ids: dict[str, UUID]) -> Request:
        request = _produce(named("t-all"), ids[named("t-all")])
        batch = batch_of([b"x"], producer_id=1, epoch=0, sequence=0)
        transactional = bytearray(batch)
        transactional[22] |= 0x10
        transactional[17:21] = crc32c(bytes(transactional[21:])).to_bytes(4, "big")
        request.transactional_id = named("x")  # type: ignore[attr-defined]
        part = request.topic_data[0].partition_data[0]  # type: ignore[attr-defined]
        part.records = memoryview(bytes(transactional))
        return request

    for version in (3, 12):
        yield Asking(f"transactional produce v{version}", CLIENT, produce, version, _produced)
    for key_type in (1, 2):
        for version in (1, 3, 6):

            def coordinator(
                named: Named, ids: dict[str, UUID], key_type: int = key_type
            ) -> Request:
                key = named("x") if key_type == 1 else f"{named('x')}:{UUID(int=77)}:0"
                return FindCoordinatorRequest(
                    key=key, key_type=key_type, coordinator_keys=[key]
                )

            if (key_type, version) not in ((2, 1), (2, 3)):  # not before version 6
                yield Asking(
                    f"coordinator of type {key_type} v{version}", CLIENT, coordinator, version
                )


CASES: Sequence[Asking] = [
    *_transaction_cases(),
    *_topic_cases(),
    *_mixed_cases(),
    *_group_cases(),
    *_cluster_cases(),
]
