"""
What etcd answers when it does not do what it was asked for.
"""

from __future__ import annotations

import json
from typing import Any

from kafscale.errors import StoreError, StoreUnavailable

# Codes of gRPC, which etcd speaks behind its gateway.
INVALID_ARGUMENT = 3
NOT_FOUND = 5
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11
UNAUTHENTICATED = 16

PERMISSION_DENIED = 7

MISTAKES = frozenset({INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, OUT_OF_RANGE})
"""Answers about what was asked, and not about who was asked: another member
would say the same."""


class NotSent(StoreUnavailable):
    """No connection could be made: what was asked for was surely not done."""


class Quiet(StoreUnavailable):
    """A stream on which nothing was heard for long."""


class LoginRefused(StoreError):
    """etcd does not let us in: no repetition helps."""


class EtcdError(StoreUnavailable):
    """
    An answer that says no.

    @ivar code: gRPC's; -1 when the answer is not etcd's own.
    @ivar reason: etcd's words.
    """

    def __init__(self, where: str, code: int, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.code = code
        self.reason = reason


def error_in(where: str, status: int, body: bytes) -> EtcdError:
    """
    What an answer of HTTP says that is not 200.
    """
    try:
        told = json.loads(body)
        return error_of(where, told)
    except (ValueError, TypeError, AttributeError):
        text = body[:200].decode("utf-8", "replace").strip()
        return EtcdError(where, -1, f"HTTP status {status}: {text}")


def error_of(where: str, told: dict[str, Any]) -> EtcdError:
    """
    The same of an error's object, in its two forms: that of an answer, and
    that of a stream.
    """
    inner = told.get("error")
    if isinstance(inner, dict):
        told = inner
    code = int(told.get("code") or told.get("grpc_code") or -1)
    reason = told.get("message") or told.get("error") or "no reason given"
    return EtcdError(where, code, str(reason))


# etcd's own words, in api/v3rpc/rpctypes/error.go.
_OLD_TOKEN = ("invalid auth token", "revision of auth store is old")
_REFUSED = ("authentication failed", "user name is empty", "permission denied")
_TOO_MUCH = ("too many operations", "duplicate key", "request is too large")


def is_old_token(error: EtcdError) -> bool:
    """
    Whether a new token may help.
    """
    return error.code == UNAUTHENTICATED or any(text in error.reason for text in _OLD_TOKEN)


def is_refusal(error: EtcdError) -> bool:
    """
    Whether we may not do what we asked for.
    """
    return error.code == PERMISSION_DENIED or any(text in error.reason for text in _REFUSED)


def is_too_much(error: EtcdError) -> bool:
    """
    Whether a commit can never be done.
    """
    return any(text in error.reason for text in _TOO_MUCH)
