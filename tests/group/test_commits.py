"""
Committed offsets: which clients may commit, when commits are answered, and when
offsets expire.
"""

from __future__ import annotations

from uuid import UUID

import attrs

from kafscale.errors import (
    GroupIdNotFound,
    GroupSubscribedToTopic,
    IllegalGeneration,
    InvalidGroupId,
    NonEmptyGroup,
    RebalanceInProgress,
    UnknownMemberId,
)
from kafscale.format.offset import CommittedOffset
from kafscale.group.settings import CHECK_SECONDS
from kafscale.interfaces import MemberIdentity
from kafscale.wire.messages import ConsumerProtocolSubscription
from tests.group.members import OTHER, SIMPLE, TOPIC, GroupTestCase, member_of

FIRST = (TOPIC.topic_id, 0)
WEEK = 7 * 86400.0


def subscription(*topics: str, version: int = 1) -> bytes:
    """
    The metadata of a consumer that subscribes to these topics.
    """
    metadata = ConsumerProtocolSubscription(topics=list(topics))
    return version.to_bytes(2, "big") + b"".join(metadata.encode(version))


class CommitTests(GroupTestCase):
    """
    Members commit in their generation, and simple consumers without one.
    """

    def test_member(self) -> None:
        """
        All fields of the commit are returned.
        """
        (led,) = self.stable({})
        self.successResultOf(self.commit(member_of(led), 41))
        self.assertEqual(
            self.coordinator.committed_offsets("g"),
            {FIRST: CommittedOffset(41, 3, "note", round(self.clock.seconds() * 1000))},
        )

    def test_member_during_a_rebalance(self) -> None:
        """
        A member may commit while a round is prepared, but not between JoinGroup
        and SyncGroup. Either request keeps its session.
        """
        led, other = self.stable({}, {})
        self.join()
        for _ in range(3):
            self.wait(6)
            self.successResultOf(self.commit(member_of(led)))
            self.successResultOf(self.commit(member_of(other)))
        again = [self.join(member_id=each.member_id) for each in (led, other)]
        self.refused(RebalanceInProgress, self.commit(member_of(self.successResultOf(again[0]))))

    def test_old_generation(self) -> None:
        """
        A generation that is over, or never was, is ILLEGAL_GENERATION.
        """
        (led,) = self.stable({})
        for generation in (0, 2, -1):
            asking = attrs.evolve(member_of(led), generation=generation)
            self.refused(IllegalGeneration, self.commit(asking))
        self.assertEqual(self.committed(), {})

    def test_after_leaving(self) -> None:
        """
        A member that has left is UNKNOWN_MEMBER_ID, whether the group is empty
        or not.
        """
        led, other = self.stable({}, {})
        for each in (led, other):
            self.coordinator.leave("g", each.member_id, None)
            self.refused(UnknownMemberId, self.commit(member_of(each)))

    def test_no_such_group(self) -> None:
        """
        A commit with a generation does not create a group.
        """
        self.refused(GroupIdNotFound, self.commit(MemberIdentity("c-1", 3)))
        self.assertEqual(self.coordinator.groups(), [])

    def test_simple_consumer(self) -> None:
        """
        A consumer without generation may commit in a group without members. Its
        group is listed.
        """
        self.successResultOf(self.commit(SIMPLE, 7))
        self.assertEqual(self.committed(), {FIRST: 7})
        (group,) = self.coordinator.groups()
        self.assertEqual((group.name, group.state, group.protocol_type), ("g", "Empty", ""))

    def test_simple_consumer_among_members(self) -> None:
        """
        A consumer without generation is UNKNOWN_MEMBER_ID while the group has
        members.
        """
        (led,) = self.stable({})
        self.refused(UnknownMemberId, self.commit(SIMPLE))
        self.coordinator.leave("g", led.member_id, None)
        self.successResultOf(self.commit(SIMPLE))

    def test_group_without_name(self) -> None:
        """
        Old consumers commit in the group without a name.
        """
        self.successResultOf(self.commit(SIMPLE, 7, group=""))
        self.restart()
        self.assertEqual(self.committed(""), {FIRST: 7})

    def test_nothing_to_commit(self) -> None:
        """
        An empty commit creates no group, but its identity is checked.
        """
        self.now(self.coordinator.commit_offsets("g", SIMPLE, {}))
        self.assertEqual(self.coordinator.groups(), [])
        self.stable({})
        self.refused(UnknownMemberId, self.begin(self.coordinator.commit_offsets("g", SIMPLE, {})))


