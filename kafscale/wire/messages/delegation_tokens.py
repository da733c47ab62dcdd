"""
Delegation tokens, by which one client acts for another (KIP-48).
"""

from kafscale.wire.schema import (
    Array,
    Bytes,
    Int16,
    Int32,
    Int64,
    Nullable,
    Request,
    Response,
    String,
    Struct,
    field,
)

__all__ = [
    "CreateDelegationTokenRequest",
    "CreateDelegationTokenResponse",
    "DescribeDelegationTokenRequest",
    "DescribeDelegationTokenResponse",
    "ExpireDelegationTokenRequest",
    "ExpireDelegationTokenResponse",
    "RenewDelegationTokenRequest",
    "RenewDelegationTokenResponse",
]


class CreateDelegationTokenRequest(Request, key=38, versions="0-3", flexible="2+"):
    """
    Creates a token, with which other clients act for its owner.
    """

    class Renewer(Struct):
        """
        A principal that may renew the token.
        """

        principal_type: String
        principal_name: String

    owner_principal_type: Nullable[String] = field("3+", default=None)
    owner_principal_name: Nullable[String] = field("3+", default=None)
    renewers: Array[Renewer]
    max_lifetime_ms: Int64


class CreateDelegationTokenResponse(Response, key=38, versions="0-3", flexible="2+"):
    """
    The token, with its HMAC, which is the secret.
    """

    error_code: Int16 = 0
    principal_type: String
    principal_name: String
    token_requester_principal_type: String = field("3+", default="")
    token_requester_principal_name: String = field("3+", default="")
    issue_timestamp_ms: Int64
    expiry_timestamp_ms: Int64
    max_timestamp_ms: Int64
    token_id: String
    hmac: Bytes
    throttle_time_ms: Int32 = 0


class RenewDelegationTokenRequest(Request, key=39, versions="0-2", flexible="2+"):
    """
    Extends the expiry time of a token.
    """

    hmac: Bytes
    renew_period_ms: Int64


class RenewDelegationTokenResponse(Response, key=39, versions="0-2", flexible="2+"):
    """
    The new expiry time of the token.
    """

    error_code: Int16 = 0
    expiry_timestamp_ms: Int64
    throttle_time_ms: Int32 = 0


class ExpireDelegationTokenRequest(Request, key=40, versions="0-2", flexible="2+"):
    """
    Shortens the expiry time of a token; a negative period expires it at once.
    """

    hmac: Bytes
    expiry_time_period_ms: Int64


class ExpireDelegationTokenResponse(Response, key=40, versions="0-2", flexible="2+"):
    """
    The new expiry time of the token.
    """

    error_code: Int16 = 0
    expiry_timestamp_ms: Int64
    throttle_time_ms: Int32 = 0


class DescribeDelegationTokenRequest(Request, key=41, versions="0-3", flexible="2+"):
    """
    Lists the tokens of some owners. Null stands for all that the client may describe.
    """

    class Owner(Struct):
        """
        An owner of tokens.
        """

        principal_type: String
        principal_name: String

    owners: Nullable[Array[Owner]]


class DescribeDelegationTokenResponse(Response, key=41, versions="0-3", flexible="2+"):
    """
    The tokens of these owners.
    """

    class Token(Struct):
        """
        One token, with its HMAC, which is the secret.
        """

        class Renewer(Struct):
            """
            A principal that may renew the token.
            """

            principal_type: String
            principal_name: String

        principal_type: String
        principal_name: String
        token_requester_principal_type: String = field("3+", default="")
        token_requester_principal_name: String = field("3+", default="")
        issue_timestamp: Int64
        expiry_timestamp: Int64
        max_timestamp: Int64
        token_id: String
        hmac: Bytes
        renewers: Array[Renewer]

    error_code: Int16 = 0
    tokens: Array[Token]
    throttle_time_ms: Int32 = 0
