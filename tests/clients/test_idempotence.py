"""
Idempotent producers on a real broker: each batch is stored once, in order.
"""

from __future__ import annotations

from typing import Any

from kafscale.wire.messages import InitProducerIdRequest
from tests.clients.broker import BrokerTestCase
from tests.clients.raw import batch_of

NONE = 0
INVALID_REQUEST = 42
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
INVALID_PRODUCER_EPOCH = 47
INVALID_RECORD = 87

LAST_SEQUENCE = 2**31 - 1


class IdempotenceTests(BrokerTestCase):
    """
    One broker, one topic, one producer.
    """

    def setUp(self) -> None:
        """
        Flushes wait a while, so that requests can be caught in flight.
        """
        super().setUp()
        self.subject = self.broker(flush_interval_ms=200)
        self.client = self.connect(self.subject)
        self.client.create("once")
        self.producer_id = self.client.producer_id()

    def batch(self, sequence: int, count: int = 1, epoch: int = 0) -> bytes:
        """
        A batch of the producer.
        """
        values = [b"%d" % ((sequence + i) & LAST_SEQUENCE) for i in range(count)]
        return batch_of(values, producer_id=self.producer_id, epoch=epoch, sequence=sequence)

    def produce(self, sequence: int, count: int = 1, epoch: int = 0) -> tuple[int, int]:
        """
        Error code and offset.
        """
        part = self.client.produce("once", 0, self.batch(sequence, count, epoch))
        return part.error_code, part.base_offset

    def stored(self) -> list[bytes | None]:
        """
        Return the values in the log.
        """
        return [each.value for each in self.client.records("once")]

    def test_init(self) -> None:
        """
        InitProducerId returns a new id at epoch 0 each time, in all versions,
        also if the request names one; half of a pair is refused.
        """
        seen = {self.producer_id}
        for version in range(6):
            for producer_id, epoch in ((-1, -1), (self.producer_id, 3)):
                answer = self.init(version, producer_id, epoch)
                self.assertEqual((answer.error_code, answer.producer_epoch), (NONE, 0))
                self.assertNotIn(answer.producer_id, seen)
                seen.add(answer.producer_id)
        for half in ((self.producer_id, -1), (-1, 0)):
            answer = self.init(4, *half)
            self.assertEqual(
                (answer.error_code, answer.producer_id, answer.producer_epoch),
                (INVALID_REQUEST, -1, -1),
            )
        self.subject.kill()
        self.subject.start()
        self.client = self.connect(self.subject)
        self.assertNotIn(self.init(4, -1, -1).producer_id, seen)

    def init(self, version: int, producer_id: int, epoch: int) -> Any:
        """
        The answer to InitProducerId.
        """
        request = InitProducerIdRequest(
            transactional_id=None,
            transaction_timeout_ms=60_000,
            producer_id=producer_id,
            producer_epoch=epoch,
        )
        return self.client.call(request, version)

    def test_duplicates_and_gaps(self) -> None:
        """
        The last five batches are recognized as duplicates, also after a crash;
        a gap or an older batch is out of order.
        """
        for sequence in range(0, 12, 2):
            self.assertEqual(self.produce(sequence, 2), (NONE, sequence))
        for crash in (False, True):
            if crash:
                self.subject.kill()
                self.subject.start()
                self.client = self.connect(self.subject)
            for sequence in range(2, 12, 2):
                self.assertEqual(self.produce(sequence, 2), (NONE, sequence), sequence)
            for sequence, count in ((0, 2), (13, 1), (10, 1), (11, 2)):
                self.assertEqual(
                    self.produce(sequence, count), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1), sequence
                )
        self.assertEqual(self.produce(12), (NONE, 12))
        self.assertEqual(self.stored(), [b"%d" % number for number in range(13)])

    def test_retry_in_flight(self) -> None:
        """
        A retry on another connection, while the first attempt is under way, is
        answered when that is, with its offset; it is stored once.
        """
        self.client.produce("once", 0, batch_of([b"before"]))
        first, second = self.connect(self.subject), self.connect(self.subject)
        sent = []
        for client in (first, second, first, second):
            request = self.client.produce_request("once", 0, self.batch(0, 3))
            sent.append((client, request, client.send(request, 9)))
        offsets = []
        for client, request, correlation in sent:
            ((part,),) = [
                each.partition_responses
                for each in client.receive(request, 9, correlation).responses
            ]
            offsets.append((part.error_code, part.base_offset))
        self.assertEqual(offsets, [(NONE, 1)] * 4)
        self.assertEqual(self.stored(), [b"before", b"0", b"1", b"2"])

    def test_sequences_wrap(self) -> None:
        """
        After 2^31-1 comes 0, also within a batch; a producer that is older than the
        topic may start anywhere.
        """
        second = self.client.producer_id()
        self.client.delete("once")
        self.client.create("once")
        self.assertEqual(self.produce(LAST_SEQUENCE - 3, 2), (NONE, 0))
        self.assertEqual(self.produce(LAST_SEQUENCE - 1, 3), (NONE, 2))
        self.assertEqual(self.produce(LAST_SEQUENCE - 1, 3), (NONE, 2))
        self.assertEqual(self.produce(0), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1))
        self.assertEqual(self.produce(1), (NONE, 5))
        self.producer_id = second
        for sequence in (LAST_SEQUENCE, 0, 1):
            self.assertEqual(self.produce(sequence)[0], NONE)

    def test_new_producer(self) -> None:
        """
        A producer that is new to a partition begins with sequence 0, also when the
        broker has recovered the partition meanwhile.
        """
        for crash in (False, True):
            if crash:
                self.subject.kill()
                self.subject.start()
                self.client = self.connect(self.subject)
                self.producer_id = self.client.producer_id()
            for sequence in (3, 1, LAST_SEQUENCE):
                self.assertEqual(self.produce(sequence), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1))
            for sequence in range(4):
                self.assertEqual(self.produce(sequence), (NONE, sequence + 4 * crash))

    def test_forgotten(self) -> None:
        """
        A producer that had to make room for ten thousand others goes on with its
        sequences, and those that are newer than any of these begin at 0.
        """
        self.assertEqual(self.produce(0), (NONE, 0))
        requests = [
            self.client.produce_request(
                "once", 0, batch_of([b"x"], producer_id=self.producer_id + n, epoch=0, sequence=0)
            )
            for n in range(1, 10_001)
        ]
        for at in range(0, len(requests), 500):
            sent = [(each, self.client.send(each, 9)) for each in requests[at : at + 500]]
            for request, correlation in sent:
                answer = self.client.receive(request, 9, correlation)
                self.assertEqual(answer.responses[0].partition_responses[0].error_code, NONE)
        self.assertEqual(self.produce(1), (NONE, 10_001))
        self.producer_id += 10_001
        self.assertEqual(self.produce(1), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1))
        self.assertEqual(self.produce(0), (NONE, 10_002))

    def test_epochs(self) -> None:
        """
        A newer epoch starts at 0, and shuts out the older.
        """
        self.assertEqual(self.produce(0), (NONE, 0))
        self.assertEqual(self.produce(1, epoch=1), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1))
        self.assertEqual(self.produce(0, epoch=1), (NONE, 1))
        self.assertEqual(self.produce(1), (INVALID_PRODUCER_EPOCH, -1))
        self.assertEqual(self.produce(1, epoch=1), (NONE, 2))

    def test_senseless(self) -> None:
        """
        A producer without an epoch or a sequence; two batches at once; none.
        """
        without = batch_of([b"x"], producer_id=self.producer_id, epoch=0, sequence=-1)
        self.assertEqual(self.client.produce("once", 0, without).error_code, INVALID_RECORD)
        without = batch_of([b"x"], producer_id=self.producer_id, epoch=-1, sequence=0)
        self.assertEqual(self.client.produce("once", 0, without).error_code, INVALID_RECORD)
        for records in (self.batch(0) + self.batch(1), b""):
            self.assertEqual(self.client.produce("once", 0, records).error_code, INVALID_RECORD)
        self.assertEqual(self.client.offset("once"), 0)
