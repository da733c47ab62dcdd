"""
Tries at each start what the log needs of a bucket.

If a store does not keep to C{If-None-Match: *}, records are lost silently when
two brokers write the same key. So L{RIVALS} creates of one key are made at once,
for each of L{OBJECTS} keys. A store that lets a second one win is refused, unless
fencing is left to the metadata store (C{KAFSCALE_S3_FENCING=metadata}).

A store that looks for the key and then writes it lets a second create win only
if both look before either has written, which may be less than a millisecond. So
the creates must arrive together: they are sent over connections that are open
already, since those that are only then opened come one after the other.

As many objects are then used to try everything else: L{CHECKS}. A check that fails
refuses the store with a line that names it. Where the log can do without
something, a line in the log of the broker names that in its place.

At the end a record stays in the bucket, whose key has the C{Server} header of the
store's answers. L{kafscale.store.s3.watch} looks at it while the broker runs.

The module is long because every check names what failed, and all of them use what
one run has stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import (
    NoSuchObject,
    ObjectExists,
    SettingError,
    StoreContended,
    StoreUnavailable,
)
from kafscale.format import object_keys
from kafscale.format.cluster import write_probe_record
from kafscale.store.s3.abilities import takes_damaged, why_no_parts, why_no_suffix
from kafscale.store.s3.advice import advice
from kafscale.store.s3.checksums import CRC32C, HEADERS
from kafscale.store.s3.client import S3Client
from kafscale.store.s3.errors import Answer, NoAnswer, S3Error, may_pass
from kafscale.store.s3.objects import S3ObjectStore
from kafscale.store.s3.unknown_header import CONDITION, unknown_header

OBJECTS = 8
"""How many objects are stored. By luck a store that races may let only one create
win: s3s-fs 0.14.1 did for none of 40 keys, s3proxy 3.1.0 for 8. For so many keys
in a row that is one start in 400,000."""

RIVALS = 8
"""How many creates of one key are made at once."""

OPENED = 16
"""How many connections are opened at once."""

SIZE = 1000
"""The size of the objects in bytes."""

PATIENCE = 10.0
"""For how many seconds a request is repeated that the store does not answer."""

SLOW = 3.0
"""After how many seconds a line in the log says that the checks go on."""

LEFT_SECONDS = 24 * 3600.0
"""The age from which on the objects of another start are deleted: it was killed."""

DELETIONS = 3
"""How often a deletion must leave an object."""

T = TypeVar("T")

_log = Logger()


class UnfitStore(SettingError):
    """
    The store has answered, and cannot hold a log.
    """


class Probe:
    """
    Checks one bucket.

    @ivar cluster: The id of the cluster, once L{run} was called.
    """

    def __init__(
        self,
        store: S3ObjectStore,
        clock: IReactorTime,
        namespace: str,
        name: str,
        fencing: str = "create",
    ) -> None:
        """
        @param store: The bucket. Its C{create_only}, C{suffixes} and C{in_parts} are
            set to what the store can do.
        @param clock: Times the attempts.
        @param namespace: The first part of all keys.
        @param name: A name that no other probe has.
        @param fencing: The setting C{KAFSCALE_S3_FENCING}: C{create} or
            C{metadata}.
        """
        self._store = store
        self._client: S3Client = store.client
        self._clock = clock
        self._namespace = namespace
        self._name = object_keys.probe(namespace, name)
        self._reached = False
        self._created = 0.0  # when a create of a race was last answered
        self._runs = 0
        self._prefix = ""  # of all keys of this run
        self._listed = ""  # of those in C{_stored}, and of no others
        self.cluster = ""
        self._server = ""  # what the store calls itself
        self._may_replace = fencing == "metadata"
        self._tried = ""  # the name of the check
        self._keys: list[str] = []  # all that may have an object
        self._stored: dict[str, bytes] = {}  # the bodies of objects by key, in the order of keys

    async def run(
        self, cluster: str, verify: Callable[[str], Awaitable[None]] | None = None
    ) -> None:
        """
        Check the bucket, and leave a record of that.

        @param cluster: The id of the cluster.
        @param verify: Called with the id before the record is left; raises
            L{SettingError} if the bucket does not hold the records of this cluster.
        @raise UnfitStore: the bucket cannot hold a log.
        @raise SettingError: it cannot be used, or does not answer.
        """
        self.cluster = cluster
        self._runs += 1
        self._prefix = f"{self._name}-{self._runs}-"
        self._listed = f"{self._prefix}listed-"
        self._keys, self._stored = [], {}
        slow = self._clock.callLater(SLOW, self._report_slow)
        try:
            for self._tried, check in CHECKS:
                await check(self)
            if verify is not None:
                await verify(cluster)
            self._tried = "the record"
            await self._leave_record()
        except SettingError:
            await self._delete()
            raise
        finally:
            if slow.active():
                slow.cancel()
        left: Sequence[str] = ()
        with suppress(SettingError):
            left = await self._ask(self._left_behind)
        await self._delete(left)

    def _report_slow(self) -> None:
        _log.info(
            "still checking {bucket} after {seconds} s: {check}",
            bucket=self.where,
            seconds=SLOW,
            check=self._tried,
        )

    async def _delete(self, others: Sequence[str] = ()) -> None:
        """
        Delete everything that was stored, and objects of others. If that fails
        something stays behind, which is no reason to refuse the store.
        """
        with suppress(SettingError):
            await self._ask(lambda: self._store.delete([*self._keys, *others]))

    async def _left_behind(self) -> list[str]:
        """
        The keys of what starts that were killed have left: it is L{LEFT_SECONDS}
        older than the newest objects, which are of this run.
        """
        page, _ = await self._client.list_objects(object_keys.probe(self._namespace, ""))
        times = {info.key: info.modified for info in page if info.modified is not None}
        newest = max(times.values(), default=0.0)
        return [
            key
            for key, modified in times.items()
            if modified < newest - LEFT_SECONDS and object_keys.is_probe(self._namespace, key)
        ]

    async def why_replaced(self) -> str:
        """
        Find out whether the store is another one than that which was checked: the
        record of that is missing, or the store calls itself by another name, with
        which no broker of the cluster has checked it.

        @return: What tells so; empty if it is the same store.
        @raise S3Error: the store does not answer as it should.
        @raise NoAnswer: it does not answer.
        @raise StoreError: likewise.
        """
        key = self._record
        try:
            answer = await self._client.get_object(key)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return f"{key} is missing"
            raise
        now, before = _server_of(answer), self._server
        if now != before:
            self._server = now
            try:
                await self._store.get(self._record)
            except NoSuchObject:
                return f"its Server header was {before!r} and is {now!r}"
        return ""

    @property
    def _record(self) -> str:
        return object_keys.probe_record(self._namespace, self.cluster, self._server)

    def _new_key(self, prefix: str = "") -> str:
        """
        A key that no attempt has used.
        """
        self._keys.append(f"{prefix or self._prefix}{len(self._keys):03d}")
        return self._keys[-1]

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """
        Repeat a request until the store answers, and return the answer.

        @raise SettingError: the answer is an error that does not pass, or there
            is none for L{PATIENCE} seconds, to two requests at least: one that
            makes no progress takes all of that time. While creates are answered
            the store is busy with them.
        """
        begun = self._clock.seconds()
        is_second = False
        while True:
            try:
                return await request()
            except (S3Error, NoAnswer, StoreUnavailable) as error:
                cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
                waited = self._clock.seconds() - max(begun, self._created)
                is_late = is_second and waited >= PATIENCE
                if is_late or not may_pass(cause or error):
                    raise SettingError(self._line(cause or error)) from None
            is_second = True
            await self._pause(0.3)

    def _pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._clock, seconds)

    # -- the checks ---------------------------------------------------------

    async def reach(self) -> None:
        """
        The bucket exists, and can be listed.
        """
        await self._ask(lambda: self._client.list_objects(f"{self._namespace}/", "", 1))
        self._reached = True

    async def read_absent(self) -> None:
        """
        A key without an object is answered so, and not with an error that may
        mean anything. It is asked for as often at once as there will be creates,
        which opens their connections: L{OPENED} more each time, because a server
        with a short queue for new connections (Python's: 5) lets those wait for
        seconds that come together.
        """
        key = f"{self._prefix}none"
        for times in [1] if self._may_replace else range(OPENED, OBJECTS * RIVALS + 1, OPENED):
            found = await map_bounded(lambda _: self._read(key), range(times), times)
            if any(body is not None for body in found):
                raise self._fault(f"{key} was read, and was never stored")

    async def create(self) -> None:
        """
        Of several creates of one key one is done, if that is what replaced
        brokers are fenced with. Then store the objects that the other checks use:
        which of the creates are done of a key that is given up may change later.
        """
        if not self._may_replace:
            await self._race_all()
        first, *others = (self._new_key(self._listed) for _ in range(OBJECTS))
        self._stored[first] = await self._store_one(first)  # finds out how
        self._stored |= zip(others, await map_bounded(self._store_one, others), strict=True)

    async def _race_all(self) -> None:
        """
        All keys at once: SeaweedFS 4.48 answers creates of a key that exists seconds
        later, one after the other. A store that is busy gets those of one key.
        """
        left = at_once = OBJECTS
        until = self._clock.seconds() + PATIENCE
        while left:
            keys = [self._new_key() for _ in range(min(left, at_once))]
            tried = await map_bounded(partial(self._race, until), keys, at_once)
            left -= sum(tried)
            if any(tried):
                until = self._clock.seconds() + PATIENCE
            elif self._clock.seconds() >= until:
                raise self._fault("too many requests fail")
            if not all(tried):
                at_once = 1
                await self._pause(0.3)

    async def read(self) -> None:
        """
        An object is there, as a whole, as soon as it is stored.
        """
        for (key, body), found in zip(
            self._stored.items(), await map_bounded(self._read, list(self._stored)), strict=True
        ):
            if found is None:
                raise self._fault(f"{key} was stored, and then not found")
            if found != body:
                raise self._fault(f"{key} has other bytes than were stored")

    async def read_range(self) -> None:
        """
        A range has the bytes that it names, as many as there are.
        """
        key, body = self._first
        for start, length in ((0, 1), (SIZE // 2, 100), (SIZE - 10, 100)):
            found = await self._ask(partial(self._store.get, key, start, length))
            if found != body[start : start + length]:
                raise self._fault(
                    f"bytes={start}-{start + length - 1} of an object of {SIZE} bytes was answered"
                    " with other bytes"
                )

    async def read_suffix(self) -> None:
        """
        A suffix has the last bytes, and the size of the object; one that is
        longer than the object is all of it (RFC 9110, 14.1.2). A store that
        answers something else is asked for plain ranges in its place.
        """
        key, body = self._first
        self._store.suffixes = True
        for length in (100, 2 * SIZE):
            why = await self._ask(
                partial(why_no_suffix, self._store, key, length, partial(self._pause, 0.3))
            )
            if why:
                self._store.suffixes = False
                _log.warn(
                    "suffix ranges are not answered as asked for in {bucket}, to read the end of"
                    " an object takes more requests: bytes=-{length} of {size} bytes: {reason}",
                    bucket=self.where,
                    length=length,
                    size=SIZE,
                    reason=why,
                )
            found, size = await self._ask(partial(self._store.get_suffix, key, length))
            if (found, size) != (body[-length:], SIZE):
                raise self._fault(
                    f"the last {length} bytes of an object of {SIZE} bytes are read as others,"
                    f" or as those of an object of {size} bytes"
                )

    async def list_pages(self) -> None:
        """
        Objects are listed in the order of their keys as soon as they are
        stored, in pages, and from a key on.
        """
        keys = list(self._stored)
        await self._list_page(keys, "", 1000)
        token = await self._list_page(keys[:3], "", 3)
        if not token:
            raise self._fault(f"a page of 3 of {len(keys)} keys says that it is the last")
        await self._list_page(keys[3:], "", 1000, token)
        await self._list_page(keys[5:7], keys[4], 2)

    async def _list_page(self, keys: list[str], after: str, limit: int, token: str = "") -> str:
        page, token = await self._ask(
            partial(self._client.list_objects, self._listed, after, limit, token)
        )
        if [info.key for info in page] != keys:
            names = [info.key.removeprefix(self._listed) for info in page]
            wanted = [key.removeprefix(self._listed) for key in keys]
            raise self._fault(
                f"{' '.join(wanted)} must be listed (start-after={after.removeprefix(self._listed)}"
                f" max-keys={limit}), but was {' '.join(names)}"
            )
        if any(info.size != SIZE for info in page):
            raise self._fault(f"an object of {SIZE} bytes has another size")
        return token

    async def delete(self) -> None:
        """
        Several objects are deleted by one request, one that does not exist among
        them. They are gone at once, and others are not.
        """
        gone, kept = list(self._stored)[:3], list(self._stored)[3:]
        for _ in range(DELETIONS):  # a create may be done late, after it was given up
            await self._ask(lambda: self._store.delete([*gone, f"{self._prefix}none"]))
            *left, other = await map_bounded(self._read, [*gone, kept[0]])
            if left == [None, None, None]:
                break
            await self._pause(1.0)
        else:
            raise self._fault("an object was deleted and is still there")
        if other != self._stored[kept[0]]:
            raise self._fault("the request for others has deleted an object")
        await self._list_page(kept, "", 1000)

    async def send_damaged(self) -> None:
        """
        An object with a wrong checksum is not stored. If it is, damage on the
        way to the store is only found when the object is read.
        """
        if await self._ask(lambda: takes_damaged(self._store, self._new_key())):
            _log.warn(
                "checksums are not compared in {bucket}: what is damaged on the way there is"
                " stored, and noticed when it is read",
                bucket=self.where,
            )

    async def upload_in_parts(self) -> None:
        """
        A multipart upload makes an object, and a second one does not replace it,
        if a create must not. If that is not certain, large objects are sent in
        one request.
        """
        why = await self._ask(
            lambda: why_no_parts(self._store, self._new_key(), may_replace=self._may_replace)
        )
        if why:
            self._store.in_parts = False
            _log.warn(
                "multipart uploads cannot be used in {bucket}, each object is sent in one request:"
                " {reason}",
                bucket=self.where,
                reason=why,
            )

    async def _leave_record(self) -> None:
        """
        Store the record, unless there is one for this C{Server} header.
        """
        key = list(self._stored)[-1]
        self._server = _server_of(await self._ask(lambda: self._client.get_object(key)))
        with suppress(ObjectExists):
            await self._ask(
                lambda: self._store.create(self._record, [write_probe_record(self._server)])
            )

    # -- steps of theirs ----------------------------------------------------

    @property
    def _first(self) -> tuple[str, bytes]:
        return next(iter(self._stored.items()))

    async def _read(self, key: str) -> bytes | None:
        """
        The object; None if there is none.
        """
        try:
            return await self._ask(lambda: self._store.get(key))
        except NoSuchObject:
            return None

    async def _race(self, until: float, key: str) -> bool:
        """
        Make several creates of one key at once.

        @param until: When to give up a create that is in conflict with others.
        @return: Whether enough of them were answered to trust the store.
        @raise UnfitStore: the store accepted more than one.
        """
        bodies = [b"%d" % number * SIZE for number in range(RIVALS)]
        # The first error is raised; the others are the same.
        outcomes = await map_bounded(lambda body: self._create(key, body, until), bodies, RIVALS)
        winners = {body for body, has_won in zip(bodies, outcomes, strict=True) if has_won}
        found = await self._read(key)
        if found is not None:
            winners.add(found)  # its answer may be lost
        elif winners:
            raise self._fault(f"{key} was stored, and then not found")
        if len(winners) > 1:
            raise UnfitStore(
                f"{self.where} does not keep to If-None-Match: of {RIVALS} creates of one key"
                f" at once it accepted {len(winners)} instead of one. Two brokers could overwrite"
                " each other's records there, unless all have KAFSCALE_S3_FENCING=metadata"
            )
        return bool(winners) and outcomes.count(False) >= RIVALS / 2

    async def _create(self, key: str, body: bytes, until: float) -> bool | None:
        """
        Create an object. Return whether this create was the first, or None if
        that is unknown.
        """
        while True:
            try:
                await self._store.create(key, [body])
            except ObjectExists:
                self._created = self._clock.seconds()
                return False
            except StoreContended:  # other creates of the key are in progress
                await self._pause(0.05)
                if self._clock.seconds() >= until:
                    return None
            except StoreUnavailable as error:
                await self._explain(error)
                return None
            else:
                self._created = self._clock.seconds()
                return True

    async def _explain(self, error: StoreUnavailable) -> None:
        """
        Find out whether a create was refused because the store does not know one
        of its headers. If not, or if later ones are made without it, it may
        succeed later.

        @raise UnfitStore: the store does not know a header that it must know.
        @raise SettingError: the create was refused for another reason.
        """
        cause = error.__cause__ or error
        if may_pass(cause):
            return
        key = self._new_key()
        header = await self._ask(lambda: unknown_header(self._client, key))
        if header == HEADERS[CRC32C]:
            raise UnfitStore(
                f"{self.where} does not know {header} ({cause}): set KAFSCALE_S3_CHECKSUM=md5, so"
                " that Content-MD5 is sent in its place, or let the store ignore it (s3proxy:"
                " s3proxy.ignore-unknown-headers=true), which then finds no damage on the way"
            )
        if header == CONDITION:
            if not self._may_replace:
                raise UnfitStore(
                    f"{self.where} does not know If-None-Match: it can only be used with"
                    " KAFSCALE_S3_FENCING=metadata"
                )
            self._store.create_only = False

    async def _store_one(self, key: str) -> bytes:
        """
        Store an object, and find out whether the store accepts the condition of
        a create.
        """
        body = b"1" * SIZE
        until = self._clock.seconds() + PATIENCE
        while True:
            try:
                await self._ask(partial(self._try_one, key, body))
            except ObjectExists:  # by an attempt whose answer was lost
                if await self._read(key) is None and self._clock.seconds() < until:
                    await self._pause(0.3)
                    continue
            return body

    async def _try_one(self, key: str, body: bytes) -> None:
        try:
            await self._store.create(key, [body])
        except StoreUnavailable as error:
            await self._explain(error)
            await self._store.create(key, [body])

    # -- messages -----------------------------------------------------------

    @property
    def where(self) -> str:
        """
        The bucket and its address, for messages.
        """
        return f"the bucket {self._client.address.bucket} at {self._client.address.base}"

    def _fault(self, what: str) -> UnfitStore:
        return UnfitStore(f"{self.where} cannot be used: {self._tried}: {what}")

    def _line(self, error: BaseException) -> str:
        address = self._client.address
        if isinstance(error, S3Error) and error.region not in ("", address.region):
            region = error.region
            return f"{self.where} is in the region {region}: set KAFSCALE_S3_REGION={region}"
        help_ = advice(error, address, reached=self._reached)
        return f"{self.where} cannot be used: {self._tried}: {error}{help_}"


def _server_of(answer: Answer) -> str:
    return answer.headers.get("server", "")


CHECKS: Sequence[tuple[str, Callable[[Probe], Awaitable[None]]]] = (
    ("the bucket", Probe.reach),
    ("a key without an object", Probe.read_absent),
    ("create", Probe.create),
    ("read after write", Probe.read),
    ("range", Probe.read_range),
    ("suffix range", Probe.read_suffix),
    ("list", Probe.list_pages),
    ("DeleteObjects", Probe.delete),
    ("checksum", Probe.send_damaged),
    ("multipart upload", Probe.upload_in_parts),
)
"""What is tried, in this order, with the names in messages."""
