"""
Faults of brokers, stores and the network, at random times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

from kafscale.format import metadata_keys
from kafscale.store.memory import MemoryObjectStore
from tests.simulation.etcd import Done
from tests.simulation.process import NAMESPACE

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

SHARED = tuple(f"{NAMESPACE}/{each}" for each in (metadata_keys.ACLS, metadata_keys.USERS))
"""What the keys begin with of records that hold for the whole cluster."""

ANOTHER_STORE_SECONDS = 20.0
"""How long a broker runs with an object store that is not the cluster's, if it does."""


class Misfortunes:
    """
    Happens to a world.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = Random(f"{world.seed} misfortunes")
        self.running = True
        self._does: dict[str, Callable[[], bool]] = {
            "crash": lambda: self._crash(False),
            "power loss": lambda: self._crash(True),
            "stop": self._stop,
            "pause": self._pause_one,
            "etcd cut": lambda: self._cut("etcd"),
            "objects cut": lambda: self._cut("objects"),
            "clients cut": self._cut_clients,
            "slow": self._slow,
            "lease lost": self._end_lease,
            "drift": self._drift,
            "storm": self._storm,
            "streams broken": self._break_streams,
            "compaction": self._compact,
            "another broker": self._add,
            "another store": self._begin_with_another_store,
            "slots deleted": lambda: self._lose_slots(self._world.objects.lose),
            "slots damaged": lambda: self._lose_slots(self._world.objects.damage),
            "asleep": self._sleep,
            "watches cut": self._cut_watches,
            "lease lost at a start": self._begin_without_lease,
        }
        self._forgets = False
        world.etcd.seen.append(self._seen)

    async def run(self) -> None:
        """
        Until it is enough.
        """
        plan = self._world.plan
        names, weights = list(plan.weights), list(plan.weights.values())
        while self.running:
            await self._world.schedule.sleep(self._chance.expovariate(1 / plan.pause))
            if not self.running:
                return
            name = self._chance.choices(names, weights)[0]
            if self._does[name]():
                self._world.count(name)

    # -- to processes ---------------------------------------------------------

    def _one(self) -> Process | None:
        living = self._world.living()
        return self._chance.choice(living) if living else None

    def _while(self) -> float:
        """
        Return the length of a fault: mostly short, or about as long as a lease,
        or much longer.
        """
        return self._chance.choice(
            (
                self._chance.uniform(0.1, 3.0),
                self._chance.uniform(3.0, 10.0),
                self._chance.uniform(9.0, 25.0),
                self._chance.uniform(20.0, 90.0),
            )
        )

    def _later(self, seconds: float, function: Callable[[], object]) -> None:
        self._world.schedule.after(seconds, function)

    def _crash(self, silently: bool) -> bool:
        process = self._one()
        if process is None:
            return False
        process.crash(silently)
        self._later(self._while(), lambda: self._world.begin(process.broker_id))
        return True

    def _stop(self) -> bool:
        process = self._one()
        if process is None or process.leaving:
            return False
        process.stop()
        seconds = self._while()

        def follow() -> None:
            if not process.done:
                # As a supervisor that has waited for long enough.
                process.crash(False)
            if process.broker_id <= self._world.brokers or self._chance.random() < 0.3:
                self._world.begin(process.broker_id)

        self._later(20.0 + seconds, follow)
        return True

    def _pause_one(self) -> bool:
        process = self._one()
        if process is None or process.clock.paused:
            return False
        seconds = self._while()
        process.clock.pause()
        self._later(seconds, process.clock.go_on)
        if seconds > 10.0:
            self._world.count("pause past the lease")
        return True

    def _sleep(self) -> bool:
        """
        A broker starts again and falls asleep before it leads much, for so long
        that nothing is left of its incarnation.
        """
        process = self._one()
        if process is None:
            return False
        broker_id = process.broker_id
        process.crash(False)

        def start() -> None:
            self._world.begin(broker_id)
            started = self._world.running(broker_id)
            if started is not None:
                self._later(self._chance.uniform(0.0, 1.5), started.clock.pause)
                self._later(self._chance.uniform(25.0, 60.0), started.clock.go_on)

        self._later(self._chance.uniform(0.1, 3.0), start)
        return True

    def _begin_without_lease(self) -> bool:
        """
        A broker starts again, and the lease of its registration ends before it serves.
        """
        process = self._one()
        if process is None:
            return False
        broker_id = process.broker_id
        process.crash(False)

        def end() -> None:
            lease = self._world.etcd.lease_of(f"{NAMESPACE}/{metadata_keys.broker(broker_id)}")
            started = self._world.running(broker_id)
            if started is not None and started.listens:
                return
            if lease:
                self._world.etcd.end_lease(lease)
            self._later(self._chance.uniform(0.0, 0.5), end)

        def start() -> None:
            self._world.begin(broker_id)
            self._later(self._chance.uniform(0.0, 0.5), end)

        self._later(self._while(), start)
        return True

    def _drift(self) -> bool:
        process = self._one()
        if process is None:
            return False
        jump = self._chance.choice((0.0, 0.0, -5.0, 3.0, 60.0))
        process.clock.drift(self._chance.choice((0.7, 0.95, 1.0, 1.05, 1.5)), jump)
        return True

    def _add(self) -> bool:
        another = self._world.brokers + 1
        if self._world.running(another):
            return False
        self._world.begin(another)
        return True

    # -- to the network ---------------------------------------------------------

    def _cut(self, which: str) -> bool:
        process = self._one()
        link = None if process is None else process.link(which)
        if process is None or link is None or link.is_cut:
            return False
        link.cut()
        breaks = self._chance.random() < 0.5

        def heal() -> None:
            link.heal()
            if which == "etcd":
                if breaks:
                    process.etcd.break_streams()
                process.etcd.go_on()

        self._later(self._while(), heal)
        return True

    def _cut_clients(self) -> bool:
        process = self._one()
        if process is None:
            return False
        for client in self._world.clients:
            if self._chance.random() < 0.5:
                road = client.road(process.broker_id)
                if not road.is_cut:
                    road.is_cut = True
                    self._later(self._while(), road.heal)
        return True

    def _slow(self) -> bool:
        process = self._one()
        if process is None:
            return False
        link = process.link(self._chance.choice(("etcd", "objects")))
        link.slowness = self._chance.choice((10.0, 50.0, 200.0))
        roads = [client.road(process.broker_id) for client in self._world.clients]
        slow = [road for road in roads if self._chance.random() < 0.3]
        for road in slow:
            road.slowness = 100.0

        def end() -> None:
            link.slowness = 1.0
            for road in slow:
                road.slowness = 1.0

        self._later(self._while(), end)
        return True

    # -- to stores ------------------------------------------------------------

    def _end_lease(self) -> bool:
        leases = self._world.etcd.leases()
        if not leases:
            return False
        self._world.etcd.end_lease(self._chance.choice(leases))
        return True

    def _storm(self) -> bool:
        weather = self._world.weather[self._chance.choice(("etcd", "objects"))]
        before = weather.writes, weather.reads
        weather.writes, weather.reads = self._chance.choice(((0.3, 0.1), (0.6, 0.3), (0.95, 0.7)))

        def end() -> None:
            weather.writes, weather.reads = self._world.usual

        self._later(min(30.0, self._while()), end)
        return before == self._world.usual

    def _break_streams(self) -> bool:
        process = self._one()
        if process is None:
            return False
        process.etcd.break_streams()
        return True

    def _compact(self) -> bool:
        self._world.etcd.compact()
        return True

    def _cut_watches(self) -> bool:
        """
        A broker reaches etcd, but its watches end, and no other can be started for a while.
        Meanwhile etcd deletes an ACL or a user, and compacts that at once.
        """
        process = self._one()
        if process is None:
            return False
        process.etcd.refuse_streams()
        self._forgets = True
        self._later(self._while(), process.etcd.take_streams)
        return True

    def _seen(self, done: list[Done]) -> None:
        if self._forgets and any(
            each.after is None and each.key.startswith(SHARED) for each in done
        ):
            self._forgets = False
            self._world.etcd.compact()

    def _begin_with_another_store(self) -> bool:
        """
        A broker starts with an object store that is not the cluster's, and soon
        after with the right one again.
        """
        process = self._one()
        if process is None:
            return False
        broker_id = process.broker_id
        another = MemoryObjectStore()
        process.crash(False)

        def begin() -> None:
            self._world.begin(broker_id, another)
            self._later(ANOTHER_STORE_SECONDS, correct)

        def correct() -> None:
            running = self._world.running(broker_id)
            if running is not None and running.uses(another):
                running.crash(False)
                self._world.begin(broker_id)

        self._later(self._while(), begin)
        return True

    def _lose_slots(self, lose: Callable[[Sequence[str]], None]) -> bool:
        """
        Some of a journal's oldest slots are lost, and the broker, which has its
        records in memory, dies. The slots are restored later.

        @param lose: Deletes or damages objects.
        """
        process = self._one()
        slots = [] if process is None else self._world.acknowledged_slots(process)
        if process is None or process.leaving or not slots:
            return False
        lose(slots[: self._chance.randint(1, len(slots))])
        process.crash(False)
        self._later(self._while(), lambda: self._world.begin(process.broker_id))
        self._later(self._while(), self._world.objects.restore)
        return True
