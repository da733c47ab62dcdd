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
STRANGER = UUID(int=0x9999)


class CommitCase(GroupedCase):
    """
    How tests commit.
    """

    def request(self, *commits: tuple[Topic, int, int], **fields: Any) -> OffsetCommitRequest:
        """
        Commits of topic, partition and offset, of no member of C{g}.
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
        Those of all partitions.
        """
        return [each.error_code for topic in answer.topics for each in topic.partitions]

    def kept(self, group: str = "g") -> dict[tuple[UUID, int], CommittedOffset]:
        """
        What is committed.
        """
        return dict(self.coordinator.committed_offsets(group))


class CommitTests(CommitCase):
    """
    Saying how far one has read.
    """

    def test_every_version(self) -> None:
        """
        By name up to version 9, by id from 10 on; leader epochs from 6 on.
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
                self.kept()[(self.a.topic_id, 1)], CommittedOffset(version, epoch, "note", now)
            )

    def test_times(self) -> None:
        """
        Version 1 gives the time of a commit, 2 to 4 how long it is to be kept.
        """
        request = self.request((self.a, 0, 5))
        request.topics[0].partitions[0].commit_timestamp = 1234
        self.client.now(request, 1)
        self.assertEqual(self.kept()[(self.a.topic_id, 0)].committed_ms, 1234)
        now = round(self.clock.seconds() * 1000)
        for version in (2, 3, 4):
            self.client.now(self.request((self.a, 0, 5), retention_time_ms=60_000), version)
            self.assertEqual(self.kept()[(self.a.topic_id, 0)].expires_ms, now + 60_000)
        self.client.now(self.request((self.a, 0, 5), retention_time_ms=-1), 4)
        self.assertEqual(self.kept()[(self.a.topic_id, 0)].expires_ms, -1)

    def test_unknown_partitions(self) -> None:
        """
        They do not keep back the others.
        """
        gone = Topic(STRANGER, "none", 1, {})
        request = self.request((gone, 0, 1), (self.a, 2, 1), (self.a, -1, 1), (self.a, 0, 9))
        for version, code in ((9, 3), (10, 100)):
            self.assertEqual(self.codes(self.client.now(request, version)), [code, 3, 3, 0])
        self.assertEqual(set(self.kept()), {(self.a.topic_id, 0)})

    def test_metadata_too_large(self) -> None:
        """
        4096 bytes are allowed, whatever the number of characters; a megabyte
        (as version 8 and later can carry) is refused, for that partition.
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
        self.assertEqual(self.kept()[(self.a.topic_id, 0)].metadata, "x" * 4096)

    def test_refused(self) -> None:
        """
        What concerns the member concerns all its partitions.
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
        self.assertEqual(self.kept(), {})

    def test_no_such_group(self) -> None:
        """
        A generation of it: GROUP_ID_NOT_FOUND from version 9 on, before it
        ILLEGAL_GENERATION, which old clients understand.
        """
        request = self.request((self.a, 0, 5), member_id="m", generation_id_or_member_epoch=1)
        for version in range(1, 11):
            kind = errors.GroupIdNotFound if version >= 9 else errors.IllegalGeneration
            self.failureResultOf(self.client.start(request, version), kind)

    def test_old_clients_are_in_no_generation(self) -> None:
        """
        Version 0 has neither generation nor member id.
        """
        request = self.request((self.a, 0, 5), member_id="m", generation_id_or_member_epoch=1)
        self.assertEqual(self.codes(self.client.now(request, 0)), [0])

    def test_only_refused_partitions(self) -> None:
        """
        Who has nothing left to commit is looked at all the same.
        """
        self.stable()
        asked = self.client.start(self.request((self.a, 7, 5)), 8)
        self.failureResultOf(asked, errors.UnknownMemberId)


class FetchTests(CommitCase):
    """
    ServiceClient how far one has read.
    """

    def setUp(self) -> None:
        """
        Partition 1 of C{a} is read up to 8.
        """
        super().setUp()
        self.client.now(self.request((self.a, 1, 8)), 9)

    def fetch(self, version: int, *names: str, everything: bool = False) -> Any:
        """
        The topics of an answer, for partitions 0 and 1 of these.
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
            kind(name=name, topic_id=ids.get(name, STRANGER), partition_indexes=[0, 1])
            for name in names
        ]
        group = FetchGroup(group_id="g", topics=None if everything else wanted)
        answer = self.client.now(OffsetFetchRequest(groups=[group]), version)
        (told,) = answer.groups
        self.assertEqual((told.group_id, told.error_code), ("g", 0))
        return told.topics

    def told(self, topics: Any) -> list[tuple[int, int, int, str, int]]:
        """
        What is told of all partitions.
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
        Where there is no commit the offset is -1, and that is no error: so
        that C{auto.offset.reset} counts.
        """
        for version in self.client.versions(OffsetFetchRequest):
            topics = self.fetch(version, "a")
            epoch = 4 if version >= 5 else -1
            self.assertEqual(self.told(topics), [(0, -1, -1, "", 0), (1, 8, epoch, "note", 0)])
            (topic,) = topics
            self.assertEqual(topic.name, "a" if version < 10 else "")
            if version >= 10:
                self.assertEqual(topic.topic_id, self.a.topic_id)

    def test_everything(self) -> None:
        """
        Null asks for all topics, and all partitions with a commit.
        """
        self.client.now(self.request((self.b, 0, 3), (self.a, 0, 2)), 9)
        for version in range(2, 11):
            topics = self.fetch(version, everything=True)
            self.assertEqual(
                [(each[0], each[1]) for each in self.told(topics)], [(0, 2), (1, 8), (0, 3)]
            )

    def test_nothing(self) -> None:
        """
        No topic asks for none.
        """
        for version in self.client.versions(OffsetFetchRequest):
            self.assertEqual(self.fetch(version), [])

    def test_unknown_topics(self) -> None:
        """
        By name there is no commit for it; by id it is UNKNOWN_TOPIC_ID.
        """
        for version in self.client.versions(OffsetFetchRequest):
            told = self.told(self.fetch(version, "none"))
            code = 100 if version >= 10 else 0
            self.assertEqual(told, [(0, -1, -1, "", code), (1, -1, -1, "", code)])

    def test_several_groups(self) -> None:
        """
        Each is answered for itself; one that is not there has no commits.
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
                [(g.group_id, g.error_code, self.told(g.topics)[0][1]) for g in answer.groups],
                [("g", 0, 8), ("none", 0, -1)],
            )

    def test_successor_of_a_topic(self) -> None:
        """
        A topic that is created again under its name begins without commits.
        """
        self.cluster.now(self.cluster.topics.delete(self.a))
        self.a = self.cluster.now(self.cluster.topics.create("a", 2, {}))
        for version in self.client.versions(OffsetFetchRequest):
            self.assertEqual([each[1] for each in self.told(self.fetch(version, "a"))], [-1, -1])

    def test_not_here(self) -> None:
        """
        An error of the whole; before version 2 of each partition, from 8 on of
        each group.
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
            codes = [each[4] for each in self.told(failed.topics)]
            expected = (16, []) if version >= 2 else (0, [16, 16])
            self.assertEqual((failed.error_code, codes), expected)


class DeleteTests(CommitCase):
    """
    Forgetting commits.
    """

    def delete(self, *places: tuple[str, int]) -> list[int]:
        """
        The codes.
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
        Those that there are and those that there are not; unknown partitions
        have their error.
        """
        self.client.now(self.request((self.a, 0, 2), (self.b, 0, 3)), 9)
        self.assertEqual(self.delete(("a", 0), ("a", 1), ("a", 2), ("none", 0)), [0, 0, 3, 3])
        self.assertEqual(set(self.kept()), {(self.b.topic_id, 0)})

    def test_subscribed(self) -> None:
        """
        While the group reads, what it reads stays: what its members say is
        not even to be understood here.
        """
        self.client.now(self.request((self.a, 0, 2)), 9)
        self.stable()
        self.assertEqual(self.delete(("a", 0)), [86])

    def test_refused(self) -> None:
        """
        An unknown group is an error of the whole.
        """
        request = OffsetDeleteRequest(group_id="none", topics=[])
        self.failureResultOf(self.client.start(request, 0), errors.GroupIdNotFound)
        self.assertEqual(self.client.failed(request, 0, 69).error_code, 69)
