"""
A client that does what no library would: it sends any bytes, repeatedly if
asked to, and returns the stored batches as they are.

Blocking, one request at a time by default; built on the broker's own messages.
Records are parsed by kafka-python, which is independent of the broker.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID

from kafka.record.default_records import DefaultRecordBatch

from kafscale.wire.headers import read_response_header, request_header
from kafscale.wire.messages import (
    RESPONSES,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    FetchRequest,
    IncrementalAlterConfigsRequest,
    InitProducerIdRequest,
    ListOffsetsRequest,
    MetadataRequest,
    ProduceRequest,
)
from kafscale.wire.records import Record as WireRecord
from kafscale.wire.records import build_batch
from kafscale.wire.schema import Request

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
EARLIEST = -2
LATEST = -1


class Record(NamedTuple):
    """
    A record as any client may write and read it.

    @ivar timestamp: In ms; -1 when the writing client cannot choose it.
    """

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = -1


class StoredBatch(NamedTuple):
    """
    A batch as the broker keeps it.
    """

    base_offset: int
    leader_epoch: int
    codec: int
    producer_id: int
    record_count: int
    data: bytes

    def records(self) -> list[Record]:
        """
        Return the batch's records, decompressed.
        """
        return [
            Record(each.key, each.value, tuple(each.headers), each.timestamp)
            for each in DefaultRecordBatch(self.data)
        ]


def split_batches(records: bytes | memoryview) -> Iterator[StoredBatch]:
    """
    The batches in a partition's part of a fetch response; each must be whole.
    """
    data = bytes(records)
    at = 0
    while at < len(data):
        base, length, epoch = struct.unpack_from(">qii", data, at)
        end = at + 12 + length
        assert end <= len(data), f"a batch at offset {base} is cut in two"
        (attributes,) = struct.unpack_from(">h", data, at + 21)
        (producer_id,) = struct.unpack_from(">q", data, at + 43)
        (count,) = struct.unpack_from(">i", data, at + 57)
        yield StoredBatch(base, epoch, attributes & 7, producer_id, count, data[at:end])
        at = end


def batch_of(
    values: Sequence[bytes],
    *,
    timestamp: int = 1_700_000_000_000,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = -1,
) -> bytes:
    """
    A batch of records with these values, a millisecond apart.

    @param sequence: Of the first record, from an idempotent producer.
    """
    records = [WireRecord(i, timestamp + i, None, value) for i, value in enumerate(values)]
    return build_batch(
        records, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence
    )


class RawClient:
    """
    A connection to a broker.
    """

    def __init__(
        self,
        port: int,
        timeout: float = 60.0,
        host: str = "127.0.0.1",
        client_id: str = "raw",
    ) -> None:
        """
        @param host: The address to connect from: any that begins with 127.
        @param client_id: In the header of each request.
        """
        self._client_id = client_id
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (host, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._correlation = 0

    def close(self) -> None:
        """
        Let go of the connection.
        """
        self.socket.close()

    def __enter__(self) -> Self:
        """
        For C{with}.
        """
        return self

    def __exit__(self, *_: object) -> None:
        """
        Close it.
        """
        self.close()

    # ------------------------------------------------------------- messages

    def send(self, request: Request, version: int) -> int:
        """
        Send without waiting; the correlation id.
        """
        self._correlation += 1
        head = request_header(type(request).key, version, self._correlation, self._client_id)
        body = b"".join(request.encode(version))
        self.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        return self._correlation

    def receive(self, request: Request, version: int, correlation: int) -> Any:
        """
        The next response, which must be the one to that request.
        """
        frame = self.receive_frame()
        got, at = read_response_header(type(request).key, version, frame)
        assert got == correlation, f"the answer to {got} came before that to {correlation}"
        return RESPONSES[type(request).key].decode(version, frame, at)

    def receive_frame(self) -> bytes:
        """
        Return the next frame, without its length.

        @raise ConnectionError: the broker closed the connection.
        """
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def call(self, request: Request, version: int) -> Any:
        """
        Send, and wait for the response.
        """
        return self.receive(request, version, self.send(request, version))

    def _exactly(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            some = self.socket.recv(min(size - len(got), 1 << 20))
            if not some:
                raise ConnectionError("the broker closed the connection")
            got += some
        return bytes(got)

    # ---------------------------------------------------------------- verbs

    def create(self, topic: str, partitions: int = 1, **configs: str) -> UUID:
        """
        Create a topic, and return its id.
        """
        made = CreateTopicsRequest.Topic
        wanted = [
            made.Config(name=name.replace("_", "."), value=value) for name, value in configs.items()
        ]
        request = CreateTopicsRequest(
            topics=[
                made(
                    name=topic,
                    num_partitions=partitions,
                    replication_factor=1,
                    assignments=[],
                    configs=wanted,
                )
            ],
            timeout_ms=30_000,
            validate_only=False,
        )
        (answer,) = self.call(request, 7).topics
        assert answer.error_code == 0, f"{topic}: {answer.error_code} {answer.error_message}"
        return answer.topic_id

    def alter(self, topic: str, **configs: str | None) -> None:
        """
        Set some of a topic's configurations, and put those that are None back
        to their defaults.
        """
        changed = IncrementalAlterConfigsRequest.Resource
        steps = [
            changed.Config(
                name=name.replace("_", "."), config_operation=int(value is None), value=value
            )
            for name, value in configs.items()
        ]
        resource = changed(resource_type=2, resource_name=topic, configs=steps)
        request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=False)
        (answer,) = self.call(request, 1).responses
        assert answer.error_code == 0, f"{topic}: {answer.error_code} {answer.error_message}"

    def delete(self, topic: str) -> None:
        """
        Delete a topic.
        """
        request = DeleteTopicsRequest(
            topics=[DeleteTopicsRequest.Topic(name=topic)], timeout_ms=30_000
        )
        (answer,) = self.call(request, 6).responses
        assert answer.error_code == 0, f"{topic}: {answer.error_code}"

    def delete_records(self, topic: str, partition: int, offset: int) -> int:
        """
        Delete the records before C{offset}; the new log start.
        """
        asked = DeleteRecordsRequest.Topic
        part = asked.Partition(partition_index=partition, offset=offset)
        request = DeleteRecordsRequest(
            topics=[asked(name=topic, partitions=[part])], timeout_ms=30_000
        )
        ((answer,),) = [each.partitions for each in self.call(request, 2).topics]
        assert answer.error_code == 0, f"DeleteRecords: {answer.error_code}"
        return answer.low_watermark

    def metadata(self, *topics: str, create: bool = False) -> Any:
        """
        The metadata of these topics, or of all.
        """
        named = [MetadataRequest.Topic(name=each) for each in topics] or None
        return self.call(MetadataRequest(topics=named, allow_auto_topic_creation=create), 12)

    def topics(self) -> list[str]:
        """
        The names of all topics, but for internal ones.
        """
        return [each.name for each in self.metadata().topics if not each.is_internal]

    def produce(self, topic: str, partition: int, batch: bytes, acks: int = -1) -> Any:
        """
        The partition's part of the response to one batch; None with acks=0.
        """
        request = self.produce_request(topic, partition, batch, acks)
        if acks == 0:
            self.send(request, 9)
            return None
        ((part,),) = [each.partition_responses for each in self.call(request, 9).responses]
        return part

    def produce_request(
        self, topic: str, partition: int, batch: bytes, acks: int = -1
    ) -> ProduceRequest:
        """
        A request that hands over one batch.
        """
        data = ProduceRequest.Topic
        part = data.Partition(index=partition, records=memoryview(batch))
        return ProduceRequest(
            acks=acks, timeout_ms=30_000, topic_data=[data(name=topic, partition_data=[part])]
        )

    def producer_id(self) -> int:
        """
        A new one.
        """
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
        answer = self.call(request, 4)
        assert answer.error_code == 0, f"InitProducerId: {answer.error_code}"
        return answer.producer_id

    def offset(self, topic: str, partition: int = 0, when: int = LATEST) -> int:
        """
        The offset at a timestamp: L{EARLIEST}, L{LATEST} or one in ms.
        """
        part = self.offset_response(topic, partition, when)
        assert part.error_code == 0, f"ListOffsets: {part.error_code}"
        return part.offset

    def offset_response(self, topic: str, partition: int, when: int) -> Any:
        """
        The partition's part of a ListOffsets response.
        """
        asked = ListOffsetsRequest.Topic
        part = asked.Partition(partition_index=partition, timestamp=when)
        request = ListOffsetsRequest(replica_id=-1, topics=[asked(name=topic, partitions=[part])])
        ((answer,),) = [each.partitions for each in self.call(request, 7).topics]
        return answer

    def fetch(
        self, topic: str, partition: int, offset: int, max_bytes: int = 1 << 20, wait: int = 500
    ) -> Any:
        """
        The partition's part of a Fetch response.
        """
        request = self.fetch_request(topic, partition, offset, max_bytes, wait)
        ((answer,),) = [each.partitions for each in self.call(request, 12).responses]
        return answer

    def fetch_request(
        self, topic: str, partition: int, offset: int, max_bytes: int = 1 << 20, wait: int = 500
    ) -> FetchRequest:
        """
        A request that reads from one partition, waiting for a first byte.
        """
        asked = FetchRequest.Topic
        part = asked.Partition(
            partition=partition, fetch_offset=offset, partition_max_bytes=max_bytes
        )
        return FetchRequest(
            replica_id=-1,
            max_wait_ms=wait,
            min_bytes=1,
            max_bytes=50 << 20,
            topics=[asked(topic=topic, partitions=[part])],
        )

    def batches(self, topic: str, partition: int = 0) -> Iterator[StoredBatch]:
        """
        All that is stored of a partition, from its start to its high
        watermark; there must be no hole.
        """
        offset = self.offset(topic, partition, EARLIEST)
        end = self.offset(topic, partition, LATEST)
        while offset < end:
            part = self.fetch(topic, partition, offset)
            assert part.error_code == 0, f"Fetch at {offset}: {part.error_code}"
            before = offset
            for batch in split_batches(part.records):
                assert batch.base_offset == offset, f"{batch.base_offset} follows {offset - 1}"
                offset += batch.record_count
                yield batch
            assert offset > before, f"nothing at {offset}, below the high watermark {end}"

    def records(self, topic: str, partition: int = 0) -> list[Record]:
        """
        All records of a partition.
        """
        return [record for batch in self.batches(topic, partition) for record in batch.records()]
