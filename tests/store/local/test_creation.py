"""
Tests for L{kafscale.store.local.creation}: small objects that threads of its own create,
with C{_creator.c} and with its twin in Python.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet import reactor  # noqa: TID251 - real threads wake it
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from kafscale.errors import ObjectExists, StoreUnavailable
from kafscale.interfaces import IObjectStore
from kafscale.store.blocking import at_once
from kafscale.store.local import plain_creator
from kafscale.store.local.creation import Creation, MakeCreator, creator_of
from kafscale.store.local.files import LARGE, ObjectFiles
from kafscale.store.local.objects import LocalObjectStore
from kafscale.wire.record_walk import NotBuilt
from tests.harness.coroutines import begin, now
from tests.store import contract

_MODE = os.environ.get("KAFSCALE_COMPILED", "auto")
_ROOT = Path(__file__).resolve().parents[3]


class TwinContractTests(contract.ObjectStoreContract):
    """
    The local store keeps the contract with threads that create small objects.
    """

    make = plain_creator.Creator

    async def make_store(self) -> IObjectStore:
        """
        Make a store with threads of its own.
        """
        pool = ThreadPool(0, 4)
        pool.start()
        self.addCleanup(pool.stop)

        def run(function: Callable[[], None]) -> Deferred[None]:
            return deferToThreadPool(reactor, pool, function)  # type: ignore[arg-type]

        creation = Creation(type(self).make, 4, run, reactor)  # type: ignore[arg-type]
        store = LocalObjectStore(self.mktemp(), at_once, creation)
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))  # before the pool
        return store

    async def test_many_at_once(self) -> None:
        """
        Of many creates at once in a directory that exists each has its own outcome.
        """
        await self.store.create("a/first", [b"x"])
        with mock.patch.object(ObjectFiles, "create", side_effect=AssertionError):
            creates = [
                self.store.create(f"a/{number}", [b"%d," % number, b"", memoryview(b"end")])
                for number in range(100)
            ]
            found = await contract.outcomes(creates)
        self.assertEqual(found, [None] * 100)
        for number in range(100):
            self.assertEqual(await self.store.get(f"a/{number}"), b"%d,end" % number)
        found = await contract.outcomes(
            [self.store.create("a/one", [b"%d" % number]) for number in range(8)]
        )
        (winner,) = (number for number, outcome in enumerate(found) if outcome is None)
        self.assertEqual(sum(isinstance(outcome, ObjectExists) for outcome in found), 7)
        self.assertEqual(await self.store.get("a/one"), b"%d" % winner)


class AtOnce(Creation):
    """
    Creates files in the thread of its caller.

    @ivar created: The paths of the files.
    """

    def __init__(self, make: MakeCreator) -> None:
        self.make = make
        self.created: list[str] = []

    def create(
        self,
        temporary: str,
        path: str,
        directory: str,
        pieces: Sequence[bytes | memoryview],
        ended: Callable[[int], None],
    ) -> None:
        """
        See `Creation`.
        """
        self.created.append(path)
        woken, wake = os.pipe()
        creator = self.make(wake)
        creator.submit(ended, temporary, path, directory, list(pieces))
        creator.close()
        creator.work()
        assert os.read(woken, 10) == b"\0"
        os.close(woken)
        os.close(wake)
        for function, error in creator.finished():
            function(error)
        assert creator.finished() == []


class SmallObjectsTests(SynchronousTestCase):
    """
    Which objects are created in the short way, and what follows from errors.
    """

    make: MakeCreator = plain_creator.Creator

    def setUp(self) -> None:
        """
        Make a store with one object.
        """
        self.creation = AtOnce(type(self).make)
        self.root = os.path.abspath(self.mktemp())
        self.store = LocalObjectStore(self.root, at_once, self.creation)
        now(self.store.create("t/a/1", [b"x"]))

    def test_short_way(self) -> None:
        """
        An object takes it if it is small, and in a directory that is durable.
        """
        self.assertEqual(self.creation.created, [])
        now(self.store.create("t/a/2", [b"small"]))
        now(self.store.create("t/a/large", [b"x" * LARGE]))
        now(self.store.create("t/b/3", [b"y"]))
        now(self.store.create("t/b/many", [b"ab"] * 5000))
        paths = [f"{self.root}/t/a/2", f"{self.root}/t/b/many"]
        self.assertEqual(self.creation.created, paths)
        self.assertEqual(now(self.store.get("t/a/2")), b"small")
        self.assertEqual(now(self.store.get("t/b/many")), b"ab" * 5000)
        self.assertEqual(os.listdir(f"{self.root}/.tmp"), [])
        self.assertEqual(os.stat(f"{self.root}/t/a/2").st_nlink, 1)

    def test_exists(self) -> None:
        """
        A name that is taken is refused, and nothing changes.
        """
        self.failureResultOf(begin(self.store.create("t/a/1", [b"other"])), ObjectExists)
        self.failureResultOf(begin(self.store.create("t/a", [b"other"])), ValueError)
        self.failureResultOf(begin(self.store.create("t/a/1/below", [b"other"])), ValueError)
        self.assertEqual(now(self.store.get("t/a/1")), b"x")
        self.assertEqual(os.listdir(f"{self.root}/.tmp"), [])

    def test_removed_by_another_process(self) -> None:
        """
        A directory that another process removed is made again.
        """
        shutil.rmtree(f"{self.root}/t")
        now(self.store.create("t/a/2", [b"y"]))
        self.assertEqual(now(self.store.get("t/a/2")), b"y")
        self.assertEqual(len(self.creation.created), 1)

    def test_unavailable(self) -> None:
        """
        Other errors of the system are those of a store that is not available.
        """
        shutil.rmtree(f"{self.root}/.tmp")
        Path(self.root, ".tmp").symlink_to(".tmp")
        failure = self.failureResultOf(begin(self.store.create("t/a/2", [b"y"])))
        self.assertTrue(failure.check(StoreUnavailable))
        self.assertEqual(str(failure.value), f"t/a/2: {os.strerror(errno.ELOOP)}")

    def test_cancelled(self) -> None:
        """
        A create that is cancelled goes on in its thread, and the store is not closed before
        it ends.
        """
        calls: list[tuple[Any, ...]] = []
        with mock.patch.object(self.creation, "create", lambda *call: calls.append(call)):
            create = begin(self.store.create("t/a/2", [b"y"]))
            create.cancel()
            self.failureResultOf(create, CancelledError)
            close = begin(self.store.close())
        self.assertNoResult(close)
        with mock.patch.object(self.creation, "close"):
            self.creation.create(*calls[0])
        self.successResultOf(close)
        self.assertEqual(Path(self.root, "t/a/2").read_bytes(), b"y")

    def test_what_is_no_piece(self) -> None:
        """
        Pieces that have no bytes are an error of the caller, and hold nothing up.
        """
        self.failureResultOf(begin(self.store.create("t/a/2", ["text"])), TypeError)  # type: ignore[list-item]
        now(self.store.delete(["t/a/1"]))
        self.assertEqual(os.listdir(self.root), [".tmp"])


class ReservationTests(SynchronousTestCase):
    """
    A directory in which an object is being created.
    """

    def setUp(self) -> None:
        """
        Reserve a place in a directory.
        """
        self.root = os.path.abspath(self.mktemp())
        self.files = ObjectFiles(self.root)
        self.files.create("t/a/1", [b"x"])
        self.reserved = self.files.reserve("t/a/2", [b"y"])
        assert self.reserved is not None

    def test_stays(self) -> None:
        """
        It stays when its last object is deleted.
        """
        self.files.delete(["t/a/1"])
        self.assertEqual(os.listdir(f"{self.root}/t"), ["a"])
        self.files.release(f"{self.root}/t/a", 0)
        self.files.delete(["t/a/1"])
        self.assertEqual(os.listdir(self.root), [".tmp"])
        self.assertIsNone(self.files.reserve("t/a/2", [b"y"]))

    def test_names_in_it(self) -> None:
        """
        While its names may not be durable they are synced before one is reported, and so
        they are after the syncing has failed.
        """

        def syncs() -> int:
            with mock.patch.object(os, "fsync", wraps=os.fsync) as sync:
                self.files.read("t/a/1", 0, None)
            return sync.call_count

        self.assertEqual([syncs(), syncs()], [1, 1])
        self.files.release(f"{self.root}/t/a", 0)
        self.assertEqual([syncs(), syncs()], [1, 0])
        self.assertIsNotNone(self.files.reserve("t/a/2", [b"y"]))
        self.files.release(f"{self.root}/t/a", errno.EIO)
        self.assertEqual([syncs(), syncs()], [1, 0])

    def test_does_not_wait(self) -> None:
        """
        While another thread changes directories there is no place.
        """
        held, release = threading.Event(), threading.Event()

        def hold(path: str) -> None:
            held.set()
            release.wait(60)

        self.files.create("t/b/1", [b"x"])
        with mock.patch.object(os, "rmdir", hold):
            thread = threading.Thread(target=self.files.delete, args=(["t/b/1"],))
            thread.start()
            self.assertTrue(held.wait(60))
            self.assertIsNone(self.files.reserve("t/a/3", [b"y"]))
            release.set()
            thread.join()


_CREATE = """
import os, sys
from kafscale.store.local.creation import creator_of
woken, wake = os.pipe()
creator = creator_of(sys.argv[1])(wake)
creator.submit("token", "temporary", "d/name", "d", [b"", b"12345", memoryview(b"6")])
creator.close()
creator.work()
print("result", creator.finished(), flush=True)
"""


class SystemCallsTests(SynchronousTestCase):
    """
    The system calls that make an object durable, one by one, in a process of their own.
    """

    mode = "off"
    CALLS = (
        *["writev"] * 4, "sync a file", "link", "sync a directory", "unlink",
    )  # fmt: skip

    def setUp(self) -> None:
        """
        Build what shows them.
        """
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        source = Path(__file__).with_name("calls.c")
        self.library = self.folder.resolve() / "calls.so"
        options = ["-shared", "-fPIC", "-Wall", "-Werror", str(source), "-o", str(self.library)]
        subprocess.run(["gcc", *options, "-ldl"], check=True)

    def create(self, **variables: int) -> tuple[list[str], str]:
        """
        Create a file.

        @return: The calls, and what the creator returned.
        """
        self.place = self.folder / "-".join(["run", *map(str, variables.values())])
        (self.place / "d").mkdir(parents=True)
        environment = {**os.environ, "LD_PRELOAD": str(self.library), "PYTHONPATH": str(_ROOT)}
        environment |= {name: str(number) for name, number in variables.items()}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        ended = subprocess.run(
            [sys.executable, "-c", _CREATE, self.mode],
            cwd=self.place, env=environment, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        # What comes after the result is of the interpreter's end: where coverage is measured it
        # removes a file.
        calls, _, result = ended.stdout.partition("result ")
        return calls.split("\n")[:-1], result.partition("\n")[0]

    def test_order(self) -> None:
        """
        A file has its name when all its bytes were written and synced, and it is reported
        when the name was synced.
        """
        calls, result = self.create()
        self.assertEqual((tuple(calls), result), (self.CALLS, "[('token', 0)]"))
        self.assertEqual((self.place / "d" / "name").read_bytes(), b"123456")
        self.assertEqual([each.name for each in self.place.iterdir()], ["d"])

    def test_killed(self) -> None:
        """
        Whenever the process is killed, what has a name is whole.
        """
        for number, _ in enumerate(self.CALLS, 1):
            calls, result = self.create(CALLS_KILL=number)
            self.assertEqual((tuple(calls), result), (self.CALLS[:number], ""))
            found = [each.read_bytes() for each in (self.place / "d").iterdir()]
            self.assertEqual(found, [b"123456"] if "link" in calls[:-1] else [])

    def test_failing(self) -> None:
        """
        The first error ends it and is reported, except for that of removing the temporary
        file, which a next start removes.
        """
        for number, call in enumerate(self.CALLS, 1):
            calls, result = self.create(CALLS_FAIL=number)
            error = 0 if call == "unlink" else errno.EIO
            self.assertEqual(result, f"[('token', {error})]")
            self.assertEqual(calls[number - 1 :], [call, *["unlink"] * (call != "unlink")])
            self.assertEqual((self.place / "temporary").exists(), call == "unlink")
            named = self.CALLS.index("link") < number - 1
            self.assertEqual((self.place / "d" / "name").exists(), named)


if creator_of(_MODE) is not plain_creator.Creator:
    # Imported only where KAFSCALE_COMPILED permits it.
    from kafscale.store.local._creator import Creator as CompiledCreator

    class CompiledContractTests(TwinContractTests):
        """
        The same with the compiled creator.
        """

        make = CompiledCreator  # type: ignore[assignment]

    class CompiledSmallObjectsTests(SmallObjectsTests):
        """
        The same with the compiled creator.
        """

        make = CompiledCreator

    class CompiledSystemCallsTests(SystemCallsTests):
        """
        The same with the compiled creator.
        """

        mode = "require"


class ChoiceTests(SynchronousTestCase):
    """
    The choice between the compiled creator and its twin.
    """

    def test_not_built(self) -> None:
        """
        Where the compiled creator was not built its twin takes over, unless that is
        refused.
        """
        absent = mock.patch.dict(sys.modules, {"kafscale.store.local._creator": None})
        absent.start()
        self.addCleanup(absent.stop)
        error = self.assertRaises(NotBuilt, creator_of, "require")
        self.assertIn("kafscale.store.local._creator", str(error))
        for mode in ("auto", "off"):
            self.assertIs(creator_of(mode), plain_creator.Creator)
