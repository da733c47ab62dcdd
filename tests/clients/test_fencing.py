"""
A broker that finds a successor's seal where it wants to write.
"""

from __future__ import annotations

from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.raw import LATEST, RawClient, batch_of
from tests.clients.sealing import seal

NOT_LEADER_OR_FOLLOWER = 6


class FencingTests(BrokerTestCase):
    """
    Clients of a broker that is fenced.
    """

    def test_comes_back(self) -> None:
        """
        An append that meets the seal is refused with NOT_LEADER_OR_FOLLOWER.
        The broker rejoins in the same process, as a new incarnation with a
        higher leader epoch, and no acknowledged record is lost or repeated.
        """
        broker = self.broker()
        client = self.connect(broker)
        client.create("fenced")
        values = []
        for number in range(3):
            values.append(b"before-%d" % number)
            self.assertEqual(client.produce("fenced", 0, batch_of(values[-1:])).error_code, 0)
            seal(broker)
            refused = client.produce("fenced", 0, batch_of([b"refused"]))
            self.assertEqual(refused.error_code, NOT_LEADER_OR_FOLLOWER)

            def taken(client: RawClient = client) -> bool:
                return client.produce("fenced", 0, batch_of([b"after"])).error_code == 0

            eventually(taken)
            values.append(b"after")
        self.assertEqual([each.value for each in client.records("fenced")], values)
        self.assertEqual(client.offset("fenced", 0, LATEST), len(values))
        broker.restart()
        again = self.connect(broker)
        self.assertEqual([each.value for each in again.records("fenced")], values)
