"""
Clients whose rights are decided by access control lists.
"""

from __future__ import annotations

import subprocess
import threading
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from kafscale.format import acl
from kafscale.wire.messages import CreateAclsRequest, DescribeAclsRequest, MetadataRequest
from tests.clients.broker import Broker, BrokerTestCase, eventually
from tests.clients.cluster import Cluster, ClusterBroker, ClusterTestCase
from tests.clients.kafka_tools import tools
from tests.clients.raw import RawClient, batch_of

SECONDS = 60.0
ADMIN = "127.0.0.1"
CLIENT = "127.0.0.2"

TOOL = """
acls() { kafka-acls.sh --bootstrap-server SERVER "$@"; }
acls --add --allow-principal User:alice --producer --topic orders --idempotent \
    --transactional-id tx
acls --add --allow-principal User:bob --consumer --topic logs- --group '*' \
    --resource-pattern-type prefixed --allow-host 10.0.0.0/8
acls --add --deny-principal User:eve --deny-host 10.1.2.3 --operation All --cluster
acls --add --allow-principal 'User:CN=Eve,O=Acme' --operation CreateTokens \
    --user-principal User:eve
acls --command-config client.properties --add --allow-principal User:ops --topic audit \
    --operation Read --operation Write --operation Create --operation Delete --operation Alter \
    --operation Describe --operation DescribeConfigs --operation AlterConfigs
acls --add --allow-principal User:ops --cluster --operation ClusterAction \
    --operation IdempotentWrite
acls --add --allow-principal User:ops --transactional-id tx --operation TwoPhaseCommit
acls --add --allow-principal User:ops --delegation-token '*' --operation Describe
acls --add --allow-principal User:ops --user-principal User:eve --operation DescribeTokens
echo '== ops'
acls --list --principal User:ops --principal User:nobody
echo '== any'
acls --list --topic logs- --resource-pattern-type any
echo '== match'
acls --list --topic logs-1 --resource-pattern-type match
echo '== eve'
acls --list --principal User:eve
acls --remove --allow-principal User:alice --operation Write --topic orders --force
acls --remove --topic logs- --resource-pattern-type prefixed --force
acls --remove --topic audit --force
acls --remove --allow-principal User:bob --consumer --topic logs- --group '*' \
    --resource-pattern-type prefixed --allow-host 10.0.0.0/8 --force
echo '== rest'
acls --list
"""


