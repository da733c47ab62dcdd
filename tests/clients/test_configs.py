"""
Configurations, log directories and producers, through the admin clients of the
libraries; an altered configuration takes effect at once.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import confluent_kafka
import kafka
import kafka.errors
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)
from kafka.admin import ConfigResource as PythonResource
from kafka.admin import ConfigResourceType, KafkaAdminClient

from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.libraries import KAFKAJS, run
from tests.clients.raw import CODECS, batch_of

SECONDS = 30.0

UNKNOWN_TOPIC = 3
MESSAGE_TOO_LARGE = 10
INVALID_TIMESTAMP = 32
INVALID_PARTITIONS = 37
INVALID_CONFIG = 40
INVALID_REQUEST = 42
INVALID_RECORD = 87

STATIC_BROKER_CONFIG = 4


class ConfigCase(BrokerTestCase):
    """
    A broker with a topic.
    """

    def setUp(self) -> None:
        """
        The topic is called C{talk}.
        """
        super().setUp()
        self.subject = self.broker()
        self.raw = self.connect(self.subject)
        self.raw.create("talk", 2)


class ConfluentTests(ConfigCase):
    """
    confluent-kafka's C{AdminClient}.
    """

    def setUp(self) -> None:
        """
        A client for the broker.
        """
        super().setUp()
        self.admin = AdminClient({"bootstrap.servers": self.subject.address})
        self.topic = ConfigResource(ConfigResource.Type.TOPIC, "talk")

    def described(self, resource: ConfigResource) -> dict[str, ConfigEntry]:
        """
        Return the configuration of a resource, by name.
        """
        found = self.admin.describe_configs([resource])[resource].result(SECONDS)
        assert isinstance(found, dict)
        return found

    def alter(self, *steps: tuple[str, str, str | None], name: str = "talk") -> Any:
        """
        Alter a topic incrementally: operation, configuration, value.
        """
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        for operation, key, value in steps:
            resource.add_incremental_config(
                ConfigEntry(
                    key, value or "", incremental_operation=AlterConfigOpType[operation.upper()]
                )
            )
        return self.admin.incremental_alter_configs([resource])[resource]

    def refusal(self, future: Any) -> confluent_kafka.KafkaError:
        """
        Return the error of a call.
        """
        with self.assertRaises(confluent_kafka.KafkaException) as raised:
            future.result(SECONDS)
        error: confluent_kafka.KafkaError = raised.exception.args[0]
        return error

    def test_topic(self) -> None:
        """
        A topic's configurations, with where they come from, before and after
        they are altered in each of the ways that there are.
        """
        before = self.described(self.topic)["retention.ms"]
        self.assertEqual((before.value, before.is_default), ("604800000", True))
        self.assertEqual(list(before.synonyms), ["log.retention.ms"])
        self.alter(("set", "retention.ms", "777"), ("append", "cleanup.policy", "compact")).result(
            SECONDS
        )
        found = self.described(self.topic)
        self.assertEqual(found["retention.ms"].value, "777")
        self.assertFalse(found["retention.ms"].is_default)
        self.assertFalse(found["retention.ms"].is_read_only)
        self.assertEqual(list(found["retention.ms"].synonyms), ["retention.ms", "log.retention.ms"])
        self.assertEqual(found["cleanup.policy"].value, "delete,compact")
        self.alter(
            ("delete", "retention.ms", None), ("subtract", "cleanup.policy", "delete")
        ).result(SECONDS)
        found = self.described(self.topic)
        self.assertEqual(found["retention.ms"].value, "604800000")
        self.assertEqual(found["cleanup.policy"].value, "compact")
        resource = ConfigResource(
            ConfigResource.Type.TOPIC, "talk", set_config={"segment.ms": "999"}
        )
        self.admin.alter_configs([resource])[resource].result(SECONDS)
        found = self.described(self.topic)
        self.assertEqual(found["segment.ms"].value, "999")
        self.assertEqual(found["cleanup.policy"].value, "delete")

    def test_delete_what_is_not_set(self) -> None:
        """
        To delete what is not set or not known is no error, for a topic and for a broker,
        as MirrorMaker 2 and the tools for reassignments expect.
        """
        self.alter(("delete", "no.such.name", None), ("delete", "segment.ms", None)).result(SECONDS)
        broker = ConfigResource(ConfigResource.Type.BROKER, "0")
        throttle = "leader.replication.throttled.rate"
        operation = AlterConfigOpType.DELETE
        entry = ConfigEntry(throttle, "", incremental_operation=operation)
        broker.add_incremental_config(entry)
        self.admin.incremental_alter_configs([broker])[broker].result(SECONDS)

    def test_segment_size(self) -> None:
        """
        As in Kafka 4 a topic's segments are at least 1 MiB.
        """
        error = self.refusal(self.alter(("set", "segment.bytes", str((1 << 20) - 1))))
        self.assertEqual(error.code(), INVALID_CONFIG)
        self.alter(("set", "segment.bytes", str(1 << 20))).result(SECONDS)

    def test_defaults_of_the_broker(self) -> None:
        """
        Settings of the broker are in force for topics without overrides, and are
        described as such.
        """
        subject = self.broker(message_max_bytes="2000", log_retention_ms="-1")
        raw = self.connect(subject)
        raw.create("talk", 1)
        raw.create("large", 1, max_message_bytes="9000")
        batch = batch_of([bytes(3000)])
        self.assertEqual(raw.produce("talk", 0, batch).error_code, MESSAGE_TOO_LARGE)
        self.assertEqual(raw.produce("large", 0, batch).error_code, 0)
        self.admin = AdminClient({"bootstrap.servers": subject.address})
        found = self.described(self.topic)
        for name, value, synonym in (
            ("max.message.bytes", "2000", "message.max.bytes"),
            ("retention.ms", "-1", "log.retention.ms"),
        ):
            config = found[name]
            self.assertEqual((config.value, config.source), (value, STATIC_BROKER_CONFIG))
            self.assertEqual(list(config.synonyms), [synonym])

    def test_survives(self) -> None:
        """
        Altered configurations survive a crash.
        """
        self.alter(("set", "retention.ms", "777")).result(SECONDS)
        self.subject.kill()
        self.subject.start()
        self.assertEqual(self.described(self.topic)["retention.ms"].value, "777")

    def test_broker(self) -> None:
        """
        The broker's settings, under Kafka's names and its own.
        """
        found = self.described(ConfigResource(ConfigResource.Type.BROKER, "0"))
        self.assertEqual(found["broker.id"].value, "0")
        self.assertEqual(found["kafscale.segment.bytes"].value, str(64 << 20))
        self.assertEqual(
            found["advertised.listeners"].value, f"PLAINTEXT://127.0.0.1:{self.subject.port}"
        )
        for entry in found.values():
            self.assertTrue(entry.is_read_only, entry.name)

    def test_refusals(self) -> None:
        """
        An invalid configuration is refused, and the message names it.
        """
        for step, word in (
            (("set", "no.such", "1"), "no.such"),
            (("set", "retention.ms", "soon"), "retention.ms"),
            (("append", "retention.ms", "1"), "retention.ms"),
        ):
            error = self.refusal(self.alter(step))
            self.assertEqual(error.code(), INVALID_CONFIG)
            self.assertIn(word, error.str())
        error = self.refusal(self.alter(("set", "retention.ms", "1"), name="none"))
        self.assertEqual(error.code(), UNKNOWN_TOPIC)
        broker = ConfigResource(
            ConfigResource.Type.BROKER, "0", set_config={"log.retention.ms": "1"}
        )
        error = self.refusal(self.admin.alter_configs([broker])[broker])
        self.assertEqual(error.code(), INVALID_CONFIG)
        for resource, code in (
            (ConfigResource(ConfigResource.Type.TOPIC, "none"), UNKNOWN_TOPIC),
            (ConfigResource(ConfigResource.Type.GROUP, "group"), INVALID_REQUEST),
        ):
            error = self.refusal(self.admin.describe_configs([resource])[resource])
            self.assertEqual(error.code(), code)

    def test_cluster(self) -> None:
        """
        One broker, which is the controller.
        """
        found = self.admin.describe_cluster().result(SECONDS)
        self.assertEqual(len(found.cluster_id), 22)
        self.assertEqual((found.controller.id, found.controller.port), (0, self.subject.port))
        self.assertEqual([node.id for node in found.nodes], [0])

    def test_partitions(self) -> None:
        """
        The number of partitions can be raised, not lowered.
        """
        self.admin.create_partitions([NewPartitions("talk", 5)])["talk"].result(SECONDS)
        self.assertEqual(len(self.raw.metadata("talk").topics[0].partitions), 5)
        for count in (5, 3):
            future = self.admin.create_partitions([NewPartitions("talk", count)])["talk"]
            self.assertEqual(self.refusal(future).code(), INVALID_PARTITIONS)

    def test_elections(self) -> None:
        """
        There is nothing to elect.
        """
        place = confluent_kafka.TopicPartition("talk", 0)
        outcome = self.admin.elect_leaders(
            confluent_kafka.ElectionType.PREFERRED, [place]
        ).result(SECONDS)
        self.assertEqual(
            [error.code() for error in outcome.values()],
            [confluent_kafka.KafkaError.ELECTION_NOT_NEEDED],
        )


class KafkaPythonTests(ConfigCase):
    """
    kafka-python's C{KafkaAdminClient}.
    """

    def setUp(self) -> None:
        """
        A client for the broker.
        """
        super().setUp()
        self.admin = KafkaAdminClient(bootstrap_servers=self.subject.address)
        self.addCleanup(self.admin.close)

    def resource(self, configs: Any = None) -> PythonResource:
        """
        The topic, with these configurations.
        """
        return PythonResource(ConfigResourceType.TOPIC, "talk", configs)

    def modified(self) -> dict[str, str]:
        """
        The topic's own configurations.
        """
        found = self.admin.describe_configs([self.resource()])["topic"]["talk"]
        return {name: config["value"] for name, config in found.items()}

    def test_topic(self) -> None:
        """
        Described, altered, put back.
        """
        everything = self.admin.describe_configs([self.resource()], config_filter="all")
        config = everything["topic"]["talk"]["retention.ms"]
        self.assertEqual(
            (config["value"], config["config_type"], config["config_source"]),
            ("604800000", "LONG", "DEFAULT_CONFIG"),
        )
        self.assertEqual(self.modified(), {})
        altered = self.admin.alter_configs([self.resource({"retention.ms": "5"})])
        self.assertEqual(altered, {"topic": {"talk": "OK"}})
        self.admin.alter_configs([self.resource({"segment.ms": "6"})])
        self.assertEqual(self.modified(), {"retention.ms": "5", "segment.ms": "6"})
        self.admin.reset_configs([self.resource(["segment.ms"])])
        self.assertEqual(self.modified(), {"retention.ms": "5"})
        refused = self.admin.alter_configs([self.resource({"retention.ms": "soon"})])
        self.assertIn("InvalidConfigurationError", refused["topic"]["talk"])

    def test_what_there_is(self) -> None:
        """
        Topics and brokers have configurations.
        """
        found = self.admin.list_config_resources()
        topics = ["__consumer_offsets", "talk"]
        self.assertEqual(found, {"topic": topics, "broker": ["0"]})

    def test_log_dirs(self) -> None:
        """
        A partition has the size of its records in the journal, and, once they
        are in a segment, of that segment. Deleted records do not count.
        """

        def size(index: int) -> int:
            (broker,) = self.admin.describe_log_dirs({"talk": [0, 1]})
            (directory,) = broker["log_dirs"]
            (topic,) = directory["topics"]
            sizes = {each["partition_index"]: each for each in topic["partitions"]}
            return int(sizes[index]["partition_size"])

        batch = batch_of([bytes(1000)] * 100)
        self.raw.produce("talk", 0, batch)
        self.raw.produce("talk", 0, batch)
        self.assertEqual((size(0), size(1)), (2 * len(batch), 0))
        self.raw.alter("talk", segment_ms="1")
        eventually(lambda: size(0) != 2 * len(batch))
        segments = self.subject.objects.sizes("default/topics/")
        (segment,) = (length for key, length in segments.items() if "/0/" in key)
        self.assertEqual(size(0), segment)
        self.raw.produce("talk", 0, batch)
        eventually(lambda: size(0) > segment + len(batch))
        self.raw.delete_records("talk", 0, 200)
        eventually(lambda: size(0) < 2 * len(batch))

    def test_disk(self) -> None:
        """
        The directory of the partitions, and the size and free space of the
        disk.
        """
        (broker,) = self.admin.describe_log_dirs({"talk": [0, 1]})
        (directory,) = broker["log_dirs"]
        self.assertEqual(directory["log_dir"], str(self.subject.data))
        self.assertGreater(directory["total_bytes"], directory["usable_bytes"])

    def test_producers(self) -> None:
        """
        DescribeProducers lists idempotent producers.
        """
        producer = self.raw.producer_id()
        batch = batch_of([b"x"] * 3, producer_id=producer, epoch=0, sequence=0)
        self.raw.produce("talk", 1, batch)
        place = kafka.TopicPartition("talk", 1)
        ((state,),) = [
            each.active_producers for each in self.admin.describe_producers([place]).values()
        ]
        self.assertEqual((state.producer_id, state.last_sequence), (producer, 2))

    def test_nothing_moves(self) -> None:
        """
        There is nothing to elect, and nothing to move.
        """
        place = kafka.TopicPartition("talk", 0)
        self.assertEqual(self.admin.alter_partition_reassignments({place: [0]}), {place: None})
        refused = self.admin.alter_partition_reassignments({place: [1]})
        self.assertIs(refused[place], kafka.errors.InvalidReplicationAssignmentError)
        self.assertEqual(self.admin.list_partition_reassignments(), {})
        elected = self.admin.elect_leaders(0, {"talk": [0]}, raise_errors=False)
        ((outcome,),) = [each.partition_result for each in elected.replica_election_results]
        self.assertEqual(outcome.error_code, 84)  # ELECTION_NOT_NEEDED

    def test_cluster_and_partitions(self) -> None:
        """
        One broker; more partitions, not fewer.
        """
        self.assertEqual(self.admin.describe_cluster()["controller_id"], 0)
        self.admin.create_partitions({"talk": 3})
        self.assertEqual(len(self.raw.metadata("talk").topics[0].partitions), 3)
        with self.assertRaises(kafka.errors.InvalidPartitionsError):
            self.admin.create_partitions({"talk": 2})


class KafkajsTests(ConfigCase):
    """
    kafkajs's C{admin()}.
    """

    def call(self, *calls: tuple[str, Any]) -> list[Any]:
        """
        Return the result of each call, or the type of its error.
        """
        job = json.dumps({"address": self.subject.address, "calls": calls})
        out = run(["node", str(KAFKAJS / "admin.js"), job], b"")
        return [
            each["result"] if "result" in each else each["error"].get("type", each["error"]["name"])
            for each in json.loads(out)
        ]

    def test_configs(self) -> None:
        """
        Described, altered, refused.
        """
        topic = {"type": 2, "name": "talk"}
        describe = {"resources": [{**topic, "configNames": ["retention.ms"]}]}
        retention = {"name": "retention.ms", "value": "777"}
        altered = {"resources": [{**topic, "configEntries": [retention]}]}
        unknown = {"resources": [{**topic, "configEntries": [{"name": "no.such", "value": "1"}]}]}
        broker = {"resources": [{"type": 4, "name": "0", "configNames": ["broker.id"]}]}
        before, done, after, refused, broker_id = self.call(
            ("describeConfigs", describe),
            ("alterConfigs", altered),
            ("describeConfigs", {**describe, "includeSynonyms": True}),
            ("alterConfigs", unknown),
            ("describeConfigs", broker),
        )

        def entry(response: Any) -> Any:
            ((config,),) = [each["configEntries"] for each in response["resources"]]
            return config

        self.assertEqual(
            (entry(before)["configValue"], entry(before)["isDefault"]), ("604800000", True)
        )
        self.assertEqual(done["resources"][0]["errorCode"], 0)
        self.assertEqual((entry(after)["configValue"], entry(after)["isDefault"]), ("777", False))
        self.assertEqual(len(entry(after)["configSynonyms"]), 2)
        self.assertEqual(refused, "INVALID_CONFIG")
        self.assertEqual(entry(broker_id)["configValue"], "0")

    def test_cluster_and_partitions(self) -> None:
        """
        One broker; more partitions, not fewer; nothing that moves.
        """

        def partitions(count: int) -> tuple[str, Any]:
            return "createPartitions", {"topicPartitions": [{"topic": "talk", "count": count}]}

        def move(broker: int) -> tuple[str, Any]:
            assignment = [{"partition": 0, "replicas": [broker]}]
            return "alterPartitionReassignments", {
                "topics": [{"topic": "talk", "partitionAssignment": assignment}]
            }

        cluster, _, fewer, metadata, moved, not_moved, moves = self.call(
            ("describeCluster", None),
            partitions(4),
            partitions(3),
            ("fetchTopicMetadata", {"topics": ["talk"]}),
            move(0),
            move(5),
            ("listPartitionReassignments", {}),
        )
        self.assertEqual(
            cluster["brokers"], [{"nodeId": 0, "host": "127.0.0.1", "port": self.subject.port}]
        )
        self.assertEqual((cluster["controller"], len(cluster["clusterId"])), (0, 22))
        self.assertEqual(fewer, "INVALID_PARTITIONS")
        self.assertEqual(len(metadata["topics"][0]["partitions"]), 4)
        self.assertIsNone(moved)
        self.assertEqual(not_moved, "KafkaJSAggregateError")
        self.assertEqual(moves, {"topics": []})


class AtOnceTests(ConfigCase):
    """
    An altered configuration applies to the next batch, without a restart, and
    so does its removal.
    """

    def code(self, batch: bytes) -> int:
        """
        Return the error code of a produce request with this batch.
        """
        code: int = self.raw.produce("talk", 0, batch).error_code
        return code

    def test_max_message_bytes(self) -> None:
        """
        Batches that are too large, or not any more.
        """
        small, large = batch_of([bytes(500)]), batch_of([bytes(2_000_000)])
        self.assertEqual((self.code(small), self.code(large)), (0, MESSAGE_TOO_LARGE))
        self.raw.alter("talk", max_message_bytes="400")
        self.assertEqual((self.code(small), self.code(large)), (MESSAGE_TOO_LARGE,) * 2)
        self.raw.alter("talk", max_message_bytes="4000000")
        self.assertEqual((self.code(small), self.code(large)), (0, 0))
        self.raw.alter("talk", max_message_bytes=None)
        self.assertEqual((self.code(small), self.code(large)), (0, MESSAGE_TOO_LARGE))

    def test_a_producer_is_told(self) -> None:
        """
        A producer that was connected all the time is refused the next record.
        """
        producer = confluent_kafka.Producer({"bootstrap.servers": self.subject.address})
        outcomes: list[Any] = []

        def send() -> None:
            producer.produce(
                "talk", os.urandom(5000), partition=0, on_delivery=lambda e, _: outcomes.append(e)
            )
            self.assertEqual(producer.flush(SECONDS), 0)

        send()
        self.raw.alter("talk", max_message_bytes="1000")
        send()
        self.raw.alter("talk", max_message_bytes=None)
        send()
        codes = [error and error.code() for error in outcomes]
        self.assertEqual(codes, [None, MESSAGE_TOO_LARGE, None])

    def test_timestamp_type(self) -> None:
        """
        Whose time a record has.
        """
        old = 1_000_000
        self.code(batch_of([b"x"], timestamp=old))
        self.raw.alter("talk", message_timestamp_type="LogAppendTime")
        before = time.time() * 1000
        answer = self.raw.produce("talk", 0, batch_of([b"x"], timestamp=old))
        self.assertGreaterEqual(answer.log_append_time_ms, int(before))
        self.raw.alter("talk", message_timestamp_type=None)
        self.code(batch_of([b"x"], timestamp=old))
        times = [record.timestamp for record in self.raw.records("talk")]
        self.assertEqual(times, [old, answer.log_append_time_ms, old])

    def test_timestamp_bounds(self) -> None:
        """
        How far a record's time may be from the broker's.
        """
        now = int(time.time() * 1000)
        minute = 60_000
        late, early = (batch_of([b"x"], timestamp=now + by) for by in (-5 * minute, 5 * minute))
        self.assertEqual((self.code(late), self.code(early)), (0, 0))
        self.raw.alter("talk", message_timestamp_before_max_ms=str(minute))
        self.assertEqual((self.code(late), self.code(early)), (INVALID_TIMESTAMP, 0))
        self.raw.alter("talk", message_timestamp_after_max_ms=str(minute))
        self.assertEqual((self.code(late), self.code(early)), (INVALID_TIMESTAMP,) * 2)
        self.raw.alter("talk", message_timestamp_before_max_ms=None)
        self.assertEqual((self.code(late), self.code(early)), (0, INVALID_TIMESTAMP))

    def test_compact(self) -> None:
        """
        Records of a compacted topic have keys.
        """
        without_key = batch_of([b"x"])
        self.raw.alter("talk", cleanup_policy="compact")
        self.assertEqual(self.code(without_key), INVALID_RECORD)
        self.raw.alter("talk", cleanup_policy="delete")
        self.assertEqual(self.code(without_key), 0)

    def test_compression(self) -> None:
        """
        Batches are stored in the codec of the topic, or as they were sent.
        """
        for codec in ("producer", "zstd", "uncompressed"):
            self.raw.alter("talk", compression_type=codec)
            producer = confluent_kafka.Producer(
                {"bootstrap.servers": self.subject.address, "compression.type": "gzip"}
            )
            producer.produce("talk", b"long " * 1000, partition=0)
            self.assertEqual(producer.flush(SECONDS), 0)
        codecs = [batch.codec for batch in self.raw.batches("talk")]
        self.assertEqual(codecs, [CODECS["gzip"], CODECS["zstd"], CODECS["none"]])
