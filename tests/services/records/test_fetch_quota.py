"""
Fetch, for consumers with a quota.
"""

from __future__ import annotations

from typing import Any

from kafscale.interfaces.quotas import FETCH_RATE
from tests.services.records.fetching import FetchCase, at

KB = 1000


class QuotaTests(FetchCase):
    """
    A consumer that is held to 1 kB/s.
    """

    def setUp(self) -> None:
        """
        Set the quota. There are batches of 1 kB each.
        """
        super().setUp()
        self.cluster.quotas.change((("user", "ANONYMOUS"),), {FETCH_RATE: 1000.0})
        self.partition().put(*(bytes(KB) for _ in range(30)))

    def ask(self, offset: int = 0, version: int = 12, **fields: Any) -> Any:
        """
        The response to a fetch from that offset.
        """
        return self.successResultOf(self.start(at(0, offset), version=version, **fields))

    def sizes(self, response: Any) -> list[int]:
        """
        The bytes of records of its partitions.
        """
        return [len(part.records) for topic in response.responses for part in topic.partitions]

    def test_cut(self) -> None:
        """
        A response has no more records than may come in ten seconds. With what surrounds
        them it is a little more, so it comes when it is asked for again.
        """
        response = self.ask()
        self.assertEqual((response.responses, response.throttle_time_ms), ([], 40))
        self.clock.advance(0.040)
        response = self.ask()
        self.assertEqual((self.sizes(response), response.throttle_time_ms), ([10 * KB], 0))

    def test_empty(self) -> None:
        """
        Over the quota there are no records, no error, and no session; what was not sent
        does not count.
        """
        self.assertEqual(self.sizes(self.ask(max_bytes=9 * KB)), [9 * KB])
        for _ in range(2):
            response = self.ask(10, max_bytes=2 * KB, session_epoch=0)
            self.assertEqual((response.error_code, response.responses), (0, []))
            self.assertEqual(response.session_id, 0)
            self.assertEqual(response.throttle_time_ms, 1080)  # 11,080 bytes, and 10 s
        self.clock.advance(11)
        self.assertEqual(self.sizes(self.ask(10, max_bytes=2 * KB)), [2 * KB])

    def test_every_version(self) -> None:
        """
        The time is in every version but the first; message sets are held back, too.
        """
        self.cluster.quotas.fetched("ANONYMOUS", "test", 10 * KB)
        for version in range(4, 19):
            response = self.ask(version=version)
            self.assertEqual(response.responses, [])
            self.assertGreater(response.throttle_time_ms, 9000)

    def test_session(self) -> None:
        """
        A session goes on: what was not sent comes later, in its next request.
        """
        first = self.ask(max_bytes=KB, session_epoch=0)
        self.assertEqual(self.sizes(first), [KB])
        session = first.session_id
        self.assertNotEqual(session, 0)
        self.cluster.quotas.fetched("ANONYMOUS", "test", 9 * KB - 40)

        def again(epoch: int, **fields: Any) -> Any:
            return self.ask(1, max_bytes=KB, session_id=session, session_epoch=epoch, **fields)

        throttled = again(1)
        self.assertEqual((throttled.session_id, throttled.responses), (session, []))
        self.assertGreater(throttled.throttle_time_ms, 0)
        self.clock.advance(11)
        later = again(2)
        self.assertEqual((self.sizes(later), later.throttle_time_ms), ([KB], 0))

    def test_broker(self) -> None:
        """
        Other brokers have no quota.
        """
        self.cluster.quotas.fetched("ANONYMOUS", "test", 10 * KB)
        response = self.ask(replica_id=8)
        self.assertEqual((self.sizes(response), response.throttle_time_ms), ([30 * KB], 0))

    def test_nothing_to_read(self) -> None:
        """
        A response without records is not held back.
        """
        self.cluster.quotas.fetched("ANONYMOUS", "test", 10 * KB)
        response = self.ask(30, max_wait_ms=0)
        self.assertEqual((self.sizes(response), response.throttle_time_ms), ([0], 0))

    def test_min_bytes(self) -> None:
        """
        A fetch does not wait for more than it may get.
        """
        self.assertEqual(self.ask(min_bytes=1 << 20).throttle_time_ms, 40)
