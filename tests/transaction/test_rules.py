"""
What happens without each rule that the coordinator keeps: the shortest story of each.

Every story holds for the coordinator as it is, and not for one that breaks the rule.
Random histories find few of them (docs/transactions.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from kafscale.errors import ConcurrentTransactions, InvalidTxnState, NotCoordinator, ProducerFenced
from kafscale.format import metadata_keys
from kafscale.format.transactional_id import TransactionState
from kafscale.group.shard import Shard
from kafscale.interfaces import Admitted, Given
from kafscale.transaction import coordinator, states
from kafscale.transaction.coordinator import TransactionCoordinator
from kafscale.transaction.markers import Sending
from kafscale.transaction.states import Outcome, Request
from tests.harness.hostile import HostileMetadataStore, let_pass
from tests.transaction.brokers import (
    ID,
    PARTITION,
    SECOND,
    TIMEOUT_MS,
    Broker,
    TransactionTestCase,
)

S = TransactionState
Story = Callable[[], None]


class RuleTests(TransactionTestCase):
    """
    Stories in which two brokers own the shard, one after the other.
    """

    write = Shard.write

    def check(self, story: Story, owner: object, name: str, broken: object) -> None:
        """
        The story holds, and does not with the broken part.
        """
        story()
        self.tearDown()
        self.setUp()
        self.patch(owner, name, broken)
        self.assertRaises(self.failureException, story)

    def replaced(self) -> Broker:
        """
        Another broker takes all shards.

        @return: The one before, which does not know it yet.
        """
        old = self.broker
        self.broker = self.started()
        return old

    # -- T24 -------------------------------------------------------------------

    def told_first(self, shard: Shard, operations: list[Any]) -> Deferred[None]:
        """
        A mutation: go on as if it was committed, and commit at the same time.
        """
        RuleTests.write(shard, operations).addErrback(lambda _: None)
        return succeed(None)

    def added_and_moved(self) -> None:
        """
        A partition is added, and the shard moves before that is committed: the leader
        must not have been told, or it appends what nobody ever ends.
        """
        producer = self.initialized()
        store = self.hold()
        asked = self.begin(self.add(producer, PARTITION, asks=True))
        told = asked.called
        self.replaced()
        store.settle()
        if told:
            self.assertIs(self.state(), S.ONGOING, "the leader was told of a transaction")
        self.failureResultOf(asked, NotCoordinator)

    def test_added_first(self) -> None:
        """
        Rule T24: an add is answered after its commit.
        """
        self.check(
            self.added_and_moved,
            Shard,
            "write",
            lambda shard, operations: self.told_first(shard, operations),
        )

    def decided_and_moved(self) -> None:
        """
        A transaction is decided, and the shard moves before that is committed: its
        time-out aborts it, so no marker may say that it is committed.
        """
        producer = self.opened()
        store = self.hold()
        asked = self.begin(self.end(producer))
        self.replaced()
        store.settle()
        self.clock.advance(60)
        self.assertIs(self.state(), S.COMPLETE_ABORT)
        self.assertEqual([marker.commit for marker, _ in self.leaders.written], [False])
        self.failureResultOf(asked, NotCoordinator)

    def test_decided_first(self) -> None:
        """
        Rule T24: markers are sent, and EndTxn is answered, after the decision's commit.
        """
        self.check(
            self.decided_and_moved,
            Shard,
            "write",
            lambda shard, operations: self.told_first(shard, operations),
        )

    # -- T25 -------------------------------------------------------------------

    def two_owners(self) -> None:
        """
        The shard has moved, and the new owner's transaction is committed. The old one,
        which knows of the one before, aborts nothing.
        """
        producer = self.opened()
        old = self.replaced()
        self.leaders.are_slow = True
        self.now(self.end(producer))
        late = self.begin(self.end(producer, commit=False, broker=old))
        self.assertIs(self.state(), S.PREPARE_COMMIT)
        self.failureResultOf(late, NotCoordinator)

    def test_owner_compared(self) -> None:
        """
        Rule T25: a commit compares the owner of the shard.
        """

        commit = HostileMetadataStore.commit

        def commit_always(store: Any, compares: object, operations: Any) -> Any:
            return commit(store, [], operations)

        self.check(self.two_owners, HostileMetadataStore, "commit", commit_always)

    def read_too_early(self) -> None:
        """
        A broker takes the shard while the old owner adds a partition. It must know of
        that, or it sends no marker there.
        """
        producer = self.opened()
        old, taking = self.broker, self.slow_broker()
        self.now(self.add(producer, SECOND, broker=old))
        taking.store.policy = let_pass
        taking.store.settle()
        self.broker = taking
        self.now(self.end(producer))
        self.assertEqual({place for _, place in self.leaders.written}, {PARTITION, SECOND})

    def slow_broker(self) -> Broker:
        """
        A broker that is about to take all shards.
        """
        broker = Broker(self, next(self.incarnations))
        self.brokers.append(broker)
        broker.store.policy = None
        broker.groups.begin(broker.incarnation)
        self.begin(broker.groups.own(range(metadata_keys.SHARDS)))
        return broker

    def test_read_after_taking(self) -> None:
        """
        Rule T25: the records are read after the shard is taken.
        """
        known: list[Any] = []
        load = TransactionCoordinator.load

        async def load_what_was_known(self: TransactionCoordinator, shard: Any) -> None:
            await load(self, shard)
            owned = self._shards[shard.number]
            owned.records.update(
                (name, record)
                for name, record in known
                if metadata_keys.shard_of(name) == shard.number
            )

        def slow_broker() -> Broker:
            known.extend(self.broker.coordinator.ids())
            return RuleTests.slow_broker(self)

        self.read_too_early()
        self.tearDown()
        self.setUp()
        self.patch(self, "slow_broker", slow_broker)
        self.patch(TransactionCoordinator, "load", load_what_was_known)
        self.assertRaises(self.failureException, self.read_too_early)

    # -- T26 -------------------------------------------------------------------

    def see_no_store(self, shard: Shard) -> Deferred[None]:
        """
        A mutation: do not look.
        """
        return succeed(None)

    def add_at_the_old_owner(self) -> None:
        """
        A producer of EndTxn 4 has committed at the new owner; its next AddPartitionsToTxn
        comes to the old one, in whose memory the partition is in the transaction.
        """
        producer = self.opened()
        old = self.replaced()
        self.now(self.end(producer, raises=False))
        self.refused(NotCoordinator, self.add(producer, PARTITION, broker=old))

    def test_look_before_an_add(self) -> None:
        """
        Rule T26: "it is added already" is said after a look at the store.
        """
        self.check(self.add_at_the_old_owner, Shard, "look", self.see_no_store)

    def end_at_the_old_owner(self) -> None:
        """
        The old owner remembers a transaction that was committed; the next one is open at
        the new owner, and its EndTxn 4 comes to the old one.
        """
        producer = self.opened()
        self.now(self.end(producer, raises=False))
        old = self.replaced()
        self.now(self.add(producer, PARTITION))
        self.refused(NotCoordinator, self.end(producer, raises=False, broker=old))

    def test_look_before_a_repeat(self) -> None:
        """
        Rule T26: "it is committed already" is said after a look at the store.
        """
        self.check(self.end_at_the_old_owner, Shard, "look", self.see_no_store)

    def refusal_by_the_old_owner(self) -> None:
        """
        The old owner does not know the epoch that the new one has given.
        """
        self.initialized()
        old = self.replaced()
        producer = self.initialized()
        self.refused(NotCoordinator, self.add(producer, PARTITION, asks=True, broker=old))

    def test_look_before_a_refusal(self) -> None:
        """
        Rule T26: nobody is fenced by a coordinator that was replaced.
        """
        self.check(self.refusal_by_the_old_owner, Shard, "look", self.see_no_store)

    def test_leaders_from_memory(self) -> None:
        """
        What a leader asks is answered from memory: it compares the number.
        """
        producer = self.opened()
        old = self.replaced()
        self.now(self.end(producer, raises=False))
        asked = self.now(self.add(producer, PARTITION, broker=old, asks=True))
        verified = self.now(old.coordinator.verify(ID, producer, [PARTITION]))
        self.assertEqual((asked, verified), (Admitted(1), Admitted(1)))

    # -- T27 to T31 ------------------------------------------------------------

    def begun_before_the_marker(self) -> None:
        """
        The next transaction begins while a marker of the one before is on its way.
        """
        producer = self.opened()
        self.leaders.are_slow = True
        self.now(self.end(producer, commit=False, raises=False))
        self.refused(ConcurrentTransactions, self.add(producer, PARTITION))

    def test_wait(self) -> None:
        """
        Rule T27: until it is complete nothing begins.
        """
        self.begun_before_the_marker()
        self.tearDown()
        self.setUp()
        for state in (S.PREPARE_COMMIT, S.PREPARE_ABORT):
            events = {**states.TRANSITIONS[state], states.Event.BEGUN: S.ONGOING}
            self.patch(states, "TRANSITIONS", {**states.TRANSITIONS, state: events})
        self.patch(states, "PREPARED", frozenset())
        self.assertRaises(self.failureException, self.begun_before_the_marker)

    def a_marker_missing(self) -> None:
        """
        One leader has the marker, and the other one was not reached.
        """
        self.leaders.are_slow = True
        self.now(self.end(self.opened(PARTITION, SECOND)))
        waiting, self.leaders.waiting = self.leaders.waiting, []
        waiting[0].answer.callback(None)
        waiting[1].refuse()
        self.assertIs(self.state(), S.PREPARE_COMMIT)

    def test_all_markers(self) -> None:
        """
        Rule T28: it is complete when all markers are durable.
        """

        async def none(sending: Sending, places: object) -> list[object]:
            return []

        self.check(self.a_marker_missing, Sending, "_existing", none)

    def ended_by_a_zombie(self) -> None:
        """
        A second instance has a transaction open, and the first ends its own.
        """
        zombie = self.initialized()
        self.opened()
        self.refused(ProducerFenced, self.end(zombie))

    def test_epochs(self) -> None:
        """
        Rule T29: a request with another epoch changes nothing.
        """
        self.check(self.ended_by_a_zombie, states, "_checked", lambda record, producer: None)

    def aborted_and_committed(self) -> None:
        """
        The time is up, and the commit of the producer comes afterwards.
        """
        producer = self.opened()
        self.clock.advance(60)
        self.refused(InvalidTxnState, self.end(producer))

    def test_repeats(self) -> None:
        """
        Rule T29: a repeated EndTxn succeeds only if it asks for what was decided.
        """
        both = {**states.IS_COMMIT, S.COMPLETE_ABORT: True}
        self.check(self.aborted_and_committed, states, "IS_COMMIT", both)

    def second_instance(self) -> None:
        """
        A second instance is initialized while the first has a transaction open.
        """
        first = self.opened()
        self.leaders.are_slow = True
        self.refused(ConcurrentTransactions, self.broker.coordinator.initialize(ID, TIMEOUT_MS))
        self.refused(ConcurrentTransactions, self.broker.coordinator.initialize(ID, TIMEOUT_MS))
        self.leaders.answer_all()
        self.assertGreater(self.initialized()[1], first[1] + 1)

    def test_initialized_afterwards(self) -> None:
        """
        Rule T30: InitProducerId waits until what it aborts is complete, and gives an epoch
        that nobody had.
        """
        decide = states.decide

        def at_once(record: Any, request: Request, *more: Any) -> Outcome:
            outcome = decide(record, request, *more)
            if isinstance(request, states.Initialize) and outcome.event is states.Event.FENCED:
                assert outcome.record is not None
                given = Given(outcome.record.producer_id, outcome.record.epoch)
                return Outcome(outcome.record, given, outcome.event)
            return outcome

        self.check(self.second_instance, coordinator, "decide", at_once)

    def aborted_unnoticed(self) -> None:
        """
        The time of half a transaction is up, and the producer adds the other half.
        """
        producer = self.opened()
        self.clock.advance(60)
        self.assertIs(self.state(), S.COMPLETE_ABORT)
        self.refused(ProducerFenced, self.add(producer, SECOND))

    def test_abort_raises(self) -> None:
        """
        Rule T31: an abort that the producer did not ask for raises the epoch.
        """

        def keep(record: Any, new_id: object) -> dict[str, Any]:
            return {"ending": (record.producer_id, record.epoch)}

        self.check(self.aborted_unnoticed, states, "_raised", keep)
