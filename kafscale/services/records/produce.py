"""
Produce: batches in, offsets out.

Every batch of a request is given its offset before anything is waited for, in
the order in which it stands there: so what producers send one after the other
stands one after the other in the log. Then there is one wait, for whatever of
it becomes durable last.

This is the path that most requests take. It is plain callbacks and not a
coroutine, and what only goes wrong is kept out of its way.
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
from kafscale.services.records.message_set_conversion import PRODUCES_BATCHES, OldProducers
from kafscale.services.refusals import error_fields
from kafscale.wire.error_responses import error_response
from kafscale.wire.messages import ProduceRequest, ProduceResponse

TopicData: TypeAlias = ProduceRequest.Topic
Answer: TypeAlias = ProduceResponse.Topic.Partition

#: Where the attributes stand in a batch: after base offset, length, leader
#: epoch, magic and checksum. Their low byte has the codec and two flags.
_ATTRIBUTES_AT = 22
_CODEC = 0x07
_ZSTD = 4
_TRANSACTIONAL = 0x10

#: So many topics' rules are kept before they are all made anew.
_MOST_RULES = 10_000

_NO_TRANSACTIONS = "Transactions are not supported by this broker"


@attrs.define
class _Appended:
    """
    What became of a request's batches so far.

    @ivar version: In which the request is answered.
    @ivar settling: Answers that hold if what they wait for becomes durable.
    @ivar latest: The settlement that comes last; None when there is none.
    @ivar opening: Partitions that must load something before they can append.
    @ivar error: The first error, for acks=0.
    """

    version: int
    responses: list[ProduceResponse.Topic] = attrs.Factory(list)
    settling: list[tuple[ISettlement, UUID, Answer]] = attrs.Factory(list)
    latest: ISettlement | None = None
    opening: list[Deferred[None]] = attrs.Factory(list)
    error: Exception | None = None
    moved: set[int] = attrs.Factory(set)


@implementer(IProduceService)
class ProduceService:
    """
    Versions 0 to 13 of Produce, for producers without transactions.

    ====  ==================================================================
    v0-2  see L{OldProducers}
    v3    one batch of format 2 for each partition; transactional id
    v5    the answer tells where the log starts
    v7    zstd is allowed
    v8    the answer has an error message, and says which record is wrong
    v9    flexible
    v10   after NOT_LEADER_OR_FOLLOWER the answer says who leads, and where
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
        @param append_rules: What a topic's configuration says of a batch.
        @param work_queue: Converts message sets.
        @param hold: See L{IPressure.hold}.
        """
        self._image = image
        self._log = log
        self._append_rules = append_rules
        self._rules: dict[UUID, tuple[Topic, AppendRules]] = {}
        self._old = OldProducers(image, self._rules_of, work_queue, hold, conversions)

    def serves(self) -> list[Serving]:
        """
        Produce. Versions 0-2 matter to newer clients, too: old librdkafka
        compresses nothing for a broker that does not have them (KAFKA-18659).
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
        Append everything now; the answer comes when it is durable.

        With C{acks=0} there is no answer, but it fails if something could not
        be appended: then the connection is to be closed, which is the only way
        to tell.
        """
        version = context.api_version
        acks = request.acks
        if acks not in (-1, 0, 1) or request.transactional_id is not None:
            return self._refuse_all(request, version)
        if version < PRODUCES_BATCHES:
            return self._old.produce(request, context, self.produce)
        done = _Appended(version)
        for topic in request.topic_data:
            self._append_topic(topic, done)
        if done.opening:
            return _all_of(done.opening).addCallback(lambda _: self._settle(done, acks))
        return self._settle(done, acks)

    # -- appending -----------------------------------------------------------

    def _append_topic(self, data: TopicData, done: _Appended) -> None:
        answers: list[Answer] = []
        done.responses.append(
            ProduceResponse.Topic(
                name=data.name, topic_id=data.topic_id, partition_responses=answers
            )
        )
        try:
            if done.version >= 13:
                topic = self._image.topic_by_id(data.topic_id)
            else:
                topic = self._image.topic(data.name)
            rules = self._rules_of(topic)
        except Exception as error:
            for asked in data.partition_data:
                answers.append(answer := Answer(index=asked.index, base_offset=-1))
                self._refuse(answer, data.topic_id, error, done)
            return
        for asked in data.partition_data:
            answers.append(answer := Answer(index=asked.index, base_offset=-1))
            try:
                partition = find_partition(self._log, topic, asked.index)
                batch = _checked(asked.records, done.version)
                # The log has a copy then: the frame must not wait for the store.
                asked.records = None
                if partition.is_open:
                    self._append(partition, batch, rules, answer, done)
                else:
                    self._append_later(partition, batch, rules, answer, done)
            except Exception as error:
                self._refuse(answer, topic.topic_id, error, done)

    def _append(
        self,
        partition: IPartition,
        batch: memoryview,
        rules: AppendRules,
        answer: Answer,
        done: _Appended,
    ) -> None:
        appended = partition.append(batch, rules)
        answer.base_offset = appended.base_offset
        answer.log_append_time_ms = appended.append_time
        answer.log_start_offset = partition.log_start
        settled = appended.settled
        if settled is not None:
            done.settling.append((settled, partition.topic_id, answer))
            if done.latest is None or settled.number > done.latest.number:
                done.latest = settled

    def _append_later(
        self,
        partition: IPartition,
        batch: memoryview,
        rules: AppendRules,
        answer: Answer,
        done: _Appended,
    ) -> None:
        """
        Append when the partition has loaded what it needs. Each request waits
        at each partition for itself, behind those that came before it; so the
        order at a partition is the order of requests here, too.
        """

        def append(_: None) -> None:
            self._append(partition, batch, rules, answer, done)

        def refuse(failure: Failure) -> None:
            error = failure.value
            self._refuse(
                answer,
                partition.topic_id,
                error if isinstance(error, Exception) else Exception(error),
                done,
            )

        done.opening.append(partition.opened().addCallback(append).addErrback(refuse))

    def _rules_of(self, topic: Topic) -> AppendRules:
        """
        The rules are made once for a topic; when its configuration changes,
        the image has another object for it.
        """
        known = self._rules.get(topic.topic_id)
        if known is None or known[0] is not topic:
            if len(self._rules) >= _MOST_RULES:
                self._rules.clear()  # most of them may be deleted by now
            known = self._rules[topic.topic_id] = (topic, self._append_rules(topic.configs))
        return known[1]

    # -- answering -----------------------------------------------------------

    def _settle(self, done: _Appended, acks: int) -> Deferred[ProduceResponse | None]:
        if acks == 0:
            if done.error is not None:
                return fail(done.error)
            return succeed(None)
        if done.latest is None:
            return succeed(self._response(done))
        settled: Deferred[ProduceResponse | None] = done.latest.wait().addCallbacks(
            lambda _: self._response(done), partial(self._find_lost, done)
        )
        return settled

    def _find_lost(
        self, done: _Appended, failure: Failure
    ) -> Deferred[ProduceResponse | None] | Failure:
        """
        The last to settle was refused; those before it may have been in time.
        """

        def refuse(each: tuple[ISettlement, UUID, Answer], failure: Failure) -> None:
            _, topic_id, answer = each
            if not isinstance(failure.value, KafkaError):
                failure.raiseException()
            self._refuse(answer, topic_id, failure.value, done)

        if not isinstance(failure.value, KafkaError):
            return failure  # a request that is not waited for any more, say
        fates = [each[0].wait().addErrback(partial(refuse, each)) for each in done.settling]
        return _all_of(fates).addCallback(lambda _: self._response(done))

    def _response(self, done: _Appended) -> ProduceResponse:
        response = ProduceResponse(responses=done.responses)
        if done.moved:
            response.node_endpoints = endpoints(
                self._image, ProduceResponse.NodeEndpoint, done.moved
            )
        return response

    def _refuse(self, answer: Answer, topic_id: UUID, error: Exception, done: _Appended) -> None:
        answer.error_code, answer.error_message = error_fields(error, "produce")
        answer.base_offset = answer.log_append_time_ms = answer.log_start_offset = -1
        if done.error is None:
            done.error = error
        if done.version >= 10 and isinstance(error, NotLeaderOrFollower):
            leader = current_leader(
                self._image, ProduceResponse.Topic.Partition.CurrentLeader, topic_id, answer.index
            )
            answer.current_leader = leader
            done.moved.add(leader.leader_id)

    def _refuse_all(
        self, request: ProduceRequest, version: int
    ) -> Deferred[ProduceResponse | None]:
        error: KafkaError
        if request.transactional_id is not None:
            error = TransactionalIdAuthorizationFailed(_NO_TRANSACTIONS)
        else:
            error = InvalidRequiredAcks(f"acks is {request.acks}, and may be -1, 0 or 1")
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
    A batch that the log may look into.
    """
    if not records:
        raise InvalidRecord("The partition comes without a record batch")
    if len(records) > _ATTRIBUTES_AT:
        attributes = records[_ATTRIBUTES_AT]
        if attributes & _TRANSACTIONAL:
            raise TransactionalIdAuthorizationFailed(_NO_TRANSACTIONS)
        if version < 7 and attributes & _CODEC == _ZSTD:
            raise UnsupportedCompressionType("zstd needs version 7 of Produce, or newer")
    return records


def _all_of(events: list[Deferred[None]]) -> Deferred[list[None]]:
    """
    Fires when all of them have. To cancel it leaves them alone: a batch that
    came is appended even if its producer hangs up, as after acks=0 many do.
    """
    return all_settled(events, shield=True).addCallback(results_of)
