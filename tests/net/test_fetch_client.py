"""
Tests for L{kafscale.net.fetch_client}: sessions, as the other broker sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from kafscale.errors import NotLeaderOrFollower, UnknownServerError
from kafscale.format.partition import TopicIdPartition
from kafscale.interfaces import IFetchClient, IPeer, LeaderRecords, PeerRefused, PeerUnavailable
from kafscale.net.fetch_client import MAX_BYTES, PARTITION_MAX_BYTES, VERSION, FetchClient
from kafscale.wire.messages import FetchRequest, FetchResponse

ORDERS, BILLS = UUID(int=1), UUID(int=2)
A, B, C = (ORDERS, 0), (ORDERS, 1), (BILLS, 0)


@implementer(IPeer)
class FakePeer:
    """
    A broker that answers when the test says so.

    @ivar asked: What it was asked, with the seconds to wait for the answer.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[FetchRequest, float]] = []
        self.answers: list[Deferred[Any]] = []
        self.closed = False

    def ask(self, request: Any, version: int, seconds: float) -> Deferred[Any]:
        """
        See L{IPeer.ask}.
        """
        assert version == VERSION
        sent = b"".join(request.encode(version))
        self.asked.append((FetchRequest.decode(version, sent), seconds))
        self.answers.append(Deferred())
        return self.answers[-1]

    def answer(self, response: FetchResponse) -> None:
        """
        Answer what was asked last.
        """
        sent = b"".join(response.encode(VERSION))
        self.answers[-1].callback(FetchResponse.decode(VERSION, sent))

    def close(self) -> None:
        """
        See L{IPeer.close}.
        """
        self.closed = True


def partition(index: int, **fields: Any) -> FetchResponse.Topic.Partition:
    """
    What a response has of one partition.
    """
    return FetchResponse.Topic.Partition(
        **{
            "partition_index": index,
            "error_code": 0,
            "high_watermark": 7,
            "last_stable_offset": 7,
            "log_start_offset": 2,
            "records": None,
            **fields,
        }
    )


def response(*partitions: FetchResponse.Topic.Partition, **fields: Any) -> FetchResponse:
    """
    Partitions of C{ORDERS}, in session 77.
    """
    topics = [FetchResponse.Topic(topic_id=ORDERS, partitions=list(partitions))]
    return FetchResponse(
        **{"session_id": 77, "responses": topics if partitions else [], **fields}
    )


class FetchClientTestCase(SynchronousTestCase):
    """
    A client, and the broker that it asks.
    """

    def setUp(self) -> None:
        """
        Nothing is asked yet.
        """
        self.polls, self.reads = FakePeer(), FakePeer()
        self.client = FetchClient(self.polls, self.reads, 7)

    def poll(self, positions: Mapping[TopicIdPartition, int]) -> Deferred[Any]:
        """
        Begin a poll.
        """
        return Deferred.fromCoroutine(self.client.poll(positions, 0.5, 5.0))

    def polled(
        self, positions: Mapping[TopicIdPartition, int], answer: FetchResponse
    ) -> list[LeaderRecords]:
        """
        What a poll finds that is answered like this.
        """
        polling = self.poll(positions)
        self.polls.answer(answer)
        found: list[LeaderRecords] = self.successResultOf(polling)
        return found

    def told(self) -> tuple[int, int, dict[TopicIdPartition, int], list[TopicIdPartition]]:
        """
        Of the last poll: session id and epoch, positions, forgotten partitions.
        """
        request, _ = self.polls.asked[-1]
        positions = {
            (topic.topic_id, each.partition): each.fetch_offset
            for topic in request.topics
            for each in topic.partitions
        }
        forgotten = [
            (topic.topic_id, index)
            for topic in request.forgotten_topics_data
            for index in topic.partitions
        ]
        return request.session_id, request.session_epoch, positions, forgotten


