"""
Brokers that break one of the log's rules each (docs/architecture.md has them), to
see whether the simulation finds out.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from typing import Any
from zlib import crc32

import attrs

from kafscale.access.authorization.authorizer import Rights
from kafscale.cluster import membership
from kafscale.cluster.leadership import Leaderships
from kafscale.cluster.membership import Membership
from kafscale.cluster.records import ClusterRecords
from kafscale.format import metadata_keys, object_keys
from kafscale.group.shard import Shard
from kafscale.log import log
from kafscale.log.journal import fencing
from kafscale.log.journal.fencing import Marked
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.stored import StoredSlots
from kafscale.log.partition import record_changes
from kafscale.log.partition.partition import Partition
from kafscale.log.partition.producers import ProducerStates
from kafscale.log.partition.tail import Tail
from kafscale.log.reading.segments import Segments
from kafscale.log.replicas.replica import Replica
from kafscale.log.retention import trimming
from kafscale.log.retention.log_start import LogStartMover
from kafscale.log.rolling import releasing
from kafscale.log.rolling.volumes import Volumes
from kafscale.log.rolling.writer import SegmentWriter
from kafscale.log.takeover import recovery, sealed_journals, sealing
from kafscale.log.takeover.recovery import Recovery
from kafscale.services.records.produce import ProduceService
from kafscale.store.etcd.watch import Watch
from kafscale.store.identity import StoreIdentity
from tests.harness.hostile import Operation
from tests.simulation import broken, broken_views
from tests.simulation.plan import STRICT, Plan


@attrs.frozen
class Seam:
    """
    A function or a method of the broker that mutations replace. Most are
    private, because the rules are implemented in private code. All seams are
    below, and `tests.simulation.test_mutations` resolves each, so a renamed
    function fails that test with a clear message.

    @ivar owner: The class or module that has it.
    @ivar name: Its name there.
    """

    owner: Any
    name: str

    def original(self) -> Any:
        """
        Return the function or method as the broker has it.

        @raise LookupError: the owner has no such name.
        """
        try:
            return self.owner.__dict__[self.name]
        except KeyError:
            raise LookupError(
                f"{self.owner.__name__} has no {self.name}: if it was renamed, rename it in"
                f" {__name__}, too"
            ) from None

    def check(self, change: Callable[[Any], Any]) -> None:
        """
        Check that a mutation's replacement can be called as the original is:
        otherwise it would break no rule, but fail.

        @raise TypeError: the replacement has other parameters.
        """
        original = self.original()
        changed = change(original)
        if isinstance(original, property):
            original, changed = original.fget, changed.fget
        taken = signature(changed)
        for positional, named in _calls(signature(original)):
            try:
                taken.bind(*positional, **named)
            except TypeError as why:
                raise TypeError(f"{self.owner.__name__}.{self.name}: {why}") from None


def _calls(called: Signature) -> Iterator[tuple[list[None], dict[str, None]]]:
    """
    Arguments as they may come: all, and no more than have to.
    """
    for whole in (True, False):
        parameters = [
            each
            for each in called.parameters.values()
            if whole or each.default is Parameter.empty
        ]
        named = [each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY]
        yield [None] * (len(parameters) - len(named)), dict.fromkeys(named)


Change = tuple[Seam, Callable[[Any], Any]]
"""A seam, and a function from the original to its replacement."""


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
        before = [(seam, seam.original()) for seam, _ in self.changes]
        try:
            for seam, change in self.changes:
                setattr(seam.owner, seam.name, change(seam.original()))
            yield
        finally:
            for seam, original in reversed(before):
                setattr(seam.owner, seam.name, original)


# Where the rules are kept, in their order.
ACKNOWLEDGE = Seam(Journal, "_settle")
SETTLE_LATE = Seam(ProduceService, "_settle_late")
OWN_SLOT = Seam(Journal, "_is_mine")
LOOK_FOR_MARK = Seam(Marked, "passes")
SEAL = Seam(sealing, "_seal_first_missing")
RECORD_END = Seam(sealing, "settle")
MOVE_TRIM_MARK = Seam(trimming, "settle")
TRIMMABLE = Seam(Journal, "trimmable")
MAY_BE_SEAL = Seam(sealed_journals, "may_be_seal")
CHANGE_RECORDS = Seam(record_changes, "settle_all")
COMMIT_CLAIMS = Seam(log, "commit_claims")
RECOVER = Seam(Recovery, "_recover")
VISIBLE_BATCHES = Seam(Tail, "visible_batches")
CREATE_SEGMENT = Seam(SegmentWriter, "_create")
VOLUME_IS_STORED = Seam(Volumes, "_is_stored")
ALL_SETTLED = Seam(Partition, "settled")
RELEASED_RECORD = Seam(releasing, "_released")
COMMIT_RELEASE = Seam(releasing, "_commit")
MOVE_LOG_START = Seam(LogStartMover, "move")
FIRST_SEGMENT = Seam(Segments, "base_of")
COMMIT_SHARD = Seam(Shard, "_attempt")
TAKE_FETCHED = Seam(Replica, "take_fetched")
CHECK_BATCH = Seam(ProducerStates, "check")
CLAIMED = Seam(Leaderships, "claimed")
CHECK_STORE = Seam(StoreIdentity, "check")
MISSING_SLOT = Seam(sealing, "_missing_below")
COUNT_SLOT = Seam(StoredSlots, "acknowledged")
KNOWN_UNTIL = Seam(ClusterRecords, "_until")
SHOWS_CHANGE = Seam(ClusterRecords, "_shows")
COMPARES = Seam(ClusterRecords, "_compares")
RENEW_RIGHTS = Seam(Rights, "_renew")
FIRST_REVISION = Seam(Watch, "_first_revision")
PRESENT_KEYS = Seam(Watch, "_names")
ANNOUNCE_AGAIN = Seam(Membership, "_announce_again")
ALIVE = [
    Seam(each, "alive") for each in (fencing, membership, record_changes, recovery, trimming)
]

BUSY = Plan({"lease lost": 10, "slow": 10, "etcd cut": 4}, 5.0, ((0.03, 0.01),), 0.5)
"""Brokers that are alive, are taken for dead, and trim while others walk over
their journals."""



def _puts(operation: Operation, condition: Callable[[bytes, bytes], bool]) -> bool:
    """
    Whether it is a commit with a put whose key and value are such.
    """
    if operation.kind != "/v3/kv/txn":
        return False
    puts = [each.get("request_put") for each in operation.arguments[0]["success"]]
    return any(put and condition(b64decode(put["key"]), b64decode(put["value"])) for put in puts)


def _releases(operation: Operation) -> float:
    """
    Commits by which a partition is released are given up soon.
    """
    return 0.1 if _puts(operation, lambda _, value: b'"leader":-1' in value) else 0.0


UNHEARD = Plan({"stop": 10, "another broker": 10}, 15.0, ((0.0, 0.0),), 1.0, doomed=_releases)
"""A schedule that is written for the case: each release is done, and its
answer is lost. By chance alone that takes hundreds of seeds."""

LATE = Plan({"lease lost": 10, "slow": 10}, 2.0, ((0.03, 0.01),), 0.3)
"""Commits take long, and come when others have taken over."""

DYING = Plan({"crash": 10, "power loss": 10, "slow": 15}, 4.0, ((0.03, 0.01),), 1.0)
"""Brokers die before they are done, and so do their successors."""

DOUBTFUL = Plan({"stop": 10, "another broker": 10, "lease lost": 5}, 6.0, ((0.25, 0.02),), 1.5)
"""Partitions move often, and the outcome of commits is often unknown."""

IN_RACKS = Plan(racks=1.0)
"""Consumers read from brokers that do not lead."""

CARELESS = Plan(careless=1.0)
"""Marks stop brokers, and not seals."""


def _claims(operation: Operation) -> float:
    """
    Commits by which a partition is claimed, or rolled, are given up late.
    """

    def claims(key: bytes, value: bytes) -> bool:
        return b"/partitions/" in key and b'"leader":-1' not in value

    return 2.0 if _puts(operation, claims) else 0.0


BEGINNING = Plan(
    {"stop": 10, "another broker": 10, "lease lost": 5},
    6.0,
    ((0.0, 0.0),),
    4.0,
    producers=16,
    renewals=0.9,
    distance=100.0,
    doomed=_claims,
)
"""Written for the case: partitions move often while many producers begin, clients are
far away, and a new leader is known to others long before it knows of itself."""

ASTRAY = Plan({"another store": 10, "stop": 5, "another broker": 5}, 8.0, ((0.0, 0.0),), 1.0)
"""Brokers start with another object store than the cluster's."""

