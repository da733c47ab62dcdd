"""
Tests of `kafscale.net.dispatch`.
"""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.defer import execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.quotas.quotas import Quotas
from kafscale.concurrency.work_queue import WorkQueue
from kafscale.counts import ApiCounts
from kafscale.errors import InvalidRequest, KafkaStorageError, StoreUnavailable
from kafscale.net.dispatch import Dispatch
from kafscale.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ProduceRequest,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from kafscale.wire.schema import Request
from tests.net.fakes import Broker, FakeService, body, framed, heartbeat

# As a client of the future would ask: nothing after the correlation id can be
# understood.
API_VERSIONS_99 = bytes.fromhex(
    "0000000e"  # length
    "0012"      # api key: ApiVersions
    "0063"      # version 99
    "00000007"  # correlation id 7
    "ffff"      # client id: null
    "deadbeef"  # an arbitrary tag
)  # fmt: skip

API_VERSIONS_99_ANSWER = bytes.fromhex(
    "00000007"  # correlation id 7
    "0023"      # UNSUPPORTED_VERSION
    "00000001"  # one API:
    "0012"      # ApiVersions
    "0000"      # from 0
    "0005"      # to 5
)  # fmt: skip


class ApiVersionsTests(SynchronousTestCase):
    """
    What the broker says it serves.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.client = Broker().connect()

    def ask(
        self, version: int, name: str = "", software: str = "", **meant: Any
    ) -> ApiVersionsResponse:
        """
        The answer to ApiVersions.

        @param meant: The cluster and the broker that the client means.
        """
        request = ApiVersionsRequest(
            client_software_name=name, client_software_version=software, **meant
        )
        self.client.send(framed(request, version, 3))
        (answer,) = self.client.answers()
        correlation_id, response = body(answer, ApiVersionsResponse, version)
        self.assertEqual(correlation_id, 3)
        self.assertIsInstance(response, ApiVersionsResponse)
        return response

    def test_what_is_served(self) -> None:
        """
        In every version it is what the services serve, in the order of keys.
        """
        for version in range(6):
            response = self.ask(version, "apache-kafka-java", "4.1.0")
            self.assertEqual(response.error_code, 0)
            self.assertEqual(
                [(each.api_key, each.min_version, each.max_version) for each in response.api_keys],
                [(0, 0, 13), (1, 0, 18), (12, 0, 4), (17, 0, 1), (18, 0, 5), (36, 0, 2)],
            )
            self.assertEqual(response.supported_features, [])
            self.assertEqual(response.finalized_features, [])
            self.assertEqual(response.finalized_features_epoch, -1)

    def test_newer(self) -> None:
        """
        A version that is too new is answered in version 0, and the connection
        lives on.
        """
        self.client.send(API_VERSIONS_99)
        (answer,) = self.client.answers()
        self.assertEqual(bytes(answer), API_VERSIONS_99_ANSWER)
        self.assertEqual(self.ask(0).error_code, 0)

    def test_shortest(self) -> None:
        """
        Eight bytes are enough for that.
        """
        self.client.send(struct.pack(">ihhi", 8, 18, 6, 7))
        self.assertEqual(bytes(self.client.answers()[0]), API_VERSIONS_99_ANSWER)

    def test_software(self) -> None:
        """
        The client's software has a name and a version of certain characters.
        """
        for name, software in [
            ("", "1"), ("librdkafka", ""), ("a b", "1"), ("-a", "1"), ("a", "1."), ("ä", "1"),
            ("a\n", "1"),
        ]:  # fmt: skip
            response = self.ask(3, name, software)
            self.assertEqual(response.error_code, InvalidRequest.code)
            self.assertEqual(response.api_keys, [])
        self.assertEqual(self.ask(3, "a", "1").error_code, 0)
        self.assertEqual(self.ask(4, "confluent-kafka-python", "2.6.0-rdkafka-2.6.0").error_code, 0)

    def test_broker_that_is_meant(self) -> None:
        """
        A client that names this broker and its cluster is answered. With one of the
        two missing the request is invalid, and a client that means another broker
        must bootstrap again (KIP-1242; as Apache Kafka 4.4.0 answers).
        """
        for cluster, broker, code in [
            ("cluster", 1, 0),
            (None, -1, 0),
            ("cluster", 2, 129),
            ("another", 1, 129),
            ("", 1, 129),
            ("cluster", -5, 129),
            ("cluster", -1, 42),
            ("", -1, 42),
            (None, 1, 42),
            (None, -5, 42),
        ]:
            response = self.ask(5, "a", "1", cluster_id=cluster, node_id=broker)
            self.assertEqual(response.error_code, code, (cluster, broker))
            self.assertEqual(bool(response.api_keys), code == 0)


class SaslTests(SynchronousTestCase):
    """
    Authentication on a connection that is open.
    """

    def test_refused(self) -> None:
        """
        It comes too late, and the connection lives on.
        """
        client = Broker().connect()
        for version in (0, 1):
            client.send(framed(SaslHandshakeRequest(mechanism="PLAIN"), version, 1))
            (answer,) = client.answers()
            _, response = body(answer, SaslHandshakeResponse, version)
            self.assertEqual(response, SaslHandshakeResponse(error_code=34, mechanisms=[]))
        for version in (0, 1, 2):
            client.send(framed(SaslAuthenticateRequest(auth_bytes=b"x"), version, 1))
            (answer,) = client.answers()
            _, refused = body(answer, SaslAuthenticateResponse, version)
            self.assertEqual(
                (refused.error_code, refused.error_message),
                (34, "SaslAuthenticate request received after successful authentication"),
            )


class TableTests(SynchronousTestCase):
    """
    What services serve.
    """

    def test_served_twice(self) -> None:
        """
        Two services cannot serve one API.
        """
        with self.assertRaisesRegex(ValueError, "ProduceRequest is served twice"):
            seconds = Clock().seconds
            services = [FakeService(), FakeService()]
            work = WorkQueue(Clock(), execute)
            Dispatch(services, seconds, "cluster", 1, Quotas(seconds), work)

    def test_other_versions(self) -> None:
        """
        A request is decoded and answered in its own version.
        """
        broker = Broker()
        broker.service.at_once = True
        client = broker.connect()
        client.send(heartbeat(5))
        (answer,) = client.answers()
        # Flexible: the header ends with no tagged fields, and so does the body.
        self.assertEqual(bytes(answer).hex(), "00000005" "00" "00000000" "0000" "00")

    def test_store_unavailable(self) -> None:
        """
        A store that does not answer is an error of its own, and no traceback.
        """
        broker = Broker()
        client = broker.connect()
        client.send(heartbeat(5))
        broker.begun[0].answer.errback(StoreUnavailable("503"))
        (answer,) = client.answers()
        self.assertEqual(body(answer, HeartbeatResponse, 4)[1].error_code, 56)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_answer_that_has_no_form(self) -> None:
        """
        A response that cannot be encoded is a defect: logged, and answered.
        """
        broker = Broker()
        response = broker.service.response
        self.patch(
            broker.service,
            "response",
            lambda request, code=0: response(request, code or 1_000_000),
        )
        broker.service.at_once = True
        client = broker.connect()
        client.send(heartbeat(5))
        (answer,) = client.answers()
        self.assertEqual(body(answer, HeartbeatResponse, 4)[1].error_code, -1)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_long_answer(self) -> None:
        """
        A response that is encoded in turns comes like others, and so does the error if it
        cannot be encoded.
        """
        service = FakeService()
        service.at_once = service.long = True
        client = Broker(services=[service]).connect()
        response = service.response
        for code, expected in ((0, 0), (27, 27), (1_000_000, -1)):
            self.patch(
                service, "response", lambda request, error=code: response(request, error)
            )
            client.send(heartbeat(5))
            (answer,) = client.answers()
            self.assertEqual(body(answer, HeartbeatResponse, 4)[1].error_code, expected)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_no_answer_at_all(self) -> None:
        """
        If not even the failure can be encoded, the connection closes.
        """
        broker = Broker()
        self.patch(
            broker.service, "response", lambda request, code=0: HeartbeatResponse(error_code=10**6)
        )
        broker.service.at_once = True
        client = broker.connect()
        client.send(heartbeat(5))
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors()), 2)


class CountsTests(SynchronousTestCase):
    """
    What is counted of requests.
    """

    def setUp(self) -> None:
        """
        One client.
        """
        self.broker = Broker()
        self.client = self.broker.connect()

    def counts(self, request: type[Request]) -> ApiCounts:
        """
        Those of one API.
        """
        return self.broker.dispatch.counts[request.key]

    def test_answered(self) -> None:
        """
        A request counts when it is answered: its error, its time, its bytes
        and those of its answer.
        """
        counts = self.counts(HeartbeatRequest)
        sent = heartbeat(1)
        self.client.send(sent)
        self.assertEqual((counts.name, counts.received), ("Heartbeat", len(sent)))
        self.assertEqual(counts.answers, {})
        self.broker.clock.advance(0.3)
        self.broker.finish(0)
        (answer,) = self.client.answers()
        self.assertEqual(counts.answers, {0: 1})
        self.assertEqual(counts.sent, 4 + len(answer))
        self.assertAlmostEqual(counts.seconds.total, 0.3)

    def test_errors(self) -> None:
        """
        An answer counts by the error in it, whether the service answered so
        or failed.
        """
        self.client.send(framed(SaslHandshakeRequest(mechanism="PLAIN"), 1, 1))
        self.client.send(heartbeat(1))
        self.broker.begun[0].answer.errback(StoreUnavailable("away"))
        self.assertEqual(self.counts(SaslHandshakeRequest).answers, {34: 1})
        self.assertEqual(self.counts(HeartbeatRequest).answers, {KafkaStorageError.code: 1})

    def test_other_version(self) -> None:
        """
        ApiVersions in an unknown version counts as the error that it is
        answered with.
        """
        self.client.send(API_VERSIONS_99)
        self.assertEqual(self.counts(ApiVersionsRequest).answers, {35: 1})

    def test_no_answer(self) -> None:
        """
        A produce that owes no answer counts when it is done. One that fails
        costs its connection, and that counts, too.
        """
        for number in range(2):
            produce = ProduceRequest(acks=0, timeout_ms=0, topic_data=[])
            self.client.send(framed(produce, 9, number))
        self.broker.finish(0)
        self.broker.begun[1].answer.errback(StoreUnavailable("away"))
        counts = self.counts(ProduceRequest)
        self.assertEqual(counts.answers, {0: 1, KafkaStorageError.code: 1})
        self.assertEqual(counts.sent, 0)
        self.assertEqual(self.broker.dispatch.refused, 1)

    def test_refused(self) -> None:
        """
        What is not served, or not understood, counts as refused.
        """
        for frame in (
            struct.pack(">ihhi", 8, 999, 0, 1),
            struct.pack(">ihhi", 8, HeartbeatRequest.key, 99, 1),
            struct.pack(">ihhih", 10, HeartbeatRequest.key, 0, 1, -1),
        ):
            self.broker.connect().send(frame)
        self.assertEqual(self.broker.dispatch.refused, 3)
        self.assertEqual(self.counts(HeartbeatRequest).answers, {})
