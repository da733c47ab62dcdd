"""
The states of a transactional id, walked: every request and time-out, in every state.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import KafkaError
from kafscale.format.transactional_id import TransactionalIdRecord, TransactionState
from kafscale.interfaces import Admitted, Given
from kafscale.transaction.states import (
    IS_COMMIT,
    LAST_EPOCH,
    LAST_NUMBER,
    PREPARED,
    RENEWED_FROM,
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
    state_of,
)
from tests.transaction.walked import (
    ANOTHER,
    BEGIN_MS,
    EPOCH,
    NEW_PRODUCER,
    OTHER_PRODUCER,
    PARTITION,
    PRODUCER,
    TIMEOUT_MS,
    after,
    empty,
    in_state,
    marked,
    ongoing,
    present,
    step,
    timed_out,
)

E = TransactionState

LETTERS = {
    "D": E.DEAD,
    "E": E.EMPTY,
    "O": E.ONGOING,
    "PC": E.PREPARE_COMMIT,
    "PA": E.PREPARE_ABORT,
    "CC": E.COMPLETE_COMMIT,
    "CA": E.COMPLETE_ABORT,
}

#: The state afterwards, and the answer: the code of an error, or "=" for the present producer
#: id and epoch, "+1" for the epoch after it, "new" for a new producer id in epoch 0, "in" for
#: what is in the transaction, "out" for TRANSACTION_ABORTABLE, "-" for none. "?" stands after
#: what is answered only after a look at the store (rule T26).
#:
#: A producer of EndTxn 5. "Before" is the epoch that it had in its transaction.
RAISING = """
                          D      E      O      PC     PA     CC     CA
InitProducerId            E new  E +1   PA 51  PC 51  PA 51  E +1   E +1
its own epoch             E new  E +1   PA 51  PC 51  PA 51  E +1   E +1
the epoch before          E new  E 90?  PA 51  PC 51  PA 51  E =    E =
an old epoch              E new  E 90?  PA 51  PC 51  PA 51  CC 90? CA 90?
another producer id       E new  E 90?  O 90?  PC 90? PA 90? CC 90? CA 90?
adds another              D 49?  O in   O in   PC 51  PA 51  O in   O in
adds the same             D 49?  O in   O in?  PC 51  PA 51  O in   O in
a leader adds the same    D 49?  O in   O in   PC 51  PA 51  O in   O in
adds, the epoch before    D 49?  E 90?  O 90?  PC 90? PA 90? CC 90? CA 90?
adds, a higher epoch      D 49?  E 90?  O 90?  PC 90? PA 90? CC 90? CA 90?
adds, another producer    D 49?  E 49?  O 49?  PC 49? PA 49? CC 49? CA 49?
verifies the same         D 49?  E out? O in   PC 51  PA 51  CC out? CA out?
verifies another          D 49?  E out? O out? PC 51  PA 51  CC out? CA out?
verifies, epoch before    D 49?  E 90?  O 90?  PC 90? PA 90? CC 90? CA 90?
commits                   D 49?  E 48?  PC +1  PC 90? PA 90? CC 48? CA 48?
aborts                    D 49?  CA +1  PA +1  PC 90? PA 90? CA +1  CA +1
commits, epoch before     D 49?  E 90?  O 90?  PC 51  PA 48? CC =?  CA 48?
aborts, epoch before      D 49?  E 90?  O 90?  PC 48? PA 51  CC 48? CA =?
commits, an old epoch     D 49?  E 90?  O 90?  PC 90? PA 90? CC 90? CA 90?
aborts, another producer  D 49?  E 49?  O 49?  PC 49? PA 49? CC 49? CA 49?
time is up                D -    E -    PA -   PC -   PA -   CC -   CA -
markers are durable       D -    E -    O -    CC -   CA -   CC -   CA -
a week passes             D -    D -    O -    PC -   PA -   D -    D -
"""

#: A producer of EndTxn 4 or below: no end of a transaction raises its epoch.
KEEPING = """
                          D      E      O      PC     PA     CC     CA
