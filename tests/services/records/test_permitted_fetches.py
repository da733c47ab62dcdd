"""
Fetches of topics that the client may not read, or not any longer.
"""

from __future__ import annotations

from uuid import UUID

from zope.interface import implementer

from kafscale.errors import TopicAuthorizationFailed
from kafscale.interfaces import ITopicLookup, Topic
from tests.services.records.fetching import FetchCase, at

DENIED = 29


@implementer(ITopicLookup)
class Closable:
    """
    Topics that may be read while they are open.
    """

    def __init__(self, topics: ITopicLookup) -> None:
        self._topics = topics
        self.topic_changes = 0
        self._open = True

    def close(self) -> None:
        """
        Let none be read from now on.
        """
        self._open = False
        self.topic_changes += 1

    def topic(self, name: str) -> Topic:
        """
        See L{ITopicLookup}.
        """
        if not self._open:
            raise TopicAuthorizationFailed
        return self._topics.topic(name)

    def topic_by_id(self, topic_id: UUID) -> Topic:
        """
        See L{ITopicLookup}.
        """
        if not self._open:
            raise TopicAuthorizationFailed
        return self._topics.topic_by_id(topic_id)


class PermittedFetchTests(FetchCase):
    """
    Rights are looked at whenever records are about to be read.
    """

    def setUp(self) -> None:
        """
        A topic with a record, which may be read.
        """
        super().setUp()
        self.topics = Closable(self.cluster.image)
        self.make(permitted=lambda request, context: self.topics)
        self.partition().put(b"data")

    def test_by_name_and_id(self) -> None:
        """
        A denied partition has the error in each version.
        """
        for version in (4, 12, 13, 18):
            (found,) = self.fetch(at(0, 0), version=version)
            self.assertEqual(found.error_code, 0)
        self.topics.close()
        for version in (4, 12, 13, 18):
            (found,) = self.fetch(at(0, 0), version=version)
            self.assertEqual((found.error_code, bytes(found.records)), (DENIED, b""))

    def test_in_a_session(self) -> None:
        """
        A session that named the partition once does not keep it when the right is gone.
        """
        response = self.successResultOf(self.start(at(0, 0), session_id=0, session_epoch=0))
        session = response.session_id
        self.topics.close()
        for epoch in (1, 2):
            response = self.successResultOf(self.start(session_id=session, session_epoch=epoch))
            ((found,),) = [each.partitions for each in response.responses]
            self.assertEqual((found.error_code, bytes(found.records)), (DENIED, b""))

    def test_while_it_waits(self) -> None:
        """
        Records that come after the right is gone are not for the fetch that waits.
        """
        for session in ({}, {"session_id": 0, "session_epoch": 0}):
            waiting = self.start(at(0, self.partition().next_offset), **session)
            self.assertNoResult(waiting)
            self.topics.close()
            self.partition().put(b"more")
            self.clock.advance(1)
            ((found,),) = [each.partitions for each in self.successResultOf(waiting).responses]
            self.assertEqual((found.error_code, bytes(found.records)), (DENIED, b""))
            self.topics = Closable(self.cluster.image)
