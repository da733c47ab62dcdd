"""
Stored data of earlier versions: what is stored now for the same history is
the same, and what was stored then is opened, read and written to.
"""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.format import golden
from tests.format.golden import HINT, SETS, differences, make, read

DIGEST = "from tests.format.test_golden import digest; print(digest('bucket'))"


def digest(name: str) -> str:
    """
    The same for the same stored data, when it is made now.
    """
    made = make(name)
    summed = blake2b(digest_size=16)
    for part in (*sorted(made.objects.items()), made.metadata, made.expected, made.records):
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
        self.assertEqual(told.stdout.strip(), digest("bucket"))


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
            for old, new in (('"revision":', '"revision":1'), ("1}", "2}"), ("9092", "9093")):
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