class PollTests(FetchClientTestCase):
    """
    Long polls, and the session that they are in.
    """

    def test_interface(self) -> None:
        """
        It is what others take it for.
        """
        self.assertTrue(verifyObject(IFetchClient, self.client))

    def test_bounds(self) -> None:
        """
        How long the broker may wait, how long the answer is waited for, and
        how much may come.
        """
        self.poll({A: 4})
        request, seconds = self.polls.asked[-1]
        self.assertEqual((request.max_wait_ms, request.min_bytes, seconds), (500, 1, 5.0))
        self.assertEqual((request.replica_id, request.max_bytes), (7, MAX_BYTES))
        (sent,) = request.topics[0].partitions
        self.assertEqual(sent.partition_max_bytes, PARTITION_MAX_BYTES)

    def test_session(self) -> None:
        """
        A poll names what differs from the one before it, and what is not
        wanted any more.
        """
        self.polled({A: 0, C: 3}, response(partition(0)))
        self.assertEqual(self.told(), (0, 0, {A: 0, C: 3}, []))
        self.polled({A: 5, C: 3}, response())
        self.assertEqual(self.told(), (77, 1, {A: 5}, []))
        self.polled({A: 5, B: 1}, response())
        self.assertEqual(self.told(), (77, 2, {B: 1}, [C]))

    def test_knows(self) -> None:
        """
        What the last poll has asked for, from when it is sent.
        """
        self.assertFalse(self.client.knows(A))
        polling = self.poll({A: 0})
        self.assertTrue(self.client.knows(A))
        self.polls.answer(response())
        self.successResultOf(polling)
        self.polled({B: 0}, response())
        self.assertEqual([self.client.knows(each) for each in (A, B)], [False, True])

    def test_records(self) -> None:
        """
        What the broker has answered; nothing of what was not asked for.
        """
        found = self.polled(
            {A: 3, B: 9},
            response(
                partition(0, records=b"batches"),
                partition(1, error_code=NotLeaderOrFollower.code),
                partition(5),
            ),
        )
        self.assertEqual(
            found,
            [
                LeaderRecords(A, None, 7, 2, b"batches"),
                LeaderRecords(B, NotLeaderOrFollower, 7, 2, b""),
            ],
        )

    def test_unknown_error(self) -> None:
        """
        An error code that this broker does not know.
        """
        (found,) = self.polled({A: 3}, response(partition(0, error_code=29_999)))
        self.assertIs(found.error, UnknownServerError)

    def test_epochs_wrap(self) -> None:
        """
        After the last epoch comes 1: 0 would begin another session (KIP-227).
        """
        self.client._session = 77, 2**31 - 1
        self.polled({A: 0}, response())
        self.polled({A: 0}, response())
        self.assertEqual(self.told()[:2], (77, 1))

    def test_session_lost(self) -> None:
        """
        The next poll begins another one.
        """
        self.polled({A: 0}, response())
        polling = self.poll({A: 0})
        self.polls.answer(response(error_code=70, session_id=0))
        self.assertEqual(self.failureResultOf(polling, PeerRefused).value.code, 70)
        self.assertFalse(self.client.knows(A))
        self.polled({A: 0}, response())
        self.assertEqual(self.told(), (0, 0, {A: 0}, []))

    def test_no_session(self) -> None:
        """
        Where the broker has no room for one each poll names everything.
        """
        for _ in range(2):
            self.polled({A: 0}, response(session_id=0))
            self.assertEqual(self.told(), (0, 0, {A: 0}, []))
            self.assertFalse(self.client.knows(A))

    def test_restart(self) -> None:
        """
        After a poll of unknown outcome another session is begun.
        """
        self.polled({A: 0}, response())
        polling = self.poll({A: 0})
        self.polls.answers[-1].errback(PeerUnavailable("gone"))
        self.failureResultOf(polling, PeerUnavailable)
        self.client.restart()
        self.poll({A: 0})
        self.assertEqual(self.told(), (0, 0, {A: 0}, []))


class ReadTests(FetchClientTestCase):
    """
    Single reads.
    """

    def read(self) -> Deferred[Any]:
        """
        Begin one.
        """
        return Deferred.fromCoroutine(self.client.read(A, 4, 1000, 2.0))

    def test_read(self) -> None:
        """
        At once, outside the session, on a connection of its own.
        """
        self.poll({B: 0})
        reading = self.read()
        request, seconds = self.reads.asked[-1]
        self.assertEqual((request.max_wait_ms, request.max_bytes, seconds), (0, 1000, 2.0))
        self.assertEqual((request.session_id, request.session_epoch), (0, -1))
        self.reads.answer(response(partition(0, records=b"batches"), session_id=0))
        self.assertEqual(
            self.successResultOf(reading), LeaderRecords(A, None, 7, 2, b"batches")
        )

    def test_refused(self) -> None:
        """
        The broker answers nothing for the partition.
        """
        reading = self.read()
        self.reads.answer(response(error_code=-1))
        self.assertEqual(self.failureResultOf(reading, PeerRefused).value.code, -1)

    def test_close(self) -> None:
        """
        Both connections are closed.
        """
        self.client.close()
        self.assertTrue(self.polls.closed and self.reads.closed)
