"""
Sending requests to services, and the cases that do.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from kafscale.interfaces import IService, ISession, RequestContext, Serving, Settling
from kafscale.wire.messages import RESPONSES
from kafscale.wire.schema import Request
from tests.cluster.small import SmallCluster
from tests.harness.sessions import SESSION


class Connection:
    """
    Identifies a connection.
    """


CONNECTION = Connection()


def context(
    version: int, connection: Connection = CONNECTION, session: ISession = SESSION
) -> RequestContext:
    """
    The context of a request of this version.
    """
    return RequestContext(version, "test", "127.0.0.1", connection, session)


class ServiceClient:
    """
    Sends requests to services as a connection does: every request and response
    is encoded and decoded, so a message that cannot be encoded fails the test.

    @ivar session: The session that requests belong to.
    """

    session: ISession = SESSION

    def __init__(self, case: SynchronousTestCase, *services: IService) -> None:
        """
        @param services: Of any APIs.
        """
        self._case = case
        self._served: dict[int, Serving] = {
            serving.request.key: serving for service in services for serving in service.serves()
        }

    def start(
        self, request: Request, version: int, connection: Connection = CONNECTION
    ) -> Deferred[Any]:
        """
        Send a request. The Deferred fires with the response as a client reads
        it, or None if there is none.
        """
        serving = self._served[type(request).key]
        self._case.assertLessEqual(serving.lowest, version)
        self._case.assertLessEqual(version, serving.highest)
        read = type(request).decode(version, b"".join(request.encode(version)))

        answered = maybeDeferred(serving.answer, read, context(version, connection, self.session))
        answered.addCallback(lambda it: it.deferred() if isinstance(it, Settling) else it)
        return answered.addCallback(lambda response: response and self._sent(response, version))

    def now(self, request: Request, version: int) -> Any:
        """
        Send a request whose response must come at once.
        """
        return self._case.successResultOf(self.start(request, version))

    def failed(self, request: Request, version: int, code: int) -> Any:
        """
        The response to a request for which the service raised this error.
        """
        serving = self._served[type(request).key]
        read = type(request).decode(version, b"".join(request.encode(version)))
        response = serving.failed(read, context(version), code, "words")
        return response and self._sent(response, version)

    def versions(self, request: type[Request]) -> range:
        """
        The versions in which an API is served.
        """
        serving = self._served[request.key]
        return range(serving.lowest, serving.highest + 1)

    def _sent(self, response: Any, version: int) -> Any:
        kind = RESPONSES[type(response).key]
        self._case.assertIsInstance(response, kind)
        return kind.decode(version, b"".join(response.encode(version)))


class ServiceCase(SynchronousTestCase):
    """
    A cluster of one broker, and a client of some of its services.

    @ivar cluster: The cluster.
    @ivar client: Sends requests to the services.
    """

    def setUp(self) -> None:
        """
        A cluster without topics, and a client without services.
        """
        self.cluster = SmallCluster(self)
        self.client = ServiceClient(self)

    def serve(self, *services: IService) -> None:
        """
        Let the client send requests to these services.
        """
        self.client = ServiceClient(self, *services)
