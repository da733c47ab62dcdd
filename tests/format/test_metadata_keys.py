"""
The keys of the metadata store.
"""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format import metadata_keys
from kafscale.format.partition import TopicIdPartition

NAMES = st.text(st.characters(codec="utf-8"))
PLACES = st.tuples(st.uuids(), st.integers(0, 2**31 - 1))


TOPIC = UUID("0828a36b-12d3-45d3-a145-2ad2cf97bb89")


class LayoutTests(SynchronousTestCase):
    """
    Layouts of keys, which never change: they say where the entries of stores
    that exist are.
    """

    def test_brokers(self) -> None:
        """
        A registration, an incarnation's record and its seal.
        """
        self.assertEqual(metadata_keys.broker(7), "brokers/7")
        self.assertEqual(metadata_keys.incarnation(15), "incarnations/00000000000000000015")
        self.assertEqual(metadata_keys.seal(15), "seals/00000000000000000015")

    def test_topics(self) -> None:
        """
        A topic under its id and its name, its tombstone, and a partition.
        """
        self.assertEqual(metadata_keys.name("clicks"), "names/clicks")
        self.assertEqual(metadata_keys.topic(TOPIC), f"topics/{TOPIC}")
        self.assertEqual(metadata_keys.tombstone(TOPIC), f"tombstones/{TOPIC}")
        self.assertEqual(metadata_keys.partition(TOPIC, 2), f"partitions/{TOPIC}/0000000002")
        self.assertTrue(
            metadata_keys.partition(TOPIC, 2).startswith(metadata_keys.partitions(TOPIC))
        )

    def test_single(self) -> None:
        """
        Entries that are the only ones of their kind.
        """
        self.assertEqual(metadata_keys.CLUSTER_ID, "cluster/id")
        self.assertEqual(metadata_keys.LAST_INCARNATION, "last-incarnation")
        self.assertEqual(metadata_keys.LOWEST_INCARNATION, "lowest-incarnation")
        self.assertEqual(metadata_keys.PRODUCER_IDS, "producer-ids")
        self.assertEqual(metadata_keys.MILESTONES, "milestones")
        self.assertEqual(metadata_keys.LOGIN_SECRET, "login-secret")

    def test_users(self) -> None:
        """
        A user, whose name may be any text.
        """
        self.assertEqual(metadata_keys.user("a/b,\u00fc"), "users/a%2Fb%2C%C3%BC")

    def test_delegation_tokens(self) -> None:
        """
        A token. Clients may log in with any text for its id.
        """
        self.assertEqual(metadata_keys.delegation_token("1-a/b"), "delegation-tokens/1-a%2Fb")

    def test_groups(self) -> None:
        """
        A shard, a group in it, and the offsets that the group has committed.
        """
        self.assertEqual(metadata_keys.SHARDS, 16)
        self.assertEqual(
            metadata_keys.group_shard(metadata_keys.shard_of("orders")), "group-shards/14"
        )
        self.assertEqual(metadata_keys.group("orders"), "groups/14/orders")
        self.assertEqual(metadata_keys.group("a/b c\u00fc"), "groups/12/a%2Fb%20c%C3%BC")
        self.assertEqual(metadata_keys.offsets_of("orders"), "offsets/14/orders/")


    def test_transactional_ids(self) -> None:
        """
        A transactional id is in the shard of the group that has the same name.
        """
        self.assertEqual(metadata_keys.transactional_id("orders"), "transactional-ids/14/orders")
        self.assertEqual(
            metadata_keys.transactional_id("a/b c\u00fc"), "transactional-ids/12/a%2Fb%20c%C3%BC"
        )


class ParsingTests(SynchronousTestCase):
    """
    Keys, there and back.
    """

    def test_kinds(self) -> None:
        """
        The kind of an entry is what its key begins with.
        """
        self.assertEqual(
            metadata_keys.kind_of(metadata_keys.broker(7)), metadata_keys.BROKERS
        )
        self.assertEqual(
            metadata_keys.kind_of(metadata_keys.group_shard(5)), metadata_keys.GROUP_SHARDS
        )
        self.assertEqual(metadata_keys.kind_of(metadata_keys.PRODUCER_IDS), "")

    @given(st.integers(0, 2**31 - 1), st.integers(1, 2**63 - 1))
    def test_brokers(self, broker_id: int, incarnation: int) -> None:
        """
        Broker and incarnation are read from the key.
        """
        self.assertEqual(metadata_keys.broker_of(metadata_keys.broker(broker_id)), broker_id)
        for key in (metadata_keys.incarnation(incarnation), metadata_keys.seal(incarnation)):
            self.assertEqual(metadata_keys.incarnation_of(key), incarnation)

    @given(PLACES)
    def test_partitions(self, where: TopicIdPartition) -> None:
        """
        Topic and partition are read from the key.
        """
        self.assertEqual(metadata_keys.partition_of(metadata_keys.partition(*where)), where)
        for key in (metadata_keys.topic(where[0]), metadata_keys.tombstone(where[0])):
            self.assertEqual(metadata_keys.topic_of(key), where[0])

    @given(NAMES)
    def test_groups(self, name: str) -> None:
        """
        Any text is a name, and stands in one part of the key.
        """
        key = metadata_keys.group(name)
        self.assertTrue(key.startswith(metadata_keys.groups(metadata_keys.shard_of(name))))
        self.assertEqual(len(key.split("/")), 3)
        self.assertEqual(metadata_keys.group_of(key), name)

    @given(NAMES)
    def test_transactional_ids(self, name: str) -> None:
        """
        So it is with transactional ids.
        """
        key = metadata_keys.transactional_id(name)
        shard = metadata_keys.shard_of(name)
        self.assertTrue(key.startswith(metadata_keys.transactional_ids(shard)))
        self.assertEqual(len(key.split("/")), 3)
        self.assertEqual(metadata_keys.transactional_id_of(key), name)

    @given(NAMES)
    def test_token_ids(self, token_id: str) -> None:
        """
        Any text may be asked for, and stands in one part of the key.
        """
        key = metadata_keys.delegation_token(token_id)
        self.assertEqual(len(key.split("/")), 2)
        self.assertEqual(metadata_keys.delegation_token_of(key), token_id)

    @given(NAMES)
    def test_user_names(self, name: str) -> None:
        """
        Any text is a name, and stands in one part of the key.
        """
        key = metadata_keys.user(name)
        self.assertEqual(len(key.split("/")), 2)
        self.assertEqual(metadata_keys.user_of(key), name)

    @given(NAMES, PLACES)
    def test_offsets(self, name: str, where: TopicIdPartition) -> None:
        """
        Group and partition are read from the key.
        """
        key = metadata_keys.offset(metadata_keys.offsets_of(name), where)
        self.assertTrue(key.startswith(metadata_keys.offsets(metadata_keys.shard_of(name))))
        self.assertEqual(metadata_keys.offset_of(key), (name, where))
