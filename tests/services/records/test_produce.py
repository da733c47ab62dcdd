"""
Produce.
"""

from __future__ import annotations

from os import urandom
from typing import Any
from unittest.mock import patch
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred

from kafscale import errors
from kafscale.interfaces import AppendRules, Topic
from kafscale.services.records import produce
from kafscale.wire.compression import Codec
from kafscale.wire.messages import ProduceRequest
from kafscale.wire.records import Record, build_batch
from tests.services.client import context
from tests.services.records.producing import BATCH, ProduceCase


class AppendTests(ProduceCase):
    """
    Batches are appended, and answered with their offsets.
    """

    def test_serving(self) -> None:
        """
        Versions from 0 on are served (KAFKA-18659), and requests may overlap.
        """
        (serving,) = self.service.serves()
        self.assertEqual((serving.lowest, serving.highest), (0, 13))
        self.assertTrue(serving.overlaps)

    def test_every_version(self) -> None:
        """
        The batch is appended byte for byte, and answered when it is durable.
        """
        for number, version in enumerate(self.client.versions(ProduceRequest)):
            settlement = self.log.next_settlement()
            answer = self.produce((0, BATCH), version=version)
            self.assertNoResult(answer)
            settlement.settle()
            (part,) = self.successResultOf(answer)
            self.assertEqual((part.error_code, part.base_offset), (0, number))
            self.assertEqual(part.log_append_time_ms, -1)
            self.assertEqual(part.log_start_offset, 0 if version >= 5 else -1)
            self.assertIsNone(part.error_message)
        self.assertEqual({batch.data for batch in self.partition().batches}, {BATCH})

    def test_acks_1_waits_too(self) -> None:
        """
        With acks=1 a batch is answered only when it is durable, too.
        """
        answer = self.produce((0, BATCH), acks=1)
        self.assertNoResult(answer)
        self.log.settlements[0].settle()
        self.successResultOf(answer)

    def test_appended_before_it_waits(self) -> None:
        """
        The batches of all partitions are appended at once, in their order.
        """
        self.produce((2, BATCH), (0, BATCH))
        self.produce((0, BATCH))
        self.assertEqual([len(self.partition(n).batches) for n in range(3)], [2, 0, 1])

    def test_waits_for_the_last(self) -> None:
        """
        Settlements come in order, so only the one with the largest number is
        waited for.
        """
        first = self.log.settlements[0]
        self.partition(1).settlements = [self.log.next_settlement()]
        self.partition(0).settlements = [first]
        answer = self.produce((1, BATCH), (0, BATCH))
        self.assertEqual([each.waits > 0 for each in self.log.settlements], [False, True])
        self.log.settlements[1].settle()
        self.assertEqual([part.error_code for part in self.successResultOf(answer)], [0, 0])

    def test_duplicate_is_answered_at_once(self) -> None:
        """
        A batch that is durable already is answered at once.
        """
        self.partition().durable_at_once = True
        (part,) = self.successResultOf(self.produce((0, BATCH)))
        self.assertEqual((part.error_code, part.base_offset), (0, 0))

    def test_log_append_time(self) -> None:
        """
        The response has the log append time.
        """
        self.cluster.now(
            self.cluster.topics.create("late", 1, {"message.timestamp.type": "LogAppendTime"})
        )
        answer = self.produce((0, BATCH), name="late")
        self.log.settlements[0].settle()
        self.assertEqual(self.successResultOf(answer)[0].log_append_time_ms, 1234)

    def test_frame_is_freed(self) -> None:
        """
        While a request waits for the store, its frame is not kept in memory.
        """
        request = self.request((0, BATCH))
        self.service.produce(request, context(9))
        self.assertIsNone(request.topic_data[0].partition_data[0].records)

    def test_rules_are_made_once(self) -> None:
        """
        The rules of a topic are computed once, and again when its configuration
        has changed.
        """
        self.produce((0, BATCH), (1, BATCH))
        self.produce((0, BATCH))
        self.assertEqual(len(self.made_rules), 1)
        self.cluster.now(self.cluster.topics.grow(self.topic, 4))
        self.produce((0, BATCH))
        self.assertEqual(len(self.made_rules), 2)

    def alter(self, name: str, value: str) -> None:
        """
        Alter one configuration of the topic.
        """
        self.cluster.now(
            self.cluster.topics.alter(self.topic, lambda before: {**before, name: value})
        )

    def test_altered(self) -> None:
        """
        An altered configuration is in force for the next batch.
        """
        self.produce((0, BATCH))
        for name, value in (
            ("max.message.bytes", "77"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "5"),
            ("message.timestamp.after.max.ms", "6"),
            ("cleanup.policy", "compact"),
        ):
            before = self.partition().rules[-1]
            self.alter(name, value)
            self.produce((0, BATCH))
            self.assertNotEqual(self.partition().rules[-1], before, name)
        self.assertEqual(self.partition().rules[-1], AppendRules(77, True, 5, 6, True))


