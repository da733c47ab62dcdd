"""
Creating, growing and deleting topics, and what controllers do with partitions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from kafscale.wire.messages import (
    AlterPartitionReassignmentsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
)
from tests.differential.talk import Case, Talk
from tests.differential.versions import each_version, newest, versions

UNKNOWN = UUID(int=5)
ASSIGNED = CreateTopicsRequest.Topic.Assignment


def _assigned(*lists: tuple[int, list[int]]) -> dict[str, Any]:
    """
    Fields of a topic whose replicas are assigned by hand.
    """
    return {
        "num_partitions": -1,
        "replication_factor": -1,
        "assignments": [ASSIGNED(partition_index=i, broker_ids=ids) for i, ids in lists],
    }


#: Topics to create: the end of the name (a whole name, after an equals sign), and fields.
TOPICS: dict[str, tuple[str, dict[str, Any]]] = {
    "right": ("t", {}),
    "three partitions": ("t", {"num_partitions": 3}),
    "defaults": ("t", {"num_partitions": -1, "replication_factor": -1}),
    "0 partitions": ("t", {"num_partitions": 0}),
    "-2 partitions": ("t", {"num_partitions": -2}),
    "replication factor 0": ("t", {"replication_factor": 0}),
    "replication factor -2": ("t", {"replication_factor": -2}),
    "replication factor 3": ("t", {"replication_factor": 3}),
    "no name": ("=", {}),
    "a dot": ("=.", {}),
    "two dots": ("=..", {}),
    "a slash": ("=a/b", {}),
    "a blank": ("=a b", {}),
    "an umlaut": ("=\xe4", {}),
    "250 letters": ("=" + "a" * 250, {}),
    "internal name": ("=__consumer_offsets", {}),
    "internal name of transactions": ("=__transaction_state", {}),
    "internal name of metadata": ("=__cluster_metadata", {}),
    "by hand": ("t", _assigned((0, [1]))),
    "by hand, two": ("t", _assigned((1, [1]), (0, [1]))),
    "by hand, gap": ("t", _assigned((0, [1]), (2, [1]))),
    "by hand, not from 0": ("t", _assigned((1, [1]))),
    "by hand, negative": ("t", _assigned((-1, [1]))),
    "by hand, twice": ("t", _assigned((0, [1]), (0, [1]))),
    "by hand, no broker": ("t", _assigned((0, []))),
    "by hand, unknown broker": ("t", _assigned((0, [77]))),
    "by hand, broker twice": ("t", _assigned((0, [1, 1]))),
    "by hand, broker -1": ("t", _assigned((0, [-1]))),
    "by hand, and a number": ("t", {**_assigned((0, [1])), "num_partitions": 1}),
    "by hand, and a factor": ("t", {**_assigned((0, [1])), "replication_factor": 1}),
}


def _config(name: str, value: str | None) -> Any:
    return CreateTopicsRequest.Topic.Config(name=name, value=value)


CONFIGS: dict[str, list[Any]] = {
    "config": [_config("retention.ms", "1000")],
    "unknown config": [_config("no.such", "1")],
    "empty config name": [_config("", "1")],
    "bad value": [_config("retention.ms", "soon")],
    "null value": [_config("retention.ms", None)],
    "config twice": [_config("retention.ms", "1"), _config("retention.ms", "2")],
    "values with blanks": [_config("retention.ms", " 1000 ")],
}


def _made(name: str, **fields: Any) -> Any:
    usual: dict[str, Any] = {"num_partitions": 1, "replication_factor": 1}
    usual |= {"assignments": [], "configs": []}
    return CreateTopicsRequest.Topic(name=name, **usual | fields)


def _request(*topics: Any, validate_only: bool = False) -> CreateTopicsRequest:
    return CreateTopicsRequest(
        topics=list(topics), timeout_ms=30_000, validate_only=validate_only
    )


def _create(version: int, name: str, fields: dict[str, Any], talk: Talk) -> None:
    """
    Create a topic, first only in thought; then see it.
    """
    name = name[1:] if name.startswith("=") else talk.name(name)
    topic = _made(name, **fields)
    talk.ask(_request(topic, validate_only=True), version)
    made = talk.ask(_request(topic), version)
    if made and made.topics[0].error_code == 0:
        talk.until_led(name)
        talk.ask(talk.metadata_request(name), 12)
        talk.ask(_request(topic), version)


def _several(version: int, talk: Talk) -> None:
    one, two = talk.name("one"), talk.name("two")
    bad = [_made("a/b"), _made(talk.name("bad"), num_partitions=0)]
    talk.ask(_request(_made(one), _made(two), *bad), version)
    talk.until_led(one)
    twice = talk.name("twice")
    talk.ask(_request(_made(twice), _made(twice), _made(talk.name("three"))), version)
    talk.ask(_request(), version)
    talk.topic("col.lide")
    talk.ask(_request(_made(talk.name("col_lide"))), version)
    talk.ask(_request(_made(talk.name("new.one")), _made(talk.name("new_one"))), version)


def _delete(version: int, talk: Talk) -> None:
    one, two, three = (talk.topic(name) for name in ("one", "two", "three"))

    def ask(*names: str, ids: tuple[UUID, ...] = ()) -> None:
        asked = DeleteTopicsRequest.Topic
        talk.ask(
            DeleteTopicsRequest(
                topic_names=list(names),
                topics=[
                    *(asked(name=each) for each in names),
                    *(asked(name=None, topic_id=each) for each in ids),
                ],
                timeout_ms=30_000,
            ),
            version,
        )

    ask(talk.name("missing"))
    ask("a/b")
    ask("")
    ask()
    ask(one, talk.name("missing"))
    talk.until(lambda: talk.client.metadata(one).topics[0].error_code == 3)
    ask(one)
    ask(two, two)
    if version >= 6:
        ask(ids=(UNKNOWN,))
        ask(ids=(UUID(int=0),))
        ask(ids=(talk.ids[three], talk.ids[three]))
        ask(three, ids=(talk.ids[three],))
        asked = DeleteTopicsRequest.Topic(name=three, topic_id=talk.ids[three])
        talk.ask(DeleteTopicsRequest(topics=[asked], timeout_ms=30_000), version)
        ask(ids=(talk.ids[three],))
        talk.until(lambda: talk.client.metadata(three).topics[0].error_code == 3)
        talk.ask(talk.metadata_request(three), 12)
        talk.ask(talk.fetch_request(three), 13)
        talk.ask(talk.fetch_request(three), 12)


#: Numbers of partitions, and lists of brokers for the new ones, for a topic with 2.
GROWTHS: dict[str, tuple[int, list[list[int]] | None]] = {
    "to 3": (3, None),
    "to 2": (2, None),
    "to 1": (1, None),
    "to 0": (0, None),
    "to -1": (-1, None),
    "by hand": (3, [[1]]),
    "by hand, none": (3, []),
    "by hand, too few": (4, [[1]]),
    "by hand, too many": (3, [[1], [1]]),
    "by hand, unknown": (3, [[77]]),
    "by hand, nothing": (3, [[]]),
    "by hand, twice": (3, [[1, 1]]),
}


def _growth(name: str, count: int, lists: list[list[int]] | None) -> Any:
    growing = CreatePartitionsRequest.Topic
    held = None if lists is None else [growing.Assignment(broker_ids=each) for each in lists]
    return growing(name=name, count=count, assignments=held)


def _grow_request(*topics: Any, validate_only: bool = False) -> CreatePartitionsRequest:
    return CreatePartitionsRequest(
        topics=list(topics), timeout_ms=30_000, validate_only=validate_only
    )


def _grow(count: int, lists: list[list[int]] | None, talk: Talk) -> None:
    topic = talk.topic(partitions=2)
    grown = _growth(topic, count, lists)
    version = newest(CreatePartitionsRequest)
    talk.ask(_grow_request(grown, validate_only=True), version)
    answer = talk.ask(_grow_request(grown), version)
    if answer.results[0].error_code == 0:
        talk.until_led(topic, count)
    talk.ask(talk.metadata_request(topic), 12)


def _grow_several(version: int, talk: Talk) -> None:
    one, two = talk.topic("one"), talk.topic("two")
    talk.ask(
        _grow_request(
            _growth(one, 2, None), _growth(two, 1, None), _growth(talk.name("missing"), 2, None)
        ),
        version,
    )
    talk.ask(_grow_request(_growth(two, 2, None), _growth(two, 3, None)), version)
    talk.ask(_grow_request(_growth("a/b", 2, None)), version)
    talk.ask(_grow_request(), version)


def _elect(version: int, talk: Talk) -> None:
    topic = talk.topic(partitions=2)
    asked = ElectLeadersRequest.TopicPartition
    for kind in (0, 1, 2) if version else (0,):
        for name, indexes in (
            (topic, [0, 1]),
            (topic, [7]),
            (topic, []),
            (topic, [0, 0]),
            (talk.name("missing"), [0]),
        ):
            talk.ask(
                ElectLeadersRequest(
                    election_type=kind,
                    topic_partitions=[asked(topic=name, partitions=indexes)],
                    timeout_ms=30_000,
                ),
                version,
            )


def _reassign(version: int, talk: Talk) -> None:
    topic = talk.topic(partitions=2)
    asked = AlterPartitionReassignmentsRequest.Topic

    def ask(name: str, *parts: tuple[int, list[int] | None], change: bool = True) -> None:
        listed = [asked.Partition(partition_index=i, replicas=ids) for i, ids in parts]
        talk.ask(
            AlterPartitionReassignmentsRequest(
                timeout_ms=30_000,
                allow_replication_factor_change=change,
                topics=[asked(name=name, partitions=listed)],
            ),
            version,
        )

    ask(topic, (0, [1]))
    ask(topic, (0, [1]), (1, [1]))
    ask(topic, (0, None))
    ask(topic, (0, [77]))
    ask(topic, (0, []))
    ask(topic, (0, [1, 1]))
    ask(topic, (0, [-1]))
    ask(topic, (7, [1]))
    ask(topic, (7, None))
    ask(talk.name("missing"), (0, [1]))
    ask(topic)
    if version:
        ask(topic, (0, [1]), change=False)
    talk.ask(AlterPartitionReassignmentsRequest(topics=[]), version)
    listed = ListPartitionReassignmentsRequest.Topic
    for topics in (
        [listed(name=topic, partition_indexes=[0, 1])],
        [listed(name=talk.name("missing"), partition_indexes=[0])],
        [],
        None,
    ):
        talk.ask(ListPartitionReassignmentsRequest(topics=topics), 0)


def _cases() -> Iterator[Case]:
    for version in versions(CreateTopicsRequest):
        yield Case(
            f"topics/create, version {version}", functools.partial(_create, version, "t", {})
        )
        yield Case(
            f"topics/create several, version {version}", functools.partial(_several, version)
        )
    last = newest(CreateTopicsRequest)
    for name, (topic, fields) in TOPICS.items():
        yield Case(f"topics/create: {name}", functools.partial(_create, last, topic, fields))
    for name, configs in CONFIGS.items():
        run = functools.partial(_create, last, "t", {"configs": configs})
        yield Case(f"topics/create: {name}", run)
    yield from each_version("topics/delete", DeleteTopicsRequest, _delete)
    for name, (count, lists) in GROWTHS.items():
        yield Case(f"topics/grow {name}", functools.partial(_grow, count, lists))
    yield from each_version("topics/grow several", CreatePartitionsRequest, _grow_several)
    yield from each_version("topics/elect", ElectLeadersRequest, _elect)
    yield from each_version("topics/reassign", AlterPartitionReassignmentsRequest, _reassign)


CASES = list(_cases())
