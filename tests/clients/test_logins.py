"""
Every client with every mechanism that it has, over TLS and not: with right and with wrong
credentials, under load while sessions end and the broker's certificate is replaced.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import attrs

from tests.access.authentication.issuer import EC, RSA
from tests.clients.broker import eventually
from tests.clients.login_clients import CLIENTS
from tests.clients.logins import MECHANISMS, Login, LoginTestCase
from tests.clients.raw import RawClient

SECONDS = 150.0
SASL = ("SASL_PLAINTEXT", "SASL_SSL")

FAULTS = (
    ("PLAIN", "password"),
    ("PLAIN", "user"),
    ("SCRAM-SHA-256", "password"),
    ("SCRAM-SHA-256", "user"),
    ("SCRAM-SHA-512", "password"),
    ("OAUTHBEARER", "expired"),
    ("OAUTHBEARER", "stranger"),
)

#: What clients say of a login that is refused, by the mechanism. For a certificate that is
#: missing or not trusted there is an alert of TLS, but the end of the connection may be
#: faster: so there it is anything.
WORDS = {
    "": "",
    "PLAIN": "Invalid username or password",
    "SCRAM-SHA-256": "invalid credentials with SASL mechanism SCRAM-SHA-256",
    "SCRAM-SHA-512": "invalid credentials with SASL mechanism SCRAM-SHA-512",
    "OAUTHBEARER": '{"status":"invalid_token"}',
}

#: What some say otherwise. aiokafka and kafkajs take the first answer to a bad token for a
#: success, and lose the connection with their next request.
OTHER_WORDS = {
    "kafka-python": dict.fromkeys(WORDS, "Unable to bootstrap"),
    "aiokafka": {**dict.fromkeys(WORDS, "Unable to bootstrap"), "OAUTHBEARER": "Error"},
    "kafkajs": {"OAUTHBEARER": "KafkaJS"},
    "Sarama": {"OAUTHBEARER": "invalid credentials with SASL mechanism OAUTHBEARER"},
}


class MatrixTests(LoginTestCase):
    """
    A test for each client.
    """

    def setUp(self) -> None:
        """
        Two of the libraries log every attempt.
        """
        super().setUp()
        for name in ("aiokafka", "kafka"):
            self.patch(logging.getLogger(name), "level", logging.CRITICAL)

    def logs_in(self, client: str, renews: bool = True) -> None:
        """
        All logins at the same time: the right ones work and lose nothing, the wrong ones
        hear why and reach nothing.

        @param renews: Whether the client authenticates again on open connections; others
            lose them when a session ends, and make new ones.
        """
        broker = self.opened()
        right = [self.login("SSL", "")]
        right += [self.login(*each) for each in product(SASL, MECHANISMS)]
        wrong = [self.login("SSL", "", fault) for fault in ("none", "mallory")]
        wrong += [self.login(each, *fault) for each, fault in product(SASL, FAULTS)]
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(CLIENTS[client], right + wrong)
            disturbed = self.disturbed(right, "renewed" if renews else "expired", told.done)
            (broker.folder / "over").touch()
            outcomes = told.result()

        self.assertEqual(outcomes[: len(right)], ["ok"] * len(right))
        self.assertEqual(disturbed, "")
        words = {**WORDS, **OTHER_WORDS.get(client, {})}
        for login, heard in zip(wrong, outcomes[len(right) :], strict=True):
            self.assertNotEqual(heard, "ok", login.topic)
            self.assertIn(words[login.mechanism], f"{heard} ({login.topic})")
        with RawClient(broker.port) as raw:
            topics = {each.name for each in raw.metadata().topics} - {"__consumer_offsets"}
        self.assertEqual(topics, {each.topic for each in right})
        self.assertEqual(bool(self.sessions("renewed")), renews)

    def disturbed(self, right: list[Login], end: str, done: Callable[[], bool]) -> str:
        """
        While all right ones work, replace the broker's certificate, and wait until
        sessions have ended: one of each producer and each consumer in the mean.

        @param end: How they end.
        @param done: Whether the client gave up.
        @return: What did not happen; empty if all of it did.
        """
        broker = self.brokers[0]
        until = time.monotonic() + SECONDS

        def so(condition: Callable[[], bool]) -> bool:
            while not condition():
                if done() or time.monotonic() > until:
                    return False
                time.sleep(0.2)
            return True

        def written() -> list[float]:
            values, name = self.metrics(), 'kafscale_topic_records_in_total{{topic="{}"}}'
            return [values.get(name.format(each.topic), 0.0) for each in right]

        def at_work_since(before: list[float]) -> bool:
            return all(now > was + 10 for now, was in zip(written(), before, strict=True))

        if not so(lambda: at_work_since([0.0] * len(right))):
            return f"they do not work: {written()}"
        self.present(broker, "two")
        if not so(lambda: self.presented(broker) == "two"):
            return "the certificate was not exchanged"
        if not so(lambda: self.sessions(end) >= 2 * len(SASL) * len(MECHANISMS)):
            return f"{self.sessions(end)} sessions were {end}"
        before = written()
        return "" if so(lambda: at_work_since(before)) else "they do not go on"

    def sessions(self, end: str) -> float:
        """
        How many sessions ended in this way.
        """
        return self.metrics()[f"kafscale_sessions_{end}_total"]

    def test_java(self) -> None:
        """
        The Java client.
        """
        self.logs_in("Java")

    def test_confluent(self) -> None:
        """
        confluent-kafka.
        """
        self.logs_in("confluent-kafka")

    def test_kafka_python(self) -> None:
        """
        kafka-python.
        """
        self.logs_in("kafka-python")

    def test_aiokafka(self) -> None:
        """
        aiokafka.
        """
        self.logs_in("aiokafka", renews=False)

    def test_kafkajs(self) -> None:
        """
        kafkajs.
        """
        self.logs_in("kafkajs")

    def test_franz(self) -> None:
        """
        franz-go.
        """
        self.logs_in("franz-go")

    def test_sarama(self) -> None:
        """
        Sarama.
        """
        self.logs_in("Sarama")


class IssuerTests(LoginTestCase):
    """
    An issuer of tokens that publishes its keys by HTTPS.
    """

    def test_keys(self) -> None:
        """
        Keys that are exchanged for others are noticed by the first token that names one of
        them; what the old ones have signed is refused then. While the issuer is away its
        keys stay in use.
        """
        (self.opened().folder / "over").touch()
        numbers = iter(range(1000))

        def outcome() -> str:
            login = self.login("SASL_PLAINTEXT", "OAUTHBEARER")
            return CLIENTS["confluent-kafka"]([attrs.evolve(login, topic=f"t{next(numbers)}")])[0]

        def refused() -> bool:
            return "invalid_token" in outcome()

        self.assertEqual(outcome(), "ok")
        self.publisher.keys = self.issuer.keys = (EC,)
        eventually(lambda: outcome() == "ok")
        self.issuer.keys = (RSA,)
        self.assertTrue(refused())
        self.publisher.close()
        failures = "kafscale_issuer_keys_failures_total"
        eventually(lambda: refused() and self.metrics()[failures] > 0)
        self.issuer.keys = (EC,)
        self.assertEqual(outcome(), "ok")
