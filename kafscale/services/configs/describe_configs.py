"""
The configuration of topics and of this broker, to be read.
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
from kafscale.services.cluster.common import CONFIG_SOURCES
from kafscale.services.configs.broker_configs import BrokerConfig
from kafscale.services.configs.resources import ResourceType, check_broker, not_known, unique
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

Described: TypeAlias = DescribeConfigsResponse.Result
Config: TypeAlias = DescribeConfigsResponse.Result.Config
Synonym: TypeAlias = DescribeConfigsResponse.Result.Config.Synonym
Asked: TypeAlias = DescribeConfigsRequest.Resource


#: C{DescribeConfigsResponse.ConfigType}.
_KINDS = {"boolean": 1, "string": 2, "int": 3, "long": 5, "double": 6, "list": 7}


@implementer(IAdminService)
class ConfigsService:
    """
    Versions 0 to 4 of DescribeConfigs, and 0 to 1 of ListConfigResources::

        =====  =================================================================
               DescribeConfigs
        v1     sources instead of "is default"; synonyms, when asked for
        v3     types, and documentation when asked for
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
        What is in force for each, and where it comes from. Who names one twice
        is told once: an answer does not get larger than there are things.
        """
        results = []
        inherited = self._configs.describe({})
        for asked in unique(request.resources):
            answer = Described(resource_type=asked.resource_type, resource_name=asked.resource_name)
            try:
                configs = self._described(asked, inherited, request.include_synonyms)
            except Exception as error:
                answer.error_code, answer.error_message = error_fields(
                    error, f"describe {asked.resource_name}"
                )
            else:
                wanted = set(asked.configuration_keys or ())
                answer.configs = [one for one in configs if not wanted or one.name in wanted]
                if not request.include_documentation:
                    for one in answer.configs:
                        one.documentation = None
            results.append(answer)
        return DescribeConfigsResponse(results=results)

    def _described(
        self, asked: Asked, inherited: Sequence[TopicConfig], synonyms: bool
    ) -> list[Config]:
        """
        @param inherited: What topics have that set nothing.
        """
        match asked.resource_type:
            case ResourceType.TOPIC:
                self._topics.check_name(asked.resource_name)
                overrides = self._image.topic(asked.resource_name).configs
                return [
                    _topic_config(one, without, synonyms)
                    for one, without in zip(
                        self._configs.describe(overrides), inherited, strict=True
                    )
                ]
            case ResourceType.BROKER:
                if not asked.resource_name:
                    return []  # what is set for all brokers together: nothing can be
                check_broker(self._image, asked.resource_name)
                return [_broker_config(one, synonyms) for one in self._broker]
        raise not_known(asked.resource_type)

    # -- ListConfigResources -------------------------------------------------

    async def list_resources(
        self, request: ListConfigResourcesRequest, context: RequestContext
    ) -> ListConfigResourcesResponse:
        """
        What can be described, of the types asked for.
        """
        if context.api_version == 0:
            return ListConfigResourcesResponse(config_resources=[])
        wanted = request.resource_types or list(ResourceType)
        for kind in wanted:
            if kind not in tuple(ResourceType):
                raise UnsupportedVersion(f"Unsupported resource type: {kind}")
        found: list[tuple[int, str]] = []
        if ResourceType.TOPIC in wanted:
            found += [(ResourceType.TOPIC, topic.name) for topic in self._image.topics()]
        if ResourceType.BROKER in wanted:
            found += [
                (ResourceType.BROKER, str(broker.broker_id)) for broker in self._image.brokers()
            ]
        return ListConfigResourcesResponse(
            config_resources=[
                ListConfigResourcesResponse.ConfigResource(resource_name=name, resource_type=kind)
                for kind, name in found
            ]
        )



def _topic_config(one: TopicConfig, without: TopicConfig, synonyms: bool) -> Config:
    """
    @param without: The same where the topic sets nothing.
    """
    found = []
    if synonyms:
        if one.source == "topic":
            found.append(Synonym(name=one.name, value=one.value, source=CONFIG_SOURCES["topic"]))
        if one.synonym:
            source = CONFIG_SOURCES[without.source]
            found.append(Synonym(name=one.synonym, value=without.value, source=source))
    return Config(
        name=one.name,
        value=one.value,
        read_only=False,
        is_default=one.source != "topic",
        config_source=CONFIG_SOURCES[one.source],
        is_sensitive=False,
        synonyms=found,
        config_type=_KINDS[one.kind],
        documentation=one.meaning,
    )


def _broker_config(one: BrokerConfig, synonyms: bool) -> Config:
    source = CONFIG_SOURCES[one.source]
    return Config(
        name=one.name,
        value=one.value,
        read_only=True,
        is_default=one.source == "default",
        config_source=source,
        is_sensitive=one.sensitive,
        synonyms=[Synonym(name=one.name, value=one.value, source=source)] if synonyms else [],
        config_type=_KINDS[one.kind],
        documentation=one.meaning,
    )
