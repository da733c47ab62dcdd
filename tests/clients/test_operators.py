"""
The HTTP server of a real broker.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import confluent_kafka
from OpenSSL.crypto import FILETYPE_PEM

from tests.access.authentication.issuer import AUDIENCE, ISSUER, RSA, jwks
from tests.clients.broker import START_SECONDS, eventually, free_port
from tests.clients.operators import OperatorsTestCase
from tests.clients.raw import RawClient, batch_of
from tests.clients.sealing import newest_journal, seal
from tests.harness.certificates import self_signed


class AccessTests(OperatorsTestCase):
    """
    HTTPS with a bearer token.
    """

    def test_token(self) -> None:
        """
        /metrics needs the token, which is in a file; health does not.
        """
        made = self_signed("localhost")
        certificate = self.folder / "http.pem"
        certificate.write_bytes(
            made.dump(FILETYPE_PEM) + made.privateKey.dump(FILETYPE_PEM)
        )
        token = self.folder / "token"
        token.write_text("s3cret\n")
        http = free_port()
        broker = self.prepared()
        broker.settings |= {
            "metrics_addr": f"127.0.0.1:{http}",
            "metrics_ssl_cert": certificate,
            "metrics_token_file": token,
        }
        broker.start()
        trusted = ssl.create_default_context(cafile=str(certificate))

        def get(path: str, **headers: str) -> int:
            request = urllib.request.Request(f"https://localhost:{http}{path}", headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=30, context=trusted) as got:
                    return int(got.status)
            except urllib.error.HTTPError as error:
                return error.code

        self.assertEqual(get("/healthz"), 200)
        self.assertEqual(get("/metrics"), 401)
        self.assertEqual(get("/metrics", Authorization="Bearer wrong"), 401)
        self.assertEqual(get("/metrics", Authorization="Bearer s3cret"), 200)
        self.assertNotIn("s3cret", broker.tail())


class MetricsTests(OperatorsTestCase):
    """
    Metrics after known requests.
    """

    def test_produce_and_fetch(self) -> None:
        """
        Produce and fetch are counted: requests, records, bytes, slots, and
        operations of the store.
        """
        broker = self.observed()
        raw = self.connect(broker)
        raw.create("orders", 2)
        before = self.values()
        self.assertEqual(before["kafscale_partitions_led",], 2)
        self.assertEqual(before["kafscale_connections",], 1)
        batches = [batch_of([b"x" * 100] * 10) for _ in range(6)]
        for number, batch in enumerate(batches):
            raw.produce("orders", number % 2, batch)
        raw.produce("missing", 0, batches[0])
        size = sum(map(len, batches))
        self.assertEqual(len(raw.records("orders", 0)), 30)
        after = self.values()
        self.assertEqual(after["kafscale_requests_total", "NONE", "Produce"], 6)
        missing = ("kafscale_requests_total", "Produce", "UNKNOWN_TOPIC_OR_PARTITION")
        self.assertEqual(after[missing], 1)
        self.assertGreater(after["kafscale_requests_total", "Fetch", "NONE"], 0)
        self.assertEqual(after["kafscale_request_duration_seconds_count", "Produce"], 7)
        self.assertGreater(after["kafscale_request_bytes_total", "Produce"], size)
        self.assertGreater(after["kafscale_response_bytes_total", "Fetch"], size / 2)
        self.assertEqual(after["kafscale_topic_bytes_in_total", "orders"], size)
        self.assertEqual(after["kafscale_topic_records_in_total", "orders"], 60)
        self.assertEqual(after["kafscale_topic_bytes_out_total", "orders"], size / 2)
        self.assertEqual(after["kafscale_unrolled_bytes",], size)
        for name in (
            ("kafscale_journal_slots_flushed_total",),
            ("kafscale_journal_flush_duration_seconds_count",),
            ("kafscale_store_operations_total", "create", "objects"),
            ("kafscale_store_operation_duration_seconds_count", "create", "objects"),
        ):
            self.assertEqual(after[name] - before.get(name, 0), 6, name)
        self.assertGreater(after["kafscale_journal_bytes_total",], size)
        self.assertEqual(after["kafscale_store_errors_total", "create", "objects"], 0)
        self.assertGreater(after["process_open_fds",], 5)

    def test_segments(self) -> None:
        """
        Segments are counted, and their reads go through the cache.
        """
        broker = self.observed(segment_bytes="4KiB")
        raw = self.connect(broker)
        raw.create("old")
        for _ in range(10):
            raw.produce("old", 0, batch_of([b"x" * 1000]))
        eventually(lambda: self.values()["kafscale_segments_rolled_total",] >= 2)
        self.assertEqual(len(raw.records("old")), 10)
        self.assertEqual(len(raw.records("old")), 10)
        found = self.values()
        self.assertGreater(found["kafscale_segment_bytes_total",], 4000)
        self.assertGreater(found["kafscale_cache_misses_total",], 0)
        self.assertGreater(found["kafscale_cache_hits_total",], 0)
        self.assertGreater(found["kafscale_cache_bytes",], 0)

    def test_groups(self) -> None:
        """
        A group with members is Stable, with a lag from its commits; without
        members it is Empty, and its lag grows.
        """
        broker = self.observed()
        raw = self.connect(broker)
        raw.create("work", 2)
        raw.produce("work", 0, batch_of([b"x"] * 100))
        raw.produce("work", 1, batch_of([b"x"] * 10))
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": broker.address,
                "group.id": "workers",
                "enable.auto.commit": False,
            }
        )
        self.addCleanup(consumer.close)
        consumer.subscribe(["work"])

        def joined() -> bool:
            consumer.poll(0.1)
            return len(consumer.assignment()) == 2

        eventually(joined)
        self.assertEqual(self.values()["kafscale_groups", "Stable"], 1)
        self.assertNotIn(("kafscale_consumer_lag_records", "work", "workers"), self.values())
        places = [confluent_kafka.TopicPartition("work", 0, 30)]
        places.append(confluent_kafka.TopicPartition("work", 1, 8))
        consumer.commit(offsets=places, asynchronous=False)
        found = self.values()
        self.assertEqual(found["kafscale_consumer_lag_records", "work", "workers"], 72)
        self.assertEqual(found["kafscale_consumer_lag_max_records", "work", "workers"], 70)
        consumer.close()
        raw.produce("work", 1, batch_of([b"x"] * 10))
        eventually(lambda: self.values()["kafscale_groups", "Empty"] == 1)
        found = self.values()
        self.assertEqual(found["kafscale_groups", "Stable"], 0)
        self.assertEqual(found["kafscale_consumer_lag_records", "work", "workers"], 82)

    def test_access(self) -> None:
        """
        Logins by mechanism and result, what was denied, and the keys of the issuer of tokens,
        which are read again after the file was missing.
        """
        keys = self.folder / "keys.json"
        password = self.folder / "password"
        password.write_text("right")
        self.http = free_port()
        broker = self.prepared(use_memory_s3=1, metrics_addr=f"127.0.0.1:{self.http}")
        broker.settings |= {
            "listeners": f"SASL_PLAINTEXT://127.0.0.1:{broker.port}",
            "sasl_enabled_mechanisms": "SCRAM-SHA-256,OAUTHBEARER",
            "sasl_oauthbearer_jwks_endpoint_url": keys,
            "sasl_oauthbearer_expected_issuer": ISSUER,
            "sasl_oauthbearer_expected_audience": AUDIENCE,
            "admin_user": "admin",
            "admin_password_file": password,
            "authorizer": "acl",
        }
        broker.start()
        eventually(self.is_ready)
        eventually(lambda: self.values()["kafscale_issuer_keys_failures_total",] == 1)
        self.assertNotIn(("kafscale_issuer_keys_age_seconds",), self.values())
        keys.write_bytes(jwks(RSA))
        eventually(lambda: self.values().get(("kafscale_issuer_keys_age_seconds",), 99) < 30)

        def asked(password: str) -> int:
            command = ["kcat", "-L", "-t", "hidden", "-b", broker.address, "-m", "10"]
            command += ["-X", "security.protocol=SASL_PLAINTEXT"]
            command += ["-X", "sasl.mechanism=SCRAM-SHA-256", "-X", "sasl.username=admin"]
            command += ["-X", f"sasl.password={password}"]
            return subprocess.run(command, capture_output=True, check=False).returncode

        self.assertNotEqual(asked("wrong"), 0)
        self.assertEqual(asked("right"), 0)
        found = self.values()
        logins = {
            place[1:]: value for place, value in found.items() if "logins" in place[0]
        }
        self.assertGreaterEqual(logins.pop(("SCRAM-SHA-256", "failure")), 1)
        self.assertGreaterEqual(logins.pop(("SCRAM-SHA-256", "success")), 1)
        self.assertEqual(
            logins,
            {("NONE", "failure"): 0, ("OAUTHBEARER", "failure"): 0, ("OAUTHBEARER", "success"): 0},
        )
        self.assertGreaterEqual(found["kafscale_denied_total", "DESCRIBE", "TOPIC"], 1)
        self.assertEqual(found["kafscale_sessions_renewed_total",], 0)
        self.assertEqual(found["kafscale_sessions_expired_total",], 0)

    def test_deleted_topic(self) -> None:
        """
        A deleted topic has no metrics.
        """
        broker = self.observed()
        raw = self.connect(broker)
        raw.create("gone")
        raw.produce("gone", 0, batch_of([b"x"]))
        self.assertIn(("kafscale_topic_records_in_total", "gone"), self.values())
        raw.delete("gone")
        eventually(lambda: ("kafscale_topic_records_in_total", "gone") not in self.values())
        eventually(lambda: self.values()["kafscale_partitions_led",] == 0)


class HealthTests(OperatorsTestCase):
    """
    /healthz and /readyz when something fails.
    """

    def test_store_that_fails(self) -> None:
        """
        While objects cannot be written the broker is not ready, with a reason,
        but healthy. When they can be written again it is ready, and waiting
        records are stored.
        """
        broker = self.observed()
        raw = self.connect(broker)
        raw.create("t")
        objects = broker.data / "objects"
        aside = objects.rename(objects.with_name("aside"))
        objects.write_text("not a directory")
        request = raw.produce_request("t", 0, batch_of([b"x"]))
        waiting = raw.send(request, 9)
        eventually(lambda: self.get("/readyz")[0] == 503)
        _, why = self.get("/readyz")
        self.assertRegex(why, r"\Aobjects store: create failed: [^\n]+\n\Z")
        self.assertEqual(self.get("/healthz"), (200, "ok\n"))
        self.assertGreater(self.values()["kafscale_store_errors_total", "create", "objects"], 0)
        self.assertGreater(self.values()["kafscale_journal_unsettled_bytes",], 0)
        objects.unlink()
        aside.rename(objects)
        response = raw.receive(request, 9, waiting)
        self.assertEqual(response.responses[0].partition_responses[0].error_code, 0)
        eventually(lambda: self.get("/readyz") == (200, "ok\n"))

    def test_log_that_is_broken(self) -> None:
        """
        A broker that was replaced and cannot rejoin because its log is corrupt
        is neither ready nor healthy, with a reason. When it can rejoin after
        all it is both, and its counters continue.
        """
        broker = self.observed()
        raw = self.connect(broker)
        raw.create("t")
        raw.produce("t", 0, batch_of([b"1"]))
        slot, *_ = newest_journal(broker)
        content = broker.objects.read(slot)
        seal(broker)
        broker.objects.write(slot, bytes([content[0] ^ 1]) + content[1:])
        raw.produce("t", 0, batch_of([b"refused"]))
        eventually(lambda: self.get("/healthz")[0] == 503)
        _, why = self.get("/healthz")
        self.assertEqual(len(why.splitlines()), 1)
        status, reasons = self.get("/readyz")
        self.assertEqual(status, 503)
        self.assertEqual(
            reasons.splitlines(),
            [
                why.strip(),
                "another broker has taken over; this broker is rejoining the cluster",
            ],
        )
        broker.objects.write(slot, content)
        eventually(lambda: self.get("/readyz") == (200, "ok\n"))
        self.assertEqual(self.get("/healthz"), (200, "ok\n"))
        raw.produce("t", 0, batch_of([b"2"]))
        # The refused record counts: it was appended, and then removed again.
        self.assertEqual(self.values()["kafscale_topic_records_in_total", "t"], 3)

    def test_nothing_else_is_there(self) -> None:
        """
        Other paths answer 404, other methods 405.
        """
        self.observed()
        self.assertEqual(self.get("/")[0], 404)
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/metrics", b"x=1")
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=30)
        with raised.exception as error:
            self.assertEqual(error.code, 405)


class AddressTests(OperatorsTestCase):
    """
    The address of the HTTP server.
    """

    def test_taken(self) -> None:
        """
        An address that is set and in use ends the start with one line and
        status 1.
        """
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            broker = self.prepared(metrics_addr=f"127.0.0.1:{port}")
            broker.start(wait=False)
            self.assertEqual(broker.ended(START_SECONDS), 1)
        lines = [line for line in broker.tail().splitlines() if str(port) in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("KAFSCALE_METRICS_ADDR", lines[0])
        self.assertNotIn("Traceback", broker.tail())

    def test_two_brokers(self) -> None:
        """
        If the default address is in use the broker starts without the server,
        and logs a warning.
        """
        brokers = [self.broker(metrics_addr="") for _ in range(2)]
        for broker in brokers:
            self.connect(broker).create("t")
        logs = [broker.tail() for broker in brokers]
        self.assertTrue(any("KAFSCALE_METRICS_ADDR" in log for log in logs), logs)

    def test_off(self) -> None:
        """
        With "off" there is no server, and no line about it.
        """
        broker = self.broker(metrics_addr="off")
        eventually(lambda: " listens on " in broker.tail())
        self.assertNotIn("/healthz", broker.tail())
        with RawClient(broker.port) as raw:
            raw.create("t")
