"""
Stored data of earlier versions, as plain files.

Each set is what a history of `tests.format.history` has left behind::

    level-1/                  the formats, as they were when the set was made
        directory/            the set
            objects/          the objects: their keys are the paths
            metadata.jsonl    the entries of the metadata store, by their keys;
                              the first line is the revision of the store
            expected.json     what is in it, as its clients know
            records.jsonl     its records: partition, offset, timestamp in ms,
                              key, value, headers

A set that is there is never rewritten. Another level is another directory,
made by C{python -m tests.format.golden} when L{LEVEL} has been raised.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from kafscale.format import metadata_keys
from tests.format.cluster import Cluster
from tests.format.history import HISTORIES, replay

LEVEL = "level-1"
"""Where what is stored now belongs."""

ROOT = Path(__file__).parent

LEVELS = tuple(sorted(path.name for path in ROOT.glob("level-*")))

SETS = tuple(HISTORIES)
"""Those of the present level."""

VALUE = ',"value":'
"""What comes before the value, the last in a line, which is as it is stored."""

HINT = (
    "What is stored for a fixed history has changed. If that is intended, it needs a new level"
    " (docs/development.md, Golden data). A level that was never released may be made again by:"
    " python -m tests.format.golden"
)


@attrs.frozen
class Entry:
    """
    An entry of the metadata store.

    @ivar value: JSON text, as it is stored.
    @ivar leased: Whether it goes with the process that put it.
    """

    key: str
    revision: int
    value: str
    leased: bool


@attrs.frozen
class Golden:
    """
    One set.

    @ivar objects: Their bytes by their keys.
    @ivar metadata: Lines of JSON.
    @ivar expected: See L{Cluster.expected}.
    @ivar records: See L{Cluster.expected_records}.
    """

    objects: Mapping[str, bytes]
    metadata: Sequence[str]
    expected: Mapping[str, Any]
    records: Sequence[str]

    @property
    def revision(self) -> int:
        """
        Of the metadata store.
        """
        return int(json.loads(self.metadata[0])["revision"])

    def entries(self) -> list[Entry]:
        """
        Those of the metadata store.
        """
        found = []
        for line in self.metadata[1:]:
            each = json.loads(line)
            value = line[line.index(VALUE) + len(VALUE) : -1]
            found.append(Entry(each["key"], each["revision"], value, each.get("lease", False)))
        return found


def read(name: str, level: str = LEVEL) -> Golden:
    """
    A set as it stands in the repository.
    """
    folder = ROOT / level / name
    objects = folder / "objects"
    return Golden(
        {
            path.relative_to(objects).as_posix(): path.read_bytes()
            for path in sorted(objects.rglob("*"))
            if path.is_file()
        },
        _lines(folder / "metadata.jsonl"),
        json.loads((folder / "expected.json").read_text("utf-8")),
        _lines(folder / "records.jsonl"),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def make(name: str) -> Golden:
    """
    A set as it is when it is made now.
    """
    with TemporaryDirectory(prefix="kafscale-golden-") as folder:
        return of(replay(name, folder))


def of(cluster: Cluster) -> Golden:
    """
    What a cluster has left behind.
    """
    return Golden(
        cluster.stored_objects(),
        cluster.stored_entries(),
        json.loads(json.dumps(cluster.expected())),
        [json.dumps(record, ensure_ascii=False) for record in cluster.expected_records()],
    )


def write(name: str, golden: Golden, level: str = LEVEL) -> None:
    """
    Put a set into the repository, in the place of the one that is there.
    """
    folder = ROOT / level / name
    shutil.rmtree(folder, ignore_errors=True)
    for key, data in golden.objects.items():
        path = folder / "objects" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for kind, lines in (("metadata", golden.metadata), ("records", golden.records)):
        (folder / f"{kind}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    text = json.dumps(golden.expected, indent=1, ensure_ascii=False)
    (folder / "expected.json").write_text(f"{text}\n", "utf-8")


def differences(golden: Golden, made: Golden) -> Iterator[str]:
    """
    In what a set is not what it was.
    """
    for key in sorted(golden.objects.keys() | made.objects.keys()):
        yield from _difference(f"object {key}", golden.objects.get(key), made.objects.get(key))
    before, after = _by_key(golden), _by_key(made)
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None or new is None or not _may_follow(old, new):
            what = f"metadata {key}" if key else "the revision of the metadata store"
            yield from _difference(what, _encoded(old), _encoded(new))
    for part in sorted(golden.expected.keys() | made.expected.keys()):
        if golden.expected.get(part) != made.expected.get(part):
            yield f"what clients know of {part} is not what it was"
    if golden.records != made.records:
        yield "the records that clients know are not what they were"


def _difference(what: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    if old is None:
        yield f"{what} was not there"
    elif new is None:
        yield f"{what} is missing"
    elif old != new:
        pairs = enumerate(zip_longest(old, new))
        at = next(number for number, (one, other) in pairs if one != other)
        yield (
            f"{what} differs from byte {at} on: {old[at : at + 20]!r} was stored,"
            f" now it is {new[at : at + 20]!r} (of {len(old)} bytes, now {len(new)})"
        )


def _by_key(golden: Golden) -> dict[str, str]:
    return {json.loads(line).get("key", ""): line for line in golden.metadata}


def _encoded(line: str | None) -> bytes | None:
    return None if line is None else line.encode()


def _may_follow(old: str, new: str) -> bool:
    """
    Whether an entry may be so now. A broker's registration goes with the broker, so it may
    tell more than it did, and tells the version of the software. Levels may have risen,
    for what is not in the history.
    """
    before, after = json.loads(old), json.loads(new)
    was, now = before.pop("value", None), after.pop("value", None)
    if before != after:
        return False
    if before.get("key") == metadata_keys.LEVELS:
        return bool(was.keys() == now.keys()) and all(_risen(was[each], now[each]) for each in was)
    if before.get("lease"):
        known = {**now, **was, "version": now["version"], "levels": now["levels"]}
        return bool(known == now) and _risen(was["levels"], now["levels"])
    return bool(was == now)


def _risen(was: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """
    Whether no level has fallen.
    """
    return all(now.get(name, 0) >= level for name, level in was.items())
