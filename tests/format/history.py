"""
Three fixed histories of clusters, which leave everything behind that brokers
store: at their ends nothing is tidy.

`tests.format.test_golden` replays them and compares what is stored with the
sets of `tests/format/golden/`. A history changes only together with the level
(docs/development.md, Golden data).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from tests.format.cluster import Cluster, Name, Producer
from tests.harness.hostile import Operation

SMALL: dict[str, Any] = {
    "slot_bytes": 2000,
    "slots_in_flight": 4,
    "segment_ms": 60_000,
    "journal_slots": 200,
    "unrolled_bytes": 1 << 20,
    "group_initial_rebalance_delay_ms": 500,
}
"""Settings with which little is much."""

SHARED: dict[str, Any] = {"s3_bucket": "golden", "segment_bytes": 3100}
"""Those of brokers that share a bucket and an etcd."""

COMPRESSED = {
    "gzip": """
        AAAAAAAAAAAAAACbAAAAAALKhm3FAAEAAAAFAAABi8/laAAAAAGLz+VoBf//////////////////AAAABh+LCAAVeA1r
        Av9rY2RgYODKTq1UMIhKzs8tKEotLk5NUSDINGDiSs5PSU3mSK/KLGhjZGBiAhtiSJIhhmiGsLCADTEiyRAjNEPY2Mjw
        jjGaIRwcZHjHBM0QLi4yvGOKbAgA9lMjg54BAAA=""",
    "snappy": """
        AAAAAAAAAAAAAADEAAAAAAIs2BrGAAIAAAAFAAABi8/laAAAAAGLz+VoBf//////////////////AAAABoJTTkFQUFkA
        AAAAAQAAAAEAAAB/qgNYigEAAAAKa2V5IDBaY29tcHJlc3NlZCCCCwBMMAIKY29kZWMMc25hcHB5igEAAgIFRwAxskcA
        ADFCRwAEBAQFRwAyskcAADJCRwAEBgYFR7bVAAAzQkcABAgIBUe21QAANEJHAAQKCgVHttUAODUCCmNvZGVjDHNuYXBw
        eQ==""",
    "lz4": """
        AAAAAAAAAAAAAADAAAAAAALHcTadAAMAAAAFAAABi8/laAAAAAGLz+VoBf//////////////////AAAABgQiTRhoQJgB
        AAAAAAAAcXgAAAD/CIQBAAAACmtleSAwWmNvbXByZXNzZWQgCwAO8QIwAgpjb2RlYwZsejSEAQACAkQAHzFEABoaMUQA
        IQQERAAfMkQAGhoyRAAhBgZEAA/MABsaM0QAIQgIRAAPzAAbGjREACEKCkQAD8wAG8A1Agpjb2RlYwZsejQAAAAA""",
    "zstd": """
        AAAAAAAAAAAAAACcAAAAAAJZxfG+AAQAAAAFAAABi8/laAAAAAGLz+VoBf//////////////////AAAABii1L/1gngAN
        AwC0A4YBAAAACmtleSAwWmNvbXByZXNzZWQgMAIKY29kZWMIenN0ZIYBAAICMTEEBDIyBgYwMwgIMTQKCjI1EACAE4G5
        QEDQMYERQEDQMYERQEDQMYERQEDQMcEISBBCj0UM""",
}
"""A batch of each codec, as kafka-python has made it. Compressed anew it might
have other bytes with another version of the codec's library."""


def compressed(codec: str) -> tuple[bytes, list[Any]]:
    """
    The batch of a codec, and the records in it.
    """
    records = [
        [1_700_000_000_000 + number, f"key {number % 3}", "compressed " * 4 + f"{number}",
         [("codec", codec)]]
        for number in range(6)
    ]  # fmt: skip
    return b64decode(COMPRESSED[codec]), records


def all_codecs(cluster: Cluster, name: Name) -> None:
    """
    A batch of each codec.
    """
    for codec in COMPRESSED:
        cluster.send_batch(name, *compressed(codec))


def odd_records(cluster: Cluster) -> list[Any]:
    """
    Records with everything that records may have.
    """
    return [
        cluster.record(None, "no key"),
        cluster.record("no value", None),
        cluster.record("", ""),
        cluster.record("Ünïcode ✓", "ключ", ("empty", ""), ("null", None), ("twice", "1"),
                       ("twice", "2")),
    ]  # fmt: skip


def creates_of(*kinds: str) -> Callable[[Operation], bool]:
    """
    Whether it makes an object of one of these kinds.
    """

    def made(operation: Operation) -> bool:
        kind = operation.key.split("/")[1:2]
        return operation.kind == "create" and kind[0] in kinds

    return made


