"""
Requests that are refused in whole or in part, before their service sees them.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from kafscale.access.authorization import audit
from kafscale.access.authorization.guard import Guard
from kafscale.access.authorization.needs import NEEDS
from kafscale.access.authorization.permitted_topics import PermittedTopics
from kafscale.access.open_sessions import OpenSession
from kafscale.counts import DenialCounts
from kafscale.errors import (
    InvalidRequest,
    KafkaError,
    TopicAuthorizationFailed,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kafscale.interfaces import (
    IImage,
    IRights,
    IService,
    ITopicLookup,
    Principal,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.services.refusals import refusal
from kafscale.wire import messages
from kafscale.wire.messages import (
    CreateAclsRequest,
    CreateDelegationTokenRequest,
    CreateDelegationTokenResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    FetchRequest,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    JoinGroupRequest,
    ListGroupsRequest,
    ListGroupsResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    MetadataRequest,
    MetadataResponse,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    ProduceRequest,
    ProduceResponse,
)
from kafscale.wire.schema import NO_UUID, Request
from tests.access.authorization.acls import Acls
from tests.harness.sessions import LISTENER
from tests.services.classes import service_classes

A, B, HIDDEN = UUID(int=10), UUID(int=11), UUID(int=12)
TOPICS = {"a": A, "b": B, "hidden": HIDDEN}


class FakeImage:
    """
    Topics C{a}, C{b} and C{hidden}.
    """

    topic_changes = 7

    def topics(self) -> list[Topic]:
        """
        All of them.
        """
        return [Topic(topic_id, name, 1, {}) for name, topic_id in TOPICS.items()]

    def topic(self, name: str) -> Topic:
        """
        One by name.
        """
        if name not in TOPICS:
            raise UnknownTopicOrPartition
        return Topic(TOPICS[name], name, 1, {})

    def topic_by_id(self, topic_id: UUID) -> Topic:
        """
        One by id.
        """
        for topic in self.topics():
            if topic.topic_id == topic_id:
                return topic
        raise UnknownTopicId


@implementer(IService)
@attrs.define
class FakeService:
    """
    A service of one API that gives one answer.

    @ivar asked: The requests that it was given.
    """

    request: type[Request]
    answer: Any = None
    asked: list[Any] = attrs.field(factory=list)

    def serves(self) -> list[Serving]:
        """
        The API.
        """
        return [Serving(self.request, 0, 100, self.serve, refusal())]

    def serve(self, request: Request, context: RequestContext) -> Any:
        """
        Keep the request.
        """
        self.asked.append(request)
        return self.answer


class GuardCase(SynchronousTestCase):
    """
    Alice, who may not touch C{hidden}.
    """

    creates = False

    def setUp(self) -> None:
        """
        An authorizer without ACLs.
        """
        self.acls = Acls()
        self.addCleanup(self.acls.close)
        self.image = FakeImage()
        self.clock = Clock()
        self.counts = DenialCounts()

    def guard(self) -> Guard:
        """
        The guard of all services.
        """
        return Guard(
            self.acls.authorizer,
            cast(IImage, self.image),
            self.creates,
            self.clock.seconds,
            self.counts,
        )

    def ask(self, request: Request, version: int, answer: Any = None) -> tuple[Any, list[Any]]:
        """
        Send a request of alice's to a service with this answer.

        @return: The response as the client reads it, and what the service was asked.
        """
        service = FakeService(type(request), answer)
        (guarded,) = self.guard().services([service])
        (serving,) = guarded.serves()
        session = OpenSession(LISTENER, Principal("User", "alice"))
        context = RequestContext(version, "c", "127.0.0.1", self, session)
        read = type(request).decode(version, b"".join(request.encode(version)))
        waiting = maybeDeferred(serving.answer, read, context)
        response = self.successResultOf(waiting)
        if response is None:
            return None, service.asked
        sent = b"".join(response.encode(version))
        return type(response).decode(version, sent), service.asked

    def refusal(self, request: Request, version: int) -> KafkaError:
        """
        Why a request of alice's is refused as a whole; its service is not asked.
        """
        service = FakeService(type(request))
        (guarded,) = self.guard().services([service])
        (serving,) = guarded.serves()
        session = OpenSession(LISTENER, Principal("User", "alice"))
        context = RequestContext(version, "c", "127.0.0.1", self, session)
        failure = self.failureResultOf(maybeDeferred(serving.answer, request, context), KafkaError)
        self.assertEqual(service.asked, [])
        error: KafkaError = failure.value
        return error


class TableTests(SynchronousTestCase):
    """
    The table of needs.
    """

    def test_all_served(self) -> None:
        """
        Each API that a service serves is in the table.
        """
        served = {
            serving.request.__name__.removesuffix("Request")
            for service in service_classes()
            for serving in object.__new__(service).serves()
        }
        self.assertEqual(served - NEEDS.keys(), set())

    def test_fields(self) -> None:
        """
        Each part is a list of the request and of the response.
        """
        for name, needs in NEEDS.items():
            for part in needs.parts:
                for kind, field in (("Request", part.request), ("Response", part.response)):
                    declaration = getattr(messages, name + kind)
                    self.assertIn(field, [each.name for each in declaration.fields], name)


class PartTests(GuardCase):
    """
    Requests that are served in part.
    """

    def offsets(self, *names: str) -> ListOffsetsRequest:
        """
        A request for the offsets of topics.
        """
        topic = ListOffsetsRequest.Topic
        return ListOffsetsRequest(
            topics=[
                topic(name=name, partitions=[topic.Partition(partition_index=3, timestamp=-1)])
                for name in names
            ]
        )

    def found(self, *names: str) -> ListOffsetsResponse:
        """
        The response of the service.
        """
        topic = ListOffsetsResponse.Topic
        return ListOffsetsResponse(
            topics=[
                topic(name=name, partitions=[topic.Partition(partition_index=3, offset=5)])
                for name in names
            ]
        )

    def test_in_order(self) -> None:
        """
        What is refused stands in the response where it stands in the request.
        """
        self.acls.create("allow describe topic a", "allow read topic b")
        response, asked = self.ask(
            self.offsets("hidden", "a", "hidden", "b"), 5, self.found("a", "b")
        )
        self.assertEqual([each.name for each in asked[0].topics], ["a", "b"])
        self.assertEqual(
            [(each.name, each.partitions[0].error_code) for each in response.topics],
            [("hidden", 29), ("a", 0), ("hidden", 29), ("b", 0)],
        )
        self.assertEqual(response.topics[0].partitions[0].partition_index, 3)
        self.assertEqual(response.topics[0].partitions[0].offset, -1)

    def test_all_allowed(self) -> None:
        """
        A request that is allowed is given to the service as it is, and so is its answer.
        """
        self.acls.create("allow describe topic *")
        answer = Deferred[Any]()
        service = FakeService(ListOffsetsRequest, answer)
        (serving,) = self.guard().services([service])[0].serves()
        context = RequestContext(
            5, "c", "127.0.0.1", self, OpenSession(LISTENER, Principal("User", "alice"))
        )
        request = self.offsets("a", "hidden")
        self.assertIs(serving.answer(request, context), answer)
        self.assertIs(service.asked[0], request)

    def test_none_allowed(self) -> None:
        """
        If nothing is allowed the service is not asked.
        """
        response, asked = self.ask(self.offsets("hidden", "missing"), 5)
        self.assertEqual(asked, [])
        self.assertEqual(
            [(each.name, each.partitions[0].error_code) for each in response.topics],
            [("hidden", 29), ("missing", 29)],
        )

    def test_awaited(self) -> None:
        """
        The response may come later, by a coroutine or a Deferred.
        """
        self.acls.create("allow describe topic a")

        async def later() -> ListOffsetsResponse:
            return self.found("a")

        for answer in (later(), succeed(self.found("a"))):
            response, _ = self.ask(self.offsets("a", "hidden"), 5, answer)
            self.assertEqual([each.name for each in response.topics], ["a", "hidden"])

    def test_cluster_action(self) -> None:
        """
        A broker may look up leader epochs of all topics.
        """
        topic = OffsetForLeaderEpochRequest.Topic
        request = OffsetForLeaderEpochRequest(
            topics=[topic(topic="a", partitions=[topic.Partition(partition=0, leader_epoch=1)])]
        )
        answer = OffsetForLeaderEpochResponse(topics=[])
        response, asked = self.ask(request, 4, answer)
        self.assertEqual((response.topics[0].partitions[0].error_code, asked), (29, []))
        self.acls.create("allow cluster_action cluster kafka-cluster")
        _, asked = self.ask(request, 4, answer)
        self.assertEqual(len(asked), 1)


class ProduceTests(GuardCase):
    """
    Produce and InitProducerId.
    """

    def produce(self, acks: int, transaction: str | None = None) -> ProduceRequest:
        """
        A request for the topics C{a} and C{hidden}.
        """
        topic = ProduceRequest.Topic
        return ProduceRequest(
            transactional_id=transaction,
            acks=acks,
            timeout_ms=1000,
            topic_data=[
                topic(name=name, partition_data=[topic.Partition(index=0, records=memoryview(b""))])
                for name in ("hidden", "a")
            ],
        )

    def test_refused(self) -> None:
        """
        The error has no message.
        """
        self.acls.create("allow write topic a")
        topic = ProduceResponse.Topic
        answer = ProduceResponse(
            responses=[
                topic(name="a", partition_responses=[topic.Partition(index=0, base_offset=7)])
            ]
        )
        response, _ = self.ask(self.produce(-1), 12, answer)
        found = [(each.name, each.partition_responses[0]) for each in response.responses]
        self.assertEqual(
            [(name, each.error_code, each.base_offset) for name, each in found],
            [("hidden", 29, -1), ("a", 0, 7)],
        )
        self.assertIsNone(found[0][1].error_message)

    def test_without_response(self) -> None:
        """
        With C{acks=0} the connection is closed, when the rest is written.
        """
        self.acls.create("allow write topic a")
        service = FakeService(ProduceRequest)
        (serving,) = self.guard().services([service])[0].serves()
        session = OpenSession(LISTENER, Principal("User", "alice"))
        context = RequestContext(7, "c", "127.0.0.1", self, session)
        self.failureResultOf(maybeDeferred(serving.answer, self.produce(0), context), KafkaError)
        self.assertEqual([each.name for each in service.asked[0].topic_data], ["a"])
        self.acls.create("allow write topic hidden")
        answered = maybeDeferred(serving.answer, self.produce(0), context)
        self.assertIsNone(self.successResultOf(answered))

    def test_transaction(self) -> None:
        """
        A transactional id needs a right of its own.
        """
        self.acls.create("allow write topic *")
        self.assertEqual(self.refusal(self.produce(-1, "t"), 7).code, 53)
        self.acls.create("allow write transactional_id t")
        _, asked = self.ask(self.produce(-1, "t"), 7, ProduceResponse(responses=[]))
        self.assertEqual(len(asked), 1)

    def test_producer_id(self) -> None:
        """
        An idempotent producer may write to some topic, or to the cluster as such.
        """
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1)
        self.assertEqual(self.refusal(request, 4).code, 31)
        answer = InitProducerIdResponse(producer_id=1, producer_epoch=0)
        for text in ("allow write topic x*", "allow idempotent_write cluster kafka-cluster"):
            self.acls.create(text)
            self.assertEqual(len(self.ask(request, 4, answer)[1]), 1)
            self.acls.delete(text)
        transactional = InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=1)
        self.assertEqual(self.refusal(transactional, 4).code, 53)


class GroupTests(GuardCase):
    """
    Groups and their offsets.
    """

    def test_whole(self) -> None:
        """
        A member needs a right on its group.
        """
        request = JoinGroupRequest(
            group_id="g",
            session_timeout_ms=1,
            member_id="",
            protocol_type="consumer",
            protocols=[],
        )
        self.assertEqual(self.refusal(request, 5).code, 30)

    def test_commit(self) -> None:
        """
        Topics that may not be read are refused, by name and by id; an id that no topic has
        is left to the service.
        """
        self.acls.create("allow read group g", "allow read topic a")
        topic = OffsetCommitRequest.Topic
        partitions = [
            topic.Partition(partition_index=0, committed_offset=1, committed_metadata="")
        ]
        answered = OffsetCommitResponse.Topic
        request = OffsetCommitRequest(
            group_id="g",
            topics=[
                topic(topic_id=each, partitions=partitions) for each in (HIDDEN, A, UUID(int=99))
            ],
        )
        answer = OffsetCommitResponse(
            topics=[
                answered(topic_id=A, partitions=[]),
                answered(topic_id=UUID(int=99), partitions=[]),
            ]
        )
        response, asked = self.ask(request, 10, answer)
        self.assertEqual([each.topic_id for each in asked[0].topics], [A, UUID(int=99)])
        self.assertEqual([each.topic_id for each in response.topics], [HIDDEN, A, UUID(int=99)])
        self.assertEqual(response.topics[0].partitions[0].error_code, 29)

    def test_offsets_of_groups(self) -> None:
        """
        Groups are refused as such, topics within the others; of all topics those are left
        out that may not be described.
        """
        self.acls.create("allow describe group g*", "allow describe topic a")
        group = OffsetFetchRequest.Group
        request = OffsetFetchRequest(
            groups=[
                group(group_id="x", topics=[]),
                group(
                    group_id="g1",
                    topics=[
                        group.Topic(name=name, partition_indexes=[0, 1]) for name in ("hidden", "a")
                    ],
                ),
                group(group_id="g2", topics=None),
            ]
        )
        answered = OffsetFetchResponse.Group
        partition = answered.Topic.Partition(
            partition_index=0, committed_offset=5, metadata=""
        )
        topics = [
            answered.Topic(name=name, partitions=[partition]) for name in ("a", "hidden")
        ]
        answer = OffsetFetchResponse(
            groups=[
                answered(group_id="g1", topics=topics[:1]),
                answered(group_id="g2", topics=topics),
            ]
        )
        response, asked = self.ask(request, 8, answer)
        self.assertEqual([each.group_id for each in asked[0].groups], ["g1", "g2"])
        self.assertEqual([each.name for each in asked[0].groups[0].topics], ["a"])
        x, g1, g2 = response.groups
        self.assertEqual((x.group_id, x.error_code, x.topics), ("x", 30, []))
        self.assertEqual(
            [(each.name, [p.error_code for p in each.partitions]) for each in g1.topics],
            [("hidden", [29, 29]), ("a", [0])],
        )
        self.assertEqual([each.name for each in g2.topics], ["a"])

    def test_offsets_of_one_group(self) -> None:
        """
        The same in the versions that have one group.
        """
        request = OffsetFetchRequest(group_id="g", topics=None)
        self.assertEqual(self.refusal(request, 7).code, 30)
        self.acls.create("allow describe group g", "allow describe topic a")
        topics = [OffsetFetchResponse.Topic(name=n, partitions=[]) for n in ("a", "hidden")]
        response, _ = self.ask(request, 7, OffsetFetchResponse(topics=topics))
        self.assertEqual([each.name for each in response.topics], ["a"])

    def test_list(self) -> None:
        """
        Groups that may not be described are left out, unless the cluster may be.
        """

        def listed() -> list[str]:
            group = ListGroupsResponse.Group
            answer = ListGroupsResponse(
                groups=[group(group_id=each, protocol_type="consumer") for each in ("g", "h")]
            )
            response, _ = self.ask(ListGroupsRequest(), 4, answer)
            return [each.group_id for each in response.groups]

        self.assertEqual(listed(), [])
        self.acls.create("allow read group g")
        self.assertEqual(listed(), ["g"])
        self.acls.create("allow describe cluster kafka-cluster")
        self.assertEqual(listed(), ["g", "h"])

    def test_coordinators(self) -> None:
        """
        Each key is refused alone, and before version 4 the request.
        """
        coordinator = FindCoordinatorResponse.Coordinator
        self.acls.create("allow describe group g")
        answer = FindCoordinatorResponse(
            coordinators=[coordinator(key="g", node_id=1, host="h", port=2)]
        )
        request = FindCoordinatorRequest(key_type=0, coordinator_keys=["x", "g"])
        response, _ = self.ask(request, 4, answer)
        self.assertEqual(
            [(e.key, e.error_code, e.error_message, e.port) for e in response.coordinators],
            [("x", 30, "", -1), ("g", 0, None, 2)],
        )
        for key_type, code in ((0, 30), (1, 53), (2, 31)):
            request = FindCoordinatorRequest(key="x", key_type=key_type)
            self.assertEqual(self.refusal(request, 3).code, code)

    def test_operations(self) -> None:
        """
        What may be done with a group is said if it is asked for.
        """
        self.acls.create("allow read group g", "allow delete group g")
        group = DescribeGroupsResponse.Group(
            group_id="g",
            group_state="Empty",
            protocol_type="",
            protocol_data="",
            members=[],
            authorized_operations=3400,
        )
        request = DescribeGroupsRequest(groups=["g", "h"])
        response, _ = self.ask(request, 5, DescribeGroupsResponse(groups=[group]))
        self.assertEqual(
            [(each.error_code, each.authorized_operations) for each in response.groups],
            [(0, 1 << 3 | 1 << 6 | 1 << 8), (30, -(2**31))],
        )


class TopicTests(GuardCase):
    """
    Topics, which must not be known to those that may not describe them.
    """

    creates = True

    def described(self, *names: str) -> MetadataResponse:
        """
        The response of the service.
        """
        return MetadataResponse(
            brokers=[],
            cluster_id="c",
            controller_id=1,
            topics=[
                MetadataResponse.Topic(name=each, topic_id=TOPICS.get(each, NO_UUID), partitions=[])
                for each in names
            ],
        )

    def test_all(self) -> None:
        """
        Hidden topics are left out of all, whatever the version says for all.
        """
        self.acls.create("allow describe topic a")
        for version, topics in ((0, []), (1, None), (12, None)):
            response, _ = self.ask(
                MetadataRequest(topics=topics), version, self.described("a", "hidden")
            )
            self.assertEqual([each.name for each in response.topics], ["a"])

    def test_none_is_not_all(self) -> None:
        """
        In version 0 an empty list means all topics, and is no answer to one that names
        hidden ones.
        """
        request = MetadataRequest(topics=[MetadataRequest.Topic(name="hidden")])
        response, _ = self.ask(request, 0, self.described("a", "hidden"))
        self.assertEqual([(e.name, e.error_code) for e in response.topics], [("hidden", 29)])

    def test_by_id(self) -> None:
        """
        A hidden topic is refused without its name; an unknown id is left to the service.
        """
        request = MetadataRequest(
            topics=[
                MetadataRequest.Topic(topic_id=each, name=None) for each in (HIDDEN, UUID(int=99))
            ]
        )
        unknown = MetadataResponse.Topic(
            error_code=100, name=None, topic_id=UUID(int=99), partitions=[]
        )
        answer = self.described()
        answer.topics = [unknown]
        response, _ = self.ask(request, 12, answer)
        self.assertEqual(
            [(e.error_code, e.topic_id, e.name) for e in response.topics],
            [(29, HIDDEN, None), (100, UUID(int=99), None)],
        )

    def test_created(self) -> None:
        """
        A topic that a Metadata request would create needs the right to create it.
        """
        self.acls.create("allow describe topic *", "allow create topic n*")
        names = ("a", "new", "other")
        request = MetadataRequest(topics=[MetadataRequest.Topic(name=each) for each in names])
        response, asked = self.ask(request, 5, self.described("a", "new"))
        self.assertEqual([each.name for each in asked[0].topics], ["a", "new"])
        self.assertEqual([each.error_code for each in response.topics], [0, 0, 29])
        request.allow_auto_topic_creation = False
        _, asked = self.ask(request, 5, self.described(*names))
        self.assertEqual(len(asked[0].topics), 3)
        self.acls.create("allow create cluster kafka-cluster")
        request.allow_auto_topic_creation = True
        _, asked = self.ask(request, 5, self.described(*names))
        self.assertEqual(len(asked[0].topics), 3)

    def test_operations(self) -> None:
        """
        What may be done with topics and the cluster is said if it is asked for.
        """
        self.acls.create("allow read topic a", "allow describe_configs topic a")
        answer = self.described("a")
        answer.topics[0].topic_authorized_operations = 3576
        answer.cluster_authorized_operations = 8096
        response, _ = self.ask(MetadataRequest(topics=None), 8, answer)
        self.assertEqual(response.topics[0].topic_authorized_operations, 8 + 256 + 1024)
        self.assertEqual(response.cluster_authorized_operations, 0)
        self.acls.create("allow alter cluster kafka-cluster")
        cluster = DescribeClusterResponse(
            cluster_id="c", brokers=[], cluster_authorized_operations=8096
        )
        request = DescribeClusterRequest(include_cluster_authorized_operations=True)
        response, _ = self.ask(request, 0, cluster)
        self.assertEqual(response.cluster_authorized_operations, 384)

    def test_pages(self) -> None:
        """
        Pages of all topics are pages of those that may be described, because each names the
        first topic of the next.
        """
        request = DescribeTopicPartitionsRequest(topics=[])
        answer = DescribeTopicPartitionsResponse(topics=[])
        response, asked = self.ask(request, 0, answer)
        self.assertEqual((response.topics, asked), ([], []))
        self.acls.create("allow describe topic a", "allow describe topic b")
        _, asked = self.ask(request, 0, answer)
        self.assertEqual([each.name for each in asked[0].topics], ["a", "b"])

    def test_create(self) -> None:
        """
        A topic may be created by a right on it, or on the cluster; its configuration is
        shown to those that may see it.
        """
        self.acls.create("allow create topic n*", "allow describe_configs topic n2")
        topic = CreateTopicsRequest.Topic
        request = CreateTopicsRequest(
            topics=[
                topic(name=name, num_partitions=1, replication_factor=1, assignments=[], configs=[])
                for name in ("n1", "x", "n2")
            ]
        )
        answer = CreateTopicsResponse(
            topics=[
                CreateTopicsResponse.Topic(
                    name=each, num_partitions=1, replication_factor=1, configs=[]
                )
                for each in ("n1", "n2")
            ]
        )
        response, _ = self.ask(request, 5, answer)
        self.assertEqual(
            [
                (e.name, e.error_code, e.error_message, e.topic_config_error_code, e.num_partitions)
                for e in response.topics
            ],
            [
                ("n1", 0, None, 29, -1),
                ("x", 29, "Authorization failed.", 0, -1),
                ("n2", 0, None, 0, 1),
            ],
        )
        self.acls.create("allow create cluster kafka-cluster")
        self.assertEqual(len(self.ask(request, 5, answer)[1][0].topics), 3)

    def test_delete(self) -> None:
        """
        That a topic does not exist is said to those that may describe it.
        """
        self.acls.create("allow delete topic a", "allow describe topic m*")
        request = DeleteTopicsRequest(topic_names=["hidden", "a", "missing", "gone"], timeout_ms=1)
        topic = DeleteTopicsResponse.Topic
        answer = DeleteTopicsResponse(
            responses=[topic(name="a"), topic(name="missing", error_code=3)]
        )
        response, asked = self.ask(request, 5, answer)
        self.assertEqual(asked[0].topic_names, ["a", "missing"])
        self.assertEqual([each.error_code for each in response.responses], [29, 0, 3, 29])
        by_id = DeleteTopicsRequest(
            topics=[DeleteTopicsRequest.Topic(topic_id=each) for each in (HIDDEN, B)], timeout_ms=1
        )
        self.acls.create("allow describe topic b")
        response, _ = self.ask(by_id, 6)
        self.assertEqual(
            [(each.error_code, each.name) for each in response.responses], [(29, None), (29, "b")]
        )

    def test_configs(self) -> None:
        """
        The right is one on the resource that has the configuration.
        """
        resource = DescribeConfigsRequest.Resource
        request = DescribeConfigsRequest(
            resources=[
                resource(resource_type=kind, resource_name="a", configuration_keys=None)
                for kind in (2, 4, 8, 16, 32, 77)
            ]
        )
        answer = DescribeConfigsResponse(
            results=[
                DescribeConfigsResponse.Result(error_code=42, resource_type=77, resource_name="a")
            ]
        )
        response, asked = self.ask(request, 4, answer)
        self.assertEqual([each.resource_type for each in asked[0].resources], [77])
        self.assertEqual(
            [(each.resource_type, each.error_code) for each in response.results],
            [(2, 29), (4, 31), (8, 31), (16, 31), (32, 30), (77, 42)],
        )
        self.acls.create("allow alter_configs topic a", "allow all cluster kafka-cluster")
        _, asked = self.ask(request, 4, answer)
        self.assertEqual([each.resource_type for each in asked[0].resources], [2, 4, 8, 16, 77])


class FetchTests(GuardCase):
    """
    The topics that a Fetch request may read.
    """

    def topics(self, **fields: Any) -> ITopicLookup:
        """
        Those of alice's request.
        """
        request = FetchRequest(max_wait_ms=0, min_bytes=0, topics=[], **fields)
        session = OpenSession(LISTENER, Principal("User", "alice"))
        context = RequestContext(13, "c", "127.0.0.1", self, session)
        return self.guard().topics(request, context)

    def test_topics(self) -> None:
        """
        What may not be read is refused, whether it exists or not; unknown ids are unknown.
        """
        self.acls.create("allow read topic a")
        topics = self.topics()
        self.assertEqual(topics.topic("a").topic_id, A)
        self.assertEqual(topics.topic_by_id(A).name, "a")
        for name in ("hidden", "missing"):
            self.assertRaises(TopicAuthorizationFailed, topics.topic, name)
        self.assertRaises(TopicAuthorizationFailed, topics.topic_by_id, HIDDEN)
        self.assertRaises(UnknownTopicId, topics.topic_by_id, UUID(int=99))

    def test_changes(self) -> None:
        """
        A change of rights shows like one of topics, and so do other rights.
        """
        topics = self.topics()
        seen = {topics.topic_changes}
        self.acls.create("allow read topic a")
        seen.add(topics.topic_changes)
        rights = self.acls.authorizer.rights(Principal("User", "bob"), "127.0.0.1")
        seen.add(PermittedTopics(cast(IImage, self.image), rights, self.fail).topic_changes)
        self.image.topic_changes += 1
        seen.add(topics.topic_changes)
        self.assertEqual(len(seen), 4)
        self.assertEqual(topics.topic("a").name, "a")

    def test_brokers(self) -> None:
        """
        A broker needs one right for the cluster, and none on topics.
        """
        self.acls.create("allow read topic *")
        for fields in ({"replica_id": 1}, {"replica_state": FetchRequest.ReplicaState()}):
            self.assertRaises(TopicAuthorizationFailed, self.topics(**fields).topic, "a")
        self.acls.create("allow cluster_action cluster kafka-cluster")
        self.assertIs(self.topics(replica_id=1), self.image)

    def test_no_broker(self) -> None:
        """
        A client that says that it is a broker reads nothing that it may not read as itself.
        """
        self.acls.create("allow all topic *", "deny read topic hidden")
        self.assertRaises(TopicAuthorizationFailed, self.topics().topic, "hidden")
        for fields in ({"replica_id": 1}, {"replica_state": FetchRequest.ReplicaState()}):
            for name in ("hidden", "a"):
                self.assertRaises(TopicAuthorizationFailed, self.topics(**fields).topic, name)
            self.assertRaises(TopicAuthorizationFailed, self.topics(**fields).topic_by_id, HIDDEN)


class TokenTests(GuardCase):
    """
    Delegation tokens.
    """

    def created(self) -> CreateDelegationTokenResponse:
        """
        A response with a token.
        """
        return CreateDelegationTokenResponse(
            principal_type="User",
            principal_name="alice",
            issue_timestamp_ms=0,
            expiry_timestamp_ms=0,
            max_timestamp_ms=0,
            token_id="1",
            hmac=b"secret",
        )

    def creation(self, owner: str | None) -> CreateDelegationTokenRequest:
        """
        A request for a token of this user.
        """
        kind = None if owner is None else "User"
        return CreateDelegationTokenRequest(
            owner_principal_type=kind,
            owner_principal_name=owner,
            renewers=[],
            max_lifetime_ms=-1,
        )

    def test_create(self) -> None:
        """
        One's own need no right, those of others one on the user.
        """
        made = self.created()
        for owner in (None, "alice", ""):
            answer, _ = self.ask(self.creation(owner), 3, made)
            self.assertEqual(answer.token_id, "1")
        self.assertEqual(self.refusal(self.creation("bob"), 3).code, 65)
        self.acls.create("allow create_tokens user User:bob")
        self.assertEqual(self.ask(self.creation("bob"), 3, made)[0].token_id, "1")
        self.assertEqual(self.refusal(self.creation("eve"), 3).code, 65)

    def test_not_authenticated(self) -> None:
        """
        Clients that may ask for none are left to the service, whose error comes first.
        """
        service = FakeService(CreateDelegationTokenRequest, self.created())
        (serving,) = self.guard().services([service])[0].serves()
        context = RequestContext(3, "c", "127.0.0.1", self, OpenSession(LISTENER))
        serving.answer(self.creation("bob"), context)
        self.assertEqual(len(service.asked), 1)

    def test_describe(self) -> None:
        """
        One sees what one owns, has asked for or may renew, and others by a right on the token
        or on its owner.
        """
        described = DescribeDelegationTokenResponse.Token

        def token(token_id: str, owner: str, requester: str, *renewers: str) -> Any:
            return described(
                principal_type="User",
                principal_name=owner,
                token_requester_principal_type="User",
                token_requester_principal_name=requester,
                issue_timestamp=0,
                expiry_timestamp=0,
                max_timestamp=0,
                token_id=token_id,
                hmac=b"secret",
                renewers=[
                    described.Renewer(principal_type="User", principal_name=each)
                    for each in renewers
                ],
            )

        def seen(version: int) -> str:
            tokens = [
                token("1", "alice", "bob"),
                token("2", "bob", "alice"),
                token("3", "bob", "bob", "eve", "alice"),
                token("4", "bob", "bob", "eve"),
                token("5", "eve", "eve"),
            ]
            request = DescribeDelegationTokenRequest(owners=None)
            answer, _ = self.ask(request, version, DescribeDelegationTokenResponse(tokens=tokens))
            return "".join(each.token_id for each in answer.tokens)

        for version in (1, 2, 3):
            self.assertEqual(seen(version), "123")
        self.acls.create("allow describe delegation_token 4")
        self.assertEqual(seen(3), "1234")
        self.acls.create("allow describe_tokens user User:eve")
        self.assertEqual(seen(3), "12345")


class RightsTests(GuardCase):
    """
    What is asked of the authorizer.
    """

    def test_hot_path(self) -> None:
        """
        A Produce request that is allowed asks once for each topic and nothing else.
        """
        asked: list[Any] = []

        class Rights:
            def allows(self, *what: Any) -> bool:
                asked.append(what)
                return True

        class Authorizer:
            def rights(self, principal: Principal, host: str) -> IRights:
                return cast(IRights, Rights())

        guard = Guard(
            cast(Any, Authorizer()),
            cast(IImage, self.image),
            False,
            self.clock.seconds,
            self.counts,
        )
        answer: Deferred[Any] = Deferred()
        service = FakeService(ProduceRequest, answer)
        (serving,) = guard.services([service])[0].serves()
        context = RequestContext(7, "c", "h", self, OpenSession(LISTENER))
        topic = ProduceRequest.Topic
        request = ProduceRequest(
            acks=1,
            timeout_ms=1,
            topic_data=[topic(name=name, partition_data=[]) for name in ("a", "b")],
        )
        self.assertIs(serving.answer(request, context), answer)
        self.assertEqual(len(asked), 2)


class AuditTests(GuardCase):
    """
    Events of the log.
    """

    def setUp(self) -> None:
        """
        Catch them.
        """
        super().setUp()
        captured = capturedLogs()
        self.events = captured.__enter__()
        self.addCleanup(captured.__exit__, None, None, None)

    @property
    def lines(self) -> list[str]:
        """
        Those of the audit, as lines.
        """
        namespace = f"{audit.__name__}.Audit"
        return [formatEvent(each) for each in self.events if each["log_namespace"] == namespace]

    def test_denied(self) -> None:
        """
        What is denied is logged once in ten seconds.
        """
        request = MetadataRequest(topics=[MetadataRequest.Topic(name="hidden")])
        guard = self.guard()
        self.guard = lambda: guard  # type: ignore[method-assign]
        for seconds in (0, 1, 10):
            self.clock.advance(seconds)
            self.ask(request, 5, MetadataResponse(brokers=[], controller_id=1, topics=[]))
        line = (
            "denied to 'User:alice' from 127.0.0.1 on PLAINTEXT: Metadata, which needs DESCRIBE"
            " on TOPIC 'hidden'"
        )
        self.assertEqual(self.lines, [line, f"{line} (1 more since the last line)"])
        self.assertEqual(self.counts.denied, {("DESCRIBE", "TOPIC"): 3})

    def test_fetch(self) -> None:
        """
        A Fetch request is denied a topic once, however often that is looked up for it, and
        one that says it is of a broker is denied that.
        """
        session = OpenSession(LISTENER, Principal("User", "alice"))
        context = RequestContext(13, "c", "127.0.0.1", self, session)
        guard = self.guard()
        for replica_id, times in ((-1, 2), (1, 1)):
            request = FetchRequest(
                replica_id=replica_id, max_wait_ms=0, min_bytes=0, topics=[]
            )
            topics = guard.topics(request, context)
            for _ in range(times):
                self.assertRaises(TopicAuthorizationFailed, topics.topic, "hidden")
        denied = "denied to 'User:alice' from 127.0.0.1 on PLAINTEXT: Fetch, which needs"
        self.assertEqual(
            self.lines,
            [
                f"{denied} READ on TOPIC 'hidden'",
                f"{denied} CLUSTER_ACTION on CLUSTER 'kafka-cluster'",
            ],
        )
        self.assertEqual(
            self.counts.denied, {("READ", "TOPIC"): 1, ("CLUSTER_ACTION", "CLUSTER"): 1}
        )

    def test_fetch_of_many(self) -> None:
        """
        Of one Fetch request a few topics are logged, and of the next one others; all are
        counted.
        """
        session = OpenSession(LISTENER, Principal("User", "alice"))
        context = RequestContext(13, "c", "127.0.0.1", self, session)
        guard = self.guard()
        request = FetchRequest(replica_id=-1, max_wait_ms=0, min_bytes=0, topics=[])
        for many in (1, 2):
            topics = guard.topics(request, context)
            for number in range(50):
                self.assertRaises(TopicAuthorizationFailed, topics.topic, f"hidden-{number}")
            self.assertEqual(len(self.lines), many * audit.MOST_NAMES)
            self.assertEqual(self.counts.denied, {("READ", "TOPIC"): many * 50})
        self.assertEqual(len(set(self.lines)), 2 * audit.MOST_NAMES)

    def test_long_names(self) -> None:
        """
        Of a long name the beginning is logged, and tells lines apart.
        """
        guard = self.guard()
        self.guard = lambda: guard  # type: ignore[method-assign]
        for end in "ab":
            topic = MetadataRequest.Topic(name="x" * (1 << 14) + end)
            request = MetadataRequest(topics=[topic])
            self.ask(request, 5, MetadataResponse(brokers=[], controller_id=1, topics=[]))
        (line,) = self.lines
        self.assertLess(len(line), 300)

    def test_changes(self) -> None:
        """
        What is changed is logged, with the outcome, by names without values.
        """
        self.acls.create("allow alter_configs topic a")
        resource = IncrementalAlterConfigsRequest.Resource
        request = IncrementalAlterConfigsRequest(
            validate_only=False,
            resources=[
                resource(
                    resource_type=2,
                    resource_name="a",
                    configs=[
                        resource.Config(name="x", config_operation=0, value="secret")
                    ],
                )
            ],
        )
        answer = IncrementalAlterConfigsResponse(
            responses=[
                IncrementalAlterConfigsResponse.Resource(
                    error_code=40, resource_type=2, resource_name="a"
                )
            ]
        )
        self.ask(request, 1, answer)
        self.assertEqual(
            self.lines,
            [
                "IncrementalAlterConfigs by 'User:alice' from 127.0.0.1 on PLAINTEXT: 'a';"
                " error code 40"
            ],
        )

    def test_failed(self) -> None:
        """
        So is what failed.
        """
        self.acls.create("allow alter cluster kafka-cluster")
        self.assertEqual(
            self.refusal_of_service(CreateAclsRequest(creations=[]), InvalidRequest()).code, 42
        )
        self.assertIn("CreateAcls by 'User:alice'", self.lines[0])
        self.assertIn("-; error code 42", self.lines[0])

    def refusal_of_service(self, request: Request, error: KafkaError) -> KafkaError:
        """
        The error of a request that the service fails with another one.
        """
        service = FakeService(type(request), fail(error))
        (serving,) = self.guard().services([service])[0].serves()
        session = OpenSession(LISTENER, Principal("User", "alice"))
        context = RequestContext(1, "c", "127.0.0.1", self, session)
        failure = self.failureResultOf(maybeDeferred(serving.answer, request, context), KafkaError)
        found: KafkaError = failure.value
        return found
