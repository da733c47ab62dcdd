"""
What the rooms promise one another.

No room imports another; each takes what it needs as one of these interfaces,
and ``kafscale.tap`` joins them. Methods that may have to wait return
awaitables (implementers write ``async def``); a `Deferred` stands in a
signature only where one event fires once for many.
"""

from kafscale.interfaces.cluster import (
    Broker,
    IImage,
    IProducerIds,
    ITopicConfigs,
    ITopics,
    Leadership,
    Phase,
    Topic,
    TopicConfig,
)
from kafscale.interfaces.groups import (
    CommittedOffset,
    DescribedGroup,
    DescribedMember,
    ICoordinator,
    Joined,
    JoinedMember,
    Joining,
    Membership,
    Synced,
    Where,
)
from kafscale.interfaces.log import (
    Append,
    AppendRules,
    Fetched,
    ILog,
    IPartition,
    IPressure,
    ISettlement,
    LogRules,
)
from kafscale.interfaces.services import (
    IAdminService,
    ICoordinationService,
    IFetchService,
    IProduceService,
    IService,
    RequestContext,
    Serving,
)
from kafscale.interfaces.stores import (
    Change,
    Compare,
    Delete,
    Entry,
    IMetadataStore,
    IObjectStore,
    IWatch,
    ObjectInfo,
    Put,
)

__all__ = [
    "Append",
    "AppendRules",
    "Broker",
    "Change",
    "CommittedOffset",
    "Compare",
    "Delete",
    "DescribedGroup",
    "DescribedMember",
    "Entry",
    "Fetched",
    "IAdminService",
    "ICoordinationService",
    "ICoordinator",
    "IFetchService",
    "IImage",
    "ILog",
    "IMetadataStore",
    "IObjectStore",
    "IPartition",
    "IPressure",
    "IProduceService",
    "IProducerIds",
    "IService",
    "ISettlement",
    "ITopicConfigs",
    "ITopics",
    "IWatch",
    "Joined",
    "JoinedMember",
    "Joining",
    "Leadership",
    "LogRules",
    "Membership",
    "ObjectInfo",
    "Phase",
    "Put",
    "RequestContext",
    "Serving",
    "Synced",
    "Topic",
    "TopicConfig",
    "Where",
]
