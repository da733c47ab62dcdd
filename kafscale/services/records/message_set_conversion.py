"""
Conversion for producers and consumers from before Kafka 0.11.

They know message sets only. Their message sets are converted to batches before
they are appended, and batches are converted to message sets after they were read;
see L{kafscale.wire.message_sets}.
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
from kafscale.services.records.partition_reads import PartitionRead
from kafscale.services.refusals import error_fields
from kafscale.wire.message_sets import is_message_set, to_batch, to_messages
from kafscale.wire.messages import ProduceRequest, ProduceResponse
from kafscale.wire.records import read_batch_header
from kafscale.wire.steps import Steps

PartitionProduceData: TypeAlias = ProduceRequest.Topic.Partition
PartitionResponse: TypeAlias = ProduceResponse.Topic.Partition
Produce: TypeAlias = Callable[
    [ProduceRequest, RequestContext], Deferred[ProduceResponse | None]
]

#: The first version of Produce, and of Fetch, that has record batches.
PRODUCES_BATCHES = 3
FETCHES_BATCHES = 4

#: The first version of Fetch whose messages have timestamps.
_HAS_TIMESTAMPS = 2
#: The first version of Fetch with a limit for the whole response.
_HAS_MAX_BYTES = 3

#: The largest size of a decompressed message set or batch, in bytes.
MAX_DECOMPRESSED = 64 * 1024 * 1024


@attrs.frozen
class _Refused:
    """
    A partition whose message set cannot be converted.

    @ivar topic: The position of its topic in the request.
    @ivar place: Its position among the partitions of the topic.
    @ivar index: Of the partition.
    """

    topic: int
    place: int
    index: int
    error: Exception


class UpConverter:
    """
    Versions 0 to 2 of Produce::

        ====  ==================================================================
        v0    message sets of magic 0; any magic is accepted, as by Kafka
        v1    throttle time
        v2    message sets of magic 1; log append time
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
        @param image: Knows the topics that exist.
        @param rules_of: Returns the rules for batches of a topic.
        @param work_queue: Runs conversions one after the other.
        @param hold: Called with the bytes that wait to be converted, see
            L{IPressure.hold}.
        @param counts: Counts converted records.
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
        Convert a request, and go on as for version 3. Later requests wait until
        this one is converted, so batches are appended in the order of requests.

        @param produce: L{ProduceService.produce}.
        """
        size = sum(
            len(each.records or b"") for data in request.topic_data for each in data.partition_data
        )
        newer = attrs.evolve(context, api_version=PRODUCES_BATCHES)

        def append(refused: list[_Refused]) -> Deferred[ProduceResponse | None]:
            self._hold(-size)
            return produce(request, newer).addCallback(_with_refused, refused)

        def failed(failure: Failure) -> Failure:
            self._hold(-size)
            return failure

        self._hold(size)
        return self._work_queue.run(self._convert(request)).addCallbacks(append, failed)

    def _convert(self, request: ProduceRequest) -> Steps[list[_Refused]]:
        """
        Replace message sets by batches, and remove partitions from the request
        that cannot be converted.
        """
        refused: list[_Refused] = []
        for number, data in enumerate(request.topic_data):
            try:
                rules = self._rules_of(self._image.topic(data.name))
            except KafkaError:
                continue  # produce() refuses the topic
            kept: list[PartitionProduceData] = []
            for place, each in enumerate(data.partition_data):
                try:
                    if each.records and is_message_set(each.records):
                        batch = yield from to_batch(
                            each.records, rules.max_bytes, MAX_DECOMPRESSED
                        )
                        each.records = memoryview(batch)
                        self._counts.produced += read_batch_header(batch).record_count
                    kept.append(each)
                except Exception as error:
                    refused.append(_Refused(number, place, each.index, error))
            data.partition_data = kept
        return refused


def _with_refused(
    response: ProduceResponse | None, refused: list[_Refused]
) -> ProduceResponse | None:
    """
    The response with the partitions that were removed from the request.
    """
    if response is None and refused:
        raise refused[0].error  # acks=0: the connection is closed
    if response is not None:
        for each in refused:
            code, message = error_fields(each.error, "produce")
            response.responses[each.topic].partition_responses.insert(
                each.place,
                PartitionResponse(
                    index=each.index, error_code=code, base_offset=-1, error_message=message
                ),
            )
    return response


class DownConverter:
    """
    Versions 0 to 3 of Fetch::

        ====  ==================================================================
        v0    message sets of magic 0
        v1    throttle time
        v2    message sets of magic 1, which have timestamps
        v3    a limit for the whole response
        ====  ==================================================================

    """

    def __init__(
        self,
        image: IImage,
        is_enabled: Callable[[Mapping[str, str]], bool],
        work_queue: WorkQueue,
        counts: ConversionCounts,
    ) -> None:
        """
        @param image: Knows the topics that exist.
        @param is_enabled: Returns whether a topic with these overrides may be
            read by old consumers (C{message.downconversion.enable}).
        @param work_queue: Runs conversions one after the other.
        @param counts: Counts converted records.
        """
        self._image = image
        self._is_enabled = is_enabled
        self._work_queue = work_queue
        self._counts = counts

    @staticmethod
    def each_at_least_one(version: int) -> bool:
        """
        Whether the response has at least one message of each partition, however
        small the partition's limit is: as long as the response has no limit as a
        whole, no partition is left out because of others.
        """
        return version < _HAS_MAX_BYTES

    def convert(
        self, reads: Iterable[PartitionRead], version: int, max_bytes: int
    ) -> Deferred[None]:
        """
        Replace batches that were read by message sets.

        @param max_bytes: The limit for all of them together; a single message may
            be larger.
        """
        return self._work_queue.run(self._convert(reads, version, max_bytes))

    def _convert(self, reads: Iterable[PartitionRead], version: int, max_bytes: int) -> Steps[None]:
        magic = int(version >= _HAS_TIMESTAMPS)
        left = max_bytes
        first = True
        for read in reads:
            batches, read.fetched = read.fetched, Fetched()
            if read.error is not None or not batches.size or (left <= 0 and not first):
                continue
            requested = read.requested
            try:
                if not self._is_enabled(self._image.topic(requested.name).configs):
                    raise UnsupportedVersion("message.downconversion.enable is false")
                made = yield from to_messages(
                    batches.pieces,
                    magic,
                    requested.offset,
                    max(0, min(requested.max_bytes, left)),
                    first,
                    MAX_DECOMPRESSED,
                )
            except Exception as error:
                read.error = error
                continue
            read.fetched = Fetched(made.pieces, made.size)
            self._counts.fetched += made.messages
            if made.size:
                left -= made.size
                first = self.each_at_least_one(version) and left > 0
