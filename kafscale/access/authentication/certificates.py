"""
Sessions on listeners of TLS without SASL: the client's certificate has the principal.
"""

from __future__ import annotations

from zope.interface import implementer

from kafscale.access.authentication.distinguished_names import PrincipalRules, name_of
from kafscale.access.open_sessions import OpenSession
from kafscale.interfaces import ISessions, Listener, Principal, Refused


class CertificateSession(OpenSession):
    """
    A session whose principal is the subject of the client's certificate; anonymous
    without one.
    """

    def __init__(self, listener: Listener, rules: PrincipalRules) -> None:
        """
        @param rules: Map the subject to the name of the principal.
        """
        super().__init__(listener)
        self._rules = rules

    def secured(self, subject: bytes | None) -> None:
        """
        See L{ISession.secured}.
        """
        if subject is None:
            return
        name = name_of(subject)
        user = self._rules.apply(name)
        if user is None:
            raise Refused(
                f"no rule of KAFSCALE_SSL_PRINCIPAL_MAPPING_RULES applies to the subject {name!r}"
                " of its certificate"
            )
        self.principal = Principal("User", user)


@implementer(ISessions)
class CertificateSessions:
    """
    The sessions of a listener of protocol SSL.

    @ivar listener: See L{ISessions.listener}.
    """

    def __init__(self, listener: Listener, rules: PrincipalRules) -> None:
        """
        @param listener: The listener.
        @param rules: Map subjects of certificates to names of principals.
        """
        self.listener = listener
        self._rules = rules

    def begin(self, host: str) -> CertificateSession:
        """
        See L{ISessions.begin}.
        """
        return CertificateSession(self.listener, self._rules)
