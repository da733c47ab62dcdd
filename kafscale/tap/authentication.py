"""
How clients authenticate on the listeners with SASL, as the settings have it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from kafscale.access.authentication.delegation_tokens import DelegationTokens
from kafscale.access.authentication.exchange import Exchange
from kafscale.access.authentication.oauthbearer import OAuthBearerExchange
from kafscale.access.authentication.passwords import Passwords
from kafscale.access.authentication.peer_login import ScramLogin
from kafscale.access.authentication.plain import PlainExchange
from kafscale.access.authentication.sasl_sessions import SaslRules, SaslSessions
from kafscale.access.authentication.scram import MECHANISMS, ScramExchange
from kafscale.access.authentication.token_logins import TokenLogins
from kafscale.access.authentication.users import Users, login_secret
from kafscale.config import Settings
from kafscale.config.listeners import ListenerSettings
from kafscale.counts import LoginCounts
from kafscale.errors import SettingError
from kafscale.interfaces import IMetadataStore, Listener, SecurityProtocol
from kafscale.tap.users import credentials_of, new_secret, users_in_file

if TYPE_CHECKING:
    from kafscale.access.authentication.jwks import Jwks
    from kafscale.access.authentication.tokens import TokenJudge

PLAIN = "PLAIN"
"""The mechanism that sends the password itself."""

OAUTHBEARER = "OAUTHBEARER"
"""The mechanism that needs an issuer of tokens."""


def mechanisms_of(listeners: Sequence[ListenerSettings]) -> set[str]:
    """
    The mechanisms of all listeners with SASL.
    """
    return {
        name
        for each in listeners
        if SecurityProtocol(each.protocol).has_sasl
        for name in each.settings.sasl_enabled_mechanisms
    }


def check_authentication(settings: Settings) -> None:
    """
    Check the settings about users.

    @raise SettingError: One lacks the other, or the file cannot be read.
    """
    users_in_file(settings)
    if (settings.inter_broker_user is None) != (settings.inter_broker_password is None):
        raise SettingError(
            "KAFSCALE_INTER_BROKER_USER and KAFSCALE_INTER_BROKER_PASSWORD are set together, or"
            " not at all"
        )
    if (settings.admin_user is None) != (settings.admin_password is None):
        raise SettingError(
            "KAFSCALE_ADMIN_USER and KAFSCALE_ADMIN_PASSWORD are set together, or not at all"
        )


class Authentication:
    """
    The mechanisms, and what they share.

    @ivar counts: Of all listeners.
    @ivar keys: Of the issuer of tokens; None without one.
    """

    _log = Logger()
    _users: Users
    _passwords: Passwords

    def __init__(
        self,
        settings: Settings,
        mechanisms: Collection[str],
        reactor: Any,
        run_in_thread: Callable[..., Awaitable[Any]],
    ) -> None:
        """
        @param mechanisms: Of all listeners.
        @param run_in_thread: Calls a function in a thread: hashes passwords.
        @raise SettingError: A setting is missing or not valid.
        """
        self._settings = settings
        self._mechanisms = mechanisms
        self._reactor = reactor
        self.counts = LoginCounts()
        self._run_in_thread = run_in_thread
        self.keys: Jwks | None = None
        self._judge: TokenJudge | None = None
        self._tokens: TokenLogins | None = None
        if OAUTHBEARER in mechanisms:
            from kafscale.tap.issuer import issuer_of

            self.keys, self._judge = issuer_of(settings, reactor)

    def peer_login(self) -> ScramLogin | None:
        """
        How this broker logs in to others; None without a user for that.
        """
        settings = self._settings
        name, password = settings.inter_broker_user, settings.inter_broker_password
        if name is None or password is None:
            return None
        mechanism = MECHANISMS[settings.sasl_mechanism_inter_broker_protocol]
        nonce = partial(secrets.token_hex, 16)
        return ScramLogin(mechanism, name, password, nonce, self._run_in_thread)

    async def start(
        self, users: Users, tokens: DelegationTokens, metadata: IMetadataStore
    ) -> None:
        """
        Create the first user, and read the issuer's keys.

        @raise StoreUnavailable: The metadata store did not answer.
        """
        self._users = users
        self._passwords = Passwords(users.look_up, self._run_in_thread)
        if self._mechanisms:
            users.login_secret = await login_secret(metadata, new_secret)
        if tokens.enabled:
            self._tokens = TokenLogins(tokens, users.login_secret, self._run_in_thread)
        name, password = self._settings.admin_user, self._settings.admin_password
        if name is not None and password is not None:
            credentials = await deferToThread(credentials_of, password)
            if await users.add_first(name, credentials):
                self._log.info("created the first user, {name}", name=name)
            elif name in users.credentials():
                self._log.info(
                    "KAFSCALE_ADMIN_USER={name} has no effect: this user exists, and keeps its"
                    " password",
                    name=name,
                )
            else:
                self._log.warn(
                    "KAFSCALE_ADMIN_USER={name} has no effect: the metadata store has other users;"
                    " add this one with kafka-configs.sh",
                    name=name,
                )
        if self.keys is not None:
            self.keys.start()
            self._warn_of_issuer()

    def _warn_of_issuer(self) -> None:
        url = urlsplit(self._settings.sasl_oauthbearer_jwks_endpoint_url or "")
        if url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
            self._log.warn(
                "the keys of the issuer of tokens are read from {url} unencrypted: who changes them"
                " on the way can log in as anyone; use https",
                url=url.geturl(),
            )

    async def stop(self) -> None:
        """
        Read the keys no more.
        """
        if self.keys is not None:
            await self.keys.stop()

    def sessions(self, listener: Listener, settings: Settings) -> SaslSessions:
        """
        The sessions of a listener.

        @param settings: Of this listener.
        """
        rules = SaslRules(
            {name: self._mechanism(name) for name in settings.sasl_enabled_mechanisms},
            settings.connections_max_reauth_ms,
            settings.connection_failed_authentication_delay_ms / 1000,
        )
        return SaslSessions(listener, rules, self._reactor, time.time, self.counts)

    def _mechanism(self, name: str) -> Callable[[], Exchange]:
        if name in MECHANISMS:
            return partial(
                ScramExchange,
                MECHANISMS[name],
                self._users.look_up,
                partial(secrets.token_hex, 16),
                self._tokens,
            )
        if name == OAUTHBEARER:
            assert self._judge is not None
            return partial(OAuthBearerExchange, self._judge.judge)
        return partial(PlainExchange, self._passwords.verify)
