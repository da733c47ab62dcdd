"""
Fetch: positions, limits, sessions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from kafscale.wire.messages import FetchRequest
from tests.differential.batches import batch_of
from tests.differential.talk import Case, Talk
from tests.differential.versions import each_version, newest

UNKNOWN = UUID(int=5)


def _written(talk: Talk, partitions: int = 1) -> str:
    """
    A topic with batches at 0-2, 3-4 and 5 in each partition.
    """
    topic = talk.topic(partitions=partitions)
    for index in range(partitions):
        for count in (3, 2, 1):
            talk.produce(topic, batch_of(count), index)
    return topic


def _version(version: int, talk: Talk) -> None:
    topic = _written(talk)
    talk.ids.setdefault(talk.name("missing"), UNKNOWN)
    for asked in (
        talk.fetch_request(topic),
        talk.fetch_request(topic, 3),
        talk.fetch_request(topic, 6),
        talk.fetch_request(topic, 7),
        talk.fetch_request(topic, -1),
        talk.fetch_request(topic, partition=1),
        talk.fetch_request(topic, partition=-1),
        talk.fetch_request(talk.name("missing")),
        talk.fetch_request(topic, topics=[]),
        talk.fetch_request(topic, isolation_level=1),
    ):
        talk.ask(asked, version)


#: Requests for one partition, by what they are: offset, and the fields that they have.
FETCHES: dict[str, tuple[int, dict[str, Any]]] = {
    "within a batch": (1, {}),
    "the last record": (5, {}),
    "the end": (6, {}),
    "the end, waiting": (6, {"max_wait_ms": 50, "min_bytes": 1}),
    "beyond the end": (100, {}),
    "offset -1": (-1, {}),
    "offset -2": (-2, {}),
    "0 bytes of the partition": (0, {"partition_max_bytes": 0}),
    "1 byte of the partition": (0, {"partition_max_bytes": 1}),
    "100 bytes of the partition": (0, {"partition_max_bytes": 100}),
    "-1 bytes of the partition": (0, {"partition_max_bytes": -1}),
    "0 bytes": (0, {"max_bytes": 0}),
    "1 byte": (0, {"max_bytes": 1}),
    "100 bytes": (0, {"max_bytes": 100}),
    "200 bytes": (0, {"max_bytes": 200}),
    "min above max": (0, {"min_bytes": 1 << 30, "max_wait_ms": 50}),
    "min bytes not there": (0, {"min_bytes": 1 << 20, "max_wait_ms": 50}),
    "wait -1": (0, {"max_wait_ms": -1}),
    "isolation 1": (0, {"isolation_level": 1}),
    "isolation 2": (0, {"isolation_level": 2}),
    "epoch 0": (0, {"current_leader_epoch": 0}),
    "epoch 1": (0, {"current_leader_epoch": 1}),
    "epoch 9": (0, {"current_leader_epoch": 9}),
    "last epoch 0": (3, {"last_fetched_epoch": 0}),
    "last epoch 5": (3, {"last_fetched_epoch": 5}),
    "last epoch 0 beyond the end": (9, {"last_fetched_epoch": 0}),
    "log start 5": (0, {"log_start_offset": 5}),
    "a rack": (0, {"rack_id": "rack"}),
    "session 5, epoch 1": (0, {"session_id": 5, "session_epoch": 1}),
    "session 5, epoch 0": (0, {"session_id": 5, "session_epoch": 0}),
    "session 5, epoch -1": (0, {"session_id": 5, "session_epoch": -1}),
    "session 0, epoch 0": (0, {"session_epoch": 0}),
    "session 0, epoch 5": (0, {"session_epoch": 5}),
    "session -1, epoch 0": (0, {"session_id": -1, "session_epoch": 0}),
}


def _one(version: int, offset: int, fields: dict[str, Any], talk: Talk) -> None:
    topic = _written(talk)
    talk.ask(talk.fetch_request(topic, offset, **fields), version)


def _twice(version: int, talk: Talk) -> None:
    """
    The same partition, and the same topic, twice.
    """
    topic = _written(talk)
    one = talk.fetch_request(topic).topics[0]
    two = FetchRequest.Topic(
        topic=topic, topic_id=talk.ids[topic], partitions=[*one.partitions, *one.partitions]
    )
    talk.ask(talk.fetch_request(topic, topics=[one, one]), version)
    talk.ask(talk.fetch_request(topic, topics=[two]), version)


def _limits(version: int, talk: Talk) -> None:
    """
    Two partitions that share the bytes of the response.
    """
    topic = _written(talk, 2)
    parts = [
        FetchRequest.Topic.Partition(partition=index, fetch_offset=0, partition_max_bytes=1 << 20)
        for index in range(2)
    ]
    named = FetchRequest.Topic(topic=topic, topic_id=talk.ids[topic], partitions=parts)
    for limit in (0, 1, 100, 300, 1 << 20):
        talk.ask(talk.fetch_request(topic, topics=[named], max_bytes=limit), version)


def _session(version: int, talk: Talk) -> None:
    """
    A session: only what changes is answered; wrong epochs are refused.
    """
    topic = _written(talk, 2)
    parts = [
        FetchRequest.Topic.Partition(partition=index, fetch_offset=6, partition_max_bytes=1 << 20)
        for index in range(2)
    ]
    named = FetchRequest.Topic(topic=topic, topic_id=talk.ids[topic], partitions=parts)
    request = functools.partial(talk.fetch_request, topic)
    made = talk.ask(request(topics=[named], session_epoch=0), version)
    session = made.session_id
    assert session, "no session"
    talk.ask(request(topics=[], session_id=session, session_epoch=1), version)
    talk.produce(topic, batch_of(2), 1)
    talk.ask(request(topics=[], session_id=session, session_epoch=2), version)
    talk.ask(request(topics=[], session_id=session, session_epoch=2), version)
    talk.ask(request(topics=[], session_id=session, session_epoch=9), version)
    forgotten = FetchRequest.ForgottenTopic(
        topic=topic, topic_id=talk.ids[topic], partitions=[1]
    )
    changed = FetchRequest.Topic(
        topic=topic,
        topic_id=talk.ids[topic],
        partitions=[
            FetchRequest.Topic.Partition(
                partition=0, fetch_offset=0, partition_max_bytes=1 << 20
            )
        ],
    )
    talk.ask(
        request(
            topics=[changed],
            forgotten_topics_data=[forgotten],
            session_id=session,
            session_epoch=3,
        ),
        version,
    )
    out = FetchRequest.Topic(
        topic=topic,
        topic_id=talk.ids[topic],
        partitions=[
            FetchRequest.Topic.Partition(
                partition=0, fetch_offset=99, partition_max_bytes=1 << 20
            )
        ],
    )
    talk.ask(request(topics=[out], session_id=session, session_epoch=4), version)
    talk.ask(request(topics=[], session_id=session, session_epoch=5), version)
    talk.ask(request(topics=[], session_id=session, session_epoch=-1), version)
    talk.ask(request(topics=[], session_id=session, session_epoch=6), version)


def _unknown_beside_good(version: int, talk: Talk) -> None:
    """
    An unknown topic and an unknown partition beside a good one.
    """
    topic = _written(talk)
    good = talk.fetch_request(topic).topics[0]
    bad = talk.fetch_request(topic, partition=7).topics[0]
    missing = FetchRequest.Topic(
        topic=talk.name("missing"), topic_id=UNKNOWN, partitions=good.partitions
    )
    talk.ask(talk.fetch_request(topic, topics=[good, missing]), version)
    both = FetchRequest.Topic(
        topic=topic, topic_id=talk.ids[topic], partitions=[*good.partitions, *bad.partitions]
    )
    talk.ask(talk.fetch_request(topic, topics=[both]), version)


def _cases() -> Iterator[Case]:
    yield from each_version("fetch/fetch", FetchRequest, _version)
    for name, (offset, fields) in FETCHES.items():
        run = functools.partial(_one, newest(FetchRequest), offset, fields)
        yield Case(f"fetch/{name}", run)
    for version in (12, newest(FetchRequest)):
        yield Case(f"fetch/twice, version {version}", functools.partial(_twice, version))
        yield Case(f"fetch/limits, version {version}", functools.partial(_limits, version))
        yield Case(
            f"fetch/unknown, version {version}", functools.partial(_unknown_beside_good, version)
        )
    for version in (7, 12, newest(FetchRequest)):
        yield Case(f"fetch/session, version {version}", functools.partial(_session, version))


CASES = list(_cases())
