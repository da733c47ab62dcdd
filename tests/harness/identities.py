"""
The users of the tests' S3 servers, which are the same on all of them, and the
ways in which moto can treat a bucket.
"""

from __future__ import annotations

KEY = "test"
"""The access key of a user with all permissions."""

OTHER = "other"
"""The access key of another user with all permissions."""

READER = "reader"
"""The access key of a user that may only read and list."""

SECRETS = {KEY: "a secret", OTHER: "another secret", READER: "an open secret"}
"""The secret keys, by their access keys."""

TREATMENTS = {
    "": "as S3 treats it",
    "readonly": "nothing in it can be changed",
    "elsewhere": "it is in another region",
    "careless": "If-None-Match is ignored",
    "plain": "requests with If-None-Match are refused with 501",
    "puzzled": "requests with If-None-Match are refused with 400",
    "unsummed": "requests with x-amz-checksum-crc32c are refused with 501",
    "unsuffixed": "requests for the last bytes of an object are refused with 416",
    "swapped": "requests for the last bytes of an object are answered with the first",
    "wholesale": "there are no multipart uploads",
    "expired": "the credentials of the usual user have expired",
    "unknown": "the usual user does not exist",
    "gone": "the bucket does not exist",
}
"""How a bucket can be treated, by the beginning of its name."""


def variables(key: str) -> dict[str, str]:
    """
    The environment variables of a process that uses the credentials of a user.
    """
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": SECRETS[key]}