class OpeningTests(ProduceCase):
    """
    A partition that is not open yet.
    """

    def setUp(self) -> None:
        """
        The partition must load something first.
        """
        super().setUp()
        self.partition(0).is_open = False

    def test_order_of_requests(self) -> None:
        """
        Requests that wait are appended in the order in which they came.
        """
        other = build_batch([Record(0, 1, b"other", b"")])
        first = self.produce((2, BATCH), (0, BATCH), (1, BATCH))
        second = self.produce((0, other))
        self.assertEqual([len(self.partition(n).batches) for n in range(3)], [0, 0, 1])
        self.partition(0).open()
        self.assertEqual([batch.data for batch in self.partition(0).batches], [BATCH, other])
        self.assertNoResult(first)
        self.log.settlements[0].settle()
        self.assertEqual(self.successResultOf(first)[0].base_offset, 0)
        self.assertEqual(self.successResultOf(second)[0].base_offset, 1)

    def test_error_then(self) -> None:
        """
        A batch that is refused when the partition opens has the error.
        """
        answer = self.produce((0, BATCH), (1, BATCH))
        self.partition(0).error = errors.OutOfOrderSequenceNumber()
        self.partition(0).open()
        self.log.settlements[0].settle()
        self.assertEqual([part.error_code for part in self.successResultOf(answer)], [45, 0])

    def test_cannot_open(self) -> None:
        """
        A partition that is lost while it opens has that error.
        """
        answer = self.produce((0, BATCH))
        self.partition(0).opening[0].errback(errors.NotLeaderOrFollower())
        self.assertEqual(self.successResultOf(answer)[0].error_code, 6)

    def test_disconnected(self) -> None:
        """
        A batch is appended although its producer has disconnected, as many do
        after acks=0.
        """
        answer: Deferred[Any] = self.client.start(self.request((0, BATCH), acks=0), 9)
        answer.cancel()
        self.failureResultOf(answer)
        self.partition(0).open()
        self.assertEqual(len(self.partition(0).batches), 1)


