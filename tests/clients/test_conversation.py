"""
The order of answers on a real connection, requests without an answer, and
requests that end the connection.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

from kafscale.wire.headers import request_header
from kafscale.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    CreateTopicsRequest,
    FindCoordinatorRequest,
    InitProducerIdRequest,
    ListOffsetsRequest,
    MetadataRequest,
    SaslHandshakeRequest,
)
from kafscale.wire.schema import Request
from tests.clients.broker import BrokerTestCase, eventually
from tests.clients.raw import LATEST, RawClient, batch_of
from tests.clients.requests import ADVERTISED, some_requests

NONE = 0
UNKNOWN_TOPIC_OR_PARTITION = 3
INVALID_REQUIRED_ACKS = 21
ILLEGAL_SASL_STATE = 34
UNSUPPORTED_VERSION = 35
INVALID_REQUEST = 42
TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53


class ConversationTestCase(BrokerTestCase):
    """
    One broker with a topic, and a connection to it.
    """

    def setUp(self) -> None:
        """
        The topic is called C{talk}.
        """
        super().setUp()
        self.subject = self.broker()
        self.client = self.connect(self.subject)
        self.topic_id = self.client.create("talk")

    def offsets_request(self) -> ListOffsetsRequest:
        """
        A request for the end of the topic.
        """
        asked = ListOffsetsRequest.Topic
        part = asked.Partition(partition_index=0, timestamp=LATEST)
        return ListOffsetsRequest(topics=[asked(name="talk", partitions=[part])])

    def assert_closes(self, client: RawClient, *words: str) -> None:
        """
        The connection ends without another answer; one line of the log has
        these words, and others are served.
        """
        with self.assertRaises(ConnectionError):
            client.receive_frame()
        eventually(lambda: all(word in self.subject.tail() for word in words))
        lines = [
            line for line in self.subject.tail().splitlines() if all(word in line for word in words)
        ]
        self.assertEqual(len(lines), 1, lines)
        self.assertNotIn("Traceback", self.subject.tail())
        self.assertEqual(self.connect(self.subject).metadata("talk").topics[0].error_code, NONE)


class OrderTests(ConversationTestCase):
    """
    Answers come in the order of their requests, and each request sees what
    those before it did.
    """

    def test_pipelined(self) -> None:
        """
        Produces, fetches and look-ups sent without waiting for any answer.
        """
        offsets = self.offsets_request()
        sent: list[tuple[Request, int, int]] = []

        def send(request: Request, version: int) -> None:
            sent.append((request, version, self.client.send(request, version)))

        for turn in range(10):
            for number in range(5):
                batch = batch_of([b"%d" % (turn * 5 + number)])
                send(self.client.produce_request("talk", 0, batch), 9)
            send(self.client.fetch_request("talk", 0, turn * 5), 12)
            send(offsets, 7)
        answers = [self.client.receive(*each) for each in sent]
        for turn in range(10):
            *produced, fetched, end = answers[turn * 7 : turn * 7 + 7]
            self.assertEqual(
                [each.responses[0].partition_responses[0].base_offset for each in produced],
                list(range(turn * 5, turn * 5 + 5)),
            )
            part = fetched.responses[0].partitions[0]
            self.assertEqual(part.high_watermark, turn * 5 + 5)
            self.assertGreater(len(part.records), 0)
            self.assertEqual(end.topics[0].partitions[0].offset, turn * 5 + 5)

    def test_long_poll(self) -> None:
        """
        A request sent after a long poll is answered after it. The poll ends as
        soon as another client produces.
        """
        poll = self.client.fetch_request("talk", 0, 0, wait=30_000)
        first = self.client.send(poll, 12)
        second = self.client.send(self.offsets_request(), 7)
        begun = time.monotonic()
        other = self.connect(self.subject)
        self.assertEqual(other.offset("talk"), 0)
        other.produce("talk", 0, batch_of([b"wake"]))
        polled = self.client.receive(poll, 12, first)
        self.assertLess(time.monotonic() - begun, 10)
        self.assertGreater(len(polled.responses[0].partitions[0].records), 0)
        offsets = self.client.receive(self.offsets_request(), 7, second)
        self.assertEqual(offsets.topics[0].partitions[0].offset, 1)

    def test_create_then_metadata(self) -> None:
        """
        A topic is there for what follows its creation.
        """
        made = CreateTopicsRequest.Topic
        for number in range(5):
            name = f"new-{number}"
            wanted = made(
                name=name, num_partitions=2, replication_factor=3, assignments=[], configs=[]
            )
            create = CreateTopicsRequest(topics=[wanted], timeout_ms=10_000)
            ask = MetadataRequest(
                topics=[MetadataRequest.Topic(name=name)], allow_auto_topic_creation=False
            )
            first, second = self.client.send(create, 5), self.client.send(ask, 9)
            self.assertEqual(self.client.receive(create, 5, first).topics[0].error_code, NONE)
            (topic,) = self.client.receive(ask, 9, second).topics
            self.assertEqual(topic.error_code, NONE)
            self.assertEqual([each.leader_id for each in topic.partitions], [0, 0])


class AcksTests(ConversationTestCase):
    """
    C{acks=0} has no answer, not even a bad one.
    """

    def test_no_answer(self) -> None:
        """
        The next answer is that to the next request; the records are there in
        the order in which they came.
        """
        for number in range(3):
            self.client.produce("talk", 0, batch_of([b"%d" % number]), acks=0)
        eventually(lambda: self.client.offset("talk") == 3)
        stored = [each.value for each in self.client.records("talk")]
        self.assertEqual(stored, [b"0", b"1", b"2"])

    def test_error_closes(self) -> None:
        """
        To an unknown topic: the connection ends.
        """
        self.client.produce("absent", 0, batch_of([b"lost"]), acks=0)
        self.assert_closes(self.client, "ProduceRequest failed, and gets no response")

    def test_damaged_closes(self) -> None:
        """
        A damaged batch, likewise; what came before it is stored.
        """
        self.client.produce("talk", 0, batch_of([b"good"]), acks=0)
        bent = bytearray(batch_of([b"bad"]))
        bent[-1] ^= 1
        self.client.produce("talk", 0, bytes(bent), acks=0)
        self.assert_closes(self.client, "ProduceRequest failed, and gets no response")
        client = self.connect(self.subject)
        eventually(lambda: client.offset("talk") == 1)

    def test_others(self) -> None:
        """
        Acks may be 0, 1 and -1.
        """
        for acks in (2, -2, 32767):
            part = self.client.produce("talk", 0, batch_of([b"x"]), acks)
            self.assertEqual((part.error_code, part.base_offset), (INVALID_REQUIRED_ACKS, -1))
        self.assertEqual(self.client.produce("talk", 0, batch_of([b"x"]), 1).base_offset, 0)


class VersionTests(ConversationTestCase):
    """
    The APIs and versions that the broker serves, and those that it refuses.
    """

    def test_advertised(self) -> None:
        """
        Exactly these APIs, in every version of ApiVersions; no features.
        """
        expected = {kind.key: versions for kind, versions in ADVERTISED.items()}
        request = ApiVersionsRequest(client_software_name="raw", client_software_version="1")
        for version in range(6):
            answer = self.client.call(request, version)
            self.assertEqual(answer.error_code, NONE)
            self.assertEqual(
                {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys},
                expected,
            )
            self.assertEqual((answer.supported_features, answer.finalized_features), ([], []))

    def test_newer_api_versions(self) -> None:
        """
        Version 99 is answered in version 0: which ones there are.
        """
        self.client.socket.sendall(struct.pack(">ihhih", 10, 18, 99, 77, -1))
        frame = self.client.receive_frame()
        self.assertEqual(frame[:4], struct.pack(">i", 77))
        answer = ApiVersionsResponse.decode(0, memoryview(frame), 4)
        self.assertEqual(answer.error_code, UNSUPPORTED_VERSION)
        self.assertEqual(
            [(each.api_key, each.min_version, each.max_version) for each in answer.api_keys],
            [(18, 0, 5)],
        )
        self.assertEqual(self.client.offset("talk"), 0)

    def test_documented(self) -> None:
        """
        docs/protocol.md has them all, by key.
        """
        path = Path(__file__).parents[2] / "docs" / "protocol.md"
        section = path.read_text(encoding="utf-8").split("\n## Served\n")[1].split("\n## ")[0]
        rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")]
        found = [(name.removeprefix("| "), key, versions) for name, key, versions, *_ in rows[1:]]
        expected = []
        for request, (lowest, highest) in ADVERTISED.items():
            versions = str(lowest) if lowest == highest else f"{lowest}-{highest}"
            expected.append((request.__name__.removesuffix("Request"), str(request.key), versions))
        self.assertEqual(found, sorted(expected, key=lambda row: int(row[1])))

    def test_every_version_is_answered(self) -> None:
        """
        Whatever is advertised is answered in its own schema.
        """
        for request in some_requests(self.topic_id):
            lowest, highest = ADVERTISED[type(request)]
            for version in range(lowest, highest + 1):
                self.client.call(request, version)
        self.assertNotIn("Traceback", self.subject.tail(1000))

    def test_not_served(self) -> None:
        """
        An unknown API, one that is known but not served, and a version that is
        too new end the connection, after what came before is answered.
        """
        for number, (key, version, words) in enumerate(
            (
                (1000, 0, "API key 1000 is not served"),
                (71, 0, "API key 71 is not served"),
                (0, 14, "ProduceRequest v14 is not served"),
                (3, 99, "MetadataRequest v99 is not served"),
            ),
            1,
        ):
            # Only one closing a minute is logged for each address.
            client = self.connect(self.subject, host=f"127.0.1.{number}")
            first = client.send(self.offsets_request(), 7)
            client.socket.sendall(struct.pack(">ihhih", 10, key, version, 7, -1))
            client.receive(self.offsets_request(), 7, first)
            self.assert_closes(client, words)

    def test_unknown_tags(self) -> None:
        """
        Unknown tagged fields are skipped.
        """
        head = request_header(3, 12, 5, "raw")
        body = b"".join(MetadataRequest(topics=[]).encode(12))
        self.assertEqual(body[-1:], b"\0")
        body = body[:-1] + b"\x01\x63\x03new"  # tag 99, three bytes
        self.client.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        self.assertEqual(self.client.receive_frame()[:4], struct.pack(">i", 5))

    def test_sasl(self) -> None:
        """
        A listener without it says so.
        """
        for version in (0, 1):
            answer = self.client.call(SaslHandshakeRequest(mechanism="PLAIN"), version)
            self.assertEqual(answer.error_code, ILLEGAL_SASL_STATE)
            self.assertEqual(answer.mechanisms, [])


class TransactionTests(ConversationTestCase):
    """
    Requests of transactions are refused, with an error that no client retries.
    """

    def test_refused(self) -> None:
        """
        Its coordinator, its producer id and its batches.
        """
        for version in range(1, 7):
            find = FindCoordinatorRequest(key="tx", key_type=1, coordinator_keys=["tx"])
            answer = self.client.call(find, version)
            if version >= 4:
                (answer,) = answer.coordinators
            self.assertEqual(answer.error_code, TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
            self.assertIn("ransactions are not supported", answer.error_message)
        for version in range(6):
            begin = InitProducerIdRequest(transactional_id="tx", transaction_timeout_ms=60_000)
            code = self.client.call(begin, version).error_code
            self.assertEqual(code, TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        request = self.client.produce_request("talk", 0, batch_of([b"x"]))
        request.transactional_id = "tx"
        ((part,),) = [each.partition_responses for each in self.client.call(request, 9).responses]
        self.assertEqual(part.error_code, TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
        self.assertEqual(self.client.offset("talk"), 0)

    def test_share_groups(self) -> None:
        """
        There are none; a group's coordinator is this broker.
        """
        for key_type, error, port in (
            (2, INVALID_REQUEST, -1),
            (0, NONE, self.subject.port),
        ):
            find = FindCoordinatorRequest(key_type=key_type, coordinator_keys=["g:t:0"])
            (answer,) = self.client.call(find, 6).coordinators
            self.assertEqual((answer.error_code, answer.port), (error, port))
