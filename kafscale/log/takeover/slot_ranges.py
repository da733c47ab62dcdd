"""
Reading the ranges of many partitions from the same slots.

A slot holds a little of each partition, so a successor that read one partition
after the other would read every slot again and again. Here each slot is read
once: ranges that are near one another come with one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import NoSuchObject
from kafscale.format.slot import Range
from kafscale.interfaces import IObjectReader
from kafscale.log.takeover.sealing import PARALLEL_READS

RangeData: TypeAlias = dict[tuple[str, int], bytes]
"""The bytes of ranges, by the key of the slot and the position in it."""

MAX_GAP_BYTES = 256 * 1024
"""Bytes between two ranges that are read along rather than skipped with a second
request."""

MAX_RUN_BYTES = 8 << 20
"""Bytes of one request, unless a single range is longer."""

MAX_BYTES = 64 << 20
"""Bytes that are requested at the same time."""


async def read_ranges(objects: IObjectReader, needed: Iterable[tuple[str, Range]]) -> RangeData:
    """
    Read ranges of slots.

    @param needed: Each range with the key of its slot.
    @return: Their bytes. Ranges of slots that do not exist are left out: reading
        one of them by itself raises the error.
    """
    slots: dict[str, list[Range]] = {}
    for key, each in needed:
        slots.setdefault(key, []).append(each)
    found: RangeData = {}

    async def read(piece: tuple[str, Sequence[Range]]) -> None:
        key, run = piece
        first = run[0]
        try:
            data = await objects.get(key, first.position, _size(run))
        except NoSuchObject:
            return
        for each in run:
            begin = each.position - first.position
            found[key, each.position] = data[begin : begin + each.length]

    runs = [(key, run) for key, ranges in slots.items() for run in _runs(ranges)]
    while runs:
        together, size = 0, 0
        while together < len(runs) and (size := size + _size(runs[together][1])) <= MAX_BYTES:
            together += 1
        now, runs = runs[: together or 1], runs[together or 1 :]
        await map_bounded(read, now, PARALLEL_READS)
    return found


def _size(run: Sequence[Range]) -> int:
    return run[-1].position + run[-1].length - run[0].position


def _runs(ranges: Iterable[Range]) -> Iterator[list[Range]]:
    """
    Divide the ranges of one slot into those that share a request.
    """
    run: list[Range] = []
    for each in sorted(ranges, key=lambda each: each.position):
        end = each.position + each.length
        if run and (
            each.position > run[-1].position + run[-1].length + MAX_GAP_BYTES
            or end > run[0].position + MAX_RUN_BYTES
        ):
            yield run
            run = []
        run.append(each)
    if run:
        yield run
