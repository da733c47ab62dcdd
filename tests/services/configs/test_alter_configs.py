"""
AlterConfigs and IncrementalAlterConfigs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

from attrs import evolve

from kafscale.cluster.topic_configs import TABLE
from kafscale.services.configs.alter_configs import THROTTLES, AlterConfigsService
from kafscale.wire.messages import AlterConfigsRequest, IncrementalAlterConfigsRequest
from tests.services.client import ServiceCase

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)

Replaced = AlterConfigsRequest.Resource
Changed = IncrementalAlterConfigsRequest.Resource

INVALID_CONFIG = 40
INVALID_REQUEST = 42


class AlterCase(ServiceCase):
    """
    A topic with two overrides.
    """

    def setUp(self) -> None:
        """
        Broker 7, and topic C{mine}.
        """
        super().setUp()
        cluster = self.cluster
        self.before = {"retention.ms": "5", "segment.ms": "6"}
        cluster.now(cluster.topics.create("mine", 1, self.before))
        self.serve(AlterConfigsService(cluster.image, cluster.topics, cluster.configs))

    def overrides(self, name: str = "mine") -> Mapping[str, str]:
        """
        The overrides of a topic, as the store has them.
        """
        return self.cluster.image.topic(name).configs

    def results(self, response: Any) -> list[tuple[str, int]]:
        """
        Name and error code of each resource. Errors, and only they, have a
        message.
        """
        for each in response.responses:
            self.assertEqual(bool(each.error_message), each.error_code != 0)
        return [(each.resource_name, each.error_code) for each in response.responses]


class ReplaceTests(AlterCase):
    """
    AlterConfigs.
    """

    def replaced(self, name: str, kind: int = TOPIC, **configs: str | None) -> Replaced:
        """
        A resource with these configurations. Underscores in their names are
        dots.
        """
        return Replaced(
            resource_type=kind,
            resource_name=name,
            configs=[
                Replaced.Config(name=key.replace("_", "."), value=value)
                for key, value in configs.items()
            ],
        )

    def ask(self, *resources: Replaced, trial: bool = False, version: int = 2) -> Any:
        """
        The response.
        """
        request = AlterConfigsRequest(resources=list(resources), validate_only=trial)
        return self.client.now(request, version)

    def code(self, resource: Replaced) -> int:
        """
        The error code for these configurations, which must not be altered then.
        """
        ((name, code),) = self.results(self.ask(resource))
        self.assertEqual(name, resource.resource_name)
        self.assertEqual(self.overrides(), self.before)
        return code

    def test_every_version(self) -> None:
        """
        Configurations of the request are set, others get their defaults.
        """
        for version in self.client.versions(AlterConfigsRequest):
            response = self.ask(
                self.replaced("mine", retention_ms="7", cleanup_policy="compact"), version=version
            )
            self.assertEqual(self.results(response), [("mine", 0)])
            self.assertEqual(response.responses[0].resource_type, TOPIC)
            self.assertEqual(
                self.overrides(), {"retention.ms": "7", "cleanup.policy": "compact"}
            )
            self.ask(self.replaced("mine"), version=version)
            self.assertEqual(self.overrides(), {})

    def test_validate_only(self) -> None:
        """
        The request is checked, and nothing is altered.
        """
        response = self.ask(self.replaced("mine", retention_ms="7"), trial=True)
        self.assertEqual(self.results(response), [("mine", 0)])
        response = self.ask(self.replaced("mine", retention_ms="x"), trial=True)
        self.assertEqual(self.results(response), [("mine", INVALID_CONFIG)])
        self.assertEqual(self.overrides(), self.before)

    def test_bad_values(self) -> None:
        """
        Unknown names and invalid values are refused, with a message that names
        the configuration.
        """
        for name, resource in (
            ("no.such", self.replaced("mine", no_such="1")),
            ("retention.ms", self.replaced("mine", retention_ms="soon")),
            ("retention.ms", self.replaced("mine", retention_ms="-2")),
        ):
            (result,) = self.ask(resource).responses
            self.assertEqual(result.error_code, INVALID_CONFIG)
            self.assertIn(name, result.error_message)
        self.assertEqual(self.overrides(), self.before)

    def test_null(self) -> None:
        """
        Null is refused.
        """
        self.assertEqual(self.code(self.replaced("mine", retention_ms=None)), INVALID_REQUEST)

    def test_name_twice(self) -> None:
        """
        A configuration that is named twice is refused.
        """
        resource = self.replaced("mine", retention_ms="1")
        resource.configs *= 2
        self.assertEqual(self.code(resource), INVALID_REQUEST)

    def test_resource_twice(self) -> None:
        """
        A resource that is named twice is refused, and has one result. Other
        resources are altered.
        """
        self.cluster.now(self.cluster.topics.create("other", 1, {}))
        twice = self.replaced("mine", retention_ms="1")
        response = self.ask(twice, self.replaced("other", retention_ms="2"), twice)
        self.assertEqual(self.results(response), [("mine", INVALID_REQUEST), ("other", 0)])
        self.assertEqual(self.overrides("other"), {"retention.ms": "2"})
        self.assertEqual(self.overrides(), self.before)

    def test_each_for_itself(self) -> None:
        """
        A refused resource does not prevent others from being altered.
        """
        response = self.ask(
            self.replaced("none", retention_ms="1"), self.replaced("mine", retention_ms="2")
        )
        self.assertEqual(self.results(response), [("none", 3), ("mine", 0)])
        self.assertEqual(self.overrides(), {"retention.ms": "2"})

    def test_refusals(self) -> None:
        """
        Resources that cannot be altered.
        """
        for kind, name, code in (
            (TOPIC, "none", 3),
            (TOPIC, "a/b", 17),
            (BROKER, "8", INVALID_REQUEST),
            (LOGGER, "7", INVALID_REQUEST),
            (METRICS, "x", INVALID_REQUEST),
            (GROUP, "g", INVALID_REQUEST),
        ):
            self.assertEqual(self.code(self.replaced(name, kind)), code, (kind, name))

    def test_broker(self) -> None:
        """
        No configuration of a broker can be set, and nothing is set to be reset.
        """
        for name in ("7", ""):
            self.assertEqual(self.code(self.replaced(name, BROKER)), 0)
            resource = self.replaced(name, BROKER, log_retention_ms="1")
            self.assertEqual(self.code(resource), INVALID_CONFIG)

    def test_failed(self) -> None:
        """
        The error is with each resource.
        """
        request = AlterConfigsRequest(resources=[self.replaced("mine")], validate_only=False)
        for version in self.client.versions(AlterConfigsRequest):
            response = self.client.failed(request, version, 7)
            self.assertEqual(self.results(response), [("mine", 7)])


class ChangeTests(AlterCase):
    """
    IncrementalAlterConfigs.
    """

    def changed(
        self, name: str, *steps: tuple[str, int, str | None], kind: int = TOPIC
    ) -> Changed:
        """
        A resource with these changes: configuration, operation and value.
        """
        return Changed(
            resource_type=kind,
            resource_name=name,
            configs=[
                Changed.Config(name=key, config_operation=operation, value=value)
                for key, operation, value in steps
            ],
        )

    def ask(self, *resources: Changed, trial: bool = False, version: int = 1) -> Any:
        """
        The response.
        """
        request = IncrementalAlterConfigsRequest(resources=list(resources), validate_only=trial)
        return self.client.now(request, version)

    def do(self, *steps: tuple[str, int, str | None], version: int = 1) -> None:
        """
        Make these changes, which must succeed.
        """
        response = self.ask(self.changed("mine", *steps), version=version)
        self.assertEqual(self.results(response), [("mine", 0)])

    def code(self, *steps: tuple[str, int, str | None]) -> int:
        """
        The error code for these changes, none of which must be made then.
        """
        ((_, code),) = self.results(self.ask(self.changed("mine", *steps)))
        self.assertEqual(self.overrides(), self.before)
        return code

    def test_every_version(self) -> None:
        """
        Configurations that are not in the request stay as they are.
        """
        for version in self.client.versions(IncrementalAlterConfigsRequest):
            self.do(
                ("retention.bytes", SET, "9"), ("segment.ms", DELETE, None), version=version
            )
            self.assertEqual(self.overrides(), {"retention.ms": "5", "retention.bytes": "9"})
            self.do(("retention.bytes", DELETE, ""), ("segment.ms", SET, "6"), version=version)
            self.assertEqual(self.overrides(), self.before)

    def test_lists(self) -> None:
        """
        APPEND adds items that the list lacks, SUBTRACT removes items that it
        has. Both start from the value in force, be it the default.
        """
        self.do(("cleanup.policy", APPEND, "compact"))
        self.assertEqual(self.overrides()["cleanup.policy"], "delete,compact")
        self.do(("cleanup.policy", APPEND, "compact,delete"))
        self.assertEqual(self.overrides()["cleanup.policy"], "delete,compact")
        self.do(("cleanup.policy", SUBTRACT, "delete"))
        self.assertEqual(self.overrides()["cleanup.policy"], "compact")
        throttled = "leader.replication.throttled.replicas"
        self.do((throttled, APPEND, "0:1, 1:1"))
        self.do((throttled, SUBTRACT, "0:1,1:1,2:1"))
        self.assertEqual(self.overrides()[throttled], "")

    def test_no_list(self) -> None:
        """
        A number is not a list.
        """
        self.assertEqual(self.code(("retention.ms", APPEND, "1")), INVALID_CONFIG)
        self.assertEqual(self.code(("retention.ms", SUBTRACT, "1")), INVALID_CONFIG)

    def test_nothing_left(self) -> None:
        """
        A list may become empty: of a topic without a cleanup policy all records stay
        (KIP-1161).
        """
        self.do(("cleanup.policy", SUBTRACT, "delete"))
        self.assertEqual(self.overrides()["cleanup.policy"], "")

    def test_not_set(self) -> None:
        """
        To delete what is not set, or not even known, is no error, as MirrorMaker 2
        expects for the configurations of a newer source.
        """
        self.do(("no.such", DELETE, None), ("retention.bytes", DELETE, None))
        self.assertEqual(self.overrides(), self.before)

    def test_no_longer_accepted(self) -> None:
        """
        A stored C{segment.bytes} below 1 MiB does not prevent other changes, and can be
        set again, but not to another such value.
        """
        self.cluster.now(
            self.cluster.topics.alter(self.cluster.image.topic("mine"), lambda before: {})
        )
        with patch.dict(TABLE, {"segment.bytes": evolve(TABLE["segment.bytes"], accept=None)}):
            self.do(("segment.bytes", SET, "5000"))
        self.before = {"segment.bytes": "5000"}
        self.assertEqual(self.code(("segment.bytes", SET, "5001")), INVALID_CONFIG)
        self.do(("retention.ms", SET, "1"), ("segment.bytes", SET, "5000"))
        self.assertEqual(self.overrides(), {"retention.ms": "1", "segment.bytes": "5000"})

    def test_all_or_nothing(self) -> None:
        """
        If one change of a resource is refused, none is made.
        """
        steps = (("retention.ms", SET, "1"), ("no.such", SET, "1"))
        self.assertEqual(self.code(*steps), INVALID_CONFIG)

    def test_bad_steps(self) -> None:
        """
        Changes that are refused.
        """
        for step, code in (
            (("no.such", SET, "1"), INVALID_CONFIG),
            (("no.such", APPEND, "1"), INVALID_CONFIG),
            (("no.such", SUBTRACT, "1"), INVALID_CONFIG),
            (("segment.bytes", SET, "1048575"), INVALID_CONFIG),
            (("retention.ms", SET, "x"), INVALID_CONFIG),
            (("retention.ms", SET, None), INVALID_REQUEST),
            (("cleanup.policy", APPEND, None), INVALID_REQUEST),
            (("retention.ms", 4, "1"), INVALID_REQUEST),
            (("retention.ms", -1, "1"), INVALID_REQUEST),
        ):
            self.assertEqual(self.code(step), code, step)
        self.assertEqual(
            self.code(("retention.ms", SET, "1"), ("retention.ms", DELETE, None)), INVALID_REQUEST
        )

    def test_validate_only(self) -> None:
        """
        The request is checked, and nothing is altered.
        """
        response = self.ask(self.changed("mine", ("retention.ms", SET, "1")), trial=True)
        self.assertEqual(self.results(response), [("mine", 0)])
        response = self.ask(self.changed("mine", ("no.such", SET, "1")), trial=True)
        self.assertEqual(self.results(response), [("mine", INVALID_CONFIG)])
        self.assertEqual(self.overrides(), self.before)

    def test_many(self) -> None:
        """
        Each resource is altered on its own, and answered in the order of the
        request.
        """
        for number in range(40):
            self.cluster.now(self.cluster.topics.create(f"t{number}", 1, {}))
        names = [f"t{number}" for number in reversed(range(40))]
        step = ("segment.ms", SET, "3")
        response = self.ask(*(self.changed(name, step) for name in names))
        self.assertEqual(self.results(response), [(name, 0) for name in names])
        for name in names:
            self.assertEqual(self.overrides(name), {"segment.ms": "3"})

    def test_broker(self) -> None:
        """
        No configuration of a broker can be set. To delete one is no error, as the tools
        expect that delete throttles after a reassignment.
        """
        for name in ("7", ""):
            setting = ("log.retention.ms", SET, "1")
            (result,) = self.ask(self.changed(name, setting, kind=BROKER)).responses
            self.assertEqual(result.error_code, INVALID_CONFIG)
            self.assertIn("started", result.error_message)
            throttle = ("leader.replication.throttled.rate", DELETE, None)
            answer = self.ask(self.changed(name, throttle, kind=BROKER))
            self.assertEqual(self.results(answer), [(name, 0)])
        answer = self.ask(self.changed("8", throttle, kind=BROKER))
        self.assertEqual(self.results(answer), [("8", INVALID_REQUEST)])

    def test_throttles(self) -> None:
        """
        The throttles that tools set while they reassign partitions are accepted, and not
        shown.
        """
        for name in THROTTLES:
            for value, code in (("50000000", 0), ("0", 0), ("-1", INVALID_CONFIG), ("x", 40)):
                answer = self.ask(self.changed("7", (name, SET, value), kind=BROKER))
                self.assertEqual(self.results(answer), [("7", code)])
        topic = ("leader.replication.throttled.replicas", SET, "0:7,1:7")
        self.assertEqual(self.results(self.ask(self.changed("mine", topic))), [("mine", 0)])

    def test_failed(self) -> None:
        """
        The error is with each resource.
        """
        request = IncrementalAlterConfigsRequest(
            resources=[self.changed("mine")], validate_only=False
        )
        for version in self.client.versions(IncrementalAlterConfigsRequest):
            response = self.client.failed(request, version, 7)
            self.assertEqual(self.results(response), [("mine", 7)])
