"""
The disk alone: its throughput, to compare with a broker's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kafscale.store.local import file_io

FILE = 8 << 20
FILES = 64
AT_ONCE = 4
RUN = 1 << 20


def disk(folder: Path) -> str:
    """
    How fast files of 8 MiB are written and synced past the page cache, four at
    a time, and read again in pieces of 1 MiB that are in no cache; a sentence.
    """
    piece = os.urandom(FILE)
    staging = file_io.Staging()
    write = file_io.write_buffered
    if file_io.can_write_directly(str(folder / "direct")):
        write = lambda path, pieces: file_io.write_directly(path, pieces, staging)  # noqa: E731

    def read(path: str) -> None:
        file = os.open(path, os.O_RDONLY)
        for at in range(0, FILE, RUN):
            os.pread(file, RUN, at)
        os.close(file)

    def forget(path: str) -> None:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)

    paths = [str(folder / f"disk-{number}") for number in range(FILES)]
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def speed(do: Callable[[str], None]) -> float:
            began = time.perf_counter()
            list(pool.map(do, paths))
            return FILES * FILE / (time.perf_counter() - began) / 1e6

        written = speed(lambda path: write(path, [piece]))
        speed(forget)
        found = speed(read)
    for path in paths:
        os.unlink(path)
    return f"The disk alone: {written:.0f} MB/s written, {found:.0f} MB/s read"
