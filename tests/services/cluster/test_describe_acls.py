"""
DescribeAcls, CreateAcls and DeleteAcls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from kafscale.access.authorization.authorizer import StandardAuthorizer
from kafscale.cluster.records import ClusterRecords
from kafscale.concurrency.work_queue import TURN, WorkQueue
from kafscale.format import metadata_keys
from kafscale.format.acl import AclRecord
from kafscale.services.cluster.describe_acls import DescribeAclsService
from kafscale.wire.messages import CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest
from kafscale.wire.schema import Request
from tests.access.authorization.acls import Acls, acl
from tests.clients.requests import security_requests
from tests.harness.coroutines import now
from tests.harness.hostile import HostileMetadataStore, let_pass
from tests.services.client import ServiceCase

SECURITY_DISABLED = 54

WORK = WorkQueue(Clock(), execute)
"""Does all in one turn, as no time passes."""


class BusyClock(Clock):
    """
    A clock that goes on whenever it is read.

    @ivar turns: How often something was to be called later.
    """

    turns = 0

    def seconds(self) -> float:
        """
        The time.
        """
        self.rightNow += TURN / 10
        return super().seconds()

    def callLater(self, *args: Any, **named: Any) -> Any:
        """
        Count a turn.
        """
        self.turns += 1
        return super().callLater(*args, **named)


class DisabledTests(ServiceCase):
    """
    A broker without authorizer.
    """

    def setUp(self) -> None:
        """
        The service needs nothing.
        """
        super().setUp()
        self.serve(DescribeAclsService(None, WORK))
        self.requests = {type(each): each for each in security_requests()}

    def refused(self, request: type[Request], version: int) -> Any:
        """
        The response to a request that is refused as a whole.
        """
        failure = self.failureResultOf(self.client.start(self.requests[request], version))
        self.assertEqual(failure.value.code, SECURITY_DISABLED)
        return self.client.failed(self.requests[request], version, failure.value.code)

    def test_no_authorizer(self) -> None:
        """
        The error is at the top of DescribeAcls, and with each entry of the others.
        """
        for version in self.client.versions(DescribeAclsRequest):
            described = self.refused(DescribeAclsRequest, version)
            self.assertEqual((described.error_code, described.resources), (54, []))
            created = self.refused(CreateAclsRequest, version)
            self.assertEqual([each.error_code for each in created.results], [54, 54])
            deleted = self.refused(DeleteAclsRequest, version)
            self.assertEqual(
                [(each.error_code, each.matching_acls) for each in deleted.filter_results],
                [(54, [])],
            )


TOPIC, GROUP, CLUSTER = 2, 3, 4
ANY, MATCH, LITERAL, PREFIXED = 1, 2, 3, 4
READ, WRITE, DESCRIBE = 3, 4, 8
DENY, ALLOW = 2, 3


class AclsTests(ServiceCase):
    """
    A broker with an authorizer.
    """

    def setUp(self) -> None:
        """
        An authorizer without ACLs.
        """
        super().setUp()
        self.acls = Acls()
        self.addCleanup(self.acls.close)
        self.serve(DescribeAclsService(self.acls.authorizer, WORK))

    def create(self, **fields: Any) -> Any:
        """
        The result of the creation of an ACL that differs so from a valid one.
        """
        creation: dict[str, Any] = {
            "resource_type": TOPIC,
            "resource_name": "foo",
            "resource_pattern_type": LITERAL,
            "principal": "User:alice",
            "host": "*",
            "operation": READ,
            "permission_type": ALLOW,
        }
        creations = [CreateAclsRequest.Creation(**{**creation, **fields})]
        (result,) = self.client.now(CreateAclsRequest(creations=creations), 3).results
        return result.error_code, result.error_message

    def wanted(self, **fields: Any) -> dict[str, Any]:
        """
        A filter that matches all but for these fields.
        """
        return {
            "resource_type_filter": ANY,
            "resource_name_filter": None,
            "pattern_type_filter": ANY,
            "principal_filter": None,
            "host_filter": None,
            "operation": ANY,
            "permission_type": ANY,
        } | fields

    def described(self, **fields: Any) -> list[tuple[str, int, int]]:
        """
        Resource name, pattern type and operation of the ACLs that match.
        """
        answer = self.client.now(DescribeAclsRequest(**self.wanted(**fields)), 3)
        return sorted(
            (each.resource_name, each.pattern_type, entry.operation)
            for each in answer.resources
            for entry in each.acls
        )

    def test_create(self) -> None:
        """
        An ACL is created once, however often that is asked for.
        """
        for _ in range(2):
            self.assertEqual(self.create(), (0, ""))
        self.assertEqual(self.acls.all(), [acl("allow read topic foo")])

    def test_invalid(self) -> None:
        """
        The codes are Kafka's, and so is what it does not check.
        """
        cases: list[tuple[dict[str, Any], int]] = [
            ({"resource_type": CLUSTER, "resource_name": "x"}, 42),
            ({"principal": "alice"}, 42),
            ({"resource_name": ""}, 42),
            ({"host": ""}, 42),
            ({"host": "10.0.0.0/40"}, 42),
            ({"operation": 99}, 42),
            ({"resource_type": 99}, 42),
            ({"resource_pattern_type": 9}, 42),
            ({"permission_type": 9}, 42),
            ({"resource_type": ANY}, -1),
            ({"resource_pattern_type": MATCH}, -1),
            ({"resource_pattern_type": ANY}, -1),
            ({"operation": ANY}, -1),
            ({"permission_type": ANY}, -1),
            ({"resource_type": CLUSTER, "resource_name": "kafka-cluster"}, 0),
            ({"principal": "Group:x"}, 0),
            ({"host": "no-address"}, 0),
        ]
        for fields, code in cases:
            self.assertEqual(self.create(**fields)[0], code, fields)
        self.assertEqual(self.create(operation=ANY)[1], None)
        self.assertEqual(
            self.create(resource_type=CLUSTER)[1],
            "The only valid name for the CLUSTER resource is kafka-cluster",
        )
        self.assertEqual(self.create(operation=99)[1], "Invalid operation UNKNOWN")

    def test_unknown(self) -> None:
        """
        A value that says that the client does not know it closes the connection.
        """
        creation = CreateAclsRequest.Creation(
            resource_type=0,
            resource_name="foo",
            principal="User:a",
            host="*",
            operation=READ,
            permission_type=ALLOW,
        )
        wanted = self.wanted(operation=0)
        for request in (
            DescribeAclsRequest(**wanted),
            CreateAclsRequest(creations=[creation]),
            DeleteAclsRequest(filters=[DeleteAclsRequest.Filter(**wanted)]),
        ):
            failure = self.failureResultOf(self.client.start(request, 3))
            self.assertEqual(failure.value.code, 42)
            self.assertIsNone(self.client.failed(request, 3, 42))

    def test_describe(self) -> None:
        """
        A filter matches as Kafka's do.
        """
        texts = ("read topic foo-1", "read topic foo*", "read topic foo-*", "read topic *")
        for text in (*texts, "write topic **", "read topic bar", "describe group foo-1"):
            self.acls.create(f"allow {text}")
        star, foo, foo_ = ("*", LITERAL, READ), ("foo", PREFIXED, READ), ("foo-", PREFIXED, READ)
        one = ("foo-1", LITERAL, READ)
        topic = {"resource_type_filter": TOPIC}
        self.assertEqual(len(self.described()), 7)
        self.assertEqual(
            self.described(**topic, pattern_type_filter=MATCH, resource_name_filter="foo-1"),
            [star, foo, foo_, one],
        )
        self.assertEqual(
            self.described(**topic, pattern_type_filter=MATCH, resource_name_filter="*"),
            [star, ("*", PREFIXED, WRITE)],
        )
        self.assertEqual(len(self.described(**topic, pattern_type_filter=MATCH)), 6)
        self.assertEqual(
            self.described(resource_name_filter="foo-1", pattern_type_filter=LITERAL),
            [one, ("foo-1", LITERAL, DESCRIBE)],
        )
        self.assertEqual(
            self.described(pattern_type_filter=PREFIXED, operation=READ), [foo, foo_]
        )
        self.assertEqual(self.described(**topic, operation=DESCRIBE), [])
        self.assertEqual(self.described(permission_type=DENY), [])
        self.assertEqual(self.described(principal_filter="User:bob"), [])
        self.assertEqual(self.described(host_filter="127.0.0.1"), [])

    def test_delete(self) -> None:
        """
        Each filter says what it matches, though an ACL is deleted once.
        """
        self.acls.create("allow read topic foo", "allow write topic foo", "allow read topic bar")
        filters = [
            DeleteAclsRequest.Filter(**self.wanted(resource_name_filter="foo")),
            DeleteAclsRequest.Filter(**self.wanted(operation=WRITE)),
            DeleteAclsRequest.Filter(**self.wanted(operation=99)),
        ]
        answer = self.client.now(DeleteAclsRequest(filters=filters), 3)
        self.assertEqual(
            [(each.error_code, len(each.matching_acls)) for each in answer.filter_results],
            [(0, 2), (0, 1), (42, 0)],
        )
        self.assertIsNone(answer.filter_results[0].error_message)
        self.assertEqual(self.acls.all(), [acl("allow read topic bar")])

    def test_delete_what_another_created(self) -> None:
        """
        An ACL that another broker has just created is deleted, even if no watch has
        reported it yet, by a filter for all and by one for this one.
        """
        self.deletes_of_another(self.wanted())
        self.deletes_of_another(
            {
                "resource_type_filter": TOPIC,
                "resource_name_filter": "foo",
                "pattern_type_filter": LITERAL,
                "principal_filter": "User:alice",
                "host_filter": "*",
                "operation": READ,
                "permission_type": ALLOW,
            }
        )

    def in_turns(self, request: Request, between: Callable[[], None]) -> Any:
        """
        The answer to a request that takes several turns. Something is done after the first.
        """
        clock = BusyClock()
        self.serve(DescribeAclsService(self.acls.authorizer, WorkQueue(clock, execute)))
        answered: Deferred[Any] = self.client.start(request, 3)
        between()
        clock.advance(0)
        self.assertGreater(clock.turns, 5)
        return self.successResultOf(answered)

    def test_in_turns(self) -> None:
        """
        Many ACLs are described in several turns, as they were in the first; and so are those
        that are to be deleted.
        """
        texts = [f"allow read topic t{each}" for each in range(100)]
        self.acls.create(*texts)

        def change() -> None:
            self.acls.delete("allow read topic t50", "allow read topic t99")
            self.acls.create("allow read topic new")

        described = self.in_turns(DescribeAclsRequest(**self.wanted()), change)
        names = [each.resource_name for each in described.resources]
        self.assertEqual(names, [f"t{each}" for each in range(100)])
        filters = [DeleteAclsRequest.Filter(**self.wanted())]
        (result,) = self.in_turns(
            DeleteAclsRequest(filters=filters), lambda: self.acls.delete("allow read topic new")
        ).filter_results
        self.assertEqual(len(result.matching_acls), 98)
        self.assertEqual(self.acls.all(), [])

    def deletes_of_another(self, wanted: dict[str, Any]) -> None:
        """
        The filter finds what another broker has just created.
        """
        hostile = HostileMetadataStore(self.acls.store)
        hostile.policy = let_pass
        records = ClusterRecords(hostile, metadata_keys.ACLS, AclRecord.from_entry)
        now(records.start())
        self.serve(DescribeAclsService(StandardAuthorizer(records), WORK))
        hostile.holds_changes = True
        self.acls.create("allow read topic foo")
        self.assertEqual(self.described(), [])
        filters = [DeleteAclsRequest.Filter(**wanted)]
        deleting = self.client.start(DeleteAclsRequest(filters=filters), 3)
        self.assertEqual(self.acls.all(), [])
        self.assertNoResult(deleting)
        hostile.tell()
        (result,) = self.successResultOf(deleting).filter_results
        self.assertEqual(len(result.matching_acls), 1)
