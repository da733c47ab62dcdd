"""
What is found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import IntEnum

import attrs


class Weight(IntEnum):
    """
    What a finding means.
    """

    NOTE = 0  # worth knowing, and no harm
    GARBAGE = 1  # not needed; the broker deletes it
    WRONG = 2  # not as the rules of the log want it


@attrs.frozen
class Finding:
    """
    @ivar where: A key of the object store or of the metadata.
    """

    weight: Weight
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.weight.name.lower()}: {self.where}: {self.text}"


class Findings(list[Finding]):
    """
    Several, in the order in which they were found.
    """

    def note(self, where: str, text: str) -> None:
        """
        Add what is no harm.
        """
        self.append(Finding(Weight.NOTE, where, text))

    def garbage(self, where: str, text: str) -> None:
        """
        Add what is not needed.
        """
        self.append(Finding(Weight.GARBAGE, where, text))

    def wrong(self, where: str, text: str) -> None:
        """
        Add what should not be so.
        """
        self.append(Finding(Weight.WRONG, where, text))

    @property
    def is_wrong(self) -> bool:
        """
        Whether something should not be so.
        """
        return any(each.weight is Weight.WRONG for each in self)


async def twice(look: Callable[[bool], Awaitable[Findings]]) -> Findings:
    """
    What a look finds. A broker may have gone on between the reading of the
    metadata and that of an object; so what is wrong counts only if a second
    look, at what the metadata says then, finds the same.

    @param look: Called with whether the metadata is to be read anew.
    """
    first = await look(False)
    if not first.is_wrong:
        return first
    second = set(await look(True))
    return Findings(each for each in first if each.weight is not Weight.WRONG or each in second)