# -- one broker on a directory --------------------------------------------------


def directory(cluster: Cluster) -> None:
    """
    One broker, which is killed, stopped and killed again.
    """
    begin_directory(cluster)
    second_directory(cluster)
    third_directory(cluster)
    last_directory(cluster)


def begin_directory(cluster: Cluster) -> None:
    """
    The first incarnation: it makes segments and is killed.
    """
    cluster.start(0)
    cluster.create("orders", 3)
    cluster.create("clicks", 2, {"retention.bytes": "1500", "segment.bytes": "700"})
    cluster.create("stamped", 1, {"message.timestamp.type": "LogAppendTime"})
    cluster.create("keyed", 1, {"cleanup.policy": "compact", "segment.ms": "20000"})
    cluster.create("a.b_c-d", 1)
    cluster.create("pinned", 2, replicas=[[0], [0]])
    cluster.create("brief", 2)
    cluster.create("wide", 1, {"retention.ms": "-1"})
    first = cluster.producer()
    for name in (("orders", 0), ("orders", 1), ("brief", 0), ("stamped", 0)):
        for count in (1, 3, 2):
            cluster.send(name, cluster.records(count, name[0]), first)
    all_codecs(cluster, ("orders", 2))
    all_codecs(cluster, ("stamped", 0))
    cluster.send(("orders", 0), odd_records(cluster))
    for number in range(6):
        value = "".join(cluster.chance.choice("abcdefgh") for _ in range(13_000))
        cluster.send(("wide", 0), [cluster.record(f"{number}", value)])
    cluster.commit("simple", {("orders", 0): 4, ("brief", 0): 1}, note="by hand")
    members = cluster.join("leavers", 2, ["orders"])
    cluster.commit("leavers", {("orders", 1): 5, ("orders", 2): 24}, members[0])
    for _ in range(12):
        cluster.send(("clicks", 0), cluster.records(4, "clicks"), first)
        cluster.run(2.0)
    cluster.send(("keyed", 0), [cluster.record("a", "1"), cluster.record("b", "2")])
    cluster.leave(members)
    cluster.run(70.0)  # everything is rolled
    cluster.send(("orders", 1), cluster.records(2, "orders"), first)
    cluster.delete("brief")
    cluster.run(5.0)
    cluster.crash(0)


def second_directory(cluster: Cluster) -> None:
    """
    The second: it inherits, and is stopped.
    """
    cluster.start(0)
    cluster.run(10.0)
    second = cluster.producer()
    cluster.grow("orders", 4)
    cluster.alter("clicks", {"retention.ms": "86400000"})
    cluster.create("gone", 1, {"max.message.bytes": "4000"})
    for name in (("orders", 0), ("orders", 3), ("gone", 0)):
        cluster.send(name, cluster.records(3, name[0]), second)
    cluster.send(("keyed", 0), [cluster.record("a", "3"), cluster.record("b", None)], second)
    cluster.delete_records(("orders", 2), 9)
    cluster.run(90.0)
    cluster.send(("orders", 3), cluster.records(2, "orders"), cluster.producer(second))
    cluster.stop(0)


def third_directory(cluster: Cluster) -> None:
    """
    The third: it deletes what is recorded of the second. Of several flushes under
    way when it is killed the first never arrives.
    """
    process = cluster.start(0)
    cluster.run(70.0)
    third = cluster.producer()
    process.loses = creates_of("topics")
    for count in (2, 1):
        cluster.send(("orders", 0), cluster.records(count, "orders"), third)
        cluster.send(("a.b_c-d", 0), cluster.records(count, "a.b_c-d"), third)
    cluster.commit("group/with ünicode", {("orders", 0): 12}, note="✓")
    lost: list[str] = []

    def loses(operation: Operation) -> bool:
        if creates_of("journal")(operation) and not lost:
            lost.append(operation.key)
            return True
        return creates_of("topics")(operation)

    process.loses = loses
    for count in (1, 10, 20):  # so much that none waits for those before it
        cluster.sending(("orders", 1), cluster.records(count, "orders"))
        cluster.run(0.05)
    cluster.crash(0)


def last_directory(cluster: Cluster) -> None:
    """
    The last: it seals, leads and is written to, but makes no segment any more.
    """
    process = cluster.begin(0)
    process.loses = creates_of("topics")
    cluster.wait(process.start())
    fourth = cluster.producer()
    cluster.create("empty", 1)
    for name in (("orders", 0), ("orders", 1), ("gone", 0)):
        cluster.send(name, cluster.records(2, name[0]), fourth)
    cluster.send(("keyed", 0), [cluster.record("c", "4")], fourth)
    members = cluster.join("readers", 1, ["orders", "clicks"], "static-1")
    cluster.commit("readers", {("orders", 0): 14, ("clicks", 0): 40}, members[1])
    cluster.commit("expiring", {("orders", 3): 2}, keep_ms=3_600_000)
    process.loses = lambda operation: operation.kind in ("delete", "create")
    cluster.delete("gone")
    cluster.run(1.0)
    cluster.observe()
    cluster.crash(0)


