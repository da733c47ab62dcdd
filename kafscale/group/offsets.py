"""
How far a group has read, and when that is to be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from types import MappingProxyType

from kafscale.group.group import Group, State
from kafscale.group.subscription import subscribed
from kafscale.interfaces import CommittedOffset, Where


class Offsets:
    """
    The commits of one group: those that are durable, and which are on their
    way.
    """

    def __init__(self) -> None:
        self._offsets: dict[Where, CommittedOffset] = {}
        self._tickets = count()
        self._coming: dict[Where, set[int]] = {}

    def durable(self) -> Mapping[Where, CommittedOffset]:
        """
        What can be told.
        """
        return MappingProxyType(self._offsets)

    def all(self) -> list[Where]:
        """
        Of which partitions there are commits, or will be.
        """
        return list(dict.fromkeys([*self._offsets, *self._coming]))

    def begin(self, wanted: Iterable[Where]) -> int:
        """
        Commits for these are on their way. A ticket for L{end}.
        """
        ticket = next(self._tickets)
        for where in wanted:
            self._coming.setdefault(where, set()).add(ticket)
        return ticket

    def end(self, ticket: int, offsets: Mapping[Where, CommittedOffset], durable: bool) -> None:
        """
        These have arrived, or never will. What was removed after they set out
        is removed from the store after them, and does not come back here.
        """
        for where, offset in offsets.items():
            coming = self._coming.get(where, set())
            if ticket in coming:
                coming.remove(ticket)
                if not coming:
                    del self._coming[where]
                if durable:
                    self._offsets[where] = offset

    def put(self, where: Where, offset: CommittedOffset) -> None:
        """
        This one was in the store.
        """
        self._offsets[where] = offset

    def remove(self, wanted: Iterable[Where]) -> None:
        """
        These are to be removed from the store.
        """
        for where in wanted:
            self._offsets.pop(where, None)
            self._coming.pop(where, None)

    def expired(
        self, group: Group, now: float, retention: float, name_of: Mapping[object, str]
    ) -> list[Where]:
        """
        What is to be forgotten (KIP-211): of a group without members, some
        time after it lost them; of one that never had any, after the commit;
        and of one with members what they are not subscribed to any more.

        @param name_of: Names of topics by their id.
        """
        topics = subscribed(group)
        if group.state is State.STABLE and topics is not None:
            begin = None
        elif group.state is not State.EMPTY:
            return []
        else:
            topics = frozenset()
            begin = group.since if group.protocol_type else None

        def due(offset: CommittedOffset) -> bool:
            if offset.expires_ms >= 0:
                return now * 1000 >= offset.expires_ms
            # A commit after the last member has gone is a commit all the same.
            return now - max(begin or 0.0, offset.committed_ms / 1000) >= retention

        return [
            where
            for where, offset in self._offsets.items()
            if where not in self._coming and name_of.get(where[0]) not in topics and due(offset)
        ]
