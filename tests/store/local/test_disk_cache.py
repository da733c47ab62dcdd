"""
Tests for L{kafscale.store.local.disk_cache}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import NoSuchObject, SettingError
from kafscale.interfaces import IObjectReader, IObjectStore
from kafscale.store.blocking import RunBlocking, at_once
from kafscale.store.local import disk_cache
from kafscale.store.local.disk_cache import FILES, WRITES, DiskCache
from kafscale.store.memory import MemoryObjectStore
from tests.harness.coroutines import begin, now
from tests.store import contract

OBJECT = bytes(range(256)) * 8
END = 4


class CountingStore(MemoryObjectStore):
    """
    A store in memory.

    @ivar gets: The number of calls of L{get}.
    """

    gets = 0

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        self.gets += 1
        return await super().get(key, start, length)


class ContractTests(contract.ObjectReaderContract):
    """
    A disk cache keeps the contract.
    """

    async def make_reader(self, writer: IObjectStore) -> IObjectReader:
        """
        Make a cache in a new directory.
        """
        cache = DiskCache(self.mktemp(), 1 << 20, "bucket", writer, at_once, at_once)
        self.addCleanup(cache.close)
        return cache


class DiskCacheCase(SynchronousTestCase):
    """
    A cache of 1000 bytes, and a bucket with one object.
    """

    def setUp(self) -> None:
        """
        Begin with an empty cache.
        """
        self.folder = Path(self.mktemp())
        self.store = CountingStore()
        now(self.store.create("a", [OBJECT]))
        self.cache = self.make()

    def make(
        self,
        where: str = "bucket",
        max_bytes: int = 1000,
        write_blocking: RunBlocking = at_once,
    ) -> DiskCache:
        """
        Make a cache in the same directory.
        """
        cache = DiskCache(
            str(self.folder), max_bytes, where, self.store, at_once, write_blocking
        )
        self.addCleanup(cache.close)
        return cache

    def restart(
        self,
        where: str = "bucket",
        max_bytes: int = 1000,
        write_blocking: RunBlocking = at_once,
    ) -> None:
        """
        Close the cache, and open it again.
        """
        self.cache.close()
        self.cache = self.make(where, max_bytes, write_blocking)

    def read(self, start: int = 0, length: int = 100, asked: int = 0) -> None:
        """
        Read some bytes of the object through the cache, and assert that they
        are right.

        @param asked: How many requests to the bucket this takes.
        """
        before = self.store.gets
        self.assertEqual(now(self.cache.get("a", start, length)), OBJECT[start:][:length])
        self.assertEqual(self.store.gets - before, asked)

    def files(self) -> list[Path]:
        """
        The files of the cache.
        """
        return list((self.folder / FILES).iterdir())


class KeptTests(DiskCacheCase):
    """
    The parts that are kept.
    """

    def test_kept(self) -> None:
        """
        A part is read from the disk the second time, also after a restart.
        Another range of the object is another part.
        """
        self.read(asked=1)
        self.read()
        self.read(100, asked=1)
        self.read(0, 50, asked=1)
        self.assertEqual((self.cache.hits, self.cache.misses), (1, 3))
        self.assertEqual(self.cache.size, 250 + 3 * END)
        self.restart()
        self.assertEqual(self.cache.size, 250 + 3 * END)
        self.read()
        self.read(100)

    def test_used_longest_ago_goes(self) -> None:
        """
        The least recently used part is evicted, with its file.
        """
        for number in range(9):
            self.read(number * 100, asked=1)
        self.read()
        self.read(900, asked=1)
        self.assertEqual(len(self.files()), 9)
        self.assertLessEqual(self.cache.size, 1000)
        self.read()
        self.read(100, asked=1)

    def test_smaller_after_a_restart(self) -> None:
        """
        A limit that is lower than at the start before is kept at once.
        """
        for number in range(9):
            self.read(number * 100, asked=1)
        self.restart(max_bytes=300)
        self.assertLessEqual(sum(each.stat().st_size for each in self.files()), 300)

    def test_another_bucket(self) -> None:
        """
        The parts of another bucket are not used.
        """
        self.read(asked=1)
        self.restart("another")
        self.read(asked=1)

    def test_absent(self) -> None:
        """
        An object that does not exist is asked for each time.
        """
        for _ in range(2):
            self.failureResultOf(begin(self.cache.get("b", 0, 9)), NoSuchObject)
        self.assertEqual(self.files(), [])


class BrokenTests(DiskCacheCase):
    """
    Files that are damaged, and a disk that cannot be written.
    """

    def assert_not_used(self, content: bytes) -> None:
        """
        Assert that a part is read from the bucket, and its file replaced, if
        the file has this content.
        """
        self.read(asked=1)
        (file,) = self.files()
        file.write_bytes(content)
        self.patch(disk_cache, "WRITES", 0)
        self.read(asked=1)
        self.assertEqual(self.files(), [])
        self.patch(disk_cache, "WRITES", 8)
        self.read(asked=1)
        self.read()
        self.assertEqual(self.cache.size, 100 + END)

    def test_changed(self) -> None:
        """
        A file with other bytes is not used.
        """
        self.assert_not_used(bytes(104))

    def test_short(self) -> None:
        """
        A file that is too short is not used.
        """
        self.assert_not_used(OBJECT[:50])

    def test_empty(self) -> None:
        """
        An empty file is not used.
        """
        self.assert_not_used(b"")

    def test_long(self) -> None:
        """
        A file that is too long is not used.
        """
        self.read(asked=1)
        (file,) = self.files()
        file.write_bytes(file.read_bytes() + b"x")
        self.read(asked=1)
        self.read()

    def test_gone(self) -> None:
        """
        A file that was removed is read from the bucket, and written again.
        """
        self.read(asked=1)
        for each in self.files():
            each.unlink()
        self.read(asked=1)
        self.read()

    def test_left_unfinished(self) -> None:
        """
        An unfinished file that a crash left is removed at the next start.
        """
        (self.folder / FILES / "abc.new").write_bytes(b"x")
        self.restart()
        self.assertEqual(self.files(), [])
        self.assertEqual(self.cache.size, 0)

    def test_not_writable(self) -> None:
        """
        While files cannot be written reads go on, and it is logged once.
        """
        (self.folder / FILES).rmdir()
        (self.folder / FILES).write_bytes(b"not a directory")
        with capturedLogs() as events:
            for _ in range(3):
                self.read(asked=1)
        lines = [formatEvent(event) for event in events]
        self.assertEqual(len(lines), 1)
        self.assertIn("could not write to the disk cache", lines[0])
        (self.folder / FILES).unlink()
        (self.folder / FILES).mkdir()
        self.read(asked=1)
        self.read()

    def test_unusable(self) -> None:
        """
        A directory that another broker uses, or that is not one, is refused.
        """
        with self.assertRaisesRegex(SettingError, "is in use by another broker"):
            self.make()
        self.folder = self.folder / FILES / "file"
        self.folder.write_bytes(b"")
        with self.assertRaises(SettingError):
            self.make()


class SlowTests(DiskCacheCase):
    """
    A disk that is slower than the bucket.
    """

    def test_bounded(self) -> None:
        """
        Only a limited number of parts wait to be written. Others are not kept.
        """
        waiting: list[Deferred[None]] = []

        def slowly(*args: object, **named: object) -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.restart(write_blocking=slowly)  # type: ignore[arg-type]
        for number in range(WRITES + 3):
            self.read(number, asked=1)
        self.assertEqual(len(waiting), WRITES)
        self.read(0, asked=1)
        self.assertEqual(len(waiting), WRITES)
        for each in waiting:
            each.callback(None)
        self.assertEqual(self.cache.size, WRITES * (100 + END))
        self.assertEqual(os.listdir(self.folder / FILES), [])
