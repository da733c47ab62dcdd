"""
Fetches that are repeated: what the previous one found is used again, as long as
nothing has changed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred, maybeDeferred

from kafscale import errors
from kafscale.interfaces import RequestContext
from kafscale.wire.messages import FetchRequest, FetchResponse
from tests.harness.sessions import SESSION
from tests.log.fakes import FakePartition
from tests.services.records.fetching import FetchCase, at


class RepeatedCase(FetchCase):
    """
    A consumer of partitions 0 and 1 that repeats its request.
    """

    version = 12

    def setUp(self) -> None:
        """
        Create the topic, and count checks of partitions.
        """
        super().setUp()
        self.checks = 0
        find = self.log.partition

        def counted(topic_id: UUID, index: int) -> FakePartition:
            self.checks += 1
            return find(topic_id, index)

        self.patch(self.log, "partition", counted)
        self.say(at(0, 0), at(1, 0))

    def say(self, *parts: Any, **fields: Any) -> None:
        """
        Repeat this request from now on, on this connection.
        """
        self.same = self.request(*parts, **fields)
        self.context = RequestContext(self.version, None, "", object(), SESSION)

    def poll(self, meanwhile: Callable[[], object] = lambda: None) -> FetchResponse:
        """
        The response, after half a second if it does not come at once.
        """
        found: Any = maybeDeferred(self.service.fetch, self.same, self.context)
        meanwhile()
        self.clock.advance(0)
        if not found.called:
            self.clock.advance(0.6)
        response: FetchResponse = self.successResultOf(found)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return response

    def shown(self, response: Any) -> list[tuple[int, int, int, int, int]]:
        """
        Of each partition: index, error code, bytes, high watermark and log
        start offset.
        """
        self.assertEqual(response.error_code, 0)
        return [
            (
                part.partition_index,
                part.error_code,
                sum(len(piece) for piece in part.records),
                part.high_watermark,
                part.log_start_offset,
            )
            for topic in response.responses
            for part in topic.partitions
        ]


class WithoutSessionTests(RepeatedCase):
    """
    Each request names all partitions.
    """

    def setUp(self) -> None:
        """
        The consumer has fetched once, and found nothing.
        """
        super().setUp()
        self.nothing = self.poll()
        self.assertEqual(self.shown(self.nothing), [(0, 0, 0, 0, 0), (1, 0, 0, 0, 0)])
        self.checks = 0

    def test_the_same(self) -> None:
        """
        No partition is checked again, and the response is the same object.
        """
        for _ in range(3):
            self.assertIs(self.poll(), self.nothing)
        self.assertEqual(self.checks, 0)

    def test_records_between(self) -> None:
        """
        Records that come between two requests are answered at once, and so are
        later ones.
        """
        self.partition(1).put(b"abc")
        self.assertEqual(self.shown(self.poll()), [(0, 0, 0, 0, 0), (1, 0, 3, 1, 0)])
        self.partition(0).put(b"ab")
        self.assertEqual(self.shown(self.poll()), [(0, 0, 2, 1, 0), (1, 0, 3, 1, 0)])

    def test_records_meanwhile(self) -> None:
        """
        Records that come while the second request waits end its wait.
        """
        response = self.poll(lambda: self.partition(1).put(b"abc"))
        self.assertEqual(self.shown(response), [(0, 0, 0, 0, 0), (1, 0, 3, 1, 0)])

    def test_not_enough_meanwhile(self) -> None:
        """
        Records that are not enough to end the wait are in the response when the
        time is over.
        """
        self.say(at(0, 0), at(1, 0), min_bytes=10)
        self.poll()
        response = self.poll(lambda: self.partition(1).put(b"abc"))
        self.assertEqual(self.shown(response), [(0, 0, 0, 0, 0), (1, 0, 3, 1, 0)])

    def test_log_start(self) -> None:
        """
        A log start offset that moves past the offset of the request is an error
        at once, between requests and during a wait.
        """
        for index, meanwhile in ((0, False), (1, True)):
            partition = self.partition(index)
            partition.next_offset = 5

            def move() -> None:
                partition.log_start = 5  # noqa: B023
                partition.show(5)  # noqa: B023

            if meanwhile:
                self.say(at(1, 0))
                self.poll()
                response = self.poll(move)
            else:
                move()
                response = self.poll()
            self.assertEqual(self.shown(response)[0], (index, 1, 0, -1, -1))

    def test_topic_deleted(self) -> None:
        """
        A deleted topic is noticed before its partitions are dropped, and a new
        one with its name is found.
        """
        self.cluster.delete(self.topic)
        self.assertEqual([each[1] for each in self.shown(self.poll())], [3, 3])
        self.topic = self.cluster.now(self.cluster.topics.create("orders", 4, {}))
        self.assertEqual([each[1] for each in self.shown(self.poll())], [0, 0])
        self.partition(0).put(b"new")
        self.assertEqual(self.shown(self.poll())[0], (0, 0, 3, 1, 0))

    def test_topic_deleted_while_it_waits(self) -> None:
        """
        A topic that is deleted during a wait is noticed when the time is over,
        at the latest.
        """
        response = self.poll(lambda: self.cluster.delete(self.topic))
        self.assertEqual([each[1] for each in self.shown(response)], [3, 3])

    def test_leader_changes(self) -> None:
        """
        Another broker leads, and then this one again.
        """
        where = (self.topic.topic_id, 0)
        before = self.partition(0)
        before.dropped = True
        self.log.elsewhere.add(where)
        before.wake()
        self.assertEqual([each[1] for each in self.shown(self.poll())], [6, 0])
        self.log.elsewhere.discard(where)
        del self.log.partitions[where]
        self.partition(0).put(b"here")
        self.assertEqual(self.shown(self.poll())[0], (0, 0, 4, 1, 0))

    def test_dropped_and_still_there(self) -> None:
        """
        A fetch does not wait for a partition that was dropped, as that would
        never wake it.
        """
        self.partition(0).dropped = True
        self.partition(0).wake()
        self.assertEqual([each[1] for each in self.shown(self.poll())], [6, 0])

    def test_errors_are_not_kept(self) -> None:
        """
        An error is not used again.
        """
        self.say(at(0, 3))
        self.assertEqual(self.shown(self.poll()), [(0, 1, 0, -1, -1)])
        self.partition(0).put(b"a", b"b", b"c")
        self.assertEqual(self.shown(self.poll()), [(0, 0, 0, 3, 0)])

    def test_read_fails(self) -> None:
        """
        An error of the store is not used again, either.
        """
        partition = self.partition(0)
        partition.put(b"abc")
        partition.cold = True
        failed = maybeDeferred(self.service.fetch, self.same, self.context)
        partition.loading[-1].errback(errors.StoreUnavailable("away"))
        self.assertEqual(self.shown(self.successResultOf(failed))[0][1], 56)
        partition.cold = False
        self.assertEqual(self.shown(self.poll())[0], (0, 0, 3, 1, 0))

    def test_two_at_once(self) -> None:
        """
        Of two requests that wait at the same time neither uses what the other
        has found.
        """
        both: list[Deferred[Any]] = [
            maybeDeferred(self.service.fetch, self.same, self.context) for _ in range(2)
        ]
        self.partition(0).put(b"abc")
        self.clock.advance(0)
        for each in both:
            self.assertEqual(self.shown(self.successResultOf(each))[0], (0, 0, 3, 1, 0))

    def test_a_session_is_begun_each_time(self) -> None:
        """
        A consumer that begins a session twice gets two sessions, with nothing
        in common.
        """
        self.say(at(0, 0), session_id=0, session_epoch=0)
        first, second = self.poll(), self.poll()
        self.assertNotEqual(first.session_id, second.session_id)
        sessions = self.service._sessions._sessions
        one, other = (sessions[each.session_id].partitions for each in (first, second))
        self.assertIsNot(one["orders", 0], other["orders", 0])

    def test_no_room_for_a_session(self) -> None:
        """
        A consumer that gets no session asks for one again, and gets it when
        there is room.
        """
        self.make(sessions=1)
        begun = self.start(at(1, 0), session_id=0, session_epoch=0, max_wait_ms=0)
        other = self.successResultOf(begun).session_id
        self.say(at(0, 0), session_epoch=0)
        self.assertEqual(self.poll().session_id, 0)
        self.start(session_id=other, session_epoch=-1, max_wait_ms=0)
        self.assertNotEqual(self.poll().session_id, 0)

    def test_nothing_is_left(self) -> None:
        """
        When its connection is gone, the watches are freed without the
        collector.
        """
        self.poll()
        self.assertEqual(len(self.partition(0).watches), 1)
        gc.disable()
        self.addCleanup(gc.enable)
        del self.context
        self.assertEqual(len(self.partition(0).watches), 0)


class InSessionTests(RepeatedCase):
    """
    The session has the partitions.
    """

    def setUp(self) -> None:
        """
        The consumer has got a full response, and then an empty one.
        """
        super().setUp()
        self.say(at(0, 0), at(1, 0), session_epoch=0)
        self.session = self.poll().session_id
        self.epoch = 0
        self.assertEqual(self.shown(self.again()), [])
        self.checks = 0

    def again(
        self, *parts: Any, meanwhile: Callable[[], object] = lambda: None, **fields: Any
    ) -> FetchResponse:
        """
        The response to the next request of the session.
        """
        self.epoch += 1
        self.say(*parts, session_id=self.session, session_epoch=self.epoch, **fields)
        return self.poll(meanwhile)

    def test_the_same(self) -> None:
        """
        No partition is checked again.
        """
        self.assertIs(self.again(), self.again())
        self.assertEqual(self.checks, 0)

    def test_records(self) -> None:
        """
        Records that come between two requests, and during a wait, are in the
        response.
        """
        self.partition(1).put(b"abc")
        self.assertEqual(self.shown(self.again()), [(1, 0, 3, 1, 0)])
        self.assertEqual(self.shown(self.again(at(1, 1))), [])
        response = self.again(meanwhile=lambda: self.partition(0).put(b"ab"))
        self.assertEqual(self.shown(response), [(0, 0, 2, 1, 0)])

    def test_another_offset(self) -> None:
        """
        A partition whose offset the request changes is checked.
        """
        self.assertEqual(self.shown(self.again(at(0, 9))), [(0, 1, 0, -1, -1)])

    def test_added_and_forgotten(self) -> None:
        """
        A partition that is added is checked, and one that is removed is in no
        response any more.
        """
        self.assertEqual(self.shown(self.again(at(2, 0))), [(2, 0, 0, 0, 0)])
        self.assertEqual(self.shown(self.again()), [])
        forgotten = FetchRequest.ForgottenTopic(topic="orders", partitions=[0])
        self.assertEqual(self.shown(self.again(forgotten_topics_data=[forgotten])), [])
        for index in range(3):
            self.partition(index).put(b"x")
        self.assertEqual(self.shown(self.again()), [(1, 0, 1, 1, 0), (2, 0, 1, 1, 0)])

    def test_topic_deleted(self) -> None:
        """
        A deleted topic is an error; records of others come afterwards.
        """
        self.cluster.delete(self.topic)
        self.assertEqual([each[1] for each in self.shown(self.again())], [3, 3])
        self.topic = self.cluster.now(self.cluster.topics.create("orders", 4, {}))
        self.assertEqual(self.shown(self.again()), [(0, 0, 0, 0, 0), (1, 0, 0, 0, 0)])
        self.assertEqual(self.shown(self.again()), [])

    def test_closed_while_it_waits(self) -> None:
        """
        A response does not have the id of a session that was removed meanwhile.
        """
        response = self.again(
            meanwhile=lambda: self.start(
                session_id=self.session, session_epoch=-1, max_wait_ms=0
            )
        )
        self.assertEqual((response.session_id, self.shown(response)), (0, []))

    def test_overtaken(self) -> None:
        """
        Of two requests of a session that wait at the same time, the first is
        refused, and the second gets its records.
        """
        self.epoch += 1
        self.say(session_id=self.session, session_epoch=self.epoch)
        first: Any = maybeDeferred(self.service.fetch, self.same, self.context)
        response = self.again(meanwhile=lambda: self.partition(0).put(b"abc"))
        self.assertEqual(self.shown(response), [(0, 0, 3, 1, 0)])
        self.assertEqual(self.successResultOf(first).error_code, 71)


class InSessionByIdTests(InSessionTests):
    """
    Likewise where topics are named by id.
    """

    version = 13

    def test_added_and_forgotten(self) -> None:
        """
        See L{InSessionTests}; what is forgotten is named by id.
        """
        forgotten = FetchRequest.ForgottenTopic(topic_id=self.topic.topic_id, partitions=[0])
        self.assertEqual(self.shown(self.again(forgotten_topics_data=[forgotten])), [])
        for index in range(2):
            self.partition(index).put(b"x")
        self.assertEqual(self.shown(self.again()), [(1, 0, 1, 1, 0)])

    def test_topic_deleted(self) -> None:
        """
        A deleted id does not come back.
        """
        self.cluster.delete(self.topic)
        for _ in range(2):
            self.assertEqual([each[1] for each in self.shown(self.again())], [100, 100])