EMPTIED = Plan(
    {"slots deleted": 8, "slots damaged": 4, "stop": 3, "another broker": 3},
    8.0,
    ((0.0, 0.0),),
    1.0,
)
"""Slots that are needed are deleted or damaged by something else than brokers, and
restored."""

ASLEEP = Plan(
    {"asleep": 10, "etcd cut": 10, "pause": 4, "stop": 4, "streams broken": 3},
    5.0,
    ((0.0, 0.0),),
    0.5,
    sweeps=3.0,
)
"""Brokers are away for so long that nothing is recorded of them when they come back."""

ASLEEP_MARKED = attrs.evolve(ASLEEP, careless=1.0)
"""The same where marks stop them."""

ACCESS = Plan(
    {"etcd cut": 10, "slow": 10, "storm": 10, "crash": 8, "streams broken": 6, "pause": 6},
    5.0,
    ((0.03, 0.01),),
    access=1.0,
)
"""Users and ACLs change while etcd is away, slow, or does what was given up."""

GIVEN_UP = attrs.evolve(ACCESS, weights={"storm": 10, "crash": 2}, weathers=((0.15, 0.0),))
"""The same where etcd does much of what was given up, and little else goes wrong."""

FORGETFUL = Plan(
    {"watches cut": 10, "compaction": 2, "crash": 2}, 5.0, ((0.0, 0.0),), access=1.0
)
"""Users and ACLs are deleted while brokers reach etcd but have no watches, and etcd
compacts that at once."""


