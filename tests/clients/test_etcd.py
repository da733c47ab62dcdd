"""
A broker whose metadata is in etcd, and its records in a bucket.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet.ssl import Certificate

from tests.clients.broker import ROOT, Broker, environment, free_port
from tests.clients.buckets import BucketTestCase, FailureTestCase
from tests.clients.raw import LATEST, RawClient, batch_of
from tests.harness import etcd, s3
from tests.harness.certificates import self_signed


class ServedTests(BucketTestCase):
    """
    A broker whose metadata is in etcd.
    """

    def on_etcd(self, server: etcd.Etcd, **settings: object) -> Broker:
        """
        A broker in a namespace of its own, started.
        """
        given = {"namespace": etcd.namespace(), "etcd_endpoints": server.url, "broker_id": 3}
        return self.broker(**given, **settings)

    def assert_keeps(self, broker: Broker) -> None:
        """
        Topics and records are still there after an end in good order, and
        after C{kill -9}, in the same cluster.
        """
        with RawClient(broker.port) as raw:
            raw.create("kept", 2)
            before = raw.metadata("kept")
            self.assertEqual([each.node_id for each in before.brokers], [3])
            self.assertEqual(raw.produce("kept", 1, batch_of([b"a"])).error_code, 0)
        broker.restart()
        with RawClient(broker.port) as raw:
            self.assertEqual(raw.produce("kept", 1, batch_of([b"b"])).base_offset, 1)
        broker.kill()
        broker.start()
        with RawClient(broker.port) as raw:
            self.assertEqual([each.value for each in raw.records("kept", 1)], [b"a", b"b"])
            after = raw.metadata("kept")
            self.assertEqual(after.cluster_id, before.cluster_id)
            self.assertEqual(after.topics[0].topic_id, before.topics[0].topic_id)

    def test_kept(self) -> None:
        """
        Nothing is in a data directory, and the log names etcd.
        """
        server = etcd.server()
        broker = self.on_etcd(server)
        self.assert_keeps(broker)
        self.assertFalse(broker.data.exists())
        self.assertIn(server.url, broker.tail())

    def test_two_namespaces(self) -> None:
        """
        Clusters in one etcd and one bucket know nothing of each other.
        """
        one = self.on_etcd(etcd.server())
        other = self.on_etcd(etcd.server(), s3_bucket=one.settings["s3_bucket"])
        with RawClient(one.port) as first, RawClient(other.port) as second:
            first.create("mine")
            self.assertEqual(second.topics(), [])
            self.assertNotEqual(first.metadata().cluster_id, second.metadata().cluster_id)

    def test_proven(self) -> None:
        """
        With TLS and a client certificate; the first endpoint does not answer.
        """
        files = certificate_files(self.folder)
        server = self.own(tls_options(files))
        dead = f"https://localhost:{free_port()}"
        broker = self.broker(
            namespace="proven",
            broker_id=3,
            etcd_endpoints=f"{dead}, {server.url}",
            etcd_ca=files["certificate"],
            etcd_cert=files["certificate"],
            etcd_key=files["key"],
        )
        self.assert_keeps(broker)

    def test_password(self) -> None:
        """
        With a user that has all permissions below the namespace, and no other.
        """
        server = self.own()
        with_users(server, "/kafscale/default/")
        broker = self.broker(
            broker_id=3,
            etcd_endpoints=server.url,
            etcd_username="kafscale",
            etcd_password="secret",
        )
        self.assert_keeps(broker)
        self.assertNotIn("secret", broker.tail(100_000))

    def test_away_and_back(self) -> None:
        """
        While etcd is away the led partitions work on, and requests that need
        etcd are completed when it is back.
        """
        server = self.own()
        broker = self.broker(etcd_endpoints=server.url)
        with RawClient(broker.port) as raw:
            raw.create("led")
            server.kill()
            for number in range(3):
                self.assertEqual(raw.produce("led", 0, batch_of([b"x"])).base_offset, number)
            self.assertEqual(len(raw.records("led")), 3)
            server.start()
            raw.create("made-later")
            self.assertEqual(raw.offset("made-later", 0, LATEST), 0)

    def test_inspected(self) -> None:
        """
        C{kafscale-inspect} finds what etcd and the bucket have, with the
        broker's variables, and finds nothing wrong.
        """
        broker = self.on_etcd(etcd.server())
        with RawClient(broker.port) as raw:
            raw.create("looked-at")
            self.assertEqual(raw.produce("looked-at", 0, batch_of([b"a"])).error_code, 0)
        broker.kill()
        for verb, word in (("verify", "ok: 1 objects"), ("list", "looked-at")):
            done = subprocess.run(
                [sys.executable, "-m", "kafscale.inspect", verb],
                cwd=ROOT,
                env={**environment(**broker.settings), **s3.KEYS},
                capture_output=True,
                text=True,
                timeout=120,
            )
            text = done.stdout + done.stderr
            self.assertEqual(done.returncode, 0, text)
            self.assertIn(word, text)
        done = subprocess.run(
            [sys.executable, "-m", "kafscale.inspect", "verify", "--namespace", "other"],
            cwd=ROOT,
            env={**environment(**broker.settings), **s3.KEYS},
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("there is no namespace 'other'\n", done.stderr)

    def own(self, options: dict[str, str] | None = None) -> etcd.Etcd:
        """
        An etcd of the test's own.
        """
        server = etcd.Etcd(options)
        self.addCleanup(server.remove)
        return server.start()


def certificate_files(folder: Path) -> dict[str, Path]:
    """
    A certificate for this machine, its key, and another certificate.
    """
    ours, other = self_signed("localhost"), self_signed("localhost")
    files = {name: folder / name for name in ("certificate", "key", "other")}
    files["certificate"].write_bytes(Certificate(ours.original).dumpPEM())
    files["key"].write_bytes(ours.privateKey.dump(FILETYPE_PEM))
    files["other"].write_bytes(Certificate(other.original).dumpPEM())
    return files


def tls_options(files: dict[str, Path]) -> dict[str, str]:
    """
    For an etcd that wants to see certificates.
    """
    return {
        "cert-file": str(files["certificate"]),
        "key-file": str(files["key"]),
        "trusted-ca-file": str(files["certificate"]),
        "client-cert-auth": "true",
    }


def with_users(server: etcd.Etcd, below: str) -> None:
    """
    Enable passwords in etcd, for root and for kafscale, which has all
    permissions on keys below C{below}.
    """
    server.ask("/v3/auth/role/add", {"name": "root"})
    server.ask("/v3/auth/role/add", {"name": "broker"})
    server.ask(
        "/v3/auth/role/grant",
        {
            "name": "broker",
            "perm": {
                "permType": "READWRITE",
                "key": etcd.base64(below),
                "range_end": etcd.base64(below[:-1] + chr(ord(below[-1]) + 1)),
            },
        },
    )
    for name, role in (("root", "root"), ("kafscale", "broker")):
        server.ask("/v3/auth/user/add", {"name": name, "password": "secret"})
        server.ask("/v3/auth/user/grant", {"user": name, "role": role})
    server.ask("/v3/auth/enable", {})


class RefusalTests(FailureTestCase):
    """
    A start with wrong settings or an unusable etcd ends with one line and exit
    status 1.
    """

    def test_disagreement(self) -> None:
        """
        Settings that do not agree with each other.
        """
        endpoint = "http://127.0.0.1:1"
        for settings, words in (
            ({"etcd_endpoints": "etcd:2379"}, ("KAFSCALE_ETCD_ENDPOINTS=", "http://host:port")),
            ({"etcd_endpoints": endpoint, "s3_bucket": ""}, ("requires KAFSCALE_S3_BUCKET",)),
            (
                {"etcd_endpoints": endpoint, "use_memory_s3": 1},
                ("KAFSCALE_USE_MEMORY_S3 and KAFSCALE_ETCD_ENDPOINTS",),
            ),
            ({"etcd_username": "me"}, ("KAFSCALE_ETCD_USERNAME has no effect without",)),
            (
                {"etcd_endpoints": endpoint, "etcd_username": "me"},
                ("KAFSCALE_ETCD_PASSWORD is missing",),
            ),
            (
                {"etcd_endpoints": endpoint, "etcd_ca": "/nowhere"},
                ("KAFSCALE_ETCD_CA has no effect without https://",),
            ),
            (
                {"etcd_endpoints": "https://localhost:1", "etcd_ca": "/nowhere"},
                ("cannot read /nowhere",),
            ),
            ({"broker_weight": "0"}, ("KAFSCALE_BROKER_WEIGHT='0'", "0.001")),
            ({"lease_seconds": "1"}, ("KAFSCALE_LEASE_SECONDS='1'",)),
        ):
            self.assert_refuses(self.prepared(**settings), *words)

    def test_nobody_there(self) -> None:
        """
        A start waits for etcd, but not for ever, and uses no data directory
        instead.
        """
        port = free_port()
        broker = self.prepared(etcd_endpoints=f"http://127.0.0.1:{port}")
        self.assert_refuses(broker, "etcd cannot be used", str(port), "refused")
        self.assertFalse(broker.data.exists())

    def test_not_etcd(self) -> None:
        """
        The endpoint is a server of another kind.
        """
        broker = self.prepared()
        broker.settings["etcd_endpoints"] = broker.settings["s3_endpoint"]
        self.assert_refuses(broker, "etcd cannot be used", "HTTP status")

    def test_passwords(self) -> None:
        """
        No password, a wrong one, one of a user without permissions, and one
        that etcd does not ask for.
        """
        server = etcd.Etcd()
        self.addCleanup(server.remove)
        server.start()
        given = {"etcd_endpoints": server.url, "etcd_username": "kafscale"}
        unasked = self.prepared(**given, etcd_password="secret")
        self.assert_refuses(unasked, "etcd cannot be used", "not enabled")
        with_users(server, "/kafscale/default/")
        for settings, words in (
            ({"etcd_endpoints": server.url}, "user name is empty"),
            ({**given, "etcd_password": "wrong"}, "authentication failed"),
            ({**given, "etcd_password": "secret", "namespace": "other"}, "permission denied"),
        ):
            broker = self.prepared(**settings)
            self.assert_refuses(broker, "etcd denied access", words, "KAFSCALE_ETCD_PASSWORD")
            self.assertNotIn("wrong", broker.tail(100_000))

    def test_certificates(self) -> None:
        """
        An etcd with a certificate of an unknown authority, and one that does
        not know the authority of the broker's.
        """
        files = certificate_files(self.folder)
        server = etcd.Etcd(tls_options(files))
        self.addCleanup(server.remove)
        server.start()
        for settings, words in (
            ({}, ("certificate verify failed", "KAFSCALE_ETCD_CA")),
            ({"etcd_ca": files["other"]}, ("certificate verify failed", "KAFSCALE_ETCD_CA")),
            ({"etcd_ca": files["certificate"]}, ("bad certificate", "KAFSCALE_ETCD_CERT")),
            ({"etcd_cert": files["certificate"], "etcd_key": files["other"]}, ("not a pair",)),
        ):
            broker = self.prepared(etcd_endpoints=server.url, **settings)
            self.assert_refuses(broker, *words)
