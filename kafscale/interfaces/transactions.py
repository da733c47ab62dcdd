"""
The coordinator of transactions, and what it needs of others: that markers are written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence
from typing import TypeAlias

import attrs
from zope.interface import Interface

from kafscale.format.partition import TopicIdPartition
from kafscale.format.transactional_id import ProducerEpoch, TransactionalIdRecord

Place: TypeAlias = TopicIdPartition | str
"""Where a transaction has written: a partition, or a group by its name."""


@attrs.frozen
class Marker:
    """
    How a transaction has ended.

    @ivar producer: The producer id and epoch that the marker carries.
    @ivar number: The transaction's, among those of the producer id.
    """

    producer: ProducerEpoch
    number: int
    commit: bool


class IMarkerWriter(Interface):
    """
    Reaches the leaders of partitions and the coordinators of groups.
    """

    def write(marker: Marker, place: Place) -> Awaitable[None]:
        """
        Have a marker written in a partition, or the offsets decided that are pending in
        a group. Fires when that is durable, as told by who leads it now. Those of one
        turn for one broker go together.

        @raise Exception: it may be durable, or not. Not to wait for a broker for ever is
            up to the writer.
        """


@attrs.frozen
class Given:
    """
    A producer id and an epoch, with which the producer goes on.
    """

    producer_id: int
    epoch: int


@attrs.frozen
class Admitted:
    """
    What is in the transaction.

    @ivar number: The transaction's (rule T33).
    @ivar missing: What is not in it, of what was asked for: TRANSACTION_ABORTABLE.
    """

    number: int
    missing: frozenset[TopicIdPartition | str] = frozenset()


class ITransactionCoordinator(Interface):
    """
    The transactional ids that this broker coordinates.

    Every method that names an id raises C{CoordinatorLoadInProgress} while its shard is
    being read from the metadata store, and C{NotCoordinator} if another broker owns it.
    Those that change or verify it raise C{CoordinatorNotAvailable} if the store fails, and
    C{InvalidRequest} if the id is empty.
    """

    def initialize(
        name: str, timeout_ms: int, producer: ProducerEpoch | None = None
    ) -> Awaitable[Given]:
        """
        Give a producer its id and epoch (InitProducerId).

        @param timeout_ms: How long its transactions may be open.
        @param producer: What it says that it has; None if nothing.
        @raise KafkaError: INVALID_REQUEST, INVALID_TRANSACTION_TIMEOUT,
            CONCURRENT_TRANSACTIONS (a transaction is being ended), PRODUCER_FENCED.
        """

    def add(
        name: str,
        producer: ProducerEpoch,
        partitions: Collection[TopicIdPartition] = (),
        groups: Collection[str] = (),
        asks: bool = False,
    ) -> Awaitable[Admitted]:
        """
        Add partitions and groups to the transaction, which begins if none is open.

        @param asks: Whether a leader, or a group's shard, asks for its producer, and
            compares the number of the transaction.
        @raise KafkaError: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED,
            CONCURRENT_TRANSACTIONS.
        """

    def verify(
        name: str,
        producer: ProducerEpoch,
        partitions: Collection[TopicIdPartition] = (),
        groups: Collection[str] = (),
    ) -> Awaitable[Admitted]:
        """
        Whether partitions and groups are in the open transaction.

        @raise KafkaError: as L{add}.
        """

    def end(name: str, producer: ProducerEpoch, commit: bool, raises: bool) -> Awaitable[Given]:
        """
        Commit or abort the transaction (EndTxn). Fires when that is decided for good.

        @param raises: Whether the epoch is raised by it: EndTxn 5 and later.
        @return: With what the producer goes on.
        @raise KafkaError: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED,
            INVALID_TXN_STATE, CONCURRENT_TRANSACTIONS.
        """

    def describe(name: str) -> TransactionalIdRecord:
        """
        The record of an id, as far as it is known here.

        @raise KafkaError: INVALID_REQUEST, TRANSACTIONAL_ID_NOT_FOUND.
        """

    def ids() -> Sequence[tuple[str, TransactionalIdRecord]]:
        """
        All ids that this broker coordinates, with their records.

        @raise CoordinatorLoadInProgress: some are being read.
        """
