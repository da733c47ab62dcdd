"""
The network between a broker and a store, which delays, loses and repeats
requests.

A L{Link} decides the fate of each L{Operation} that a broker asks of a store:
when it arrives, whether it does, when the answer arrives, and whether the
operation is done a second time much later. The broker's process gives up after
a while; an operation that it gave up may still be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import attrs

from kafscale.errors import ObjectExists
from tests.harness.hostile import Operation
from tests.simulation.schedule import ProcessClock, Schedule


@attrs.define
class Weather:
    """
    The probabilities that operations fail.

    @ivar writes: Of those that change something, from 0 to 1.
    @ivar reads: Of the others.
    @ivar late: The mean of seconds after which what came late comes.
    @ivar mistaken: The probability that a create is refused because the object exists,
        though it does not.
    @ivar delayed: Returns how many seconds longer than usual an operation takes to arrive.
    """

    writes: float = 0.0
    reads: float = 0.0
    late: float = 20.0
    mistaken: float = 0.0
    delayed: Callable[[Operation], float] | None = None


READS = frozenset(
    {"get", "get_suffix", "list", "/v3/kv/range", "/v3/lease/keepalive", "/v3/watch"}
)

FATES = ("lost", "answer lost", "late", "slow", "refused")
"""What may become of any operation; of creates, C{"twice"}, too."""


class Link:
    """
    The link from one process to one store.

    @ivar slowness: How much longer everything takes than usual.
    @ivar is_cut: Whether nothing gets through.
    """

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        process: ProcessClock,
        chance: Random,
        counts: Counter[str],
        weather: Weather,
        latency: float,
        patience: float,
        doomed: Callable[[Operation], float] | None = None,
    ) -> None:
        """
        @param counts: What went wrong, by kind.
        @param latency: Seconds that a message takes, on average.
        @param patience: Seconds after which the process gives up.
        @param doomed: See L{tests.simulation.plan.Plan}.
        """
        self._doomed = doomed
        self.name = name
        self.slowness = 1.0
        self.is_cut = False
        self._schedule = schedule
        self._process = process
        self._chance = chance
        self._counts = counts
        self._weather = weather
        self._latency = latency
        self._patience = patience
        self._held: list[tuple[Operation, float]] = []  # sent, or answered, while it is cut

    def one_way(self) -> float:
        """
        Return how long the next message takes, in seconds.
        """
        chance = self._chance.random()
        return self._latency * self.slowness * (0.5 + chance + (chance > 0.97) * 10 * chance)

    def deliver(self, function: Callable[..., Any], *arguments: Any) -> None:
        """
        Something that is no answer arrives at the process.
        """
        self._process.deliver(function, *arguments)

    # -- what becomes of operations -------------------------------------------

    def __call__(self, operation: Operation) -> None:
        """
        As the policy of a hostile store: it decides later.
        """
        if self._process.dead:
            return
        patience = self._patience
        if operation.kind.startswith("/v3/"):
            patience = operation.arguments[1]
        begun = self._process.seconds()
        if self.is_cut:
            self._count("cut off")
            self._give_up_after(operation, patience)
            self._held.append((operation, begun))
            return
        if self._is_special(operation, begun, patience):
            return
        weather = self._weather
        chance = self._chance.random()
        if chance < (weather.reads if operation.kind in READS else weather.writes):
            self._go_wrong(operation, begun, patience)
        else:
            self._pass(operation, begun, patience)

    def _is_special(self, operation: Operation, begun: float, patience: float) -> bool:
        """
        Whether the plan says what becomes of it.
        """
        weather, after = self._weather, self._schedule.after
        if self._doomed is not None and (silence := self._doomed(operation)):
            self._count("answer lost")
            self._give_up_after(operation, silence)
            after(self.one_way(), operation.apply)
        elif (
            weather.mistaken
            and operation.kind == "create"
            and self._chance.random() < weather.mistaken
        ):
            self._count("refused by mistake")
            after(2 * self.one_way(), self._process.deliver, self._refuse, operation)
        elif weather.delayed is not None and (more := weather.delayed(operation)):
            self._count("delayed")
            after(self.one_way() + more, self._arrived, operation, begun, patience)
        else:
            return False
        return True

    def _refuse(self, operation: Operation) -> None:
        if not operation.answer.called:
            operation.refuse(ObjectExists(operation.key))

    def _pass(self, operation: Operation, begun: float, patience: float) -> None:
        self._schedule.after(self.one_way(), self._arrived, operation, begun, patience)

    def _arrived(self, operation: Operation, begun: float, patience: float) -> None:
        operation.apply()
        if self.is_cut:
            self._give_up_after(operation, patience)
            self._held.append((operation, begun))
        else:
            self._answer(operation, begun, patience)

    def _answer(self, operation: Operation, begun: float, patience: float) -> None:
        self._schedule.after(
            self.one_way(), self._process.deliver, self._answered, operation, begun, patience
        )

    def _answered(self, operation: Operation, begun: float, patience: float) -> None:
        if operation.answer.called:
            return
        if self._process.seconds() - begun > patience:
            # Timers come first in a process that wakes up: it has given up.
            self._count("answered too late")
            operation.fail()
        else:
            operation.succeed()

    def _give_up_after(self, operation: Operation, seconds: float) -> None:
        self._process.callLater(seconds, self._give_up, operation)

    def _give_up(self, operation: Operation) -> None:
        if not operation.answer.called:
            operation.fail()

    # -- what goes wrong ------------------------------------------------------

    def _go_wrong(self, operation: Operation, begun: float, patience: float) -> None:
        fates = (*FATES, "twice", "twice") if operation.kind == "create" else FATES
        fate = self._chance.choice(fates)
        self._count(fate if operation.kind not in READS else "reads failed")
        after = self._schedule.after
        if fate == "refused":
            after(2 * self.one_way(), self._process.deliver, self._give_up, operation)
        elif fate == "slow":
            after(self._chance.uniform(0, patience), self._arrived, operation, begun, patience)
        elif fate == "twice":
            self._pass(operation, begun, patience)
            after(self._late(), operation.repeat)
        else:
            seconds = self._chance.choice((0.1, patience / 2, patience))
            self._give_up_after(operation, seconds)
            if fate == "answer lost":
                after(self.one_way(), operation.apply)
            elif fate == "late":
                after(self._late(), operation.apply)

    def _late(self) -> float:
        return self._chance.expovariate(1 / self._weather.late)

    def _count(self, what: str) -> None:
        self._counts[f"{self.name}: {what}"] += 1

    # -- the link as a whole --------------------------------------------------

    def cut(self) -> None:
        """
        Nothing gets through any more.
        """
        self.is_cut = True

    def heal(self) -> None:
        """
        Deliver the operations sent meanwhile, also some that were given up.
        """
        self.is_cut = False
        held, self._held = self._held, []
        for operation, begun in held:
            if operation.answer.called:
                if self._chance.random() < 0.3:
                    self._schedule.after(self.one_way(), operation.apply)
            elif operation.applied:
                self._answer(operation, begun, self._patience)
            else:
                self._pass(operation, begun, self._patience)
