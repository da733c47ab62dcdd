"""
Batches that are right, and wrong in every way that a producer may think of.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from kafscale.wire.messages import ProduceRequest
from tests.differential.batches import TIME, batch, batch_of, message_set, record
from tests.differential.talk import Case, Talk
from tests.differential.versions import each_version, newest

LIMIT = 1 << 62
DAY = 86_400_000


#: Of this run, in ms: the same in the requests to both brokers.
NOW = int(time.time() * 1000)


#: Batches, by what they are. Null records are missing: Kafka never answers these.
BATCHES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "three bytes": lambda: b"abc",
    "two batches": lambda: batch_of(1) + batch_of(1),
    "a byte too many": lambda: batch_of(1) + b"\0",
    "a byte too few": lambda: batch_of(1)[:-1],
    "header only": lambda: batch_of(1)[:61],
    "half a header": lambda: batch_of(1)[:30],
    "length too small": lambda: batch_of(1, length=10),
    "length negative": lambda: batch_of(1, length=-1),
    "length too large": lambda: batch_of(1, length=1000),
    "magic 0": lambda: message_set(2, 0),
    "magic 1": lambda: message_set(2, 1),
    "magic 2 as 3": lambda: batch_of(1, magic=3),
    "magic 2 as -1": lambda: batch_of(1, magic=-1),
    "wrong crc": lambda: batch_of(1, crc=1),
    "base offset": lambda: batch_of(2, base_offset=77),
    "leader epoch": lambda: batch_of(2, leader_epoch=77),
    "no records": lambda: batch(),
    "no records, offsets": lambda: batch(last_offset_delta=0, record_count=0),
    "count too large": lambda: batch_of(2, record_count=3),
    "count and delta too large": lambda: batch_of(2, record_count=3, last_offset_delta=2),
    "count too small": lambda: batch_of(2, record_count=1),
    "count and delta too small": lambda: batch_of(2, record_count=1, last_offset_delta=0),
    "count negative": lambda: batch_of(2, record_count=-1),
    "delta too large": lambda: batch_of(2, last_offset_delta=5),
    "delta too small": lambda: batch_of(2, last_offset_delta=0),
    "delta negative": lambda: batch_of(2, last_offset_delta=-1),
    "control": lambda: batch_of(1, attributes=0x20),
    "control of a transaction": lambda: batch_of(1, attributes=0x30),
    "delete horizon": lambda: batch_of(1, attributes=0x40),
    "unused attributes": lambda: batch_of(1, attributes=0x80),
    "append time": lambda: batch_of(1, attributes=0x08),
    "append time, max timestamp too large": lambda: batch_of(
        2, attributes=0x08, max_timestamp=TIME + DAY
    ),
    "codec 5": lambda: batch_of(1, attributes=5),
    "codec 7": lambda: batch_of(1, attributes=7),
    "null key and value": lambda: batch(record(None, None)),
    "headers": lambda: batch(record(headers=((b"a", b"b"), (b"a", None), (b"", b"")))),
    "header without a name": lambda: batch(record(headers=((None, b"b"),))),
    "header count too large": lambda: batch(record(header_count=3)),
    "header count negative": lambda: batch(record(header_count=-1)),
    "record attributes": lambda: batch(record(attributes=1)),
    "record too long": lambda: batch(record(extra=b"x")),
    "record too short": lambda: batch(record(missing=1)),
    "record offset 5": lambda: batch(record(offset=5)),
    "record offset negative": lambda: batch(record(offset=-1)),
    "record offset huge": lambda: batch(record(offset=1 << 40)),
    "offsets twice": lambda: batch(record(), record()),
    "offsets backwards": lambda: batch(record(offset=1), record(offset=0)),
    "offsets with a gap": lambda: batch(record(), record(offset=2), last_offset_delta=2),
    "gap at the end": lambda: batch(record(), record(offset=1), last_offset_delta=4),
    "rest after the records": lambda: batch(
        body=record() + b"rest", record_count=1, last_offset_delta=0
    ),
    "records are garbage": lambda: batch(body=b"\xff" * 30, record_count=1, last_offset_delta=0),
    "a record of 0 bytes": lambda: batch(body=b"\0", record_count=1, last_offset_delta=0),
    "a record of -1 bytes": lambda: batch(body=b"\1", record_count=1, last_offset_delta=0),
    "max timestamp too large": lambda: batch_of(2, max_timestamp=TIME + DAY),
    "max timestamp too small": lambda: batch_of(2, max_timestamp=TIME - DAY),
    "max timestamp -1": lambda: batch_of(2, max_timestamp=-1),
    "max timestamp far in the future": lambda: batch_of(2, max_timestamp=LIMIT),
    "timestamps -1": lambda: batch(record(), base_timestamp=-1, max_timestamp=-1),
    "timestamps -2": lambda: batch(record(), base_timestamp=-2, max_timestamp=-2),
    "timestamp 0": lambda: batch(record(), base_timestamp=0),
    "timestamps backwards": lambda: batch(record(time=500), record(offset=1, time=-500)),
    "some without a timestamp": lambda: batch(record(), record(offset=1, time=-TIME - 1)),
    "a day ahead": lambda: batch(record(), base_timestamp=NOW + DAY),
    "one record a day ahead": lambda: batch(
        record(), record(offset=1, time=DAY), base_timestamp=NOW
    ),
    "timestamp delta huge": lambda: batch(record(time=LIMIT)),
    "timestamp overflow": lambda: batch(record(time=(1 << 63) - 1)),
    "sequence without a producer": lambda: batch_of(1, base_sequence=5),
    "epoch without a producer": lambda: batch_of(1, producer_epoch=5),
    "producer without an epoch": lambda: batch_of(1, producer_id=7, base_sequence=0),
    "producer without a sequence": lambda: batch_of(1, producer_id=7, producer_epoch=0),
    "producer with sequence -2": lambda: batch_of(
        1, producer_id=7, producer_epoch=0, base_sequence=-2
    ),
    "transactional without a producer": lambda: batch_of(1, attributes=0x10),
}

for _codec, _name in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
    _made = functools.partial(batch_of, 3, codec=_codec)
    BATCHES[f"{_name}: right"] = _made
    if _codec:
        BATCHES[f"{_name}: not compressed"] = functools.partial(
            batch, body=record(), codec=_codec, record_count=1, last_offset_delta=0
        )
        BATCHES[f"{_name}: nothing"] = functools.partial(
            batch, body=b"", codec=_codec, record_count=1, last_offset_delta=0
        )
        BATCHES[f"{_name}: count too large"] = functools.partial(_made, record_count=4)
        BATCHES[f"{_name}: count and delta too large"] = functools.partial(
            _made, record_count=4, last_offset_delta=3
        )
        BATCHES[f"{_name}: count and delta too small"] = functools.partial(
            _made, record_count=2, last_offset_delta=1
        )
        BATCHES[f"{_name}: max timestamp -1"] = functools.partial(_made, max_timestamp=-1)
        BATCHES[f"{_name}: record too long"] = functools.partial(
            batch, record(extra=b"x"), codec=_codec
        )
        BATCHES[f"{_name}: no key"] = functools.partial(batch, record(key=None), codec=_codec)


def _one(make: Callable[[], bytes], configs: dict[str, Any], talk: Talk) -> None:
    """
    Produce one batch, and read it.
    """
    topic = talk.topic(**configs)
    talk.ask(talk.produce_request(topic, make()), newest(ProduceRequest))
    talk.stored(topic)
    talk.offset(topic)
    talk.offset(topic, timestamp=-3)
    talk.offset(topic, timestamp=TIME)


#: Topics in which some batches meet other rules, and these batches.
TOPICS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "append time": (
        {"message_timestamp_type": "LogAppendTime"},
        [
            "headers",
            "append time",
            "max timestamp -1",
            "a day ahead",
            "timestamp overflow",
            "timestamps -1",
            "timestamps -2",
            "count too large",
            "records are garbage",
            "zstd: right",
            "gzip: right",
            "gzip: not compressed",
        ],
    ),
    "compacted": (
        {"cleanup_policy": "compact"},
        [
            "headers",
            "null key and value",
            "gzip: no key",
            "zstd: no key",
            "lz4: right",
            "snappy: no key",
        ],
    ),
    "strict times": (
        {"message_timestamp_before_max_ms": "1000", "message_timestamp_after_max_ms": "1000"},
        [
            "headers",
            "timestamps -1",
            "timestamp 0",
            "max timestamp too large",
            "one record a day ahead",
            "gzip: right",
            "some without a timestamp",
        ],
    ),
    "small messages": (
        {"max_message_bytes": "80"},
        [
            "headers",
            "null key and value",
            "gzip: right",
            "zstd: right",
            "two batches",
            "no records",
        ],
    ),
}


def _sequences(steps: list[tuple[int, int, int]], talk: Talk) -> None:
    """
    Produce batches of one idempotent producer.

    @param steps: Epoch, sequence and number of records.
    """
    topic = talk.topic()
    producer = talk.producer()
    for epoch, sequence, count in steps:
        own = {"producer_id": producer, "producer_epoch": epoch, "base_sequence": sequence}
        request = talk.produce_request(topic, batch_of(count, **own))
        talk.ask(request, newest(ProduceRequest))
    talk.stored(topic)


END = (1 << 31) - 1

SEQUENCES: dict[str, list[tuple[int, int, int]]] = {
    "in order": [(0, 0, 1), (0, 1, 2), (0, 3, 1)],
    "duplicate": [(0, 0, 1), (0, 1, 2), (0, 1, 2)],
    "duplicate of the first of six": [(0, i, 1) for i in range(6)] + [(0, 0, 1)],
    "duplicate of the second of six": [(0, i, 1) for i in range(6)] + [(0, 1, 1)],
    "part of a duplicate": [(0, 0, 3), (0, 0, 1)],
    "gap": [(0, 0, 1), (0, 2, 1)],
    "gap, then right": [(0, 0, 1), (0, 5, 1), (0, 1, 1)],
    "epoch raised": [(0, 0, 1), (1, 0, 1)],
    "epoch raised, not at 0": [(0, 0, 1), (1, 1, 1)],
    "epoch lowered": [(2, 0, 1), (1, 1, 1)],
    "first epoch 5": [(5, 0, 1), (5, 1, 1)],
    "duplicate with other epoch": [(0, 0, 1), (1, 0, 1), (0, 0, 1)],
}


def _acks(acks: int, records: str, talk: Talk) -> None:
    topic = talk.topic()
    talk.ask(talk.produce_request(topic, BATCHES[records](), acks), newest(ProduceRequest))
    talk.stored(topic)


def _unanswered(records: str, end: int, talk: Talk) -> None:
    """
    Produce without an answer, and see whether the connection still lives.

    @param end: The end of the partition after that.
    """
    topic = talk.topic()
    talk.client.send(
        talk.produce_request(topic, BATCHES[records](), 0), newest(ProduceRequest)
    )
    talk.ask(talk.metadata_request(topic), 12)
    talk.until(lambda: talk.client.offset(topic) == end)
    talk.stored(topic)


def _version(version: int, talk: Talk) -> None:
    topic = talk.topic(partitions=2)
    talk.ask(talk.produce_request(topic, batch_of(2)), version)
    talk.ask(talk.produce_request(topic, batch_of(2), partition=1), version)
    talk.ask(talk.produce_request(topic, batch_of(2), partition=2), version)
    talk.ask(talk.produce_request(topic, batch_of(2), partition=-1), version)
    talk.ask(talk.produce_request(topic, batch_of(2, crc=0)), version)
    talk.ask(talk.produce_request(talk.name("missing"), batch_of(2)), version)
    talk.ask(talk.produce_request(topic, batch_of(2, codec=4)), version)
    talk.stored(topic)


def _several(talk: Talk) -> None:
    """
    Good and bad partitions in one request, and the same partition twice.
    """
    topic = talk.topic(partitions=3)
    data = ProduceRequest.Topic
    parts = [
        data.Partition(index=index, records=memoryview(records))
        for index, records in ((0, batch_of(1)), (1, batch_of(1, crc=0)), (3, batch_of(1)))
    ]
    named = data(name=topic, topic_id=talk.ids[topic], partition_data=parts)
    for acks in (-1, 1):
        talk.ask(
            ProduceRequest(acks=acks, timeout_ms=30_000, topic_data=[named]),
            newest(ProduceRequest),
        )
    talk.ask(
        ProduceRequest(acks=-1, timeout_ms=30_000, topic_data=[]), newest(ProduceRequest)
    )
    talk.stored(topic)


def _cases() -> Iterator[Case]:
    for name, make in BATCHES.items():
        yield Case(f"produce/batch: {name}", functools.partial(_one, make, {}))
    for topic, (configs, names) in TOPICS.items():
        for name in names:
            yield Case(
                f"produce/{topic}: {name}", functools.partial(_one, BATCHES[name], configs)
            )
    for name, steps in SEQUENCES.items():
        yield Case(f"produce/sequences: {name}", functools.partial(_sequences, steps))
    for acks in (-2, 2, 1):
        for name in ("headers", "wrong crc"):
            yield Case(f"produce/acks {acks}: {name}", functools.partial(_acks, acks, name))
    for name, end in (("headers", 1), ("wrong crc", 0), ("empty", 0)):
        yield Case(f"produce/acks 0: {name}", functools.partial(_unanswered, name, end))
    yield from each_version("produce/produce", ProduceRequest, _version)
    yield Case("produce/several", _several)


CASES = list(_cases())
