"""
C{kafscale-inspect} on the stores that a killed broker has left, intact or
damaged afterwards.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import confluent_kafka

from kafscale.config import Settings
from kafscale.inspect.opening import open_to_read
from kafscale.inspect.verify import Verification
from tests.clients.broker import ROOT, Broker, BrokerTestCase, environment, eventually
from tests.clients.raw import batch_of
from tests.harness.coroutines import now

TOPIC = "inspected"
QUIET = logging.Logger("quiet")


class InspectTests(BrokerTestCase):
    """
    The command, as an operator runs it.
    """

    def setUp(self) -> None:
        """
        No data yet.
        """
        super().setUp()
        self.data = self.folder / "broker-0" / "data"

    def inspect(self, *arguments: str, **settings: object) -> tuple[int, str]:
        """
        Return its exit status and its output.

        @param settings: Beside the data directory.
        """
        done = subprocess.run(
            [sys.executable, "-m", "kafscale.inspect", *arguments],
            cwd=ROOT,
            env=environment(data_dir=self.data, **settings),
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return done.returncode, done.stdout + done.stderr

    def leave(self) -> Broker:
        """
        A broker writes, is killed, is started again, writes on, is killed.
        """
        broker = self.broker(segment_bytes="1KiB", slots_in_flight=1)
        client = self.connect(broker)
        client.create(TOPIC, 2)
        self.write(broker, 40)
        broker.kill()
        broker.start()
        self.write(broker, 40)
        client = self.connect(broker)
        client.delete_records(TOPIC, 0, 12)
        eventually(lambda: len(self.files()) >= 4)
        broker.kill()
        return broker

    def write(self, broker: Broker, number: int) -> None:
        """
        Records one by one, to both partitions.
        """
        client = self.connect(broker)
        for each in range(number):
            found = client.produce(TOPIC, each % 2, batch_of([b"%d" % each * 60]))
            self.assertEqual(found.error_code, 0)

    def objects(self, kind: str) -> list[Path]:
        """
        The files of slots and seals, or those of segments.
        """
        folder = self.data / "objects" / "default" / kind
        return sorted(each for each in folder.rglob("*") if each.is_file())

    def slots(self) -> list[Path]:
        """
        The files of slots, without those of seals.
        """
        return [each for each in self.objects("journal") if each.stat().st_size > 100]

    def files(self) -> list[Path]:
        """
        The first partition's segments, published or not yet.
        """
        return [each for each in self.objects("topics") if each.parent.name == "0"]

    def segments(self) -> list[Path]:
        """
        The published ones of them, in order.
        """
        opened = open_to_read(Settings(data_dir=str(self.data)))
        view = now(opened.fresh())
        (record,) = (r for (_, index), r in view.partitions.items() if index == 0)
        return [each for each in self.files() if int(each.stem) < record.rolled_to]

    def print_of(self) -> dict[str, tuple[int, str]]:
        """
        Time and contents of every file.
        """
        return {
            str(each): (each.stat().st_mtime_ns, hashlib.sha256(each.read_bytes()).hexdigest())
            for each in self.data.rglob("*")
            if each.is_file()
        }

    def assert_found(self, change: Callable[[], object], *words: str) -> None:
        """
        Make a change to the data directory; C{kafscale-inspect} reports it as
        wrong, with these words. Then undo the change.
        """
        kept = self.folder / "kept"
        shutil.copytree(self.data, kept)
        change()
        lines: list[str] = []
        opened = open_to_read(Settings(data_dir=str(self.data)))
        whole = now(Verification(opened.objects, opened.fresh, lines.append).run())
        self.assertFalse(whole, lines)
        for word in words:
            found = any(word in line for line in lines if line.startswith("wrong: "))
            self.assertTrue(found, f"{word!r} is not in {lines}")
        shutil.rmtree(self.data)
        kept.rename(self.data)

    def test_after_a_kill(self) -> None:
        """
        All is well, whatever was under way; nothing is changed by looking;
        and every way of damage is found.
        """
        broker = self.leave()
        before = self.print_of()
        status, text = self.inspect("verify")
        self.assertEqual(status, 0, text)
        # The broker may have been killed before it deleted what it had trimmed.
        *garbage, last = text.splitlines()
        self.assertTrue(all(line.startswith("garbage: ") for line in garbage), text)
        self.assertTrue(last.startswith("ok: "), text)
        status, listed = self.inspect("list")
        self.assertEqual(status, 0)
        where = ("--data-dir", str(self.data), "--namespace", "default")
        self.assertEqual(self.inspect("list", *where), (0, listed))
        self.assertEqual(self.inspect(*where, "list"), (0, listed))
        self.assertEqual(self.inspect("verify", "--data-dir", "/nowhere")[0], 2)
        for each in [*self.objects("journal"), *self.objects("topics")]:
            self.assertIn(str(each.relative_to(self.data / "objects")), listed)
        self.assertEqual(self.print_of(), before)

        segments, slots = self.segments(), self.slots()
        self.assertGreaterEqual(len(segments), 3)
        self.assertGreaterEqual(len(slots), 2)
        seal = next(each for each in self.objects("journal") if each not in slots)
        self.assert_found(lambda: flip(segments[1], 30), segments[1].name, "damaged")
        self.assert_found(lambda: flip(segments[1], -30), segments[1].name, "CRC-32C")
        self.assert_found(lambda: cut(segments[1], 7), segments[1].name)
        self.assert_found(lambda: cut(segments[1], 100_000), segments[1].name)
        self.assert_found(segments[0].unlink, segments[0].name, "missing")
        self.assert_found(segments[1].unlink, segments[1].name, "missing")
        self.assert_found(segments[-1].unlink, segments[-1].name, "missing")
        self.assert_found(lambda: shutil.copy(segments[0], segments[1]), "begins at")
        self.assert_found(lambda: flip(slots[-1], 30), slots[-1].name, "damaged")
        self.assert_found(lambda: flip(slots[-1], -30), slots[-1].name, "CRC-32C")
        self.assert_found(lambda: cut(slots[-1], 1), slots[-1].name)
        self.assert_found(seal.unlink, seal.name, "the seal is missing")
        self.assert_found(lambda: shutil.copy(slots[0], seal), "this is no seal")
        self.assert_found(lambda: shutil.rmtree(self.data / "objects"), "missing")
        self.assert_found(lambda: self.alter(rolled_to=1000), "missing")
        self.assert_found(lambda: self.alter(log_start=1000), "past rolled_to")
        self.assertEqual(sorted(self.print_of()), sorted(before))
        # And the broker still goes on from it.
        broker.start()
        self.assertEqual(len(self.connect(broker).records(TOPIC, 1)), 40)
        broker.kill()
        flip(segments[-1], 30)
        status, text = self.inspect("verify")
        self.assertEqual(status, 1, text)
        self.assertIn(f"{segments[-1].name}: the batch at byte 0", text)
        spoil(self.data / "metadata.sqlite")
        status, text = self.inspect("verify")
        self.assertEqual(status, 1, text)
        self.assertTrue(text.startswith("wrong: "), text)
        self.assertIn(str(self.data / "metadata.sqlite"), text)

    def alter(self, **changes: int) -> None:
        """
        Change the record of the first partition by hand.
        """
        with closing(sqlite3.connect(self.data / "metadata.sqlite")) as metadata:
            ((key, value),) = metadata.execute(
                "SELECT key, value FROM entries WHERE key LIKE 'partitions/%/0000000000'"
            ).fetchall()
            altered = json.dumps({**json.loads(value), **changes})
            metadata.execute("UPDATE entries SET value = ? WHERE key = ?", (altered, key))
            metadata.commit()

    def test_a_slot_of_an_open_journal(self) -> None:
        """
        A slot that is missing in the journal of the last run is reported.
        """
        self.leave()
        slots = self.slots()
        slots[0].unlink()
        _, text = self.inspect("verify")
        self.assertIn(f"{slots[0].name}: missing", text)

    def test_while_the_broker_runs(self) -> None:
        """
        It takes no lock, delays no client, and does not report data as wrong
        that is only new or already deleted.
        """
        broker = self.broker(segment_bytes="1KiB")
        self.connect(broker).create(TOPIC, 2)
        stop = threading.Event()
        errors: list[BaseException] = []

        def write() -> None:
            try:
                while not stop.is_set():
                    self.write(broker, 20)
                    client = self.connect(broker)
                    client.delete_records(TOPIC, 0, client.offset(TOPIC) - 5)
            except BaseException as error:
                errors.append(error)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            for _ in range(4):
                status, text = self.inspect("verify")
                self.assertEqual(status, 0, text)
                self.assertIn(f"process {broker.pid} may run a broker", text)
        finally:
            stop.set()
            writer.join(30)
        self.assertEqual(errors, [])

    def test_dump(self) -> None:
        """
        Of a slot or a segment, by its key or its file; records as they were
        written, in every codec.
        """
        broker = self.broker()
        # The records are old, and must not go by their age meanwhile.
        self.connect(broker).create(TOPIC, 1, retention_ms="-1")
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            producer = confluent_kafka.Producer(
                {
                    "bootstrap.servers": broker.address,
                    "compression.type": codec,
                    "logger": QUIET,
                }
            )
            producer.produce(
                TOPIC, b"v" * 500, b"k", headers={"h": b"x", "n": None}, timestamp=1234567890123
            )
            self.assertEqual(producer.flush(30), 0)
        broker.terminate()
        text = ""
        for each in self.slots():
            status, said = self.inspect("dump", str(each))
            self.assertEqual(status, 0, said)
            key = str(each.relative_to(self.data / "objects"))
            self.assertEqual(self.inspect("dump", key), (0, said))
            text += said
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            self.assertIn(f"codec {codec}", text)
        line = f"timestamp 1234567890123 key 'k' value '{'v' * 500}' header 'h'='x' header 'n'=null"
        self.assertEqual(text.count(line), 5)
        broker.start()
        eventually(lambda: bool(self.files()))
        segment = self.files()[0]
        status, said = self.inspect("dump", str(segment))
        self.assertEqual((status, said.count(line)), (0, 5))
        status, said = self.inspect("dump", "--batches", str(segment))
        self.assertEqual((status, said.count(line), said.count("batch at")), (0, 0, 5))

    def test_what_is_left_over(self) -> None:
        """
        What came late is found, called garbage, and deleted by the broker
        that runs; seals stay, and so does every record.
        """
        broker = self.leave()
        seals = [each for each in self.objects("journal") if each not in self.slots()]
        late = max(seals).with_name(f"{70:020d}")
        shutil.copy(self.slots()[0], late)
        segment = self.segments()[0]
        stray = segment.parents[2] / "0828a36b-12d3-45d3-a145-2ad2cf97bb89" / "0" / segment.name
        stray.parent.mkdir(parents=True)
        shutil.copy(segment, stray)
        before_start = segment.with_name(f"{0:020d}.kfs")
        self.assertFalse(before_start.exists())
        shutil.copy(segment, before_start)
        status, text = self.inspect("verify")
        self.assertEqual(status, 0, text)
        for each in (late, stray.parent, before_start):
            key = str(each.relative_to(self.data / "objects"))
            self.assertIn(f"garbage: {key}", text)
        broker.settings["orphan_ms"] = 200
        broker.start()
        eventually(lambda: not any(each.exists() for each in (late, stray, before_start)))
        self.assertTrue(all(each.exists() for each in seals))
        self.assertEqual(len(self.connect(broker).records(TOPIC, 1)), 40)
        broker.kill()
        status, text = self.inspect("verify")
        self.assertEqual(status, 0, text)

    def test_nothing_to_look_at(self) -> None:
        """
        Exit status 2: no data, no such object, no such namespace, another store.
        """
        status, text = self.inspect("verify")
        self.assertEqual((status, text.count("\n")), (2, 1))
        self.assertIn("there is no metadata.sqlite", text)
        self.leave()
        for name in ("default/journal/00/0/1/0", "../lock", "nothing"):
            status, text = self.inspect("dump", name)
            self.assertEqual((status, text.count("\n")), (2, 1), text)
        self.assertEqual(self.inspect("--namespace", "/", "verify")[0], 2)
        for verb in ("verify", "list"):
            status, text = self.inspect(verb, "--namespace", "other")
            self.assertEqual(status, 2, text)
            self.assertEqual(
                text.splitlines()[-1],
                "kafscale-inspect: there is no namespace 'other': the metadata are of 'default'",
            )
            status, text = self.inspect(verb, s3_bucket="other", s3_endpoint="http://127.0.0.1:1")
            self.assertEqual(status, 2, text)
            self.assertEqual(
                text.splitlines()[-1],
                "kafscale-inspect: the metadata belong to another object store: unset"
                " KAFSCALE_S3_BUCKET",
            )
        self.assertEqual(self.inspect("undo")[0], 2)


def flip(path: Path, at: int) -> None:
    """
    Change one bit.
    """
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path, size: int) -> None:
    """
    Remove so many bytes from the end.
    """
    path.write_bytes(path.read_bytes()[:-size] if size < path.stat().st_size else b"")


def spoil(path: Path) -> None:
    """
    Overwrite a database, and forget its log.
    """
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    path.write_bytes(path.read_bytes()[:100] + b"\xee" * 20_000)
