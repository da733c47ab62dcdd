"""
Whether partitions are as the rules of the log want them: the record in the
metadata, the chain of segments, and what follows it in journals.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from kafscale.errors import NoSuchObject
from kafscale.inspect.findings import Findings
from kafscale.inspect.journals import Tails
from kafscale.inspect.objects import check_segment, segment_footer
from kafscale.inspect.view import View, Where
from kafscale.interfaces import IObjectStore
from kafscale.log import keys
from kafscale.log.record import PartitionRecord
from kafscale.log.sealing import listing
from kafscale.log.trailer import CorruptObject


async def segments_of(
    objects: IObjectStore, prefix: str, found: Findings | None = None
) -> list[str]:
    """
    The keys of all segments that there are of a partition, in order.
    """
    segments = []
    async for info in listing(objects, prefix):
        if keys.is_segment(prefix, info.key):
            segments.append(info.key)
        elif found is not None:
            found.note(info.key, "not an object of Kafscale")
    return segments


async def check_partition(objects: IObjectStore, view: View, where: Where) -> Findings:
    """
    What is wrong with a partition's record and segments.
    """
    record = view.partitions[where]
    found = check_record(view, where, record)
    prefix = keys.partition(view.namespace, *where)
    segments = await segments_of(objects, prefix, found)
    bases = [keys.segment_base(key) for key in segments]
    chain = await _check_chain(objects, prefix, bases, record, found)
    for key, base in zip(segments, bases, strict=True):
        if record.first_segment is not None and base < record.first_segment:
            found.garbage(key, "before the first segment that is needed")
        elif base == record.rolled_to:
            adopted = key == keys.segment(prefix, base)
            found.note(
                key, f"not part of the log yet{': the next roll adopts it' if adopted else ''}"
            )
        elif base in chain and key != keys.segment(prefix, base, record.maker(base)):
            found.garbage(key, "made by a leader that was replaced")
        elif base not in chain:
            found.wrong(key, "in no chain: no segment ends where this one begins")
    return found


def check_record(view: View, where: Where, record: PartitionRecord) -> Findings:
    """
    Where a partition's record contradicts itself, or the other metadata.
    """
    found = Findings()
    key = keys.partition_record(*where)
    if record.log_start > record.rolled_to:
        found.wrong(
            key, f"the log starts at {record.log_start}, past rolled_to, {record.rolled_to}"
        )
    if (record.first_segment is None) != (record.last_segment is None) or (
        record.last_segment is None and record.rolled_to > 0
    ):
        found.wrong(
            key,
            f"rolled_to is {record.rolled_to}, with first segment {record.first_segment} and"
            f" last {record.last_segment}",
        )
    if record.first_segment is not None and record.first_segment > record.log_start:
        found.wrong(
            key,
            f"the log starts at {record.log_start}, before the first segment,"
            f" {record.first_segment}",
        )
    epochs = record.epochs
    if any(a[0] >= b[0] or a[1] >= b[1] for a, b in pairwise(epochs)):
        found.wrong(key, f"the history of leader epochs goes back: {list(epochs)}")
    for incarnation, epoch in record.journals:
        if incarnation not in view.incarnations:
            found.wrong(key, f"names the journal of incarnation {incarnation}, which is not known")
        if epoch > record.epoch:
            found.wrong(key, f"names leader epoch {epoch}, which is yet to come")
    topic_id, index = where
    topic = view.topics.get(topic_id)
    if topic_id in view.tombstones:
        found.note(key, f"of the deleted topic {view.tombstones[topic_id]}: going")
    elif topic is None:
        found.wrong(key, "of a topic that is not there")
    elif index >= topic[1]:
        found.wrong(key, f"the topic {topic[0]} has {topic[1]} partitions")
    return found


async def _check_chain(
    objects: IObjectStore,
    prefix: str,
    bases: Sequence[int],
    record: PartitionRecord,
    found: Findings,
) -> set[int]:
    """
    From the first segment to C{rolled_to}: each begins where the one before
    ends. The bases that the chain has.
    """
    chain: set[int] = set()
    if record.first_segment is None:
        return chain
    base = record.first_segment
    last = base
    stored = 0
    whole = True
    while base < record.rolled_to:
        chain.add(base)
        key = keys.segment(prefix, base, record.maker(base))
        try:
            footer, size = await segment_footer(objects, key)
            if footer.first_offset != base:
                raise CorruptObject(f"its footer says that it begins at {footer.first_offset}")
            if footer.end_offset <= base:
                raise CorruptObject(f"its footer says that it ends at {footer.end_offset}")
        except (CorruptObject, NoSuchObject) as error:
            missing = isinstance(error, NoSuchObject)
            found.wrong(
                key, f"missing: it has the records from offset {base} on" if missing else str(error)
            )
            whole = False
            at = bisect_right(bases, base)
            base = bases[at] if at < len(bases) else record.rolled_to
            continue
        found += await check_segment(objects, key, footer)
        last, stored, base = base, stored + size, footer.end_offset
        if base > record.rolled_to:
            found.wrong(key, f"ends at {base}, past rolled_to, {record.rolled_to}")
    if whole and record.last_segment != last:
        found.wrong(
            keys.segment(prefix, last, record.maker(last)),
            f"the last of the chain, but the record says {record.last_segment}",
        )
    if whole and stored != record.stored_bytes:
        found.wrong(
            prefix, f"the segments have {stored} bytes, the record says {record.stored_bytes}"
        )
    return chain


def check_tail(view: View, where: Where, tails: Tails) -> Findings:
    """
    Whether what journals hold goes on where the segments end.
    """
    found = Findings()
    start = view.partitions[where].rolled_to
    end, next_one = tails.after(where, start)
    if next_one is not None:
        found.wrong(
            keys.partition_record(*where),
            f"{view.name(where)} has no record at {end}: its journals go on at {next_one}",
        )
    return found
