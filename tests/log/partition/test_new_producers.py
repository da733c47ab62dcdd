"""
Which producers are new to a partition (rule 25), from its creation on, over rolls,
releases and takeovers.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kafscale.errors import OutOfOrderSequenceNumber
from kafscale.format import metadata_keys
from kafscale.format.cluster import first_id_after
from kafscale.format.producers import read_producers
from kafscale.format.topic import NameRecord, TopicRecord
from kafscale.interfaces import Delete, Put
from kafscale.wire.records import BatchHeader, read_batch_header
from tests.harness.coroutines import begin, now
from tests.harness.hostile import hold, let_pass
from tests.log.brokers import EACH, TOPIC, WHERE, Broker, BrokerTestCase, batch


class NewProducerTestCase(BrokerTestCase):
    """
    A topic in the metadata store, and producers' ids before and after its creation.
    """

    def setUp(self) -> None:
        """
        Create the topic.
        """
        super().setUp()
        self.shared.register(9)
        self.created = self.create()
        self.old = first_id_after(self.created) - 1
        self.new = first_id_after(self.created)

    def create(self, topic_id: UUID = TOPIC, name: str = "orders") -> int:
        """
        Create a topic, and return the revision of the commit.
        """
        record = TopicRecord(name, 1, {}, 0)
        return now(
            self.shared.metadata.commit(
                [],
                [
                    Put(metadata_keys.name(name), NameRecord(topic_id).to_json()),
                    Put(metadata_keys.topic(topic_id), record.to_json()),
                ],
            )
        )

    def delete(self, topic_id: UUID = TOPIC, name: str = "orders") -> None:
        """
        Delete a topic.
        """
        keys = [metadata_keys.name(name), metadata_keys.topic(topic_id)]
        now(self.shared.metadata.commit([], [Delete(key) for key in keys]))

    def takes(self, broker: Broker, producer: int, sequence: int = 3) -> bool:
        """
        Return whether a leader takes a first batch with this sequence.
        """
        try:
            broker.append(b"x", producer=producer, sequence=sequence)
        except OutOfOrderSequenceNumber:
            return False
        broker.run()
        return True

    def check(self, broker: Broker, mark: int) -> None:
        """
        Check from which id on producers are new to the first partition.
        """
        self.assertFalse(self.takes(broker, mark))
        self.assertFalse(self.takes(broker, mark + 1, 2**31 - 1))
        self.assertTrue(self.takes(broker, mark - 1))


class CreatedTests(NewProducerTestCase):
    """
    A partition that was never rolled.
    """

    def test_since_the_topic_was_created(self) -> None:
        """
        Producers that got their id later must begin at 0; others need not.
        """
        broker = self.leader(**EACH)
        self.assertFalse(self.takes(broker, self.new))
        self.assertTrue(self.takes(broker, self.new, 0))
        self.assertTrue(self.takes(broker, self.new, 1))
        self.assertTrue(self.takes(broker, self.old))

    def test_the_next_leader(self) -> None:
        """
        The next leader has the same mark, though nothing is stored of it: the batches
        that its predecessor refused must not be left out.
        """
        self.leader(**EACH).crash()
        self.check(self.leader(broker_id=2, **EACH), self.new)

    def test_after_a_release(self) -> None:
        """
        So it is if the predecessor has released the partition.
        """
        broker = self.leader(**EACH)
        now(broker.log.release([WHERE]))
        self.check(self.leader(broker_id=2, **EACH), self.new)

    def test_altered(self) -> None:
        """
        A topic whose entry was changed later is not younger for that.
        """
        record = TopicRecord("orders", 4, {"retention.ms": "1"}, 0)
        now(
            self.shared.metadata.commit([], [Put(metadata_keys.topic(TOPIC), record.to_json())])
        )
        self.check(self.leader(**EACH), self.new)

    def test_made_again(self) -> None:
        """
        In a topic that is made again under the name of one that was deleted, producers
        of that one go on with their sequences; later ones begin at 0.
        """
        self.delete()
        self.created = self.create(UUID(int=0xDEF))
        where = UUID(int=0xDEF), 0
        broker = self.leader([where], **EACH)
        partition = broker.partition(where)
        self.assertTrue(partition.is_open)
        self.assertEqual(partition.producers_after(()).mark, first_id_after(self.created))
        self.assertLess(self.new, first_id_after(self.created))

    def test_deleted_meanwhile(self) -> None:
        """
        If the topic is deleted before the claim nothing depends on it any more: any
        sequence is taken. So it is if the name belongs to another topic already.
        """
        for again in (False, True):
            broker = self.broker(**EACH)
            broker.obey(hold("get", metadata_keys.TOPICS if not again else metadata_keys.NAMES))
            recovering = broker.recover()
            self.assertNoResult(recovering)
            self.delete()
            if again:
                self.create(UUID(int=0xDEF))
            broker.obey(let_pass)
            broker.settle()
            self.successResultOf(recovering)
            self.assertTrue(self.takes(broker, self.new + 7 + again))
            self.create()


    def test_without_metadata(self) -> None:
        """
        The first batch needs no answer of the metadata store: the claim has read when
        the topic was created.
        """
        broker = self.leader(**EACH)
        broker.metadata.policy = None
        opening = broker.log.partition(*WHERE).opened()
        self.successResultOf(opening)
        self.assertEqual(broker.metadata.pending, [])
        self.check(broker, self.new)

    def test_refused_for_good(self) -> None:
        """
        If the first batch was refused for good, whether the partition was open or not,
        the producer may go on after it. The next leader does not know of that.
        """
        broker = self.leader(**EACH)
        partition = broker.log.partition(*WHERE)
        self.assertFalse(partition.is_open)
        partition.refused(self.header(self.new))
        partition.opened()
        partition.refused(self.header(self.new + 1))
        for producer in (self.new, self.new + 1):
            self.assertFalse(self.takes(broker, producer, 2))
            self.assertTrue(self.takes(broker, producer, 1))
        partition.refused(self.header(self.new + 2))
        broker.crash()
        self.assertFalse(self.takes(self.leader(broker_id=2, **EACH), self.new + 2, 1))

    def header(self, producer: int) -> BatchHeader:
        """
        The header of a first batch of one record.
        """
        return read_batch_header(batch(b"x", producer=producer, sequence=0))


class CarriedTests(NewProducerTestCase):
    """
    The mark is stored with the states of producers.
    """

    def rolled(self, **settings: Any) -> Broker:
        """
        Return a leader of a partition whose records are all in a segment.
        """
        broker = self.leader(**EACH, **settings)
        broker.append(b"a", producer=self.new)
        broker.run()
        now(broker.roll(broker.partition()))
        self.assertEqual(self.shared.record().rolled_to, 1)
        return broker

    def goes_on(self, broker: Broker) -> None:
        """
        Check that the producer of the first batch may go on, and others must begin.
        """
        self.assertFalse(self.takes(broker, self.new + 1))
        self.assertTrue(self.takes(broker, self.new, 1))

    def test_rolled(self) -> None:
        """
        A segment carries it, and each leader after that has it.
        """
        self.rolled().crash()
        for broker_id in (2, 3):
            broker = self.leader(broker_id=broker_id, **EACH)
            self.assertFalse(self.takes(broker, self.new + 1))
            self.assertTrue(self.takes(broker, self.new, broker_id - 1))
            now(broker.roll(broker.partition()))
            broker.crash()

    def test_chapters(self) -> None:
        """
        A chapter of a volume carries it, too.
        """
        broker = self.leader(**EACH, chapters=32)
        broker.append(b"a", producer=self.new)
        broker.run()
        now(broker.roll_all([broker.partition()]))
        broker.run()
        self.assertTrue(self.shared.record().rolled_to)
        broker.crash()
        self.goes_on(self.leader(broker_id=2, **EACH))

    def test_released(self) -> None:
        """
        A release does not change it.
        """
        now(self.rolled().log.release([WHERE]))
        self.assertFalse(self.takes(self.leader(broker_id=2, **EACH), self.new + 1))

    def test_records_deleted(self) -> None:
        """
        Neither does the deletion of records: the newest segment stays, and with it the
        producers. They go on, and new ones begin at 0.
        """
        broker = self.rolled()
        now(broker.partition().delete_before(1))
        self.goes_on(broker)
        broker.crash()
        successor = self.leader(broker_id=2, **EACH)
        self.assertFalse(self.takes(successor, self.new + 1))
        self.assertTrue(self.takes(successor, self.new, 2))

    def test_adopted(self) -> None:
        """
        A segment that a leader adopts brings its mark along.
        """
        first = self.leader(**EACH)
        first.append(b"a", producer=self.new)
        first.run()
        first.obey(hold("commit", metadata_keys.PARTITIONS))
        begin(first.roll(first.partition()))
        first.crash()
        second = self.leader(broker_id=2, **EACH)
        now(second.roll(second.partition()))
        self.assertEqual(second.partition().producers_after(()).mark, self.new)
        second.crash()
        self.goes_on(self.leader(broker_id=3, **EACH))

    def test_forgotten_before(self) -> None:
        """
        A producer that was forgotten before the roll may go on under the next leader.
        """
        broker = self.rolled()
        broker.clock.advance(86_400)
        broker.append(b"b", producer=self.new + 5)
        broker.run()
        now(broker.roll(broker.partition()))
        broker.crash()
        successor = self.broker(broker_id=2, **EACH)
        successor.clock.advance(86_400)
        self.successResultOf(successor.recover())
        self.assertFalse(self.takes(successor, self.new + 1))
        self.assertTrue(self.takes(successor, self.new, 7))


class EarlierFormatTests(NewProducerTestCase):
    """
    Partitions that an earlier version has written.
    """

    def setUp(self) -> None:
        """
        A leader that writes level 0 has rolled a partition, and is gone.
        """
        super().setUp()
        self.level = 0
        broker = self.start(1)
        broker.append(b"a", producer=self.new)
        broker.run()
        now(broker.roll(broker.partition()))
        footer, _ = now(broker.partition().segments.footer(0))
        broker.crash()
        self.assertIsNone(read_producers(footer.producers)[1])

    def start(self, broker_id: int) -> Broker:
        """
        Start a leader that writes this level.
        """
        return self.leader(broker_id=broker_id, level_of=lambda name: self.level, **EACH)

    def test_read_first(self) -> None:
        """
        The mark begins when the states are read first: every producer that there was may
        have been forgotten, and later ones are new.
        """
        self.level = 1
        broker = self.start(2)
        mark = first_id_after(broker.partition().revision)
        self.assertLess(self.new, mark)
        self.check(broker, mark)
        now(broker.roll(broker.partition()))
        broker.crash()
        self.check(self.start(3), mark)

    def test_not_in_force(self) -> None:
        """
        While brokers are there that cannot read it, the mark is not stored. It begins
        again with each leader, which refuses no producer.
        """
        first = self.start(2)
        first.append(b"b", producer=self.new, sequence=1)
        first.run()
        now(first.roll(first.partition()))
        later = first_id_after(first.partition().revision)
        first.crash()
        self.assertTrue(self.takes(self.start(3), later))
