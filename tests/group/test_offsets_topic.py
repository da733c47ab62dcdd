"""
C{__consumer_offsets}, as monitors read it.
"""

from __future__ import annotations

from struct import unpack_from
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.errors import InvalidTopicException, NotLeaderOrFollower, OffsetOutOfRange
from kafscale.format import metadata_keys
from kafscale.format.offset import CommittedOffset
from kafscale.group import offsets_topic
from kafscale.group.offsets_topic import PER_COMMIT, OffsetsPartition, OffsetsTopic
from kafscale.group.shard import MAX_OPERATIONS
from kafscale.interfaces import Delete, IReadable, MemberIdentity, Put
from kafscale.wire import records
from kafscale.wire.messages.offsets_topic import OffsetCommitKey, OffsetCommitValue
from tests.group.members import TOPIC, GroupTestCase
from tests.harness.coroutines import begin

TOPIC_ID = UUID(int=0xC0)
ORDERS, CLICKS = UUID(int=1), UUID(int=2)
SHARD = 3


def put(group: str = "g", topic: UUID = ORDERS, index: int = 0, offset: int = 5) -> Put:
    """
    The operation that commits an offset.
    """
    key = metadata_keys.offset(metadata_keys.offsets_of(group), (topic, index))
    return Put(key, CommittedOffset(offset, 7, "note", 1000).to_json())


class Watching:
    """
    A watcher that counts.
    """

    woken = 0

    def wake(self) -> None:
        """
        Count.
        """
        self.woken += 1


class TopicCase(SynchronousTestCase):
    """
    A broker that owns one shard, since its commit number 10.
    """

    def setUp(self) -> None:
        """
        Two topics exist.
        """
        self.names = {ORDERS: "orders", CLICKS: "clicks"}
        self.topic = OffsetsTopic(TOPIC_ID, self.names.get, lambda: 1.5)
        self.topic.begin(SHARD, 10)

    @property
    def partition(self) -> OffsetsPartition:
        """
        The partition of the shard.
        """
        return self.topic.partition(TOPIC_ID, SHARD)

    def read(self, offset: int, max_bytes: int = 1 << 20) -> list[tuple[int, object, object]]:
        """
        The records from an offset on: their offsets, keys and values.
        """
        found = []
        for piece in self.partition.read(offset, max_bytes, True).pieces:
            for record in read_records(piece):
                found.append((record[0], *decoded(record[2], record[3])))
        return found


def read_records(batch: bytes) -> list[tuple[int, int, bytes, bytes | None]]:
    """
    The records of a batch: offset, timestamp, key and value.
    """
    found = records.read_records(batch, 1 << 20)
    return [(offset, at, key or b"", value) for offset, at, key, value, _ in found]


def decoded(key: bytes, value: bytes | None) -> tuple[object, object]:
    """
    The contents of key and value.
    """
    (version,) = unpack_from(">h", key)
    named = OffsetCommitKey.decode(version, key, 2)
    if value is None:
        return (named.group, named.topic, named.partition), None
    (version,) = unpack_from(">h", value)
    stored = OffsetCommitValue.decode(version, value, 2)
    return (
        (named.group, named.topic, named.partition),
        (stored.offset, stored.leader_epoch, stored.metadata, stored.commit_timestamp),
    )


