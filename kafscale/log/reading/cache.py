"""
What was read from segments, for who reads it next.

Consumers of one partition mostly follow one another, and each reads on from
where it was: what one has read the next one wants, and what comes after is
wanted soon. So runs of segments are kept as long as there is room, and read
ahead; who asks for a run that is under way waits for it with the others.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kafscale.format.errors import CorruptObject
from kafscale.interfaces import IObjectReader

Place = tuple[str, int, int]
"""An object's key, and where a run begins and ends in it."""


class _Reading:
    """
    A run that is under way from the store.

    @ivar dropped: Whether its object went meanwhile.
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
    The runs read last, up to a number of bytes.

    @ivar size: Bytes of the runs in memory.
    @ivar hits: How many runs were asked for and in memory.
    @ivar misses: How many had to be waited for.
    """

    def __init__(self, store: IObjectReader, max_bytes: int, ahead: int = 8) -> None:
        """
        @param max_bytes: What is larger is not kept.
        @param ahead: How many runs may be under way that nobody waits for; as
            many again, eight times, may wait for that.
        """
        self._store = store
        self._max_bytes = max_bytes
        self._ahead = ahead
        self._runs: OrderedDict[Place, bytes] = OrderedDict()  # least recently used first
        self._by_key: dict[str, set[Place]] = {}
        self._under_way: dict[Place, _Reading] = {}
        self._prefetching = 0
        self._wanted: deque[Place] = deque(maxlen=8 * ahead)  # The oldest is forgotten.
        self.size = 0
        self.hits = 0
        self.misses = 0

    async def get(self, key: str, start: int, stop: int) -> bytes:
        """
        The bytes of an object from C{start} up to C{stop}.

        Whoever gives up waiting (cancels) leaves the others, and the reading,
        alone.

        @raise NoSuchObject: the object is not there.
        @raise CorruptObject: it is shorter.
        @raise StoreUnavailable: the store did not answer; nothing is kept of
            that, the next one asks again.
        """
        place = (key, start, stop)
        run = self._runs.get(place)
        if run is not None:
            self.hits += 1
            self._runs.move_to_end(place)
            return run
        self.misses += 1
        reading = self._under_way.get(place)
        if reading is not None:
            return await reading.wait()
        reading = self._under_way[place] = _Reading()
        # Waited for like by all others: the first to ask may give up, too.
        waiter = reading.wait()
        Deferred.fromCoroutine(self._read(place)).addBoth(self._done, place, reading)
        return await waiter

    def prefetch(self, key: str, start: int, stop: int) -> None:
        """
        Somebody will soon ask for this: read it, when those that are to be
        read ahead before it are read.
        """
        place = (key, start, stop)
        known = place in self._runs or place in self._under_way or place in self._wanted
        if not known and stop - start <= self._max_bytes:
            self._wanted.append(place)
            self._read_wanted()

    def _read_wanted(self) -> None:
        while self._wanted and self._prefetching < self._ahead:
            place = self._wanted.popleft()
            if place in self._runs or place in self._under_way:
                continue
            self._prefetching += 1
            reading = self._under_way[place] = _Reading()
            fetching = Deferred.fromCoroutine(self._read(place))
            fetching.addBoth(self._prefetched)
            fetching.addBoth(self._done, place, reading)

    def drop(self, key: str) -> None:
        """
        Forget what is of this object: it is deleted.
        """
        for place in self._by_key.pop(key, ()):
            self.size -= len(self._runs.pop(place))
        for place, reading in self._under_way.items():
            if place[0] == key:
                reading.dropped = True
        for place in [place for place in self._wanted if place[0] == key]:
            self._wanted.remove(place)

    async def _read(self, place: Place) -> bytes:
        key, start, stop = place
        run = await self._store.get(key, start, stop - start)
        if len(run) != stop - start:
            raise CorruptObject(f"{key} ends before {stop}")
        return run

    def _prefetched(self, result: bytes | Failure) -> bytes | Failure:
        self._prefetching -= 1
        self._read_wanted()
        return result

    def _done(self, result: bytes | Failure, place: Place, reading: _Reading) -> None:
        del self._under_way[place]
        if isinstance(result, bytes) and not reading.dropped:
            self._keep(place, result)
        # One by one: who is told may make another give up.
        while reading.waiting:
            waiter = reading.waiting.pop(0)
            if isinstance(result, Failure):
                waiter.errback(result.value)
            else:
                waiter.callback(result)

    def _keep(self, place: Place, run: bytes) -> None:
        if len(run) > self._max_bytes:
            return
        self._runs[place] = run
        self._by_key.setdefault(place[0], set()).add(place)
        self.size += len(run)
        while self.size > self._max_bytes:
            oldest, gone = self._runs.popitem(last=False)
            self.size -= len(gone)
            places = self._by_key[oldest[0]]
            places.discard(oldest)
            if not places:
                del self._by_key[oldest[0]]
