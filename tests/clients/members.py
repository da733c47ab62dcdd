"""
Members of groups, as processes that join, leave, crash and join again, and
checks of the records that they have processed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import confluent_kafka
from confluent_kafka.admin import AdminClient

from kafscale.wire.messages import DescribeGroupsRequest, HeartbeatRequest
from tests.clients.broker import ROOT, BrokerTestCase, environment, eventually
from tests.clients.flow import Flow
from tests.clients.raw import RawClient

SECONDS = 120.0
#: For members that crash: tests wait for it, but none may be late by so much.
SHORT_MS = 8_000
#: For those that must not be given up: librdkafka's default.
LONG_MS = 45_000
KAFKAJS = Path(__file__).with_name("kafkajs")
NONE = 0
ILLEGAL_GENERATION = 22
REBALANCE_IN_PROGRESS = 27


@attrs.frozen
class Job:
    """
    The task of a member, passed to its process.

    @ivar library: By its name, as in `tests.clients.libraries`.
    @ivar assignor: The one strategy that it knows; None: those that the
        library uses by default, and with kafkajs, whose default no other
        library has, round robin.
    @ivar instance: Its C{group.instance.id}.
    @ivar session_ms: After how much silence it is given up.
    @ivar journal: The file in which it notes what it processes and commits.
    @ivar heartbeat_ms: How soon it notices a rebalance.
    """

    library: str
    address: str
    group: str
    topic: str
    assignor: str | None
    instance: str | None
    session_ms: int
    journal: str
    heartbeat_ms: int = 300

    def to_json(self) -> str:
        """
        For a command line.
        """
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """
        Read the output of L{to_json}.
        """
        return cls(**json.loads(text))


@attrs.define
class Processed:
    """
    A record that a member has done its work with.

    @ivar committed: Whether the broker has acknowledged a commit of it.
    """

    partition: int
    offset: int
    value: int
    committed: bool = False


class Member:
    """
    A consumer process.

    @ivar processed: What its journal says so far.
    @ivar lost: How many commits it had to give up.
    @ivar crashed: Whether it was killed.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self.job = job
        self.processed: list[Processed] = []
        self.lost = 0
        self.crashed = False
        self._journal = Path(job.journal)
        self._journal.touch()
        self._read = 0
        self._open: dict[int, list[Processed]] = defaultdict(list)
        self.log = folder / f"{self._journal.stem}.log"
        command = (
            ["node", str(KAFKAJS / "consume.js"), job.to_json()]
            if job.library == "kafkajs"
            else [sys.executable, "-m", "tests.clients.consume", job.to_json()]
        )
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def read(self) -> list[Processed]:
        """
        Return the records that it has processed so far.
        """
        with self._journal.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            kind, *rest = line.split()
            if kind == b"P":
                partition, offset, value = map(int, rest)
                record = Processed(partition, offset, value)
                self.processed.append(record)
                self._open[record.partition].append(record)
            elif kind == b"C":
                partition, end = map(int, rest)
                for record in self._open[partition]:
                    record.committed = record.committed or record.offset < end
                self._open[partition] = [r for r in self._open[partition] if not r.committed]
            else:
                self.lost += 1
        return self.processed

    def crash(self) -> None:
        """
        C{kill -9}.
        """
        self.crashed = True
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """
        Ask it to leave; it ends by itself.
        """
        self._process.terminate()
        try:
            status = self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} does not end:\n{self.tail()}") from None
        assert status == 0, f"{self} ended with {status}:\n{self.tail()}"

    def clear(self) -> None:
        """
        Leave nothing behind, whatever state it is in.
        """
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()

    def tail(self) -> str:
        """
        Return the last lines that it has printed.
        """
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def __str__(self) -> str:
        return self._journal.stem


