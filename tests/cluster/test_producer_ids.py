"""
Tests of `kafscale.cluster.producer_ids`.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kafscale.cluster.producer_ids import ProducerIds
from kafscale.errors import StoreUnavailable
from kafscale.format import metadata_keys
from kafscale.format.cluster import IDS_PER_REVISION, first_id_after
from kafscale.interfaces import Compare, IProducerIds, Put
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from tests.harness.coroutines import begin, now
from tests.harness.hostile import HostileMetadataStore, Verdict, let_pass

KEY = metadata_keys.PRODUCER_IDS


class ProducerIdTests(SynchronousTestCase):
    """
    No producer id is given twice, and ids are in the order of commits.
    """

    def setUp(self) -> None:
        """
        Open a metadata store in memory.
        """
        self.store = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: now(self.store.close()))

    def take(self, ids: ProducerIds, count: int = 1) -> list[int]:
        """
        Return a number of new ids.
        """
        asked = [begin(ids.new()) for _ in range(count)]
        return self.successResultOf(gatherResults(asked))

    def commit(self) -> int:
        """
        Return the revision of another commit, such as the creation of a topic.
        """
        return now(self.store.commit([], [Put("topics/x", {})]))

    def test_interface(self) -> None:
        """
        The object provides its interface.
        """
        self.assertTrue(verifyObject(IProducerIds, ProducerIds(self.store)))

    def test_in_order(self) -> None:
        """
        Later ids are higher, whichever broker gives them.
        """
        one, two = ProducerIds(self.store), ProducerIds(self.store)
        given = [*self.take(one, 2), *self.take(two, 4), *self.take(one), *self.take(two)]
        self.assertEqual(given, sorted(set(given)))

    def test_commits_divide_ids(self) -> None:
        """
        Ids given before a commit are below L{first_id_after} of its revision, and those
        asked for after it are not; on every broker, whatever was asked of it before.
        """
        brokers = [ProducerIds(self.store) for _ in range(2)]
        for count in (1, 3, 2500, 1):
            before = [each for ids in brokers for each in self.take(ids, count)]
            mark = first_id_after(self.commit())
            after = [each for ids in reversed(brokers) for each in self.take(ids, count)]
            self.assertLess(max(before), mark)
            self.assertGreaterEqual(min(after), mark)

    def test_after_an_earlier_version(self) -> None:
        """
        So it is with the ids of version 0.1, which took blocks of 1000 from 0 on with a
        commit each: none is given again, and later commits divide them, too.
        """
        for block in range(5):
            entry = now(self.store.get(KEY))
            compare = Compare(KEY, 0 if entry is None else entry.revision)
            now(self.store.commit([compare], [Put(KEY, 1000 * (block + 1))]))
        mark = first_id_after(self.commit())
        self.assertLess(5000, mark)
        (given,) = self.take(ProducerIds(self.store))
        self.assertGreaterEqual(given, mark)

    @given(st.lists(st.sampled_from(["old", "new", "many", "topic"]), max_size=30))
    @settings(max_examples=50, deadline=None)
    def test_beside_an_earlier_version(self, steps: list[str]) -> None:
        """
        While brokers of both versions give ids, none is given twice, and none that was
        given before a topic was created is taken for a later one.
        """
        store = SQLiteMetadataStore(":memory:", at_once)
        ids = ProducerIds(store)
        given: list[int] = []
        for step in steps:
            if step == "topic":
                revision = now(store.commit([], [Put("topics/x", {})]))
                self.assertLess(max(given, default=-1), first_id_after(revision))
            elif step == "old":
                entry = now(store.get(KEY))
                first, at = (0, 0) if entry is None else (entry.value, entry.revision)
                now(store.commit([Compare(KEY, at)], [Put(KEY, first + 1000)]))
                given += [first, first + 999]
            else:
                given += self.take(ids, 1 if step == "new" else IDS_PER_REVISION + 1)
        self.assertEqual(len(set(given)), len(given))
        now(store.close())

    def test_stored(self) -> None:
        """
        The entry has the first id that was not given out.
        """
        for count in (1, 3):
            given = self.take(ProducerIds(self.store), count)
            entry = now(self.store.get(KEY))
            assert entry is not None
            self.assertEqual(given[-1] + 1, entry.value)

    def test_copied_to_another_store(self) -> None:
        """
        No id is given again if the entry is higher than the revisions of the store.
        """
        now(self.store.commit([], [Put(KEY, 10**9)]))
        self.assertEqual(self.take(ProducerIds(self.store)), [10**9])

    def test_served_together(self) -> None:
        """
        Producers that ask while ids are being allocated wait for the next allocation,
        and share it: only then it is certain that their ids are high enough.
        """
        hostile = HostileMetadataStore(self.store)
        ids = ProducerIds(hostile)
        asked = [begin(ids.new()) for _ in range(6)]
        mark = first_id_after(self.commit())
        self.assertEqual([each.kind for each in hostile.pending], ["range"])
        for _ in range(4):
            (operation,) = hostile.pending
            operation.succeed()
        self.assertEqual(hostile.pending, [])
        given = self.successResultOf(gatherResults(asked))
        self.assertEqual(given[1:], list(range(given[1], given[1] + 5)))
        self.assertGreaterEqual(given[1], mark)

    def test_lost_answer(self) -> None:
        """
        After a commit of unknown outcome all that wait for it get the error, and what may
        have been allocated is not given to others.
        """
        hostile = HostileMetadataStore(self.store)
        ids = ProducerIds(hostile)
        hostile.policy = lambda operation: (
            Verdict.FAIL_BUT_APPLY if operation.kind == "commit" else Verdict.SUCCEED
        )
        self.failureResultOf(begin(ids.new()), StoreUnavailable)
        entry = now(self.store.get(KEY))
        assert entry is not None
        hostile.policy = let_pass
        self.assertGreaterEqual(self.take(ids)[0], entry.value)

    def test_another_was_faster(self) -> None:
        """
        A broker whose commit fails, because another one has given out ids meanwhile,
        allocates later ones.
        """
        hostile = HostileMetadataStore(self.store)
        asking = begin(ProducerIds(hostile).new())
        hostile.pending[0].succeed()  # it has read that none was given
        (other,) = self.take(ProducerIds(self.store))
        hostile.policy = let_pass
        hostile.pending[0].succeed()
        self.assertGreater(self.successResultOf(asking), other)

    def test_cancelled(self) -> None:
        """
        A producer that is gone does not keep the others from their ids.
        """
        hostile = HostileMetadataStore(self.store)
        ids = ProducerIds(hostile)
        first, second = begin(ids.new()), begin(ids.new())
        first.cancel()
        self.failureResultOf(first)
        hostile.policy = let_pass
        hostile.pending[0].succeed()
        self.assertGreaterEqual(self.successResultOf(second), 0)