class RecordsTests(TopicCase):
    """
    What is in the records.
    """

    def test_commit(self) -> None:
        """
        Each operation on an offset is a record, whose offset has the shard's sequence and
        the place in the commit; a deletion has no value. Groups are not shown.
        """
        stored = put("g/1", CLICKS, 2, 99)
        group = Put(metadata_keys.group("g"), {"generation": 1})
        self.topic.committed(SHARD, 11, [put(), group, stored, Delete(put("h").key)])
        base = 11 * PER_COMMIT
        self.assertEqual(
            self.read(10 * PER_COMMIT),
            [
                (base, ("g", "orders", 0), (5, 7, "note", 1000)),
                (base + 2, ("g/1", "clicks", 2), (99, 7, "note", 1000)),
                (base + 3, ("h", "orders", 0), None),
            ],
        )
        self.assertEqual(self.partition.next_offset, base + 4)

    def test_versions(self) -> None:
        """
        Keys have version 1 and values version 3, which all monitors know.
        """
        self.topic.committed(SHARD, 11, [put()])
        (piece,) = self.partition.read(11 * PER_COMMIT, 1 << 20, True).pieces
        ((_, timestamp, key, value),) = read_records(piece)
        self.assertEqual((timestamp, key[:2], (value or b"")[:2]), (1500, b"\0\1", b"\0\3"))
        self.assertEqual(key[2:], b"\0\1g" + b"\0\6orders" + b"\0\0\0\0")

    def test_deleted_topic(self) -> None:
        """
        Offsets of a topic that is deleted before they are read are left out.
        """
        self.topic.committed(SHARD, 11, [put(topic=CLICKS)])
        self.topic.committed(SHARD, 12, [put(topic=CLICKS), put()])
        self.topic.committed(SHARD, 13, [put(topic=CLICKS)])
        del self.names[CLICKS]
        offsets = [offset for offset, *_ in self.read(self.partition.log_start)]
        self.assertEqual(offsets, [12 * PER_COMMIT + 1])
        self.assertEqual(self.partition.available(12 * PER_COMMIT + 2), 0)

    def test_room_for_a_commit(self) -> None:
        """
        Offsets of two commits cannot be the same.
        """
        self.assertLess(MAX_OPERATIONS, PER_COMMIT)


class ReadingTests(TopicCase):
    """
    Reading as from any other partition.
    """

    def test_interface(self) -> None:
        """
        A partition can be read.
        """
        self.assertTrue(verifyObject(IReadable, self.partition))

    def test_begins_empty(self) -> None:
        """
        The log start is the end, above all that an owner before has shown.
        """
        partition = self.partition
        self.assertEqual((partition.log_start, partition.high_watermark), (1280, 1280))
        self.assertEqual(partition.available(1280), 0)
        self.assertEqual(partition.read(1280, 100, True).size, 0)
        for offset in (1279, 1281):
            self.assertRaises(OffsetOutOfRange, partition.read, offset, 100, True)

    def test_gaps(self) -> None:
        """
        An offset between two commits reads the second.
        """
        for sequence in (11, 12):
            self.topic.committed(SHARD, sequence, [put(offset=sequence)])
        for offset in (11 * PER_COMMIT + 1, 12 * PER_COMMIT):
            self.assertEqual([each[0] for each in self.read(offset)], [12 * PER_COMMIT])
            self.assertGreater(self.partition.available(offset), 0)
        self.assertEqual(self.read(12 * PER_COMMIT + 1), [])

    def test_limits(self) -> None:
        """
        Whole batches are read, at least one of them, within the limit.
        """
        for sequence in (11, 12, 13):
            self.topic.committed(SHARD, sequence, [put()])
        size = self.partition.read(1280, 1 << 20, True).size // 3
        for limit, count in ((0, 1), (size, 1), (2 * size + 1, 2), (3 * size, 3)):
            self.assertEqual(len(self.partition.read(1280, limit, True).pieces), count)
        self.assertEqual(self.partition.read(1280, size - 1, False).size, 0)

    def test_bounded_work(self) -> None:
        """
        One read encodes some records, and the next one goes on.
        """
        self.patch(offsets_topic, "MAX_ENCODED", 3)
        for sequence in range(11, 16):
            self.topic.committed(SHARD, sequence, [put(), put("h")])
        self.assertEqual(len(self.partition.read(1280, 1 << 20, True).pieces), 1)
        self.assertEqual(len(self.partition.read(1280, 1 << 20, True).pieces), 2)

    def test_bounded_memory(self) -> None:
        """
        The oldest commits are forgotten, and the log start is the first that is left.
        """
        self.patch(offsets_topic, "MAX_BYTES", 1000)
        for sequence in range(11, 50):
            self.topic.committed(SHARD, sequence, [put()])
        partition = self.partition
        self.assertLess(partition.available(partition.log_start), 1200)
        self.assertGreater(partition.log_start, 40 * PER_COMMIT)
        self.assertEqual(self.read(partition.log_start)[0][0], partition.log_start)
        self.topic.committed(SHARD, 50, [put(index=n) for n in range(90)])
        self.assertEqual(partition.log_start, 50 * PER_COMMIT)

    def test_by_time(self) -> None:
        """
        A commit is found by when it became durable.
        """
        self.topic.committed(SHARD, 11, [put()])
        found = self.successResultOf(begin(self.partition.offset_at(1500)))
        self.assertEqual(found, (1500, 11 * PER_COMMIT))
        self.assertIsNone(self.successResultOf(begin(self.partition.offset_at(1501))))
        latest = self.successResultOf(begin(self.partition.latest_timestamp()))
        self.assertEqual(latest, found)

    def test_one_epoch(self) -> None:
        """
        There is one leader epoch, which ends at the end.
        """
        self.assertEqual(self.partition.end_of_epoch(5), (0, 1280))
        self.assertEqual(self.partition.end_of_epoch(-1), (-1, -1))
        self.assertEqual(self.partition.epoch_at(1280), 0)

    def test_not_to_be_changed(self) -> None:
        """
        Records cannot be deleted, and nothing is stored.
        """
        self.failureResultOf(begin(self.partition.delete_before(1280)), InvalidTopicException)
        self.assertEqual((self.partition.size(), self.partition.producers()), (0, ()))


