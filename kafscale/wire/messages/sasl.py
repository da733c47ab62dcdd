"""
Authentication: SASL, and SCRAM credentials.
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
    Chooses a SASL mechanism. After version 1 the tokens travel in
    `SaslAuthenticateRequest` (KIP-152), after version 0 in bare frames.
    """

    mechanism: String


class SaslHandshakeResponse(Response, key=17, versions="0-1"):
    """
    The mechanisms that the broker supports.
    """

    error_code: Int16 = 0
    mechanisms: Array[String]


class SaslAuthenticateRequest(Request, key=36, versions="0-2", flexible="2+"):
    """
    A token of the client, in the format of the chosen mechanism.
    """

    auth_bytes: Bytes


class SaslAuthenticateResponse(Response, key=36, versions="0-2", flexible="2+"):
    """
    A token of the broker, in the format of the chosen mechanism.
    """

    error_code: Int16 = 0
    error_message: Nullable[String] = None
    auth_bytes: Bytes
    # Time after which the client must authenticate again (KIP-368); 0: never.
    session_lifetime_ms: Int64 = field("1+", default=0)


class DescribeUserScramCredentialsRequest(Request, key=50, versions="0", flexible="0+"):
    """
    Lists the SCRAM credentials of users (KIP-554). A null or empty list stands for all
    users.
    """

    class User(Struct):
        """
        One user.
        """

        name: String

    users: Nullable[Array[User]]


class DescribeUserScramCredentialsResponse(Response, key=50, versions="0", flexible="0+"):
    """
    The SCRAM credentials of users, without the secrets.
    """

    class Result(Struct):
        """
        The credentials of one user.
        """

        class CredentialInfo(Struct):
            """
            A mechanism and its number of iterations.
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
    Sets and deletes SCRAM credentials (KIP-554).
    """

    class Deletion(Struct):
        """
        One credential to delete.
        """

        name: String
        # 1: SCRAM-SHA-256; 2: SCRAM-SHA-512.
        mechanism: Int8

    class Upsertion(Struct):
        """
        One credential to create or replace.
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
    The outcome for each user.
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
