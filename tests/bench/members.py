"""
The client's side of the benchmarks of groups: many members, each on a
connection of its own, in a process that costs little.

    python -m tests.bench.members '{"do": "settle", "port": 9092, ...}'

A member is a generator: it yields the request that it sends, and gets the
response; or seconds for which it sleeps. Prints one line of JSON for each
stage that it has come to.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any

from kafscale.wire.headers import read_response_header, request_header
from kafscale.wire.messages import (
    RESPONSES,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    HeartbeatRequest,
    JoinGroupRequest,
    OffsetCommitRequest,
    SyncGroupRequest,
)
from kafscale.wire.schema import Request
from tests.bench.load import TOPIC, connect

VERSIONS = {JoinGroupRequest: 9, SyncGroupRequest: 5, HeartbeatRequest: 4, OffsetCommitRequest: 8}
HEARTBEAT_SECONDS = 3.0
REBALANCE_IN_PROGRESS = 27
MEMBER_ID_REQUIRED = 79

Script = Generator[bytes | float, memoryview, None]


class Loop:
    """
    An event loop that runs members.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._sleeping: list[tuple[float, int, Script, socket.socket]] = []
        self._numbers = itertools.count()
        self.stopped = False

    def add(self, script: Script) -> None:
        """
        Another member, on a connection of its own.
        """
        link = connect(self._port)
        self._selector.register(link, selectors.EVENT_READ, (script, bytearray()))
        self._took(script, link, next(script))

    def run(self, seconds: float = 900.0) -> None:
        """
        Until it is stopped, or the time is up.
        """
        end = time.monotonic() + seconds
        self.stopped = False
        while not self.stopped and (now := time.monotonic()) < end:
            wake = min(end, self._sleeping[0][0]) if self._sleeping else end
            for key, _ in self._selector.select(max(0.0, wake - now)):
                self._read(key)
            now = time.monotonic()
            while self._sleeping and self._sleeping[0][0] <= now:
                _, _, script, link = heapq.heappop(self._sleeping)
                self._took(script, link, next(script))

    def _read(self, key: selectors.SelectorKey) -> None:
        script, waiting = key.data
        link: socket.socket = key.fileobj  # type: ignore[assignment]
        some = link.recv(262_144)
        if not some:
            raise ConnectionError("the broker closed the connection")
        waiting += some
        if len(waiting) >= 4:
            (size,) = struct.unpack_from(">i", waiting)
            if len(waiting) >= 4 + size:
                response = memoryview(bytes(waiting[4:]))
                waiting.clear()
                self._took(script, link, script.send(response))

    def _took(self, script: Script, link: socket.socket, what: bytes | float) -> None:
        if isinstance(what, bytes):
            link.sendall(what)
        else:
            at = time.monotonic() + what
            heapq.heappush(self._sleeping, (at, next(self._numbers), script, link))


def frame(request: Request) -> bytes:
    """
    A request as it is sent.
    """
    version = VERSIONS[type(request)]
    body = b"".join(request.encode(version))
    head = request_header(type(request).key, version, 1, "bench")
    return struct.pack(">i", len(head) + len(body)) + head + body


def asked(request: Request) -> Generator[bytes, memoryview, Any]:
    """
    Send it; the response.
    """
    response = yield frame(request)
    key, version = type(request).key, VERSIONS[type(request)]
    _, at = read_response_header(key, version, response)
    return RESPONSES[key].decode(version, response, at)


