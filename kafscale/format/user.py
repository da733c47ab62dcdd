"""
The record of a user: what is stored of the passwords.

A password itself is never stored. Of each mechanism there are the salt and the
two keys of RFC 5802, from which neither the password nor what a client sends to
log in can be computed.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from operator import index
from typing import Any

import attrs

from kafscale.format.record import StoredEntry, read_record


@attrs.frozen
class ScramCredential:
    """
    What a server keeps of a password (RFC 5802, section 3).

    @ivar salt: Of the password's hash.
    @ivar iterations: Of the password's hash.
    @ivar stored_key: The hash of the client's key, with which its proof is checked.
    @ivar server_key: With which the server proves that it knows the user.
    """

    salt: bytes = attrs.field(repr=False)
    iterations: int = attrs.field(converter=index)
    stored_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)

    def to_text(self, mechanism: str) -> str:
        """
        In one line, as files of users have it (RFC 5803).
        """
        salt, stored, server = (
            b64encode(each).decode() for each in (self.salt, self.stored_key, self.server_key)
        )
        return f"{mechanism}${self.iterations}:{salt}${stored}:{server}"

    @classmethod
    def from_text(cls, text: str) -> tuple[str, ScramCredential]:
        """
        The mechanism and the credential in a line made by L{to_text}.

        @raise ValueError: It is no such line.
        """
        mechanism, salted, keys = text.split("$")
        iterations, salt = salted.split(":")
        stored, server = (b64decode(key, validate=True) for key in keys.split(":"))
        return mechanism, cls(b64decode(salt, validate=True), int(iterations), stored, server)


@attrs.frozen
class UserRecord:
    """
    The entry under C{users/}, whose key has the user's name.

    @ivar credentials: One for each mechanism that the user has a password for, by
        the mechanism's name, such as C{SCRAM-SHA-256}.
    """

    credentials: Mapping[str, ScramCredential]

    def to_json(self) -> dict[str, Any]:
        """
        As it stands in the metadata store.
        """
        return {
            "credentials": [
                credential.to_text(mechanism)
                for mechanism, credential in sorted(self.credentials.items())
            ]
        }

    @classmethod
    def from_entry(cls, entry: StoredEntry) -> UserRecord:
        """
        From the metadata store.

        @raise CorruptRecord: it is no such record.
        @raise NewerFormat: a newer version has written it.
        """

        def read(credentials: list[str]) -> UserRecord:
            return cls(dict(map(ScramCredential.from_text, credentials)))

        return read_record("users", entry, lambda value: read(**value), secret=True)


def login_secret_of(entry: StoredEntry) -> str:
    """
    The random text in the entry C{login-secret}, from which the salts of unknown users
    are made: the same on all brokers, so that two of them do not betray who is unknown.

    @raise CorruptRecord: it is no such value.
    @raise NewerFormat: a newer version has written it.
    """

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise TypeError(value)
        return value

    return read_record("login-secret", entry, read, secret=True)
