"""
What a case does with a broker: it asks, and the answers are kept, without what
differs between any two brokers.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import attrs

from kafscale.wire.batches import HEADER, HEADER_SIZE, LENGTH_OVERHEAD, MAGIC, MAGIC_AT
from kafscale.wire.kinds import ListOf, StructOf
from kafscale.wire.messages import (
    FetchRequest,
    InitProducerIdRequest,
    ListOffsetsRequest,
    MetadataRequest,
    ProduceRequest,
)
from kafscale.wire.schema import NO_UUID, Declaration, Request
from tests.clients.raw import LATEST, RawClient

SECONDS = 60.0
HOUR = 3_600_000

UUID_TEXT = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BATCH_FIELDS = (
    "base_offset",
    "length",
    "leader_epoch",
    "magic",
    "crc",
    "attributes",
    "last_offset_delta",
    "base_timestamp",
    "max_timestamp",
    "producer_id",
    "producer_epoch",
    "base_sequence",
    "record_count",
)

#: Fields with texts for people: their wording is not compared, nor empty with null.
PROSE = {"error_message", "batch_index_error_message", "documentation"}
#: Fields with times, in ms.
TIMES = {"timestamp", "log_append_time_ms", "last_timestamp", "base_timestamp", "max_timestamp"}
#: Fields of which only the sign is compared.
SIZES = {"total_bytes", "usable_bytes"}
#: Fields by which the elements of a list are told apart, in this order: the first
#: that says anything. The order of the list is not compared.
NAMES = ("name", "topic", "topic_name", "resource_name", "group_id", "key", "topic_id")
#: Fields that do so within one of these.
NUMBERS = (
    "partition_index",
    "partition",
    "partition_id",
    "index",
    "node_id",
    "broker_id",
    "api_key",
)


@attrs.frozen
class Case:
    """
    A conversation to have with both brokers.

    @ivar name: Its family, a slash and the rest: unique.
    @ivar run: Has it with one of them.
    """

    name: str
    run: Callable[[Talk], None]


class Talk:
    """
    The conversation of one case with one broker.

    @ivar answers: What the broker answered to each L{ask}, as plain data.
    @ivar ids: The ids of topics, by name.
    """

    def __init__(self, port: int, case: str, nonce: str) -> None:
        self.port = port
        self.answers: list[tuple[str, Any]] = []
        self.ids: dict[str, UUID] = {}
        self._case = slug(case)
        self._nonce = nonce
        self._producers: dict[int, str] = {}
        self._clients: list[RawClient] = []
        self.client = self.connect()

    def connect(self) -> RawClient:
        """
        Return one more connection.
        """
        client = RawClient(self.port, SECONDS)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """
        Close all connections.
        """
        for client in self._clients:
            client.close()

    # ------------------------------------------------------------- requests

    def ask(self, request: Request, version: int, on: RawClient | None = None) -> Any:
        """
        Send a request, and keep its answer for the comparison.

        @return: The response; None if the broker closed the connection instead.
        """
        client = on or self.client
        correlation = client.send(request, version)
        return self.answer(request, version, correlation, on)

    def answer(
        self, request: Request, version: int, correlation: int, on: RawClient | None = None
    ) -> Any:
        """
        Wait for the answer to a request that was sent, and keep it likewise.
        """
        label = f"{len(self.answers)} {type(request).__name__[:-7]} v{version}"
        try:
            response = (on or self.client).receive(request, version, correlation)
        except ConnectionError:
            self.answers.append((label, "<closed>"))
            if on is None:
                self.client = self.connect()
            return None
        except TimeoutError as error:
            error.add_note(f"no answer to {label}: {request}")
            raise
        self.answers.append((label, self._plain(response, version)))
        return response

    def keep(self, response: Any, version: int) -> None:
        """
        Keep an answer, of which the case chose what is compared.
        """
        self.answers.append((f"{len(self.answers)} kept", self._plain(response, version)))

    def call(self, request: Request, version: int) -> Any:
        """
        Send a request whose answer is not compared.
        """
        return self.client.call(request, version)

    def until(self, what: Callable[[], Any]) -> Any:
        """
        Wait until C{what} is true, and return it.
        """
        end = time.monotonic() + SECONDS
        while not (found := what()):
            assert time.monotonic() < end, f"not so after {SECONDS} s"
            time.sleep(0.01)
        return found

    def producer(self) -> int:
        """
        Return a new producer id.
        """
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
        # Kafka has none to give before it got its first ones.
        return self.until(
            lambda: (made := self.call(request, 4)).error_code == 0 and made
        ).producer_id

    # --------------------------------------------------------------- topics

    def name(self, what: str = "t") -> str:
        """
        A name that no other case has.
        """
        return f"{self._nonce}-{self._case}-{what}"

    def topic(self, what: str = "t", partitions: int = 1, **configs: str) -> str:
        """
        Create a topic, wait until it has leaders, and return its name.

        @param configs: With underscores for dots.
        """
        name = self.name(what)
        self.ids[name] = self.client.create(name, partitions, **configs)
        self.until_led(name, partitions)
        return name

    def until_led(self, name: str, partitions: int = 1) -> None:
        """
        Wait until the partitions of a topic take requests.
        """

        def led() -> bool:
            (found,) = self.client.metadata(name).topics
            if found.error_code or len(found.partitions) < partitions:
                return False
            self.ids[name] = found.topic_id
            return all(
                self.client.offset_response(name, index, LATEST).error_code == 0
                for index in range(partitions)
            )

        self.until(led)

    def produce_request(
        self, topic: str, records: bytes, acks: int = -1, partition: int = 0, **fields: Any
    ) -> ProduceRequest:
        """
        Return a request with these records for one partition.
        """
        data = ProduceRequest.Topic
        part = data.Partition(index=partition, records=memoryview(records))
        named = data(
            name=topic, topic_id=self.ids.get(topic, UUID(int=5)), partition_data=[part]
        )
        return ProduceRequest(acks=acks, timeout_ms=30_000, topic_data=[named], **fields)

    def produce(self, topic: str, records: bytes, partition: int = 0) -> None:
        """
        Produce records, which must be taken.
        """
        ((part,),) = [
            each.partition_responses
            for each in self.call(
                self.produce_request(topic, records, partition=partition), 12
            ).responses
        ]
        assert part.error_code == 0, f"{topic}: {part.error_code} {part.error_message}"

    def fetch_request(
        self, topic: str, offset: int = 0, partition: int = 0, wait: int = 0, **fields: Any
    ) -> FetchRequest:
        """
        Return a request to read one partition; the fields of the partition are those
        that are called like one.
        """
        asked = FetchRequest.Topic
        own = {each.name for each in asked.Partition.fields}
        inner = {name: fields.pop(name) for name in list(fields) if name in own}
        part = asked.Partition(
            **{"partition": partition, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
            | inner
        )
        named = asked(topic=topic, topic_id=self.ids.get(topic, UUID(int=5)), partitions=[part])
        usual: dict[str, Any] = {"max_wait_ms": wait, "min_bytes": 0, "max_bytes": 50 << 20}
        return FetchRequest(**usual | {"topics": [named]} | fields)

    def stored(self, topic: str, version: int = 12) -> None:
        """
        Ask for all that the first partition of a topic has.
        """
        self.ask(self.fetch_request(topic), version)

    def offset(self, topic: str, version: int = 7, **fields: Any) -> Any:
        """
        Ask for an offset of the first partition of a topic.
        """
        asked = ListOffsetsRequest.Topic
        part = asked.Partition(**{"partition_index": 0, "timestamp": LATEST} | fields)
        request = ListOffsetsRequest(topics=[asked(name=topic, partitions=[part])])
        return self.ask(request, version)

    def metadata_request(self, *topics: str, **fields: Any) -> MetadataRequest:
        """
        Return a request for these topics, that creates none by default.
        """
        named = [MetadataRequest.Topic(name=each) for each in topics]
        usual: dict[str, Any] = {"topics": named, "allow_auto_topic_creation": False}
        return MetadataRequest(**usual | fields)

    # ---------------------------------------------------------- plain data

    def _plain(self, value: Any, version: int, name: str = "") -> Any:
        """
        A message as dictionaries and lists, of the fields of this version.
        """
        if isinstance(type(value), Declaration):
            return {
                field.name: self._field(field, getattr(value, field.name), version)
                for field in type(value).fields
                if version in field.versions
            }
        if isinstance(value, list):
            return _ordered([self._plain(each, version, name) for each in value])
        if isinstance(value, UUID):
            return self._uuid(value)
        if isinstance(value, str):
            return self._text(value, name)
        if isinstance(value, bytes | memoryview):
            return bytes(value).hex()
        return self._number(value, name)

    def _field(self, field: Any, value: Any, version: int) -> Any:
        if field.name == "records":
            return [self._batch(*each) for each in _batches(bytes(value or b""))]
        kind = field.kind.element if isinstance(field.kind, ListOf) else field.kind
        if isinstance(kind, StructOf) and value is None and field.tag is not None:
            return None
        return self._plain(value, version, field.name)

    def _batch(self, header: tuple[int, ...], body: bytes) -> Any:
        named = dict(zip(BATCH_FIELDS, header, strict=True))
        # Depends on timestamps, which may be the broker's.
        named.pop("crc")
        return {
            **{name: self._number(value, name) for name, value in named.items()},
            "body": body.hex(),
        }

    def _uuid(self, value: UUID) -> str:
        if value == NO_UUID:
            return "<none>"
        for name, known in self.ids.items():
            if known == value:
                return f"<id of {self._text(name, '')}>"
        return "<id>" if value.int > 1000 else str(value)

    def _text(self, value: str, name: str) -> str | None:
        if name in PROSE:
            return "<text>" if value else None
        if name == "cluster_id":
            return "<cluster>"
        if name == "log_dir":
            return "<directory>"
        return UUID_TEXT.sub("<uuid>", value).replace(self._nonce, "<nonce>")

    def _number(self, value: Any, name: str) -> Any:
        if name == "port" and value == self.port:
            return "<port>"
        if name == "session_id" and value:
            return "<session>"
        if name == "producer_id" and value >= 0:
            return self._producers.setdefault(value, f"<producer {len(self._producers)}>")
        if name in TIMES and abs(value - time.time() * 1000) < HOUR / 2:
            return "<now>"
        if name in SIZES and value > 0:
            return "<size>"
        return value


def slug(case: str) -> str:
    """
    The name of a case as a part of names of topics and groups.
    """
    return re.sub("[^a-z0-9]+", "-", re.sub(r"-(?=\d)", "minus", case.lower()))


def _batches(data: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """
    The headers and bodies of whole batches. Kafka cuts the last one where the limit is.
    """
    at = 0
    while at + HEADER_SIZE <= len(data):
        assert data[at + MAGIC_AT] == MAGIC, f"magic {data[at + MAGIC_AT]}"
        header = HEADER.unpack_from(data, at)
        end = at + header[1] + LENGTH_OVERHEAD
        if end > len(data):
            return
        yield header, data[at + HEADER_SIZE : end]
        at = end


def _ordered(values: list[Any]) -> list[Any]:
    """
    Sort structures by what identifies them, and leave all else as it is.
    """
    if not values or not isinstance(values[0], dict):
        return values
    return sorted(values, key=identity)


def identity(value: Any) -> str:
    """
    What identifies an element of a list of structures.
    """
    found = [value[name] for name in NAMES if value.get(name)][:1]
    found += [value[name] for name in NUMBERS if name in value]
    return " ".join(map(str, found)) if found else repr(value)


def converse(case: Case, port: int, nonce: str) -> list[tuple[str, Any]]:
    """
    Have a conversation with a broker.

    @return: Its answers.
    """
    talk = Talk(port, case.name, nonce)
    with contextlib.closing(talk):
        try:
            case.run(talk)
        except Exception as error:
            error.add_note(f"in the case {case.name}, with the broker at {port}")
            raise
        return talk.answers