class TimeoutTests(ProduceCase):
    """
    C{timeout_ms}, which is a second in these requests.
    """

    def pass_time(self, seconds: float) -> None:
        """
        Let time pass, in small steps.
        """
        for _ in range(round(seconds * 10)):
            self.cluster.clock.advance(0.1)

    def test_not_durable_in_time(self) -> None:
        """
        What is not durable in time is answered with REQUEST_TIMED_OUT, and may be
        durable later; what is durable is answered so.
        """
        before, after = self.log.settlements[0], self.log.next_settlement()
        self.partition(0).settlements = [before]
        self.partition(1).settlements = [after]
        for acks in (-1, 1):
            answer = self.produce((0, BATCH), (1, BATCH), acks=acks)
            before.settle()
            self.pass_time(0.9)
            self.assertNoResult(answer)
            self.pass_time(1)
            codes = [part.error_code for part in self.successResultOf(answer)]
            self.assertEqual(codes, [0, errors.RequestTimedOut.code])
        after.settle()
        self.assertEqual(len(self.partition(1).batches), 2)

    def test_in_time(self) -> None:
        """
        What is durable in time is not affected, and no timer stays.
        """
        answers = [self.produce((0, BATCH)) for _ in range(3)]
        self.pass_time(0.7)
        self.log.settlements[0].settle()
        for answer in answers:
            self.assertEqual(self.successResultOf(answer)[0].error_code, 0)
        self.assertEqual(self.cluster.clock.getDelayedCalls(), [])

    def test_no_limit(self) -> None:
        """
        Clients that do not care send 0.
        """
        request = self.request((0, BATCH))
        request.timeout_ms = 0
        answer = self.client.start(request, 9)
        self.pass_time(3)
        self.assertNoResult(answer)

    def test_disconnected(self) -> None:
        """
        A request that is cancelled is not answered when its time is over.
        """
        answer = self.client.start(self.request((0, BATCH)), 9)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.pass_time(2)
        self.assertEqual(self.cluster.clock.getDelayedCalls(), [])


class FencedTests(ProduceCase):
    """
    The broker is fenced while batches are under way.
    """

    def test_only_what_was_lost(self) -> None:
        """
        Batches that were durable before the broker was fenced are acknowledged,
        and the others are not. The response names the leader.
        """
        before = self.log.settlements[0]
        after = self.log.next_settlement()
        self.partition(0).settlements = [before]
        self.partition(1).settlements = [after]
        answer = self.client.start(self.request((0, BATCH), (1, BATCH)), 10)
        before.settle()
        self.cluster.put_leader(self.topic.topic_id, 1, 7, 5)
        after.settle(errors.NotLeaderOrFollower())
        response = self.successResultOf(answer)
        acknowledged, lost = response.responses[0].partition_responses
        self.assertEqual((acknowledged.error_code, acknowledged.base_offset), (0, 0))
        self.assertIsNone(acknowledged.current_leader)
        self.assertEqual((lost.error_code, lost.base_offset), (6, -1))
        self.assertEqual((lost.current_leader.leader_id, lost.current_leader.leader_epoch), (7, 5))
        self.assertEqual([each.node_id for each in response.node_endpoints], [7])

    def test_stored_before(self) -> None:
        """
        One batch is durable when the broker is fenced, while the other one still waits,
        which is stored under the next incarnation, in a slot with a lower number. The answer
        comes when that is durable, too.
        """
        after = self.log.settlements[0]
        before = self.log.next_settlement()
        self.assertLess(after.number, before.number)
        self.partition(0).settlements = [before]
        late = self.partition(1)
        late.settlements = [after]
        late.is_open = False
        answer = self.produce((0, BATCH), (1, BATCH))
        before.settle()
        late.open()
        self.assertNoResult(answer)
        after.settle()
        self.assertEqual([each.error_code for each in self.successResultOf(answer)], [0, 0])

    def test_refused_before(self) -> None:
        """
        One batch is refused when the broker is fenced, while the other one still waits,
        which is stored under the next incarnation. Only that one is acknowledged, though
        the numbers of its slots have begun again and may be higher.
        """
        before = self.log.settlements[0]
        late = self.partition(1)
        late.is_open = False
        answer = self.produce((0, BATCH), (1, BATCH))
        self.assertEqual(len(self.partition(0).batches), 1)
        before.settle(errors.NotLeaderOrFollower("this broker was replaced"))
        after = self.log.next_settlement()
        self.assertGreater(after.number, before.number)
        late.open()
        after.settle()
        self.assertEqual([each.error_code for each in self.successResultOf(answer)], [6, 0])

    def test_defect(self) -> None:
        """
        An exception that is not Kafka's is raised, for the dispatcher to log.
        """
        answer = self.produce((0, BATCH))
        self.log.settlements[0].settle(ValueError("a defect"))
        self.failureResultOf(answer, ValueError)