# -- brokers that share a bucket ----------------------------------------------------


def bucket(cluster: Cluster) -> None:
    """
    Three brokers, of which two are there most of the time.
    """
    begin_bucket(cluster)
    come_and_go(cluster)
    last_bucket(cluster)


ORDERS: list[Name] = [("orders", index) for index in range(4)]
CLICKS: list[Name] = [("clicks", index) for index in range(3)]


def rounds(cluster: Cluster, names: list[Name], producer: Producer, count: int) -> None:
    """
    So often a few records for each of these, of which then volumes are made.
    """
    for _ in range(count):
        for name in names:
            cluster.send(name, cluster.records(2, name[0]), producer)
        cluster.run(80.0)


def begin_bucket(cluster: Cluster) -> None:
    """
    Chapters, a segment that takes some of them in, and a topic that goes.
    """
    cluster.start(1)
    cluster.start(2)
    cluster.create("orders", 4)
    cluster.create("clicks", 3, {"retention.bytes": "2000"})
    cluster.create("stamped", 1, {"message.timestamp.type": "LogAppendTime"})
    cluster.create("keyed", 1, {"cleanup.policy": "compact,delete", "segment.ms": "30000"})
    cluster.create("pinned", 3, replicas=[[1, 2], [2, 1], [2, 1]])
    cluster.create("brief", 2)
    cluster.create("gone", 2)
    first = cluster.producer()
    all_codecs(cluster, ("orders", 2))
    all_codecs(cluster, ("stamped", 0))
    cluster.send(("orders", 1), odd_records(cluster))
    cluster.send(("keyed", 0), [cluster.record("a", "1"), cluster.record("b", None)])
    rounds(cluster, [*ORDERS, *CLICKS, ("brief", 0), ("gone", 1)], first, 2)
    for _ in range(5):
        cluster.send(("orders", 0), cluster.records(15, "orders"), first)
        cluster.send(("clicks", 1), cluster.records(15, "clicks"), first)
    cluster.delete("brief")
    cluster.delete_records(("clicks", 0), 3)
    cluster.commit("simple", {("orders", 0): 4, ("clicks", 2): 1}, note="by hand")
    rounds(cluster, [*ORDERS, *CLICKS], first, 1)


def come_and_go(cluster: Cluster) -> None:
    """
    A broker is killed and replaced, one comes, one comes back, one is stopped.
    """
    second = cluster.producer()
    for name in [*ORDERS, *CLICKS]:
        cluster.send(name, cluster.records(1, name[0]), second)
    cluster.crash(2)
    cluster.run(20.0)
    cluster.alter("clicks", {"retention.bytes": "1000000"})
    rounds(cluster, ORDERS[:2], second, 1)
    cluster.start(3)
    cluster.run(10.0)
    cluster.send(("pinned", 0), cluster.records(2, "pinned"), second)
    cluster.reassign("pinned", {0: [3, 1]})
    cluster.run(5.0)
    cluster.send(("pinned", 0), cluster.records(2, "pinned"), second)
    members = cluster.join("readers", 2, ["orders", "clicks"], "static-1")
    cluster.commit("readers", dict.fromkeys(ORDERS, 3), members[0])
    rounds(cluster, ORDERS[2:], cluster.producer(second), 1)
    cluster.start(2)
    cluster.run(10.0)
    cluster.leave(cluster.join("leavers", 1, ["clicks"]))
    cluster.commit("readers", {("clicks", 1): 30}, members[2], note="later")
    cluster.stop(3)
    cluster.run(10.0)
    rounds(cluster, [*ORDERS, *CLICKS, ("gone", 0)], second, 1)


