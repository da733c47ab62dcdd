"""
Following the partitions of one leader that are read here.

One long poll asks for all of them, so each record comes once, however many
readers there are. It goes no further than a little ahead of the foremost
reader of each partition. Readers far behind the foremost are served by single
reads, which wait for no poll.
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

WAIT: Final = 0.5
"""Seconds that a leader may wait for records. A partition that gets its first
reader here waits as long to be asked for."""

RETRY_SECONDS: Final = 0.5
"""Seconds after which a leader, or a partition, that failed is asked again."""

SILENCE: Final = 5.0
"""Seconds after which readers are told that nothing is heard of a leader."""

SOON: Final = 0.05
"""Seconds to wait for records while readers have not come to those there are."""


class _Followed:
    """
    One partition that is followed.

    @ivar heard: When the leader last answered for it, in seconds.
    @ivar paused: Until when it is not asked for, in seconds.
    """

    __slots__ = ("heard", "paused", "replica")

    def __init__(self, replica: Replica, now: float) -> None:
        self.replica = replica
        self.heard = now
        self.paused = now


class LeaderFetcher:
    """
    Decides what is asked of one leader, and hands what comes to the replicas.
    """

    _log = Logger()

    def __init__(
        self,
        broker_id: int,
        client: IFetchClient,
        clock: IReactorTime,
        max_bytes: Callable[[], int],
        came: Callable[[int], None],
    ) -> None:
        """
        @param broker_id: The id of the leader.
        @param max_bytes: Returns how many bytes of a partition may be in memory
            now.
        @param came: Called with the bytes of records that have come.
        """
        self._broker_id = broker_id
        self._client = client
        self._clock = clock
        self._max_bytes = max_bytes
        self._came = came
        self._followed: dict[TopicIdPartition, _Followed] = {}
        # Those that the session knows from earlier readers: the leader would
        # not tell again what it has told then.
        self._renewed: set[TopicIdPartition] = set()
        self._running = False
        self._under_way: Deferred[None] | None = None
        self._away = False

    def __len__(self) -> int:
        return len(self._followed)

    def add(self, replica: Replica) -> None:
        """
        Follow a replica, which has readers.
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
        Follow a replica no more.
        """
        self._followed.pop((replica.topic_id, replica.index), None)

    def stop(self) -> None:
        """
        Follow nothing more.
        """
        self._followed.clear()
        if self._under_way is not None:
            self._under_way.cancel()
        self._client.close()

    # -- following ----------------------------------------------------------

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
            if now - followed.heard >= SILENCE and not followed.replica.silent:
                followed.replica.fell_silent()
        if seconds:
            await deferLater(self._clock, seconds)

    async def _round(self) -> float:
        """
        Poll once; return after how many seconds to poll again.
        """
        positions, wait = self._positions()
        self._renewed.clear()
        if not positions:
            self._client.restart()
            return SOON
        seconds = 0.0
        try:
            found = await self._client.poll(positions, wait, SILENCE)
            self._take(positions, found)
        except CancelledError:
            raise
        except PeerRefused:
            seconds = RETRY_SECONDS
        except Exception as error:
            if not isinstance(error, PeerUnavailable):
                self._log.failure("broker {id} was not understood", id=self._broker_id)
            elif not self._away:
                self._log.warn(
                    "broker {id} cannot be reached: what it leads is not read here: {error}",
                    id=self._broker_id,
                    error=error,
                )
            self._away = True
            self._client.restart()
            return RETRY_SECONDS
        if self._away:
            self._away = False
            self._log.info("broker {id} is reached again", id=self._broker_id)
        return seconds

    def _positions(self) -> tuple[dict[TopicIdPartition, int], float]:
        """
        What to ask for now: the position of each partition, and how many
        seconds the leader may wait for records.
        """
        now = self._clock.seconds()
        max_bytes = self._max_bytes()
        positions: dict[TopicIdPartition, int] = {}
        wait = WAIT
        for where, followed in self._followed.items():
            replica = followed.replica
            replica.keep(max_bytes)
            if followed.paused > now:
                wait = SOON
            elif replica.unread * 2 > max_bytes:
                followed.heard = now  # not asking is this broker's own choice
                wait = SOON
            elif where in self._renewed and self._client.knows(where):
                wait = SOON  # the poll after this one has it as a new one
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
                self._came(
                    followed.replica.fed(
                        positions[each.where], each.high_watermark, each.log_start, each.records
                    )
                )
                continue
            failed.add(each.where)
            followed.paused = now + RETRY_SECONDS
            if each.error is OffsetOutOfRange:
                followed.replica.missed()
        for where in positions:
            followed = self._followed.get(where)
            if followed is not None and where not in failed:
                followed.heard = now
                followed.replica.silent = False

    # -- single reads -------------------------------------------------------

    async def fetch(self, replica: Replica, offset: int, max_bytes: int) -> bytes:
        """
        Read batches from the leader, from the one that contains C{offset}.

        @raise KafkaError: the leader does not have them, or cannot be reached.
        """
        where = replica.topic_id, replica.index
        try:
            found = await self._client.read(where, offset, max_bytes, SILENCE)
        except PeerUnavailable as error:
            raise NotLeaderOrFollower(f"its leader cannot be reached: {error}") from None
        except PeerRefused as error:
            raise NotLeaderOrFollower(f"its leader answers {error}") from None
        if found.error is not None:
            raise found.error
        # A reader is answered with an end that is not below what it is shown.
        replica.heard(found.high_watermark, found.log_start)
        records = bytes(found.records)
        self._came(len(records))
        return records
