"""
Printing the batches and records of an object: C{kafscale-inspect dump}.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafscale.errors import CorruptMessage, InvalidRecord, KafkaError
from kafscale.format import object_keys
from kafscale.format.bundle import read_bundle
from kafscale.format.errors import CorruptObject, UnreadableData
from kafscale.format.reading import segment_footer, slot_footer, volume_footer
from kafscale.format.slot import Range, Seal, read_slot
from kafscale.format.trailer import intact, proof
from kafscale.inspect.findings import Report
from kafscale.inspect.objects import batches_of
from kafscale.inspect.volumes import footer_of
from kafscale.interfaces import IObjectReader
from kafscale.wire.compression import Codec
from kafscale.wire.control_batches import read_marker
from kafscale.wire.records import BatchHeader, Record, read_records

INFLATED = 256 << 20
"""The most bytes of the records of one batch, uncompressed."""


async def dump(objects: IObjectReader, key: str, batches_only: bool, report: Report) -> bool:
    """
    Report each batch and each record. Return whether all could be read and have
    the checksums that they state.

    @param batches_only: Leave the records out.
    @raise NoSuchObject: there is no object with this key.
    """
    try:
        parts = await _parts(objects, key, report)
    except UnreadableData as error:
        report(f"wrong: {key}: {error.reason}")
        return False
    whole = True
    for title, start, stop in parts:
        if title:
            report(title)
        try:
            async for position, header, batch in batches_of(objects, key, start, stop):
                whole &= _dump_batch(position, header, batch, batches_only, report)
        except CorruptMessage as error:
            report(f"wrong: {key}: {error}")
            whole = False
    return whole


async def _parts(objects: IObjectReader, key: str, report: Report) -> list[tuple[str, int, int]]:
    """
    Report the kind of the object. Return the title, first byte and end of each
    part of it that consists of batches.
    """
    if key.endswith(".kfs"):
        footer, size = await segment_footer(objects, key)
        report(
            f"segment {key}: {size} bytes, offsets {footer.first_offset}-{footer.end_offset - 1},"
            f" {footer.batch_count} batches, leader epochs {footer.epochs.to_json()}"
        )
        for each in footer.transactions:
            report(
                f"  aborted: producer {each.producer_id} from offset {each.first_offset}, marker at"
                f" {each.marker_offset}"
            )
        return [("", 0, footer.data_size)]
    kind = object_keys.kind_of(key)
    if kind == object_keys.BUNDLES:
        return _bundled(key, await objects.get(key), report)
    if kind == object_keys.VOLUMES:
        return await _bound(objects, key, report)
    held = await slot_footer(objects, key)
    if held is None:
        await objects.get_suffix(key, 1)  # says so
        return []
    if isinstance(held, Seal):
        report(f"seal {key}: by incarnation {held.sealer}")
        return []
    report(f"slot {key}: {len(held)} partitions")
    return _parts_of(held)


def _bundled(key: str, data: bytes, report: Report) -> list[tuple[str, int, int]]:
    slots = list(read_bundle(data))
    report(f"bundle {key}: {len(slots)} slots")
    parts = []
    begin = 0
    for number, slot in slots:
        held = read_slot(slot, len(slot))
        if isinstance(held, int | Seal):
            raise CorruptObject(f"slot {number} of the bundle holds no records")
        parts += _parts_of(held, f"slot {number}, ", begin)
        begin += len(slot)
    return parts


async def _bound(objects: IObjectReader, key: str, report: Report) -> list[tuple[str, int, int]]:
    rows = await volume_footer(objects, key)
    report(f"volume {key}: {len(rows)} chapters")
    parts = []
    for row in rows:
        title = f"partition {row.topic_id}/{row.index}: "
        try:
            footer = await footer_of(objects, key, row)
        except UnreadableData as error:
            # The whole chapter: its footer is no batch, so it is reported as wrong.
            title += f"from offset {row.base}, damaged: {error.reason}"
            parts.append((title, row.position, row.position + row.size))
            continue
        title += f"offsets {footer.first_offset}-{footer.end_offset - 1}"
        parts.append((title, row.position, row.position + footer.data_size))
    return parts


def _parts_of(held: Sequence[Range], title: str = "", begin: int = 0) -> list[tuple[str, int, int]]:
    return [
        (
            f"{title}partition {part.topic_id}/{part.index}: offsets"
            f" {part.first_offset}-{part.last_offset}, leader epoch {part.leader_epoch}",
            begin + part.position,
            begin + part.position + part.length,
        )
        for part in held
    ]


def _dump_batch(
    position: int, header: BatchHeader, batch: bytes, batches_only: bool, report: Report
) -> bool:
    whole = intact([batch], proof([batch]))
    try:
        codec = Codec(header.codec).name.lower()
    except ValueError:
        codec = f"unknown ({header.codec})"
    rest = ""
    if header.producer_id >= 0:
        rest = (
            f", producer {header.producer_id} epoch {header.producer_epoch}"
            f" sequence {header.base_sequence}"
        )
    rest += ", transactional" if header.transactional else ""
    rest += _control(batch) if header.control else ""
    report(
        f"batch at {position}: {header.size} bytes, offsets {header.base_offset}-"
        f"{header.last_offset}, {header.record_count} records, codec {codec},"
        f" leader epoch {header.leader_epoch},"
        f" {'LogAppendTime' if header.log_append_time else 'CreateTime'} up to"
        f" {header.max_timestamp}{rest}"
    )
    if not whole:
        report("wrong: the batch does not have the checksum that it states")
    if batches_only:
        return whole
    try:
        for record in read_records(batch, INFLATED):
            report(_line(record))
    except (InvalidRecord, KafkaError) as error:
        report(f"wrong: its records cannot be read: {error}")
        whole = False
    return whole


def _control(batch: bytes) -> str:
    """
    Return what a control batch says.
    """
    try:
        marker = read_marker(batch)
    except KafkaError:
        marker = None
    if marker is None:
        return ", control"
    return f", {'commit' if marker.committed else 'abort'} of transaction {marker.number}"


def _line(record: Record) -> str:
    headers = "".join(
        f" header {name.decode(errors='backslashreplace')!r}={_text(value)}"
        for name, value in record.headers
    )
    return (
        f"  {record.offset} timestamp {record.timestamp} key {_text(record.key)}"
        f" value {_text(record.value)}{headers}"
    )


def _text(data: bytes | None) -> str:
    """
    Return bytes as printable characters; C{null} for None.
    """
    return "null" if data is None else repr(data)[1:]
