"""
The largest timestamps of batches of which the headers are not believed.

Before level 1 of slots and segments a batch was stored with the largest timestamp
that its producer stated.
"""

from __future__ import annotations

from kafscale.errors import InvalidRecord
from kafscale.interfaces import MAX_INFLATED
from kafscale.wire.record_walk import NO_RULES, walk_steps
from kafscale.wire.records import BatchHeader, iterate
from kafscale.wire.steps import Steps


def largest_timestamp(batch: bytes | memoryview, header: BatchHeader) -> Steps[int]:
    """
    Find the largest timestamp of a batch's records, in ms; -1 if none has one. If the
    records cannot be read, it is what the header states.
    """
    if header.log_append_time:
        return header.max_timestamp  # that of all records, whatever they say themselves
    try:
        found = yield from walk_steps(batch, header, NO_RULES, MAX_INFLATED)
        found.check_readable()
    except InvalidRecord:
        return header.max_timestamp
    return found.max_timestamp


def largest_timestamps(run: bytes) -> Steps[list[tuple[int, int]]]:
    """
    Find the largest timestamp of each batch of a run.

    @return: The position of each batch in the run, and its largest timestamp.
    """
    found = []
    view = memoryview(run)
    for position, header in iterate(run):
        batch = view[position : position + header.size]
        found.append((position, (yield from largest_timestamp(batch, header))))
        yield None
    return found
