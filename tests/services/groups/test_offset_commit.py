"""
OffsetCommit, OffsetFetch and OffsetDelete, in each of their versions.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kafscale import errors
from kafscale.format.offset import CommittedOffset
from kafscale.interfaces import Topic
from kafscale.wire.messages import (
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
)
from kafscale.wire.schema import NO_UUID
from tests.services.grouped import GroupedCase

CommitTopic = OffsetCommitRequest.Topic
FetchTopic = OffsetFetchRequest.Topic
FetchGroup = OffsetFetchRequest.Group
DeleteTopic = OffsetDeleteRequest.Topic
UNKNOWN_ID = UUID(int=0x9999)


class CommitCase(GroupedCase):
    """
    Commits offsets.
    """

    def request(self, *commits: tuple[Topic, int, int], **fields: Any) -> OffsetCommitRequest:
        """
        A commit of topic, partition and offset in C{g}, without a member.
        """
        partition = CommitTopic.Partition
        topics = [
            CommitTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    partition(
                        partition_index=index,
                        committed_offset=offset,
                        committed_leader_epoch=4,
                        committed_metadata="note",
                    )
                ],
            )
            for topic, index, offset in commits
        ]
        return OffsetCommitRequest(group_id="g", topics=topics, **fields)

    def codes(self, answer: Any) -> list[int]:
        """
        The error codes of all partitions.
        """
        return [each.error_code for topic in answer.topics for each in topic.partitions]

    def committed(self, group: str = "g") -> dict[tuple[UUID, int], CommittedOffset]:
        """
        The committed offsets.
        """
        return dict(self.coordinator.committed_offsets(group))


class CommitTests(CommitCase):
    """
    OffsetCommit.
    """

    def test_every_version(self) -> None:
        """
        Topics by name up to version 9, by id from 10 on; leader epochs from 6
        on.
        """
        for version in self.client.versions(OffsetCommitRequest):
            answer = self.client.now(self.request((self.a, 1, version), (self.b, 0, 7)), version)
            self.assertEqual(self.codes(answer), [0, 0])
            told = [(topic.name, topic.topic_id) for topic in answer.topics]
            if version < 10:
                self.assertEqual(told, [("a", NO_UUID), ("b", NO_UUID)])
            else:
                self.assertEqual(told, [("", self.a.topic_id), ("", self.b.topic_id)])
            now = round(self.clock.seconds() * 1000)
            epoch = 4 if version >= 6 else -1
            self.assertEqual(
                self.committed()[(self.a.topic_id, 1)], CommittedOffset(version, epoch, "note", now)
            )

    def test_times(self) -> None:
        """
        Version 1 has the time of a commit, and versions 2 to 4 its retention
        time.
        """
        request = self.request((self.a, 0, 5))
        request.topics[0].partitions[0].commit_timestamp = 1234
        self.client.now(request, 1)
        self.assertEqual(self.committed()[(self.a.topic_id, 0)].committed_ms, 1234)
        now = round(self.clock.seconds() * 1000)
        for version in (2, 3, 4):
            self.client.now(self.request((self.a, 0, 5), retention_time_ms=60_000), version)
            self.assertEqual(self.committed()[(self.a.topic_id, 0)].expires_ms, now + 60_000)
        self.client.now(self.request((self.a, 0, 5), retention_time_ms=-1), 4)
        self.assertEqual(self.committed()[(self.a.topic_id, 0)].expires_ms, -1)

    def test_unknown_partitions(self) -> None:
        """
        Unknown partitions do not prevent others from being committed.
        """
        gone = Topic(UNKNOWN_ID, "none", 1, {})
        request = self.request((gone, 0, 1), (self.a, 2, 1), (self.a, -1, 1), (self.a, 0, 9))
        for version, code in ((9, 3), (10, 100)):
            self.assertEqual(self.codes(self.client.now(request, version)), [code, 3, 3, 0])
        self.assertEqual(set(self.committed()), {(self.a.topic_id, 0)})

    def test_metadata_too_large(self) -> None:
        """
        Metadata may have 4096 bytes, whatever the number of characters. A
        megabyte, which version 8 and later can carry, is refused for its
        partition.
        """
        for note, version, code in (
            (None, 8, 0),
            ("x" * 4096, 2, 0),
            ("x" * 4097, 2, 12),
            ("\u00fc" * 2049, 9, 12),
            ("x" * 1_000_000, 9, 12),
        ):
            request = self.request((self.a, 0, 5), (self.b, 0, 6))
            request.topics[0].partitions[0].committed_metadata = note
            self.assertEqual(self.codes(self.client.now(request, version)), [code, 0])
        self.assertEqual(self.committed()[(self.a.topic_id, 0)].metadata, "x" * 4096)

    def test_refused(self) -> None:
        """
        An error of the member is with all its partitions.
        """
        joined = self.stable()
        for code, member_id, generation in (
            (25, "", -1),
            (25, "stranger", 1),
            (22, joined.member_id, 0),
        ):
            request = self.request(
                (self.a, 0, 5), member_id=member_id, generation_id_or_member_epoch=generation
            )
            failure = self.failureResultOf(self.client.start(request, 9))
            self.assertEqual(errors.code_of(failure.value), code)
            for version in self.client.versions(OffsetCommitRequest):
                self.assertEqual(
                    self.codes(self.client.failed(request, version, code)), [code]
                )
        self.assertEqual(self.committed(), {})

    def test_no_such_group(self) -> None:
        """
        With a generation, an unknown group is GROUP_ID_NOT_FOUND from version 9
        on, and before it ILLEGAL_GENERATION, which old clients understand.
        """
        request = self.request((self.a, 0, 5), member_id="m", generation_id_or_member_epoch=1)
        for version in range(1, 11):
            kind = errors.GroupIdNotFound if version >= 9 else errors.IllegalGeneration
            self.failureResultOf(self.client.start(request, version), kind)

    def test_without_generation(self) -> None:
        """
        Version 0 has neither generation nor member id.
        """
        request = self.request((self.a, 0, 5), member_id="m", generation_id_or_member_epoch=1)
        self.assertEqual(self.codes(self.client.now(request, 0)), [0])

    def test_only_refused_partitions(self) -> None:
        """
        The member is checked even if all its partitions are refused.
        """
        self.stable()
        asked = self.client.start(self.request((self.a, 7, 5)), 8)
        self.failureResultOf(asked, errors.UnknownMemberId)


class FetchTests(CommitCase):
    """
    OffsetFetch.
    """

    def setUp(self) -> None:
        """
        Offset 8 is committed for partition 1 of C{a}.
        """
        super().setUp()
        self.client.now(self.request((self.a, 1, 8)), 9)

    def fetch(self, version: int, *names: str, everything: bool = False) -> Any:
        """
        The topics of a response for partitions 0 and 1 of these.
        """
        ids = {"a": self.a.topic_id, "b": self.b.topic_id}
        if version < 8:
            asked = [FetchTopic(name=name, partition_indexes=[0, 1]) for name in names]
            request = OffsetFetchRequest(group_id="g", topics=None if everything else asked)
            answer = self.client.now(request, version)
            self.assertEqual(answer.error_code, 0)
            return answer.topics
        kind = FetchGroup.Topic
        wanted = [
            kind(name=name, topic_id=ids.get(name, UNKNOWN_ID), partition_indexes=[0, 1])
            for name in names
        ]
        group = FetchGroup(group_id="g", topics=None if everything else wanted)
        answer = self.client.now(OffsetFetchRequest(groups=[group]), version)
        (found,) = answer.groups
        self.assertEqual((found.group_id, found.error_code), ("g", 0))
        return found.topics

    def offsets(self, topics: Any) -> list[tuple[int, int, int, str, int]]:
        """
        The committed offsets of all partitions in a response.
        """
        return [
            (
                each.partition_index,
                each.committed_offset,
                each.committed_leader_epoch,
                each.metadata,
                each.error_code,
            )
            for topic in topics
            for each in topic.partitions
        ]

    def test_every_version(self) -> None:
        """
        Without committed offset the answer is -1, and no error, so that clients
        apply C{auto.offset.reset}.
        """
        for version in self.client.versions(OffsetFetchRequest):
            topics = self.fetch(version, "a")
            epoch = 4 if version >= 5 else -1
            self.assertEqual(self.offsets(topics), [(0, -1, -1, "", 0), (1, 8, epoch, "note", 0)])
            (topic,) = topics
            self.assertEqual(topic.name, "a" if version < 10 else "")
            if version >= 10:
                self.assertEqual(topic.topic_id, self.a.topic_id)

    def test_everything(self) -> None:
        """
        Null means all topics, and all their partitions with a committed offset.
        """
        self.client.now(self.request((self.b, 0, 3), (self.a, 0, 2)), 9)
        for version in range(2, 11):
            topics = self.fetch(version, everything=True)
            self.assertEqual(
                [(each[0], each[1]) for each in self.offsets(topics)], [(0, 2), (1, 8), (0, 3)]
            )

    def test_nothing(self) -> None:
        """
        An empty list means no topic.
        """
        for version in self.client.versions(OffsetFetchRequest):
            self.assertEqual(self.fetch(version), [])

    def test_unknown_topics(self) -> None:
        """
        An unknown name has no committed offset; an unknown id is
        UNKNOWN_TOPIC_ID.
        """
        for version in self.client.versions(OffsetFetchRequest):
            told = self.offsets(self.fetch(version, "none"))
            code = 100 if version >= 10 else 0
            self.assertEqual(told, [(0, -1, -1, "", code), (1, -1, -1, "", code)])

    def test_several_groups(self) -> None:
        """
        Each group is answered on its own. An unknown group has no committed
        offsets.
        """
        kind = FetchGroup.Topic
        groups = [
            FetchGroup(
                group_id=name,
                topics=[kind(name="a", topic_id=self.a.topic_id, partition_indexes=[1])],
            )
            for name in ("g", "none")
        ]
        for version in (8, 9, 10):
            answer = self.client.now(OffsetFetchRequest(groups=groups), version)
            self.assertEqual(
                [(g.group_id, g.error_code, self.offsets(g.topics)[0][1]) for g in answer.groups],
                [("g", 0, 8), ("none", 0, -1)],
            )

    def test_successor_of_a_topic(self) -> None:
        """
        A topic that is created with the name of a deleted one has no committed
        offsets.
        """
        self.cluster.delete(self.a)
        self.a = self.cluster.now(self.cluster.topics.create("a", 2, {}))
        for version in self.client.versions(OffsetFetchRequest):
            self.assertEqual([each[1] for each in self.offsets(self.fetch(version, "a"))], [-1, -1])

    def test_other_coordinator(self) -> None:
        """
        An error is on top of the response; before version 2 with each
        partition, from 8 on with each group.
        """
        self.cluster.now(self.coordinator.stop())
        kind = FetchGroup.Topic
        wanted = [kind(name="a", topic_id=self.a.topic_id, partition_indexes=[1])]
        request = OffsetFetchRequest(
            group_id="g",
            topics=[FetchTopic(name="a", partition_indexes=[0, 1])],
            groups=[FetchGroup(group_id="g", topics=wanted)],
        )
        for version in self.client.versions(OffsetFetchRequest):
            if version >= 8:
                (group,) = self.client.now(request, version).groups
                self.assertEqual((group.error_code, group.topics), (16, []))
                (group,) = self.client.failed(request, version, 16).groups
                self.assertEqual((group.error_code, group.topics), (16, []))
                continue
            self.failureResultOf(self.client.start(request, version), errors.NotCoordinator)
            failed = self.client.failed(request, version, 16)
            codes = [each[4] for each in self.offsets(failed.topics)]
            expected = (16, []) if version >= 2 else (0, [16, 16])
            self.assertEqual((failed.error_code, codes), expected)


class DeleteTests(CommitCase):
    """
    OffsetDelete.
    """

    def delete(self, *places: tuple[str, int]) -> list[int]:
        """
        The error codes.
        """
        topics = [
            DeleteTopic(name=name, partitions=[DeleteTopic.Partition(partition_index=index)])
            for name, index in places
        ]
        answer = self.client.now(OffsetDeleteRequest(group_id="g", topics=topics), 0)
        self.assertEqual(answer.error_code, 0)
        self.assertEqual([topic.name for topic in answer.topics], [name for name, _ in places])
        return self.codes(answer)

    def test_deleted(self) -> None:
        """
        Offsets may be deleted whether they exist or not. Unknown partitions
        have an error.
        """
        self.client.now(self.request((self.a, 0, 2), (self.b, 0, 3)), 9)
        self.assertEqual(self.delete(("a", 0), ("a", 1), ("a", 2), ("none", 0)), [0, 0, 3, 3])
        self.assertEqual(set(self.committed()), {(self.b.topic_id, 0)})

    def test_subscribed(self) -> None:
        """
        While a group has members whose metadata cannot be decoded, no offset
        can be deleted.
        """
        self.client.now(self.request((self.a, 0, 2)), 9)
        self.stable()
        self.assertEqual(self.delete(("a", 0)), [86])

    def test_refused(self) -> None:
        """
        An unknown group is an error of the whole response.
        """
        request = OffsetDeleteRequest(group_id="none", topics=[])
        self.failureResultOf(self.client.start(request, 0), errors.GroupIdNotFound)
        self.assertEqual(self.client.failed(request, 0, 69).error_code, 69)
