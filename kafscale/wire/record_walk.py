"""
Walks over the records of a batch, on arrival and for look-ups by time.

Like Kafka's C{LogValidator}, the broker believes the records, not the header: it
counts them, finds the largest timestamp, and lists the records at fault. Neither
implementation makes a Python object for a record. The compiled one takes some
nanoseconds for a record, and releases the interpreter's lock for pieces above 16
KiB; its twin in Python (L{kafscale.wire.plain_walker}) takes microseconds, so
L{walk_steps} cuts its work into turns.

There are three ways to walk over the records of a batch on arrival:

    - L{walk_batch}, at once, in one call. It may take long.
    - L{walk_steps}, in steps as C{WorkQueue} does them. What is short is done
      without any step, so the queue does it at once.
    - C{walker(header, rules)}, fed with pieces of the inflated records, as the
      other two do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from typing import NamedTuple, Protocol

from kafscale.errors import InvalidRecord
from kafscale.wire import plain_walker
from kafscale.wire.batches import HEADER_SIZE, BatchHeader
from kafscale.wire.compression import PIECE, Codec, inflate_pieces
from kafscale.wire.steps import Steps

_INT64_MIN = -(1 << 63)
_INT64_MAX = (1 << 63) - 1

MAX_FLAWS = 10_000
"""How many records at fault a L{Walk} lists unless its rules say otherwise."""

TWIN_FACTOR = 400
"""How many times longer the twin takes, roughly (docs/performance.md)."""

_SHORT_RECORDS = 1024 * 1024
"""Bytes of uncompressed records that the compiled walker walks over at once."""
_SHORT_COMPRESSED = 32 * 1024
"""Bytes of compressed records of which the beginning is inflated at once; it often is
all."""
_STEP = 4096
"""Bytes of a step of the twin; of the smallest records these are 600."""


class Unreadable(IntEnum):
    """
    Why the records of a batch cannot be read to their end. No record of such a batch
    is taken (INVALID_RECORD), because no consumer could read them.
    """

    TRUNCATED = 1
    """The data ends within a record."""
    MISSING = 2
    """The data ends after fewer records than the header states."""
    TRAILING = 3
    """Data follows the last record that the header states."""
    VARINT = 4
    """A number has more bits than its field."""
    SIZE = 5
    """The size of a record is negative."""
    FIELDS = 6
    """The fields of a record are longer or shorter than its size."""
    HEADERS = 7
    """The number of headers of a record is negative, or a header has no name."""


_REASONS = {
    Unreadable.TRUNCATED: "the data ends within it",
    Unreadable.MISSING: "it is missing",
    Unreadable.TRAILING: "it is not in the count of the batch header",
    Unreadable.VARINT: "a number has too many bits",
    Unreadable.SIZE: "its size is negative",
    Unreadable.FIELDS: "its fields do not match its size",
    Unreadable.HEADERS: "its headers are invalid",
}


class Flaw(IntEnum):
    """
    What is wrong with a record that can be read. A record has one flaw at most: the
    first one in this order, which is that of C{LogValidator.validateRecord}.
    """

    NO_KEY = 1
    """It has no key, and the topic is compacted (INVALID_RECORD)."""
    TIME_RANGE = 2
    """Its timestamp is not within the limits (INVALID_TIMESTAMP). The value is the
    timestamp. Records without timestamp, -1, never have this flaw."""
    TIME_OVERFLOW = 3
    """Its timestamp is not an INT64 (INVALID_TIMESTAMP). The value is the delta to
    the base timestamp of the batch."""
    OFFSET = 4
    """Its offset delta is not its index (INVALID_RECORD; Kafka stores such records,
    or assigns other offsets). The value is the delta."""


class FlawedRecord(NamedTuple):
    """
    A record at fault.

    @ivar place: Its index in the batch, the first is 0.
    @ivar flaw: A number of L{Flaw}.
    @ivar value: What the flaw says; 0 for C{NO_KEY}.
    """

    place: int
    flaw: int
    value: int


class Rules(NamedTuple):
    """
    What the records of a batch must comply with.

    @ivar need_keys: Whether the topic is compacted.
    @ivar earliest: The earliest timestamp, in ms: now less
        C{message.timestamp.before.max.ms}.
    @ivar latest: The latest timestamp, in ms.
    @ivar max_flaws: How many records at fault are listed; all are counted.
    """

    need_keys: bool = False
    earliest: int = _INT64_MIN
    latest: int = _INT64_MAX
    max_flaws: int = MAX_FLAWS


NO_RULES = Rules()


class Walk(NamedTuple):
    """
    What a walk over the records of a batch has found.

    @ivar records: The number of records up to the end or the error.
    @ivar error: A number of L{Unreadable}; 0 if all records can be read.
    @ivar position: Where in the inflated data the record begins that cannot be
        read, or the size of the data.
    @ivar max_timestamp: The largest timestamp, in ms; -1 if no record has one.
    @ivar max_timestamp_delta: The offset delta of the first record with the largest
        timestamp; -1 if no record has one.
    @ivar flaw_count: The number of records at fault.
    @ivar flaws: The first records at fault, in order, as (place, L{Flaw}, value),
        see L{FlawedRecord}.
    """

    records: int
    error: int
    position: int
    max_timestamp: int
    max_timestamp_delta: int
    flaw_count: int
    flaws: list[tuple[int, int, int]]

    def flawed(self) -> Iterator[FlawedRecord]:
        """
        Yield the records at fault that are listed.
        """
        return map(FlawedRecord._make, self.flaws)

    def check_readable(self) -> None:
        """
        @raise InvalidRecord: the records cannot be read to their end.
        """
        if self.error:
            reason = _REASONS[Unreadable(self.error)]
            raise InvalidRecord(
                f"Record {self.records} at byte {self.position} cannot be read: {reason}"
            )


class Walker(Protocol):
    """
    Walks over the records of one batch, which are fed to it in pieces.
    """

    def feed(self, piece: bytes | memoryview, /) -> bool:
        """
        Walk over the next bytes, which may begin and end anywhere.

        @return: Whether more bytes can change the verdict.
        """

    def finish(self) -> tuple[int, int, int, int, int, int, list[tuple[int, int, int]]]:
        """
        Return the fields of the L{Walk}, when all bytes have been fed.
        """


def _unknown(batch: bytes | memoryview, need_keys: bool, earliest: int, latest: int, /) -> bool:
    return False


_Walker: Callable[..., Walker] = plain_walker.Walker
_is_sound = _unknown


class NotBuilt(Exception):
    """
    The compiled walker is required, and could not be built when Kafscale was installed.
    """


def choose(mode: str) -> bool:
    """
    Choose the walker. Until this is called, it is that of C{auto}.

    @param mode: C{auto}: the compiled one if it was built; C{require}: the compiled one;
        C{off}: its twin in Python.
    @return: Whether the compiled walker is in use.
    @raise NotBuilt: it is required, and was not built.
    """
    global _Walker, _is_sound
    _Walker, _is_sound = plain_walker.Walker, _unknown
    if mode != "off":
        try:
            from kafscale.wire._walker import Walker as CompiledWalker
            from kafscale.wire._walker import is_sound as compiled_is_sound
        except ImportError as error:
            if mode == "require":
                raise NotBuilt(f"kafscale.wire._walker cannot be imported: {error}") from error
        else:
            _Walker, _is_sound = CompiledWalker, compiled_is_sound
    return is_compiled()


def is_compiled() -> bool:
    """
    Whether the compiled walker is in use.
    """
    return _Walker is not plain_walker.Walker


def is_sound(batch: memoryview, rules: Rules) -> bool:
    """
    Whether the compiled module finds nothing wrong with a small uncompressed batch as it
    came from a producer: neither with its header and checksum
    (L{check_batch<kafscale.wire.records.check_batch>}) nor with a record. Such a batch,
    as nearly all are, need not be looked at any further.

    @return: False if there may be something wrong, or if the compiled module is not in
        use; L{check_batch<kafscale.wire.records.check_batch>} and a walk find out what.
    """
    return _is_sound(batch, rules.need_keys, rules.earliest, rules.latest)


def walker(header: BatchHeader, rules: Rules = NO_RULES) -> Walker:
    """
    Return a walker for the records of a batch.
    """
    return _Walker(header.record_count, header.base_timestamp, *rules)


def walk(body: bytes | memoryview, header: BatchHeader, rules: Rules = NO_RULES) -> Walk:
    """
    Walk over the records of a batch at once.

    @param body: The records, inflated.
    """
    it = _Walker(header.record_count, header.base_timestamp, *rules)
    it.feed(body)
    return Walk._make(it.finish())


def walk_batch(batch: bytes | memoryview, header: BatchHeader, rules: Rules, limit: int) -> Walk:
    """
    Walk over the records of a batch at once, while they are inflated piece by piece.

    @param limit: The maximum size of the inflated records in bytes.
    @raise InvalidRecord: the records cannot be inflated within C{limit}.
    """
    body = memoryview(batch)[HEADER_SIZE : header.size]
    it = walker(header, rules)
    return _feed_all(it, inflate_pieces(header.codec, body, limit))


def walk_steps(
    batch: bytes | memoryview, header: BatchHeader, rules: Rules, limit: int
) -> Steps[Walk]:
    """
    Walk over the records of a batch in steps, while they are inflated piece by piece.
    What takes the compiled walker about a millisecond is done without a step.

    @param limit: The maximum size of the inflated records in bytes.
    @raise InvalidRecord: the records cannot be inflated within C{limit}.
    """
    body = memoryview(batch)[HEADER_SIZE : header.size]
    plain = not is_compiled()
    it = walker(header, rules)
    pieces = inflate_pieces(header.codec, body, limit)
    # How many bytes are inflated and walked over here; the others are in a thread.
    if header.codec == Codec.NONE:
        here = len(body) + 1 if plain or len(body) <= _SHORT_RECORDS else 0
    else:
        here = PIECE if len(body) <= _SHORT_COMPRESSED else 0
    done = 0
    while True:
        if done < here:
            piece = next(pieces, None)
        elif plain:
            piece = yield partial(next, pieces, None)
        else:
            ended: Walk = yield partial(_feed_all, it, pieces)
            return ended
        if piece is None:
            break
        done += len(piece)
        step = _STEP if plain else max(1, len(piece))
        for at in range(0, len(piece), step):
            if not it.feed(piece[at : at + step]):
                return Walk._make(it.finish())
            if plain:
                yield None
    return Walk._make(it.finish())


def find(
    batch: bytes | memoryview,
    header: BatchHeader,
    timestamp: int,
    limit: int,
    first_delta: int = 0,
) -> tuple[int, int] | None:
    """
    Return timestamp and offset delta of the first record of a batch that is not before
    C{timestamp}, in ms; None if there is none.

    @param limit: The maximum size of the inflated records in bytes.
    @param first_delta: The lowest offset delta of the record.
    @raise InvalidRecord: the records before it cannot be inflated within C{limit}, or
        cannot be read.
    """
    body = memoryview(batch)[HEADER_SIZE : header.size]
    it = _Walker(header.record_count, header.base_timestamp, *NO_RULES, timestamp, first_delta)
    found = _feed_all(it, inflate_pieces(header.codec, body, limit))
    if found.max_timestamp_delta >= 0:
        return found.max_timestamp, found.max_timestamp_delta
    found.check_readable()
    return None


def _feed_all(it: Walker, pieces: Iterator[bytes | memoryview]) -> Walk:
    for piece in pieces:
        if not it.feed(piece):
            break
    return Walk._make(it.finish())


choose("auto")
