"""
Whether an incarnation may still write.

Its successor stops it by an entry under C{seals/}. When nothing of it is left
that entry goes, and so does the incarnation's own record, in one commit. So an
incarnation may write while it has a record, and no seal (rule 27).
"""

from __future__ import annotations

from kafscale.format import metadata_keys
from kafscale.interfaces.stores import Compare


def alive(incarnation: int) -> tuple[Compare, ...]:
    """
    Return what holds in the metadata store while an incarnation may write: what
    its commits have to compare, and what has to hold before it acknowledges
    something where marks stop it.
    """
    return (
        Compare(metadata_keys.seal(incarnation), 0),
        Compare(metadata_keys.incarnation(incarnation), None),
    )
