"""
The rights that each request needs, as a table.

A request is refused as a whole, or in parts: each element of a list in it, such as a
topic, needs a right of its own, and the element of the response that belongs to it has
the error. So a service sees only what its client may do
(L{kafscale.access.authorization.guard}), and what it answers may show less than it
would without an authorizer.

The rights, the codes and their places are those of Kafka's C{KafkaApis} and
C{ControllerApis}, as observed of version 4.4.0.

The module is long because the table has a row for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from kafscale.errors import (
    ClusterAuthorizationFailed,
    DelegationTokenAuthorizationFailed,
    GroupAuthorizationFailed,
    KafkaError,
    TopicAuthorizationFailed,
    TransactionalIdAuthorizationFailed,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kafscale.format.acl import Operation, ResourceType
from kafscale.interfaces import CLUSTER_NAME, IImage, IRights, ISession, Principal, token_owner
from kafscale.wire.messages import DescribeTopicPartitionsRequest
from kafscale.wire.schema import NO_UUID, Request

CLUSTER = ResourceType.CLUSTER
GROUP = ResourceType.GROUP
TOKEN = ResourceType.DELEGATION_TOKEN
TOPIC = ResourceType.TOPIC
TRANSACTION = ResourceType.TRANSACTIONAL_ID
USER = ResourceType.USER

ERRORS: Mapping[ResourceType, type[KafkaError]] = {
    CLUSTER: ClusterAuthorizationFailed,
    GROUP: GroupAuthorizationFailed,
    TOKEN: DelegationTokenAuthorizationFailed,
    TOPIC: TopicAuthorizationFailed,
    TRANSACTION: TransactionalIdAuthorizationFailed,
    USER: DelegationTokenAuthorizationFailed,
}
"""The error if a right on such a resource is missing."""

NO_OPERATIONS = -(2**31)
"""The value of a field of authorized operations that were not asked for."""

OPERATIONS: Mapping[ResourceType, Sequence[Operation]] = {
    TOPIC: [Operation(code) for code in (3, 4, 5, 6, 7, 8, 10, 11)],
    CLUSTER: [Operation(code) for code in (5, 7, 8, 9, 10, 11, 12)],
    GROUP: [Operation(code) for code in (3, 6, 8, 10, 11)],
}
"""The operations that such a field can have (Kafka's C{AclEntry.supportedOperations})."""


Denied: TypeAlias = tuple[Operation, ResourceType, str]
"""A right that a client lacked: the operation, and the type and name of the resource."""


@attrs.define(eq=False)
class Asked:
    """
    A request, and what its client may do.

    @ivar request: As the client has sent it.
    @ivar version: Of the API.
    @ivar session: Of the client.
    @ivar rights: Of the client.
    @ivar image: Has the topics that exist.
    @ivar creates: Whether a Metadata request may create topics.
    @ivar denied: What it may not do of what it asked for.
    """

    request: Any
    version: int
    session: ISession
    rights: IRights
    image: IImage
    creates: bool
    denied: list[Denied] = attrs.field(factory=list)

    def may(self, operation: Operation, kind: ResourceType, name: str = CLUSTER_NAME) -> bool:
        """
        Whether the client may do something, which it need not have asked for.
        """
        return self.rights.allows(operation, kind, name)

    def refusal(
        self, operation: Operation, kind: ResourceType, name: str = CLUSTER_NAME
    ) -> KafkaError | None:
        """
        The error if the client may not do that; None if it may.
        """
        if self.rights.allows(operation, kind, name):
            return None
        return self.deny(operation, kind, name)

    def deny(self, operation: Operation, kind: ResourceType, name: str) -> KafkaError:
        """
        The error because the client may not do that.
        """
        self.denied.append((operation, kind, name))
        return ERRORS[kind]()

    def topic_name(self, element: Any) -> str | None:
        """
        The name of a topic that a part of the request names, perhaps by its id; None if no
        topic has the id.
        """
        topic_id = getattr(element, "topic_id", NO_UUID)
        if topic_id == NO_UUID:
            name: str | None = element.name
            return name or ""
        try:
            return self.image.topic_by_id(topic_id).name
        except UnknownTopicId:
            return None

    def exists(self, name: str) -> bool:
        """
        Whether there is a topic of this name.
        """
        try:
            self.image.topic(name)
        except UnknownTopicOrPartition:
            return False
        return True


Judge: TypeAlias = Callable[[Asked, Any], "KafkaError | None"]
"""Returns why an element of a request is refused; None if it is not."""


@attrs.frozen
class Part:
    """
    A list in a request whose elements need rights, and the list in the response that
    belongs to it.

    @ivar request: The name of the list in the request.
    @ivar response: The name of the list in the response.
    @ivar judge: Decides on each element.
    @ivar values: Returns further values in the response to an element, by name.
    @ivar message: Returns the C{error_message} with an error.
    @ivar inner: A list within the elements. If it is null, which stands for all, then
        C{shows} decides which elements of the response stay.
    @ivar shows: For C{inner}: whether an element of the response may be shown.
    @ivar everything: Returns what an empty list stands for, as far as the client may see
        it; None if it stands for nothing.
    """

    request: str
    response: str
    judge: Judge
    values: Callable[[Asked, Any], Mapping[str, Any]] = lambda asked, element: {}
    message: Callable[[KafkaError], str | None] = lambda error: None
    inner: Part | None = None
    shows: Callable[[Asked, Any], bool] = lambda asked, element: True
    everything: Callable[[Asked], list[Any]] | None = None


@attrs.frozen
class Needs:
    """
    What one API needs.

    @ivar whole: Return why the request is refused as a whole; None if it is not.
    @ivar parts: Its lists.
    @ivar after: Called with the response of the service, to leave out of it what the
        client may not see.
    @ivar serves_none: Whether the service is asked even if all elements are refused.
    @ivar changes: Returns the names of what the request changes, if it is administrative.
    @ivar within: Whether the service decides itself (Fetch, because of its sessions).
    """

    whole: Sequence[Callable[[Asked], KafkaError | None]] = ()
    parts: Sequence[Part] = ()
    after: Sequence[Callable[[Asked, Any], None]] = ()
    serves_none: bool = False
    changes: Callable[[Any], Sequence[str]] | None = None
    within: bool = False


# -- whole requests -------------------------------------------------------------


def cluster(operation: Operation) -> Callable[[Asked], KafkaError | None]:
    """
    The request needs this right on the cluster.
    """
    return lambda asked: asked.refusal(operation, CLUSTER)


def group(
    operation: Operation, upto: int | None = None
) -> Callable[[Asked], KafkaError | None]:
    """
    The request needs this right on its group.

    @param upto: The last version in which it has one.
    """

    def refusal(asked: Asked) -> KafkaError | None:
        if upto is not None and asked.version > upto:
            return None
        return asked.refusal(operation, GROUP, asked.request.group_id)

    return refusal


def _coordinated(asked: Asked, key: str) -> KafkaError | None:
    """
    FindCoordinator: of a group, a transaction, or a share group.
    """
    match asked.request.key_type:
        case 0:
            return asked.refusal(Operation.DESCRIBE, GROUP, key)
        case 1:
            return asked.refusal(Operation.DESCRIBE, TRANSACTION, key)
        case 2:
            return asked.refusal(Operation.CLUSTER_ACTION, CLUSTER)
    return None  # refused by the service


def _coordinated_alone(asked: Asked) -> KafkaError | None:
    return None if asked.version >= 4 else _coordinated(asked, asked.request.key)


def _transaction(asked: Asked) -> KafkaError | None:
    name = asked.request.transactional_id
    return None if name is None else asked.refusal(Operation.WRITE, TRANSACTION, name)


def _producer(asked: Asked) -> KafkaError | None:
    """
    InitProducerId without a transactional id.
    """
    if asked.request.transactional_id is not None:
        return None
    if asked.rights.allows_any(Operation.WRITE, TOPIC):
        return None
    return asked.refusal(Operation.IDEMPOTENT_WRITE, CLUSTER)


def _delegated(asked: Asked) -> KafkaError | None:
    """
    A delegation token for another principal. Who may ask for none at all is refused by the
    service, with an error that comes first.
    """
    request, requester = asked.request, asked.session.principal
    owner = token_owner(request.owner_principal_type, request.owner_principal_name, requester)
    if owner == requester or not asked.session.manages_tokens:
        return None
    return asked.refusal(Operation.CREATE_TOKENS, USER, str(owner))


# -- elements -------------------------------------------------------------------


def topic(operation: Operation, field: str = "name") -> Judge:
    """
    Each element is a topic, by name or by id.

    @param field: The field with the name.
    """

    def judge(asked: Asked, element: Any) -> KafkaError | None:
        name = asked.topic_name(element) if field == "name" else getattr(element, field)
        return None if name is None else asked.refusal(operation, TOPIC, name)

    return judge


def _group(operation: Operation, field: str = "") -> Judge:
    return lambda asked, element: asked.refusal(
        operation, GROUP, getattr(element, field) if field else element
    )


def _leader_epoch(asked: Asked, element: Any) -> KafkaError | None:
    if asked.may(Operation.CLUSTER_ACTION, CLUSTER):
        return None
    return asked.refusal(Operation.DESCRIBE, TOPIC, element.topic)


def _described(asked: Asked, element: Any) -> KafkaError | None:
    """
    A topic in Metadata: one that does not exist may have to be created.
    """
    refused = topic(Operation.DESCRIBE)(asked, element)
    if refused is not None:
        return refused
    creates = asked.creates and asked.request.allow_auto_topic_creation
    if not creates or element.topic_id != NO_UUID or asked.exists(element.name):
        return None
    return _created(asked, element)


def _describable(asked: Asked) -> list[DescribeTopicPartitionsRequest.Topic]:
    """
    All topics that the client may describe. The service must not see others: a page of the
    response names the topic that the next one begins with.
    """
    return [
        DescribeTopicPartitionsRequest.Topic(name=each.name)
        for each in asked.image.topics()
        if asked.may(Operation.DESCRIBE, TOPIC, each.name)
    ]


def _created(asked: Asked, element: Any) -> KafkaError | None:
    if asked.may(Operation.CREATE, CLUSTER):
        return None
    return asked.refusal(Operation.CREATE, TOPIC, element.name)


def _deleted(asked: Asked, element: Any) -> KafkaError | None:
    """
    A topic in DeleteTopics. One that does not exist is said to be so to those that may
    describe it.
    """
    name = element if isinstance(element, str) else asked.topic_name(element)
    if name is None or asked.may(Operation.DELETE, TOPIC, name):
        return None
    if not asked.exists(name) and asked.may(Operation.DESCRIBE, TOPIC, name):
        return None
    return asked.deny(Operation.DELETE, TOPIC, name)


def _hidden_name(asked: Asked, element: Any) -> Mapping[str, Any]:
    """
    A topic that is named by its id keeps its name to itself, unless the client may
    describe it.
    """
    if isinstance(element, str) or element.topic_id == NO_UUID:
        return {}
    name = asked.topic_name(element)
    shown = name is not None and asked.may(Operation.DESCRIBE, TOPIC, name)
    return {"name": name if shown else None}


def _null_name(asked: Asked, element: Any) -> Mapping[str, Any]:
    return {} if element.topic_id == NO_UUID else {"name": None}


_CONFIGURED = {2: TOPIC, 4: CLUSTER, 8: CLUSTER, 16: CLUSTER, 32: GROUP}
"""Types of resources with configurations, and those of the rights on them."""


def _configured(operation: Operation) -> Judge:
    def judge(asked: Asked, element: Any) -> KafkaError | None:
        kind = _CONFIGURED.get(element.resource_type)
        if kind is None:
            return None  # refused by the service
        name = CLUSTER_NAME if kind is CLUSTER else element.resource_name
        return asked.refusal(operation, kind, name)

    return judge


def _meaning(error: KafkaError) -> str | None:
    return error.__doc__


# -- responses ------------------------------------------------------------------


def shown(
    field: str, name: str, kind: ResourceType, operation: Operation = Operation.DESCRIBE
) -> Callable[[Asked, Any], None]:
    """
    Only those elements of a list in the response stay on which the client has a right.

    @param name: The field with the name of the resource.
    """

    def leave_out(asked: Asked, response: Any) -> None:
        found = getattr(response, field)
        setattr(
            response,
            field,
            [each for each in found if asked.may(operation, kind, getattr(each, name))],
        )

    return leave_out


def _topics_shown(asked: Asked, response: Any) -> None:
    """
    Metadata of all topics.
    """
    named = asked.request.topics
    if named is None or (asked.version == 0 and not named):
        shown("topics", "name", TOPIC)(asked, response)


def _groups_shown(asked: Asked, response: Any) -> None:
    if not asked.may(Operation.DESCRIBE, CLUSTER):
        shown("groups", "group_id", GROUP)(asked, response)


def _offsets_shown(asked: Asked, response: Any) -> None:
    """
    OffsetFetch of all topics of one group.
    """
    if asked.version < 8 and asked.request.topics is None:
        shown("topics", "name", TOPIC)(asked, response)


def _tokens_shown(asked: Asked, response: Any) -> None:
    """
    Delegation tokens: one's own, those that one may renew, and what rights on the token or
    on its owner give.
    """

    def shows(token: Any) -> bool:
        owner = Principal(token.principal_type, token.principal_name)
        requester = Principal(
            token.token_requester_principal_type, token.token_requester_principal_name
        )
        renewers = [Principal(each.principal_type, each.principal_name) for each in token.renewers]
        return (
            asked.session.principal in (owner, requester, *renewers)
            or asked.may(Operation.DESCRIBE, TOKEN, token.token_id)
            or asked.may(Operation.DESCRIBE_TOKENS, USER, str(owner))
        )

    response.tokens = list(filter(shows, response.tokens))


def _offset_shown(asked: Asked, element: Any) -> bool:
    name = asked.topic_name(element)
    return name is None or asked.may(Operation.DESCRIBE, TOPIC, name)


def _operations(asked: Asked, kind: ResourceType, name: str) -> int:
    return sum(1 << each for each in OPERATIONS[kind] if asked.may(each, kind, name))


def operations(
    field: str, name: str, value: str, kind: ResourceType
) -> Callable[[Asked, Any], None]:
    """
    The elements of a list in the response say which operations the client may use.

    @param name: The field with the name of the resource.
    @param value: The field with the operations.
    """

    def say(asked: Asked, response: Any) -> None:
        for each in getattr(response, field):
            if getattr(each, value) != NO_OPERATIONS:
                setattr(each, value, _operations(asked, kind, getattr(each, name)))

    return say


def _cluster_operations(asked: Asked, response: Any) -> None:
    if response.cluster_authorized_operations != NO_OPERATIONS:
        may = asked.may(Operation.DESCRIBE, CLUSTER)
        response.cluster_authorized_operations = (
            _operations(asked, CLUSTER, CLUSTER_NAME) if may else 0
        )


def _configs_shown(asked: Asked, response: Any) -> None:
    """
    CreateTopics describes the new topic to those that may describe configurations.
    """
    for each in response.topics:
        if not each.error_code and not asked.may(Operation.DESCRIBE_CONFIGS, TOPIC, each.name):
            each.topic_config_error_code = TopicAuthorizationFailed.code
            each.num_partitions = each.replication_factor = -1
            each.configs = None


# -- what is changed ------------------------------------------------------------


def _names(field: str, name: str = "") -> Callable[[Any], Sequence[str]]:
    return lambda request: [
        str(getattr(each, name) if name else each) for each in getattr(request, field) or ()
    ]


def _acls(field: str) -> Callable[[Any], Sequence[str]]:
    def names(request: Any) -> Sequence[str]:
        suffix = "_filter" if field == "filters" else ""
        return [
            f"{getattr(each, 'principal' + suffix)} on {getattr(each, 'resource_name' + suffix)}"
            for each in getattr(request, field)
        ]

    return names


def _users(request: Any) -> Sequence[str]:
    return [*(each.name for each in request.deletions), *(each.name for each in request.upsertions)]


def _quotas(request: Any) -> Sequence[str]:
    return [
        ", ".join(f"{part.entity_type} {part.entity_name}" for part in entry.entity)
        for entry in request.entries
    ]


def _owners(request: Any) -> Sequence[str]:
    name = request.owner_principal_name
    return [f"{request.owner_principal_type}:{name}"] if name else []


def _nothing(request: Any) -> Sequence[str]:
    return ()


_RESOURCES = _names("resources", "resource_name")

_OP = Operation

NEEDS: Mapping[str, Needs] = {
    # -- records
    "Produce": Needs(
        whole=[_transaction], parts=[Part("topic_data", "responses", topic(_OP.WRITE))]
    ),
    "InitProducerId": Needs(whole=[_transaction, _producer]),
    "Fetch": Needs(within=True),
    "ListOffsets": Needs(parts=[Part("topics", "topics", topic(_OP.DESCRIBE))]),
    "OffsetForLeaderEpoch": Needs(parts=[Part("topics", "topics", _leader_epoch)]),
    "DeleteRecords": Needs(
        parts=[Part("topics", "topics", topic(_OP.DELETE))], changes=_names("topics", "name")
    ),
    "DescribeProducers": Needs(
        parts=[Part("topics", "topics", topic(_OP.READ), message=_meaning)]
    ),
    # -- groups
    "FindCoordinator": Needs(
        whole=[_coordinated_alone],
        parts=[
            Part(
                "coordinator_keys",
                "coordinators",
                _coordinated,
                values=lambda asked, key: {"node_id": -1, "port": -1},
                message=lambda error: "",
            )
        ],
    ),
    "JoinGroup": Needs(whole=[group(_OP.READ)]),
    "SyncGroup": Needs(whole=[group(_OP.READ)]),
    "Heartbeat": Needs(whole=[group(_OP.READ)]),
    "LeaveGroup": Needs(whole=[group(_OP.READ)]),
    "OffsetCommit": Needs(
        whole=[group(_OP.READ)], parts=[Part("topics", "topics", topic(_OP.READ))]
    ),
    "OffsetFetch": Needs(
        whole=[group(_OP.DESCRIBE, upto=7)],
        parts=[
            Part(
                "topics",
                "topics",
                topic(_OP.DESCRIBE),
                values=lambda asked, element: {"committed_offset": -1, "metadata": ""},
            ),
            Part(
                "groups",
                "groups",
                _group(_OP.DESCRIBE, "group_id"),
                values=lambda asked, element: {"topics": []},
                inner=Part(
                    "topics",
                    "topics",
                    topic(_OP.DESCRIBE),
                    values=lambda asked, element: {"committed_offset": -1, "metadata": ""},
                    shows=_offset_shown,
                ),
            ),
        ],
        after=[_offsets_shown],
    ),
    "OffsetDelete": Needs(
        whole=[group(_OP.DELETE)],
        parts=[Part("topics", "topics", topic(_OP.READ))],
        changes=lambda request: [request.group_id],
    ),
    "DescribeGroups": Needs(
        parts=[Part("groups", "groups", _group(_OP.DESCRIBE))],
        after=[operations("groups", "group_id", "authorized_operations", GROUP)],
    ),
    "ListGroups": Needs(after=[_groups_shown]),
    "DeleteGroups": Needs(
        parts=[Part("groups_names", "results", _group(_OP.DELETE))],
        changes=_names("groups_names"),
    ),
    # -- topics
    "Metadata": Needs(
        parts=[Part("topics", "topics", _described, values=_null_name)],
        after=[
            _topics_shown,
            operations("topics", "name", "topic_authorized_operations", TOPIC),
            _cluster_operations,
        ],
        serves_none=True,
    ),
    "DescribeTopicPartitions": Needs(
        parts=[
            Part("topics", "topics", topic(_OP.DESCRIBE), everything=_describable)
        ],
        after=[operations("topics", "name", "topic_authorized_operations", TOPIC)],
    ),
    "CreateTopics": Needs(
        parts=[
            Part("topics", "topics", _created, message=lambda error: "Authorization failed.")
        ],
        after=[_configs_shown],
        changes=_names("topics", "name"),
    ),
    "DeleteTopics": Needs(
        parts=[
            Part("topic_names", "responses", _deleted, message=_meaning),
            Part("topics", "responses", _deleted, values=_hidden_name, message=_meaning),
        ],
        changes=lambda request: [
            *request.topic_names,
            *(str(each.name or each.topic_id) for each in request.topics),
        ],
    ),
    "CreatePartitions": Needs(
        parts=[Part("topics", "results", topic(_OP.ALTER))],
        changes=_names("topics", "name"),
    ),
    # -- configurations
    "DescribeConfigs": Needs(
        parts=[
            Part("resources", "results", _configured(_OP.DESCRIBE_CONFIGS), message=_meaning)
        ],
    ),
    "AlterConfigs": Needs(
        parts=[Part("resources", "responses", _configured(_OP.ALTER_CONFIGS), message=_meaning)],
        changes=_RESOURCES,
    ),
    "IncrementalAlterConfigs": Needs(
        parts=[Part("resources", "responses", _configured(_OP.ALTER_CONFIGS), message=_meaning)],
        changes=_RESOURCES,
    ),
    "ListConfigResources": Needs(whole=[cluster(_OP.DESCRIBE_CONFIGS)]),
    # -- the cluster
    "DescribeCluster": Needs(after=[_cluster_operations]),
    "DescribeLogDirs": Needs(whole=[cluster(_OP.DESCRIBE)]),
    "ElectLeaders": Needs(whole=[cluster(_OP.ALTER)], changes=_nothing),
    "AlterPartitionReassignments": Needs(
        whole=[cluster(_OP.ALTER)], changes=_names("topics", "name")
    ),
    "ListPartitionReassignments": Needs(whole=[cluster(_OP.DESCRIBE)]),
    # -- access
    "DescribeAcls": Needs(whole=[cluster(_OP.DESCRIBE)]),
    "CreateAcls": Needs(whole=[cluster(_OP.ALTER)], changes=_acls("creations")),
    "DeleteAcls": Needs(whole=[cluster(_OP.ALTER)], changes=_acls("filters")),
    "DescribeUserScramCredentials": Needs(whole=[cluster(_OP.DESCRIBE)]),
    "AlterUserScramCredentials": Needs(whole=[cluster(_OP.ALTER)], changes=_users),
    "DescribeClientQuotas": Needs(whole=[cluster(_OP.DESCRIBE_CONFIGS)]),
    "AlterClientQuotas": Needs(whole=[cluster(_OP.ALTER_CONFIGS)], changes=_quotas),
    "CreateDelegationToken": Needs(whole=[_delegated], changes=_owners),
    # A token's HMAC is a secret; its id is in an event of its own.
    "RenewDelegationToken": Needs(changes=_nothing),
    "ExpireDelegationToken": Needs(changes=_nothing),
    "DescribeDelegationToken": Needs(after=[_tokens_shown]),
}
"""What each API needs, by its name."""


def needs_of(request: type[Request]) -> Needs:
    """
    What requests of this class need.

    @raise KeyError: the table has no such API.
    """
    return NEEDS[request.__name__.removesuffix("Request")]
