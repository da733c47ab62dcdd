"""
What makes a retried batch appear once.

An idempotent producer numbers its records, partition by partition. The
partition remembers, of each producer, the last five batches (as many as a
producer has under way): what comes again is answered with the offset that it
got the first time, and what would leave a gap is refused.

The states follow from the batches: they are never stored ahead of them, and
are rebuilt by going through the batches that came after a stored one. The
rules are those of Kafka's C{ProducerStateManager} and C{ProducerAppendInfo}.

As stored (big-endian)::

    UINT8   version: 1
    UINT32  number of producers; then of each, the longest idle first:
        INT64   producer id
        INT16   producer epoch
        INT64   when it was last seen, in ms; -1: not known
        UINT8   number of batches; then of each, the oldest first:
            INT32   first sequence number
            INT32   last sequence number
            INT64   base offset
            INT64   largest timestamp in ms
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import attrs

from kafscale.errors import InvalidProducerEpoch, OutOfOrderSequenceNumber, StoreError
from kafscale.wire.records import BatchHeader, read_batch_header

REMEMBERED = 5
"""How many batches of a producer are known again."""

NOT_KNOWN = -1
"""In place of the time when a producer was seen."""

_LAST_SEQUENCE = 2**31 - 1

_VERSION = 1
_HEAD = struct.Struct(">BI")
_PRODUCER = struct.Struct(">qhqB")
_BATCH = struct.Struct(">iiqq")


class ProducedBatch(NamedTuple):
    """
    A batch of an idempotent producer.

    @ivar timestamp: The largest of its records, in ms.
    """

    base_sequence: int
    last_sequence: int
    base_offset: int
    timestamp: int


@attrs.frozen
class ProducerState:
    """
    What is known of one producer.

    @ivar seen: The broker's time in ms when it last appended; `NOT_KNOWN` if
        nobody noted it.
    @ivar batches: The last `REMEMBERED` of this epoch, oldest first.
    """

    producer_id: int
    producer_epoch: int
    seen: int
    batches: tuple[ProducedBatch, ...]

    @property
    def last_sequence(self) -> int:
        """
        Sequence number of the last record.
        """
        return self.batches[-1].last_sequence

    @property
    def last_timestamp(self) -> int:
        """
        The largest timestamp in the last batch, in ms.
        """
        return self.batches[-1].timestamp

    def original(self, header: BatchHeader) -> int | None:
        """
        The base offset that this very batch got before, if it is remembered.
        """
        if header.producer_epoch != self.producer_epoch:
            return None
        first, last = header.base_sequence, header.last_sequence
        for batch in self.batches:
            if batch.base_sequence == first and batch.last_sequence == last:
                return batch.base_offset
        return None


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
        All states, as the module's docstring lays them out.
        """
        pieces = [_HEAD.pack(_VERSION, len(self._states))]
        for state in self._states.values():
            pieces.append(
                _PRODUCER.pack(
                    state.producer_id, state.producer_epoch, state.seen, len(state.batches)
                )
            )
            pieces += [_BATCH.pack(*batch) for batch in state.batches]
        return b"".join(pieces)

    def restore(self, snapshot: bytes | memoryview) -> None:
        """
        Have the states of a L{snapshot}, and no others; empty bytes are that
        of no states.

        @raise StoreError: it is no such snapshot.
        """
        states: OrderedDict[int, ProducerState] = OrderedDict()
        if snapshot:
            try:
                version, count = _HEAD.unpack_from(snapshot)
                if version != _VERSION:
                    raise StoreError(f"Producer states have the unknown version {version}")
                at = _HEAD.size
                for _ in range(count):
                    producer_id, epoch, seen, size = _PRODUCER.unpack_from(snapshot, at)
                    at += _PRODUCER.size
                    stop = at + size * _BATCH.size
                    batches = tuple(
                        ProducedBatch._make(row) for row in _BATCH.iter_unpack(snapshot[at:stop])
                    )
                    if len(batches) != size or not size:
                        raise StoreError("Producer states are cut short")
                    states[producer_id] = ProducerState(producer_id, epoch, seen, batches)
                    at = stop
            except struct.error as error:
                raise StoreError("Producer states are cut short") from error
        self._states = states
