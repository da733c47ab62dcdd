"""
Delegation tokens, with which clients act for another (KIP-48).

A client that has authenticated creates a token and gives it to others, such as the tasks
of a job. These log in by SCRAM, with the token's id for a name and its HMAC for a
password, and are served as the owner of the token, until it ends.

The HMAC is that of the id, with a secret key that all brokers of the cluster have. So it
is not stored, and who can read the metadata store cannot log in.

What a token allows, the errors, and their order are those of Kafka's
C{DelegationTokenControlManager}, as observed of version 4.4.0. Unlike there, a token that
has ended is refused at once, whether or not it was deleted yet, and one that was created
or prolonged on another broker is accepted at once: if a client has a right HMAC, and this
broker knows no token for it, the metadata store is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hmac import digest
from typing import Final

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from kafscale.access.authentication.exchange import Identity
from kafscale.concurrency.chore import Chore
from kafscale.errors import (
    DelegationTokenAuthDisabled,
    DelegationTokenExpired,
    DelegationTokenNotFound,
    DelegationTokenOwnerMismatch,
    InvalidPrincipalType,
    InvalidRequest,
    reason_in_log,
)
from kafscale.format import metadata_keys
from kafscale.format.delegation_token import DelegationTokenRecord, PrincipalParts
from kafscale.interfaces import (
    MAX_RECORDS,
    DelegationToken,
    IClusterRecords,
    IDelegationTokens,
    Principal,
)

MOST_LETTERS: Final = 65_536
"""How many letters the names of a token's owner and its renewers have together, at most."""

RETRY_SECONDS: Final = 60.0
"""After so many seconds it is tried again to delete tokens that have ended."""


@attrs.frozen
class TokenRules:
    """
    How long tokens last.

    @ivar secret: The secret key; None if there are no tokens.
    @ivar max_ms: The longest that a token lasts.
    @ivar period_ms: The longest that it lasts from when it is created or renewed.
    @ivar check_ms: How often those that have ended are deleted.
    """

    secret: bytes | None = attrs.field(repr=False)
    max_ms: int
    period_ms: int
    check_ms: int


