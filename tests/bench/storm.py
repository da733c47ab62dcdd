"""
The storm of the tests, for as long as one likes.

    python -m tests.bench.storm --minutes 10

A proxy before an S3 server (moto) lets every request meet any fate, the broker
is killed again and again meanwhile, and in the end each acknowledged record
must be there once, in order, at its offset. Ends with status 1 if not.
"""

from __future__ import annotations

import argparse
import sys

from twisted.trial.reporter import TestResult

from tests.clients.contract import StormContract


def main() -> None:
    """
    Run the storm, and print the outcome.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    StormContract.seconds = parser.parse_args().minutes * 60
    result = TestResult()
    StormContract("test_once_and_in_order").run(result)
    for _, failure in (*result.errors, *result.failures):
        print(failure)
    print(", ".join(f"{what}: {count}" for what, count in StormContract.seen.items()))
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
