"""
The records of consumer groups: of a shard of groups, and of one group.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from operator import index
from typing import Any

import attrs

from kafscale.format.record import StoredEntry, read_record


@attrs.frozen
class ShardRecord:
    """
    The entry under C{group-shards/}. Each write to a group of the shard puts it
    anew (rule 22).

    @ivar owner: The incarnation that coordinates the shard's groups.
    @ivar since: The sequence with which the owner took the shard.
    @ivar sequence: How many commits the shard has had.
    """

    owner: int = attrs.field(converter=index)
    since: int = attrs.field(converter=index)
    sequence: int = attrs.field(converter=index)

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return attrs.asdict(self)

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> ShardRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """
        return read_record("group-shards", entry, lambda value: cls(**value))


@attrs.frozen
class MemberRecord:
    """
    A member of a group, in the group's record.

    @ivar instance_id: Set for a static member (KIP-345).
    @ivar client_host: The address that the member's connection came from.
    @ivar session_ms: Its session timeout.
    @ivar rebalance_ms: Its rebalance timeout.
    @ivar protocols: Pairs of name and metadata, the preferred one first.
    @ivar assignment: As the leader of the group wrote it.
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_ms: int
    rebalance_ms: int
    protocols: tuple[tuple[str, bytes], ...]
    assignment: bytes

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the group's record; bytes are base64.
        """
        return {
            "id": self.member_id,
            "instance": self.instance_id,
            "client": self.client_id,
            "host": self.client_host,
            "session_ms": self.session_ms,
            "rebalance_ms": self.rebalance_ms,
            "protocols": [[name, _text(data)] for name, data in self.protocols],
            "assignment": _text(self.assignment),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MemberRecord:
        """
        From the group's record.
        """

        def read(
            id: str,
            instance: str | None,
            client: str,
            host: str,
            session_ms: int,
            rebalance_ms: int,
            protocols: list[tuple[str, str]],
            assignment: str,
        ) -> MemberRecord:
            return cls(
                id,
                instance,
                client,
                host,
                index(session_ms),
                index(rebalance_ms),
                tuple((name, b64decode(data)) for name, data in protocols),
                b64decode(assignment),
            )

        return read(**value)


@attrs.frozen
class GroupRecord:
    """
    The entry under C{groups/}, whose key has the group's name.

    @ivar generation: The generation that the members are in.
    @ivar protocol_type: For example C{consumer}; None before the first member.
    @ivar protocol: The assignor that the members use; None while there are none.
    @ivar leader: The member id of the leader, or None.
    @ivar since_ms: When the group's state last changed, in ms since 1970.
    """

    generation: int
    protocol_type: str | None
    protocol: str | None
    leader: str | None
    since_ms: int
    members: tuple[MemberRecord, ...]

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return {
            "generation": self.generation,
            "type": self.protocol_type,
            "protocol": self.protocol,
            "leader": self.leader,
            "since_ms": self.since_ms,
            "members": [member.to_json() for member in self.members],
        }

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> GroupRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(
            generation: int,
            type: str | None,
            protocol: str | None,
            leader: str | None,
            since_ms: int,
            members: list[Mapping[str, Any]],
        ) -> GroupRecord:
            return cls(
                index(generation),
                type,
                protocol,
                leader,
                index(since_ms),
                tuple(MemberRecord.from_json(member) for member in members),
            )

        return read_record("groups", entry, lambda value: read(**value))


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")