class OwnershipTests(TopicCase):
    """
    Partitions come and go with their shards.
    """

    def test_other_partitions(self) -> None:
        """
        A shard has its partition and some empty ones; those of other shards, and of
        other topics, are not here.
        """
        for index in (SHARD + 16, SHARD + 32):
            self.assertEqual(self.topic.partition(TOPIC_ID, index).next_offset, 0)
        for where in ((TOPIC_ID, SHARD + 48), (TOPIC_ID, SHARD + 1), (ORDERS, SHARD)):
            self.assertRaises(NotLeaderOrFollower, self.topic.partition, *where)
        self.topic.committed(SHARD + 1, 11, [put()])  # is ignored

    def test_woken(self) -> None:
        """
        A reader that waits is woken by a commit, and when another broker owns the shard.
        """
        watching, partition = Watching(), self.partition
        partition.watch(watching)
        self.topic.committed(SHARD, 11, [Put(metadata_keys.group("g"), {})])
        self.assertEqual(watching.woken, 0)
        self.topic.committed(SHARD, 12, [put()])
        self.assertEqual(watching.woken, 1)
        partition.watch(watching)
        self.topic.end(SHARD)
        self.assertEqual((watching.woken, partition.dropped), (2, True))
        self.assertRaises(NotLeaderOrFollower, partition.read, 1280, 1, True)
        self.failureResultOf(begin(partition.confirm()), NotLeaderOrFollower)
        self.assertRaises(NotLeaderOrFollower, self.topic.partition, TOPIC_ID, SHARD)

    def test_late_commit(self) -> None:
        """
        A commit of an earlier time as the owner is not shown.
        """
        self.topic.committed(SHARD, 10, [put()])
        self.assertEqual(self.partition.next_offset, 1280)


class CoordinatorTests(GroupTestCase):
    """
    The coordinator shows what it commits.
    """

    def test_commits(self) -> None:
        """
        Offsets in the topic grow over a restart, and the partition begins after those
        shown before.
        """
        ends: list[int] = []
        for _ in range(2):
            shown = OffsetsTopic(TOPIC_ID, lambda topic_id: "t", self.clock.seconds)
            self.offsets_topic = shown
            self.restart()
            partition = shown.partition(TOPIC_ID, metadata_keys.shard_of("g"))
            self.assertGreaterEqual(partition.log_start, max(ends, default=0))
            self.assertEqual(partition.log_start, partition.next_offset)
            where = (TOPIC.topic_id, 0)
            committing = self.coordinator.commit_offsets(
                "g", MemberIdentity(), {where: CommittedOffset(5)}
            )
            self.now(committing)
            (piece,) = partition.read(partition.log_start, 1 << 20, True).pieces
            ((offset, _, key, value),) = read_records(piece)
            self.assertEqual(decoded(key, value), (("g", "t", 0), (5, -1, "", -1)))
            ends.append(offset + 1)
            self.assertEqual(partition.high_watermark, offset + 1)
        self.assertLess(ends[0], ends[1])
