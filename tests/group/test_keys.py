"""
Where groups are in the metadata store, and what stands there.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.format.partition import TopicIdPartition
from kafscale.group import keys
from kafscale.group.records import offset_from, offset_value
from kafscale.interfaces import CommittedOffset

NAMES = st.text(st.characters(codec="utf-8"))
PLACES = st.tuples(st.uuids(), st.integers(0, 2**31 - 1))


class KeyTests(SynchronousTestCase):
    """
    Keys, there and back.
    """

    def test_stay(self) -> None:
        """
        These never change: they say where groups are in stores that exist.
        """
        self.assertEqual(keys.SHARDS, 16)
        self.assertEqual(keys.shard(keys.shard_of("orders")), "group-shards/14")
        self.assertEqual(keys.group("orders"), "groups/14/orders")
        self.assertEqual(keys.group("a/b c\u00fc"), "groups/12/a%2Fb%20c%C3%BC")
        self.assertEqual(keys.offsets_of("orders"), "offsets/14/orders/")

    @given(NAMES)
    def test_groups(self, name: str) -> None:
        """
        Any text is a name, and stands in one part of the key.
        """
        key = keys.group(name)
        self.assertTrue(key.startswith(keys.groups(keys.shard_of(name))))
        self.assertEqual(len(key.split("/")), 3)
        self.assertEqual(keys.group_of(key), name)

    @given(NAMES, PLACES)
    def test_offsets(self, name: str, where: TopicIdPartition) -> None:
        """
        Group and partition can be told from the key.
        """
        key = keys.offset(keys.offsets_of(name), where)
        self.assertTrue(key.startswith(keys.offsets(keys.shard_of(name))))
        self.assertEqual(keys.offset_of(key), (name, where))

    @given(
        st.builds(
            CommittedOffset,
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-(2**31), 2**31 - 1),
            st.text(st.characters(codec="utf-8")),
            st.integers(0, 2**63 - 1),
            st.integers(-1, 2**63 - 1),
        )
    )
    def test_commits(self, commit: CommittedOffset) -> None:
        """
        All of a commit is kept.
        """
        self.assertEqual(offset_from(offset_value(commit)), commit)
