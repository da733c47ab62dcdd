"""
Topics and offsets through the admin clients of the libraries.
"""

from __future__ import annotations

from typing import Any

import confluent_kafka
import kafka
import kafka.errors
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec
from kafka.admin import KafkaAdminClient

from tests.clients.broker import Broker, BrokerTestCase, eventually
from tests.clients.raw import EARLIEST, LATEST, batch_of

SECONDS = 30.0


def data_bytes(broker: Broker) -> int:
    """
    The size of all that the broker has stored, but for its metadata.
    """
    return sum(broker.objects.sizes().values())


class ConfluentAdminTests(BrokerTestCase):
    """
    confluent-kafka's C{AdminClient}.
    """

    def setUp(self) -> None:
        """
        A broker and an admin client.
        """
        super().setUp()
        self.subject = self.broker()
        self.admin = AdminClient({"bootstrap.servers": self.subject.address})

    def create(self, name: str, partitions: int = 1, **more: Any) -> None:
        """
        Create a topic.
        """
        topic = NewTopic(name, num_partitions=partitions, **more)
        self.admin.create_topics([topic])[name].result(SECONDS)

    def refused(self, future: Any) -> int:
        """
        The error code that a call failed with.
        """
        with self.assertRaises(confluent_kafka.KafkaException) as raised:
            future.result(SECONDS)
        return raised.exception.args[0].code()

    def test_life_of_a_topic(self) -> None:
        """
        Created, described, given more partitions, deleted.
        """
        self.create("life", 3, replication_factor=1, config={"retention.ms": "86400000"})
        listed = self.admin.list_topics(timeout=SECONDS)
        self.assertEqual(sorted(listed.topics["life"].partitions), [0, 1, 2])
        self.assertEqual(listed.controller_id, 0)
        self.assertEqual(len(listed.cluster_id), 22)
        for partition in listed.topics["life"].partitions.values():
            self.assertEqual((partition.leader, partition.replicas, partition.isrs), (0, [0], [0]))
        self.admin.create_partitions([NewPartitions("life", 5)])["life"].result(SECONDS)
        listed = self.admin.list_topics("life", timeout=SECONDS)
        self.assertEqual(sorted(listed.topics["life"].partitions), [0, 1, 2, 3, 4])
        self.admin.delete_topics(["life"])["life"].result(SECONDS)
        self.assertNotIn("life", self.admin.list_topics(timeout=SECONDS).topics)

    def test_refusals(self) -> None:
        """
        What Kafka refuses is refused with Kafka's error.
        """
        self.create("there")
        for expected, topic in (
            (36, NewTopic("there", num_partitions=1)),  # TOPIC_ALREADY_EXISTS
            (17, NewTopic("not/a/name", num_partitions=1)),  # INVALID_TOPIC_EXCEPTION
            (40, NewTopic("odd", config={"no.such.config": "1"})),  # INVALID_CONFIG
            (40, NewTopic("odd", config={"retention.ms": "soon"})),
        ):
            future = self.admin.create_topics([topic])[topic.topic]
            self.assertEqual(self.refused(future), expected, topic.topic)
        gone = self.admin.delete_topics(["never-there"])["never-there"]
        self.assertEqual(self.refused(gone), 3)  # UNKNOWN_TOPIC_OR_PARTITION
        fewer = self.admin.create_partitions([NewPartitions("there", 1)])["there"]
        self.assertEqual(self.refused(fewer), 37)  # INVALID_PARTITIONS

    def test_validate_only(self) -> None:
        """
        A trial creates nothing.
        """
        topic = NewTopic("trial", num_partitions=1)
        self.admin.create_topics([topic], validate_only=True)["trial"].result(SECONDS)
        self.assertNotIn("trial", self.admin.list_topics(timeout=SECONDS).topics)

    def test_offsets(self) -> None:
        """
        Earliest, latest and largest timestamp, and by time; and after
        DeleteRecords.
        """
        self.create("offsets")
        raw = self.connect(self.subject)
        raw.produce("offsets", 0, batch_of([b"%d" % i for i in range(10)], timestamp=1000))
        raw.produce("offsets", 0, batch_of([b"%d" % i for i in range(10)], timestamp=5000))
        place = confluent_kafka.TopicPartition("offsets", 0)

        def offset(spec: Any) -> int:
            return self.admin.list_offsets({place: spec})[place].result(SECONDS).offset

        self.assertEqual(offset(OffsetSpec.earliest()), 0)
        self.assertEqual(offset(OffsetSpec.latest()), 20)
        self.assertEqual(offset(OffsetSpec.max_timestamp()), 19)
        self.assertEqual(offset(OffsetSpec.for_timestamp(1003)), 3)
        self.assertEqual(offset(OffsetSpec.for_timestamp(1010)), 10)
        self.assertEqual(offset(OffsetSpec.for_timestamp(6000)), -1)
        before = confluent_kafka.TopicPartition("offsets", 0, 13)
        (deleted,) = self.admin.delete_records([before]).values()
        self.assertEqual(deleted.result(SECONDS).low_watermark, 13)
        self.assertEqual(offset(OffsetSpec.earliest()), 13)
        self.assertEqual(offset(OffsetSpec.latest()), 20)

    def test_recreated_topic_is_empty(self) -> None:
        """
        A topic of a name that was used before starts at offset 0, with an id
        of its own, and with nothing in it.
        """
        raw = self.connect(self.subject)
        first = raw.create("again")
        raw.produce("again", 0, batch_of([b"old"] * 5))
        self.admin.delete_topics(["again"])["again"].result(SECONDS)
        second = raw.create("again")
        self.assertNotEqual(first, second)
        self.assertEqual(raw.offset("again", 0, LATEST), 0)
        self.assertEqual(raw.produce("again", 0, batch_of([b"new"])).base_offset, 0)
        self.assertEqual([each.value for each in raw.records("again")], [b"new"])
        self.subject.kill()
        self.subject.start()
        again = self.connect(self.subject)
        self.assertEqual([each.value for each in again.records("again")], [b"new"])


