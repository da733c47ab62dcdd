"""
Consumers in racks (KIP-392): Fetch, Metadata and CreateTopics.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from zope.interface import implementer
from zope.interface.verify import verifyObject

from kafscale import errors
from kafscale.interfaces import Broker, IPartitions, IReadable, IReplicas
from kafscale.services.cluster.alter_partition_reassignments import (
    AlterPartitionReassignmentsService,
)
from kafscale.services.records.read_replicas import STAY_SECONDS, ReplicaSelector
from kafscale.services.topics.create_topics import CreateTopicsService
from kafscale.services.topics.describe_topic_partitions import DescribeTopicPartitionsService
from kafscale.services.topics.metadata import MetadataService
from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    CreateTopicsRequest,
    DescribeTopicPartitionsRequest,
    FetchRequest,
    MetadataRequest,
)
from tests.cluster.small import BROKER
from tests.log.fakes import FakePartition
from tests.services.client import Connection, ServiceClient, context
from tests.services.records.fetching import FetchCase, at


@implementer(IReplicas)
class FakeReplicas:
    """
    Partitions that this broker reads from another leader.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[UUID, int], FakePartition] = {}

    def partition(self, topic_id: UUID, index: int) -> FakePartition:
        """
        See L{IReplicas.partition}.
        """
        return self.found.setdefault((topic_id, index), FakePartition(topic_id, index, []))


class ReplicaCase(FetchCase):
    """
    This broker is in rack a, broker 8 in b.
    """

    def make(self, **limits: Any) -> None:
        """
        Let a service that selects replicas serve from now on.
        """
        self.cluster.put_broker(Broker(BROKER.broker_id, "h", 1, "a"))
        self.cluster.put_broker(Broker(8, "h", 2, "b"))
        self.replicas = FakeReplicas()
        self.selector = ReplicaSelector(
            self.cluster.image, self.log, self.replicas, "a", self.clock
        )
        super().make(replica_selector=self.selector, **limits)

    def lead(self, broker_id: int, index: int = 0) -> None:
        """
        Let this broker lead one of the partitions.
        """
        self.cluster.put_leader(self.topic.topic_id, index, broker_id, 3)
        where = self.topic.topic_id, index
        (self.log.elsewhere.discard if broker_id == 7 else self.log.elsewhere.add)(where)


