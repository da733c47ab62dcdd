"""
What the coordinator commits, answers and sends, and when.
"""

from __future__ import annotations

from functools import partial

import attrs
from twisted.logger import LogLevel, capturedLogs

from kafscale.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    InvalidProducerIdMapping,
    InvalidRequest,
    InvalidTransactionTimeout,
    InvalidTxnState,
    NotCoordinator,
    ProducerFenced,
    StoreError,
    StoreUnavailable,
    TransactionalIdNotFound,
)
from kafscale.format import metadata_keys
from kafscale.format.transactional_id import TransactionalIdRecord, TransactionState
from kafscale.interfaces import Admitted, Given, Marker
from kafscale.transaction.coordinator import AGAIN_SECONDS
from kafscale.transaction.settings import CHECK_SECONDS
from kafscale.transaction.states import LAST_EPOCH
from tests.group.members import OTHER
from tests.transaction.brokers import (
    ELSEWHERE,
    ID,
    PARTITION,
    SECOND,
    SHARD,
    TIMEOUT_MS,
    TransactionTestCase,
)

S = TransactionState
DAY = 86400.0


class RequestTests(TransactionTestCase):
    """
    Requests of producers, on a store that answers at once.
    """

    def test_a_transaction(self) -> None:
        """
        It costs three commits: its beginning, the decision, and that it is complete. The
        markers carry the epoch that EndTxn 5 answers, and the transaction's number.
        """
        producer = self.initialized()
        before = self.commits()
        added = self.now(self.add(producer, PARTITION, SECOND, "g"))
        self.assertEqual((added, self.state()), (Admitted(1), S.ONGOING))
        given = self.now(self.end(producer))
        self.assertEqual(given, Given(producer[0], producer[1] + 1))
        self.assertEqual((self.state(), self.commits() - before), (S.COMPLETE_COMMIT, 3))
        marker = Marker((given.producer_id, given.epoch), 1, True)
        self.assertEqual(
            sorted(self.leaders.written, key=str),
            sorted([(marker, PARTITION), (marker, SECOND), (marker, "g")], key=str),
        )

    def test_old_client(self) -> None:
        """
        EndTxn 4 leaves the epoch as it is; the next transaction has the next number.
        """
        producer = self.opened()
        self.assertEqual(self.now(self.end(producer, False, False)), Given(*producer))
        self.assertEqual(self.leaders.written, [(Marker(producer, 1, False), PARTITION)])
        self.assertEqual(self.now(self.add(producer, PARTITION)), Admitted(2))

    def test_restart(self) -> None:
        """
        What was answered is there after a restart.
        """
        producer = self.opened()
        self.restart()
        verified = self.now(self.broker.coordinator.verify(ID, producer, [PARTITION, SECOND]))
        self.assertEqual(verified, Admitted(1, frozenset({SECOND})))
        self.refused(InvalidTxnState, self.ended_twice(producer))
        self.restart()
        self.assertEqual(self.now(self.end(producer)), Given(producer[0], producer[1] + 1))

    async def ended_twice(self, producer: tuple[int, int]) -> None:
        """
        Commit a transaction, and abort it afterwards.
        """
        await self.end(producer)
        await self.end(producer, commit=False)

    def test_not_valid(self) -> None:
        """
        Ids without a name, halves of a producer, and time-outs out of bounds.
        """
        initialize = self.broker.coordinator.initialize
        for awaitable in (
            initialize("", TIMEOUT_MS),
            initialize(ID, TIMEOUT_MS, (1000, -1)),
            initialize(ID, TIMEOUT_MS, (-1, 0)),
            self.broker.coordinator.add("", (1000, 0)),
            self.broker.coordinator.verify("", (1000, 0)),
            self.broker.coordinator.end("", (1000, 0), True, True),
        ):
            self.refused(InvalidRequest, awaitable)
        for timeout_ms in (900_001, 0, -1):
            self.refused(InvalidTransactionTimeout, initialize(ID, timeout_ms))
        for timeout_ms in (900_000, 1):
            self.now(initialize(ID, timeout_ms))

    def test_exhausted(self) -> None:
        """
        In the last epoch a new producer id is taken from the source.
        """
        self.put(TransactionalIdRecord(7, LAST_EPOCH, TIMEOUT_MS))
        self.now(self.add((7, LAST_EPOCH), PARTITION))
        given = self.now(self.end((7, LAST_EPOCH)))
        self.assertEqual(given, Given(1000, 0))
        self.assertEqual(self.leaders.written, [(Marker((7, LAST_EPOCH + 1), 1, True), PARTITION)])
        self.assertEqual(self.now(self.add((1000, 0), PARTITION)), Admitted(1))

    def test_no_producer_ids(self) -> None:
        """
        If none can be had nothing changes.
        """
        self.ids.failure = StoreUnavailable()
        self.refused(CoordinatorNotAvailable, self.broker.coordinator.initialize(ID, TIMEOUT_MS))
        self.ids.failure = None
        self.assertEqual(self.initialized(), (1000, 0))

    def test_described(self) -> None:
        """
        Tools see what is committed.
        """
        producer = self.opened()
        coordinator = self.broker.coordinator
        self.assertEqual(coordinator.describe(ID), self.stored())
        self.assertEqual(dict(coordinator.ids()), {ID: self.stored()})
        self.assertRaises(TransactionalIdNotFound, coordinator.describe, "other")
        self.assertRaises(InvalidRequest, coordinator.describe, "")
        self.hold()
        self.begin(self.end(producer))
        self.assertIs(coordinator.describe(ID).state, S.ONGOING)


