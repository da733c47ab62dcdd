"""
Listeners, and the sessions of the connections to them.

A connection belongs to a session, which has the principal for which requests are
served. `net` asks the sessions of its listener for one, and knows nothing of how
clients authenticate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from kafscale.errors import KafkaError

Answer: TypeAlias = list[bytes] | None
"""The bytes of an answer, with their length prefix, in pieces to be sent in order;
None if there is none."""


class Unsettled:
    """
    An answer that waits for a settlement of the log. Sessions pass it on as it is.
    """


Reply: TypeAlias = "Answer | Deferred[Answer] | Unsettled"
"""The answer to a request, or what it waits for."""


class Refused(Exception):
    """
    The request gets no response, and its connection is closed. The message is
    the reason, for the log.
    """


@attrs.frozen
class Principal:
    """
    For whom a request is made.

    @ivar kind: Kafka's principal type. Sessions have C{User} only.
    @ivar name: The name of the user, or the distinguished name of a certificate.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


ANONYMOUS = Principal("User", "ANONYMOUS")
"""The principal of clients that did not authenticate (Kafka's KafkaPrincipal.java)."""


class SecurityProtocol(StrEnum):
    """
    What clients speak on a listener.
    """

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def has_tls(self) -> bool:
        """
        Whether connections are encrypted.
        """
        return self in (SecurityProtocol.SSL, SecurityProtocol.SASL_SSL)

    @property
    def has_sasl(self) -> bool:
        """
        Whether clients authenticate by SASL before their first request.
        """
        return self in (SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL)


@attrs.frozen
class Listener:
    """
    A listener of the broker.

    @ivar name: Of the listener, in capitals; the same on all brokers of a cluster.
    @ivar protocol: What clients speak on it.
    """

    name: str
    protocol: SecurityProtocol


class IConversation(Interface):
    """
    What a session can do with its connection while it receives its frames
    (L{ISession.receive}).
    """

    def serve(frame: memoryview) -> Reply:
        """
        Have a request served, as on a connection without authentication.

        @raise Refused: The connection must be closed (also as a failure).
        """

    def refuse(frame: memoryview, error: KafkaError) -> Answer:
        """
        The response of a request's own API with an error.

        @raise Refused: The request cannot be decoded, or has no such response.
        """

    def open(watched: bool) -> None:
        """
        The client has authenticated: from the next frame on its requests are
        served. To be called before the answer to the last frame is returned.

        @param watched: Whether L{ISession.receive} still gets every frame, as
            is needed where the session ends at some time; otherwise it gets none
            any more.
        """

    def finish() -> None:
        """
        Read no further frame, and close when what is owed is sent.
        """


class ISession(Interface):
    """
    One connection, for authentication and authorization.
    """

    listener: Listener = Attribute("The L{Listener} to which the client has connected.")
    principal: Principal = Attribute(
        "The L{Principal} of the requests; L{ANONYMOUS} until the client has authenticated."
    )
    is_open: bool = Attribute(
        "Whether requests are served from the first frame on. If not, `receive` gets each"
        " frame until `IConversation.open` is called."
    )

    manages_tokens: bool = Attribute(
        "Whether requests about delegation tokens are answered (KIP-48): the client has"
        " authenticated, and not by such a token."
    )

    def receive(frame: memoryview, conversation: IConversation) -> Reply:
        """
        Answer a frame, which need not be a request. Frames are given one at a
        time: the next one when this one is answered. Once the connection is open
        and watched, they are given as they come, as to L{IConversation.serve}.

        @param frame: Without its length; it may be empty.
        @return: The answer; a Deferred holds it back.
        @raise Refused: The connection must be closed without an answer (also as
            a failure).
        """

    def secured(subject: bytes | None) -> None:
        """
        TLS is established. Called before the first frame, if the listener has TLS.

        @param subject: The subject of the client's certificate, which is verified, in
            DER; None if the client has none.
        @raise Refused: The certificate is of no use: the connection must be closed.
        """

    def gone() -> None:
        """
        The connection is lost.
        """


class ISessions(Interface):
    """
    The sessions of one listener.
    """

    listener: Listener = Attribute("The L{Listener}.")

    def begin(host: str) -> ISession:
        """
        The session of a new connection.

        @param host: The address of the client.
        """


@attrs.frozen
class ScramDeletion:
    """
    A SCRAM credential to delete.

    @ivar mechanism: Kafka's number of the mechanism.
    """

    mechanism: int


