"""
The promises of the log, whatever the stores do, and whenever brokers die or sleep.

Brokers append, roll, trim, delete, and take over from one another. Each store
operation succeeds, fails, fails though it was done, or is done long after it was
given up. What was acknowledged or visible once is there for ever, once, in
order, at its offset.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import (
    KafkaError,
    KafkaStorageError,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    OutOfOrderSequenceNumber,
    StoreUnavailable,
)
from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import Append, Fetched, LogRules
from kafscale.log.partition.partition import Partition
from kafscale.store.memory import MemoryObjectStore
from tests.harness.careless import CarelessObjectStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict, let_pass
from tests.inspect.looking import report, wrong
from tests.log.brokers import Broker, Shared, append_to, batch, nobody_is_gone, records_of

TOPIC = UUID(int=0x70)
MOST_BROKERS = 3

BOUNDS: dict[str, Any] = {
    "slot_bytes": 250,
    "segment_bytes": 400,
    "unrolled_bytes": 700,
    "journal_slots": 5,
    "bundled": 2,
    "segment_seconds": 30.0,
    "linger": 0.01,
    "orphan_seconds": 1.0,
}
"""So small that slots, rolls, trims and sweeps happen all the time."""

READS = {"get", "get_suffix", "holds", "list", "range"}


@attrs.define(eq=False)
class Sent:
    """
    A batch of a producer.

    @ivar accepted: Where a broker has put it, even if that was not answered.
    @ivar acknowledged: The offset that was answered.
    """

    where: TopicIdPartition
    values: tuple[bytes, ...]
    producer: int
    sequence: int
    acknowledged: int | None = None

    def bytes(self) -> memoryview:
        """
        Build it as it is sent, each time.
        """
        return batch(*self.values, producer=self.producer, sequence=self.sequence)


@attrs.define(eq=False)
class Leading:
    """
    A partition that a broker leads or led.

    @ivar began: The high watermark when it was claimed.
    """

    partition: Partition
    began: int
    high_watermark: int
    log_start: int


class LogMachine(RuleBasedStateMachine):
    """
    Brokers, their stores, and what is known of the log.

    @cvar store: Makes the object store.
    @cvar fencings: How incarnations are stopped, one of these for each.
    @cvar chapters: How many small segments of a partition go into volumes.
    """

    store: type[MemoryObjectStore] = MemoryObjectStore
    fencings: tuple[str, ...] = ("create",)
    chapters = 0

    def __init__(self) -> None:
        super().__init__()
        self.shared = Shared(self.store())
        self.brokers: list[Broker] = []  # those that are scheduled
        self.asleep: list[Broker] = []
        self.gone: list[Broker] = []  # their operations may still be done
        self.wanted: list[TopicIdPartition] = []
        self.led: dict[tuple[int, TopicIdPartition], Leading] = {}
        self.truth: dict[TopicIdPartition, dict[int, bytes]] = {}  # visible or acknowledged
        self.start: dict[TopicIdPartition, int] = {}  # the largest that was answered
        self.values = 0
        self.sequences: dict[tuple[TopicIdPartition, int], int] = {}
        self.unanswered: dict[tuple[TopicIdPartition, int], Sent] = {}
        self.wrong: list[str] = []
        self.log_rules = LogRules()

    # -- what is known ------------------------------------------------------

    def show(self, where: TopicIdPartition, offset: int, value: bytes) -> None:
        """
        Note that a record was visible or acknowledged.
        """
        known = self.truth[where].setdefault(offset, value)
        if known != value:
            self.wrong.append(f"{where} {offset} was {known!r} and is {value!r}")

    def expect(self, right: bool, text: str) -> None:
        """
        Note what is wrong, also from within a callback that swallows errors.
        """
        if not right:
            self.wrong.append(text)

    # -- brokers ------------------------------------------------------------

    def incarnation(self, choice: int, **named: Any) -> Broker:
        """
        Start a broker, which is stopped in one way or the other.
        """
        fencing = self.fencings[choice % len(self.fencings)]
        bounds = {**BOUNDS, "chapters": self.chapters}
        if self.chapters:  # segments are small, and memory is full
            bounds |= {"segment_bytes": 5000, "unrolled_bytes": 1200}
        return Broker(self.shared, fencing=fencing, **named, **bounds)

    @initialize(partitions=st.integers(1, 2), choice=st.integers(0, 1))
    def begin(self, partitions: int, choice: int) -> None:
        """
        A broker leads a partition or two, and more if they share volumes.
        """
        self.wanted = [(TOPIC, index) for index in range(partitions + self.chapters)]
        self.truth = {where: {} for where in self.wanted}
        self.start = dict.fromkeys(self.wanted, 0)
        broker = self.incarnation(choice)
        self.brokers.append(broker)
        broker.recover(self.wanted).addErrback(self._not_recovered)
        broker.run()
        broker.obey(gently)

    @precondition(lambda self: len(self.brokers) + len(self.asleep) < MOST_BROKERS)
    @rule(smoothly=st.sampled_from([True, True, False]), choice=st.integers(0, 1))
    def succeed(self, smoothly: bool, choice: int) -> None:
        """
        Another incarnation takes over, at once or step by step.
        """
        broker = self.incarnation(
            choice, policy=let_pass if smoothly else gently, rules=self.log_rules
        )
        self.brokers.append(broker)
        broker.recover(self.wanted).addErrback(self._not_recovered)
        if smoothly:
            broker.run()
            broker.obey(gently)

    def _not_recovered(self, failure: Failure) -> None:
        # A broker gives up if the store does not answer for so long.
        self.expect(failure.check(StoreUnavailable) is not None, str(failure))

    @precondition(lambda self: self.brokers)
    @rule(data=st.data(), really=st.sampled_from([True, False, False]))
    def crash(self, data: st.DataObject, really: bool) -> None:
        """
        A broker is never scheduled again.
        """
        if not really:
            return
        broker = data.draw(st.sampled_from(self.brokers))
        self.brokers.remove(broker)
        broker.crash()
        self.gone.append(broker)

    @precondition(lambda self: self.brokers)
    @rule(data=st.data())
    def fall_asleep(self, data: st.DataObject) -> None:
        """
        A broker pauses: neither time nor answers reach it.
        """
        broker = data.draw(st.sampled_from(self.brokers))
        self.brokers.remove(broker)
        self.asleep.append(broker)

    @precondition(lambda self: self.asleep)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        """
        A broker continues as if nothing had happened.
        """
        broker = data.draw(st.sampled_from(self.asleep))
        self.asleep.remove(broker)
        self.brokers.append(broker)

    @precondition(lambda self: self.leaders())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """
        A broker releases a partition; the next that starts claims it.
        """
        broker, where = data.draw(st.sampled_from(self.leaders()))
        releasing = begin(broker.log.release([where]))
        releasing.addErrback(self.not_moved)

    @precondition(lambda self: self.brokers)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        """
        A broker claims what was released, and nothing else.
        """
        broker = data.draw(st.sampled_from(self.brokers))
        begin(broker.log.claim(self.wanted, nobody_is_gone)).addErrback(self._not_recovered)

    # -- stores and time ----------------------------------------------------

    @precondition(lambda self: any(pending(broker) for broker in self.brokers))
    @rule(data=st.data(), verdict=st.sampled_from(list(Verdict)))
    def decide(self, data: st.DataObject, verdict: Verdict) -> None:
        """
        One operation is decided.
        """
        waiting = [one for broker in self.brokers for one in pending(broker)]
        data.draw(st.sampled_from(waiting)).decide(verdict)

    @precondition(lambda self: any(pending(broker) for broker in self.brokers))
    @rule(data=st.data())
    def happen(self, data: st.DataObject) -> None:
        """
        One operation is done, and its answer is on the way.
        """
        waiting = [one for broker in self.brokers for one in pending(broker)]
        data.draw(st.sampled_from(waiting)).apply()

    @precondition(lambda self: any(pending(broker) for broker in self.brokers))
    @rule(data=st.data())
    def let_most_pass(self, data: st.DataObject) -> None:
        """
        All pending operations of a broker are done, but not those that follow.
        """
        able = [broker for broker in self.brokers if pending(broker)]
        for operation in pending(data.draw(st.sampled_from(able))):
            operation.succeed()

    @precondition(lambda self: self.late())
    @rule(data=st.data())
    def land(self, data: st.DataObject) -> None:
        """
        An operation is done that failed long ago, or that a dead broker began.
        """
        data.draw(st.sampled_from(self.late())).apply()

    def late(self) -> list[Operation]:
        """
        Return operations that have no caller any more and may yet be done.
        """
        everybody = [*self.brokers, *self.asleep, *self.gone]
        found = [one for broker in everybody for view in broker.views for one in view.late]
        found += [one for broker in self.gone for one in pending(broker)]
        return [one for one in found if not one.applied and one.kind not in READS]

    @precondition(lambda self: self.brokers)
    @rule(data=st.data(), seconds=st.sampled_from([0.02, 0.1, 1.5, 40.0]))
    def pass_time(self, data: st.DataObject, seconds: float) -> None:
        """
        Time passes for one broker.
        """
        data.draw(st.sampled_from(self.brokers)).clock.advance(seconds)

    @precondition(lambda self: self.brokers)
    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        """
        For a while all goes well for one broker.
        """
        broker = data.draw(st.sampled_from(self.brokers))
        broker.run(0.5)

    @precondition(lambda self: self.brokers)
    @rule(data=st.data(), policy=st.sampled_from(["gently", "none", "let_pass"]))
    def obey(self, data: st.DataObject, policy: str) -> None:
        """
        Set what happens to a broker's next operations.
        """
        chosen = {"gently": gently, "none": None, "let_pass": let_pass}[policy]
        data.draw(st.sampled_from(self.brokers)).obey(chosen)

    # -- clients ------------------------------------------------------------

    def leaders(self) -> list[tuple[Broker, TopicIdPartition]]:
        """
        Return the brokers that hold themselves for leaders.
        """
        return [
            (broker, (partition.topic_id, partition.index))
            for broker in self.brokers
            for partition in broker.log.partitions()
        ]

    def opened(self, broker: Broker, where: TopicIdPartition) -> Partition | None:
        """
        Return a partition that can be appended to, now or after a while.
        """
        partition = broker.log.partition(*where)
        if not partition.is_open:
            partition.opened().addErrback(lambda _: None)
        return partition if partition.is_open else None

    def new_values(self, number: int) -> tuple[bytes, ...]:
        """
        Return values that no record had before.
        """
        first, self.values = self.values, self.values + number
        return tuple(b"%d" % value for value in range(first, self.values))

    @precondition(lambda self: self.leaders())
    @rule(data=st.data(), records=st.integers(1, 3), batches=st.integers(1, 12), well=st.booleans())
    def append(self, data: st.DataObject, records: int, batches: int, well: bool) -> None:
        """
        A producer without idempotence sends batches; all may go well then.
        """
        broker, where = data.draw(st.sampled_from(self.leaders()))
        partition = self.opened(broker, where)
        for _ in range(batches if partition is not None else 0):
            assert partition is not None
            sent = Sent(where, self.new_values(records), -1, 0)
            self.send(partition, sent)
        if well:
            broker.run(0.2)

    @precondition(lambda self: self.leaders())
    @rule(data=st.data(), producer=st.integers(1, 2), records=st.integers(1, 3))
    def produce(self, data: st.DataObject, producer: int, records: int) -> None:
        """
        An idempotent producer sends its next batch, or the last one again if it
        was not acknowledged.
        """
        broker, where = data.draw(st.sampled_from(self.leaders()))
        partition = self.opened(broker, where)
        if partition is None:
            return
        sent = self.unanswered.get((where, producer))
        if sent is None or sent.acknowledged is not None:
            sequence = self.sequences.get((where, producer), 0)
            sent = Sent(where, self.new_values(records), producer, sequence)
            self.sequences[where, producer] = sequence + records
            self.unanswered[where, producer] = sent
        self.send(partition, sent)

    @precondition(lambda self: self.unanswered and self.leaders())
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        """
        A batch is sent twice, acknowledged or not.
        """
        broker, where = data.draw(st.sampled_from(self.leaders()))
        again = [sent for (at, _), sent in self.unanswered.items() if at == where]
        partition = self.opened(broker, where)
        if again and partition is not None:
            self.send(partition, data.draw(st.sampled_from(again)))

    def send(self, partition: Partition, sent: Sent) -> None:
        """
        Append, and wait for the answer.
        """
        try:
            appended = append_to(partition, sent.bytes())
        except NotLeaderOrFollower:
            return
        except OutOfOrderSequenceNumber:
            # Only a broker that was replaced may lack the batches before.
            epochs = [
                leading.partition.leader_epoch
                for (_, where), leading in self.led.items()
                if where == sent.where
            ]
            newest = partition.leader_epoch >= max(epochs, default=0)
            self.expect(not newest or self.claimed_past(partition), f"{sent} is out of order")
            return
        if appended.settled is None:
            self.acknowledged(partition, sent, appended)
        else:
            appended.settled.wait().addCallbacks(
                lambda _: self.acknowledged(partition, sent, appended), self.refused
            )

    def claimed_past(self, partition: Partition) -> bool:
        """
        Return whether another broker has claimed the partition since.
        """
        record = self.shared.record((partition.topic_id, partition.index))
        return record.epoch > partition.leader_epoch

    def acknowledged(self, partition: Partition, sent: Sent, appended: Append) -> None:
        """
        Check a batch that was answered without an error.
        """
        base = appended.base_offset
        if sent.acknowledged is not None:
            self.expect(sent.acknowledged == base, f"{sent} was acknowledged again, at {base} now")
        sent.acknowledged = base
        for offset, value in enumerate(sent.values, base):
            self.show(sent.where, offset, value)
        end = base + len(sent.values)
        self.expect(end <= partition.high_watermark, f"{sent} is acknowledged above the end")
        for (_, where), leading in self.led.items():
            if where == sent.where and leading.partition.leader_epoch > partition.leader_epoch:
                self.expect(
                    end <= leading.began, f"{sent} at {base}: acknowledged by who was replaced"
                )

    def refused(self, failure: Failure) -> None:
        """
        Note that a batch was refused; it may be in the log all the same.
        """
        self.expect(failure.check(NotLeaderOrFollower) is not None, str(failure))

    @precondition(lambda self: self.leaders())
    @rule(data=st.data(), size=st.sampled_from([1, 300, 2000]))
    def read(self, data: st.DataObject, size: int) -> None:
        """
        A consumer reads anywhere.
        """
        broker, where = data.draw(st.sampled_from(self.leaders()))
        partition = broker.log.partition(*where)
        offset = data.draw(st.integers(partition.log_start, partition.high_watermark))
        end = partition.high_watermark
        found = partition.read(offset, size, True)
        if found is not None:
            self.was_read(found, where, offset, end)
            return
        loading = begin(partition.load(offset, size, True))
        loading.addCallback(self.was_read, where, offset, end)
        loading.addErrback(self.not_read, where, offset)

    def was_read(self, found: Fetched, where: TopicIdPartition, offset: int, end: int) -> None:
        """
        Check records that were read: they are visible, and follow one another.
        """
        records = records_of(found)
        self.expect(bool(records) or offset >= end, f"nothing at {offset} of {where}, below {end}")
        for expected, record in enumerate(records, records[0].offset if records else 0):
            self.expect(record.offset == expected, f"{record} stands where {expected} should")
            self.show(where, record.offset, record.value or b"")
        if records:
            self.expect(
                records[0].offset <= offset <= records[-1].offset, f"{offset} is not in {records}"
            )

    def not_read(self, failure: Failure, where: TopicIdPartition, offset: int) -> None:
        """
        Check a read that failed: records were deleted, or a store is away.
        """
        # A broker that does not know of its successor yet misses segments
        # that the successor has deleted.
        if failure.check(OffsetOutOfRange, KafkaStorageError):
            record = self.shared.record(where)
            self.expect(offset < record.log_start, f"{offset} of {where} is out of range")
        else:
            self.expect(
                failure.check(StoreUnavailable, NotLeaderOrFollower) is not None, str(failure)
            )

    @precondition(lambda self: self.leaders())
    @rule(data=st.data())
    def delete_before(self, data: st.DataObject) -> None:
        """
        The log start moves; what was answered stays true.
        """
        broker, where = data.draw(st.sampled_from(self.leaders()))
        partition = broker.log.partition(*where)
        offset = data.draw(st.integers(partition.log_start, partition.high_watermark))

        def moved(start: int) -> None:
            self.expect(start >= offset, f"the log start is {start}, not {offset}")
            self.start[where] = max(self.start[where], start)

        begin(partition.delete_before(offset)).addCallbacks(moved, self.not_moved)

    @rule(
        keep_bytes=st.sampled_from([-1, -1, 0, 300, 2000]),
        keep_ms=st.sampled_from([-1, -1, 1000, 20_000]),
        segment_bytes=st.sampled_from([100, 10_000]),
    )
    def configure(self, keep_bytes: int, keep_ms: int, segment_bytes: int) -> None:
        """
        The topic's configuration is altered; old records are deleted.
        """
        self.log_rules = LogRules(keep_ms, keep_bytes, segment_bytes)
        for broker in [*self.brokers, *self.asleep]:
            broker.rules = self.log_rules
            broker.log.configured(TOPIC, len(self.wanted), self.log_rules)

    def not_moved(self, failure: Failure) -> None:
        """
        Check a move that failed: the broker was replaced, or a store is away.
        """
        self.expect(failure.check(KafkaError, StoreUnavailable) is not None, str(failure))

    # -- what always holds --------------------------------------------------

    @invariant()
    def nothing_was_wrong(self) -> None:
        """
        Callbacks have found nothing wrong.
        """
        assert not self.wrong, self.wrong

    @invariant()
    def nothing_goes_back(self) -> None:
        """
        High watermark and log start only grow, from leader to leader, too.
        """
        for broker in self.brokers:
            for partition in broker.log.partitions():
                where = partition.topic_id, partition.index
                end, start = partition.high_watermark, partition.log_start
                leading = self.led.get((broker.incarnation, where))
                if leading is None or leading.partition is not partition:
                    leading = Leading(partition, end, end, start)
                    self.led[broker.incarnation, where] = leading
                    if self.claimed_past(partition):
                        continue  # it has heard of its claim after it was replaced
                    assert start >= self.start[where], f"the log start is {start} again"
                    assert end > max(self.truth[where], default=-1), f"the log ends at {end} again"
                assert end >= leading.high_watermark
                assert start >= leading.log_start
                leading.high_watermark, leading.log_start = end, start
        for (_, where), leading in self.led.items():
            for (_, other), later in self.led.items():
                if other == where and later.partition.leader_epoch > leading.partition.leader_epoch:
                    assert leading.high_watermark <= later.began, "shown after being replaced"

    @invariant()
    def memory_is_accounted_for(self) -> None:
        """
        The log knows how many bytes it holds.
        """
        for broker in [*self.brokers, *self.asleep]:
            held = sum(partition.tail.size for partition in broker.log.partitions())
            assert broker.log.pressure.size == held
            assert broker.journal.unsettled_bytes <= held

    # -- the end --------------------------------------------------------------

    def teardown(self) -> None:
        """
        When all stores work again, the last incarnation finds everything.
        """
        try:
            self.stored_as_it_should_be()
            if self.wanted:
                self._end()
                self.stored_as_it_should_be()
        finally:
            now(self.shared.metadata.close())

    def stored_as_it_should_be(self) -> None:
        """
        The stores keep the rules, whatever is under way.
        """
        found = wrong(self.shared)
        assert not found, found
        objects = self.shared.objects
        if isinstance(objects, CarelessObjectStore):
            assert not objects.replaced, objects.replaced

    def _end(self) -> None:
        for broker in [*self.brokers, *self.asleep]:
            broker.obey(let_pass)
            broker.run(10.0)
        self.brokers += self.asleep
        self.asleep = []
        self.nothing_was_wrong()
        self.nothing_goes_back()
        for broker in self.brokers:
            broker.crash()
        self.gone += self.brokers
        for operation in self.late():
            operation.apply()
        before, _ = now(self.shared.metadata.range(metadata_keys.INCARNATIONS))
        first = self._last()
        for where in self.wanted:
            self.log_is_whole(first, where)
        first.clock.advance(BOUNDS["segment_seconds"] + 20)
        first.run(10.0)
        for _ in range(2):
            first.clock.advance(BOUNDS["orphan_seconds"])
            first.run(10.0)
        self.nothing_is_left(before)
        first.crash()
        second = self._last()
        for where in self.wanted:
            assert second.log.partition(*where).tail.size == 0, "the tail was not rolled"
            self.log_is_whole(second, where)
        assert second.log.pressure.size == 0

    def _last(self) -> Broker:
        broker = self.incarnation(len(self.gone))
        self.brokers = [broker]
        recovering = broker.recover(self.wanted)
        broker.run(10.0)
        now(recovering)
        assert not broker.fenced
        self.nothing_goes_back()
        return broker

    def log_is_whole(self, broker: Broker, where: TopicIdPartition) -> None:
        """
        From the log start to the end every record is there, once, as it was
        acknowledged.
        """
        partition = broker.log.partition(*where)
        offset = partition.log_start
        seen: dict[bytes, int] = {}
        while offset < partition.high_watermark:
            found = partition.read(offset, 500, True)
            if found is None:
                found = now(partition.load(offset, 500, True))
            self.was_read(found, where, offset, partition.high_watermark)
            self.nothing_was_wrong()
            for record in records_of(found):
                value = record.value or b""
                assert seen.setdefault(value, record.offset) == record.offset, f"{value!r} twice"
                offset = record.offset + 1
        for known in self.truth[where]:
            assert known < offset, f"{known} of {where} is lost"

    def nothing_is_left(self, before: list[Any]) -> None:
        """
        Records of earlier incarnations are rolled, and their slots are deleted; so
        is what is recorded of them, but of those that have made chapters (rule 27).
        """
        records = [self.shared.record(where) for where in self.wanted]
        named = {each.incarnation for record in records for each in record.chapters}
        for entry in before:
            number = metadata_keys.incarnation_of(entry.key)
            record = self.shared.value(entry.key)
            seal = self.shared.value(metadata_keys.seal(number))
            assert not self.shared.slots(number), "slots are left"
            if number in named:
                assert record.get("wound_up"), f"{number} is not wound up"
                assert record["trim"] == seal["sealed_at"]
            else:
                assert record is seal is None, f"{number} is still recorded"
                assert number < self.shared.value(metadata_keys.LOWEST_INCARNATION)
        garbage = [line for line in report(self.shared) if line.startswith("garbage: ")]
        assert not garbage, garbage


def gently(operation: Operation) -> Verdict | None:
    """
    Let reads succeed; changes wait for a decision.
    """
    return Verdict.SUCCEED if operation.kind in READS else None


def pending(broker: Broker) -> list[Operation]:
    """
    Return what a broker waits for.
    """
    return [operation for view in broker.views for operation in view.pending]


class CarelessMachine(LogMachine):
    """
    The same where creates replace, and marks stop brokers.
    """

    store = CarelessObjectStore
    fencings = ("metadata",)
    chapters = 1


class ChangingMachine(LogMachine):
    """
    The same where some incarnations are stopped by seals and some by marks.
    """

    fencings = ("create", "metadata")
    chapters = 1


class BindingMachine(LogMachine):
    """
    The same with volumes.
    """

    chapters = 2


class MachineTests(SynchronousTestCase):
    """
    The machines, for a short while.
    """

    def run_machine(self, machine: type[LogMachine], examples: int) -> None:
        """
        Run so many histories.
        """
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=60,
                deadline=None,
                # Shrinking takes minutes, and there are not many steps anyway.
                phases=[Phase.explicit, Phase.reuse, Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )

    def test_the_log_keeps_its_promise(self) -> None:
        """
        No order of events loses, repeats or withdraws a record.
        """
        self.run_machine(LogMachine, 250)

    def test_with_volumes(self) -> None:
        """
        Nor does one where small segments are put together and taken apart.
        """
        self.run_machine(BindingMachine, 250)

    def test_on_a_store_that_replaces(self) -> None:
        """
        Nor does one where a create replaces objects; and no key gets two
        contents.
        """
        self.run_machine(CarelessMachine, 200)

    def test_from_one_fencing_to_the_other(self) -> None:
        """
        Nor does one where the setting changes from one start to the next.
        """
        self.run_machine(ChangingMachine, 100)
