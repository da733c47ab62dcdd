"""
Tests for L{kafscale.log.journal.fencing}: brokers on a store whose creates replace.

That nothing is lost there is also tested in L{tests.log.test_machine}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from kafscale.errors import NotLeaderOrFollower, StoreUnavailable
from kafscale.format import metadata_keys, object_keys
from kafscale.format.incarnation import WINDOW
from kafscale.format.slot import write_seal
from kafscale.interfaces import Delete, Put
from kafscale.log.journal.fencing import Fence, Marked
from kafscale.log.takeover.sealing import JournalExtent, seal
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.careless import CarelessObjectStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, Operation, Verdict, hold, let_pass
from tests.inspect.looking import report, wrong
from tests.log.brokers import EACH, WHERE, Broker, BrokerTestCase, Shared
from tests.log.journal.journal_case import JournalTestCase

INCARNATION = 5


class MarkedJournalTests(JournalTestCase):
    """
    A slot is acknowledged when it is stored and no mark was found after that.
    """

    def fence(self) -> Fence:
        """
        Make a fence on a metadata store that waits for the test, without a mark.
        """
        self.inner_metadata = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: now(self.inner_metadata.close()))
        self.metadata = HostileMetadataStore(self.inner_metadata)
        record = Put(metadata_keys.incarnation(INCARNATION), {"broker": 1, "trim": 0})
        now(self.inner_metadata.commit([], [record]))
        return Marked(self.metadata, INCARNATION)

    def mark(self) -> None:
        """
        Put a mark, as a successor does.
        """
        key = metadata_keys.seal(INCARNATION)
        now(self.inner_metadata.commit([], [Put(key, {"by": 9})]))

    def forget(self) -> None:
        """
        Delete what is recorded of the incarnation, as if nothing of it was left.
        """
        keys = metadata_keys.seal(INCARNATION), metadata_keys.incarnation(INCARNATION)
        now(self.inner_metadata.commit([], [Delete(key) for key in keys]))

    def read(self) -> Operation:
        """
        Return the read of the mark that is under way.
        """
        (operation,) = self.metadata.pending
        self.assertEqual(operation.kind, "holds")
        self.assertEqual(operation.key, metadata_keys.seal(INCARNATION))
        return operation

    def test_acknowledged_after_the_read(self) -> None:
        """
        A stored slot is not acknowledged before the mark was read.
        """
        told = self.add(1000).wait()
        self.assertEqual(self.metadata.pending, [])
        self.land(0)
        self.assertNoResult(told)
        self.assertEqual((self.writer.ends, self.counts.slots), ([], 0))
        self.read().succeed()
        self.successResultOf(told)
        self.assertEqual((self.writer.ends, self.counts.slots), ([1], 1))

    def test_26_a_window_after_the_first_that_is_not_acknowledged(self) -> None:
        """
        Slots that are stored and wait for the read of the mark count as being
        under way.
        """
        for _ in range(WINDOW + 2):
            self.add(1000)
        self.land(0)
        read = self.read()
        for number in range(1, WINDOW):
            self.land(number)
        self.assertEqual(self.sent(), [])
        read.succeed()
        self.assertEqual(self.sent(), [WINDOW])
        self.read().succeed()
        self.assertEqual(self.sent(), [WINDOW, WINDOW + 1])

    def test_one_read_for_many(self) -> None:
        """
        A read covers slots that were stored before it began. A slot that is
        stored while it is under way waits for the next one.
        """
        for _ in range(4):
            self.add(1000)
        self.land(0)
        first = self.read()
        for number in (1, 2, 3):
            self.land(number)
        self.assertIs(self.read(), first)
        first.succeed()
        self.assertEqual(self.writer.ends, [1])
        self.read().succeed()
        self.assertEqual(self.writer.ends, [1, 2, 3, 4])
        self.assertEqual(self.metadata.pending, [])

    def test_a_mark_refuses_all(self) -> None:
        """
        A mark refuses slots that are stored, and slots that are not yet.
        """
        told = [self.add(1000).wait() for _ in range(3)]
        self.land(1)
        self.land(0)
        self.mark()
        self.read().succeed()
        for answer in told:
            self.failureResultOf(answer, NotLeaderOrFollower)
        self.assertEqual((self.fences, self.writer.ends, self.acknowledged), (1, [], []))
        self.land(2)
        self.metadata.settle()
        self.assertEqual((self.fences, self.writer.ends), (1, []))

    def test_27_no_mark_and_no_record(self) -> None:
        """
        It was marked, and nothing of it was left: no mark is there any more. A
        slot that is stored afterwards is refused.
        """
        told = self.add(1000).wait()
        self.mark()
        self.forget()
        self.land(0)
        self.read().succeed()
        self.failureResultOf(told, NotLeaderOrFollower)
        self.assertEqual((self.fences, self.writer.ends, self.acknowledged), (1, [], []))

    def test_a_read_that_began_too_early(self) -> None:
        """
        A read that began too early finds no mark; by the time that the second
        slot is stored there is one.
        """
        told = [self.add(1000).wait() for _ in range(2)]
        self.land(0)
        early = self.read()
        early.apply()
        self.mark()
        self.land(1)
        early.succeed()
        self.successResultOf(told[0])
        self.assertNoResult(told[1])
        self.read().succeed()
        self.failureResultOf(told[1], NotLeaderOrFollower)

    def test_the_pipeline_does_not_wait_for_the_read(self) -> None:
        """
        A stored slot leaves its place in the pipeline to the next one.
        """
        for _ in range(5):
            self.add(1000)
        self.assertEqual(self.sent(), [0, 1, 2, 3])
        self.land(0)
        self.assertEqual(self.sent(), [1, 2, 3, 4])
        self.assertEqual(self.journal.sending, 4)
        flushed = self.journal.flush()
        for number in range(1, 5):
            self.land(number)
        self.assertNoResult(flushed)
        self.metadata.settle()
        self.successResultOf(flushed)

    def test_who_cannot_read_stops(self) -> None:
        """
        When the store refuses reads for good, nothing may be acknowledged.
        """
        told = [self.add(1000).wait() for _ in range(2)]
        self.land(0)
        self.read().fail()
        for answer in told:
            self.failureResultOf(answer, NotLeaderOrFollower)
        self.assertEqual(self.fences, 1)
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailable)), 1)


class LingeringTests(MarkedJournalTests):
    """
    The same with a linger.
    """

    linger = 0.5

    def test_an_answer_frees_no_place(self) -> None:
        """
        A place becomes free when a slot is stored, not when the mark was read: a
        slot that waits for a place fills until then.
        """
        for _ in range(5):
            self.add(1000)
        self.land(0)
        self.add(10)
        self.clock.advance(1)
        self.assertEqual(self.sent(), [1, 2, 3, 4])
        self.read().succeed()
        self.add(10)
        self.land(1)
        self.assertEqual((self.sent(), self.journal.span), ([2, 3, 4, 5], 6))


class CarelessTestCase(BrokerTestCase):
    """
    Brokers on a store whose creates replace.
    """

    objects: CarelessObjectStore

    def setUp(self) -> None:
        """
        Begin with empty stores.
        """
        self.objects = CarelessObjectStore()
        self.shared = Shared(self.objects)

    def tearDown(self) -> None:
        """
        Assert that no key got two contents, and that the stores keep the rules.
        """
        self.assertEqual(self.objects.replaced, [])
        self.assertEqual(wrong(self.shared), [])

    def broker(self, **settings: Any) -> Broker:
        """
        Start a new incarnation, which a mark stops unless the settings differ.
        """
        return super().broker(**{"fencing": "metadata", **EACH, **settings})

    def append(self, broker: Broker, value: bytes) -> Deferred[None]:
        """
        Append a record; return its outcome.
        """
        settled = broker.append(value).settled
        assert settled is not None
        return settled.wait()

    def late(self, broker: Broker, part: str) -> Operation:
        """
        Return what a broker creates now, to be done when the test says so.
        """
        (operation,) = broker.pending("create", part)
        return operation


class MarkTests(CarelessTestCase):
    """
    How a successor stops an incarnation that may replace objects.
    """

    def test_marks_first_and_looks_afterwards(self) -> None:
        """
        Nothing of the journal is read before the mark is known to be committed,
        and no seal is put.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        successor = self.broker(policy=hold("commit", metadata_keys.SEALS))
        recovering = successor.recover()
        self.assertEqual(successor.pending("get_suffix"), [])
        (mark,) = successor.pending("commit", metadata_keys.SEALS)
        self.assertEqual(mark.arguments[1][0].value, {"by": successor.incarnation})
        looked: list[Operation] = []

        def note(operation: Operation) -> Verdict | None:
            if operation.kind == "get_suffix":
                looked.append(operation)
            return hold("commit", metadata_keys.SEALS)(operation)

        successor.obey(note)
        mark.fail()
        successor.clock.advance(0.1)
        self.assertEqual(looked, [])
        (mark,) = successor.pending("commit", metadata_keys.SEALS)
        mark.succeed()
        self.assertTrue(looked)
        (end,) = successor.pending("commit", metadata_keys.SEALS)
        value = {"sealed_at": 1, "by": successor.incarnation}
        self.assertEqual(end.arguments[1][0].value, value)
        self.assertEqual(self.shared.record().incarnation, writer.incarnation)
        successor.obey(let_pass)
        successor.run()
        self.successResultOf(recovering)
        self.assertEqual(self.shared.value(metadata_keys.seal(writer.incarnation)), value)
        self.assertEqual(self.read_all(successor), [b"0"])
        self.assertEqual(self.shared.seals(writer.incarnation), [])

    def test_who_is_marked_acknowledges_nothing_more(self) -> None:
        """
        A writer that sleeps through its replacement and goes on writing is
        refused, and its records do not appear.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        successor = self.leader()
        self.failureResultOf(self.append(writer, b"refused"), NotLeaderOrFollower)
        self.assertTrue(writer.fenced)
        self.assertEqual(self.read_all(successor), [b"0"])
        self.assertEqual(self.read_all(self.leader()), [b"0"])

    def test_stored_before_the_mark_and_not_acknowledged(self) -> None:
        """
        A slot stored before the mark counts: only its writer knows whether it
        was acknowledged in time.
        """
        writer = self.leader()
        writer.obey(hold("holds", metadata_keys.SEALS))
        told = self.append(writer, b"0")
        successor = self.leader()
        self.assertEqual(self.read_all(successor), [b"0"])
        writer.settle()
        self.failureResultOf(told, NotLeaderOrFollower)

    def test_stored_after_the_end_was_found(self) -> None:
        """
        A slot stored after the end was found does not count, now or later, and
        is deleted, even if it lands after the journal's slots were deleted.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        writer.obey(hold("create", "/journal/"))
        told = self.append(writer, b"1")
        slot = self.late(writer, "/journal/")
        successor = self.leader(orphan_seconds=100.0)
        slot.apply()
        self.assertEqual(self.shared.slots(writer.incarnation), [1])
        self.assertIn("past the end", "".join(report(self.shared)))
        slot.succeed()
        self.failureResultOf(told, NotLeaderOrFollower)
        self.assertEqual(self.read_all(successor), [b"0"])
        for _ in range(2):
            successor.clock.advance(100)
            successor.run()
        self.assertEqual(self.shared.slots(writer.incarnation), [])

    def test_a_slot_that_lands_again(self) -> None:
        """
        An attempt whose answer was lost is done a second time, when others read
        the slot.
        """
        writer = self.leader()
        writer.obey(hold("create", "/journal/"))
        told = self.append(writer, b"0")
        again = self.late(writer, "/journal/").fail_and_apply_later()
        writer.obey(let_pass)
        writer.run()
        self.successResultOf(told)
        writer.crash()
        successor = self.broker(policy=hold("create", "/topics/"))
        successor.recover()
        again.apply()
        self.assertEqual(self.read_all(successor), [b"0"])
        successor.obey(let_pass)
        successor.run()
        self.assertEqual(self.read_all(self.leader()), [b"0"])

    def test_two_who_find_different_ends(self) -> None:
        """
        A slot lands between the searches of two successors: the first to record
        an end wins.
        """
        for first in (0, 1):
            writer = self.leader()
            self.successResultOf(self.append(writer, b"0"))
            writer.obey(hold("create", "/journal/"))
            told = self.append(writer, b"1")
            slot = self.late(writer, "/journal/")
            sealers = [self.broker(policy=hold("commit", metadata_keys.SEALS)) for _ in range(2)]
            sealing = [self.seal(writer, each) for each in sealers]
            for each in sealers:
                each.pending("commit", metadata_keys.SEALS)[0].succeed()
                if each is sealers[0]:
                    slot.apply()
            found = [
                each.pending("commit", metadata_keys.SEALS)[0].arguments[1][0].value["sealed_at"]
                for each in sealers
            ]
            self.assertEqual(found, [1, 2])
            for each in sealers if first == 0 else sealers[::-1]:
                each.obey(let_pass)
                each.run()
            ends = [self.successResultOf(done).sealed_at for done in sealing]
            self.assertEqual(ends, [found[first]] * 2)
            slot.succeed()
            self.failureResultOf(told, NotLeaderOrFollower)
            values = [b"0", b"1"][: found[first]]
            self.assertEqual(self.read_all(self.leader())[-len(values) :], values)

    def seal(self, writer: Broker, sealer: Broker) -> Deferred[JournalExtent]:
        """
        Seal a broker's journal.
        """
        return begin(
            seal(
                sealer.environment.objects,
                sealer.environment.metadata,
                "default",
                writer.incarnation,
                sealer.incarnation,
            )
        )

    def test_who_marks_and_dies(self) -> None:
        """
        When a successor dies after marking, the next one finds the mark, and
        then the end.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        first = self.broker(policy=hold("get_suffix", "/journal/"))
        first.recover()
        first.crash()
        key = metadata_keys.seal(writer.incarnation)
        self.assertEqual(self.shared.value(key), {"by": first.incarnation})
        self.assertEqual(wrong(self.shared), [])
        self.failureResultOf(self.append(writer, b"1"), NotLeaderOrFollower)
        successor = self.leader(orphan_seconds=100.0)
        self.assertEqual(self.read_all(successor), [b"0", b"1"])

    def test_the_trim_mark_is_read_after_the_mark(self) -> None:
        """
        The writer trims until it is marked, and not after that.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        successor = self.broker(policy=hold("commit", metadata_keys.SEALS))
        recovering = successor.recover()
        self.successResultOf(begin(writer.roll(writer.partition())))
        self.successResultOf(self.append(writer, b"1"))
        successor.obey(let_pass)
        successor.run()
        self.successResultOf(recovering)
        self.assertEqual(self.shared.value(metadata_keys.seal(writer.incarnation))["sealed_at"], 2)
        self.assertEqual(self.read_all(successor), [b"0", b"1"])

    def test_the_trim_mark_is_read_after_anothers_mark(self) -> None:
        """
        A trimmed slot is not taken for the end, also if another broker has put
        the mark.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        slow = self.broker(policy=hold("get", metadata_keys.SEALS))
        sealing = self.seal(writer, slow)
        self.successResultOf(begin(writer.roll(writer.partition())))
        self.successResultOf(self.append(writer, b"1"))
        first = self.broker(policy=hold("get_suffix", "/journal/"))
        self.seal(writer, first)
        first.crash()
        slow.obey(let_pass)
        slow.run()
        self.assertEqual(self.successResultOf(sealing).sealed_at, 2)
        self.assertEqual(self.read_all(self.leader()), [b"0", b"1"])

    def test_who_looks_for_longer(self) -> None:
        """
        A successor that searches for longer takes the end that was recorded
        meanwhile, though there is one more slot by then.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        writer.obey(hold("create", "/journal/"))
        self.append(writer, b"1").addErrback(lambda _: None)
        slow = self.broker(policy=hold("get_suffix", "/journal/"))
        sealing = self.seal(writer, slow)
        quick = self.broker()
        self.assertEqual(self.successResultOf(self.seal(writer, quick)).sealed_at, 1)
        self.late(writer, "/journal/").apply()
        slow.obey(let_pass)
        slow.run()
        self.assertEqual(self.successResultOf(sealing).sealed_at, 1)
        self.assertEqual(self.shared.value(metadata_keys.seal(writer.incarnation))["sealed_at"], 1)
        self.assertEqual(self.read_all(self.leader()), [b"0"])

    def test_winding_up_keeps_what_stops_it(self) -> None:
        """
        As long as there is a record of the incarnation it says that no seal stops it.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        self.leader()
        self.assertEqual(
            self.shared.value(metadata_keys.incarnation(writer.incarnation)),
            {"broker": 1, "trim": 1, "level": 1, "fencing": "metadata", "wound_up": True},
        )

    def test_a_journal_without_slots(self) -> None:
        """
        An empty journal ends at 0.
        """
        writer = self.leader()
        self.leader()
        self.assertEqual(self.shared.value(metadata_keys.seal(writer.incarnation))["sealed_at"], 0)
        self.assertEqual(self.shared.keys(), [])


class RivalTests(CarelessTestCase):
    """
    Segments of leaders that were replaced.
    """

    def roll(self, broker: Broker) -> Deferred[None]:
        """
        Roll the first partition now.
        """
        return begin(broker.roll(broker.partition()))

    def segment(self, base: int, epoch: int = -1) -> str:
        """
        Return the name of a segment.
        """
        return object_keys.segment(object_keys.partition("default", *WHERE), base, epoch)

    def names(self) -> list[str]:
        """
        Return the keys of all segments.
        """
        return self.shared.keys("default/topics/")

    def test_a_late_one_replaces_nothing(self) -> None:
        """
        A leader writes a segment of its first record, is replaced, and the
        segment lands when its successor's, of two records, is in use.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        writer.obey(hold("create", "/topics/"))
        self.roll(writer)
        late = self.late(writer, "/topics/")
        writer.obey(let_pass)
        self.successResultOf(self.append(writer, b"1"))
        successor = self.leader(orphan_seconds=100.0)
        self.assertEqual(self.names(), [self.segment(0, 1)])
        self.assertEqual(self.shared.record().key_epochs, ((0, 1),))
        late.apply()
        self.assertEqual(self.names(), [self.segment(0, 0), self.segment(0, 1)])
        self.assertEqual(self.read_all(successor), [b"0", b"1"])
        third = self.leader(orphan_seconds=100.0)
        self.assertEqual(self.read_all(third), [b"0", b"1"])
        self.assertEqual(
            [line for line in report(self.shared) if line.startswith("garbage")],
            [f"garbage: {self.segment(0, 0)}: made by a leader that was replaced"],
        )
        for _ in range(2):
            third.clock.advance(100)
            third.run()
        self.assertEqual(self.names(), [self.segment(0, 1)])

    def test_one_that_was_not_committed(self) -> None:
        """
        The leader that has written it died. The successor writes its own, and
        the bytes of the other are not counted.
        """
        writer = self.leader()
        self.successResultOf(self.append(writer, b"0"))
        writer.obey(hold("commit", metadata_keys.PARTITIONS))
        self.roll(writer)
        self.assertEqual(self.names(), [self.segment(0, 0)])
        self.assertIn("not part of the log yet", "".join(report(self.shared)))
        writer.crash()
        successor = self.leader()
        self.successResultOf(self.append(successor, b"1"))
        self.successResultOf(self.roll(successor))
        self.assertEqual(
            self.names(), [self.segment(0, 0), self.segment(0, 1), self.segment(1, 1)]
        )
        self.assertEqual(now(successor.partition().delete_before(1)), 1)
        self.assertEqual(self.names(), [self.segment(1, 1)])
        size = len(now(self.objects.get(self.segment(1, 1))))
        self.assertEqual(self.shared.record().stored_bytes, size)

    def test_from_seals_to_marks_and_back(self) -> None:
        """
        All segments are found, whatever their keys; key epochs from before the
        first segment are forgotten with it.
        """
        expected = []
        for number, fencing in enumerate(("create", "metadata", "create", "metadata")):
            broker = self.leader(fencing=fencing)
            self.successResultOf(self.append(broker, b"%d" % number))
            self.successResultOf(self.roll(broker))
            expected.append(b"%d" % number)
            self.assertEqual(self.read_all(broker), expected)
        names = [self.segment(0), self.segment(1, 1), self.segment(2), self.segment(3, 3)]
        self.assertEqual(self.names(), names)
        self.assertEqual(self.shared.record().key_epochs, ((1, 1), (2, -1), (3, 3)))
        last = self.leader()
        self.assertEqual(self.read_all(last), expected)
        self.assertEqual(now(last.partition().delete_before(2)), 2)
        self.assertEqual(self.shared.record().key_epochs, ((2, -1), (3, 3)))
        self.assertEqual(self.names(), names[2:])
        self.assertEqual(self.read_all(self.leader()), expected[2:])

    def test_what_failed_is_not_tried_again(self) -> None:
        """
        Whether the first attempt will land is unknown, and a second one would
        have other bytes: only another epoch may try again.
        """
        broker = self.leader()
        self.successResultOf(self.append(broker, b"0"))

        async def fail(key: str, pieces: Any) -> None:
            raise ValueError("something nobody has thought of")

        create = broker.environment.objects.create
        broker.environment.objects.create = fail  # type: ignore[method-assign]
        self.failureResultOf(self.roll(broker), ValueError)
        broker.environment.objects.create = create  # type: ignore[method-assign]
        self.assertTrue(broker.fenced)
        self.assertEqual(self.read_all(self.leader()), [b"0"])

    def test_what_is_cancelled_is_not_tried_again(self) -> None:
        """
        Nor is a roll that is cancelled: the broker stops, and its time for
        handing over is up. Whether the segment counts is unknown, too.
        """
        for held in (("create", "/topics/"), ("commit", metadata_keys.PARTITIONS)):
            broker = self.leader()
            self.successResultOf(self.append(broker, b"0"))
            broker.obey(hold(*held))
            rolling = self.roll(broker)
            rolling.cancel()
            self.failureResultOf(rolling, CancelledError)
            broker.obey(let_pass)
            self.assertTrue(broker.fenced)
        self.assertEqual(self.read_all(self.leader()), [b"0", b"0"])


