"""
A partition with offsets to find.
"""

from __future__ import annotations

from tests.log.fakes import FakeLog
from tests.services.client import ServiceCase


class OffsetsCase(ServiceCase):
    """
    A topic C{orders} of two partitions. The first has offsets 1 to 4, of which
    4 is not durable.
    """

    def setUp(self) -> None:
        """
        Create the topic and its records.
        """
        super().setUp()
        self.topic = self.cluster.now(self.cluster.topics.create("orders", 2, {}))
        self.log = FakeLog()
        self.partition = self.log.partition(self.topic.topic_id, 0)
        for timestamp in (0, 100, 300, 200):
            self.partition.put(b"x", timestamp=timestamp)
        self.partition.log_start = 1
        self.partition.next_offset = 5
