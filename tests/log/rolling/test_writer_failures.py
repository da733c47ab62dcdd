"""
Tests for L{kafscale.log.rolling.writer}: failures on the way into volumes.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from kafscale.errors import KafkaError, ObjectExists, StoreError, StoreUnavailable
from kafscale.format import metadata_keys, object_keys
from kafscale.interfaces import Delete
from kafscale.log import commit
from kafscale.log.rolling import writer
from kafscale.log.rolling.roller import RETRY_SECONDS
from kafscale.log.rolling.volumes import GRACE_SECONDS
from tests.harness.coroutines import begin, now
from tests.harness.hostile import Operation, Verdict, hold, let_pass
from tests.inspect.looking import wrong
from tests.log.brokers import TOPIC, Broker, append_to, batch
from tests.log.volume_case import EVERY, PARTITIONS, VOLUMES, VolumeTestCase


class RefusedTests(VolumeTestCase):
    """
    Volumes that the store refuses as existing.
    """

    def refuse(self, broker: Broker, applied: bool) -> Deferred[None]:
        """
        Fill all partitions, and refuse the volume into which they are rolled.

        @param applied: Whether the volume is stored all the same.
        @return: The roll.
        """
        self.fill(broker, b"0")
        broker.obey(hold("create", VOLUMES))
        rolling = begin(broker.roll_all(self.all_of(broker)))
        (operation,) = broker.pending("create")
        if applied:
            operation.apply()
        broker.objects.pending.remove(operation)
        operation.answer.errback(ObjectExists(operation.key))
        broker.obey(let_pass)
        broker.settle()
        return rolling

    def test_by_mistake(self) -> None:
        """
        No record names a volume that is not there: the roll fails, and is made again.
        """
        broker = self.leading()
        self.failureResultOf(self.refuse(broker, applied=False), StoreUnavailable)
        self.assertEqual(self.rolled(), [0] * 4)
        now(broker.roll_all(self.all_of(broker)))
        self.assertEqual(self.rolled(), [1] * 4)
        broker.crash()
        successor = self.successor()
        for index in range(4):
            self.assert_holds(successor, [b"0"], index)
        self.assertEqual(wrong(self.shared), [])

    def test_answer_lost(self) -> None:
        """
        A volume that an earlier attempt has stored is named.
        """
        broker = self.leading()
        self.successResultOf(self.refuse(broker, applied=True))
        self.assertEqual(self.rolled(), [1] * 4)


class CommitTests(VolumeTestCase):
    """
    Chapters that some records name, and others do not.
    """

    def commits(self, broker: Broker, at: int, applied: bool) -> None:
        """
        Refuse the commit of chapters with this number; say whether it is done
        all the same.
        """
        left = at

        def policy(operation: Operation) -> Verdict | None:
            nonlocal left
            if operation.kind == "commit" and metadata_keys.PARTITIONS in operation.key:
                left -= 1
                if left == -1:
                    return None
            return Verdict.SUCCEED

        broker.obey(policy)
        self.fill(broker, b"0")
        rolling = begin(broker.roll_all(self.all_of(broker)))
        (operation,) = broker.pending("commit")
        if applied:
            operation.apply()
        broker.metadata.pending.remove(operation)
        operation.answer.errback(StoreError("who are you?"))
        broker.obey(let_pass)
        self.failureResultOf(rolling, StoreError)

    def test_one_is_refused(self) -> None:
        """
        The volume stays, whatever the outcome; earlier chapters stay named.
        """
        for at in range(2):
            for applied in (False, True):
                self.setUp()
                self.patch(writer, "TOGETHER", 2)
                self.patch(commit, "TOGETHER", 2)
                broker = self.leading()
                self.commits(broker, at, applied)
                named = 2 * (at + applied)
                self.assertEqual(self.chapters(), [1] * named + [0] * (4 - named))
                self.wait(broker, 3 * GRACE_SECONDS)
                self.assertIn(0, self.numbers())
                # Partitions whose commit is known to be done go on.
                for index in range(2 * at):
                    self.roll(broker, b"1", index)
                self.wait(broker, 3 * GRACE_SECONDS)
                self.assertIn(0, self.numbers())
                if not applied:
                    now(broker.roll_all(self.all_of(broker)))
                    self.assertEqual(self.rolled(), [2] * 2 * at + [1] * (4 - 2 * at))
                    self.wait(broker, 3 * GRACE_SECONDS)
                    self.assertFalse(broker.fenced)
                broker.crash()
                successor = self.successor()
                for index in range(4):
                    expected = [b"0", b"1"] if index < 2 * at else [b"0"]
                    self.assert_holds(successor, expected, index)
                self.assertEqual(wrong(self.shared), [])

    def test_a_topic_is_deleted_meanwhile(self) -> None:
        """
        The others are named; the volume is deleted when they do not need it any
        more.
        """
        broker = self.leading()
        self.fill(broker, b"0")
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        binding = begin(broker.roll_all(self.all_of(broker)))
        key = metadata_keys.partition(*PARTITIONS[1])
        now(self.shared.metadata.commit([], [Delete(key)]))
        broker.obey(let_pass)
        broker.settle()
        self.successResultOf(binding)
        self.assertFalse(broker.fenced)
        left = (0, 2, 3)
        self.assertEqual(
            [len(self.shared.record((TOPIC, each)).chapters) for each in left], [1] * 3
        )
        self.assertTrue(broker.log.partition(*PARTITIONS[1]).dropped)
        for index in left:
            self.assertEqual(self.numbers(), [0])
            self.assert_holds(broker, [b"0"], index)
            self.roll(broker, b"1", index)
        self.wait(broker, GRACE_SECONDS + 1)
        self.assertEqual(self.numbers(), [])

    def test_replaced_meanwhile(self) -> None:
        """
        Nothing is named and nothing is lost; a sweep deletes the volume.
        """
        broker = self.leading()
        self.fill(broker, b"0")
        broker.obey(hold("commit", metadata_keys.PARTITIONS))
        binding = begin(broker.roll_all(self.all_of(broker)))
        successor = self.successor(orphan_seconds=EVERY)
        broker.obey(let_pass)
        broker.settle()
        self.assertTrue(binding.called)
        self.assertTrue(broker.fenced)
        for index in range(4):
            self.assert_holds(successor, [b"0"], index)
        self.wait(broker, 3 * GRACE_SECONDS)
        self.assertIn((broker.incarnation, 0), self.volumes())
        for _ in range(3):
            successor.run(EVERY)
        self.assertNotIn((broker.incarnation, 0), self.volumes())
        for index in range(4):
            self.assert_holds(successor, [b"0"], index)
        self.assertEqual(wrong(self.shared), [])


class FailureTests(VolumeTestCase):
    """
    Volumes that cannot be written or read.
    """

    def test_an_answer_is_lost(self) -> None:
        """
        The second attempt finds the volume, and it is the same.
        """
        broker = self.leading()
        self.fill(broker, b"0")
        lost: list[Operation] = []

        def policy(operation: Operation) -> Verdict | None:
            if operation.kind == "create" and operation.key.startswith(VOLUMES) and not lost:
                lost.append(operation)
                return Verdict.FAIL_BUT_APPLY
            return Verdict.SUCCEED

        broker.obey(policy)
        releasing = begin(broker.log.release(PARTITIONS))
        broker.run()
        self.successResultOf(releasing)
        self.assertEqual((len(lost), self.numbers(), self.chapters()), (1, [0], [1, 1, 1, 1]))

    def test_one_cannot_be_opened(self) -> None:
        """
        The other partitions are rolled all the same.
        """
        first = self.leading()
        self.roll(first, b"0")
        first.obey(hold("create", "/topics/"))
        self.fill(first, b"1")
        first.crash()
        (key,) = self.own()
        now(self.shared.objects.delete([key]))
        second = self.leader(PARTITIONS, broker_id=2, chapters=3, orphan_seconds=0)
        for _ in range(5):
            second.run(RETRY_SECONDS)
        with capturedLogs():
            rolling = begin(second.roll_all(self.all_of(second)))
            second.run()
        self.failureResultOf(rolling, KafkaError)
        self.assertEqual(self.rolled(), [1, 1, 1, 1])
        for index in range(1, 4):
            self.assert_holds(second, [b"1"], index)

    def damage(self, number: int, position: int) -> None:
        """
        Change a byte of a volume.
        """
        (key,) = [each for each in self.shared.keys(VOLUMES) if each.endswith(f"{number:020d}")]
        data = bytearray(now(self.shared.objects.get(key)))
        data[position] ^= 1
        now(self.shared.objects.delete([key]))
        now(self.shared.objects.create(key, [bytes(data)]))

    def test_a_chapter_is_lost(self) -> None:
        """
        A whole volume is lost, or its end, or records, or a footer. Later records
        are rolled as a further chapter, and an error is logged.
        """
        for what in ("volume", "cut", "records", "end"):
            self.setUp()
            broker = self.leading()
            self.bind(broker, b"0", b"1", b"2")
            chapter = self.shared.record().chapters[1]
            if what == "volume":
                now(
                    self.shared.objects.delete(
                        [object_keys.volume("default", chapter.incarnation, 1)]
                    )
                )
            elif what == "cut":
                key = object_keys.volume("default", chapter.incarnation, 1)
                data = now(self.shared.objects.get(key))
                now(self.shared.objects.delete([key]))
                now(self.shared.objects.create(key, [data[: chapter.position]]))
            elif what == "records":
                self.damage(1, chapter.position + 62)
            else:
                self.damage(1, chapter.position + chapter.size - 30)
            for value, chapters in ((b"3", 4), (b"4", 5)):
                append_to(broker.partition(), batch(value))
                with capturedLogs() as logged:
                    now(broker.roll(broker.partition()))
                errors = [each for each in logged if each["log_level"] >= LogLevel.error]
                self.assertEqual(len(errors), 1)
                self.assertIn("are lost", errors[0]["log_format"])
                self.assertEqual(self.chapters()[0], chapters)
            for offset, value in ((0, b"0"), (2, b"2"), (3, b"3"), (4, b"4")):
                self.assertEqual(self.read_one(broker, offset), value)
            record = self.shared.record()
            self.assertEqual((record.rolled_to, record.last_segment), (5, 4))
            self.assertEqual(record.stored_bytes, sum(each.size for each in record.chapters))
            self.assertEqual(broker.log.pressure.size, 0)
            # That chapter and those before it may be deleted as usual.
            now(broker.partition().delete_before(2))
            self.roll(broker, b"5")
            self.assertEqual(self.chapters()[0], 0)
            self.assert_holds(broker, [b"0", b"1", b"2", b"3", b"4", b"5"])

    def test_fenced_meanwhile(self) -> None:
        """
        A partition that is dropped while its chapters are read, or are found to be lost,
        is not rolled: its records are no longer in memory. They are in the journal, for
        the next leader.
        """
        for is_lost in (False, True):
            self.setUp()
            broker = self.leading()
            self.bind(broker, b"0", b"1", b"2")
            chapter = self.shared.record().chapters[1]
            key = object_keys.volume("default", chapter.incarnation, 1)
            if is_lost:
                now(self.shared.objects.delete([key]))
            partition = broker.partition()
            append_to(partition, batch(b"3"))
            broker.obey(hold("get", "") if not is_lost else hold("get", "partitions/"))
            rolling = begin(broker.roll(partition))
            self.assertNoResult(rolling)
            with capturedLogs():
                broker.log.fence()
                broker.obey(let_pass)
                broker.settle()
                broker.run()
            self.assertEqual((self.rolled()[0], len(self.shared.record().chapters)), (3, 3))

    def test_a_zombie(self) -> None:
        """
        A broker that misses a chapter because another broker leads finds that
        out, and stops.
        """
        broker = self.leading()
        self.bind(broker, b"0")
        append_to(broker.partition(), batch(b"1"))
        successor = self.successor(orphan_seconds=EVERY)
        for index in range(4):
            self.roll(successor, b"2", index)
        for _ in range(3):
            successor.run(EVERY)
        self.assertEqual(self.numbers(), [])
        with capturedLogs() as logged:
            begin(broker.roll(broker.partition())).addErrback(lambda _: None)
        self.assertTrue(broker.fenced)
        self.assertEqual([each for each in logged if "are lost" in (each["log_format"] or "")], [])
