"""
The versions that both brokers serve.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from kafscale.wire.messages import (
    CreateAclsRequest,
    CreateTopicsRequest,
    DeleteAclsRequest,
    DeleteTopicsRequest,
    DescribeAclsRequest,
    DescribeConfigsRequest,
    DescribeLogDirsRequest,
    FetchRequest,
    ListOffsetsRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    OffsetForLeaderEpochRequest,
    ProduceRequest,
)
from kafscale.wire.schema import Request
from tests.clients.requests import ADVERTISED
from tests.differential.talk import Case, Talk

#: The lowest version that Apache Kafka 4.4.0 serves, where that is not 0. Its newest
#: versions are ours.
LOWEST: dict[type[Request], int] = {
    ProduceRequest: 3,
    FetchRequest: 4,
    ListOffsetsRequest: 1,
    OffsetCommitRequest: 2,
    OffsetFetchRequest: 1,
    CreateTopicsRequest: 2,
    DeleteTopicsRequest: 1,
    OffsetForLeaderEpochRequest: 2,
    DescribeAclsRequest: 1,
    CreateAclsRequest: 1,
    DeleteAclsRequest: 1,
    DescribeConfigsRequest: 1,
    DescribeLogDirsRequest: 1,
}


def versions(request: type[Request], first: int = 0) -> range:
    """
    The versions of a request that both brokers serve.

    @param first: The lowest one that is of interest.
    """
    lowest, newest = ADVERTISED[request]
    return range(max(first, lowest, LOWEST.get(request, 0)), newest + 1)


def newest(request: type[Request]) -> int:
    """
    The newest version that both brokers serve.
    """
    return versions(request)[-1]


def each_version(
    name: str, request: type[Request], run: Callable[[int, Talk], None]
) -> Iterator[Case]:
    """
    A case for each version of a request that both brokers serve.

    @param run: Gets the version, and the conversation.
    """
    for version in versions(request):
        yield Case(f"{name}, version {version}", functools.partial(run, version))
