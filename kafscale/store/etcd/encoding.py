"""
Keys, values and numbers as etcd's JSON gateway has them.
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
    The end of the range of all keys that begin with a prefix, in base64: the
    prefix with its last byte plus one.

    @param prefix: Not empty.
    """
    data = bytearray(prefix.encode())
    while data[-1] == 0xFF:
        del data[-1]  # UTF-8 has no such byte, but this is what etcd's clients do
    data[-1] += 1
    return b64encode(bytes(data)).decode()


def name_in(kv: dict[str, Any]) -> str:
    """
    The key of a C{KeyValue} of etcd.
    """
    return b64decode(kv["key"]).decode()


def revision_in(answer: dict[str, Any]) -> int:
    """
    The revision of etcd, from the header of an answer.
    """
    return int(answer["header"]["revision"])


def entry_in(kv: dict[str, Any], prefix: str) -> Entry:
    """
    The entry of a C{KeyValue} of etcd.

    @param prefix: The beginning of the key that the entry does not have.
    @raise ValueError: the value is not JSON, so Kafscale did not write it.
    """
    value = json.loads(b64decode(kv.get("value", "")))
    return Entry(name_in(kv).removeprefix(prefix), value, int(kv["mod_revision"]))
