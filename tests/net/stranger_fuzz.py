"""
Sends what nobody should to a connection that has not authenticated.

    python -m tests.net.stranger_fuzz --frames 10000000

Frames are requests of every API and version, valid and mutated, tokens, and noise, in
any order and cut anywhere. Whatever comes: no request reaches a service, no answer has a
name that only the broker knows or is long, the memory that is held stays within its
bounds, and nothing fails unexpectedly. Ends with status 0 and one line; else with the
seed of the first connection of which that was not true. A seed and a number of frames
repeat a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from random import Random  # noqa: TID251 - seeded
from resource import RUSAGE_SELF, getrusage
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer, provider

from kafscale.access.authentication.plain import PlainExchange
from kafscale.access.authentication.sasl_sessions import SaslRules, SaslSessions
from kafscale.counts import LoginCounts
from kafscale.interfaces import IService, Listener, RequestContext, SecurityProtocol, Serving
from kafscale.net.guard import MEMORY, MOST_BYTES
from kafscale.wire.headers import request_header
from kafscale.wire.messages import (
    REQUESTS,
    ApiVersionsRequest,
    SaslAuthenticateRequest,
    SaslHandshakeRequest,
)
from kafscale.wire.schema import Request
from tests.net.fakes import Broker, fetch, framed, heartbeat, produce

LISTENER = Listener("CLIENTS", SecurityProtocol.SASL_PLAINTEXT)
DELAY = 0.1
LONGEST = 4096
"""Bytes of an answer, beyond what it repeats of the request."""
BEGINNING = frozenset(
    {ApiVersionsRequest.key, SaslHandshakeRequest.key, SaslAuthenticateRequest.key}
)
"""The keys of what is answered before a client has authenticated."""

TOKENS = (b"", b"\0", b"\1", b"\0bob\0x", b"n,,n=bob,r=abc", b"n,,\1auth=Bearer x\1\1", b"\0" * 999)


class Broken(AssertionError):
    """
    Something happened that must not.
    """


def _handshake(mechanism: str, version: int) -> bytes:
    return framed(SaslHandshakeRequest(mechanism=mechanism), version, 1)


class Frames:
    """
    Frames to choose from.
    """

    def __init__(self) -> None:
        versions = ApiVersionsRequest(client_software_name="a", client_software_version="1")
        self.valid = [produce(1), produce(2, acks=0), fetch(3), heartbeat(4)]
        self.valid += [framed(versions, version, 6) for version in range(6)]
        self.valid += [_handshake(name, version) for name in ("PLAIN", "X") for version in (0, 1)]
        for token in TOKENS:
            for version in (0, 1, 2):
                self.valid.append(framed(SaslAuthenticateRequest(auth_bytes=token), version, 5))
        self.headers = [
            (key, version)
            for key in (*sorted(REQUESTS), 999)
            for version in range(20)
        ]

    def one(self, chance: Random) -> bytes:
        """
        A frame, or what is none.
        """
        kind = chance.random()
        if kind < 0.35:
            return chance.choice(self.valid)
        if kind < 0.5:
            token = chance.choice(TOKENS)
            return len(token).to_bytes(4, "big") + token
        if kind < 0.75:
            key, version = chance.choice(self.headers)
            header = request_header(key, version, 7, "c") if key in REQUESTS else b""
            data = header + chance.randbytes(chance.choice((0, 1, 2, 3, 10, 100)))
            return len(data).to_bytes(4, "big") + data
        if kind < 0.95:
            data_ = bytearray(chance.choice(self.valid))
            for _ in range(chance.randrange(1, 4)):
                data_[chance.randrange(len(data_))] = chance.randrange(256)
            return bytes(data_)
        if kind < 0.97:
            return chance.choice((b"\x16\x03\x01\x02\0", b"GET / HTTP/1.1\r\n", b"\xff" * 8))
        size = chance.choice((MOST_BYTES, MOST_BYTES + 1, 2**31 - 1, 100_000))
        return size.to_bytes(4, "big") + bytes(chance.choice((0, 10, 100_000)))


@implementer(IService)
class Everything:
    """
    Serves all requests, and remembers those that it gets.
    """

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def serves(self) -> Sequence[Serving]:
        """
        All that there are but those of a connection's beginning.
        """
        return [
            Serving(each, each.lowest, each.highest, self._answer, self._failed)
            for each in REQUESTS.values()
            if each.key not in BEGINNING
        ]

    async def _answer(self, request: Request, context: RequestContext) -> None:
        self.asked.append(request)

    def _failed(self, request: Any, context: Any, code: int, message: str) -> None:
        self.asked.append(request)


async def _nobody(user: str, password: str) -> str:
    return "there is no such user"


class Target:
    """
    A broker to which nobody can log in.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.service = Everything()
        clock = Clock()
        rules = SaslRules({"PLAIN": lambda: PlainExchange(_nobody)}, delay_seconds=DELAY)
        self.broker = Broker(
            sessions=SaslSessions(LISTENER, rules, clock, clock.seconds, LoginCounts()),
            clock=clock,
            services=[self.service],
            connections_max_idle_ms=0,
        )

    @provider(ILogObserver)
    def logged(self, event: dict[str, Any]) -> None:
        """
        Note an unexpected exception.
        """
        if "log_failure" in event:
            self.failures.append(str(event["log_failure"]))

    def connect(self, frames: Sequence[bytes], chance: Random) -> bytes:
        """
        One client's connection, from its beginning to its end; what was answered.

        @raise Broken: Something happened that must not.
        """
        client = self.broker.connect()
        strangers = self.broker.factory.strangers
        data = b"".join(frames)
        sent = 0
        while data and not client.transport.disconnecting and not client.transport.aborted:
            cut = data[: chance.choice((1, 3, 7, 64, 5000, len(data)))]
            client.send(cut)
            sent += len(cut)
            data = data[len(cut) :]
            if strangers.total > MEMORY + MOST_BYTES:
                raise Broken(f"{strangers.total} bytes are held")
            if chance.random() < 0.1:
                self.broker.clock.advance(DELAY)
        self.broker.clock.advance(DELAY)
        answers = client.transport.value()
        client.go()
        if self.service.asked:
            raise Broken(f"a service was asked: {self.service.asked[0]}")
        if len(answers) > LONGEST * len(frames) + sent:
            raise Broken(f"{len(answers)} bytes are answered to {sent}")
        if b"alice" in answers or b"cluster" in answers:
            raise Broken("a name is told that only the broker knows")
        if strangers.total or self.broker.memory.total:
            raise Broken("memory is held after the end of the connection")
        if self.failures:
            raise Broken(self.failures[0])
        if self.broker.factory.connections or len(self.broker.clock.getDelayedCalls()):
            raise Broken("something is left of the connection")
        return answers


def fuzz(frames: int, seed: int) -> tuple[int, int]:
    """
    Send so many frames.

    @return: The number of connections, and of bytes that were answered.
    @raise Broken: Something happened that must not.
    """
    target, choice = Target(), Frames()
    connections = sent = answered = 0
    globalLogPublisher.addObserver(target.logged)
    while sent < frames:
        chance = Random(seed + connections)
        batch = [choice.one(chance) for _ in range(chance.randrange(1, 9))]
        try:
            answered += len(target.connect(batch, chance))
        except Exception as error:
            raise Broken(f"seed {seed + connections}: {error}") from error
        connections += 1
        sent += len(batch)
    globalLogPublisher.removeObserver(target.logged)
    return connections, answered


def main(arguments: Sequence[str] | None = None) -> None:
    """
    See the module.
    """
    parser = argparse.ArgumentParser(description="Send noise to a broker, in memory.")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    connections, answered = fuzz(given.frames, given.seed)
    peak = getrusage(RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{given.frames} frames on {connections} connections, {answered} bytes answered;"
        f" no service was asked; at most {peak} MiB of memory"
    )


if __name__ == "__main__":
    main()
