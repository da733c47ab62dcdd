"""
Tests of `kafscale.access.authentication.certificates` and the names in them.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kafscale.access.authentication.certificates import CertificateSessions
from kafscale.access.authentication.distinguished_names import PrincipalRules, name_of
from kafscale.interfaces import ANONYMOUS, Listener, Principal, Refused, SecurityProtocol

ALICE = "CN=Alice,OU=Dev,O=Acme Inc,C=SE"


def der(*parts: list[tuple[x509.ObjectIdentifier, str]]) -> bytes:
    """
    A name, the most general part first; each part has one attribute or more.
    """
    return x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(kind, text) for kind, text in part])
            for part in parts
        ]
    ).public_bytes()


COMMON = NameOID.COMMON_NAME
SUBJECT = der(
    [(NameOID.COUNTRY_NAME, "SE")],
    [(NameOID.ORGANIZATION_NAME, "Acme Inc")],
    [(NameOID.ORGANIZATIONAL_UNIT_NAME, "Dev")],
    [(COMMON, "Alice")],
)


class NameTests(SynchronousTestCase):
    """
    Names as Java's X500Principal.getName() has them; each was compared with Java 17.
    """

    def test_names(self) -> None:
        """
        The most specific name first; attributes that RFC 2253 does not name as numbers,
        with their value in DER.
        """
        self.assertEqual(name_of(SUBJECT), ALICE)
        self.assertEqual(
            name_of(
                der(
                    [(NameOID.COUNTRY_NAME, "SE")],
                    [(NameOID.ORGANIZATION_NAME, "Acme, Inc.")],
                    [(NameOID.EMAIL_ADDRESS, "bob@x.org"), (COMMON, "Bob")],
                )
            ),
            "CN=Bob+1.2.840.113549.1.9.1=#1609626f6240782e6f7267,O=Acme\\, Inc.,C=SE",
        )
        self.assertEqual(
            name_of(
                der(
                    [(COMMON, "\u00dcn\u00ef \u540d")],
                    [(NameOID.STREET_ADDRESS, "x/y")],
                    [(NameOID.STATE_OR_PROVINCE_NAME, "S")],
                    [(NameOID.DOMAIN_COMPONENT, "dc")],
                    [(NameOID.USER_ID, "u")],
                    [(NameOID.TITLE, "t")],
                    [(NameOID.SERIAL_NUMBER, "12")],
                )
            ),
            "2.5.4.5=#13023132,2.5.4.12=#0c0174,UID=u,DC=dc,ST=S,STREET=x/y,"
            "CN=\u00dcn\u00ef \u540d",
        )
        self.assertEqual(name_of(der()), "")

    def test_escapes(self) -> None:
        """
        Special characters, blanks at the ends and zeros are escaped.
        """
        self.assertEqual(
            name_of(der([(COMMON, ' lead and #hash "q" a=b +<>;\\ trail  ')])),
            "CN=\\ lead and \\#hash \\\"q\\\" a\\=b \\+\\<\\>\\;\\\\ trail\\ \\ ",
        )
        self.assertEqual(name_of(der([(COMMON, "  ")])), "CN=\\ \\ ")
        self.assertEqual(name_of(der([(COMMON, "a\nb\0c")])), "CN=a\nb\\00c")

    @given(st.binary(max_size=60), st.integers(0, 60))
    def test_damaged(self, noise: bytes, at: int) -> None:
        """
        What is no name is refused, and nothing else happens.
        """
        for data in (noise, SUBJECT[:at], SUBJECT[:at] + noise + SUBJECT[at:]):
            try:
                self.assertIsInstance(name_of(data), str)
            except ValueError:
                continue


class RuleTests(SynchronousTestCase):
    """
    C{ssl.principal.mapping.rules}, as Kafka's SslPrincipalMapper has them.
    """

    def test_rules(self) -> None:
        """
        The first rule that matches the whole name decides.
        """
        for rules, expected in (
            ("DEFAULT", ALICE),
            ("RULE:^CN=(.*?),OU=(.*?),.*$/$1@$2/", "Alice@Dev"),
            ("RULE:^CN=(.*?),.*$/$1/L", "alice"),
            ("RULE:^CN=(.*?),.*$/$1/U", "ALICE"),
            ("RULE:^CN=Bob.*$/bob/, RULE:^CN=Alice.*$/a/ , DEFAULT", "a"),
            ("RULE:^CN=Bob.*$/bob/,DEFAULT", ALICE),
            ("RULE:CN=Alice/x/", None),  # not the whole name
            ("RULE:^CN=(.*?),.*$/$1\\/$7/", "Alice/$7"),
        ):
            self.assertEqual(PrincipalRules(rules).apply(ALICE), expected, rules)

    def test_malformed(self) -> None:
        """
        Rules that are none are refused.
        """
        for rules in ("default", "RULE:a", "RULE:a/b", "RULE:a/b/X", "DEFAULT;", "RULE:(/b/", "a"):
            self.assertRaises(ValueError, PrincipalRules, rules)


class CertificateSessionsTests(SynchronousTestCase):
    """
    Sessions of TLS.
    """

    def session(self, rules: str) -> Principal:
        """
        The principal of the certificate.
        """
        listener = Listener("SSL", SecurityProtocol.SSL)
        session = CertificateSessions(listener, PrincipalRules(rules)).begin("h")
        self.assertTrue(session.is_open)
        self.assertEqual(session.principal, ANONYMOUS)
        session.secured(None)
        self.assertEqual(session.principal, ANONYMOUS)
        self.assertFalse(session.manages_tokens)
        session.secured(SUBJECT)
        self.assertTrue(session.manages_tokens)
        return session.principal

    def test_principal(self) -> None:
        """
        It is the subject of the certificate, or what the rules make of it.
        """
        self.assertEqual(str(self.session("DEFAULT")), f"User:{ALICE}")
        self.assertEqual(str(self.session("RULE:^CN=(.*?),.*$/$1/L")), "User:alice")

    def test_no_rule(self) -> None:
        """
        A subject that no rule matches is refused.
        """
        self.assertRaises(Refused, self.session, "RULE:^CN=Bob$/bob/")