@implementer(IDelegationTokens)
class DelegationTokens:
    """
    The tokens of the cluster.
    """

    _log = Logger()

    def __init__(
        self,
        records: IClusterRecords,
        rules: TokenRules,
        clock: IReactorTime,
        new_id: Callable[[], str],
    ) -> None:
        """
        @param records: The tokens in the metadata store. They have been read.
        @param clock: In seconds since 1970.
        @param new_id: Makes the id of a new token.
        """
        self._records = records
        self._rules = rules
        self._clock = clock
        self._new_id = new_id
        self._keys: dict[bytes, str] = {}  # of the records, by HMAC
        self._sweeping = Chore(clock, self._sweep, self._not_swept)
        records.on_change(self._changed)
        self._changed(records.records())

    def stop(self) -> None:
        """
        Delete no more tokens that have ended.
        """
        self._sweeping.abandon()

    @property
    def enabled(self) -> bool:
        """
        Whether there is a secret key, without which there are no tokens.
        """
        return self._rules.secret is not None

    def has(self, token_id: str) -> bool:
        """
        Whether this broker knows a token with this id.
        """
        return self._records.get(metadata_keys.delegation_token(token_id)) is not None

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)

    def hmac_of(self, token_id: str) -> bytes:
        """
        The HMAC of a token, or the one that a token with this id would have.

        @raise DelegationTokenAuthDisabled: There is no secret key.
        """
        if self._rules.secret is None:
            raise DelegationTokenAuthDisabled
        return digest(self._rules.secret, token_id.encode(), "sha512")

    def _changed(self, changed: Mapping[str, DelegationTokenRecord | None]) -> None:
        if self._rules.secret is None:
            return
        for key, record in changed.items():
            secret = self.hmac_of(metadata_keys.delegation_token_of(key))
            if record is None:
                self._keys.pop(secret, None)
            else:
                self._keys[secret] = key
        self._sweep_later()

    # -- administration -----------------------------------------------------------

    def tokens(self) -> Sequence[DelegationToken]:
        """
        See L{IDelegationTokens.tokens}.
        """
        if self._rules.secret is None:
            raise DelegationTokenAuthDisabled
        return [
            _token(metadata_keys.delegation_token_of(key), secret, self._records.get(key))
            for secret, key in self._keys.items()
        ]

    async def create(
        self,
        owner: Principal,
        requester: Principal,
        renewers: Sequence[Principal],
        lifetime_ms: int,
    ) -> DelegationToken:
        """
        See L{IDelegationTokens.create}.
        """
        if any(each.kind != "User" for each in renewers):
            raise InvalidPrincipalType
        if sum(len(each.kind) + len(each.name) for each in (owner, *renewers)) > MOST_LETTERS:
            raise InvalidRequest("The names of the owner and the renewers are too long")
        token_id = self._new_id()
        secret = self.hmac_of(token_id)
        rules, now = self._rules, self._now()
        max_ms = now + (min(lifetime_ms, rules.max_ms) if lifetime_ms > 0 else rules.max_ms)
        record = DelegationTokenRecord(
            _parts(owner),
            _parts(requester),
            tuple(map(_parts, renewers)),
            now,
            max_ms,
            min(max_ms, now + rules.period_ms),
        )
        key = metadata_keys.delegation_token(token_id)
        await self._records.change([key], lambda present: {key: record})
        self._log_change("created", token_id, record, requester)
        return _token(token_id, secret, record)

    async def renew(self, hmac: bytes, principal: Principal, period_ms: int) -> int:
        """
        See L{IDelegationTokens.renew}.
        """
        most = self._rules.period_ms
        period_ms = min(period_ms, most) if period_ms > 0 else most

        def check(token: DelegationToken, now: int) -> None:
            if token.expires_ms < now:
                raise DelegationTokenExpired
            if not token.is_renewed_by(principal):
                raise DelegationTokenOwnerMismatch

        return await self._end(hmac, principal, period_ms, check)

    async def expire(self, hmac: bytes, principal: Principal, period_ms: int) -> int:
        """
        See L{IDelegationTokens.expire}.
        """

        def check(token: DelegationToken, now: int) -> None:
            if not token.is_renewed_by(principal):
                raise DelegationTokenOwnerMismatch
            if period_ms >= 0 and token.expires_ms < now:
                raise DelegationTokenExpired

        return await self._end(hmac, principal, period_ms, check)

    async def _end(
        self,
        secret: bytes,
        principal: Principal,
        period_ms: int,
        check: Callable[[DelegationToken, int], None],
    ) -> int:
        """
        Let a token end after a period from now, or delete it if that is negative.

        @param check: Called with the token and the time.
        """
        if self._rules.secret is None:
            raise DelegationTokenAuthDisabled
        if secret not in self._keys:
            await self._records.refresh()  # another broker may just have created it
        key = self._keys.get(secret)
        if key is None:
            raise DelegationTokenNotFound
        token_id = metadata_keys.delegation_token_of(key)
        now = self._now()
        decided: list[DelegationTokenRecord] = []

        def decide(
            present: Mapping[str, DelegationTokenRecord],
        ) -> Mapping[str, DelegationTokenRecord | None]:
            record = present.get(key)
            if record is None:
                raise DelegationTokenNotFound
            check(_token(token_id, secret, record), now)
            ends = now if period_ms < 0 else min(record.max_ms, now + period_ms)
            decided[:] = [attrs.evolve(record, expires_ms=ends)]
            return {key: None if period_ms < 0 else decided[0]}

        await self._records.change([key], decide)
        (record,) = decided
        self._log_change("ended" if period_ms < 0 else "altered", token_id, record, principal)
        return record.expires_ms

    def _log_change(
        self, what: str, token_id: str, record: DelegationTokenRecord, principal: Principal
    ) -> None:
        self._log.info(
            "the delegation token {token} of {owner!r} was {what} by {principal!r}",
            token=token_id,
            owner=":".join(record.owner),
            what=what,
            principal=str(principal),
            expires_ms=record.expires_ms,
        )

    # -- logging in ---------------------------------------------------------------

    async def identity(self, token_id: str) -> Identity | None:
        """
        What a client is that has proved to know the HMAC of this id; None if there is no
        such token any more, or its owner is no user. Only then this broker's knowledge is
        compared with the store: a client without a right HMAC causes no request to it.

        @raise StoreUnavailable: It did not answer.
        """
        key = metadata_keys.delegation_token(token_id)
        record = self._valid(key)
        if record is None:
            await self._records.change([key], lambda present: {})  # see what others changed
            record = self._valid(key)
        if record is None:
            return None
        kind, name = record.owner
        if kind != "User":  # who may act for a group must not become the user of that name
            return None
        return Identity(name, record.expires_ms, by_token=True)

    def _valid(self, key: str) -> DelegationTokenRecord | None:
        record: DelegationTokenRecord | None = self._records.get(key)
        return None if record is None or record.expires_ms <= self._now() else record

    # -- deleting what has ended ----------------------------------------------------

    def _sweep_later(self) -> None:
        """
        Only while there are tokens.
        """
        if self._keys:
            self._sweeping.kick_after(self._rules.check_ms / 1000)

    async def _sweep(self) -> None:
        """
        Delete tokens that have ended, whichever broker is first.
        """
        ended = [
            key
            for key, record in self._records.records().items()
            if record.expires_ms < self._now()
        ]
        for start in range(0, len(ended), MAX_RECORDS):
            await self._records.change(ended[start : start + MAX_RECORDS], self._without_ended)
        self._sweep_later()

    def _without_ended(
        self, present: Mapping[str, DelegationTokenRecord]
    ) -> Mapping[str, DelegationTokenRecord | None]:
        now = self._now()
        return {key: None for key, record in present.items() if record.expires_ms < now}

    def _not_swept(self, failure: Failure) -> float:
        self._log.warn(
            "delegation tokens that have ended could not be deleted, which is tried again in"
            " {seconds:g} s: {why}",
            seconds=RETRY_SECONDS,
            why=reason_in_log(failure.value),
        )
        return RETRY_SECONDS


def _parts(principal: Principal) -> PrincipalParts:
    return principal.kind, principal.name


def _token(token_id: str, secret: bytes, record: DelegationTokenRecord) -> DelegationToken:
    return DelegationToken(
        token_id,
        secret,
        Principal(*record.owner),
        Principal(*record.requester),
        [Principal(*each) for each in record.renewers],
        record.issued_ms,
        record.max_ms,
        record.expires_ms,
    )
