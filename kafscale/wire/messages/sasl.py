"""
Who a client is.
"""

from kafscale.wire.schema import (
    Array,
    Bytes,
    Int8,
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
    "AlterUserScramCredentialsRequest",
    "AlterUserScramCredentialsResponse",
    "DescribeUserScramCredentialsRequest",
    "DescribeUserScramCredentialsResponse",
    "SaslAuthenticateRequest",
    "SaslAuthenticateResponse",
    "SaslHandshakeRequest",
    "SaslHandshakeResponse",
]


class SaslHandshakeRequest(Request, key=17, versions="0-1"):
    """
    Ask for a way to authenticate. After version 1 the tokens travel in
    `SaslAuthenticateRequest`, after version 0 bare.
    """

    mechanism: String


class SaslHandshakeResponse(Response, key=17, versions="0-1"):
    """
    The ways that the broker knows.
    """

    error_code: Int16 = 0
    mechanisms: Array[String]


class SaslAuthenticateRequest(Request, key=36, versions="0-2", flexible="2+"):
    """
    A token of the mechanism that was agreed upon.
    """

    auth_bytes: Bytes


class SaslAuthenticateResponse(Response, key=36, versions="0-2", flexible="2+"):
    """
    The broker's token in turn.
    """

    error_code: Int16 = 0
    error_message: Nullable[String] = None
    auth_bytes: Bytes
    # 0: no need to authenticate again.
    session_lifetime_ms: Int64 = field("1+", default=0)


class DescribeUserScramCredentialsRequest(Request, key=50, versions="0", flexible="0+"):
    """
    Which SCRAM credentials users have.
    """

    class User(Struct):
        """
        A user asked for; null or none at all means all of them.
        """

        name: String

    users: Nullable[Array[User]]


class DescribeUserScramCredentialsResponse(Response, key=50, versions="0", flexible="0+"):
    """
    The credentials, without their secrets.
    """

    class Result(Struct):
        """
        The credentials of one user.
        """

        class CredentialInfo(Struct):
            """
            A mechanism, and how often its hash is applied.
            """

            # 1: SCRAM-SHA-256; 2: SCRAM-SHA-512.
            mechanism: Int8
            iterations: Int32

        user: String
        error_code: Int16 = 0
        error_message: Nullable[String] = None
        credential_infos: Array[CredentialInfo]

    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: Nullable[String] = None
    results: Array[Result]


class AlterUserScramCredentialsRequest(Request, key=51, versions="0", flexible="0+"):
    """
    Set and remove SCRAM credentials.
    """

    class Deletion(Struct):
        """
        A credential to remove.
        """

        name: String
        # 1: SCRAM-SHA-256; 2: SCRAM-SHA-512.
        mechanism: Int8

    class Upsertion(Struct):
        """
        A credential to set.
        """

        name: String
        mechanism: Int8
        iterations: Int32
        salt: Bytes
        salted_password: Bytes

    deletions: Array[Deletion]
    upsertions: Array[Upsertion]


class AlterUserScramCredentialsResponse(Response, key=51, versions="0", flexible="0+"):
    """
    Which users' credentials changed.
    """

    class Result(Struct):
        """
        The outcome for one user.
        """

        user: String
        error_code: Int16 = 0
        error_message: Nullable[String] = None

    throttle_time_ms: Int32 = 0
    results: Array[Result]
