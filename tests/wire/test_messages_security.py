"""
Frames of authentication, ACLs, transactions and telemetry.
"""

from __future__ import annotations

from uuid import UUID

from kafscale.wire.messages import (
    AddPartitionsToTxnRequest,
    AlterUserScramCredentialsRequest,
    CreateDelegationTokenRequest,
    DescribeAclsRequest,
    EndTxnRequest,
    PushTelemetryRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
    TxnOffsetCommitResponse,
    TxnTopic,
)

from .canonical import CanonicalTestCase


class SaslHandshakeTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for mechanism PLAIN.
        """
        frame = bytes.fromhex(
            "0011"  # api key: SaslHandshake
            "0001"  # version 1
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "0005504c41494e"  # mechanism: "PLAIN"
        )
        message = SaslHandshakeRequest(mechanism="PLAIN")
        self.assert_request(frame, 1, message)

    def test_response(self) -> None:
        """
        An error, with an empty list of mechanisms.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "0021"  # error_code: 33
            "00000000"  # mechanisms: none
        )
        message = SaslHandshakeResponse(error_code=33, mechanisms=[])
        self.assert_response(frame, 1, message)


class SaslAuthenticateTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request with a token.
        """
        frame = bytes.fromhex(
            "0024"  # api key: SaslAuthenticate
            "0002"  # version 2
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "04616263"  # auth_bytes: b"abc"
            "00"  # end: no tagged fields
        )
        message = SaslAuthenticateRequest(auth_bytes=b"abc")
        self.assert_request(frame, 2, message)


class AlterUserScramCredentialsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request to set a salted password.
        """
        frame = bytes.fromhex(
            "0033"  # api key: AlterUserScramCredentials
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "01"  # deletions: none
            "02"  # upsertions: 1
            "037531"  # upsertion name: "u1"
            "01"  # upsertion mechanism: 1
            "00001000"  # upsertion iterations: 4096
            "0273"  # upsertion salt: b"s"
            "0270"  # upsertion salted_password: b"p"
            "00"  # end of upsertion: no tagged fields
            "00"  # end: no tagged fields
        )
        message = AlterUserScramCredentialsRequest(
            deletions=[],
            upsertions=[
                AlterUserScramCredentialsRequest.Upsertion(
                    name="u1", mechanism=1, iterations=4096, salt=b"s", salted_password=b"p"
                )
            ],
        )
        self.assert_request(frame, 0, message)


class DescribeAclsTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for all ACLs of topics.
        """
        frame = bytes.fromhex(
            "001d"  # api key: DescribeAcls
            "0002"  # version 2
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # resource_type_filter: 2
            "00"  # resource_name_filter: null
            "01"  # pattern_type_filter: 1
            "00"  # principal_filter: null
            "00"  # host_filter: null
            "01"  # operation: 1
            "01"  # permission_type: 1
            "00"  # end: no tagged fields
        )
        message = DescribeAclsRequest(
            resource_type_filter=2,
            resource_name_filter=None,
            pattern_type_filter=1,
            principal_filter=None,
            host_filter=None,
            operation=1,
            permission_type=1,
        )
        self.assert_request(frame, 2, message)


class CreateDelegationTokenTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request for a token of the client itself.
        """
        frame = bytes.fromhex(
            "0026"  # api key: CreateDelegationToken
            "0003"  # version 3
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "00"  # owner_principal_type: null
            "00"  # owner_principal_name: null
            "01"  # renewers: none
            "ffffffffffffffff"  # max_lifetime_ms: -1
            "00"  # end: no tagged fields
        )
        message = CreateDelegationTokenRequest(renewers=[], max_lifetime_ms=-1)
        self.assert_request(frame, 3, message)


class AddPartitionsToTxnTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        Up to version 3 a request has one transaction.
        """
        frame = bytes.fromhex(
            "0018"  # api key: AddPartitionsToTxn
            "0003"  # version 3
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "037831"  # v3_and_below_transactional_id: "x1"
            "00000000000003e8"  # v3_and_below_producer_id: 1000
            "0001"  # v3_and_below_producer_epoch: 1
            "02"  # v3_and_below_topics: 1
            "037431"  # txn topic name: "t1"
            "03"  # txn topic partitions: 2
            "00000000"  #  : 0
            "00000001"  #  : 1
            "00"  # end of txn topic: no tagged fields
            "00"  # end: no tagged fields
        )
        message = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id="x1",
            v3_and_below_producer_id=1000,
            v3_and_below_producer_epoch=1,
            v3_and_below_topics=[TxnTopic(name="t1", partitions=[0, 1])],
        )
        self.assert_request(frame, 3, message)

    def test_newest(self) -> None:
        """
        From version 4 on a request has several transactions.
        """
        frame = bytes.fromhex(
            "0018"  # api key: AddPartitionsToTxn
            "0004"  # version 4
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "02"  # transactions: 1
            "037831"  # transaction transactional_id: "x1"
            "00000000000003e8"  # transaction producer_id: 1000
            "0001"  # transaction producer_epoch: 1
            "00"  # transaction verify_only: false
            "02"  # transaction topics: 1
            "037431"  # txn topic name: "t1"
            "03"  # txn topic partitions: 2
            "00000000"  #  : 0
            "00000001"  #  : 1
            "00"  # end of txn topic: no tagged fields
            "00"  # end of transaction: no tagged fields
            "00"  # end: no tagged fields
        )
        message = AddPartitionsToTxnRequest(
            transactions=[
                AddPartitionsToTxnRequest.Transaction(
                    transactional_id="x1",
                    producer_id=1000,
                    producer_epoch=1,
                    topics=[TxnTopic(name="t1", partitions=[0, 1])],
                )
            ]
        )
        self.assert_request(frame, 4, message)


class EndTxnTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        A request to commit.
        """
        frame = bytes.fromhex(
            "001a"  # api key: EndTxn
            "0001"  # version 1
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me"
            "00027831"  # transactional_id: "x1"
            "00000000000003e8"  # producer_id: 1000
            "0001"  # producer_epoch: 1
            "01"  # committed: true
        )
        message = EndTxnRequest(
            transactional_id="x1", producer_id=1000, producer_epoch=1, committed=True
        )
        self.assert_request(frame, 1, message)


class PushTelemetryTests(CanonicalTestCase):
    def test_request(self) -> None:
        """
        Uncompressed metrics.
        """
        frame = bytes.fromhex(
            "0048"  # api key: PushTelemetry
            "0000"  # version 0
            "00000007"  # correlation id 7
            "00026d65"  # client id: "me", of 16-bit length
            "00"  # no tagged fields in the header
            "0123456789abcdef0123456789abcdef"  # client_instance_id: 01234567-...
            "00000005"  # subscription_id: 5
            "00"  # terminating: false
            "00"  # compression_type: 0
            "04616263"  # metrics: b"abc"
            "00"  # end: no tagged fields
        )
        message = PushTelemetryRequest(
            client_instance_id=UUID("01234567-89ab-cdef-0123-456789abcdef"),
            subscription_id=5,
            terminating=False,
            compression_type=0,
            metrics=b"abc",
        )
        self.assert_request(frame, 0, message)


class TxnOffsetCommitTests(CanonicalTestCase):
    def test_response(self) -> None:
        """
        From version 6 on a topic has its id instead of its name.
        """
        frame = bytes.fromhex(
            "00000007"  # correlation id 7
            "00"  # no tagged fields in the header
            "00000000"  # throttle_time_ms: 0
            "02"  # topics: 1
            "00000000000000000000000000000009"  # topic topic_id
            "02"  # topic partitions: 1
            "00000000"  # partition partition_index: 0
            "0064"  # partition error_code: 100
            "00"  # end of partition: no tagged fields
            "00"  # end of topic: no tagged fields
            "00"  # end: no tagged fields
        )
        topic = TxnOffsetCommitResponse.Topic
        partition = topic.Partition(partition_index=0, error_code=100)
        message = TxnOffsetCommitResponse(
            topics=[topic(topic_id=UUID(int=9), partitions=[partition])]
        )
        self.assert_response(frame, 6, message)
