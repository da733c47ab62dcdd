"""
Mutations of the broker's code, each of which breaks a promise about what brokers know of
the cluster: users, rights and each other.

Each function takes the original function and returns its replacement.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from kafscale.access.authorization.authorizer import Rights
from kafscale.cluster.membership import Membership
from kafscale.cluster.records import ClusterRecords
from kafscale.interfaces import Compare
from kafscale.store.etcd.watch import Watch

# -- brokers ------------------------------------------------------------------


def announce_once(original: Any) -> Any:
    """
    Announce nothing of what has changed while a registration was made again.
    """

    async def announce_again(self: Membership) -> None:
        return None

    return announce_again


# -- users and rights ---------------------------------------------------------


def answer_at_once(original: Any) -> Any:
    """
    Answer when a change is committed, whether this broker has it or not.
    """

    def until(self: ClusterRecords, revision: int) -> Deferred[None]:
        return succeed(None)

    return until


def expect_the_best(original: Any) -> Any:
    """
    Take a commit of unknown outcome for done.
    """

    def shows(self: ClusterRecords, wanted: Mapping[str, Any]) -> bool:
        return True

    return shows


def ignore_deletions(original: Any) -> Any:
    """
    Create a record whatever was deleted since that was decided.
    """

    def compares(self: ClusterRecords, keys: Collection[str]) -> list[Compare]:
        return [each for each in original(self, keys) if each.key != self._prefix]

    return compares


def begin_after(original: Any) -> Any:
    """
    Begin after the revision that was reported.
    """

    def first_revision(self: Watch) -> int:
        revision: int = original(self)
        return revision + 1

    return first_revision


def miss_no_key(original: Any) -> Any:
    """
    Miss no key of those that are known, whichever there are.
    """

    def names(self: Watch, kvs: Sequence[dict[str, Any]]) -> list[str]:
        return list(self._known)

    return names


def decide_once(original: Any) -> Any:
    """
    Remember decisions however ACLs change.
    """

    def renew(self: Rights) -> None:
        return None

    return renew
