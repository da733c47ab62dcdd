"""
Where the cluster's facts are in the metadata store, and what stands there.

=============================== ==============================================
``cluster/id``                  the cluster's id, a string
``last-incarnation``            the id of the broker that drew an incarnation
                                last; its number is this key's revision
``brokers/{id}``                ``{"host", "port", "rack", "weight",
                                "version", "incarnation", "phase"}``, under
                                the lease of a broker that lives
``incarnations/{incarnation}``  ``{"broker", "trim"}``
``seals/{incarnation}``         the incarnation is stopped
``names/{name}``                ``{"topic_id"}``
``topics/{topic_id}``           ``{"name", "partitions", "configs",
                                "created_ms"}``
``partitions/{topic_id}/{index}`` the log's record of a partition, of which
                                the cluster reads ``leader`` and ``epoch``
``tombstones/{topic_id}``       ``{"name", "partitions", "deleted_ms"}``: the
                                topic is gone, its data may not be yet
``producer-ids``                the first producer id that no broker has taken
=============================== ==============================================
"""

from __future__ import annotations

from uuid import UUID

CLUSTER_ID = "cluster/id"
PRODUCER_IDS = "producer-ids"
DRAWN = "last-incarnation"

BROKERS = "brokers/"
NAMES = "names/"
TOPICS = "topics/"
PARTITIONS = "partitions/"
TOMBSTONES = "tombstones/"


def broker(broker_id: int) -> str:
    """
    Where a broker says how it is reached, for as long as it lives.
    """
    return f"{BROKERS}{broker_id}"


def incarnation(number: int) -> str:
    """
    Where an incarnation keeps its trim mark.
    """
    return f"incarnations/{number:020d}"


def seal(number: int) -> str:
    """
    What is there once an incarnation is stopped.
    """
    return f"seals/{number:020d}"


def name(topic_name: str) -> str:
    """
    Which topic has a name.
    """
    return f"{NAMES}{topic_name}"


def topic(topic_id: UUID) -> str:
    """
    What a topic is.
    """
    return f"{TOPICS}{topic_id}"


def tombstone(topic_id: UUID) -> str:
    """
    That a topic was deleted.
    """
    return f"{TOMBSTONES}{topic_id}"


def partition_of(key: str) -> tuple[UUID, int]:
    """
    The topic id and index in the key of a partition's record.
    """
    _, topic_id, index = key.split("/")
    return UUID(topic_id), int(index)
