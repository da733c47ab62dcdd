"""
Users and rights that change under load, and a client that has some of them.

An administrator changes one fact after the other: an ACL that denies writing is there or
not, a credential has this number of iterations, or there is none. Each change is asked
for, at any broker, until it is acknowledged; and the next one when no broker works any
more on a request that was given up. So the values of a fact have an order, and a broker
may show the present one or an earlier one, but none before

  - one that this process has acknowledged, or shown;
  - the one that was acknowledged when the process began.

What a broker may show it may act upon, and nothing else: so one that is cut off goes on
with what it knows, and one that has a denial acknowledges nothing that it forbids.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from kafscale import errors
from kafscale.access.open_sessions import OpenSession
from kafscale.errors import retriable
from kafscale.format.acl import Operation, PatternType, Permission, ResourceType
from kafscale.interfaces import Principal
from kafscale.wire.building import build_batch
from kafscale.wire.messages import (
    AlterUserScramCredentialsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    DescribeUserScramCredentialsRequest,
    ProduceRequest,
)
from kafscale.wire.records import Record
from kafscale.wire.schema import Request
from tests.harness.sessions import LISTENER
from tests.simulation.client import Client
from tests.simulation.network import Disconnected, Pipe
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

GUEST = Principal("User", "guest")

ACLS_VERSION = 3
USERS_VERSION = 0
PRODUCE_VERSION = 13

SHA_256 = 1
MIN_ITERATIONS = 4096


@attrs.define(eq=False)
class Fact:
    """
    What changes, and the values that it has had.

    @ivar name: For messages.
    @ivar values: In their order; all but the last one are acknowledged.
    @ivar times: When each was acknowledged, in simulated seconds.
    """

    name: str
    values: list[Any]
    times: list[float]
    _known: dict[int, int] = attrs.field(factory=dict)

    @property
    def is_settled(self) -> bool:
        """
        Whether the last change is acknowledged.
        """
        return len(self.times) == len(self.values)

    def known(self, process: Process) -> int:
        """
        The number of the first value that a process may show.
        """
        before = sum(time <= process.begun for time in self.times) - 1
        return max(before, self._known.get(process.number, 0))

    def acknowledged(self, process: Process, now: float) -> None:
        """
        A process has acknowledged the last value.
        """
        self.times.append(now)
        self._known[process.number] = len(self.values) - 1

    def shown(self, process: Process, first: int, value: Any) -> bool:
        """
        A process shows a value; whether it may.

        @param first: What was L{known} of it when it was asked.
        """
        places = [at for at in range(first, len(self.values)) if self.values[at] == value]
        if not places:
            return False
        self._known[process.number] = max(self._known.get(process.number, 0), places[0])
        return True


class Access:
    """
    The facts of a world, which its clients change and find out.

    @ivar denied: Whether there is an ACL by which the guest may not write to C{topic}.
    @ivar credential: The iterations of a user's credential; None if there is none.
    """

    def __init__(self, topic: str) -> None:
        """
        @param topic: The name of a topic.
        """
        self.topic = topic
        self.denied = Fact(f"a denial for {topic}", [False], [0.0])
        self.credential = Fact("a credential", [None], [0.0])


class Warden(Client):
    """
    Changes the facts, and asks brokers for them.

    @ivar changes: How many were acknowledged.
    @ivar behind: How often a broker did not show the present value.
    """

    def __init__(self, world: World, name: str, access: Access) -> None:
        super().__init__(world, name)
        self.running = True
        self.changes = 0
        self.behind = 0
        self._access = access
        self._iterations = MIN_ITERATIONS
        self._given_up: list[Pipe] = []

    async def allow(self) -> None:
        """
        Let the guest write, until an ACL denies it.
        """
        while await self._try(self._creation("*", Permission.ALLOW), ACLS_VERSION) is None:
            await self.pause(0.5)

    async def run(self, pause: float) -> None:
        """
        Change something from time to time, and ask some broker.
        """
        facts = [self._access.denied, self._access.credential]
        while self.running:
            await self.pause(pause)
            fact = self.chance.choice(facts)
            if fact.is_settled and self._is_certain() and self.chance.random() < 0.7:
                self._decide(fact)
            if not fact.is_settled:
                await self._change(fact)
            await self._look(self.chance.choice(self.world.broker_ids()), fact)
        for fact in facts:
            while not fact.is_settled:
                await self._change(fact)
                await self.pause(0.5)

    async def until_equal(self) -> None:
        """
        Return when all brokers show the present values.
        """
        for fact in (self._access.denied, self._access.credential):
            for broker_id in self.world.broker_ids():
                while await self._look(broker_id, fact) != [fact.values[-1]]:
                    await self.pause(0.5)

    # -- changing ---------------------------------------------------------------

    def _is_certain(self) -> bool:
        """
        Whether nothing comes any more of requests that were given up.
        """
        self._given_up = [
            pipe
            for pipe in self._given_up
            if not (pipe.is_over or self.world.process(pipe.process).done)
        ]
        return not self._given_up

    def _decide(self, fact: Fact) -> None:
        if fact is self._access.denied:
            fact.values.append(not fact.values[-1])
        elif fact.values[-1] is not None and self.chance.random() < 0.4:
            fact.values.append(None)
        else:
            self._iterations += 1
            fact.values.append(self._iterations)

    async def _change(self, fact: Fact) -> None:
        """
        Ask a broker for the last value. If it acknowledges it, it has to show it.
        """
        value = fact.values[-1]
        if fact is self._access.denied:
            request = self._creation(self._access.topic, Permission.DENY)
            process = await self._try(request if value else self._deletion(), ACLS_VERSION)
        else:
            process = await self._try(self._alteration(value), USERS_VERSION)
        if process is not None:
            self.changes += 1
            fact.acknowledged(process, self.world.schedule.now)
            await self._look(process.broker_id, fact)

    async def _try(self, request: Request, version: int) -> Process | None:
        """
        Ask some broker; the process that has acknowledged it.
        """
        broker_id = self.chance.choice(self.world.broker_ids())
        try:
            answer = await self.ask(broker_id, request, version)
        except Disconnected:
            pipe = self.pipe(broker_id)
            if pipe is not None:
                self._given_up.append(pipe)
            return None
        is_deletion = isinstance(request, DeleteAclsRequest)
        code = (answer.filter_results if is_deletion else answer.results)[0].error_code
        nothing = isinstance(request, AlterUserScramCredentialsRequest) and request.deletions
        if code == 0 or (nothing and code == errors.ResourceNotFound.code):
            return self.process(broker_id)
        self.world.checker.expect(retriable(code), f"{request}: {code}")
        return None

    @staticmethod
    def _creation(topic: str, permission: Permission) -> CreateAclsRequest:
        creation = CreateAclsRequest.Creation(
            resource_type=ResourceType.TOPIC,
            resource_name=topic,
            principal=str(GUEST),
            host="*",
            operation=Operation.WRITE,
            permission_type=permission,
        )
        return CreateAclsRequest(creations=[creation])

    @staticmethod
    def _deletion() -> DeleteAclsRequest:
        return DeleteAclsRequest(filters=[DeleteAclsRequest.Filter(**_denials())])

    @staticmethod
    def _alteration(iterations: int | None) -> AlterUserScramCredentialsRequest:
        asked = AlterUserScramCredentialsRequest
        if iterations is None:
            deletion = asked.Deletion(name="ann", mechanism=SHA_256)
            return asked(deletions=[deletion], upsertions=[])
        upsertion = asked.Upsertion(
            name="ann",
            mechanism=SHA_256,
            iterations=iterations,
            salt=b"salt",
            salted_password=bytes(32),
        )
        return asked(deletions=[], upsertions=[upsertion])

    # -- asking -----------------------------------------------------------------

    async def _look(self, broker_id: int, fact: Fact) -> Sequence[Any]:
        """
        Ask a broker for a value, which it must be able to have; none if there is no
        answer.
        """
        request: Request
        if fact is self._access.denied:
            request, version = DescribeAclsRequest(**_denials()), ACLS_VERSION
        else:
            request, version = DescribeUserScramCredentialsRequest(users=None), USERS_VERSION
        first = {each.number: fact.known(each) for each in self.world.living()}
        try:
            answer = await self.ask(broker_id, request, version)
        except Disconnected:
            return []
        self.world.checker.expect(answer.error_code == 0, f"{request}: {answer.error_code}")
        value: Any
        if fact is self._access.denied:
            value = bool(answer.resources)
        else:
            infos = [info for each in answer.results for info in each.credential_infos]
            value = infos[0].iterations if infos else None
        process = self.process(broker_id)
        self.world.checker.expect(
            fact.shown(process, first.get(process.number, 0), value),
            f"broker {broker_id}, process {process.number}, shows {value} of {fact}",
        )
        self.behind += value != fact.values[-1]
        return [value]


def _denials() -> dict[str, Any]:
    """
    A filter for the ACLs that deny.
    """
    return {
        "resource_type_filter": ResourceType.TOPIC,
        "resource_name_filter": None,
        "pattern_type_filter": PatternType.ANY,
        "principal_filter": None,
        "host_filter": None,
        "operation": Operation.WRITE,
        "permission_type": Permission.DENY,
    }


class Guest(Client):
    """
    Writes a record from time to time, to the leader or to another broker, and never
    again if it has no answer.

    @ivar written: How many records were acknowledged.
    @ivar refused: How many were denied.
    """

    session = OpenSession(LISTENER, GUEST)

    def __init__(self, world: World, name: str, access: Access, partitions: int) -> None:
        super().__init__(world, name)
        self.running = True
        self.written = 0
        self.refused = 0
        self._access = access
        self._partitions = partitions
        self._number = 0

    async def run(self, pause: float) -> None:
        """
        Write.
        """
        while self.running:
            await self.pause(pause)
            await self.refresh([self._access.topic])
            index = self.chance.randrange(self._partitions)
            led = self.leaders.get((self._access.topic, index))
            if led is None:
                continue
            broker_id = led.leader
            if broker_id < 0 or self.chance.random() < 0.3:
                broker_id = self.chance.choice(self.world.broker_ids())
            with suppress(Disconnected):
                await self._write(broker_id, (led.topic_id, index))

    async def _write(self, broker_id: int, where: Any) -> None:
        self._number += 1
        value = f"{self.name} {self._number} 0".encode()
        now = int(self.world.schedule.now * 1000)
        data = build_batch([Record(0, now, None, value)])
        part = ProduceRequest.Topic.Partition(index=where[1], records=memoryview(data))
        topic = ProduceRequest.Topic(topic_id=where[0], partition_data=[part])
        request = ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[topic])
        fact = self._access.denied
        first = {each.number: fact.known(each) for each in self.world.living()}
        answer = await self.ask(broker_id, request, PRODUCE_VERSION)
        told = answer.responses[0].partition_responses[0]
        process = self.process(broker_id)
        possible = fact.values[first.get(process.number, 0) :]
        text = f"process {process.number} answers {told.error_code}, where it knows {possible}"
        if told.error_code == errors.TopicAuthorizationFailed.code:
            self.refused += 1
            self.world.checker.expect(True in possible, text)
            return
        self.world.checker.expect(False in possible, text)
        if told.error_code == 0:
            self.written += 1
            self.world.checker.acknowledged(where, told.base_offset, [value])
        else:
            self.world.checker.expect(retriable(told.error_code), text)
