"""
Idempotent producers, as clients at default settings are: several batches in
flight for each partition, from the first on, and the same batch with the same
sequence again until it is acknowledged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import attrs

from kafscale import errors
from kafscale.errors import retriable
from kafscale.wire.building import build_batch
from kafscale.wire.messages import InitProducerIdRequest, ProduceRequest
from kafscale.wire.records import Record
from tests.simulation.client import LONGEST_REST, Client
from tests.simulation.network import Disconnected

if TYPE_CHECKING:
    from tests.simulation.world import World

IN_FLIGHT = 5
AGAIN_SECONDS = 0.4

PRODUCE_VERSION = 13
INIT_VERSION = 4


@attrs.define(eq=False)
class Batch:
    """
    @ivar flying: To which broker it is on its way.
    @ivar tries: How often it was sent.
    """

    sequence: int
    values: tuple[bytes, ...]
    flying: int | None = None
    tries: int = 0


@attrs.define(eq=False)
class Stream:
    """
    The records of a producer for one partition.

    @ivar number: Of the next record.
    @ivar pending: Not acknowledged, in order.
    """

    topic: str
    index: int
    epoch: int
    number: int = 0
    sequence: int = 0
    pending: list[Batch] = attrs.field(factory=list)
    resting: bool = False
    rest: float = AGAIN_SECONDS


class Producer(Client):
    """
    Sends small batches, one now and then, and several together sometimes. Now and then
    it ends, and another producer goes on, with an id of its own, whose first batches come
    together.

    @ivar acknowledged: How many records.
    @ivar renewals: How often another producer went on.
    """

    def __init__(
        self, world: World, name: str, topics: list[tuple[str, int]], pause: float
    ) -> None:
        """
        @param topics: Names, with their numbers of partitions.
        @param pause: Seconds between two sendings.
        """
        super().__init__(world, name)
        self.topics = topics
        self._pause = pause
        self._producer_id = -1
        self.streams = [
            Stream(topic, index, 0) for topic, partitions in topics for index in range(partitions)
        ]
        self.acknowledged = 0
        self.retries = 0
        self.renewals = 0
        self.running = True

    def pending(self) -> int:
        """
        Return how many batches are not acknowledged.
        """
        return sum(len(stream.pending) for stream in self.streams)

    async def run(self) -> None:
        """
        Produce until C{running} is false.
        """
        await self._begin()
        while self.running:
            await self.pause(self._pause)
            if self.running and self.pending() < 200:
                stream = self.chance.choice(self.streams)
                anew = not self.pending() and self.chance.random() < self.world.plan.renewals
                if anew:
                    await self._begin()
                    self.renewals += 1
                for _ in range(6 if anew else self.chance.choice((1, 1, 2, 6))):
                    self._add(stream)
                self._pump(stream)

    async def _begin(self) -> None:
        """
        Become a producer with a new id, which has written nothing yet.
        """
        self._producer_id = -1
        while self._producer_id < 0:
            await self._init()
        for stream in self.streams:
            stream.sequence = 0

    async def _init(self) -> None:
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
        broker_id = self.chance.choice(self.world.broker_ids())
        try:
            response = await self.ask(broker_id, request, INIT_VERSION)
        except Disconnected:
            await self.pause(AGAIN_SECONDS)
            return
        if response.error_code:
            self.world.checker.expect(
                retriable(response.error_code), f"InitProducerId: {response.error_code}"
            )
            await self.pause(AGAIN_SECONDS)
            return
        self.world.checker.new_producer(response.producer_id, response.producer_epoch)
        self._producer_id = response.producer_id

    def _add(self, stream: Stream) -> None:
        values = []
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            values.append(f"{self.name} {stream.number}".encode())
            stream.number += 1
        stream.pending.append(Batch(stream.sequence, tuple(values)))
        stream.sequence += len(values)

    # -- sending --------------------------------------------------------------

    def _pump(self, stream: Stream) -> None:
        """
        Send the batches that may be sent now. If one is to be sent again, those that
        are under way are answered first, and then all are sent in order, as clients do.
        While one is on its way to another broker nothing is sent: brokers know again
        only the last five.
        """
        if stream.resting:
            return
        under_way = any(batch.flying is not None for batch in stream.pending)
        if under_way and any(batch.tries and batch.flying is None for batch in stream.pending):
            return
        led = self.leaders.get((stream.topic, stream.index))
        if led is None or led.leader < 0:
            self._rest(stream)
            return
        flying = 0
        for batch in list(stream.pending):
            if batch.flying is not None:
                if batch.flying != led.leader:
                    return
                flying += 1
            elif flying >= IN_FLIGHT:
                return
            else:
                flying += 1
                batch.flying = led.leader
                batch.tries += 1
                self.retries += batch.tries > 1
                self.world.start(self._send(stream, batch, led.leader, led.topic_id))

    def _rest(self, stream: Stream) -> None:
        if not stream.resting:
            stream.resting = True
            self.world.start(self._look_again(stream))

    async def _look_again(self, stream: Stream) -> None:
        await self.pause(stream.rest)
        stream.rest = min(LONGEST_REST, 2 * stream.rest)
        await self.refresh([topic for topic, _ in self.topics])
        stream.resting = False
        self._pump(stream)

    async def _send(self, stream: Stream, batch: Batch, leader: int, topic_id: UUID) -> None:
        now = int(self.world.schedule.now * 1000)
        data = build_batch(
            [Record(number, now, None, value) for number, value in enumerate(batch.values)],
            producer_id=self._producer_id,
            producer_epoch=stream.epoch,
            base_sequence=batch.sequence,
        )
        part = ProduceRequest.Topic.Partition(index=stream.index, records=memoryview(data))
        # By its id: another topic may have the name, when this one is gone.
        topic = ProduceRequest.Topic(topic_id=topic_id, partition_data=[part])
        request = ProduceRequest(acks=-1, timeout_ms=30000, topic_data=[topic])
        try:
            response = await self.ask(leader, request, PRODUCE_VERSION)
        except Disconnected:
            batch.flying = None
            self._rest(stream)
            return
        answer = response.responses[0].partition_responses[0]
        batch.flying = None
        if answer.error_code == 0:
            where = topic_id, stream.index
            self.world.checker.acknowledged(where, answer.base_offset, batch.values)
            stream.rest = AGAIN_SECONDS
            if batch in stream.pending:
                stream.pending.remove(batch)
                self.acknowledged += len(batch.values)
            self._pump(stream)
            return
        self._refused(stream, batch, answer.error_code, leader)

    def _refused(self, stream: Stream, batch: Batch, code: int, broker_id: int) -> None:
        if code in (errors.UnknownTopicOrPartition.code, errors.UnknownTopicId.code):
            led = self.leaders.get((stream.topic, stream.index))
            if led is not None and led.topic_id in self.world.checker.gone:
                stream.pending.clear()
                return
        elif code == errors.OutOfOrderSequenceNumber.code:
            # One before it was refused; if there is none it was a leader that
            # has been replaced and does not know it.
            led = self.leaders[stream.topic, stream.index]
            self.world.checker.expect(
                batch is not stream.pending[0]
                or not self.world.leads(broker_id, (led.topic_id, stream.index)),
                f"{self.name}: {batch} is out of order in {stream}",
            )
        else:
            self.world.checker.expect(
                retriable(code), f"{self.name}: {stream} was refused with {code}"
            )
        self._rest(stream)
