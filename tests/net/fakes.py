"""
Services that answer when a test says so, and a client that speaks bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.access.open_sessions import OpenSessions
from kafscale.access.quotas.quotas import Quotas
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.config import Settings
from kafscale.interfaces import (
    IPressure,
    IService,
    ISessions,
    RequestContext,
    Serving,
    Settling,
)
from kafscale.net.connection import Connection
from kafscale.net.dispatch import Dispatch
from kafscale.net.factory import BrokerFactory, ListenerFactory
from kafscale.net.request_memory import RequestMemory
from kafscale.wire.frames import FrameBuffer
from kafscale.wire.headers import read_response_header, request_header
from kafscale.wire.messages import (
    FetchRequest,
    FetchResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ProduceRequest,
    ProduceResponse,
)
from kafscale.wire.schema import Request
from tests.harness.sessions import LISTENER
from tests.log.fakes import FakeSettlement

PLAIN_SESSIONS = OpenSessions(LISTENER)

VERSIONS = {ProduceRequest: 9, FetchRequest: 12, HeartbeatRequest: 4}


@attrs.define
class Begun:
    """
    A request that reached a service, and its answer to be.
    """

    request: Any
    context: RequestContext
    answer: Deferred[Any] = attrs.field(factory=Deferred)
    settling: FakeSettling | None = None


class FakeSettling(Settling):
    """
    The answer to a produce that waits for a settlement.
    """

    def __init__(self, response: Any, settlement: FakeSettlement) -> None:
        self.response = response
        self.settlement = settlement

    def refused(self, failure: Failure) -> Any:
        """
        The error is the dispatch's to answer.
        """
        return failure.raiseException()


@implementer(IService)
class FakeService:
    """
    Produce, Fetch and Heartbeat; each waits for the test, unless C{at_once}.

    @ivar fetched: Answers fetches instead, if set.
    @ivar settles: Whether produces wait for settlements, one for each unless
        C{settlement} is set.
    @ivar settlement: What all of them wait for.
    @ivar long: Whether answers to heartbeats are encoded in turns.
    @ivar on_begin: Called with each request that is begun.
    """

    def __init__(self) -> None:
        self.fetched: Callable[[Any, RequestContext], Any] | None = None
        self.on_begin: Callable[[Any], None] = lambda request: None
        self.begun: list[Begun] = []
        self.at_once = False
        self.long = False
        self.settles = False
        self.settlement: FakeSettlement | None = None
        self.records = b""

    def serves(self) -> Sequence[Serving]:
        """
        As the services of the broker do.
        """
        return [
            Serving(ProduceRequest, 0, 13, self._produce, self._failed, overlaps=True),
            Serving(FetchRequest, 0, 18, self._fetch, self._failed, repeats=True, abandoned=True),
            Serving(HeartbeatRequest, 0, 4, self._answer, self._failed, long=self.long),
        ]  # fmt: skip

    def response(self, request: Any, code: int = 0) -> Any:
        """
        The response to a request, or to one that failed with this error.
        """
        if isinstance(request, ProduceRequest):
            return ProduceResponse(responses=[]) if request.acks else None
        if isinstance(request, FetchRequest):
            topics = []
            if self.records:
                partition = FetchResponse.Topic.Partition(
                    partition_index=0, high_watermark=0, records=self.records
                )
                topics = [FetchResponse.Topic(topic="t", partitions=[partition])]
            return FetchResponse(responses=topics)
        return HeartbeatResponse(error_code=code)

    def _fetch(self, request: Any, context: RequestContext) -> Any:
        return (self.fetched or self._answer)(request, context)

    def _produce(self, request: Any, context: RequestContext) -> Any:
        if not self.settles or self.at_once or not request.acks:
            return self._answer(request, context)
        begun = Begun(request, context)
        self.begun.append(begun)
        settlement = self.settlement or FakeSettlement(len(self.begun))
        begun.answer.addCallbacks(
            lambda _: settlement.settle(), lambda failed: settlement.settle(failed.value)
        )
        begun.settling = FakeSettling(self.response(request), settlement)
        return begun.settling

    async def _answer(self, request: Any, context: RequestContext) -> Any:
        self.on_begin(request)
        begun = Begun(request, context)
        self.begun.append(begun)
        if not self.at_once:
            await begun.answer
        return self.response(request)

    def _failed(self, request: Any, context: RequestContext, code: int, message: str) -> Any:
        return self.response(request, code)


@implementer(IPressure)
class FakePressure:
    """
    Pressure that a test sets.
    """

    def __init__(self) -> None:
        self.high = False
        self.waiting: list[Deferred[None]] = []

    def spent(self) -> bool:
        """
        As set.
        """
        return self.high

    def relieved(self) -> Deferred[None]:
        """
        Fires with L{relieve}, or has fired.
        """
        if not self.high:
            return succeed(None)
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def hold(self, size: int) -> None:
        """
        See L{IPressure.hold}; the test sets what follows from it.
        """

    def relieve(self) -> None:
        """
        There is room again.
        """
        self.high = False
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(None)


class Transport(StringTransport):
    """
    Keeps apart what was asked of it, and takes only as much as it has room for.

    @ivar room: How many bytes more the kernel would take.
    @ivar sends: How often it was given some.
    """

    bufferSize = 65536
    aborted = False
    room = 1 << 30
    sends = 0
    _kept = b""

    def writeSomeData(self, data: bytes | memoryview) -> int:  # noqa: N802
        """
        As a transport of TCP; to no other is this to be said.
        """
        self.sends += 1
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        super().write(taken)
        return len(taken)

    def write(self, data: bytes) -> None:
        """
        Kept until there is room.
        """
        assert not self.room, "the transport was given what the kernel would have taken"
        self._kept += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        """
        One that is pulled is pulled at once.
        """
        super().registerProducer(producer, streaming)
        assert not streaming
        producer.resumeProducing()

    def drain(self, room: int = 1 << 30) -> None:
        """
        The client has taken what there was, and there is room again.
        """
        self.room = max(0, room - len(self._kept))
        super().write(self._kept)
        self._kept = b""
        if self.producer is not None:
            self.producer.resumeProducing()

    def abortConnection(self) -> None:  # noqa: N802
        """
        Close at once.
        """
        self.aborted = True

    @property
    def paused(self) -> bool:
        """
        Whether the connection does not read.
        """
        return bool(self.producerState == "paused")


class Client:
    """
    A client's end of a connection.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport = Transport()
        self._frames = FrameBuffer(2**31 - 1, 4)
        connection.makeConnection(self.transport)

    def send(self, *parts: bytes) -> None:
        """
        Bytes arrive, all at once.
        """
        self.connection.dataReceived(b"".join(parts))

    def answers(self) -> list[memoryview]:
        """
        The frames that came since the last call.
        """
        frames = self._frames.feed(self.transport.value())
        self.transport.clear()
        return frames

    def answered(self) -> list[int]:
        """
        The correlation ids of the answers that came since the last call.
        """
        return [struct.unpack_from(">i", each)[0] for each in self.answers()]

    def go(self) -> None:
        """
        The connection ends, as the reactor's do.
        """
        if self.transport.producer is not None:
            self.transport.producer.stopProducing()
            self.transport.unregisterProducer()
        self.connection.connectionLost(Failure(ConnectionDone()))


