"""
What a verification finds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import IntEnum

import attrs

Report = Callable[[str], None]
"""Takes a line of the report."""


class Weight(IntEnum):
    """
    The severity of a finding.
    """

    NOTE = 0  # worth knowing, and no harm
    GARBAGE = 1  # not needed; the broker deletes it
    WRONG = 2  # not as the rules of the log want it


@attrs.frozen
class Finding:
    """
    One line of a verification.

    @ivar where: The key of an object or of an entry of the metadata store, or a
        prefix of keys.
    @ivar text: The finding, without the key.
    """

    weight: Weight
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.weight.name.lower()}: {self.where}: {self.text}"


class Findings(list[Finding]):
    """
    Findings in the order in which they were made.
    """

    def note(self, where: str, text: str) -> None:
        """
        Add a finding that does no harm.
        """
        self.append(Finding(Weight.NOTE, where, text))

    def garbage(self, where: str, text: str) -> None:
        """
        Add an object that is not needed.
        """
        self.append(Finding(Weight.GARBAGE, where, text))

    def wrong(self, where: str, text: str) -> None:
        """
        Add a violation of the rules of the log.
        """
        self.append(Finding(Weight.WRONG, where, text))

    @property
    def is_wrong(self) -> bool:
        """
        Whether there is a violation.
        """
        return any(each.weight is Weight.WRONG for each in self)


async def twice(look: Callable[[bool], Awaitable[Findings]]) -> Findings:
    """
    Return the findings of a check. A violation counts only if a second check,
    with metadata that was read anew, finds it again: a broker may have gone on
    after the metadata was read and before the object was.

    @param look: One check; called with whether to read the metadata anew.
    """
    first = await look(False)
    if not first.is_wrong:
        return first
    second = set(await look(True))
    return Findings(each for each in first if each.weight is not Weight.WRONG or each in second)