@attrs.frozen
class ScramUpsertion:
    """
    A SCRAM credential to set.

    @ivar mechanism: Kafka's number of the mechanism.
    @ivar iterations: Of the password's hash.
    @ivar salt: Of the password's hash.
    @ivar salted_password: The hash.
    """

    mechanism: int
    iterations: int
    salt: bytes = attrs.field(repr=False)
    salted_password: bytes = attrs.field(repr=False)


class IUsers(Interface):
    """
    The users whose credentials are in the metadata store.
    """

    def credentials() -> Mapping[str, Mapping[int, int]]:
        """
        The iterations of each credential, by the user's name and the number of the
        mechanism.
        """

    def alter(
        name: str, deletions: Sequence[ScramDeletion], upsertions: Sequence[ScramUpsertion]
    ) -> Awaitable[None]:
        """
        Change a user's credentials in one commit. When it fires the change is durable,
        and in force on this broker.

        @param deletions: With C{upsertions}, all that a request has for the user.
        @raise KafkaError: They are not acceptable; nothing is changed.
        @raise StoreUnavailable: The store did not answer; the change may have been made.
        """


@attrs.frozen
class DelegationToken:
    """
    A delegation token, with which a client acts for its owner (KIP-48).

    @ivar token_id: With which a client logs in.
    @ivar hmac: Its secret, of 64 bytes, in base64 the password of that login.
    @ivar owner: For whom the client acts.
    @ivar requester: Who has created it.
    @ivar renewers: Others that may prolong and end it.
    @ivar issued_ms: When it was created, in milliseconds since 1970.
    @ivar max_ms: When it ends, however often it is prolonged; likewise.
    @ivar expires_ms: When it ends if it is not prolonged; likewise.
    """

    token_id: str
    hmac: bytes = attrs.field(repr=False)
    owner: Principal
    requester: Principal
    renewers: Sequence[Principal]
    issued_ms: int
    max_ms: int
    expires_ms: int

    @property
    def seen_by(self) -> Sequence[Principal]:
        """
        Those who may see it without further rights.
        """
        return [self.requester, self.owner, *self.renewers]

    def is_renewed_by(self, principal: Principal) -> bool:
        """
        Whether this is one of those who may prolong and end it.
        """
        return principal in (self.owner, *self.renewers)


def token_owner(kind: str | None, name: str | None, requester: Principal) -> Principal:
    """
    The owner that a request for a token names, by kind and name; the requester if it names
    none.
    """
    return Principal(kind or "", name) if name else requester


class IDelegationTokens(Interface):
    """
    The delegation tokens of the cluster. A change is durable, and in force on this broker,
    when it fires; on others within a second.
    """

    def tokens() -> Sequence[DelegationToken]:
        """
        All of them, also such as have ended a short while ago.

        @raise DelegationTokenAuthDisabled: there are none, as the broker has no secret key.
        """

    def create(
        owner: Principal, requester: Principal, renewers: Sequence[Principal], lifetime_ms: int
    ) -> Awaitable[DelegationToken]:
        """
        Create a token.

        @param lifetime_ms: After how many ms it ends for good, if that is positive and below
            the limit of the broker.
        @raise InvalidPrincipalType: a renewer is no user.
        @raise InvalidRequest: the names of owner and renewers are too long.
        @raise DelegationTokenAuthDisabled: the broker has no secret key.
        @raise StoreUnavailable: the store did not answer; the token may have been created.
        """

    def renew(hmac: bytes, principal: Principal, period_ms: int) -> Awaitable[int]:
        """
        Let a token end after a period from now, and return when that is, in ms since 1970.

        @param principal: Who asks for it.
        @param period_ms: The limit of the broker if it is not positive, or above it.
        @raise DelegationTokenAuthDisabled: the broker has no secret key.
        @raise DelegationTokenNotFound: there is no token with this HMAC.
        @raise DelegationTokenExpired: it has ended.
        @raise DelegationTokenOwnerMismatch: the principal may not do so.
        @raise StoreUnavailable: the store did not answer; the change may have been made.
        """

    def expire(hmac: bytes, principal: Principal, period_ms: int) -> Awaitable[int]:
        """
        The same, but a negative period deletes the token at once, and others have no limit
        but the life of the token.

        @raise KafkaError: as L{renew}.
        @raise StoreUnavailable: likewise.
        """
