"""
What stands between a connection and the services until its session is open.

A connection hands its frames to a L{Dispatch}. On a listener where clients
authenticate it hands them to a L{Guard} instead, which gives each to the session;
when the session is open the connection goes back to the dispatch, unless the
session watches every request. So a listener without authentication pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from zope.interface import implementer

from kafscale.errors import KafkaError
from kafscale.interfaces import Answer, IConversation, ISession, Reply, Serving
from kafscale.net.dispatch import Dispatch
from kafscale.net.request_memo import RequestMemo

MOST_BYTES: Final = 524_288
"""Length of a frame before the session is open, at most (Kafka's default of
C{sasl.server.max.receive.size})."""


OPENING_SECONDS: Final = 30.0
"""Seconds from the start of a connection within which TLS must be established and the
client have authenticated."""

MEMORY: Final = 8 * 1024 * 1024
"""Bytes that all connections together hold of frames before their sessions are open.
What clients that have authenticated send is counted apart, so others do not slow them
down."""


@implementer(IConversation)
class Guard:
    """
    Gives the frames of one connection to its session.
    """

    def __init__(
        self,
        session: ISession,
        dispatch: Dispatch,
        memo: RequestMemo,
        opened: Callable[[Door], None],
        finish: Callable[[], None],
    ) -> None:
        """
        @param session: Of the connection; it is not open.
        @param dispatch: Serves the requests that the session lets pass.
        @param memo: Of the connection.
        @param opened: Called when the session is open, with what is to get the
            frames from then on.
        @param finish: See L{IConversation.finish}.
        """
        self._session = session
        self._dispatch = dispatch
        self._memo = memo
        self._opened = opened
        self._is_open = False
        self.finish = finish

    # -- as the connection sees it ----------------------------------------------

    def serving(self, frame: memoryview) -> Serving | None:
        """
        See L{Dispatch.serving}. Until the session is open no frame overlaps another.
        """
        return self._dispatch.serving(frame) if self._is_open else None

    def answer(self, frame: memoryview, memo: RequestMemo) -> Reply:
        """
        See L{Dispatch.answer}.
        """
        return self._session.receive(frame, self)

    # -- as the session sees it -------------------------------------------------

    def serve(self, frame: memoryview) -> Reply:
        """
        See L{IConversation.serve}.
        """
        return self._dispatch.answer(frame, self._memo)

    def refuse(self, frame: memoryview, error: KafkaError) -> Answer:
        """
        See L{IConversation.refuse}.
        """
        return self._dispatch.refuse(frame, self._memo, error)

    def open(self, watched: bool) -> None:
        """
        See L{IConversation.open}.
        """
        self._is_open = True
        self._opened(self if watched else self._dispatch)


Door: TypeAlias = Dispatch | Guard
"""What a connection hands its frames to."""
