"""
What rooms count of their work.

Plain numbers, so that to count costs next to nothing where every request
passes: rooms add to them, and `kafscale.ops` reads them when somebody asks.
All of them begin at 0 with the process and only grow, unless they say
otherwise.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final
from uuid import UUID

import attrs

SECONDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Bounds of times, for all that is timed: from a look into memory to a long poll."""


class Histogram:
    """
    How often something took how long.

    @ivar counts: How many were at most as long as the bound in the same place
        of L{SECONDS} and longer than the one before; in the last place those
        that were longer than all.
    @ivar total: The sum of all, in seconds.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """
        It took so long.
        """
        if seconds < 0.0:
            seconds = 0.0  # the clock was set back meanwhile
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


class ApiCounts:
    """
    The requests of one API.

    @ivar name: Kafka's, as in C{Produce}.
    @ivar answers: How many were answered, by the first error code in the
        answer (0 for those without). One that owes no answer counts when it
        is done.
    @ivar seconds: From a request's turn to its answer.
    @ivar received: Bytes of the requests.
    @ivar sent: Bytes of the answers.
    """

    __slots__ = ("answers", "name", "received", "seconds", "sent")

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: dict[int, int] = {}
        self.seconds = Histogram()
        self.received = 0
        self.sent = 0

    def answered(self, code: int, seconds: float, size: int) -> None:
        """
        A request was answered with C{code}, in C{size} bytes.
        """
        answers = self.answers
        answers[code] = answers.get(code, 0) + 1
        self.seconds.add(seconds)
        self.sent += size


class TopicCounts:
    """
    Records of one topic.

    @ivar bytes_in: Appended, in batches as they are stored.
    @ivar records_in: How many these are.
    @ivar bytes_out: Read for consumers.
    """

    __slots__ = ("bytes_in", "bytes_out", "records_in")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.records_in = 0
        self.bytes_out = 0


@attrs.define(eq=False)
class LogCounts:
    """
    What the log stored.

    @ivar slots: Slots of the journal that became durable.
    @ivar slot_bytes: Their bytes.
    @ivar flush_seconds: From sending a slot to its being durable.
    @ivar segments: Segments that were made.
    @ivar segment_bytes: Their bytes.
    @ivar orphans: Objects left over that were deleted.
    @ivar topics: By topic id; those that are deleted go.
    """

    slots: int = 0
    slot_bytes: int = 0
    flush_seconds: Histogram = attrs.field(factory=Histogram)
    segments: int = 0
    segment_bytes: int = 0
    orphans: int = 0
    topics: dict[UUID, TopicCounts] = attrs.field(factory=dict)

    def topic(self, topic_id: UUID) -> TopicCounts:
        """
        Those of one topic.
        """
        found = self.topics.get(topic_id)
        if found is None:
            found = self.topics[topic_id] = TopicCounts()
        return found


@attrs.define(eq=False)
class ConversionCounts:
    """
    Records that old clients made the broker convert.

    @ivar produced: From message sets.
    @ivar fetched: To message sets.
    """

    produced: int = 0
    fetched: int = 0


@attrs.frozen
class LogState:
    """
    The log at one moment.

    @ivar partitions: How many this broker leads.
    @ivar unrolled_bytes: Bytes of records in memory, which no segment has.
    @ivar unsettled_bytes: Of these, what is not yet durable.
    @ivar journal_slots: Slots that a successor would have to read.
    @ivar slots_under_way: Slots on their way to the store.
    """

    partitions: int
    unrolled_bytes: int
    unsettled_bytes: int
    journal_slots: int
    slots_under_way: int


@attrs.define(eq=False)
class OperationCounts:
    """
    What a store was asked to do in one way.

    @ivar done: How many came to an end, well or not.
    @ivar errors: How many of these the store did not answer.
    @ivar seconds: How long they took.
    @ivar size: Bytes of objects written or read.
    @ivar under_way: When each that has not come to its end began.
    @ivar failure: Why the last one failed; None after one that did not.
    @ivar failed_at: When that was.
    """

    done: int = 0
    errors: int = 0
    seconds: Histogram = attrs.field(factory=Histogram)
    size: int = 0
    under_way: dict[object, float] = attrs.field(factory=dict)
    failure: str | None = None
    failed_at: float = 0.0


@attrs.define(eq=False)
class StoreCounts:
    """
    What a store was asked, and how it answers.

    @ivar name: Of the store.
    @ivar operations: By name.
    @ivar answered_at: When it last answered; None before it did.
    """

    name: str
    operations: dict[str, OperationCounts] = attrs.field(factory=dict)
    answered_at: float | None = None

    def operation(self, name: str) -> OperationCounts:
        """
        Those of one operation.
        """
        found = self.operations.get(name)
        if found is None:
            found = self.operations[name] = OperationCounts()
        return found
