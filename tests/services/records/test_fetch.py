"""
Fetch: reading, waiting, refusing.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred

from kafscale import errors
from kafscale.format.segment import AbortedTransaction
from kafscale.wire.messages import FetchRequest
from kafscale.wire.schema import NO_UUID
from tests.log.fakes import FakePartition
from tests.services.records.fetching import FetchCase, at


class ReadTests(FetchCase):
    """
    Records are read that are there.
    """

    def test_every_version(self) -> None:
        """
        The response has the batches, high watermark and log start offset.
        """
        self.partition().put(b"one", b"two")
        self.partition().log_start = 1
        for version in self.client.versions(FetchRequest):
            if version < 4:
                continue  # tests.services.records.test_message_set_conversion has these
            (part,) = self.fetch(at(0, 1), version=version)
            self.assertEqual(bytes(part.records), b"two")
            self.assertEqual((part.error_code, part.high_watermark), (0, 2))
            self.assertEqual(part.last_stable_offset, 2)
            self.assertEqual(part.log_start_offset, 1 if version >= 5 else -1)
            self.assertEqual(part.preferred_read_replica, -1)

    def test_read_committed(self) -> None:
        """
        With read_committed all durable records are read, and no transaction is
        aborted.
        """
        self.partition().put(b"one")
        (part,) = self.fetch(at(0, 0), isolation_level=1)
        self.assertEqual((bytes(part.records), part.last_stable_offset), (b"one", 1))
        self.assertEqual(part.aborted_transactions, [])
        (part,) = self.fetch(at(0, 0), isolation_level=0)
        self.assertIsNone(part.aborted_transactions)

    def test_committed_records(self) -> None:
        """
        Committed records come from where the partition shows only those, with the aborted
        transactions among them; other requests have the last stable offset, and all.
        """
        whole = self.partition()
        whole.put(b"one", b"two")
        whole.stable = 1
        view = whole.committed = FakePartition(whole.topic_id, 0, [])
        view.put(b"one")
        view.high_watermark, view.stable = 2, 1
        view.batches[0].offset = 0
        view.aborted = [AbortedTransaction(7, 0, 1), AbortedTransaction(9, 0, 4)]
        (part,) = self.fetch(at(0, 0), isolation_level=1)
        self.assertEqual(bytes(part.records), b"one")
        self.assertEqual((part.high_watermark, part.last_stable_offset), (2, 1))
        self.assertEqual(
            [(each.producer_id, each.first_offset) for each in part.aborted_transactions],
            [(7, 0), (9, 0)],
        )
        (part,) = self.fetch(at(0, 0), isolation_level=0)
        self.assertEqual(bytes(part.records), b"onetwo")
        self.assertEqual((part.high_watermark, part.last_stable_offset), (2, 1))
        self.assertIsNone(part.aborted_transactions)

    def test_stable_offset_not_known(self) -> None:
        """
        Until it is known, who reads uncommitted records is told the high watermark.
        """
        self.partition().put(b"one")
        self.partition().stable = -1
        (part,) = self.fetch(at(0, 0), isolation_level=0)
        self.assertEqual(part.last_stable_offset, 1)
        (part,) = self.fetch(at(0, 0), isolation_level=1)
        self.assertEqual(part.last_stable_offset, -1)

    def test_order_of_partitions(self) -> None:
        """
        Partitions are in the order of the request.
        """
        for index in range(3):
            self.partition(index).put(b"x")
        parts = self.fetch(at(2, 0), at(0, 0), at(1, 0))
        self.assertEqual([part.partition_index for part in parts], [2, 0, 1])

    def test_empty_is_not_null(self) -> None:
        """
        A partition without records has empty records, and not null.
        """
        self.partition(0).put(b"x")
        self.assertEqual(bytes(self.fetch(at(0, 0), at(1, 0))[1].records), b"")

    def test_limit_of_a_partition(self) -> None:
        """
        Whole batches are read, up to the limit of the partition.
        """
        self.partition().put(b"aaaa", b"bbbb", b"cccc")
        (part,) = self.fetch(at(0, 0, max_bytes=9))
        self.assertEqual(bytes(part.records), b"aaaabbbb")

    def test_limit_of_the_whole(self) -> None:
        """
        All partitions together stay within the limits of the request and of the
        broker.
        """
        for index in range(3):
            self.partition(index).put(b"aaaa", b"bbbb")
        parts = self.fetch(at(0, 0), at(1, 0), at(2, 0), max_bytes=12)
        self.assertEqual([len(part.records) for part in parts], [8, 4, 0])
        self.make(max_bytes=8)
        parts = self.fetch(at(0, 0), at(1, 0), at(2, 0))
        self.assertEqual([len(part.records) for part in parts], [8, 0, 0])

    def test_at_least_one(self) -> None:
        """
        The first partition with records has a batch larger than all limits, and
        no other has any.
        """
        for index in (1, 2):
            self.partition(index).put(b"a" * 100)
        parts = self.fetch(at(0, 0, 10), at(1, 0, 10), at(2, 0, 10), max_bytes=5)
        self.assertEqual([len(part.records) for part in parts], [0, 100, 0])
        self.assertEqual(self.partition(1).reads, [(0, 5, True)])

    def test_no_bytes_at_all(self) -> None:
        """
        With a limit of 0 or less one batch is read, too, and one in all, whether the limit
        is that of the partitions or of the whole.
        """
        for index in (0, 1):
            self.partition(index).put(b"aaaa", b"bbbb")
        for limit in (0, -1):
            for fields in ({"max_bytes": limit}, {}):
                first, second = self.fetch(at(0, 0, limit), at(1, 0, limit), **fields)
                self.assertEqual((bytes(first.records), bytes(second.records)), (b"aaaa", b""))


class WaitTests(FetchCase):
    """
    A fetch waits until there is enough.
    """

    def sizes(self, answer: Deferred[Any]) -> list[int]:
        """
        The number of bytes of each partition.
        """
        response = self.successResultOf(answer)
        return [len(part.records) for topic in response.responses for part in topic.partitions]

    def left(self) -> int:
        """
        The number of watches and timers.
        """
        watches = sum(len(self.partition(index).watches) for index in range(4))
        return watches + len(self.clock.getDelayedCalls())

    def test_time_is_over(self) -> None:
        """
        After C{max_wait_ms} the response has what there is, and neither watches
        nor timers are left.
        """
        answer = self.start(at(0, 0), at(1, 0))
        self.clock.advance(0.499)
        self.assertNoResult(answer)
        self.clock.advance(0.001)
        self.assertEqual(self.sizes(answer), [0, 0])
        self.assertEqual(self.left(), 0)

    def test_woken_by_an_append(self) -> None:
        """
        The first append to any of its partitions wakes a fetch. There is one
        timer, however many partitions there are.
        """
        answer = self.start(*[at(index, 0) for index in range(4)])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.partition(3).put(b"abc")
        self.clock.advance(0)
        self.assertEqual(self.sizes(answer), [0, 0, 0, 3])
        self.assertEqual(self.left(), 0)

    def test_neighbours_share_an_answer(self) -> None:
        """
        Records that become durable together are in one response.
        """
        answer = self.start(at(0, 0), at(1, 0))
        self.partition(0).put(b"a")
        self.partition(1).put(b"b")
        self.clock.advance(0)
        self.assertEqual(self.sizes(answer), [1, 1])

    def test_min_bytes_of_the_whole(self) -> None:
        """
        The bytes of all partitions and appends count together.
        """
        answer = self.start(at(0, 0), at(1, 0), min_bytes=6)
        self.partition(0).put(b"ab")
        self.clock.advance(0.1)
        self.partition(0).put(b"cd")
        self.clock.advance(0.1)
        self.assertNoResult(answer)
        self.partition(1).put(b"ef")
        self.clock.advance(0)
        self.assertEqual(self.sizes(answer), [4, 2])

    def test_requested_bytes_count(self) -> None:
        """
        Of a partition only what its limit allows counts towards C{min_bytes}.
        """
        self.partition(0).put(b"a" * 100)
        answer = self.start(at(0, 0, 5), min_bytes=6)
        self.assertNoResult(answer)
        self.clock.advance(0.5)
        self.assertEqual(self.sizes(answer), [100])

    def test_min_bytes_above_max_bytes(self) -> None:
        """
        A fetch does not wait for more than the response may have.
        """
        self.partition(0).put(b"a" * 10)
        self.assertEqual(self.sizes(self.start(at(0, 0), min_bytes=1000, max_bytes=10)), [10])

    def test_enough_at_once(self) -> None:
        """
        A fetch does not wait if there is enough, or if C{min_bytes} or
        C{max_wait_ms} is 0.
        """
        self.assertEqual(self.sizes(self.start(at(0, 0), max_wait_ms=0)), [0])
        self.assertEqual(self.sizes(self.start(at(0, 0), min_bytes=0)), [0])
        self.partition(0).put(b"a")
        self.assertEqual(self.sizes(self.start(at(0, 0))), [1])

    def test_no_partitions(self) -> None:
        """
        A request without partitions, as Java's close() sends, is answered at
        once.
        """
        self.assertEqual(self.sizes(self.start()), [])

    def test_between_watermark_and_end(self) -> None:
        """
        A fetch past the high watermark waits for records to become durable.
        """
        partition = self.partition(0)
        partition.put(b"a")
        partition.next_offset = 3
        answer = self.start(at(0, 2))
        partition.show(2)
        self.clock.advance(0)
        self.assertNoResult(answer)

    def test_deleted(self) -> None:
        """
        When a topic is deleted, fetches that wait for it are woken.
        """
        answer = self.start(at(0, 0))
        self.cluster.delete(self.topic)
        self.partition(0).wake()
        self.clock.advance(0)
        response = self.successResultOf(answer)
        self.assertEqual(response.responses[0].partitions[0].error_code, 3)
        self.assertEqual(self.left(), 0)

    def test_dropped(self) -> None:
        """
        When this broker no longer leads a partition, fetches that wait for it
        are woken.
        """
        answer = self.start(at(0, 0))
        self.log.elsewhere.add((self.topic.topic_id, 0))
        self.log.partitions[self.topic.topic_id, 0].wake()
        self.clock.advance(0)
        response = self.successResultOf(answer)
        self.assertEqual(response.responses[0].partitions[0].error_code, 6)

    def test_cancelled(self) -> None:
        """
        A consumer that disconnects leaves neither watch nor timer.
        """
        answer = self.start(at(0, 0), at(1, 0))
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual(self.left(), 0)

    def test_cancelled_after_waking(self) -> None:
        """
        A fetch may be cancelled after it was woken, and before the response.
        """
        answer = self.start(at(0, 0), at(1, 0))
        self.partition(0).put(b"a")
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.partition(1).put(b"a")
        self.assertEqual(self.left(), 0)


class LoadTests(FetchCase):
    """
    Records are read that are not in memory.
    """

    def setUp(self) -> None:
        """
        Three partitions have records that are not in memory.
        """
        super().setUp()
        for index in range(3):
            self.partition(index).put(b"a" * 10)
            self.partition(index).cold = True

    def loading(self) -> list[int]:
        """
        The number of loads of each partition that are under way.
        """
        return [len(self.partition(index).loading) for index in range(3)]

    def test_at_the_same_time(self) -> None:
        """
        All loads are under way at the same time, and the response comes after
        the last.
        """
        answer = self.start(at(0, 0), at(1, 0), at(2, 0))
        self.assertEqual(self.loading(), [1, 1, 1])
        for index in (2, 0):
            self.partition(index).loading[0].callback(None)
        self.assertNoResult(answer)
        self.partition(1).loading[0].callback(None)
        response = self.successResultOf(answer)
        self.assertEqual(
            [len(part.records) for part in response.responses[0].partitions], [10, 10, 10]
        )

    def test_together_within_the_limit(self) -> None:
        """
        Together the loads stay within the limit of the request.
        """
        self.start(at(0, 0), at(1, 0), at(2, 0), max_bytes=15)
        self.assertEqual(
            [self.partition(index).reads for index in range(3)],
            [[(0, 15, True)], [(0, 5, False)], []],
        )

    def test_no_bytes_at_all(self) -> None:
        """
        With a limit of 0 the first partition is read for one batch, and no other.
        """
        for fields in ({"max_bytes": 0}, {}):
            for index in range(3):
                self.partition(index).reads.clear()
            self.start(at(0, 0, 0), at(1, 0, 0), at(2, 0, 0), **fields)
            reads = [self.partition(index).reads for index in range(3)]
            self.assertEqual(reads, [[(0, 0, True)], [], []])

    def test_bounded_over_all_fetches(self) -> None:
        """
        Fetches that would load more than the broker allows wait for others, in
        turn. One that disconnects meanwhile does not block the rest.
        """
        self.make(max_loading=10)
        first = self.start(at(0, 0, 10))
        second = self.start(at(1, 0, 10))
        third = self.start(at(2, 0, 10))
        self.assertEqual(self.loading(), [1, 0, 0])
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.partition(0).loading[0].callback(None)
        self.successResultOf(first)
        self.assertEqual(self.loading(), [1, 0, 1])
        self.partition(2).loading[0].callback(None)
        self.successResultOf(third)

    def test_larger_than_the_bound(self) -> None:
        """
        A load larger than the broker's limit uses all of it.
        """
        self.make(max_loading=5)
        answer = self.start(at(0, 0, 100))
        self.partition(0).loading[0].callback(None)
        self.successResultOf(answer)
        self.start(at(1, 0, 100))
        self.assertEqual(self.loading(), [1, 1, 0])

    def test_store_fails(self) -> None:
        """
        A partition that cannot be read has KAFKA_STORAGE_ERROR; the others have
        their records.
        """
        answer = self.start(at(0, 0), at(1, 0))
        self.partition(0).loading[0].errback(errors.StoreUnavailable("away"))
        self.partition(1).loading[0].callback(None)
        parts = self.successResultOf(answer).responses[0].partitions
        self.assertEqual([part.error_code for part in parts], [56, 0])
        self.assertEqual(bytes(parts[0].records), b"")

    def test_cancelled(self) -> None:
        """
        A fetch that is cancelled gives back its part of the limit.
        """
        self.make(max_loading=10)
        answer = self.start(at(0, 0, 10))
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.start(at(1, 0, 10))
        self.assertEqual(self.loading(), [1, 1, 0])


class RefusalTests(FetchCase):
    """
    Errors are answered at once, whether other partitions have records or not; but topics
    and partitions that do not exist are no reason to hurry.
    """

    def refused(self, part: FetchRequest.Topic.Partition, **fields: Any) -> int:
        """
        The error code of a partition, beside one that would have to wait.
        """
        (first, *_) = self.fetch(part, at(1, 0), **fields)
        self.assertEqual(bytes(first.records), b"")
        self.assertEqual((first.high_watermark, first.last_stable_offset), (-1, -1))
        code: int = first.error_code
        return code

    def test_offset_out_of_range(self) -> None:
        """
        An offset below the log start offset, or past the end of the log.
        """
        partition = self.partition()
        partition.put(b"a", b"b", b"c")
        partition.log_start = 1
        for offset in (0, 4, -1, 2**62):
            self.assertEqual(self.refused(at(0, offset)), 1)

    def test_ahead_of_a_replaced_broker(self) -> None:
        """
        A broker that was replaced without noticing may not know the end of the
        log: past its end the error is NOT_LEADER_OR_FOLLOWER. Below the log
        start offset the records are deleted, whichever broker leads.
        """
        partition = self.partition()
        partition.put(b"a", b"b", b"c")
        partition.log_start = 1
        partition.replaced = True
        self.assertEqual(self.refused(at(0, 4)), 6)
        self.assertEqual(self.refused(at(0, 0)), 1)

    def test_unknown(self) -> None:
        """
        An unknown name is error 3, an unknown id 100, and a partition that the
        topic does not have 3. They are answered at once if nothing else is asked for.
        """
        self.assertEqual(self.refused(at(0, 0), name="other"), 3)
        self.assertEqual(self.refused(at(0, 0), topic_id=UUID(int=9), version=13), 100)
        for index in (4, -1, 2**31 - 1):
            (part,) = self.fetch(at(index, 0))
            self.assertEqual(part.error_code, 3)

    def test_unknown_beside_good_ones(self) -> None:
        """
        A partition that does not exist, beside one without new records, is answered
        when that has records or the time is over, as in Kafka; beside another error
        at once.
        """
        waiting = self.start(at(9, 0), at(1, 0))
        self.assertNoResult(waiting)
        self.clock.advance(0.5)
        missing, empty = self.successResultOf(waiting).responses[0].partitions
        self.assertEqual((missing.error_code, empty.error_code), (3, 0))
        waiting = self.start(at(9, 0), at(1, 0))
        self.partition(1).put(b"a")
        self.clock.advance(0)
        missing, found = self.successResultOf(waiting).responses[0].partitions
        self.assertEqual((missing.error_code, len(found.records)), (3, 1))
        codes = [part.error_code for part in self.fetch(at(9, 0), at(2, 7), at(3, 0))]
        self.assertEqual(codes, [3, 1, 0])

    def test_leader_epoch(self) -> None:
        """
        An older leader epoch is fenced, a newer one is unknown.
        """
        self.assertEqual(self.refused(at(0, 0, current_leader_epoch=2)), 74)
        self.assertEqual(self.refused(at(0, 0, current_leader_epoch=4)), 75)
        self.assertNoResult(self.start(at(0, 0, current_leader_epoch=3)))

    def test_not_leader(self) -> None:
        """
        From version 12 on the response has the leader, from 16 on its address.
        """
        self.log.elsewhere.add((self.topic.topic_id, 0))
        for version in self.client.versions(FetchRequest):
            response = self.successResultOf(self.start(at(0, 0), version=version))
            part = response.responses[0].partitions[0]
            self.assertEqual(part.error_code, 6)
            if version >= 12:
                self.assertEqual(part.current_leader.leader_id, 7)
            nodes = [each.node_id for each in response.node_endpoints]
            self.assertEqual(nodes, [7] if version >= 16 else [])

    def test_diverging(self) -> None:
        """
        A reader whose last epoch ended earlier in this log learns where.
        """
        partition = self.partition()
        partition.put(b"a", b"b", b"c")
        partition.epochs = {1: (1, 2), 2: (1, 2), 3: (3, 3)}
        for epoch, offset in ((1, 3), (2, 1)):
            (part,) = self.fetch(at(0, offset, last_fetched_epoch=epoch))
            self.assertEqual(part.error_code, 0)
            diverging = part.diverging_epoch
            self.assertEqual((diverging.epoch, diverging.end_offset), (1, 2))
            self.assertEqual((bytes(part.records), part.high_watermark), (b"", 3))
        (part,) = self.fetch(at(0, 2, last_fetched_epoch=3))
        self.assertIsNone(part.diverging_epoch)
        self.assertEqual(bytes(part.records), b"c")
        self.assertEqual(self.refused(at(0, 0, last_fetched_epoch=9)), 1)

    def test_defect(self) -> None:
        """
        An unexpected exception is error -1, and logged.
        """
        self.partition().put(b"a")
        self.partition().error = ZeroDivisionError()
        (part,) = self.fetch(at(0, 0))
        self.assertEqual(part.error_code, -1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_failed_as_a_whole(self) -> None:
        """
        The error is on top of the response; before version 7 it is with each
        partition.
        """
        for version in self.client.versions(FetchRequest):
            response = self.client.failed(self.request(at(0, 0)), version, -1)
            if version >= 7:
                self.assertEqual((response.error_code, response.responses), (-1, []))
            else:
                self.assertEqual(response.responses[0].partitions[0].error_code, -1)

    def test_zero_topic_id(self) -> None:
        """
        No topic has the id that stands for none.
        """
        self.assertEqual(self.refused(at(0, 0), topic_id=UUID(NO_UUID.hex), version=13), 100)
