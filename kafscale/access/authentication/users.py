"""
The users that passwords are known of.

Most are in the metadata store, where administrators set and delete their
credentials. Others may be in a file of the broker, so that there is a first one: an
entry in the store takes precedence over a line of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from zope.interface import implementer

from kafscale.access.authentication.exchange import Identity
from kafscale.access.authentication.scram import (
    MAX_ITERATIONS,
    MECHANISMS,
    MIN_ITERATIONS,
    Known,
    Mechanism,
)
from kafscale.errors import (
    CommitConflict,
    DuplicateResource,
    ResourceNotFound,
    SettingError,
    UnacceptableCredential,
    UnknownServerError,
    UnsupportedSaslMechanism,
)
from kafscale.format import metadata_keys
from kafscale.format.user import ScramCredential, UserRecord, login_secret_of
from kafscale.interfaces import (
    Compare,
    IClusterRecords,
    IMetadataStore,
    IUsers,
    Put,
    ScramDeletion,
    ScramUpsertion,
)

_NUMBERS: Final = {each.number: each for each in MECHANISMS.values()}

_LINE = re.compile(r"(?P<name>.+?):(?P<credential>SCRAM-SHA-(?:256|512)\$.*)")


def read_users(text: str, source: str) -> dict[str, UserRecord]:
    """
    The users of a file: lines C{name:SCRAM-SHA-256$iterations:salt$stored:server}, one
    for each credential. Empty lines and those that begin with C{#} are ignored.

    @param source: The name of the file, for the error.
    @raise SettingError: A line is something else. The line is not repeated.
    """
    found: dict[str, dict[str, ScramCredential]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise ValueError(number)
            mechanism, credential = ScramCredential.from_text(match["credential"])
            sizes = {len(credential.stored_key), len(credential.server_key)}
            if sizes != {MECHANISMS[mechanism].size} or credential.iterations < MIN_ITERATIONS:
                raise ValueError(number)
        except (ValueError, LookupError):
            raise SettingError(
                f"line {number} of {source} is not name:SCRAM-SHA-256$iterations:salt$stored"
                " key:server key; python -m kafscale hash-password makes such lines"
            ) from None
        found.setdefault(match["name"], {})[mechanism] = credential
    return {name: UserRecord(credentials) for name, credentials in found.items()}


@implementer(IUsers)
class Users:
    """
    Looks users up, and changes them.

    @ivar login_secret: See L{login_secret}. Set before the first client logs in.
    """

    def __init__(
        self,
        records: IClusterRecords,
        in_file: Mapping[str, UserRecord],
    ) -> None:
        """
        @param records: The users in the metadata store.
        @param in_file: Those of the file, by their names.
        """
        self._records = records
        self._in_file = in_file
        self.login_secret = ""

    def look_up(self, name: str, mechanism: Mechanism) -> Known:
        """
        What is known of a name: see L{kafscale.access.authentication.scram.LookUp}.
        """
        record = self._records.get(metadata_keys.user(name)) or self._in_file.get(name)
        if record is not None and mechanism.name in record.credentials:
            return Known(record.credentials[mechanism.name], Identity(name))
        decoy = mechanism.decoy(self.login_secret.encode(), name)
        if record is not None:
            return Known(decoy, None, f"this user has no password for {mechanism.name}")
        return Known(decoy, None)

    # -- administration -----------------------------------------------------------

    def credentials(self) -> Mapping[str, Mapping[int, int]]:
        """
        See L{IUsers.credentials}.
        """
        return {
            metadata_keys.user_of(key): {
                MECHANISMS[name].number: each.iterations
                for name, each in record.credentials.items()
            }
            for key, record in self._records.records().items()
        }

    async def alter(
        self,
        name: str,
        deletions: Sequence[ScramDeletion],
        upsertions: Sequence[ScramUpsertion],
    ) -> None:
        """
        See L{IUsers.alter}. The errors and their order are those of Kafka's
        C{ScramControlManager}.
        """
        key = metadata_keys.user(name)

        def decide(present: Mapping[str, UserRecord]) -> Mapping[str, UserRecord | None]:
            record = present.get(key)
            credentials = dict(record.credentials) if record is not None else {}
            for deletion in deletions:
                mechanism = _mechanism(name, deletion.mechanism)
                if mechanism.name not in credentials:
                    raise ResourceNotFound(
                        "Attempt to delete a user credential that does not exist"
                    )
            if len(deletions) + len(upsertions) > 1:
                raise DuplicateResource(
                    "A user credential cannot be altered twice in the same request"
                )
            for deletion in deletions:
                del credentials[_mechanism(name, deletion.mechanism).name]
            for upsertion in upsertions:
                mechanism = _mechanism(name, upsertion.mechanism)
                credentials[mechanism.name] = _credential(mechanism, upsertion)
            return {key: UserRecord(credentials) if credentials else None}

        await self._records.change([key], decide)

    async def add_first(self, name: str, credentials: Mapping[str, ScramCredential]) -> bool:
        """
        Add a user, unless there is one in the metadata store.

        @return: Whether it was added.
        """
        if self._records.records():
            return False
        key = metadata_keys.user(name)
        await self._records.change([key], lambda present: present or {key: UserRecord(credentials)})
        return True


def _mechanism(name: str, number: int) -> Mechanism:
    """
    @raise UnacceptableCredential: There can be no such user.
    @raise UnsupportedSaslMechanism: There is no such mechanism.
    """
    if not name:
        raise UnacceptableCredential("Username must not be empty")
    if number not in _NUMBERS:
        raise UnsupportedSaslMechanism("Unknown SCRAM mechanism")
    return _NUMBERS[number]


def _credential(mechanism: Mechanism, upsertion: ScramUpsertion) -> ScramCredential:
    """
    @raise UnacceptableCredential: The iterations are out of bounds.
    @raise UnknownServerError: There is no password, as Kafka answers then.
    """
    if upsertion.iterations < MIN_ITERATIONS:
        raise UnacceptableCredential("Too few iterations")
    if upsertion.iterations > MAX_ITERATIONS:
        raise UnacceptableCredential("Too many iterations")
    if not upsertion.salted_password:
        raise UnknownServerError("The salted password is empty")
    return mechanism.credential(upsertion.salted_password, upsertion.salt, upsertion.iterations)


async def login_secret(store: IMetadataStore, new: Callable[[], str]) -> str:
    """
    The secret from which the salts of unknown users are made, the same on all brokers
    of the cluster.

    @param new: Makes one, for the first broker.
    @raise StoreUnavailable: The store did not answer.
    """
    key = metadata_keys.LOGIN_SECRET
    while True:
        entry = await store.get(key)
        if entry is not None:
            return login_secret_of(entry)
        with suppress(CommitConflict):  # another broker was faster
            await store.commit([Compare(key, 0)], [Put(key, new())])
