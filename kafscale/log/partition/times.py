"""
Look-ups of records by their timestamps.

The header of a batch states the largest timestamp in it. Where that is known to be
true, headers decide where to look; the batches that earlier versions have stored are
looked into. Records decide what is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.errors import InvalidRecord
from kafscale.interfaces import MAX_INFLATED
from kafscale.log.reading.largest_timestamps import largest_timestamp
from kafscale.log.reading.segments import Segments
from kafscale.wire.records import BatchHeader, first_at_or_after, iterate, read_batch_header
from kafscale.wire.steps import Steps


class TimeLookUp:
    """
    Finds records of one partition, as they are when this is made. Whatever takes long
    is not done on the reactor's thread.
    """

    def __init__(
        self,
        work: WorkQueue,
        segments: Segments | None,
        batches: Sequence[bytes],
        true_from: int,
    ) -> None:
        """
        @param work: Looks into records.
        @param segments: Where to look first; None if no live record is in one.
        @param batches: Those that come after the segments.
        @param true_from: The headers of C{batches} from this offset on are believed.
        """
        self._work = work
        self._segments = segments
        self._batches = batches
        self._true_from = true_from

    async def first_since(self, timestamp: int, log_start: int) -> tuple[int, int] | None:
        """
        Find the first record at or after C{timestamp} that is not before the log
        start.

        @param timestamp: In ms.
        @return: Its timestamp and offset; None if there is no such record.
        """
        if self._segments is not None:
            async for run, true_times in self._segments.runs_reaching(timestamp, log_start):
                view = memoryview(run)
                for position, header in iterate(run):
                    if true_times and header.max_timestamp < timestamp:
                        continue
                    piece = view[position : position + header.size]
                    found = await self._work.run(_first_in(piece, header, timestamp, log_start))
                    if found is not None:
                        return found
        for batch in self._batches:
            header = read_batch_header(batch)
            if header.max_timestamp >= timestamp or header.base_offset < self._true_from:
                found = await self._work.run(_first_in(batch, header, timestamp, log_start))
                if found is not None:
                    return found
        return None

    async def latest(self) -> tuple[int, int] | None:
        """
        Find the first of the records with the largest timestamp (KIP-734).

        @return: Its timestamp and offset; None if there are no records.
        """
        found: list[int] = []
        start = 0
        if self._segments is not None:
            in_segments = await self._segments.latest_timestamp()
            if in_segments is not None:
                found.append(in_segments)
            start = self._segments.first or 0
        for batch in self._batches:
            header = read_batch_header(batch)
            if header.base_offset < self._true_from:
                found.append(await self._work.run(largest_timestamp(batch, header)))
            else:
                found.append(header.max_timestamp)
        return await self.first_since(max(found), start) if found else None


def _first_in(
    batch: bytes | memoryview, header: BatchHeader, timestamp: int, log_start: int
) -> Steps[tuple[int, int] | None]:
    """
    Find the first record of a batch at or after C{timestamp} that is not before
    the log start.

    @return: Its timestamp and offset; None if there is no such record.
    """
    if header.next_offset <= log_start:
        return None
    try:
        found: tuple[int, int] | None = yield partial(
            first_at_or_after, batch, timestamp, MAX_INFLATED, log_start
        )
    except InvalidRecord:
        # The records cannot be read, so the header has to do.
        if header.max_timestamp < timestamp:
            return None
        return header.max_timestamp, max(header.base_offset, log_start)
    return found
