"""
DescribeProducers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kafscale.services.records.describe_producers import DescribeProducersService
from kafscale.wire.messages import DescribeProducersRequest
from tests.cluster.small import SmallCluster
from tests.log.fakes import FakeLog
from tests.services.client import ServiceClient


class DescribeProducersTests(SynchronousTestCase):
    """
    A topic with two partitions, one of which has the state of a producer.
    """

    def setUp(self) -> None:
        """
        Create the topic and the state.
        """
        self.cluster = SmallCluster(self)
        self.log = FakeLog()
        topic = self.cluster.now(self.cluster.topics.create("mine", 2, {}))
        self.topic_id = topic.topic_id
        service = DescribeProducersService(self.cluster.image, self.log, self.cluster.topics)
        self.client = ServiceClient(self, service)

    def request(self, name: str, *indexes: int) -> DescribeProducersRequest:
        """
        A request for these partitions of one topic.
        """
        topic = DescribeProducersRequest.Topic(name=name, partition_indexes=list(indexes))
        return DescribeProducersRequest(topics=[topic])

    def ask(self, name: str, *indexes: int) -> list[Any]:
        """
        The responses of the partitions.
        """
        (topic,) = self.client.now(self.request(name, *indexes), 0).topics
        self.assertEqual(topic.name, name)
        self.assertEqual([each.partition_index for each in topic.partitions], list(indexes))
        return list(topic.partitions)

    def test_producer(self) -> None:
        """
        The response has id, epoch, last sequence and time, and nothing about
        transactions.
        """
        state = self.state(0, -1)
        self.log.partition(self.topic_id, 1).states = [state]
        none, one = self.ask("mine", 0, 1)
        self.assertEqual((none.error_code, none.active_producers), (0, []))
        (producer,) = one.active_producers
        self.assertEqual(
            (
                producer.producer_id,
                producer.producer_epoch,
                producer.last_sequence,
                producer.last_timestamp,
            ),
            (5, 2, 9, 77),
        )
        self.assertEqual((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1))

    def state(self, number: int, open_from: int) -> SimpleNamespace:
        """
        The state of a producer.
        """
        return SimpleNamespace(
            producer_id=5,
            producer_epoch=2,
            last_sequence=9,
            last_timestamp=77,
            number=number,
            open_from=open_from,
        )

    def test_transactions(self) -> None:
        """
        The number of the last transaction that ended, and where the open one began.
        """
        states = self.log.partition(self.topic_id, 0).states = [
            self.state(number, open_from)
            for number, open_from in ((0, 44), (1, -1), (3, 50))
        ]
        self.assertEqual(len(states), 3)
        (one,) = self.ask("mine", 0)
        self.assertEqual(
            [
                (producer.coordinator_epoch, producer.current_txn_start_offset)
                for producer in one.active_producers
            ],
            [(-1, 44), (1, -1), (3, 50)],
        )

    def test_loaded_first(self) -> None:
        """
        A partition that is not open loads its producers first.
        """
        partition = self.log.partition(self.topic_id, 0)
        partition.is_open = False
        answer = self.client.start(self.request("mine", 0), 0)
        self.assertNoResult(answer)
        partition.open()
        self.successResultOf(answer)

    def test_refusals(self) -> None:
        """
        Each partition has an error of its own.
        """
        self.log.elsewhere.add((self.topic_id, 1))
        self.assertEqual([each.error_code for each in self.ask("mine", 0, 1, 2)], [0, 6, 3])
        self.assertEqual([each.error_code for each in self.ask("none", 0)], [3])
        self.assertEqual([each.error_code for each in self.ask("a/b", 0)], [17])
        (refused,) = self.ask("none", 0)
        self.assertTrue(refused.error_message)

    def test_failed(self) -> None:
        """
        The error is with each partition.
        """
        (topic,) = self.client.failed(self.request("mine", 0, 1), 0, 7).topics
        self.assertEqual([each.error_code for each in topic.partitions], [7, 7])
