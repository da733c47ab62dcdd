"""
DescribeConfigs and ListConfigResources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafscale.cluster.topic_configs import TABLE, TopicConfigs
from kafscale.services.configs.broker_configs import BrokerConfig
from kafscale.services.configs.describe_configs import DescribeConfigsService
from kafscale.wire.messages import DescribeConfigsRequest, ListConfigResourcesRequest
from tests.services.client import ServiceCase

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
OF_TOPIC, OF_BROKER, DEFAULT = 1, 4, 5

SETTINGS = [
    BrokerConfig("broker.id", "7", "int", "broker", "Its id."),
    BrokerConfig("kafscale.key", None, "password", "broker", "A secret.", sensitive=True),
    BrokerConfig("max.connections", "9", "long", "default", "So many.", default="9"),
]


class ConfigsCase(ServiceCase):
    """
    A topic with an override.
    """

    def setUp(self) -> None:
        """
        Broker 7, and topic C{mine}.
        """
        super().setUp()
        self.cluster.now(self.cluster.topics.create("mine", 1, {"retention.ms": "5"}))
        self.use(self.cluster.configs)

    def use(self, configs: TopicConfigs) -> None:
        """
        A service for topics with these defaults.
        """
        cluster = self.cluster
        self.serve(DescribeConfigsService(cluster.image, cluster.topics, configs, SETTINGS))


class DescribeTests(ConfigsCase):
    """
    DescribeConfigs.
    """

    def ask(
        self,
        kind: int,
        name: str,
        keys: Sequence[str] | None = None,
        *,
        version: int = 4,
        synonyms: bool = False,
        documentation: bool = False,
    ) -> Any:
        """
        The result for one resource.
        """
        resource = DescribeConfigsRequest.Resource(
            resource_type=kind,
            resource_name=name,
            configuration_keys=None if keys is None else list(keys),
        )
        request = DescribeConfigsRequest(
            resources=[resource],
            include_synonyms=synonyms if version >= 1 else False,
            include_documentation=documentation if version >= 3 else False,
        )
        (result,) = self.client.now(request, version).results
        self.assertEqual((result.resource_type, result.resource_name), (kind, name))
        return result

    def configs(self, *asked: Any, **options: Any) -> dict[str, Any]:
        """
        The configurations of one resource, by name.
        """
        result = self.ask(*asked, **options)
        self.assertEqual((result.error_code, result.error_message), (0, None))
        return {config.name: config for config in result.configs}

    def test_every_version(self) -> None:
        """
        All configurations of a topic, with their sources in the form of each
        version.
        """
        for version in self.client.versions(DescribeConfigsRequest):
            configs = self.configs(TOPIC, "mine", version=version)
            self.assertEqual(list(configs), sorted(TABLE))
            own, other = configs["retention.ms"], configs["cleanup.policy"]
            self.assertEqual((own.value, other.value), ("5", "delete"))
            self.assertEqual((own.read_only, own.is_sensitive), (False, False))
            if version == 0:
                self.assertEqual((own.is_default, other.is_default), (False, True))
            else:
                sources = own.config_source, other.config_source
                self.assertEqual(sources, (OF_TOPIC, DEFAULT))
            self.assertEqual(own.config_type, 5 if version >= 3 else 0)

    def test_some_of_them(self) -> None:
        """
        Only configurations of the request. An empty list means all, as null
        does; unknown names are left out.
        """
        self.assertEqual(
            list(self.configs(TOPIC, "mine", ["retention.ms", "no.such"])), ["retention.ms"]
        )
        self.assertEqual(len(self.configs(TOPIC, "mine", [])), len(TABLE))

    def test_types(self) -> None:
        """
        Each has the code of its type (C{ConfigType}).
        """
        configs = self.configs(TOPIC, "mine")
        for name, kind in (
            ("preallocate", 1),
            ("message.timestamp.type", 2),
            ("segment.bytes", 3),
            ("retention.bytes", 5),
            ("min.cleanable.dirty.ratio", 6),
            ("cleanup.policy", 7),
        ):
            self.assertEqual(configs[name].config_type, kind, name)

    def test_documentation(self) -> None:
        """
        Documentation on request.
        """
        for config in self.configs(TOPIC, "mine").values():
            self.assertIsNone(config.documentation)
        for config in self.configs(TOPIC, "mine", documentation=True).values():
            self.assertTrue(config.documentation)

    def test_synonyms(self) -> None:
        """
        Synonyms on request: the override of the topic, then the value without
        it, under the name that it has for brokers.
        """
        self.assertEqual(self.configs(TOPIC, "mine")["retention.ms"].synonyms, [])
        configs = self.configs(TOPIC, "mine", synonyms=True)
        for name, expected in (
            (
                "retention.ms",
                [("retention.ms", "5", OF_TOPIC), ("log.retention.ms", "604800000", DEFAULT)],
            ),
            ("max.message.bytes", [("message.max.bytes", "1048588", DEFAULT)]),
            ("segment.ms", [("log.roll.ms", "604800000", DEFAULT)]),
            ("min.insync.replicas", [("min.insync.replicas", "1", DEFAULT)]),
            ("follower.replication.throttled.replicas", []),
        ):
            found = [(each.name, each.value, each.source) for each in configs[name].synonyms]
            self.assertEqual(found, expected, name)

    def test_of_the_brokers(self) -> None:
        """
        Defaults that come from settings of the brokers have the source
        C{broker}.
        """
        self.use(TopicConfigs({"retention.ms": "77", "segment.ms": "8"}))
        configs = self.configs(TOPIC, "mine", synonyms=True)
        own, theirs = configs["retention.ms"], configs["segment.ms"]
        self.assertEqual([each.source for each in own.synonyms], [OF_TOPIC, OF_BROKER, DEFAULT])
        self.assertEqual([each.value for each in own.synonyms], ["5", "77", "604800000"])
        self.assertEqual((theirs.value, theirs.config_source), ("8", OF_BROKER))

    def test_broker(self) -> None:
        """
        The settings of this broker are read-only, and values of secrets are not
        shown.
        """
        configs = self.configs(BROKER, "7", synonyms=True, documentation=True)
        self.assertEqual(list(configs), ["broker.id", "kafscale.key", "max.connections"])
        for config in configs.values():
            self.assertTrue(config.read_only)
            self.assertTrue(config.documentation)
            self.assertEqual([each.name for each in config.synonyms], [config.name])
        self.assertEqual([each.config_type for each in configs.values()], [3, 9, 5])
        broker_id, key, most = configs.values()
        self.assertEqual((broker_id.value, broker_id.config_source), ("7", OF_BROKER))
        self.assertEqual((key.value, key.is_sensitive), (None, True))
        self.assertEqual((most.value, most.config_source), ("9", DEFAULT))
        self.assertEqual(list(self.configs(BROKER, "7", ["broker.id"])), ["broker.id"])

    def test_all_brokers(self) -> None:
        """
        There are no defaults for all brokers.
        """
        self.assertEqual(self.configs(BROKER, ""), {})

    def test_refusals(self) -> None:
        """
        Each refused resource has an error with a message.
        """
        for kind, name, code in (
            (TOPIC, "none", 3),
            (TOPIC, "a/b", 17),
            (TOPIC, "", 17),
            (BROKER, "8", 42),
            (BROKER, "seven", 42),
            (LOGGER, "7", 42),
            (METRICS, "x", 42),
            (GROUP, "g", 42),
            (99, "x", 42),
        ):
            for version in self.client.versions(DescribeConfigsRequest):
                result = self.ask(kind, name, version=version)
                self.assertEqual((result.error_code, result.configs), (code, []), (kind, name))
                self.assertTrue(result.error_message)

    def test_twice(self) -> None:
        """
        A resource that is named many times is described once, so the response
        is bounded.
        """
        resource = DescribeConfigsRequest.Resource(
            resource_type=TOPIC, resource_name="mine", configuration_keys=None
        )
        request = DescribeConfigsRequest(resources=[resource] * 1000)
        self.assertEqual(len(self.client.now(request, 4).results), 1)

    def test_altered(self) -> None:
        """
        An altered configuration is described at once.
        """
        topic = self.cluster.image.topic("mine")
        self.cluster.now(self.cluster.topics.alter(topic, lambda _: {"segment.ms": "9"}))
        configs = self.configs(TOPIC, "mine")
        self.assertEqual(configs["retention.ms"].config_source, DEFAULT)
        self.assertEqual(configs["segment.ms"].value, "9")

    def test_failed(self) -> None:
        """
        The error is with each resource.
        """
        resource = DescribeConfigsRequest.Resource(
            resource_type=TOPIC, resource_name="mine", configuration_keys=None
        )
        request = DescribeConfigsRequest(resources=[resource])
        for version in self.client.versions(DescribeConfigsRequest):
            (result,) = self.client.failed(request, version, 7).results
            self.assertEqual((result.error_code, result.resource_name), (7, "mine"))


class ListTests(ConfigsCase):
    """
    ListConfigResources.
    """

    def ask(self, *kinds: int) -> list[tuple[int, str]]:
        """
        The resources of these types.
        """
        request = ListConfigResourcesRequest(resource_types=list(kinds))
        response = self.client.now(request, 1)
        self.assertEqual(response.error_code, 0)
        return [(each.resource_type, each.resource_name) for each in response.config_resources]

    def test_all(self) -> None:
        """
        Without types all resources are listed.
        """
        self.assertEqual(self.ask(), [(TOPIC, "mine"), (BROKER, "7")])

    def test_some(self) -> None:
        """
        Only resources of these types; of some there are none.
        """
        self.assertEqual(self.ask(TOPIC), [(TOPIC, "mine")])
        self.assertEqual(self.ask(BROKER, GROUP, METRICS, LOGGER), [(BROKER, "7")])
        self.assertEqual(self.ask(GROUP), [])

    def test_version_0(self) -> None:
        """
        Version 0 lists client metrics, of which there are none.
        """
        response = self.client.now(ListConfigResourcesRequest(), 0)
        self.assertEqual((response.error_code, response.config_resources), (0, []))

    def test_unknown_type(self) -> None:
        """
        An unknown type is UNSUPPORTED_VERSION.
        """
        request = ListConfigResourcesRequest(resource_types=[TOPIC, 99])
        failure = self.failureResultOf(self.client.start(request, 1))
        self.assertEqual(failure.value.code, 35)
        for version in self.client.versions(ListConfigResourcesRequest):
            response = self.client.failed(ListConfigResourcesRequest(), version, 35)
            self.assertEqual(response.error_code, 35)
