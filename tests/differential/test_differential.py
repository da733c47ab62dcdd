"""
Apache Kafka and Kafscale give the same answers.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kafscale.wire.messages import ApiVersionsRequest
from tests.clients.broker import ROOT, BrokerTestCase
from tests.clients.raw import RawClient
from tests.clients.requests import ADVERTISED
from tests.differential.cases import CASES, FAMILIES
from tests.differential.differences import REASONS, unexplained
from tests.differential.running import SETTINGS, differing
from tests.differential.talk import slug
from tests.differential.versions import versions
from tests.harness import apache_kafka


class DifferentialTests(BrokerTestCase):
    """
    The same conversations with both, by family. A failure lists the fields that
    differ.
    """

    def _same(self, family: str) -> None:
        """
        Compare the answers to the cases of one family. Each difference that is known
        must still be there.
        """
        broker = self.broker(**SETTINGS)
        found = differing(FAMILIES[family], apache_kafka.port(), broker.port)
        unknown = [str(each) for each in unexplained(found)]
        self.assertEqual(unknown, [], "\n" + "\n".join(unknown[:200]))
        gone = [
            one
            for held in REASONS.values()
            for one in held
            if one.cases.startswith(f"{family}/") and not any(map(one.covers, found))
        ]
        self.assertEqual(gone, [], "these differences are no more")

    def test_configs(self) -> None:
        """
        Configurations of topics: every name with right and wrong values.
        """
        self._same("configs")

    def test_fetch(self) -> None:
        """
        Fetch: positions, limits, sessions.
        """
        self._same("fetch")

    def test_groups(self) -> None:
        """
        Groups and their offsets.
        """
        self._same("groups")

    def test_lookups(self) -> None:
        """
        Look-ups: offsets, epochs, metadata, coordinators.
        """
        self._same("lookups")

    def test_produce(self) -> None:
        """
        Produce: batches that are right, and wrong ones.
        """
        self._same("produce")

    def test_topics(self) -> None:
        """
        Topics: created, grown, deleted, moved.
        """
        self._same("topics")

    def test_various(self) -> None:
        """
        Versions, producer ids, quotas, resources, security.
        """
        self._same("various")

    def test_versions(self) -> None:
        """
        Apache Kafka serves the versions that the cases take for granted.
        """
        with RawClient(apache_kafka.port()) as client:
            answer = client.call(ApiVersionsRequest(), 0)
        served = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}
        for request in ADVERTISED:
            lowest, highest = served[request.key]
            both = versions(request)
            # Produce is advertised from 0 on, for old librdkafka (KAFKA-18659).
            self.assertLessEqual(lowest, both[0], request.__name__)
            self.assertGreaterEqual(highest, both[-1], request.__name__)


class CasesTests(SynchronousTestCase):
    """
    The tables of cases and of differences.
    """

    def test_all_families(self) -> None:
        """
        Each family has a test.
        """
        for family in FAMILIES:
            self.assertTrue(hasattr(DifferentialTests, f"test_{family}"), family)

    def test_enough(self) -> None:
        """
        There are at least 300 cases, each with names of its own.
        """
        self.assertGreaterEqual(len(CASES), 300)
        self.assertEqual(len({slug(case.name) for case in CASES}), len(CASES))
        for family, cases in FAMILIES.items():
            for case in cases:
                self.assertTrue(case.name.startswith(f"{family}/"), case.name)

    def test_documented(self) -> None:
        """
        docs/protocol.md lists the reasons, in order.
        """
        text = Path(ROOT, "docs", "protocol.md").read_text()
        chapter = text.partition("## Differences from Apache Kafka\n")[2]
        listed = [line[2:] for line in chapter.splitlines() if line.startswith("- ")]
        self.assertEqual(listed, list(REASONS))
