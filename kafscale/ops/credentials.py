"""
Who may see the pages of the HTTP server.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest


class Credentials:
    """
    What requests for other pages than those of health must have, in C{Authorization}.
    """

    def __init__(self, token: str | None = None, user: tuple[str, str] | None = None) -> None:
        """
        @param token: A bearer token (RFC 6750).
        @param user: A user and its password, for basic authentication (RFC 7617). With
            neither everybody may see everything; with both either will do.
        """
        accepted = []
        if token is not None:
            accepted.append(f"Bearer {token}".encode())
        if user is not None:
            accepted.append(b"Basic " + b64encode(":".join(user).encode()))
        # Digests are of one length, so that a comparison takes the same time.
        self._accepted = [sha256(each).digest() for each in accepted]
        self._schemes = [each.split()[0].decode() for each in accepted]

    @property
    def challenges(self) -> Sequence[str]:
        """
        What a client is told that it may use (C{WWW-Authenticate}).
        """
        return [f'{scheme} realm="kafscale"' for scheme in self._schemes]

    def allow(self, given: bytes | None) -> bool:
        """
        Whether a request is allowed.

        @param given: Its header C{Authorization}; None if it has none.
        """
        if not self._accepted:
            return True
        scheme, _, rest = (given or b"").strip().partition(b" ")
        found = sha256(scheme.capitalize() + b" " + rest.strip()).digest()
        return any(compare_digest(found, each) for each in self._accepted)
