"""
Clusters keep their promises, whatever goes wrong.

More of the same: C{python -m tests.simulation}.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.mutations import (
    ACCESS,
    ASLEEP,
    ASLEEP_MARKED,
    ASTRAY,
    BEGINNING,
    BUSY,
    CARELESS,
    DOUBTFUL,
    DYING,
    EMPTIED,
    FORGETFUL,
    GIVEN_UP,
    IN_RACKS,
    LATE,
    MISTAKEN,
    MUTATIONS,
    REJOINING,
    STARTING,
    UNHEARD,
)
from tests.simulation.world import history

SEEDS = range(1, 25)
MINUTES = 10.0

AT_LEAST = {
    "crash": 30,
    "power loss": 20,
    "stop": 20,
    "pause": 40,
    "pause past the lease": 20,
    "etcd cut": 30,
    "objects cut": 30,
    "clients cut": 20,
    "slow": 20,
    "lease lost": 15,
    "drift": 15,
    "storm": 30,
    "streams broken": 15,
    "compaction": 8,
    "another broker": 8,
    "etcd: answer lost": 15,
    "etcd: late": 15,
    "etcd: lost": 15,
    "etcd: slow": 15,
    "objects: answer lost": 15,
    "objects: late": 15,
    "objects: lost": 15,
    "objects: slow": 15,
    "objects: twice": 25,
    "records acknowledged": 20_000,
    "commits acknowledged": 1500,
    "records deleted, times": 60,
    "replicas assigned": 120,
    "producers that began anew": 100,
    "answers from a broker nearby": 150,
    "histories with a careless store": 1,
    "users and rights: changes": 600,
    "users and rights: a broker behind": 50,
    "users and rights: written": 400,
    "users and rights: refused": 700,
}
"""Of each that was meant to go wrong, and of what went well all the same."""

TRIES = 40
"""Seeds until a mutation must have been caught."""


class SimulationTests(SynchronousTestCase):
    """
    A few histories.
    """

    def test_promises(self) -> None:
        """
        Every acknowledged record is there once, in its order; records that were
        read stay; commits, generations, users and rights do not go back.
        """
        counts: Counter[str] = Counter()
        minutes = 0.0
        for seed in SEEDS:
            outcome = history(seed, MINUTES)
            self.assertIsNone(
                outcome.wrong, f"python -m tests.simulation --seed {seed} --each {MINUTES:g}"
            )
            counts += outcome.counts
            minutes += outcome.minutes
        print(f"\n{minutes:.0f} simulated minutes:")
        for what, number in sorted(counts.items()):
            print(f"{number:8} {what}")
        seldom = {what: counts[what] for what, least in AT_LEAST.items() if counts[what] < least}
        self.assertEqual(seldom, {})

    def test_replayed(self) -> None:
        """
        A seed has one history, also in another process, where nothing hashes
        as it does here.
        """
        outcome = history(3, 4.0)
        told = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "3", "--each", "4"],
            env={**os.environ, "PYTHONHASHSEED": "77"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn(outcome.digest, told.stdout)
        self.assertNotEqual(outcome.digest, history(4, 4.0).digest)


class MutationTests(SynchronousTestCase):
    """
    Brokers that break a rule of the log are found out.
    """

    def test_others_are_not(self) -> None:
        """
        Brokers that break none are right in the same histories.
        """
        plans = (
            CARELESS, IN_RACKS, BUSY, LATE, DYING, DOUBTFUL, UNHEARD, BEGINNING, ASTRAY, EMPTIED,
            ASLEEP, ASLEEP_MARKED, ACCESS, GIVEN_UP, FORGETFUL, REJOINING, MISTAKEN, STARTING,
        )  # fmt: skip
        for plan in plans:
            for seed in (1, 2):
                self.assertIsNone(history(seed, 5.0, plan).wrong, f"{seed} of {plan}")

    def test_each_is_caught(self) -> None:
        """
        Each of them, within some seeds.
        """
        caught: dict[str, int] = {}
        for mutation in MUTATIONS:
            with mutation.applied():
                for seed in range(1, TRIES + 1):
                    if history(seed, 5.0, mutation.plan).wrong is not None:
                        caught[mutation.name] = seed
                        break
        print("\nseeds until a mutation is caught:", caught)
        missed = [each for each in MUTATIONS if each.name not in caught]
        self.assertEqual([(each.name, each.says) for each in missed], [])
