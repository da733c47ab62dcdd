"""
Producers and consumers from before Kafka 0.11.

They know message sets only. What they produce is made into batches before it
goes the way of all batches, and batches that were read for them are made into
message sets; see `kafscale.wire.message_sets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import ConversionCounts
from kafscale.errors import KafkaError, UnsupportedVersion
from kafscale.interfaces import AppendRules, Fetched, IImage, RequestContext, Topic
from kafscale.services.records.partition_reads import Part
from kafscale.services.refusals import error_fields
from kafscale.wire.message_sets import Steps, is_message_set, to_batch, to_messages
from kafscale.wire.messages import ProduceRequest, ProduceResponse
from kafscale.wire.records import read_batch_header

Asked: TypeAlias = ProduceRequest.Topic.Partition
Answer: TypeAlias = ProduceResponse.Topic.Partition
Produce: TypeAlias = Callable[
    [ProduceRequest, RequestContext], Deferred[ProduceResponse | None]
]

#: The first version of Produce, and of Fetch, that knows batches.
PRODUCES_BATCHES = 3
FETCHES_BATCHES = 4

#: The first version of Fetch whose messages have timestamps.
_HAS_TIMESTAMPS = 2
#: The first version of Fetch that limits its answer as a whole.
_HAS_MAX_BYTES = 3

#: How large what is compressed may become, in bytes.
MOST_INFLATED = 64 * 1024 * 1024


@attrs.frozen
class _Refused:
    """
    What cannot be converted.

    @ivar topic: The place of its topic in the request.
    @ivar place: Its place among the topic's partitions.
    """

    topic: int
    place: int
    index: int
    error: Exception


class OldProducers:
    """
    Versions 0 to 2 of Produce.

    ====  ==================================================================
    v0    message sets; magic 0 is meant, but any magic is taken, as by Kafka
    v1    the answer has a throttle time
    v2    magic 1 is meant; the answer has the time that the broker gave
    ====  ==================================================================

    """

    def __init__(
        self,
        image: IImage,
        rules_of: Callable[[Topic], AppendRules],
        work_queue: WorkQueue,
        hold: Callable[[int], None],
        counts: ConversionCounts,
    ) -> None:
        """
        @param hold: Is told how much waits to be converted, see
            L{IPressure.hold}.
        """
        self._image = image
        self._rules_of = rules_of
        self._hold = hold
        self._work_queue = work_queue
        self._counts = counts

    def produce(
        self, request: ProduceRequest, context: RequestContext, produce: Produce
    ) -> Deferred[ProduceResponse | None]:
        """
        Convert, then let the rest be done as for version 3. Who comes later
        waits until this one is converted, so the order of requests is the
        order of the log.
        """
        parts = [asked for data in request.topic_data for asked in data.partition_data]
        size = sum(len(asked.records or b"") for asked in parts)
        newer = attrs.evolve(context, api_version=PRODUCES_BATCHES)

        def go_on(refused: list[_Refused]) -> Deferred[ProduceResponse | None]:
            self._hold(-size)
            return produce(request, newer).addCallback(_with_refused, refused)

        def failed(failure: Failure) -> Failure:
            self._hold(-size)
            return failure

        self._hold(size)
        return self._work_queue.run(self._convert(request)).addCallbacks(go_on, failed)

    def _convert(self, request: ProduceRequest) -> Steps[list[_Refused]]:
        """
        Put batches in place of message sets; leave out of the request what
        cannot be converted.
        """
        refused: list[_Refused] = []
        for number, data in enumerate(request.topic_data):
            try:
                rules = self._rules_of(self._image.topic(data.name))
            except KafkaError:
                continue  # it will be refused for that
            kept: list[Asked] = []
            for place, asked in enumerate(data.partition_data):
                try:
                    if asked.records and is_message_set(asked.records):
                        batch = yield from to_batch(asked.records, rules.max_bytes, MOST_INFLATED)
                        asked.records = memoryview(batch)
                        self._counts.produced += read_batch_header(batch).record_count
                    kept.append(asked)
                except Exception as error:
                    refused.append(_Refused(number, place, asked.index, error))
            data.partition_data = kept
        return refused


def _with_refused(
    response: ProduceResponse | None, refused: list[_Refused]
) -> ProduceResponse | None:
    """
    The answer, with those that were left out in their places.
    """
    if response is None and refused:
        raise refused[0].error  # acks=0: to close the connection tells it
    if response is not None:
        for each in refused:
            code, message = error_fields(each.error, "produce")
            response.responses[each.topic].partition_responses.insert(
                each.place,
                Answer(index=each.index, error_code=code, base_offset=-1, error_message=message),
            )
    return response


class OldConsumers:
    """
    Versions 0 to 3 of Fetch.

    ====  ==================================================================
    v0    message sets of magic 0
    v1    the answer has a throttle time
    v2    magic 1: with timestamps
    v3    the answer as a whole has a limit
    ====  ==================================================================

    """

    def __init__(
        self,
        image: IImage,
        wanted: Callable[[Mapping[str, str]], bool],
        work_queue: WorkQueue,
        counts: ConversionCounts,
    ) -> None:
        """
        @param wanted: Whether a topic, with these configurations, is for old
            consumers, too (C{message.downconversion.enable}).
        """
        self._image = image
        self._wanted = wanted
        self._work_queue = work_queue
        self._counts = counts

    @staticmethod
    def each_at_least_one(version: int) -> bool:
        """
        Whether each partition's answer has at least one message, however small
        the partition's limit. Where there is none for the whole answer, no
        other partition has to give way, and consumers need not put those first
        that had nothing.
        """
        return version < _HAS_MAX_BYTES

    def convert(self, parts: Iterable[Part], version: int, max_bytes: int) -> Deferred[None]:
        """
        Put message sets in place of the batches that were read.

        @param max_bytes: For all of them together; one message may be larger.
        """
        return self._work_queue.run(self._convert(parts, version, max_bytes))

    def _convert(self, parts: Iterable[Part], version: int, max_bytes: int) -> Steps[None]:
        magic = int(version >= _HAS_TIMESTAMPS)
        left = max_bytes
        first = True
        for part in parts:
            read, part.fetched = part.fetched, Fetched()
            if part.error is not None or not read.size or (left <= 0 and not first):
                continue
            asked = part.asked
            try:
                if not self._wanted(self._image.topic(asked.name).configs):
                    raise UnsupportedVersion("message.downconversion.enable is false")
                made = yield from to_messages(
                    read.pieces,
                    magic,
                    asked.offset,
                    max(0, min(asked.max_bytes, left)),
                    first,
                    MOST_INFLATED,
                )
            except Exception as error:
                part.error = error
                continue
            part.fetched = Fetched(made.pieces, made.size)
            self._counts.fetched += made.messages
            if made.size:
                left -= made.size
                first = self.each_at_least_one(version) and left > 0
