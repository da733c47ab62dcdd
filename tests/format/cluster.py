"""
A cluster with a fixed history, which a script writes step by step.

The brokers are L{Node}s over stores with a constant latency, on the schedule
of `tests.simulation`. Nothing goes wrong but what the script says, and all
chance is that of one seed: so two runs store the same bytes under the same
keys, in every process.

While it produces, commits and deletes, the cluster notes the acknowledged
results, which a broker that opens the stores later must find.

It is one long module because a history reads best when one object has every
verb that it needs.
"""

from __future__ import annotations

import builtins
import json
import os
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import closing
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID
from zlib import crc32

import attrs
from twisted.internet.defer import Deferred

from kafscale.cluster.topic_configs import TABLE
from kafscale.config import Settings
from kafscale.interfaces import IObjectStore
from kafscale.store.blocking import at_once
from kafscale.store.local.objects import LocalObjectStore
from kafscale.store.memory import MemoryObjectStore
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    FindCoordinatorRequest,
    IncrementalAlterConfigsRequest,
    InitProducerIdRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetCommitRequest,
    ProduceRequest,
    SyncGroupRequest,
)
from kafscale.wire.records import Record, build_batch
from kafscale.wire.schema import Request
from tests.format.process import NAMESPACE, Process, Replacing
from tests.harness.coroutines import now
from tests.simulation.etcd import Etcd
from tests.simulation.schedule import Schedule

LARGEST = 200
"""Bytes of the largest value that L{Cluster.expected} has as it is."""

#: A partition: name of the topic, index.
Name = tuple[str, int]

_kept: list[Any] = []
"""What a dead broker waits for never comes; if it were collected as garbage,
its coroutines would end, and do what stands in their C{finally}."""


@attrs.define
class Producer:
    """
    An idempotent producer.

    @ivar sequences: Of the next record, by partition.
    """

    producer_id: int
    epoch: int
    sequences: dict[Name, int] = attrs.field(factory=dict)


@attrs.define
class Member:
    """
    A consumer of a group.
    """

    group: str
    instance: str | None
    member_id: str = ""
    generation: int = -1
    assignment: str = ""