class RefusalTests(ProduceCase):
    """
    Batches that are refused.
    """

    def test_acks(self) -> None:
        """
        acks must be -1, 0 or 1.
        """
        for acks in (2, -2, 3):
            code, message = self.refused((0, BATCH), acks=acks)
            self.assertEqual(code, errors.InvalidRequiredAcks.code)
            self.assertIn(str(acks), message or "")
        self.assertEqual(self.partition().batches, [])

    def test_no_records(self) -> None:
        """
        Null and empty records are refused.
        """
        for data in (None, b""):
            self.assertEqual(self.refused((0, data))[0], errors.InvalidRecord.code)

    def test_internal_topic(self) -> None:
        """
        Internal topics cannot be written, whether such a topic exists or not.
        """
        for version in (9, 12):
            refused = self.refused((0, BATCH), name="__consumer_offsets", version=version)
            self.assertEqual(refused[0], 17)
        with patch("kafscale.cluster.topics.INTERNAL_TOPICS", ()):
            topic = self.cluster.now(self.cluster.topics.create("__transaction_state", 1, {}))
        for version in (9, 13):
            refused = self.refused(
                (0, BATCH), name=topic.name, topic_id=topic.topic_id, version=version
            )
            self.assertEqual(refused[0], 17)
        self.assertEqual(self.refused((0, BATCH), name="__other")[0], 3)

    def test_transactional_id(self) -> None:
        """
        A transactional id is error 53 with a message: after other codes clients
        retry for ever.
        """
        code, message = self.refused((0, BATCH), transactional_id="t")
        self.assertEqual(code, 53)
        self.assertIn("not supported", message or "")

    def test_transactional_batch(self) -> None:
        """
        So is a batch with the transactional flag.
        """
        batch = build_batch(
            [Record(0, 1, b"k", b"v")],
            producer_id=1,
            producer_epoch=0,
            base_sequence=0,
            transactional=True,
        )
        self.assertEqual(self.refused((0, batch))[0], 53)

    def test_zstd_before_version_7(self) -> None:
        """
        Consumers of that age cannot read zstd.
        """
        batch = build_batch([Record(0, 1, b"k", b"v")], codec=Codec.ZSTD)
        self.assertEqual(self.refused((0, batch), version=6)[0], 76)
        self.assertNoResult(self.produce((0, batch), version=7))

    def test_unknown_topic(self) -> None:
        """
        An unknown name is error 3, an unknown id 100.
        """
        self.assertEqual(self.refused((0, BATCH), name="other", version=12)[0], 3)
        code, _ = self.refused((0, BATCH), topic_id=UUID(int=9), version=13)
        self.assertEqual(code, 100)

    def test_partition_outside(self) -> None:
        """
        A partition that the topic does not have is refused at once.
        """
        for index in (3, -1, 2**31 - 1, -(2**31)):
            self.assertEqual(self.refused((index, BATCH))[0], 3)

    def test_not_leader(self) -> None:
        """
        From version 10 on the response names the leader.
        """
        self.log.elsewhere.add((self.topic.topic_id, 0))
        response = self.client.now(self.request((0, BATCH)), 10)
        (part,) = response.responses[0].partition_responses
        self.assertEqual((part.error_code, part.current_leader.leader_id), (6, 7))
        (endpoint,) = response.node_endpoints
        self.assertEqual((endpoint.host, endpoint.port), ("broker.example", 9092))
        self.assertEqual(self.refused((0, BATCH), version=9)[0], 6)

    def test_one_of_many(self) -> None:
        """
        A refused partition does not prevent others from being appended.
        """
        answer = self.produce((9, BATCH), (1, BATCH))
        self.log.settlements[0].settle()
        self.assertEqual([part.error_code for part in self.successResultOf(answer)], [3, 0])

    def test_defect(self) -> None:
        """
        An unexpected exception is error -1, and logged with its traceback.
        """
        self.partition().error = ZeroDivisionError()
        self.assertEqual(self.refused((0, BATCH))[0], -1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def first(self, value: bytes = b"", time: int = 1, codec: int = Codec.NONE) -> bytes:
        """
        The first batch of a producer.
        """
        return build_batch(
            [Record(0, time, b"k", value)],
            codec=codec,
            producer_id=5000,
            producer_epoch=0,
            base_sequence=0,
        )

    def test_for_good(self) -> None:
        """
        The partition learns of batches that do not come again: too large ones, and those
        with wrong records, which are found at once or later.
        """
        late = 10**15  # the timestamp
        for code, batch in (
            (10, self.first(bytes(2 << 20))),
            (32, self.first(time=late)),
            (32, self.first(urandom(100_000), late, Codec.GZIP)),
        ):
            self.assertEqual(self.refused((0, batch))[0], code)
            (header,) = self.partition().refusals
            self.assertEqual((header.producer_id, header.base_sequence), (5000, 0))
            self.partition().refusals.clear()
        self.partition().error = errors.InvalidProducerEpoch()
        self.assertEqual(self.refused((0, self.first()))[0], 47)
        self.assertEqual(len(self.partition().refusals), 1)

    def test_not_for_good(self) -> None:
        """
        Batches that come again, or are out of order, are none of these; nor are those of
        which the producer is not known.
        """
        changed = bytearray(self.first())
        changed[-1] ^= 1
        for code, batch in ((2, bytes(changed)), (87, bytes(20)), (87, bytes(100)), (87, None)):
            self.assertEqual(self.refused((0, batch))[0], code)
        for error in (errors.NotLeaderOrFollower, errors.OutOfOrderSequenceNumber):
            self.partition().error = error()
            self.assertEqual(self.refused((0, self.first()))[0], error.code)
        self.assertEqual(self.partition().refusals, [])

    def test_failed_as_a_whole(self) -> None:
        """
        The error is with each partition. With acks=0 there is no response.
        """
        for version in self.client.versions(ProduceRequest):
            response = self.client.failed(self.request((0, BATCH), (1, BATCH)), version, -1)
            codes = [each.error_code for each in response.responses[0].partition_responses]
            self.assertEqual(codes, [-1, -1])
        self.assertIsNone(self.client.failed(self.request((0, BATCH), acks=0), 9, -1))


class NoAnswerTests(ProduceCase):
    """
    acks=0.
    """

    def start(self, *parts: tuple[int, bytes | None], **kw: Any) -> Deferred[Any]:
        """
        Send a produce with acks=0.
        """
        return self.client.start(self.request(*parts, acks=0, **kw), 9)

    def test_nothing(self) -> None:
        """
        The batch is appended, and there is no response.
        """
        self.assertIsNone(self.successResultOf(self.start((0, BATCH))))
        self.assertEqual(len(self.partition().batches), 1)

    def test_error_closes(self) -> None:
        """
        After any error the request fails, so that the connection is closed: the
        client would not learn of the error otherwise.
        """
        self.failureResultOf(self.start((9, BATCH)), errors.UnknownTopicOrPartition)
        self.failureResultOf(self.start((0, None)), errors.InvalidRecord)
        self.failureResultOf(
            self.start((0, BATCH), transactional_id="t"),
            errors.TransactionalIdAuthorizationFailed,
        )


class TopicTests(ProduceCase):
    """
    The rules of a limited number of topics are kept.
    """

    def test_bounded(self) -> None:
        """
        When there are too many, all are removed and computed again.
        """
        self.patch(produce, "_MAX_RULES", 2)
        for number in range(5):
            topic = Topic(UUID(int=number), "t", 1, {})
            self.service._rules_of(topic)
        self.assertLessEqual(len(self.service._rules), 2)
