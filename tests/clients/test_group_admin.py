"""
Groups through the admin clients of the libraries.
"""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import confluent_kafka
import kafka
import kafka.errors
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient
from kafka.admin import KafkaAdminClient, MemberToRemove, OffsetSpec
from kafka.protocol.consumer import ConsumerProtocolAssignment

from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.libraries import KAFKAJS
from tests.clients.raw import batch_of

SECONDS = 60.0
TOPIC = "t"
PARTITIONS = 3
UNKNOWN_MEMBER_ID = 25
NON_EMPTY_GROUP = 68
GROUP_ID_NOT_FOUND = 69


class GroupAdminTestCase(BrokerTestCase):
    """
    A topic with ten records in each partition, and two groups: C{busy} has a
    member, which has read partition 0 up to 4, C{idle} has committed 7 there.
    """

    def setUp(self) -> None:
        """
        Make all that.
        """
        super().setUp()
        self.subject = self.broker(group_initial_rebalance_delay_ms=0)
        raw = self.connect(self.subject)
        raw.create(TOPIC, PARTITIONS)
        for index in range(PARTITIONS):
            raw.produce(TOPIC, index, batch_of([b"%d" % i for i in range(10)]))
        idle = self.consumer("idle")
        idle.commit(offsets=[confluent_kafka.TopicPartition(TOPIC, 0, 7)], asynchronous=False)
        idle.close()
        self.member = self.consumer("busy")
        self.member.subscribe([TOPIC])

        def settled() -> bool:
            self.member.poll(0.1)
            return len(self.member.assignment()) == PARTITIONS

        eventually(settled, SECONDS)
        self.member.commit(
            offsets=[confluent_kafka.TopicPartition(TOPIC, 0, 4)], asynchronous=False
        )

    def consumer(self, group: str) -> confluent_kafka.Consumer:
        """
        Return a consumer that does not commit by itself.
        """
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.subject.address,
                "group.id": group,
                "client.id": "the-member",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self.addCleanup(consumer.close)
        return consumer


class ConfluentGroupAdminTests(GroupAdminTestCase):
    """
    confluent-kafka's C{AdminClient}.
    """

    def setUp(self) -> None:
        """
        Groups, and an admin client.
        """
        super().setUp()
        self.admin = AdminClient({"bootstrap.servers": self.subject.address, "log_level": 0})

    def refused(self, future: Any) -> int:
        """
        The error code that a call failed with.
        """
        with self.assertRaises(confluent_kafka.KafkaException) as raised:
            future.result(SECONDS)
        code: int = raised.exception.args[0].code()
        return code

    def listed(self, **filters: Any) -> dict[str, ConsumerGroupState]:
        """
        Groups with their states.
        """
        result = self.admin.list_consumer_groups(**filters).result(SECONDS)
        self.assertEqual(result.errors, [])
        return {each.group_id: each.state for each in result.valid}

    def offsets(self, group: str, *partitions: int) -> dict[int, int]:
        """
        Return the committed offsets of a group, in these partitions or in all.
        """
        wanted = [confluent_kafka.TopicPartition(TOPIC, index) for index in partitions]
        asked = ConsumerGroupTopicPartitions(group, wanted or None)
        answer = self.admin.list_consumer_group_offsets([asked])[group].result(SECONDS)
        return {each.partition: each.offset for each in answer.topic_partitions}

    def alter(self, group: str, partition: int, offset: int) -> Any:
        """
        Set the committed offset of a group.
        """
        wanted = [confluent_kafka.TopicPartition(TOPIC, partition, offset)]
        asked = ConsumerGroupTopicPartitions(group, wanted)
        return self.admin.alter_consumer_group_offsets([asked])[group]

    def test_list(self) -> None:
        """
        All groups, or those in a state.
        """
        stable, empty = ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY
        self.assertEqual(self.listed(), {"busy": stable, "idle": empty})
        self.assertEqual(self.listed(states={stable}), {"busy": stable})
        self.assertEqual(self.listed(states={empty}), {"idle": empty})

    def test_describe(self) -> None:
        """
        Members with their identities and assignments; a group that does not
        exist is dead.
        """
        described = self.admin.describe_consumer_groups(["busy", "idle", "none"])
        busy = described["busy"].result(SECONDS)
        self.assertEqual(busy.state, ConsumerGroupState.STABLE)
        self.assertEqual(busy.partition_assignor, "range")
        self.assertEqual(busy.coordinator.port, self.subject.port)
        (member,) = busy.members
        self.assertEqual(member.member_id, self.member.memberid())
        self.assertEqual((member.client_id, member.host), ("the-member", "/127.0.0.1"))
        read = [(each.topic, each.partition) for each in member.assignment.topic_partitions]
        self.assertEqual(sorted(read), [(TOPIC, index) for index in range(PARTITIONS)])
        idle = described["idle"].result(SECONDS)
        self.assertEqual((idle.state, idle.members), (ConsumerGroupState.EMPTY, []))
        self.assertEqual(described["none"].result(SECONDS).state, ConsumerGroupState.DEAD)

    def test_delete(self) -> None:
        """
        A group without members goes, with its offsets.
        """
        deleted = self.admin.delete_consumer_groups(["busy", "idle", "none"])
        deleted["idle"].result(SECONDS)
        self.assertEqual(self.refused(deleted["busy"]), NON_EMPTY_GROUP)
        self.assertEqual(self.refused(deleted["none"]), GROUP_ID_NOT_FOUND)
        self.assertEqual(list(self.listed()), ["busy"])
        self.assertEqual(self.offsets("idle"), {})

    def test_offsets(self) -> None:
        """
        Listed, with -1001 (librdkafka's word) where there is none; set, in a
        group without members, also in one that was not there.
        """
        none = confluent_kafka.OFFSET_INVALID
        self.assertEqual(self.offsets("idle"), {0: 7})
        self.assertEqual(self.offsets("busy", 0, 2), {0: 4, 2: none})
        self.assertEqual(self.offsets("none", 1), {1: none})
        for group in ("idle", "new"):
            (altered,) = self.alter(group, 1, 5).result(SECONDS).topic_partitions
            self.assertEqual((altered.partition, altered.offset, altered.error), (1, 5, None))
        self.assertEqual(self.offsets("idle"), {0: 7, 1: 5})
        self.assertEqual(self.offsets("new"), {1: 5})
        (altered,) = self.alter("busy", 1, 5).result(SECONDS).topic_partitions
        self.assertEqual(altered.error.code(), UNKNOWN_MEMBER_ID)
        self.assertEqual(self.offsets("busy"), {0: 4})