class ToolTests(BrokerTestCase):
    """
    Apache Kafka's C{kafka-acls.sh}.
    """

    def test_kafka_acls(self) -> None:
        """
        It adds, lists and removes ACLs of each kind of resource and pattern.
        """
        broker = self.broker(
            authorizer="acl", super_users="User:ANONYMOUS", use_memory_s3=1
        )
        (self.folder / "client.properties").write_text("client.id=tool\n")
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", TOOL.replace("SERVER", broker.address)],
            cwd=self.folder,
            env=tools(self.folder / "bin", "4.4"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        parts = dict(part.split("\n", 1) for part in done.stdout.split("== ")[1:])
        self.assertEqual(parts["ops"].count("principal=User:ops"), 13)
        for operation in ("TWO_PHASE_COMMIT", "DESCRIBE_TOKENS", "CLUSTER_ACTION", "ALTER_CONFIGS"):
            self.assertIn(f"operation={operation}", parts["ops"])
        self.assertIn("resourceType=DELEGATION_TOKEN, name=*", parts["ops"])
        self.assertNotIn("User:alice", parts["ops"])
        self.assertIn("name=logs-, patternType=PREFIXED", parts["any"])
        self.assertNotIn("name=orders", parts["any"])
        self.assertIn("principal=User:bob, host=10.0.0.0/8, operation=READ", parts["match"])
        self.assertNotIn("alice", parts["match"])
        self.assertIn("host=10.1.2.3, operation=ALL, permissionType=DENY", parts["eve"])
        for text in (
            "resourceType=TRANSACTIONAL_ID, name=tx",
            "host=*, operation=CREATE, permissionType=ALLOW",
            "operation=IDEMPOTENT_WRITE",
            "operation=CREATE_TOKENS",
        ):
            self.assertIn(text, parts["rest"])
        orders = parts["rest"].partition("resourceType=TOPIC, name=orders")[2].split("\n\n")[0]
        self.assertNotIn("operation=WRITE", orders)
        for text in ("name=logs-", "name=audit", "resourceType=GROUP"):
            self.assertNotIn(text, parts["rest"])


class ClientTests(BrokerTestCase):
    """
    Clients that have logged in.
    """

    def logged_in(self, broker: Broker, name: str, **options: Any) -> dict[str, Any]:
        """
        Options of confluent-kafka.
        """
        return {
            "bootstrap.servers": broker.address,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": name,
            "sasl.password": f"{name}-secret",
            "log_level": 0,
            **options,
        }

    def allow(self, admin: AdminClient, kind: ResourceType, name: str, operation: Any) -> None:
        """
        Give alice a right.
        """
        binding = AclBinding(
            kind,
            name,
            ResourcePatternType.LITERAL,
            "User:alice",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for created in admin.create_acls([binding]).values():
            created.result(SECONDS)

    def produced(self, producer: confluent_kafka.Producer) -> KafkaError | None:
        """
        The error of a record, or None.
        """
        outcomes: list[KafkaError | None] = []
        producer.produce("orders", b"x", on_delivery=lambda error, _: outcomes.append(error))
        producer.flush(SECONDS)
        (outcome,) = outcomes
        return outcome

    def test_rights(self) -> None:
        """
        A user without rights is told so, and what an ACL gives is there for the next
        request, on the same connection.
        """
        broker = self.prepared(use_memory_s3=1)
        broker.settings |= {
            "listeners": f"SASL_PLAINTEXT://127.0.0.1:{broker.port}",
            "admin_user": "admin",
            "admin_password": "admin-secret",
            "authorizer": "acl",
            "super_users": "User:admin",
        }
        broker.start()
        admin = AdminClient(self.logged_in(broker, "admin"))
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        user = UserScramCredentialUpsertion("alice", scram, b"alice-secret")
        for altered in admin.alter_user_scram_credentials([user]).values():
            altered.result(SECONDS)
        for created in admin.create_topics(
            [confluent_kafka.admin.NewTopic("orders", 1, 1)]
        ).values():
            created.result(SECONDS)
        alice = AdminClient(self.logged_in(broker, "alice"))
        self.assertEqual(dict(alice.list_topics(timeout=SECONDS).topics), {})
        with self.assertRaises(KafkaException) as refused:
            next(iter(alice.delete_topics(["orders"]).values())).result(SECONDS)
        self.assertEqual(refused.exception.args[0].code(), KafkaError.TOPIC_AUTHORIZATION_FAILED)

        producer = confluent_kafka.Producer(
            self.logged_in(broker, "alice", **{"enable.idempotence": True})
        )
        self.allow(admin, ResourceType.TOPIC, "orders", AclOperation.WRITE)
        self.assertIsNone(self.produced(producer))
        self.assertEqual(list(alice.list_topics(timeout=SECONDS).topics), ["orders"])

        consumer = confluent_kafka.Consumer(
            self.logged_in(
                broker,
                "alice",
                **{"group.id": "g", "auto.offset.reset": "earliest"},
            )
        )
        self.addCleanup(consumer.close)
        consumer.subscribe(["orders"])

        def message() -> Any:
            found = consumer.poll(0.2)
            if found is not None and found.error() is not None:
                errors.add(found.error().code())
                return None
            return found

        errors: set[int] = set()
        eventually(lambda: message() or errors, SECONDS)
        self.assertEqual(errors, {KafkaError.GROUP_AUTHORIZATION_FAILED})
        self.allow(admin, ResourceType.GROUP, "g", AclOperation.READ)
        self.allow(admin, ResourceType.TOPIC, "orders", AclOperation.READ)
        eventually(message, SECONDS)


class AcksTests(BrokerTestCase):
    """
    Producers that want no response.
    """

    def test_closed(self) -> None:
        """
        What is denied ends their connection.
        """
        broker = self.broker(
            authorizer="acl", allow_everyone_if_no_acl_found=1, use_memory_s3=1
        )
        with RawClient(broker.port) as admin, RawClient(broker.port, host=CLIENT) as client:
            admin.create("orders")
            request = client.produce_request("orders", 0, batch_of([b"x"]), acks=0)
            client.send(request, 9)
            eventually(lambda: admin.offset("orders") == 1, SECONDS)
            create_acl(admin, "orders")
            client.send(request, 9)
            self.assertRaises(ConnectionError, client.receive_frame)
            self.assertEqual(admin.offset("orders"), 1)


def create_acl(admin: RawClient, topic: str) -> None:
    """
    Give clients at L{ADMIN} all rights on a topic, and so others none.
    """
    creation = CreateAclsRequest.Creation(
        resource_type=acl.ResourceType.TOPIC,
        resource_name=topic,
        principal="User:*",
        host=ADMIN,
        operation=acl.Operation.ALL,
        permission_type=acl.Permission.ALLOW,
    )
    (result,) = admin.call(CreateAclsRequest(creations=[creation]), 3).results
    assert result.error_code == 0, f"{topic}: {result.error_code} {result.error_message}"


def acls(broker: ClusterBroker) -> set[str]:
    """
    The names of topics that have ACLs, as a broker describes them.
    """
    anything = DescribeAclsRequest(
        resource_type_filter=acl.ResourceType.ANY,
        resource_name_filter=None,
        pattern_type_filter=acl.PatternType.ANY,
        principal_filter=None,
        host_filter=None,
        operation=acl.Operation.ANY,
        permission_type=acl.Permission.ANY,
    )
    with RawClient(broker.port) as admin:
        answer = admin.call(anything, 3)
    assert answer.error_code == 0, answer.error_code
    return {each.resource_name for each in answer.resources}


class Creating(threading.Thread):
    """
    Creates one ACL after the other at a broker, until that is killed.

    @ivar begun: The topics of all ACLs that were asked for.
    @ivar done: Those that were acknowledged.
    """

    def __init__(self, broker: ClusterBroker) -> None:
        super().__init__(daemon=True)
        self._broker = broker
        self.begun: list[str] = []
        self.done: list[str] = []

    def run(self) -> None:
        """
        Create them.
        """
        try:
            with RawClient(self._broker.port) as admin:
                for number in range(100_000):
                    name = f"b{self._broker.broker_id}-{number}"
                    self.begun.append(name)
                    create_acl(admin, name)
                    self.done.append(name)
        except OSError:
            pass


class ClusterTests(ClusterTestCase):
    """
    ACLs of several brokers.
    """

    def code(self, broker: ClusterBroker, topic: str) -> int:
        """
        The error of a topic for a client without rights.
        """
        with RawClient(broker.port, host=CLIENT) as client:
            named = [MetadataRequest.Topic(name=topic)]
            request = MetadataRequest(topics=named, allow_auto_topic_creation=False)
            (found,) = client.call(request, 12).topics
        code: int = found.error_code
        return code

    def test_killed(self) -> None:
        """
        An ACL is in force on the broker that answers when it answers, and on the others
        soon; and whatever is killed when, what was acknowledged is there on all of them,
        and what was not is there or not.
        """
        cluster: Cluster = self.cluster(authorizer="acl", allow_everyone_if_no_acl_found=1)
        one, two, three = cluster.brokers
        with RawClient(one.port) as admin:
            admin.create("orders")
            eventually(lambda: all(self.code(each, "orders") == 0 for each in cluster.brokers))
            create_acl(admin, "orders")
        self.assertEqual(self.code(one, "orders"), 29)
        eventually(lambda: self.code(two, "orders") == self.code(three, "orders") == 29)

        creating = [Creating(one), Creating(two)]
        for each in creating:
            each.start()
        eventually(lambda: all(len(each.done) >= 20 for each in creating), SECONDS)
        one.kill()
        creating[0].join(SECONDS)
        before = len(creating[1].done)
        eventually(lambda: len(creating[1].done) >= before + 20, SECONDS)
        one.start()
        two.kill()
        creating[1].join(SECONDS)
        two.start()
        done = {name for each in creating for name in each.done} | {"orders"}
        begun = {name for each in creating for name in each.begun} | {"orders"}

        def same() -> bool:
            found = [acls(each) for each in cluster.brokers]
            return all(each == found[0] for each in found)

        eventually(same, SECONDS)
        found = acls(three)
        self.assertEqual(done - found, set())
        self.assertEqual(found - begun, set())
        self.assertEqual(self.code(one, min(creating[0].done)), 29)

        # A broker that does not reach etcd goes on with what it knows, and says so.
        self.assertEqual(three.metrics()["kafscale_metadata_behind_seconds"], 0.0)
        three.to_etcd.cut()
        eventually(lambda: three.metrics()["kafscale_metadata_behind_seconds"] > 1, SECONDS)
        self.assertEqual(self.code(three, "orders"), 29)