InitProducerId            E new  E +1   PA 51  PC 51  PA 51  E +1   E +1
its own epoch             E new  E +1   PA 51  PC 51  PA 51  E +1   E +1
an old epoch              E new  E 90?  PA 51  PC 51  PA 51  CC 90? CA 90?
adds another              D 49?  O in   O in   PC 51  PA 51  O in   O in
adds the same             D 49?  O in   O in?  PC 51  PA 51  O in   O in
verifies the same         D 49?  E out? O in   PC 51  PA 51  CC out? CA out?
commits                   D 49?  E 48?  PC =   PC 51  PA 48? CC =?  CA 48?
aborts                    D 49?  E 48?  PA =   PC 48? PA 51  CC 48? CA =?
commits, an old epoch     D 49?  E 90?  O 90?  PC 90? PA 90? CC 90? CA 90?
commits, a higher epoch   D 49?  E 90?  O 90?  PC 90? PA 90? CC 90? CA 90?
aborts, another producer  D 49?  E 49?  O 49?  PC 49? PA 49? CC 49? CA 49?
time is up                D -    E -    PA -   PC -   PA -   CC -   CA -
markers are durable       D -    E -    O -    CC -   CA -   CC -   CA -
"""

#: A producer of EndTxn 5 in the last epoch of its producer id. After a decision, the id has
#: a new producer id, and "before" is the old one in that last epoch.
EXHAUSTED = """
                          E      O      PC     PA     CC     CA
