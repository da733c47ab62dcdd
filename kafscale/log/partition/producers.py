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

The states follow from the batches in the log. They are never stored ahead of
the batches, and are rebuilt by replaying the batches that came after a stored
snapshot. The rules are those of Kafka's C{ProducerStateManager} and
C{ProducerAppendInfo}.

The layout in which segments store them is in `kafscale.format.producers`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import attrs

from kafscale.errors import InvalidProducerEpoch, OutOfOrderSequenceNumber
from kafscale.format.producers import (
    NOT_KNOWN,
    ProducedBatch,
    ProducerState,
    read_producers,
    write_producers,
)
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
            a batch a producer is forgotten.
        @param limit: How many producers are remembered. Of more, those that have
            been idle for longest are forgotten.
        """
        self.mark = mark
        self.refused: dict[tuple[int, int], int] = {}
        self._expiration_ms = expiration_ms
        self._limit = limit
        self._states: OrderedDict[int, ProducerState] = OrderedDict()  # longest idle first

    def __len__(self) -> int:
        return len(self._states)

    def all(self) -> Sequence[ProducerState]:
        """
        Return the states of all producers, the longest idle first.
        """
        return list(self._states.values())

    def check(self, header: BatchHeader, now: int) -> ProducedBatch | None:
        """
        Check a batch before it is appended. A batch without a producer id always
        passes.

        @param now: The time in ms.
        @return: None if the batch is new; what it was when it was appended, if it
            was before.
        @raise InvalidProducerEpoch: a newer epoch of the producer is known.
        @raise OutOfOrderSequenceNumber: records are missing between the last
            batch and this one, or before this one if the producer is new; or the
            batch was appended so long ago that it is no longer remembered.
        """
        if header.producer_id < 0:
            return None
        self.expire(now)
        state = self._states.get(header.producer_id)
        if state is None:
            if header.producer_id >= self.mark and not self._may_be_first(header):
                raise OutOfOrderSequenceNumber(
                    f"Producer {header.producer_id}, epoch {header.producer_epoch}: it has"
                    f" written nothing here, so sequence 0 is next, not {header.base_sequence}"
                )
            # The producer was forgotten, or knows an earlier topic of this name, so
            # its next sequence number is not known. Kafka accepts any sequence, too.
            return None
        original = state.original(header)
        if original is not None:
            return original
        if header.producer_epoch < state.producer_epoch:
            raise InvalidProducerEpoch(
                f"Producer {header.producer_id} has epoch {state.producer_epoch}"
                f" and sent {header.producer_epoch}"
            )
        if header.producer_epoch > state.producer_epoch:
            expected = 0
        else:
            expected = (state.last_sequence + 1) & _LAST_SEQUENCE
        if header.base_sequence != expected:
            raise OutOfOrderSequenceNumber(
                f"Producer {header.producer_id}, epoch {header.producer_epoch}: sequence"
                f" {expected} is next, not {header.base_sequence}"
            )
        return None

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
        state = self._states.get(producer_id)
        batch = ProducedBatch(
            header.base_sequence, header.last_sequence, base_offset, header.max_timestamp
        )
        if state is not None and state.producer_epoch == header.producer_epoch:
            batches = (*state.batches[1 - REMEMBERED :], batch)
        else:
            batches = (batch,)
        self._states[producer_id] = ProducerState(producer_id, header.producer_epoch, now, batches)
        self._states.move_to_end(producer_id)
        if len(self._states) > self._limit:
            self._forget(next(iter(self._states)))

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
        states = self._states
        while states:
            state = next(iter(states.values()))
            if state.seen == NOT_KNOWN:
                states[state.producer_id] = attrs.evolve(state, seen=now)
                states.move_to_end(state.producer_id)
            elif now - state.seen >= self._expiration_ms:
                self._forget(state.producer_id)
            else:
                return

    def _forget(self, producer_id: int) -> None:
        del self._states[producer_id]
        self.mark = max(self.mark, producer_id + 1)

    def after(self, batches: Sequence[bytes], now: int) -> ProducerStates:
        """
        Return the states after these batches of the log.
        """
        states = self.copy()
        states.expire(now)
        for batch in batches:
            states.replay(read_batch_header(batch), now)
        return states

    def copy(self) -> ProducerStates:
        """
        Return an independent copy.
        """
        other = ProducerStates(self.mark, self._expiration_ms, self._limit)
        other._states = self._states.copy()
        return other

    def snapshot(self, level: int) -> bytes:
        """
        Return all states, and the mark, in the layout of a segment's footer.

        @param level: The level of the format. At level 0 there is no mark.
        """
        return write_producers(self._states.values(), self.mark, level)

    def restore(self, snapshot: bytes | memoryview) -> None:
        """
        Replace all states by those of a L{snapshot}, and the mark, if there is one in
        the snapshot. Empty bytes stand for no states.

        @raise CorruptObject: C{snapshot} is not a snapshot.
        """
        states, mark = read_producers(snapshot)
        if mark is not None:
            self.mark = mark
        self._states = OrderedDict((state.producer_id, state) for state in states)
