"""
DescribeConfigs and ListConfigResources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from zope.interface import implementer

from kafscale.errors import UnsupportedVersion
from kafscale.interfaces import (
    IAdminService,
    IImage,
    ITopicConfigs,
    ITopics,
    RequestContext,
    Serving,
    TopicConfig,
)
from kafscale.services.configs.broker_configs import BrokerConfig
from kafscale.services.configs.resources import (
    CONFIG_SOURCES,
    ResourceType,
    check_broker,
    unique,
    unsupported,
)
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

DescribeConfigsResource: TypeAlias = DescribeConfigsRequest.Resource
DescribeConfigsResult: TypeAlias = DescribeConfigsResponse.Result
ConfigEntry: TypeAlias = DescribeConfigsResponse.Result.Config
ConfigSynonym: TypeAlias = DescribeConfigsResponse.Result.Config.Synonym

#: The codes of C{DescribeConfigsResponse.ConfigType}, by
#: L{TopicConfig.kind} and L{BrokerConfig.kind}.
_TYPES = {
    "unknown": 0,
    "boolean": 1,
    "string": 2,
    "int": 3,
    "long": 5,
    "double": 6,
    "list": 7,
    "password": 9,
}


@implementer(IAdminService)
class DescribeConfigsService:
    """
    Versions 0 to 4 of DescribeConfigs, and 0 to 1 of ListConfigResources::

        =====  =================================================================
               DescribeConfigs
        v1     sources instead of "is default"; synonyms on request
        v3     types; documentation on request
        v4     flexible
        -----  -----------------------------------------------------------------
               ListConfigResources
        v0     only client metrics (there are none)
        v1     all types
        =====  =================================================================

    """

    def __init__(
        self,
        image: IImage,
        topics: ITopics,
        configs: ITopicConfigs,
        broker: Sequence[BrokerConfig],
    ) -> None:
        """
        @param image: Knows the topics and brokers.
        @param topics: Checks the names of topics.
        @param configs: Describes the configurations of topics.
        @param broker: The configuration of this broker.
        """
        self._image = image
        self._topics = topics
        self._configs = configs
        self._broker = broker

    def serves(self) -> list[Serving]:
        """
        DescribeConfigs and ListConfigResources.
        """
        return [
            Serving(DescribeConfigsRequest, 0, 4, self.describe, refusal()),
            Serving(ListConfigResourcesRequest, 0, 1, self.list_resources, refusal()),
        ]

    # -- DescribeConfigs -----------------------------------------------------

    async def describe(
        self, request: DescribeConfigsRequest, context: RequestContext
    ) -> DescribeConfigsResponse:
        """
        The value of each configuration, and its source. A resource named twice is
        described once, so a small request cannot ask for a large response.
        """
        results = []
        inherited = self._configs.describe({})
        for resource in unique(request.resources):
            result = DescribeConfigsResult(
                resource_type=resource.resource_type, resource_name=resource.resource_name
            )
            try:
                configs = self._entries(resource, inherited, request.include_synonyms)
            except Exception as error:
                result.error_code, result.error_message = error_fields(
                    error, f"describe the configuration of {resource.resource_name}"
                )
            else:
                wanted = set(resource.configuration_keys or ())
                result.configs = [each for each in configs if not wanted or each.name in wanted]
                if not request.include_documentation:
                    for each in result.configs:
                        each.documentation = None
            results.append(result)
        return DescribeConfigsResponse(results=results)

    def _entries(
        self, resource: DescribeConfigsResource, inherited: Sequence[TopicConfig], synonyms: bool
    ) -> list[ConfigEntry]:
        """
        @param inherited: The configurations of a topic without overrides.
        """
        match resource.resource_type:
            case ResourceType.TOPIC:
                self._topics.check_name(resource.resource_name)
                overrides = self._image.topic(resource.resource_name).configs
                return [
                    _topic_entry(config, default, synonyms)
                    for config, default in zip(
                        self._configs.describe(overrides), inherited, strict=True
                    )
                ]
            case ResourceType.BROKER:
                if not resource.resource_name:
                    return []  # the defaults of all brokers: none can be set
                check_broker(self._image, resource.resource_name)
                return [_broker_entry(config, synonyms) for config in self._broker]
        raise unsupported(resource.resource_type)

    # -- ListConfigResources -------------------------------------------------

    async def list_resources(
        self, request: ListConfigResourcesRequest, context: RequestContext
    ) -> ListConfigResourcesResponse:
        """
        The resources that can be described, of the types in the request.
        """
        if context.api_version == 0:
            return ListConfigResourcesResponse(config_resources=[])
        wanted = request.resource_types or list(ResourceType)
        for resource_type in wanted:
            if resource_type not in tuple(ResourceType):
                raise UnsupportedVersion(f"Unsupported resource type: {resource_type}")
        found: list[tuple[int, str]] = []
        if ResourceType.TOPIC in wanted:
            found += [(ResourceType.TOPIC, topic.name) for topic in self._image.topics()]
        if ResourceType.BROKER in wanted:
            found += [
                (ResourceType.BROKER, str(broker.broker_id)) for broker in self._image.brokers()
            ]
        return ListConfigResourcesResponse(
            config_resources=[
                ListConfigResourcesResponse.ConfigResource(
                    resource_name=name, resource_type=resource_type
                )
                for resource_type, name in found
            ]
        )


def _topic_entry(config: TopicConfig, default: TopicConfig, synonyms: bool) -> ConfigEntry:
    """
    @param default: The same configuration of a topic without overrides.
    """
    found = []
    if synonyms:
        if config.source == "topic":
            source = CONFIG_SOURCES["topic"]
            found.append(ConfigSynonym(name=config.name, value=config.value, source=source))
        if config.synonym and default.source == "broker":
            source = CONFIG_SOURCES["broker"]
            found.append(ConfigSynonym(name=config.synonym, value=default.value, source=source))
        if config.synonym:
            source = CONFIG_SOURCES["default"]
            found.append(ConfigSynonym(name=config.synonym, value=default.default, source=source))
    return ConfigEntry(
        name=config.name,
        value=config.value,
        read_only=False,
        is_default=config.source != "topic",
        config_source=CONFIG_SOURCES[config.source],
        is_sensitive=False,
        synonyms=found,
        config_type=_TYPES[config.kind],
        documentation=config.meaning,
    )


def _broker_entry(config: BrokerConfig, synonyms: bool) -> ConfigEntry:
    source = CONFIG_SOURCES[config.source]
    found = []
    if synonyms:
        if config.source != "default":
            found.append(ConfigSynonym(name=config.name, value=config.value, source=source))
        if config.default is not None:
            usual = CONFIG_SOURCES["default"]
            found.append(ConfigSynonym(name=config.name, value=config.default, source=usual))
    return ConfigEntry(
        name=config.name,
        value=config.value,
        read_only=True,
        is_default=config.source == "default",
        config_source=source,
        is_sensitive=config.sensitive,
        synonyms=found,
        config_type=_TYPES[config.kind],
        documentation=config.meaning,
    )
