"""
Fetch: reads record batches.

The partitions of a request are first checked, without reading, whether there is
enough to answer it. If there is not, the request is delayed until appends wake
it. Records are read only then, so a waiting request holds none in memory.

Most requests take this path. It uses callbacks instead of a coroutine, which is
faster, and errors are handled out of the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    TopicAuthorizationFailed,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kafscale.interfaces import (
    IFetchService,
    IImage,
    ILog,
    ITopicLookup,
    RequestContext,
    Serving,
)
from kafscale.interfaces.quotas import IQuotas, is_of_broker
from kafscale.services.location import current_leader, endpoints
from kafscale.services.records.delayed_fetches import DelayedFetch
from kafscale.services.records.fetch_sessions import (
    FetchSession,
    FetchSessionCache,
    RequestedPartition,
    partitions_in,
)
from kafscale.services.records.message_set_conversion import FETCHES_BATCHES, DownConverter
from kafscale.services.records.partition_reads import PartitionRead, PartitionReader
from kafscale.services.records.read_replicas import PreferredReadReplica, ReplicaSelector
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import FetchRequest, FetchResponse

Permitted: TypeAlias = Callable[[FetchRequest, RequestContext], ITopicLookup]
TopicResponse: TypeAlias = FetchResponse.Topic
PartitionData: TypeAlias = FetchResponse.Topic.Partition

#: The most bytes in one response, whatever the client allows (C{fetch.max.bytes}).
MAX_BYTES = 55 * 1024 * 1024
#: The most bytes that all fetches together read from the object store at one time.
MAX_LOADING = 64 * 1024 * 1024

#: What a partition with records takes in a response beside them, in bytes.
_PARTITION_BYTES = 40

_FIRST_EPOCH = 0
_READ_COMMITTED = 1


@attrs.define
class _Fetch:
    """
    One request until it is answered.

    @ivar session: Its session; None if it has none, or begins one.
    @ivar epoch: The epoch of the session after this request.
    @ivar reader: Finds and reads the partitions.
    @ivar max_bytes: The most bytes of the response.
    @ivar response: The response as long as nothing changes, if it is known.
    """

    request: FetchRequest
    context: RequestContext
    reads: list[PartitionRead]
    session: FetchSession | None
    epoch: int
    reader: PartitionReader
    max_bytes: int
    response: FetchResponse | None


@implementer(IFetchService)
class FetchService:
    """
    Versions 0 to 18 of Fetch, for consumers::

        ====  ==================================================================
        v0-3  message sets, see L{DownConverter}
        v4    isolation level, last stable offset, record batches of format 2
        v5    log start offset
        v7    sessions (KIP-227)
        v9    the leader epoch that the consumer knows is checked (KIP-320)
        v11   rack of the consumer, see L{ReplicaSelector} (KIP-392)
        v12   flexible; last fetched epoch, diverging epoch, current leader
        v13   topics by id
        v15   the replica id is a tagged field
        v16   address of the current leader (KIP-951)
        v17   directory of the follower (there are none)
        v18   high watermark of the follower (there are none)
        ====  ==================================================================

    """

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        image: IImage,
        log: ILog,
        clock: IReactorTime,
        random_id: Callable[[], int],
        down_converter: DownConverter,
        quotas: IQuotas,
        sessions: int = 1000,
        max_bytes: int = MAX_BYTES,
        max_loading: int = MAX_LOADING,
        replica_selector: ReplicaSelector | None = None,
        permitted: Permitted | None = None,
    ) -> None:
        """
        @param image: Knows topics and leaders.
        @param log: Has the partitions.
        @param clock: For C{max_wait_ms}, and the age of sessions.
        @param random_id: Returns random session ids, see L{FetchSessionCache}.
        @param down_converter: Converts batches for old versions.
        @param quotas: Of consumers.
        @param sessions: How many fetch sessions there may be
            (C{max.incremental.fetch.session.cache.slots}).
        @param max_bytes: See L{MAX_BYTES}.
        @param max_loading: See L{MAX_LOADING}.
        @param replica_selector: Finds partitions for consumers with a rack; None
            if their rack does not matter.
        @param permitted: Returns the topics that the client of a request may read; None
            if it may read all.
        """
        self._image = image
        self._clock = clock
        self._timers = CoarseTimers(clock)
        self._down_converter = down_converter
        self._quotas = quotas
        self._max_bytes = max_bytes
        self._budget = ByteBudget(max_loading)
        self._reader = PartitionReader(image, log, self._budget)
        self._committed_reader = PartitionReader(image, log, self._budget, committed=True)
        self._replica_selector = replica_selector
        self._permitted = permitted
        self._sessions = FetchSessionCache(clock, random_id, most=sessions)

    def serves(self) -> list[Serving]:
        """
        Fetch.
        """
        return [Serving(FetchRequest, 0, 18, self.fetch, refusal(), repeats=True, abandoned=True)]

    def fetch(
        self, request: FetchRequest, context: RequestContext
    ) -> FetchResponse | Deferred[FetchResponse]:
        """
        Answer as soon as there are C{min_bytes} or an error, or C{max_wait_ms} are
        over. A request that is cancelled while it waits leaves nothing behind.

        Most fetches find nothing new, and are repeated at once. So such a fetch
        keeps what it found for the next one: in its session or, without session,
        in its context (L{RequestContext.repeated}).
        """
        version = context.api_version
        by_id = version >= 13
        session: FetchSession | None = None
        if version >= 7:
            try:
                session = self._sessions.resume(request, by_id)
            except KafkaError as error:
                return FetchResponse(error_code=error.code, responses=[])
        keeper = context if session is None else session
        # Another request of the session must not use the same reads meanwhile.
        repeated, keeper.repeated = keeper.repeated, None
        reads: list[PartitionRead]
        response: FetchResponse | None
        if repeated is not None:
            reads, response = repeated
        else:
            if session is None:
                partitions: Iterable[RequestedPartition] = partitions_in(request, by_id)
            else:
                partitions = session.partitions.values()
            reads, response = [PartitionRead(each) for each in partitions], None
        epoch = 0 if session is None else session.epoch
        committed = request.isolation_level == _READ_COMMITTED
        reader = self._committed_reader if committed else self._reader
        if request.rack_id and self._replica_selector is not None:
            partitions_of_rack = self._replica_selector.partitions_for(
                request.rack_id, context.connection
            )
            reader = PartitionReader(self._image, partitions_of_rack, self._budget, committed)
        if self._permitted is not None:
            reader = reader.permitted(self._permitted(request, context))
        max_bytes = min(request.max_bytes, self._max_bytes)
        if self._quotas.active and not is_of_broker(request):
            user = context.session.principal.name
            max_bytes = int(min(max_bytes, self._quotas.most_fetched(user, context.client_id)))
        fetch = _Fetch(request, context, reads, session, epoch, reader, max_bytes, response)
        self._check_changed(fetch)
        missing = min(request.min_bytes, max_bytes)
        due = False
        for read in reads:
            missing -= read.available
            if read.is_due:
                due = True
        waits = _to_wait_for(reads) if due else reads
        if not waits or request.max_wait_ms <= 0 or missing <= 0:
            return self._read(fetch)
        seconds = request.max_wait_ms / 1000
        check = partial(self._check, fetch)
        delayed = DelayedFetch(self._clock, self._timers, waits, missing, seconds, check)
        return delayed.done.addCallback(self._end_delay, fetch)

    def _check(self, fetch: _Fetch, read: PartitionRead) -> None:
        fetch.response = None
        fetch.reader.check(read)

    def _check_changed(self, fetch: _Fetch) -> None:
        if fetch.reader.check_changed(fetch.reads):
            fetch.response = None

    def _end_delay(self, _: None, fetch: _Fetch) -> FetchResponse | Deferred[FetchResponse]:
        self._check_changed(fetch)
        return self._read(fetch)

    def _read(self, fetch: _Fetch) -> FetchResponse | Deferred[FetchResponse]:
        if fetch.response is not None:
            return self._response(fetch)
        if fetch.context.api_version < FETCHES_BATCHES:
            return self._read_converted(fetch, fetch.max_bytes)
        loading = fetch.reader.read(fetch.reads, fetch.max_bytes)
        if loading is None:
            return self._response(fetch)
        return loading.addCallback(lambda _: self._response(fetch))

    def _read_converted(self, fetch: _Fetch, max_bytes: int) -> Deferred[FetchResponse]:
        version = fetch.context.api_version
        every = self._down_converter.each_at_least_one(version)
        loading = fetch.reader.read(fetch.reads, max_bytes, every) or succeed(None)
        loading.addCallback(lambda _: self._down_converter.convert(fetch.reads, version, max_bytes))
        return loading.addCallback(lambda _: self._response(fetch))

    # -- answering -----------------------------------------------------------

    def _response(self, fetch: _Fetch) -> FetchResponse:
        session = fetch.session
        if session is not None and session.epoch != fetch.epoch:
            # Another request of the session came meanwhile, on another connection.
            return FetchResponse(error_code=InvalidFetchSessionEpoch.code, responses=[])
        if (
            self._quotas.active
            and not is_of_broker(fetch.request)
            and (throttle_ms := self._throttle(fetch))
        ):
            held = session is not None and self._sessions.holds(session)
            return FetchResponse(
                throttle_time_ms=throttle_ms,
                session_id=session.session_id if session is not None and held else 0,
                responses=[],
            )
        if session is not None and not self._sessions.holds(session):
            fetch.response = None  # it has the id of a session that was removed
        response = fetch.response or self._new_response(fetch)
        if fetch.response is not None:
            (session or fetch.context).repeated = fetch.reads, response
        return response

    def _throttle(self, fetch: _Fetch) -> int:
        """
        For how long the client is slowed down, instead of getting what was read, in ms;
        0 if it gets that.
        """
        size = sum(
            _PARTITION_BYTES + read.fetched.size for read in fetch.reads if read.fetched.size
        )
        context = fetch.context
        return self._quotas.fetched(context.session.principal.name, context.client_id, size)

    def _new_response(self, fetch: _Fetch) -> FetchResponse:
        """
        A new response, kept in the request if it stays the same until something
        changes.
        """
        session = fetch.session
        version = fetch.context.api_version
        incremental = session is not None
        begins = not incremental and version >= 7 and fetch.request.session_epoch == _FIRST_EPOCH
        if begins:
            session = self._sessions.begin((read.requested for read in fetch.reads), version >= 13)
        responses: list[TopicResponse] = []
        moved: set[int] = set()
        stays = not begins
        for read in fetch.reads:
            if incremental and not _is_news(read):
                continue
            if incremental or read.fetched.size or read.is_due:
                stays = False
            requested = read.requested
            data = self._partition_data(read, fetch, moved)
            # After an error these are -1, so the next response has the partition.
            requested.high_watermark = data.high_watermark
            requested.log_start = data.log_start_offset
            if session is not None and read.fetched.size:
                session.move_to_end(requested)
            # The order of partitions matters, so only neighbours share the entry of
            # their topic.
            last = responses[-1] if responses else None
            if last is None or last.topic != requested.name or last.topic_id != requested.topic_id:
                last = TopicResponse(
                    topic=requested.name, topic_id=requested.topic_id, partitions=[]
                )
                responses.append(last)
            last.partitions.append(data)
        held = session is not None and self._sessions.holds(session)
        response = FetchResponse(
            session_id=session.session_id if session is not None and held else 0,
            responses=responses,
        )
        if moved and version >= 16:
            listener = fetch.context.session.listener.name
            response.node_endpoints = endpoints(
                self._image, FetchResponse.NodeEndpoint, moved, listener
            )
        if stays and held == incremental:
            fetch.response = response
        return response

    def _partition_data(self, read: PartitionRead, fetch: _Fetch, moved: set[int]) -> PartitionData:
        if read.error is not None:
            return self._refusal(read, read.error, fetch, moved)
        partition = read.partition
        high_watermark = partition.high_watermark
        stable = partition.last_stable_offset
        aborted: list[PartitionData.AbortedTransaction] | None = None
        if fetch.request.isolation_level == _READ_COMMITTED:
            aborted = [
                PartitionData.AbortedTransaction(
                    producer_id=each.producer_id, first_offset=each.first_offset
                )
                for each in read.fetched.aborted
            ]
        elif stable < 0:
            # It is not known before the partition is open, and is of no use to who reads
            # uncommitted records.
            stable = high_watermark
        data = PartitionData(
            partition_index=read.requested.index,
            high_watermark=high_watermark,
            last_stable_offset=stable,
            log_start_offset=partition.log_start,
            aborted_transactions=aborted,
            records=read.fetched.pieces,
        )
        if read.diverging is not None:
            epoch, end_offset = read.diverging
            data.diverging_epoch = PartitionData.DivergingEpoch(epoch=epoch, end_offset=end_offset)
        return data

    def _refusal(
        self, read: PartitionRead, error: Exception, fetch: _Fetch, moved: set[int]
    ) -> PartitionData:
        requested = read.requested
        if isinstance(error, PreferredReadReplica):
            high_watermark = error.partition.high_watermark
            return PartitionData(
                partition_index=requested.index,
                high_watermark=high_watermark,
                last_stable_offset=high_watermark,
                log_start_offset=error.partition.log_start,
                preferred_read_replica=error.broker_id,
            )
        code, _ = error_fields(error, "fetch")
        data = PartitionData(
            partition_index=requested.index, error_code=code, high_watermark=-1, records=b""
        )
        elsewhere = isinstance(error, NotLeaderOrFollower | FencedLeaderEpoch)
        if elsewhere and fetch.context.api_version >= 12:
            leader = current_leader(
                self._image, PartitionData.CurrentLeader, read.topic_id, requested.index
            )
            data.current_leader = leader
            moved.add(leader.leader_id)
        return data


def _to_wait_for(reads: Sequence[PartitionRead]) -> Sequence[PartitionRead]:
    """
    The reads whose records a fetch waits for if some cannot be read: those beside topics
    and partitions that do not exist, or that the client may not read, and none beside any
    other error (Kafka leaves these out in C{KafkaApis.handleFetchRequest}, and answers at once in
    C{ReplicaManager.fetchMessages}).
    """
    known = [
        read
        for read in reads
        if not isinstance(
            read.error, UnknownTopicOrPartition | UnknownTopicId | TopicAuthorizationFailed
        )
    ]
    return () if any(read.is_due for read in known) else known


def _is_news(read: PartitionRead) -> bool:
    """
    Whether the response to a request of a session must have this partition.
    """
    return (
        read.fetched.size > 0
        or read.is_due
        or read.partition.high_watermark != read.requested.high_watermark
        or read.partition.log_start != read.requested.log_start
    )
