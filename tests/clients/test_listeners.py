"""
Several listeners of one broker.
"""

from __future__ import annotations

import confluent_kafka.admin

from tests.clients.broker import BrokerTestCase, eventually, free_port


class ListenersTests(BrokerTestCase):
    """
    A broker with two listeners.
    """

    def test_addresses(self) -> None:
        """
        A client learns the address of the listener that it has connected to, and
        reads by one what was written by the other.
        """
        broker = self.prepared()
        inside, outside = broker.port, free_port()
        broker.settings |= {
            "listeners": f"INSIDE://127.0.0.1:{inside},OUTSIDE://127.0.0.1:{outside}",
            "advertised_listeners": f"OUTSIDE://localhost:{outside}",
            "listener_security_protocol_map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
        }
        broker.start()
        for port, host in ((inside, "127.0.0.1"), (outside, "localhost")):
            admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})
            (found,) = admin.list_topics(timeout=30).brokers.values()
            self.assertEqual((found.host, found.port), (host, port))
        words = f"127.0.0.1:{inside} (INSIDE, PLAINTEXT), advertised as"
        eventually(lambda: words in broker.tail())
        producer = confluent_kafka.Producer({"bootstrap.servers": f"127.0.0.1:{inside}"})
        producer.produce("t", b"hello")
        self.assertEqual(producer.flush(30), 0)
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": f"127.0.0.1:{outside}", "group.id": "g"}
        )
        self.addCleanup(consumer.close)
        consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        self.assertEqual(message.value(), b"hello")