class DurabilityTests(GroupTestCase):
    """
    An answered commit is durable, and only durable offsets are returned.
    """

    def test_returned_when_durable(self) -> None:
        """
        An offset is not returned while a crash could lose it.
        """
        self.successResultOf(self.commit(SIMPLE, 1))
        self.store.policy = None
        asked = self.commit(SIMPLE, 2)
        self.assertNoResult(asked)
        self.assertEqual(self.committed(), {FIRST: 1})
        self.store.settle()
        self.successResultOf(asked)
        self.assertEqual(self.committed(), {FIRST: 2})

    def test_many_are_one_write(self) -> None:
        """
        Commits that come during a write go into the next write together, and
        each is answered.
        """
        self.store.policy = None
        asked = [self.commit(SIMPLE, number) for number in range(50)]
        (first,) = self.store.pending
        first.succeed()
        self.successResultOf(asked[0])
        (rest,) = self.store.pending
        self.assertNoResult(asked[1])
        rest.succeed()
        for each in asked[1:]:
            self.successResultOf(each)
        self.assertEqual(self.store.pending, [])
        self.assertEqual(self.committed(), {FIRST: 49})
        self.restart()
        self.assertEqual(self.committed(), {FIRST: 49})

    def test_heartbeats_write_nothing(self) -> None:
        """
        Heartbeats, DescribeGroups and a JoinGroup that changes nothing write
        nothing.
        """
        led, other = self.stable({}, {})
        self.store.policy = None
        for _ in range(10):
            self.wait(5)
            self.beat(led)
            self.beat(other)
        self.join(member_id=other.member_id)
        self.coordinator.describe("g")
        self.assertEqual(self.store.pending, [])

    def test_survives_a_restart(self) -> None:
        """
        All fields of a committed offset survive a restart.
        """
        self.successResultOf(self.commit(SIMPLE, 7))
        kept = CommittedOffset(9, -1, "gr\u00fc\u00dfe \U0001f980", 12, 34_000_000_000_000)
        self.now(self.coordinator.commit_offsets("g", SIMPLE, {(OTHER.topic_id, 3): kept}))
        before = dict(self.coordinator.committed_offsets("g"))
        self.restart()
        self.assertEqual(dict(self.coordinator.committed_offsets("g")), before)
        self.assertEqual(before[(OTHER.topic_id, 3)], kept)


