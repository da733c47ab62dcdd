"""
Transactional ids in each of their states, reached as producers reach them.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.format.transactional_id import ProducerEpoch, TransactionalIdRecord, TransactionState
from kafscale.transaction.states import (
    Add,
    End,
    Mark,
    Outcome,
    Request,
    TimeOut,
    decide,
    marker_of,
)

PRODUCER = 1000
OTHER_PRODUCER = 7
NEW_PRODUCER = 2000
EPOCH = 5
"""Of the producer when its transaction is open."""
TIMEOUT_MS = 60_000
BEGIN_MS = 1_700_000_000_000
TOPIC = UUID(int=0x1001)
PARTITION = (TOPIC, 0)
ANOTHER = (TOPIC, 1)


def step(
    record: TransactionalIdRecord | None, request: Request, now_ms: int = BEGIN_MS + 1000
) -> Outcome:
    """
    What a request does; a producer id is at hand.
    """
    return decide(record, request, now_ms, NEW_PRODUCER)


def after(
    record: TransactionalIdRecord | None, *requests: Request, now_ms: int = BEGIN_MS
) -> TransactionalIdRecord:
    """
    The record after some requests, all of which do something.
    """
    for request in requests:
        outcome = step(record, request, now_ms)
        assert outcome.event is not None, (record, request, outcome)
        record = outcome.record
    assert record is not None
    return record


def marked(record: TransactionalIdRecord) -> TransactionalIdRecord:
    """
    The record after the markers of its transaction are durable.
    """
    producer, number, _ = marker_of(record)
    return after(record, Mark(producer, number))


def empty(epoch: int = EPOCH) -> TransactionalIdRecord:
    """
    An id that was initialized, and nothing more.
    """
    return TransactionalIdRecord(PRODUCER, epoch, TIMEOUT_MS, changed_ms=BEGIN_MS)


def ongoing(epoch: int = EPOCH) -> TransactionalIdRecord:
    """
    An open transaction of one partition, the first of its producer.
    """
    return after(empty(epoch), Add((PRODUCER, epoch), frozenset({PARTITION})))


def in_state(
    state: TransactionState, raises: bool = True, epoch: int = EPOCH
) -> TransactionalIdRecord | None:
    """
    The record of an id in a state, in which the epoch was C{epoch} when its
    transaction was open.

    @param raises: Whether its producer sends EndTxn 5.
    """
    commit = End((PRODUCER, epoch), True, raises)
    abort = End((PRODUCER, epoch), False, raises)
    match state:
        case TransactionState.DEAD:
            return None
        case TransactionState.EMPTY:
            return empty(epoch)
        case TransactionState.ONGOING:
            return ongoing(epoch)
        case TransactionState.PREPARE_COMMIT:
            return after(ongoing(epoch), commit)
        case TransactionState.PREPARE_ABORT:
            return after(ongoing(epoch), abort)
        case TransactionState.COMPLETE_COMMIT:
            return marked(after(ongoing(epoch), commit))
        case TransactionState.COMPLETE_ABORT:
            return marked(after(ongoing(epoch), abort))


def timed_out(epoch: int = EPOCH, keeps_epoch: bool = True) -> TransactionalIdRecord:
    """
    An id whose transaction was open for too long, and is aborted.
    """
    open_one = ongoing(epoch)
    return marked(after(open_one, TimeOut((PRODUCER, epoch), open_one.number, keeps_epoch)))


def present(record: TransactionalIdRecord | None, lower: int = 0) -> ProducerEpoch:
    """
    Producer id and epoch as the record has them.

    @param lower: Take this from the epoch.
    """
    if record is None:
        return PRODUCER, EPOCH - lower
    return record.producer_id, record.epoch - lower