class TurnTests(TransactionTestCase):
    """
    Requests that come while a commit is under way.
    """

    def test_one_by_one(self) -> None:
        """
        The second request for an id is decided by what the first has committed.
        """
        producer = self.initialized()
        store = self.hold()
        first = self.begin(self.add(producer, PARTITION))
        second = self.begin(self.add(producer, SECOND))
        third = self.begin(self.end(producer))
        (commit,) = store.pending
        self.assertNoResult(first)
        commit.succeed()
        self.assertEqual(self.successResultOf(first), Admitted(1))
        self.assertNoResult(second)
        store.settle()
        self.assertEqual(self.successResultOf(second), Admitted(1))
        self.successResultOf(third)
        self.assertEqual({place for _, place in self.leaders.written}, {PARTITION, SECOND})

    def test_together(self) -> None:
        """
        What many ids of a shard ask meanwhile is one commit.
        """
        names = [f"id-{n}" for n in range(1000)]
        names = [name for name in names if metadata_keys.shard_of(name) == SHARD][:50]
        self.assertEqual(len(names), 50)
        before = self.commits()
        store = self.hold()
        first = self.begin(self.broker.coordinator.initialize(ID, TIMEOUT_MS))
        rest = [self.begin(self.broker.coordinator.initialize(name, TIMEOUT_MS)) for name in names]
        store.settle()
        for each in (first, *rest):
            self.successResultOf(each)
        self.assertEqual(self.commits() - before, 2)

    def test_added_together(self) -> None:
        """
        Partitions that leaders add meanwhile are one commit. Requests before and after
        them, and of another epoch, are not.
        """
        producer = self.initialized()
        before = self.commits()
        store = self.hold()
        places = [(PARTITION[0], index) for index in range(20)]
        first = self.begin(self.add(producer, "g"))
        adds = [self.begin(self.add(producer, each, asks=True)) for each in places[:19]]
        wrong = self.begin(self.add((producer[0], producer[1] + 1), PARTITION))
        last = self.begin(self.add(producer, places[19]))
        end = self.begin(self.end(producer))
        store.settle()
        for each in (first, *adds, last):
            self.assertEqual(self.successResultOf(each), Admitted(1))
        self.failureResultOf(wrong, ProducerFenced)
        self.successResultOf(end)
        self.assertEqual({place for _, place in self.leaders.written}, {"g", *places})
        self.assertEqual(self.commits() - before, 5)

    def test_added_and_refused_together(self) -> None:
        """
        A client's request among leaders' is answered after a look at the store.
        """
        producer = self.opened()
        old = self.broker
        store = self.hold()
        first = self.begin(self.add(producer, SECOND))
        asked = self.begin(self.add(producer, PARTITION, asks=True))
        added = self.begin(self.add(producer, PARTITION))
        store.pending[0].succeed()
        self.successResultOf(first)
        self.broker = self.started()
        store.settle()
        self.failureResultOf(asked, NotCoordinator)
        self.failureResultOf(added, NotCoordinator)
        self.assertIsNot(self.broker, old)

    def test_many_wait(self) -> None:
        """
        However many wait, they are answered in their order.
        """
        producer = self.initialized()
        store = self.hold()
        answers: list[int] = []
        self.begin(self.add(producer, PARTITION))
        for number in range(3000):
            asked = self.begin(self.broker.coordinator.verify(ID, producer, [PARTITION]))
            asked.addCallback(partial(self.note, answers, number))
        store.settle()
        self.assertEqual(answers, list(range(3000)))

    def note(self, answers: list[int], number: int, _: object) -> None:
        """
        An answer came.
        """
        answers.append(number)

    def test_cancelled(self) -> None:
        """
        Who gives up waiting stops nothing: the commit goes on, and the next waits for it.
        """
        producer = self.initialized()
        store = self.hold()
        first = self.begin(self.add(producer, PARTITION))
        first.cancel()
        second = self.begin(self.add(producer, PARTITION))
        self.assertNoResult(second)
        store.settle()
        self.assertEqual(self.successResultOf(second), Admitted(1))

    def test_outcome_unknown(self) -> None:
        """
        A commit whose answer is lost counts once.
        """
        producer = self.initialized()
        store = self.hold()
        asked = self.begin(self.add(producer, PARTITION))
        store.pending[0].fail_but_apply()
        self.assertNoResult(asked)
        store.settle()
        self.assertEqual(self.successResultOf(asked), Admitted(1))

    def test_commit_fails(self) -> None:
        """
        After a commit that has failed the record is read again, whether it was done or
        not.
        """
        self.kill()
        self.broker = self.started(wraps=True)
        shard = self.broker.shards[SHARD]
        producer = self.initialized()
        for number, shard.applies in ((1, False), (2, True)):
            shard.failure = StoreError("no space")
            self.refused(CoordinatorNotAvailable, self.add(producer, PARTITION))
            self.assertEqual(self.now(self.add(producer, SECOND)), Admitted(number))
            record = self.stored()
            assert record is not None
            places = {PARTITION, SECOND} if shard.applies else {SECOND}
            self.assertEqual(record.partitions, places)
            self.now(self.end(producer, raises=False))

    def test_decision_fails(self) -> None:
        """
        A decision that is found to be stored after all is carried out.
        """
        self.kill()
        self.broker = self.started(wraps=True)
        shard = self.broker.shards[SHARD]
        producer = self.opened()
        shard.failure, shard.applies = StoreError("no space"), True
        self.refused(CoordinatorNotAvailable, self.end(producer))
        self.assertEqual((self.state(), self.leaders.written), (S.PREPARE_COMMIT, []))
        self.refused(ConcurrentTransactions, self.broker.coordinator.initialize(ID, TIMEOUT_MS))
        self.assertEqual(self.state(), S.COMPLETE_COMMIT)

    def test_end_fails(self) -> None:
        """
        That a transaction is complete is committed again if it fails.
        """
        self.kill()
        self.broker = self.started(wraps=True)
        shard = self.broker.shards[SHARD]
        for applies in (False, True):
            self.leaders.are_slow = True
            producer = self.opened()
            self.now(self.end(producer))
            self.leaders.are_slow = False
            shard.failure, shard.applies = StoreError("no space"), applies
            self.leaders.answer_all()
            self.clock.advance(AGAIN_SECONDS)
            self.assertEqual(self.state(), S.COMPLETE_COMMIT)
            self.clock.advance(AGAIN_SECONDS)


