"""
Looking at what brokers of a test have stored.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import attrs

from kafscale.format.topic import TopicRecord
from kafscale.inspect.verify import Verification
from kafscale.inspect.view import View, load
from tests.harness.coroutines import now
from tests.log.brokers import Shared


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
    What is not as it should be.
    """
    return [line for line in report(shared) if line.startswith("wrong: ")]
