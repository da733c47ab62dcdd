"""
TLS: its endpoint string, certificates of clients, and a certificate of the broker that is
replaced. L{tests.clients.test_logins} has clients of every kind.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from typing import Any

import confluent_kafka
import confluent_kafka.admin
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.clients.broker import Broker, BrokerTestCase, eventually
from tests.clients.kafka_tools import tools
from tests.harness.certificates import Issued, authority, issue, self_signed

SECONDS = 60.0
COMMON = NameOID.COMMON_NAME


class EndpointTests(BrokerTestCase):
    """
    TLS by a Twisted endpoint string.
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


class CertificateTestCase(BrokerTestCase):
    """
    A broker that speaks TLS on its only listener, and clients with certificates.

    @ivar ca: Issues the certificates of broker and clients.
    """

    def secured(self, **settings: object) -> Broker:
        """
        The broker, and in its folder the files of the client C{alice} as well.
        """
        broker = self.prepared(use_memory_s3=1, **settings)
        self.ca = authority()
        (broker.folder / "ca.pem").write_bytes(self.ca.pem())
        self.present(broker, "one")
        alice = issue([(NameOID.ORGANIZATION_NAME, "Acme"), (COMMON, "alice")], self.ca)
        (broker.folder / "alice.pem").write_bytes(alice.pem())
        (broker.folder / "alice.key").write_bytes(alice.key_pem())
        (broker.folder / "alice.both.pem").write_bytes(alice.key_pem() + alice.pem())
        broker.settings |= {
            "listeners": f"SSL://localhost:{broker.port}",
            "ssl_cert": "broker.pem",
            "ssl_key": "broker.key",
            "ssl_ca": "ca.pem",
            "ssl_client_auth": "required",
            "group_initial_rebalance_delay_ms": 0,
        }
        return broker.start()

    def present(self, broker: Broker, name: str) -> Issued:
        """
        Let the broker have a certificate with this name.
        """
        made = issue([(COMMON, name)], self.ca, hosts=["localhost"])
        for path, data in (("broker.key", made.key_pem()), ("broker.pem", made.pem())):
            new = broker.folder / f"{path}.new"
            new.write_bytes(data)
            os.replace(new, broker.folder / path)
        return made

    def confluent(self, broker: Broker, **changes: Any) -> dict[str, Any]:
        """
        Options of confluent-kafka.
        """
        return {
            "bootstrap.servers": f"localhost:{broker.port}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(broker.folder / "ca.pem"),
            "ssl.certificate.location": str(broker.folder / "alice.pem"),
            "ssl.key.location": str(broker.folder / "alice.key"),
            "log_level": 0,
            **changes,
        }

    def presented(self, broker: Broker) -> str:
        """
        The name in the certificate that the broker presents.
        """
        address = ("localhost", broker.port)
        context = ssl.create_default_context(cafile=str(broker.folder / "ca.pem"))
        context.load_cert_chain(broker.folder / "alice.pem", broker.folder / "alice.key")
        with (
            socket.create_connection(address, SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            found: Any = secure.getpeercert()
        return str(found["subject"][0][0][1])


class ClientTests(CertificateTestCase):
    """
    Clients with and without a certificate of their own.
    """

    def test_none(self) -> None:
        """
        A client without one is refused, and the log says why.
        """
        broker = self.secured()
        bare = self.confluent(broker)
        del bare["ssl.certificate.location"], bare["ssl.key.location"]
        admin = confluent_kafka.admin.AdminClient(bare)
        self.assertRaises(confluent_kafka.KafkaException, admin.list_topics, timeout=3)
        eventually(lambda: broker.has_logged("TLS failed: peer did not return a certificate"))

    def test_java(self) -> None:
        """
        Kafka's own tools, with PEM files.
        """
        broker = self.secured()
        (broker.folder / "client.properties").write_text(
            "security.protocol=SSL\nssl.keystore.type=PEM\nssl.truststore.type=PEM\n"
            f"ssl.keystore.location={broker.folder}/alice.both.pem\n"
            f"ssl.truststore.location={broker.folder}/ca.pem\n"
        )
        server = f"--bootstrap-server localhost:{broker.port}"
        done = subprocess.run(
            f"echo java | kafka-console-producer.sh {server} --topic java"
            " --command-config client.properties\n"
            f"kafka-console-consumer.sh {server} --topic java --from-beginning"
            " --max-messages 1 --command-config client.properties",
            shell=True,
            cwd=broker.folder,
            env=tools(broker.folder / "tools", "4.4"),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.assertIn("java\n", done.stdout, done.stderr[-2000:])


class RenewalTests(CertificateTestCase):
    """
    The broker's certificate is replaced.
    """

    def test_renewed(self) -> None:
        """
        A new certificate is presented without a restart, and a producer that is at work
        all the time loses no connection and no record. A bad file changes nothing.
        """
        broker = self.secured()
        self.assertEqual(self.presented(broker), "one")
        errors: list[object] = []
        producer = confluent_kafka.Producer(
            self.confluent(broker, error_cb=errors.append, **{"linger.ms": 0})
        )
        over = threading.Event()
        sent, done = [0], [0]

        def work() -> None:
            def delivered(error: object, _: object) -> None:
                done[0] += error is None

            while not over.is_set():
                producer.produce("t", b"x" * 100, on_delivery=delivered)
                sent[0] += 1
                producer.poll(0.001)

        worker = threading.Thread(target=work)
        worker.start()
        try:
            eventually(lambda: done[0] > 10)
            self.present(broker, "two")
            eventually(lambda: self.presented(broker) == "two")
            (broker.folder / "broker.key").write_text("nothing")
            eventually(lambda: broker.has_logged("those before stay in use"))
            self.assertEqual(self.presented(broker), "two")
            self.present(broker, "three")
            eventually(lambda: self.presented(broker) == "three")
            before = done[0]
            eventually(lambda: done[0] > before + 10)
        finally:
            over.set()
            worker.join()
        self.assertEqual(producer.flush(SECONDS), 0)
        self.assertEqual((done[0], errors), (sent[0], []))
