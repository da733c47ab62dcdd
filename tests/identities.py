"""
Who may do what on the S3 servers of the tests: on all of them the same. And
what moto does besides, with buckets whose names begin so.
"""

from __future__ import annotations

#: May do all.
KEY = "test"

#: May do all, too: for who needs another one.
OTHER = "other"

#: May read and list.
READER = "reader"

#: The secrets of their keys.
SECRETS = {KEY: "a secret", OTHER: "another secret", READER: "an open secret"}

#: How a bucket can be treated.
TREATMENTS = {
    "": "as it should be",
    "readonly": "nothing in it can be changed",
    "elsewhere": "it is in another region",
    "careless": "If-None-Match is a header that nobody has heard of",
    "plain": "requests with it are refused",
    "puzzled": "it is an argument that makes no sense",
    "wholesale": "there are no uploads in parts",
    "expired": "the credentials of the usual key have expired",
    "unknown": "the usual key is nobody's",
    "gone": "there is no such bucket",
}


def variables(key: str) -> dict[str, str]:
    """
    What a process needs in its environment to be one of them.
    """
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": SECRETS[key]}
