"""
Tests of `kafscale.cluster.spread`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.cluster.spread import apportion, leaders
from kafscale.interfaces import Broker, Phase


def broker(number: int, rack: str | None = None, weight: float = 1.0) -> Broker:
    """
    Return a serving broker.
    """
    return Broker(number, "h", 1, rack, weight=weight)


BROKERS = st.lists(
    st.builds(
        broker,
        st.integers(0, 20),
        st.sampled_from([None, "a", "b", "c"]),
        st.floats(0.1, 10.0),
    ),
    min_size=1,
    max_size=9,
    unique_by=lambda each: each.broker_id,
)


class LeadersTests(SynchronousTestCase):
    """
    The leaders of the partitions of a topic.
    """

    def counts(self, parts: int, brokers: Sequence[Broker], name: str = "t") -> dict[int, int]:
        """
        Return the number of partitions of each broker.
        """
        return Counter(leaders(name, parts, brokers))

    def test_nobody(self) -> None:
        """
        Without brokers, or with leaving ones only, there are no leaders.
        """
        self.assertEqual(leaders("t", 2, []), [-1, -1])
        self.assertEqual(leaders("t", 1, [Broker(1, "h", 1, phase=Phase.LEAVING)]), [-1])

    def test_alone(self) -> None:
        """
        A single broker leads all partitions, also while it starts.
        """
        alone = [Broker(4, "h", 1, phase=Phase.STARTING)]
        self.assertEqual(leaders("t", 3, alone), [4, 4, 4])

    def test_leaving(self) -> None:
        """
        A leaving broker leads none.
        """
        both = [broker(1), Broker(2, "h", 1, phase=Phase.LEAVING)]
        self.assertEqual(leaders("t", 3, both), [1, 1, 1])

    def test_forever(self) -> None:
        """
        The assignment must never change, because brokers of different versions must agree.
        """
        brokers = [broker(1), broker(2), broker(3)]
        name = "6d6f7265-2074-6861-6e20-6f6e65206f66"
        self.assertEqual(leaders(name, 6, brokers), [2, 2, 1, 3, 3, 1])

    @given(BROKERS, st.integers(0, 40), st.text(max_size=8))
    def test_even(self, brokers: Sequence[Broker], parts: int, name: str) -> None:
        """
        In any order, each broker and each rack has its proportion of partitions, give or
        take one.
        """
        found = leaders(name, parts, brokers)
        self.assertEqual(found, leaders(name, parts, brokers[::-1]))
        whole = sum(each.weight for each in brokers)
        racks: Counter[str | None] = Counter()
        weights: Counter[str | None] = Counter()
        for each in brokers:
            racks[each.rack] += list(found).count(each.broker_id)
            weights[each.rack] += each.weight  # type: ignore[assignment]
        self.assertEqual(sum(racks.values()), parts)
        for rack, weight in weights.items():
            self.assertLess(abs(racks[rack] - parts * weight / whole), 1 + 1e-6)
        for each in brokers:
            in_rack = each.weight / weights[each.rack]
            have = list(found).count(each.broker_id)
            self.assertLess(abs(have - racks[each.rack] * in_rack), 1 + 1e-6)

    @given(BROKERS, st.integers(1, 20), st.data())
    def test_assigned(self, brokers: Sequence[Broker], parts: int, data: st.DataObject) -> None:
        """
        The first living broker of a list leads. The other parts are divided so that each
        broker has its share of all parts, if it has no more than that by hand.
        """
        broker_id = st.integers(0, 25)
        lists = st.lists(broker_id, min_size=1, max_size=3, unique=True)
        replicas = data.draw(st.dictionaries(st.integers(0, parts - 1), lists))
        found = leaders("t", parts, brokers, replicas)
        living = {each.broker_id for each in brokers}
        by_hand: Counter[int] = Counter()
        for part, assigned in replicas.items():
            if first := [each for each in assigned if each in living][:1]:
                self.assertEqual([found[part]], first)
                by_hand += Counter(first)
        even = Counter(leaders("t", parts, brokers))
        have = Counter(found)
        self.assertEqual(sum(have[each] for each in living), parts)
        if all(by_hand[each] <= even[each] for each in living):
            self.assertEqual(have, even)
        for each in living:
            if by_hand[each] > even[each]:
                self.assertEqual(have[each], by_hand[each])

    def test_assigned_to_all_but_one(self) -> None:
        """
        Two brokers with more than their share leave the rest to the third.
        """
        brokers = [broker(1), broker(2), broker(3)]
        replicas = {0: [1], 1: [1], 2: [1], 3: [2], 4: [2], 5: [9, 2]}
        self.assertEqual(leaders("t", 7, brokers, replicas), [1, 1, 1, 2, 2, 2, 3])
        leaving = Broker(1, "h", 1, phase=Phase.LEAVING)
        self.assertNotIn(1, leaders("t", 7, [leaving, *brokers[1:]], replicas))

    def test_little_moves(self) -> None:
        """
        When a broker is added, hardly more partitions move than it gets, and they come
        from all brokers.
        """
        for parts, allowed in ((12, 2.0), (48, 1.4), (200, 1.25)):
            moved = 0
            for topic in range(50):
                before = leaders(f"{topic}", parts, [broker(n) for n in range(4)])
                after = leaders(f"{topic}", parts, [broker(n) for n in range(5)])
                moved += sum(old != new for old, new in zip(before, after, strict=True))
            self.assertLess(moved / 50, parts / 5 * allowed)

    def test_small_topics(self) -> None:
        """
        Topics with one partition are spread in proportion to weights, too.
        """
        brokers = [broker(1), broker(2), broker(3, weight=2.0)]
        counts = Counter(leaders(f"{topic}", 1, brokers)[0] for topic in range(4000))
        for number, share in ((1, 1000), (2, 1000), (3, 2000)):
            self.assertLess(abs(counts[number] - share), 150)

    def test_racks(self) -> None:
        """
        Of three partitions over three racks of two brokers, each rack has one.
        """
        brokers = [broker(n, "abc"[n % 3]) for n in range(6)]
        for topic in range(50):
            racks = {"abc"[each % 3] for each in leaders(f"{topic}", 3, brokers)}
            self.assertEqual(len(racks), 3)


class ApportionTests(SynchronousTestCase):
    """
    Numbers in proportion to weights.
    """

    def test_exact(self) -> None:
        """
        Exact proportions are kept.
        """
        weights = {"a": 1.0, "b": 2.0, "c": 3.0}
        self.assertEqual(apportion("t", 12, weights), {"a": 2, "b": 4, "c": 6})
