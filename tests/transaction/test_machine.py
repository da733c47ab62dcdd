"""
What holds for a transactional id whatever its producers do, and in whatever order.

Three instances use one id, of EndTxn 4 and of EndTxn 5. Answers are lost, requests come
again late, and times run out at any moment. A transaction is decided once; no epoch is
given to two instances; who is told that a transaction is committed committed it; and what
is decided stays as it is until its markers are durable.
"""

from __future__ import annotations

from itertools import count

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import KafkaError
from kafscale.format.partition import TopicIdPartition
from kafscale.format.transactional_id import (
    ProducerEpoch,
    TransactionalIdRecord,
    TransactionState,
)
from kafscale.interfaces import Admitted, Given
from kafscale.transaction.states import (
    LAST_EPOCH,
    PREPARED,
    Add,
    End,
    Event,
    Expire,
    Initialize,
    Mark,
    Outcome,
    Request,
    TimeOut,
    Verify,
    decide,
    marker_of,
)
from tests.transaction.walked import TIMEOUT_MS, TOPIC

INSTANCES = st.integers(0, 2)
PARTITIONS = st.frozensets(st.tuples(st.just(TOPIC), st.integers(0, 2)), min_size=1)


@attrs.define(eq=False)
class Instance:
    """
    An instance of the producer.

    @ivar raises: Whether it sends EndTxn 5.
    @ivar producer: What it was given; None if it has nothing.
    """

    raises: bool
    producer: ProducerEpoch | None = None


@attrs.define(eq=False)
class Transaction:
    """
    One transaction.

    @ivar producer: Producer id and epoch in which it began.
    @ivar commit: What was decided; None if nothing is yet.
    """

    producer: ProducerEpoch
    commit: bool | None = None


