"""
The topics that one client may read.

A fetch session names a topic once, and reads it for as long as it likes. So the service
looks topics up here, at each request and whenever rights may have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from zope.interface import implementer

from kafscale.access.authorization.needs import Denied
from kafscale.errors import TopicAuthorizationFailed
from kafscale.format.acl import Operation, ResourceType
from kafscale.interfaces import CLUSTER_NAME, IRights, ITopicLookup, Topic

_SERIAL = 48
"""By how many bits the serial number of rights is above the changes of topics."""


@implementer(ITopicLookup)
class PermittedTopics:
    """
    Topics, for a client with some rights.
    """

    def __init__(
        self,
        topics: ITopicLookup,
        rights: IRights,
        denied: Callable[[Denied], None],
        operation: Operation | None = Operation.READ,
    ) -> None:
        """
        @param topics: All topics.
        @param rights: Those of the client.
        @param denied: Is told once of each right that the client lacks.
        @param operation: What it needs a right for; None: it may read no topic, because
            it lacks ClusterAction.
        """
        self._topics = topics
        self._rights = rights
        self._denied = denied
        self._told: set[Denied] = set()
        self._operation = operation

    @property
    def topic_changes(self) -> int:
        """
        See L{ITopicLookup}. It is another number for other rights, too.
        """
        serial = self._rights.serial
        return self._topics.topic_changes + (serial << _SERIAL)

    def topic(self, name: str) -> Topic:
        """
        The topic with this name.

        @raise UnknownTopicOrPartition: there is none.
        @raise TopicAuthorizationFailed: the client may not read it, whether there is one
            or not.
        """
        self._check(name)
        return self._topics.topic(name)

    def topic_by_id(self, topic_id: UUID) -> Topic:
        """
        The topic with this id.

        @raise UnknownTopicId: there is none.
        @raise TopicAuthorizationFailed: the client may not read it.
        """
        topic = self._topics.topic_by_id(topic_id)
        self._check(topic.name)
        return topic

    def _check(self, name: str) -> None:
        operation = self._operation
        if operation is None:
            denied: Denied = (Operation.CLUSTER_ACTION, ResourceType.CLUSTER, CLUSTER_NAME)
        elif self._rights.allows(operation, ResourceType.TOPIC, name):
            return
        else:
            denied = (operation, ResourceType.TOPIC, name)
        if denied not in self._told:
            self._told.add(denied)
            self._denied(denied)
        raise TopicAuthorizationFailed
