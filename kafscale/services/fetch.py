"""
Fetch: offsets in, batches out; now, or when there are enough of them.

A request is looked at first, which reads nothing: that tells whether it can be
answered. If not it is parked, and woken by what is appended. Only then is
anything read, so a consumer that waits holds no records in memory.

This is the path that most requests take. It is plain callbacks and not a
coroutine, and what only goes wrong is kept out of its way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.errors import (
    FencedLeaderEpoch,
    InvalidFetchSessionEpoch,
    KafkaError,
    NotLeaderOrFollower,
)
from kafscale.interfaces import IFetchService, IImage, ILog, RequestContext, Serving
from kafscale.services.budget import Budget
from kafscale.services.failure import told
from kafscale.services.location import current_leader, endpoints
from kafscale.services.old_clients import FETCHES_BATCHES, OldConsumers
from kafscale.services.parked import Parked
from kafscale.services.reading import Part, Reader
from kafscale.services.sessions import Asked, Session, Sessions, asked_in
from kafscale.services.ticks import Ticks
from kafscale.wire.messages import FetchRequest, FetchResponse

Topic: TypeAlias = FetchResponse.Topic
Answer: TypeAlias = FetchResponse.Topic.Partition

#: C{fetch.max.bytes}: what one answer may have, whatever its client allows.
MOST_BYTES = 55 * 1024 * 1024
#: What all fetches together may read from the object store at one time.
MOST_LOADING = 64 * 1024 * 1024

_FIRST_EPOCH = 0
_READ_COMMITTED = 1


@attrs.define
class _Round:
    """
    One request on its way to its answer.

    @ivar session: What it goes on with; None without a session, or when one is
        only begun with the answer.
    @ivar epoch: The session's epoch as this request left it.
    """

    request: FetchRequest
    version: int
    parts: list[Part]
    session: Session | None
    epoch: int


@implementer(IFetchService)
class FetchService:
    """
    Versions 0 to 18 of Fetch, for consumers.

    ====  ==================================================================
    v0-3  see L{OldConsumers}
    v4    isolation level, last stable offset, record batches of format 2
    v5    the answer tells where the log starts
    v7    sessions (KIP-227)
    v9    the leader epoch that the consumer knows is checked (KIP-320)
    v11   rack of the consumer (nobody else has the data, so it is ignored)
    v12   flexible; last fetched epoch, diverging epoch, current leader
    v13   topics by id
    v15   replica id moves into a tagged field
    v16   where to reach the current leader (KIP-951)
    v17   directory of the follower (there are none)
    v18   high watermark of the follower (there are none)
    ====  ==================================================================

    """

    def __init__(
        self,
        image: IImage,
        log: ILog,
        clock: IReactorTime,
        random_id: Callable[[], int],
        old: OldConsumers,
        sessions: int = 1000,
        most_bytes: int = MOST_BYTES,
        most_loading: int = MOST_LOADING,
    ) -> None:
        """
        @param random_id: Draws session ids, see L{Sessions}.
        @param old: Converts what is read for old versions.
        @param sessions: How many fetch sessions are kept
            (C{max.incremental.fetch.session.cache.slots}).
        @param most_bytes: See L{MOST_BYTES}.
        @param most_loading: See L{MOST_LOADING}.
        """
        self._image = image
        self._clock = clock
        self._ticks = Ticks(clock)
        self._old = old
        self._most_bytes = most_bytes
        self._reader = Reader(image, log, Budget(most_loading))
        self._sessions = Sessions(clock, random_id, most=sessions)

    def serves(self) -> list[Serving]:
        """
        Fetch.
        """
        return [Serving(FetchRequest, 0, 18, self.fetch, self._failed)]

    def fetch(
        self, request: FetchRequest, context: RequestContext
    ) -> FetchResponse | Deferred[FetchResponse]:
        """
        Answer as soon as there are C{min_bytes}, an error, or C{max_wait_ms}
        are over. To cancel it while it waits leaves nothing behind.
        """
        version = context.api_version
        by_id = version >= 13
        session: Session | None = None
        if version >= 7:
            try:
                session = self._sessions.resume(request, by_id)
            except KafkaError as error:
                return self._failed(request, context, error.code, "")
        asked: Collection[Asked]
        if session is None:
            asked, epoch = asked_in(request, by_id), 0
        else:
            asked, epoch = session.partitions.values(), session.epoch
        parts = [Part(each) for each in asked]
        at = _Round(request, version, parts, session, epoch)
        missing = min(request.min_bytes, request.max_bytes, self._most_bytes)
        ready = not parts or request.max_wait_ms <= 0
        look = self._reader.look
        for part in parts:
            look(part)
            missing -= part.available
            if part.tells:
                ready = True
        if ready or missing <= 0:
            return self._read(at)
        seconds = request.max_wait_ms / 1000
        parked = Parked(self._clock, self._ticks, parts, missing, seconds, look)
        return parked.done.addCallback(self._read_again, at)

    def _read_again(self, woke: bool, at: _Round) -> FetchResponse | Deferred[FetchResponse]:
        if woke:
            for part in at.parts:
                self._reader.look(part)
        return self._read(at)

    def _read(self, at: _Round) -> FetchResponse | Deferred[FetchResponse]:
        max_bytes = min(at.request.max_bytes, self._most_bytes)
        if at.version < FETCHES_BATCHES:
            return self._read_old(at, max_bytes)
        loading = self._reader.read(at.parts, max_bytes)
        if loading is None:
            return self._response(at)
        return loading.addCallback(lambda _: self._response(at))

    def _read_old(self, at: _Round, max_bytes: int) -> Deferred[FetchResponse]:
        every = self._old.each_at_least_one(at.version)
        loading = self._reader.read(at.parts, max_bytes, every) or succeed(None)
        loading.addCallback(lambda _: self._old.convert(at.parts, at.version, max_bytes))
        return loading.addCallback(lambda _: self._response(at))

    # -- answering -----------------------------------------------------------

    def _response(self, at: _Round) -> FetchResponse:
        session = at.session
        if session is not None and session.epoch != at.epoch:
            # Another request of the session came by, on another connection.
            return FetchResponse(error_code=InvalidFetchSessionEpoch.code, responses=[])
        incremental = session is not None
        if session is None and at.version >= 7 and at.request.session_epoch == _FIRST_EPOCH:
            session = self._sessions.begin((part.asked for part in at.parts), at.version >= 13)
        responses: list[Topic] = []
        moved: set[int] = set()
        for part in at.parts:
            if incremental and not _is_news(part):
                continue
            asked = part.asked
            answer = self._answer(part, at, moved)
            # After an error the consumer is told everything, when it is over.
            asked.high_watermark = answer.high_watermark
            asked.log_start = answer.log_start_offset
            if session is not None and part.fetched.size:
                session.to_end(asked)
            # The order of partitions has a meaning, so only neighbours share
            # their topic's entry.
            last = responses[-1] if responses else None
            if last is None or last.topic != asked.name or last.topic_id != asked.topic_id:
                last = Topic(topic=asked.name, topic_id=asked.topic_id, partitions=[])
                responses.append(last)
            last.partitions.append(answer)
        held = session is not None and self._sessions.holds(session)
        response = FetchResponse(
            session_id=session.session_id if session is not None and held else 0,
            responses=responses,
        )
        if moved and at.version >= 16:
            response.node_endpoints = endpoints(self._image, FetchResponse.NodeEndpoint, moved)
        return response

    def _answer(self, part: Part, at: _Round, moved: set[int]) -> Answer:
        if part.error is not None:
            return self._refusal(part, part.error, at, moved)
        partition = part.partition
        # While there are no transactions, what is durable is stable, too.
        high_watermark = partition.high_watermark
        answer = Answer(
            partition_index=part.asked.index,
            high_watermark=high_watermark,
            last_stable_offset=high_watermark,
            log_start_offset=partition.log_start,
            aborted_transactions=[] if at.request.isolation_level == _READ_COMMITTED else None,
            records=part.fetched.pieces,
        )
        if part.diverging is not None:
            epoch, end_offset = part.diverging
            answer.diverging_epoch = Answer.DivergingEpoch(epoch=epoch, end_offset=end_offset)
        return answer

    def _refusal(self, part: Part, error: Exception, at: _Round, moved: set[int]) -> Answer:
        asked = part.asked
        code, _ = told(error, "fetch")
        answer = Answer(
            partition_index=asked.index, error_code=code, high_watermark=-1, records=b""
        )
        if at.version >= 12 and isinstance(error, NotLeaderOrFollower | FencedLeaderEpoch):
            leader = current_leader(self._image, Answer.CurrentLeader, part.topic_id, asked.index)
            answer.current_leader = leader
            moved.add(leader.leader_id)
        return answer

    def _failed(
        self, request: FetchRequest, context: RequestContext, code: int, message: str
    ) -> FetchResponse:
        if context.api_version >= 7:
            return FetchResponse(error_code=code, responses=[])
        return FetchResponse(
            responses=[
                Topic(
                    topic=topic.topic,
                    partitions=[
                        Answer(
                            partition_index=each.partition,
                            error_code=code,
                            high_watermark=-1,
                            records=b"",
                        )
                        for each in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )


def _is_news(part: Part) -> bool:
    """
    Whether a consumer with a session has to be told of it.
    """
    return (
        part.fetched.size > 0
        or part.tells
        or part.partition.high_watermark != part.asked.high_watermark
        or part.partition.log_start != part.asked.log_start
    )