class DeletionTests(GroupTestCase):
    """
    OffsetDelete, DeleteGroups, deleted topics, and expiry.
    """

    def delete_offsets(self, *wanted: tuple[UUID, int], group: str = "g") -> dict[object, type]:
        """
        Delete these offsets. The errors of those that are kept.
        """
        names = {topic.topic_id: topic.name for topic in (TOPIC, OTHER)}
        refused = self.now(self.coordinator.delete_offsets(group, wanted, names))
        return {partition: type(error) for partition, error in refused.items()}

    def test_delete_offsets(self) -> None:
        """
        In a group without members every offset can be deleted, also from the
        store.
        """
        self.successResultOf(self.commit(SIMPLE, 7))
        self.successResultOf(self.commit(SIMPLE, 8, partition=(OTHER.topic_id, 1)))
        self.assertEqual(self.delete_offsets(FIRST, (TOPIC.topic_id, 3)), {})
        self.assertEqual(self.committed(), {(OTHER.topic_id, 1): 8})
        self.restart()
        self.assertEqual(self.committed(), {(OTHER.topic_id, 1): 8})

    def test_delete_subscribed(self) -> None:
        """
        In a group with members offsets can be deleted to whose topics no member
        subscribes.
        """
        (led,) = self.stable({"protocols": [("range", subscription("t"))]})
        for partition in (FIRST, (OTHER.topic_id, 1)):
            self.successResultOf(self.commit(member_of(led), partition=partition))
        refused = self.delete_offsets(FIRST, (OTHER.topic_id, 1))
        self.assertEqual(refused, {FIRST: GroupSubscribedToTopic})
        self.assertEqual(self.committed(), {FIRST: 5})

    def test_delete_with_unknown_subscription(self) -> None:
        """
        If the subscription cannot be decoded, no offset can be deleted.
        """
        for number, nonsense in enumerate((b"", b"\x00", b"\xff\xff", b"\x00\x01\x7f")):
            self.stable({"group": f"g{number}", "protocols": [("range", nonsense)]})
            self.assertEqual(
                self.delete_offsets(FIRST, group=f"g{number}"), {FIRST: GroupSubscribedToTopic}
            )

    def test_newer_subscription(self) -> None:
        """
        A version of the subscription that is not known is read as the last one
        that is.
        """
        metadata = (99).to_bytes(2, "big") + subscription("t", version=3)[2:] + b"more"
        self.stable({"protocols": [("range", metadata)]})
        self.assertEqual(self.delete_offsets((OTHER.topic_id, 0)), {})

    def test_delete_without_a_group(self) -> None:
        """
        No group has the empty name.
        """
        self.failureResultOf(
            self.begin(self.coordinator.delete_offsets("", [FIRST], {})), InvalidGroupId
        )

    def test_delete_of_other_types(self) -> None:
        """
        In a group of another protocol type nothing can be deleted while it has
        members.
        """
        self.stable({"protocol_type": "connect"})
        self.failureResultOf(
            self.begin(self.coordinator.delete_offsets("g", [FIRST], {})), NonEmptyGroup
        )
        self.failureResultOf(
            self.begin(self.coordinator.delete_offsets("none", [FIRST], {})), GroupIdNotFound
        )

    def test_delete_group(self) -> None:
        """
        DeleteGroups deletes a group without members and all its offsets, also
        from the store.
        """
        (led,) = self.stable({})
        self.successResultOf(self.commit(member_of(led)))
        self.refused(NonEmptyGroup, self.begin(self.coordinator.delete("g")))
        self.coordinator.leave("g", led.member_id, None)
        self.now(self.coordinator.delete("g"))
        self.refused(GroupIdNotFound, self.begin(self.coordinator.delete("g")))
        self.assertEqual((self.coordinator.groups(), self.committed()), ([], {}))
        self.restart()
        self.assertEqual((self.coordinator.groups(), self.committed()), ([], {}))

    def test_delete_while_committing(self) -> None:
        """
        A commit that is being written when the group is deleted is deleted,
        too.
        """
        self.successResultOf(self.commit(SIMPLE))
        self.store.policy = None
        self.commit(SIMPLE, 6, partition=(TOPIC.topic_id, 1))
        deleted = self.begin(self.coordinator.delete("g"))
        self.assertNoResult(deleted)
        self.store.settle()
        self.successResultOf(deleted)
        self.restart()
        self.assertEqual(self.coordinator.groups(), [])

    def test_pending_member_of_a_deleted_group(self) -> None:
        """
        A member id that was assigned before the group was deleted is unknown
        afterwards.
        """
        given = self.successResultOf(self.join(requires_known_member_id=True))
        self.now(self.coordinator.delete("g"))
        self.refused(UnknownMemberId, self.join(member_id=given.member_id))

    def test_topic_deleted(self) -> None:
        """
        When a topic is deleted, its offsets are deleted in all groups, also
        those that are being written.
        """
        for group in ("g", "h"):
            self.successResultOf(self.commit(SIMPLE, 7, group))
            self.successResultOf(self.commit(SIMPLE, 8, group, (OTHER.topic_id, 1)))
        self.store.policy = None
        late = self.commit(SIMPLE, 9, partition=(TOPIC.topic_id, 2))
        del self.image.known[TOPIC.topic_id]
        self.coordinator.topic_deleted(TOPIC.topic_id)
        self.store.settle()
        self.successResultOf(late)
        for _ in range(2):
            self.assertEqual(self.committed("g"), {(OTHER.topic_id, 1): 8})
            self.assertEqual(self.committed("h"), {(OTHER.topic_id, 1): 8})
            self.restart()

    def test_topic_deleted_while_down(self) -> None:
        """
        A topic that was deleted while the coordinator was down is noticed when
        it loads; a topic that the image has not seen yet is not taken for
        deleted.
        """
        self.successResultOf(self.commit(SIMPLE, 7))
        self.successResultOf(self.commit(SIMPLE, 8, partition=(OTHER.topic_id, 1)))
        self.image.known.clear()
        self.image.unseen.add(OTHER.topic_id)
        self.restart()
        self.assertEqual(self.committed(), {(OTHER.topic_id, 1): 8})

    # -- time ------------------------------------------------------------------

    def check(self) -> None:
        """
        Let the next check for expired offsets happen.
        """
        self.clock.advance(CHECK_SECONDS)

    def test_simple_commits_expire(self) -> None:
        """
        The offsets of simple consumers expire a week after the commit. A group
        without offsets is deleted.
        """
        self.successResultOf(self.commit(SIMPLE, 7))
        self.clock.advance(WEEK / 2)
        self.successResultOf(self.commit(SIMPLE, 8, partition=(TOPIC.topic_id, 1)))
        self.clock.advance(WEEK / 2 - CHECK_SECONDS - 1)
        self.check()
        self.assertEqual(len(self.committed()), 2)
        self.check()
        self.assertEqual(self.committed(), {(TOPIC.topic_id, 1): 8})
        self.clock.advance(WEEK / 2)
        self.check()
        self.assertEqual(self.coordinator.groups(), [])
        self.restart()
        self.assertEqual(self.coordinator.groups(), [])

    def test_commits_of_an_empty_group(self) -> None:
        """
        The offsets of an empty group expire a week after the last member left,
        also across restarts.
        """
        (led,) = self.stable({"protocols": [("range", subscription("t"))]})
        self.successResultOf(self.commit(member_of(led)))
        for _ in range(3):
            self.wait(5)
            self.beat(led)
        gone = self.clock.seconds()
        self.coordinator.leave("g", led.member_id, None)
        self.restart()
        self.clock.advance(WEEK - CHECK_SECONDS)
        self.assertLess(self.clock.seconds(), gone + WEEK)
        self.check()
        self.assertEqual(self.committed(), {})

    def test_commits_of_a_group_with_members(self) -> None:
        """
        In a group with members offsets expire only for topics to which no
        member subscribes.
        """
        member = {
            "protocols": [("range", subscription("t"))],
            "session_timeout_ms": 1_800_000,
        }
        (led,) = self.stable(member)
        for partition in (FIRST, (OTHER.topic_id, 1)):
            self.successResultOf(self.commit(member_of(led), partition=partition))
        until = self.clock.seconds() + WEEK
        while self.clock.seconds() < until:
            self.clock.advance(CHECK_SECONDS)
            self.beat(led)
        self.check()
        self.assertEqual(self.committed(), {FIRST: 5})

    def test_retention_of_its_own(self) -> None:
        """
        An offset with a retention time of its own (before OffsetCommit 5)
        expires at that time.
        """
        at = round(self.clock.seconds() * 1000)
        soon = CommittedOffset(5, -1, "", at, at + 1000)
        self.now(self.coordinator.commit_offsets("g", SIMPLE, {FIRST: soon}))
        self.successResultOf(self.commit(SIMPLE, 8, partition=(TOPIC.topic_id, 1)))
        self.check()
        self.assertEqual(self.committed(), {(TOPIC.topic_id, 1): 8})

    def test_empty_group_without_commits(self) -> None:
        """
        An empty group without offsets is deleted at the next check, but not
        while a member is pending.
        """
        (led,) = self.stable({})
        self.coordinator.leave("g", led.member_id, None)
        given = self.successResultOf(
            self.join(requires_known_member_id=True, session_timeout_ms=1_800_000)
        )
        self.check()
        self.assertEqual(self.state(), "Empty")
        self.coordinator.leave("g", given.member_id, None)
        self.check()
        self.assertEqual(self.coordinator.groups(), [])