class OtherFencingTests(BrokerTestCase):
    """
    How an incarnation is stopped depends on its own record, not on the
    successor's setting.
    """

    def test_who_is_stopped_by_seals(self) -> None:
        """
        An incarnation with seals is stopped by a seal, and reads no mark.
        """
        writer = self.leader(**EACH)
        writer.append(b"0")
        successor = self.leader(fencing="metadata", **EACH)
        self.assertIn(1, self.shared.seals(writer.incarnation))
        settled = writer.append(b"1").settled
        assert settled is not None
        self.failureResultOf(settled.wait(), NotLeaderOrFollower)
        self.assertEqual(self.read_all(successor), [b"0"])

    def test_who_is_stopped_by_marks(self) -> None:
        """
        An incarnation with marks is stopped by a mark, and no seal is put.
        """
        writer = self.leader(fencing="metadata", **EACH)
        writer.append(b"0")
        successor = self.leader(**EACH)
        self.assertEqual(self.shared.seals(writer.incarnation), [])
        settled = writer.append(b"1").settled
        assert settled is not None
        self.failureResultOf(settled.wait(), NotLeaderOrFollower)
        self.assertEqual(self.read_all(successor), [b"0"])

    def test_what_is_missing(self) -> None:
        """
        C{kafscale-inspect} reports a missing slot before the end, and no missing
        seal.
        """
        writer = self.leader(fencing="metadata", **EACH)
        for value in (b"0", b"1"):
            writer.append(value)
        successor = self.broker(policy=hold("create", "/topics/"))
        successor.recover()
        self.assertEqual(wrong(self.shared), [])
        key = object_keys.slot(object_keys.journal("default", 1, writer.incarnation), 1)
        now(self.shared.objects.delete([key]))
        self.assertIn(f"wrong: {key}: missing", wrong(self.shared))

    def test_a_mark_that_makes_no_sense(self) -> None:
        """
        A record that is neither a mark nor an end is refused.
        """
        writer = self.leader(fencing="metadata", **EACH)
        key = metadata_keys.seal(writer.incarnation)
        now(self.shared.metadata.commit([], [Put(key, {})]))
        self.assertIn(key, "".join(wrong(self.shared)))

    def test_what_stands_in_the_way(self) -> None:
        """
        On a store that only creates, an object that is not the broker's own
        stops it, too.
        """
        writer = self.leader(fencing="metadata", **EACH)
        key = object_keys.slot(object_keys.journal("default", 1, writer.incarnation), 0)
        now(self.shared.objects.create(key, [write_seal(99)]))
        settled = writer.append(b"0").settled
        assert settled is not None
        self.failureResultOf(settled.wait(), NotLeaderOrFollower)
