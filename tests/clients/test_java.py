"""
Java clients and tools of several versions of Apache Kafka.
"""

from __future__ import annotations

import json
import subprocess

from tests.clients.broker import ROOT, Broker, BrokerTestCase, eventually
from tests.clients.cluster import Cluster, ClusterTestCase
from tests.clients.kafka_tools import tools
from tests.clients.raw import RawClient
from tests.harness.peers import java

SECONDS = 300.0

#: What the programs report, in order.
MODERN = ["topics"]
MODERN += [f"records {codec}" for codec in ("none", "gzip", "snappy", "lz4", "zstd")]
MODERN += [f"recompressed {codec}" for codec in ("gzip", "snappy", "lz4", "zstd")]
MODERN += ["offsets", "configs", "group default", "group cooperative", "groups"]
OLD = ["topics", "records none", "records gzip", "records snappy", "records lz4"]
OLD += ["records idempotent", "offsets", "group default"]

#: With tools of before 4.4; C{NAME} stands for the option that names the broker.
WITH_OLDER_TOOLS = """
seq 100 | kafka-console-producer.sh NAME --topic orders
kafka-console-consumer.sh --bootstrap-server localhost:9092 --topic orders --from-beginning \
    --consumer-property group.id=readers --max-messages 100
kafka-consumer-groups.sh --bootstrap-server localhost:9092 --describe --group readers
"""
WITH_TOPIC_TOOLS = """
kafka-topics.sh --bootstrap-server localhost:9092 --create --topic orders --partitions 3
kafka-topics.sh --bootstrap-server localhost:9092 --describe --topic orders
kafka-configs.sh --bootstrap-server localhost:9092 --entity-type topics --entity-name orders \
    --alter --add-config retention.ms=86400000
kafka-configs.sh --bootstrap-server localhost:9092 --entity-type topics --entity-name orders \
    --describe
"""


def examples() -> str:
    """
    The examples of docs/operations.md, as a script.
    """
    chapter = (ROOT / "docs" / "operations.md").read_text()
    chapter = chapter.partition("## Kafka's command-line tools\n")[2].partition("\n## ")[0]
    block = chapter.partition("```console\n")[2].partition("```")[0]
    return "\n".join(line.removeprefix("$ ") for line in block.splitlines())


class JavaTestCase(BrokerTestCase):
    """
    A broker for the programs of others.
    """

    def subject(self) -> Broker:
        """
        A broker whose groups form at once.
        """
        return self.broker(group_initial_rebalance_delay_ms=0)

    def finish(self, command: list[str], environment: dict[str, str] | None = None) -> str:
        """
        Run a command to its end, which must be a good one.

        @return: Its output.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout


class ClientTests(JavaTestCase):
    """
    C{kafka-clients}: default producers and consumers, administration, groups with
    eager and cooperative members.
    """

    def _checked(self, version: str, program: str, checks: list[str]) -> None:
        broker = self.subject()
        output = self.finish(java(version, program, broker.address))
        self.assertEqual(output.splitlines(), checks)

    def test_4_4(self) -> None:
        """
        Version 4.4.
        """
        self._checked("4.4", "Modern", MODERN)

    def test_3_9(self) -> None:
        """
        Version 3.9.
        """
        self._checked("3.9", "Modern", MODERN)

    def test_2_8(self) -> None:
        """
        Version 2.8.
        """
        self._checked("2.8", "Modern", MODERN)

    def test_0_11(self) -> None:
        """
        Version 0.11, the first with an administrative client.
        """
        self._checked("0.11", "Old", OLD)


class ToolsTests(JavaTestCase):
    """
    The command-line tools.
    """

    def _ran(self, version: str, script: str) -> str:
        broker = self.subject()
        script = script.replace("localhost:9092", broker.address)
        environment = tools(self.folder / "bin", version)
        return self.finish(["bash", "-eo", "pipefail", "-c", script], environment)

    def test_examples(self) -> None:
        """
        The examples of docs/operations.md work with the tools of 4.4, and show what
        they are for.
        """
        output = self._ran("4.4", examples())
        for expected in (
            "Cluster ID: ",
            "Created topic orders.",
            "PartitionCount: 6",
            "readers",
            "max.message.bytes=2000000",
            "low_watermark",
            "Successfully started partition reassignment",
            "is completed",
        ):
            self.assertIn(expected, output)
        numbers = {line for line in output.splitlines() if line.isdigit()}
        self.assertLessEqual({str(number) for number in range(1, 1001)}, numbers)

    def _older(self, version: str, name: str, topics: str = "") -> None:
        output = self._ran(version, topics + WITH_OLDER_TOOLS.replace("NAME", name))
        # The producer of 0.11 shows a prompt for each line.
        lines = [line.lstrip(">") for line in output.splitlines()]
        numbers = [int(line) for line in lines if line.isdigit()]
        self.assertEqual(sorted(numbers), list(range(1, 101)))
        self.assertIn("orders", output.splitlines()[-1])
        if topics:
            self.assertIn("retention.ms=86400000", output)

    def test_3_9(self) -> None:
        """
        The tools of 3.9.
        """
        self._older("3.9", "--bootstrap-server localhost:9092", WITH_TOPIC_TOOLS)

    def test_2_8(self) -> None:
        """
        The tools of 2.8.
        """
        self._older("2.8", "--bootstrap-server localhost:9092", WITH_TOPIC_TOOLS)

    def test_0_11(self) -> None:
        """
        The tools of 0.11; its C{kafka-topics.sh} speaks to ZooKeeper.
        """
        self._older("0.11", "--broker-list localhost:9092")


class ReassignmentTests(ClusterTestCase):
    """
    C{kafka-reassign-partitions.sh} of 4.4, on two brokers.
    """

    def test_moved(self) -> None:
        """
        A partition moves to another broker, and all steps end with status 0.
        """
        cluster = self.cluster(2)
        self.environment = tools(self.folder / "bin", "4.4")
        with RawClient(cluster.brokers[0].port) as raw:
            raw.create("hot")
            (before,) = cluster.leaders("hot")
            target = 3 - before
            moved = {"topic": "hot", "partition": 0, "replicas": [target, before]}
            plan = json.dumps({"version": 1, "partitions": [moved]})
            (self.folder / "move.json").write_text(plan)
            (self.folder / "topics.json").write_text('{"version": 1, "topics": [{"topic": "hot"}]}')
            proposed = self.reassign(cluster, "--broker-list", "1,2", "--generate")
            self.assertIn("Proposed partition reassignment configuration", proposed)
            executed = self.reassign(cluster, "--execute", "--throttle", "50000000")
            self.assertIn("Successfully started partition reassignment for hot-0", executed)
            eventually(lambda: cluster.leaders("hot") == [target], 60)
            self.assertIn("hot-0 is completed", self.reassign(cluster, "--verify"))
            self.reassign(cluster, "--cancel")
            (told,) = raw.metadata("hot").topics
            self.assertEqual(told.partitions[0].replica_nodes, [target, before])

    def reassign(self, cluster: Cluster, *step: str) -> str:
        """
        Take one step, and return what the tool prints.
        """
        plan = ("--reassignment-json-file", "move.json")
        if "--generate" in step:
            plan = ("--topics-to-move-json-file", "topics.json")
        done = subprocess.run(
            [
                "kafka-reassign-partitions.sh",
                *("--bootstrap-server", cluster.addresses),
                *plan,
                *step,
            ],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout
