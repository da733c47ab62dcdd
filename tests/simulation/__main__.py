"""
Runs histories: C{python -m tests.simulation --seed 7}.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import ExitStack
from time import process_time

from tests.simulation.mutations import MUTATIONS
from tests.simulation.world import history


def main() -> int:
    """
    Run what the command line asks for; the exit status is 1 if something was
    wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--seeds", type=int, help="so many seeds")
    parser.add_argument("--minutes", type=float, default=100.0, help="so many minutes in all")
    parser.add_argument("--notes", action="store_true", help="print what brokers logged")
    parser.add_argument("--each", type=float, default=10.0, help="minutes of one seed")
    parser.add_argument("--mutation", help="of brokers that break this rule of the log")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        if chosen.mutation:
            (mutation,) = [each for each in MUTATIONS if each.name == chosen.mutation]
            stack.enter_context(mutation.applied())
        return run(chosen)


def run(chosen: argparse.Namespace) -> int:
    """
    Run these histories.
    """
    first = chosen.seed if chosen.seed is not None else chosen.first
    several = chosen.seeds or max(1, round(chosen.minutes / chosen.each))
    seeds = range(first, first + (1 if chosen.seed is not None else several))
    total: Counter[str] = Counter()
    minutes = 0.0
    begun = process_time()
    failed = 0
    for seed in seeds:
        at = process_time()
        outcome = history(seed, chosen.each)
        total += outcome.counts
        minutes += outcome.minutes
        print(
            f"seed {seed}: {'WRONG' if outcome.wrong else 'right'}, {outcome.minutes:.1f} minutes"
            f" in {process_time() - at:.1f} s, {outcome.digest}",
            flush=True,
        )
        if outcome.wrong:
            failed += 1
            print(outcome.wrong)
            print(f"again: python -m tests.simulation --seed {seed} --each {chosen.each:g}")
        if chosen.notes:
            print("\n".join(outcome.notes))
    for what, number in sorted(total.items()):
        print(f"{number:8} {what}")
    print(f"{minutes:.0f} minutes in {process_time() - begun:.1f} s, {failed} seeds wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
