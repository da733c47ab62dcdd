"""
Which keys an object may have.

The same for every object store, so that what works on one works on all: a
key is safe as a path below a directory and as a key of a bucket.
"""

from __future__ import annotations

import re

_PART = r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,254}"
_KEY = re.compile(rf"(?:{_PART}/)*{_PART}")
_PREFIX = re.compile(rf"(?:{_PART}/)*(?:{_PART})?")
_NAME = re.compile(_PART)

#: S3's limit for a key, in bytes.
LONGEST = 1024


def check_key(key: str) -> str:
    """
    The key itself, if it is one: parts of ``[A-Za-z0-9._=-]`` that do not
    begin with a dot, joined by ``/``.

    @raise ValueError: it is not.
    """
    if not is_key(key):
        raise ValueError(f"not an object key: {key!r}")
    return key


def is_key(key: str) -> bool:
    """
    Whether an object may have this key.
    """
    return len(key) <= LONGEST and _KEY.fullmatch(key) is not None


def check_prefix(prefix: str) -> str:
    """
    The prefix itself, if some key can begin with it (so may the empty one).

    @raise ValueError: none can.
    """
    if len(prefix) > LONGEST or _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"no object key begins with {prefix!r}")
    return prefix


def is_part(name: str) -> bool:
    """
    Whether C{name} may stand between the slashes of a key.
    """
    return _NAME.fullmatch(name) is not None


def check_range(start: int, length: int | None) -> None:
    """
    @raise ValueError: a range of bytes cannot begin or be so.
    """
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"not a range of bytes: {length} from {start}")