def last_bucket(cluster: Cluster) -> None:
    """
    Many small slots, which are bundled, and one that never arrives; and the
    one that takes over makes neither segments nor volumes.
    """
    third = cluster.producer()
    leader = cluster.leader(ORDERS[1])
    (other,) = cluster.processes.keys() - {leader}
    cluster.processes[other].loses = creates_of("topics", "volumes")
    for _ in range(66):
        cluster.send(ORDERS[1], cluster.records(1, "orders"), third)
    lost: list[str] = []

    def loses(operation: Operation) -> bool:
        if creates_of("journal")(operation) and not lost:
            lost.append(operation.key)
            return True
        return False

    cluster.processes[leader].loses = loses
    for count in (1, 2, 3):
        cluster.sending(ORDERS[1], cluster.records(count, "orders"))
        cluster.run(0.2)
    cluster.crash(leader)
    cluster.run(20.0)
    for name in (ORDERS[1], ("clicks", 2), ("stamped", 0)):
        cluster.send(name, cluster.records(2, name[0]), third)
    cluster.commit("group/with ünicode", {ORDERS[1]: 70}, note="✓")
    cluster.commit("expiring", {ORDERS[2]: 2}, keep_ms=3_600_000)
    cluster.processes[other].loses = lambda each: each.kind in ("delete", "create")
    cluster.delete("gone")
    cluster.run(1.0)
    cluster.observe()
    cluster.crash(other)


# -- brokers whose bucket may replace -------------------------------------------------


def metadata_fencing(cluster: Cluster) -> None:
    """
    Two brokers, stopped by marks: at the end one is marked, and where its
    journal ends is not found.
    """
    cluster.start(1)
    cluster.start(2)
    cluster.create("orders", 4)
    cluster.create("clicks", 3, {"segment.bytes": "1500"})
    first = cluster.producer()
    all_codecs(cluster, ORDERS[2])
    rounds(cluster, [*ORDERS, *CLICKS], first, 2)
    leader = cluster.leader(ORDERS[0])
    (other,) = cluster.processes.keys() - {leader}
    segments_in_vain(cluster, leader, first)
    cluster.crash(leader)
    cluster.run(20.0)
    cluster.commit("simple", {ORDERS[0]: 4, CLICKS[2]: 1}, note="by hand")
    second = cluster.producer(first)
    rounds(cluster, [*ORDERS, *CLICKS], second, 1)
    cluster.start(leader)
    cluster.run(10.0)
    cluster.delete_records(ORDERS[2], 10)
    members = cluster.join("readers", 1, ["orders"], "static-1")
    cluster.commit("readers", {ORDERS[1]: 3}, members[0])
    cluster.stop(other)
    cluster.run(5.0)
    rounds(cluster, CLICKS, second, 1)
    cluster.start(other)
    cluster.run(10.0)
    last_marks(cluster)


def segments_in_vain(cluster: Cluster, leader: int, producer: Producer) -> None:
    """
    A broker makes segments, but that they count never arrives.
    """

    def loses(operation: Operation) -> bool:
        return operation.kind == "/v3/kv/txn" and "partitions/" in written(operation)

    cluster.processes[leader].loses = loses
    for name in [*ORDERS, *CLICKS]:
        if cluster.leader(name) == leader:
            cluster.send(name, cluster.records(80, name[0]), producer)
    cluster.run(5.0)


def written(operation: Operation) -> str:
    """
    The keys that a commit to etcd writes.
    """
    body = operation.arguments[0]
    puts = [each["request_put"]["key"] for each in body["success"] if "request_put" in each]
    return " ".join(b64decode(key).decode() for key in puts)


def last_marks(cluster: Cluster) -> None:
    """
    The successor dies when it has marked the former leader's incarnation.
    """
    third = cluster.producer()
    leader = cluster.leader(ORDERS[1])
    (other,) = cluster.processes.keys() - {leader}
    for name in [*ORDERS, *CLICKS]:
        cluster.send(name, cluster.records(3, name[0]), third)
    cluster.observe()
    lost: list[str] = []

    def loses(operation: Operation) -> bool:
        if creates_of("journal")(operation) and not lost:
            lost.append(operation.key)
            return True
        return False

    cluster.processes[leader].loses = loses
    for count in (1, 2, 3):
        cluster.sending(ORDERS[1], cluster.records(count, "orders"))
        cluster.run(0.2)
    cluster.processes[other].loses = lambda each: not each.kind.startswith("/v3/")
    cluster.crash(leader)
    cluster.run(20.0)
    cluster.crash(other)


#: By name: what happens, and the brokers' settings.
HISTORIES: Mapping[str, tuple[Callable[[Cluster], None], dict[str, Any]]] = {
    "directory": (directory, {**SMALL, "segment_bytes": 66_000, "orphan_ms": 60_000}),
    "bucket": (bucket, {**SMALL, **SHARED}),
    "metadata-fencing": (metadata_fencing, {**SMALL, **SHARED, "s3_fencing": "metadata"}),
}


def replay(name: str, folder: str) -> Cluster:
    """
    A cluster that has had this history.

    @param folder: Where there is room for files.
    """
    history, settings = HISTORIES[name]
    cluster = Cluster(name, folder, **settings)
    history(cluster)
    return cluster
