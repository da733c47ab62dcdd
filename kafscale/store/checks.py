"""
Checks what stores are called with.

The rules are the same for every object store, and for every metadata store, so
that what works on one works on all. A key of an object is safe as a path below
a directory, and as a key in a bucket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from kafscale.interfaces import MAX_COMMIT, Compare, Delete, Put

_PART = r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,254}"
_KEY = re.compile(rf"(?:{_PART}/)*{_PART}")
_PREFIX = re.compile(rf"(?:{_PART}/)*(?:{_PART})?")
_NAME = re.compile(_PART)

LONGEST = 1024
"""The maximum length of an object's key in bytes, which is S3's."""

Operation = tuple[str, str | None, int | None]
"""An operation of a commit that was checked: the key, its value as JSON text
(None to delete it), and the lease."""


def check_key(key: str) -> str:
    """
    Return an object's key, if it is valid: parts of ``[A-Za-z0-9._=-]``, each
    of 1 to 255 characters and not beginning with a dot, joined by ``/``.

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
    Return a prefix, if some valid key begins with it. The empty prefix is
    valid.

    @raise ValueError: no key can begin with it.
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
    Check a range of bytes of an object.

    @param length: None: up to the end of the object.
    @raise ValueError: a number is negative.
    """
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"not a range of bytes: {length} from {start}")


def check_commit(
    compares: Sequence[Compare], operations: Sequence[Put | Delete]
) -> list[Operation]:
    """
    Return the operations of a commit, with their values as JSON text.

    @raise ValueError: there are more than L{MAX_COMMIT} compares or operations, two
        operations have the same key, or a value is not plain JSON data.
    """
    if max(len(compares), len(operations)) > MAX_COMMIT:
        raise ValueError(f"a commit has at most {MAX_COMMIT} compares, and as many operations")
    if len({operation.key for operation in operations}) < len(operations):
        raise ValueError("a commit has at most one operation for each key")
    return [_encode(operation) for operation in operations]


def _encode(operation: Put | Delete) -> Operation:
    operation.key.encode()  # an invalid key fails here, and not together with other commits
    if isinstance(operation, Delete):
        return operation.key, None, None
    try:
        text = json.dumps(operation.value, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise ValueError(f"{operation.key}: {error}") from None
    return operation.key, text, operation.lease
