"""
The checker of records: all answers of brokers must agree.

Clients report the answers that they get. A record that was acknowledged or
shown once is at that offset for ever, and at no other. Nothing here asks a
broker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs

from kafscale.format.partition import TopicIdPartition
from kafscale.wire.records import iterate, read_records
from tests.simulation.schedule import BEGIN, Schedule

if TYPE_CHECKING:
    from tests.simulation.network import Pipe


class Wrong(AssertionError):
    """
    A promise is broken.
    """


@attrs.define
class Epoch:
    """
    The answers of the leader of one epoch.
    """

    high_watermark: int
    log_start: int
    first_high_watermark: int
    first_log_start: int


@attrs.define
class Known:
    """
    The known records and bounds of one partition.

    @ivar truth: Values by offset, acknowledged or shown.
    @ivar places: Offsets by value.
    @ivar log_start: The largest that was answered to DeleteRecords.
    @ivar epochs: By leader epoch.
    """

    truth: dict[int, bytes] = attrs.field(factory=dict)
    places: dict[bytes, int] = attrs.field(factory=dict)
    acknowledged: int = 0
    log_start: int = 0
    epochs: dict[int, Epoch] = attrs.field(factory=dict)


class Checker:
    """
    Knows every record.

    @ivar gone: Topics whose deletion was requested.
    @ivar near: How often records came from a broker that does not lead.
    """

    def __init__(
        self, schedule: Schedule, log_start_of: Callable[[TopicIdPartition], int | None]
    ) -> None:
        """
        @param log_start_of: Where a partition's log begins, as recorded.
        """
        self._schedule = schedule
        self._log_start_of = log_start_of
        self.wrong: list[str] = []
        self._producer_ids: dict[tuple[int, int], None] = {}
        self.partitions: dict[TopicIdPartition, Known] = {}
        self.gone: dict[UUID, None] = {}
        self._described: dict[tuple[Pipe, UUID, int], int] = {}
        self._watermarks: dict[tuple[str, UUID, int, int], int] = {}
        self.reads = 0
        self.near = 0

    def known(self, where: TopicIdPartition) -> Known:
        """
        Return the known state of a partition.
        """
        known = self.partitions.get(where)
        if known is None:
            known = self.partitions[where] = Known()
        return known

    def expect(self, right: bool, text: str) -> None:
        """
        @raise Wrong: if it is not right.
        """
        if not right:
            self.wrongly(text)

    def wrongly(self, text: str) -> None:
        """
        @raise Wrong: always.
        """
        self.note(False, text)
        raise Wrong(self.wrong[0])

    def note(self, right: bool, text: str) -> None:
        """
        The same from where nothing can be raised.
        """
        if not right:
            self.wrong.append(f"after {self._schedule.now - BEGIN:.3f} s: {text}")
            self._schedule.halt()

    # -- records --------------------------------------------------------------

    def _true(self, where: TopicIdPartition, offset: int, value: bytes, how: str) -> None:
        known = self.known(where)
        before = known.truth.setdefault(offset, value)
        place = known.places.setdefault(value, offset)
        if before != value:
            self.wrongly(f"{where} has {value!r} at {offset}, {how}; it had {before!r} there")
        if place != offset:
            self.wrongly(f"{where} has {value!r} at {offset}, {how}; it was at {place}")

    def acknowledged(self, where: TopicIdPartition, base: int, values: Sequence[bytes]) -> None:
        """
        A producer got an acknowledgement, with the offset of its batch.
        """
        for offset, value in enumerate(values, base):
            self._true(where, offset, value, "as acknowledged")
        known = self.known(where)
        known.acknowledged = max(known.acknowledged, base + len(values))

    def shown(
        self,
        who: str,
        where: TopicIdPartition,
        epoch: int,
        offset: int,
        high_watermark: int,
        log_start: int,
        pieces: Sequence[bytes],
    ) -> tuple[int, list[bytes]]:
        """
        A consumer was given these records from C{offset} on, by the leader of
        that epoch.

        @return: Where to read on, and the values.
        """
        self._ends(who, where, epoch, high_watermark, log_start)
        return self._shown(where, f"shown in epoch {epoch}", offset, high_watermark, pieces)

    def shown_near(
        self,
        who: str,
        where: TopicIdPartition,
        epoch: int,
        offset: int,
        high_watermark: int,
        log_start: int,
        pieces: Sequence[bytes],
    ) -> tuple[int, list[bytes]]:
        """
        The same by a broker that does not lead the partition: its records must
        be the same, but it may be behind.
        """
        self.near += bool(pieces)
        return self._shown(where, "shown nearby", offset, high_watermark, pieces)

    def _shown(
        self,
        where: TopicIdPartition,
        how: str,
        offset: int,
        high_watermark: int,
        pieces: Sequence[bytes],
    ) -> tuple[int, list[bytes]]:
        self.reads += 1
        values: list[bytes] = []
        expected: int | None = None
        for piece in pieces:
            for position, header in iterate(piece):
                if expected is not None and header.base_offset != expected:
                    self.wrongly(f"{where}: a batch at {header.base_offset} follows {expected}")
                expected = header.next_offset
                for record in read_records(piece[position : position + header.size], 1 << 20):
                    value = record.value or b""
                    self._true(where, record.offset, value, how)
                    if record.offset >= high_watermark >= 0:  # -1: not known there
                        self.wrongly(f"{where} {record.offset} is shown above the high watermark")
                    if record.offset >= offset:
                        if record.offset > offset:
                            self.wrongly(f"{where} has no {offset}, but {record.offset}")
                        offset += 1
                        values.append(value)
        return offset, values

    def _ends(
        self, who: str, where: TopicIdPartition, epoch: int, high_watermark: int, log_start: int
    ) -> None:
        epochs = self.known(where).epochs
        shown = epochs.get(epoch)
        if shown is None:
            shown = epochs[epoch] = Epoch(high_watermark, log_start, high_watermark, log_start)
        shown.high_watermark = max(shown.high_watermark, high_watermark)
        shown.first_high_watermark = min(shown.first_high_watermark, high_watermark)
        shown.log_start = max(shown.log_start, log_start)
        shown.first_log_start = min(shown.first_log_start, log_start)
        key = who, *where, epoch
        before = self._watermarks.get(key, 0)
        if high_watermark < before:
            self.wrongly(
                f"{where}: the high watermark was {before} in epoch {epoch}, is {high_watermark}"
            )
        self._watermarks[key] = high_watermark
        for number, other in epochs.items():
            early, late = (other, shown) if number < epoch else (shown, other)
            if number == epoch:
                continue
            if early.high_watermark > late.first_high_watermark:
                self.wrongly(
                    f"{where}: the high watermark was {early.high_watermark} before epoch"
                    f" {max(number, epoch)}, and {late.first_high_watermark} in it"
                )
            if early.log_start > late.first_log_start:
                self.wrongly(
                    f"{where}: the log start was {early.log_start} before epoch"
                    f" {max(number, epoch)}, and {late.first_log_start} in it"
                )

    def deleted(self, where: TopicIdPartition, log_start: int) -> None:
        """
        DeleteRecords was answered.
        """
        known = self.known(where)
        known.log_start = max(known.log_start, log_start)

    def out_of_range(self, where: TopicIdPartition, offset: int) -> None:
        """
        A consumer got OFFSET_OUT_OF_RANGE.
        """
        start = self._log_start_of(where)
        self.expect(
            start is None or offset < start, f"{where}: {offset} is out of range, from {start} on"
        )

    def new_producer(self, producer_id: int, epoch: int) -> None:
        """
        A producer was given an id.
        """
        self.expect((producer_id, epoch) not in self._producer_ids, f"{producer_id} again")
        self._producer_ids[producer_id, epoch] = None

    # -- metadata -------------------------------------------------------------

    def described(self, pipe: Pipe, response: Any) -> None:
        """
        A broker has answered Metadata: its leader epochs of one topic do not go
        back.
        """
        for topic in response.topics:
            for each in topic.partitions:
                if each.leader_epoch < 0:
                    continue
                key = pipe, topic.topic_id, each.partition_index
                before = self._described.get(key, -1)
                if each.leader_epoch < before:
                    self.wrongly(
                        f"{topic.name} {each.partition_index}: its leader epoch was {before},"
                        f" and is {each.leader_epoch}, on one connection"
                    )
                self._described[key] = each.leader_epoch

    def end(self, where: TopicIdPartition) -> int:
        """
        The offset after the last record that is known of.
        """
        return max(self.known(where).truth, default=-1) + 1

    # -- the end --------------------------------------------------------------

    def whole(self, where: TopicIdPartition, log_start: int, values: Sequence[bytes]) -> None:
        """
        The partition was read from the log start to its end, when all was well
        again.
        """
        known = self.known(where)
        self.expect(
            log_start >= known.log_start,
            f"{where} begins at {log_start}; it was told to begin at {known.log_start}",
        )
        end = log_start + len(values)
        lost = [offset for offset in known.truth if offset >= end]
        self.expect(not lost, f"{where} ends at {end}; lost: {lost}")
        producers: dict[bytes, int] = {}
        for offset, value in enumerate(values, log_start):
            self._true(where, offset, value, "in the end")
            name, _, number = value.rpartition(b" ")
            before = producers.get(name)
            self.expect(
                before is None or int(number) == before + 1,
                f"{where} has {value!r} at {offset}, after number {before}",
            )
            producers[name] = int(number)
