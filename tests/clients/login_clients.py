"""
Client libraries that log in: each is a function from logins, all of which it does at the
same time, to what becomes of them: C{ok}, or the client's own words.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.request import urlopen

import aiokafka
import aiokafka.abc
import attrs
import confluent_kafka
import kafka
import kafka.net.sasl.oauth

from tests.clients.libraries import KAFKAJS
from tests.clients.logins import TOKEN_SECONDS, Login
from tests.harness.peers import go_program, java

SECONDS = 60.0
LOAD_SECONDS = 180.0
"""All is over after this time, however busy the machine is."""
PAUSE = 0.05

Client = Callable[[Sequence[Login]], list[str]]


def fetched(url: str) -> str:
    """
    A token of an issuer.
    """
    with urlopen(url, timeout=SECONDS) as answer:
        return str(json.load(answer)["access_token"])


class Library(ABC):
    """
    A client that has logged in.
    """

    @abstractmethod
    def __init__(self, login: Login) -> None:
        """
        @raise Exception: It could not log in, in its own words.
        """

    @abstractmethod
    def write(self, value: bytes) -> None:
        """
        Write a record without waiting for its answer.
        """

    @abstractmethod
    def finish(self) -> list[int]:
        """
        The offsets of all records, in the order of writing.
        """

    @abstractmethod
    def consumer(self) -> Any:
        """
        A new consumer, at the start of the topic.
        """

    @abstractmethod
    def read(self, consumer: Any) -> list[int]:
        """
        What comes within some milliseconds.
        """

    @abstractmethod
    def close(self, consumer: Any) -> None:
        """
        End a consumer.
        """


def outcome(library: type[Library], login: Login) -> str:
    """
    What becomes of a login.
    """
    try:
        client = library(login)
    except Exception as refused:
        return f"{type(refused).__name__} {refused}"
    limit = time.monotonic() + LOAD_SECONDS
    sent = 0
    under_load: list[int] = []
    at_work = client.consumer()
    while not (under_load and os.path.exists(login.over)) and time.monotonic() < limit:
        client.write(b"%d" % sent)
        sent += 1
        under_load += client.read(at_work)
        time.sleep(PAUSE)
    client.close(at_work)
    offsets = client.finish()
    afterwards: list[int] = []
    later = client.consumer()
    while len(afterwards) < sent and time.monotonic() < limit:
        afterwards += client.read(later)
    client.close(later)
    numbers = list(range(sent))
    if offsets != numbers or afterwards != numbers or under_load != numbers[: len(under_load)]:
        return f"of {sent}: at {offsets}; under load {under_load}; afterwards {afterwards}"
    return "ok"


class Confluent(Library):
    """
    confluent-kafka.
    """

    def __init__(self, login: Login) -> None:
        errors: list[str] = []
        self._offsets: list[int] = []
        self._topic = login.topic
        self._options: dict[str, Any] = {
            "bootstrap.servers": login.server,
            "security.protocol": login.protocol,
            # Not of this object: see prepare_for_librdkafka.
            "error_cb": lambda error: errors.append(error.str()),
            "log_level": 0,
        }
        if login.encrypted:
            self._options["ssl.ca.location"] = login.ca
        if login.certificate:
            self._options["ssl.certificate.location"] = login.certificate
            self._options["ssl.key.location"] = login.certificate
        if login.mechanism:
            self._options["sasl.mechanism"] = login.mechanism
            self._options |= {"sasl.username": login.user, "sasl.password": login.password}
        if login.mechanism == "OAUTHBEARER":
            self._options["oauth_cb"] = lambda _: (
                fetched(login.token),
                time.time() + TOKEN_SECONDS,
            )
        self._producer = confluent_kafka.Producer(
            {**self._options, "enable.idempotence": True, "linger.ms": 0}
        )
        while not errors:
            try:
                self._producer.list_topics(timeout=0.5)
                break
            except confluent_kafka.KafkaException:
                self._producer.poll(0)
        if errors:
            raise confluent_kafka.KafkaException(errors[0])

    def write(self, value: bytes) -> None:
        """
        See L{Library}.
        """
        self._producer.produce(self._topic, value, on_delivery=self._delivered)
        self._producer.poll(0)

    def _delivered(self, error: object, message: Any) -> None:
        self._offsets.append(-1 if error else message.offset())

    def finish(self) -> list[int]:
        """
        See L{Library}.
        """
        self._producer.flush(SECONDS)
        return self._offsets

    def consumer(self) -> Any:
        """
        See L{Library}.
        """
        consumer = confluent_kafka.Consumer({**self._options, "group.id": "g"})
        consumer.assign([confluent_kafka.TopicPartition(self._topic, 0, 0)])
        return consumer

    def read(self, consumer: Any) -> list[int]:
        """
        See L{Library}.
        """
        found = consumer.consume(1000, PAUSE)
        return [int(each.value()) for each in found if each.error() is None]

    def close(self, consumer: Any) -> None:
        """
        See L{Library}.
        """
        consumer.close()


def python_options(login: Login) -> dict[str, Any]:
    """
    The options that kafka-python and aiokafka have in common.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": login.server,
        "security_protocol": login.protocol,
        "ssl_context": login.context(),
    }
    if login.mechanism:
        options["sasl_mechanism"] = login.mechanism
        options |= {"sasl_plain_username": login.user, "sasl_plain_password": login.password}
    return options


