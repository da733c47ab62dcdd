"""
Reads of chapters, and checks on them, while they become part of a segment.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs

from kafscale.concurrency.work_queue import WorkQueue
from kafscale.errors import NotLeaderOrFollower
from kafscale.format import object_keys
from kafscale.interfaces import LogRules
from kafscale.log.reading.cache import BlockCache
from kafscale.log.reading.segments import ReplicaSegments
from kafscale.log.rolling import volumes
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileObjectStore, Operation, Verdict, let_pass
from tests.inspect.looking import wrong
from tests.log.brokers import NOW, append_to, batch
from tests.log.brokers import records_of as records
from tests.log.volume_case import PARTITIONS, VolumeTestCase


class ReaderTests(VolumeTestCase):
    """
    Readers that began before chapters became part of a segment.
    """

    def setUp(self) -> None:
        """
        Start a broker with three chapters in each partition, and append a record
        to the first.
        """
        super().setUp()
        self.patch(volumes, "GRACE_SECONDS", 5.0)  # less than the patience of a read
        self.reading = self.leading()
        self.bind(self.reading, b"0", b"1", b"2")
        self.first = self.reading.partition()
        append_to(self.first, batch(b"3", times=[NOW * 1000 + 3]))
        self.first.segments.forget_footers()

    def overtaken(
        self,
        read: Callable[[], Any],
        number: int,
        get: Callable[[Operation], None],
        nth: int = 0,
        *,
        early: bool = False,
    ) -> Any:
        """
        Return what a reader finds when one of its reads of a volume takes so long
        that all volumes are deleted meanwhile.

        @param number: The volume's number; its C{nth} read takes that long.
        @param get: What happens to that read then.
        @param early: Whether it returns what existed before.
        """
        held: list[Operation] = []
        left = nth + 1

        def policy(operation: Operation) -> Verdict | None:
            nonlocal left
            if operation.kind == "get" and operation.key.endswith(f"{number:020d}") and left:
                left -= 1
                if not left:
                    held.append(operation)
                    return None
            return Verdict.SUCCEED

        with capturedLogs() as logged:
            self.reading.obey(policy)
            answer = begin(read())
            (operation,) = held
            if early:
                operation.apply()
            self.reading.obey(let_pass)
            now(self.reading.roll(self.first))
            for index in range(1, 4):
                self.roll(self.reading, b"3", index)
            self.wait(self.reading, 6)
            self.assertEqual((self.chapters(), self.numbers()), ([0, 0, 0, 0], []))
            get(operation)
            self.reading.run(30)
            result = self.successResultOf(answer)
        self.assertEqual([each for each in logged if each["log_level"] >= LogLevel.error], [])
        return result

    def test_every_get(self) -> None:
        """
        Reads of footers and of records, under way or repeated.
        """
        cases = product(range(3), range(2), (Operation.succeed, Operation.fail), (False, True))
        for number, nth, get, early in cases:
            self.setUp()
            read = partial(self.first.load, number, 1, True)
            fetched = self.overtaken(read, number, get, nth, early=early)
            found = [record for record in records(fetched) if record.offset >= number]
            self.assertEqual(found[0].value, b"%d" % number)

    def test_the_latest_timestamp(self) -> None:
        """
        A reader that walks along the chain finds its way from anywhere.
        """
        for number, early in product(range(3), (False, True)):
            self.setUp()
            found = self.overtaken(
                self.first.latest_timestamp, number, Operation.succeed, early=early
            )
            self.assertEqual(found, (NOW * 1000 + 3, 3))

    def test_an_offset_at_a_time(self) -> None:
        """
        A reader by offset does, too.
        """
        for number, early in product(range(3), (False, True)):
            self.setUp()
            read = partial(self.first.offset_at, NOW * 1000 + 1)
            found = self.overtaken(read, number, Operation.succeed, early=early)
            self.assertEqual(found, (NOW * 1000 + 3, 3))

    def test_what_is_lost(self) -> None:
        """
        A lost segment is reported once if no chapters were rewritten.
        """
        now(
            self.shared.objects.delete([object_keys.volume("default", self.reading.incarnation, 1)])
        )
        with capturedLogs() as logged:
            failure = self.failureResultOf(begin(self.first.load(1, 1, True)))
        self.assertIn("missing", str(failure.value))
        (line,) = [each for each in logged if each["log_level"] >= LogLevel.error]
        self.assertIn("records are lost", line["log_format"])

    def follow(self) -> tuple[ReplicaSegments, HostileObjectStore]:
        """
        Return the first partition's segments, as another broker sees them.
        """
        objects = HostileObjectStore(self.shared.objects)
        cache = BlockCache(objects, 1 << 20)
        where = PARTITIONS[0]
        work = WorkQueue(Clock(), execute)
        record = self.shared.record()
        return ReplicaSegments(objects, cache, "default", where, record, 0, work), objects

    def test_followers(self) -> None:
        """
        Replicas that have seen the new record read again; the others send readers
        to the leader.
        """
        for has_heard in (True, False):
            if not has_heard:
                self.setUp()
            followed, objects = self.follow()
            with capturedLogs() as logged:
                answer = begin(followed.read(1, 1, True))
                objects.policy = None
                objects.pending[0].succeed()  # the listing
                (waiting,) = objects.pending
                self.roll(self.reading)
                for index in range(1, 4):
                    self.roll(self.reading, b"3", index)
                self.wait(self.reading, 6)
                self.assertEqual(self.numbers(), [])
                if has_heard:
                    followed.apply(self.shared.record())
                objects.policy = let_pass
                waiting.succeed()
            if has_heard:
                found = records(self.successResultOf(answer))
                self.assertIn((1, b"1"), [(each.offset, each.value) for each in found])
            else:
                self.failureResultOf(answer, NotLeaderOrFollower)
            self.assertEqual([each for each in logged if each["log_level"] >= LogLevel.error], [])


class RetentionTests(VolumeTestCase):
    """
    Chapters with old records.
    """

    def test_they_go(self) -> None:
        """
        Chapters expire one after the other, as segments do, and their volumes are
        deleted.
        """
        broker = self.leading(rules=LogRules(retention_ms=100_000))
        for number, seconds in enumerate((0, 0, 500)):
            self.fill(broker, b"%d" % number, times=[(NOW + seconds) * 1000])
            now(broker.roll_all(self.all_of(broker)))
        broker.run(99)
        self.assertEqual(self.chapters(), [3, 3, 3, 3])
        for _ in range(5):
            broker.run(60)
        self.assertEqual((self.chapters(), self.numbers()), ([1, 1, 1, 1], [2]))
        self.assertEqual(broker.partition().log_start, 2)
        self.assert_holds(broker, [b"0", b"1", b"2"])
        self.assertEqual(wrong(self.shared), [])

    def test_they_are_too_many(self) -> None:
        """
        The excess over C{retention.bytes} is deleted.
        """
        broker = self.leading()
        self.bind(broker, b"0" * 1000, b"1" * 1000, b"2" * 1000)
        broker.configure(retention_bytes=2300)
        broker.run(10)
        self.assertEqual(self.chapters(), [2, 3, 3, 3])
        self.assertEqual(broker.partition().log_start, 1)
        self.assertEqual(wrong(self.shared), [])

    def test_bound_while_it_looks(self) -> None:
        """
        Retention checks once more, and logs nothing.
        """
        for number, early in product(range(3), (False, True)):
            self.setUp()
            self.patch(volumes, "GRACE_SECONDS", 5.0)
            broker = self.leading()
            self.bind(broker, b"0", b"1", b"2")
            partition = broker.partition()
            append_to(partition, batch(b"3", times=[(NOW + 500) * 1000]))
            held: list[Operation] = []

            def policy(operation: Operation) -> Verdict | None:
                if operation.kind != "get" or held or not operation.key.endswith(str(number)):  # noqa: B023
                    return Verdict.SUCCEED
                held.append(operation)  # noqa: B023
                return None

            broker.obey(policy)
            with capturedLogs() as logged:
                broker.configure(retention_ms=1)
                self.wait(broker, 3)
                (operation,) = held
                if early:
                    operation.apply()
                broker.obey(let_pass)
                now(broker.roll(partition))
                for index in range(1, 4):
                    self.roll(broker, b"3", index)
                self.wait(broker, 6)
                self.assertEqual(self.numbers(), [])
                operation.succeed()
                self.wait(broker, 60)
            self.assertEqual([each for each in logged if each["log_level"] >= LogLevel.warn], [])
            # The new segment has a young record.
            self.assertEqual((partition.log_start, partition.record.stored_bytes > 0), (0, True))
            self.assert_holds(broker, [b"0", b"1", b"2", b"3"])
