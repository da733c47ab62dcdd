"""
Groups whose members are restarted one by one, and groups whose broker dies.
"""

from __future__ import annotations

from tests.clients.broker import eventually
from tests.clients.members import (
    LONG_MS,
    SECONDS,
    SHORT_MS,
    Member,
    MembersTestCase,
    generation,
    values,
)
from tests.clients.raw import RawClient

RECORDS = 20_000
PARTITIONS = 10


class StaticTests(MembersTestCase):
    """
    Members with a C{group.instance.id} keep their places (KIP-345).
    """

    def places(self) -> dict[str, set[int]]:
        """
        By instance id, the partitions that belong to it.
        """
        return {
            member.group_instance_id: {
                each.partition for each in member.assignment.topic_partitions
            }
            for member in self.describe().members
        }

    def member_id(self, instance: str) -> str | None:
        """
        Under which the group knows the instance now.
        """
        for member in self.describe().members:
            if member.group_instance_id == instance:
                return str(member.member_id)
        return None

    def test_rolling_restart(self) -> None:
        """
        Five members, by three libraries, are ended and started again, one
        after the other, some of them with C{kill -9}: there is no rebalance,
        and no record is lost.
        """
        libraries = ["confluent-kafka", "kafka-python", "aiokafka", "kafka-python"]
        names = {f"place-{i}": each for i, each in enumerate([*libraries, "confluent-kafka"])}
        flow = self.flow("t", PARTITIONS, RECORDS)
        place = {name: self.static(library, name) for name, library in names.items()}
        self.settled(5, PARTITIONS)
        before = self.places()
        with RawClient(self.running.port) as raw:
            first = generation(raw, "group")
            for done, (name, library) in enumerate(names.items(), 1):
                flow.allow(done / 6)
                eventually(place[name].read, SECONDS)
                former = self.member_id(name)
                place[name].crash() if done % 2 else place[name].stop()
                place[name] = self.static(library, name)
                self.replaced(name, former)
            flow.finish()
            for member in place.values():
                eventually(member.read, SECONDS)
            self.all_processed(RECORDS, self.members)
            self.assertEqual(generation(raw, "group"), first)
        self.assertEqual(self.places(), before)
        self.assertEqual(values(self.members), set(range(RECORDS)))
        self.assertEqual(self.committed(), RECORDS)
        self.assert_none_twice(self.members)
        self.assertEqual([member.lost for member in self.members], [0] * len(self.members))

    def replaced(self, instance: str, former: str | None) -> None:
        """
        Wait until the new process has the place.
        """
        eventually(lambda: self.member_id(instance) not in (None, former), SECONDS)

    def static(self, library: str, instance: str) -> Member:
        """
        A new process for this place.
        """
        (member,) = self.come(library, assignor="range", instance=instance, session_ms=LONG_MS)
        return member


class BrokerDiesTests(MembersTestCase):
    """
    C{kill -9} of the broker below its groups.
    """

    def test_killed_below_three_groups(self) -> None:
        """
        The consumers are not restarted: they go on by themselves, each from
        its group's committed offsets; if they do not leave by themselves, as
        kafkajs does, not even with a rebalance.
        """
        flow = self.flow("t", PARTITIONS, RECORDS)
        groups = {
            "one": self.pair("one", "confluent-kafka", "confluent-kafka"),
            "two": self.pair("two", "kafka-python", "aiokafka"),
            "three": self.pair("three", "kafkajs", "kafkajs"),
        }
        for group in groups:
            self.settled(2, PARTITIONS, group)
        before = self.generations("one", "two")
        flow.allow(0.5)
        for member in self.members:
            eventually(member.read, SECONDS)
        self.crash()
        for group, members in groups.items():
            self.all_processed(RECORDS // 2, members)
            self.all_committed(RECORDS // 2, group)
        self.crash()
        for group in groups:
            self.assertEqual(self.committed(group), RECORDS // 2, group)
        flow.finish()
        self.assertEqual(self.generations("one", "two"), before)
        for group, members in groups.items():
            self.all_processed(RECORDS, members)
            self.assertEqual(values(members), set(range(RECORDS)), group)
            self.all_committed(RECORDS, group)
            self.assert_none_twice(members)
            for member in members:
                member.stop()

    def all_committed(self, count: int, group: str) -> None:
        """
        Wait until a group has committed so many records. A member whose commit was lost
        on its way to the broker that died reads again from there, and commits again.
        """
        eventually(lambda: self.committed(group) == count, SECONDS)

    def generations(self, *groups: str) -> list[int]:
        """
        Those that these groups are in.
        """
        with RawClient(self.running.port) as raw:
            return [generation(raw, group) for group in groups]

    def pair(self, group: str, *libraries: str) -> list[Member]:
        """
        Its members. One of kafkajs, when it has been without a broker for
        long, comes as another, and its group waits for the former one.
        """
        session_ms = SHORT_MS if "kafkajs" in libraries else LONG_MS
        return self.come(*libraries, group=group, session_ms=session_ms)

    def crash(self) -> None:
        """
        The broker is killed, and comes again.
        """
        self.running.kill()
        self.running.start()
        self.admin = self.new_admin()
