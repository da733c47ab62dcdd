"""
Fetch sessions (KIP-227).
"""

from __future__ import annotations

from typing import Any

from kafscale.services.records.fetch_sessions import FetchSessionCache, partitions_in
from kafscale.wire.messages import FetchRequest
from tests.services.records.fetching import FetchCase, at

Forgotten = FetchRequest.ForgottenTopic


class SessionCase(FetchCase):
    """
    A consumer of four partitions with a session.
    """

    def ask(self, *parts: Any, session: int, epoch: int, **fields: Any) -> Any:
        """
        The response to a request of a session.
        """
        fields = {"max_wait_ms": 0, **fields}
        return self.successResultOf(
            self.start(*parts, session_id=session, session_epoch=epoch, **fields)
        )

    def begin(self, *indexes: int, **fields: Any) -> int:
        """
        Begin a session with these partitions.
        """
        response = self.ask(*[at(each, 0) for each in indexes], session=0, epoch=0, **fields)
        self.assertEqual(response.error_code, 0)
        session: int = response.session_id
        return session

    def indexes(self, response: Any) -> list[int]:
        """
        The indexes of the partitions in a response.
        """
        self.assertEqual(response.error_code, 0)
        return [part.partition_index for each in response.responses for part in each.partitions]


class IncrementalTests(SessionCase):
    """
    Requests and responses of a session have what has changed.
    """

    def test_begins(self) -> None:
        """
        Epoch 0 begins a session. The first response has all partitions.
        """
        response = self.ask(at(0, 0), at(1, 0), session=0, epoch=0)
        self.assertEqual(response.session_id, 100)
        self.assertEqual(self.indexes(response), [0, 1])

    def test_every_version(self) -> None:
        """
        Topics are named by name, or by id.
        """
        for version in range(7, 19):
            session = self.begin(0, 1, version=version)
            response = self.ask(session=session, epoch=1, version=version)
            self.assertEqual((response.session_id, self.indexes(response)), (session, []))

    def test_only_news(self) -> None:
        """
        The response has partitions with records, or whose high watermark or log
        start offset has changed.
        """
        session = self.begin(0, 1, 2, 3)
        self.partition(1).put(b"data")
        self.assertEqual(self.indexes(self.ask(session=session, epoch=1)), [1])
        response = self.ask(at(1, 1), session=session, epoch=2)
        self.assertEqual(self.indexes(response), [])
        self.partition(1).log_start = 1
        self.assertEqual(self.indexes(self.ask(session=session, epoch=3)), [1])

    def test_unnamed_partition(self) -> None:
        """
        A partition that the request does not name is read from the same offset.
        """
        session = self.begin(0)
        self.partition(0).put(b"one")
        for epoch in (1, 2):
            response = self.ask(session=session, epoch=epoch)
            self.assertEqual(bytes(response.responses[0].partitions[0].records), b"one")

    def test_error_and_recovery(self) -> None:
        """
        After an error the next response has the partition, though nothing has
        changed.
        """
        session = self.begin(0, 1)
        where = (self.topic.topic_id, 0)
        self.log.elsewhere.add(where)
        for epoch in (1, 2):
            self.assertEqual(self.indexes(self.ask(session=session, epoch=epoch)), [0])
        self.log.elsewhere.discard(where)
        self.assertEqual(self.indexes(self.ask(session=session, epoch=3)), [0])
        self.assertEqual(self.indexes(self.ask(session=session, epoch=4)), [])

    def test_added_and_forgotten(self) -> None:
        """
        Partitions are added to a session, and removed from it.
        """
        self.add_and_forget(12)

    def test_added_and_forgotten_by_id(self) -> None:
        """
        Likewise where topics are named by id.
        """
        self.add_and_forget(13)

    def add_and_forget(self, version: int) -> None:
        """
        Add one partition, and remove one; to remove an unknown one is no error.
        """
        session = self.begin(0, 1, version=version)
        forgotten = Forgotten(topic="orders", topic_id=self.topic.topic_id, partitions=[0, 3])
        fields = {"session": session, "version": version}
        response = self.ask(at(2, 0), epoch=1, forgotten_topics_data=[forgotten], **fields)
        self.assertEqual(self.indexes(response), [2])
        for index in (0, 1, 2):
            self.partition(index).put(b"x")
        self.assertEqual(self.indexes(self.ask(epoch=2, **fields)), [1, 2])

    def test_rotation(self) -> None:
        """
        A partition that had records is moved to the end, so a full response
        does not starve others.
        """
        session = self.begin(0, 1, 2)
        for index in range(3):
            self.partition(index).put(b"x" * 10)
        first = []
        for epoch in range(1, 5):
            response = self.ask(session=session, epoch=epoch, max_bytes=10)
            parts = [part for each in response.responses for part in each.partitions]
            first.append([part.partition_index for part in parts if len(part.records)])
        self.assertEqual(first, [[0], [1], [2], [0]])

    def test_waits(self) -> None:
        """
        A request waits for all partitions of its session, also those that it
        does not name.
        """
        session = self.begin(0, 1)
        answer = self.start(session_id=session, session_epoch=1)
        self.assertNoResult(answer)
        self.partition(1).put(b"x")
        self.clock.advance(0)
        self.assertEqual(self.indexes(self.successResultOf(answer)), [1])

    def test_last_partition_forgotten(self) -> None:
        """
        A session without partitions is closed.
        """
        session = self.begin(0)
        forgotten = Forgotten(topic="orders", topic_id=self.topic.topic_id, partitions=[0])
        response = self.ask(session=session, epoch=1, forgotten_topics_data=[forgotten])
        self.assertEqual((response.session_id, self.indexes(response)), (0, []))
        self.assertEqual(self.ask(session=session, epoch=2).error_code, 70)


