"""
Tests for L{kafscale.store.local}: objects as files.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import kafscale
from kafscale.errors import NoSuchObject, ObjectExists, SettingError, StoreUnavailable
from kafscale.interfaces import IObjectReader, IObjectStore, ObjectInfo
from kafscale.store.blocking import at_once
from kafscale.store.local import file_io
from kafscale.store.local.directory import lock_directory
from kafscale.store.local.files import LARGE, ObjectFiles
from kafscale.store.local.objects import LocalObjectReader, LocalObjectStore
from tests.harness.coroutines import begin, now
from tests.store import contract

_CHECKOUT = str(Path(kafscale.__file__).parent.parent)


class LocalContractTests(contract.ObjectStoreContract):
    """
    The local store keeps the contract, with direct I/O where the file system
    has it.
    """

    async def make_store(self) -> IObjectStore:
        """
        Make a store in a new directory.
        """
        return LocalObjectStore(self.mktemp(), at_once)


class BufferedContractTests(contract.ObjectStoreContract):
    """
    The local store keeps the contract without direct I/O.
    """

    async def make_store(self) -> IObjectStore:
        """
        Make a store in a new directory, as on a file system without direct I/O.
        """
        with mock.patch.object(file_io, "can_write_directly", lambda path: False):
            return LocalObjectStore(self.mktemp(), at_once)


class ReaderContractTests(contract.ObjectReaderContract):
    """
    The reader beside a local store keeps the contract.
    """

    async def make_writer(self) -> IObjectStore:
        """
        Make a store in a new directory.
        """
        self.directory = self.mktemp()
        return LocalObjectStore(self.directory, at_once)

    async def make_reader(self, writer: IObjectStore) -> IObjectReader:
        """
        Make a reader of the same directory.
        """
        return LocalObjectReader(self.directory)


class LocalListingTests(SynchronousTestCase):
    """
    Listings, compared with a model.
    """

    @settings(max_examples=40, deadline=None)
    @given(contract.keys, st.data())
    def test_listing(self, keys: list[str], data: st.DataObject) -> None:
        """
        Any listing of any set of files is that of a sorted list.
        """
        root = self.mktemp()
        store = ObjectFiles(root)
        for key in keys:
            path = Path(root, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        cuts = [key[:at] for key in keys for at in range(len(key) + 1)] or [""]
        for _ in range(3):
            prefix, after = data.draw(st.sampled_from(cuts)), data.draw(st.sampled_from(cuts))
            limit = data.draw(st.integers(0, 6))
            self.assertEqual(
                [info.key for info in store.list(prefix, after, limit)],
                contract.listed(keys, prefix, after, limit),
            )
        shutil.rmtree(root)

    def test_only_where_the_prefix_leads(self) -> None:
        """
        A listing reads only the directories that can hold such keys, and stops
        at its limit.
        """
        root = os.path.abspath(self.mktemp())
        store = ObjectFiles(root)
        for topic in "abc":
            for partition in "012":
                store.create(f"t/{topic}/{partition}/{0:020d}", [b"x"])
        for prefix, after, limit, directories in (
            ("t/b/1/", "", 1000, ["t/b/1"]),
            ("t/b/1/000", "", 1000, ["t/b/1"]),
            ("t/b/", "t/b/1/5", 1000, ["t/b", "t/b/1", "t/b/2"]),
            ("t/", "", 1, ["t", "t/a", "t/a/0"]),
        ):
            with mock.patch.object(os, "scandir", wraps=os.scandir) as scandir:
                store.list(prefix, after, limit)
            seen = [os.path.relpath(call.args[0], root) for call in scandir.mock_calls]
            self.assertEqual([path for path in seen if path != "."], directories)

    def test_strangers(self) -> None:
        """
        Files and directories that are not objects are not listed.
        """
        root = self.mktemp()
        store = ObjectFiles(root)
        store.create("a", [b"x"])
        Path(root, "lost+found").mkdir()
        Path(root, ".DS_Store").write_bytes(b"")
        Path(root, "link").symlink_to("a")
        os.mkfifo(Path(root, "fifo"))
        self.assertEqual(store.list("", "", 10), [ObjectInfo("a", 1)])


class LocalObjectReaderTests(SynchronousTestCase):
    """
    Reading beside a process that writes.
    """

    def setUp(self) -> None:
        """
        Make two objects, and a file that is being written.
        """
        self.root = Path(self.mktemp())
        store = LocalObjectStore(str(self.root), at_once)
        now(store.create("a/b/1", [b"one"]))
        now(store.create("a/c/2", [b"two"]))
        (self.root / ".tmp" / "9").write_bytes(b"half")
        self.reader = LocalObjectReader(str(self.root))


    def test_reads(self) -> None:
        """
        It reads objects as the store does.
        """
        self.assertEqual([each.key for each in now(self.reader.list(""))], ["a/b/1", "a/c/2"])
        self.assertEqual(now(self.reader.get("a/b/1", 1)), b"ne")
        self.assertEqual(now(self.reader.get_suffix("a/c/2", 2)), (b"wo", 3))
        self.failureResultOf(begin(self.reader.get("a/d")), NoSuchObject)

    def test_changes_nothing(self) -> None:
        """
        It leaves the file that is being written, and makes no directories.
        """
        self.assertEqual((self.root / ".tmp" / "9").read_bytes(), b"half")
        elsewhere = self.mktemp()
        self.assertEqual(now(LocalObjectReader(elsewhere).list("")), [])
        self.assertFalse(os.path.exists(elsewhere))


class DurabilityTests(SynchronousTestCase):
    """
    The order of the system calls that make an object durable.
    """

    def setUp(self) -> None:
        """
        Record which files are synced and linked.
        """
        self.root = os.path.abspath(self.mktemp())
        self.store = ObjectFiles(self.root)
        self.events: list[tuple[str, str]] = []
        fsync, link = os.fsync, os.link

        def name(path: str) -> str:
            path = os.path.relpath(path, self.root)
            return "temporary" if path.startswith(".tmp") else path

        def record_fsync(file: int) -> None:
            fsync(file)
            self.events.append(("sync", name(os.readlink(f"/proc/self/fd/{file}"))))

        def record_link(source: str, path: str) -> None:
            link(source, path)
            self.events.append(("link", name(path)))

        self.patch(os, "fsync", record_fsync)
        self.patch(os, "link", record_link)

    def test_create(self) -> None:
        """
        New directories are synced once, from the top down; the bytes before the
        link, and the link before the create returns.
        """
        for size in (1, LARGE):
            self.events.clear()
            self.store.create(f"a/{size}/1", [b"x" * size])
            above = [("sync", "."), ("sync", "a")] if size == 1 else [("sync", "a")]
            named = [("link", f"a/{size}/1"), ("sync", f"a/{size}")]
            self.assertCountEqual(self.events, [("sync", "temporary"), *above, *named])
            self.assertEqual(self.events[-2:], named)
            self.events.clear()
            self.store.create(f"a/{size}/2", [b"x" * size])
            self.assertEqual(
                self.events,
                [("sync", "temporary"), ("link", f"a/{size}/2"), ("sync", f"a/{size}")],
            )

    def test_names_are_synced_before_they_are_reported(self) -> None:
        """
        A process that died may have left a name that is not durable. Reading,
        listing and refusing a create sync it first.
        """

        def create(store: ObjectFiles) -> None:
            self.assertRaises(ObjectExists, store.create, "a/b/c", [b"x"])

        def read(store: ObjectFiles) -> None:
            store.read("a/b/c", 0, None)

        def suffix(store: ObjectFiles) -> None:
            store.read_suffix("a/b/c", 1)

        def listing(store: ObjectFiles) -> None:
            store.list("a/", "", 10)

        self.store.create("a/b/c", [b"x"])
        for report in (create, read, suffix, listing):
            store = ObjectFiles(self.root)
            self.events.clear()
            report(store)
            self.assertEqual(self.events, [("sync", "."), ("sync", "a"), ("sync", "a/b")])
            self.events.clear()
            report(store)
            self.assertEqual(self.events, [])

    def test_failed_sync_of_a_name(self) -> None:
        """
        If the name could not be synced the outcome is unknown. The next attempt
        syncs it before it raises ObjectExists.
        """
        self.store.create("a/1", [b"x"])

        def sync_no_directory(file: int) -> None:
            if stat.S_ISDIR(os.fstat(file).st_mode):
                raise OSError(errno.EIO, "bad")

        with mock.patch.object(os, "fsync", sync_no_directory):
            self.assertRaises(StoreUnavailable, self.store.create, "a/2", [b"x"])
            self.assertRaises(StoreUnavailable, self.store.create, "a/2", [b"x"])
            self.assertRaises(StoreUnavailable, self.store.read, "a/2", 0, None)
        self.events.clear()
        self.assertRaises(ObjectExists, self.store.create, "a/2", [b"x"])
        self.assertEqual(self.events, [("sync", "a")])

    def test_full_disk(self) -> None:
        """
        A write that fails leaves neither an object nor a temporary file, and
        can be repeated.
        """
        for size, function in ((10, "writev"), (LARGE, "pwrite")):
            for code in (errno.ENOSPC, errno.EIO):
                with mock.patch.object(os, function, side_effect=OSError(code, "refused")):
                    self.assertRaises(
                        StoreUnavailable, self.store.create, f"a/{size}", [b"x" * size]
                    )
                self.assertEqual(os.listdir(f"{self.root}/.tmp"), [])
                self.assertEqual(self.store.list("", "", 10), [])
            self.store.create(f"a/{size}", [b"x" * size])
            self.store.delete([f"a/{size}"])

    def test_short_writes(self) -> None:
        """
        A system call that writes only a part of the bytes is repeated for the
        rest.
        """
        writev, pwrite = os.writev, os.pwrite

        def short_writev(file: int, buffers: Any) -> int:
            return writev(file, [memoryview(b"".join(buffers))[:777]])

        def short_pwrite(file: int, data: Any, offset: int) -> int:
            return pwrite(file, data[: file_io.BLOCK * 3], offset)

        pieces = [bytes([number % 256]) * number for number in range(1, 800)]
        whole = b"".join(pieces)
        with (
            mock.patch.object(os, "writev", short_writev),
            mock.patch.object(os, "pwrite", short_pwrite),
        ):
            self.store.create("large", pieces)
            self.store.create("small", pieces[:100])
            self.store.create("holes", [b"", b"a", b"", b""])
        self.assertTrue(self.store.read("large", 0, None) == whole)
        self.assertTrue(self.store.read("small", 0, None) == b"".join(pieces[:100]))
        self.assertEqual(self.store.read("holes", 0, None), b"a")

    def test_more_pieces_than_the_system_takes(self) -> None:
        """
        An object may have more pieces than one system call takes.
        """
        self.store.create("a", [b"ab"] * 5000)
        self.assertEqual(self.store.read("a", 0, None), b"ab" * 5000)


class DirectoriesTests(SynchronousTestCase):
    """
    Directories of objects.
    """

    def setUp(self) -> None:
        """
        Begin with an empty store.
        """
        self.root = self.mktemp()
        self.store = ObjectFiles(self.root)

    def test_empty_directories_go(self) -> None:
        """
        A directory is removed with its last object, and so are those above it.
        """
        self.store.create("t/a/0/1", [b"x"])
        self.store.create("t/a/1/1", [b"x"])
        self.store.delete(["t/a/0/1"])
        self.assertEqual(os.listdir(f"{self.root}/t/a"), ["1"])
        self.store.delete(["t/a/1/1"])
        self.assertEqual(os.listdir(self.root), [".tmp"])
        self.store.create("t/a/0/1", [b"y"])
        self.assertEqual(self.store.read("t/a/0/1", 0, None), b"y")

    def test_left_empty_by_a_crash(self) -> None:
        """
        Deleting again removes an empty directory that a crash left.
        """
        os.makedirs(f"{self.root}/t/a/0")
        self.store.delete(["t/a/0/1"])
        self.assertEqual(os.listdir(self.root), [".tmp"])

    def test_removed_by_another_process(self) -> None:
        """
        A directory that another process removed is made again.
        """
        self.store.create("t/a/0/1", [b"x"])
        shutil.rmtree(f"{self.root}/t")
        self.store.create("t/a/0/2", [b"y"])
        self.assertEqual(self.store.list("", "", 10), [ObjectInfo("t/a/0/2", 1)])

    def test_key_and_directory(self) -> None:
        """
        A key that is the directory of another is refused, and nothing changes.
        """
        self.store.create("a/b", [b"x"])
        self.assertRaises(ValueError, self.store.create, "a", [b"y"])
        self.assertRaises(ValueError, self.store.create, "a/b/c", [b"y"])
        self.assertEqual(self.store.list("", "", 10), [ObjectInfo("a/b", 1)])
        self.assertEqual(os.listdir(f"{self.root}/.tmp"), [])

    def test_threads(self) -> None:
        """
        Several threads create and delete objects in directories that come and
        go: one create of a key succeeds, and every object that was created can
        be read.
        """
        wins: list[str] = []
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(30):
                    try:
                        self.store.create(f"race/{turn}/x", [b"%d" % number])
                        wins.append(f"race/{turn}/x")
                    except ObjectExists:
                        pass
                    own = f"own/{turn % 2}/{number}-{turn}"
                    self.store.create(own, [b"x" * 100])
                    self.store.read(own, 0, None)
                    self.store.list("own/", "", 10)
                    self.store.delete([own])
            except BaseException as error:  # noqa: BLE001 - shown by the test
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(sorted(wins), sorted(f"race/{turn}/x" for turn in range(30)))
        self.assertEqual(self.store.list("own/", "", 10), [])
        self.assertFalse(os.path.exists(f"{self.root}/own"))


class OpeningTests(SynchronousTestCase):
    """
    Opening a directory.
    """

    def test_leftovers(self) -> None:
        """
        Temporary files of a process that died are removed.
        """
        root = self.mktemp()
        ObjectFiles(root)
        Path(root, ".tmp", "17").write_bytes(b"half an object")
        ObjectFiles(root)
        self.assertEqual(os.listdir(f"{root}/.tmp"), [])

    def test_unusable(self) -> None:
        """
        A directory that cannot be used is a SettingError of one line.
        """
        path = self.mktemp()
        Path(path).write_bytes(b"a file")
        for wrong in (path, f"{path}/below", "/proc/kafscale"):
            error = self.assertRaises(SettingError, LocalObjectStore, wrong, at_once)
            self.assertIn(wrong, str(error))
            self.assertNotIn("\n", str(error))
            error = self.assertRaises(SettingError, lock_directory, wrong)
            self.assertIn(wrong, str(error))

    def test_no_direct_writes(self) -> None:
        """
        On a file system without direct I/O, objects are written through the
        page cache.
        """
        opened = os.open

        def refuse(path: str, flags: int, *more: Any, **named: Any) -> int:
            if flags & getattr(os, "O_DIRECT", 0):
                raise OSError(errno.EINVAL, "Invalid argument")
            return opened(path, flags, *more, **named)

        with mock.patch.object(os, "open", refuse):
            store = ObjectFiles(self.mktemp())
            self.assertFalse(store.writes_directly)
            store.create("a", [b"x" * LARGE])
        self.assertEqual(len(store.read("a", 0, None)), LARGE)

    def test_lock(self) -> None:
        """
        A second broker on a directory is refused, with the pid of the first.
        When that has ended, even by a crash, the directory can be used.
        """
        path = self.mktemp()
        with lock_directory(path):
            error = self.assertRaises(SettingError, lock_directory, path)
            self.assertEqual(
                str(error), f"{path} is in use by another broker (pid {os.getpid()})"
            )
        code = f"import os\nfrom kafscale.store.local.directory import lock_directory\n\
lock_directory({os.path.abspath(path)!r})\nos._exit(9)"
        ended = subprocess.run([sys.executable, "-c", code], cwd=_CHECKOUT, check=False)
        self.assertEqual(ended.returncode, 9)
        with lock_directory(path) as file:
            file.seek(0)
            self.assertEqual(file.read(), f"{os.getpid()}\n")


class ClosingTests(SynchronousTestCase):
    """
    Closing a store.
    """

    def test_waits_for_writes(self) -> None:
        """
        Closing waits for the work that threads have begun, and refuses new
        calls.
        """
        begun: list[tuple[Deferred[Any], Callable[[], Any]]] = []

        def later(function: Any, /, *args: Any, **kwargs: Any) -> Deferred[Any]:
            begun.append((Deferred(), lambda: function(*args, **kwargs)))
            return begun[-1][0]

        store = LocalObjectStore(self.mktemp(), later)
        created = begin(store.create("a", [b"x"]))
        closed = begin(store.close())
        self.assertNoResult(closed)
        self.failureResultOf(begin(store.get("a")), StoreUnavailable)
        answer, work = begun.pop()
        answer.callback(work())
        self.successResultOf(created)
        self.successResultOf(closed)
        self.assertEqual(begun, [])


def create_until_killed(root: str, point: int) -> None:
    """
    Create some objects, and print the key of each. The process ends at the
    C{point}th system call that changes the disk, before or in the middle of it.
    """
    left = point
    pwrite = os.pwrite

    def countdown(name: str) -> None:
        function = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                if name == "pwrite":
                    pwrite(args[0], args[1][: file_io.BLOCK], args[2])
                os._exit(9)
            return function(*args, **kwargs)

        setattr(os, name, call)

    store = ObjectFiles(root)
    for name in ("mkdir", "link", "unlink", "fsync", "pwrite", "writev", "ftruncate"):
        countdown(name)
    for key, pieces in OBJECTS.items():
        store.create(key, pieces)
        print(key, flush=True)
    store.delete(["t/b/small"])
    os._exit(0)


OBJECTS = {
    "t/a/small": [b"some", b"thing"],
    "t/a/large": [b"0123456789" * 300_000, b"!"],
    "t/b/small": [b"x"],
}


def kill_at_every_point(root: str) -> None:
    """
    Run L{create_until_killed} for every point, each in a directory of its own,
    and check what is there afterwards.
    """
    for point in range(1, 100):
        directory = f"{root}/{point}"
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(write, 1)
            create_until_killed(directory, point)
        os.close(write)
        with os.fdopen(read) as printed:
            acknowledged = printed.read().split()
        _, status = os.waitpid(child, 0)
        after = ObjectFiles(directory)
        found = {info.key: info.size for info in after.list("", "", 100)}
        finished = os.waitstatus_to_exitcode(status) == 0
        for key, pieces in OBJECTS.items():
            whole = b"".join(pieces)
            if key in found:
                assert after.read(key, 0, None) == whole, (point, key)
            else:
                deleted = key == "t/b/small" and len(acknowledged) == 3
                assert deleted or key not in acknowledged, (point, key)
                try:
                    after.read(key, 0, None)
                except NoSuchObject:
                    after.create(key, pieces)
        assert os.listdir(f"{directory}/.tmp") == [], point
        shutil.rmtree(directory)
        if finished:
            print("points", point)
            return
    raise AssertionError("the last point was not reached")


class KillTests(SynchronousTestCase):
    """
    A process that is killed.
    """

    def test_killed_at_every_point(self) -> None:
        """
        Whenever a process is killed, every object that was acknowledged is
        there and whole, none is there in part, and the others can be created.
        """
        root = os.path.abspath(self.mktemp())
        os.mkdir(root)
        code = f"from tests.store.local.test_objects import *\nkill_at_every_point({root!r})"
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=_CHECKOUT, capture_output=True, check=False
        )
        self.assertEqual((ended.stderr, ended.returncode), (b"", 0))
        self.assertGreater(int(ended.stdout.split()[-1]), 15)
