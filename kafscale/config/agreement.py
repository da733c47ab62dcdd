"""
Settings that must agree with each other.
"""

from __future__ import annotations

from kafscale.config import Settings
from kafscale.errors import SettingError

_NEEDS_ENDPOINTS = ("etcd_username", "etcd_password", "etcd_ca", "etcd_cert", "etcd_key")
_NEEDS_TLS = ("etcd_ca", "etcd_cert", "etcd_key")
_PAIRS = (("etcd_username", "etcd_password"), ("etcd_cert", "etcd_key"))


def check_etcd(settings: Settings) -> None:
    """
    Come back if what is said of etcd can be kept, all of it: who sets a
    certificate does not want to go without.

    @raise SettingError: they do not.
    """
    endpoints = settings.etcd_endpoints
    if endpoints is None:
        for name in _NEEDS_ENDPOINTS:
            if getattr(settings, name) is not None:
                raise SettingError(f"{_variable(name)} is of use only with KAFSCALE_ETCD_ENDPOINTS")
        return
    if settings.use_memory_s3:
        raise SettingError("KAFSCALE_USE_MEMORY_S3 and KAFSCALE_ETCD_ENDPOINTS exclude each other")
    if settings.s3_bucket is None:
        raise SettingError(
            "KAFSCALE_ETCD_ENDPOINTS needs KAFSCALE_S3_BUCKET: the brokers that share the metadata"
            " must share the records, too, and a directory is one broker's alone"
        )
    for pair in _PAIRS:
        missing = [_variable(name) for name in pair if getattr(settings, name) is None]
        if len(missing) == 1:
            raise SettingError(f"{missing[0]} is missing: {' and '.join(map(_variable, pair))}")
    plain = [each for each in endpoints if each.startswith("http:")]
    for name in _NEEDS_TLS:
        if plain and getattr(settings, name) is not None:
            raise SettingError(f"{_variable(name)} is of no use with {plain[0]}: write https://")


def _variable(name: str) -> str:
    return f"KAFSCALE_{name.upper()}"
