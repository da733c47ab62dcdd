"""
Brokers whose producers have transactions.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.format.segment import AbortedTransaction, Footer
from kafscale.interfaces import Append, ISettlement
from kafscale.wire.control_batches import Marker
from kafscale.wire.records import Record, build_batch, read_batch_header
from tests.harness.coroutines import now
from tests.log.brokers import EACH, NOW, RULES, Broker, BrokerTestCase


def transactional(
    *values: bytes, producer: int = 7, epoch: int = 0, sequence: int = 0
) -> memoryview:
    """
    Build a batch of a transaction as a producer sends it.
    """
    records = [Record(at, NOW * 1000, None, value) for at, value in enumerate(values)]
    return memoryview(
        build_batch(
            records,
            producer_id=producer,
            producer_epoch=epoch,
            base_sequence=sequence,
            transactional=True,
        )
    )


class TransactionsTestCase(BrokerTestCase):
    """
    Appends of transactions, step by step.

    @ivar sequences: Of the next record, by producer and epoch.
    @ivar numbers: Of the present transaction, by producer.
    """

    def setUp(self) -> None:
        """
        No producer has begun.
        """
        super().setUp()
        self.sequences: dict[tuple[int, int], int] = {}
        self.numbers: dict[int, int] = {}

    def data(self, broker: Broker, *values: bytes, producer: int = 7, epoch: int = 0) -> Append:
        """
        Append a batch of a transaction, and begin it if it is not open.
        """
        sequence = self.sequences.get((producer, epoch), 0)
        sent = transactional(*values, producer=producer, epoch=epoch, sequence=sequence)
        partition = broker.partition()
        known = partition.transactions_of(producer)
        number = None
        if known is None or known.open_from < 0:
            number = self.numbers[producer] = self.numbers.get(producer, 0) + 1
        appended = partition.append(sent, read_batch_header(sent), RULES, number)
        self.sequences[producer, epoch] = sequence + len(values)
        return appended

    def end(
        self, broker: Broker, *, committed: bool, producer: int = 7, epoch: int = 0
    ) -> ISettlement | None:
        """
        Append the marker of the producer's present transaction.
        """
        marker = Marker(producer, epoch, committed, self.numbers.get(producer, 0))
        found: ISettlement | None = broker.partition().append_marker(marker)
        return found

    def commit(self, broker: Broker, **producer: int) -> ISettlement | None:
        """
        Append a commit marker.
        """
        return self.end(broker, committed=True, **producer)

    def abort(self, broker: Broker, **producer: int) -> ISettlement | None:
        """
        Append an abort marker.
        """
        return self.end(broker, committed=False, **producer)

    def roll(self, broker: Broker) -> None:
        """
        Move what is durable into a segment, or a chapter if that is how the broker rolls.
        """
        now(broker.roll_all([broker.partition()]))
        broker.run()

    def successor(self, broker: Broker, broker_id: int, **settings: object) -> Broker:
        """
        Kill a broker, and let another one take over.
        """
        broker.crash()
        return self.leader(broker_id=broker_id, **{**EACH, **settings})

    def footer(self, broker: Broker) -> Footer:
        """
        The footer of the newest segment.
        """
        found = now(broker.partition().segments.newest_footer())
        assert found is not None
        return found

    def listed(self, broker: Broker) -> Sequence[AbortedTransaction]:
        """
        The aborted transactions in the footers of all segments, one after another.
        """
        segments = broker.partition().segments
        found: list[AbortedTransaction] = []
        for base in now(segments.listed()):
            found += now(segments.footer(base))[0].transactions
        return found
