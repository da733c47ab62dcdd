"""
What comes from one leader for those who read here what it leads.

It is a consumer's long poll, one for all its partitions that are read here, so
each record comes once, however many readers there are. It goes no further than
a little ahead of the foremost reader of each partition. Readers far from that
are served by questions of their own, on another connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale.errors import BY_CODE, NotLeaderOrFollower, OffsetOutOfRange, UnknownServerError
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import IPeer, PeerUnavailable
from kafscale.log.replicas.replica import Replica
from kafscale.wire.messages import FetchRequest, FetchResponse

VERSION: Final = 13
"""Of Fetch: the first that names topics by their ids."""

WAIT: Final = 0.5
"""Seconds that a leader may wait for records; who comes to be read here waits
as long to be asked for."""

AGAIN: Final = 0.5
"""Seconds after which who failed is asked again."""

SILENCE: Final = 5.0
"""Seconds after which readers are told that nothing is heard of a leader."""

SOON: Final = 0.05
"""Seconds to wait for records while readers have not come to those there are."""

ANSWER_BYTES: Final = 8 << 20
PARTITION_BYTES: Final = 1 << 20


class _Followed:
    """
    One partition.

    @ivar heard: When the leader last told of it, in seconds.
    @ivar paused: Until when it is not asked for.
    """

    __slots__ = ("heard", "paused", "replica")

    def __init__(self, replica: Replica, now: float) -> None:
        self.replica = replica
        self.heard = now
        self.paused = now


class Feed:
    """
    What comes from one leader.
    """

    _log = Logger()

    def __init__(
        self,
        broker_id: int,
        peer: IPeer,
        lookups: IPeer,
        clock: IReactorTime,
        room: Callable[[], int],
        came: Callable[[int], None],
    ) -> None:
        """
        @param broker_id: Of the leader.
        @param peer: The leader, for what comes along.
        @param lookups: The same, for what is asked for by itself.
        @param room: How many bytes of a partition may be in memory.
        @param came: Told how many bytes have come.
        """
        self._broker_id = broker_id
        self._peer = peer
        self._lookups = lookups
        self._clock = clock
        self._room = room
        self._came = came
        self._followed: dict[TopicIdPartition, _Followed] = {}
        self._session = (0, 0)  # id and epoch of the next request
        self._asked: dict[TopicIdPartition, int] = {}  # what the leader's session has
        # What it has from earlier: it would tell nothing that it has told then.
        self._forget: set[TopicIdPartition] = set()
        self._running = False
        self._under_way: Deferred[None] | None = None
        self._away = False

    def __len__(self) -> int:
        return len(self._followed)

    def add(self, replica: Replica) -> None:
        """
        There are readers for it.
        """
        where = replica.topic_id, replica.index
        self._followed[where] = _Followed(replica, self._clock.seconds())
        if where in self._asked:
            self._forget.add(where)
        if not self._running:
            self._running = True
            self._under_way = Deferred.fromCoroutine(self._run())

    def remove(self, replica: Replica) -> None:
        """
        There are none any more.
        """
        self._followed.pop((replica.topic_id, replica.index), None)

    def stop(self) -> None:
        """
        Ask for nothing more.
        """
        self._followed.clear()
        if self._under_way is not None:
            self._under_way.cancel()
        self._peer.close()
        self._lookups.close()

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
        Ask once; return after how many seconds to ask again.
        """
        request = self._request()
        if request is None:
            return SOON
        try:
            response = await self._peer.ask(request, VERSION, SILENCE)
            self._take(response)
        except CancelledError:
            raise
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
            self._begin_anew()
            return AGAIN
        if self._away:
            self._away = False
            self._log.info("broker {id} is reached again", id=self._broker_id)
        return 0.0 if response.error_code == 0 else AGAIN

    def _begin_anew(self) -> None:
        self._session = 0, 0
        self._asked = {}
        self._forget.clear()

    def _request(self) -> FetchRequest | None:
        """
        What to ask for now; None if that is nothing.
        """
        now = self._clock.seconds()
        room = self._room()
        wanted: dict[TopicIdPartition, int] = {}
        seconds = WAIT
        for where, followed in self._followed.items():
            replica = followed.replica
            replica.keep(room)
            if followed.paused > now:
                seconds = SOON
            elif replica.unread * 2 > room:
                followed.heard = now  # it is we who do not ask
                seconds = SOON
            elif where in self._forget:
                seconds = SOON  # and then it is new
            else:
                wanted[where] = replica.position
        if not wanted:
            self._begin_anew()
            return None
        session_id, epoch = self._session
        asked = self._asked
        news = {where: at for where, at in wanted.items() if asked.get(where) != at}
        forgotten = [where for where in asked if where not in wanted]
        self._asked = wanted
        self._forget.clear()
        return FetchRequest(
            max_wait_ms=int(seconds * 1000),
            min_bytes=1,
            max_bytes=ANSWER_BYTES,
            session_id=session_id,
            session_epoch=epoch,
            topics=_topics(news),
            forgotten_topics_data=[
                FetchRequest.ForgottenTopic(topic_id=topic_id, partitions=[index])
                for topic_id, index in forgotten
            ],
        )

    def _take(self, response: FetchResponse) -> None:
        if response.error_code != 0:
            self._begin_anew()
            return
        asked, now = self._asked, self._clock.seconds()
        if response.session_id == 0:
            self._begin_anew()  # there is no room for one
        else:
            epoch = self._session[1]
            self._session = response.session_id, epoch + 1 if epoch < 2**31 - 1 else 1
        failed: set[TopicIdPartition] = set()
        for topic in response.responses:
            for answer in topic.partitions:
                where = topic.topic_id, answer.partition_index
                followed = self._followed.get(where)
                if followed is None or where not in asked:
                    continue
                if answer.error_code == 0:
                    self._came(_take_in(followed.replica, asked[where], answer))
                    continue
                failed.add(where)
                followed.paused = now + AGAIN
                if answer.error_code == OffsetOutOfRange.code:
                    followed.replica.missed()
        for where in asked:
            followed = self._followed.get(where)
            if followed is not None and where not in failed:
                followed.heard = now
                followed.replica.silent = False

    # -- what is asked for by itself ------------------------------------------

    async def fetch(self, replica: Replica, offset: int, max_bytes: int) -> bytes:
        """
        Batches from the one that contains C{offset}.

        @raise KafkaError: the leader does not have them.
        """
        where = replica.topic_id, replica.index
        topics = _topics({where: offset}, max_bytes)
        request = FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=max_bytes, topics=topics)
        try:
            response = await self._lookups.ask(request, VERSION, SILENCE)
        except PeerUnavailable as error:
            raise NotLeaderOrFollower(f"its leader cannot be reached: {error}") from None
        for topic in response.responses:
            for answer in topic.partitions:
                if answer.error_code:
                    raise BY_CODE.get(answer.error_code, UnknownServerError)
                assert isinstance(answer.records, memoryview)
                # What is told with them may not be less than what is shown.
                replica.heard(answer.high_watermark, answer.log_start_offset)
                records = bytes(answer.records)
                self._came(len(records))
                return records
        raise NotLeaderOrFollower(f"its leader answers {response.error_code}")


def _topics(
    wanted: dict[TopicIdPartition, int], max_bytes: int = PARTITION_BYTES
) -> list[FetchRequest.Topic]:
    topics: dict[UUID, FetchRequest.Topic] = {}
    for (topic_id, index), offset in wanted.items():
        topic = topics.get(topic_id)
        if topic is None:
            topic = topics[topic_id] = FetchRequest.Topic(topic_id=topic_id, partitions=[])
        topic.partitions.append(
            FetchRequest.Topic.Partition(
                partition=index, fetch_offset=offset, partition_max_bytes=max_bytes
            )
        )
    return list(topics.values())


def _take_in(replica: Replica, asked: int, answer: FetchResponse.Topic.Partition) -> int:
    records = answer.records if isinstance(answer.records, memoryview) else b""
    return replica.fed(asked, answer.high_watermark, answer.log_start_offset, records)
