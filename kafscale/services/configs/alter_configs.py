"""
AlterConfigs and IncrementalAlterConfigs.

The configuration of a topic can be altered, and is in force when it is answered.
That of a broker comes from its settings at the start, and can only be read; to
delete a configuration that was never set is no error, for either.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TypeAlias, TypeVar

from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import NONE, InvalidConfig, InvalidRequest
from kafscale.interfaces import (
    IAdminService,
    IImage,
    ITopicConfigs,
    ITopics,
    RequestContext,
    Serving,
    TopicConfig,
)
from kafscale.services.configs.resources import ResourceType, check_broker, unique, unsupported
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    AlterConfigsRequest,
    AlterConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

AlterConfigsResource: TypeAlias = AlterConfigsRequest.Resource
IncrementalResource: TypeAlias = IncrementalAlterConfigsRequest.Resource
AlterableConfig: TypeAlias = IncrementalAlterConfigsRequest.Resource.Config

R = TypeVar("R", AlterConfigsResource, IncrementalResource)
Q = TypeVar("Q")

#: Given the overrides of a topic, returns those that it is to have.
Alteration: TypeAlias = Callable[[Mapping[str, str]], Mapping[str, str]]


class _Operation(IntEnum):
    """
    C{AlterConfigOp.OpType}.
    """

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


THROTTLES = frozenset(
    {
        "leader.replication.throttled.rate",
        "follower.replication.throttled.rate",
        "replica.alter.log.dirs.io.max.bytes.per.second",
    }
)
"""The configurations of brokers that tools set while they reassign partitions. Nothing is
copied between brokers here, so they are accepted, and have no effect."""


@implementer(IAdminService)
class AlterConfigsService:
    """
    Versions 0 to 2 of AlterConfigs, and 0 to 1 of IncrementalAlterConfigs: the
    last of each is flexible, all are the same otherwise.
    """

    def __init__(self, image: IImage, topics: ITopics, configs: ITopicConfigs) -> None:
        """
        @param image: Knows the topics that exist.
        @param topics: Alters topics.
        @param configs: Describes the configurations of topics.
        """
        self._image = image
        self._topics = topics
        self._configs = configs

    def serves(self) -> list[Serving]:
        """
        AlterConfigs and IncrementalAlterConfigs.
        """
        return [
            Serving(AlterConfigsRequest, 0, 2, self.replace, refusal()),
            Serving(IncrementalAlterConfigsRequest, 0, 1, self.change, refusal()),
        ]

    async def replace(
        self, request: AlterConfigsRequest, context: RequestContext
    ) -> AlterConfigsResponse:
        """
        Replace the overrides of topics (AlterConfigs). A configuration that the
        request does not name gets its default.
        """

        def replacement(resource: AlterConfigsResource) -> Alteration:
            after = {each.name: _not_null(each.name, each.value) for each in resource.configs}
            return lambda before: after

        return AlterConfigsResponse(
            responses=await self._alter_all(
                request.resources, AlterConfigsResponse.Resource, replacement, request.validate_only
            )
        )

    async def change(
        self, request: IncrementalAlterConfigsRequest, context: RequestContext
    ) -> IncrementalAlterConfigsResponse:
        """
        Change the overrides of topics (IncrementalAlterConfigs). A configuration
        that the request does not name stays as it is (KIP-339).
        """

        def changes(resource: IncrementalResource) -> Alteration:
            return lambda before: self._changed(before, resource.configs)

        return IncrementalAlterConfigsResponse(
            responses=await self._alter_all(
                request.resources,
                IncrementalAlterConfigsResponse.Resource,
                changes,
                request.validate_only,
            )
        )

    async def _alter_all(
        self,
        resources: Sequence[R],
        result_class: Callable[..., Q],
        alteration_of: Callable[[R], Alteration],
        validate_only: bool,
    ) -> list[Q]:
        """
        Alter each resource.

        @param alteration_of: Raises if there is an error in the resource.
        @return: A C{result_class} for each resource.
        """
        times = Counter((each.resource_type, each.resource_name) for each in resources)

        async def alter(resource: R) -> Q:
            code, message = NONE, None
            try:
                if times[resource.resource_type, resource.resource_name] > 1:
                    raise InvalidRequest("Each resource must appear at most once.")
                names = [each.name for each in resource.configs]
                if len(set(names)) < len(names):
                    raise InvalidRequest("A configuration is given more than once")
                alteration = alteration_of(resource)
                await self._alter(resource, alteration, validate_only)
            except Exception as error:
                what = f"alter the configuration of {resource.resource_name}"
                code, message = error_fields(error, what)
            return result_class(
                error_code=code,
                error_message=message,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )

        return await map_bounded(alter, unique(resources))

    async def _alter(
        self,
        resource: AlterConfigsResource | IncrementalResource,
        alteration: Alteration,
        validate_only: bool,
    ) -> None:
        match resource.resource_type:
            case ResourceType.TOPIC:
                self._topics.check_name(resource.resource_name)
                topic = self._image.topic(resource.resource_name)
                await self._topics.alter(topic, alteration, validate_only)
            case ResourceType.BROKER:
                if resource.resource_name:
                    check_broker(self._image, resource.resource_name)
                _check_broker_configs(alteration({}))
            case _:
                raise unsupported(resource.resource_type)

    def _changed(
        self, before: Mapping[str, str], changes: Sequence[AlterableConfig]
    ) -> Mapping[str, str]:
        after = dict(before)
        known = {config.name: config for config in self._configs.describe(before)}
        for change in changes:
            match change.config_operation:
                case _Operation.SET:
                    after[change.name] = _not_null(change.name, change.value)
                case _Operation.DELETE:
                    after.pop(change.name, None)
                case _Operation.APPEND | _Operation.SUBTRACT:
                    after[change.name] = _list_changed(known.get(change.name), change)
                case other:
                    raise InvalidRequest(f"Unknown config operation {other}")
        return after


def _check_broker_configs(configs: Mapping[str, str]) -> None:
    """
    Check what is to be set for a broker: only L{THROTTLES} can be.

    @raise InvalidConfig: it is something else, or no number.
    """
    for name, value in configs.items():
        if name not in THROTTLES:
            raise InvalidConfig(
                "The settings that a broker is started with cannot be altered while it runs"
            )
        if re.fullmatch(r"[0-9]+", value.strip(), re.ASCII) is None:
            raise InvalidConfig(
                f"Invalid value {value} for configuration {name}: it must be a number from 0 up"
            )


def _list_changed(config: TopicConfig | None, change: AlterableConfig) -> str:
    """
    The value of a list after items were appended or subtracted.

    @param config: None if the configuration is unknown.
    """
    if config is None or config.kind != "list":
        verb = "append to" if change.config_operation == _Operation.APPEND else "subtract from"
        raise InvalidConfig(f"Can't {verb} {change.name}: it is not a list")
    items = _items(config.value)
    given = _items(_not_null(change.name, change.value))
    if change.config_operation == _Operation.SUBTRACT:
        return ",".join(item for item in items if item not in given)
    return ",".join(dict.fromkeys(items + given))


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _not_null(name: str, value: str | None) -> str:
    if value is None:
        raise InvalidRequest(f"Null value not supported for: {name}")
    return value
