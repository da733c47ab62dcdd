"""
Producers whose requests have batches for two partitions.

The batches of a request have one fate each: one may be stored under an incarnation of the
broker, and the other one, for which the request had to wait, under the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kafscale import errors
from kafscale.errors import retriable
from kafscale.wire.building import build_batch
from kafscale.wire.messages import ProduceRequest
from kafscale.wire.records import Record
from tests.simulation.client import Client
from tests.simulation.network import Disconnected
from tests.simulation.producing import PRODUCE_VERSION

if TYPE_CHECKING:
    from tests.simulation.world import World

PATIENCE = 60.0
"""Seconds for which a request may wait."""


class PairProducer(Client):
    """
    Sends a record to each of two partitions of one leader from time to time, in one
    request, and never again if there is no answer.

    @ivar both: How many requests were acknowledged for both partitions.
    @ivar one: How many for one of them only.
    """

    def __init__(self, world: World, name: str, topics: Sequence[str], pause: float) -> None:
        """
        @param topics: Their names.
        @param pause: Seconds between two requests.
        """
        super().__init__(world, name)
        self.running = True
        self._topics = topics
        self._pause = pause
        self._pending = 0
        self.both = 0
        self.one = 0
        self._number = 0

    def pending(self) -> int:
        """
        Return how many requests have no answer yet.
        """
        return self._pending

    async def run(self) -> None:
        """
        Produce until C{running} is false.
        """
        while self.running:
            await self.pause(self._pause)
            await self.refresh(self._topics)
            led = sorted(
                (led.leader, where) for where, led in self.leaders.items() if led.leader >= 0
            )
            led_by = {
                broker_id: [where for _, where in each]
                for broker_id, each in groupby(led, lambda pair: pair[0])
            }
            several = [broker_id for broker_id, places in led_by.items() if len(places) > 1]
            if several and self.running:
                broker_id = self.chance.choice(several)
                places = self.chance.sample(led_by[broker_id], 2)
                self.world.start(self._send(broker_id, places))

    async def _send(self, broker_id: int, places: Sequence[tuple[str, int]]) -> None:
        sent = {}
        topics: list[Any] = []
        kind = ProduceRequest.Topic
        for topic, index in places:
            self._number += 1
            value = f"{self.name} {self._number} 0".encode()
            data = build_batch([Record(0, int(self.world.schedule.now * 1000), None, value)])
            part = kind.Partition(index=index, records=memoryview(data))
            topic_id = self.leaders[topic, index].topic_id
            topics.append(kind(topic_id=topic_id, partition_data=[part]))
            sent[topic_id, index] = value
        request = ProduceRequest(acks=-1, timeout_ms=round(PATIENCE * 1000), topic_data=topics)
        self._pending += 1
        with suppress(Disconnected):
            answer = await self.ask(broker_id, request, PRODUCE_VERSION, PATIENCE)
            stored = [
                self._is_stored((each.topic_id, part.index), part, sent)
                for each in answer.responses
                for part in each.partition_responses
            ]
            self.both += all(stored)
            self.one += any(stored) and not all(stored)
        self._pending -= 1

    def _is_stored(self, where: Any, told: Any, sent: dict[Any, bytes]) -> bool:
        checker = self.world.checker
        if told.error_code == 0:
            checker.acknowledged(where, told.base_offset, [sent[where]])
            return True
        is_gone = told.error_code == errors.UnknownTopicId.code and where[0] in checker.gone
        checker.expect(is_gone or retriable(told.error_code), f"{self.name}: {told.error_code}")
        return False
