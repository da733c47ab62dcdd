"""
Deduplication of idempotent producers.

An idempotent producer numbers its records, partition by partition. For each
producer the partition remembers the last five batches, which is as many as a
producer has in flight. A batch that arrives again is answered with the offset
that it got the first time; a batch that would leave a gap is refused.

A producer that the partition does not know may be new, and then its first batch
must have sequence 0: otherwise the batches before it, which another leader has
refused, would be taken for stored by the producer when this one is (rule 25). Or
the producer may have been forgotten, or may go on with the sequences of a topic
that had the same name and was deleted; then its first batch may have any sequence,
as in Kafka. The *mark* divides the two: producers whose id is at or above it are
new. It is higher than every id that was given out before the topic was created
(L{kafscale.format.cluster.first_id_after}), and than every id that was forgotten.

If the first batches of a new producer are refused for good, because they are too
large, for instance, then the one after them may be the first: some clients do not
use a sequence again, and the producer knows that those batches are not stored.

A producer that has transactions ends each with a *marker*, which the coordinator of its
transactions sends. The state remembers the number of the last one, so that everything of
that transaction or an earlier one is known to be late: a marker that comes again, and a
batch (rules T33 and T34). A marker may raise the producer's epoch, and then sequences begin
at 0 again (rule T35). A state with an open transaction is never forgotten. Of the others
those go first that had no transaction, and if all had one within a day, no new producer
is taken (rule T37).

The states follow from the batches in the log. They are never stored ahead of
the batches, and are rebuilt by replaying the batches that came after a stored
snapshot. The rules are those of Kafka's C{ProducerStateManager} and
C{ProducerAppendInfo}.

The layout in which segments store them is in `kafscale.format.producers`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import attrs

from kafscale.errors import (
    ConcurrentTransactions,
    InvalidProducerEpoch,
    InvalidTxnState,
    NotEnoughReplicas,
    OutOfOrderSequenceNumber,
    TransactionCoordinatorFenced,
)
from kafscale.format.producers import (
    NOT_KNOWN,
    ProducedBatch,
    ProducerState,
    read_producers,
    write_producers,
)
from kafscale.wire.batches import CONTROL, TRANSACTIONAL
from kafscale.wire.control_batches import Marker, read_marker
from kafscale.wire.records import BatchHeader, read_batch_header

REMEMBERED = 5
"""How many batches of a producer are remembered."""

REFUSED = 1000
"""Of how many producers whose first batches were refused for good that is remembered."""

_LAST_SEQUENCE = 2**31 - 1


class ProducerStates:
    """
    The states of the producers of one partition.

    @ivar mark: Producers with this id or a higher one are new, unless they have a
        state.
    @ivar refused: For producers, by id and epoch, whose first batches were refused for
        good: the sequence after those. The oldest first, at most L{REFUSED}. It is not
        stored.
    """

    def __init__(
        self, mark: int, expiration_ms: int = 86_400_000, limit: int = 10_000
    ) -> None:
        """
        @param mark: See L{ProducerStates.mark}.
        @param expiration_ms: ``producer.id.expiration.ms``: after so long without
            a batch or a marker a producer is forgotten.
        @param limit: How many producers are remembered. Of more, those that had no
            transaction, and have been idle for longest, are forgotten.
        """
        self.mark = mark
        self.refused: dict[tuple[int, int], int] = {}
        self._expiration_ms = expiration_ms
        self._limit = limit
        # Each producer is in one of these, the longest idle first: those that had no
        # transaction, those that had one, and those with an open one.
        self._states: OrderedDict[int, ProducerState] = OrderedDict()
        self._ended: OrderedDict[int, ProducerState] = OrderedDict()
        self._open: OrderedDict[int, ProducerState] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states) + len(self._ended) + len(self._open)

    def all(self) -> Sequence[ProducerState]:
        """
        Return the states of all producers: those without transactions, those with ended
        ones, and those with open ones; of each the longest idle first.
        """
        return [*self._states.values(), *self._ended.values(), *self._open.values()]

    def get(self, producer_id: int) -> ProducerState | None:
        """
        Return the state of a producer; None if it is not known.
        """
        return self._states.get(producer_id) or self._with_transactions(producer_id)

    def open_from(self) -> Mapping[int, int]:
        """
        Return the first offsets of the open transactions, by producers' ids.
        """
        return {state.producer_id: state.open_from for state in self._open.values()}

    def _with_transactions(self, producer_id: int) -> ProducerState | None:
        return self._open.get(producer_id) or self._ended.get(producer_id)

    def check(
        self, header: BatchHeader, now: int, number: int | None = None
    ) -> ProducedBatch | None:
        """
        Check a batch before it is appended. A batch without a producer id always
        passes.

        @param now: The time in ms.
        @param number: Of the transaction that the batch begins here, as the coordinator
            has told it; None if it was not asked.
        @return: None if the batch is new; what it was when it was appended, if it
            was before.
        @raise InvalidProducerEpoch: a newer epoch of the producer is known.
        @raise OutOfOrderSequenceNumber: records are missing between the last
            batch and this one, or before this one if the producer is new; or the
            batch was appended so long ago that it is no longer remembered.
        @raise InvalidTxnState: the batch belongs to no transaction that is known to be
            open.
        @raise ConcurrentTransactions: the producer's transaction before, in an earlier
            epoch, has not ended here: its marker comes.
        @raise NotEnoughReplicas: there are too many producers with transactions.
        """
        if header.producer_id < 0:
            return None
        self.expire(now)
        state = self._states.get(header.producer_id)
        if state is None:
            state = self._with_transactions(header.producer_id)
        if state is None:
            self._check_unknown(header, number)
            return None
        original = state.original(header)
        if original is not None:
            return original
        if header.producer_epoch < state.producer_epoch:
            raise _stale(header, state)
        if state.open_from >= 0:
            _check_open(header, state)
        elif header.attributes & TRANSACTIONAL:
            _check_number(header, number, state.number)
        if header.producer_epoch > state.producer_epoch or not state.batches:
            expected = 0
        else:
            expected = (state.last_sequence + 1) & _LAST_SEQUENCE
        if header.base_sequence != expected:
            raise OutOfOrderSequenceNumber(
                f"Producer {header.producer_id}, epoch {header.producer_epoch}: sequence"
                f" {expected} is next, not {header.base_sequence}"
            )
        return None

    def _check_unknown(self, header: BatchHeader, number: int | None) -> None:
        """
        Check a batch of a producer that has no state. The producer was forgotten, or knows
        an earlier topic of this name, so its next sequence number is not known: Kafka
        accepts any sequence, too. Or it is new.
        """
        if not self._states and len(self) >= self._limit:
            raise NotEnoughReplicas(
                f"{len(self)} producers had transactions in this partition within a day, and no"
                " more are taken"
            )
        if header.producer_id >= self.mark and not self._may_be_first(header):
            raise OutOfOrderSequenceNumber(
                f"Producer {header.producer_id}, epoch {header.producer_epoch}: it has"
                f" written nothing here, so sequence 0 is next, not {header.base_sequence}"
            )
        if header.attributes & TRANSACTIONAL:
            _check_number(header, number, 0)

    def begins(self, header: BatchHeader) -> bool:
        """
        Whether a batch of a transaction would begin it here, so that L{check} needs the
        number of the transaction. If not, the transaction is open here, or the batch was
        appended before.

        @raise InvalidProducerEpoch: a newer epoch of the producer is known.
        @raise ConcurrentTransactions: the producer's transaction before, in an earlier
            epoch, has not ended here: its marker comes.
        """
        state = self.get(header.producer_id)
        if state is None:
            return True
        if state.original(header) is not None:
            return False
        if header.producer_epoch < state.producer_epoch:
            raise _stale(header, state)
        if state.open_from < 0:
            return True
        _check_open(header, state)
        return False

    def refuse(self, header: BatchHeader) -> None:
        """
        Take note that a batch was refused for good, without a check of its sequence.
        """
        if header.producer_id >= 0 and self._may_be_first(header):
            producer = header.producer_id, header.producer_epoch
            self.refused.pop(producer, None)
            self.refused[producer] = (header.last_sequence + 1) & _LAST_SEQUENCE
            if len(self.refused) > REFUSED:
                del self.refused[next(iter(self.refused))]

    def _may_be_first(self, header: BatchHeader) -> bool:
        """
        Whether a batch may be the first of a new producer.
        """
        first = header.base_sequence
        return first == 0 or first == self.refused.get((header.producer_id, header.producer_epoch))

    def append(self, header: BatchHeader, base_offset: int, now: int = NOT_KNOWN) -> None:
        """
        Record that a batch was appended, without checking it.

        @param now: The time in ms if it was appended now; else it is not known.
        """
        producer_id = header.producer_id
        if producer_id < 0:
            return
        plain = self._states.get(producer_id)
        state = plain or self._with_transactions(producer_id)
        batch = ProducedBatch(
            header.base_sequence, header.last_sequence, base_offset, header.max_timestamp
        )
        epoch = header.producer_epoch
        if state is not None and state.producer_epoch == epoch:
            batches = (*state.batches[1 - REMEMBERED :], batch)
        else:
            batches = (batch,)
        if header.attributes & TRANSACTIONAL or state is not plain:
            number, first = (state.number, state.open_from) if state is not None else (0, -1)
            if first < 0 and header.attributes & TRANSACTIONAL:
                first = base_offset
            self._put(ProducerState(producer_id, epoch, now, batches, number, first))
            return
        self._states[producer_id] = ProducerState(producer_id, epoch, now, batches)
        self._states.move_to_end(producer_id)
        if plain is None and len(self) > self._limit:
            self._make_room(producer_id)

    def _put(self, state: ProducerState) -> None:
        """
        Replace the state of a producer.
        """
        for group in (self._states, self._ended, self._open):
            group.pop(state.producer_id, None)
        self._group_of(state)[state.producer_id] = state
        if len(self) > self._limit:
            self._make_room(state.producer_id)

    def _group_of(self, state: ProducerState) -> OrderedDict[int, ProducerState]:
        if state.open_from >= 0:
            return self._open
        return self._states if state.is_plain else self._ended

    def _make_room(self, newest: int) -> None:
        """
        Forget the longest idle producer that had no transaction.

        @param newest: The producer for which there must be room: it stays.
        """
        for producer_id in self._states:
            if producer_id != newest:
                self._forget(producer_id)
            return

    # -- markers -----------------------------------------------------------------

    def is_late(self, marker: Marker) -> bool:
        """
        Whether a marker's transaction, or a later one, has ended here (rule T34).
        """
        state = self.get(marker.producer_id)
        return state is not None and marker.number <= state.number

    def check_marker(self, marker: Marker) -> None:
        """
        Check a marker before it is appended.

        @raise InvalidProducerEpoch: a newer epoch of the producer is known.
        @raise TransactionCoordinatorFenced: the marker of a later transaction is known.
        """
        state = self.get(marker.producer_id)
        if state is None:
            return
        if marker.producer_epoch < state.producer_epoch:
            raise InvalidProducerEpoch(
                f"Producer {marker.producer_id} has epoch {state.producer_epoch}, and a marker"
                f" of epoch {marker.producer_epoch} came"
            )
        if marker.number < state.number:
            raise TransactionCoordinatorFenced(
                f"Transaction {state.number} of producer {marker.producer_id} has ended, and a"
                f" marker of transaction {marker.number} came"
            )

    def end(self, marker: Marker, timestamp: int, now: int = NOT_KNOWN) -> None:
        """
        Record that a marker was appended, without checking it.

        @param timestamp: Its own, in ms.
        @param now: The time in ms if it was appended now; else it is not known.
        """
        state = self.get(marker.producer_id)
        batches: tuple[ProducedBatch, ...] = ()
        number = marker.number
        if state is not None:
            number = max(number, state.number)
            if state.producer_epoch == marker.producer_epoch:
                batches = state.batches
        self._put(
            ProducerState(
                marker.producer_id,
                marker.producer_epoch,
                now,
                batches,
                number,
                marked=max(timestamp, 0),
            )
        )

    # -- the log -----------------------------------------------------------------

    def replay(self, header: BatchHeader, now: int = NOT_KNOWN) -> None:
        """
        Record a batch that is in the log already.
        """
        self.append(header, header.base_offset, now)

    def expire(self, now: int) -> None:
        """
        Forget producers that have been idle for too long. A state that was
        rebuilt from the log has no time, and counts as seen now.
        """
        for states in (self._states, self._ended):
            while states:
                state = next(iter(states.values()))
                if state.seen == NOT_KNOWN:
                    states[state.producer_id] = attrs.evolve(state, seen=now)
                    states.move_to_end(state.producer_id)
                elif now - state.seen >= self._expiration_ms:
                    self._forget(state.producer_id)
                else:
                    break

    def _forget(self, producer_id: int) -> None:
        for group in (self._states, self._ended):
            group.pop(producer_id, None)
        self.mark = max(self.mark, producer_id + 1)

    def after(self, batches: Sequence[bytes], now: int) -> ProducerStates:
        """
        Return the states after these batches of the log.
        """
        states = self.copy()
        states.expire(now)
        for batch in batches:
            header = read_batch_header(batch)
            if not header.attributes & CONTROL:
                states.replay(header, now)
            elif (marker := read_marker(batch)) is not None:
                states.end(marker, header.max_timestamp, now)
        return states

    def copy(self) -> ProducerStates:
        """
        Return an independent copy.
        """
        other = ProducerStates(self.mark, self._expiration_ms, self._limit)
        other._states = self._states.copy()
        other._ended = self._ended.copy()
        other._open = self._open.copy()
        return other

    def snapshot(self, level: int) -> bytes:
        """
        Return all states, and the mark, in the layout of a segment's footer.

        @param level: The level of the format. At level 0 there is no mark.
        """
        return write_producers(self.all(), self.mark, level)

    def restore(self, snapshot: bytes | memoryview) -> None:
        """
        Replace all states by those of a L{snapshot}, and the mark, if there is one in
        the snapshot. Empty bytes stand for no states.

        @raise CorruptObject: C{snapshot} is not a snapshot.
        """
        states, mark = read_producers(snapshot)
        if mark is not None:
            self.mark = mark
        self._states, self._ended, self._open = OrderedDict(), OrderedDict(), OrderedDict()
        for state in states:
            self._group_of(state)[state.producer_id] = state


def _stale(header: BatchHeader, state: ProducerState) -> InvalidProducerEpoch:
    return InvalidProducerEpoch(
        f"Producer {header.producer_id} has epoch {state.producer_epoch}"
        f" and sent {header.producer_epoch}"
    )


def _check_open(header: BatchHeader, state: ProducerState) -> None:
    """
    Check a batch of a producer with an open transaction.

    @raise InvalidTxnState: the batch is not part of it.
    @raise ConcurrentTransactions: the transaction is of an earlier epoch (rule T35).
    """
    if header.producer_epoch > state.producer_epoch:
        raise ConcurrentTransactions(
            f"The transaction of producer {header.producer_id} in epoch {state.producer_epoch}"
            " has not ended here yet"
        )
    if not header.attributes & TRANSACTIONAL:
        raise InvalidTxnState(
            f"Producer {header.producer_id} has a transaction open here, and sent a batch"
            " outside of it"
        )


def _check_number(header: BatchHeader, number: int | None, ended: int) -> None:
    """
    Check a batch that begins a transaction here (rules T32 and T33).

    @param number: As the coordinator has told it; None if it was not asked.
    @param ended: The number of the last transaction that ended here.
    @raise InvalidTxnState: the transaction is not known to be open.
    """
    if number is None:
        raise InvalidTxnState(
            f"Producer {header.producer_id}, epoch {header.producer_epoch}: the partition was not"
            " added to the transaction"
        )
    if number <= ended:
        raise InvalidTxnState(
            f"Producer {header.producer_id}, epoch {header.producer_epoch}: the batch is of"
            f" transaction {number}, and {ended} has ended here"
        )