def _opens_late(operation: Operation) -> float:
    """
    Slots take long, and so does the opening of every other partition, which reads the end
    of its newest segment.
    """
    is_slot = object_keys.kind_of(operation.key) == object_keys.JOURNAL
    if operation.kind == "create" and is_slot:
        return 0.5
    if operation.kind in ("get", "get_suffix") and not is_slot:
        return 3.0 * (crc32(operation.key.encode()) % 2)
    return 0.0


REJOINING = Plan(
    {"crash": 10, "stop": 10, "another broker": 10},
    10.0,
    ((0.0, 0.0),),
    2.0,
    pairs=16,
    mistaken=0.1,
    delayed=_opens_late,
)
"""Written for the case: an incarnation ends at each slot that is refused by mistake, while
requests wait for one of their two partitions, and the next one leads both."""

MISTAKEN = Plan(
    {"crash": 10, "stop": 5, "another broker": 5}, 8.0, ((0.0, 0.0),), volumes=1.0, mistaken=0.05
)
"""Objects are refused as existing though they are not there."""


def _registers_again(operation: Operation) -> float:
    """
    The registration of an incarnation that has its record already, and does not serve yet,
    takes long.
    """

    def starting(key: bytes, value: bytes) -> bool:
        return f"/{metadata_keys.BROKERS}".encode() in key and b'"phase":"starting"' in value

    def recorded(key: bytes, value: bytes) -> bool:
        return f"/{metadata_keys.INCARNATIONS}".encode() in key

    return 3.0 if _puts(operation, starting) and not _puts(operation, recorded) else 0.0


STARTING = Plan(
    {"lease lost at a start": 10}, 8.0, ((0.0, 0.0),), moves=1.0, delayed=_registers_again
)
"""Registrations end before the broker serves, and are made again when it does."""

WITHOUT_RECORD: list[Change] = [(seam, broken.seal_only) for seam in ALIVE]