class MembersTestCase(BrokerTestCase):
    """
    A broker with topics, and members of groups.
    """

    def setUp(self) -> None:
        """
        Start a broker; there are no members yet.
        """
        super().setUp()
        self.members: list[Member] = []
        self.running = self.broker(group_initial_rebalance_delay_ms=1000)
        self.admin = self.new_admin()

    def new_admin(self) -> AdminClient:
        """
        Return a new admin client, without a cache: librdkafka remembers a
        group's coordinator even when it has given up the connection to it, and
        then waits for ever.
        """
        return AdminClient({"bootstrap.servers": self.running.address, "log_level": 0})

    def flow(self, topic: str, partitions: int, count: int) -> Flow:
        """
        A new topic, and what will be produced to it.
        """
        with RawClient(self.running.port) as raw:
            raw.create(topic, partitions)
        flow = Flow(self.running.address, topic, partitions, count)
        flow.start()
        return flow

    def come(
        self,
        *libraries: str,
        assignor: str | None = None,
        group: str = "group",
        topic: str = "t",
        instance: str | None = None,
        session_ms: int = SHORT_MS,
    ) -> list[Member]:
        """
        New members.
        """
        come = []
        for library in libraries:
            name = f"{len(self.members)}-{library}"
            job = Job(
                library,
                self.running.address,
                group,
                topic,
                assignor,
                instance,
                session_ms,
                str(self.folder / f"{name}.journal"),
            )
            member = Member(self.folder, job)
            self.addCleanup(member.clear)
            self.members.append(member)
            come.append(member)
        return come

    def describe(self, group: str = "group") -> Any:
        """
        The group, as confluent-kafka describes it.
        """
        return self.admin.describe_consumer_groups([group])[group].result(SECONDS)

    def committed(self, group: str = "group") -> int:
        """
        The sum of all offsets that the group has committed.
        """
        asked = [confluent_kafka.ConsumerGroupTopicPartitions(group)]
        answer = self.admin.list_consumer_group_offsets(asked)[group].result(SECONDS)
        return sum(each.offset for each in answer.topic_partitions)

    def settled(
        self,
        count: int,
        partitions: int,
        group: str = "group",
        former: Collection[str] = (),
        staying: int = 0,
    ) -> dict[str, set[int]]:
        """
        Wait until the group has exactly so many members, and they share the
        partitions. Their shares, by member id.

        @param former: The ids of its former members: a group keeps those that were
            killed until their sessions end.
        @param staying: How many of these may be left.
        """
        shares: dict[str, set[int]] = {}

        def shared() -> bool:
            described = self.describe(group)
            shares.clear()
            for member in described.members:
                parts = member.assignment.topic_partitions if member.assignment else ()
                shares[member.member_id] = {each.partition for each in parts}
            return (
                described.state is confluent_kafka.ConsumerGroupState.STABLE
                and len(shares) == count
                and len(shares.keys() & set(former)) <= staying
                and sorted(p for share in shares.values() for p in share)
                == list(range(partitions))
            )

        try:
            eventually(shared, SECONDS)
        except AssertionError:
            told = "\n".join(f"--- {member}\n{member.tail()}" for member in self.members)
            raise AssertionError(f"not shared by {count}: {shares}\n{told}") from None
        return shares

    def all_processed(self, count: int, members: Sequence[Member]) -> None:
        """
        Wait until each of so many records is processed and committed, or was
        processed by a member that crashed.
        """

        def done() -> bool:
            return len(values(members)) == count and not any(
                record.committed is False
                for member in members
                if not member.crashed and not member.lost
                for record in member.read()[-1:]
            )

        try:
            eventually(done, SECONDS)
        except AssertionError:
            missing = sorted(set(range(count)) - values(members))
            told = "\n".join(f"--- {member}\n{member.tail()}" for member in members)
            raise AssertionError(f"{len(missing)} not processed: {missing[:9]}\n{told}") from None

    def assert_none_twice(self, members: Sequence[Member]) -> None:
        """
        No record was processed again, unless its commit was lost: with its
        member, which was killed, or on its way, which the member noticed.
        """
        seen: dict[tuple[int, int], list[tuple[Member, Processed]]] = defaultdict(list)
        for member in members:
            for record in member.read():
                seen[record.partition, record.offset].append((member, record))
        for where, times in seen.items():
            kept = [
                str(member)
                for member, record in times
                if record.committed or not (member.crashed or member.lost)
            ]
            told = [(str(member), record, member.lost) for member, record in times]
            self.assertLessEqual(len(kept), 1, f"{where} twice: {told}")


def values(members: Iterable[Member]) -> set[int]:
    """
    Return the values of all records that these members have processed.
    """
    return {record.value for member in members for record in member.read()}


def generation(raw: RawClient, group: str) -> int:
    """
    Return the generation of a group, found by trying: no API returns it.
    """
    (described,) = raw.call(DescribeGroupsRequest(groups=[group]), 5).groups
    member_id = described.members[0].member_id
    for number in range(1, 1000):
        asked = HeartbeatRequest(group_id=group, generation_id=number, member_id=member_id)
        code = raw.call(asked, 4).error_code
        assert code in (NONE, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS), code
        if code != ILLEGAL_GENERATION:
            return number
    raise AssertionError(f"{group} has no generation below 1000")
