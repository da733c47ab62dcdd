"""
Apache Kafka and Kafscale refuse the same, at the same places.
"""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.authorization.needs import NEEDS
from tests.clients.broker import BrokerTestCase
from tests.differential import tokens
from tests.differential.rights import CASES, differing
from tests.differential.running import SETTINGS
from tests.harness import apache_kafka


class RightsTests(BrokerTestCase):
    """
    Clients with none, one or all of the rights that their requests need.
    """

    def test_same(self) -> None:
        """
        The same codes in the same places. A failure lists the fields that differ.
        """
        broker = self.broker(
            authorizer="acl", allow_everyone_if_no_acl_found=1, **SETTINGS
        )
        found = [str(each) for each in differing(apache_kafka.port(), broker.port)]
        self.assertEqual(found, [], "\n" + "\n".join(found[:200]))


class CasesTests(SynchronousTestCase):
    """
    The list of cases.
    """

    def test_enough(self) -> None:
        """
        There are at least 400, each with a name of its own, and some of them concern each
        API that needs a right.
        """
        self.assertGreaterEqual(len(CASES), 400)
        self.assertEqual(len({case.name for case in CASES}), len(CASES))
        ids: dict[str, UUID] = defaultdict(lambda: UUID(int=1))
        asked = {each.__name__ for each in tokens.REQUESTS}
        asked |= {type(case.request(lambda what: f"n-{what}", ids)).__name__ for case in CASES}
        needed = {
            f"{name}Request"
            for name, needs in NEEDS.items()
            if needs.whole or needs.parts or needs.after or needs.within
        }
        self.assertEqual(needed - asked, set())
