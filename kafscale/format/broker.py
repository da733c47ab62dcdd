"""
A broker's registration.

It is under a lease, so it goes when the broker does, and only that broker puts
it. A reader ignores fields that it does not know: during an upgrade brokers
of two versions read one another's registrations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import index
from typing import Any

import attrs

from kafscale.format.record import StoredEntry, read_record


def _copy(levels: Mapping[str, int]) -> dict[str, int]:
    return dict(levels)


def _listeners(found: Iterable[Iterable[Any]]) -> tuple[tuple[str, str, int], ...]:
    return tuple((str(name), str(host), index(port)) for name, host, port in found)


@attrs.frozen
class BrokerRecord:
    """
    The entry under C{brokers/}.

    @ivar host: The name or address at which clients reach the broker.
    @ivar port: The same of its port.
    @ivar rack: Its rack (C{KAFSCALE_BROKER_RACK}), or None.
    @ivar weight: Its part of the work, in relation to the others'.
    @ivar version: Of its software, for operators to read.
    @ivar incarnation: The broker's present incarnation.
    @ivar phase: C{starting}, C{serving} or C{leaving}
        (L{kafscale.interfaces.Phase}).
    @ivar levels: The highest level that it reads of each format of which that
        is above 0 (`kafscale.format.levels`).
    @ivar listeners: Name, host and port of each listener; absent if there is one
        only, without a name. C{host} and C{port} are those of the first.
    """

    host: str
    port: int = attrs.field(converter=index)
    rack: str | None
    weight: float = attrs.field(converter=float)
    version: str
    incarnation: int = attrs.field(converter=index)
    phase: str
    levels: Mapping[str, int] = attrs.field(factory=dict, converter=_copy)
    listeners: tuple[tuple[str, str, int], ...] = attrs.field(default=(), converter=_listeners)

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store: C{levels} and C{listeners} are absent if
        they are empty.
        """
        value = attrs.asdict(self)
        if not self.levels:
            del value["levels"]
        value["listeners"] = [list(each) for each in self.listeners]
        if not self.listeners:
            del value["listeners"]
        return value

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> BrokerRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        """

        def read(value: Mapping[str, Any]) -> BrokerRecord:
            return cls(**{name: value[name] for name in _FIELDS if name in value})

        return read_record("brokers", entry, read)


_FIELDS = tuple(field.name for field in attrs.fields(BrokerRecord))
