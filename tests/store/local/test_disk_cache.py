"""
The disk cache of what was read from a bucket.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import NoSuchObject, SettingError
from kafscale.store.blocking import at_once
from kafscale.store.local import disk_cache
from kafscale.store.local.disk_cache import FILES, WRITES, DiskCache
from kafscale.store.memory import MemoryObjectStore

OBJECT = bytes(range(256)) * 8
END = 4


class Counting(MemoryObjectStore):
    """
    Counts what it is asked for.
    """

    gets = 0

    async def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """
        See L{IObjectStore.get}.
        """
        self.gets += 1
        return await super().get(key, start, length)


class DiskCacheCase(SynchronousTestCase):
    """
    A cache of 1000 bytes, and a bucket with one object.
    """

    def setUp(self) -> None:
        """
        What each test begins with.
        """
        self.folder = Path(self.mktemp())
        self.store = Counting()
        self.now(self.store.create("a", [OBJECT]))
        self.cache = self.make()

    def make(self, where: str = "bucket", max_bytes: int = 1000) -> DiskCache:
        """
        A cache in the same directory.
        """
        cache = DiskCache(str(self.folder), max_bytes, where, self.store, at_once, at_once)
        self.addCleanup(cache.close)
        return cache

    def again(self, where: str = "bucket", max_bytes: int = 1000) -> None:
        """
        The broker starts once more.
        """
        self.cache.close()
        self.cache = self.make(where, max_bytes)

    def now(self, coroutine: object) -> object:
        """
        What a coroutine that waits for nothing returns.
        """
        return self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]

    def read(self, start: int = 0, length: int = 100, asked: int = 0) -> None:
        """
        Read, right; the bucket is asked that often.
        """
        before = self.store.gets
        self.assertEqual(self.now(self.cache.get("a", start, length)), OBJECT[start:][:length])
        self.assertEqual(self.store.gets - before, asked)

    def files(self) -> list[Path]:
        """
        What is on the disk.
        """
        return list((self.folder / FILES).iterdir())


class KeptTests(DiskCacheCase):
    """
    What is kept, and how long.
    """

    def test_kept(self) -> None:
        """
        The second time comes from the disk, also after a restart; other parts
        are other parts.
        """
        self.read(asked=1)
        self.read()
        self.read(100, asked=1)
        self.read(0, 50, asked=1)
        self.assertEqual((self.cache.hits, self.cache.misses), (1, 3))
        self.assertEqual(self.cache.size, 250 + 3 * END)
        self.again()
        self.assertEqual(self.cache.size, 250 + 3 * END)
        self.read()
        self.read(100)

    def test_used_longest_ago_goes(self) -> None:
        """
        What there is no room for goes, and its file, too.
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
        A limit that is lower than before holds at once.
        """
        for number in range(9):
            self.read(number * 100, asked=1)
        self.again(max_bytes=300)
        self.assertLessEqual(sum(each.stat().st_size for each in self.files()), 300)

    def test_another_bucket(self) -> None:
        """
        What is of another bucket is not taken for this one's.
        """
        self.read(asked=1)
        self.again("another")
        self.read(asked=1)

    def test_absent(self) -> None:
        """
        What the bucket does not have is not kept, and asked for again.
        """
        for _ in range(2):
            failure = self.failureResultOf(Deferred.fromCoroutine(self.cache.get("b", 0, 9)))
            failure.trap(NoSuchObject)
        self.assertEqual(self.files(), [])


class BrokenTests(DiskCacheCase):
    """
    A disk that is not as it should be.
    """

    def assert_not_believed(self, content: bytes) -> None:
        """
        Such a file is read from the bucket, and replaced.
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
        Other bytes are not believed.
        """
        self.assert_not_believed(bytes(104))

    def test_short(self) -> None:
        """
        Nor fewer.
        """
        self.assert_not_believed(OBJECT[:50])

    def test_empty(self) -> None:
        """
        Nor none at all.
        """
        self.assert_not_believed(b"")

    def test_long(self) -> None:
        """
        Nor more.
        """
        self.read(asked=1)
        (file,) = self.files()
        self.assert_not_believed_again(file.read_bytes() + b"x")

    def assert_not_believed_again(self, content: bytes) -> None:
        """
        The same of a file that is there.
        """
        (file,) = self.files()
        file.write_bytes(content)
        self.read(asked=1)
        self.read()

    def test_gone(self) -> None:
        """
        Who empties the directory only has it filled again.
        """
        self.read(asked=1)
        for each in self.files():
            each.unlink()
        self.read(asked=1)
        self.read()

    def test_left_unfinished(self) -> None:
        """
        What a crash left unfinished goes at the next start.
        """
        (self.folder / FILES / "abc.new").write_bytes(b"x")
        self.again()
        self.assertEqual(self.files(), [])
        self.assertEqual(self.cache.size, 0)

    def test_not_writable(self) -> None:
        """
        When nothing can be written, reads go on, and it is said once.
        """
        (self.folder / FILES).rmdir()
        (self.folder / FILES).write_bytes(b"not a directory")
        for _ in range(3):
            self.read(asked=1)
        (self.folder / FILES).unlink()
        (self.folder / FILES).mkdir()
        self.read(asked=1)
        self.read()

    def test_unusable(self) -> None:
        """
        A directory that cannot be used is refused, as is one in use.
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
        Only so many parts wait to be written; the others are not kept.
        """
        waiting: list[Deferred[None]] = []

        def slowly(*args: object, **named: object) -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.cache._write_blocking = slowly  # type: ignore[assignment]
        for number in range(WRITES + 3):
            self.read(number, asked=1)
        self.assertEqual(len(waiting), WRITES)
        self.read(0, asked=1)
        self.assertEqual(len(waiting), WRITES)
        for each in waiting:
            each.callback(None)
        self.assertEqual(len(self.cache._files), WRITES)
        self.assertEqual(os.listdir(self.folder / FILES), [])
