"""
A broker of today on stored data of earlier versions, and what its clients see.
"""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import attrs
from kafka.record.default_records import DefaultRecordBatch
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from kafscale.config import Settings
from kafscale.inspect.verify import Verification
from kafscale.inspect.view import View, load
from kafscale.interfaces import Broker
from kafscale.store.blocking import at_once
from kafscale.store.identity import StoreIdentity
from kafscale.store.local.objects import LocalObjectStore
from kafscale.store.retry import RetryingObjectStore
from kafscale.store.rollback_guard import RollbackGuard
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.tap.node import Node
from kafscale.tap.stores import place_of
from kafscale.wire.messages import (
    DescribeConfigsRequest,
    DescribeGroupsRequest,
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetFetchRequest,
    ProduceRequest,
)
from kafscale.wire.schema import Request
from tests.format.cluster import short
from tests.format.golden import Golden
from tests.format.process import NAMESPACE, ask, serving_of
from tests.harness import s3
from tests.harness.names import no_name

SQLITE = """
    CREATE TABLE entries (
        key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL, lease INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE counter (revision INTEGER NOT NULL);
    PRAGMA user_version = 1;
"""
"""The file of the metadata, as the first version made it."""

BROKER = 7
"""Its id: one that no broker of a history had."""

TOPIC_CONFIG = 1
"""Where a configuration is from that is the topic's own."""

EARLIEST = -2
LATEST = -1


class Later:
    """
    The reactor's time, so much later or earlier.
    """

    def __init__(self, seconds: float) -> None:
        self._offset = seconds

    def seconds(self) -> float:
        """
        See L{IReactorTime}; the others likewise.
        """
        return reactor.seconds() + self._offset

    def callLater(self, *arguments: Any, **named: Any) -> Any:
        """
        Seconds are as long as they are.
        """
        return reactor.callLater(*arguments, **named)

    def getDelayedCalls(self) -> Any:  # noqa: N802 - Twisted's name
        """
        All of them.
        """
        return reactor.getDelayedCalls()


