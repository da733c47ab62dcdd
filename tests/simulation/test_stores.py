"""
The simulated stores are stores, as long as nothing goes wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater

from kafscale.interfaces import Change, IMetadataStore, IObjectStore
from kafscale.store.etcd import EtcdMetadataStore
from kafscale.store.memory import MemoryObjectStore
from tests.harness.hostile import HostileObjectStore
from tests.simulation.etcd import Etcd
from tests.simulation.gateway import EtcdLink
from tests.simulation.link import Link, Weather
from tests.simulation.schedule import ProcessClock, Schedule
from tests.store import contract


def running(add_cleanup: Callable[..., object]) -> tuple[Schedule, Link]:
    """
    A schedule that goes on by itself, and a link on which nothing goes wrong.
    """
    schedule = Schedule()
    loop = LoopingCall(lambda: schedule.run(schedule.now + 1.0))
    loop.start(0)
    add_cleanup(loop.stop)
    counts: Counter[str] = Counter()
    process = ProcessClock(schedule, 1.1, -20.0)
    return schedule, Link("a", schedule, process, Random(1), counts, Weather(), 0.01, 10.0)


class ObjectsTests(contract.ObjectStoreContract):
    """
    Objects behind a link.
    """

    async def make_store(self) -> IObjectStore:
        """
        In memory.
        """
        _, link = running(self.addCleanup)
        return HostileObjectStore(MemoryObjectStore(), link)


class EtcdTests(contract.MetadataStoreContract):
    """
    The simulated etcd behind a link, and the broker's own way to ask it.
    """

    async def make_store(self) -> IMetadataStore:
        """
        As a broker has it.
        """
        schedule, link = running(self.addCleanup)
        client: Any = EtcdLink(Etcd(schedule), schedule, link, 8.0)
        return EtcdMetadataStore(client, ProcessClock(schedule), Random(2).random, "n", page=4)

    async def until(self, reported: Sequence[Sequence[Change]], number: int) -> None:
        """
        etcd reports changes some time after the commit.
        """
        for _ in range(100):
            if len(reported) >= number:
                break
            await deferLater(reactor, 0.01)
        self.assertEqual(len(reported), number)
