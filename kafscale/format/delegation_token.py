"""
The record of a delegation token: what is stored of it.

The secret of a token, its HMAC, is not: every broker computes it from the token's id
and the secret key of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any, TypeAlias

import attrs

from kafscale.format.record import StoredEntry, read_record

PrincipalParts: TypeAlias = tuple[str, str]
"""Kind and name of a principal, such as C{("User", "alice")}."""


@attrs.frozen
class DelegationTokenRecord:
    """
    The entry under C{delegation-tokens/}, whose key has the token's id.

    @ivar owner: For whom clients with the token act.
    @ivar requester: Who has created it: the owner, or one who may do that for the owner.
    @ivar renewers: Others that may prolong and end it.
    @ivar issued_ms: When it was created, in milliseconds since 1970.
    @ivar max_ms: When it ends, however often it is prolonged; likewise.
    @ivar expires_ms: When it ends if it is not prolonged; likewise.
    """

    owner: PrincipalParts
    requester: PrincipalParts
    renewers: tuple[PrincipalParts, ...]
    issued_ms: int = attrs.field(converter=index)
    max_ms: int = attrs.field(converter=index)
    expires_ms: int = attrs.field(converter=index)

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return {
            "owner": list(self.owner),
            "requester": list(self.requester),
            "renewers": [list(each) for each in self.renewers],
            "issued_ms": self.issued_ms,
            "max_ms": self.max_ms,
            "expires_ms": self.expires_ms,
        }

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> DelegationTokenRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(
            owner: Sequence[str],
            requester: Sequence[str],
            renewers: Sequence[Sequence[str]],
            issued_ms: int,
            max_ms: int,
            expires_ms: int,
        ) -> DelegationTokenRecord:
            return cls(
                _parts(owner),
                _parts(requester),
                tuple(map(_parts, renewers)),
                issued_ms,
                max_ms,
                expires_ms,
            )

        return read_record("delegation-tokens", entry, lambda value: read(**value))


def _parts(value: Sequence[str]) -> PrincipalParts:
    kind, name = value
    return "" + kind, "" + name
