"""
Reading what many partitions have in the same slots.

A slot holds a little of each, so a successor that asked for each partition by
itself would ask for every slot again and again. Here it is asked for once:
neighbours come with one request.
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
"""Ranges of slots, by the slot's key and their position in it."""

MAX_GAP_BYTES = 256 * 1024
"""So many bytes that nobody needs are read rather than asked around."""

MAX_RUN_BYTES = 8 << 20
"""Bytes that one request asks for, but for a range that is longer."""

MAX_BYTES = 64 << 20
"""Bytes that are asked for at the same time."""


async def read_ranges(objects: IObjectReader, needed: Iterable[tuple[str, Range]]) -> RangeData:
    """
    These ranges of slots. Those of slots that are not there are left out: who
    needs them asks again, and is told.
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
    Ranges of one slot that are worth one request.
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
