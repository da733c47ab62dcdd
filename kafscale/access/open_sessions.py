"""
Sessions on listeners where clients need not authenticate by SASL.
"""

from __future__ import annotations

import attrs
from zope.interface import implementer

from kafscale.interfaces import (
    ANONYMOUS,
    IConversation,
    ISession,
    ISessions,
    Listener,
    Principal,
    Reply,
)


@implementer(ISession)
@attrs.define(eq=False)
class OpenSession:
    """
    A session whose requests are served from the first one on.

    @ivar listener: See L{ISession.listener}.
    @ivar principal: See L{ISession.principal}.
    """

    listener: Listener
    principal: Principal = ANONYMOUS
    is_open = True

    @property
    def manages_tokens(self) -> bool:
        """
        See L{ISession.manages_tokens}: only a certificate says who a client is here.
        """
        return self.principal != ANONYMOUS

    def receive(self, frame: memoryview, conversation: IConversation) -> Reply:
        """
        See L{ISession.receive}.
        """
        return conversation.serve(frame)

    def secured(self, subject: bytes | None) -> None:
        """
        See L{ISession.secured}: the client stays anonymous.
        """

    def gone(self) -> None:
        """
        See L{ISession.gone}: there is nothing to release.
        """


@implementer(ISessions)
class OpenSessions:
    """
    The sessions of a listener without SASL.

    @ivar listener: See L{ISessions.listener}.
    """

    def __init__(self, listener: Listener) -> None:
        """
        @param listener: The listener.
        """
        self.listener = listener

    def begin(self, host: str) -> OpenSession:
        """
        See L{ISessions.begin}.
        """
        return OpenSession(self.listener)
