"""
What it costs to walk over the records of a batch, without all else.

    python -m tests.bench.walker

For batches of 1 MiB, uncompressed: microseconds for a batch, by the compiled walker and
by its twin in Python, and how many times longer that takes; the least of many runs.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from kafscale.wire import plain_walker
from kafscale.wire._walker import Walker
from kafscale.wire.batches import HEADER_SIZE, Record, read_batch_header
from kafscale.wire.building import build_batch
from kafscale.wire.record_walk import NO_RULES

_MIB = 1024 * 1024
_NOW = 1_800_000_000_000
_OVERHEAD = 14  # of a record besides its value


def _least(make: Callable[..., Walker | plain_walker.Walker], size: int, runs: int) -> float:
    """
    Return the microseconds for a batch of records of C{size} bytes.
    """
    count = _MIB // size
    value = bytes(size - _OVERHEAD)
    batch = build_batch([Record(n, _NOW + n // 8, None, value) for n in range(count)])
    body, header = batch[HEADER_SIZE:], read_batch_header(batch)

    def walk() -> None:
        walker = make(header.record_count, header.base_timestamp, *NO_RULES)
        walker.feed(body)
        assert walker.finish()[:2] == (count, 0)

    return min(timeit.repeat(walk, number=1, repeat=runs)) * 1e6


def main() -> None:
    """
    Print a line for each size of records.
    """
    for size in (100, 1024):
        compiled = _least(Walker, size, 2000)
        twin = _least(plain_walker.Walker, size, 20)
        print(
            f"records of {size} B: {compiled:.0f} us/MiB ({compiled * size / _MIB * 1000:.1f} ns"
            f" a record); in Python {twin:.0f} us/MiB ({twin * size / _MIB:.1f} us a record),"
            f" {twin / compiled:.0f} times"
        )


if __name__ == "__main__":
    main()