class Broker:
    """
    All of the room, around one fake service.
    """

    def __init__(
        self,
        memory_limit: int = 64 * 1024 * 1024,
        sessions: ISessions = PLAIN_SESSIONS,
        clock: Clock | None = None,
        services: Sequence[IService] = (),
        **settings: Any,
    ) -> None:
        self.clock = clock or Clock()
        self.pressure = FakePressure()
        self.service = FakeService()
        self.quotas = Quotas(self.clock.seconds)
        self.dispatch = Dispatch(
            services or [self.service],
            self.clock.seconds,
            "cluster",
            1,
            self.quotas,
            WorkQueue(self.clock, execute),
        )
        self.memory = RequestMemory(self.clock, memory_limit)
        self.factory = BrokerFactory(
            self.dispatch,
            self.pressure,
            self.clock,
            Settings(**settings),
            self.quotas,
            self.memory,
        )
        self.listener = self.factory.listener(sessions)

    @property
    def begun(self) -> list[Begun]:
        """
        What reached the service.
        """
        return self.service.begun

    def finish(self, index: int) -> None:
        """
        The service answers the request that reached it at that place.
        """
        self.service.begun[index].answer.callback(None)

    def connect(self) -> Client:
        """
        A client's connection.
        """
        connection = self.listener.buildProtocol(None)
        assert isinstance(connection, Connection)
        return Client(connection)

    def refused(self, host: str = "", listener: ListenerFactory | None = None) -> Transport | None:
        """
        The transport of a client that connects and is not accepted; None if it is.
        """
        protocol = (listener or self.listener).buildProtocol(IPv4Address("TCP", host, 1))
        transport = Transport()
        protocol.makeConnection(transport)
        return None if isinstance(protocol, Connection) else transport


def framed(request: Request, version: int, correlation_id: int, client_id: str = "c") -> bytes:
    """
    A request as it goes over the wire.
    """
    body = b"".join(request.encode(version))
    header = request_header(type(request).key, version, correlation_id, client_id)
    return struct.pack(">i", len(header) + len(body)) + header + body


def produce(correlation_id: int, acks: int = -1, size: int = 0) -> bytes:
    """
    A produce request with so many bytes of what is not even a batch.
    """
    partition = ProduceRequest.Topic.Partition(index=0, records=memoryview(bytes(size)))
    topic = ProduceRequest.Topic(name="t", partition_data=[partition])
    request = ProduceRequest(acks=acks, timeout_ms=1000, topic_data=[topic] if size else [])
    return framed(request, VERSIONS[ProduceRequest], correlation_id)


def fetch(correlation_id: int) -> bytes:
    """
    A fetch request.
    """
    request = FetchRequest(max_wait_ms=500, min_bytes=1, topics=[], forgotten_topics_data=[])
    return framed(request, VERSIONS[FetchRequest], correlation_id)


def heartbeat(correlation_id: int) -> bytes:
    """
    A request that is neither.
    """
    request = HeartbeatRequest(group_id="g", generation_id=1, member_id="m")
    return framed(request, VERSIONS[HeartbeatRequest], correlation_id)


def body(answer: memoryview, response: Any, version: int) -> tuple[int, Any]:
    """
    The correlation id and the body of an answer.
    """
    correlation_id, at = read_response_header(response.key, version, answer)
    return correlation_id, response.decode(version, answer, at)
