"""
The records of client quotas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from kafscale.format.record import StoredEntry, read_record

QuotaEntity: TypeAlias = tuple[tuple[str, str | None], ...]
"""What a quota holds for: pairs of type (C{user}, C{client-id} or C{ip}) and name, in the
order of their types. A name that is None stands for all of that type that have no quota
of their own."""


@attrs.frozen
class QuotaRecord:
    """
    The entry under C{quotas/}: the quotas of one entity, as Kafka's C{QuotaRecord}. Its
    key is a digest of the entity (L{kafscale.format.metadata_keys.quota}).

    @ivar entity: Whose quotas.
    @ivar values: The quotas by their keys, such as C{producer_byte_rate}; never empty.
    """

    entity: QuotaEntity
    values: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return {"entity": [list(part) for part in self.entity], "values": dict(self.values)}

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> QuotaRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(
            entity: Sequence[tuple[str, str | None]], values: Mapping[str, float]
        ) -> QuotaRecord:
            return cls(
                tuple(("" + kind, name if name is None else "" + name) for kind, name in entity),
                {key: float(value) for key, value in values.items()},
            )

        return read_record("quotas", entry, lambda value: read(**value))
