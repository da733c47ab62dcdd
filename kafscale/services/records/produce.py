"""
Produce: appends record batches.

Every batch of a request gets its offset before anything is waited for, in the
order of the request. So batches are in the log in the order in which producers
send them. Then there is one wait, for the batch that becomes durable last.

Most requests take this path. It uses callbacks instead of a coroutine, which is
faster, and errors are handled out of the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.concurrency.gathering import all_settled, results_of
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import ConversionCounts
from kafscale.errors import (
    InvalidRecord,
    InvalidRequiredAcks,
    KafkaError,
    NotLeaderOrFollower,
    TransactionalIdAuthorizationFailed,
    UnsupportedCompressionType,
)
from kafscale.interfaces import (
    AppendRules,
    IImage,
    ILog,
    IPartition,
    IProduceService,
    ISettlement,
    RequestContext,
    Serving,
    Topic,
)
from kafscale.services.location import current_leader, endpoints, find_partition
from kafscale.services.records.message_set_conversion import PRODUCES_BATCHES, UpConverter
from kafscale.services.refusals import error_fields
from kafscale.wire.error_responses import error_response
from kafscale.wire.messages import ProduceRequest, ProduceResponse

TopicProduceData: TypeAlias = ProduceRequest.Topic
PartitionResponse: TypeAlias = ProduceResponse.Topic.Partition

#: The position of the low byte of a batch's attributes, which has the codec and
#: two flags: after base offset, length, leader epoch, magic and checksum.
_ATTRIBUTES_AT = 22
_CODEC = 0x07
_ZSTD = 4
_TRANSACTIONAL = 0x10

#: How many topics' rules are kept at most.
_MAX_RULES = 10_000

_NO_TRANSACTIONS = "Transactions are not supported by this broker"


@attrs.define
class _Produce:
    """
    One request until it is answered.

    @ivar version: The version of the request, and of its response.
    @ivar responses: The response for each topic.
    @ivar settling: For each batch that is not durable yet: its settlement, the
        id of its topic and its response.
    @ivar latest: The settlement that comes last; None if all is durable.
    @ivar opening: Waits for partitions that must load something before they can
        append.
    @ivar error: The first error, for acks=0.
    @ivar moved: Broker ids of leaders that the response names.
    """

    version: int
    responses: list[ProduceResponse.Topic] = attrs.Factory(list)
    settling: list[tuple[ISettlement, UUID, PartitionResponse]] = attrs.Factory(list)
    latest: ISettlement | None = None
    opening: list[Deferred[None]] = attrs.Factory(list)
    error: Exception | None = None
    moved: set[int] = attrs.Factory(set)


@implementer(IProduceService)
class ProduceService:
    """
    Versions 0 to 13 of Produce, for producers without transactions::

        ====  ==================================================================
        v0-2  message sets, see L{UpConverter}
        v3    one batch of format 2 for each partition; transactional id
        v5    log start offset
        v7    zstd
        v8    error messages, and the records that are invalid
        v9    flexible
        v10   the current leader and its address, after NOT_LEADER_OR_FOLLOWER
        v13   topics by id
        ====  ==================================================================

    """

    def __init__(
        self,
        image: IImage,
        log: ILog,
        append_rules: Callable[[Mapping[str, str]], AppendRules],
        work_queue: WorkQueue,
        hold: Callable[[int], None],
        conversions: ConversionCounts,
    ) -> None:
        """
        @param image: Knows topics and leaders.
        @param log: Has the partitions.
        @param append_rules: Returns the rules for batches, given the overrides
            of a topic.
        @param work_queue: Runs the conversion of message sets.
        @param hold: See L{IPressure.hold}.
        @param conversions: Counts converted records.
        """
        self._image = image
        self._log = log
        self._append_rules = append_rules
        self._rules: dict[UUID, tuple[Topic, AppendRules]] = {}
        self._up_converter = UpConverter(image, self._rules_of, work_queue, hold, conversions)

    def serves(self) -> list[Serving]:
        """
        Produce. Versions 0 to 2 matter for newer clients, too: old librdkafka
        does not compress for a broker without them (KAFKA-18659).
        """
        return [
            Serving(
                ProduceRequest,
                lowest=0,
                highest=13,
                answer=self.produce,
                failed=self._failed,
                overlaps=True,
            )
        ]

    def produce(
        self, request: ProduceRequest, context: RequestContext
    ) -> Deferred[ProduceResponse | None]:
        """
        Append all batches now. The response comes when they are durable.

        With C{acks=0} there is no response. It fails if a batch could not be
        appended: then the connection is closed, as the client would not learn of
        the error otherwise.
        """
        version = context.api_version
        acks = request.acks
        if acks not in (-1, 0, 1) or request.transactional_id is not None:
            return self._refuse_all(request, version)
        if version < PRODUCES_BATCHES:
            return self._up_converter.produce(request, context, self.produce)
        produce = _Produce(version)
        for topic in request.topic_data:
            self._append_topic(topic, produce)
        if produce.opening:
            return _all_of(produce.opening).addCallback(lambda _: self._settle(produce, acks))
        return self._settle(produce, acks)

    # -- appending -----------------------------------------------------------

    def _append_topic(self, data: TopicProduceData, produce: _Produce) -> None:
        responses: list[PartitionResponse] = []
        produce.responses.append(
            ProduceResponse.Topic(
                name=data.name, topic_id=data.topic_id, partition_responses=responses
            )
        )
        try:
            if produce.version >= 13:
                topic = self._image.topic_by_id(data.topic_id)
            else:
                topic = self._image.topic(data.name)
            rules = self._rules_of(topic)
        except Exception as error:
            for each in data.partition_data:
                responses.append(response := PartitionResponse(index=each.index, base_offset=-1))
                self._refuse(response, data.topic_id, error, produce)
            return
        for each in data.partition_data:
            responses.append(response := PartitionResponse(index=each.index, base_offset=-1))
            try:
                partition = find_partition(self._log, topic, each.index)
                batch = _checked(each.records, produce.version)
                # The log makes a copy. The frame must not stay in memory until the
                # batch is stored.
                each.records = None
                if partition.is_open:
                    self._append(partition, batch, rules, response, produce)
                else:
                    self._append_later(partition, batch, rules, response, produce)
            except Exception as error:
                self._refuse(response, topic.topic_id, error, produce)

    def _append(
        self,
        partition: IPartition,
        batch: memoryview,
        rules: AppendRules,
        response: PartitionResponse,
        produce: _Produce,
    ) -> None:
        appended = partition.append(batch, rules)
        response.base_offset = appended.base_offset
        response.log_append_time_ms = appended.append_time
        response.log_start_offset = partition.log_start
        settled = appended.settled
        if settled is not None:
            produce.settling.append((settled, partition.topic_id, response))
            if produce.latest is None or settled.number > produce.latest.number:
                produce.latest = settled

    def _append_later(
        self,
        partition: IPartition,
        batch: memoryview,
        rules: AppendRules,
        response: PartitionResponse,
        produce: _Produce,
    ) -> None:
        """
        Append when the partition has loaded what it needs. Each request waits for
        each partition, behind the requests before it; so batches are appended in
        the order of requests, too.
        """

        def append(_: None) -> None:
            self._append(partition, batch, rules, response, produce)

        def refuse(failure: Failure) -> None:
            error = failure.value
            self._refuse(
                response,
                partition.topic_id,
                error if isinstance(error, Exception) else Exception(error),
                produce,
            )

        produce.opening.append(partition.opened().addCallback(append).addErrback(refuse))

    def _rules_of(self, topic: Topic) -> AppendRules:
        """
        The rules of a topic, which are computed once. The image has another object
        for the topic when its configuration has changed.
        """
        known = self._rules.get(topic.topic_id)
        if known is None or known[0] is not topic:
            if len(self._rules) >= _MAX_RULES:
                self._rules.clear()  # most of the topics may be deleted by now
            known = self._rules[topic.topic_id] = (topic, self._append_rules(topic.configs))
        return known[1]

    # -- answering -----------------------------------------------------------

    def _settle(self, produce: _Produce, acks: int) -> Deferred[ProduceResponse | None]:
        if acks == 0:
            if produce.error is not None:
                return fail(produce.error)
            return succeed(None)
        if produce.latest is None:
            return succeed(self._response(produce))
        settled: Deferred[ProduceResponse | None] = produce.latest.wait().addCallbacks(
            lambda _: self._response(produce), partial(self._settle_each, produce)
        )
        return settled

    def _settle_each(
        self, produce: _Produce, failure: Failure
    ) -> Deferred[ProduceResponse | None] | Failure:
        """
        The last settlement failed. Earlier ones may have succeeded.
        """

        def refuse(each: tuple[ISettlement, UUID, PartitionResponse], failure: Failure) -> None:
            _, topic_id, response = each
            if not isinstance(failure.value, KafkaError):
                failure.raiseException()
            self._refuse(response, topic_id, failure.value, produce)

        if not isinstance(failure.value, KafkaError):
            return failure  # cancelled, for instance
        fates = [each[0].wait().addErrback(partial(refuse, each)) for each in produce.settling]
        return _all_of(fates).addCallback(lambda _: self._response(produce))

    def _response(self, produce: _Produce) -> ProduceResponse:
        response = ProduceResponse(responses=produce.responses)
        if produce.moved:
            response.node_endpoints = endpoints(
                self._image, ProduceResponse.NodeEndpoint, produce.moved
            )
        return response

    def _refuse(
        self, response: PartitionResponse, topic_id: UUID, error: Exception, produce: _Produce
    ) -> None:
        response.error_code, response.error_message = error_fields(error, "produce")
        response.base_offset = response.log_append_time_ms = response.log_start_offset = -1
        if produce.error is None:
            produce.error = error
        if produce.version >= 10 and isinstance(error, NotLeaderOrFollower):
            leader = current_leader(
                self._image, PartitionResponse.CurrentLeader, topic_id, response.index
            )
            response.current_leader = leader
            produce.moved.add(leader.leader_id)

    def _refuse_all(
        self, request: ProduceRequest, version: int
    ) -> Deferred[ProduceResponse | None]:
        error: KafkaError
        if request.transactional_id is not None:
            error = TransactionalIdAuthorizationFailed(_NO_TRANSACTIONS)
        else:
            error = InvalidRequiredAcks(f"acks is {request.acks}, and must be -1, 0 or 1")
        if request.acks == 0:
            return fail(error)
        return succeed(error_response(request, version, error.code, str(error)))

    def _failed(
        self, request: ProduceRequest, context: RequestContext, code: int, message: str
    ) -> ProduceResponse | None:
        if request.acks == 0:
            return None
        response: ProduceResponse = error_response(request, context.api_version, code, message)
        return response


def _checked(records: memoryview | None, version: int) -> memoryview:
    """
    The batch of a partition, if it is one that the log may decode.

    @raise KafkaError: INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE,
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED (there are no transactions).
    """
    if not records:
        raise InvalidRecord("The partition has no record batch")
    if len(records) > _ATTRIBUTES_AT:
        attributes = records[_ATTRIBUTES_AT]
        if attributes & _TRANSACTIONAL:
            raise TransactionalIdAuthorizationFailed(_NO_TRANSACTIONS)
        if version < 7 and attributes & _CODEC == _ZSTD:
            raise UnsupportedCompressionType("zstd needs version 7 of Produce, or newer")
    return records


def _all_of(events: list[Deferred[None]]) -> Deferred[list[None]]:
    """
    Fires when all of these have fired. If it is cancelled, they are not: a batch
    is appended even if its producer disconnects, as many do after acks=0.
    """
    return all_settled(events, shield=True).addCallback(results_of)
