"""
DescribeUserScramCredentials and AlterUserScramCredentials.
"""

from __future__ import annotations

from kafscale.services.cluster.describe_users import DescribeUsersService
from kafscale.wire.messages import (
    AlterUserScramCredentialsRequest,
    DescribeUserScramCredentialsRequest,
)
from tests.clients.requests import security_requests
from tests.services.client import ServiceCase

SECURITY_DISABLED = 54


class UsersTests(ServiceCase):
    """
    Tests of L{DescribeUsersService}.
    """

    def setUp(self) -> None:
        """
        The service needs nothing.
        """
        super().setUp()
        self.serve(DescribeUsersService())
        self.requests = {type(each): each for each in security_requests()}

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
