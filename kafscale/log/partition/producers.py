"""
What makes a retried batch appear once.

An idempotent producer numbers its records, partition by partition. The
partition remembers, of each producer, the last five batches (as many as a
producer has under way): what comes again is answered with the offset that it
got the first time, and what would leave a gap is refused.

The states follow from the batches: they are never stored ahead of them, and
are rebuilt by going through the batches that came after a stored one. The
rules are those of Kafka's C{ProducerStateManager} and C{ProducerAppendInfo}.

The layout in which segments keep them is in `kafscale.format.producers`.
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
"""How many batches of a producer are known again."""

_LAST_SEQUENCE = 2**31 - 1


class ProducerStates:
    """
    The producers of one partition.
    """

    def __init__(self, expiration_ms: int = 86_400_000, limit: int = 10_000) -> None:
        """
        @param expiration_ms: ``producer.id.expiration.ms``: who is idle for as
            long is forgotten.
        @param limit: How many are remembered; of more, the longest idle are
            forgotten.
        """
        self._expiration_ms = expiration_ms
        self._limit = limit
        self._states: OrderedDict[int, ProducerState] = OrderedDict()  # longest idle first

    def __len__(self) -> int:
        return len(self._states)

    def all(self) -> Sequence[ProducerState]:
        """
        Every producer's state, the longest idle first.
        """
        return list(self._states.values())

    def check(self, header: BatchHeader, now: int) -> int | None:
        """
        Whether a batch may be appended: None if so; its first base offset if
        it was before. Of batches without a producer, all may.

        @param now: The time in ms.
        @raise InvalidProducerEpoch: of a producer that was replaced.
        @raise OutOfOrderSequenceNumber: records are missing between the last
            batch and this one, or it was appended so long ago that it is not
            remembered.
        """
        if header.producer_id < 0:
            return None
        self.expire(now)
        state = self._states.get(header.producer_id)
        if state is None:
            # Forgotten, or its records are gone: who knows where it stands?
            # Kafka accepts any sequence, too.
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

    def append(self, header: BatchHeader, base_offset: int, now: int = NOT_KNOWN) -> None:
        """
        Take note of a batch that was appended, without checking it.

        @param now: The time in ms, if it is appended now.
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
            self._states.popitem(last=False)

    def replay(self, header: BatchHeader, now: int = NOT_KNOWN) -> None:
        """
        Take note of a batch of the log.
        """
        self.append(header, header.base_offset, now)

    def expire(self, now: int) -> None:
        """
        Forget who is idle for too long. Who was never seen, because its state
        was rebuilt from the log, counts as seen now.
        """
        states = self._states
        while states:
            state = next(iter(states.values()))
            if state.seen == NOT_KNOWN:
                states[state.producer_id] = attrs.evolve(state, seen=now)
                states.move_to_end(state.producer_id)
            elif now - state.seen >= self._expiration_ms:
                del states[state.producer_id]
            else:
                return

    def after(self, batches: Sequence[bytes], now: int) -> ProducerStates:
        """
        The states when these batches of the log have followed.
        """
        states = self.copy()
        states.expire(now)
        for batch in batches:
            states.replay(read_batch_header(batch), now)
        return states

    def copy(self) -> ProducerStates:
        """
        The same states, to go ways of their own.
        """
        other = ProducerStates(self._expiration_ms, self._limit)
        other._states = self._states.copy()
        return other

    def snapshot(self) -> bytes:
        """
        All states, as a segment's footer has them.
        """
        return write_producers(self._states.values())

    def restore(self, snapshot: bytes | memoryview) -> None:
        """
        Have the states of a L{snapshot}, and no others; empty bytes are that
        of no states.

        @raise CorruptObject: it is no such snapshot.
        """
        states = read_producers(snapshot)
        self._states = OrderedDict((state.producer_id, state) for state in states)
