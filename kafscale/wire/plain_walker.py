"""
Walks over the records of a batch, in Python.

This is the twin of the compiled walker: it has the same interface and gives the same
verdicts, and takes over where that could not be built. L{kafscale.wire.record_walk}
chooses between the two and has the meaning of what they return.

A record is (https://kafka.apache.org/documentation/#record)::

    varint     size of what follows in bytes
    INT8       attributes, unused
    varlong    timestamp, less the batch's base timestamp
    varint     offset, less the batch's base offset
    varint     size of the key, negative: null
               key
    varint     size of the value, negative: null
               value
    varint     number of headers, and for each of them
        varint     size of the name
                   name
        varint     size of the value, negative: null
                   value

A varint is of at most 5 bytes and 32 bits, a varlong of 10 bytes and 64 bits, both
zigzag.
"""

from __future__ import annotations

# Why records cannot be read: kafscale.wire.record_walk.Unreadable.
_TRUNCATED = 1
_MISSING = 2
_TRAILING = 3
_VARINT = 4
_SIZE = 5
_FIELDS = 6
_HEADERS = 7

# What is wrong with a record: kafscale.wire.record_walk.Flaw.
_NO_KEY = 1
_TIME_RANGE = 2
_TIME_OVERFLOW = 3
_OFFSET = 4

_INT64_MIN = -(1 << 63)
_INT64_MAX = (1 << 63) - 1

Found = tuple[int, int, int, int, int, int, list[tuple[int, int, int]]]


class _Unreadable(Exception):
    """
    A record cannot be read. The argument is the reason.
    """


class Walker:
    """
    Walks over the records of one batch, which are fed to it in pieces.
    """

    def __init__(
        self,
        count: int,
        base_timestamp: int,
        need_keys: bool,
        earliest: int,
        latest: int,
        max_flaws: int,
        sought: int | None = None,
        first_delta: int = 0,
    ) -> None:
        """
        @param count: The number of records that the batch's header states.
        @param base_timestamp: The base timestamp of the batch.
        @param need_keys: Whether a record without a key is a flaw.
        @param earliest: The earliest timestamp that is no flaw.
        @param latest: The latest timestamp that is no flaw.
        @param max_flaws: How many flaws are listed; all are counted.
        @param sought: If not None, the walk ends at the first record that is not
            before this timestamp.
        @param first_delta: The lowest offset delta of that record.
        """
        self._count = count
        self._base_timestamp = base_timestamp
        self._need_keys = need_keys
        self._earliest = earliest
        self._latest = latest
        self._max_flaws = max_flaws
        self._sought = sought
        self._first_delta = first_delta
        self._records = 0
        self._error = 0
        self._position = 0  # of the next record
        self._timestamp = -1
        self._delta = -1
        self._flaw_count = 0
        self._flaws: list[tuple[int, int, int]] = []
        self._stopped = False
        # The beginning of a record whose end has not come yet.
        self._held: list[bytes] = []
        self._held_size = 0
        self._needed = 1

    def feed(self, piece: bytes | memoryview) -> bool:
        """
        Walk over the next bytes, which may begin and end anywhere.

        @return: Whether more bytes can change the verdict.
        """
        if self._stopped:
            return False
        data = bytes(piece)
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size >= self._needed:
            if len(self._held) > 1:
                data = b"".join(self._held)
            try:
                rest = data[self._walk(data) :]
            except _Unreadable as error:
                self._stop(error)
                return False
            self._held = [rest] if rest else []
            self._held_size = len(rest)
        return not self._stopped

    def finish(self) -> Found:
        """
        Return the verdict when all bytes have been fed: number of whole records;
        why the rest cannot be read (0: it can), and the position of the first bytes
        that cannot; largest timestamp, and the offset delta of the first record
        with it (both -1: none), or those of the record that was sought; number of
        flaws; index, kind and value of each of the first flaws.
        """
        if not self._stopped and self._records < self._count:
            try:
                if not self._held_size:
                    raise _Unreadable(_MISSING)
                self._partial(b"".join(self._held))
            except _Unreadable as error:
                self._stop(error)
        return (
            self._records,
            self._error,
            self._position,
            self._timestamp,
            self._delta,
            self._flaw_count,
            self._flaws,
        )

    def _stop(self, error: _Unreadable) -> None:
        self._error = error.args[0]
        self._stopped = True
        self._held.clear()

    def _walk(self, data: bytes) -> int:
        """
        Walk over the whole records in C{data}; return the position after them.
        """
        at = 0
        whole = len(data)
        while self._records < self._count:
            start = at
            size, at = _read_size(data, at, whole)
            if at < 0:
                self._needed = whole - start + 1
                return start
            end = at + size
            if end > whole:
                self._needed = end - start
                return start
            timestamp, delta, key_size = _read_record(data, at, end, whole)
            self._position += end - start
            at = end
            if self._judge(timestamp, delta, key_size):
                return end
        if at < whole:
            raise _Unreadable(_TRAILING)
        self._needed = 1
        return at

    def _partial(self, data: bytes) -> None:
        """
        Raise the reason why a record of which C{data} is the beginning cannot be read.
        """
        whole = len(data)
        size, at = _read_size(data, 0, whole)
        if at < 0:
            raise _Unreadable(_TRUNCATED)
        _read_record(data, at, at + size, whole)
        raise _Unreadable(_TRUNCATED)

    def _judge(self, delta_time: int, delta: int, key_size: int) -> bool:
        """
        Judge one whole record; return whether the walk is over.
        """
        timestamp = self._base_timestamp + delta_time
        overflows = not _INT64_MIN <= timestamp <= _INT64_MAX
        index = self._records
        self._records = index + 1
        if self._sought is not None:
            if not overflows and timestamp >= self._sought and delta >= self._first_delta:
                self._timestamp = timestamp
                self._delta = delta
                self._stopped = True
            return self._stopped
        if timestamp > self._timestamp and not overflows:
            self._timestamp = timestamp
            self._delta = delta
        if self._need_keys and key_size < 0:
            self._flaw(index, _NO_KEY, 0)
        elif overflows:
            self._flaw(index, _TIME_OVERFLOW, delta_time)
        elif not self._earliest <= timestamp <= self._latest and timestamp != -1:
            self._flaw(index, _TIME_RANGE, timestamp)
        elif delta != index:
            self._flaw(index, _OFFSET, delta)
        return False

    def _flaw(self, index: int, kind: int, value: int) -> None:
        self._flaw_count += 1
        if len(self._flaws) < self._max_flaws:
            self._flaws.append((index, kind, value))


