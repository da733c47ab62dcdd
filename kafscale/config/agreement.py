"""
Checks of settings that depend on one another.
"""

from __future__ import annotations

import attrs

from kafscale.config import PREFIX, Settings
from kafscale.errors import SettingError

_NEEDS_ENDPOINTS = ("etcd_username", "etcd_password", "etcd_ca", "etcd_cert", "etcd_key")
_NEEDS_TLS = ("etcd_ca", "etcd_cert", "etcd_key")
_S3_DEFAULTS = {
    each.name: each.default for each in attrs.fields(Settings) if each.name.startswith("s3_")
}
_PAIRS = (("etcd_username", "etcd_password"), ("etcd_cert", "etcd_key"))


def check_stores(settings: Settings) -> None:
    """
    Check that all settings about S3 and etcd can take effect. None is ignored:
    a broker that is to use a bucket must not store its records elsewhere, and
    with a certificate set a connection without one is not acceptable.

    @raise SettingError: They contradict one another, or one has no effect.
    """
    _check_etcd(settings)
    _check_s3(settings)


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


def _check_s3(settings: Settings) -> None:
    if settings.s3_bucket is not None:
        return
    for name, default in _S3_DEFAULTS.items():
        if getattr(settings, name) != default:
            raise SettingError(f"{_variable(name)} has no effect without KAFSCALE_S3_BUCKET")


def _check_etcd(settings: Settings) -> None:
    endpoints = settings.etcd_endpoints
    if endpoints is None:
        for name in _NEEDS_ENDPOINTS:
            if getattr(settings, name) is not None:
                raise SettingError(
                    f"{_variable(name)} has no effect without KAFSCALE_ETCD_ENDPOINTS"
                )
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
    plain = [each for each in endpoints if each.startswith("http:")]
    for name in _NEEDS_TLS:
        if plain and getattr(settings, name) is not None:
            raise SettingError(
                f"{_variable(name)} has no effect with {plain[0]}: use an https:// endpoint"
            )


def _variable(name: str) -> str:
    return PREFIX + name.upper()