class MarkerTests(TransactionTestCase):
    """
    Markers, and leaders that do not answer at once.
    """

    def setUp(self) -> None:
        """
        The test answers for the leaders.
        """
        super().setUp()
        self.leaders.are_slow = True

    def test_answered_before(self) -> None:
        """
        EndTxn is answered when the decision is committed. Until the markers are durable
        nothing begins, and afterwards the next transaction does.
        """
        producer = self.opened()
        given = self.now(self.end(producer))
        following = (given.producer_id, given.epoch)
        self.assertEqual(self.state(), S.PREPARE_COMMIT)
        self.refused(ConcurrentTransactions, self.add(following, PARTITION))
        self.refused(ConcurrentTransactions, self.broker.coordinator.initialize(ID, TIMEOUT_MS))
        self.leaders.answer_all()
        self.assertEqual(self.state(), S.COMPLETE_COMMIT)
        self.assertEqual(self.now(self.add(following, PARTITION)), Admitted(2))

    def test_all_of_them(self) -> None:
        """
        The transaction is complete when the last one is durable. Only those that failed
        are sent again, after a pause.
        """
        producer = self.opened(PARTITION, SECOND, "g")
        self.now(self.end(producer))
        waiting, self.leaders.waiting = self.leaders.waiting, []
        by_place = {each.place: each for each in waiting}
        by_place[PARTITION].answer.callback(None)
        by_place["g"].refuse()
        by_place[SECOND].refuse()
        self.assertEqual((self.state(), self.leaders.waiting), (S.PREPARE_COMMIT, []))
        self.clock.advance(0.1)
        self.assertEqual({each.place for each in self.leaders.waiting}, {SECOND, "g"})
        self.leaders.answer_all()
        self.assertEqual(self.state(), S.COMPLETE_COMMIT)

    def test_for_long(self) -> None:
        """
        They are sent for as long as it takes, and now and then the log says so.
        """
        self.now(self.end(self.opened()))
        with capturedLogs() as logged:
            for _ in range(60):
                self.assertEqual(len(self.leaders.waiting), 1)
                self.leaders.refuse_all()
                self.clock.advance(1)
        warnings = [each for each in logged if each["log_level"] is LogLevel.warn]
        self.assertEqual([each["count"] for each in warnings], [1, 1])
        self.leaders.answer_all()
        self.assertEqual(self.state(), S.COMPLETE_COMMIT)

    def test_topic_deleted(self) -> None:
        """
        A partition of a deleted topic needs no marker; one of a topic that is merely
        unknown does.
        """
        self.now(self.end(self.opened(PARTITION, ELSEWHERE)))
        del self.image.known[OTHER.topic_id]
        self.image.unseen.add(OTHER.topic_id)
        self.leaders.refuse_all()
        self.clock.advance(1)
        self.assertEqual({each.place for each in self.leaders.waiting}, {PARTITION, ELSEWHERE})
        self.image.unseen.clear()
        self.leaders.refuse_all()
        self.clock.advance(1)
        self.assertEqual({each.place for each in self.leaders.waiting}, {PARTITION})
        self.leaders.answer_all()
        self.assertEqual(self.state(), S.COMPLETE_COMMIT)

    def test_store_does_not_say(self) -> None:
        """
        If it cannot be known whether a topic is deleted, its markers are sent again.
        """

        async def fail(_: object) -> list[object]:
            raise StoreUnavailable

        self.now(self.end(self.opened()))
        self.patch(self.image, "gone", fail)
        self.leaders.refuse_all()
        self.clock.advance(1)
        self.assertEqual(len(self.leaders.waiting), 1)

    def test_successor(self) -> None:
        """
        A broker that takes the shard sends the markers of what is decided.
        """
        producer = self.opened(PARTITION, "g")
        self.now(self.end(producer))
        first = {(each.marker, each.place) for each in self.leaders.waiting}
        self.restart()
        self.assertEqual({(each.marker, each.place) for each in self.leaders.waiting}, first)
        self.leaders.answer_all()
        self.assertEqual(self.state(), S.COMPLETE_COMMIT)

    def test_released(self) -> None:
        """
        A broker that does not own the shard any longer sends nothing more, and does not
        complete what its markers did.
        """
        self.now(self.end(self.opened(PARTITION, SECOND)))
        waiting, self.leaders.waiting = self.leaders.waiting, []
        waiting[0].answer.callback(None)
        waiting[1].refuse()
        self.broker.release(SHARD)
        self.clock.advance(10)
        self.assertEqual(self.leaders.waiting, [])
        self.assertEqual(self.state(), S.PREPARE_COMMIT)

    def test_defect(self) -> None:
        """
        A defect ends the sending, and is logged.
        """

        async def fail(_: object) -> list[object]:
            raise ZeroDivisionError

        self.now(self.end(self.opened()))
        self.patch(self.image, "gone", fail)
        self.leaders.refuse_all()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class TimeOutTests(TransactionTestCase):
    """
    Transactions that are open for too long.
    """

    def test_aborted(self) -> None:
        """
        When the time is up, and not before, the transaction is aborted, with the next
        epoch in the markers.
        """
        producer = self.opened()
        self.clock.advance(50)
        self.now(self.add(producer, SECOND))  # does not prolong it
        self.clock.advance(9)
        self.assertEqual(self.state(), S.ONGOING)
        self.clock.advance(1)
        self.assertEqual(self.state(), S.COMPLETE_ABORT)
        marker = Marker((producer[0], producer[1] + 1), 1, False)
        self.assertEqual(set(self.leaders.written), {(marker, PARTITION), (marker, SECOND)})
        self.refused(InvalidTxnState, self.end(producer))
        self.assertEqual(
            self.now(self.end(producer, commit=False)), Given(producer[0], producer[1] + 1)
        )

    def test_in_time(self) -> None:
        """
        The time of a transaction that has ended does nothing to the next one.
        """
        producer = self.opened()
        self.clock.advance(59)
        given = self.now(self.end(producer))
        following = (given.producer_id, given.epoch)
        self.now(self.add(following, PARTITION))
        self.clock.advance(59)
        self.assertEqual(self.state(), S.ONGOING)
        self.clock.advance(1)
        self.assertEqual(self.state(), S.COMPLETE_ABORT)

    def test_after_a_restart(self) -> None:
        """
        A new owner goes on with the time, also if it is over.
        """
        self.opened()
        self.clock.advance(50)
        self.restart()
        self.clock.advance(9)
        self.assertEqual(self.state(), S.ONGOING)
        self.kill()
        self.clock.advance(100)
        self.broker = self.started()
        self.clock.advance(0)
        self.assertEqual(self.state(), S.COMPLETE_ABORT)

    def test_clocks_differ(self) -> None:
        """
        A new owner whose clock is behind waits no longer than the whole time.
        """
        self.opened()
        self.kill()
        self.clock.rightNow -= 5000
        self.broker = self.started()
        self.clock.advance(60)
        self.assertEqual(self.state(), S.COMPLETE_ABORT)

    def test_store_does_not_answer(self) -> None:
        """
        The abort is tried until it is committed.
        """
        self.put(
            TransactionalIdRecord(
                7,
                LAST_EPOCH,
                1000,
                S.ONGOING,
                1,
                int(self.clock.seconds() * 1000),
                partitions=frozenset({PARTITION}),
            )
        )
        self.ids.failure = StoreUnavailable()
        self.clock.advance(1)
        self.assertEqual(self.state(), S.ONGOING)
        self.ids.failure = None
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.state(), S.COMPLETE_ABORT)

    def test_defect(self) -> None:
        """
        A defect is logged.
        """
        self.put(TransactionalIdRecord(7, LAST_EPOCH, 1000, S.ONGOING, 1, 0))
        self.ids.failure = ZeroDivisionError()
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LifeTests(TransactionTestCase):
    """
    Shards come and go, and ids expire.
    """

    def test_loading(self) -> None:
        """
        While a shard is being taken, clients ask again; where there is none, they ask
        another broker.
        """
        self.broker.groups.begin(150)
        self.refused(CoordinatorLoadInProgress, self.add((1000, 0), PARTITION))
        self.assertRaises(CoordinatorLoadInProgress, self.broker.coordinator.ids)
        store = self.hold()
        owning = self.begin(self.broker.groups.own([SHARD]))
        self.refused(CoordinatorLoadInProgress, self.add((1000, 0), PARTITION))
        store.settle()
        self.successResultOf(owning)
        store.policy = None
        self.begin(self.broker.groups.own([]))
        self.refused(NotCoordinator, self.add((1000, 0), PARTITION))
        self.assertRaises(NotCoordinator, self.broker.coordinator.describe, ID)

    def test_released(self) -> None:
        """
        Requests that wait for their turn when the shard goes are refused; the commit
        under way is answered as it ends.
        """
        producer = self.initialized()
        store = self.hold()
        first = self.begin(self.add(producer, PARTITION))
        second = self.begin(self.add(producer, SECOND))
        self.broker.release(SHARD)
        store.settle()
        self.assertEqual(self.successResultOf(first), Admitted(1))
        self.failureResultOf(second, NotCoordinator)
        self.clock.advance(100)
        self.assertEqual(self.state(), S.ONGOING)

    def test_stopped(self) -> None:
        """
        A coordinator that has stopped does nothing more, and loads nothing.
        """
        self.opened()
        store = self.hold()
        loading = self.begin(self.broker.groups.own([]))
        self.successResultOf(loading)
        loading = self.begin(self.broker.groups.own([SHARD]))
        self.broker.coordinator.stop()
        store.settle()
        self.refused(NotCoordinator, self.add((1000, 0), PARTITION))
        self.clock.advance(100)
        self.assertEqual(self.state(), S.ONGOING)

    def test_expired(self) -> None:
        """
        An id that was not used for a week is forgotten, within an hour; whoever comes
        back begins anew.
        """
        producer = self.initialized()
        self.clock.advance(7 * DAY - 1)
        self.assertEqual(self.state(), S.EMPTY)
        self.clock.pump([CHECK_SECONDS] * 2)
        self.assertEqual(self.state(), S.DEAD)
        self.assertRaises(TransactionalIdNotFound, self.broker.coordinator.describe, ID)
        self.refused(InvalidProducerIdMapping, self.add(producer, PARTITION))
        self.assertEqual(
            self.now(self.broker.coordinator.initialize(ID, TIMEOUT_MS, producer)),
            Given(1001, 0),
        )

    def test_not_expired(self) -> None:
        """
        Not so one whose transaction is not complete.
        """
        self.leaders.are_slow = True
        self.now(self.end(self.opened()))
        self.clock.pump([CHECK_SECONDS] * 200)
        self.assertEqual(self.state(), S.PREPARE_COMMIT)

    def test_expired_elsewhere(self) -> None:
        """
        A broker that was replaced makes no id expire.
        """
        self.initialized()
        old = self.broker
        self.clock.advance(7 * DAY - 1)
        self.broker = self.started()
        self.initialized()
        self.assertEqual(len(old.coordinator.ids()), 1)
        self.clock.pump([CHECK_SECONDS] * 3)
        self.assertEqual(self.state(), S.EMPTY)
        self.assertEqual(old.coordinator.ids(), [])

    def test_used_while_it_expires(self) -> None:
        """
        An id that is used just before its turn stays.
        """
        producer = self.initialized()
        self.clock.advance(7 * DAY - CHECK_SECONDS)
        store = self.hold()
        asked = self.begin(self.add(producer, PARTITION))
        self.clock.advance(2 * CHECK_SECONDS)
        store.settle()
        self.successResultOf(asked)
        self.assertIsNotNone(self.stored())


