"""
Tests for L{kafscale.log.takeover.slot_ranges}.
"""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.slot import Range
from kafscale.log.takeover import slot_ranges as module
from kafscale.log.takeover import suffix_cache
from kafscale.log.takeover.slot_ranges import read_ranges
from kafscale.store.memory import MemoryObjectStore
from tests.harness.coroutines import now
from tests.harness.hostile import HostileObjectStore, Operation, Verdict
from tests.log.brokers import TOPIC, WHERE, BrokerTestCase, append_to, batch


def part(position: int, length: int) -> Range:
    """
    Make a range of a slot; its partition does not matter.
    """
    return Range(UUID(int=1), 0, 0, 0, 0, -1, position, length, 0)


class ReadTests(SynchronousTestCase):
    """
    Ranges of slots, in a store that counts requests.
    """

    def setUp(self) -> None:
        """
        Store two slots.
        """
        inner = MemoryObjectStore()
        now(inner.create("a", [bytes(range(256)) * 4]))
        now(inner.create("b", [b"0123456789"]))
        self.asked: list[str] = []
        self.store = HostileObjectStore(inner, self.note)
        self.data = now(inner.get("a"))

    def note(self, operation: Operation) -> Verdict:
        """
        Note an operation, and let it succeed.
        """
        self.asked.append(operation.key)
        return Verdict.SUCCEED

    def test_neighbours_share_a_request(self) -> None:
        """
        There is one request for each slot, however many ranges.
        """
        needed = [("a", part(at, 8)) for at in (512, 0, 8, 100)] + [("b", part(2, 3))]
        found = now(read_ranges(self.store, needed))
        self.assertEqual(
            found,
            {
                **{("a", at): self.data[at : at + 8] for at in (0, 8, 100, 512)},
                ("b", 2): b"234",
            },
        )
        self.assertEqual(sorted(self.asked), ["a", "b"])

    def test_far_apart(self) -> None:
        """
        A large gap is not read, and the size of a request is bounded.
        """
        self.patch(module, "MAX_GAP_BYTES", 50)
        self.patch(module, "MAX_RUN_BYTES", 30)
        needed = [("a", part(at, 10)) for at in (0, 10, 20, 30, 500)]
        found = now(read_ranges(self.store, needed))
        self.assertEqual(len(found), 5)
        self.assertEqual(len(self.asked), 3)

    def test_missing(self) -> None:
        """
        A slot that does not exist is left out.
        """
        found = now(read_ranges(self.store, [("gone", part(0, 1)), ("b", part(0, 1))]))
        self.assertEqual(found, {("b", 0): b"0"})

    @given(
        st.dictionaries(st.integers(0, 9).map(lambda n: n * 100), st.integers(1, 100)),
        st.integers(0, 200),
        st.integers(1, 300),
    )
    def test_any(self, sizes: dict[int, int], gap: int, at_most: int) -> None:
        """
        Each range has its own bytes, whichever requests are sent.
        """
        self.patch(module, "MAX_GAP_BYTES", gap)
        self.patch(module, "MAX_RUN_BYTES", at_most)
        found = now(read_ranges(self.store, [("a", part(*each)) for each in sizes.items()]))
        self.assertEqual(
            found, {("a", at): self.data[at : at + size] for at, size in sizes.items()}
        )


class RecoveryTests(BrokerTestCase):
    """
    Partitions with records in the same slots.
    """

    def test_one_request_for_a_slot(self) -> None:
        """
        A successor sends one request for the ranges of several partitions in one
        slot.
        """
        both = [WHERE, (TOPIC, 1)]
        broker = self.leader(both)
        for where in both:
            append_to(broker.partition(where), batch(b"one"))
        flushed = broker.journal.flush()
        broker.run()
        self.successResultOf(flushed)
        asked: list[str] = []

        def note(operation: Operation) -> Verdict:
            if operation.kind == "get" and "/journal/" in operation.key:
                asked.append(operation.key)
            return Verdict.SUCCEED

        self.patch(suffix_cache, "MAX_BYTES", 0)  # as if slots were large
        successor = self.leader(both, policy=note)
        self.assertEqual(len(asked), 1)
        for where in both:
            self.assertEqual(self.read_all(successor, where), [b"one"])

    def test_small_slots_are_not_asked_for_again(self) -> None:
        """
        The end of a small slot, once read, contains all of it.
        """
        broker = self.leader()
        for value in (b"a", b"b", b"c"):
            broker.append(value)
            broker.run()
        asked: list[str] = []

        def note(operation: Operation) -> Verdict:
            if operation.kind.startswith("get") and "/journal/" in operation.key:
                asked.append(operation.key)
            return Verdict.SUCCEED

        successor = self.leader(policy=note)
        self.assertEqual(self.read_all(successor), [b"a", b"b", b"c"])
        slots = [broker.journal.key(number) for number in range(3)]
        self.assertEqual([asked.count(key) for key in slots], [1, 1, 1])
