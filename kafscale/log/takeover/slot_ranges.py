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
from kafscale.log.takeover.sealing import PARALLEL

Parts: TypeAlias = dict[tuple[str, int], bytes]
"""Ranges of slots, by the slot's key and their position in it."""

GAP = 256 * 1024
"""So many bytes that nobody needs are read rather than asked around."""

AT_MOST = 8 << 20
"""Bytes that one request asks for, but for a range that is longer."""

UNDER_WAY = 64 << 20
"""Bytes that are asked for at the same time."""


async def read_parts(objects: IObjectReader, needed: Iterable[tuple[str, Range]]) -> Parts:
    """
    These ranges of slots. Those of slots that are not there are left out: who
    needs them asks again, and is told.
    """
    slots: dict[str, list[Range]] = {}
    for key, part in needed:
        slots.setdefault(key, []).append(part)
    found: Parts = {}

    async def read(piece: tuple[str, Sequence[Range]]) -> None:
        key, run = piece
        first = run[0]
        try:
            data = await objects.get(key, first.position, _size(run))
        except NoSuchObject:
            return
        for part in run:
            begin = part.position - first.position
            found[key, part.position] = data[begin : begin + part.length]

    runs = [(key, run) for key, parts in slots.items() for run in _runs(parts)]
    while runs:
        together, size = 0, 0
        while together < len(runs) and (size := size + _size(runs[together][1])) <= UNDER_WAY:
            together += 1
        now, runs = runs[: together or 1], runs[together or 1 :]
        await map_bounded(read, now, PARALLEL)
    return found


def _size(run: Sequence[Range]) -> int:
    return run[-1].position + run[-1].length - run[0].position


def _runs(parts: Iterable[Range]) -> Iterator[list[Range]]:
    """
    Ranges of one slot that are worth one request.
    """
    run: list[Range] = []
    for part in sorted(parts, key=lambda part: part.position):
        end = part.position + part.length
        if run and (
            part.position > run[-1].position + run[-1].length + GAP
            or end > run[0].position + AT_MOST
        ):
            yield run
            run = []
        run.append(part)
    if run:
        yield run
