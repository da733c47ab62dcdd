"""
Fetch, ListOffsets and OffsetForLeaderEpoch of a real broker, in the cases that
consumers depend on and no library shows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kafscale.wire.messages import (
    FetchRequest,
    ListOffsetsRequest,
    OffsetForLeaderEpochRequest,
)
from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.raw import EARLIEST, LATEST, batch_of, split_batches

NONE = 0
OFFSET_OUT_OF_RANGE = 1
UNKNOWN_TOPIC_OR_PARTITION = 3
UNSUPPORTED_VERSION = 35
FETCH_SESSION_ID_NOT_FOUND = 70
INVALID_FETCH_SESSION_EPOCH = 71
FENCED_LEADER_EPOCH = 74
UNKNOWN_LEADER_EPOCH = 75
UNKNOWN_TOPIC_ID = 100

START = 1_700_000_000_000
SOON = 10.0


class ReadingTestCase(BrokerTestCase):
    """
    One broker, whose segments are small, and a topic of four partitions.
    """

    def setUp(self) -> None:
        """
        The topic is called C{read}.
        """
        super().setUp()
        self.subject = self.broker(segment_bytes="8KiB")
        self.client = self.connect(self.subject)
        self.topic_id = self.client.create("read", 4)

    def request(
        self, partitions: Sequence[FetchRequest.Topic.Partition], **more: Any
    ) -> FetchRequest:
        """
        A fetch of the topic, by name and id.
        """
        topic = FetchRequest.Topic(
            topic="read", topic_id=self.topic_id, partitions=list(partitions)
        )
        settings = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 50 << 20, **more}
        return FetchRequest(topics=[topic] if partitions else [], **settings)

    def fetch(
        self, partitions: Sequence[FetchRequest.Topic.Partition], version: int = 12, **more: Any
    ) -> dict[int, Any]:
        """
        The parts of the response, by partition.
        """
        return parts_of(self.client.call(self.request(partitions, **more), version))

    def leader_epoch(self) -> int:
        """
        Return the leader epoch of partition 0, from Metadata.
        """
        ((part, *_),) = [each.partitions for each in self.client.metadata("read").topics]
        return part.leader_epoch


class FetchTests(ReadingTestCase):
    """
    Fetch within its limits.
    """

    def test_large_batch(self) -> None:
        """
        A batch above every limit is returned whole, if it is the first; a
        batch is never cut.
        """
        for _ in range(3):
            self.client.produce("read", 0, batch_of([bytes(100_000)]))
        for rolled in (False, True):
            if rolled:
                self.subject.restart()
                self.client = self.connect(self.subject)
            for limits in ((1, 50 << 20), (1 << 20, 1), (1, 1), (150_000, 150_000)):
                asked = position(0, max_bytes=limits[0])
                part = self.fetch([asked], max_bytes=limits[1])[0]
                self.assertEqual([each.base_offset for each in split_batches(part.records)], [0])
            both = self.fetch([position(0), position(1)], max_bytes=250_000)
            # Two at most; a segment, which has one here, may end the answer sooner.
            self.assertIn(len(list(split_batches(both[0].records))), (1, 2))
            self.assertEqual(bytes(both[1].records), b"")

    def test_min_bytes_of_all_partitions(self) -> None:
        """
        The answer waits until all partitions together have so many bytes; no
        longer, and none before.
        """
        asked = self.request(
            [position(index) for index in range(4)], max_wait_ms=20_000, min_bytes=4 * 500
        )
        begun = time.monotonic()
        sent = self.client.send(asked, 12)
        other = self.connect(self.subject)
        for index in range(3):
            other.produce("read", index, batch_of([bytes(500)]))
        self.client.socket.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            self.client.receive_frame()
        self.client.socket.settimeout(30)
        other.produce("read", 3, batch_of([bytes(500)]))
        parts = parts_of(self.client.receive(asked, 12, sent))
        self.assertLess(time.monotonic() - begun, SOON)
        self.assertEqual([len(parts[index].records) > 500 for index in range(4)], [True] * 4)

    def test_at_the_end(self) -> None:
        """
        At the end it waits as long as it may, and then has empty records; past
        the end it is out of range, at once, with empty records too.
        """
        self.client.produce("read", 0, batch_of([b"x"]))
        begun = time.monotonic()
        for version in (4, 11, 12, 18):
            part = self.fetch([position(0, 1)], version, max_wait_ms=200)[0]
            self.assertEqual((part.error_code, part.records), (NONE, b""))
            self.assertEqual((part.high_watermark, part.last_stable_offset), (1, 1))
        self.assertGreaterEqual(time.monotonic() - begun, 0.8)
        begun = time.monotonic()
        for version in (4, 11, 12, 18):
            part = self.fetch([position(0, 2)], version, max_wait_ms=20_000)[0]
            self.assertEqual((part.error_code, part.records), (OFFSET_OUT_OF_RANGE, b""))
        self.fetch([], max_wait_ms=20_000)
        self.assertLess(time.monotonic() - begun, SOON)

    def test_read_committed(self) -> None:
        """
        Everything durable is stable while there are no transactions.
        """
        self.client.produce("read", 0, batch_of([b"x"]))
        for level in (0, 1):
            part = self.fetch([position(0)], isolation_level=level)[0]
            self.assertEqual((part.last_stable_offset, part.high_watermark), (1, 1))
            self.assertEqual(len(list(split_batches(part.records))), 1)
            self.assertEqual(part.aborted_transactions, [] if level else None)

    def test_deleted_while_parked(self) -> None:
        """
        A fetch that waits for a topic is answered at once when it is deleted.
        """
        asked = self.request([position(0)], max_wait_ms=30_000)
        begun = time.monotonic()
        for version, error in ((12, UNKNOWN_TOPIC_OR_PARTITION), (13, UNKNOWN_TOPIC_ID)):
            client = self.connect(self.subject)
            sent = client.send(asked, version)
            time.sleep(0.2)
            self.client.delete("read")
            part = parts_of(client.receive(asked, version, sent))[0]
            self.assertEqual((part.error_code, part.records), (error, b""))
            self.topic_id = self.client.create("read", 4)
            asked = self.request([position(0)], max_wait_ms=30_000)
        self.assertLess(time.monotonic() - begun, SOON)


class SessionTests(ReadingTestCase):
    """
    Incremental fetch sessions (KIP-227).
    """

    def test_life_of_a_session(self) -> None:
        """
        A session begins with all partitions, continues with those that have
        new records, and ends.
        """
        first = self.request([position(0), position(1), position(2)], session_id=0, session_epoch=0)
        answer = self.client.call(first, 13)
        session = answer.session_id
        self.assertGreater(session, 0)
        self.assertEqual(sorted(parts_of(answer)), [0, 1, 2])
        answer = self.client.call(self.request([], session_id=session, session_epoch=1), 13)
        self.assertEqual((answer.session_id, parts_of(answer)), (session, {}))
        self.client.produce("read", 1, batch_of([b"x"]))
        answer = self.client.call(self.request([], session_id=session, session_epoch=2), 13)
        self.assertEqual(list(parts_of(answer)), [1])
        forgotten = FetchRequest.ForgottenTopic(topic_id=self.topic_id, partitions=[0, 1])
        asked = self.request(
            [position(3)], session_id=session, session_epoch=3, forgotten_topics_data=[forgotten]
        )
        self.assertEqual(list(parts_of(self.client.call(asked, 13))), [3])
        for epoch, error in ((3, INVALID_FETCH_SESSION_EPOCH), (9, INVALID_FETCH_SESSION_EPOCH)):
            answer = self.client.call(self.request([], session_id=session, session_epoch=epoch), 13)
            self.assertEqual((answer.error_code, answer.responses), (error, []))
        end = self.request([position(0)], session_id=session, session_epoch=-1)
        answer = self.client.call(end, 13)
        self.assertEqual((answer.session_id, list(parts_of(answer))), (0, [0]))
        answer = self.client.call(self.request([], session_id=session, session_epoch=4), 13)
        self.assertEqual(answer.error_code, FETCH_SESSION_ID_NOT_FOUND)


class EpochTests(ReadingTestCase):
    """
    Leader epochs: each start of the broker is another leader (KIP-320).
    """

    def setUp(self) -> None:
        """
        Two leaders wrote two records each.
        """
        super().setUp()
        self.older = self.leader_epoch()
        self.client.produce("read", 0, batch_of([b"0", b"1"]))
        self.subject.kill()
        self.subject.start()
        self.client = self.connect(self.subject)
        self.newer = self.leader_epoch()
        self.client.produce("read", 0, batch_of([b"2", b"3"]))

    def test_batches_have_it(self) -> None:
        """
        Stored batches name the leader that wrote them.
        """
        self.assertGreater(self.newer, self.older)
        self.assertEqual(
            [each.leader_epoch for each in self.client.batches("read")], [self.older, self.newer]
        )

    def test_fenced(self) -> None:
        """
        A request with another leader epoch is refused, by Fetch, ListOffsets
        and OffsetForLeaderEpoch.
        """
        for epoch, error in (
            (self.older, FENCED_LEADER_EPOCH),
            (self.newer, NONE),
            (self.newer + 1, UNKNOWN_LEADER_EPOCH),
        ):
            part = self.fetch([position(0, current_leader_epoch=epoch)])[0]
            self.assertEqual((part.error_code, part.records == b""), (error, error != NONE))
            asked = ListOffsetsRequest.Topic
            query = asked.Partition(partition_index=0, current_leader_epoch=epoch, timestamp=LATEST)
            request = ListOffsetsRequest(topics=[asked(name="read", partitions=[query])])
            answer = self.client.call(request, 7)
            self.assertEqual(answer.topics[0].partitions[0].error_code, error)
            self.assertEqual(self.end_of(self.newer, epoch).error_code, error)

    def test_history(self) -> None:
        """
        OffsetForLeaderEpoch returns the end of each epoch, also after a
        restart.
        """
        for _ in range(2):
            older, newer = self.end_of(self.older), self.end_of(self.newer)
            self.assertEqual((older.leader_epoch, older.end_offset), (self.older, 2))
            self.assertEqual((newer.leader_epoch, newer.end_offset), (self.newer, 4))
            beyond = self.end_of(self.newer + 5)
            self.assertEqual((beyond.leader_epoch, beyond.end_offset), (-1, -1))
            self.subject.restart()
            self.client = self.connect(self.subject)

    def test_diverging(self) -> None:
        """
        A consumer that has read records of the older leader that the newer one
        does not have learns up to which offset they agree.
        """
        asked = position(0, 3, last_fetched_epoch=self.older)
        part = self.fetch([asked], max_wait_ms=20_000)[0]
        self.assertEqual(part.error_code, NONE)
        self.assertEqual(part.diverging_epoch.epoch, self.older)
        self.assertEqual(part.diverging_epoch.end_offset, 2)
        self.assertEqual(part.records, b"")
        agreeing = self.fetch([position(0, 2, last_fetched_epoch=self.older)])[0]
        self.assertIsNone(agreeing.diverging_epoch)
        self.assertGreater(len(agreeing.records), 0)

    def end_of(self, epoch: int, current: int = -1) -> Any:
        """
        Return the answer to OffsetForLeaderEpoch for an epoch.
        """
        asked = OffsetForLeaderEpochRequest.Topic
        query = asked.Partition(partition=0, current_leader_epoch=current, leader_epoch=epoch)
        request = OffsetForLeaderEpochRequest(topics=[asked(topic="read", partitions=[query])])
        return self.client.call(request, 4).topics[0].partitions[0]


class ListOffsetsTests(ReadingTestCase):
    """
    Offsets by time, and special ones.
    """

    def test_special(self) -> None:
        """
        Each special value, from the version on that brought it.
        """
        self.client.produce("read", 0, batch_of([b"0", b"1", b"2"], timestamp=START))
        self.client.produce("read", 0, batch_of([b"3"], timestamp=START - 10_000))
        self.client.delete_records("read", 0, 1)
        for when, since, expected in (
            (-1, 0, 4),
            (-2, 0, 1),
            (-3, 7, 2),
            (-4, 8, 1),
            (-5, 9, -1),
            (-6, 11, -1),
            (-7, 12, -1),
        ):
            for version in range(1, 12):
                answer = self.listed(when, version)
                if version < since:
                    self.assertEqual(answer.error_code, UNSUPPORTED_VERSION, (when, version))
                else:
                    self.assertEqual((answer.error_code, answer.offset), (NONE, expected), when)
        self.assertEqual(self.listed(-3, 7).timestamp, START + 2)
        self.assertEqual(self.listed(LATEST, 0).old_style_offsets, [4])

    def test_by_time_across_segments(self) -> None:
        """
        The first record at or after a time, wherever it is: in segments, in
        the tail, after records were deleted, after a restart.
        """
        for number in range(60):
            values = [b"%d" % number + bytes(500)] * 5  # a millisecond apart
            batch = batch_of(values, timestamp=START + 10 * number)
            self.client.produce("read", 0, batch)
        eventually(lambda: len(self.subject.objects.sizes("default/topics/")) > 5)
        self.assert_times(0)
        self.assertEqual(self.client.delete_records("read", 0, 123), 123)
        self.assert_times(123)
        self.subject.restart()
        self.client = self.connect(self.subject)
        self.assert_times(123)

    def assert_times(self, log_start: int) -> None:
        """
        Record C{5 n + i} has the time C{START + 10 n + i}.
        """
        for when in range(-3, 610, 7):
            number, rest = divmod(max(when, 0), 10)
            offset = 5 * number + rest if rest < 5 else 5 * number + 5
            offset = max(offset, log_start)
            time_of = START + 10 * (offset // 5) + offset % 5
            expected = (offset, time_of) if offset < 300 else (-1, -1)
            answer = self.client.offset_response("read", 0, START + when)
            self.assertEqual((answer.offset, answer.timestamp), expected, when)
        largest = self.client.offset_response("read", 0, -3)
        self.assertEqual((largest.offset, largest.timestamp), (299, START + 594))
        self.assertEqual(self.client.offset("read", 0, EARLIEST), log_start)

    def listed(self, when: int, version: int) -> Any:
        """
        The answer to one query.
        """
        asked = ListOffsetsRequest.Topic
        query = asked.Partition(partition_index=0, timestamp=when)
        request = ListOffsetsRequest(topics=[asked(name="read", partitions=[query])])
        return self.client.call(request, version).topics[0].partitions[0]


def position(index: int, offset: int = 0, max_bytes: int = 1 << 20, **more: Any) -> Any:
    """
    Return the entry of one partition in a Fetch request.
    """
    return FetchRequest.Topic.Partition(
        partition=index, fetch_offset=offset, partition_max_bytes=max_bytes, **more
    )


def parts_of(answer: Any) -> dict[int, Any]:
    """
    The parts of a fetch response, by partition.
    """
    assert answer.error_code == NONE, f"Fetch: {answer.error_code}"
    return {part.partition_index: part for topic in answer.responses for part in topic.partitions}
