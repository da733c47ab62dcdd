"""
docs/storage.md and kafscale/format say the same: if one of them changes alone,
a test here fails.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from struct import Struct
from uuid import UUID
from zlib import crc32

import attrs
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format import (
    bundle,
    metadata_keys,
    object_keys,
    producers,
    segment,
    slot,
    trailer,
    volume,
)
from kafscale.format.cluster import (
    read_claim,
    read_milestone,
    write_claim,
    write_milestone,
    write_probe_record,
)
from kafscale.format.epochs import Epochs
from kafscale.format.levels import LEVELS, highest_level
from kafscale.format.partition import Chapter, PartitionRecord
from kafscale.format.segment import write_footer
from kafscale.format.slot import Range, Seal, read_slot, write_seal
from kafscale.format.trailer import Kind, intact
from kafscale.format.transactional_id import TransactionalIdRecord
from kafscale.interfaces import Entry
from kafscale.wire.records import Record, build_batch, read_batch_header
from tests.format.entries import ACL, QUOTAS, SINGLE, WHOLE, reader_of, text_of

PAGE = (Path(__file__).parents[2] / "docs" / "storage.md").read_text("utf-8")

TOPIC = UUID("0828a36b-12d3-45d3-a145-2ad2cf97bb89")

TYPES = {
    "UINT8": "B",
    "INT16": "h",
    "UINT16": "H",
    "INT32": "i",
    "UINT32": "I",
    "INT64": "q",
    "UINT64": "Q",
    "8 bytes": "8s",
    "16 bytes": "16s",
}
"""What the page calls the types of `struct`."""

Table = list[list[str]]


def section(title: str) -> str:
    """
    What stands below a heading, up to the next one.
    """
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/storage.md has no heading {title!r}"
    return found[1]


def tables(title: str) -> list[Table]:
    """
    The cells of each table in a section, without the heads.
    """
    found: list[Table] = []
    before = ""
    for line in section(title).splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        before = line
    return [table[2:] for table in found]


def codes(cell: str) -> list[str]:
    """
    What a cell has in backquotes.
    """
    return re.findall(r"`([^`]+)`", cell)


def blocks(title: str) -> list[str]:
    """
    The blocks of JSON in a section.
    """
    return re.findall(r"```json\n(.*?)\n```", section(title), re.DOTALL)


class KeyTests(SynchronousTestCase):
    """
    The tables of keys.
    """

    def test_objects(self) -> None:
        """
        Each layout is what the function makes, and there is no other.
        """
        journal = object_keys.journal("n", 7, 15)
        partition = object_keys.partition("n", TOPIC, 2)
        made = [
            object_keys.slot(journal, 33),
            object_keys.slot(journal, 33),
            object_keys.slot(object_keys.bundles("n", 7, 15), 33),
            object_keys.segment(partition, 1234),
            object_keys.segment(partition, 1234, 5),
            object_keys.volume("n", 15, 3),
            object_keys.cluster("n"),
            object_keys.claim("n", "abc"),
            object_keys.milestone("n", 99),
            object_keys.probe("n", "x"),
            object_keys.probe_record("n", "abc", "server"),
        ]
        (table,) = tables("Object keys")
        written = []
        for row in table:
            (layout,) = codes(row[0])
            of = "15" if "volumes" in layout else "7/15"
            written.append(
                layout.format(
                    namespace="n",
                    spread=crc32(of.encode()) & 0xFF,
                    broker=7,
                    incarnation=15,
                    slot=33,
                    topic=TOPIC,
                    partition=2,
                    offset=1234,
                    epoch=5,
                    number=3,
                    cluster="abc",
                    revision=99,
                    name="x",
                    server=crc32(b"server"),
                )
            )
        self.assertEqual(written, made)
        kinds = {object_keys.kind_of(key) for key in made}
        self.assertEqual(
            kinds, {*object_keys.SWEPT, "cluster", "claims", "milestones", "probes"}
        )

    def test_metadata(self) -> None:
        """
        So it is with entries; their kinds are all that the module has.
        """
        group = "orders"
        shard = metadata_keys.shard_of(group)
        made = [
            metadata_keys.CLUSTER_ID,
            metadata_keys.STORE,
            metadata_keys.LAST_INCARNATION,
            metadata_keys.LOWEST_INCARNATION,
            metadata_keys.broker(7),
            metadata_keys.incarnation(15),
            metadata_keys.seal(15),
            metadata_keys.journal(15),
            metadata_keys.name("clicks"),
            metadata_keys.topic(TOPIC),
            metadata_keys.partition(TOPIC, 2),
            metadata_keys.tombstone(TOPIC),
            metadata_keys.group_shard(shard),
            metadata_keys.group(group),
            metadata_keys.offset(metadata_keys.offsets_of(group), (TOPIC, 2)),
            metadata_keys.transactional_id(group),
            metadata_keys.acl(ACL),
            metadata_keys.user("clicks"),
            metadata_keys.delegation_token(str(TOPIC)),
            metadata_keys.quota(QUOTAS.entity),
            metadata_keys.PRODUCER_IDS,
            metadata_keys.LOGIN_SECRET,
            metadata_keys.LEVELS,
            metadata_keys.MILESTONES,
        ]
        entries, others = tables("Metadata")
        names = {
            "broker": 7,
            "incarnation": 15,
            "name": "clicks",
            "topic": TOPIC,
            "partition": 2,
            "shard": shard,
            "group": group,
            "id": group,
            "acl": "892a196b616008c5a68e0309bc0a237d",
            "user": "clicks",
            "token": TOPIC,
            "entity": "9494bfb1df3cd7c3283f29e07d22ec45",
        }
        layouts = [codes(row[0])[0] for row in entries]
        self.assertEqual([layout.format(**names) for layout in layouts], made)
        self.assertLessEqual({codes(row[0])[0] for row in others}, set(layouts))
        kinds = {value for name, value in vars(metadata_keys).items() if name.isupper()}
        self.assertEqual(
            {key if not metadata_keys.kind_of(key) else metadata_keys.kind_of(key) for key in made}
            - {"cluster/"}
            | {metadata_keys.CLUSTER_ID},
            {each for each in kinds if isinstance(each, str)},
        )

    def test_shards(self) -> None:
        """
        How many shards of groups there are.
        """
        self.assertIn(f"modulo {metadata_keys.SHARDS}.", section("Metadata"))


class LayoutTests(SynchronousTestCase):
    """
    The tables of fields.
    """

    def rows(self, title: str, number: int = 0) -> list[tuple[str, list[str]]]:
        """
        Type and names of each field of a table.
        """
        return [(row[0], codes(row[1])) for row in tables(title)[number]]

    def check(
        self, rows: list[tuple[str, list[str]]], names: list[str], *structs: Struct
    ) -> None:
        """
        The fields have these names, and one after the other these layouts.
        """
        self.assertEqual([name for _, found in rows for name in found], names)
        layout = "".join(TYPES[kind] for kind, _ in rows)
        self.assertEqual(layout, "".join(each.format.removeprefix(">") for each in structs))
        for each in structs:
            self.assertTrue(each.format.startswith(">"))

    def test_trailer(self) -> None:
        """
        Fields, kinds, size and magic.
        """
        rows = self.rows("Trailer")
        self.check(
            rows, ["length", "kind", "version", "crc", "magic"], trailer.ABOUT, trailer.PROOF
        )
        (table,) = tables("Trailer")
        kinds = dict(each.split(" ")[::-1] for each in table[1][2].split(", "))
        self.assertEqual(kinds, {kind.name.lower(): str(kind.value) for kind in Kind})
        self.assertEqual(codes(table[4][2]), [trailer.MAGIC.decode()])
        self.assertIn(f"a trailer of {trailer.TRAILER_SIZE} bytes", section("Objects"))

    def test_slot(self) -> None:
        """
        The row of a partition.
        """
        names = [field.name for field in attrs.fields(Range)]
        names.remove("true_times")  # which is the level of the slot
        self.check(self.rows("Slots"), names, slot.ROW)
        self.assertIn(f"a row of {slot.ROW.size} bytes", section("Slots"))

    def test_bundle(self) -> None:
        """
        The fixed part, and what follows it.
        """
        *fixed, sizes = self.rows("Bundles")
        self.check(fixed, ["first"], bundle.FIRST)
        self.assertEqual(sizes, ("n UINT32", ["sizes"]))
        self.assertIn(f"up to {bundle.GROUP} slots", section("Bundles"))

    def test_segment(self) -> None:
        """
        The fixed part, and what follows it.
        """
        rows = self.rows("Segments")
        fields = [field.name.lstrip("_") for field in attrs.fields(segment.Footer)]
        fixed = fields[: fields.index("producers")]
        self.check(rows[:9], [*fixed, "n", "p", "j"], segment.FIXED)
        index = ["positions", "offsets", "timestamps"]
        self.assertEqual(
            rows[9:],
            [
                ("n UINT32", [index[0]]),
                ("n UINT32", [index[1]]),
                ("n INT64", [index[2]]),
                ("p bytes", ["producers"]),
                ("j bytes", ["epochs", "transactions", "written", "true_times"]),
            ],
        )
        self.assertLessEqual({*index, "producers", *rows[-1][1]}, set(fields))
        self.assertIn(f"of {segment.BLOCK_SIZE >> 10} KiB at least", section("Segments"))
        self.assertIn(f"up to {segment.RUN_SIZE >> 20} MiB", section("Segments"))

    def test_segment_json(self) -> None:
        """
        The end of the footer, byte for byte.
        """
        (text,) = blocks("Segments")
        batch = build_batch([Record(0, 1000, None, b"v")])
        about = json.loads(text)
        epochs = Epochs(about["epochs"])
        level = highest_level("segment")
        written = write_footer(
            [batch],
            epochs,
            b"",
            level=level,
            written=about["written"],
            true_times=about["true_times"],
        )
        self.assertTrue(written[: -trailer.TRAILER_SIZE].endswith(text.encode()))

    def test_producers(self) -> None:
        """
        The parts of the states.
        """
        state = [field.name for field in attrs.fields(producers.ProducerState)]
        title = "Producers' states"
        self.check(
            self.rows(title, 0), ["version", "count", "mark"], producers.HEAD, producers.MARK
        )
        self.check(self.rows(title, 1), state[:4], producers.PRODUCER)
        self.check(self.rows(title, 2), state[4:], producers.TRANSACTION)
        self.check(self.rows(title, 3), list(producers.ProducedBatch._fields), producers.BATCH)

    def test_volume(self) -> None:
        """
        The row of a chapter.
        """
        names = [field.name for field in attrs.fields(volume.VolumeRow)]
        self.check(self.rows("Volumes"), names, volume.ROW)
        self.assertIn(f"a row of {volume.ROW.size} bytes", section("Volumes"))

    def test_seal(self) -> None:
        """
        The footer, byte for byte, and its size.
        """
        (text,) = blocks("Seals")
        seal = write_seal(json.loads(text)["sealed_by"])
        self.assertEqual(seal[: -trailer.TRAILER_SIZE], text.encode())
        sizes = [int(size) for size in re.findall(r"of (\d+) to (\d+) bytes", section("Seals"))[0]]
        self.assertEqual(sizes, [len(write_seal(0)), len(write_seal(2**63 - 1))])

    def test_dump(self) -> None:
        """
        The slot that is shown is a slot, with what is said beside it.
        """
        lines = re.findall(r"^[0-9a-f]{8}: ((?:[0-9a-f]{2,4} ?)+) ", section("Slots"), re.MULTILINE)
        data = bytes.fromhex("".join(lines).replace(" ", ""))
        held = read_slot(data, len(data))
        assert not isinstance(held, int | Seal)
        (part,) = held
        self.assertEqual(
            (part.topic_id, part.index, part.leader_epoch, part.first_offset, part.last_offset),
            (TOPIC, 0, 0, 0, 1),
        )
        self.assertEqual((part.position, part.length), (0, 85))
        batch = data[: part.length]
        self.assertTrue(intact([batch], part.crc))
        header = read_batch_header(batch)
        self.assertEqual((header.base_offset, header.record_count), (0, 2))
        self.assertEqual(header.max_timestamp, part.max_timestamp)

    def test_small_objects(self) -> None:
        """
        The JSON of a claim, a milestone and a probe's record, byte for byte.
        """
        claim, milestone, probed = (text.encode() for text in blocks("Small objects"))
        self.assertEqual(write_claim(read_claim("k", claim)), claim)
        self.assertEqual(write_milestone(read_milestone("k", milestone)), milestone)
        self.assertEqual(write_probe_record("AmazonS3"), probed)


class RecordTests(SynchronousTestCase):
    """
    The examples of entries.
    """

    def test_examples(self) -> None:
        """
        Each is read, and written as it stands there. Every kind has one.
        """
        shown = set()
        for row in [row for table in tables("Metadata") for row in table]:
            (layout,), (text,) = codes(row[0]), codes(row[1])
            key = re.sub(r"\{[^}]*\}", "1", layout)
            entry = Entry(key, json.loads(text), 1)
            if key in SINGLE:
                again: object = SINGLE[key](entry)
            elif key == metadata_keys.LAST_INCARNATION:
                again = int(entry.value)
            else:
                again = reader_of(key)(entry).to_json()
            self.assertEqual(text_of(again), text, key)
            shown.add(key if key in WHOLE else metadata_keys.kind_of(key) or key)
        self.assertEqual(len(shown), 24)

    def test_every_field(self) -> None:
        """
        The examples have every field that a record can have.
        """
        fields: dict[str, set[str]] = {}
        for row in [row for table in tables("Metadata") for row in table]:
            value = json.loads(codes(row[1])[0])
            if isinstance(value, dict):
                fields.setdefault(codes(row[0])[0].split("/")[0], set()).update(value)
        self.assertEqual(
            {name: len(found) for name, found in fields.items()},
            {
                "brokers": 9,
                "incarnations": 5,
                "seals": 2,
                "names": 1,
                "topics": 7,
                "partitions": 12,
                "tombstones": 3,
                "users": 1,
                "delegation-tokens": 6,
                "group-shards": 3,
                "groups": 6,
                "offsets": 5,
                "transactional-ids": 11,
                "levels": 2,
                "store": 3,
                "journals": 1,
                "acls": 7,
                "quotas": 2,
            },
        )

    def test_partition(self) -> None:
        """
        The table of a partition's record has its fields, in their order.
        """
        (table,) = tables("A partition's record")
        chapter = Chapter(0, 1, 0, 0, 1)
        record = PartitionRecord(key_epochs=((0, 1),), chapters=(chapter,))
        self.assertEqual([codes(row[0])[0] for row in table], list(record.to_json()))


    def test_transactional_id(self) -> None:
        """
        So it is with that of a transactional id.
        """
        (table,) = tables("A transactional id's record")
        record = TransactionalIdRecord(
            1,
            0,
            1,
            previous=(1, 0),
            ending=(1, 1),
            partitions=frozenset({(TOPIC, 0)}),
            groups=frozenset({"g"}),
        )
        self.assertEqual([codes(row[0])[0] for row in table], list(record.to_json()))


class LevelTests(SynchronousTestCase):
    """
    The table of levels.
    """

    def test_formats(self) -> None:
        """
        Each format stands there, with the highest level that this version
        reads.
        """
        (table,) = tables("Levels")
        written = {name: int(row[1]) for row in table for name in codes(row[0])}
        self.assertEqual(written, {name: highest_level(name) for name in LEVELS})


class PageTests(SynchronousTestCase):
    """
    How this module reads the page.
    """

    def test_tables(self) -> None:
        """
        Every table of the page is read by one of these tests.
        """
        titles = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
        read = {title: len(tables(title)) for title in titles}
        self.assertEqual(
            {title: count for title, count in read.items() if count},
            {
                "Object keys": 1,
                "Trailer": 1,
                "Slots": 1,
                "Bundles": 1,
                "Segments": 1,
                "Producers' states": 4,
                "Volumes": 1,
                "Metadata": 2,
                "A partition's record": 1,
                "A transactional id's record": 1,
                "Levels": 1,
            },
        )
