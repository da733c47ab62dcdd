"""
The block cache in any order of events.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import StoreUnavailable
from tests.log.reading.held_store import HeldStore, content, make


class CacheMachine(RuleBasedStateMachine):
    """
    Any order of reads, answers, failures, cancellations and drops.
    """

    KEYS = st.sampled_from("abc")
    STARTS = st.sampled_from([0, 10, 20])
    LENGTHS = st.sampled_from([10, 25])
    CHOICE = st.integers(0, 1_000)

    def __init__(self) -> None:
        super().__init__()
        self.store = HeldStore()
        self.cache = make(self.store, 60, ahead=2)
        self.waiting: list[Deferred[None]] = []

    @rule(key=KEYS, start=STARTS, length=LENGTHS)
    def get(self, key: str, start: int, length: int) -> None:
        """
        A reader gets the right bytes, or a failure of the store.
        """

        def right(run: bytes) -> None:
            assert run == content(key, start, start + length)

        done = Deferred.fromCoroutine(self.cache.get(key, start, start + length))
        ended = done.addCallback(right)
        ended.addErrback(lambda failure: failure.trap(StoreUnavailable, CancelledError))
        self.waiting.append(ended)

    @rule(key=KEYS, start=STARTS, length=LENGTHS)
    def prefetch(self, key: str, start: int, length: int) -> None:
        """
        A run is read ahead.
        """
        self.cache.prefetch(key, start, start + length)

    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        """
        An object is deleted.
        """
        self.cache.drop(key)

    @precondition(lambda self: self.store.asked)
    @rule(choice=CHOICE, well=st.booleans())
    def answer(self, choice: int, well: bool) -> None:
        """
        The store answers one of its reads.
        """
        asked = self.store.asked.pop(choice % len(self.store.asked))
        end: Callable[[], None] = asked.succeed
        if not well:
            end = lambda: asked.answer.errback(StoreUnavailable())  # noqa: E731
        end()

    @precondition(lambda self: self.waiting)
    @rule(choice=CHOICE)
    def give_up(self, choice: int) -> None:
        """
        A reader is cancelled.
        """
        self.waiting[choice % len(self.waiting)].cancel()

    @invariant()
    def bounded(self) -> None:
        """
        The cache never exceeds its size, and reads no run twice at a time.
        """
        assert 0 <= self.cache.size <= 60
        places = [asked.run_key for asked in self.store.asked]
        assert len(places) == len(set(places))

    def teardown(self) -> None:
        """
        When the store has answered everything, no reader waits.
        """
        while self.store.asked:
            self.answer(0, True)
        for done in self.waiting:
            assert done.called


class MachineTests(SynchronousTestCase):
    """
    Runs of the machine.
    """

    def test_any_order(self) -> None:
        """
        See L{CacheMachine}.
        """
        run_state_machine_as_test(
            CacheMachine,
            settings=settings(max_examples=40, stateful_step_count=25, deadline=None),
        )
