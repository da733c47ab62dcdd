"""
Fetching from one leader, for the replicas of its partitions.

One long poll asks for all of them, so each record comes once, however many
consumers read it here. The poll goes no further than a little ahead of the
foremost consumer of each partition. Consumers far behind the foremost are
served by single reads, which wait for no poll.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale.errors import NotLeaderOrFollower, OffsetOutOfRange
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import IFetchClient, LeaderRecords, PeerRefused, PeerUnavailable
from kafscale.log.replicas.replica import Replica

WAIT_SECONDS: Final = 0.5
"""Seconds that the leader may wait for records. A partition that gets its first
consumer here waits up to as long before it is part of a poll."""

RETRY_SECONDS: Final = 0.5
"""Seconds after which a leader or a partition that failed is asked again."""

SILENCE_SECONDS: Final = 5.0
"""Seconds without an answer after which a leader counts as silent."""

SHORT_WAIT_SECONDS: Final = 0.05
"""Seconds that the leader may wait for records when something else is due here
before long."""


class _Followed:
    """
    A partition that is followed.

    @ivar heard: When the leader last answered for it, in seconds.
    @ivar paused: Until when it is left out of polls, in seconds.
    """

    __slots__ = ("heard", "paused", "replica")

    def __init__(self, replica: Replica, now: float) -> None:
        self.replica = replica
        self.heard = now
        self.paused = now


class LeaderFetcher:
    """
    Polls one leader, and hands the records to the replicas.
    """

    _log = Logger()

    def __init__(
        self,
        broker_id: int,
        client: IFetchClient,
        clock: IReactorTime,
        max_bytes: Callable[[], int],
        received: Callable[[int], None],
    ) -> None:
        """
        @param broker_id: The id of the leader.
        @param client: A client of the leader.
        @param max_bytes: Returns how many bytes of one partition may be in memory
            now.
        @param received: Called with the number of bytes of records received.
        """
        self._broker_id = broker_id
        self._client = client
        self._clock = clock
        self._max_bytes = max_bytes
        self._received = received
        self._followed: dict[TopicIdPartition, _Followed] = {}
        # Those that the fetch session knows from an earlier consumer. The leader
        # would not repeat what it has answered then.
        self._renewed: set[TopicIdPartition] = set()
        self._running = False
        self._under_way: Deferred[None] | None = None
        self._away = False

    def __len__(self) -> int:
        return len(self._followed)

    def add(self, replica: Replica) -> None:
        """
        Follow a replica, which has consumers.
        """
        where = replica.topic_id, replica.index
        self._followed[where] = _Followed(replica, self._clock.seconds())
        if self._client.knows(where):
            self._renewed.add(where)
        if not self._running:
            self._running = True
            self._under_way = Deferred.fromCoroutine(self._run())

    def remove(self, replica: Replica) -> None:
        """
        Stop following a replica.
        """
        self._followed.pop((replica.topic_id, replica.index), None)

    def stop(self) -> None:
        """
        Stop following all replicas, and close the connections.
        """
        self._followed.clear()
        if self._under_way is not None:
            self._under_way.cancel()
        self._client.close()

    # -- polling ---------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._followed:
                await self._wait(await self._round())
        except CancelledError:
            return
        finally:
            self._running = False

    async def _wait(self, seconds: float) -> None:
        now = self._clock.seconds()
        for followed in list(self._followed.values()):
            if now - followed.heard >= SILENCE_SECONDS and not followed.replica.silent:
                followed.replica.fell_silent()
        if seconds:
            await deferLater(self._clock, seconds)

    async def _round(self) -> float:
        """
        Poll once.

        @return: After how many seconds to poll again.
        """
        positions, wait = self._positions()
        self._renewed.clear()
        if not positions:
            self._client.restart()
            return SHORT_WAIT_SECONDS
        seconds = 0.0
        try:
            found = await self._client.poll(positions, wait, SILENCE_SECONDS)
            self._take(positions, found)
        except CancelledError:
            raise
        except PeerRefused:
            seconds = RETRY_SECONDS
        except Exception as error:
            if not isinstance(error, PeerUnavailable):
                self._log.failure(
                    "internal error while fetching from broker {id}, trying again in {seconds} s",
                    id=self._broker_id,
                    seconds=RETRY_SECONDS,
                )
            elif not self._away:
                self._log.warn(
                    "could not fetch from broker {id}, consumers in this rack read from it"
                    " directly meanwhile: {error}",
                    id=self._broker_id,
                    error=error,
                )
            self._away = True
            self._client.restart()
            return RETRY_SECONDS
        if self._away:
            self._away = False
            self._log.info("fetching from broker {id} again", id=self._broker_id)
        return seconds

    def _positions(self) -> tuple[dict[TopicIdPartition, int], float]:
        """
        Return the position of each partition to poll for, and how many seconds
        the leader may wait for records.
        """
        now = self._clock.seconds()
        max_bytes = self._max_bytes()
        positions: dict[TopicIdPartition, int] = {}
        wait = WAIT_SECONDS
        for where, followed in self._followed.items():
            replica = followed.replica
            replica.shrink(max_bytes)
            if followed.paused > now:
                wait = SHORT_WAIT_SECONDS
            elif replica.unread * 2 > max_bytes:
                followed.heard = now  # not polling is this broker's own choice
                wait = SHORT_WAIT_SECONDS
            elif where in self._renewed and self._client.knows(where):
                wait = SHORT_WAIT_SECONDS  # the poll after this one has it as a new partition
            else:
                positions[where] = replica.position
        return positions, wait

    def _take(
        self, positions: Mapping[TopicIdPartition, int], found: Sequence[LeaderRecords]
    ) -> None:
        now = self._clock.seconds()
        failed: set[TopicIdPartition] = set()
        for each in found:
            followed = self._followed.get(each.where)
            if followed is None:
                continue
            if each.error is None:
                self._received(
                    followed.replica.take_fetched(
                        positions[each.where], each.high_watermark, each.log_start, each.records
                    )
                )
                continue
            failed.add(each.where)
            followed.paused = now + RETRY_SECONDS
            if each.error is OffsetOutOfRange:
                followed.replica.lose_position()
        for where in positions:
            followed = self._followed.get(where)
            if followed is not None and where not in failed:
                followed.heard = now
                followed.replica.silent = False

    # -- single reads ----------------------------------------------------------

    async def fetch(self, replica: Replica, offset: int, max_bytes: int) -> bytes:
        """
        Read batches from the leader, from the one that contains C{offset} on.

        @raise KafkaError: the leader does not have them, or cannot be reached.
        """
        where = replica.topic_id, replica.index
        try:
            found = await self._client.read(where, offset, max_bytes, SILENCE_SECONDS)
        except PeerUnavailable as error:
            raise NotLeaderOrFollower(f"the leader cannot be reached: {error}") from None
        except PeerRefused as error:
            raise NotLeaderOrFollower(f"the leader refused the read: {error}") from None
        if found.error is not None:
            raise found.error
        # The high watermark in a response must not be below the records in it.
        replica.take_bounds(found.high_watermark, found.log_start)
        records = bytes(found.records)
        self._received(len(records))
        return records
