"""
Taking the bytes that were asked for out of an answer of GetObject.

A server may answer the request for a range with that range or with the whole
object (RFC 9110, 14.2), and some answer with other bytes: s3rver takes the last
100 bytes (C{-100}) for the first ones. So an answer is never believed by its
status: what C{Content-Range} says is compared with what was asked, and with the
number of bytes that came.
"""

from __future__ import annotations

import re

from kafscale.store.s3.errors import Answer, WrongRange

_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.IGNORECASE)


def range_of(answer: Answer, start: int, length: int | None) -> tuple[bytes, int]:
    """
    Return at most C{length} bytes from C{start} on, as far as the object has
    them, and the size of the object in bytes.

    @param length: None: up to the end of the object.
    @raise WrongRange: the answer does not have them, or not the size.
    """
    at, size = _extent(answer)
    stop = size if length is None else min(start + length, size)
    if start >= size:
        return b"", size
    return _cut(answer, at, start, stop), size


def suffix_of(answer: Answer, length: int) -> tuple[bytes, int]:
    """
    Return the last C{length} bytes of an object (the whole object, if it is
    shorter), and the size of the object in bytes.

    @raise WrongRange: the answer does not have them, or not the size.
    """
    at, size = _extent(answer)
    return _cut(answer, at, max(0, size - length), size), size


def _extent(answer: Answer) -> tuple[int, int]:
    """
    The position of the first byte of an answer in the object, and the object's
    size.
    """
    said = answer.headers.get("content-range")
    if said is None and answer.status == 200:
        return 0, len(answer.body)
    found = _RANGE.fullmatch(said or "")
    if found is not None and answer.status in (200, 206):
        first, last, size = (int(number) for number in found.groups())
        if last - first + 1 == len(answer.body) and last < size:
            return first, size
    raise _wrong(answer)


def _cut(answer: Answer, at: int, start: int, stop: int) -> bytes:
    """
    The bytes from C{start} to C{stop} of the object, of which the answer begins
    with byte C{at}.
    """
    if not at <= start <= stop <= at + len(answer.body):
        raise _wrong(answer)
    return answer.body[start - at : stop - at]


def _wrong(answer: Answer) -> WrongRange:
    said = answer.headers.get("content-range", "none")
    return WrongRange(
        f"the answer is not what was asked for: status {answer.status}, {len(answer.body)} bytes,"
        f" Content-Range: {said}"
    )