class Group:
    """
    The members of one group; knows when all have an assignment.
    """

    def __init__(self, loop: Loop, name: str, size: int, partitions: int) -> None:
        self.name = name
        self.size = size
        self._loop = loop
        self._partitions = partitions
        self._synced: dict[str, int] = {}
        self.settled: Callable[[], None] = lambda: None

    def join(self, member_id: str = "") -> Generator[bytes, memoryview, Any]:
        """
        Come into the group, or join again, as often as it takes; how it was
        joined.
        """
        while True:
            joined = yield from asked(self._joining(member_id))
            member_id = joined.member_id
            if joined.error_code == MEMBER_ID_REQUIRED:
                continue
            assert not joined.error_code, f"JoinGroup: {joined.error_code}"
            synced = yield from asked(self._syncing(joined))
            if synced.error_code == REBALANCE_IN_PROGRESS:
                continue
            assert not synced.error_code, f"SyncGroup: {synced.error_code}"
            self._synced[member_id] = joined.generation_id
            generations = list(self._synced.values())
            if len(generations) == self.size and min(generations) == max(generations):
                self.settled()
            return joined

    def member(self) -> Script:
        """
        A member that stays in its group and sends heartbeats.
        """
        joined = yield from self.join()
        yield random.uniform(0, HEARTBEAT_SECONDS)
        while True:
            beat = frame(
                HeartbeatRequest(
                    group_id=self.name,
                    generation_id=joined.generation_id,
                    member_id=joined.member_id,
                )
            )
            # Header version 1: correlation id, no tags; then the throttle time.
            while (code := struct.unpack_from(">h", (yield beat), 9)[0]) == 0:
                yield HEARTBEAT_SECONDS
            assert code == REBALANCE_IN_PROGRESS, f"Heartbeat: {code}"
            joined = yield from self.join(joined.member_id)

    def committing(self, partition: int, done: list[int]) -> Script:
        """
        A member that commits without pause.
        """
        joined = yield from self.join()
        yield 0.5  # until the others have their parts
        kind = OffsetCommitRequest.Topic
        place = kind.Partition(
            partition_index=partition, committed_offset=123_456, committed_metadata=""
        )
        request = frame(
            OffsetCommitRequest(
                group_id=self.name,
                generation_id_or_member_epoch=joined.generation_id,
                member_id=joined.member_id,
                topics=[kind(name=TOPIC, partitions=[place])],
            )
        )
        while True:
            answer = yield request
            # The code, before the tags of partition, topic and answer.
            (code,) = struct.unpack_from(">h", answer, len(answer) - 5)
            assert not code, f"OffsetCommit: {code}"
            done[0] += 1

    def _joining(self, member_id: str) -> JoinGroupRequest:
        wish = ConsumerProtocolSubscription(topics=[TOPIC])
        metadata = struct.pack(">h", 1) + b"".join(wish.encode(1))
        return JoinGroupRequest(
            group_id=self.name,
            session_timeout_ms=45_000,
            rebalance_timeout_ms=300_000,
            member_id=member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequest.Protocol(name="range", metadata=metadata)],
        )

    def _syncing(self, joined: Any) -> SyncGroupRequest:
        parts = []
        for number, member in enumerate(joined.members):
            mine = range(number, self._partitions, len(joined.members))
            topic = ConsumerProtocolAssignment.AssignedPartition(topic=TOPIC, partitions=list(mine))
            part = ConsumerProtocolAssignment(assigned_partitions=[topic])
            data = struct.pack(">h", 1) + b"".join(part.encode(1))
            parts.append(SyncGroupRequest.Assignment(member_id=member.member_id, assignment=data))
        return SyncGroupRequest(
            group_id=self.name,
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=parts,
        )


def say(**what: Any) -> None:
    """
    A stage is reached.
    """
    print(json.dumps(what), flush=True)


def start(
    loop: Loop, groups: Iterable[Group], scripts: Callable[[Group], Iterable[Script]]
) -> float:
    """
    Run until all of these groups have settled; seconds since the first came.
    """
    everybody = list(groups)
    unsettled = {group.name for group in everybody}
    began = time.perf_counter()
    for group in everybody:

        def settled(name: str = group.name) -> None:
            unsettled.discard(name)
            loop.stopped = not unsettled

        group.settled = settled
        for script in scripts(group):
            loop.add(script)
    loop.run()
    return time.perf_counter() - began


def settle(port: int, members: int, partitions: int) -> None:
    """
    A group comes together; then one more member comes.
    """
    loop = Loop(port)
    group = Group(loop, "settle", members, partitions)
    say(first=start(loop, [group], lambda g: [g.member() for _ in range(members)]))
    loop.run(HEARTBEAT_SECONDS)  # so that heartbeats come spread over time
    group.size += 1
    say(again=start(loop, [group], lambda g: [g.member()]))


def heartbeats(port: int, members: int, groups: int, seconds: float) -> None:
    """
    Groups in which nothing happens.
    """
    loop = Loop(port)
    size = members // groups
    everybody = [Group(loop, f"beat-{n}", size, size) for n in range(groups)]
    say(settled=start(loop, everybody, lambda group: [group.member() for _ in range(size)]))
    loop.run(seconds)


def commits(port: int, connections: int, groups: int, seconds: float) -> None:
    """
    Members that commit one partition after the other, without pause.
    """
    loop = Loop(port)
    size = connections // groups
    everybody = [Group(loop, f"commit-{n}", size, size) for n in range(groups)]
    done = [0]
    start(loop, everybody, lambda group: [group.committing(n, done) for n in range(size)])
    loop.run(2.0)
    before, began = done[0], time.perf_counter()
    say(begun=True)
    loop.run(seconds)
    say(commits=done[0] - before, seconds=time.perf_counter() - began)


JOBS: dict[str, Callable[..., None]] = {
    "settle": settle,
    "heartbeats": heartbeats,
    "commits": commits,
}

if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    JOBS[job.pop("do")](**job)