class KafkaPythonAdminTests(BrokerTestCase):
    """
    kafka-python's C{KafkaAdminClient}.
    """

    def setUp(self) -> None:
        """
        A broker and an admin client.
        """
        super().setUp()
        self.subject = self.broker()
        self.admin = KafkaAdminClient(bootstrap_servers=self.subject.address)
        self.addCleanup(self.admin.close)

    def test_life_of_a_topic(self) -> None:
        """
        Created, described, given more partitions, deleted.
        """
        wanted = {"num_partitions": 2, "replication_factor": 1}
        self.admin.create_topics({"life": wanted}, wait_for_metadata=True)
        self.assertEqual(self.admin.list_topics(), ["__consumer_offsets", "life"])
        (described,) = self.admin.describe_topics(["life"])
        self.assertEqual(len(described["partitions"]), 2)
        self.admin.create_partitions({"life": 4})
        (described,) = self.admin.describe_topics(["life"])
        self.assertEqual(len(described["partitions"]), 4)
        with self.assertRaises(kafka.errors.TopicAlreadyExistsError):
            self.admin.create_topics({"life": wanted})
        self.admin.delete_topics(["life"])
        self.assertEqual(self.admin.list_topics(), ["__consumer_offsets"])

    def test_cluster(self) -> None:
        """
        One broker, at the address that clients reach it at.
        """
        described = self.admin.describe_cluster()
        (broker,) = described["brokers"]
        self.assertEqual((broker["host"], broker["port"]), ("127.0.0.1", self.subject.port))
        self.assertEqual(described["controller_id"], 0)

    def test_delete_records(self) -> None:
        """
        The log start moves, and the records before it cannot be read.
        """
        raw = self.connect(self.subject)
        raw.create("cut")
        for i in range(10):
            raw.produce("cut", 0, batch_of([b"%d" % i]))
        place = kafka.TopicPartition("cut", 0)
        self.admin.delete_records({place: 7})
        self.assertEqual(raw.offset("cut", 0, EARLIEST), 7)
        self.assertEqual(raw.fetch("cut", 0, 6).error_code, 1)  # OFFSET_OUT_OF_RANGE
        self.assertEqual([each.value for each in raw.records("cut")], [b"7", b"8", b"9"])


class TopicTests(BrokerTestCase):
    """
    Creation and deletion of topics.
    """

    def test_data_goes(self) -> None:
        """
        The files of a deleted topic are deleted: its segments, and its slots of
        the journal when the next roll or stop releases them.
        """
        broker = self.broker(segment_bytes="256KiB")
        raw = self.connect(broker)
        empty = data_bytes(broker)
        raw.create("large", 2)
        for i in range(40):
            raw.produce("large", i % 2, batch_of([bytes(100_000)]))
        self.assertGreater(data_bytes(broker), empty + 4_000_000)
        raw.delete("large")
        eventually(lambda: data_bytes(broker) < empty + 1_000_000)
        broker.restart()
        eventually(lambda: data_bytes(broker) < empty + 100_000)
        self.assertEqual(self.connect(broker).topics(), [])

    def test_created_when_asked_for(self) -> None:
        """
        A producer needs not create its topic; the number of partitions is the
        setting's.
        """
        broker = self.broker(auto_create_partitions=3)
        producer = confluent_kafka.Producer({"bootstrap.servers": broker.address})
        producer.produce("made", b"value", partition=2)
        self.assertEqual(producer.flush(SECONDS), 0)
        raw = self.connect(broker)
        self.assertEqual(len(raw.metadata("made").topics[0].partitions), 3)
        self.assertEqual([each.value for each in raw.records("made", 2)], [b"value"])

    def test_not_created_when_not_asked_for(self) -> None:
        """
        A client that asks for no creation, and a broker that has it disabled,
        create nothing.
        """
        broker = self.broker()
        raw = self.connect(broker)
        self.assertEqual(raw.metadata("absent").topics[0].error_code, 3)
        self.assertEqual(raw.topics(), [])
        strict = self.broker(auto_create_topics=0)
        raw = self.connect(strict)
        self.assertEqual(raw.metadata("absent", create=True).topics[0].error_code, 3)
        self.assertEqual(raw.topics(), [])

    def test_a_thousand_partitions(self) -> None:
        """
        One topic of a thousand partitions: each can be written and read, and
        they are there after a crash.
        """
        broker = self.broker()
        raw = self.connect(broker)
        raw.create("wide", 1000)
        self.assertEqual(len(raw.metadata("wide").topics[0].partitions), 1000)
        for index in range(0, 1000, 37):
            self.assertEqual(raw.produce("wide", index, batch_of([b"%d" % index])).error_code, 0)
        broker.kill()
        broker.start()
        raw = self.connect(broker)
        self.assertEqual(len(raw.metadata("wide").topics[0].partitions), 1000)
        for index in range(0, 1000, 37):
            self.assertEqual([r.value for r in raw.records("wide", index)], [b"%d" % index])
