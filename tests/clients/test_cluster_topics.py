"""
Topics of three brokers on one etcd and one bucket: many at once, and with replicas that
are assigned by hand.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
)
from tests.clients.broker import eventually
from tests.clients.cluster import Cluster, ClusterTestCase
from tests.clients.raw import RawClient, batch_of
from tests.clients.steady import Steady, check

COUNT = 100
MOST_COMMITS = 8
KINDS = {"names", "topics", "partitions", "tombstones"}
EVERYTHING = b64encode(b"\0").decode()


class ManyTests(ClusterTestCase):
    """
    A hundred topics in one request.
    """

    def commits(self, cluster: Cluster, work: Callable[[], None]) -> int:
        """
        The number of commits, of any broker, that the work takes, without those that
        do not concern topics.
        """
        before = self.revision(cluster)
        work()
        after = self.revision(cluster)
        return sum(self.is_of_topics(cluster, each) for each in range(before + 1, after + 1))

    def revision(self, cluster: Cluster) -> int:
        """
        The revision of etcd.
        """
        answer = cluster.etcd.ask("/v3/kv/range", {"key": EVERYTHING})
        return int(answer["header"]["revision"])

    def is_of_topics(self, cluster: Cluster, revision: int) -> bool:
        """
        Whether the commit of a revision concerns topics: it has put such entries, or has
        deleted entries only.
        """
        asked = {
            "key": EVERYTHING,
            "range_end": EVERYTHING,
            "keys_only": True,
            "revision": str(revision),
            "min_mod_revision": str(revision),
        }
        put = cluster.etcd.ask("/v3/kv/range", asked).get("kvs", ())
        kinds = {b64decode(kv["key"]).decode().split("/")[3] for kv in put}
        return not kinds or bool(kinds & KINDS)

    def test_few_commits(self) -> None:
        """
        They are created and deleted in a few commits. All have leaders, which take
        records, when the creation is answered.
        """
        cluster = self.cluster(lease_seconds=20)  # registrations again would be commits, too
        names = [f"t{number}" for number in range(COUNT)]
        with RawClient(cluster.brokers[0].port) as raw:
            self.assertLessEqual(
                self.commits(cluster, lambda: self.create(raw, names)), MOST_COMMITS
            )
            leaders = {name: self.leader(raw, name) for name in names}
            self.assertEqual(set(leaders.values()), {1, 2, 3})
            for broker in cluster.brokers:
                with RawClient(broker.port) as led:
                    for name in names:
                        if leaders[name] == broker.broker_id:
                            self.assertEqual(led.produce(name, 0, batch_of([b"x"])).error_code, 0)
            deleting = self.commits(cluster, lambda: self.delete(cluster, raw, names))
            self.assertLessEqual(deleting, MOST_COMMITS)

    def create(self, raw: RawClient, names: Sequence[str]) -> None:
        """
        Create the topics.
        """
        kind = CreateTopicsRequest.Topic
        wanted = [
            kind(name=name, num_partitions=1, replication_factor=1, assignments=[], configs=[])
            for name in names
        ]
        answer = raw.call(CreateTopicsRequest(topics=wanted, timeout_ms=60_000), 7)
        self.assertEqual({topic.error_code for topic in answer.topics}, {0})

    def leader(self, raw: RawClient, name: str) -> int:
        """
        The leader of the only partition of a topic.
        """
        (topic,) = raw.metadata(name).topics
        leader: int = topic.partitions[0].leader_id
        return leader

    def delete(self, cluster: Cluster, raw: RawClient, names: Sequence[str]) -> None:
        """
        Delete the topics, and return when their data is gone.
        """
        wanted = [DeleteTopicsRequest.Topic(name=name) for name in names]
        answer = raw.call(DeleteTopicsRequest(topics=wanted, timeout_ms=60_000), 6)
        self.assertEqual({topic.error_code for topic in answer.responses}, {0})
        prefix = "/kafscale/default/tombstones/"
        asked = {
            "key": b64encode(prefix.encode()).decode(),
            "range_end": b64encode(prefix[:-1].encode() + b"0").decode(),
            "count_only": True,
        }
        eventually(lambda: not int(cluster.etcd.ask("/v3/kv/range", asked).get("count", 0)), 60)


class AssignedTests(ClusterTestCase):
    """
    Replicas that are assigned by hand.
    """

    def reassign(self, raw: RawClient, topic: str, index: int, replicas: list[int] | None) -> int:
        """
        Assign replicas to a partition, and return the error code.
        """
        kind = AlterPartitionReassignmentsRequest.Topic
        part = kind.Partition(partition_index=index, replicas=replicas)
        request = AlterPartitionReassignmentsRequest(
            topics=[kind(name=topic, partitions=[part])], timeout_ms=60_000
        )
        ((answer,),) = [each.partitions for each in raw.call(request, 1).responses]
        code: int = answer.error_code
        return code

    def elect(self, raw: RawClient, topic: str, index: int) -> int:
        """
        Ask for the preferred leader of a partition, and return the error code.
        """
        asked = ElectLeadersRequest.TopicPartition(topic=topic, partitions=[index])
        request = ElectLeadersRequest(topic_partitions=[asked], timeout_ms=60_000)
        (answer,) = raw.call(request, 2).replica_election_results
        code: int = answer.partition_result[0].error_code
        return code

    def is_moving(self, raw: RawClient) -> bool:
        """
        Whether a reassignment is under way.
        """
        return bool(raw.call(ListPartitionReassignmentsRequest(topics=None), 0).topics)

    def described(self, raw: RawClient, topic: str) -> list[tuple[int, list[int], list[int]]]:
        """
        The leader, the replicas and the replicas in sync of each partition.
        """
        (told,) = raw.metadata(topic).topics
        partitions: list[Any] = sorted(told.partitions, key=lambda each: each.partition_index)
        return [(each.leader_id, each.replica_nodes, each.isr_nodes) for each in partitions]

    def test_hot_partition(self) -> None:
        """
        A partition moves to another broker and back while records come, and follows its
        list when brokers are killed and come back. No record is lost.
        """
        cluster = self.cluster()
        with RawClient(cluster.brokers[0].port) as raw:
            assigned = CreateTopicsRequest.Topic(
                name="hot",
                num_partitions=-1,
                replication_factor=-1,
                assignments=[
                    CreateTopicsRequest.Topic.Assignment(partition_index=index, broker_ids=[1, 2])
                    for index in range(2)
                ],
                configs=[],
            )
            (made,) = raw.call(CreateTopicsRequest(topics=[assigned]), 7).topics
            self.assertEqual((made.error_code, made.error_message), (0, None))
            self.assertEqual(self.described(raw, "hot"), [(1, [1, 2], [1, 2])] * 2)
            producer = Steady(cluster.addresses, "hot", 2, faults=True)
            producer.start()
            self.addCleanup(producer.abandon)
            self.goes_on(producer)
            for replicas in ([2, 1], [3, 2], [1, 2], [3, 1]):
                self.assertEqual(self.reassign(raw, "hot", 0, replicas), 0)
                eventually(lambda: not self.is_moving(raw), 60)
                self.assertEqual(self.described(raw, "hot")[0], (replicas[0], replicas, replicas))
                self.assertEqual(self.described(raw, "hot")[1][0], 1)
                self.goes_on(producer)
            self.assertEqual(self.reassign(raw, "hot", 0, None), 85)
            self.assertEqual(self.elect(raw, "hot", 0), 84)
            third = cluster.brokers[2]
            third.kill()
            eventually(lambda: self.described(raw, "hot")[0] == (1, [3, 1], [1]), 60)
            self.goes_on(producer)
            third.start()
            eventually(lambda: self.described(raw, "hot")[0] == (3, [3, 1], [3, 1]), 60)
            self.goes_on(producer)
        producer.finish()
        check(cluster.addresses, "hot", producer)
        cluster.verify()

    def goes_on(self, producer: Steady) -> None:
        """
        Return when each partition has taken some more records.
        """
        before = producer.counts()
        eventually(lambda: producer.is_past(before), 60)

    def test_with_a_library(self) -> None:
        """
        confluent-kafka creates and grows topics with assigned replicas.
        """
        cluster = self.cluster(2)
        admin = AdminClient({"bootstrap.servers": cluster.addresses})
        topic = NewTopic("assigned", 2, replica_assignment=[[2, 1], [1, 2]])
        for created in admin.create_topics([topic]).values():
            created.result(60)
        grown = NewPartitions("assigned", 3, replica_assignment=[[2, 1]])
        for created in admin.create_partitions([grown]).values():
            created.result(60)
        described = admin.list_topics("assigned", timeout=60).topics["assigned"].partitions
        self.assertEqual(
            {index: (each.leader, each.replicas) for index, each in described.items()},
            {0: (2, [2, 1]), 1: (1, [1, 2]), 2: (2, [2, 1])},
        )
