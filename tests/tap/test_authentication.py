"""
Tests of `kafscale.tap.authentication`.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor  # noqa: TID251 - passwords are hashed in a thread
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from kafscale.access.authentication.delegation_tokens import DelegationTokens, TokenRules
from kafscale.access.authentication.users import Users
from kafscale.cluster.records import ClusterRecords
from kafscale.config import PREFIX, from_environment
from kafscale.format import metadata_keys
from kafscale.format.delegation_token import DelegationTokenRecord
from kafscale.format.user import UserRecord
from kafscale.store.blocking import at_once
from kafscale.store.sqlite.store import SQLiteMetadataStore
from kafscale.tap.authentication import Authentication
from tests.harness.coroutines import now


class StartTests(TestCase):
    """
    What is logged when authentication starts.
    """

    def setUp(self) -> None:
        """
        An empty metadata store.
        """
        self.store = SQLiteMetadataStore(":memory:", at_once)
        self.addCleanup(lambda: now(self.store.close()))
        self.records = ClusterRecords(self.store, metadata_keys.USERS, UserRecord.from_entry)
        now(self.records.start())

    async def started(self, *mechanisms: str, **environ: str) -> list[str]:
        """
        The lines of a start with these settings.
        """
        settings, _ = from_environment({PREFIX + name: text for name, text in environ.items()})
        in_thread: Any = deferToThread
        none = ClusterRecords(
            self.store, metadata_keys.DELEGATION_TOKENS, DelegationTokenRecord.from_entry
        )
        tokens = DelegationTokens(none, TokenRules(None, 1, 1, 1), Clock(), lambda: "")
        authentication = Authentication(settings, mechanisms, reactor, in_thread)
        with capturedLogs() as logs:
            await authentication.start(Users(self.records, {}), tokens, self.store)
            await authentication.stop()
        return [str(formatEvent(each)) for each in logs]

    async def test_first_user(self) -> None:
        """
        It is created once. Later the settings have no effect, which one line says, and so
        it does where there are other users.
        """
        admin = {"ADMIN_USER": "admin", "ADMIN_PASSWORD": "secret"}
        for given, words in (
            (admin, "created the first user, admin"),
            ({**admin, "ADMIN_PASSWORD": "hush"}, "this user exists, and keeps its password"),
            ({**admin, "ADMIN_USER": "root"}, "has other users; add this one"),
        ):
            (line,) = await self.started("SCRAM-SHA-256", **given)
            self.assertIn(words, line)
            for secret in ("secret", "hush"):
                self.assertNotIn(secret, line)
        self.assertEqual(await self.started("SCRAM-SHA-256"), [])

    async def test_issuer(self) -> None:
        """
        Keys that are read without TLS from another machine are warned of.
        """
        tokens = {"EXPECTED_ISSUER": "i", "EXPECTED_AUDIENCE": "a"}
        for url, warned in (
            ("http://192.0.2.1/keys", True),
            ("http://127.0.0.1:1/keys", False),
            ("https://192.0.2.1/keys", False),
            ("keys.json", False),
        ):
            named = {**tokens, "JWKS_ENDPOINT_URL": url}
            lines = await self.started(
                "OAUTHBEARER", **{f"SASL_OAUTHBEARER_{name}": text for name, text in named.items()}
            )
            found = [line for line in lines if "can log in as anyone" in line]
            self.assertEqual(len(found), warned, lines)
