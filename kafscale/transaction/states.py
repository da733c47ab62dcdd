"""
The states of a transactional id, and what each request does to them.

L{TRANSITIONS} is the state machine; docs/transactions.md draws it. L{decide} is pure: it
takes the record of an id and a request, and returns the record that is to be committed
and what is answered then. It does no I/O and knows no clock, so the rules are in one
place, and can be tried in any order of events (rules T24 to T31, docs/transactions.md).

With EndTxn 5 or later each end of a transaction raises the producer's epoch (KIP-890). The
version of the request decides, not the finalized C{transaction.version}.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

import attrs

from kafscale.errors import (
    ConcurrentTransactions,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaError,
    ProducerFenced,
)
from kafscale.format.partition import TopicIdPartition
from kafscale.format.transactional_id import (
    ProducerEpoch,
    TransactionalIdRecord,
    TransactionState,
)
from kafscale.interfaces import Admitted, Given

LAST_EPOCH = 32766
"""The last epoch of a producer id that a producer gets: the next one is for the markers
that end its transaction (Kafka's C{TransactionMetadata.isEpochExhausted})."""

RENEWED_FROM = 2**30
"""From this number of a producer id's transactions on, InitProducerId gives a new id."""

LAST_NUMBER = 2**31 - 1
"""No transaction of a producer id has a higher number: markers have it as an INT32."""


class Event(Enum):
    """
    What changes the state of a transactional id.
    """

    #: InitProducerId has got a producer id and an epoch.
    INITIALIZED = 1
    #: The first partition or group is added to a transaction, which begins by that.
    BEGUN = 2
    #: Another partition or group is added to it.
    ADDED = 3
    #: The producer commits (EndTxn).
    COMMITTED = 4
    #: The producer aborts (EndTxn).
    ABORTED = 5
    #: The producer aborts, and nothing is open (EndTxn 5 and later).
    NOTHING_ABORTED = 6
    #: The transaction is open for too long, or another producer is initialized.
    FENCED = 7
    #: The markers of the transaction are durable in all its partitions and groups.
    MARKED = 8
    #: The id was not used for C{transactional.id.expiration.ms}.
    EXPIRED = 9


TRANSITIONS: Mapping[TransactionState, Mapping[Event, TransactionState]] = {
    TransactionState.DEAD: {
        Event.INITIALIZED: TransactionState.EMPTY,
    },
    TransactionState.EMPTY: {
        Event.INITIALIZED: TransactionState.EMPTY,
        Event.BEGUN: TransactionState.ONGOING,
        Event.NOTHING_ABORTED: TransactionState.COMPLETE_ABORT,
        Event.EXPIRED: TransactionState.DEAD,
    },
    TransactionState.ONGOING: {
        Event.ADDED: TransactionState.ONGOING,
        Event.COMMITTED: TransactionState.PREPARE_COMMIT,
        Event.ABORTED: TransactionState.PREPARE_ABORT,
        Event.FENCED: TransactionState.PREPARE_ABORT,
    },
    TransactionState.PREPARE_COMMIT: {
        Event.MARKED: TransactionState.COMPLETE_COMMIT,
    },
    TransactionState.PREPARE_ABORT: {
        Event.MARKED: TransactionState.COMPLETE_ABORT,
    },
    TransactionState.COMPLETE_COMMIT: {
        Event.INITIALIZED: TransactionState.EMPTY,
        Event.BEGUN: TransactionState.ONGOING,
        Event.NOTHING_ABORTED: TransactionState.COMPLETE_ABORT,
        Event.EXPIRED: TransactionState.DEAD,
    },
    TransactionState.COMPLETE_ABORT: {
        Event.INITIALIZED: TransactionState.EMPTY,
        Event.BEGUN: TransactionState.ONGOING,
        Event.NOTHING_ABORTED: TransactionState.COMPLETE_ABORT,
        Event.EXPIRED: TransactionState.DEAD,
    },
}
"""The next state by state and event. What is not listed does not happen."""

PREPARED = frozenset({TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT})
"""Decided, and markers are on their way: nothing is added and nothing begins (rule T27)."""

COMPLETE = frozenset({TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT})

IS_COMMIT = {
    TransactionState.PREPARE_COMMIT: True,
    TransactionState.COMPLETE_COMMIT: True,
    TransactionState.PREPARE_ABORT: False,
    TransactionState.COMPLETE_ABORT: False,
}
"""What was decided, in the states after a decision."""


# -- requests ------------------------------------------------------------------


@attrs.frozen
class Initialize:
    """
    InitProducerId with a transactional id.

    @ivar timeout_ms: How long its transactions may be open.
    @ivar producer: What the producer says that it has; None if nothing.
    @ivar keeps_epoch: Whether a producer whose own transaction is aborted by this may go
        on in the epoch after its own (finalized C{transaction.version} 2).
    """

    timeout_ms: int
    producer: ProducerEpoch | None = None
    keeps_epoch: bool = True


@attrs.frozen
class Add:
    """
    Partitions or groups are to be in the transaction: AddPartitionsToTxn,
    AddOffsetsToTxn, or a leader's question for a producer of Produce 12 and later.

    @ivar asks: Whether it is the question of a leader, or of a group's shard, which
        finds by the number whether the answer is an old one (rule T33).
    """

    producer: ProducerEpoch
    partitions: frozenset[TopicIdPartition] = frozenset()
    groups: frozenset[str] = frozenset()
    asks: bool = False


@attrs.frozen
class Verify:
    """
    Whether these are in the transaction: the question of a leader, or of a group's
    shard, for a producer that adds by itself.
    """

    producer: ProducerEpoch
    partitions: frozenset[TopicIdPartition] = frozenset()
    groups: frozenset[str] = frozenset()


@attrs.frozen
class End:
    """
    EndTxn.

    @ivar raises: Whether the epoch is raised: EndTxn 5 and later.
    """

    producer: ProducerEpoch
    commit: bool
    raises: bool


@attrs.frozen
class TimeOut:
    """
    A transaction is open for too long.

    @ivar keeps_epoch: Whether the producer may go on in the next epoch, when it has
        learned of it (finalized C{transaction.version} 2).
    """

    producer: ProducerEpoch
    number: int
    keeps_epoch: bool = True


@attrs.frozen
class Mark:
    """
    The markers of a transaction are durable everywhere.

    @ivar producer: What they carry.
    """

    producer: ProducerEpoch
    number: int


@attrs.frozen
class Expire:
    """
    The id was last used long ago.

    @ivar unchanged_since_ms: Expire it only if it was not changed after this, in ms
        since 1970.
    """

    unchanged_since_ms: int


Request: TypeAlias = Initialize | Add | Verify | End | TimeOut | Mark | Expire


# -- outcomes ------------------------------------------------------------------


@attrs.frozen
class Outcome:
    """
    What a request does.

    @ivar record: To be committed before anything is answered (rule T24), unless it is the
        record from before; None if there is none, or it is to be deleted.
    @ivar answer: None if nobody waits for one.
    @ivar event: What has happened; None if nothing has.
    @ivar looks: Nothing is to be committed, and the answer is only true if the record is
        still that in the store: look there first (rule T26).
    """

    record: TransactionalIdRecord | None
    answer: Given | Admitted | KafkaError | None = None
    event: Event | None = None
    looks: bool = False


class ProducerIdNeeded(Exception):
    """
    The outcome has a new producer id: decide again with one.
    """


def state_of(record: TransactionalIdRecord | None) -> TransactionState:
    """
    The state of an id.
    """
    return TransactionState.DEAD if record is None else record.state


def marker_of(record: TransactionalIdRecord) -> tuple[ProducerEpoch, int, bool]:
    """
    What the markers of a decided transaction carry: the producer, the transaction's
    number, and whether it is committed.
    """
    assert record.ending is not None
    return record.ending, record.number, IS_COMMIT[record.state]


def decide(
    record: TransactionalIdRecord | None,
    request: Request,
    now_ms: int,
    new_id: int | None = None,
) -> Outcome:
    """
    What becomes of an id by a request.

    @param record: None if there is none.
    @param now_ms: In ms since 1970.
    @param new_id: A producer id that was never given out, if there is one at hand.
    @raise ProducerIdNeeded: there is none, and there should be.
    """
    match request:
        case Initialize():
            return _initialize(record, request, now_ms, new_id)
        case Add():
            return _add(record, request, now_ms)
        case Verify():
            return _verify(record, request)
        case End():
            return _end(record, request, now_ms, new_id)
        case TimeOut():
            return _time_out(record, request, now_ms, new_id)
        case Mark():
            return _mark(record, request, now_ms)
        case Expire():
            return _expire(record, request)


def _moved(
    record: TransactionalIdRecord, event: Event, now_ms: int, **changes: Any
) -> TransactionalIdRecord:
    """
    The record after an event.
    """
    state = TRANSITIONS[record.state][event]
    return attrs.evolve(record, state=state, changed_ms=now_ms, **changes)


def _refused(record: TransactionalIdRecord | None, error: KafkaError) -> Outcome:
    """
    Nothing changes. An error for which a client gives up must not come from a
    coordinator that was replaced.
    """
    return Outcome(record, error, looks=not error.retriable)


def _checked(record: TransactionalIdRecord | None, producer: ProducerEpoch) -> KafkaError | None:
    """
    Why a request with this producer id and epoch changes nothing (rule T29).
    """
    if record is None or record.producer_id != producer[0]:
        return InvalidProducerIdMapping()
    if record.epoch != producer[1]:
        return ProducerFenced()
    return None


# -- InitProducerId ------------------------------------------------------------


def _initialize(
    record: TransactionalIdRecord | None, request: Initialize, now_ms: int, new_id: int | None
) -> Outcome:
    if record is None:
        if new_id is None:
            raise ProducerIdNeeded
        first = TransactionalIdRecord(new_id, 0, request.timeout_ms, changed_ms=now_ms)
        return Outcome(first, Given(new_id, 0), Event.INITIALIZED)
    named = request.producer
    again = named is not None and named == record.previous
    if named is not None and named[0] != record.producer_id and not again:
        return _refused(record, ProducerFenced())
    if record.state in PREPARED:
        return _refused(record, ConcurrentTransactions())
    if record.state is TransactionState.ONGOING:
        # As in Kafka, whatever the epoch is that the producer names.
        own = request.keeps_epoch and named == (record.producer_id, record.epoch)
        fenced = _fenced(record, now_ms, new_id, own)
        return Outcome(fenced, ConcurrentTransactions(), Event.FENCED)
    if again:
        if record.state is TransactionState.EMPTY and record.timeout_ms == request.timeout_ms:
            return Outcome(record, Given(record.producer_id, record.epoch), looks=True)
        same = _moved(record, Event.INITIALIZED, now_ms, timeout_ms=request.timeout_ms, began_ms=-1)
        return Outcome(same, Given(record.producer_id, record.epoch), Event.INITIALIZED)
    if named is not None and named[1] != record.epoch:
        return _refused(record, ProducerFenced())
    producer_id, epoch, number = record.producer_id, record.epoch + 1, record.number
    if record.epoch >= LAST_EPOCH or record.number >= RENEWED_FROM:
        if new_id is None:
            raise ProducerIdNeeded
        producer_id, epoch, number = new_id, 0, 0
    after = _moved(
        record,
        Event.INITIALIZED,
        now_ms,
        producer_id=producer_id,
        epoch=epoch,
        number=number,
        timeout_ms=request.timeout_ms,
        began_ms=-1,
        previous=named,
    )
    return Outcome(after, Given(producer_id, epoch), Event.INITIALIZED)


def _fenced(
    record: TransactionalIdRecord, now_ms: int, new_id: int | None, keeps_epoch: bool
) -> TransactionalIdRecord:
    """
    The record with its transaction aborted, and the epoch raised by the same commit, so
    that the producer notices (rule T31).
    """
    previous = (record.producer_id, record.epoch) if keeps_epoch else None
    raised = _raised(record, new_id)
    return _moved(record, Event.FENCED, now_ms, previous=previous, **raised)


def _raised(record: TransactionalIdRecord, new_id: int | None) -> dict[str, Any]:
    """
    The next epoch, which the markers carry too; if it is not for producers any more, a
    new producer id.
    """
    raised: dict[str, Any] = {"ending": (record.producer_id, record.epoch + 1)}
    if record.epoch < LAST_EPOCH:
        return raised | {"epoch": record.epoch + 1}
    if new_id is None:
        raise ProducerIdNeeded
    return raised | {"producer_id": new_id, "epoch": 0}


# -- adding --------------------------------------------------------------------


def _add(record: TransactionalIdRecord | None, request: Add, now_ms: int) -> Outcome:
    error = _checked(record, request.producer)
    if error is not None or record is None:
        return _refused(record, error or InvalidProducerIdMapping())
    if record.state in PREPARED:
        return _refused(record, ConcurrentTransactions())
    if record.state is TransactionState.ONGOING:
        partitions = record.partitions | request.partitions
        groups = record.groups | request.groups
        if (partitions, groups) == (record.partitions, record.groups):
            return Outcome(record, Admitted(record.number), looks=not request.asks)
        more = _moved(record, Event.ADDED, now_ms, partitions=partitions, groups=groups)
        return Outcome(more, Admitted(record.number), Event.ADDED)
    if not request.partitions and not request.groups:
        return Outcome(record, Admitted(record.number), looks=not request.asks)
    if record.number >= LAST_NUMBER:
        return _refused(record, ProducerFenced())
    begun = _moved(
        record,
        Event.BEGUN,
        now_ms,
        number=record.number + 1,
        began_ms=now_ms,
        previous=None,
        partitions=request.partitions,
        groups=request.groups,
    )
    return Outcome(begun, Admitted(begun.number), Event.BEGUN)


def _verify(record: TransactionalIdRecord | None, request: Verify) -> Outcome:
    error = _checked(record, request.producer)
    if error is not None or record is None:
        return _refused(record, error or InvalidProducerIdMapping())
    if record.state in PREPARED:
        return _refused(record, ConcurrentTransactions())
    missing: frozenset[TopicIdPartition | str] = frozenset(
        {*request.partitions - record.partitions, *request.groups - record.groups}
    )
    # What is missing may have been added by the broker that has replaced this one.
    return Outcome(record, Admitted(record.number, missing), looks=bool(missing))


# -- the end -------------------------------------------------------------------


def _end(
    record: TransactionalIdRecord | None, request: End, now_ms: int, new_id: int | None
) -> Outcome:
    if record is None:
        return _refused(record, InvalidProducerIdMapping())
    decided = record.state in IS_COMMIT
    again = request.raises and decided and request.producer == record.previous
    if not again:
        error = _checked(record, request.producer)
        if error is not None:
            return _refused(record, error)
        if request.raises and record.state in PREPARED:
            return _refused(record, ProducerFenced())  # as in Kafka: it would be no repeat
    if record.state is TransactionState.ONGOING:
        return _decided(record, request, now_ms, new_id)
    matches = decided and IS_COMMIT[record.state] == request.commit
    if record.state in PREPARED:
        return _refused(record, ConcurrentTransactions() if matches else InvalidTxnState())
    if request.raises and not again:
        if request.commit:
            return _refused(record, InvalidTxnState())
        raised = _raised(record, new_id)
        del raised["ending"]  # there is nothing to be marked
        if "producer_id" in raised:
            raised["number"] = 0
        empty = _moved(record, Event.NOTHING_ABORTED, now_ms, previous=request.producer, **raised)
        return Outcome(empty, Given(empty.producer_id, empty.epoch), Event.NOTHING_ABORTED)
    if not matches:
        return _refused(record, InvalidTxnState())
    return Outcome(record, Given(record.producer_id, record.epoch), looks=True)


def _decided(
    record: TransactionalIdRecord, request: End, now_ms: int, new_id: int | None
) -> Outcome:
    event = Event.COMMITTED if request.commit else Event.ABORTED
    changes: dict[str, Any] = {"ending": request.producer}
    if request.raises:
        changes = {"previous": request.producer, **_raised(record, new_id)}
    after = _moved(record, event, now_ms, **changes)
    return Outcome(after, Given(after.producer_id, after.epoch), event)


# -- what nobody asks for ------------------------------------------------------


def _time_out(
    record: TransactionalIdRecord | None, request: TimeOut, now_ms: int, new_id: int | None
) -> Outcome:
    if (
        record is None
        or record.state is not TransactionState.ONGOING
        or (record.producer_id, record.epoch) != request.producer
        or record.number != request.number
    ):
        return Outcome(record)
    return Outcome(_fenced(record, now_ms, new_id, request.keeps_epoch), event=Event.FENCED)


def _mark(record: TransactionalIdRecord | None, request: Mark, now_ms: int) -> Outcome:
    if record is None or (record.ending, record.number) != (request.producer, request.number):
        return Outcome(record)
    # The number is per producer id: one that is new had no transaction yet.
    number = record.number if record.producer_id == request.producer[0] else 0
    complete = _moved(
        record,
        Event.MARKED,
        now_ms,
        number=number,
        ending=None,
        partitions=frozenset(),
        groups=frozenset(),
    )
    return Outcome(complete, event=Event.MARKED)


def _expire(record: TransactionalIdRecord | None, request: Expire) -> Outcome:
    if (
        record is None
        or Event.EXPIRED not in TRANSITIONS[record.state]
        or record.changed_ms > request.unchanged_since_ms
    ):
        return Outcome(record)
    return Outcome(None, event=Event.EXPIRED)
