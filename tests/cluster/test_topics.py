"""
Topics are made, grow, are reassigned and go in one commit each.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.cluster.ids import base64_of
from kafscale.cluster.image import Image
from kafscale.cluster.topics import Topics, check_name
from kafscale.errors import (
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicaAssignment,
    InvalidReplicationFactor,
    InvalidTopicException,
    KafkaError,
    NoReassignmentInProgress,
    PolicyViolation,
    RequestTimedOut,
    TopicAlreadyExists,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from kafscale.format import metadata_keys
from kafscale.format.levels import highest_level
from kafscale.format.topic import Reassignment
from kafscale.interfaces import Broker, Compare, Delete, ITopics, NewTopic, Phase, Put, Topic
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.cluster.small import BROKER, CLUSTER_ID, SmallCluster
from tests.harness.coroutines import begin
from tests.harness.hostile import HostileMetadataStore, Operation, Verdict, let_pass


class NameTests(SynchronousTestCase):
    """
    Names of topics.
    """

    def test_good(self) -> None:
        """
        Letters, digits, dot, underscore and hyphen are valid, up to 249 characters.
        """
        for name in ("a", "A-b_c.9", "...", "x" * 249):
            check_name(name)

    def test_bad(self) -> None:
        """
        Names that could escape from a path, or that Kafka refuses, are refused.
        """
        for name in ("", ".", "..", "x" * 250, "a/b", "../x", "a b", "ä", "a\n", "a\0", "a:b"):
            self.assertRaises(InvalidTopicException, check_name, name)


class CreateTests(SynchronousTestCase):
    """
    Creating topics.
    """

    def setUp(self) -> None:
        """
        Start a small cluster.
        """
        self.cluster = SmallCluster(self)
        self.topics = self.cluster.topics

    def refused(self, error: type[Exception], name: str, *args: object, **kw: object) -> str:
        """
        Return the message of a failed creation.
        """
        (creating,) = self.topics.create_all(
            [NewTopic(name, *args)],  # type: ignore[arg-type]
            **kw,  # type: ignore[arg-type]
        )
        return str(self.failureResultOf(creating, error).value)

    def test_interface(self) -> None:
        """
        The topics provide their interface.
        """
        self.assertTrue(verifyObject(ITopics, self.topics))

    def test_everywhere_when_it_answers(self) -> None:
        """
        On return the store has both keys, the image has the topic, and leaders exist.
        """
        topic = self.cluster.now(self.topics.create("orders", 2, {"retention.ms": "5"}))
        self.assertEqual(self.cluster.image.topic("orders"), topic)
        self.assertEqual(self.cluster.image.leadership(topic.topic_id, 1).leader, 7)
        named = self.cluster.now(self.cluster.store.get(metadata_keys.name("orders")))
        stored = self.cluster.now(self.cluster.store.get(metadata_keys.topic(topic.topic_id)))
        assert named is not None and stored is not None
        self.assertEqual(named.value, {"topic_id": str(topic.topic_id)})
        self.assertEqual(
            stored.value,
            {
                "name": "orders",
                "partitions": 2,
                "configs": {"retention.ms": "5"},
                "created_ms": 1_700_000_000_000,
            },
        )
        self.assertEqual(named.revision, stored.revision)

    def test_waits_for_leaders(self) -> None:
        """
        The creation does not return before the partitions have leaders.
        """
        led: Deferred[None] = Deferred()
        topics = Topics(
            self.cluster.store,
            self.cluster.image,
            self.cluster.configs,
            lambda topic_id, indexes: led,
            highest_level,
            self.cluster.clock,
        )
        creating = begin(topics.create("orders", 1, {}))
        self.assertNoResult(creating)
        led.callback(None)
        self.successResultOf(creating)

    def test_exists(self) -> None:
        """
        A name can be used once.
        """
        self.cluster.now(self.topics.create("orders", 1, {}))
        self.refused(TopicAlreadyExists, "orders", 1, {})

    def test_two_at_once(self) -> None:
        """
        Of two creations that the image does not know of, one succeeds.
        """
        key = metadata_keys.name("orders")
        self.cluster.now(self.cluster.store.commit([Compare(key, 0)], [Put(key, {})]))
        self.refused(TopicAlreadyExists, "orders", 1, {})

    def other(self) -> Topics:
        """
        The topics of another broker, whose image knows none yet.
        """
        image = Image(self.cluster.store, CLUSTER_ID, BROKER)
        lead, clock = self.cluster.lead, self.cluster.clock
        ids = self.cluster.new_id
        return Topics(
            self.cluster.store, image, self.cluster.configs, lead, highest_level, clock, ids
        )

    def test_collision_at_once(self) -> None:
        """
        Of names that differ only in dot and underscore one can be created, also by
        brokers that do not know of each other's topics yet. Once it is deleted, another
        can be.
        """
        first = self.cluster.now(self.topics.create("a.b", 1, {}))
        for names in (["a_b"], ["a_b", "c"]):
            creating = self.other().create_all([NewTopic(name, 1, {}) for name in names])
            self.failureResultOf(creating[0], InvalidTopicException)
        self.assertEqual([each.name for each in self.cluster.image.topics()], ["a.b", "c"])
        self.failureResultOf(
            self.other().create_all([NewTopic("a.b", 1, {})])[0], TopicAlreadyExists
        )
        (deleting,) = self.topics.delete_all([first])
        self.successResultOf(deleting)
        self.cluster.now(self.topics.create("a_b", 1, {}))

    def test_left_behind(self) -> None:
        """
        A topic that a broker of an earlier version has deleted does not stand in the way.
        """
        topic = self.cluster.now(self.topics.create("a.b", 1, {}))
        keys = [metadata_keys.name("a.b"), metadata_keys.topic(topic.topic_id)]
        self.cluster.now(self.cluster.store.commit([], [Delete(key) for key in keys]))
        made = self.cluster.now(self.topics.create("a_b", 1, {}))
        entry = self.cluster.now(self.cluster.store.get("names/~a_b"))
        self.assertEqual(entry and entry.value, {"topic_id": str(made.topic_id)})
        self.refused(InvalidTopicException, "a.b", 1, {})

    def test_many_with_similar_names(self) -> None:
        """
        Topics whose names take two keys fit into commits, too.
        """
        names = [f"t.{number}" for number in range(100)]
        creating = self.topics.create_all([NewTopic(name, 1, {}) for name in names])
        made = [self.successResultOf(each) for each in creating]
        for deleted in self.topics.delete_all(made):
            self.successResultOf(deleted)
        entries, _ = self.cluster.now(self.cluster.store.range(metadata_keys.NAMES))
        self.assertEqual(entries, [])

    def test_collision(self) -> None:
        """
        Names that differ only in dot and underscore collide.
        """
        self.cluster.now(self.topics.create("a.b_c", 1, {}))
        self.assertIn("a.b_c", self.refused(InvalidTopicException, "a_b.c", 1, {}))

    def test_internal(self) -> None:
        """
        The names of Kafka's internal topics are reserved.
        """
        for name in ("__consumer_offsets", "__transaction_state"):
            creating = begin(self.topics.create(name, 1, {}))
            self.failureResultOf(creating, InvalidTopicException)

    def test_view(self) -> None:
        """
        A topic that is shown, and not stored, exists and cannot be changed.
        """
        shown = Topic(UUID(int=5), "__consumer_offsets", 50, {})
        self.cluster.image.show(shown)
        creating = begin(self.topics.create(shown.name, 1, {}))
        self.failureResultOf(creating, TopicAlreadyExists)
        for change in (
            self.topics.delete_all([shown])[0],
            self.topics.grow(shown, 60),
            self.topics.alter(shown, lambda before: {"retention.ms": "1"}),
        ):
            self.failureResultOf(begin(change), InvalidTopicException)

    def test_bad_requests(self) -> None:
        """
        Each invalid request fails with its own error.
        """
        self.refused(InvalidTopicException, "..", 1, {})
        self.refused(InvalidPartitions, "orders", 0, {})
        self.refused(InvalidPartitions, "orders", -2, {})
        self.refused(PolicyViolation, "orders", 10_001, {})
        self.refused(InvalidConfig, "orders", 1, {"retention.ms": "soon"})

    def test_validate_only(self) -> None:
        """
        A validation checks the same, and creates nothing.
        """
        (validated,) = self.topics.create_all([NewTopic("orders", 2)], validate_only=True)
        topic = self.cluster.now(validated)
        self.assertEqual(topic.partitions, 2)
        self.assertEqual(self.cluster.image.topics(), ())
        self.refused(InvalidPartitions, "orders", 0, {}, validate_only=True)

    def test_ids_are_not_reserved(self) -> None:
        """
        Reserved ids, and ids that look like an option, are not used.
        """
        hyphen = UUID(bytes=b"\xf8" + bytes(15))
        self.assertTrue(base64_of(hyphen).startswith("-"))
        ids = iter([UUID(int=0), UUID(int=1), hyphen, UUID(int=2)])
        self.cluster.new_id = lambda: next(ids)  # type: ignore[method-assign]
        topics = Topics(
            self.cluster.store,
            self.cluster.image,
            self.cluster.configs,
            self.cluster.lead,
            highest_level,
            self.cluster.clock,
            self.cluster.new_id,
        )
        self.assertEqual(self.cluster.now(topics.create("a", 1, {})).topic_id, UUID(int=2))


class LostAnswerTests(SynchronousTestCase):
    """
    Commits without a response from the store.
    """

    def create(self, verdict: Verdict) -> Deferred[object]:
        """
        Create a topic whose commit has the given outcome.
        """
        hostile = HostileMetadataStore(SQLiteMetadataStore(":memory:", at_once))
        hostile.policy = let_pass
        cluster = SmallCluster(self, hostile)
        hostile.policy = lambda operation: (
            verdict
            if operation.kind == "commit" and operation.key.startswith(metadata_keys.NAMES)
            else Verdict.SUCCEED
        )
        self.cluster = cluster
        return begin(cluster.topics.create("orders", 1, {}))

    def test_done_all_the_same(self) -> None:
        """
        The creation succeeds if the topic exists.
        """
        self.successResultOf(self.create(Verdict.FAIL_BUT_APPLY))
        self.assertEqual(self.cluster.image.topic("orders").partitions, 1)

    def test_not_done(self) -> None:
        """
        The creation fails with a retriable error.
        """
        self.failureResultOf(self.create(Verdict.FAIL), RequestTimedOut)


class DeleteTests(SynchronousTestCase):
    """
    Deleting topics.
    """

    def setUp(self) -> None:
        """
        Create one topic.
        """
        self.cluster = SmallCluster(self)
        self.topic = self.cluster.now(self.cluster.topics.create("orders", 3, {}))

    def test_tombstone(self) -> None:
        """
        Name and topic are deleted and a tombstone is created, in one commit.
        """
        self.cluster.delete(self.topic)
        self.assertEqual(self.cluster.image.topics(), ())
        get = self.cluster.store.get
        self.assertIsNone(self.cluster.now(get(metadata_keys.name("orders"))))
        self.assertIsNone(self.cluster.now(get(metadata_keys.topic(self.topic.topic_id))))
        tombstone = self.cluster.now(get(metadata_keys.tombstone(self.topic.topic_id)))
        assert tombstone is not None
        self.assertEqual(
            tombstone.value,
            {"name": "orders", "partitions": 3, "deleted_ms": 1_700_000_000_000},
        )

    def test_name_is_free_again(self) -> None:
        """
        A later topic of the same name has another id, and inherits nothing.
        """
        self.cluster.delete(self.topic)
        successor = self.cluster.now(self.cluster.topics.create("orders", 1, {}))
        self.assertNotEqual(successor.topic_id, self.topic.topic_id)

    def test_deleted_already(self) -> None:
        """
        A second deletion fails.
        """
        self.cluster.delete(self.topic)
        deleting = begin(self.cluster.topics.delete_all([self.topic])[0])
        self.failureResultOf(deleting, UnknownTopicOrPartition)

    def test_changed_meanwhile(self) -> None:
        """
        A topic that changes before the commit, or between read and commit, is deleted all
        the same, in its new state.
        """
        hostile = HostileMetadataStore(self.cluster.store)
        topics = Topics(
            hostile,
            self.cluster.image,
            self.cluster.configs,
            self.cluster.lead,
            highest_level,
            self.cluster.clock,
        )
        deleting = begin(topics.delete_all([self.topic])[0])
        self.cluster.now(self.cluster.topics.grow(self.topic, 4))
        hostile.pending[0].succeed()  # the commit of what the image had
        hostile.pending[0].succeed()  # it has read the topic
        self.cluster.now(self.cluster.topics.grow(self.topic, 5))
        hostile.policy = let_pass
        hostile.pending[0].succeed()
        self.successResultOf(deleting)
        tombstone = self.cluster.now(
            self.cluster.store.get(metadata_keys.tombstone(self.topic.topic_id))
        )
        assert tombstone is not None
        self.assertEqual(tombstone.value["partitions"], 5)


class TogetherTests(SynchronousTestCase):
    """
    Creating and deleting many topics at once.
    """

    def setUp(self) -> None:
        """
        Count the commits that change topics.
        """
        self.commits: list[int] = []
        self.fails: dict[int, Verdict] = {}

        def decide(operation: Operation) -> Verdict:
            if operation.kind != "commit" or operation.key.startswith(metadata_keys.PARTITIONS):
                return Verdict.SUCCEED
            _, changes = operation.arguments
            self.commits.append(len(changes))
            return self.fails.get(len(self.commits), Verdict.SUCCEED)

        hostile = HostileMetadataStore(SQLiteMetadataStore(":memory:", at_once))
        hostile.policy = let_pass
        self.cluster = SmallCluster(self, hostile)
        hostile.policy = decide
        self.topics = self.cluster.topics

    def create(self, count: int) -> list[Deferred[Topic]]:
        """
        Begin to create the topics C{t0}, C{t1} and so on.
        """
        return list(self.topics.create_all([NewTopic(f"t{number}", 1) for number in range(count)]))

    def names(self) -> set[str]:
        """
        Return the topics in the image.
        """
        return {topic.name for topic in self.cluster.image.topics()}

    def test_few_commits(self) -> None:
        """
        A hundred topics are created in two commits, and deleted in three; each commit is
        within the limit.
        """
        topics = [self.successResultOf(each) for each in self.create(100)]
        self.assertEqual(self.commits, [100, 100])
        self.assertEqual(len(self.names()), 100)
        self.assertEqual(self.cluster.image.leadership(topics[77].topic_id, 0).leader, 7)
        for deleted in self.topics.delete_all(topics):
            self.successResultOf(deleted)
        self.assertEqual(self.commits[2:], [126, 126, 48])
        self.assertEqual(self.names(), set())

    def test_one_exists(self) -> None:
        """
        If the image has not seen yet that a name exists, the others are created one by
        one.
        """
        key = metadata_keys.name("t1")
        self.cluster.now(self.cluster.store.commit([], [Put(key, {})]))
        del self.commits[:]
        creating = self.create(4)
        self.failureResultOf(creating.pop(1), TopicAlreadyExists)
        for created in creating:
            self.successResultOf(created)
        self.assertEqual(self.commits, [8, 2, 2, 2, 2])
        self.assertEqual(self.names(), {"t0", "t2", "t3"})

    def test_some_are_wrong(self) -> None:
        """
        Topics that cannot be created do not affect the others. Of names that collide with
        one another the first is created.
        """
        wanted = ["a.b", "a_b", "..", "ok"]
        creating = self.topics.create_all([NewTopic(name, 1) for name in wanted])
        for number in (1, 2):
            self.failureResultOf(creating[number], InvalidTopicException)
        for number in (0, 3):
            self.successResultOf(creating[number])
        self.assertEqual((self.commits, self.names()), ([5], {"a.b", "ok"}))

    def test_lost_answer(self) -> None:
        """
        A commit of unknown outcome is read back: it was done for all of its topics, or
        for none.
        """
        self.fails = {1: Verdict.FAIL_BUT_APPLY, 2: Verdict.FAIL}
        creating = self.create(100)
        for created in creating[:50]:
            self.successResultOf(created)
        for created in creating[50:]:
            self.failureResultOf(created, RequestTimedOut)
        self.assertEqual(len(self.names()), 50)

    def test_one_is_deleted_already(self) -> None:
        """
        If a topic was deleted concurrently, the others are deleted one by one.
        """
        topics = [self.successResultOf(each) for each in self.create(3)]
        self.cluster.delete(topics[1])
        deleting = list(self.topics.delete_all(topics))
        self.failureResultOf(deleting.pop(1), UnknownTopicOrPartition)
        for deleted in deleting:
            self.successResultOf(deleted)
        self.assertEqual(self.names(), set())


class GrowTests(SynchronousTestCase):
    """
    Adding partitions.
    """

    def setUp(self) -> None:
        """
        Create one topic.
        """
        self.cluster = SmallCluster(self)
        self.topics = self.cluster.topics
        self.topic = self.cluster.now(self.topics.create("orders", 3, {"retention.ms": "5"}))

    def test_grows(self) -> None:
        """
        Only the number of partitions changes, and the new ones are led.
        """
        grown = self.cluster.now(self.topics.grow(self.topic, 5))
        self.assertEqual(self.cluster.image.topic("orders"), grown)
        self.assertEqual((grown.partitions, grown.configs), (5, {"retention.ms": "5"}))
        self.assertEqual(self.cluster.image.leadership(grown.topic_id, 4).leader, 7)

    def test_only_grows(self) -> None:
        """
        Equal and smaller numbers are refused.
        """
        for partitions in (3, 2, 0, -1):
            growing = begin(self.topics.grow(self.topic, partitions))
            self.failureResultOf(growing, InvalidPartitions)

    def test_bounded(self) -> None:
        """
        The number of new partitions in one request is bounded.
        """
        growing = begin(self.topics.grow(self.topic, 2**31 - 1))
        self.failureResultOf(growing, PolicyViolation)

    def test_validate_only(self) -> None:
        """
        A validation checks the same, and changes nothing.
        """
        grown = self.cluster.now(self.topics.grow(self.topic, 5, validate_only=True))
        self.assertEqual(grown.partitions, 5)
        self.assertEqual(self.cluster.image.topic("orders").partitions, 3)

    def test_deleted(self) -> None:
        """
        A deleted topic cannot grow.
        """
        self.cluster.delete(self.topic)
        self.failureResultOf(begin(self.topics.grow(self.topic, 5)), UnknownTopicOrPartition)


class AlterTests(SynchronousTestCase):
    """
    Altering configurations.
    """

    def setUp(self) -> None:
        """
        Create one topic.
        """
        self.cluster = SmallCluster(self)
        self.topics = self.cluster.topics
        self.topic = self.cluster.now(self.topics.create("orders", 3, {"retention.ms": "5"}))

    def test_altered(self) -> None:
        """
        Only the configuration changes, and the image has it on return.
        """
        self.cluster.now(self.topics.grow(self.topic, 4))
        altered = self.cluster.now(self.topics.alter(self.topic, lambda _: {"segment.ms": "7"}))
        self.assertEqual((altered.partitions, altered.configs), (4, {"segment.ms": "7"}))
        self.assertEqual(self.cluster.image.topic("orders"), altered)
        self.assertEqual(self.cluster.image.topic_by_id(self.topic.topic_id), altered)

    def test_as_it_was(self) -> None:
        """
        A change without an effect is not committed.
        """
        _, before = self.cluster.now(self.cluster.store.range(metadata_keys.TOPICS))
        self.cluster.now(self.topics.alter(self.topic, lambda before: before))
        _, after = self.cluster.now(self.cluster.store.range(metadata_keys.TOPICS))
        self.assertEqual(after, before)

    def test_checked(self) -> None:
        """
        Invalid configurations and deleted topics are refused.
        """
        altering = begin(self.topics.alter(self.topic, lambda _: {"segment.ms": "soon"}))
        self.failureResultOf(altering, InvalidConfig)
        self.assertEqual(self.cluster.image.topic("orders").configs, {"retention.ms": "5"})
        self.cluster.delete(self.topic)
        altering = begin(self.topics.alter(self.topic, lambda _: {}))
        self.failureResultOf(altering, UnknownTopicOrPartition)

    def test_validate_only(self) -> None:
        """
        A validation checks the same, and returns the would-be result.
        """
        altering = self.topics.alter(self.topic, lambda _: {"segment.ms": "7"}, True)
        self.assertEqual(self.cluster.now(altering).configs, {"segment.ms": "7"})
        self.assertEqual(self.cluster.image.topic("orders").configs, {"retention.ms": "5"})

    def test_changed_meanwhile(self) -> None:
        """
        Of two concurrent changes neither is lost.
        """
        hostile = HostileMetadataStore(self.cluster.store)
        other = Topics(
            hostile,
            self.cluster.image,
            self.cluster.configs,
            self.cluster.lead,
            highest_level,
            self.cluster.clock,
        )
        altering = begin(other.alter(self.topic, lambda before: {**before, "segment.ms": "7"}))
        hostile.pending[0].succeed()  # it has read the topic
        self.cluster.now(
            self.topics.alter(self.topic, lambda before: {**before, "segment.bytes": "9000000"})
        )
        hostile.policy = let_pass
        hostile.pending[0].succeed()
        self.successResultOf(altering)
        self.assertEqual(
            self.cluster.image.topic("orders").configs,
            {"retention.ms": "5", "segment.ms": "7", "segment.bytes": "9000000"},
        )


class AssignedTests(SynchronousTestCase):
    """
    Replicas that are assigned by hand.
    """

    def setUp(self) -> None:
        """
        Start a cluster in which brokers 7 and 8 serve, and 9 is leaving.
        """
        self.cluster = SmallCluster(self)
        self.topics = self.cluster.topics
        self.cluster.put_broker(Broker(8, "other.example", 9092))
        self.cluster.put_broker(Broker(9, "third.example", 9092, phase=Phase.LEAVING))

    def create(self, *replicas: list[int], name: str = "orders") -> Topic:
        """
        Create a topic with these replicas.
        """
        return self.cluster.create_assigned(name, replicas)

    def moving(self, topic: Topic, index: int = 0) -> Reassignment | None:
        """
        Return the reassignment of a partition that is under way.
        """
        return self.cluster.image.reassignment(topic.topic_id, index)

    def reassign(
        self, topic: Topic, targets: dict[int, list[int] | None], same_factor: bool = False
    ) -> dict[int, type[KafkaError]]:
        """
        Reassign partitions, and return the errors.
        """
        refused = self.cluster.now(self.topics.reassign(topic, targets, same_factor))
        return {index: type(error) for index, error in refused.items()}

    def replicas(self, topic: Topic) -> dict[int, Sequence[int]]:
        """
        Return the replicas that the image has.
        """
        return dict(self.cluster.image.topic_by_id(topic.topic_id).replicas)

    def test_created(self) -> None:
        """
        The lists are stored with the topic.
        """
        topic = self.create([7, 8], [8, 9])
        self.assertEqual(self.replicas(topic), {0: (7, 8), 1: (8, 9)})
        stored = self.cluster.now(self.cluster.store.get(metadata_keys.topic(topic.topic_id)))
        assert stored is not None
        self.assertEqual(stored.value["replicas"], [[0, [7, 8]], [1, [8, 9]]])

    def test_invalid(self) -> None:
        """
        Lists that are empty, of different lengths, or name a broker twice, one that is
        unknown, or none that stays, are refused; nothing is created.
        """
        lists: list[list[list[int]]] = [[[]], [[7], [7, 8]], [[7, 7]], [[7, 6]], [[7], [9]]]
        for replicas in lists:
            for validate_only in (False, True):
                wanted = NewTopic("none", len(replicas), {}, replicas)
                (creating,) = self.topics.create_all([wanted], validate_only)
                self.failureResultOf(creating, InvalidReplicaAssignment)
        self.assertEqual(self.cluster.image.topics(), ())

    def test_earlier_version(self) -> None:
        """
        While a broker of an earlier version is there, which could not read the lists, no
        replicas can be assigned.
        """
        topics = Topics(
            self.cluster.store,
            self.cluster.image,
            self.cluster.configs,
            self.cluster.lead,
            lambda name: 0,
            self.cluster.clock,
        )
        self.failureResultOf(
            begin(topics.create_all([NewTopic("none", 1, {}, [[7]])])[0]), UnsupportedVersion
        )
        topic = self.cluster.now(topics.create("orders", 1, {}))
        self.failureResultOf(begin(topics.grow(topic, 2, replicas=[[7]])), UnsupportedVersion)
        (refused,) = self.cluster.now(topics.reassign(topic, {0: [8]})).values()
        self.assertIsInstance(refused, UnsupportedVersion)
        stored = self.cluster.now(self.cluster.store.get(metadata_keys.topic(topic.topic_id)))
        assert stored is not None
        self.assertNotIn("level", stored.value)

    def test_grown(self) -> None:
        """
        Replicas are assigned to new partitions, if there are as many lists, as long as
        those of the topic.
        """
        topic = self.create([7, 8])
        lists: list[list[list[int]]] = [[], [[7, 8]], [[7], [8]], [[7, 8], [8, 6]]]
        for replicas in lists:
            growing = begin(self.topics.grow(topic, 3, replicas=replicas))
            self.failureResultOf(growing, InvalidReplicaAssignment)
        self.cluster.now(self.topics.grow(topic, 3, replicas=[[8, 7], [7, 8]]))
        self.cluster.now(self.topics.grow(topic, 4))
        self.assertEqual(self.replicas(topic), {0: (7, 8), 1: (8, 7), 2: (7, 8)})
        self.assertEqual(self.cluster.image.topic("orders").partitions, 4)
        plain = self.cluster.now(self.topics.create("plain", 1, {}))
        self.cluster.now(self.topics.grow(plain, 2, replicas=[[8, 7]]))
        self.assertEqual(self.replicas(plain), {1: (8, 7)})

    def test_configured(self) -> None:
        """
        They stay when the configuration is altered.
        """
        topic = self.create([7])
        self.cluster.now(self.topics.alter(topic, lambda before: {"segment.ms": "7"}))
        self.assertEqual(self.replicas(topic), {0: (7,)})

    def test_reassigned(self) -> None:
        """
        A reassignment is under way until the partition has a leader in a later epoch.
        """
        topic = self.create([7, 8], [7, 8])
        self.assertEqual(self.reassign(topic, {0: [8, 7]}), {})
        self.assertEqual(self.replicas(topic), {0: (8, 7), 1: (7, 8)})
        self.assertEqual(self.moving(topic), Reassignment((7, 8), 0))
        self.assertIsNone(self.moving(topic, 1))
        self.cluster.put_leader(topic.topic_id, 0, -1, 0)
        self.assertIsNotNone(self.moving(topic))
        self.cluster.put_leader(topic.topic_id, 0, 8, 1)
        self.assertIsNone(self.moving(topic))
        self.assertEqual(self.reassign(topic, {0: None}), {0: NoReassignmentInProgress})
        self.cluster.put_leader(topic.topic_id, 0, 7, 2)  # as broker 8 has failed
        self.assertIsNone(self.moving(topic))

    def test_nothing_to_move(self) -> None:
        """
        A list whose first living broker leads already is in force at once.
        """
        topic = self.create([7, 8], [7, 8])
        self.assertEqual(self.reassign(topic, {0: [7], 1: [9, 7]}), {})
        self.assertEqual(self.replicas(topic), {0: (7,), 1: (9, 7)})
        self.assertEqual([self.moving(topic, index) for index in (0, 1)], [None, None])

    def test_cancelled(self) -> None:
        """
        A cancelled reassignment leaves the list before, or none, also if it was changed
        twice.
        """
        plain = self.cluster.now(self.topics.create("plain", 1, {}))
        topic = self.create([7, 8])
        for each, before in ((plain, {}), (topic, {0: (7, 8)})):
            self.assertEqual(self.reassign(each, {0: [8]}), {})
            self.assertEqual(self.reassign(each, {0: [8, 9]}), {})
            self.assertEqual(self.reassign(each, {0: None}), {})
            self.assertEqual((self.replicas(each), self.moving(each)), (before, None))
            self.assertEqual(self.reassign(each, {0: None}), {0: NoReassignmentInProgress})
        stored = self.cluster.now(self.cluster.store.get(metadata_keys.topic(plain.topic_id)))
        assert stored is not None
        self.assertNotIn("level", stored.value)

    def test_taken_back(self) -> None:
        """
        A partition that is assigned to its leader again, before it has moved, is not under
        way any more.
        """
        topic = self.create([7])
        self.reassign(topic, {0: [8]})
        self.reassign(topic, {0: [7]})
        self.assertEqual((self.replicas(topic), self.moving(topic)), ({0: (7,)}, None))

    def test_refused(self) -> None:
        """
        Each partition succeeds or fails by itself.
        """
        topic = self.create([7], [7], [7], [7])
        self.assertEqual(
            self.reassign(topic, {0: [6], 1: [8], 2: [7, 8], 3: None, 4: [7], -1: None}, True),
            {
                0: InvalidReplicaAssignment,
                2: InvalidReplicationFactor,
                3: NoReassignmentInProgress,
                4: UnknownTopicOrPartition,
                -1: UnknownTopicOrPartition,
            },
        )
        self.assertEqual(self.replicas(topic), {0: (7,), 1: (8,), 2: (7,), 3: (7,)})

    def test_deleted(self) -> None:
        """
        The partitions of a deleted topic cannot be reassigned.
        """
        topic = self.create([7])
        self.cluster.delete(topic)
        self.failureResultOf(begin(self.topics.reassign(topic, {0: [8]})), UnknownTopicOrPartition)
