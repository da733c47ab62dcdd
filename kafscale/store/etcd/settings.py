"""
Makes the store that the settings name, and checks at each start whether it can
be used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from kafscale.config import Settings
from kafscale.errors import SettingError, StoreUnavailable, about
from kafscale.interfaces import IMetadataStore
from kafscale.store.etcd.client import EtcdClient, Login
from kafscale.store.etcd.errors import LoginRefused
from kafscale.store.etcd.store import EtcdMetadataStore
from kafscale.store.http import client_certificate, trust_root

ROOT = "/kafscale"
"""The beginning of all keys; a slash and the namespace follow."""

PATIENCE = 10.0
"""For how many seconds a start waits for etcd to answer."""


def store_of(settings: Settings, reactor: Any, jitter: Callable[[], float]) -> EtcdMetadataStore:
    """
    Make the store that the settings name.

    @param reactor: Makes connections, resolves names and is the clock.
    @param jitter: Returns a number from 0 to 1, another one at each call.
    @raise SettingError: a certificate or a key cannot be used.
    """
    assert settings.etcd_endpoints is not None, "the settings name no etcd"
    trust = certificate = login = None
    if any(each.startswith("https:") for each in settings.etcd_endpoints):
        with about("KAFSCALE_ETCD_CA"):
            trust = trust_root(settings.etcd_ca)
    if settings.etcd_cert and settings.etcd_key:
        with about("KAFSCALE_ETCD_CERT, KAFSCALE_ETCD_KEY"):
            certificate = client_certificate(settings.etcd_cert, settings.etcd_key)
    if settings.etcd_username and settings.etcd_password:
        login = Login(settings.etcd_username, settings.etcd_password)
    client = EtcdClient(settings.etcd_endpoints, reactor, trust, certificate, login)
    return EtcdMetadataStore(client, reactor, jitter, f"{ROOT}/{settings.namespace}")


async def reach(store: IMetadataStore, key: str, members: int, clock: IReactorTime) -> None:
    """
    Wait until etcd answers.

    @param store: The store in etcd.
    @param key: The key that is read to find out.
    @param members: The number of members. If that many attempts fail for a
        reason that does not pass, no more are made.
    @param clock: Times the attempts.
    @raise SettingError: etcd did not answer for L{PATIENCE} seconds, or denied
        access.
    """
    until = clock.seconds() + PATIENCE
    hopeless = 0
    while True:
        try:
            await store.get(key)
        except LoginRefused as error:
            raise SettingError(
                f"etcd denied access: {error} (check KAFSCALE_ETCD_USERNAME and"
                " KAFSCALE_ETCD_PASSWORD, and the roles of the user)"
            ) from None
        except StoreUnavailable as error:
            advice = _advice(str(error))
            hopeless += bool(advice)
            if hopeless >= members or clock.seconds() >= until:
                raise SettingError(f"etcd cannot be used: {error}{advice}") from None
            await deferLater(clock, 0.3)
        else:
            return


def _advice(reason: str) -> str:
    """
    What an operator can do about a failure that does not pass; else empty.
    """
    return next((advice for words, advice in _ADVICE if words in reason), "")


_ADVICE = (
    ("certificate verify failed", " (check KAFSCALE_ETCD_CA, and the name in the endpoint)"),
    ("certificate required", " (check KAFSCALE_ETCD_CERT and KAFSCALE_ETCD_KEY)"),
    ("bad certificate", " (check KAFSCALE_ETCD_CERT and KAFSCALE_ETCD_KEY)"),
    ("HTTP status 40", " (is it etcd 3.4 or later?)"),
    ("not enabled", " (etcd has no authentication: unset KAFSCALE_ETCD_USERNAME)"),
)