InitProducerId            E new  PA 51  PC 51  PA 51  E +1   E +1
its own epoch             E new  PA 51  PC 51  PA 51  E +1   E +1
the producer before       E new  PA 51  PC 51  PA 51  E =    E =
adds another              O in   O in   PC 51  PA 51  O in   O in
adds, producer before     O in   O in?  PC 49? PA 49? CC 49? CA 49?
commits                   E 48?  PC new PC 90? PA 90? CC 48? CA 48?
aborts                    CA new PA new PC 90? PA 90? CA +1  CA +1
commits, producer before  E 48?  PC new PC 51  PA 48? CC =?  CA 48?
aborts, producer before   CA new PA new PC 48? PA 51  CC 48? CA =?
commits, marker's epoch   E 90?  O 90?  PC 49? PA 49? CC 49? CA 49?
"""


def request_of(words: str, record: TransactionalIdRecord | None, raises: bool) -> Request:
    """
    What one line of the walks says.

    @param raises: Whether the producer sends EndTxn 5.
    """
    what, _, who = words.partition(", ")
    last = LAST_EPOCH if record is not None and EPOCH not in (record.epoch, record.epoch - 1) else 0
    producer = {
        "": present(record),
        "the epoch before": present(record, 1),
        "epoch before": present(record, 1),
        "an old epoch": present(record, 3),
        "a higher epoch": present(record, -1),
        "another producer": (OTHER_PRODUCER, EPOCH),
        "producer before": (PRODUCER, last),
        "marker's epoch": (PRODUCER, last + 1),
    }[who]
    same, another = frozenset({PARTITION}), frozenset({PARTITION, ANOTHER})
    marker = ((PRODUCER, 0), 0)
    if record is not None and record.state in PREPARED:
        marker = marker_of(record)[:2]
    requests: dict[str, Request] = {
        "InitProducerId": Initialize(TIMEOUT_MS),
        "its own epoch": Initialize(TIMEOUT_MS, producer),
        "the epoch before": Initialize(TIMEOUT_MS, present(record, 1)),
        "the producer before": Initialize(TIMEOUT_MS, (PRODUCER, last)),
        "an old epoch": Initialize(TIMEOUT_MS, present(record, 3)),
        "another producer id": Initialize(TIMEOUT_MS, (OTHER_PRODUCER, EPOCH)),
        "adds another": Add(producer, another),
        "adds the same": Add(producer, same),
        "adds": Add(producer, same),
        "a leader adds the same": Add(producer, same, asks=True),
        "verifies the same": Verify(producer, same),
        "verifies": Verify(producer, same),
        "verifies another": Verify(producer, another),
        "commits": End(producer, True, raises),
        "aborts": End(producer, False, raises),
        "time is up": TimeOut(producer, 0 if record is None else record.number),
        "markers are durable": Mark(*marker),
        "a week passes": Expire(BEGIN_MS),
    }
    return requests[what]


def answer_of(record: TransactionalIdRecord | None, outcome: Outcome) -> str:
    """
    The answer, as in the walks.
    """
    look = "?" if outcome.looks else ""
    match outcome.answer:
        case None:
            return "-"
        case KafkaError() as error:
            return f"{error.code}{look}"
        case Admitted() as admitted:
            return ("out" if admitted.missing else "in") + look
        case Given() as given:
            if given == Given(NEW_PRODUCER, 0) and present(record)[0] != NEW_PRODUCER:
                return f"new{look}"
            assert given.producer_id == present(record)[0]
            return ("=" if given.epoch == present(record)[1] else "+1") + look


class WalkTests(SynchronousTestCase):
    """
    L{TRANSITIONS}, compared with what is decided and what docs/transactions.md says.
    """

    def walk(self, table: str, raises: bool, epoch: int = EPOCH) -> set[tuple[E, Event, E]]:
        """
        Try each line in each state.

        @return: Every event that was seen, with the state before and after.
        """
        seen = set()
        lines = [re.split(r"  +", line) for line in table.strip("\n").splitlines()]
        for words, *rest in lines[1:]:
            cells = re.findall(r"(\S+) (\S+)", " ".join(rest))
            self.assertEqual(len(cells), len(lines[0]) - 1, words)
            for letter, (after_letter, answer) in zip(lines[0][1:], cells, strict=True):
                with self.subTest(words=words, state=letter):
                    record = in_state(LETTERS[letter], raises, epoch)
                    outcome = step(record, request_of(words, record, raises))
                    self.assertEqual(
                        (state_of(outcome.record), answer_of(record, outcome)),
                        (LETTERS[after_letter], answer),
                    )
                    self.assertEqual(outcome.event is None, outcome.record == record)
                    if outcome.event is not None:
                        self.assertFalse(outcome.looks)
                        seen.add((LETTERS[letter], outcome.event, LETTERS[after_letter]))
        return seen

    def test_walks(self) -> None:
        """
        Each line of the walks leads to the state, and is answered, as it says. Together
        they take every transition, and no other.
        """
        seen = self.walk(RAISING, raises=True)
        seen |= self.walk(KEEPING, raises=False)
        seen |= self.walk(EXHAUSTED, raises=True, epoch=LAST_EPOCH)
        self.assertEqual(
            seen,
            {
                (before, event, then)
                for before, events in TRANSITIONS.items()
                for event, then in events.items()
            },
        )

    def test_documented(self) -> None:
        """
        The table in docs/transactions.md has the same transitions.
        """
        page = (Path(__file__).parents[2] / "docs" / "transactions.md").read_text("utf-8")
        names = {state.value: state for state in TransactionState}
        rows = re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \|$", page, re.MULTILINE)
        self.assertEqual(
            {(names[a], names[b]) for a, b in rows},
            {
                (before, then)
                for before, events in TRANSITIONS.items()
                for then in events.values()
                if then is not before
            },
        )


class EpochTests(SynchronousTestCase):
    """
    Who gets which epoch, and what the markers carry.
    """

    def test_markers(self) -> None:
        """
        The markers of EndTxn 5 and of an abort that the producer did not ask for carry
        the epoch after the producer's, those of EndTxn 4 its own (rule T31). All have the
        transaction's number.
        """
        producer = (PRODUCER, EPOCH)
        for request, epoch, commit in (
            (End(producer, True, True), EPOCH + 1, True),
            (End(producer, False, True), EPOCH + 1, False),
            (End(producer, True, False), EPOCH, True),
            (TimeOut(producer, 1), EPOCH + 1, False),
            (Initialize(TIMEOUT_MS), EPOCH + 1, False),
            (Initialize(TIMEOUT_MS, producer), EPOCH + 1, False),
        ):
            record = after(ongoing(), request)
            self.assertEqual(marker_of(record), ((PRODUCER, epoch), 1, commit))
            self.assertEqual(record.epoch, epoch)

    def test_exhausted(self) -> None:
        """
        The markers of the last epoch carry the one after it, and the id has a new
        producer id meanwhile. The first transaction of that has the number 1.
        """
        record = after(ongoing(LAST_EPOCH), End((PRODUCER, LAST_EPOCH), True, True))
        self.assertEqual(marker_of(record), ((PRODUCER, LAST_EPOCH + 1), 1, True))
        self.assertEqual(present(record), (NEW_PRODUCER, 0))
        begun = after(marked(record), Add((NEW_PRODUCER, 0), frozenset({PARTITION})))
        self.assertEqual(begun.number, 1)
        repeat = step(begun, End((PRODUCER, LAST_EPOCH), True, True))
        self.assertEqual(answer_of(begun, repeat), "49?")

    def test_exhausted_by_a_fence(self) -> None:
        """
        So it is with an abort that the producer did not ask for.
        """
        record = after(ongoing(LAST_EPOCH), Initialize(TIMEOUT_MS))
        self.assertEqual(marker_of(record), ((PRODUCER, LAST_EPOCH + 1), 1, False))
        again = step(marked(record), Initialize(TIMEOUT_MS))
        self.assertEqual(again.answer, Given(NEW_PRODUCER, 1))

    def test_exhausted_without_raising(self) -> None:
        """
        EndTxn 4 in the last epoch raises nothing; InitProducerId gives a new producer id
        then, and the same one again when it is asked again.
        """
        own = (PRODUCER, LAST_EPOCH)
        record = in_state(E.COMPLETE_COMMIT, raises=False, epoch=LAST_EPOCH)
        first = step(record, Initialize(TIMEOUT_MS, own))
        self.assertEqual(first.answer, Given(NEW_PRODUCER, 0))
        second = step(first.record, Initialize(TIMEOUT_MS, own))
        self.assertEqual((second.answer, second.looks), (Given(NEW_PRODUCER, 0), True))

    def test_no_id_at_hand(self) -> None:
        """
        Where a new producer id is needed and none is at hand, nothing is decided.
        """
        last = (PRODUCER, LAST_EPOCH)
        for record, request in (
            (None, Initialize(TIMEOUT_MS)),
            (empty(LAST_EPOCH), Initialize(TIMEOUT_MS)),
            (ongoing(LAST_EPOCH), Initialize(TIMEOUT_MS)),
            (ongoing(LAST_EPOCH), End(last, True, True)),
            (empty(LAST_EPOCH), End(last, False, True)),
            (ongoing(LAST_EPOCH), TimeOut(last, 1)),
        ):
            self.assertRaises(ProducerIdNeeded, decide, record, request, BEGIN_MS)

    def test_asked_again(self) -> None:
        """
        InitProducerId with the epoch from before is answered as the first time.
        """
        own = (PRODUCER, EPOCH)
        first = step(empty(), Initialize(TIMEOUT_MS, own))
        self.assertEqual(first.answer, Given(PRODUCER, EPOCH + 1))
        second = step(first.record, Initialize(TIMEOUT_MS, own))
        self.assertEqual((second.answer, second.looks), (first.answer, True))
        longer = step(first.record, Initialize(TIMEOUT_MS + 1, own))
        self.assertEqual((longer.answer, longer.event), (first.answer, Event.INITIALIZED))

    def test_numbers(self) -> None:
        """
        Each transaction that begins has the next number, whoever adds the first
        partition. A producer id with very many gets a successor at InitProducerId; after
        the last one it is fenced.
        """
        record = in_state(E.COMPLETE_ABORT)
        asked = step(record, Add(present(record), frozenset({PARTITION}), asks=True))
        self.assertEqual(asked.answer, Admitted(2))
        many = attrs.evolve(empty(), number=RENEWED_FROM)
        self.assertEqual(step(many, Initialize(TIMEOUT_MS)).answer, Given(NEW_PRODUCER, 0))
        self.assertEqual(after(many, Initialize(TIMEOUT_MS)).number, 0)
        full = attrs.evolve(empty(), number=LAST_NUMBER)
        refused = step(full, Add((PRODUCER, EPOCH), frozenset({PARTITION})))
        self.assertEqual(answer_of(full, refused), "90?")

    def test_nothing_is_added(self) -> None:
        """
        A request that names nothing begins no transaction.
        """
        outcome = step(empty(), Add((PRODUCER, EPOCH)))
        self.assertEqual((outcome.event, outcome.answer, outcome.looks), (None, Admitted(0), True))

    def test_groups(self) -> None:
        """
        Groups are added and verified as partitions are.
        """
        producer = (PRODUCER, EPOCH)
        record = after(ongoing(), Add(producer, groups=frozenset({"g"})))
        self.assertEqual(record.groups, {"g"})
        self.assertEqual(
            step(record, Verify(producer, groups=frozenset({"g"}))).answer, Admitted(1)
        )
        missing = step(record, Verify(producer, frozenset({ANOTHER}), frozenset({"g", "h"})))
        self.assertEqual(missing.answer, Admitted(1, frozenset({ANOTHER, "h"})))
        ended = marked(after(record, End(producer, True, True)))
        self.assertEqual((ended.groups, ended.partitions), (frozenset(), frozenset()))


class TimeOutTests(SynchronousTestCase):
    """
    A transaction is open for too long, and its producer comes back.
    """

    def test_producer_raises(self) -> None:
        """
        Its abort is a repeat, and gives the next epoch; its commit is refused.
        InitProducerId gives that epoch, too.
        """
        record = timed_out()
        producer = (PRODUCER, EPOCH)
        next_one = Given(PRODUCER, EPOCH + 1)
        self.assertEqual(step(record, End(producer, False, True)).answer, next_one)
        self.assertEqual(answer_of(record, step(record, End(producer, True, True))), "48?")
        self.assertEqual(step(record, Initialize(TIMEOUT_MS, producer)).answer, next_one)

    def test_producer_does_not_raise(self) -> None:
        """
        With EndTxn 4 it is fenced.
        """
        record = timed_out()
        for commit in (True, False):
            refused = step(record, End((PRODUCER, EPOCH), commit, False))
            self.assertEqual(answer_of(record, refused), "90?")

    def test_epoch_not_kept(self) -> None:
        """
        Where transaction.version is 1 it is fenced, whatever it sends.
        """
        record = timed_out(keeps_epoch=False)
        for request in (
            End((PRODUCER, EPOCH), False, True),
            Initialize(TIMEOUT_MS, (PRODUCER, EPOCH)),
        ):
            self.assertEqual(answer_of(record, step(record, request)), "90?")

    def test_of_an_earlier_one(self) -> None:
        """
        The time of an earlier transaction ends no other.
        """
        record = ongoing()
        for late in (TimeOut((PRODUCER, EPOCH - 1), 1), TimeOut((PRODUCER, EPOCH), 0)):
            self.assertEqual(step(record, late), Outcome(record))


class FenceTests(SynchronousTestCase):
    """
    InitProducerId finds a transaction open.
    """

    def test_successor(self) -> None:
        """
        Another instance gets an epoch that nobody had, when the markers are durable
        (rule T30). The one before is fenced at once, whatever it sends.
        """
        fenced = after(ongoing(), Initialize(TIMEOUT_MS))
        for record in (fenced, marked(fenced)):
            for request in (
                End((PRODUCER, EPOCH), False, True),
                End((PRODUCER, EPOCH), True, False),
                Add((PRODUCER, EPOCH), frozenset({PARTITION})),
            ):
                self.assertEqual(answer_of(record, step(record, request)), "90?")
        given = step(marked(fenced), Initialize(TIMEOUT_MS)).answer
        self.assertEqual(given, Given(PRODUCER, EPOCH + 2))

    def test_itself(self) -> None:
        """
        The producer of the transaction goes on in the next epoch.
        """
        own = Initialize(TIMEOUT_MS, (PRODUCER, EPOCH))
        fenced = after(ongoing(), own)
        self.assertEqual(answer_of(fenced, step(fenced, own)), "51")
        self.assertEqual(step(marked(fenced), own).answer, Given(PRODUCER, EPOCH + 1))

    def test_a_zombie(self) -> None:
        """
        As in Kafka, an old epoch aborts what is open, and only then is it refused.
        """
        old = Initialize(TIMEOUT_MS, (PRODUCER, EPOCH - 1))
        fenced = after(ongoing(), old)
        record = marked(fenced)
        self.assertEqual(answer_of(record, step(record, old)), "90?")


class MarkTests(SynchronousTestCase):
    """
    Markers are durable.
    """

    def test_of_another(self) -> None:
        """
        Those of another transaction or epoch complete nothing.
        """
        record = after(ongoing(), End((PRODUCER, EPOCH), True, True))
        for producer, number in (
            ((PRODUCER, EPOCH), 1),
            ((PRODUCER, EPOCH + 1), 0),
            ((OTHER_PRODUCER, EPOCH + 1), 1),
        ):
            self.assertEqual(step(record, Mark(producer, number)), Outcome(record))

    def test_kept(self) -> None:
        """
        When the transaction began stays known until the next InitProducerId, and what
        was decided by the state.
        """
        for state, commit in ((E.COMPLETE_COMMIT, True), (E.COMPLETE_ABORT, False)):
            record = in_state(state)
            assert record is not None
            self.assertEqual(record.began_ms, BEGIN_MS)
            self.assertIs(IS_COMMIT[record.state], commit)
            self.assertEqual(after(record, Initialize(TIMEOUT_MS)).began_ms, -1)


class ExpiryTests(SynchronousTestCase):
    """
    An id is not used for a long time.
    """

    def test_used_meanwhile(self) -> None:
        """
        One that was used since then stays.
        """
        record = empty()
        self.assertEqual(step(record, Expire(BEGIN_MS - 1)), Outcome(record))
        self.assertIsNone(step(record, Expire(BEGIN_MS)).record)
