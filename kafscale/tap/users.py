"""
The users of a broker that are not in the metadata store, and secrets that are made.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from kafscale.access.authentication.scram import MECHANISMS, MIN_ITERATIONS, SALT_BYTES
from kafscale.access.authentication.users import read_users
from kafscale.config import Settings
from kafscale.errors import SettingError
from kafscale.format.user import ScramCredential, UserRecord


def credentials_of(password: str) -> dict[str, ScramCredential]:
    """
    What is kept of a password for each mechanism of SCRAM. Takes milliseconds.
    """
    found = {}
    for name, mechanism in MECHANISMS.items():
        salt = secrets.token_bytes(SALT_BYTES)
        salted = mechanism.salted(password.encode(), salt, MIN_ITERATIONS)
        found[name] = mechanism.credential(salted, salt, MIN_ITERATIONS)
    return found


def new_secret() -> str:
    """
    A secret for L{kafscale.access.authentication.users.login_secret}.
    """
    return secrets.token_urlsafe(32)


def users_in_file(settings: Settings) -> Mapping[str, UserRecord]:
    """
    The users of C{KAFSCALE_USERS_FILE}.

    @raise SettingError: It cannot be read, or has a line that is no user.
    """
    path = settings.users_file
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return read_users(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingError(f"cannot read KAFSCALE_USERS_FILE={path!r}: {why}") from None
