"""
Deleting old records: those past C{retention.ms}, and those in excess of
C{retention.bytes}.

Whole segments are deleted, from the log start on, each when the largest
timestamp in it is too old, as in Kafka; if none of its records has a timestamp,
when it was written so long ago. Records in no segment count as the last
segment. A partition is checked when its oldest segment may expire, when it has
got a new segment, and when its topic's configuration was changed; not
otherwise. Records that are too old when they are written can be read for a few
minutes, as in Kafka, which checks every five.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.logger import Logger

from kafscale.concurrency.due_queue import DueQueue
from kafscale.concurrency.worker_pool import WorkerPool
from kafscale.errors import KafkaError, NotLeaderOrFollower, StoreError
from kafscale.interfaces import LogRules
from kafscale.log.environment import LogEnvironment
from kafscale.log.partition.partition import Partition
from kafscale.log.reading.segments import SegmentMissing, SegmentSummary
from kafscale.wire.records import read_batch_header

PARALLEL_CHECKS = 4
"""How many partitions are checked at once."""

MAX_SEGMENTS = 1000
"""How many segments of a partition are deleted in one step."""

CHECK_SECONDS = 300.0
"""Seconds after which a partition is checked that was not due before (Kafka's
C{log.retention.check.interval.ms})."""

PAUSE_SECONDS = 1.0
"""Seconds at least between two checks of a partition in which nothing changed."""

RETRY_SECONDS = 60.0
"""Seconds after which a check that failed is repeated."""


class Retention:
    """
    Moves log starts as the topics' configurations ask for it.

    @ivar move_start: Moves a partition's log start up to an offset.
    """

    _log = Logger()

    def __init__(
        self,
        environment: LogEnvironment,
        move_start: Callable[[Partition, int], Awaitable[None]],
    ) -> None:
        """
        @param move_start: See L{Retention.move_start}.
        """
        clock = environment.clock
        self._name_of = environment.name_of
        self._wall_clock = clock.seconds  # since 1970, as records' timestamps have it
        self.move_start = move_start
        self._due: DueQueue[Partition] = DueQueue(clock, clock.seconds, self._is_due)
        self._waiting: dict[Partition, None] = {}
        self._checking: set[Partition] = set()
        self._pool = WorkerPool(clock, PARALLEL_CHECKS, self._take)
        # Of the first segment of each, so that not every check reads it.
        self._oldest: dict[Partition, SegmentSummary] = {}

    def __contains__(self, partition: Partition) -> bool:
        """
        Return whether anything is remembered of a partition.
        """
        return any(partition in each for each in (self._due, self._waiting, self._oldest))

    # -- when to check ---------------------------------------------------------

    def configured(self, partition: Partition, before: LogRules) -> None:
        """
        Follow a change of the configuration of a partition's topic.

        @param before: The configuration before the change.
        """
        if _limits_of(partition.rules) != _limits_of(before):
            self._check_now(partition)

    def _check_now(self, partition: Partition) -> None:
        if _has_limits(partition.rules):
            self._due.sooner(partition, self._wall_clock())
        else:
            self.forget(partition)

    def led(self, partition: Partition) -> None:
        """
        Begin to watch a partition that this broker leads now.
        """
        if partition.high_watermark > partition.log_start:
            self._check_later(partition)

    def rolled(self, partition: Partition) -> None:
        """
        Note that a partition has one more segment.
        """
        # A later segment does not expire before the first, but adds bytes.
        if partition.rules.retention_bytes >= 0:
            self._check_now(partition)
        else:
            self._check_later(partition)

    def appended(self, partition: Partition) -> None:
        """
        Note that a partition has records in memory, and had none before.
        """
        self._check_later(partition)

    def _check_later(self, partition: Partition) -> None:
        rules = partition.rules
        if partition in self._due or not _has_limits(rules):
            return
        # No later than the newest records may expire.
        age = rules.retention_ms / 1000 if rules.retention_ms >= 0 else CHECK_SECONDS
        self._due.put(partition, self._wall_clock() + max(PAUSE_SECONDS, min(age, CHECK_SECONDS)))

    def forget(self, partition: Partition) -> None:
        """
        Stop watching a partition.
        """
        self._due.remove(partition)
        self._waiting.pop(partition, None)
        self._oldest.pop(partition, None)

    # -- checking --------------------------------------------------------------

    def _is_due(self, partition: Partition) -> None:
        if partition in self._checking:
            self._due.put(partition, self._wall_clock() + PAUSE_SECONDS)
            return
        self._waiting[partition] = None
        self._pool.fill()

    def _take(self) -> Coroutine[Any, Any, None] | None:
        if not self._waiting:
            return None
        partition = next(iter(self._waiting))
        del self._waiting[partition]
        return self._run_check(partition)

    async def _run_check(self, partition: Partition) -> None:
        self._checking.add(partition)
        try:
            await self._check(partition)
        except Exception as error:
            self._failed(partition, error)
        self._checking.discard(partition)
        if partition.dropped:
            self.forget(partition)

    def _failed(self, partition: Partition, error: Exception) -> None:
        if self._pool.stopped or partition.dropped or isinstance(error, NotLeaderOrFollower):
            return
        if isinstance(error, KafkaError | StoreError):
            self._log.warn(
                "could not delete old records of {partition}, trying again in {seconds:.0f} s:"
                " {why}",
                partition=self._name_of(partition.topic_id, partition.index),
                seconds=RETRY_SECONDS,
                why=error,
            )
        else:
            self._log.failure(
                "internal error while deleting old records of {partition}, trying again in"
                " {seconds:.0f} s",
                partition=self._name_of(partition.topic_id, partition.index),
                seconds=RETRY_SECONDS,
            )
        self._due.sooner(partition, self._wall_clock() + RETRY_SECONDS)

    async def _check(self, partition: Partition) -> None:
        """
        Delete the records that have expired, and note when to check again.
        """
        if partition.dropped:
            return
        rules = partition.rules
        rewritings = partition.segments.rewrites
        try:
            offset, due = await self._expired(partition, rules)
        except SegmentMissing as missing:
            deleted = missing.base < (partition.record.first_segment or 0)
            if not deleted and rewritings == partition.segments.rewrites:
                raise
            self._check_now(partition)  # its records were deleted or rewritten meanwhile
            return
        if partition.rules is not rules:
            self._check_now(partition)  # the new configuration may keep what was found
        elif offset > partition.log_start:
            await self.move_start(partition, offset)
            self._log.info(
                "deleted the records of {partition} before offset {offset}, which exceeded the"
                " topic's retention",
                partition=self._name_of(partition.topic_id, partition.index),
                offset=partition.log_start,
            )
            self._check_now(partition)
        elif due is not None:
            self._due.sooner(partition, max(due, self._wall_clock() + PAUSE_SECONDS))

    async def _expired(self, partition: Partition, rules: LogRules) -> tuple[int, float | None]:
        """
        Find out which records have expired.

        @return: The offset before which all have, and when the first record
            after it will, in seconds since 1970; None if never.
        """
        record = partition.record
        if not rules.delete:
            return record.log_start, None
        offset = record.log_start
        # The newest segment stays without any record that is left, and does
        # not count then.
        alive = record.first_segment is not None and offset < record.rolled_to
        size = partition.tail.size + (record.stored_bytes if alive else 0)
        excess = size - rules.retention_bytes if rules.retention_bytes >= 0 else 0
        first = record.first_segment if alive else None
        base = record.rolled_to if first is None else first
        for _ in range(MAX_SEGMENTS):
            # The record as it is now: records in memory may have become a
            # segment while others were read.
            if base >= partition.record.rolled_to:
                return self._expired_in_memory(partition, rules, offset)
            summary = await self._summary(partition, base, base == first)
            expires = await self._expiry(partition, base, summary, rules)
            too_old = expires is not None and expires <= self._wall_clock()
            # Only the excess over the limit is deleted, so not below it.
            if not too_old and excess < summary.size:
                return offset, expires
            excess -= summary.size
            base = offset = summary.end_offset
        return offset, None

    async def _expiry(
        self, partition: Partition, base: int, summary: SegmentSummary, rules: LogRules
    ) -> float | None:
        """
        Find out when the records of a segment expire. What the headers of an earlier
        version state is not believed, but neither is all that was ever stored read at
        once: a segment's records are looked into when they seem to expire, or when it
        is so old that records of the time at which it was written expire.

        @param base: The segment's base offset.
        @return: In seconds since 1970; None if never.
        """
        if rules.retention_ms < 0:
            return None
        latest = summary.max_timestamp
        if summary.true_times and latest >= 0:
            return _expires(latest, rules)
        segments = partition.segments
        written = await segments.written(base)
        if not summary.true_times:
            seemingly = _expires(min({latest, written} - {-1}, default=-1), rules)
            if seemingly is not None and seemingly > self._wall_clock():
                return seemingly
            latest = await segments.largest_timestamp(base)
        # Records without a timestamp are as old as their segment, as in Kafka.
        return _expires(latest if latest >= 0 else written, rules)

    def _expired_in_memory(
        self, partition: Partition, rules: LogRules, offset: int
    ) -> tuple[int, float | None]:
        """
        The same where all segments have expired.

        @param offset: The offset after the segments.
        """
        due = None
        # The newest first: it is the one that stays if there are appends.
        for batch in reversed(partition.tail.from_offset(partition.tail.start)):
            header = read_batch_header(batch)
            expires = _expires(header.max_timestamp, rules)
            if expires is None or header.base_offset < partition.true_from:
                return offset, None  # when it is in a segment, it may be found to expire
            due = expires if due is None else max(due, expires)
            if due > self._wall_clock():
                return offset, due
        return max(offset, partition.high_watermark), None

    async def _summary(self, partition: Partition, base: int, oldest: bool) -> SegmentSummary:
        known = self._oldest.get(partition)
        if known is not None and known.location == partition.segments.location(base):
            return known
        summary = await partition.segments.summary(base)
        if oldest:
            self._oldest[partition] = summary
        return summary

    # -- ending ----------------------------------------------------------------

    def abandon(self) -> None:
        """
        Start no more checks.
        """
        self._pool.abandon()
        self._due.stop()
        self._waiting.clear()

    async def stop(self) -> None:
        """
        Start no more checks, and return when none is under way.
        """
        self.abandon()
        await self._pool.stop()


def _limits_of(rules: LogRules) -> tuple[object, ...]:
    """
    Return the part of the rules that decides which records stay.
    """
    return rules.delete, rules.retention_ms, rules.retention_bytes


def _has_limits(rules: LogRules) -> bool:
    """
    Return whether records are ever deleted by these rules.
    """
    return rules.delete and (rules.retention_ms >= 0 or rules.retention_bytes >= 0)


def _expires(timestamp: int, rules: LogRules) -> float | None:
    """
    Return when a record with this timestamp expires, in seconds since 1970;
    None if never.
    """
    if rules.retention_ms < 0 or timestamp < 0:
        return None
    return (timestamp + rules.retention_ms + 1) / 1000
