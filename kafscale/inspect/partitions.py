"""
Checking partitions against the rules of the log: the record in the metadata,
the chain of segments, of which the last may be chapters of volumes, and the
records after them in journals.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from kafscale.errors import NoSuchObject
from kafscale.format import metadata_keys, object_keys
from kafscale.format.errors import CorruptObject, UnreadableData
from kafscale.format.partition import PartitionRecord, TopicIdPartition
from kafscale.format.reading import ObjectReader, list_objects, segment_footer
from kafscale.inspect.findings import Findings
from kafscale.inspect.journals import Tails
from kafscale.inspect.objects import check_segment
from kafscale.inspect.view import View
from kafscale.inspect.volumes import chapter_of
from kafscale.interfaces import IObjectReader


async def segments_of(
    objects: IObjectReader, prefix: str, found: Findings | None = None
) -> list[str]:
    """
    Return the keys of all segments of a partition that are objects of their
    own, in order.

    @param prefix: The prefix of the keys of the partition's segments.
    @param found: Takes a note of each other object with this prefix.
    """
    segments = []
    async for info in list_objects(objects, prefix):
        if object_keys.is_segment(prefix, info.key):
            segments.append(info.key)
        elif found is not None:
            found.note(info.key, "not an object of Kafscale")
    return segments


async def check_partition(objects: IObjectReader, view: View, where: TopicIdPartition) -> Findings:
    """
    Check a partition's record and segments.
    """
    record = view.partitions[where]
    found = check_record(view, where, record)
    prefix = object_keys.partition(view.namespace, *where)
    segments = await segments_of(objects, prefix, found)
    chain = await _Chain(objects, view, where, segments, found).check()
    for key in segments:
        if key not in chain:
            _check_stray(prefix, key, record, found)
    return found


def _check_stray(prefix: str, key: str, record: PartitionRecord, found: Findings) -> None:
    """
    Add the finding about a segment that is not part of the chain.
    """
    base = object_keys.segment_base(key)
    named = record.key_epoch(base) >= 0 or record.chapters  # epochs stand in keys
    if record.first_segment is not None and base < record.first_segment:
        found.garbage(key, "before the first segment that is needed")
    elif base == record.next_base and not named and key == object_keys.segment(prefix, base):
        found.note(key, "not part of the log yet: the next roll adopts it")
    elif base == record.next_base and key == object_keys.segment(prefix, base, record.epoch):
        found.note(key, "not part of the log yet")
    elif (
        base == record.next_base
        or any(base == chapter.base for chapter in record.chapters)
        or (
            base < record.rolled_to
            and key != object_keys.segment(prefix, base, record.key_epoch(base))
        )
    ):
        found.garbage(key, "made by a leader that was replaced")
    else:
        found.wrong(key, "in no chain: no segment ends where this one begins")


def check_record(view: View, where: TopicIdPartition, record: PartitionRecord) -> Findings:
    """
    Check that a partition's record contradicts neither itself nor other
    metadata.
    """
    found = Findings()
    key = metadata_keys.partition(*where)
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
    _check_chapters(key, record, found)
    epochs = record.epochs
    if any(a[0] >= b[0] or a[1] >= b[1] for a, b in pairwise(epochs)):
        found.wrong(key, f"the history of leader epochs goes back: {list(epochs)}")
    for incarnation, epoch in record.journals:
        if incarnation not in view.journals:
            found.wrong(key, f"names the journal of incarnation {incarnation}, which is not known")
        if epoch > record.epoch:
            found.wrong(key, f"names leader epoch {epoch}, which is yet to come")
    topic_id, index = where
    topic = view.topics.get(topic_id)
    if topic_id in view.tombstones:
        found.note(key, f"of the deleted topic {view.tombstones[topic_id].name}: going")
    elif topic is None:
        found.wrong(key, "of a topic that is not there")
    elif index >= topic.partitions:
        found.wrong(key, f"the topic {topic.name} has {topic.partitions} partitions")
    return found


def _check_chapters(key: str, record: PartitionRecord, found: Findings) -> None:
    """
    Check that a record's chapters can be the last segments, one after another.
    """
    chapters = record.chapters
    if not chapters:
        return
    bases = [chapter.base for chapter in chapters]
    if any(a >= b for a, b in pairwise(bases)):
        found.wrong(key, f"its chapters are out of order: {bases}")
    least = record.first_segment or 0
    if not all(least <= base < record.rolled_to for base in bases):
        found.wrong(
            key, f"its chapters begin at {bases}, the segments are {least}-{record.rolled_to - 1}"
        )
    if bases[-1] != record.last_segment:
        found.wrong(
            key,
            f"its last segment is {record.last_segment}, but its last chapter {bases[-1]}",
        )
    places = sorted((each.incarnation, each.number, each.position, each.size) for each in chapters)
    for before, after in pairwise(places):
        if before[:2] == after[:2] and before[2] + before[3] > after[2]:
            found.wrong(
                key,
                f"its chapters overlap at byte {after[2]} of volume {after[1]} of incarnation"
                f" {after[0]}",
            )


class _Chain:
    """
    The segments that make up a partition's log.
    """

    def __init__(
        self,
        objects: IObjectReader,
        view: View,
        where: TopicIdPartition,
        segments: Sequence[str],
        found: Findings,
    ) -> None:
        """
        @param segments: The keys of the partition's segments, without chapters.
        @param found: Takes the findings.
        """
        self._objects = objects
        self._view = view
        self._where = where
        self._record = record = view.partitions[where]
        self._prefix = object_keys.partition(view.namespace, *where)
        self._chapters = {chapter.base: chapter for chapter in record.chapters}
        self._found = found
        expected = {
            base
            for key in segments
            if key
            == object_keys.segment(
                self._prefix, base := object_keys.segment_base(key), record.key_epoch(base)
            )
        }
        self._bases = sorted(expected | self._chapters.keys())

    async def check(self) -> set[str]:
        """
        Check that from the first segment to C{rolled_to} each segment begins
        where the one before ends. Return the keys of those that are objects of
        their own.
        """
        record, found = self._record, self._found
        chain: set[str] = set()
        if record.first_segment is None:
            return chain
        missed = set(self._chapters)
        base = last = record.first_segment
        stored = 0
        whole = True
        while base < record.rolled_to:
            missed.discard(base)
            objects, key = self._place(base)
            if base not in self._chapters:
                chain.add(key)
                if record.chapters and base > record.chapters[0].base:
                    found.wrong(key, "an object of its own, though a chapter comes before it")
            try:
                footer, size = await segment_footer(objects, key)
                if footer.first_offset != base:
                    raise CorruptObject(f"its footer says that it begins at {footer.first_offset}")
                if footer.end_offset <= base:
                    raise CorruptObject(f"its footer says that it ends at {footer.end_offset}")
            except (UnreadableData, NoSuchObject) as error:
                missing = f"missing: it has the records from offset {base} on"
                found.wrong(key, missing if isinstance(error, NoSuchObject) else error.reason)
                whole = False
                at = bisect_right(self._bases, base)
                base = self._bases[at] if at < len(self._bases) else record.rolled_to
                continue
            found += await check_segment(objects, key, footer)
            last, stored, base = base, stored + size, footer.end_offset
            if base > record.rolled_to:
                found.wrong(key, f"ends at {base}, past rolled_to, {record.rolled_to}")
        for base in sorted(missed):
            found.wrong(self._place(base)[1], "in no chain: no segment ends where this one begins")
        if whole:
            self._check_sum(last, stored)
        return chain

    def _place(self, base: int) -> tuple[ObjectReader, str]:
        """
        Return a reader of the segment that begins at C{base}, and its name in
        the report.
        """
        chapter = self._chapters.get(base)
        if chapter is None:
            key_epoch = self._record.key_epoch(base)
            return self._objects, object_keys.segment(self._prefix, base, key_epoch)
        one = chapter_of(self._objects, self._view.namespace, chapter)
        return one, f"{one.volume}, {self._view.name(self._where)} from {base}"

    def _check_sum(self, last: int, stored: int) -> None:
        """
        Check the record's last segment and stored bytes.

        @param last: The base offset of the last segment of the chain.
        @param stored: Size in bytes of all segments of the chain.
        """
        record = self._record
        if record.last_segment != last:
            self._found.wrong(
                self._place(last)[1],
                f"the last of the chain, but the record says {record.last_segment}",
            )
        if stored != record.stored_bytes:
            self._found.wrong(
                self._prefix,
                f"the segments have {stored} bytes, the record says {record.stored_bytes}",
            )


def check_tail(view: View, where: TopicIdPartition, tails: Tails) -> Findings:
    """
    Check that the records in journals continue where the segments end.
    """
    found = Findings()
    start = view.partitions[where].rolled_to
    end, next_one = tails.after(where, start)
    if next_one is not None:
        found.wrong(
            metadata_keys.partition(*where),
            f"{view.name(where)} has no record at {end}: its journals go on at {next_one}",
        )
    return found