def _read_size(data: bytes, at: int, whole: int) -> tuple[int, int]:
    """
    Read the size of the record at C{at}; return it and the position after it, which
    is -1 if C{data} ends within the size.
    """
    if at < whole and data[at] < 0x80:
        bits = data[at]
        at += 1
    else:
        try:
            bits, at = _read_bits(data, at, whole, 28, 0x0F)
        except IndexError:
            return 0, -1
    if bits & 1:
        raise _Unreadable(_SIZE)
    return bits >> 1, at


def _read_bits(data: bytes, at: int, end: int, last: int, highest: int) -> tuple[int, int]:
    """
    Read a number, before zigzag; return it, and the position after it.

    @param last: The shift of the last byte that it may have.
    @param highest: The highest value of that byte.
    @raise IndexError: it does not end before C{end}.
    """
    if at + 1 < end and data[at] >= 0x80 > data[at + 1]:  # two bytes, quickly
        return data[at] & 0x7F | data[at + 1] << 7, at + 2
    shift = bits = 0
    while True:
        if at >= end:
            raise IndexError
        byte = data[at]
        at += 1
        if shift == last and byte > highest:
            raise _Unreadable(_VARINT)
        bits |= (byte & 0x7F) << shift
        if byte < 0x80:
            return bits, at
        shift += 7


def _read_record(data: bytes, at: int, end: int, whole: int) -> tuple[int, int, int]:
    """
    Read the record whose fields begin at C{at}; return its delta of the timestamp, its
    offset delta, and the size of its key.

    @param end: The end of the record.
    @param whole: The end of what there is of C{data}, which may be before C{end}.
    """
    stop = end if end < whole else whole
    try:
        if at >= stop:
            raise IndexError
        at += 1
        # A number of one byte is read in line, as most are.
        if at < stop and (bits := data[at]) < 0x80:
            at += 1
        else:
            bits, at = _read_bits(data, at, stop, 63, 0x01)
        delta_time = (bits >> 1) ^ -(bits & 1)
        if at < stop and (bits := data[at]) < 0x80:
            at += 1
        else:
            bits, at = _read_bits(data, at, stop, 28, 0x0F)
        delta = (bits >> 1) ^ -(bits & 1)
        key_size, at = _skip(data, at, stop, end)
        _, at = _skip(data, at, stop, end)
        if at < stop and (bits := data[at]) < 0x80:
            at += 1
        else:
            bits, at = _read_bits(data, at, stop, 28, 0x0F)
        if bits:
            at = _skip_headers(data, at, stop, end, bits)
    except IndexError:
        raise _Unreadable(_FIELDS if stop == end else _TRUNCATED) from None
    if at != end:
        raise _Unreadable(_FIELDS)
    return delta_time, delta, key_size


def _skip_headers(data: bytes, at: int, stop: int, end: int, bits: int) -> int:
    """
    Skip the headers, of which C{bits} is the number before zigzag; return the position
    after them.
    """
    if bits & 1:
        raise _Unreadable(_HEADERS)
    for _ in range(bits >> 1):
        name_size, at = _skip(data, at, stop, end)
        if name_size < 0:
            raise _Unreadable(_HEADERS)
        _, at = _skip(data, at, stop, end)
    return at


def _skip(data: bytes, at: int, stop: int, end: int) -> tuple[int, int]:
    """
    Read the size of a byte string (negative: null), and skip the string; return the size
    and the position after the string.
    """
    if at < stop and data[at] < 0x80:
        bits = data[at]
        at += 1
    else:
        bits, at = _read_bits(data, at, stop, 28, 0x0F)
    if bits & 1:
        return -(bits >> 1) - 1, at
    size = bits >> 1
    if size > end - at:
        raise _Unreadable(_FIELDS)
    return size, at + size
