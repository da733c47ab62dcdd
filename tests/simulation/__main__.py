"""
Runs histories: C{python -m tests.simulation --seed 7}.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from time import perf_counter

from tests.simulation.mutations import MUTATIONS
from tests.simulation.plan import USUAL
from tests.simulation.world import Outcome, history


def main() -> int:
    """
    Run the seeds that the command line asks for. The exit status is 1 if a
    check failed.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--minutes", type=float, default=100.0, help="so many minutes in all")
    parser.add_argument("--each", type=float, default=10.0, help="minutes of one seed")
    parser.add_argument("--processes", type=int, default=1, help="how many work on it")
    parser.add_argument("--mutation", help="with brokers that break this rule of the log")
    parser.add_argument("--notes", action="store_true", help="print what brokers logged")
    chosen = parser.parse_args()
    if chosen.seed is None:
        seeds = range(chosen.first, chosen.first + max(1, round(chosen.minutes / chosen.each)))
    else:
        seeds = range(chosen.seed, chosen.seed + 1)
    plan = USUAL
    with ExitStack() as stack:
        if chosen.mutation:
            (mutation,) = [each for each in MUTATIONS if each.name == chosen.mutation]
            stack.enter_context(mutation.applied())
            plan = mutation.plan
        run = partial(history, minutes=chosen.each, plan=plan)
        if chosen.processes == 1:
            return report(map(run, seeds), chosen)
        # Forked, so that they have the mutation, too.
        pool = ProcessPoolExecutor(chosen.processes, mp_context=get_context("fork"))
        return report(stack.enter_context(pool).map(run, seeds), chosen)


def report(outcomes: Iterable[Outcome], chosen: argparse.Namespace) -> int:
    """
    Tell of each, and of all; 1 if one was wrong.
    """
    total: Counter[str] = Counter()
    minutes = 0.0
    failed = 0
    begun = perf_counter()
    for outcome in outcomes:
        total += outcome.counts
        minutes += outcome.minutes
        verdict = "WRONG" if outcome.wrong else "right"
        print(
            f"seed {outcome.seed}: {verdict}, {outcome.minutes:.1f} minutes, {outcome.digest}",
            flush=True,
        )
        if outcome.wrong:
            failed += 1
            print(outcome.wrong)
            print(f"again: python -m tests.simulation --seed {outcome.seed} --each {chosen.each:g}")
        if chosen.notes:
            print("\n".join(outcome.notes))
    for what, number in sorted(total.items()):
        print(f"{number:8} {what}")
    seconds = perf_counter() - begun
    print(f"{minutes:.0f} minutes in {seconds:.0f} s, {failed} seeds wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
