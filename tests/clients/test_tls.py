"""
TLS on the broker's port, by a Twisted endpoint string.
"""

from __future__ import annotations

import confluent_kafka
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.clients.broker import Broker, BrokerTestCase
from tests.harness.certificates import self_signed


class TlsTests(BrokerTestCase):
    """
    A client that speaks TLS and verifies the broker's certificate.
    """

    def encrypted(self) -> Broker:
        """
        A broker with a certificate for "localhost", in its folder.
        """
        broker = self.prepared(broker_host="localhost")
        certificate = self_signed("localhost")
        (broker.folder / "cert.pem").write_bytes(certificate.dumpPEM())
        (broker.folder / "key.pem").write_bytes(
            certificate.privateKey.original.to_cryptography_key().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
        )
        broker.settings["broker_addr"] = (
            f"ssl:{broker.port}:privateKey=key.pem:certKey=cert.pem:interface=127.0.0.1"
        )
        return broker

    def test_produce_and_consume(self) -> None:
        """
        Records go in and come out.
        """
        broker = self.encrypted().start()
        options = {
            "bootstrap.servers": f"localhost:{broker.port}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(broker.folder / "cert.pem"),
        }
        producer = confluent_kafka.Producer(options)
        producer.produce("t", b"hello")
        self.assertEqual(producer.flush(30), 0)
        consumer = confluent_kafka.Consumer({**options, "group.id": "g"})
        self.addCleanup(consumer.close)
        consumer.assign([confluent_kafka.TopicPartition("t", 0, 0)])
        message = consumer.poll(30)
        assert message is not None
        self.assertIsNone(message.error())
        self.assertEqual(message.value(), b"hello")

    def test_no_certificate(self) -> None:
        """
        A file that is missing ends the start with one line and status 1.
        """
        broker = self.encrypted()
        (broker.folder / "key.pem").unlink()
        broker.start(wait=False)
        self.assertEqual(broker.ended(30), 1)
        self.assertNotIn("Traceback", broker.tail(1000))
        self.assertIn("kafscale: cannot listen on ssl:", broker.tail(1))
        self.assertIn("key.pem", broker.tail(1))
