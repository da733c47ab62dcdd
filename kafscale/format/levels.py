"""
The levels of every stored format, and which of them this version reads.

A level is a layout. A version reads every level of a format up to the highest
that it knows. Level 0 is the layout of the first release. To add a level, add a
line to L{LEVELS} that says what the layout adds, and the layout itself to the
module of the format. `kafscale.cluster.levels` decides when a cluster writes a
new level; the rule is in docs/storage.md (Levels).

Stored data states its level:

  - in the trailer of an object, as the version, which is the level + 1
    (`kafscale.format.trailer`);
  - in the first byte of the producers' states, likewise;
  - in the field C{level} of JSON, which is absent at level 0.

The formats of objects are named after the kinds of objects, and the formats of
entries after the kinds of keys. A format that a version does not know at all is
at level 0 for that version: there is no data in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kafscale.format.errors import NewerFormat

LEVELS: Mapping[str, Sequence[str]] = {
    # Objects
    "slot": [
        "a row of 68 bytes for each partition",
        "the headers of all batches state the largest timestamps of their records",
    ],
    "seal": ["JSON: the incarnation that made it"],
    "segment": [
        "offsets, an index of blocks, producers' states, leader epochs as JSON",
        "when it was written, and whether the headers' largest timestamps are true",
        "aborted transactions; only where there are transactions",
    ],
    "bundle": ["the number of the first slot, and the length of each"],
    "volume": ["a row of 40 bytes for each chapter"],
    "producers": [
        "the last batches of each producer",
        "from which id on producers are new",
        "numbers of transactions, and open ones; only where there are transactions",
    ],
    "cluster": ["JSON: the cluster's id"],
    "milestone": ["JSON: its name"],
    # Entries of the metadata store
    "cluster/id": ["a string"],
    "store": ["kind, bucket and namespace of the object store"],
    "last-incarnation": ["the id of a broker"],
    "lowest-incarnation": ["below which incarnations without a record are over for good"],
    "producer-ids": ["the first producer id that was not given out"],
    "levels": ["the levels required and in force"],
    "milestones": ["a list of names"],
    "login-secret": ["random bytes"],
    "brokers": ["address, rack, weight, version, incarnation and phase"],
    "incarnations": [
        "broker and trim mark; wound up; how it is fenced",
        "the incarnation does nothing without its record, which may go",
    ],
    "seals": ["the end of the journal, and the incarnation that recorded it"],
    "journals": ["the number of slots that are stored at least"],
    "names": ["the topic's id"],
    "topics": [
        "name, number of partitions, configuration, time of creation",
        "replicas assigned by hand, and their last changes",
    ],
    "partitions": ["leader, segments, leader epochs, journals, epochs in keys, chapters"],
    "tombstones": ["name, number of partitions, time of deletion"],
    "group-shards": ["owner, and how often it was written"],
    "groups": ["a generation and its members"],
    "offsets": ["offset, leader epoch, the consumer's note, times"],
    "transactional-ids": ["producer id, epoch, state, the partitions and groups of a transaction"],
    "acls": ["resource, principal, host, operation, permission"],
    "users": ["a SCRAM credential for each mechanism"],
    "delegation-tokens": ["owner, requester, renewers, times"],
    "quotas": ["entity, and the values of its quotas"],
}
"""What each level of each format adds to the one before; the index is the level."""


def highest_level(name: str) -> int:
    """
    The highest level of a format that this version reads; 0 of a format that
    it does not know.
    """
    return len(LEVELS.get(name, ("",))) - 1


def levels_read() -> dict[str, int]:
    """
    The highest level of each format that this version reads, without those of
    which it reads level 0 only: as a broker registers it.
    """
    return {name: len(levels) - 1 for name, levels in LEVELS.items() if len(levels) > 1}


def check_level(name: str, found: int) -> None:
    """
    Refuse data of a level that this version does not read.

    @raise NewerFormat: C{found} is above L{highest_level}.
    """
    if found > highest_level(name):
        raise NewerFormat(name, found, highest_level(name))


def check_json_level(name: str, value: Any) -> None:
    """
    The same for JSON, which has its level in the field C{level}.

    @param value: Plain JSON data.
    @raise NewerFormat: the level is above L{highest_level}.
    """
    if isinstance(value, dict) and "level" in value:
        check_level(name, int(value["level"]))
