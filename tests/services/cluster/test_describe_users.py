"""
DescribeUserScramCredentials and AlterUserScramCredentials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zope.interface import implementer

from kafscale.errors import ResourceNotFound
from kafscale.interfaces import IUsers, ScramDeletion, ScramUpsertion
from kafscale.services.cluster.describe_users import DescribeUsersService
from kafscale.wire.messages import (
    AlterUserScramCredentialsRequest,
    DescribeUserScramCredentialsRequest,
)
from tests.services.client import ServiceCase


@implementer(IUsers)
class FakeUsers:
    """
    The users C{ann} and C{bob}. Changes are recorded, those of C{nobody} refused.
    """

    def __init__(self) -> None:
        self.altered: list[tuple[str, Sequence[ScramDeletion], Sequence[ScramUpsertion]]] = []

    def credentials(self) -> Mapping[str, Mapping[int, int]]:
        """
        See L{IUsers.credentials}.
        """
        return {"ann": {2: 8192, 1: 4096}, "bob": {1: 4096}}

    async def alter(
        self,
        name: str,
        deletions: Sequence[ScramDeletion],
        upsertions: Sequence[ScramUpsertion],
    ) -> None:
        """
        See L{IUsers.alter}.
        """
        if name == "nobody":
            raise ResourceNotFound("there is no such user")
        self.altered.append((name, deletions, upsertions))


class UsersTests(ServiceCase):
    """
    Tests of L{DescribeUsersService}.
    """

    def setUp(self) -> None:
        """
        Serve two users.
        """
        super().setUp()
        self.users = FakeUsers()
        self.serve(DescribeUsersService(self.users))

    def described(self, names: list[str] | None) -> list[Any]:
        """
        The results for these users.
        """
        user = DescribeUserScramCredentialsRequest.User
        users = None if names is None else [user(name=name) for name in names]
        answer = self.client.now(DescribeUserScramCredentialsRequest(users=users), 0)
        self.assertEqual((answer.error_code, answer.error_message), (0, None))
        return list(answer.results)

    def test_describe(self) -> None:
        """
        Mechanisms and iterations of those that are named, or of all.
        """
        ann, bob = ("ann", 0, [(1, 4096), (2, 8192)]), ("bob", 0, [(1, 4096)])
        for names, expected in ((None, [ann, bob]), ([], [ann, bob]), (["bob"], [bob])):
            found = [
                (
                    each.user,
                    each.error_code,
                    [(info.mechanism, info.iterations) for info in each.credential_infos],
                )
                for each in self.described(names)
            ]
            self.assertEqual(found, expected)

    def test_not_described(self) -> None:
        """
        A user that is unknown, or named twice, has an error.
        """
        self.assertEqual(
            [
                (each.user, each.error_code, each.error_message, each.credential_infos)
                for each in self.described(["eve", "ann", "ann"])
            ],
            [
                ("eve", 91, "Attempt to describe a user credential that does not exist: eve", []),
                (
                    "ann",
                    92,
                    "Cannot describe SCRAM credentials for the same user twice in a single"
                    " request: ann",
                    [],
                ),
            ],
        )

    def alteration(self) -> AlterUserScramCredentialsRequest:
        """
        Changes of three users; C{ann} has two.
        """
        request = AlterUserScramCredentialsRequest
        return request(
            deletions=[
                request.Deletion(name="ann", mechanism=1),
                request.Deletion(name="nobody", mechanism=2),
            ],
            upsertions=[
                request.Upsertion(
                    name=name, mechanism=2, iterations=4096, salt=b"s", salted_password=b"p"
                )
                for name in ("ann", "bob")
            ],
        )

    def test_alter(self) -> None:
        """
        All changes of a user go together, and each user has a result.
        """
        answer = self.client.now(self.alteration(), 0)
        self.assertEqual(
            [(each.user, each.error_code, each.error_message) for each in answer.results],
            [("ann", 0, None), ("nobody", 91, "there is no such user"), ("bob", 0, None)],
        )
        change = ScramUpsertion(2, 4096, b"s", b"p")
        self.assertEqual(
            self.users.altered,
            [("ann", [ScramDeletion(1)], [change]), ("bob", [], [change])],
        )
        self.assertNotIn("'s'", repr(change))

    def test_failed(self) -> None:
        """
        An error of the whole request stands with each user, once.
        """
        answer = self.client.failed(self.alteration(), 0, 31)
        self.assertEqual(
            [(each.user, each.error_code) for each in answer.results],
            [("ann", 31), ("nobody", 31), ("bob", 31)],
        )
