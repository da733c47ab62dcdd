"""
DescribeLogDirs.
"""

from __future__ import annotations

from typing import Any

from kafscale.services.cluster.describe_log_dirs import DescribeLogDirsService
from kafscale.wire.messages import DescribeLogDirsRequest
from tests.log.fakes import FakeLog
from tests.services.client import ServiceCase

Topic = DescribeLogDirsRequest.Topic


class LogDirsTests(ServiceCase):
    """
    Two topics, with a record in one partition.
    """

    def setUp(self) -> None:
        """
        Create the topics and the record.
        """
        super().setUp()
        self.log = FakeLog()
        self.big = self.cluster.now(self.cluster.topics.create("big", 2, {}))
        self.cluster.now(self.cluster.topics.create("small", 1, {}))
        self.log.partition(self.big.topic_id, 1).put(bytes(1000))
        self.serve(
            DescribeLogDirsService(self.cluster.image, self.log, "/data", lambda: (5000, 400))
        )

    def ask(self, topics: list[Topic] | None = None, version: int = 5) -> Any:
        """
        The one directory of the response.
        """
        response = self.client.now(DescribeLogDirsRequest(topics=topics), version)
        self.assertEqual(response.error_code, 0)
        (directory,) = response.results
        self.assertEqual((directory.error_code, directory.log_dir), (0, "/data"))
        return directory

    def sizes(self, directory: Any) -> dict[str, dict[int, int]]:
        """
        The sizes of partitions, by topic and index.
        """
        found = {}
        for topic in directory.topics:
            for partition in topic.partitions:
                self.assertEqual((partition.offset_lag, partition.is_future_key), (0, False))
            found[topic.name] = {
                partition.partition_index: partition.partition_size
                for partition in topic.partitions
            }
        return found

    def test_every_version(self) -> None:
        """
        All partitions have their sizes; from version 4 on the directory has its
        size and free space.
        """
        for version in self.client.versions(DescribeLogDirsRequest):
            directory = self.ask(version=version)
            self.assertEqual(self.sizes(directory), {"big": {0: 0, 1: 1000}, "small": {0: 0}})
            room = directory.total_bytes, directory.usable_bytes
            self.assertEqual(room, (5000, 400) if version >= 4 else (-1, -1))

    def test_some(self) -> None:
        """
        Only partitions of the request, each once. Unknown ones are left out,
        and so is a topic of which none is known.
        """
        wanted = [
            Topic(topic="big", partitions=[1, 1, 7]),
            Topic(topic="small", partitions=[-1]),
            Topic(topic="none", partitions=[0]),
            Topic(topic="big", partitions=[1]),
        ]
        self.log.elsewhere.add((self.big.topic_id, 7))
        self.log.elsewhere.add((self.cluster.image.topic("small").topic_id, -1))
        self.assertEqual(self.sizes(self.ask(wanted)), {"big": {1: 1000}})
        self.assertEqual(self.ask([]).topics, [])

    def test_elsewhere(self) -> None:
        """
        Partitions that another broker leads are left out.
        """
        self.log.elsewhere.add((self.big.topic_id, 0))
        self.assertEqual(self.sizes(self.ask())["big"], {1: 1000})

    def test_failed(self) -> None:
        """
        The error is on top of the response, and with the directory.
        """
        for version in self.client.versions(DescribeLogDirsRequest):
            response = self.client.failed(DescribeLogDirsRequest(topics=None), version, 7)
            self.assertEqual([each.error_code for each in response.results], [7])
            self.assertEqual(response.error_code, 7 if version >= 3 else 0)