class Token(kafka.net.sasl.oauth.AbstractTokenProvider):  # type: ignore[misc]
    """
    Tokens for kafka-python.
    """

    def __init__(self, url: str, **config: Any) -> None:
        self._url = url

    def token(self) -> str:
        """
        A new one.
        """
        return fetched(self._url)


class KafkaPython(Library):
    """
    kafka-python.
    """

    def __init__(self, login: Login) -> None:
        self._where = kafka.TopicPartition(login.topic, 0)
        self._sent: list[Any] = []
        self._options = python_options(login)
        if login.mechanism == "OAUTHBEARER":
            self._options["sasl_oauth_token_provider"] = Token(login.token)
        self._options["bootstrap_timeout_ms"] = int(1000 * login.seconds)
        self._producer = kafka.KafkaProducer(**self._options)

    def write(self, value: bytes) -> None:
        """
        See L{Library}.
        """
        self._sent.append(self._producer.send(self._where.topic, value))

    def finish(self) -> list[int]:
        """
        See L{Library}.
        """
        offsets = [each.get(SECONDS).offset for each in self._sent]
        self._producer.close()
        return offsets

    def consumer(self) -> Any:
        """
        See L{Library}.
        """
        consumer = kafka.KafkaConsumer(**self._options)
        consumer.assign([self._where])
        consumer.seek_to_beginning(self._where)
        return consumer

    def read(self, consumer: Any) -> list[int]:
        """
        See L{Library}.
        """
        polled = consumer.poll(int(1000 * PAUSE))
        return [int(each.value) for records in polled.values() for each in records]

    def close(self, consumer: Any) -> None:
        """
        See L{Library}.
        """
        consumer.close()


class AsyncToken(aiokafka.abc.AbstractTokenProvider):  # type: ignore[misc]
    """
    Tokens for aiokafka.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def token(self) -> str:
        """
        A new one.
        """
        return await asyncio.to_thread(fetched, self._url)


class Aiokafka(Library):
    """
    aiokafka, with a loop of its own, which runs while something is waited for.
    """

    def __init__(self, login: Login) -> None:
        self._where = aiokafka.TopicPartition(login.topic, 0)
        self._sent: list[Any] = []
        self._options = python_options(login)
        if login.mechanism == "OAUTHBEARER":
            self._options["sasl_oauth_token_provider"] = AsyncToken(login.token)
        self._loop = asyncio.new_event_loop()
        self._producer = self._wait(self._made(login.seconds))

    def _wait(self, what: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(what, SECONDS))

    async def _made(self, seconds: float) -> Any:
        producer = aiokafka.AIOKafkaProducer(**self._options, enable_idempotence=True)
        try:
            await asyncio.wait_for(producer.start(), seconds)
            await producer.partitions_for(self._where.topic)
        except Exception:
            await producer.stop()
            raise
        return producer

    def write(self, value: bytes) -> None:
        """
        See L{Library}.
        """
        self._sent.append(self._wait(self._producer.send(self._where.topic, value)))

    def finish(self) -> list[int]:
        """
        See L{Library}.
        """
        offsets = [self._wait(each).offset for each in self._sent]
        self._wait(self._producer.stop())
        return offsets

    def consumer(self) -> Any:
        """
        See L{Library}.
        """

        async def made() -> Any:
            consumer = aiokafka.AIOKafkaConsumer(**self._options)
            await consumer.start()
            consumer.assign([self._where])
            await consumer.seek_to_beginning(self._where)
            return consumer

        return self._wait(made())

    def read(self, consumer: Any) -> list[int]:
        """
        See L{Library}.
        """
        polled = self._wait(consumer.getmany(timeout_ms=int(1000 * PAUSE)))
        return [int(each.value) for records in polled.values() for each in records]

    def close(self, consumer: Any) -> None:
        """
        See L{Library}.
        """
        self._wait(consumer.stop())


def in_threads(library: type[Library], logins: Sequence[Login]) -> list[str]:
    """
    By a library in Python.
    """
    with ThreadPoolExecutor(len(logins)) as pool:
        return list(pool.map(partial(outcome, library), logins))


def by_program(command: Sequence[str], logins: Sequence[Login]) -> list[str]:
    """
    By a program, which gets the logins as JSON and prints a line for each.
    """
    table = json.dumps([attrs.asdict(each) for each in logins])
    done = subprocess.run(
        [*command, table],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * LOAD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.splitlines()


def by_java(logins: Sequence[Login]) -> list[str]:
    """
    By the Java client, which fetches tokens only from where it is allowed to.
    """
    urls = ",".join(sorted({each.token for each in logins}))
    option = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={urls}"
    return by_program(java("4.4", "Login", options=[option]), logins)


CLIENTS: dict[str, Client] = {
    "Java": by_java,
    "confluent-kafka": partial(in_threads, Confluent),
    "kafka-python": partial(in_threads, KafkaPython),
    "aiokafka": partial(in_threads, Aiokafka),
    "kafkajs": partial(by_program, ["node", str(KAFKAJS / "login.js")]),
    "franz-go": lambda logins: by_program([str(go_program("franz_login"))], logins),
    "Sarama": lambda logins: by_program([str(go_program("sarama_login"))], logins),
}
