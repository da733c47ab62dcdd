"""
DescribeAcls, CreateAcls, DeleteAcls, DescribeUserScramCredentials and
AlterUserScramCredentials.
"""

from __future__ import annotations

from typing import Any

from kafscale.services.cluster.describe_acls import DescribeAclsService
from kafscale.wire.messages import (
    AlterUserScramCredentialsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    DescribeUserScramCredentialsRequest,
)
from kafscale.wire.schema import Request
from tests.clients.requests import security_requests
from tests.services.client import ServiceCase

SECURITY_DISABLED = 54


class AclsTests(ServiceCase):
    """
    Tests of L{DescribeAclsService}.
    """

    def setUp(self) -> None:
        """
        The service needs nothing.
        """
        super().setUp()
        self.serve(DescribeAclsService())
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

    def test_no_users(self) -> None:
        """
        No user is described. One that is named is unknown, and must be named once.
        """
        user = DescribeUserScramCredentialsRequest.User
        for names, expected in [
            (None, []),
            ([], []),
            (["ann"], [("ann", 91)]),
            (["ann", "bob", "ann"], [("ann", 92), ("bob", 91)]),
        ]:
            users = None if names is None else [user(name=name) for name in names]
            answer = self.client.now(DescribeUserScramCredentialsRequest(users=users), 0)
            self.assertEqual(answer.error_code, 0)
            self.assertEqual([(each.user, each.error_code) for each in answer.results], expected)

    def test_alter_users(self) -> None:
        """
        Each user is refused.
        """
        answer = self.client.now(self.requests[AlterUserScramCredentialsRequest], 0)
        self.assertEqual(
            [(each.user, each.error_code) for each in answer.results], [("ann", SECURITY_DISABLED)]
        )
