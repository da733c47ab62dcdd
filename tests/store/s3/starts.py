"""
Many starts on one of the S3 servers of others.

    python -m tests.store.s3.starts SERVER [STARTS]

tries the server as a broker does at its start, with connections of its own each time,
a hundred times. Prints how often it was refused, and why; ends with status 1 if it was
refused once and must not be, or was accepted once and lets creates race.
"""

from __future__ import annotations

import os
import sys
from collections import Counter

from twisted.internet.task import react

from kafscale.errors import SettingError
from tests.harness import s3
from tests.harness.s3_peers import PEERS

RACES = "does not keep to If-None-Match"


async def start() -> str:
    """
    Do what a broker with C{KAFSCALE_S3_FENCING=create} does at its start, in a new
    bucket. Return why the store is refused.
    """
    store = s3.store(await s3.new_bucket())
    try:
        await s3.probe(store, "create")
    except SettingError as error:
        return RACES if RACES in str(error) else str(error)
    finally:
        await store.close()
    return ""


async def count(name: str, starts: int) -> bool:
    """
    Start so many times. Return whether it went each time as it must.
    """
    found = Counter([await start() for _ in range(starts)])
    for why, times in found.most_common():
        print(f"{name}: {f'refused, {why}' if why else 'accepted'}: {times} of {starts} starts")
    return set(found) == {"" if PEERS[name].creates == "once" else RACES}


async def main(reactor: object, name: str, starts: str = "100") -> None:
    """
    Count, and end with the status.
    """
    os.environ[s3.VARIABLE] = name
    if not await count(name, int(starts)):
        raise SystemExit(1)


if __name__ == "__main__":
    react(main, sys.argv[1:])