class LeaderTests(ReplicaCase):
    """
    Consumers fetch from the leader.
    """

    def test_interfaces(self) -> None:
        """
        The fakes and the partitions of the selector provide their interfaces.
        """
        self.assertTrue(verifyObject(IReplicas, self.replicas))
        seen = self.selector.partitions_for("b", Connection())
        self.assertTrue(verifyObject(IPartitions, seen))
        self.assertTrue(verifyObject(IReadable, seen.partition(self.topic.topic_id, 0)))

    def test_referred(self) -> None:
        """
        In every version with racks a consumer of another rack is referred to
        its broker at once, without records, also if there are none yet.
        """
        self.partition().put(b"one", b"two")
        for version in range(11, 19):
            for offset in (0, 2):
                self.make()
                (part,) = self.fetch(at(0, offset), version=version, rack_id="b")
                self.assertEqual((part.error_code, part.preferred_read_replica), (0, 8))
                self.assertEqual((bytes(part.records), part.high_watermark), (b"", 2))
                self.assertEqual((part.last_stable_offset, part.log_start_offset), (2, 0))

    def test_served(self) -> None:
        """
        A consumer of this rack, of none, of one without brokers, or of an older
        version reads from this broker.
        """
        self.partition().put(b"one")
        for version, rack in ((12, "a"), (12, ""), (12, "c"), (10, "b")):
            fields = {"rack_id": rack} if version >= 11 else {}
            (part,) = self.fetch(at(0, 0), version=version, **fields)
            self.assertEqual((bytes(part.records), part.preferred_read_replica), (b"one", -1))

    def test_checked_first(self) -> None:
        """
        Offset and epoch of the request are checked by the leader.
        """
        self.partition().put(b"one")
        for asked, error in (
            (at(0, 2), errors.OffsetOutOfRange),
            (at(0, 0, current_leader_epoch=2), errors.FencedLeaderEpoch),
            (at(0, 0, current_leader_epoch=4), errors.UnknownLeaderEpoch),
        ):
            (part,) = self.fetch(asked, rack_id="b")
            self.assertEqual((part.error_code, part.preferred_read_replica), (error.code, -1))
        self.partition().epochs = {2: (1, 1)}
        (part,) = self.fetch(at(0, 1, last_fetched_epoch=2), rack_id="b")
        self.assertEqual(part.diverging_epoch.epoch, 1)

    def test_comes_back(self) -> None:
        """
        A consumer that comes back was not served there, so the leader serves it
        for a minute. Another connection is another consumer.
        """
        self.partition().put(b"one")
        told = [self.fetch(at(0, 0), rack_id="b")[0].preferred_read_replica for _ in range(3)]
        self.assertEqual(told, [8, -1, -1])
        stranger = context(12)
        stranger.connection = Connection()
        request = self.request(at(0, 0), rack_id="b")
        response = self.service.fetch(request, stranger)
        (topic,) = response.responses  # type: ignore[union-attr]
        self.assertEqual(topic.partitions[0].preferred_read_replica, 8)
        self.clock.advance(STAY_SECONDS)
        self.assertEqual(self.fetch(at(0, 0), rack_id="b")[0].preferred_read_replica, 8)

    def test_session(self) -> None:
        """
        A consumer with a session is referred, too.
        """
        first = self.successResultOf(
            self.start(at(0, 0), at(1, 0), rack_id="b", session_id=0, session_epoch=0)
        )
        parts = [part for topic in first.responses for part in topic.partitions]
        self.assertEqual([part.preferred_read_replica for part in parts], [8, 8])
        self.assertNotEqual(first.session_id, 0)
        leaves = FetchRequest.ForgottenTopic(topic="orders", partitions=[0, 1])
        last = self.successResultOf(
            self.start(
                rack_id="b",
                session_id=first.session_id,
                session_epoch=1,
                forgotten_topics_data=[leaves],
            )
        )
        self.assertEqual((last.error_code, last.responses), (0, []))

    def test_mixed(self) -> None:
        """
        Partitions that are to be read here are in the same response.
        """
        self.partition(0).put(b"one")
        self.partition(1).put(b"two")
        self.fetch(at(0, 0), rack_id="b")
        first, second = self.fetch(at(0, 0), at(1, 0), rack_id="b")
        self.assertEqual((bytes(first.records), first.preferred_read_replica), (b"one", -1))
        self.assertEqual((bytes(second.records), second.preferred_read_replica), (b"", 8))

    def test_moved(self) -> None:
        """
        When its rack has no broker any more, the consumer reads from the
        leader.
        """
        self.partition().put(b"one")
        self.cluster.end_broker(8)
        self.assertEqual(self.fetch(at(0, 0), rack_id="b")[0].preferred_read_replica, -1)


class FollowerTests(ReplicaCase):
    """
    Consumers fetch from a broker of their rack.
    """

    def setUp(self) -> None:
        """
        Broker 8 leads the partitions.
        """
        super().setUp()
        self.lead(8)
        self.replica = self.replicas.partition(self.topic.topic_id, 0)

    def test_served(self) -> None:
        """
        Consumers of this rack are served what there is.
        """
        self.replica.put(b"one")
        (part,) = self.fetch(at(0, 0, current_leader_epoch=3), rack_id="a")
        self.assertEqual((part.error_code, bytes(part.records)), (0, b"one"))
        self.assertEqual((part.high_watermark, part.preferred_read_replica), (1, -1))

    def test_waits(self) -> None:
        """
        They wait as at the leader, also while this broker becomes the leader.
        """
        waiting = self.start(at(0, 0), rack_id="a")
        self.assertNoResult(waiting)
        self.replica.put(b"one")
        self.clock.advance(0)
        (topic,) = self.successResultOf(waiting).responses
        self.assertEqual(bytes(topic.partitions[0].records), b"one")
        waiting = self.start(at(0, 1), rack_id="a")
        self.lead(7)
        self.partition().put(b"one", b"two")
        self.replica.dropped = True
        self.replica.wake()
        self.clock.advance(0)
        (topic,) = self.successResultOf(waiting).responses
        self.assertEqual(bytes(topic.partitions[0].records), b"two")

    def test_refused(self) -> None:
        """
        Consumers of other racks, of none, and of older versions are referred to
        the leader.
        """
        self.replica.put(b"one")
        for version, rack in ((12, "b"), (12, "c"), (12, ""), (10, "")):
            fields: dict[str, Any] = {"rack_id": rack} if version >= 11 else {}
            (part,) = self.fetch(at(0, 0), version=version, **fields)
            self.assertEqual(part.error_code, errors.NotLeaderOrFollower.code)
            if version >= 12:
                self.assertEqual(part.current_leader.leader_id, 8)

    def test_about_to_lead(self) -> None:
        """
        While this broker is about to lead a partition, it does not read it from
        another broker.
        """
        self.cluster.put_leader(self.topic.topic_id, 0, 7, 4)
        self.replica.put(b"one")
        (part,) = self.fetch(at(0, 0), rack_id="a")
        self.assertEqual(part.error_code, errors.NotLeaderOrFollower.code)

    def test_other_of_the_rack(self) -> None:
        """
        Consumers that another broker of the rack serves are refused: the leader
        sends records to a rack once.
        """
        self.cluster.put_broker(Broker(9, "h", 3, "a", weight=1e9))
        (part,) = self.fetch(at(0, 0), rack_id="a")
        self.assertEqual(part.error_code, errors.NotLeaderOrFollower.code)


