"""
A journal by itself, on a store that waits for the test.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.counts import LogCounts
from kafscale.format import object_keys
from kafscale.format.levels import highest_level
from kafscale.log.journal.fencing import CreateOnly, Fence
from kafscale.log.journal.journal import Journal
from kafscale.log.journal.linger import Linger
from kafscale.log.journal.slots import Slot
from kafscale.store.memory import MemoryObjectStore
from tests.harness.hostile import HostileObjectStore
from tests.log.brokers import batch

PREFIX = object_keys.journal("default", 1, 5)


class FakeWriter:
    """
    A partition that only counts.
    """

    def __init__(self, index: int = 0) -> None:
        self.topic_id = UUID(int=3)
        self.index = index
        self.leader_epoch = 7
        self.next = 0
        self.ends: list[int] = []
        self.told: Callable[[int], None] | None = None

    def acknowledge(self, end: int) -> None:
        """
        See L{kafscale.log.journal.slots.Writer.acknowledge}.
        """
        self.ends.append(end)
        if self.told is not None:
            self.told(end)


class JournalTestCase(SynchronousTestCase):
    """
    Tests with a journal and its store.
    """

    linger = 0.0

    def setUp(self) -> None:
        """
        Up to four slots of a thousand bytes may be under way.
        """
        self.inner = MemoryObjectStore()
        self.store = HostileObjectStore(self.inner)
        self.clock = Clock()
        self.acknowledged: list[int] = []
        self.fences = 0
        self.writer = FakeWriter()
        self.counts = LogCounts()
        self.journal = Journal(
            self.store,
            PREFIX,
            self.clock,
            slot_bytes=1000,
            in_flight=4,
            linger=Linger(self.linger),
            fence=self.fence(),
            level_of=highest_level,
            counts=self.counts,
            acknowledged=lambda slot: self.acknowledged.append(slot.number),
            fenced=self._fenced,
        )

    def _fenced(self) -> None:
        self.fences += 1

    def fence(self) -> Fence:
        """
        Make the journal's fence; by default one that asks nothing.
        """
        return CreateOnly()

    def add(self, size: int = 10, writer: FakeWriter | None = None) -> Slot:
        """
        Add a batch of that many bytes, with one record.
        """
        writer = writer or self.writer
        base, writer.next = writer.next, writer.next + 1
        data = (bytes(batch(b"x")) + bytes(size))[:size]
        return self.journal.add(writer, data, base, base + 1, base * 10)

    def sent(self) -> list[int]:
        """
        Return the numbers of the slots that are being created.
        """
        return [
            object_keys.slot_number(operation.key)
            for operation in self.store.pending
            if operation.kind == "create"
        ]

    def land(self, number: int) -> None:
        """
        Let the creation of one slot succeed.
        """
        for operation in list(self.store.pending):
            if operation.kind == "create" and object_keys.slot_number(operation.key) == number:
                operation.succeed()
