"""
Stored data of earlier versions: what is stored now for the same history is
the same, and what was stored then is opened, read and written to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from kafscale.wire.records import Record, build_batch
from tests.format import golden
from tests.format.golden import HINT, LEVELS, SETS, Golden, differences, make, read
from tests.format.today import EARLIEST, LATEST, Today

DIGEST = "from tests.format.test_golden import *; print(digest(make('bucket')))"


def digest(of: Golden) -> str:
    """
    The same for the same stored data.
    """
    summed = blake2b(digest_size=16)
    for part in (*sorted(of.objects.items()), of.metadata, of.expected, of.records):
        summed.update(repr(part).encode())
    return summed.hexdigest()


class ReplayTests(SynchronousTestCase):
    """
    What is stored has not changed.
    """

    def check(self, name: str) -> None:
        """
        The history stores now what it stored when the set was made.
        """
        found = list(differences(read(name), make(name)))
        self.assertEqual(found, [], f"{HINT} {name}\n" + "\n".join(found))

    def test_directory(self) -> None:
        """
        One broker on a directory: slots, seals and segments, all of the
        metadata.
        """
        self.check("directory")

    def test_bucket(self) -> None:
        """
        Brokers that share a bucket and an etcd: also volumes, bundles,
        milestones, and keys of segments with leader epochs.
        """
        self.check("bucket")

    def test_metadata_fencing(self) -> None:
        """
        Brokers whose bucket may replace: marks and no seals.
        """
        self.check("metadata-fencing")

    def test_all(self) -> None:
        """
        There is no set that is not looked at.
        """
        self.assertEqual(SETS, ("directory", "bucket", "metadata-fencing"))
        there = [path.name for path in (golden.ROOT / golden.LEVEL).iterdir()]
        self.assertEqual(sorted(there), sorted(SETS))

    def test_in_another_process(self) -> None:
        """
        A history is the same in every process, whatever its hashes are.
        """
        told = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": "77"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(told.stdout.strip(), digest(make("bucket")))


class DifferenceTests(SynchronousTestCase):
    """
    One byte that is not what it was is found, wherever it is.
    """

    def setUp(self) -> None:
        """
        A set.
        """
        self.golden = read("bucket")

    def test_none(self) -> None:
        """
        A set is like itself.
        """
        self.assertEqual(list(differences(self.golden, self.golden)), [])

    def test_objects(self) -> None:
        """
        The object is named, and where it differs.
        """
        for key, data in self.golden.objects.items():
            at = len(data) // 2
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            other = attrs.evolve(self.golden, objects={**self.golden.objects, key: changed})
            (found,) = differences(self.golden, other)
            self.assertTrue(found.startswith(f"object {key} differs from byte {at} on: "), found)

    def test_keys(self) -> None:
        """
        One that is missing, or was not there.
        """
        key = min(self.golden.objects)
        objects = {each: data for each, data in self.golden.objects.items() if each != key}
        fewer = attrs.evolve(self.golden, objects=objects)
        self.assertEqual(list(differences(self.golden, fewer)), [f"object {key} is missing"])
        self.assertEqual(list(differences(fewer, self.golden)), [f"object {key} was not there"])

    def test_metadata(self) -> None:
        """
        Values and revisions, those of registrations, too.
        """
        lines = self.golden.metadata
        for number, line in enumerate(lines):
            for old, new in (('"revision":', '"revision":1'), ("1}", "0}"), ("9092", "9093")):
                changed = line.replace(old, new)
                if changed != line:
                    metadata = [*lines[:number], changed, *lines[number + 1 :]]
                    other = attrs.evolve(self.golden, metadata=metadata)
                    self.assertEqual(len(list(differences(self.golden, other))), 1, changed)

    def test_registrations(self) -> None:
        """
        These go with the broker: a later version may tell more in them.
        """
        lines = [
            line.replace('"port"', '"more":1,"port"').replace('"0.1.0"', '"0.2.0"')
            for line in self.golden.metadata
        ]
        self.assertNotEqual(lines, self.golden.metadata)
        other = attrs.evolve(self.golden, metadata=lines)
        self.assertEqual(list(differences(self.golden, other)), [])

    def test_levels(self) -> None:
        """
        A later version may write higher levels, and more of them, where there is what
        needs them; a level that falls is found.
        """
        for level, text, found in (
            (2, '"segment":2,"slop":1', 0),
            (0, '"segment":0', 2),
            (0, '"other":2', 2),
        ):
            lines = [line.replace('"segment":1', text) for line in self.golden.metadata]
            other = attrs.evolve(self.golden, metadata=lines)
            self.assertEqual(len(list(differences(self.golden, other))), found, level)


class OpenTests(TestCase):
    """
    A broker of today on what was stored then.
    """

    timeout = 300

    async def check(self, name: str) -> None:
        """
        The set of every level.
        """
        for level in LEVELS:
            self.golden = read(name, level)
            await self.open()

    async def open(self) -> None:
        """
        Everything is found that clients knew, also after a restart; records
        are added; nothing is wrong, before or after.
        """
        today = self.today = Today(self.golden, Path(self.mktemp()))
        await today.unpack()
        self.addCleanup(lambda: Deferred.fromCoroutine(today.close()))
        self.assertEqual(await self.today.verify(), [])
        known = [json.loads(line) for line in self.golden.records]
        await self.today.start()
        await self.look(known)
        added = await self.add()
        await self.today.until_wound_up()
        await self.today.stop()
        self.assertEqual(await self.today.verify(), [])
        await self.today.start()
        await self.look(known, added)
        await self.today.stop()

    async def look(self, known: list[Any], added: Mapping[str, Any] | None = None) -> None:
        """
        Look at everything that clients can see.

        @param known: The records of then.
        @param added: One that was added to each partition.
        """
        expected = self.golden.expected
        self.assertEqual(await self.today.topics(), expected["topics"])
        for topic, held in expected["topics"].items():
            for index in range(held["partitions"]):
                name = f"{topic}-{index}"
                log = expected["logs"][name]
                records = [each for each in known if each[0] == name]
                if added is not None:
                    records.append(added[name])
                self.assertEqual(await self.today.records(topic, index), records)
                start = await self.today.offset(topic, index, EARLIEST)
                end = await self.today.offset(topic, index, LATEST)
                self.assertEqual(
                    (start, end), (log["log_start"], log["high_watermark"] + (added is not None))
                )
                await self.look_up(topic, index, records)
        for group, held in expected["groups"].items():
            members = [
                {key: each[key] for key in ("instance", "member_id", "assignment")}
                for each in held["members"]
            ]
            self.assertEqual(await self.today.group(group), {**held, "members": members})

    async def look_up(self, topic: str, index: int, records: list[Any]) -> None:
        """
        The first record of a time is found.
        """
        for when in {each[2] for each in records[:: max(1, len(records) // 3)]}:
            first = next(offset for _, offset, timestamp, *_ in records if timestamp >= when)
            self.assertEqual(await self.today.offset(topic, index, when), first)

    async def add(self) -> dict[str, Any]:
        """
        Send a batch of then to each partition again, which changes nothing,
        and add a record.
        """
        for each in self.golden.expected["producers"]:
            topic, _, index = each["partition"].rpartition("-")
            batch = b64decode(each["batch"])
            base = await self.today.produce(topic, int(index), batch)
            self.assertEqual(base, each["base_offset"], each)
        added = {}
        for name, log in self.golden.expected["logs"].items():
            topic, _, index = name.rpartition("-")
            now_ms = int(self.today.clock.seconds() * 1000)
            batch = build_batch([Record(0, now_ms, b"today", b"")])
            offset = await self.today.produce(topic, int(index), batch)
            self.assertEqual(offset, log["high_watermark"])
            (record,) = await self.today.records(topic, int(index), offset)
            self.assertEqual([record[1], *record[3:]], [offset, "today", "", []])
            added[name] = record
        return added

    async def test_directory(self) -> None:
        """
        A data directory.
        """
        await self.check("directory")

    async def test_bucket(self) -> None:
        """
        A bucket, on a server of S3.
        """
        await self.check("bucket")

    async def test_metadata_fencing(self) -> None:
        """
        A bucket that replaces, and a broker that is marked and not yet stopped.
        """
        await self.check("metadata-fencing")
