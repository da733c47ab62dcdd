"""
Errors of requests to etcd.
"""

from __future__ import annotations

import json
from typing import Any

from kafscale.errors import StoreError, StoreUnavailable

# Status codes of gRPC, which etcd speaks behind its gateway
# (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
INVALID_ARGUMENT = 3
NOT_FOUND = 5
PERMISSION_DENIED = 7
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11
UNAUTHENTICATED = 16

MISTAKES = frozenset({INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, OUT_OF_RANGE})
"""Codes that are about the request, not about the member that answered: another
member would give the same answer."""


class NotSent(StoreUnavailable):
    """No connection could be made, so the request was certainly not done."""


class Quiet(StoreUnavailable):
    """Nothing was received on a stream for too long."""


class LoginRefused(StoreError):
    """etcd refused the user, the password or the permission: retrying does not help."""


class EtcdError(StoreUnavailable):
    """
    etcd answered a request with an error.

    @ivar code: The status code of gRPC; -1 if the answer is not etcd's.
    @ivar reason: The message of the answer.
    """

    def __init__(self, where: str, code: int, reason: str) -> None:
        """
        @param where: The URL of the member that answered.
        @param code: See the attribute.
        @param reason: See the attribute.
        """
        super().__init__(f"{where}: {reason}")
        self.code = code
        self.reason = reason


def error_in(where: str, status: int, body: bytes) -> EtcdError:
    """
    The error in an HTTP answer.

    @param where: The URL of the member that answered.
    @param status: The HTTP status, not 200.
    @param body: The body of the answer.
    """
    try:
        message = json.loads(body)
        return error_of(where, message)
    except (ValueError, TypeError, AttributeError):
        text = body[:200].decode("utf-8", "replace").strip()
        return EtcdError(where, -1, f"HTTP status {status}: {text}")


def error_of(where: str, message: dict[str, Any]) -> EtcdError:
    """
    The error in a JSON object, in one of two forms: that of an answer, and that
    of a message on a stream.

    @param where: The URL of the member that sent it.
    """
    inner = message.get("error")
    if isinstance(inner, dict):
        message = inner
    code = int(message.get("code") or message.get("grpc_code") or -1)
    reason = message.get("message") or message.get("error") or "no reason given"
    return EtcdError(where, code, str(reason))


# etcd's messages, from api/v3rpc/rpctypes/error.go.
_OLD_TOKEN = ("invalid auth token", "revision of auth store is old")
_REFUSED = ("authentication failed", "user name is empty", "permission denied")
_TOO_MUCH = (
    "too many operations",
    "duplicate key",
    "request is too large",
    "received message larger than max",
)


def is_old_token(error: EtcdError) -> bool:
    """
    Whether the request may succeed with a new token.
    """
    return error.code == UNAUTHENTICATED or any(text in error.reason for text in _OLD_TOKEN)


def is_refusal(error: EtcdError) -> bool:
    """
    Whether etcd refuses the user or the password, or the user lacks a permission.
    """
    return error.code == PERMISSION_DENIED or any(text in error.reason for text in _REFUSED)


def is_too_much(error: EtcdError) -> bool:
    """
    Whether a commit is too large, or malformed, so that it can never succeed.
    """
    return any(text in error.reason for text in _TOO_MUCH)
