"""
Produce: appends record batches.

Each batch is looked into first (L{kafscale.services.records.inspection}), and
then appended. Where that takes no time it is done at once, for every batch of a
request, in the order of the request; if something has to be waited for, the
request waits in the line of its connection (L{Admission}). So batches are in the
log in the order in which producers send them. Then there is one wait, for the
batch that becomes durable last.

Most requests take this path. It uses callbacks instead of a coroutine, which is
faster, and errors are handled out of the way.

The module is long because both ways of a request, the one at once and the one
that waits, work on the same state until it is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias, cast
from uuid import UUID

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.concurrency.fair_work import FairWork
from kafscale.concurrency.gathering import all_settled, results_of
from kafscale.counts import ConversionCounts
from kafscale.errors import (
    CorruptMessage,
    InvalidRecord,
    InvalidRequiredAcks,
    InvalidTopicException,
    KafkaError,
    NotLeaderOrFollower,
    OutOfOrderSequenceNumber,
    RequestTimedOut,
    TransactionalIdAuthorizationFailed,
    UnknownTopicId,
    UnknownTopicOrPartition,
    UnsupportedCompressionType,
)
from kafscale.interfaces import (
    INTERNAL_TOPICS,
    AppendRules,
    IImage,
    ILog,
    IPartition,
    IProduceService,
    ISettlement,
    RequestContext,
    Serving,
    Settling,
    Topic,
)
from kafscale.services.location import current_leader, endpoints, find_partition
from kafscale.services.records.admission import Admission, Causes
from kafscale.services.records.inspection import (
    NO_TRANSACTIONS,
    Inspected,
    RecordErrors,
    check_header,
    inspect_at_once,
    inspect_small,
    inspect_steps,
)
from kafscale.services.records.overdue import Overdue
from kafscale.services.refusals import error_fields
from kafscale.wire.batches import MAGIC
from kafscale.wire.error_responses import error_response
from kafscale.wire.message_sets import is_message_set, to_batch
from kafscale.wire.messages import ProduceRequest, ProduceResponse
from kafscale.wire.records import BatchHeader, read_batch_header
from kafscale.wire.schema import Response
from kafscale.wire.steps import Steps

_Answer: TypeAlias = Settling | Response | None
TopicProduceData: TypeAlias = ProduceRequest.Topic
PartitionResponse: TypeAlias = ProduceResponse.Topic.Partition

#: The first version that has record batches, and not message sets.
_PRODUCES_BATCHES = 3

#: The position of the low byte of a batch's attributes, which has the codec:
#: after base offset, length, leader epoch, magic and checksum.
_ATTRIBUTES_AT = 22
_CODEC = 0x07
_ZSTD = 4

#: How many topics' rules are kept at most.
_MAX_RULES = 10_000

#: How many batches are looked into at once, beside those for which it takes no time.
_INSPECTIONS = 4


@attrs.define(eq=False)
class _Claimed:
    """
    A partition whose claim is under way. It takes the place of an L{IPartition} that is
    not open.

    @ivar topic_id: The id of its topic.
    """

    topic_id: UUID
    _claimed: Deferred[None]
    is_open = False

    def opened(self) -> Deferred[None]:
        """
        Return when the claim has ended.
        """
        return self._claimed


@attrs.define(eq=False)
class _Late:
    """
    A batch of a request that waits.

    @ivar topic_id: Of its topic.
    @ivar rules: The topic's when the batch came.
    @ivar response: Of its partition.
    @ivar header: The header as it came; None for a message set.
    @ivar inspected: The batch, when it may be appended.
    @ivar error: Why it may not be.
    """

    topic_id: UUID
    rules: AppendRules
    response: PartitionResponse
    header: BatchHeader | None
    inspected: Inspected | None = None
    error: Exception | None = None

    def admit(self, inspected: Inspected) -> None:
        """
        Nothing is wrong with the batch.
        """
        self.inspected = inspected

    def refuse(self, failure: Failure) -> None:
        """
        The batch is not to be appended.
        """
        error = failure.value
        self.error = error if isinstance(error, Exception) else Exception(error)


class _Produce(Settling):
    """
    One request until it is answered. Most set no more than L{__init__} does: what else
    there is, is set when it is needed.

    @ivar version: The version of the request, and of its response.
    @ivar context: Where it came from.
    @ivar now: The broker's time when it came, in ms.
    @ivar responses: The response for each topic.
    @ivar late: The batches that wait; None as long as none has to.
    @ivar late_bytes: Their size.
    @ivar causes: What they wait for.
    @ivar settling: For each batch that is not durable yet: its settlement, the
        id of its topic and its response.
    @ivar timed_out: Whether the request has waited for as long as it asked for.
    @ivar error: The first error, for acks=0.
    @ivar moved: Broker ids of leaders that the response names.
    """

    late: list[_Late] | None = None
    late_bytes = 0
    timed_out = False
    error: Exception | None = None
    moved: Collection[int] = ()

    def __init__(
        self, service: ProduceService, version: int, context: RequestContext, now: int
    ) -> None:
        self._service = service
        self.version = version
        self.context = context
        self.now = now
        self.responses: list[ProduceResponse.Topic] = []
        self.causes: list[Deferred[None]] = []
        self.settling: list[tuple[ISettlement, UUID, PartitionResponse]] = []

    def refused(self, failure: Failure) -> Deferred[Response]:
        """
        See L{Settling.refused}.
        """
        return self._service.settle_each(self, failure)


@implementer(IProduceService)
class ProduceService:
    """
    Versions 0 to 13 of Produce, for producers without transactions::

        ====  ==================================================================
        v0    message sets of magic 0; any magic is accepted, as by Kafka
        v1    throttle time
        v2    message sets of magic 1; log append time
        v3    one batch of format 2 for each partition; transactional id
        v5    log start offset
        v7    zstd
        v8    error messages, and the records that are invalid
        v9    flexible
        v10   the current leader and its address, after NOT_LEADER_OR_FOLLOWER
        v13   topics by id
        ====  ==================================================================

    Message sets are converted to batches, see L{kafscale.wire.message_sets}.
    """

    def __init__(
        self,
        image: IImage,
        log: ILog,
        append_rules: Callable[[Mapping[str, str]], AppendRules],
        clock: IReactorTime,
        run_blocking: Callable[[Callable[[], Any]], Deferred[Any]],
        hold: Callable[[int], None],
        conversions: ConversionCounts,
        claimed: Callable[[UUID, int], Deferred[None] | None],
    ) -> None:
        """
        @param image: Knows topics and leaders.
        @param log: Has the partitions.
        @param append_rules: Returns the rules for batches, given the overrides
            of a topic.
        @param clock: The time, in seconds since 1970.
        @param run_blocking: Calls a function in a thread, see L{WorkQueue}.
        @param hold: See L{IPressure.hold}.
        @param conversions: Counts converted records.
        @param claimed: Returns a Deferred that fires soon, when a partition that this
            broker is about to lead is led, or is not to be led; None if the broker is
            not about to lead it.
        """
        self._image = image
        self._log = log
        self._append_rules = append_rules
        self._seconds = clock.seconds
        self._rules: dict[UUID, tuple[Topic, AppendRules]] = {}
        self._admission = Admission(hold)
        self._overdue = Overdue(clock, _give_up)
        self._inspections = FairWork(clock, run_blocking, _INSPECTIONS)
        self._conversions = conversions
        self._claimed = claimed

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

    def produce(self, request: ProduceRequest, context: RequestContext) -> _Answer | Deferred[Any]:
        """
        Append all batches now. The response comes when they are durable.

        With C{acks=0} there is no response.

        @raise Exception: A batch could not be appended, and C{acks=0}: then the
            connection is closed, as the client would not learn of the error otherwise.
        """
        version = context.api_version
        acks = request.acks
        if acks not in (-1, 0, 1) or request.transactional_id is not None:
            return self._refuse_all(request, version)
        connection = context.connection
        produce = _Produce(self, version, context, int(self._seconds() * 1000))
        if self._admission.is_waiting(connection):
            produce.late = []  # behind the request that waits
        for topic in request.topic_data:
            self._append_topic(topic, produce)
        timeout_ms = request.timeout_ms
        if produce.late is None:
            return self._settle(produce, acks, timeout_ms)
        return self._admission.wait(
            connection, produce.late_bytes, produce.causes, partial(self._append_late, produce)
        ).addCallback(lambda _: self._settle_late(produce, acks, timeout_ms))

    # -- appending -----------------------------------------------------------

    def _append_topic(self, data: TopicProduceData, produce: _Produce) -> None:
        responses: list[PartitionResponse] = []
        produce.responses.append(
            ProduceResponse.Topic(
                name=data.name, topic_id=data.topic_id, partition_responses=responses
            )
        )
        version = produce.version
        try:
            if version >= 13:
                topic = self._image.topic_by_id(data.topic_id)
            else:
                topic = self._topic(data.name)
            rules = self._rules_of(topic)
        except Exception as error:
            for each in data.partition_data:
                responses.append(response := PartitionResponse(index=each.index, base_offset=-1))
                self._refuse(response, data.topic_id, error, produce)
            return
        for each in data.partition_data:
            responses.append(response := PartitionResponse(index=each.index, base_offset=-1))
            batch = each.records
            try:
                try:
                    partition = find_partition(self._log, topic, each.index)
                except NotLeaderOrFollower:
                    partition = self._about_to_lead(topic, each.index)
                batch = _checked(batch, version)
                # The log makes a copy. The frame must not stay in memory until the
                # batch is stored.
                each.records = None
                if version < _PRODUCES_BATCHES and is_message_set(batch):
                    work = self._converted(batch, rules, produce.now)
                    self._append_later(
                        partition, len(batch), None, work, rules, response, produce
                    )
                    continue
                inspected = inspect_small(batch, rules, produce.now)
                header = inspected.header if inspected else check_header(batch, rules)
                inspected = inspected or inspect_at_once(batch, header, rules, produce.now)
                if inspected is not None and produce.late is None and partition.is_open:
                    self._append(partition, inspected, rules, response, produce)
                else:
                    self._append_later(
                        partition,
                        len(batch),
                        header,
                        inspected or inspect_steps(batch, header, rules, produce.now),
                        rules,
                        response,
                        produce,
                    )
            except Exception as error:
                if batch is not None:
                    with suppress(CorruptMessage):
                        header = read_batch_header(batch)
                        self._refused_for_good(topic.topic_id, each.index, header, error)
                self._refuse(response, topic.topic_id, error, produce)

    def _append(
        self,
        partition: IPartition,
        inspected: Inspected,
        rules: AppendRules,
        response: PartitionResponse,
        produce: _Produce,
    ) -> None:
        appended = partition.append(inspected.batch, inspected.header, rules)
        response.base_offset = appended.base_offset
        response.log_append_time_ms = appended.append_time
        response.log_start_offset = partition.log_start
        settled = appended.settled
        if settled is not None:
            produce.settling.append((settled, partition.topic_id, response))

    def _append_later(
        self,
        partition: IPartition,
        size: int,
        header: BatchHeader | None,
        batch: Inspected | Steps[Inspected],
        rules: AppendRules,
        response: PartitionResponse,
        produce: _Produce,
    ) -> None:
        """
        Append a batch when the partition is led and open and the batch is looked into.

        @param size: Bytes of the batch.
        @param header: Its header; None for a message set.
        @param batch: Itself, or the work of which it is the result.
        """
        if produce.late is None:
            produce.late = []
        produce.late_bytes += size
        late = _Late(partition.topic_id, rules, response, header)
        produce.late.append(late)
        if isinstance(batch, Inspected):
            late.inspected = batch
        else:
            work = self._inspections.run(produce.context.connection, batch)
            produce.causes.append(work.addCallbacks(late.admit, late.refuse))
        if not partition.is_open:
            produce.causes.append(partition.opened().addErrback(late.refuse))

    def _about_to_lead(self, topic: Topic, index: int) -> IPartition:
        """
        A partition that this broker is about to lead, for L{_append_later} only. Were a
        batch refused now, the next ones of the same producer might be taken.

        @raise NotLeaderOrFollower: the broker is not about to lead it.
        """
        claimed = self._claimed(topic.topic_id, index)
        if claimed is None:
            raise NotLeaderOrFollower
        return cast(IPartition, _Claimed(topic.topic_id, claimed))

    def _append_late(self, produce: _Produce) -> Causes:
        """
        Append all batches that had to wait, as if they came now.

        @return: What they still have to wait for; then none is appended.
        """
        assert produce.late is not None
        found = [(late, self._partition_of(late, produce.version)) for late in produce.late]
        closed = [
            partition.opened().addErrback(late.refuse)
            for late, partition in found
            if partition is not None and not partition.is_open
        ]
        if closed:
            return closed  # led by another broker, and then by this one again
        produce.late = []
        for late, partition in found:
            try:
                if partition is None or late.inspected is None:
                    raise late.error or ValueError("a batch was not looked into")
                self._append(partition, late.inspected, late.rules, late.response, produce)
            except Exception as error:
                if late.header is not None:
                    index = late.response.index
                    self._refused_for_good(late.topic_id, index, late.header, error)
                self._refuse(late.response, late.topic_id, error, produce)
        return ()

    def _refused_for_good(
        self, topic_id: UUID, index: int, header: BatchHeader, error: Exception
    ) -> None:
        """
        Notify the partition of a batch that its producer does not send again. Those that
        come again, as after NOT_LEADER_OR_FOLLOWER, must not be left out (rule 25).
        """
        if (
            isinstance(error, KafkaError)
            and not error.retriable
            and not isinstance(error, OutOfOrderSequenceNumber)
            and header.magic == MAGIC
        ):
            with suppress(NotLeaderOrFollower):
                self._log.partition(topic_id, index).refused(header)

    def _partition_of(self, late: _Late, version: int) -> IPartition | None:
        """
        The partition to which a batch is to be appended; None if it is not to be.
        """
        if late.error is None:
            try:
                topic = self._image.topic_by_id(late.topic_id)
                return find_partition(self._log, topic, late.response.index)
            except UnknownTopicId as error:
                late.error = error if version >= 13 else UnknownTopicOrPartition()
            except Exception as error:  # noqa: BLE001 - the answer has it
                late.error = error
        return None

    def _converted(self, messages: memoryview, rules: AppendRules, now: int) -> Steps[Inspected]:
        """
        Convert a message set to a batch, and look into that.
        """
        batch = memoryview((yield from to_batch(messages, rules.max_bytes, rules.max_inflated)))
        header = check_header(batch, rules)
        self._conversions.produced += header.record_count
        return (yield from inspect_steps(batch, header, rules, now))

    def _topic(self, name: str) -> Topic:
        """
        The topic of this name.

        @raise InvalidTopicException: the topic would be internal.
        """
        try:
            return self._image.topic(name)
        except UnknownTopicOrPartition:
            if name in INTERNAL_TOPICS:
                raise InvalidTopicException from None
            raise

    def _rules_of(self, topic: Topic) -> AppendRules:
        """
        The rules of a topic, which are computed once. The image has another object
        for the topic when its configuration has changed.

        @raise InvalidTopicException: the topic is internal. An earlier version let clients
            create such topics.
        """
        known = self._rules.get(topic.topic_id)
        if known is None or known[0] is not topic:
            if topic.name in INTERNAL_TOPICS:
                raise InvalidTopicException
            if len(self._rules) >= _MAX_RULES:
                self._rules.clear()  # most of the topics may be deleted by now
            known = self._rules[topic.topic_id] = (topic, self._append_rules(topic.configs))
        return known[1]

    # -- answering -----------------------------------------------------------

    def _settle(
        self,
        produce: _Produce,
        acks: int,
        timeout_ms: int,
        decisive: Sequence[ISettlement] | None = None,
    ) -> _Answer:
        """
        @param decisive: Those of the request's settlements of which the last one decides;
            None: all of them.
        """
        if acks == 0:
            if produce.error is not None:
                raise produce.error
            return None
        response = self._response(produce)
        if decisive is None:
            decisive = [settlement for settlement, _, _ in produce.settling]
        if not decisive:
            return response
        latest = decisive[0]
        for settlement in decisive:
            if settlement.number > latest.number:
                latest = settlement
        produce.settlement, produce.response = latest, response
        if timeout_ms > 0:
            self._overdue.add(produce, (produce.now + timeout_ms) / 1000)
        return produce

    def _settle_late(self, produce: _Produce, acks: int, timeout_ms: int) -> Deferred[Any]:
        # The broker may have been fenced while the request waited. Then what was appended
        # before is settled, and its slots say nothing of those of the next incarnation, whose
        # numbers begin again (rules 1 and 2).
        refused: list[ISettlement] = []
        pending: list[ISettlement] = []
        for settlement, _, _ in produce.settling:
            fate = settlement.wait()
            if not fate.called:
                pending.append(settlement)
                fate.addErrback(lambda _: None).cancel()
            else:
                fate.addErrback(lambda _, which: refused.append(which), settlement)
        answer = self._settle(produce, acks, timeout_ms, refused[:1] or pending)
        return answer.deferred() if isinstance(answer, Settling) else succeed(answer)

    def settle_each(self, produce: _Produce, failure: Failure) -> Deferred[Response]:
        """
        The last settlement failed, or is not known in time. Earlier ones may have
        succeeded.

        @raise Exception: C{failure} is neither Kafka's nor that time is over.
        """
        if not isinstance(failure.value, KafkaError):
            failure.raiseException()

        def refuse(failure: Failure, topic_id: UUID, response: PartitionResponse) -> None:
            error = failure.value
            if not isinstance(error, KafkaError):
                failure.raiseException()
            self._refuse(response, topic_id, error, produce)

        fates = []
        for settlement, topic_id, response in produce.settling:
            fate = settlement.wait()
            if produce.timed_out and not fate.called:
                fate.addErrback(lambda _: None).cancel()
                self._refuse(response, topic_id, failure.value, produce)
            else:
                fates.append(fate.addErrback(refuse, topic_id, response))
        answered: Deferred[Any] = _all_of(fates)
        return answered.addCallback(lambda _: self._response(produce))

    def _response(self, produce: _Produce) -> ProduceResponse:
        response = ProduceResponse(responses=produce.responses)
        if produce.moved:
            response.node_endpoints = endpoints(
                self._image,
                ProduceResponse.NodeEndpoint,
                produce.moved,
                produce.context.session.listener.name,
            )
        return response

    def _refuse(
        self, response: PartitionResponse, topic_id: UUID, error: Exception, produce: _Produce
    ) -> None:
        response.error_code, response.error_message = error_fields(error, "produce")
        if isinstance(error, RecordErrors):
            response.record_errors = [
                PartitionResponse.RecordError(
                    batch_index=index, batch_index_error_message=message
                )
                for index, message in error.record_errors
            ]
        response.base_offset = response.log_append_time_ms = response.log_start_offset = -1
        if produce.error is None:
            produce.error = error
        if produce.version >= 10 and isinstance(error, NotLeaderOrFollower):
            leader = current_leader(
                self._image, PartitionResponse.CurrentLeader, topic_id, response.index
            )
            response.current_leader = leader
            produce.moved = {*produce.moved, leader.leader_id}

    def _refuse_all(self, request: ProduceRequest, version: int) -> Response:
        error: KafkaError
        if request.transactional_id is not None:
            error = TransactionalIdAuthorizationFailed(NO_TRANSACTIONS)
        else:
            error = InvalidRequiredAcks(f"acks is {request.acks}, and must be -1, 0 or 1")
        if request.acks == 0:
            raise error
        response: ProduceResponse = error_response(request, version, error.code, str(error))
        return response

    def _failed(
        self, request: ProduceRequest, context: RequestContext, code: int, message: str
    ) -> ProduceResponse | None:
        if request.acks == 0:
            return None
        response: ProduceResponse = error_response(request, context.api_version, code, message)
        return response


def _give_up(produce: _Produce) -> None:
    produce.timed_out = True
    error = RequestTimedOut("The records are not durable yet, and may be later")
    produce.end(Failure(error))  # type: ignore[no-untyped-call]


def _checked(records: memoryview | None, version: int) -> memoryview:
    """
    The batch of a partition, if the request may have such a batch.

    @raise InvalidRecord: there is none.
    @raise UnsupportedCompressionType: it is in zstd, which consumers of the age of
        this version cannot read.
    """
    if not records:
        raise InvalidRecord("The partition has no record batch")
    if version < 7 and len(records) > _ATTRIBUTES_AT and records[_ATTRIBUTES_AT] & _CODEC == _ZSTD:
        raise UnsupportedCompressionType("zstd needs version 7 of Produce, or newer")
    return records


def _all_of(events: list[Deferred[None]]) -> Deferred[list[None]]:
    """
    Fires when all of these have fired. If it is cancelled, they are not: a batch
    is appended even if its producer disconnects, as many do after acks=0.
    """
    return all_settled(events, shield=True).addCallback(results_of)
