"""
The configuration of topics, to be changed: what is changed holds at once.

A broker's is made where it is started: it can only be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TypeAlias

from zope.interface import implementer

from kafscale.concurrency.gathering import map_bounded
from kafscale.errors import InvalidConfig, InvalidRequest
from kafscale.interfaces import (
    IAdminService,
    IImage,
    ITopicConfigs,
    ITopics,
    RequestContext,
    Serving,
    TopicConfig,
)
from kafscale.services.configs.resources import ResourceType, check_broker, not_known, unique
from kafscale.services.refusals import error_fields, refusal
from kafscale.wire.messages import (
    AlterConfigsRequest,
    AlterConfigsResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

Replacing: TypeAlias = AlterConfigsRequest.Resource
Replaced: TypeAlias = AlterConfigsResponse.Resource
Changing: TypeAlias = IncrementalAlterConfigsRequest.Resource
Changed: TypeAlias = IncrementalAlterConfigsResponse.Resource
Step: TypeAlias = IncrementalAlterConfigsRequest.Resource.Config

#: From a topic's overrides to those that it shall have.
Change: TypeAlias = Callable[[Mapping[str, str]], Mapping[str, str]]


class _Operation(IntEnum):
    """
    C{AlterConfigOp.OpType}.
    """

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


@implementer(IAdminService)
class AlterationService:
    """
    Versions 0 to 2 of AlterConfigs, and 0 to 1 of IncrementalAlterConfigs: the
    last of each is flexible, all are the same otherwise.
    """

    def __init__(self, image: IImage, topics: ITopics, configs: ITopicConfigs) -> None:
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

    # -- AlterConfigs --------------------------------------------------------

    async def replace(
        self, request: AlterConfigsRequest, context: RequestContext
    ) -> AlterConfigsResponse:
        """
        What is not named goes back to its default.
        """
        times = Counter((one.resource_type, one.resource_name) for one in request.resources)

        async def replace(asked: Replacing) -> Replaced:
            answer = Replaced(resource_type=asked.resource_type, resource_name=asked.resource_name)
            try:
                _check_once(asked, times)
                configs = {one.name: _not_null(one.name, one.value) for one in asked.configs}
                await self._alter(asked, lambda _: configs, request.validate_only)
            except Exception as error:
                answer.error_code, answer.error_message = error_fields(
                    error, f"alter the configuration of {asked.resource_name}"
                )
            return answer

        return AlterConfigsResponse(responses=await map_bounded(replace, unique(request.resources)))

    async def _alter(self, asked: Replacing | Changing, change: Change, trial: bool) -> None:
        match asked.resource_type:
            case ResourceType.TOPIC:
                self._topics.check_name(asked.resource_name)
                topic = self._image.topic(asked.resource_name)
                await self._topics.alter(topic, change, trial)
            case ResourceType.BROKER:
                if asked.resource_name:
                    check_broker(self._image, asked.resource_name)
                raise InvalidConfig("What a broker is started with cannot be altered while it runs")
            case _:
                raise not_known(asked.resource_type)

    # -- IncrementalAlterConfigs ---------------------------------------------

    async def change(
        self, request: IncrementalAlterConfigsRequest, context: RequestContext
    ) -> IncrementalAlterConfigsResponse:
        """
        What is not named stays as it is (KIP-339).
        """
        times = Counter((one.resource_type, one.resource_name) for one in request.resources)

        async def change(asked: Changing) -> Changed:
            answer = Changed(resource_type=asked.resource_type, resource_name=asked.resource_name)
            try:
                _check_once(asked, times)
                await self._alter(
                    asked,
                    lambda before: self._changed(before, asked.configs),
                    request.validate_only,
                )
            except Exception as error:
                answer.error_code, answer.error_message = error_fields(
                    error, f"alter the configuration of {asked.resource_name}"
                )
            return answer

        return IncrementalAlterConfigsResponse(
            responses=await map_bounded(change, unique(request.resources))
        )

    def _changed(self, before: Mapping[str, str], steps: Sequence[Step]) -> Mapping[str, str]:
        after = dict(before)
        known = {one.name: one for one in self._configs.describe(before)}
        for step in steps:
            config = known.get(step.name)
            if config is None:
                raise InvalidConfig(f"Unknown topic config name: {step.name}")
            match step.config_operation:
                case _Operation.SET:
                    after[step.name] = _not_null(step.name, step.value)
                case _Operation.DELETE:
                    after.pop(step.name, None)
                case _Operation.APPEND | _Operation.SUBTRACT:
                    after[step.name] = _list_changed(config, step)
                case other:
                    raise InvalidRequest(f"There is no operation {other} on a configuration")
        return after



def _list_changed(config: TopicConfig, step: Step) -> str:
    """
    A list with more items, or fewer, than are in force.
    """
    if config.kind != "list":
        verb = "append to" if step.config_operation == _Operation.APPEND else "subtract from"
        raise InvalidConfig(f"Can't {verb} {config.name}: it is not a list")
    items = _items(config.value)
    given = _items(_not_null(step.name, step.value))
    if step.config_operation == _Operation.SUBTRACT:
        return ",".join(item for item in items if item not in given)
    return ",".join(dict.fromkeys(items + given))


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _not_null(name: str, value: str | None) -> str:
    if value is None:
        raise InvalidRequest(f"Null value not supported for: {name}")
    return value


def _check_once(asked: Replacing | Changing, times: Mapping[tuple[int, str], int]) -> None:
    """
    @raise InvalidRequest: the resource, or a configuration of it, is named
        twice.
    """
    if times[asked.resource_type, asked.resource_name] > 1:
        raise InvalidRequest("Each resource must appear at most once.")
    names = [one.name for one in asked.configs]
    if len(set(names)) < len(names):
        raise InvalidRequest("A configuration is given more than once")
