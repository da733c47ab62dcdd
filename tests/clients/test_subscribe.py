"""
Reading in a group, as the libraries do it by default.
"""

from __future__ import annotations

from typing import Any

import confluent_kafka
import kafka
from confluent_kafka.admin import AdminClient, NewTopic

from tests.clients.broker import BrokerTestCase, eventually

SECONDS = 60.0


class Confluent:
    """
    A member of the group ``readers``, by confluent-kafka.
    """

    def __init__(self, address: str) -> None:
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": address,
                "group.id": "readers",
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.subscribe(["t"])

    def poll(self) -> list[bytes]:
        """
        Return the values of the records that have arrived.
        """
        messages = self._consumer.consume(1000, 0.1)
        return [message.value() for message in messages if message.error() is None]

    def partitions(self) -> set[int]:
        """
        Those that it reads.
        """
        return {each.partition for each in self._consumer.assignment()}

    def close(self) -> None:
        """
        Commit, and leave the group.
        """
        self._consumer.close()


class KafkaPython:
    """
    A consumer of kafka-python.
    """

    def __init__(self, address: str) -> None:
        self._consumer = kafka.KafkaConsumer(
            "t", bootstrap_servers=address, group_id="readers", auto_offset_reset="earliest"
        )

    def poll(self) -> list[bytes]:
        """
        See L{Confluent}. A poll that ends between joining and syncing begins
        the rebalance anew, hence the longer time.
        """
        return [each.value for some in self._consumer.poll(500).values() for each in some]

    def partitions(self) -> set[int]:
        """
        See L{Confluent}.
        """
        return {each.partition for each in self._consumer.assignment()}

    def close(self) -> None:
        """
        See L{Confluent}.
        """
        self._consumer.close()


class SubscribeTests(BrokerTestCase):
    """
    C{subscribe()}, against a real process.
    """

    def setUp(self) -> None:
        """
        A broker with a topic of four partitions.
        """
        super().setUp()
        self.got: list[bytes] = []
        self.running = self.broker(group_initial_rebalance_delay_ms=500)
        self.admin = AdminClient({"bootstrap.servers": self.running.address})
        for done in self.admin.create_topics([NewTopic("t", 4)]).values():
            done.result(SECONDS)

    def produce(self, numbers: range) -> list[bytes]:
        """
        Records with these numbers, over all partitions.
        """
        values = [str(number).encode() for number in numbers]
        producer = confluent_kafka.Producer({"bootstrap.servers": self.running.address})
        for number, value in zip(numbers, values, strict=True):
            producer.produce("t", value, partition=number % 4)
        self.assertEqual(producer.flush(SECONDS), 0)
        return values

    def join(self, *kinds: type[Confluent | KafkaPython]) -> list[Any]:
        """
        Members, of these libraries, that share the partitions.
        """
        members = [kind(self.running.address) for kind in kinds]
        eventually(lambda: self.shared(members), SECONDS)
        return members

    def poll(self, members: list[Any]) -> None:
        """
        Collect the records that have arrived at any member.
        """
        for member in members:
            self.got += member.poll()

    def shared(self, members: list[Any]) -> bool:
        """
        Whether all partitions are read, and by one member each.
        """
        self.poll(members)
        parts = [member.partitions() for member in members]
        return all(parts) and sorted(p for part in parts for p in part) == [0, 1, 2, 3]

    def read(self, members: list[Any], expected: list[bytes]) -> None:
        """
        These records come, since the last time, and no others.
        """

        def came() -> bool:
            self.poll(members)
            return len(self.got) >= len(expected)

        eventually(came, SECONDS)
        self.assertEqual(sorted(self.got, key=int), expected)
        self.got.clear()

    def test_two_libraries_share(self) -> None:
        """
        Members of different libraries share the partitions; when they come
        again, they go on where they stopped.
        """
        members = self.join(Confluent, KafkaPython)
        self.read(members, self.produce(range(1000)))
        for member in members:
            member.close()
        more = self.produce(range(1000, 1400))
        members = self.join(KafkaPython, Confluent)
        self.read(members, more)
        for member in members:
            member.close()

    def test_a_restart_keeps_the_place(self) -> None:
        """
        Members stay in their group over a restart of the broker, and read on
        without reading anything twice.
        """
        members = self.join(Confluent, KafkaPython)
        self.read(members, self.produce(range(400)))
        before = [member.partitions() for member in members]
        self.running.restart()
        self.read(members, self.produce(range(400, 800)))
        self.assertEqual([member.partitions() for member in members], before)
        for member in members:
            member.close()
