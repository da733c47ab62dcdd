"""
C{__consumer_offsets} as monitors of consumer lag read it.
"""

from __future__ import annotations

from typing import Any

import confluent_kafka
import kafka

from kafscale.format.metadata_keys import shard_of
from kafscale.wire.messages import (
    CreateTopicsRequest,
    DeleteTopicsRequest,
    MetadataRequest,
    OffsetCommitRequest,
)
from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.cluster import ClusterTestCase
from tests.clients.raw import EARLIEST, LATEST, RawClient, batch_of

OFFSETS = "__consumer_offsets"
PARTITIONS = 50

NONE = 0
NOT_LEADER_OR_FOLLOWER = 6
INVALID_TOPIC_EXCEPTION = 17
TOPIC_ALREADY_EXISTS = 36

MILLISECONDS = 30_000


def commit_to(raw: RawClient, offset: int) -> int:
    """
    Commit an offset as a consumer without a group membership does; return the error code.
    """
    topic = OffsetCommitRequest.Topic
    part = topic.Partition(partition_index=1, committed_offset=offset, committed_metadata="m")
    request = OffsetCommitRequest(
        group_id="readers", topics=[topic(name="talk", partitions=[part])]
    )
    (answer,) = raw.call(request, 8).topics
    code: int = answer.partitions[0].error_code
    return code


class OffsetsTopicTests(BrokerTestCase):
    """
    One broker with a topic and a group.
    """

    def setUp(self) -> None:
        """
        The topic is called C{talk}.
        """
        super().setUp()
        self.subject = self.broker()
        self.raw = self.connect(self.subject)
        self.raw.create("talk", 2)

    def commit(self, offset: int) -> None:
        """
        Commit an offset.
        """
        self.assertEqual(commit_to(self.raw, offset), NONE)

    def tailed(self, count: int) -> list[tuple[int, int, bytes, bytes]]:
        """
        The first records that a monitor finds: partition, offset, key and value.
        """
        monitor = kafka.KafkaConsumer(
            bootstrap_servers=self.subject.address,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            exclude_internal_topics=False,
        )
        found: list[tuple[int, int, bytes, bytes]] = []
        try:
            self.assertEqual(monitor.partitions_for_topic(OFFSETS), set(range(PARTITIONS)))
            monitor.assign([kafka.TopicPartition(OFFSETS, index) for index in range(PARTITIONS)])
            while len(found) < count:
                polled: Any = monitor.poll(MILLISECONDS)
                self.assertTrue(polled, found)
                found += [
                    (each.partition, each.offset, each.key, each.value)
                    for batch in polled.values()
                    for each in batch
                ]
        finally:
            monitor.close()
        return found

    def test_tailed(self) -> None:
        """
        A monitor reads each commit, in the format of Kafka, and after a restart of the
        broker those since then, at larger offsets.
        """
        ends = []
        for first in (1, 3):
            for offset in (first, first + 1):
                self.commit(offset)
            one, two = self.tailed(2)
            self.assertEqual(one[0], two[0])
            self.assertLess(one[1], two[1])
            for record, offset in ((one, first), (two, first + 1)):
                self.assertEqual(record[2], b"\0\1" + b"\0\7readers" + b"\0\4talk" + b"\0\0\0\1")
                value = b"\0\3" + offset.to_bytes(8, "big") + b"\xff\xff\xff\xff" + b"\0\1m"
                self.assertEqual(record[3][:-8], value)
            self.assertLessEqual(self.raw.offset(OFFSETS, one[0], EARLIEST), one[1])
            self.assertEqual(self.raw.offset(OFFSETS, one[0], LATEST), two[1] + 1)
            ends.append(two[1])
            self.subject.restart()
            self.raw = self.connect(self.subject)
        self.assertLess(ends[0] + 1, ends[1])

    def test_internal(self) -> None:
        """
        It is described as internal, and can be neither written, created nor deleted.
        """
        (topic,) = self.raw.call(
            MetadataRequest(topics=[MetadataRequest.Topic(name=OFFSETS)]), 12
        ).topics
        self.assertTrue(topic.is_internal)
        self.assertEqual([each.leader_id for each in topic.partitions], [0] * PARTITIONS)
        produced = self.raw.produce(OFFSETS, 0, batch_of([b"x"]))
        self.assertEqual(produced.error_code, INVALID_TOPIC_EXCEPTION)
        wanted = CreateTopicsRequest.Topic(
            name=OFFSETS, num_partitions=1, replication_factor=1, assignments=[], configs=[]
        )
        request = CreateTopicsRequest(topics=[wanted], timeout_ms=MILLISECONDS)
        (created,) = self.raw.call(request, 7).topics
        self.assertEqual(created.error_code, TOPIC_ALREADY_EXISTS)
        deletion = DeleteTopicsRequest(topic_names=[OFFSETS], topics=[], timeout_ms=MILLISECONDS)
        (deleted,) = self.raw.call(deletion, 5).responses
        self.assertEqual(deleted.error_code, INVALID_TOPIC_EXCEPTION)

    def test_to_the_end(self) -> None:
        """
        A reader of all partitions gets to the end of each.
        """
        self.commit(5)
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.subject.address,
                "group.id": "monitor",
                "enable.partition.eof": True,
            }
        )
        beginning = confluent_kafka.OFFSET_BEGINNING
        consumer.assign(
            [confluent_kafka.TopicPartition(OFFSETS, n, beginning) for n in range(PARTITIONS)]
        )
        ended: set[int] = set()
        records = 0
        try:
            while len(ended) < PARTITIONS:
                message = consumer.poll(MILLISECONDS / 1000)
                self.assertIsNotNone(message, ended)
                if message.error():
                    self.assertEqual(
                        message.error().code(), confluent_kafka.KafkaError._PARTITION_EOF
                    )
                    ended.add(message.partition())
                else:
                    records += 1
        finally:
            consumer.close()
        self.assertEqual(records, 1)


class MovedTests(ClusterTestCase):
    """
    Two brokers in two racks, of which one is killed.
    """

    def test_moved(self) -> None:
        """
        The partition is led by the broker that coordinates the group, and by no other,
        whatever the rack of a reader. When another broker takes over, offsets go on
        above those before.
        """
        cluster = self.cluster(2, racks=("a", "b"))
        eventually(lambda: cluster.led_by(OFFSETS, cluster.brokers), 60)
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create("talk", 2)
        shard = shard_of("readers")
        leader, other = sorted(
            cluster.brokers, key=lambda each: each.broker_id != cluster.leaders(OFFSETS)[shard]
        )
        with RawClient(leader.port) as raw:
            eventually(lambda: commit_to(raw, 7) == NONE)
            before = raw.fetch(OFFSETS, shard, raw.offset(OFFSETS, shard, EARLIEST))
            self.assertEqual(before.error_code, NONE)
            self.assertIn(b"readers", bytes(before.records or b""))
        with RawClient(other.port) as raw:
            self.assertEqual(raw.fetch(OFFSETS, shard, 0).error_code, NOT_LEADER_OR_FOLLOWER)
            leader.kill()
            eventually(lambda: commit_to(raw, 8) == NONE, 60)
            eventually(lambda: cluster.led_by(OFFSETS, [other], other))
            start = raw.offset(OFFSETS, shard, EARLIEST)
            self.assertGreaterEqual(start, before.high_watermark)
            after = raw.fetch(OFFSETS, shard, start)
            self.assertIn(b"readers", bytes(after.records or b""))
            self.assertGreater(after.high_watermark, start)