class FencingTests(TransactionTestCase):
    """
    Two instances of a producer.
    """

    def test_second_instance(self) -> None:
        """
        It gets an epoch when what the first had open is aborted; the first is fenced.
        """
        self.leaders.are_slow = True
        first = self.opened()
        self.refused(ConcurrentTransactions, self.broker.coordinator.initialize(ID, TIMEOUT_MS))
        self.refused(ProducerFenced, self.end(first))
        self.refused(ConcurrentTransactions, self.broker.coordinator.initialize(ID, TIMEOUT_MS))
        self.leaders.answer_all()
        self.assertEqual(self.initialized(), (first[0], first[1] + 2))
        self.refused(ProducerFenced, self.end(first))
        self.assertEqual(
            self.leaders.written, [(Marker((first[0], first[1] + 1), 1, False), PARTITION)]
        )

    def test_version_1(self) -> None:
        """
        Where transaction.version is 1, a producer whose transaction has timed out is
        fenced.
        """
        self.keeps_epoch = False
        producer = self.opened()
        self.clock.advance(60)
        self.refused(ProducerFenced, self.end(producer, commit=False))
        self.refused(ProducerFenced, self.broker.coordinator.initialize(ID, TIMEOUT_MS, producer))

    def test_longer_timeout(self) -> None:
        """
        The time-out is that of the last InitProducerId.
        """
        self.initialized()
        given = self.now(self.broker.coordinator.initialize(ID, 1000))
        record = self.stored()
        assert record is not None
        self.assertEqual(attrs.astuple(record)[:3], (given.producer_id, given.epoch, 1000))
