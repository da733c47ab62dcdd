"""
A cache of the blocks of segments that were read last.

Consumers of one partition mostly follow one another, and each reads on from
where it was: what one consumer has read the next one wants, and what comes
after it is wanted soon. So runs of segments are kept as long as there is room,
and are read ahead. A consumer that asks for a run which is already being read
waits for it together with the others.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kafscale.format.errors import CorruptObject
from kafscale.interfaces import IObjectReader

RunKey = tuple[str, int, int]
"""The key of an object, and where a run begins and ends in it."""


class _Read:
    """
    A run that is being read from the store.

    @ivar dropped: Whether the object was deleted meanwhile.
    """

    __slots__ = ("dropped", "waiting")

    def __init__(self) -> None:
        self.dropped = False
        self.waiting: list[Deferred[bytes]] = []

    def wait(self) -> Deferred[bytes]:
        waiter: Deferred[bytes] = Deferred(self.waiting.remove)
        self.waiting.append(waiter)
        return waiter


class BlockCache:
    """
    The runs that were read last, up to a number of bytes.

    @ivar size: Bytes of the runs in memory.
    @ivar hits: How many runs were in memory when they were asked for.
    @ivar misses: How many runs had to be waited for.
    """

    def __init__(self, store: IObjectReader, max_bytes: int, ahead: int = 8) -> None:
        """
        @param store: Where runs are read from.
        @param max_bytes: Bytes of runs in memory; a larger run is not kept.
        @param ahead: How many runs that no consumer waits for may be read at
            once. Eight times as many may be queued.
        """
        self._store = store
        self._max_bytes = max_bytes
        self._ahead = ahead
        self._runs: OrderedDict[RunKey, bytes] = OrderedDict()  # least recently used first
        self._by_key: dict[str, set[RunKey]] = {}
        self._under_way: dict[RunKey, _Read] = {}
        self._prefetching = 0
        self._to_prefetch: deque[RunKey] = deque(maxlen=8 * ahead)  # the oldest is forgotten
        self.size = 0
        self.hits = 0
        self.misses = 0

    async def get(self, key: str, start: int, stop: int) -> bytes:
        """
        Return the bytes of an object from C{start} up to C{stop}.

        Cancelling the call disturbs neither the read nor the others that wait
        for it.

        @raise NoSuchObject: the object does not exist.
        @raise CorruptObject: the object ends before C{stop}.
        @raise StoreUnavailable: the store did not answer. The next call asks it
            again.
        """
        run_key = (key, start, stop)
        run = self._runs.get(run_key)
        if run is not None:
            self.hits += 1
            self._runs.move_to_end(run_key)
            return run
        self.misses += 1
        reading = self._under_way.get(run_key)
        if reading is not None:
            return await reading.wait()
        reading = self._under_way[run_key] = _Read()
        # The first to ask waits like all others, because it may give up, too.
        waiter = reading.wait()
        Deferred.fromCoroutine(self._read(run_key)).addBoth(self._done, run_key, reading)
        return await waiter

    def prefetch(self, key: str, start: int, stop: int) -> None:
        """
        Read a run that will soon be asked for, after those that are queued
        already.
        """
        run_key = (key, start, stop)
        known = run_key in self._runs or run_key in self._under_way or run_key in self._to_prefetch
        if not known and stop - start <= self._max_bytes:
            self._to_prefetch.append(run_key)
            self._read_to_prefetch()

    def _read_to_prefetch(self) -> None:
        while self._to_prefetch and self._prefetching < self._ahead:
            run_key = self._to_prefetch.popleft()
            if run_key in self._runs or run_key in self._under_way:
                continue
            self._prefetching += 1
            reading = self._under_way[run_key] = _Read()
            fetching = Deferred.fromCoroutine(self._read(run_key))
            fetching.addBoth(self._prefetched)
            fetching.addBoth(self._done, run_key, reading)

    def drop(self, key: str) -> None:
        """
        Forget the runs of an object, because it is deleted.
        """
        for run_key in self._by_key.pop(key, ()):
            self.size -= len(self._runs.pop(run_key))
        for run_key, reading in self._under_way.items():
            if run_key[0] == key:
                reading.dropped = True
        for run_key in [run_key for run_key in self._to_prefetch if run_key[0] == key]:
            self._to_prefetch.remove(run_key)

    async def _read(self, run_key: RunKey) -> bytes:
        key, start, stop = run_key
        run = await self._store.get(key, start, stop - start)
        if len(run) != stop - start:
            raise CorruptObject(f"{key} ends before {stop}")
        return run

    def _prefetched(self, result: bytes | Failure) -> bytes | Failure:
        self._prefetching -= 1
        self._read_to_prefetch()
        return result

    def _done(self, result: bytes | Failure, run_key: RunKey, reading: _Read) -> None:
        del self._under_way[run_key]
        if isinstance(result, bytes) and not reading.dropped:
            self._keep(run_key, result)
        # One by one: a callback may make another waiter give up.
        while reading.waiting:
            waiter = reading.waiting.pop(0)
            if isinstance(result, Failure):
                waiter.errback(result.value)
            else:
                waiter.callback(result)

    def _keep(self, run_key: RunKey, run: bytes) -> None:
        if len(run) > self._max_bytes:
            return
        self._runs[run_key] = run
        self._by_key.setdefault(run_key[0], set()).add(run_key)
        self.size += len(run)
        while self.size > self._max_bytes:
            oldest, gone = self._runs.popitem(last=False)
            self.size -= len(gone)
            run_keys = self._by_key[oldest[0]]
            run_keys.discard(oldest)
            if not run_keys:
                del self._by_key[oldest[0]]
