"""
The store that the settings ask for; and whether it can be used, found out at
each start, before anything depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from kafscale.config import Settings
from kafscale.errors import SettingError, StoreUnavailable
from kafscale.interfaces import IMetadataStore
from kafscale.store.etcd.client import EtcdClient, Login
from kafscale.store.etcd.faults import LoginRefused
from kafscale.store.etcd.store import EtcdMetadataStore
from kafscale.store.http import client_certificate, trust_root

ROOT = "/kafscale"
"""Below it are the namespaces."""

PATIENCE = 10.0
"""Seconds for which an etcd that does not answer is asked again."""

def store_of(settings: Settings, reactor: Any, jitter: Callable[[], float]) -> EtcdMetadataStore:
    """
    What the settings name; see L{EtcdMetadataStore}.

    @raise SettingError: a certificate or a key cannot be used.
    """
    assert settings.etcd_endpoints is not None, "nobody asked for etcd"
    trust = certificate = login = None
    if any(each.startswith("https:") for each in settings.etcd_endpoints):
        trust = trust_root(settings.etcd_ca)
    if settings.etcd_cert and settings.etcd_key:
        certificate = client_certificate(settings.etcd_cert, settings.etcd_key)
    if settings.etcd_username and settings.etcd_password:
        login = Login(settings.etcd_username, settings.etcd_password)
    client = EtcdClient(settings.etcd_endpoints, reactor, trust, certificate, login)
    return EtcdMetadataStore(client, reactor, jitter, f"{ROOT}/{settings.namespace}")


async def reach(store: IMetadataStore, key: str, members: int, clock: IReactorTime) -> None:
    """
    Come back when etcd has answered.

    @param key: What is asked for.
    @param members: How many there are to be asked.
    @raise SettingError: it does not answer for a while, or lets nobody in.
    """
    until = clock.seconds() + PATIENCE
    hopeless = 0
    while True:
        try:
            await store.get(key)
        except LoginRefused as error:
            raise SettingError(
                f"etcd lets nobody in: {error} (look at KAFSCALE_ETCD_USERNAME and"
                " KAFSCALE_ETCD_PASSWORD, and at the user's roles)"
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
    What to do about it, if it is nothing that passes.
    """
    return next((advice for words, advice in _ADVICE if words in reason), "")


_ADVICE = (
    ("certificate verify failed", " (look at KAFSCALE_ETCD_CA, and at the name in the endpoint)"),
    ("certificate required", " (look at KAFSCALE_ETCD_CERT and KAFSCALE_ETCD_KEY)"),
    ("bad certificate", " (look at KAFSCALE_ETCD_CERT and KAFSCALE_ETCD_KEY)"),
    ("HTTP status 40", " (is it etcd 3.4 or later?)"),
    ("not enabled", " (etcd has no authentication: leave KAFSCALE_ETCD_USERNAME away)"),
)