class Cluster:
    """
    Its stores, its brokers, and what its clients know.

    @ivar processes: The processes that run, by broker.
    @ivar folder: Their data directory.
    """

    def __init__(self, name: str, folder: str, **settings: Any) -> None:
        """
        @param name: The seed.
        @param folder: Where there is room for files.
        @param settings: Of all brokers; with C{s3_bucket} the objects are in a
            bucket and the metadata in etcd, else all is in C{folder}.
        """
        self.name = name
        self.schedule = Schedule()
        self.chance = Random(f"golden {name}")
        self.counts: Any = {}
        self.processes: dict[int, Process] = {}
        self._settings = settings
        self.folder = folder
        self._numbers = 0
        self.objects: IObjectStore
        self.metadata: SQLiteMetadataStore | Etcd
        if settings.get("s3_bucket") is None:
            self.objects = LocalObjectStore(os.path.join(folder, "objects"), at_once)
        else:
            careless = settings.get("s3_fencing") == "metadata"
            self.objects = Replacing() if careless else MemoryObjectStore()
            self.metadata = Etcd(self.schedule)
        self._topics: dict[str, dict[str, Any]] = {}
        self._deleted: list[str] = []
        self._records: dict[Name, dict[int, list[Any]]] = {}
        self._ends: dict[Name, list[int]] = {}
        self._groups: dict[str, dict[str, Any]] = {}
        self._last: dict[tuple[int, Name], dict[str, Any]] = {}

    def settings(self, broker_id: int) -> Settings:
        """
        Those of a broker.
        """
        return Settings(broker_id=broker_id, **self._settings)

    # -- time -----------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """
        What time it is.
        """
        return int(self.schedule.now * 1000)

    def run(self, seconds: float) -> None:
        """
        Let so much time go by.
        """
        self.schedule.run(self.schedule.now + seconds)

    def wait(self, deferred: Deferred[Any], seconds: float = 60.0) -> Any:
        """
        The result, when it is there.
        """
        results: list[Any] = []
        deferred.addBoth(results.append)
        end = self.schedule.now + seconds
        while not results:
            assert self.schedule.now < end, "it takes too long"
            self.run(0.01)
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    # -- brokers --------------------------------------------------------------

    def begin(self, broker_id: int) -> Process:
        """
        Start a broker; it begins, and serves after a while.
        """
        if "s3_bucket" not in self._settings:
            path = os.path.join(self.folder, "metadata.sqlite")
            self.metadata = SQLiteMetadataStore(path, at_once)
        process = self.processes[broker_id] = Process(self, broker_id, self._numbers)
        self._numbers += 1
        _kept.append(process)
        return process

    def start(self, broker_id: int) -> Process:
        """
        Start a broker, and wait until it serves.
        """
        process = self.begin(broker_id)
        self.wait(process.start())
        return process

    def crash(self, broker_id: int) -> None:
        """
        End it as by SIGKILL.
        """
        self.processes.pop(broker_id).crash()
        self._ended()

    def stop(self, broker_id: int) -> None:
        """
        End it in good order.
        """
        self.wait(self.processes[broker_id].stop())
        del self.processes[broker_id]
        self._ended()

    def _ended(self) -> None:
        self.run(1.0)
        if isinstance(self.metadata, SQLiteMetadataStore):
            now(self.metadata.close())

    # -- asking ---------------------------------------------------------------

    def ask(self, broker_id: int, request: Request, version: int) -> Any:
        """
        The response of a broker.
        """
        return self.wait(self.processes[broker_id].ask(request, version))

    def any(self) -> int:
        """
        A broker that runs.
        """
        return min(self.processes)

    def leader(self, name: Name) -> int:
        """
        Return the id of the broker that leads a partition.
        """
        return self._where(name)[0]

    def leader_epoch(self, name: Name) -> int:
        """
        Its leader epoch.
        """
        return self._where(name)[1]

    def _where(self, name: Name) -> tuple[int, int]:
        topic, index = name
        asked = [MetadataRequest.Topic(name=topic)]
        request = MetadataRequest(topics=asked, allow_auto_topic_creation=False)
        for _ in range(60):
            (answer,) = self.ask(self.any(), request, 12).topics
            for each in answer.partitions:
                if each.partition_index == index and each.leader_id in self.processes:
                    return each.leader_id, each.leader_epoch
            self.run(0.5)
        raise AssertionError(f"nobody leads {name}")

    # -- topics ---------------------------------------------------------------

    def create(
        self,
        name: str,
        partitions: int,
        configs: Mapping[str, str] | None = None,
        replicas: Sequence[Sequence[int]] = (),
    ) -> None:
        """
        Create a topic. Its segments may be smaller than brokers accept now, as they were
        accepted when the first level was released.

        @param replicas: The brokers of each partition, if they are assigned by hand.
        """
        config = CreateTopicsRequest.Topic.Config
        topic = CreateTopicsRequest.Topic(
            name=name,
            num_partitions=-1 if replicas else partitions,
            replication_factor=-1 if replicas else 1,
            assignments=[
                CreateTopicsRequest.Topic.Assignment(
                    partition_index=index, broker_ids=list(brokers)
                )
                for index, brokers in enumerate(replicas)
            ],
            configs=[config(name=key, value=value) for key, value in (configs or {}).items()],
        )
        request = CreateTopicsRequest(topics=[topic], timeout_ms=30_000)
        lenient = attrs.evolve(TABLE["segment.bytes"], accept=None)
        with patch.dict(TABLE, {"segment.bytes": lenient}):
            (answer,) = self.ask(self.any(), request, 7).topics
        assert answer.error_code == 0, answer
        self._topics[name] = {
            "topic_id": str(answer.topic_id),
            "partitions": partitions,
            "configs": dict(configs or {}),
        }

    def grow(self, name: str, partitions: int) -> None:
        """
        Give a topic more partitions.
        """
        topic = CreatePartitionsRequest.Topic(name=name, count=partitions, assignments=None)
        request = CreatePartitionsRequest(topics=[topic], timeout_ms=30_000, validate_only=False)
        (answer,) = self.ask(self.any(), request, 3).results
        assert answer.error_code == 0, answer
        self._topics[name]["partitions"] = partitions

    def reassign(self, name: str, targets: Mapping[int, Sequence[int]]) -> None:
        """
        Assign brokers to partitions of a topic by hand.
        """
        kind = AlterPartitionReassignmentsRequest.Topic
        parts = [
            kind.Partition(partition_index=index, replicas=list(brokers))
            for index, brokers in targets.items()
        ]
        request = AlterPartitionReassignmentsRequest(topics=[kind(name=name, partitions=parts)])
        (answer,) = self.ask(self.any(), request, 1).responses
        assert not any(each.error_code for each in answer.partitions), answer

    def alter(self, name: str, configs: Mapping[str, str]) -> None:
        """
        Set some configurations of a topic.
        """
        resource = IncrementalAlterConfigsRequest.Resource
        steps = [
            resource.Config(name=key, config_operation=0, value=value)
            for key, value in configs.items()
        ]
        changed = resource(resource_type=2, resource_name=name, configs=steps)
        request = IncrementalAlterConfigsRequest(resources=[changed], validate_only=False)
        (answer,) = self.ask(self.any(), request, 1).responses
        assert answer.error_code == 0, answer
        self._topics[name]["configs"].update(configs)

    def delete(self, name: str) -> None:
        """
        Delete a topic.
        """
        request = DeleteTopicsRequest(
            topics=[DeleteTopicsRequest.Topic(name=name)], timeout_ms=30_000
        )
        (answer,) = self.ask(self.any(), request, 6).responses
        assert answer.error_code == 0, answer
        del self._topics[name]
        self._deleted.append(name)
        for each in [each for each in self._records if each[0] == name]:
            del self._records[each]
        for group in self._groups.values():
            group["offsets"] = {
                key: value for key, value in group["offsets"].items() if key[0] != name
            }

    # -- records --------------------------------------------------------------

    def producer(self, before: Producer | None = None) -> Producer:
        """
        A new idempotent producer; or one that goes on in the next epoch.
        """
        request = InitProducerIdRequest(
            transactional_id=None,
            transaction_timeout_ms=60_000,
            producer_id=-1 if before is None else before.producer_id,
            producer_epoch=-1 if before is None else before.epoch,
        )
        answer = self.ask(self.any(), request, 4)
        assert answer.error_code == 0, answer
        return Producer(answer.producer_id, answer.producer_epoch)

    def record(self, key: str | None, value: str | None, *headers: tuple[str, str | None]) -> Any:
        """
        A record of now, or of a little earlier or later.
        """
        return [self.now_ms + self.chance.randrange(-50, 50), key, value, list(headers)]

    def records(self, count: int, topic: str) -> list[Any]:
        """
        So many records, all different.
        """
        names = ("ada", "grace", "barbara", "margaret", "radia", None)
        found = []
        for _ in range(count):
            key = self.chance.choice(names)
            value = f"{topic} {self.chance.getrandbits(32):08x} {key or 'nobody'}"
            found.append(self.record(key, value))
        return found

    def send(self, name: Name, records: Sequence[Any], producer: Producer | None = None) -> None:
        """
        Produce a batch, and wait until it is acknowledged.
        """
        self.wait(self.sending(name, records, producer))

    def sending(
        self, name: Name, records: Sequence[Any], producer: Producer | None = None
    ) -> Deferred[None]:
        """
        Produce a batch; fires when it is acknowledged.
        """
        named: dict[str, Any] = {}
        if producer is not None:
            sequence = producer.sequences.get(name, 0)
            producer.sequences[name] = sequence + len(records)
            named = {
                "producer_id": producer.producer_id,
                "producer_epoch": producer.epoch,
                "base_sequence": sequence,
            }
        batch = build_batch(
            [
                Record(
                    number,
                    timestamp,
                    None if key is None else key.encode(),
                    None if value is None else value.encode(),
                    tuple(
                        (header.encode(), None if held is None else held.encode())
                        for header, held in headers
                    ),
                )
                for number, (timestamp, key, value, headers) in enumerate(records)
            ],
            **named,
        )
        return self.sending_batch(name, batch, records, producer)

    def send_batch(self, name: Name, batch: bytes, records: Sequence[Any]) -> None:
        """
        Produce these bytes, which hold these records.
        """
        self.wait(self.sending_batch(name, batch, records))

    def sending_batch(
        self, name: Name, batch: bytes, records: Sequence[Any], producer: Producer | None = None
    ) -> Deferred[None]:
        """
        The same; fires when it is acknowledged.
        """
        topic, index = name
        leader = self.leader(name)
        part = ProduceRequest.Topic.Partition(index=index, records=memoryview(batch))
        asked = ProduceRequest.Topic(
            topic_id=UUID(self._topics[topic]["topic_id"]), partition_data=[part]
        )
        request = ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[asked])

        def acknowledged(response: Any) -> None:
            answer = response.responses[0].partition_responses[0]
            assert answer.error_code == 0, answer
            held = self._records.setdefault(name, {})
            for number, (timestamp, key, value, headers) in enumerate(records):
                if answer.log_append_time_ms >= 0:
                    timestamp = answer.log_append_time_ms
                held[answer.base_offset + number] = [timestamp, key, short(value), headers]
            if producer is not None:
                self._last[producer.producer_id, name] = {
                    "partition": _text(name),
                    "producer_id": producer.producer_id,
                    "producer_epoch": producer.epoch,
                    "last_sequence": producer.sequences[name] - 1,
                    "base_offset": answer.base_offset,
                    "batch": b64encode(batch).decode(),
                }

        return self.processes[leader].ask(request, 13).addCallback(acknowledged)

    def delete_records(self, name: Name, offset: int) -> None:
        """
        Delete the records before an offset.
        """
        part = DeleteRecordsRequest.Topic.Partition(partition_index=name[1], offset=offset)
        asked = DeleteRecordsRequest.Topic(name=name[0], partitions=[part])
        request = DeleteRecordsRequest(topics=[asked], timeout_ms=30_000)
        (answer,) = self.ask(self.leader(name), request, 2).topics[0].partitions
        assert (answer.error_code, answer.low_watermark) == (0, offset), answer

    # -- groups ---------------------------------------------------------------

    def join(self, group: str, count: int, topics: Sequence[str], *instances: str) -> list[Member]:
        """
        Have members join a group, and the first assign; the last of them are
        static, with these ids.
        """
        members = [Member(group, None) for _ in range(count)]
        members += [Member(group, instance) for instance in instances]
        subscription = ConsumerProtocolSubscription(topics=list(topics))
        metadata = _versioned(1, subscription)
        for member in members:
            if member.instance is None:
                member.member_id = self.wait(self._joining(member, metadata)).member_id
        joins = [self._joining(member, metadata) for member in members]
        joined = [self.wait(each) for each in joins]
        shares = self._shares(len(members), topics)
        by_member = {}
        for member, answer, share in zip(members, joined, shares, strict=True):
            assert answer.error_code == 0, answer
            member.member_id, member.generation = answer.member_id, answer.generation_id
            by_member[member.member_id] = share
        syncs = []
        for member, answer in zip(members, joined, strict=True):
            each = SyncGroupRequest.Assignment
            assignments = [each(member_id=key, assignment=part) for key, part in by_member.items()]
            request = SyncGroupRequest(
                group_id=group,
                generation_id=member.generation,
                member_id=member.member_id,
                group_instance_id=member.instance,
                protocol_type="consumer",
                protocol_name="range",
                assignments=assignments if answer.leader == answer.member_id else [],
            )
            syncs.append(self._coordinator(group).ask(request, 5))
        for member, sync in zip(members, syncs, strict=True):
            answer = self.wait(sync)
            assert answer.error_code == 0, answer
            member.assignment = b64encode(bytes(answer.assignment)).decode()
        self._group(group)["members"] = [attrs.asdict(member) for member in members]
        self._group(group)["state"] = "Stable"
        return members

    def _joining(self, member: Member, metadata: bytes) -> Deferred[Any]:
        request = JoinGroupRequest(
            group_id=member.group,
            session_timeout_ms=300_000,
            rebalance_timeout_ms=60_000,
            member_id=member.member_id,
            group_instance_id=member.instance,
            protocol_type="consumer",
            protocols=[JoinGroupRequest.Protocol(name="range", metadata=metadata)],
        )
        return self._coordinator(member.group).ask(request, 9)

    def _shares(self, members: int, topics: Sequence[str]) -> list[bytes]:
        shares: list[list[Any]] = [[] for _ in range(members)]
        part = ConsumerProtocolAssignment.AssignedPartition
        for topic in topics:
            for number, share in enumerate(shares):
                indexes = list(range(number, self._topics[topic]["partitions"], members))
                share.append(part(topic=topic, partitions=indexes))
        return [
            _versioned(1, ConsumerProtocolAssignment(assigned_partitions=share))
            for share in shares
        ]

    def leave(self, members: Sequence[Member]) -> None:
        """
        All of them leave their group.
        """
        group = members[0].group
        leaving = [
            LeaveGroupRequest.Member(member_id=each.member_id, group_instance_id=each.instance)
            for each in members
        ]
        request = LeaveGroupRequest(group_id=group, members=leaving)
        answer = self.wait(self._coordinator(group).ask(request, 5))
        assert answer.error_code == 0, answer
        self._group(group).update(members=[], state="Empty")

    def commit(
        self,
        group: str,
        offsets: Mapping[Name, int],
        member: Member | None = None,
        note: str = "",
        keep_ms: int = -1,
    ) -> None:
        """
        Commit offsets.

        @param note: The metadata beside them.
        @param keep_ms: How long they are to be kept; -1 as the broker says.
        """
        topics = []
        for (topic, index), offset in offsets.items():
            epoch = self.leader_epoch((topic, index)) if keep_ms < 0 else -1
            part = OffsetCommitRequest.Topic.Partition(
                partition_index=index,
                committed_offset=offset,
                committed_leader_epoch=epoch,
                committed_metadata=note,
            )
            topics.append(OffsetCommitRequest.Topic(name=topic, partitions=[part]))
            self._group(group)["offsets"][topic, index] = [offset, epoch, note]
        request = OffsetCommitRequest(
            group_id=group,
            generation_id_or_member_epoch=-1 if member is None else member.generation,
            member_id="" if member is None else member.member_id,
            group_instance_id=None if member is None else member.instance,
            retention_time_ms=keep_ms,
            topics=topics,
        )
        answer = self.wait(self._coordinator(group).ask(request, 9 if keep_ms < 0 else 4))
        for topic in answer.topics:
            for each in topic.partitions:
                assert each.error_code == 0, answer

    def _group(self, name: str) -> dict[str, Any]:
        empty = {"state": "Empty", "members": [], "offsets": {}}
        return self._groups.setdefault(name, empty)

    def _coordinator(self, group: str) -> Process:
        request = FindCoordinatorRequest(key_type=0, coordinator_keys=[group])
        for _ in range(60):
            (answer,) = self.ask(self.any(), request, 4).coordinators
            if answer.error_code == 0 and answer.node_id in self.processes:
                return self.processes[answer.node_id]
            self.run(0.5)
        raise AssertionError(f"nobody coordinates {group}")

    # -- what there is in the end ------------------------------------------------

    def observe(self) -> None:
        """
        Note where the logs begin and end. What is sent from now on must not be
        acknowledged.
        """
        for topic, held in self._topics.items():
            for index in range(held["partitions"]):
                name = topic, index
                self._ends[name] = [self._offset(name, when) for when in (-2, -1)]

    def _offset(self, name: Name, when: int) -> int:
        part = ListOffsetsRequest.Topic.Partition(partition_index=name[1], timestamp=when)
        asked = ListOffsetsRequest.Topic(name=name[0], partitions=[part])
        request = ListOffsetsRequest(replica_id=-1, topics=[asked])
        (answer,) = self.ask(self.leader(name), request, 7).topics[0].partitions
        assert answer.error_code == 0, answer
        return int(answer.offset)

    def expected(self) -> dict[str, Any]:
        """
        Return the state that a broker must find in these stores later.
        """
        logs = {}
        for name, (start, end) in self._ends.items():
            held = sorted(self._records.get(name, ()))
            assert list(range(end)) == held, f"{name}: {end}, {held}"
            logs[_text(name)] = {"log_start": start, "high_watermark": end}
        groups = {
            group: {**held, "offsets": {_text(name): at for name, at in held["offsets"].items()}}
            for group, held in self._groups.items()
        }
        return {
            "now_ms": self.now_ms,
            "settings": self._settings,
            "topics": self._topics,
            "deleted": self._deleted,
            "logs": logs,
            "groups": groups,
            "producers": [
                each for (_, name), each in self._last.items() if name[0] in self._topics
            ],
        }

    def expected_records(self) -> builtins.list[Any]:
        """
        All records that must be found: partition, offset, timestamp in ms,
        key, value, headers. Of long values their length and CRC-32.
        """
        return [
            [_text(name), offset, *self._records[name][offset]]
            for name, (start, end) in self._ends.items()
            for offset in range(start, end)
        ]

    def stored_objects(self) -> dict[str, bytes]:
        """
        All objects, by their keys.
        """
        found = now(self.objects.list("", limit=1 << 30))
        return {info.key: now(self.objects.get(info.key)) for info in found}

    def stored_entries(self) -> builtins.list[str]:
        """
        All entries of the metadata store as JSON, in the order of their keys:
        first the revision of the store.
        """
        rows: Sequence[tuple[str, str, int, bool]]
        if isinstance(self.metadata, Etcd):
            everything = {"key": _base64(f"{NAMESPACE}/"), "range_end": _base64(f"{NAMESPACE}0")}
            answer = self.metadata.answer("/v3/kv/range", everything)
            revision = int(answer["header"]["revision"])
            rows = []
            for each in answer["kvs"]:
                key = b64decode(each["key"]).decode().removeprefix(f"{NAMESPACE}/")
                value = b64decode(each["value"]).decode()
                rows.append((key, value, int(each["mod_revision"]), key.startswith("brokers/")))
        else:
            path = os.path.join(self.folder, "metadata.sqlite")
            with closing(sqlite3.connect(path)) as table:
                ((revision,),) = table.execute("SELECT revision FROM counter")
                rows = table.execute(
                    "SELECT key, value, revision, lease IS NOT NULL FROM entries ORDER BY key"
                ).fetchall()
        lines = [f'{{"revision":{revision}}}']
        for key, value, at, leased in rows:
            lease = ',"lease":true' if leased else ""
            lines.append(f'{{"key":{json.dumps(key)},"revision":{at}{lease},"value":{value}}}')
        return lines


def _text(name: Name) -> str:
    return f"{name[0]}-{name[1]}"


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def short(value: str | None) -> Any:
    """
    A value, or what tells it from others if it is long.
    """
    if value is None or len(value) <= LARGEST:
        return value
    return {"length": len(value), "crc32": crc32(value.encode())}


def _versioned(version: int, message: Any) -> bytes:
    return version.to_bytes(2, "big") + b"".join(message.encode(version))
