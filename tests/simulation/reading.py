"""
Reading partitions, and checking the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from kafscale import errors
from kafscale.errors import retriable
from kafscale.wire.messages import FetchRequest, ListOffsetsRequest
from tests.simulation.client import LONGEST_REST, Client
from tests.simulation.network import Disconnected

if TYPE_CHECKING:
    from tests.simulation.world import World

Name = tuple[str, int]

FETCH_VERSION = 16
LIST_VERSION = 7
AGAIN_SECONDS = 0.5


@attrs.define(eq=False)
class Position:
    """
    The position of a reader in one partition.

    @ivar offset: The next one to read; -1: to be found out, the earliest.
    @ivar start: Where it began.
    @ivar values: What it has read since, if it keeps that.
    @ivar end: The last high watermark.
    @ivar epoch: The leader epoch of the last answer: an older leader may not
        know the offset.
    """

    offset: int = -1
    epoch: int = -1
    start: int = 0
    end: int = -1
    keeps: bool = False
    values: list[bytes] = attrs.field(factory=list)


class Reader(Client):
    """
    Reads partitions from their leaders, or from replicas in its rack.
    """

    def __init__(
        self, world: World, name: str, wait_ms: int = 8000, rack: str = ""
    ) -> None:
        """
        @param rack: Where it is; it reads from a broker there, if it is sent.
        """
        super().__init__(world, name)
        self._rack = rack
        self._near: dict[Name, int] = {}  # to whom it was sent
        self.positions: dict[Name, Position] = {}
        self.running = True
        self._wait_ms = wait_ms
        self._rest = AGAIN_SECONDS

    def follow(self, topics: Sequence[tuple[str, int]]) -> None:
        """
        Read all partitions of these topics, which have so many, from their
        starts.
        """
        self.positions = {
            (topic, index): Position() for topic, count in topics for index in range(count)
        }

    async def read_once(self) -> None:
        """
        Send one fetch to each leader, and take the answers.
        """
        by_broker: dict[int, dict[Name, Position]] = {}
        blind = False
        for name, position in self.positions.items():
            led = self.leaders.get(name)
            if led is None or led.leader < 0 or led.epoch < position.epoch:
                blind = True
            else:
                by_broker.setdefault(self._near.get(name, led.leader), {})[name] = position
        if blind:
            await self.look_again()
        fetches = [self._from(broker_id, wanted) for broker_id, wanted in by_broker.items()]
        await self.world.all(fetches)

    async def look_again(self) -> None:
        """
        Learn the leaders, after a while; a longer one each time until something
        could be read.
        """
        rest, self._rest = self._rest, min(LONGEST_REST, 2 * self._rest)
        await self.pause(rest)
        await self.refresh(list(dict.fromkeys(topic for topic, _ in self.positions)))

    async def _from(self, broker_id: int, wanted: Mapping[Name, Position]) -> None:
        try:
            for name, position in wanted.items():
                if position.offset < 0:
                    self._near.pop(name, None)  # the leader knows
                    await self._find_start(self.leaders[name].leader, name, position)
            known = {name: each for name, each in wanted.items() if each.offset >= 0}
            if known:
                await self._fetch(broker_id, known)
            if len(known) < len(wanted):
                await self.look_again()
        except Disconnected:
            for name in wanted:
                self._near.pop(name, None)
            await self.look_again()

    async def _find_start(self, leader: int, name: Name, position: Position) -> None:
        part = ListOffsetsRequest.Topic.Partition(
            partition_index=name[1], timestamp=-2, current_leader_epoch=self.leaders[name].epoch
        )
        request = ListOffsetsRequest(
            replica_id=-1,
            topics=[ListOffsetsRequest.Topic(name=name[0], partitions=[part])],
        )
        response = await self.ask(leader, request, LIST_VERSION)
        answer = response.topics[0].partitions[0]
        if answer.error_code == 0:
            position.offset = position.start = answer.offset
            position.values.clear()
        else:
            self.world.checker.expect(
                retriable(answer.error_code), f"ListOffsets {name}: {answer.error_code}"
            )

    async def _fetch(self, broker_id: int, wanted: Mapping[Name, Position]) -> None:
        by_topic: dict[str, list[FetchRequest.Topic.Partition]] = {}
        asked = {}
        for name, position in wanted.items():
            led = self.leaders[name]
            asked[led.topic_id, name[1]] = name, position.offset, led.epoch
            by_topic.setdefault(name[0], []).append(
                FetchRequest.Topic.Partition(
                    partition=name[1],
                    current_leader_epoch=led.epoch,
                    fetch_offset=position.offset,
                    partition_max_bytes=1 << 20,
                )
            )
        topics = [
            FetchRequest.Topic(topic_id=self.leaders[topic, parts[0].partition].topic_id,
                               partitions=parts)
            for topic, parts in by_topic.items()
        ]
        request = FetchRequest(
            max_wait_ms=self._wait_ms, min_bytes=1, topics=topics, rack_id=self._rack
        )
        response = await self.ask(
            broker_id, request, FETCH_VERSION, self._wait_ms / 1000 + 10.0
        )
        lost = False
        for topic in response.responses:
            for answer in topic.partitions:
                name, offset, epoch = asked[topic.topic_id, answer.partition_index]
                position = wanted[name]
                if self.positions.get(name) is not position or position.offset != offset:
                    continue
                where = topic.topic_id, name[1]
                code = answer.error_code
                # A former leader may serve consumers in its rack as a replica.
                near = bool(self._rack)
                if code == 0 and answer.preferred_read_replica >= 0:
                    self._near[name] = answer.preferred_read_replica
                elif code == 0:
                    shows = self.world.checker.shown_near if near else self.world.checker.shown
                    position.offset, values = shows(
                        self.name, where, epoch, offset,
                        answer.high_watermark, answer.log_start_offset, answer.records or (),
                    )  # fmt: skip
                    position.end = answer.high_watermark
                    position.epoch = epoch
                    if values:
                        self._rest = AGAIN_SECONDS
                    if position.keeps:
                        position.values += values
                elif self._near.pop(name, None) is not None:
                    self.world.checker.expect(
                        retriable(code) or code == errors.OffsetOutOfRange.code,
                        f"Fetch {name} at {offset}, near: {code}",
                    )
                elif code == errors.OffsetOutOfRange.code:
                    self.world.checker.out_of_range(where, offset)
                    position.offset = -1
                else:
                    self.world.checker.expect(
                        retriable(code), f"Fetch {name} at {offset}: {code}"
                    )
                    lost = True
        if lost:
            await self.look_again()

    async def run(self, pause: float) -> None:
        """
        Read until C{running} is false.
        """
        while self.running:
            await self.read_once()
            await self.pause(pause)

    async def read_all(self, wanted: list[Name]) -> None:
        """
        Read these partitions from their starts to their ends, and let the
        checker compare the result with all known records.
        """
        self.positions = {name: Position(keeps=True) for name in wanted}
        while any(self._is_behind(name, each) for name, each in self.positions.items()):
            await self.read_once()
        for name, position in self.positions.items():
            where = self.leaders[name].topic_id, name[1]
            self.world.checker.whole(where, position.start, position.values)

    def _is_behind(self, name: Name, position: Position) -> bool:
        """
        Return whether there is more to read. A replica may not know the end of
        the partition yet.
        """
        if position.offset < 0 or position.end < 0 or position.offset < position.end:
            return True
        where = self.leaders[name].topic_id, name[1]
        return bool(self._rack) and position.offset < self.world.checker.end(where)
