"""
Fetch: offsets in, batches out; now, or when there are enough of them.

A request is looked at first, which reads nothing: that tells whether it can be
answered. If not it is parked, and woken by what is appended. Only then is
anything read, so a consumer that waits holds no records in memory.

This is the path that most requests take. It is plain callbacks and not a
coroutine, and what only goes wrong is kept out of its way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kafscale.concurrency.byte_budget import ByteBudget
from kafscale.concurrency.coarse_timers import CoarseTimers
from kafscale.errors import (
    FencedLeaderEpoch,
    InvalidFetchSessionEpoch,
    KafkaError,
    NotLeaderOrFollower,
)
from kafscale.interfaces import IFetchService, IImage, ILog, RequestContext, Serving
from kafscale.services.location import current_leader, endpoints
from kafscale.services.records.delayed_fetches import Parked
from kafscale.services.records.fetch_sessions import Session, Sessions, asked_in
from kafscale.services.records.message_set_conversion import FETCHES_BATCHES, OldConsumers
from kafscale.services.records.partition_reads import Part, Reader
from kafscale.services.records.read_replicas import Nearby, ReadElsewhere
from kafscale.services.refusals import error_fields, refusal
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
    @ivar reader: Finds what is read.
    @ivar response: The answer as long as nothing changes, if that is known.
    """

    request: FetchRequest
    context: RequestContext
    parts: list[Part]
    session: Session | None
    epoch: int
    reader: Reader
    response: FetchResponse | None


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
    v11   rack of the consumer, see L{Nearby} (KIP-392)
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
        nearby: Nearby | None = None,
    ) -> None:
        """
        @param random_id: Draws session ids, see L{Sessions}.
        @param old: Converts what is read for old versions.
        @param sessions: How many fetch sessions are kept
            (C{max.incremental.fetch.session.cache.slots}).
        @param most_bytes: See L{MOST_BYTES}.
        @param most_loading: See L{MOST_LOADING}.
        @param nearby: For consumers that say in which rack they are; None if
            that makes no difference.
        """
        self._image = image
        self._clock = clock
        self._timers = CoarseTimers(clock)
        self._old = old
        self._most_bytes = most_bytes
        self._budget = ByteBudget(most_loading)
        self._reader = Reader(image, log, self._budget)
        self._nearby = nearby
        self._sessions = Sessions(clock, random_id, most=sessions)

    def serves(self) -> list[Serving]:
        """
        Fetch.
        """
        return [Serving(FetchRequest, 0, 18, self.fetch, refusal(), repeats=True, abandoned=True)]

    def fetch(
        self, request: FetchRequest, context: RequestContext
    ) -> FetchResponse | Deferred[FetchResponse]:
        """
        Answer as soon as there are C{min_bytes}, an error, or C{max_wait_ms}
        are over. To cancel it while it waits leaves nothing behind.

        Most fetches find nothing, and are asked again at once. So a fetch that
        had nothing to tell leaves behind what it found: where it is the same
        in a session or, without one, with the request itself.
        """
        version = context.api_version
        by_id = version >= 13
        session: Session | None = None
        if version >= 7:
            try:
                session = self._sessions.resume(request, by_id)
            except KafkaError as error:
                return FetchResponse(error_code=error.code, responses=[])
        keeper = context if session is None else session
        kept, keeper.repeated = keeper.repeated, None  # nobody else has it meanwhile
        if kept is not None:
            parts, response = kept
        else:
            asked = asked_in(request, by_id) if session is None else session.partitions.values()
            parts, response = [Part(each) for each in asked], None
        epoch = 0 if session is None else session.epoch
        reader = self._reader
        if request.rack_id and self._nearby is not None:
            near = self._nearby.seen_from(request.rack_id, context.connection)
            reader = Reader(self._image, near, self._budget)
        at = _Round(request, context, parts, session, epoch, reader, response)
        self._look_again(at)
        missing = min(request.min_bytes, request.max_bytes, self._most_bytes)
        ready = not parts or request.max_wait_ms <= 0
        for part in parts:
            missing -= part.available
            if part.tells:
                ready = True
        if ready or missing <= 0:
            return self._read(at)
        seconds = request.max_wait_ms / 1000
        look = partial(self._look, at)
        parked = Parked(self._clock, self._timers, parts, missing, seconds, look)
        return parked.done.addCallback(self._read_again, at)

    def _look(self, at: _Round, part: Part) -> None:
        at.response = None
        at.reader.look(part)

    def _look_again(self, at: _Round) -> None:
        if at.reader.look_again(at.parts):
            at.response = None

    def _read_again(self, _: None, at: _Round) -> FetchResponse | Deferred[FetchResponse]:
        self._look_again(at)
        return self._read(at)

    def _read(self, at: _Round) -> FetchResponse | Deferred[FetchResponse]:
        if at.response is not None:
            return self._response(at)
        max_bytes = min(at.request.max_bytes, self._most_bytes)
        if at.context.api_version < FETCHES_BATCHES:
            return self._read_old(at, max_bytes)
        loading = at.reader.read(at.parts, max_bytes)
        if loading is None:
            return self._response(at)
        return loading.addCallback(lambda _: self._response(at))

    def _read_old(self, at: _Round, max_bytes: int) -> Deferred[FetchResponse]:
        version = at.context.api_version
        every = self._old.each_at_least_one(version)
        loading = at.reader.read(at.parts, max_bytes, every) or succeed(None)
        loading.addCallback(lambda _: self._old.convert(at.parts, version, max_bytes))
        return loading.addCallback(lambda _: self._response(at))

    # -- answering -----------------------------------------------------------

    def _response(self, at: _Round) -> FetchResponse:
        session = at.session
        if session is not None and session.epoch != at.epoch:
            # Another request of the session came by, on another connection.
            return FetchResponse(error_code=InvalidFetchSessionEpoch.code, responses=[])
        if session is not None and not self._sessions.holds(session):
            at.response = None  # it said that there is a session
        response = at.response or self._new_response(at)
        if at.response is not None:
            (session or at.context).repeated = at.parts, response
        return response

    def _new_response(self, at: _Round) -> FetchResponse:
        """
        The answer, left in C{at} if it stays the same until something changes.
        """
        session = at.session
        version = at.context.api_version
        incremental = session is not None
        begins = not incremental and version >= 7 and at.request.session_epoch == _FIRST_EPOCH
        if begins:
            session = self._sessions.begin((part.asked for part in at.parts), version >= 13)
        responses: list[Topic] = []
        moved: set[int] = set()
        stays = not begins
        for part in at.parts:
            if incremental and not _is_news(part):
                continue
            if incremental or part.fetched.size or part.tells:
                stays = False
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
        if moved and version >= 16:
            response.node_endpoints = endpoints(self._image, FetchResponse.NodeEndpoint, moved)
        if stays and held == incremental:
            at.response = response
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
        if isinstance(error, ReadElsewhere):
            high_watermark = error.partition.high_watermark
            return Answer(
                partition_index=asked.index,
                high_watermark=high_watermark,
                last_stable_offset=high_watermark,
                log_start_offset=error.partition.log_start,
                preferred_read_replica=error.broker_id,
            )
        code, _ = error_fields(error, "fetch")
        answer = Answer(
            partition_index=asked.index, error_code=code, high_watermark=-1, records=b""
        )
        elsewhere = isinstance(error, NotLeaderOrFollower | FencedLeaderEpoch)
        if elsewhere and at.context.api_version >= 12:
            leader = current_leader(self._image, Answer.CurrentLeader, part.topic_id, asked.index)
            answer.current_leader = leader
            moved.add(leader.leader_id)
        return answer


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