class IdMachine(RuleBasedStateMachine):
    """
    One transactional id and three instances of its producer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.record: TransactionalIdRecord | None = None
        self.ids = count(1000)
        self.now_ms = 0
        self.instances = [Instance(True), Instance(False), Instance(True)]
        self.holders: dict[ProducerEpoch, int] = {}
        self.transactions: dict[tuple[int, int], Transaction] = {}  # by producer id and number
        self.sent: list[tuple[int, Request]] = []

    @initialize(epoch=st.sampled_from([0, 0, LAST_EPOCH - 2, LAST_EPOCH]))
    def begin(self, epoch: int) -> None:
        """
        The id exists, and its epochs may be nearly exhausted.
        """
        self.ask(0, Initialize(TIMEOUT_MS), heard=False)
        assert self.record is not None
        self.record = attrs.evolve(self.record, epoch=epoch)
        self.holders = {}

    # -- requests --------------------------------------------------------------

    def ask(self, number: int, request: Request, heard: bool) -> Outcome:
        """
        Let an instance send a request.

        @param heard: Whether it gets the answer.
        """
        outcome = self.decide(request)
        if isinstance(outcome.answer, Given):
            given = (outcome.answer.producer_id, outcome.answer.epoch)
            self.check_given(number, request, given)
            if heard:
                self.instances[number].producer = given
        return outcome

    def decide(self, request: Request) -> Outcome:
        """
        Decide, and check what was decided.
        """
        self.now_ms += 1
        before = self.record
        outcome = decide(before, request, self.now_ms, next(self.ids))
        assert (outcome.event is None) == (outcome.record == before)
        self.check_look(request, outcome)
        if before is not None and before.state in PREPARED and outcome.event is not None:
            assert outcome.event is Event.MARKED
        if outcome.event is Event.BEGUN:
            self.check_begun(outcome.record)
        elif outcome.event in {Event.COMMITTED, Event.ABORTED, Event.FENCED}:
            assert outcome.record is not None
            self.check_decided(request, outcome.event, outcome.record)
        elif outcome.event is Event.EXPIRED:
            assert all(each.commit is not None for each in self.transactions.values())
        self.record = outcome.record
        if isinstance(request, End) and isinstance(outcome.answer, Given):
            self.check_ended(request)
        return outcome

    @rule(number=INSTANCES, heard=st.booleans(), named=st.booleans())
    def initialized(self, number: int, heard: bool, named: bool) -> None:
        """
        InitProducerId.
        """
        instance = self.instances[number]
        producer = instance.producer if named else None
        request = Initialize(TIMEOUT_MS, producer)
        if not named:
            instance.producer = None
        outcome = self.ask(number, request, heard)
        if isinstance(outcome.answer, Given):
            assert outcome.record is not None
            assert outcome.record.state is TransactionState.EMPTY
            assert all(each.commit is not None for each in self.transactions.values())
        self.sent.append((number, request))

    def has_one(self) -> bool:
        """
        Some instance was initialized.
        """
        return any(each.producer is not None for each in self.instances)

    @precondition(has_one)
    @rule(number=INSTANCES, partitions=PARTITIONS, asks=st.booleans())
    def adds(self, number: int, partitions: frozenset[TopicIdPartition], asks: bool) -> None:
        """
        Partitions are added, by the producer or by a leader.
        """
        producer = self.instances[number].producer
        if producer is not None:
            request = Add(producer, partitions, asks=asks)
            outcome = self.ask(number, request, heard=True)
            if isinstance(outcome.answer, Admitted):
                assert outcome.record is not None
                assert outcome.record.state is TransactionState.ONGOING
                assert request.partitions <= outcome.record.partitions
                assert outcome.answer.number == outcome.record.number
            self.sent.append((number, request))

    @precondition(has_one)
    @rule(number=INSTANCES, partitions=PARTITIONS)
    def verifies(self, number: int, partitions: frozenset[TopicIdPartition]) -> None:
        """
        A leader asks whether partitions were added.
        """
        producer = self.instances[number].producer
        if producer is not None:
            request = Verify(producer, partitions)
            outcome = self.ask(number, request, heard=True)
            if isinstance(outcome.answer, Admitted) and not outcome.answer.missing:
                assert self.record is not None
                assert self.record.state is TransactionState.ONGOING

    @precondition(has_one)
    @rule(number=INSTANCES, commit=st.booleans(), heard=st.booleans())
    def ends(self, number: int, commit: bool, heard: bool) -> None:
        """
        EndTxn.
        """
        instance = self.instances[number]
        if instance.producer is not None:
            request = End(instance.producer, commit, instance.raises)
            self.ask(number, request, heard)
            self.sent.append((number, request))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def late(self, data: st.DataObject) -> None:
        """
        A request comes again, and nobody waits for the answer. (No rule mends EndTxn 4
        that comes again in a later transaction: docs/transactions.md.)
        """
        number, request = data.draw(st.sampled_from(self.sent))
        if not isinstance(request, End) or request.raises:
            self.ask(number, request, heard=False)

    @rule()
    def time_is_up(self) -> None:
        """
        What is open was open for too long.
        """
        if self.record is not None:
            producer = (self.record.producer_id, self.record.epoch)
            self.decide(TimeOut(producer, self.record.number))

    @rule()
    def markers_are_durable(self) -> None:
        """
        What is decided is complete.
        """
        if self.record is not None and self.record.state in PREPARED:
            producer, number, commit = marker_of(self.record)
            assert self.transactions[producer[0], number].commit is commit
            self.decide(Mark(producer, number))

    @rule()
    def expires(self) -> None:
        """
        The id was not used for long.
        """
        self.decide(Expire(self.now_ms))

    # -- what holds ------------------------------------------------------------

    def check_look(self, request: Request, outcome: Outcome) -> None:
        """
        Nothing is answered without a commit or a look, but a leader's question, which
        compares the number, and what the client asks again (rule T26).
        """
        if outcome.event is not None or outcome.answer is None:
            assert not outcome.looks
        elif isinstance(outcome.answer, KafkaError):
            assert outcome.looks is not outcome.answer.retriable
        elif isinstance(outcome.answer, Given):
            assert outcome.looks
        else:
            asks = isinstance(request, Verify) or (isinstance(request, Add) and request.asks)
            assert outcome.looks is (not asks or bool(outcome.answer.missing))

    def check_given(self, number: int, request: Request, given: ProducerEpoch) -> None:
        """
        No two instances have the same epoch (rule T30). EndTxn 4 gives none.
        """
        if not isinstance(request, End) or request.raises:
            assert self.holders.setdefault(given, number) == number

    def check_begun(self, record: TransactionalIdRecord | None) -> None:
        """
        Its number is the next one of its producer id.
        """
        assert record is not None
        numbers = [
            number for producer_id, number in self.transactions if producer_id == record.producer_id
        ]
        assert record.number == max(numbers, default=0) + 1
        begun = Transaction((record.producer_id, record.epoch))
        self.transactions[record.producer_id, record.number] = begun

    def check_decided(self, request: Request, event: Event, record: TransactionalIdRecord) -> None:
        """
        It was not decided before, and only its own producer commits it. The markers
        carry a higher epoch than its batches, but for EndTxn 4 (rule T31).
        """
        producer, number, commit = marker_of(record)
        transaction = self.transactions[producer[0], number]
        assert transaction.commit is None
        assert commit is (event is Event.COMMITTED)
        if event is not Event.FENCED:
            assert isinstance(request, End)
            assert request.producer == transaction.producer
            assert request.commit is commit
        raised = event is Event.FENCED or (isinstance(request, End) and request.raises)
        assert producer == (transaction.producer[0], transaction.producer[1] + raised)
        assert ((record.producer_id, record.epoch) != transaction.producer) is raised
        transaction.commit = commit

    def check_ended(self, request: End) -> None:
        """
        What EndTxn is told is what was decided, of the last transaction that began in
        its epoch (rule T29). Where none began, it was told of an abort.
        """
        own = [each for each in self.transactions.values() if each.producer == request.producer]
        assert request.commit is (own[-1].commit if own else False)
        assert len(own) <= 1 or not request.raises

    @invariant()
    def one_is_open(self) -> None:
        """
        The only transaction that is not decided is the one in the record.
        """
        open_ones = [key for key, each in self.transactions.items() if each.commit is None]
        if self.record is not None and self.record.state is TransactionState.ONGOING:
            assert open_ones == [(self.record.producer_id, self.record.number)]
            assert self.record.partitions
            assert self.record.previous is None
        else:
            assert open_ones == []
        if self.record is not None:
            assert (self.record.ending is not None) is (self.record.state in PREPARED)
            assert 0 <= self.record.epoch <= LAST_EPOCH


class MachineTests(SynchronousTestCase):
    """
    L{IdMachine}, run.
    """

    def test_machine(self) -> None:
        """
        It holds in many random histories.
        """
        run_state_machine_as_test(
            IdMachine,
            settings=settings(
                max_examples=300,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
