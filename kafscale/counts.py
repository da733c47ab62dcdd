"""
Counters of the work of each room.

They are plain numbers, so that counting costs next to nothing on the path of
each request. Rooms increment them, and `kafscale.ops` reads them for /metrics.
All begin at 0 when the process starts and only grow, unless stated otherwise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import attrs

SECONDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Bounds of all histograms in seconds: from a look-up in memory to a long poll."""


class Histogram:
    """
    A histogram of durations.

    @ivar counts: The number of durations in each bucket: above the previous bound
        of L{SECONDS} and up to this one. The last bucket is above all bounds.
    @ivar total: The sum of all durations in seconds.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """
        Count a duration in seconds.
        """
        if seconds < 0.0:
            seconds = 0.0  # the clock was set back
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds


class ApiCounts:
    """
    Counters of the requests of one API.

    @ivar name: Kafka's name of the API, e.g. C{Produce}.
    @ivar answers: The number of responses by their first error code (0: none). A
        request without a response counts when it is complete.
    @ivar seconds: The time from the start of a request to its response.
    @ivar received: Bytes of requests.
    @ivar sent: Bytes of responses.
    """

    __slots__ = ("answers", "name", "received", "seconds", "sent")

    def __init__(self, name: str) -> None:
        """
        @param name: Kafka's name of the API.
        """
        self.name = name
        self.answers: dict[int, int] = {}
        self.seconds = Histogram()
        self.received = 0
        self.sent = 0

    def answered(self, code: int, seconds: float, size: int) -> None:
        """
        Count a response.

        @param code: Its first error code; 0 if there is none.
        @param seconds: The time from the start of the request.
        @param size: Bytes of the response.
        """
        answers = self.answers
        answers[code] = answers.get(code, 0) + 1
        self.seconds.add(seconds)
        self.sent += size


class TopicCounts:
    """
    Counters of the records of one topic.

    @ivar bytes_in: Bytes of appended batches, as they are stored.
    @ivar records_in: Appended records.
    @ivar bytes_out: Bytes of batches read for consumers.
    """

    __slots__ = ("bytes_in", "bytes_out", "records_in")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.records_in = 0
        self.bytes_out = 0


@attrs.define(eq=False)
class LogCounts:
    """
    Counters of the log.

    @ivar slots: Journal slots that became durable.
    @ivar slot_bytes: Bytes of these slots.
    @ivar flush_seconds: The time from the write of a slot until it is durable.
    @ivar segments: Segments written.
    @ivar segment_bytes: Bytes of these segments.
    @ivar orphans: Orphaned objects deleted.
    @ivar topics: Counters by topic id. Those of deleted topics are removed.
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
        Return the counters of one topic, which it creates if necessary.
        """
        found = self.topics.get(topic_id)
        if found is None:
            found = self.topics[topic_id] = TopicCounts()
        return found


@attrs.define(eq=False)
class ConversionCounts:
    """
    Counters of records converted for clients of old formats.

    @ivar produced: Records converted from message sets.
    @ivar fetched: Records converted to message sets.
    """

    produced: int = 0
    fetched: int = 0


@attrs.define(eq=False)
class QuotaCounts:
    """
    Counters of quotas.

    @ivar throttled: How often a client had exceeded a quota, by the quota's key.
    @ivar accounts: Users, client ids and addresses, with each quota, of which it is
        known what they used. It also falls.
    """

    throttled: dict[str, int] = attrs.field(factory=dict)
    accounts: int = 0

    def exceeded(self, key: str) -> None:
        """
        Count a quota that a client had exceeded.
        """
        self.throttled[key] = self.throttled.get(key, 0) + 1


class LoginCounts:
    """
    Counters of logins by SASL.

    @ivar succeeded: Connections that have authenticated, by mechanism.
    @ivar failed: Attempts that were refused, also on open sessions, by mechanism;
        L{NO_MECHANISM} if none was agreed on.
    @ivar renewed: Authentications on open sessions that succeeded.
    @ivar expired: Connections that were closed because they went on after the end of
        their session.
    """

    def __init__(self) -> None:
        self.succeeded: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.renewed = 0
        self.expired = 0

    def offer(self, mechanisms: Iterable[str]) -> None:
        """
        Begin to count mechanisms, which a listener has. Others are not counted: clients
        may name whatever they like.
        """
        for each in mechanisms:
            self.succeeded.setdefault(each, 0)
            self.failed.setdefault(each, 0)
        self.failed.setdefault(NO_MECHANISM, 0)

    def succeed(self, mechanism: str) -> None:
        """
        Count a connection that has authenticated.
        """
        self.succeeded[mechanism] += 1

    def fail(self, mechanism: str) -> None:
        """
        Count an attempt that was refused.

        @param mechanism: Empty if none was agreed on.
        """
        self.failed[mechanism or NO_MECHANISM] += 1


NO_MECHANISM: Final = "NONE"
"""Stands for the mechanism of a login that failed before one was agreed on."""


class DenialCounts:
    """
    Counters of what the authorizer has denied.

    @ivar denied: By the names of the operation and of the type of the resource. A
        request that lacks a right on several resources counts several times.
    """

    def __init__(self) -> None:
        self.denied: dict[tuple[str, str], int] = {}

    def deny(self, operation: str, kind: str) -> None:
        """
        Count a right that a client lacked.
        """
        key = operation, kind
        self.denied[key] = self.denied.get(key, 0) + 1


@attrs.frozen
class LogState:
    """
    The state of the log at one moment.

    @ivar partitions: Partitions that this broker leads.
    @ivar unrolled_bytes: Bytes of records in memory that are in no segment yet.
    @ivar unsettled_bytes: Of these, bytes that are not durable yet.
    @ivar journal_slots: Slots that a successor would have to read.
    @ivar slots_under_way: Slots whose write has not completed.
    """

    partitions: int
    unrolled_bytes: int
    unsettled_bytes: int
    journal_slots: int
    slots_under_way: int


@attrs.define(eq=False)
class OperationCounts:
    """
    Counters of one operation of a store.

    @ivar done: Operations completed, successfully or not.
    @ivar errors: Of these, operations to which the store did not respond.
    @ivar seconds: Their durations.
    @ivar size: Bytes of objects written or read.
    @ivar under_way: The start time of each operation in progress, by any key.
    @ivar failure: The reason of the last failure; None if the last one succeeded.
    @ivar failed_at: The time of the last failure.
    """

    done: int = 0
    errors: int = 0
    seconds: Histogram = attrs.field(factory=Histogram)
    size: int = 0
    under_way: dict[object, float] = attrs.field(factory=dict)
    failure: str | None = None
    failed_at: float = 0.0


LONG_TURN = 0.01
"""Seconds of CPU time that no turn of the reactor should take."""


@attrs.define(eq=False)
class TurnCounts:
    """
    Counters of the reactor's turns.

    @ivar longest: Seconds of CPU time of the longest turn.
    @ivar long: Turns of more than L{LONG_TURN}.
    """

    longest: float = 0.0
    long: int = 0


@attrs.define(eq=False)
class StoreCounts:
    """
    Counters of one store.

    @ivar name: The name of the store.
    @ivar operations: Counters by name of the operation.
    @ivar answered_at: The time of its last response; None before the first one.
    """

    name: str
    operations: dict[str, OperationCounts] = attrs.field(factory=dict)
    answered_at: float | None = None

    def operation(self, name: str) -> OperationCounts:
        """
        Return the counters of one operation, which it creates if necessary.
        """
        found = self.operations.get(name)
        if found is None:
            found = self.operations[name] = OperationCounts()
        return found
