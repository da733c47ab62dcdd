"""
Listing a namespace: C{kafscale-inspect list}.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.errors import NoSuchObject
from kafscale.format import object_keys
from kafscale.format.errors import UnreadableData
from kafscale.format.partition import TopicIdPartition
from kafscale.format.reading import ObjectReader, list_objects, segment_footer, volume_footer
from kafscale.format.slot import Range, Seal
from kafscale.inspect.findings import Report
from kafscale.inspect.journals import slots_of
from kafscale.inspect.partitions import segments_of
from kafscale.inspect.view import Journal, View
from kafscale.inspect.volumes import chapter_of, named_by
from kafscale.interfaces import IObjectReader


async def list_all(objects: IObjectReader, view: View, report: Report) -> bool:
    """
    List journals and their slots, partitions and their segments, and volumes.
    Only footers are read. Return whether all of them could be.
    """
    whole = True
    report(f"namespace {view.namespace}, cluster {view.cluster}")
    for name, level in view.levels.items():
        report(f"level {level} of the stored format {name} is in force")
    for _, journal in sorted(view.journals.items()):
        whole &= await _list_journal(objects, view, journal, report)
    for where in sorted(view.partitions, key=lambda each: (view.name((each[0], 0)), each[1])):
        whole &= await _list_partition(objects, view, where, report)
    return await _list_volumes(objects, view, report) and whole


async def _list_journal(
    objects: IObjectReader, view: View, journal: Journal, report: Report
) -> bool:
    whole = True
    end = "not sealed" if journal.sealed_at is None else f"sealed at {journal.sealed_at}"
    report(
        f"journal {view.slots(journal)}: incarnation {journal.number} of broker"
        f" {journal.record.broker}, trim mark {journal.record.trim}, {end}"
        f"{', wound up' if journal.record.wound_up else ''}"
    )
    async for key, _, size, held in slots_of(objects, view.slots(journal)):
        whole &= not isinstance(held, UnreadableData)
        report(f"  {key} {size} bytes, {_what(view, held)}")
    async for info in list_objects(objects, view.bundles(journal)):
        report(f"  {info.key} {info.size} bytes, a bundle of slots")
    return whole


def _what(view: View, held: Sequence[Range] | Seal | UnreadableData) -> str:
    if isinstance(held, UnreadableData):
        return f"damaged: {held.reason}"
    if isinstance(held, Seal):
        return f"seal by {held.sealer}"
    parts = (
        f"{view.name((part.topic_id, part.index))} {part.first_offset}-{part.last_offset}"
        f" epoch {part.leader_epoch}"
        for part in held
    )
    return f"slot: {', '.join(parts)}"


async def _list_partition(
    objects: IObjectReader, view: View, where: TopicIdPartition, report: Report
) -> bool:
    whole = True
    record = view.partitions[where]
    prefix = object_keys.partition(view.namespace, *where)
    journals = ", ".join(f"{number} (epoch {epoch})" for number, epoch in record.journals)
    report(
        f"partition {view.name(where)} {prefix}: leader {record.leader} epoch {record.epoch},"
        f" log start {record.log_start}, in segments up to {record.rolled_to}"
        f" ({record.stored_bytes} bytes), then in the journals of {journals or 'nobody'}"
    )
    for key in await segments_of(objects, prefix):
        whole &= await _list_segment(objects, key, key, "segment", report)
    for chapter in record.chapters:
        one = chapter_of(objects, view.namespace, chapter)
        name = f"{one.volume} at byte {one.position}:"
        whole &= await _list_segment(one, one.volume, name, "chapter", report)
    return whole


async def _list_segment(
    objects: ObjectReader, key: str, name: str, kind: str, report: Report
) -> bool:
    try:
        footer, size = await segment_footer(objects, key)
    except NoSuchObject:
        return True  # deleted just now
    except UnreadableData as error:
        report(f"  {name} damaged: {error.reason}")
        return False
    report(
        f"  {name} {size} bytes, {kind}: {footer.first_offset}-{footer.end_offset - 1},"
        f" {footer.batch_count} batches, largest timestamp {footer.max_timestamp}"
    )
    return True


async def _list_volumes(objects: IObjectReader, view: View, report: Report) -> bool:
    whole = True
    named = named_by(view)
    async for info in list_objects(
        objects, object_keys.prefix_of(view.namespace, object_keys.VOLUMES)
    ):
        volume = object_keys.parse_volume(view.namespace, info.key)
        if volume is None:
            continue
        try:
            rows = await volume_footer(objects, info.key)
        except NoSuchObject:
            continue  # deleted just now
        except UnreadableData as error:
            whole = False
            report(f"volume {info.key} damaged: {error.reason}")
            continue
        report(
            f"volume {info.key} {info.size} bytes, {len(rows)} chapters, of which records name"
            f" {len(named.get(volume, ()))}"
        )
    return whole