#: One for each rule, at least.
MUTATIONS = [
    Mutation(
        "01",
        "acknowledge each slot when it is durable",
        [(ACKNOWLEDGE, broken.settle_any)],
    ),
    Mutation(
        "01b",
        "wait for the highest slot of a request, of whichever incarnation",
        [(SETTLE_LATE, broken.wait_for_the_highest)],
        REJOINING,
    ),
    Mutation(
        "02",
        "take a seal for their own slot",
        [(OWN_SLOT, broken.anything_is_mine)],
    ),
    Mutation(
        "02b",
        "look for no mark",
        [(LOOK_FOR_MARK, broken.look_for_no_mark)],
        CARELESS,
    ),
    Mutation(
        "03",
        "seal no missing slot",
        [(SEAL, broken.seal_nothing)],
    ),
    Mutation(
        "04",
        "do not read the trim mark again",
        [(RECORD_END, broken.without_guards)],
        BUSY,
    ),
    Mutation(
        "05",
        "record an end over another",
        [(RECORD_END, broken.overwriting)],
    ),
    Mutation(
        "06",
        "claim with no end recorded",
        [(RECORD_END, broken.record_nothing)],
    ),
    Mutation(
        "07",
        "trim though they are sealed",
        [(MOVE_TRIM_MARK, broken.without_guards)],
        LATE,
    ),
    Mutation(
        "08",
        "trim what is not rolled",
        [(TRIMMABLE, broken.trim_what_is_settled)],
    ),
    Mutation(
        "09",
        "delete under a trim mark in doubt",
        [(MOVE_TRIM_MARK, broken.try_once)],
    ),
    Mutation(
        "10",
        "delete seals",
        [(MAY_BE_SEAL, broken.nothing_is_a_seal)],
    ),
    Mutation(
        "11",
        "do not compare a record's revision",
        [(CHANGE_RECORDS, broken.compare_the_guards_only)],
        DOUBTFUL,
    ),
    Mutation(
        "12",
        "claim whatever has happened",
        [(COMMIT_CLAIMS, broken.claim_whatever)],
        BUSY,
    ),
    Mutation(
        "13",
        "name no other's journal",
        [(RECOVER, broken.name_only_mine)],
        DYING,
    ),
    Mutation(
        "14",
        "roll what is not acknowledged",
        [(VISIBLE_BATCHES, broken.all_batches)],
    ),
    Mutation(
        "15",
        "adopt no segment",
        [(CREATE_SEGMENT, broken.adopt_nothing)],
    ),
    Mutation(
        "16",
        "commit rolled_to before the segment is there",
        [(CREATE_SEGMENT, broken.make_later)],
        DYING,
    ),
    Mutation(
        "16b",
        "name a volume that the store only said was there",
        [(VOLUME_IS_STORED, broken.believe_the_store)],
        MISTAKEN,
    ),
    Mutation(
        "17",
        "release with records under way",
        [
            (ALL_SETTLED, broken.wait_for_nothing),
            (RELEASED_RECORD, broken.release_as_it_is),
        ],
    ),
    Mutation(
        "18",
        "lead on after a release in doubt",
        [(COMMIT_RELEASE, broken.go_on_when_in_doubt)],
        UNHEARD,
    ),
    Mutation(
        "19",
        "delete before the log start is committed",
        [(MOVE_LOG_START, broken.delete_first)],
    ),
    Mutation(
        "20",
        "start the log past rolled_to",
        [(MOVE_LOG_START, broken.do_not_roll)],
    ),
    Mutation(
        "21",
        "keep no last segment",
        [(FIRST_SEGMENT, broken.keep_none)],
    ),
    Mutation(
        "22",
        "write what a shard has, whoever owns it",
        [(COMMIT_SHARD, broken.compare_nothing)],
    ),
    Mutation(
        "23",
        "show not the whole run, where they do not lead",
        [(TAKE_FETCHED, broken.feed_the_newest)],
        IN_RACKS,
    ),
    Mutation(
        "24",
        "begin with any object store",
        [(CHECK_STORE, broken.take_any_store)],
        ASTRAY,
    ),
    Mutation(
        "25",
        "take any first batch of a producer that is new",
        [
            (CHECK_BATCH, broken.take_any_first),
            (CLAIMED, broken.wait_for_no_claim),  # which would often hide it
        ],
        BEGINNING,
    ),
    Mutation(
        "26",
        "end a journal where a slot was deleted",
        [(MISSING_SLOT, broken.miss_nothing)],
        EMPTIED,
    ),
    Mutation(
        "26b",
        "record more slots than are acknowledged",
        [(COUNT_SLOT, broken.count_ahead)],
    ),
    Mutation(
        "27",
        "go on without a record, where seals stop brokers",
        WITHOUT_RECORD,
        ASLEEP,
    ),
    Mutation(
        "27m",
        "go on without a record, where marks do",
        WITHOUT_RECORD,
        ASLEEP_MARKED,
    ),
    # Not rules of the log, but promises about users and rights, and about brokers.
    Mutation(
        "A1",
        "answer before a change of rights is in force",
        [(KNOWN_UNTIL, broken_views.answer_at_once)],
        ACCESS,
    ),
    Mutation(
        "A2",
        "take a change of unknown outcome for done",
        [(SHOWS_CHANGE, broken_views.expect_the_best)],
        ACCESS,
    ),
    Mutation(
        "A3",
        "create what was deleted since",
        [(COMPARES, broken_views.ignore_deletions)],
        GIVEN_UP,
    ),
    Mutation(
        "A4",
        "remember decisions past a change",
        [(RENEW_RIGHTS, broken_views.decide_once)],
        ACCESS,
    ),
    Mutation(
        "A5",
        "begin a watch after the revision that it has reported",
        [(FIRST_REVISION, broken_views.begin_after)],
        FORGETFUL,
    ),
    Mutation(
        "A6",
        "report no deletion when a watch catches up",
        [(PRESENT_KEYS, broken_views.miss_no_key)],
        FORGETFUL,
    ),
    Mutation(
        "B1",
        "keep the phase of before in a registration that is made again",
        [(ANNOUNCE_AGAIN, broken_views.announce_once)],
        STARTING,
    ),
]
