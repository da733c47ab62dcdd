"""
Keys, values and numbers as etcd's gateway has them.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from kafscale.interfaces import Entry


def key_of(key: str) -> str:
    """
    A key, in base64.
    """
    return b64encode(key.encode()).decode()


def end_of(prefix: str) -> str:
    """
    The end of the range of all keys that begin with C{prefix}, which is not
    empty.
    """
    data = bytearray(prefix.encode())
    while data[-1] == 0xFF:
        del data[-1]  # never of UTF-8, but cheap to be right about
    data[-1] += 1
    return b64encode(bytes(data)).decode()


def name_in(kv: dict[str, Any]) -> str:
    """
    The key of what etcd calls a key-value.
    """
    return b64decode(kv["key"]).decode()


def revision_in(answer: dict[str, Any]) -> int:
    """
    The store's revision, as an answer's header has it.
    """
    return int(answer["header"]["revision"])


def entry_in(kv: dict[str, Any], prefix: str) -> Entry:
    """
    An entry, its key without C{prefix}.

    @raise ValueError: its value is not ours.
    """
    value = json.loads(b64decode(kv.get("value", "")))
    return Entry(name_in(kv).removeprefix(prefix), value, int(kv["mod_revision"]))
