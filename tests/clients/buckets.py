"""
Cases with brokers on buckets.
"""

from __future__ import annotations

from tests.clients.broker import Broker, BrokerTestCase, free_port, page


class BucketTestCase(BrokerTestCase):
    """
    A case with brokers, each on a bucket of its own unless a test names one.

    @cvar on: Name of the server with the buckets; that of the test run if empty.
    """

    bucketed = True
    on = ""


class FailureTestCase(BucketTestCase):
    """
    A case with a broker that serves HTTP to operators.
    """

    def setUp(self) -> None:
        """
        Choose a port for HTTP.
        """
        super().setUp()
        self.http = free_port()

    def observed(self, **settings: object) -> Broker:
        """
        A broker with HTTP that is not started yet.
        """
        return self.prepared(metrics_addr=f"127.0.0.1:{self.http}", **settings)

    def get(self, path: str) -> tuple[int, str]:
        """
        Get a page of the broker: status and text.
        """
        return page(self.http, path)

    def assert_refuses(self, broker: Broker, *words: str) -> None:
        """
        Check that a broker ends with status 1 at its start, and logs one line
        with these words and no traceback.
        """
        before = broker.tail(100_000)
        broker.start(wait=False)
        self.assertEqual(broker.ended(30), 1)
        log = broker.tail(100_000).removeprefix(before)
        self.assertNotIn("Traceback", log)
        found = [line for line in log.splitlines() if all(word in line for word in words)]
        self.assertEqual(len(found), 1, f"lines with {words}: {found}")