class Today:
    """
    Stores that hold a set, and one broker on them at a time.
    """

    def __init__(self, golden: Golden, folder: Path) -> None:
        """
        @param folder: Where the data directory is made.
        """
        self.golden = golden
        self._folder = folder
        self._settings = Settings(broker_id=BROKER, **golden.expected["settings"])
        self.clock: Any = Later(golden.expected["now_ms"] / 1000 - reactor.seconds())
        self.objects: Any
        self.node: Node

    # -- the stores -------------------------------------------------------------

    async def unpack(self) -> None:
        """
        Put everything where a broker looks for it.
        """
        self._folder.mkdir(parents=True)
        self._unpack_metadata()
        path = self._folder / "objects"
        if self._settings.s3_bucket is None:
            for key, data in self.golden.objects.items():
                file = path / key
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            self.objects = LocalObjectStore(str(path), at_once)
            return
        replaces = self._settings.fencing() == "metadata"
        store = s3.store(await s3.new_bucket("careless" if replaces else "bucket"))
        self._bucket = store
        self.objects = RetryingObjectStore(store, self.clock, lambda: 0.5)
        creates = [
            Deferred.fromCoroutine(store.create(key, [data]))
            for key, data in self.golden.objects.items()
        ]
        await gatherResults(creates)

    def _unpack_metadata(self) -> None:
        with closing(sqlite3.connect(self._folder / "metadata.sqlite")) as table, table:
            table.executescript(SQLITE)
            table.execute("INSERT INTO counter VALUES (?)", (self.golden.revision,))
            rows = [
                (each.key, each.value, each.revision, 1 if each.leased else None)
                for each in self.golden.entries()
            ]
            table.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)

    async def _probe(self, cluster: str) -> None:
        """
        As `kafscale.tap.stores` has it done.
        """
        place = place_of(attrs.evolve(self._settings, data_dir=str(self._folder)))
        identity = StoreIdentity(self._metadata, self.objects, place)
        await identity.compare()
        if self._settings.s3_bucket is not None:
            await s3.probe(self._bucket, self._settings.fencing())
        await identity.check(cluster)
        if self._settings.s3_bucket is not None:
            _, revision = await self._metadata.range("milestones")
            await RollbackGuard(
                self._metadata,
                lambda: revision,
                self.objects,
                NAMESPACE,
                self.clock,
                lambda: f"today at {revision}",
            ).begin()

    async def verify(self) -> list[str]:
        """
        What `kafscale-inspect verify` has to say, while no broker runs.
        """
        metadata = self._open_metadata()
        told: list[str] = []

        async def fresh() -> View:
            return await load(metadata, NAMESPACE)

        try:
            whole = await Verification(self.objects, fresh, told.append).run()
        finally:
            await metadata.close()
        return [] if whole else told

    def _open_metadata(self) -> SQLiteMetadataStore:
        return SQLiteMetadataStore(str(self._folder / "metadata.sqlite"), at_once)

    async def close(self) -> None:
        """
        Let go of everything.
        """
        await self.objects.close()

    # -- the broker -------------------------------------------------------------

    async def start(self) -> None:
        """
        Start a broker that has never been there.
        """
        self._metadata = self._open_metadata()
        chance = Random("today")
        self.node = Node(
            self._settings,
            Broker(BROKER, "today", 9092, None),
            self.objects,
            self._metadata,
            self.objects,
            self.clock,
            chance,
            at_once,
            _no_peer,
            no_name,
        )
        await self.node.start(self._probe)
        self._serving = serving_of(self.node.services)
        await self.node.serve()

    async def stop(self) -> None:
        """
        Stop it in good order.
        """
        await self.node.answer_waiting()
        await self.node.stop()
        await self._metadata.close()

    async def until_wound_up(self) -> None:
        """
        Return when everything that was inherited is in segments, and what
        was deleted is gone.
        """
        while True:
            incarnations, _ = await self._metadata.range("incarnations/")
            tombstones, _ = await self._metadata.range("tombstones/")
            left = [each for each in incarnations if not each.value.get("wound_up")]
            if len(left) == 1 and not tombstones:
                return
            await deferLater(reactor, 0.05)

    async def _ask(self, request: Request, version: int) -> Any:
        return await ask(self._serving, request, version)

    # -- what clients see -------------------------------------------------------

    async def topics(self) -> dict[str, Any]:
        """
        The topics, as L{tests.format.cluster.Cluster.expected} has them: all that are
        stored.
        """
        found = {}
        request = MetadataRequest(topics=None, allow_auto_topic_creation=False)
        for topic in (await self._ask(request, 12)).topics:
            if topic.is_internal:
                continue
            resource = DescribeConfigsRequest.Resource(
                resource_type=2, resource_name=topic.name, configuration_keys=None
            )
            (answer,) = (await self._ask(DescribeConfigsRequest(resources=[resource]), 4)).results
            found[topic.name] = {
                "topic_id": str(topic.topic_id),
                "partitions": len(topic.partitions),
                "configs": {each.name: each.value for each in answer.configs
                            if each.config_source == TOPIC_CONFIG},
            }  # fmt: skip
        return found

    async def offset(self, topic: str, index: int, when: int) -> int:
        """
        The offset at a timestamp in ms, or at C{EARLIEST} or C{LATEST}.
        """
        part = ListOffsetsRequest.Topic.Partition(partition_index=index, timestamp=when)
        asked = ListOffsetsRequest.Topic(name=topic, partitions=[part])
        request = ListOffsetsRequest(replica_id=-1, topics=[asked])
        (answer,) = (await self._ask(request, 7)).topics[0].partitions
        assert answer.error_code == 0, answer
        return int(answer.offset)

    async def records(self, topic: str, index: int, start: int | None = None) -> list[Any]:
        """
        The records of a partition, as `records.jsonl` has them: all, or those
        from an offset on. kafka-python takes them apart, which is not ours.
        """
        found: list[Any] = []
        offset = await self.offset(topic, index, EARLIEST) if start is None else start
        end = await self.offset(topic, index, LATEST)
        while offset < end:
            part = FetchRequest.Topic.Partition(
                partition=index, fetch_offset=offset, partition_max_bytes=1 << 20
            )
            asked = FetchRequest.Topic(topic=topic, partitions=[part])
            request = FetchRequest(max_wait_ms=0, min_bytes=1, topics=[asked])
            (answer,) = (await self._ask(request, 12)).responses[0].partitions
            assert answer.error_code == 0, answer
            for record in records_in(bytes(answer.records)):
                if record[0] >= offset:
                    found.append([f"{topic}-{index}", *record])
            assert found and found[-1][1] >= offset, f"nothing at {offset}, below {end}"
            offset = found[-1][1] + 1
        return found

    async def produce(self, topic: str, index: int, batch: bytes) -> int:
        """
        The offset that a batch gets.
        """
        part = ProduceRequest.Topic.Partition(index=index, records=memoryview(batch))
        asked = ProduceRequest.Topic(name=topic, partition_data=[part])
        request = ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[asked])
        (answer,) = (await self._ask(request, 9)).responses[0].partition_responses
        assert answer.error_code == 0, answer
        return int(answer.base_offset)

    async def group(self, name: str) -> dict[str, Any]:
        """
        A group and its commits, as L{tests.format.cluster.Cluster.expected}
        has them; of members what a description tells.
        """
        request = DescribeGroupsRequest(groups=[name])
        (described,) = (await self._ask(request, 5)).groups
        asked = OffsetFetchRequest.Group(group_id=name, topics=None)
        (fetched,) = (await self._ask(OffsetFetchRequest(groups=[asked]), 9)).groups
        assert (described.error_code, fetched.error_code) == (0, 0), (described, fetched)
        return {
            "state": described.group_state,
            "members": [
                {
                    "instance": each.group_instance_id,
                    "member_id": each.member_id,
                    "assignment": b64encode(bytes(each.member_assignment)).decode(),
                }
                for each in described.members
            ],
            "offsets": {
                f"{topic.name}-{each.partition_index}": [
                    each.committed_offset, each.committed_leader_epoch, each.metadata
                ]
                for topic in fetched.topics
                for each in topic.partitions
            },
        }  # fmt: skip


def records_in(data: bytes) -> Iterator[list[Any]]:
    """
    The records of whole batches: offset, timestamp, key, value, headers.
    """
    at = 0
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at + 8 : at + 12], "big")
        for each in DefaultRecordBatch(data[at:end]):
            yield [
                each.offset,
                each.timestamp,
                _text(each.key),
                short(_text(each.value)),
                [[name, _text(value)] for name, value in each.headers],
            ]
        at = end


def _text(data: bytes | None) -> str | None:
    return None if data is None else bytes(data).decode()


def _no_peer(other: Broker) -> Any:
    raise AssertionError("there is no other broker")
