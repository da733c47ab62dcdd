"""
Brokers that break one of the log's rules each (docs/architecture.md has them), to
see whether the simulation finds out.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from kafscale.group.shard import Shard
from kafscale.log import log
from kafscale.log.journal.fencing import Marked
from kafscale.log.journal.journal import Journal
from kafscale.log.partition import record_changes
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.tail import Tail
from kafscale.log.reading.segments import Segments
from kafscale.log.replicas.replica import Replica
from kafscale.log.retention import trimming
from kafscale.log.retention.log_start import LogStarts
from kafscale.log.rolling import releasing
from kafscale.log.rolling.writer import SegmentWriter
from kafscale.log.takeover import recovery, sealed_journals, sealing
from tests.hostile import Operation
from tests.simulation import broken
from tests.simulation.plan import STRICT, Plan

Change = tuple[Any, str, Callable[[Any], Any]]
"""Where, what, and what to make of it."""


@attrs.frozen
class Mutation:
    """
    @ivar name: The rule's number, with a letter where it is broken in several
        ways.
    @ivar says: What these brokers do.
    @ivar changes: How they come to.
    @ivar plan: What the history has to be like for it to matter before long.
    """

    name: str
    says: str
    changes: Sequence[Change]
    plan: Plan = STRICT

    @contextmanager
    def applied(self) -> Iterator[None]:
        """
        Until the end every broker is like that.
        """
        before = [(owner, name, owner.__dict__[name]) for owner, name, _ in self.changes]
        try:
            for owner, name, change in self.changes:
                setattr(owner, name, change(owner.__dict__[name]))
            yield
        finally:
            for owner, name, original in reversed(before):
                setattr(owner, name, original)


BUSY = Plan({"lease lost": 10, "slow": 10, "etcd cut": 4}, 5.0, ((0.03, 0.01),), 0.5)
"""Brokers that are alive, are taken for dead, and trim while others walk over
their journals."""



def _is_release(operation: Operation) -> bool:
    """
    Whether it is a commit by which a partition is released.
    """
    if operation.kind != "/v3/kv/txn":
        return False
    puts = [each.get("request_put") for each in operation.arguments[0]["success"]]
    return any(put and b'"leader":-1' in b64decode(put["value"]) for put in puts)


UNHEARD = Plan({"stop": 10, "another broker": 10}, 15.0, ((0.0, 0.0),), 1.0, doomed=_is_release)
"""A schedule that is written for the case: each release is done, and its
answer is lost. By chance alone that takes hundreds of seeds."""

LATE = Plan({"lease lost": 10, "slow": 10}, 2.0, ((0.03, 0.01),), 0.3)
"""Commits take long, and come when others have taken over."""

DYING = Plan({"crash": 10, "power loss": 10, "slow": 15}, 4.0, ((0.03, 0.01),), 1.0)
"""Brokers die before they are done, and so do their successors."""

DOUBTFUL = Plan({"stop": 10, "another broker": 10, "lease lost": 5}, 6.0, ((0.25, 0.02),), 1.5)
"""Much is handed over, and nobody knows what came of a commit."""

IN_RACKS = Plan(racks=1.0)
"""Consumers read from brokers that do not lead."""

CARELESS = Plan(careless=1.0)
"""Marks stop brokers, and not seals."""

#: One for each rule, at least.
MUTATIONS = [
    Mutation(
        "01",
        "acknowledge each slot when it is durable",
        [(Journal, "_settle", broken.settle_any)],
    ),
    Mutation(
        "02",
        "take a seal for their own slot",
        [(Journal, "_is_mine", broken.anything_is_mine)],
    ),
    Mutation(
        "02b",
        "look for no mark",
        [(Marked, "passes", broken.look_for_no_mark)],
        CARELESS,
    ),
    Mutation(
        "03",
        "seal no missing slot",
        [(sealing, "_seal_first_missing", broken.seal_nothing)],
    ),
    Mutation(
        "04",
        "do not read the trim mark again",
        [(sealing, "settle", broken.without_guards)],
        BUSY,
    ),
    Mutation(
        "05",
        "record an end over another",
        [(sealing, "settle", broken.overwriting)],
    ),
    Mutation(
        "06",
        "claim with no end recorded",
        [(sealing, "settle", broken.record_nothing)],
    ),
    Mutation(
        "07",
        "trim though they are sealed",
        [(trimming, "settle", broken.without_guards)],
        LATE,
    ),
    Mutation(
        "08",
        "trim what is not rolled",
        [(Journal, "trimmable", broken.trim_what_is_settled)],
    ),
    Mutation(
        "09",
        "delete under a trim mark in doubt",
        [(trimming, "settle", broken.try_once)],
    ),
    Mutation(
        "10",
        "delete seals",
        [(sealed_journals, "footer", broken.nothing_is_a_seal)],
    ),
    Mutation(
        "11",
        "do not compare a record's revision",
        [(record_changes, "settle_all", broken.compare_the_guards_only)],
        DOUBTFUL,
    ),
    Mutation(
        "12",
        "claim whatever has happened",
        [(log, "commit_claims", broken.claim_whatever)],
        BUSY,
    ),
    Mutation(
        "13",
        "name no other's journal",
        [(recovery, "_recover", broken.name_only_mine)],
        DYING,
    ),
    Mutation(
        "14",
        "roll what is not acknowledged",
        [(Tail, "visible_batches", broken.all_batches)],
    ),
    Mutation(
        "15",
        "adopt no segment",
        [(SegmentWriter, "_create", broken.adopt_nothing)],
    ),
    Mutation(
        "16",
        "commit rolled_to before the segment is there",
        [(SegmentWriter, "_create", broken.make_later)],
        DYING,
    ),
    Mutation(
        "17",
        "release with records under way",
        [
            (Partition, "settled", broken.wait_for_nothing),
            (releasing, "_released", broken.release_as_it_is),
        ],
    ),
    Mutation(
        "18",
        "lead on after a release in doubt",
        [(releasing, "_commit", broken.go_on_when_in_doubt)],
        UNHEARD,
    ),
    Mutation(
        "19",
        "delete before the log start is committed",
        [(LogStarts, "move", broken.delete_first)],
    ),
    Mutation(
        "20",
        "start the log past rolled_to",
        [(LogStarts, "move", broken.do_not_roll)],
    ),
    Mutation(
        "21",
        "keep no last segment",
        [(Segments, "base_of", broken.keep_none)],
    ),
    Mutation(
        "22",
        "write what a shard has, whoever owns it",
        [(Shard, "_attempt", broken.compare_nothing)],
    ),
    Mutation(
        "23",
        "show not the whole run, where they do not lead",
        [(Replica, "fed", broken.feed_the_newest)],
        IN_RACKS,
    ),
]
