"""
Looking at what brokers of a test have stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import attrs

from kafscale.format import metadata_keys, object_keys
from kafscale.format.partition import PartitionRecord
from kafscale.format.topic import TopicRecord
from kafscale.inspect.verify import Verification
from kafscale.inspect.view import View, load
from kafscale.interfaces import Put
from tests.harness.coroutines import now
from tests.log.brokers import WHERE, Broker, BrokerTestCase, Shared

PARTITION = object_keys.partition("default", *WHERE)
RECORD = metadata_keys.partition(*WHERE)


async def view_of(shared: Shared) -> View:
    """
    What the metadata says, with a topic for each partition, which these
    brokers do without.
    """
    view = await load(shared.metadata, "default")
    counts: dict[UUID, int] = {}
    for topic_id, index in view.partitions:
        counts[topic_id] = max(index + 1, counts.get(topic_id, 0))
    topics = {each: TopicRecord("topic", count, {}, 0) for each, count in counts.items()}
    return attrs.evolve(view, topics=topics)


def report(shared: Shared, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
    """
    The lines of a verification.

    @param meanwhile: Called after each reading of the metadata.
    """
    lines: list[str] = []

    async def fresh() -> View:
        view = await view_of(shared)
        meanwhile()
        return view

    now(Verification(shared.objects, fresh, lines.append).run())
    return lines


def wrong(shared: Shared) -> list[str]:
    """
    Return the lines that report a violation.
    """
    return [line for line in report(shared) if line.startswith("wrong: ")]


class LookTestCase(BrokerTestCase):
    """
    A case that reads and changes stored objects and metadata directly.
    """

    def put(self, key: str, data: bytes) -> None:
        """
        Replace an object, or create it.
        """
        now(self.shared.objects.delete([key]))
        now(self.shared.objects.create(key, [data]))

    def get(self, key: str) -> bytes:
        """
        All bytes of an object.
        """
        return now(self.shared.objects.get(key))

    def remove(self, key: str) -> None:
        """
        Delete an object.
        """
        now(self.shared.objects.delete([key]))

    def commit(self, key: str, value: Any) -> None:
        """
        Write an entry of the metadata.
        """
        now(self.shared.metadata.commit([], [Put(key, value)]))

    def alter(self, **changes: Any) -> None:
        """
        Change the partition's record.
        """
        record = attrs.evolve(PartitionRecord.from_json(self.shared.value(RECORD)), **changes)
        self.commit(RECORD, record.to_json())

    def alter_incarnation(self, broker: Broker, **changes: Any) -> None:
        """
        Change an incarnation's record.
        """
        key = metadata_keys.incarnation(broker.incarnation)
        self.commit(key, {**self.shared.value(key), **changes})

    def slot(self, broker: Broker, number: int) -> str:
        """
        The key of a broker's slot.
        """
        return object_keys.slot(object_keys.journal("default", 1, broker.incarnation), number)

    def assert_wrong(self, where: str, *parts: str) -> None:
        """
        Something is wrong there, and the report has these words.
        """
        found = [line for line in wrong(self.shared) if line.startswith(f"wrong: {where}")]
        self.assertTrue(found, report(self.shared))
        for part in parts:
            self.assertIn(part, " ".join(found))

    def assert_well(self) -> list[str]:
        """
        Nothing is wrong; the whole report.
        """
        lines = report(self.shared)
        self.assertEqual([line for line in lines if line.startswith("wrong")], [])
        self.assertTrue(lines[-1].startswith("ok: "))
        return lines
