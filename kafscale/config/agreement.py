"""
Checks of settings that depend on one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kafscale.config import PREFIX, SETTINGS, Settings
from kafscale.config.kinds import NOWHERE
from kafscale.config.listeners import ListenerSettings, listeners_of
from kafscale.config.needs import Need
from kafscale.errors import SettingError


def _has_tls(on: ListenerSettings) -> bool:
    # A Twisted endpoint that begins with ssl: has its own certificate.
    return on.protocol in ("SSL", "SASL_SSL") and not on.is_implied


def _has_sasl(on: ListenerSettings) -> bool:
    return on.protocol in ("SASL_SSL", "SASL_PLAINTEXT")


def _offers(on: ListenerSettings, *mechanisms: str) -> bool:
    return _has_sasl(on) and bool({*mechanisms} & {*on.settings.sasl_enabled_mechanisms})


def _asks_clients(on: ListenerSettings) -> bool:
    return on.settings.ssl_client_auth != "none"


_IS_MET: Mapping[Need, Callable[[ListenerSettings], bool]] = {
    Need.LISTENERS: lambda on: on.settings.listeners is not None,
    Need.TLS: _has_tls,
    Need.TLS_1_2: lambda on: "TLSv1.2" in on.settings.ssl_enabled_protocols,
    Need.CERTIFIED_CLIENTS: lambda on: on.protocol == "SSL" and _asks_clients(on),
    Need.SASL: _has_sasl,
    Need.PASSWORDS: lambda on: _offers(on, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    Need.SCRAM: lambda on: _offers(on, "SCRAM-SHA-256", "SCRAM-SHA-512"),
    Need.DELEGATION_TOKENS: lambda on: on.settings.delegation_token_secret_key is not None,
    Need.TOKENS: lambda on: _offers(on, "OAUTHBEARER"),
    Need.KEYS_BY_HTTPS: lambda on: (
        (on.settings.sasl_oauthbearer_jwks_endpoint_url or "").startswith("https:")
    ),
    Need.SASL_BETWEEN_BROKERS: lambda on: on.is_between_brokers and _has_sasl(on),
    Need.AUTHORIZER: lambda on: on.settings.authorizer != "none",
    Need.BUCKET: lambda on: on.settings.s3_bucket is not None,
    Need.S3_BY_HTTPS: lambda on: not (on.settings.s3_endpoint or "").startswith("http:"),
    Need.ETCD: lambda on: on.settings.etcd_endpoints is not None,
    Need.ETCD_BY_HTTPS: lambda on: all(
        each.startswith("https:") for each in on.settings.etcd_endpoints or ()
    ),
    Need.HTTP: lambda on: on.settings.metrics_addr != NOWHERE,
    Need.HTTPS: lambda on: on.settings.metrics_ssl_cert is not None,
}
"""Whether a listener, with the settings of the broker, has what a setting needs."""

_OFF = (0, "none")
"""Values that turn a setting off."""

_PAIRS = (("etcd_username", "etcd_password"), ("etcd_cert", "etcd_key"))


def check_effects(settings: Settings) -> None:
    """
    Check that each setting that was given, and is not off, has an effect: one listener
    has all that it needs, or, if it was given for a listener, this one.

    @raise SettingError: One has none, or the listeners contradict one another.
    """
    listeners = listeners_of(settings)
    needs = {each.name: each.needs for each in SETTINGS}
    for (listener, name), source in settings.given.items():
        if not listener and getattr(settings, name) in _OFF:
            continue  # no one can rely on it
        able = [each for each in listeners if listener in ("", each.variable_part)]
        for need in needs[name]:
            able = [each for each in able if _IS_MET[need](each)]
            if not able:
                where = f"on listener {listener}, which is not" if listener else "without"
                raise SettingError(f"{source} has no effect {where} {need.value}")


def check_groups(settings: Settings) -> None:
    """
    Check that the limits of session timeouts leave some.

    @raise SettingError: the least is above the greatest, so no member could join.
    """
    least, most = settings.group_min_session_timeout_ms, settings.group_max_session_timeout_ms
    if least > most:
        raise SettingError(
            f"KAFSCALE_GROUP_MIN_SESSION_TIMEOUT_MS ({least}) is above"
            f" KAFSCALE_GROUP_MAX_SESSION_TIMEOUT_MS ({most})"
        )


def check_stores(settings: Settings) -> None:
    """
    Check that the settings about etcd agree with those about S3, and with each other.

    @raise SettingError: They contradict one another.
    """
    if settings.etcd_endpoints is None:
        return
    if settings.use_memory_s3:
        raise SettingError(
            "KAFSCALE_USE_MEMORY_S3 and KAFSCALE_ETCD_ENDPOINTS cannot be used together"
        )
    if settings.s3_bucket is None:
        raise SettingError(
            "KAFSCALE_ETCD_ENDPOINTS requires KAFSCALE_S3_BUCKET: brokers that share metadata must"
            " share the records, too, and a data directory belongs to one broker"
        )
    for pair in _PAIRS:
        missing = [_variable(name) for name in pair if getattr(settings, name) is None]
        if len(missing) == 1:
            both = " and ".join(_variable(name) for name in pair)
            raise SettingError(f"{missing[0]} is missing: {both} must be set together")


def _variable(name: str) -> str:
    return PREFIX + name.upper()