class DescribedTests(ReplicaCase):
    """
    Other APIs that show replicas.
    """

    def test_replicas(self) -> None:
        """
        Java's consumers follow a referral only to brokers that are replicas,
        and alive.
        """
        cluster = self.cluster
        client = ServiceClient(
            self,
            CreateTopicsService(
                cluster.image, cluster.topics, cluster.configs, cluster.clock, cluster.quotas
            ),
            MetadataService(cluster.image, cluster.topics, False, 1),
        )
        wanted = CreateTopicsRequest.Topic(
            name="t", num_partitions=1, replication_factor=1, assignments=[], configs=[]
        )
        made = client.now(CreateTopicsRequest(topics=[wanted], timeout_ms=1000), 7)
        self.assertEqual(made.topics[0].replication_factor, 2)
        asked = MetadataRequest(topics=[MetadataRequest.Topic(name="t")])
        (part,) = client.now(asked, 12).topics[0].partitions
        self.assertEqual((part.replica_nodes, part.isr_nodes), ([7, 8], [7, 8]))
        self.assertEqual(part.offline_replicas, [])
        cluster.end_broker(8)
        (part,) = client.now(asked, 12).topics[0].partitions
        self.assertEqual((part.replica_nodes, part.isr_nodes), ([7], [7]))

    def test_assigned(self) -> None:
        """
        Metadata shows replicas that are assigned by hand, those that are alive as in sync.
        """
        cluster = self.cluster
        partition = AlterPartitionReassignmentsRequest.Topic.Partition
        topic = AlterPartitionReassignmentsRequest.Topic(
            name="orders", partitions=[partition(partition_index=0, replicas=[8, 7])]
        )
        client = ServiceClient(
            self,
            AlterPartitionReassignmentsService(cluster.image, cluster.topics, cluster.clock),
            MetadataService(cluster.image, cluster.topics, False, 1),
            DescribeTopicPartitionsService(cluster.image, cluster.topics),
        )
        client.now(AlterPartitionReassignmentsRequest(topics=[topic]), 0)
        self.assertEqual(self.shown(client), [([8, 7], [8, 7], [])] * 2)
        cluster.end_broker(8)
        self.assertEqual(self.shown(client), [([8, 7], [7], [8])] * 2)
        where = cluster.image.topic("orders").topic_id, 0
        cluster.put_broker(Broker(9, "h", 3))
        cluster.put_leader(*where, 9, 1)
        self.assertEqual(self.shown(client), [([8, 7, 9], [7, 9], [8])] * 2)

    def shown(self, client: ServiceClient) -> list[tuple[list[int], list[int], list[int]]]:
        """
        The replicas of partition 0 of C{orders}, those in sync and those offline, as
        Metadata and DescribeTopicPartitions show them.
        """
        asked = MetadataRequest(topics=[MetadataRequest.Topic(name="orders")])
        named = DescribeTopicPartitionsRequest(
            topics=[DescribeTopicPartitionsRequest.Topic(name="orders")],
            response_partition_limit=10,
        )
        parts = [
            client.now(asked, 12).topics[0].partitions[0],
            client.now(named, 0).topics[0].partitions[0],
        ]
        return [(each.replica_nodes, each.isr_nodes, each.offline_replicas) for each in parts]
