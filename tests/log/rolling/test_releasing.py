"""
Tests for L{kafscale.log.rolling.releasing}: a living leader hands over partitions.
"""

from __future__ import annotations

from unittest import mock

from twisted.internet.defer import CancelledError, Deferred

from kafscale.errors import NotLeaderOrFollower, StoreError
from kafscale.format import metadata_keys
from tests.harness.coroutines import begin
from tests.harness.hostile import Operation, Verdict, hold
from tests.log.brokers import (
    EACH,
    TOPIC,
    WHERE,
    Broker,
    BrokerTestCase,
    append_to,
    batch,
    everybody_is_gone,
    nobody_is_gone,
)

OTHER = (TOPIC, 1)


class ReleaseTests(BrokerTestCase):
    """
    Two living brokers: the second claims what the first releases.
    """

    def setUp(self) -> None:
        """
        Let the first broker lead two partitions, and the second none.
        """
        super().setUp()
        self.first = self.leader([WHERE, OTHER])
        self.second = self.broker(broker_id=2)

    def release(self, *wanted: tuple[object, int]) -> Deferred[None]:
        """
        Start to release the first broker's partitions.
        """
        return begin(self.first.log.release(wanted or [WHERE]))  # type: ignore[arg-type]

    def take(self, broker: Broker | None = None) -> bool:
        """
        Let another broker claim; return whether it leads then.
        """
        broker = broker or self.second
        claiming = begin(broker.log.claim([WHERE], nobody_is_gone))
        broker.run()
        self.successResultOf(claiming)
        return broker.log.leads(WHERE)

    def appending(self) -> tuple[Broker, Deferred[None]]:
        """
        Start the first broker anew, with an append that is under way to the
        store; return what fires when the append is durable.
        """
        self.first = self.leader(**EACH)
        self.first.obey(hold("create", "/journal/"))
        settled = self.first.append(b"a").settled
        assert settled is not None
        return self.first, settled.wait()

    def test_nothing_of_the_living_is_taken(self) -> None:
        """
        A claim on a partition with a living leader gets nothing, and stops
        nothing.
        """
        self.first.append(b"a")
        self.first.run()
        self.assertFalse(self.take())
        self.assertIsNone(self.shared.value(metadata_keys.seal(self.first.incarnation)))
        self.assertEqual(self.first.append(b"b").base_offset, 1)

    def test_handed_over(self) -> None:
        """
        All appended records are there, under the next epoch. Nothing is sealed,
        and nothing of the first broker's journal is needed.
        """
        self.first.append(b"a")
        self.first.run()
        releasing = self.release()
        self.first.run()
        self.successResultOf(releasing)
        self.assertEqual(self.first.log.led(), (OTHER,))
        record = self.shared.record()
        self.assertEqual((record.leader, record.incarnation, record.epoch), (-1, 0, 0))
        self.assertEqual((record.rolled_to, record.journals), (1, ()))
        self.assertEqual(self.shared.slots(self.first.incarnation), [])
        self.assertTrue(self.take())
        self.assertIsNone(self.shared.value(metadata_keys.seal(self.first.incarnation)))
        self.assertEqual(self.second.partition().leader_epoch, 1)
        self.assertEqual(self.second.append(b"b").base_offset, 1)
        self.second.run()
        self.assertEqual(self.read_all(self.second), [b"a", b"b"])

    def test_many_at_once(self) -> None:
        """
        Many partitions are released by one commit.
        """
        wanted = [(TOPIC, index) for index in range(40)]
        claiming = begin(self.first.log.claim(wanted, nobody_is_gone))
        self.first.run()
        self.successResultOf(claiming)
        commits: list[str] = []

        def count(operation: Operation) -> Verdict:
            if operation.kind == "commit":
                commits.append(operation.key)
            return Verdict.SUCCEED

        self.first.obey(count)
        releasing = self.release(*wanted)
        self.first.run()
        self.successResultOf(releasing)
        self.assertEqual(len(commits), 1)
        self.assertEqual(self.first.log.led(), ())

    def test_sequences(self) -> None:
        """
        The next leader knows the sequences of producers.
        """
        self.first.append(b"a", producer=5, sequence=0)
        self.first.run()
        self.release()
        self.first.run()
        self.assertTrue(self.take())
        partition = self.second.partition()
        self.second.run()
        again = append_to(partition, batch(b"a", producer=5, sequence=0))
        self.assertEqual((again.base_offset, again.settled), (0, None))

    def test_appended_while_it_is_rolled(self) -> None:
        """
        Producers continue during the first roll, and what they append then is
        released, too.
        """
        self.first.append(b"a")
        self.first.run()
        self.first.obey(hold("create", "/topics/"))
        releasing = self.release()
        self.first.append(b"b")
        self.first.obey(hold("commit", "nothing"))
        self.first.run()
        self.successResultOf(releasing)
        self.assertTrue(self.take())
        self.assertEqual(self.read_all(self.second), [b"a", b"b"])

    def test_17_released_only_after_everything_is_settled(self) -> None:
        """
        While an append is under way the partition is not released, and refuses
        further appends; the one under way is answered.
        """
        first, told = self.appending()
        releasing = self.release()
        first.clock.advance(1)
        self.assertNoResult(releasing)
        self.assertEqual(self.shared.record().leader, 1)
        self.assertRaises(NotLeaderOrFollower, first.append, b"b")
        first.obey(hold("commit", "nothing"))
        first.run()
        self.successResultOf(told)
        self.successResultOf(releasing)
        self.assertTrue(self.take())
        self.assertEqual(self.read_all(self.second), [b"a"])

    def test_18_who_does_not_know_whether_it_released_leads_no_more(self) -> None:
        """
        After an unknown outcome only a new claim resumes, in the next epoch.
        """
        self.first.append(b"a")
        self.first.run()
        partition = self.first.partition()

        rolling = begin(self.first.roll(partition))
        self.first.run()
        self.successResultOf(rolling)
        self.first.metadata.policy = lambda operation: (
            Verdict.FAIL_BUT_APPLY
            if operation.kind == "commit"
            else None  # and its outcome is never answered
        )
        releasing = self.release()
        self.first.clock.advance(5)
        self.assertNoResult(releasing)
        self.assertRaises(NotLeaderOrFollower, append_to, partition, batch(b"b"))
        self.assertEqual(self.shared.record().leader, -1)
        self.first.obey(hold("commit", "nothing"))
        self.first.run()
        self.successResultOf(releasing)
        self.assertFalse(self.first.log.leads(WHERE))
        self.assertTrue(self.take(self.first))
        self.assertEqual(self.first.partition().leader_epoch, 1)

    def test_given_up(self) -> None:
        """
        A release that is given up, because the lock of a partition is held,
        leaves all partitions as they were.
        """
        self.first.recover([WHERE, (TOPIC, 1)])
        self.first.run()
        one, other = self.first.partition(), self.first.partition((TOPIC, 1))
        self.assertTrue(other.lock.acquire().called)
        releasing = begin(self.first.log.release([WHERE, (TOPIC, 1)]))
        self.first.run()
        self.assertNoResult(releasing)
        releasing.addErrback(lambda failure: failure.trap(CancelledError))
        releasing.cancel()
        self.assertFalse(one.lock.locked)
        self.assertFalse(one.closed or one.dropped)
        other.lock.release()

    def test_given_up_beside_another(self) -> None:
        """
        A release that is given up does not let producers append to a partition that
        another release is about to hand over.
        """
        waited_for = self.first.partition(OTHER)
        self.assertTrue(waited_for.lock.acquire().called)
        given_up = self.release(OTHER, WHERE).addErrback(
            lambda failure: failure.trap(CancelledError)
        )
        self.first.obey(hold("commit", metadata_keys.PARTITIONS))
        releasing = self.release()
        given_up.cancel()
        self.assertRaises(NotLeaderOrFollower, self.first.append, b"lost")
        self.first.settle()
        self.first.run()
        self.successResultOf(releasing)
        waited_for.lock.release()
        self.assertTrue(self.take())

    def test_heard_of_by_the_next_first(self) -> None:
        """
        The release is done, and the next leader has claimed, before the answer
        comes: that does not fence the first broker.
        """
        self.first.obey(hold("commit", metadata_keys.PARTITIONS))
        releasing = self.release()
        [commit] = self.first.pending("commit")
        commit.apply()
        self.assertTrue(self.take())
        self.first.log.recorded(WHERE, 1)
        commit.succeed()
        self.first.run()
        self.successResultOf(releasing)
        self.assertFalse(self.first.fenced)
        self.assertFalse(self.first.log.leads(WHERE))
        self.assertTrue(self.first.log.leads(OTHER))

    def test_store_fails(self) -> None:
        """
        Partitions whose roll fails are led as before.
        """
        self.first.append(b"a")
        self.first.run()
        with mock.patch.object(self.first.objects, "create", side_effect=StoreError("no room")):
            releasing = self.release()
            self.first.run()
        self.failureResultOf(releasing, StoreError)
        self.first.obey(hold("commit", "nothing"))
        self.assertEqual(self.first.append(b"b").base_offset, 1)

    def test_confirmed(self) -> None:
        """
        A broker that was replaced and has not noticed finds out when it is asked
        to confirm.
        """
        partition = self.first.partition()
        confirming = begin(partition.confirm())
        self.first.run()
        self.successResultOf(confirming)
        self.leader(broker_id=2)
        confirming = begin(partition.confirm())
        self.first.run()
        self.failureResultOf(confirming, NotLeaderOrFollower)
        self.assertTrue(self.first.fenced)

    def test_left_behind(self) -> None:
        """
        A broker that has released everything and died has a journal that no
        record names; it is cleared up all the same.
        """
        self.first.append(b"a")
        self.first.run()
        self.release(WHERE, OTHER)
        self.first.run()
        self.first.crash()
        clearing = begin(self.second.log.clear_up(nobody_is_gone))
        self.second.run()
        self.successResultOf(clearing)
        self.assertIsNone(self.shared.value(metadata_keys.seal(self.first.incarnation)))
        clearing = begin(self.second.log.clear_up(everybody_is_gone))
        self.second.run()
        self.successResultOf(clearing)
        record = self.shared.value(metadata_keys.incarnation(self.first.incarnation))
        self.assertTrue(record["wound_up"])
        self.assertFalse(self.second.fenced)

    def test_fenced_meanwhile(self) -> None:
        """
        A broker that is fenced during a release has nothing to release.
        """
        first, told = self.appending()
        releasing = self.release()
        successor = self.leader(broker_id=2)
        first.obey(hold("commit", "nothing"))
        first.run()
        self.failureResultOf(told, NotLeaderOrFollower)
        self.successResultOf(releasing)
        self.assertTrue(first.fenced)
        self.assertEqual(self.shared.record().leader, 2)
        self.assertEqual(successor.append(b"b").base_offset, 0)