class KafkaPythonGroupAdminTests(GroupAdminTestCase):
    """
    kafka-python's C{KafkaAdminClient}.
    """

    def setUp(self) -> None:
        """
        Groups, and an admin client.
        """
        super().setUp()
        self.admin = KafkaAdminClient(bootstrap_servers=self.subject.address)
        self.addCleanup(self.admin.close)

    def offsets(self, group: str) -> dict[int, int]:
        """
        Return the committed offsets of a group.
        """
        listed = self.admin.list_group_offsets(group)[group]
        return {where.partition: committed.offset for where, committed in listed.items()}

    def test_list(self) -> None:
        """
        All groups, or those in a state or of a type.
        """

        def listed(**filters: Any) -> list[tuple[str, str, str]]:
            return [
                (each["group_id"], each["protocol_type"], each["group_state"])
                for each in self.admin.list_groups(**filters)
            ]

        busy, idle = ("busy", "consumer", "Stable"), ("idle", "", "Empty")
        self.assertEqual(listed(), [busy, idle])
        self.assertEqual(listed(states_filter=["Stable"]), [busy])
        self.assertEqual(listed(types_filter=["classic"]), [busy, idle])
        self.assertEqual(listed(types_filter=["share"]), [])

    def test_describe(self) -> None:
        """
        Members with their identities and assignments; a group that does not
        exist is dead.
        """
        described = self.admin.describe_groups(["busy", "idle", "none"])
        busy = described["busy"]
        self.assertEqual(
            (busy["error"], busy["group_state"], busy["protocol_type"], busy["protocol_data"]),
            (None, "Stable", "consumer", "range"),
        )
        (member,) = busy["members"]
        self.assertEqual(member["member_id"], self.member.memberid())
        self.assertEqual(member["member_metadata"]["topics"], [TOPIC])
        (assigned,) = member["member_assignment"]["assigned_partitions"]
        self.assertEqual((assigned["topic"], assigned["partitions"]), (TOPIC, [0, 1, 2]))
        self.assertEqual(described["idle"]["group_state"], "Empty")
        self.assertEqual(described["none"]["group_state"], "Dead")
        self.assertIn("GroupIdNotFound", described["none"]["error"])

    def test_delete(self) -> None:
        """
        A group without members goes.
        """
        self.assertEqual(
            self.admin.delete_groups(["busy", "idle", "none"]),
            {"busy": "NonEmptyGroupError", "idle": "OK", "none": "GroupIdNotFoundError"},
        )
        self.assertEqual([each["group_id"] for each in self.admin.list_groups()], ["busy"])

    def test_offsets(self) -> None:
        """
        Listed; set, with a note; set back, and deleted.
        """
        where = [kafka.TopicPartition(TOPIC, index) for index in range(PARTITIONS)]
        listed = self.admin.list_group_offsets({"busy": None, "idle": where[:1]})
        self.assertEqual(listed["busy"], {where[0]: kafka.OffsetAndMetadata(4, "", -1)})
        self.assertEqual(listed["idle"], {where[0]: kafka.OffsetAndMetadata(7, "", -1)})
        wanted = {where[1]: kafka.OffsetAndMetadata(5, "by hand", -1)}
        self.assertEqual(
            self.admin.alter_group_offsets("idle", wanted), {where[1]: kafka.errors.NoError}
        )
        self.assertEqual(self.admin.list_group_offsets("idle")["idle"][where[1]], wanted[where[1]])
        self.assertEqual(
            self.admin.alter_group_offsets("busy", wanted),
            {where[1]: kafka.errors.UnknownMemberIdError},
        )
        self.admin.reset_group_offsets(
            "idle", {where[0]: OffsetSpec.EARLIEST, where[2]: OffsetSpec.LATEST}
        )
        self.assertEqual(self.offsets("idle"), {0: 0, 1: 5, 2: 10})
        self.assertEqual(
            self.admin.delete_group_offsets("idle", where[:2]),
            dict.fromkeys(where[:2], kafka.errors.NoError),
        )
        self.assertEqual(self.offsets("idle"), {2: 10})
        self.assertEqual(
            self.admin.delete_group_offsets("busy", where[:1]),
            {where[0]: kafka.errors.GroupSubscribedToTopicError},
        )
        with self.assertRaises(kafka.errors.GroupIdNotFoundError):
            self.admin.delete_group_offsets("none", where[:1])

    def test_remove_member(self) -> None:
        """
        A member may be sent away.
        """
        member_id = self.member.memberid()
        removed = self.admin.remove_group_members(
            "busy", [MemberToRemove(member_id=member_id), MemberToRemove(member_id="nobody")]
        )
        self.assertEqual(
            removed,
            {member_id: kafka.errors.NoError, "nobody": kafka.errors.UnknownMemberIdError},
        )
        described = self.admin.describe_groups(["busy"])["busy"]
        self.assertNotIn(member_id, [each["member_id"] for each in described["members"]])


