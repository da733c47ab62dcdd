"""
What is decided from the records of a batch, before the batch is appended.

The records are believed, and not what the batch's header says of them, as in
Kafka's C{LogValidator}: how many they are, that each can be read, the largest of
their timestamps, whether every one is within the topic's limits and has a key
where the topic is compacted. A batch whose header differs in its largest timestamp
only is appended with the right one; for anything else it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from kafscale.errors import (
    InvalidRecord,
    InvalidTimestamp,
    MessageTooLarge,
    TransactionalIdAuthorizationFailed,
)
from kafscale.interfaces import AppendRules
from kafscale.wire.batches import HEADER_SIZE, LOG_APPEND_TIME
from kafscale.wire.compression import Codec, deflate, inflate
from kafscale.wire.record_walk import (
    MAX_FLAWS,
    Flaw,
    FlawedRecord,
    Rules,
    Walk,
    is_compiled,
    is_sound,
    walk,
    walk_batch,
    walk_steps,
)
from kafscale.wire.records import (
    BatchHeader,
    check_batch,
    read_batch_header,
    recode,
    restate,
)
from kafscale.wire.steps import Steps

NO_TRANSACTIONS = "Transactions are not supported by this broker"

_PLAIN_AT_ONCE = 4096
"""Bytes of records at which the walker in Python looks at once."""

_SMALL = 4096
"""Bytes of a batch that L{inspect_small} takes. Larger ones gain nothing: its checksum is
the slower one."""

_COMPRESSED_AT_ONCE = 16 * 1024
"""Bytes of a compressed batch that is looked into at once, and not in a thread, ..."""
_INFLATED_AT_ONCE = 64 * 1024
"""... if it inflates to no more bytes than these: it takes about as long to change to a
thread and back."""

_LATEST = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RecordErrors:
    """
    Says which records of a batch are at fault (KIP-467).

    @ivar record_errors: The index of each in the batch, and what is wrong with it.
    """

    record_errors: list[tuple[int, str]]


class FaultyRecords(RecordErrors, InvalidRecord):
    """
    Records of the batch are not valid.
    """


class FaultyTimestamps(RecordErrors, InvalidTimestamp):
    """
    Records of the batch have timestamps that the topic does not take.
    """


class Inspected(NamedTuple):
    """
    A batch that may be appended.

    @ivar batch: Its bytes, with a header that is true.
    @ivar header: That header.
    """

    batch: memoryview
    header: BatchHeader


def check_header(batch: memoryview, rules: AppendRules) -> BatchHeader:
    """
    Check the size, the checksum and the header of a batch as it came.

    @raise MessageTooLarge: it is larger than C{max.message.bytes}.
    @raise KafkaError: see L{check_batch}.
    @raise InvalidRecord: it has a base offset already.
    @raise TransactionalIdAuthorizationFailed: it is part of a transaction.
    """
    if len(batch) > rules.max_bytes:
        raise MessageTooLarge(
            f"The batch has {len(batch)} bytes, max.message.bytes is {rules.max_bytes}"
        )
    header = check_batch(batch)
    if header.base_offset:
        raise InvalidRecord(f"The base offset of a batch must be 0, not {header.base_offset}")
    if header.transactional:
        raise TransactionalIdAuthorizationFailed(NO_TRANSACTIONS)
    return header


def inspect_small(batch: memoryview, rules: AppendRules, now: int) -> Inspected | None:
    """
    Check and look into a small batch in one step, if nothing is wrong with it.

    @param now: The broker's time in ms.
    @return: None otherwise, for L{check_header} and L{inspect_at_once}: they say what is
        wrong, or make it right.
    """
    size = len(batch)
    if size > _SMALL or size > rules.max_bytes or rules.codec:
        return None
    if is_sound(batch, _wanted(rules, now)):
        return Inspected(batch, read_batch_header(batch))
    return None


def inspect_at_once(
    batch: memoryview, header: BatchHeader, rules: AppendRules, now: int
) -> Inspected | None:
    """
    Look into a batch, if that takes no longer than a change to a thread and back.

    @param header: As L{check_header} returned it.
    @param now: The broker's time in ms.
    @return: None if it may take longer, for L{inspect_steps}.
    @raise KafkaError: see L{inspect_steps}.
    """
    if rules.codec is not None and header.codec != rules.codec:
        return None
    wanted = _wanted(rules, now)
    if header.codec == Codec.NONE:
        if not is_compiled() and len(batch) > _PLAIN_AT_ONCE:
            return None
        return _judge(batch, header, rules, wanted, walk(batch[HEADER_SIZE:], header, wanted))
    if len(batch) > _COMPRESSED_AT_ONCE or not is_compiled():
        return None
    try:
        found = walk_batch(batch, header, wanted, _INFLATED_AT_ONCE)
    except InvalidRecord:
        return None  # it inflates to more bytes, or not at all
    return _judge(batch, header, rules, wanted, found)


def inspect_steps(
    batch: memoryview, header: BatchHeader, rules: AppendRules, now: int
) -> Steps[Inspected]:
    """
    Look into a batch, in steps, and compress it in the topic's codec.

    @param header: As L{check_header} returned it.
    @param now: The broker's time in ms.
    @raise InvalidRecord: the records cannot be inflated or read, or are not as many as
        the header states.
    @raise FaultyRecords: records have no key, or a wrong offset.
    @raise FaultyTimestamps: records have timestamps outside the topic's limits, or
        are marked as if the broker had given them.
    @raise MessageTooLarge: the batch is too large in the topic's codec.
    """
    wanted = _wanted(rules, now)
    limit = rules.max_inflated if header.codec else len(batch)
    found = yield from walk_steps(batch, header, wanted, limit)
    inspected = _judge(batch, header, rules, wanted, found)
    if rules.codec is None or header.codec == rules.codec:
        return inspected
    recoded: Inspected = yield partial(_recoded, inspected, rules.codec, rules)
    return recoded


def _recoded(inspected: Inspected, codec: int, rules: AppendRules) -> Inspected:
    """
    Compress the records as the topic's C{compression.type} says.

    @raise MessageTooLarge: the batch is larger then than C{max.message.bytes}.
    """
    batch, header = inspected
    body = inflate(header.codec, batch[HEADER_SIZE:], max(rules.max_inflated, len(batch)))
    recoded = memoryview(recode(batch, header, codec, deflate(codec, body, rules.level)))
    if len(recoded) > rules.max_bytes:
        raise MessageTooLarge(
            f"The batch has {len(recoded)} bytes in the topic's codec, max.message.bytes is"
            f" {rules.max_bytes}"
        )
    return Inspected(recoded, read_batch_header(recoded))


def _wanted(rules: AppendRules, now: int) -> Rules:
    if rules.log_append_time:
        return Rules(rules.compacted)
    return Rules(rules.compacted, now - rules.before_ms, min(now + rules.after_ms, _LATEST))


def _judge(
    batch: memoryview, header: BatchHeader, rules: AppendRules, wanted: Rules, found: Walk
) -> Inspected:
    """
    @param found: In a walk with the rules C{wanted}.
    """
    found.check_readable()
    if header.log_append_time and (rules.log_append_time or header.max_timestamp < 0):
        named = range(min(header.record_count, MAX_FLAWS))
        raise _faulty(
            FaultyTimestamps,
            header.record_count,
            ((index, "Only the broker may mark a timestamp as LogAppendTime") for index in named),
        )
    if found.flaw_count:
        flawed = list(found.flawed())
        times = any(each.flaw in (Flaw.TIME_RANGE, Flaw.TIME_OVERFLOW) for each in flawed)
        raise _faulty(
            FaultyTimestamps if times else FaultyRecords,
            found.flaw_count,
            ((each.place, _flaw(each, wanted)) for each in flawed),
        )
    if rules.log_append_time or (
        header.max_timestamp == found.max_timestamp and not header.log_append_time
    ):
        return Inspected(batch, header)
    true = header._replace(
        attributes=header.attributes & ~LOG_APPEND_TIME, max_timestamp=found.max_timestamp
    )
    return Inspected(memoryview(restate(batch, true)), true)


def _faulty(
    kind: type[FaultyRecords | FaultyTimestamps], count: int, errors: Iterable[tuple[int, str]]
) -> FaultyRecords | FaultyTimestamps:
    """
    @param count: How many records are at fault.
    @param errors: As many of them as the answer names.
    """
    named = list(errors)
    first = "; ".join(f"record {index}: {what}" for index, what in named[:3])
    error = kind(f"The batch is refused because of {count} of its records, of which the first"
                 f" are: {first}")
    error.record_errors = named
    return error


def _flaw(found: FlawedRecord, wanted: Rules) -> str:
    if found.flaw == Flaw.NO_KEY:
        return "It has no key, and the topic is compacted"
    if found.flaw == Flaw.TIME_RANGE:
        which = "before" if found.value < wanted.earliest else "after"
        limit = wanted.earliest if which == "before" else wanted.latest
        return (
            f"Its timestamp is {_moment(found.value)}, and the topic takes none {which}"
            f" {_moment(limit)} (message.timestamp.{which}.max.ms)"
        )
    if found.flaw == Flaw.TIME_OVERFLOW:
        return f"Its timestamp overflows: it is {found.value} ms after that of the batch"
    return f"Its offset in the batch is {found.value}, not {found.place}"


def _moment(timestamp: int) -> str:
    """
    A timestamp in ms since 1970, as an operator reads it.
    """
    try:
        moment = _EPOCH + timedelta(milliseconds=timestamp)
    except OverflowError:
        return f"{timestamp} ms since 1970"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{timestamp % 1000:03} UTC"
