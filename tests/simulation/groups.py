"""
The checker of groups: their generations and committed offsets do not go back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from tests.simulation.checker import Checker

Name = tuple[str, int]


@attrs.frozen(eq=False)
class Sent:
    """
    A commit that was sent, for one partition.

    @ivar newest: The newest generation that was known when it was sent.
    """

    group: str
    name: Name
    generation: int
    offset: int
    newest: int


@attrs.define
class Committed:
    """
    The offsets that may be committed for one partition.

    @ivar sure: The last that is known to be.
    @ivar perhaps: Sent later than that, outcome not known.
    """

    sure: int = -1
    perhaps: list[Sent] = attrs.field(factory=list)


class Groups:
    """
    Knows every generation and every commit.
    """

    def __init__(self, checker: Checker, coordinates: Callable[[int, str], bool]) -> None:
        """
        @param coordinates: Whether a broker owns the shard of a group now.
        """
        self._checker = checker
        self._coordinates = coordinates
        self._newest: dict[str, int] = {}
        self._members: dict[tuple[str, str], int] = {}
        self._shares: dict[tuple[str, int], dict[Name, str]] = {}
        self._commits: dict[tuple[str, Name], Committed] = {}
        self.commits = 0
        self.stale = 0

    def synced(
        self,
        group: str,
        generation: int,
        member_id: str,
        names: Sequence[Name],
        broker_id: int,
    ) -> None:
        """
        A member has got its share in a generation.
        """
        if not self._coordinates(broker_id, group):
            # A coordinator that is cut off from the metadata store still answers
            # from memory to members of its last generation; it commits nothing.
            self.stale += 1
            return
        key = group, member_id
        before = self._members.get(key, -1)
        self._checker.expect(
            generation >= before, f"{group}: {member_id} was in {before}, is in {generation}"
        )
        self._members[key] = generation
        self._newest[group] = max(generation, self._newest.get(group, -1))
        shares = self._shares.setdefault((group, generation), {})
        for name in names:
            owner = shares.setdefault(name, member_id)
            self._checker.expect(
                owner == member_id, f"{group} {generation}: {name} is {owner}'s and {member_id}'s"
            )

    def committing(
        self, group: str, generation: int, offsets: Mapping[Name, int]
    ) -> dict[Name, Sent]:
        """
        A commit is on its way.
        """
        newest = self._newest.get(group, -1)
        tokens = {}
        for name, offset in offsets.items():
            sent = tokens[name] = Sent(group, name, generation, offset, newest)
            self._of(group, name).perhaps.append(sent)
        return tokens

    def _of(self, group: str, name: Name) -> Committed:
        return self._commits.setdefault((group, name), Committed())

    def committed(self, sent: Sent) -> None:
        """
        A commit was acknowledged.
        """
        self.commits += 1
        self._checker.expect(
            sent.generation >= sent.newest,
            f"{sent} was acknowledged to a generation of the past",
        )
        self._is_done(self._of(sent.group, sent.name), sent)

    def _is_done(self, known: Committed, sent: Sent) -> None:
        if sent in known.perhaps:
            known.sure = sent.offset
            del known.perhaps[: known.perhaps.index(sent) + 1]

    def fetched(
        self, group: str, generation: int, name: Name, offset: int, broker_id: int
    ) -> None:
        """
        A coordinator has answered OffsetFetch.
        """
        if generation < self._newest.get(group, -1) or not self._coordinates(broker_id, group):
            return  # the answer is out of date, or may be
        known = self._of(group, name)
        if offset == known.sure:
            return
        for sent in known.perhaps:
            if sent.offset == offset:
                self._is_done(known, sent)
                return
        self._checker.expect(
            False,
            f"{group} {name}: {offset} is told to be committed; it is {known.sure}, or of"
            f" {[sent.offset for sent in known.perhaps]}",
        )
