"""
Make the sets of the present level anew: C{python -m tests.format.golden}, and
the names of some of them, if not all are meant.
"""

from __future__ import annotations

import sys

from tests.format.golden import LEVEL, SETS, make, write


def main(names: list[str]) -> None:
    """
    Make these sets, or all.
    """
    for name in names or SETS:
        golden = make(name)
        write(name, golden)
        size = sum(map(len, golden.objects.values()))
        print(f"{LEVEL}/{name}: {len(golden.objects)} objects with {size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
