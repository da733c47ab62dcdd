"""
A Produce of which some is refused, with the service that the broker has.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, execute

from kafscale.access.authorization.guard import Guard
from kafscale.access.open_sessions import OpenSession
from kafscale.access.quotas.quotas import Quotas
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import DenialCounts
from kafscale.interfaces import Principal
from kafscale.net.dispatch import Dispatch
from kafscale.net.request_memo import RequestMemo
from kafscale.wire.messages import ProduceRequest, ProduceResponse
from tests.access.authorization.acls import Acls
from tests.harness.sessions import LISTENER
from tests.net.fakes import body, framed
from tests.services.records.producing import BATCH, ProduceCase


class RefusedInPartTests(ProduceCase):
    """
    Alice may write to one of two topics.
    """

    def test_settles(self) -> None:
        """
        What is allowed is answered when it is durable, and what is refused stands beside it.
        """
        acls = Acls()
        self.addCleanup(acls.close)
        acls.create("allow write topic orders")
        seconds = self.cluster.clock.seconds
        counts = DenialCounts()
        guard = Guard(acls.authorizer, self.cluster.image, False, seconds, counts)
        work = WorkQueue(self.cluster.clock, execute)
        dispatch = Dispatch(guard.services([self.service]), seconds, "c", 1, Quotas(seconds), work)
        session = OpenSession(LISTENER, Principal("User", "alice"))
        request = self.request((0, BATCH))
        hidden = ProduceRequest.Topic.Partition(index=0, records=memoryview(BATCH))
        request.topic_data.insert(0, ProduceRequest.Topic(name="hidden", partition_data=[hidden]))
        frame = memoryview(framed(request, 9, 5))[4:]
        answer = dispatch.answer(frame, RequestMemo("127.0.0.1", self, session))
        assert isinstance(answer, Deferred)
        self.assertNoResult(answer)
        self.log.settlements[-1].settle()
        pieces = self.successResultOf(answer)
        assert pieces is not None
        _, response = body(memoryview(b"".join(pieces))[4:], ProduceResponse, 9)
        self.assertEqual(
            [(each.name, each.partition_responses[0].error_code) for each in response.responses],
            [("hidden", 29), ("orders", 0)],
        )
        self.assertEqual(counts.denied, {("WRITE", "TOPIC"): 1})
