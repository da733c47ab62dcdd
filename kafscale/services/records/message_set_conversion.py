"""
Conversion for consumers from before Kafka 0.11.

They know message sets only, so batches are converted to message sets after they
were read; see L{kafscale.wire.message_sets}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from twisted.internet.defer import Deferred

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import ConversionCounts
from kafscale.errors import UnsupportedVersion
from kafscale.interfaces import Fetched, IImage
from kafscale.services.records.partition_reads import PartitionRead
from kafscale.wire.message_sets import to_messages
from kafscale.wire.steps import Steps

#: The first version of Fetch that has record batches.
FETCHES_BATCHES = 4

#: The first version of Fetch whose messages have timestamps.
_HAS_TIMESTAMPS = 2
#: The first version of Fetch with a limit for the whole response.
_HAS_MAX_BYTES = 3

#: The largest size of a decompressed batch, in bytes.
MAX_DECOMPRESSED = 64 * 1024 * 1024


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
