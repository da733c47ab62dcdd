"""
An operator: topics come and go, and old records do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafscale import errors
from kafscale.errors import retriable
from kafscale.wire.messages import CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest
from tests.simulation.client import Client
from tests.simulation.network import Disconnected
from tests.simulation.producing import Producer

if TYPE_CHECKING:
    from tests.simulation.world import World

CREATE_VERSION = 7
DELETE_VERSION = 4
RECORDS_VERSION = 2


class Admin(Client):
    """
    Does one thing after the other.
    """

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.running = True
        self.deletions = 0
        self.topics = 0

    async def create(self, name: str, partitions: int) -> None:
        """
        Make a topic, and return when it is there.
        """
        topic = CreateTopicsRequest.Topic(
            name=name, num_partitions=partitions, replication_factor=1, assignments=[], configs=[]
        )
        while True:
            broker_id = self.chance.choice(self.world.broker_ids())
            try:
                answer = await self.ask(
                    broker_id, CreateTopicsRequest(topics=[topic], timeout_ms=10_000),
                    CREATE_VERSION,
                )  # fmt: skip
            except Disconnected:
                await self.pause(0.5)
                continue
            code = answer.topics[0].error_code
            if code in (0, errors.TopicAlreadyExists.code):
                return
            self.world.checker.expect(retriable(code), f"CreateTopics {name}: {code}")
            await self.pause(0.5)

    async def remove(self, name: str) -> None:
        """
        Delete a topic, and return when it is.
        """
        for (topic, _), led in self.leaders.items():
            if topic == name:
                self.world.checker.gone[led.topic_id] = None
        request = DeleteTopicsRequest(topic_names=[name], timeout_ms=10_000)
        while True:
            broker_id = self.chance.choice(self.world.broker_ids())
            try:
                answer = await self.ask(broker_id, request, DELETE_VERSION)
            except Disconnected:
                await self.pause(0.5)
                continue
            code = answer.responses[0].error_code
            if code in (0, errors.UnknownTopicOrPartition.code):
                return
            self.world.checker.expect(retriable(code), f"DeleteTopics {name}: {code}")
            await self.pause(0.5)

    async def run(self, topics: list[tuple[str, int]], pause: float) -> None:
        """
        Now and then delete old records, or make a topic and delete it.
        """
        names = [(topic, index) for topic, count in topics for index in range(count)]
        while self.running:
            await self.pause(pause)
            if self.chance.random() < 0.25:
                await self._fleeting()
            else:
                await self._delete_records(self.chance.choice(names))

    async def _fleeting(self) -> None:
        self.topics += 1
        name = f"fleeting-{self.topics}"
        await self.create(name, 2)
        producer = Producer(self.world, f"{self.name} {self.topics}", [(name, 2)], 1.0)
        self.world.start(producer.run())
        await self.pause(10.0)
        await self.refresh([name])
        producer.running = False
        if any(topic == name for topic, _ in self.leaders):
            await self.remove(name)

    async def _delete_records(self, name: tuple[str, int]) -> None:
        await self.refresh([name[0]])
        led = self.leaders.get(name)
        if led is None or led.leader < 0:
            return
        where = led.topic_id, name[1]
        known = self.world.checker.known(where)
        if known.acknowledged <= known.log_start:
            return
        offset = self.chance.randint(known.log_start, known.acknowledged)
        if self.chance.random() < 0.1:
            offset = -1
        part = DeleteRecordsRequest.Topic.Partition(partition_index=name[1], offset=offset)
        request = DeleteRecordsRequest(
            topics=[DeleteRecordsRequest.Topic(name=name[0], partitions=[part])], timeout_ms=10_000
        )
        try:
            answer = await self.ask(led.leader, request, RECORDS_VERSION)
        except Disconnected:
            return
        told = answer.topics[0].partitions[0]
        if told.error_code == 0:
            self.deletions += 1
            self.world.checker.deleted(where, told.low_watermark)
            self.world.checker.expect(
                told.low_watermark >= offset, f"{name} begins at {told.low_watermark}, not {offset}"
            )
        elif told.error_code != errors.OffsetOutOfRange.code:  # by one that was replaced
            self.world.checker.expect(
                retriable(told.error_code), f"DeleteRecords {name}: {told.error_code}"
            )