class KafkajsGroupAdminTests(GroupAdminTestCase):
    """
    kafkajs's admin client.
    """

    def ask(self, *calls: list[Any]) -> list[Any]:
        """
        Return the results of these calls, or their errors.
        """
        job = json.dumps({"address": self.subject.address, "calls": calls})
        done = subprocess.run(
            ["node", str(KAFKAJS / "admin.js"), job],
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace")[-2000:])
        answers = json.loads(done.stdout)
        return [each["result"] if "result" in each else each["error"] for each in answers]

    def test_list_and_describe(self) -> None:
        """
        Groups, and their members with the assigned partitions.
        """
        names = ["busy", "idle", "none"]
        listed, described = self.ask(["listGroups"], ["describeGroups", names])
        self.assertEqual(
            listed["groups"],
            [
                {"groupId": "busy", "protocolType": "consumer"},
                {"groupId": "idle", "protocolType": ""},
            ],
        )
        busy, idle, none = sorted(described["groups"], key=lambda each: str(each["groupId"]))
        self.assertEqual((busy["errorCode"], busy["state"]), (0, "Stable"))
        (member,) = busy["members"]
        self.assertEqual(member["memberId"], self.member.memberid())
        self.assertEqual(member["clientId"], "the-member")
        assignment = ConsumerProtocolAssignment.decode(
            base64.b64decode(member["memberAssignment"])
        )
        (assigned,) = assignment.assigned_partitions
        self.assertEqual((assigned.topic, assigned.partitions), (TOPIC, [0, 1, 2]))
        self.assertEqual((idle["state"], idle["members"]), ("Empty", []))
        self.assertEqual((none["state"], none["members"]), ("Dead", []))

    def test_delete(self) -> None:
        """
        A group without members goes.
        """
        names = ["busy", "idle", "none"]
        failed, listed = self.ask(["deleteGroups", names], ["listGroups"])
        self.assertEqual(failed["name"], "KafkaJSDeleteGroupsError")
        self.assertEqual(
            sorted(failed["groups"]), [["busy", NON_EMPTY_GROUP], ["none", GROUP_ID_NOT_FOUND]]
        )
        self.assertEqual([each["groupId"] for each in listed["groups"]], ["busy"])

    def test_offsets(self) -> None:
        """
        Listed, with -1 where there is none; set, by joining the group, and set
        back (to -2, which kafkajs then resolves); not while others are in it.
        """
        asked = {"groupId": "idle", "topics": [TOPIC]}
        wanted = [{"partition": 1, "offset": "5"}]
        before, _, between, _, after, refused = self.ask(
            ["fetchOffsets", asked],
            ["setOffsets", {"groupId": "idle", "topic": TOPIC, "partitions": wanted}],
            ["fetchOffsets", asked],
            ["resetOffsets", {"groupId": "idle", "topic": TOPIC, "earliest": True}],
            ["fetchOffsets", {**asked, "resolveOffsets": True}],
            ["setOffsets", {"groupId": "busy", "topic": TOPIC, "partitions": wanted}],
        )
        self.assertEqual(_offsets(before), {0: "7", 1: "-1", 2: "-1"})
        self.assertEqual(_offsets(between), {0: "7", 1: "5", 2: "-1"})
        self.assertEqual(_offsets(after), {0: "0", 1: "0", 2: "0"})
        self.assertIn("must have no running instances", refused["message"])


def _offsets(fetched: Any) -> dict[int, str]:
    ((partitions),) = [each["partitions"] for each in fetched]
    return {each["partition"]: each["offset"] for each in partitions}
