"""
Tests of crashes and failing stores, for a broker on every kind of store.

Test modules inherit these classes. They import this module, not its classes,
which would be run as tests themselves.
"""

from __future__ import annotations

import random
import time
from typing import ClassVar

from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.buckets import BucketTestCase
from tests.clients.raw import EARLIEST, LATEST, RawClient, batch_of
from tests.clients.storm import FATES, Storm
from tests.clients.writers import SECONDS, TOPIC, Librdkafka, Repeater, Writer
from tests.harness import s3


class CrashContract(BrokerTestCase):
    """
    Nothing acknowledged is lost, doubled or moved.
    """

    crashes = 20

    def test_killed_again_and_again(self) -> None:
        """
        After many crashes at random moments every acknowledged record is
        there, once, in order, and at the offset of its acknowledgement, and
        no batch that was sent again is there twice; log start and high
        watermark never went back.
        """
        # Small segments, so that some crashes hit a roll.
        broker = self.broker(segment_bytes="64KiB", unrolled_bytes="1MiB")
        with RawClient(broker.port) as raw:
            raw.create(TOPIC, 2)
        chance = random.Random(20)
        librdkafka, repeater = Librdkafka(broker.address), Repeater(broker.port, 7)
        writers: list[Writer] = [librdkafka, repeater]
        for each in writers:
            each.start()
            self.addCleanup(each.stopping.set)
        marks = [(0, 0), (0, 0)]
        for _ in range(self.crashes):
            seen = time.monotonic() + chance.uniform(0.05, 0.7)
            with RawClient(broker.port) as raw:
                while time.monotonic() < seen:
                    marks = self.later_marks(raw, marks)
            broker.kill()
            broker.start()
            with RawClient(broker.port) as raw:
                marks = self.later_marks(raw, marks)
        before = [len(each.acknowledged) for each in writers]
        until = time.monotonic() + SECONDS
        while any(len(e.acknowledged) <= n for e, n in zip(writers, before, strict=True)):
            self.assertLess(time.monotonic(), until, "no acknowledgement after the last crash")
            time.sleep(0.01)
        for each in writers:
            each.stopping.set()
        for each in writers:
            each.join(SECONDS)
            self.assertEqual(each.errors, [], each.name)
            self.assertFalse(each.is_alive(), each.name)

        self.assertGreater(repeater.repeated, 0)
        with RawClient(broker.port) as raw:
            self.later_marks(raw, marks)
            first, second = (
                [int(each.value or b"") for each in raw.records(TOPIC, index)] for index in (0, 1)
            )
        self.assert_counting(first, len(librdkafka.acknowledged))
        # The place of a record in the list is its offset.
        self.assertEqual(
            {number: number for number in librdkafka.acknowledged}, librdkafka.acknowledged
        )
        self.assert_counting(second, repeater.count)
        self.assertEqual(
            {number: number for number in repeater.acknowledged}, repeater.acknowledged
        )

    def test_log_start_survives(self) -> None:
        """
        Records that were deleted stay deleted after a crash, and offsets are
        not used again even if nothing is left.
        """
        broker = self.broker()
        with RawClient(broker.port) as raw:
            raw.create(TOPIC)
            raw.produce(TOPIC, 0, batch_of([b"gone"] * 10))
            self.assertEqual(raw.delete_records(TOPIC, 0, 10), 10)
        broker.kill()
        broker.start()
        with RawClient(broker.port) as raw:
            self.assertEqual(raw.offset(TOPIC, 0, EARLIEST), 10)
            self.assertEqual(raw.offset(TOPIC, 0, LATEST), 10)
            self.assertEqual(raw.produce(TOPIC, 0, batch_of([b"new"])).base_offset, 10)

    def test_leader_epoch_never_falls(self) -> None:
        """
        Clients discard metadata with an older leader epoch than they know.
        """
        broker = self.broker()
        epochs = []
        with RawClient(broker.port) as raw:
            raw.create(TOPIC)
        for _ in range(3):
            with RawClient(broker.port) as raw:
                ((part,),) = [each.partitions for each in raw.metadata(TOPIC).topics]
                epochs.append(part.leader_epoch)
            broker.kill()
            broker.start()
        self.assertEqual(epochs, sorted(epochs))
        self.assertGreaterEqual(epochs[0], 0)

    def later_marks(self, raw: RawClient, before: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """
        Log start and high watermark of both partitions, none of them lower
        than before.
        """
        marks = [(raw.offset(TOPIC, i, EARLIEST), raw.offset(TOPIC, i, LATEST)) for i in (0, 1)]
        for index, (was, now) in enumerate(zip(before, marks, strict=True)):
            self.assertGreaterEqual(now[0], was[0], f"log start of partition {index}")
            self.assertGreaterEqual(now[1], was[1], f"high watermark of partition {index}")
        return marks

    def assert_counting(self, numbers: list[int], count: int) -> None:
        """
        Check that these are the numbers from 0 on. A failure shows only those
        around the first that differs.
        """
        for place, number in enumerate(numbers):
            self.assertEqual(number, place, f"around {numbers[max(place - 5, 0) : place + 5]}")
        self.assertEqual(len(numbers), count)


class StormContract(BucketTestCase):
    """
    A broker that is killed while the store fails requests in every way.

    @cvar seconds: How long at least; C{python -m tests.bench.storm} has more.
    @cvar seen: Counts of the last run by name.
    """

    seconds = 0.0
    seen: ClassVar[dict[str, object]] = {}

    def test_once_and_in_order(self) -> None:
        """
        Requests are delayed, dropped, answered never, executed late or twice,
        and refused for no reason; connections end in the middle of an answer;
        and the broker is killed and started again and again. Afterwards every
        acknowledged record is there, once, in order, and at the offset of its
        acknowledgement.
        """
        host, _, port = s3.server(self.on).endpoint.removeprefix("http://").partition(":")
        storm = Storm(host, int(port), seed=5)
        self.addCleanup(storm.close)
        broker = self.broker(
            s3_endpoint=storm.endpoint, segment_bytes="64KiB", unrolled_bytes="1MiB"
        )
        with RawClient(broker.port) as raw:
            raw.create(TOPIC, 2)
        librdkafka, repeater = Librdkafka(broker.address), Repeater(broker.port, 7)
        writers: list[Writer] = [librdkafka, repeater]
        storm.calm = False
        for each in writers:
            each.start()
            self.addCleanup(each.stopping.set)
        until = time.monotonic() + self.seconds
        kills = peak = 0
        fates = {"passed", *FATES}
        while kills < 3 or time.monotonic() < until or (set(storm.met) < fates and kills < 20):
            before = [len(each.acknowledged) for each in writers]
            eventually(lambda: all_have_more(writers, before), 60)  # noqa: B023
            peak = max(peak, broker.memory("VmHWM"))
            broker.kill()
            kills += 1
            broker.start()
        storm.calm = True
        for each in writers:
            each.stopping.set()
        for each in writers:
            each.join(SECONDS)
            self.assertEqual(each.errors, [], each.name)
            self.assertFalse(each.is_alive(), each.name)
        peak = max(peak, broker.memory("VmHWM"))
        self.assertLess(peak, 300 << 20)
        self.assertEqual(set(storm.met), fates)
        type(self).seen = {
            "kills": kills,
            "acknowledged": sum(len(each.acknowledged) for each in writers),
            "peak RSS": f"{peak >> 20} MiB",
            **storm.met,
        }
        with RawClient(broker.port) as raw:
            for index, each, count in (
                (0, librdkafka, len(librdkafka.acknowledged)),
                (1, repeater, repeater.count),
            ):
                found = [int(record.value or b"") for record in raw.records(TOPIC, index)]
                self.assertEqual(found, list(range(count)))
                # The place of a record in the list is its offset.
                self.assertEqual({n: n for n in each.acknowledged}, each.acknowledged)


def all_have_more(writers: list[Writer], before: list[int]) -> bool:
    """
    Whether each writer got acknowledgements since it had so many.
    """
    return all(len(each.acknowledged) > n + 20 for each, n in zip(writers, before, strict=True))
