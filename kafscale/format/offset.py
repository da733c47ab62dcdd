"""
The offsets that a group has committed.
"""

from __future__ import annotations

from operator import index
from typing import Any

import attrs

from kafscale.format.record import StoredEntry, read_record


@attrs.frozen
class CommittedOffset:
    """
    The position of a group in one partition: the entry under C{offsets/}, whose
    key has the group's name and the partition.

    @ivar offset: The offset of the next record to read.
    @ivar leader_epoch: Of the last record read; -1 if unknown.
    @ivar metadata: Any text of the consumer's.
    @ivar committed_ms: When it was committed, in milliseconds since 1970.
    @ivar expires_ms: When it expires, likewise; -1 if the consumer did not say
        (OffsetCommit 2 to 4 can).
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    committed_ms: int = -1
    expires_ms: int = -1

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store: C{expires_ms} is absent if it is -1.
        """
        value = {
            "offset": self.offset,
            "epoch": self.leader_epoch,
            "metadata": self.metadata,
            "at_ms": self.committed_ms,
        }
        if self.expires_ms >= 0:
            value["expires_ms"] = self.expires_ms
        return value

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> CommittedOffset:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(
            offset: int, epoch: int, metadata: str, at_ms: int, expires_ms: int = -1
        ) -> CommittedOffset:
            return cls(index(offset), index(epoch), metadata, index(at_ms), index(expires_ms))

        return read_record("offsets", entry, lambda value: read(**value))
