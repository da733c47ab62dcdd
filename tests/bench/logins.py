"""
A client that does nothing but log in.

    python -m tests.bench.logins '{"do": "logins", "port": 9093, ...}'

Each login is a connection of its own, as C{SaslHandshake} and C{SaslAuthenticate} have
it. The client keeps the salted password, so that it costs little. Prints one line of
JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafscale.access.authentication.scram import MECHANISMS
from kafscale.wire.messages import SaslAuthenticateRequest, SaslHandshakeRequest
from tests.access.authentication.scram_client import ScramClient
from tests.clients.raw import RawClient


def log_in(port: int, mechanism: str, name: str, password: str) -> None:
    """
    Log in on a new connection, and close it.
    """
    with RawClient(port) as client:

        def exchange(token: bytes) -> bytes:
            answer = client.call(SaslAuthenticateRequest(auth_bytes=token), 2)
            if answer.error_code:
                raise RuntimeError(f"{mechanism}: {answer.error_code} {answer.error_message}")
            return bytes(answer.auth_bytes)

        answer = client.call(SaslHandshakeRequest(mechanism=mechanism), 1)
        if answer.error_code:
            raise RuntimeError(f"{mechanism}: {answer.error_code}, there is {answer.mechanisms}")
        if mechanism == "PLAIN":
            exchange(f"\0{name}\0{password}".encode())
            return
        scram = ScramClient(MECHANISMS[mechanism], name, password, nonce=os.urandom(12).hex())
        proof = exchange(scram.final(exchange(scram.first())))
        if proof != scram.expected:
            raise RuntimeError(f"{mechanism}: the broker does not know the password")


def logins(
    port: int, mechanism: str, name: str, password: str, seconds: float, connections: int
) -> dict[str, Any]:
    """
    Log in again and again on so many connections at a time, for so long.
    """
    began = time.perf_counter()

    def go_on(_: int) -> int:
        done = 0
        while time.perf_counter() < began + seconds:
            log_in(port, mechanism, name, password)
            done += 1
        return done

    with ThreadPoolExecutor(connections) as pool:
        count = sum(pool.map(go_on, range(connections)))
    return {"logins": count, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    assert job.pop("do") == "logins"
    print(json.dumps(logins(**job)))
