"""
Look-ups: offsets by time, epochs, metadata, coordinators, the cluster.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from kafscale.wire.messages import (
    DeleteRecordsRequest,
    DescribeClusterRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeTopicPartitionsRequest,
    FindCoordinatorRequest,
    ListOffsetsRequest,
    MetadataRequest,
    OffsetForLeaderEpochRequest,
)
from tests.differential.batches import TIME, batch_of
from tests.differential.talk import Case, Talk
from tests.differential.versions import each_version, newest, versions

UNKNOWN = UUID(int=5)


def _written(talk: Talk, partitions: int = 1) -> str:
    topic = talk.topic(partitions=partitions)
    talk.produce(topic, batch_of(3))
    talk.produce(topic, batch_of(2, base_timestamp=TIME + 1000, codec=1))
    talk.produce(topic, batch_of(1, base_timestamp=TIME + 500))
    return topic


WHEN = {
    "latest": -1,
    "earliest": -2,
    "max timestamp": -3,
    "earliest local": -4,
    "latest tiered": -5,
    "earliest pending upload": -6,
    "-7": -7,
    "0": 0,
    "first": TIME,
    "between": TIME + 100,
    "in a gzip batch": TIME + 1001,
    "last": TIME + 1000,
    "later": TIME + 5000,
}


def _offset(version: int, when: int, talk: Talk) -> None:
    topic = _written(talk)
    talk.offset(topic, version, timestamp=when)


def _offsets_of_nothing(when: int, talk: Talk) -> None:
    talk.offset(talk.topic(), newest(ListOffsetsRequest), timestamp=when)


def _offset_errors(version: int, talk: Talk) -> None:
    topic = _written(talk)
    for fields in (
        {"partition_index": 1},
        {"partition_index": -1},
        {"current_leader_epoch": 0},
        {"current_leader_epoch": 1},
        {"current_leader_epoch": 7, "timestamp": TIME},
    ):
        talk.offset(topic, version, **fields)
    talk.offset(talk.name("missing"), version)
    talk.offset("no/name", version)
    asked = ListOffsetsRequest.Topic
    part = asked.Partition(partition_index=0, timestamp=-1)
    twice = [asked(name=topic, partitions=[part, part])]
    talk.ask(ListOffsetsRequest(topics=twice), version)
    named = [asked(name=topic, partitions=[part])]
    talk.ask(ListOffsetsRequest(topics=named * 2), version)
    talk.ask(ListOffsetsRequest(topics=[]), version)
    talk.ask(ListOffsetsRequest(topics=named, isolation_level=1), version)
    talk.ask(ListOffsetsRequest(topics=named, replica_id=-2), version)


def _epochs(version: int, talk: Talk) -> None:
    topic = _written(talk)
    asked = OffsetForLeaderEpochRequest.Topic

    def ask(topic: str, **fields: Any) -> None:
        part = asked.Partition(**{"partition": 0, "leader_epoch": 0} | fields)
        talk.ask(
            OffsetForLeaderEpochRequest(topics=[asked(topic=topic, partitions=[part])]), version
        )

    for fields in (
        {},
        {"leader_epoch": 1},
        {"leader_epoch": 99},
        {"leader_epoch": -1},
        {"current_leader_epoch": 0},
        {"current_leader_epoch": 1},
        {"partition": 1},
        {"partition": -1},
    ):
        ask(topic, **fields)
    ask(talk.name("missing"))
    empty = talk.topic("empty")
    ask(empty)
    ask(empty, leader_epoch=1)


def _metadata(version: int, talk: Talk) -> None:
    one, two = talk.topic("one", 3), talk.topic("two")
    ask = functools.partial(talk.metadata_request, one)
    talk.ask(ask(), version)
    talk.ask(talk.metadata_request(one, two), version)
    talk.ask(talk.metadata_request(one, one), version)
    if version > 0:
        talk.ask(talk.metadata_request(), version)
    if version >= 4:
        talk.ask(talk.metadata_request(talk.name("missing")), version)
        talk.ask(talk.metadata_request(one, "no/name", "."), version)
        talk.ask(talk.metadata_request("", allow_auto_topic_creation=True), version)
        talk.ask(talk.metadata_request("a" * 250), version)
        made = talk.name("made")
        talk.call(talk.metadata_request(made, allow_auto_topic_creation=True), version)
        talk.until_led(made)
        talk.ask(talk.metadata_request(made, allow_auto_topic_creation=True), version)
    if version >= 8:
        talk.ask(ask(include_topic_authorized_operations=True), version)
        talk.ask(ask(include_cluster_authorized_operations=True), version)
    if version >= 12:
        asked = MetadataRequest.Topic
        for topics in (
            [asked(name=None, topic_id=talk.ids[one])],
            [asked(name=None, topic_id=talk.ids[one]), asked(name=None, topic_id=talk.ids[two])],
            [asked(name=None, topic_id=UNKNOWN)],
            [asked(name=None)],
            [asked(name=one, topic_id=talk.ids[one])],
            [asked(name="", topic_id=talk.ids[one])],
            [asked(name=None, topic_id=talk.ids[one]), asked(name=two)],
        ):
            talk.ask(
                MetadataRequest(topics=topics, allow_auto_topic_creation=False), version
            )


def _coordinator(version: int, kind: int, key: str, talk: Talk) -> None:
    key = talk.name("group") if key == "NAME" else key

    def request() -> FindCoordinatorRequest:
        return FindCoordinatorRequest(key=key, key_type=kind, coordinator_keys=[key])

    # The first one makes Kafka create the topic.
    talk.until(lambda: _code(talk.call(request(), version), version) != 15)
    talk.ask(request(), version)


def _code(answer: Any, version: int) -> int:
    return answer.error_code if version < 4 else answer.coordinators[0].error_code


def _coordinators(version: int, talk: Talk) -> None:
    keys = [talk.name("a"), talk.name("b"), "", talk.name("a")]
    for asked in (keys, keys[:2], []):
        talk.ask(FindCoordinatorRequest(coordinator_keys=asked), version)


def _cluster(version: int, talk: Talk) -> None:
    for kind in (1, 2, 3) if version else (1,):
        for operations in (False, True):
            talk.ask(
                DescribeClusterRequest(
                    include_cluster_authorized_operations=operations, endpoint_type=kind
                ),
                version,
            )


def _log_dirs(version: int, talk: Talk) -> None:
    topic = talk.topic(partitions=2)
    asked = DescribeLogDirsRequest.Topic
    for topics in (
        [asked(topic=topic, partitions=[0, 1])],
        [asked(topic=topic, partitions=[1])],
        [asked(topic=topic, partitions=[7])],
        [asked(topic=topic, partitions=[])],
        [asked(topic=talk.name("missing"), partitions=[0])],
        [],
    ):
        talk.ask(DescribeLogDirsRequest(topics=topics), version)


def _producers(talk: Talk) -> None:
    topic = talk.topic(partitions=2)
    for count in (1, 2):
        own = {"producer_id": talk.producer(), "producer_epoch": 0, "base_sequence": 0}
        talk.produce(topic, batch_of(count, **own))
    asked = DescribeProducersRequest.Topic
    for name, indexes in (
        (topic, [0]),
        (topic, [0, 1]),
        (topic, [5]),
        (topic, [-1]),
        (topic, []),
        (talk.name("missing"), [0]),
        ("no/name", [0]),
    ):
        talk.ask(
            DescribeProducersRequest(topics=[asked(name=name, partition_indexes=indexes)]), 0
        )


def _partitions(talk: Talk) -> None:
    one, two = talk.topic("one", 3), talk.topic("two", 2)
    asked, cursor = DescribeTopicPartitionsRequest.Topic, DescribeTopicPartitionsRequest.Cursor

    def ask(*names: str, limit: int = 2000, after: Any = None) -> None:
        talk.ask(
            DescribeTopicPartitionsRequest(
                topics=[asked(name=name) for name in names],
                response_partition_limit=limit,
                cursor=after,
            ),
            0,
        )

    ask(one)
    ask(one, two)
    ask(two, one)
    ask(one, one)
    ask(talk.name("missing"))
    ask("no/name")
    ask("")
    ask(one, two, limit=2)
    ask(one, two, limit=3)
    ask(one, two, limit=4)
    ask(one, two, limit=0)
    ask(one, two, limit=-1)
    ask(one, two, after=cursor(topic_name=one, partition_index=1))
    ask(one, two, after=cursor(topic_name=two, partition_index=1))
    ask(one, two, after=cursor(topic_name=one, partition_index=7))
    ask(one, two, after=cursor(topic_name=one, partition_index=-1))


def _deleted_records(version: int, talk: Talk) -> None:
    """
    DeleteRecords, and what look-ups then find.
    """
    topic = _written(talk, 2)
    compacted = talk.topic("compacted", cleanup_policy="compact")
    asked = DeleteRecordsRequest.Topic
    part = asked.Partition

    def ask(name: str, *parts: tuple[int, int]) -> None:
        talk.ask(
            DeleteRecordsRequest(
                topics=[
                    asked(
                        name=name,
                        partitions=[part(partition_index=i, offset=o) for i, o in parts],
                    )
                ],
                timeout_ms=30_000,
            ),
            version,
        )

    ask(topic, (0, 2))
    ask(topic, (0, 1))
    ask(topic, (0, 100))
    ask(topic, (0, -2))
    ask(topic, (7, 0))
    ask(topic, (-1, 0))
    ask(talk.name("missing"), (0, 0))
    ask(compacted, (0, 0))
    talk.offset(topic, timestamp=-2)
    talk.offset(topic, timestamp=-4)
    talk.offset(topic, timestamp=0)
    talk.offset(topic, timestamp=-3)
    talk.ask(talk.fetch_request(topic, 1), 12)
    talk.ask(talk.fetch_request(topic, 2), 12)
    ask(topic, (0, -1))
    talk.stored(topic)
    talk.offset(topic, timestamp=-2)
    talk.offset(topic, timestamp=-3)
    talk.offset(topic, timestamp=0)


def _cases() -> Iterator[Case]:
    for name, when in WHEN.items():
        for version in versions(ListOffsetsRequest):
            yield Case(
                f"lookups/offset {name}, version {version}",
                functools.partial(_offset, version, when),
            )
        yield Case(
            f"lookups/offset {name}, empty", functools.partial(_offsets_of_nothing, when)
        )
    yield from each_version("lookups/offsets", ListOffsetsRequest, _offset_errors)
    yield from each_version("lookups/epochs", OffsetForLeaderEpochRequest, _epochs)
    yield from each_version("lookups/metadata", MetadataRequest, _metadata)
    for version in versions(FindCoordinatorRequest):
        for kind in (0, 2, 3) if version else (0,):
            for key in ("NAME", "", f"g:{UNKNOWN}:0"):
                yield Case(
                    f"lookups/coordinator of {key or 'nothing'}, type {kind}, version {version}",
                    functools.partial(_coordinator, version, kind, key),
                )
        if version >= 4:
            yield Case(
                f"lookups/coordinators, version {version}",
                functools.partial(_coordinators, version),
            )
    yield from each_version("lookups/cluster", DescribeClusterRequest, _cluster)
    yield from each_version("lookups/log dirs", DescribeLogDirsRequest, _log_dirs)
    yield from each_version("lookups/deleted records", DeleteRecordsRequest, _deleted_records)
    yield Case("lookups/producers", _producers)
    yield Case("lookups/partitions", _partitions)


CASES = list(_cases())
