"""
All transactional ids that this broker coordinates.

The ids are in the shards that groups are in, and their records in memory as they are in
the metadata store. What a request does is decided by L{kafscale.transaction.states}. It
is committed, and then answered (rule T24). Each commit compares the owner and the
sequence of the shard (rules 22 and T25): a broker that was replaced commits nothing more,
and one that takes a shard reads the records after it owns it.

Requests for one id are processed one by one, in the order in which they come, because the
second is decided by what the first has committed. Those for many ids share commits.

Once a transaction is decided its markers are sent in the background (L{Sending}), by this
broker or by any that owns the shard later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.concurrency.due_queue import DueQueue
from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    InvalidRequest,
    InvalidTransactionTimeout,
    KafkaError,
    NotCoordinator,
    StoreError,
    TransactionalIdNotFound,
    reason_in_log,
)
from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.format.transactional_id import (
    ProducerEpoch,
    TransactionalIdRecord,
    TransactionState,
)
from kafscale.interfaces import (
    Admitted,
    Delete,
    Given,
    IImage,
    IMarkerWriter,
    IMetadataStore,
    IProducerIds,
    IShard,
    IShardTenant,
    ITransactionCoordinator,
    Marker,
    Place,
    Put,
)
from kafscale.transaction.markers import Sending
from kafscale.transaction.settings import CHECK_SECONDS, TransactionSettings
from kafscale.transaction.states import (
    PREPARED,
    TRANSITIONS,
    Add,
    End,
    Event,
    Expire,
    Initialize,
    Mark,
    Outcome,
    ProducerIdNeeded,
    Request,
    TimeOut,
    Verify,
    decide,
    marker_of,
)

AGAIN_SECONDS = 1.0
"""Seconds until what nobody waits for is tried again."""

EXPIRED_AT_ONCE = 99
"""How many ids that have expired are deleted together."""


Waiting: TypeAlias = deque[tuple[Request, Deferred[Outcome]]]
"""Requests for an id that wait for their turn, and what fires with their outcomes."""


@attrs.define(eq=False)
class _Owned:
    """
    A shard that this broker owns.

    @ivar records: As they are in the store, by transactional id.
    @ivar uncertain: Ids whose record is read before anything else, because a commit has
        failed.
    @ivar turns: The requests that wait for their turn, by the id. An id is in it while one
        of its requests is being processed.
    @ivar sendings: The markers that are being sent.
    @ivar released: It may have another owner.
    """

    shard: IShard
    records: dict[str, TransactionalIdRecord]
    uncertain: set[str] = attrs.field(factory=set)
    turns: dict[str, Waiting] = attrs.field(factory=dict)
    sendings: dict[str, Sending] = attrs.field(factory=dict)
    released: bool = False


@implementer(ITransactionCoordinator, IShardTenant)
class TransactionCoordinator:
    """
    Coordinates the transactional ids of the shards that this broker owns.
    """

    _log = Logger()

    def __init__(
        self,
        store: IMetadataStore,
        image: IImage,
        ids: IProducerIds,
        writer: IMarkerWriter,
        clock: IReactorTime,
        settings: TransactionSettings,
        keeps_epoch: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        @param image: Knows the topics that exist.
        @param ids: Gives out producer ids.
        @param writer: Writes markers.
        @param clock: In seconds since 1970, because ids expire after days.
        @param keeps_epoch: Whether a producer whose transaction has timed out may go on
            in the next epoch: finalized C{transaction.version} 2.
        """
        self._store = store
        self._image = image
        self._ids = ids
        self._writer = writer
        self._clock = clock
        self._settings = settings
        self._keeps_epoch = keeps_epoch
        self._shards: dict[int, _Owned] = {}
        self._loading: set[int] = set()
        self._open: DueQueue[str] = DueQueue(clock, clock.seconds, self._time_is_up)
        self._next_expiry: IDelayedCall | None = None
        self._stopped = False

    # -- life ------------------------------------------------------------------

    def expect(self, numbers: Collection[int]) -> None:
        """
        See L{IShardTenant.expect}.
        """
        self._loading = set(numbers)

    async def load(self, shard: IShard) -> None:
        """
        See L{IShardTenant.load}. What was decided is finished, and what is open gets the
        rest of its time.
        """
        self.release(shard.number)
        prefix = metadata_keys.transactional_ids(shard.number)
        entries, _ = await self._store.range(prefix)
        owned = _Owned(
            shard,
            {
                metadata_keys.transactional_id_of(entry.key): TransactionalIdRecord.from_entry(
                    entry
                )
                for entry in entries
            },
        )
        if self._stopped:
            return
        self._shards[shard.number] = owned
        self._loading.discard(shard.number)
        if self._next_expiry is None:
            self._next_expiry = self._clock.callLater(CHECK_SECONDS, self._expire)
        for name, record in list(owned.records.items()):
            self._follow(owned, name, record)

    def release(self, number: int) -> None:
        """
        See L{IShardTenant.release}. Requests under way are answered when their commits
        end.
        """
        owned = self._shards.pop(number, None)
        if owned is None:
            return
        owned.released = True
        for sending in owned.sendings.values():
            sending.stop()
        for name, record in owned.records.items():
            if record.state is TransactionState.ONGOING:
                self._open.remove(name)

    def stop(self) -> None:
        """
        Coordinate nothing any longer.
        """
        self._stopped = True
        self._loading.clear()
        if self._next_expiry is not None and self._next_expiry.active():
            self._next_expiry.cancel()
        for number in list(self._shards):
            self.release(number)
        self._open.stop()

    def _owned(self, name: str) -> _Owned:
        number = metadata_keys.shard_of(name)
        owned = self._shards.get(number)
        if owned is None:
            raise CoordinatorLoadInProgress if number in self._loading else NotCoordinator
        return owned

    # -- requests --------------------------------------------------------------

    async def initialize(
        self, name: str, timeout_ms: int, producer: ProducerEpoch | None = None
    ) -> Given:
        """
        See L{ITransactionCoordinator.initialize}.
        """
        if not name or (producer is not None and min(producer) < 0):
            raise InvalidRequest
        if not 0 < timeout_ms <= self._settings.max_timeout_ms:
            raise InvalidTransactionTimeout
        answer = await self._ask(name, Initialize(timeout_ms, producer, self._keeps_epoch()))
        assert isinstance(answer, Given)
        return answer

    async def add(
        self,
        name: str,
        producer: ProducerEpoch,
        partitions: Collection[TopicIdPartition] = (),
        groups: Collection[str] = (),
        asks: bool = False,
    ) -> Admitted:
        """
        See L{ITransactionCoordinator.add}.
        """
        request = Add(producer, frozenset(partitions), frozenset(groups), asks)
        answer = await self._ask(name, request)
        assert isinstance(answer, Admitted)
        return answer

    async def verify(
        self,
        name: str,
        producer: ProducerEpoch,
        partitions: Collection[TopicIdPartition] = (),
        groups: Collection[str] = (),
    ) -> Admitted:
        """
        See L{ITransactionCoordinator.verify}.
        """
        answer = await self._ask(name, Verify(producer, frozenset(partitions), frozenset(groups)))
        assert isinstance(answer, Admitted)
        return answer

    async def end(self, name: str, producer: ProducerEpoch, commit: bool, raises: bool) -> Given:
        """
        See L{ITransactionCoordinator.end}.
        """
        answer = await self._ask(name, End(producer, commit, raises))
        assert isinstance(answer, Given)
        return answer

    # -- tools -----------------------------------------------------------------

    def describe(self, name: str) -> TransactionalIdRecord:
        """
        See L{ITransactionCoordinator.describe}.
        """
        if not name:
            raise InvalidRequest
        record = self._owned(name).records.get(name)
        if record is None:
            raise TransactionalIdNotFound
        return record

    def ids(self) -> Sequence[tuple[str, TransactionalIdRecord]]:
        """
        See L{ITransactionCoordinator.ids}.
        """
        if self._loading:
            raise CoordinatorLoadInProgress
        return [each for owned in self._shards.values() for each in owned.records.items()]

    # -- one id ----------------------------------------------------------------

    async def _ask(self, name: str, request: Request) -> Given | Admitted | None:
        """
        What a request is answered, when its turn has come.
        """
        if not name:
            raise InvalidRequest
        try:
            outcome = await self._processed(self._owned(name), name, request)
        except StoreError as error:
            self._log.warn(
                "could not change transactional id {name}; its client asks again: {why}",
                name=name,
                why=reason_in_log(error),
            )
            raise CoordinatorNotAvailable from error
        answer = outcome.answer
        if isinstance(answer, KafkaError):
            raise answer
        return answer

    def _processed(self, owned: _Owned, name: str, request: Request) -> Deferred[Outcome]:
        """
        Process a request after those before it. Nobody stops it half-way: to cancel what
        is returned does nothing to the commit, and the next request waits for it.
        """
        processed: Deferred[Outcome] = Deferred()
        waiting = owned.turns.get(name)
        if waiting is None:
            owned.turns[name] = deque([(request, processed)])
            Deferred.fromCoroutine(self._process_all(owned, name))
        else:
            waiting.append((request, processed))
        return processed

    async def _process_all(self, owned: _Owned, name: str) -> None:
        waiting = owned.turns[name]
        while waiting:
            request, together = _next_turn(waiting)
            try:
                outcome = await self._process(owned, name, request)
            except Exception as error:  # noqa: BLE001 - goes to who waits
                for processed in together:
                    processed.errback(error)
            else:
                for processed in together:
                    processed.callback(outcome)
        del owned.turns[name]

    async def _process(self, owned: _Owned, name: str, request: Request) -> Outcome:
        if owned.released:
            raise NotCoordinator
        if name in owned.uncertain:
            await self._read_again(owned, name)
        record = owned.records.get(name)
        now_ms = int(self._clock.seconds() * 1000)
        try:
            outcome = decide(record, request, now_ms)
        except ProducerIdNeeded:
            outcome = decide(record, request, now_ms, await self._ids.new())
        if outcome.event is not None:
            await self._commit(owned, name, outcome)
        elif outcome.looks:
            await owned.shard.look()
        return outcome

    async def _commit(self, owned: _Owned, name: str, outcome: Outcome) -> None:
        key = metadata_keys.transactional_id(name)
        owned.uncertain.add(name)
        if outcome.record is None:
            await owned.shard.write([Delete(key)])
            del owned.records[name]
        else:
            await owned.shard.write([Put(key, outcome.record.to_json())])
            owned.records[name] = outcome.record
        owned.uncertain.remove(name)
        if outcome.record is not None and not owned.released:
            self._follow(owned, name, outcome.record)

    async def _read_again(self, owned: _Owned, name: str) -> None:
        """
        Read the record of an id after a commit that has failed.
        """
        entry = await self._store.get(metadata_keys.transactional_id(name))
        await owned.shard.look()  # else it may be that of a successor
        if entry is None:
            owned.records.pop(name, None)
        else:
            owned.records[name] = TransactionalIdRecord.from_entry(entry)
        owned.uncertain.remove(name)
        if entry is not None and not owned.released:
            self._follow(owned, name, owned.records[name])

    def _follow(self, owned: _Owned, name: str, record: TransactionalIdRecord) -> None:
        """
        See to it that the transaction of an id ends.
        """
        if record.state is TransactionState.ONGOING:
            now = self._clock.seconds()
            left = (record.began_ms + record.timeout_ms) / 1000 - now
            # The clock of the broker where it began may be ahead of this one's.
            self._open.put(name, now + min(left, record.timeout_ms / 1000))
            return
        self._open.remove(name)
        sending = owned.sendings.get(name)
        marker = Marker(*marker_of(record)) if record.state in PREPARED else None
        if sending is not None:
            if sending.marker == marker:
                return
            sending.stop()
            del owned.sendings[name]
        if marker is not None:
            places: list[Place] = [*record.partitions, *record.groups]
            sending = Sending(name, marker, places, self._writer, self._image, self._clock)
            owned.sendings[name] = sending
            sending.start(partial(self._all_marked, owned, name, marker))

    # -- what nobody asks for --------------------------------------------------

    def _all_marked(self, owned: _Owned, name: str, marker: Marker) -> None:
        """
        The markers of a transaction are durable.
        """
        del owned.sendings[name]
        self._in_background(owned, name, Mark(marker.producer, marker.number))

    def _time_is_up(self, name: str) -> None:
        """
        A transaction was open for as long as its producer allows.
        """
        owned = self._shards.get(metadata_keys.shard_of(name))
        record = None if owned is None else owned.records.get(name)
        if owned is None or record is None:
            return
        self._log.info(
            "transaction {number} of {name} was open for more than {seconds:g} s, and is aborted",
            number=record.number,
            name=name,
            seconds=record.timeout_ms / 1000,
        )
        producer = (record.producer_id, record.epoch)
        self._in_background(owned, name, TimeOut(producer, record.number, self._keeps_epoch()))

    def _in_background(self, owned: _Owned, name: str, request: Request) -> None:
        """
        Process a request for whose answer nobody waits, until that has succeeded or
        another broker owns the shard.
        """

        async def process() -> None:
            while not owned.released:
                try:
                    await self._processed(owned, name, request)
                except NotCoordinator:
                    return
                except StoreError as error:
                    self._log.warn(
                        "could not change transactional id {name}, trying again: {why}",
                        name=name,
                        why=reason_in_log(error),
                    )
                    await deferLater(self._clock, AGAIN_SECONDS)
                else:
                    return

        Deferred.fromCoroutine(process()).addErrback(self._defect, name)

    def _expire(self) -> None:
        """
        Delete the records of ids that were not used for long.
        """
        self._next_expiry = self._clock.callLater(CHECK_SECONDS, self._expire)
        before = int(self._clock.seconds() * 1000) - self._settings.expiration_ms
        expired = [
            (owned, name)
            for owned in self._shards.values()
            for name, record in owned.records.items()
            if record.changed_ms <= before and Event.EXPIRED in TRANSITIONS[record.state]
        ]

        async def expire(which: tuple[_Owned, str]) -> None:
            owned, name = which
            try:
                await self._processed(owned, name, Expire(before))
            except (NotCoordinator, StoreError) as error:
                self._log.debug(
                    "transactional id {name} does not expire yet: {why}",
                    name=name,
                    why=reason_in_log(error),
                )

        async def expire_all() -> None:
            await map_bounded(expire, expired, limit=EXPIRED_AT_ONCE)

        Deferred.fromCoroutine(expire_all()).addErrback(self._defect, "")

    def _defect(self, failure: Failure, name: str) -> None:
        self._log.failure(
            "internal error in the background work on transactional id {name!r}",
            failure,
            name=name,
        )


def _next_turn(waiting: Waiting) -> tuple[Request, list[Deferred[Outcome]]]:
    """
    Take the next request. If it adds to the transaction, and so do those after it, they
    are one: the leaders of many partitions ask at the same time.

    @return: The request, and what fires with its outcome.
    """
    request, processed = waiting.popleft()
    together = [processed]
    while waiting and isinstance(request, Add):
        following = waiting[0][0]
        if not isinstance(following, Add) or following.producer != request.producer:
            break
        request = Add(
            request.producer,
            request.partitions | following.partitions,
            request.groups | following.groups,
            request.asks and following.asks,
        )
        together.append(waiting.popleft()[1])
    return request, together
