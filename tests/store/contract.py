"""
What every implementation of a store's interface must do.

There is one class for each interface. The tests of an implementation inherit it
and make a store. They import this module, not its classes, which would be run
as tests themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from hypothesis import strategies as st
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from kafscale.errors import CommitConflict, NoSuchObject, ObjectExists
from kafscale.interfaces import (
    Change,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    IObjectReader,
    IObjectStore,
    ObjectInfo,
    Put,
)
from kafscale.store.memory import MemoryObjectStore
from tests.harness.coroutines import begin


async def outcomes(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """
    The results of calls that are made together; for a call that fails, its error.
    """
    answers = [begin(awaitable) for awaitable in awaitables]
    for answer in answers:
        answer.addErrback(lambda failure: failure.value)
    found: list[Any] = await gatherResults(answers)
    return found


# Few letters, so that keys often share a prefix. Some of them sort before the
# slash, some after.
_part = st.text("a-.0=", min_size=1, max_size=4).filter(lambda part: not part.startswith("."))

#: Keys none of which is the directory of another.
keys = st.lists(
    st.lists(_part, min_size=1, max_size=4).map("/".join), max_size=25, unique=True
).map(lambda found: [key for key in found if not any(o.startswith(f"{key}/") for o in found)])


def listed(objects: Sequence[str], prefix: str, after: str, limit: int) -> list[str]:
    """
    The keys that a listing must contain.
    """
    return sorted(
        (key for key in objects if key.startswith(prefix) and key.encode() > after.encode()),
        key=str.encode,
    )[:limit]


INVALID_KEYS = (
    "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/.b", ".tmp/1",
    "a b", "a\n", "a\0", "ä", "x" * 256, "/".join(["y" * 200] * 6),
)  # fmt: skip


class ObjectReaderContract(TestCase):
    """
    What L{IObjectReader} promises.

    @ivar writer: Creates and deletes the objects that are read.
    @ivar reader: The reader under test.
    @ivar nests: Whether keys are tried that are the folder of another one, or below an
        object, as if keys were paths. A broker asks for no such keys.
    @ivar elsewhere: Keys without the prefix of a listing after which it begins. A broker
        has no such listings.
    """

    writer: IObjectStore
    reader: IObjectReader
    nests = True
    elsewhere: Sequence[str] = ("a", "z")

    async def make_writer(self) -> IObjectStore:
        """
        Make an empty store; in memory unless the reader needs another one.
        """
        return MemoryObjectStore()

    async def make_reader(self, writer: IObjectStore) -> IObjectReader:
        """
        Make a reader of the objects in C{writer}.
        """
        raise NotImplementedError

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits
        """
        Begin with an empty store.
        """
        self.writer = await self.make_writer()
        self.reader = await self.make_reader(self.writer)

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits
        """
        A store can be closed.
        """
        await self.writer.close()

    async def assert_raises(self, error: type[Exception], awaitable: Awaitable[Any]) -> Exception:
        """
        Assert that a call raises this error, and return it.
        """
        try:
            result = await awaitable
        except error as raised:
            return raised
        raise self.failureException(f"{error.__name__} was not raised; the result is {result!r}")

    async def test_reads(self) -> None:
        """
        The reader has the methods of its interface, with their arguments.
        """
        self.assertTrue(verifyObject(IObjectReader, self.reader))

    async def test_created_is_there(self) -> None:
        """
        An object is the concatenation of its pieces.
        """
        await self.writer.create("a/b", [b"one ", memoryview(b"two "), b"", b"three"])
        self.assertEqual(await self.reader.get("a/b"), b"one two three")

    async def test_answers_are_bytes(self) -> None:
        """
        Reading returns C{bytes}, which cannot be modified.
        """
        await self.writer.create("a", [memoryview(b"data")])
        self.assertIs(type(await self.reader.get("a")), bytes)
        self.assertIs(type((await self.reader.get_suffix("a", 2))[0]), bytes)

    async def test_empty_object(self) -> None:
        """
        An object of no bytes is an object.
        """
        await self.writer.create("empty", [])
        self.assertEqual(await self.reader.get("empty"), b"")
        self.assertEqual(await self.reader.get("empty", 5, 5), b"")
        self.assertEqual(await self.reader.get_suffix("empty", 10), (b"", 0))
        self.assertEqual(await self.reader.list(""), [ObjectInfo("empty", 0)])

    async def test_ranges(self) -> None:
        """
        A range ends with the object at the latest, and is empty past its end.
        """
        await self.writer.create("a", [b"0123456789"])
        for start, length, expected in [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (3, 4, b"3456"),
            (3, 0, b""),
            (8, 10, b"89"),
            (0, 2**40, b"0123456789"),
            (10, 5, b""),
            (11, None, b""),
            (2**40, 5, b""),
        ]:
            self.assertEqual(await self.reader.get("a", start, length), expected, (start, length))

    async def test_suffix(self) -> None:
        """
        A suffix comes with the size of the whole object.
        """
        await self.writer.create("a", [b"0123456789"])
        self.assertEqual(await self.reader.get_suffix("a", 4), (b"6789", 10))
        self.assertEqual(await self.reader.get_suffix("a", 10), (b"0123456789", 10))
        self.assertEqual(await self.reader.get_suffix("a", 4096), (b"0123456789", 10))

    async def test_ranges_after_a_suffix(self) -> None:
        """
        A range is the same after a suffix of the object was read.
        """
        await self.writer.create("a", [b"0123456789"])
        for length in (0, 4, 10):
            await self.reader.get_suffix("a", length)
            self.assertEqual(await self.reader.get("a", 2, 3), b"234", length)
            self.assertEqual(await self.reader.get("a", 5, 3), b"567", length)
            self.assertEqual(await self.reader.get("a", 8, 5), b"89", length)
            self.assertEqual(await self.reader.get("a", 12, 5), b"", length)
            self.assertEqual(await self.reader.get_suffix("a", 6), (b"456789", 10), length)

    async def test_absent(self) -> None:
        """
        A key without an object cannot be read, even if other keys begin with it.
        """
        await self.writer.create("a/b", [b"x"])
        for key in ("a/c", "b", "a/b-", *(("a", "a/b/c") if self.nests else ())):
            await self.assert_raises(NoSuchObject, self.reader.get(key))
            await self.assert_raises(NoSuchObject, self.reader.get(key, 1, 1))
            await self.assert_raises(NoSuchObject, self.reader.get_suffix(key, 1))

    async def test_invalid_keys_are_not_read(self) -> None:
        """
        An invalid key, prefix or range is refused.
        """
        for key in INVALID_KEYS:
            await self.assert_raises(ValueError, self.reader.get(key))
            await self.assert_raises(ValueError, self.reader.get_suffix(key, 1))
        for prefix in ("/", "../", "a/../", "a//", "a b"):
            await self.assert_raises(ValueError, self.reader.list(prefix))
        await self.assert_raises(ValueError, self.reader.get("a", -1))
        await self.assert_raises(ValueError, self.reader.get("a", 0, -1))

    def listing_order(self, key: str) -> Any:
        """
        The sort key of a listing.
        """
        return key.encode()

    async def test_listing(self) -> None:
        """
        A listing has whole keys and sizes, in order.
        """
        keys = ("t/a/1", "t/a-/1", "t/a.b", "t/a0", "t/a/0", "u", "t/B", "s/z")
        for key in keys:
            await self.writer.create(key, [key.encode()])
        for prefix, after, limit in [
            *((prefix, "", 1000) for prefix in ("", "t/", "t/a", "t/a/", "t/a/1", "t/a/1/", "no/")),
            *(("t/", after, 1000) for after in ("t/a.b", "t/a/", "t/a.zzz", *self.elsewhere)),
            ("t/", "t/B", 2),
        ]:
            expected = sorted(
                (
                    key
                    for key in keys
                    if key.startswith(prefix)
                    and self.listing_order(key) > self.listing_order(after)
                ),
                key=self.listing_order,
            )
            self.assertEqual(
                await self.reader.list(prefix, after, limit),
                [ObjectInfo(key, len(key)) for key in expected[:limit]],
                (prefix, after, limit),
            )

    async def test_listing_of_a_log(self) -> None:
        """
        The keys that a broker makes are listed in the order of their bytes by
        every store, also page by page.
        """
        topic = "0828a36b-12d3-45d3-a145-2ad2cf97bb89"
        other = "0828a36b-12d3-45d3-a145-2ad2cf97bb8a"
        keys = [
            "n/cluster",
            *(f"n/journal/{spread}/{broker}/{incarnation}/{slot:020d}"
              for spread in ("00", "0a", "a0")
              for broker in (1, 10, 2)
              for incarnation in (7, 70, 8)
              for slot in (0, 9, 10)),
            *(f"n/topics/{each}/{partition}/{base:020d}.kfs"
              for each in (topic, other)
              for partition in (0, 1, 10, 2)
              for base in (0, 5, 50)),
        ]  # fmt: skip
        for key in keys:
            await self.writer.create(key, [b"x"])
        found: list[str] = []
        while page := await self.reader.list("n/", found[-1] if found else "", 7):
            found += [info.key for info in page]
        self.assertEqual(found, sorted(keys, key=str.encode))

    async def test_pages(self) -> None:
        """
        Pages that each begin after the last key of the page before contain
        every key once.
        """
        created = [f"page/{number:020d}.kfs" for number in range(23)]
        for key in reversed(created):
            await self.writer.create(key, [b"x"])
        found: list[str] = []
        while page := await self.reader.list("page/", found[-1] if found else "", 5):
            self.assertLessEqual(len(page), 5)
            found += [info.key for info in page]
            if len(page) < 5:
                break
        self.assertEqual(found, created)

    async def test_large(self) -> None:
        """
        An object of 9 MiB in pieces of odd sizes is read whole, and in ranges.
        """
        pieces: list[bytes] = []
        size = 0
        while size < 9 * 1024 * 1024:
            length = (size * 7919) % 20011 + 1
            pieces.append(bytes([len(pieces) % 251]) * length)
            size += length
        whole = b"".join(pieces)
        await self.writer.create("large", pieces)
        self.assertTrue(await self.reader.get("large") == whole)
        for start, length in ((0, 1), (4095, 2), (1 << 20, 300001), (size - 5, 100)):
            found = await self.reader.get("large", start, length)
            self.assertTrue(found == whole[start : start + length], (start, length))
        self.assertEqual(await self.reader.get_suffix("large", 9), (whole[-9:], size))


class ObjectStoreContract(ObjectReaderContract):
    """
    What L{IObjectStore} promises.

    @ivar store: The store under test.
    """

    store: IObjectStore

    async def make_store(self) -> IObjectStore:
        """
        Make an empty store.
        """
        raise NotImplementedError

    async def make_writer(self) -> IObjectStore:
        """
        The store under test.
        """
        self.store = await self.make_store()
        return self.store

    async def make_reader(self, writer: IObjectStore) -> IObjectReader:
        """
        The same.
        """
        return writer

    async def test_interface(self) -> None:
        """
        The store has the methods of its interface, with their arguments.
        """
        self.assertTrue(verifyObject(IObjectStore, self.store))

    async def test_created_once(self) -> None:
        """
        The second create of a key is refused, and changes nothing.
        """
        await self.store.create("a/b", [b"first"])
        await self.assert_raises(ObjectExists, self.store.create("a/b", [b"second"]))
        await self.assert_raises(ObjectExists, self.store.create("a/b", [b"first"]))
        self.assertEqual(await self.store.get("a/b"), b"first")
        await self.store.create("empty", [])
        await self.assert_raises(ObjectExists, self.store.create("empty", [b"x"]))

    async def test_one_of_many_wins(self) -> None:
        """
        Of several creates at once exactly one succeeds, and its bytes are stored.
        """
        found = await outcomes(
            [self.store.create("race/a", [b"%d" % number] * 1000) for number in range(8)]
        )
        winners = [number for number, outcome in enumerate(found) if outcome is None]
        self.assertEqual(len(winners), 1)
        self.assertEqual(sum(isinstance(outcome, ObjectExists) for outcome in found), 7)
        self.assertEqual(await self.store.get("race/a"), b"%d" % winners[0] * 1000)

    async def test_invalid_keys_change_nothing(self) -> None:
        """
        An invalid key is refused before anything is done.
        """
        for key in INVALID_KEYS:
            await self.assert_raises(ValueError, self.store.create(key, [b"x"]))
            await self.assert_raises(ValueError, self.store.delete([key]))
        self.assertEqual(await self.store.list(""), [])

    async def test_deleted(self) -> None:
        """
        A deleted object is gone, and its key can be used again. Deleting a key
        without an object is no error.
        """
        for key in ("d/1", "d/2", "d/e/3"):
            await self.store.create(key, [b"old"])
        nested = ["d/2/x", "d"] if self.nests else []
        await self.store.delete(["d/1", "d/absent", "never/was", "d/e/3", *nested])
        self.assertEqual(await self.store.list(""), [ObjectInfo("d/2", 3)])
        await self.assert_raises(NoSuchObject, self.store.get("d/1"))
        await self.store.delete(["d/1"])
        await self.store.delete([])
        await self.store.create("d/1", [b"again"])
        self.assertEqual(await self.store.get("d/1"), b"again")

    async def test_many_deleted(self) -> None:
        """
        More keys than S3 takes in one request can be deleted at once.
        """
        await self.store.create("kept", [b"x"])
        await self.store.create("many/1000", [b"x"])
        await self.store.delete([f"many/{number}" for number in range(1005)])
        self.assertEqual(await self.store.list(""), [ObjectInfo("kept", 1)])

    async def test_sizes_around_blocks(self) -> None:
        """
        No size is rounded up to a block of the device, or to a part of an upload.
        """
        for size in (262143, 262144, 262145, 266240, 2097151, 2097152, 2097153):
            data = b"%09d" % size * (size // 9 + 1)
            await self.store.create(f"size/{size}", [memoryview(data)[:size]])
            self.assertTrue(await self.store.get(f"size/{size}") == data[:size], size)
        for info in await self.store.list("size/"):
            self.assertEqual(info.key, f"size/{info.size}")


class ReplacingStoreContract(ObjectStoreContract):
    """
    What a store promises whose creates may replace objects: everything else.
    """

    async def test_created_once(self) -> None:
        """
        The last create determines the object, at once, for reads and listings.
        """
        for data in (b"first", b"the second", b"3", b""):
            await self.store.create("a/b", [data])
            self.assertEqual(await self.store.get("a/b"), data)
            self.assertEqual(await self.store.get_suffix("a/b", 1), (data[-1:], len(data)))
            self.assertEqual(await self.store.list("a/"), [ObjectInfo("a/b", len(data))])

    async def test_one_of_many_wins(self) -> None:
        """
        Several creates at once succeed, and the object has the bytes of one.
        """
        bodies = [b"%d" % number * 1000 for number in range(8)]
        found = await outcomes([self.store.create("race/a", [body]) for body in bodies])
        self.assertEqual(found, [None] * 8)
        self.assertIn(await self.store.get("race/a"), bodies)


class RacingStoreContract(ObjectStoreContract):
    """
    What a store promises that looks whether an object exists and then writes it:
    everything but that one of several creates at once succeeds.
    """

    async def test_one_of_many_wins(self) -> None:
        """
        Of several creates at once some succeed, the others find an object, and the
        object has the bytes of one that succeeded.
        """
        bodies = [b"%d" % number * 1000 for number in range(8)]
        found = await outcomes([self.store.create("race/a", [body]) for body in bodies])
        winners = [body for body, each in zip(bodies, found, strict=True) if each is None]
        self.assertIn(await self.store.get("race/a"), winners)
        others = [each for each in found if each is not None]
        self.assertTrue(all(isinstance(each, ObjectExists) for each in others), others)


class MetadataStoreContract(TestCase):
    """
    What L{IMetadataStore} promises.

    A watch may report changes some time after the commit: tests wait with
    L{until}.

    @ivar store: The store under test.
    """

    store: IMetadataStore

    async def make_store(self) -> IMetadataStore:
        """
        Make an empty store.
        """
        raise NotImplementedError

    async def until(self, reported: Sequence[Sequence[Change]], number: int) -> None:
        """
        Return when the changes of this many commits were reported. Stores that
        report before a commit returns need not wait.
        """
        self.assertEqual(len(reported), number)

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits
        """
        Begin with an empty store.
        """
        self.store = await self.make_store()

    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits
        """
        A store can be closed.
        """
        await self.store.close()

    async def assert_conflict(
        self, compares: Sequence[Compare], operations: Sequence[Put | Delete]
    ) -> None:
        """
        Assert that a commit is refused.
        """
        try:
            await self.store.commit(compares, operations)
        except CommitConflict:
            return
        self.fail("CommitConflict was not raised")

    async def test_interface(self) -> None:
        """
        The store has the methods of its interface, with their arguments.
        """
        self.assertTrue(verifyObject(IMetadataStore, self.store))

    async def test_put(self) -> None:
        """
        A value has the revision of the commit that put it.
        """
        self.assertIsNone(await self.store.get("a"))
        revision = await self.store.commit([], [Put("a", 1), Put("b", 2)])
        self.assertGreater(revision, 0)
        self.assertEqual(await self.store.get("a"), Entry("a", 1, revision))
        self.assertEqual(await self.store.get("b"), Entry("b", 2, revision))

    async def test_values(self) -> None:
        """
        Any JSON value is read as it was put. Values are not shared with callers.
        """
        value: dict[str, Any] = {
            "none": None, "true": True, "int": 2**62, "float": 0.5, "text": "ä\0\u2028🎉",
            "list": [1, [2, {"three": []}]], "": {},
        }  # fmt: skip
        await self.store.commit([], [Put("a", value)])
        first = await self.store.get("a")
        assert first is not None
        self.assertEqual(first.value, value)
        first.value["list"].append("mine")
        value["list"].append("mine")
        second = await self.store.get("a")
        assert second is not None
        self.assertEqual(second.value["list"], [1, [2, {"three": []}]])

    async def test_revisions_rise(self) -> None:
        """
        Every commit has a higher revision than the one before, whatever its
        keys, also if it puts the same value again or deletes.
        """
        revisions = [
            await self.store.commit([], [Put("a", 1)]),
            await self.store.commit([], [Put("a", 1)]),
            await self.store.commit([], [Put("b", 1)]),
            await self.store.commit([], [Delete("a")]),
        ]
        self.assertEqual(revisions, sorted(set(revisions)))
        self.assertGreaterEqual((await self.store.range(""))[1], revisions[-1])

    async def test_range(self) -> None:
        """
        A range has the keys with its prefix in order, and the store's revision.
        """
        for key in ("t/b", "t/a/1", "t/a", "t0", "s", "t/a-"):
            last = await self.store.commit([], [Put(key, key)])
        entries, revision = await self.store.range("t/")
        self.assertEqual([entry.key for entry in entries], ["t/a", "t/a-", "t/a/1", "t/b"])
        self.assertEqual([entry.value for entry in entries], ["t/a", "t/a-", "t/a/1", "t/b"])
        self.assertGreaterEqual(revision, last)
        self.assertEqual((await self.store.range("nothing"))[0], [])
        self.assertEqual(len((await self.store.range(""))[0]), 6)

    async def test_compare_absent(self) -> None:
        """
        Revision 0 means that the key does not exist, also after a deletion.
        """
        await self.store.commit([Compare("a", 0)], [Put("a", 1)])
        await self.assert_conflict([Compare("a", 0)], [Put("a", 2)])
        await self.store.commit([], [Delete("a")])
        await self.store.commit([Compare("a", 0)], [Put("a", 3)])
        entry = await self.store.get("a")
        assert entry is not None
        self.assertEqual(entry.value, 3)

    async def test_compare_revision(self) -> None:
        """
        A revision means that the key was not put again or deleted since.
        """
        first = await self.store.commit([], [Put("a", 1)])
        second = await self.store.commit([Compare("a", first)], [Put("a", 2)])
        await self.assert_conflict([Compare("a", first)], [Put("a", 3)])
        await self.assert_conflict([Compare("absent", first)], [Put("a", 3)])
        await self.store.commit([], [Put("other", 1)])
        await self.store.commit([Compare("a", second)], [Delete("a")])
        await self.assert_conflict([Compare("a", second)], [Put("a", 3)])

    async def test_compare_existence(self) -> None:
        """
        None means that the key exists, at whatever revision.
        """
        await self.assert_conflict([Compare("a", None)], [Put("b", 1)])
        await self.store.commit([], [Put("a", 1)])
        await self.store.commit([Compare("a", None)], [Put("a", 2)])
        revision = await self.store.commit([Compare("a", None)], [Put("b", 1)])
        self.assertEqual(await self.store.get("b"), Entry("b", 1, revision))
        await self.store.commit([Compare("a", None)], [Delete("a")])
        await self.assert_conflict([Compare("a", None)], [Put("b", 2)])

    async def test_holds(self) -> None:
        """
        Compares alone are a read: the store is as before.
        """
        holds = self.store.holds
        self.assertTrue(await holds([Compare("a", 0)]))
        self.assertFalse(await holds([Compare("a", None)]))
        first = await self.store.commit([], [Put("a", 1)])
        self.assertFalse(await holds([Compare("a", 0)]))
        self.assertTrue(await holds([Compare("a", None), Compare("a", first), Compare("b", 0)]))
        self.assertFalse(await holds([Compare("a", first + 1)]))
        self.assertFalse(await holds([Compare("a", first), Compare("b", None)]))
        self.assertFalse(await holds([Compare("b", None), Compare("a", first)]))
        self.assertEqual(await self.store.range(""), ([Entry("a", 1, first)], first))
        await self.store.commit([], [Delete("a")])
        self.assertTrue(await holds([Compare("a", 0)]))
        self.assertFalse(await holds([Compare("a", first)]))

    async def test_nothing_of_a_conflict(self) -> None:
        """
        A commit is done as a whole or not at all.
        """
        revision = await self.store.commit([], [Put("a", 1), Put("b", 1)])
        await self.assert_conflict(
            [Compare("a", revision), Compare("b", 0)], [Put("a", 2), Delete("b"), Put("c", 2)]
        )
        entries, _ = await self.store.range("")
        self.assertEqual(entries, [Entry("a", 1, revision), Entry("b", 1, revision)])

    async def test_a_hundred(self) -> None:
        """
        A commit of a hundred compares and operations is one commit.
        """
        keys = [f"k/{number:03d}" for number in range(100)]
        revision = await self.store.commit([Compare(k, 0) for k in keys], [Put(k, k) for k in keys])
        entries, _ = await self.store.range("k/")
        self.assertEqual(entries, [Entry(key, key, revision) for key in keys])

    async def test_one_of_many_wins(self) -> None:
        """
        Of several commits at once that compare the same revision exactly one
        succeeds.
        """
        found = await outcomes(
            [self.store.commit([Compare("a", 0)], [Put("a", number)]) for number in range(10)]
        )
        winners = [number for number, outcome in enumerate(found) if isinstance(outcome, int)]
        self.assertEqual(len(winners), 1)
        self.assertEqual(sum(isinstance(outcome, CommitConflict) for outcome in found), 9)
        entry = await self.store.get("a")
        assert entry is not None
        self.assertEqual(entry.value, winners[0])

    async def test_watch(self) -> None:
        """
        A watch reports later changes of keys with its prefix, in order, those
        of one commit together; and none of refused commits.
        """
        _, start = await self.store.range("")
        reported: list[Sequence[Change]] = []
        watch = await self.store.watch("w/", start, reported.append)
        one = await self.store.commit([], [Put("w/a", 1), Put("w/b", 2), Put("x", 0)])
        await self.store.commit([], [Put("x", 1)])
        await self.assert_conflict([Compare("w/a", 0)], [Put("w/a", 9)])
        two = await self.store.commit([], [Delete("w/a"), Put("w/b", 3), Delete("w/never")])
        await self.until(reported, 2)
        self.assertEqual(
            [sorted(changes, key=lambda change: change.key) for changes in reported],
            [
                [
                    Change("w/a", Entry("w/a", 1, one), one),
                    Change("w/b", Entry("w/b", 2, one), one),
                ],
                [Change("w/a", None, two), Change("w/b", Entry("w/b", 3, two), two)],
            ],
        )
        watch.stop()

    async def test_watch_from_before(self) -> None:
        """
        A watch that is started later reports the changes since its revision,
        and none before.
        """
        before = await self.store.commit([], [Put("w/a", 1)])
        one = await self.store.commit([], [Put("w/a", 2)])
        two = await self.store.commit([], [Delete("w/a")])
        reported: list[Sequence[Change]] = []
        watch = await self.store.watch("w/", before, reported.append)
        three = await self.store.commit([], [Put("w/a", 3)])
        await self.until(reported, 3)
        self.assertEqual(
            [list(changes) for changes in reported],
            [
                [Change("w/a", Entry("w/a", 2, one), one)],
                [Change("w/a", None, two)],
                [Change("w/a", Entry("w/a", 3, three), three)],
            ],
        )
        watch.stop()

    async def test_catch_up(self) -> None:
        """
        A watch that has caught up has reported all changes, once.
        """
        start = await self.store.commit([], [Put("w/a", 0), Put("w/b", 0), Put("w/c", 0)])
        last: dict[str, Change] = {}
        reported: list[Sequence[Change]] = []
        watch = await self.store.watch(
            "w/", start, lambda changes: last.update((each.key, each) for each in changes)
        )
        other = await self.store.watch("w/", start, reported.append)
        one = await self.store.commit([], [Put("w/a", 1), Put("w/new", 1), Put("x", 1)])
        caught_up = await self.store.catch_up(watch)
        self.assertGreaterEqual(caught_up, one)
        expected = {key: Change(key, Entry(key, 1, one), one) for key in ("w/a", "w/new")}
        self.assertEqual(last, expected)
        two = await self.store.commit([], [Delete("w/b"), Delete("w/new"), Put("w/a", 2)])
        self.assertGreaterEqual(await self.store.catch_up(watch), two)
        gone = {key for key, each in last.items() if each.entry is None}
        self.assertEqual(gone, {"w/b", "w/new"})
        self.assertEqual(last["w/a"].entry, Entry("w/a", 2, two))
        last.clear()
        await self.store.catch_up(watch)
        await self.until(reported, 2)
        self.assertEqual(last, {})
        for each in (watch, other):
            each.stop()

    async def test_stopped_watch_is_silent(self) -> None:
        """
        A watch reports nothing after C{stop}. Other watches go on.
        """
        _, start = await self.store.range("")
        silent: list[Sequence[Change]] = []
        reported: list[Sequence[Change]] = []
        stopped = await self.store.watch("", start, silent.append)
        other = await self.store.watch("", start, reported.append)
        stopped.stop()
        await self.store.commit([], [Put("a", 1)])
        await self.until(reported, 1)
        self.assertEqual(silent, [])
        other.stop()
        stopped.stop()

    async def test_lease_revoked(self) -> None:
        """
        The keys of a revoked lease are deleted, and watches report it. Other
        keys stay.
        """
        lease = await self.store.lease(10)
        other = await self.store.lease(10)
        self.assertNotEqual(lease, other)
        await self.store.commit([], [Put("a", 1, lease=lease), Put("b", 1, lease=other)])
        start = await self.store.commit([], [Put("c", 1), Put("d", 1, lease=lease)])
        reported: list[Sequence[Change]] = []
        watch = await self.store.watch("", start, reported.append)
        await self.store.revoke(lease)
        entries, revision = await self.store.range("")
        self.assertEqual([entry.key for entry in entries], ["b", "c"])
        self.assertGreater(revision, start)
        await self.until(reported, 1)
        gone = sorted((change.key, change.entry) for change in reported[0])
        self.assertEqual(gone, [("a", None), ("d", None)])
        watch.stop()
        await self.store.revoke(other)

    async def test_put_again_without_lease(self) -> None:
        """
        The last put of a key decides whether it has a lease.
        """
        lease = await self.store.lease(10)
        await self.store.commit([], [Put("a", 1, lease=lease)])
        await self.store.commit([], [Put("a", 2)])
        await self.store.revoke(lease)
        entry = await self.store.get("a")
        assert entry is not None
        self.assertEqual(entry.value, 2)

    async def test_ended_lease(self) -> None:
        """
        A put with a lease that has ended is refused.
        """
        lease = await self.store.lease(10)
        await self.store.revoke(lease)
        await self.assert_conflict([], [Put("a", 1, lease=lease), Put("b", 1)])
        self.assertEqual((await self.store.range(""))[0], [])

    async def test_not_a_commit(self) -> None:
        """
        A commit that is too large, has two operations for one key, or a value
        that is not JSON data, raises ValueError.
        """
        for compares, operations in (
            ([], [Put(str(number), 1) for number in range(129)]),
            ([Compare(str(number), 0) for number in range(129)], [Put("a", 1)]),
            ([], [Put("a", 1), Delete("a")]),
            ([], [Put("a", object())]),
            ([], [Put("a", float("nan"))]),
        ):
            try:
                await self.store.commit(compares, operations)  # type: ignore[arg-type]
            except ValueError:
                continue
            self.fail(f"{operations} was committed")
        self.assertEqual((await self.store.range(""))[0], [])