class EndTests(SessionCase):
    """
    Sessions that are closed or unknown.
    """

    def test_unknown(self) -> None:
        """
        An unknown session is error 70, on top of the response.
        """
        for session in (0, 5):
            response = self.ask(session=session, epoch=1)
            self.assertEqual((response.error_code, response.responses), (70, []))

    def test_wrong_epoch(self) -> None:
        """
        A request that came twice, or after a lost one, is error 71.
        """
        session = self.begin(0)
        self.assertEqual(self.ask(session=session, epoch=2).error_code, 71)
        self.ask(session=session, epoch=1)
        self.assertEqual(self.ask(session=session, epoch=1).error_code, 71)
        self.assertEqual(self.ask(session=session, epoch=2).error_code, 0)

    def test_epochs_wrap(self) -> None:
        """
        After the largest epoch comes 1.
        """
        session = self.begin(0)
        self.service._sessions._sessions[session].epoch = 2**31 - 1
        self.assertEqual(self.ask(session=session, epoch=2**31 - 1).error_code, 0)
        self.assertEqual(self.ask(session=session, epoch=1).error_code, 0)

    def test_ids_and_names(self) -> None:
        """
        A session that began with names and continues with ids, or the other way
        round, is error 106.
        """
        for before, after in ((12, 13), (13, 12)):
            session = self.begin(0, version=before)
            response = self.ask(session=session, epoch=1, version=after)
            self.assertEqual(response.error_code, 106)

    def test_closed(self) -> None:
        """
        Epoch -1 closes a session, and 0 replaces it. The partitions of the
        request are answered.
        """
        session = self.begin(0)
        response = self.ask(at(0, 0), session=session, epoch=-1)
        self.assertEqual((response.session_id, self.indexes(response)), (0, [0]))
        self.assertEqual(self.ask(session=session, epoch=1).error_code, 70)
        session = self.begin(0)
        response = self.ask(at(0, 0), session=session, epoch=0)
        self.assertNotEqual(response.session_id, session)
        self.assertEqual(len(self.service._sessions), 1)

    def test_without(self) -> None:
        """
        A consumer that wants no session gets none.
        """
        response = self.ask(at(0, 0), session=0, epoch=-1)
        self.assertEqual((response.session_id, self.indexes(response)), (0, [0]))

    def test_overtaken(self) -> None:
        """
        A request that waits while another one continues its session is refused.
        """
        session = self.begin(0)
        waiting = self.start(session_id=session, session_epoch=1)
        self.ask(session=session, epoch=2)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(waiting).error_code, 71)

    def test_no_partitions(self) -> None:
        """
        There are no sessions without partitions.
        """
        self.assertEqual(self.ask(session=0, epoch=0).session_id, 0)


class RoomTests(SessionCase):
    """
    The number of sessions is limited.
    """

    def setUp(self) -> None:
        """
        There is room for two sessions, and there are two.
        """
        super().setUp()
        self.make(sessions=2)
        self.first = self.begin(0, 1)
        self.clock.advance(1)
        self.second = self.begin(0)

    def held(self) -> list[int]:
        """
        The ids of the sessions in the cache.
        """
        return list(self.service._sessions._sessions)

    def test_no_room(self) -> None:
        """
        A consumer for which there is no room gets a full response, with session
        id 0.
        """
        response = self.ask(at(0, 0), at(1, 0), at(2, 0), session=0, epoch=0)
        self.assertEqual((response.session_id, self.indexes(response)), (0, [0, 1, 2]))
        self.assertEqual(self.held(), [self.first, self.second])

    def test_stale(self) -> None:
        """
        The least recently used session is replaced by any other if it is stale.
        """
        self.clock.advance(60)
        self.ask(session=self.first, epoch=1)
        self.clock.advance(61)
        third = self.begin(0)
        self.assertEqual(self.held(), [self.first, third])

    def test_larger(self) -> None:
        """
        An old session that is in use is replaced by a larger one only, the
        smallest first.
        """
        self.clock.advance(121)
        self.ask(session=self.first, epoch=1)
        self.ask(session=self.second, epoch=1)
        self.assertEqual(self.begin(0), 0)
        third = self.begin(0, 1, 2)
        self.assertEqual(self.held(), [self.first, third])

    def test_partitions_are_bounded(self) -> None:
        """
        The number of partitions of all sessions is limited, too. A session that
        grows past it is closed.
        """
        sessions = FetchSessionCache(self.clock, lambda: next(self.ids), most_partitions=3)
        two = partitions_in(self.request(at(0, 0), at(1, 0)), False)
        one = sessions.begin(two, False)
        assert one is not None
        self.assertIsNone(sessions.begin(two, False))
        more = self.request(at(2, 0), at(3, 0), session_id=one.session_id, session_epoch=one.epoch)
        self.assertIs(sessions.resume(more, False), one)
        self.assertFalse(sessions.holds(one))
        self.assertEqual(len(sessions), 0)
        self.assertIsNotNone(
            sessions.begin(partitions_in(self.request(at(0, 0), at(1, 0), at(2, 0)), False), False)
        )
