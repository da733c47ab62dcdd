"""
Checking volumes against the records of partitions, which decide what counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.errors import NoSuchObject
from kafscale.format import object_keys
from kafscale.format.errors import UnreadableData
from kafscale.format.partition import Chapter, TopicIdPartition
from kafscale.format.reading import ChapterReader, list_objects, segment_footer, volume_footer
from kafscale.format.segment import Footer
from kafscale.format.volume import VolumeRow
from kafscale.inspect.findings import Findings
from kafscale.inspect.view import View
from kafscale.interfaces import IObjectReader

Named = dict[tuple[int, int], list[tuple[TopicIdPartition, Chapter]]]
"""The chapters that records name, by the incarnation and number of volumes."""

UNNAMED = "a volume of which no record names a chapter"


def chapter_of(objects: IObjectReader, namespace: str, chapter: Chapter) -> ChapterReader:
    """
    Return a reader of a chapter that a record names.
    """
    volume = object_keys.volume(namespace, chapter.incarnation, chapter.number)
    return ChapterReader(objects, volume, chapter.position, chapter.size)


def named_by(view: View) -> Named:
    """
    Return the chapters that records name.
    """
    named: Named = {}
    for where, record in view.partitions.items():
        for chapter in record.chapters:
            named.setdefault((chapter.incarnation, chapter.number), []).append((where, chapter))
    return named


async def footer_of(objects: IObjectReader, key: str, row: VolumeRow) -> Footer:
    """
    Return the footer of the chapter with this row.

    @param key: The key of the volume.
    @raise UnreadableData: the chapter is no segment, or is damaged or newer.
    """
    footer, _ = await segment_footer(ChapterReader(objects, key, row.position, row.size), key)
    return footer


async def check_volumes(objects: IObjectReader, view: View) -> Findings:
    """
    Check the footers of volumes. The contents of chapters are checked with the
    partitions that name them.
    """
    found = Findings()
    named = named_by(view)
    async for info in list_objects(
        objects, object_keys.prefix_of(view.namespace, object_keys.VOLUMES)
    ):
        volume = object_keys.parse_volume(view.namespace, info.key)
        if volume is None:
            found.note(info.key, "not an object of Kafscale")
            continue
        chapters = named.get(volume, [])
        if not chapters:
            found.garbage(info.key, UNNAMED)
        try:
            rows = await volume_footer(objects, info.key)
        except NoSuchObject:
            continue  # deleted just now; the check of a partition that names it finds it missing
        except UnreadableData as error:
            if chapters:
                found.wrong(info.key, error.reason)
            else:
                found.note(info.key, f"not needed, and not whole: {error.reason}")
            continue
        for where, chapter in chapters:
            _check_row(view, info.key, rows, where, chapter, found)
    return found


def _check_row(
    view: View,
    key: str,
    rows: Sequence[VolumeRow],
    where: TopicIdPartition,
    chapter: Chapter,
    found: Findings,
) -> None:
    """
    Check that the volume has a row for a chapter that a record names.
    """
    wanted = VolumeRow(*where, chapter.base, chapter.position, chapter.size)
    if wanted in rows:
        return
    said = "nothing there"
    for row in rows:
        if row.position == chapter.position:
            name = view.name((row.topic_id, row.index))
            said = f"{name} from offset {row.base}, {row.size} bytes"
    found.wrong(
        key,
        f"the record of {view.name(where)} names its chapter at byte {chapter.position}:"
        f" from offset {chapter.base}, {chapter.size} bytes; the footer says {said}",
    )
